"""Parquet from anywhere, and Arrow's streams, read by the piece: a small file may hold a text that all its rows share.

What a row group takes in memory isn't known before it is read; but no value is larger than its column is without
compression, so pieces of so many rows stay within a bound.
"""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mien.errors import FailedError, MienError
from mien.reading import reading

# The longest text of a cell, in bytes: an id, a path, a class's name.
MAX_TEXT = 1000
# Bytes that a piece holds at most, unless a single value is larger; and values of one column in a row group.
_PIECE = 64 * 2**20
_MAX_VALUES = 2**27
# Encodings of which a column without compression has as many bytes as its values.
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED"}
_MAX_COLUMN = 2**31 - 2


def open_parquet(
    path: Path, what: str = "this file", error: type[MienError] = FailedError, *, stream: Any = None
) -> pq.ParquetFile:
    """Open a file to be read page by page, not a whole row group at a time; `error` for one that isn't Parquet.

    `stream` is the file where it stands in an object store: a request each is dear there, so pages are larger.
    """
    with reading(path, what, error):
        file = pq.ParquetFile(stream or path, buffer_size=2**23 if stream else 2**20, pre_buffer=False)
        names = file.schema_arrow.names
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if twice is not None:
            raise error(f"two columns are called '{twice}'", file=str(path))
        return file


def pieces(
    file: pq.ParquetFile,
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    most: int = 10_000,
    groups: Container[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of some columns, or all, in pieces of at most `most` rows that memory holds.

    `groups` are the row groups that are read, None for all. Raises MienError for a text of more than `MAX_TEXT` bytes,
    and a row group that no memory would hold.
    """
    metadata = file.metadata
    wanted = None if columns is None else set(columns)
    row = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if groups is not None and number not in groups:
            row += group.num_rows
            continue
        rows = min(most, max(group.num_rows, 1))
        for place in range(group.num_columns):
            column = group.column(place)
            if wanted is not None and column.path_in_schema.partition(".")[0] not in wanted:
                continue
            if column.num_values > _MAX_VALUES or column.total_uncompressed_size > _MAX_COLUMN:
                raise MienError(
                    f"column '{column.path_in_schema}' has too much in one row group",
                    file=str(path),
                    expected=f"at most {_MAX_VALUES:,} values and 2 GB",
                )
            rows = min(rows, _rows(column, group.num_rows, rows))
        for batch in file.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False):
            _check_texts(batch, path, row)
            row += len(batch)
            yield batch


class ArrowStream:
    """A file of Arrow's stream format, as Hugging Face's `save_to_disk` writes it; it stays on the disk."""

    def __init__(self, path: Path, what: str = "this file", error: type[MienError] = FailedError) -> None:
        """Look through the file once: `error` for one that isn't whole."""
        self._path, self._what, self._error = path, what, error
        with reading(path, what, error), pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
            self.schema_arrow: pa.Schema = stream.schema
            names = self.schema_arrow.names
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise error(f"two columns are called '{twice}'", file=str(path))
            self.num_rows: int = sum(len(batch) for batch in stream)

    def pieces(self, columns: Sequence[str], *, most: int = 10_000) -> Iterator[pa.RecordBatch]:
        """The rows of some columns in pieces of at most `most` rows, checked as `pieces` does."""
        row = 0
        path = self._path
        with (
            reading(path, self._what, self._error),
            pa.memory_map(str(path)) as mapped,
            pa.ipc.open_stream(mapped) as stream,
        ):
            for batch in stream:
                some = batch.select(list(columns))
                # Offsets and bits of a stranger's file may lead anywhere.
                some.validate(full=True)
                for start in range(0, len(some), most):
                    part = some.slice(start, most)
                    _check_texts(part, path, row)
                    row += len(part)
                    yield part


def _rows(column: pq.ColumnChunkMetaData, total: int, most: int) -> int:
    """How many rows of a column a piece may have."""
    size: int = max(column.total_uncompressed_size, 1)
    values: int = column.num_values
    if column.physical_type not in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
        return max(1, _PIECE * max(total, 1) // max(8 * values, 1))
    if set(column.encodings) <= _PLAIN and values <= total:
        # The values of a group come to its bytes, but any row may have most of them.
        return most if size <= _PIECE else max(1, _PIECE * total // (4 * size))
    return max(1, _PIECE // size)


def _check_texts(batch: pa.RecordBatch, path: Path, first: int) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        lengths = pc.binary_length(column)
        longest = pc.max(lengths).as_py() or 0
        if longest > MAX_TEXT:
            place = pc.index(pc.greater(lengths, MAX_TEXT), True).as_py()
            raise MienError(
                f"row {first + place:,} has a text of {longest:,} bytes",
                file=str(path),
                key=name,
                expected=f"at most {MAX_TEXT:,}",
            )
        # Text that isn't UTF-8 would break whoever reads it first.
        column.validate(full=True)


def read_table(
    path: Path, columns: Sequence[str] | None = None, what: str = "this file", error: type[MienError] = FailedError
) -> pa.Table:
    """A whole table, or some of its columns, checked as `pieces` does; `error` for a file that isn't whole.

    Raises FileNotFoundError where there is none.
    """
    with open_parquet(path, what, error) as file, reading(path, what, error):
        names = file.schema_arrow.names
        missing = [name for name in columns or () if name not in names]
        if missing:
            raise error(f"there is no column '{missing[0]}'", file=str(path))
        wanted = list(names if columns is None else columns)
        schema = pa.schema([file.schema_arrow.field(name) for name in wanted], file.schema_arrow.metadata)
        batches = list(pieces(file, path, wanted))
        return pa.Table.from_batches(batches, batches[0].schema if batches else schema).select(wanted)
