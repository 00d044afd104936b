"""The Parquet and Arrow files of a source: which ones belong to it, their splits by name, their columns and values."""

import math
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.data.dataset import SPLIT_NAMES, split_rank
from mien.data.importers.disk import read
from mien.data.importers.source import MAX_IMAGE_BYTES, BadRow
from mien.errors import MienError, unknown
from mien.parquet import MAX_TEXT, ArrowStream, open_parquet, pieces
from mien.reading import parse_json, reading

# `train-00000.parquet`, and `train-00000-of-00001.parquet` with or without a hash behind it.
_SHARD = re.compile(r"(\w+?)-\d{4,}(-of-\d+)?(-[0-9a-f]+)?")
# Names of the writer's own columns; a source's columns with such a name get a new one.
_TAKEN = frozenset({"id", "image", "label", "split", "size", "path", "self"})
_OF_MANY = re.compile(r"-(\d{4,6})-of-(\d{4,6})(?=\D|$)")
_NUMBER = re.compile(r"\d{1,6}")
_MAX_JSON = 2**24
# A number that is a name has zeros in front, or more digits than numbers hold: it stays as it is written.
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
# Programs write 1e-05 and 1.5e3; 1e3 is somebody's name for something.
_REAL = re.compile(r"[+-]?((0|[1-9]\d{0,17})([eE][+-]\d{1,3})?|((0|[1-9]\d*)\.\d*|\.\d+)([eE][+-]?\d{1,3})?)")
# So many digits of a whole number does a float hold.
_EXACT = 15
_EMBEDDED = (
    "images as bytes, which datasets embeds by "
    "ds.with_format('arrow').map(datasets.table.embed_table_storage, batched=True)"
)
_BATCH_ROWS = 64
_MAX_ROWS = 20_000_000


def paths_of(source: Path) -> list[Path]:
    """The files of a source (a file or a folder), in the order of their splits; none if it isn't Parquet or Arrow.

    In folders: `train-*.parquet`, `data/train-*.parquet`, the hub's `default/train/0000.parquet`, and what
    `save_to_disk` writes. Raises MienError for a folder of several configurations, for a file that is missing among
    those that are numbered, and for Parquet files of which only some would be read.
    """
    if source.is_file():
        with source.open("rb") as file:
            return [source] if source.suffix.lower() == ".parquet" or file.read(4) == b"PAR1" else []
    paths = _parquet_in(source, "") or _parquet_in(source, "data/") or _of_hub(source)
    if paths:
        _check_whole(paths)
        _check_all(source, paths)
    paths = paths or _saved(source)
    return sorted(paths, key=lambda path: (split_rank(split_of(path, source) or ""), str(path)))


def _parquet_in(source: Path, below: str) -> list[Path]:
    # `metadata.parquet` is a table of paths, beside the images.
    found = source.glob(f"{below}[!.]*.parquet")
    return [path for path in found if path.name.lower() != "metadata.parquet"]


def _check_whole(paths: Iterable[Path]) -> None:
    """Raise MienError where one of `train-00000-of-00002.parquet` and its like isn't there."""
    there = set(paths)
    for path in sorted(there):
        match = _OF_MANY.search(path.name)
        for number in range(int(match[2]) if match else 0):
            assert match is not None
            # A hash may follow; then only the numbers are compared.
            start = f"{path.name[: match.start()]}-{number:0{len(match[1])}d}-of-{match[2]}"
            if not any(other.parent == path.parent and other.name.startswith(start) for other in there):
                raise MienError(f"{start}{path.suffix} is missing", file=str(path.parent), expected="all of its files")


def _check_all(source: Path, paths: Iterable[Path]) -> None:
    """Raise MienError for Parquet files below a folder that wouldn't be read; mien's own folders have an audit's."""
    if (source / "card.json").is_file():
        return
    others = {path for path in source.rglob("[!.]*.parquet") if path.name.lower() != "metadata.parquet"} - set(paths)
    plain = sorted(path for path in others if not any(part.startswith(".") for part in path.relative_to(source).parts))
    if plain:
        raise MienError(
            f"there are other Parquet files further down, as {plain[0].relative_to(source)}",
            file=str(source),
            expected="all of them in one folder, or the path of one",
        )


