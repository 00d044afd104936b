"""Parquet with a column `image` (bytes, or {bytes, path}) and a label: mien's own data sets, Hugging Face's, or any."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.dataset import SPLIT_NAMES, split_rank
from mien.errors import MienError
from mien.importers.source import MAX_IMAGE_BYTES, OFFICIAL_SPLITS, BadRow, Row, Source
from mien.labels import FER2013
from mien.registry import register

_LABELS = ("label", "emotion", "expression")
_SPLITS = ("split", "usage")
_IDS = ("id", "row")
# `train-00000.parquet`, and `train-00000-of-00001.parquet` with or without a hash behind it.
_SHARD = re.compile(r"(\w+?)-\d{4,}(-of-\d+)?(-[0-9a-f]+)?")
# What a writer of data sets takes by these names; columns that are called so get a new name.
_TAKEN = frozenset({"id", "image", "label", "split", "size", "path", "self"})
_BATCH_ROWS = 64
_MAX_ROWS = 20_000_000


@register("importer", "parquet")
def parquet(source: Path) -> Source | None:
    """A Parquet file, or a folder of `<split>-*.parquet`."""
    paths = _paths(source)
    if not paths:
        return None
    files = [(_split_of(path), _open(path)) for path in paths]
    schema = files[0][1].schema_arrow
    for path, (_, file) in zip(paths, files, strict=True):
        if not file.schema_arrow.equals(schema):
            raise MienError(f"its columns differ from those of {paths[0].name}", file=str(path))
    total = sum(file.metadata.num_rows for _, file in files)
    if total == 0:
        raise MienError("there are no rows", file=str(source))
    if total > _MAX_ROWS:
        raise MienError(f"there are {total:,} rows", file=str(source), expected=f"at most {_MAX_ROWS:,}")
    image, label, split, key = (_column(schema, names) for names in (("image",), _LABELS, _SPLITS, _IDS))
    if image is None or not _is_image(schema.field(image).type):
        raise MienError("there is no column of images", file=str(source), expected="'image' as bytes or {bytes, path}")
    if label is None:
        raise MienError("there is no column of labels", file=str(source), expected="one of " + ", ".join(_LABELS))
    splits = [name for name, _ in files]
    if split is None and None in splits and any(splits):
        raise MienError("some files are called by their split and others aren't", file=str(source))

    classes, usages = _classes(schema, label), None
    if classes is None and _is_text(schema.field(label).type):
        classes = tuple(sorted({value for value in _values(files, label) if value is not None}))
    elif not pa.types.is_integer(schema.field(label).type):
        kind = schema.field(label).type
        raise MienError(f"the labels have the type {kind}", file=str(source), key=label, expected="integers or text")
    elif classes is None and split is not None and (label.lower(), split.lower()) == ("emotion", "usage"):
        # These two columns are the challenge's own, and so are their values.
        classes, usages = FER2013.classes, OFFICIAL_SPLITS

    ids = _values(files, key) if key is not None else []
    if not ids or None in ids or len(set(ids)) < total or not all(isinstance(value, int | str) for value in ids):
        key = None
    extra, left_out = _extra(schema, {image, label, split, key})
    return Source(
        rows=_rows(list(zip(splits, paths, strict=True)), _Columns(image, label, split, key, usages, extra)),
        classes=classes,
        total=total,
        columns=dict(extra.values()),
        labels=_values(files, label) if split is None and None in splits else None,
        label_column=label,
        numbered=len(files) == 1 if key is None else {str(value) for value in ids} == set(map(str, range(total))),
        details={"left_out": left_out} if left_out else {},
    )


@dataclass(frozen=True)
class _Columns:
    """The columns that a row is made of; `usages` are the only splits allowed, `extra` maps to new name and type."""

    image: str
    label: str
    split: str | None
    id: str | None
    usages: tuple[str, ...] | None
    extra: dict[str, tuple[str, pa.DataType]]

    @property
    def names(self) -> list[str]:
        """All columns to read."""
        return [name for name in (self.image, self.label, self.split, self.id, *self.extra) if name is not None]


def _paths(source: Path) -> list[Path]:
    if source.is_file():
        with source.open("rb") as file:
            return [source] if source.suffix.lower() == ".parquet" or file.read(4) == b"PAR1" else []
    found = list(source.glob("[!.]*.parquet")) or list(source.glob("data/[!.]*.parquet"))
    return sorted(found, key=lambda path: (split_rank(_split_of(path) or ""), path.name))


def _split_of(path: Path) -> str | None:
    shard = _SHARD.fullmatch(path.stem)
    if shard is not None:
        return shard[1]
    return path.stem if path.stem.lower() in SPLIT_NAMES else None


def _open(path: Path) -> pq.ParquetFile:
    """The file, to be read page by page and not a whole row group at a time."""
    with _readable(path):
        file = pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
        names = file.schema_arrow.names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise MienError(f"two columns are called '{twice}'", file=str(path))
        return file


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MienError(f"the file can't be read as Parquet ({reason})", file=str(path)) from error


def _column(schema: pa.Schema, wanted: tuple[str, ...]) -> str | None:
    for one in wanted:
        for name in schema.names:
            if name.strip().lower() == one:
                return str(name)
    return None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _classes(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The class names of the label column, if the `huggingface` metadata has them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _values(files: list[tuple[str | None, pq.ParquetFile]], column: str) -> list[Any]:
    values: list[Any] = []
    for _, file in files:
        for batch in file.iter_batches(columns=[column], use_threads=False):
            values.extend(batch.column(column).to_pylist())
    return values


def _extra(schema: pa.Schema, used: set[str | None]) -> tuple[dict[str, tuple[str, pa.DataType]], list[str]]:
    """The other columns of plain types, with the names and types to store; and the names of those left out."""
    extra: dict[str, tuple[str, pa.DataType]] = {}
    left_out = []
    for field in schema:
        if field.name in used:
            continue
        kind = _plain(field.type)
        if kind is None:
            left_out.append(field.name)
        else:
            extra[field.name] = (f"source_{field.name}" if field.name in _TAKEN else field.name, kind)
    return extra, left_out


def _plain(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return kind
    if _is_text(kind):
        return pa.string()
    if pa.types.is_fixed_size_list(kind):
        value = _plain(kind.value_type)
        return value and pa.list_(value, kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        value = _plain(kind.value_type)
        return value and pa.list_(value)
    return None


def _rows(files: list[tuple[str | None, Path]], columns: _Columns) -> Iterator[Row | BadRow]:
    number = 0
    for split, path in files:
        with _open(path) as file, _readable(path):
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns.names, use_threads=False):
                for values in batch.to_pylist():
                    yield _row(values, split, number, columns)
                    number += 1


def _row(values: dict[str, Any], split: str | None, number: int, columns: _Columns) -> Row | BadRow:
    row = str(number if columns.id is None else values[columns.id])
    if columns.split is not None:
        split = values[columns.split]
        if columns.usages is not None and split not in columns.usages:
            return BadRow(row, columns.split, f"'{split}' is no usage", ", ".join(columns.usages))
        if not isinstance(split, str):
            return BadRow(row, columns.split, "no split")
    image, path = values[columns.image], None
    if isinstance(image, dict):
        image, path = image["bytes"], image.get("path")
    if image is None:
        return BadRow(row, columns.image, "no bytes")
    if len(image) > MAX_IMAGE_BYTES:
        return BadRow(row, columns.image, f"{len(image):,} bytes", f"at most {MAX_IMAGE_BYTES:,}")
    extra = {new: values[name] for name, (new, _) in columns.extra.items()}
    return Row(split, row, image, values[columns.label], path=path if isinstance(path, str) else None, extra=extra)
