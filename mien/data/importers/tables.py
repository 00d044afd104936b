"""The Parquet files of a source: which ones belong to it, their splits by name, their columns and values."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.data.dataset import SPLIT_NAMES, split_rank
from mien.data.importers.source import MAX_IMAGE_BYTES, BadRow
from mien.errors import MienError
from mien.parquet import open_parquet, pieces
from mien.reading import parse_json, reading

# `train-00000.parquet`, and `train-00000-of-00001.parquet` with or without a hash behind it.
_SHARD = re.compile(r"(\w+?)-\d{4,}(-of-\d+)?(-[0-9a-f]+)?")
# Names of the writer's own columns; a source's columns with such a name get a new one.
_TAKEN = frozenset({"id", "image", "label", "split", "size", "path", "self"})
_BATCH_ROWS = 64
_MAX_ROWS = 20_000_000


def paths_of(source: Path) -> list[Path]:
    """The Parquet files of a source (a file or a folder), in the order of their splits; none if it isn't Parquet."""
    if source.is_file():
        with source.open("rb") as file:
            return [source] if source.suffix.lower() == ".parquet" or file.read(4) == b"PAR1" else []
    paths = list(source.glob("[!.]*.parquet")) or list(source.glob("data/[!.]*.parquet"))
    return sorted(paths, key=lambda path: (split_rank(split_of(path) or ""), path.name))


def split_of(path: Path) -> str | None:
    """The split that a file's name gives: `train-00000.parquet`, `train.parquet`."""
    shard = _SHARD.fullmatch(path.stem)
    if shard is not None:
        return shard[1]
    return path.stem if path.stem.lower() in SPLIT_NAMES else None


def open_source(path: Path) -> pq.ParquetFile:
    """Open a file of the source; MienError for one that isn't Parquet."""
    return open_parquet(path, "this Parquet", MienError)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with open_source(path) as file, reading(path, "this Parquet", MienError):
        yield from pieces(file, path, columns, most=_BATCH_ROWS)


def column_called(schema: pa.Schema, wanted: tuple[str, ...]) -> str | None:
    """The first column with one of these names, in any case."""
    for column in wanted:
        for name in schema.names:
            if name.strip().lower() == column:
                return str(name)
    return None


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """What the `huggingface` metadata says of the columns; {} where it says nothing that can be read."""
    try:
        features = parse_json((schema.metadata or {})[b"huggingface"].decode())["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_image(kind: pa.DataType) -> bool:
    """Whether a column holds image files: bytes, or {bytes, path}."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def rows_of(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The values of these columns by name, row after row."""
    for batch in _batches(path, columns):
        yield from batch.to_pylist()


def values_of(paths: Iterable[Path], column: str) -> list[Any]:
    """The values of a column, file after file."""
    values: list[Any] = []
    for path in paths:
        for batch in _batches(path, [column]):
            values.extend(batch.column(column).to_pylist())
    return values


def rows_in(files: Iterable[pq.ParquetFile], source: Path) -> int:
    """The number of rows; MienError for none or too many."""
    total: int = sum(file.metadata.num_rows for file in files)
    if total == 0:
        raise MienError("there are no rows", file=str(source))
    if total > _MAX_ROWS:
        raise MienError(f"there are {total:,} rows", file=str(source), expected=f"at most {_MAX_ROWS:,}")
    return total


def are_ids(values: list[Any], total: int) -> bool:
    """Whether the values of a column are distinct names for all of `total` rows."""
    if not values or None in values or not all(isinstance(value, int | str) for value in values):
        return False
    return len(set(values)) == total


def image_of(value: Any, row: str, column: str) -> tuple[bytes, str | None] | BadRow:
    """The bytes of an image and its file name, if it has one. A path alone is never read."""
    image, path = (value["bytes"], value.get("path")) if isinstance(value, dict) else (value, None)
    if image is None:
        return BadRow(row, column, "no bytes")
    if len(image) > MAX_IMAGE_BYTES:
        return BadRow(row, column, f"{len(image):,} bytes", f"at most {MAX_IMAGE_BYTES:,}")
    return image, path if isinstance(path, str) else None


def extra_columns(schema: pa.Schema, used: set[str | None]) -> tuple[dict[str, tuple[str, pa.DataType]], list[str]]:
    """The other columns of plain types, with the names and types to store; and the names of the columns left out."""
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
    if is_text(kind):
        return pa.string()
    if pa.types.is_fixed_size_list(kind):
        value = _plain(kind.value_type)
        return value and pa.list_(value, kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        value = _plain(kind.value_type)
        return value and pa.list_(value)
    return None