def _of_hub(source: Path) -> list[Path]:
    """The files of `train/0000.parquet` or `default/train/0000.parquet`."""
    paths = [path for path in source.glob("[!.]*/*.parquet") if _NUMBER.fullmatch(path.stem)]
    if paths:
        return paths
    paths = [path for path in source.glob("[!.]*/[!.]*/*.parquet") if _NUMBER.fullmatch(path.stem)]
    kinds = sorted({path.parent.parent.name for path in paths})
    if len(kinds) > 1:
        raise MienError(
            f"there are several configurations: {', '.join(kinds)}",
            file=str(source),
            expected=f"one of them, as mien data import {shlex.quote(str(source / kinds[0]))} --as NAME",
        )
    return paths


def _saved(source: Path) -> list[Path]:
    """The files of `save_to_disk`: of a data set, or of a dictionary of them, a folder a split."""
    if (source / "state.json").is_file():
        return _of_state(source)
    listed = source / "dataset_dict.json"
    if not listed.is_file():
        return []
    splits = _json_list(listed, "splits")
    for split in splits:
        if not (source / split / "state.json").is_file():
            raise MienError(f"the split '{split}' is missing", file=str(source), expected="all of the data set")
    return [path for split in splits for path in _of_state(source / split)]


def _of_state(folder: Path) -> list[Path]:
    """The files that `state.json` lists: others beside them are caches."""
    names = _json_list(folder / "state.json", "_data_files", "filename")
    for name in names:
        if not (folder / name).is_file():
            raise MienError(f"{name} is missing", file=str(folder), expected="all of its files")
    return [folder / name for name in names]


def _json_list(file: Path, key: str, inner: str | None = None) -> list[str]:
    """The names that a JSON file lists, each one of a file beside it."""
    with reading(file, "this file", MienError):
        content = parse_json(read(file, _MAX_JSON).decode())
    values = content.get(key) if isinstance(content, dict) else None
    names = [value.get(inner) if inner and isinstance(value, dict) else value for value in values or []]
    if not names or not all(isinstance(name, str) and re.fullmatch(r"[\w.-]+", name) for name in names):
        raise MienError("this lists no files", file=str(file), key=key, expected="names")
    if len(set(names)) < len(names):
        raise MienError("a name is listed twice", file=str(file), key=key)
    return [str(name) for name in names]


def split_of(path: Path, source: Path) -> str | None:
    """The split that a file's name gives: `train-00000.parquet`, `train.parquet`, `train/0000.parquet`."""
    if path.suffix == ".arrow" or (_NUMBER.fullmatch(path.stem) and path != source):
        name = path.parent.name
        return name if path.parent != source or name.lower() in SPLIT_NAMES else None
    shard = _SHARD.fullmatch(path.stem)
    if shard is not None:
        return shard[1]
    return path.stem if path.stem.lower() in SPLIT_NAMES else None


def open_source(path: Path) -> pq.ParquetFile | ArrowStream:
    """Open a file of the source; MienError for one that isn't what its name says."""
    if path.suffix == ".arrow":
        return ArrowStream(path, "this Arrow file", MienError)
    return open_parquet(path, "this Parquet", MienError)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    file = open_source(path)
    if isinstance(file, ArrowStream):
        yield from file.pieces(columns, most=_BATCH_ROWS)
        return
    with file, reading(path, "this Parquet", MienError):
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


def column_asked(schema: pa.Schema, asked: str, option: str, source: Path) -> str:
    """The column that an option names; MienError, with the nearest one, for a name that is none."""
    if asked not in schema.names:
        raise unknown(f"there is no column '{asked}'", asked, schema.names, file=str(source), key=option)
    return asked


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


