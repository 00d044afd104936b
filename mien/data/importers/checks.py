"""The images of rows, looked at: each is decoded once, by all cores where that pays."""

import itertools
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace

from mien.data.importers.source import BadRow, Row
from mien.errors import MienError
from mien.images import decode
from mien.parallel import chunks, ordered_map

_CHUNK_ROWS = 64
_CHUNK_BYTES = 8 * 2**20
_LARGE_IMAGE = 2**14

Rows = list[Row | BadRow]


def checked(rows: Iterable[Row | BadRow], already: bool) -> Generator[Rows]:
    """Chunks of rows with the sizes of their images; a row whose image doesn't decode becomes a bad row.

    `already`: the rows have sizes, and their images decode.
    """
    return mapped(rows, (lambda row: row) if already else _sized)


def mapped(rows: Iterable[Row | BadRow], work: Callable[[Row], Row | BadRow]) -> Generator[Rows]:
    """Chunks of rows, each changed by `work`, by threads where images are large; bad rows stay as they are."""
    of_rows = chunks(rows, _CHUNK_ROWS, bytes_of, _CHUNK_BYTES)

    def one(chunk: Rows) -> Rows:
        return [work(row) if isinstance(row, Row) else row for row in chunk]

    first = next(of_rows, [])
    size = sum(map(bytes_of, first))
    # Pillow lets other threads run only while it decodes, so with small images threads slow each other down.
    all_rows = itertools.chain([first], of_rows)
    if size >= _LARGE_IMAGE * len(first):
        yield from ordered_map(one, all_rows, lambda chunk: sum(map(bytes_of, chunk)))
    else:
        yield from map(one, all_rows)


def bytes_of(row: Row | BadRow) -> int:
    """The bytes of a row's image."""
    return len(row.image) if isinstance(row, Row) else 0


def _sized(row: Row) -> Row | BadRow:
    try:
        height, width, _ = decode(row.image, "gray").shape
    except MienError as error:
        return undecodable(row, error)
    return replace(row, size=(width, height))


def undecodable(row: Row, error: MienError) -> BadRow:
    """The row as a bad one whose image doesn't decode."""
    if not row.image:
        return BadRow(row.id, "image", "the file is empty")
    return BadRow(row.id, "image", error.message, error.expected)