def rows_in(files: Iterable[pq.ParquetFile | ArrowStream], source: Path) -> int:
    """The number of rows; MienError for none or too many."""
    total: int = sum(file.num_rows if isinstance(file, ArrowStream) else file.metadata.num_rows for file in files)
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


def image_of(value: Any, row: str, column: str, folder: Path) -> tuple[bytes, str | None] | BadRow:
    """The bytes of an image and its file name, if it has one. A path alone is read below `folder` and nowhere else."""
    image, path = (value["bytes"], value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(image, str):
        image, path = None, image
    if image is None and isinstance(path, str):
        return _image_at(path, row, column, folder)
    if image is None:
        return BadRow(row, column, "no bytes")
    if len(image) > MAX_IMAGE_BYTES:
        return BadRow(row, column, f"{len(image):,} bytes", f"at most {MAX_IMAGE_BYTES:,}")
    return image, path if isinstance(path, str) else None


def _image_at(path: str, row: str, column: str, folder: Path) -> tuple[bytes, str | None] | BadRow:
    try:
        root = folder.resolve()
        place = Path(os.path.realpath(root / path))
        if not place.is_relative_to(root) or not place.is_file():
            shown = path if len(path) <= 100 else f"{path[:100]}…"
            return BadRow(row, column, f"there is only a path, '{shown}', and no such file below the table", _EMBEDDED)
        return read(place, MAX_IMAGE_BYTES), place.name
    except (MienError, OSError, ValueError) as error:
        return BadRow(row, column, error.message if isinstance(error, MienError) else "the path is none")


def extra_columns(schema: pa.Schema, used: set[str | None]) -> tuple[dict[str, tuple[str, pa.DataType]], list[str]]:
    """The other columns of plain types, with the names and types to store; and the names of the columns left out."""
    return named({field.name: plain(field.type) for field in schema if field.name not in used})


def named(kinds: Mapping[str, pa.DataType | None]) -> tuple[dict[str, tuple[str, pa.DataType]], list[str]]:
    """Columns by name with the names and types to store; and the names of those without a type, or without a name."""
    extra: dict[str, tuple[str, pa.DataType]] = {}
    left_out = []
    for name, kind in kinds.items():
        if kind is None or not name.strip():
            left_out.append(name)
        else:
            extra[name] = (f"source_{name}" if name in _TAKEN else name, kind)
    return extra, left_out


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The type that a column of a plain type is stored as; None for other types."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return kind
    if is_text(kind):
        return pa.string()
    if pa.types.is_fixed_size_list(kind):
        value = plain(kind.value_type)
        return value and pa.list_(value, kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        value = plain(kind.value_type)
        return value and pa.list_(value)
    return None


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none; pandas writes not-a-number for it."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def kind_of(values: Iterable[Any]) -> pa.DataType | None:
    """The type of a column of texts and numbers: whole numbers, numbers or text; None for one that can't be kept.

    >>> kind_of(["1", "2.5", "1e-05"]), kind_of(["007", "8"]), kind_of(["1e3"])
    (DataType(double), DataType(string), DataType(string))
    """
    kind: pa.DataType = None
    wide = False
    for value in values:
        if is_missing(value):
            continue
        if not isinstance(value, str | int | float) or len(text := str(value)) > MAX_TEXT // 4:
            return None
        integer = _INTEGER.fullmatch(text) is not None
        wide = wide or (integer and len(text) > _EXACT)
        if isinstance(value, bool) or not (integer or _REAL.fullmatch(text)):
            kind = pa.string()
        elif kind is None and integer:
            kind = pa.int64()
        elif kind is None or (kind == pa.int64() and not integer):
            kind = pa.float64()
    return pa.string() if wide and kind == pa.float64() else kind


READERS: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.int64(): lambda value: None if is_missing(value) else int(value),
    pa.float64(): lambda value: None if is_missing(value) else float(value),
    pa.string(): lambda value: None if is_missing(value) else str(value),
}
