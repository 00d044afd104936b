"""Splits that mien draws: the source is looked through once, so that what belongs together can stay together.

Equal pixels belong together, in whatever file format, and so do rows that share a value of a group's column. An image
of one colour says nothing, and is equal to none.
"""

import hashlib
import zlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mien.data.importers.checks import mapped, undecodable
from mien.data.importers.source import BadRow, Row, Source
from mien.data.importers.splits import SHARES, joined, make_splits
from mien.errors import MienError
from mien.images import Pixels, decode
from mien.progress import progress

# Of each row a little is held in memory.
MAX_ROWS = 2_000_000
_ENOUGH_BAD = 20
_PIXELS = "pixels"
_CHANGED = "the source changed while it was imported"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of a row: what tells that it is the same the next time, its size, and what binds it to others."""

    mark: int
    size: tuple[int, int] | None
    label: int | None
    keys: tuple[Hashable, ...]


@dataclass(frozen=True)
class Plan:
    """The split of each row, in order, with what was seen of it: a mark and a size, or why it is bad.

    `whole`: it has all rows of the source.
    """

    splits: list[str]
    seen: list[tuple[int, tuple[int, int] | None] | BadRow]
    whole: bool
    details: dict[str, Any]
    note: str


def plan(
    rows: Iterable[Row | BadRow],
    content: Source,
    indexes: Mapping[int | str, int],
    groups: tuple[str, ...],
    seed: int,
    name: str,
    *,
    skip_bad: bool,
) -> Plan:
    """Look through the rows of a source, and draw a split for each; 20 bad rows are its end, unless `skip_bad`."""
    found: list[_Seen | BadRow] = []
    bad = 0

    def look(row: Row) -> Row | BadRow:
        try:
            pixels = decode(row.image, "rgb")
        except MienError as error:
            return undecodable(row, error)
        size = (pixels.shape[1], pixels.shape[0])
        keys = [(_PIXELS, pixel_key(pixels))] if pixels.min() < pixels.max() else []
        keys += [(column, row.extra[column]) for column in groups if row.extra.get(column) is not None]
        label = None if row.label is None else indexes.get(row.label)
        # The image has been looked at and goes.
        return Row(None, "", b"", None, None, None, {"": _Seen(_mark(row), size, label, tuple(keys))})

    with progress(f"looking through {name}", content.total) as done:
        for chunk in mapped(rows, look):
            found += (row if isinstance(row, BadRow) else row.extra[""] for row in chunk)
            bad += sum(isinstance(row, BadRow) for row in chunk)
            done(len(chunk))
            if bad >= _ENOUGH_BAD and not skip_bad:
                break
            if len(found) > MAX_ROWS:
                raise MienError(
                    f"there are more than {MAX_ROWS:,} rows without splits", expected="a column or folders with splits"
                )
    good = [row for row in found if isinstance(row, _Seen)]
    drawn = iter(make_splits([row.label for row in good], seed, joined(row.keys for row in good)))
    splits = ["train" if isinstance(row, BadRow) else next(drawn) for row in found]
    equal = _equal(good)
    details = {"seed": seed, "shares": SHARES, "stratified": True, "groups": list(groups), "equal_rows": equal}
    seen = [row if isinstance(row, BadRow) else (row.mark, row.size) for row in found]
    whole = skip_bad or bad < _ENOUGH_BAD
    return Plan(splits, seen, whole, details, _note(seed, groups, good, equal, set(splits)))


def planned(rows: Iterable[Row | BadRow], made: Plan) -> Iterator[Row | BadRow]:
    """The same rows, read again, with their sizes and splits."""
    again = iter(rows)
    for split, seen in zip(made.splits, made.seen, strict=True):
        row = next(again, None)
        if isinstance(seen, BadRow):
            yield seen
        elif not isinstance(row, Row) or _mark(row) != seen[0]:
            raise MienError(_CHANGED)
        else:
            yield replace(row, split=split, size=seen[1])
    if made.whole and next(again, None) is not None:
        raise MienError(_CHANGED)


def pixel_key(pixels: Pixels) -> bytes:
    """A digest that is the same for the same pixels, uint8 (height, width, 3), and for no others."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.digest()


def _mark(row: Row) -> int:
    return zlib.crc32(row.image, zlib.crc32(row.id.encode("utf-8", "replace")))


def _equal(rows: list[_Seen]) -> int:
    """How many rows have pixels that another row has as well."""
    count: dict[Hashable, int] = {}
    for row in rows:
        for key in row.keys:
            if isinstance(key, tuple) and key[0] == _PIXELS:
                count[key] = count.get(key, 0) + 1
    return sum(n for n in count.values() if n > 1)


def _note(seed: int, groups: tuple[str, ...], rows: list[_Seen], equal: int, used: set[str]) -> str:
    """How splits were drawn, in a sentence or two."""
    text = f"splits drawn by mien, 80 : 10 : 10 by class, seed {seed}; "
    if groups:
        named = " and ".join(f"'{column}'" for column in groups)
        text += f"rows with one value of {named} stay together, and so do equal images ({equal:,} rows)"
    else:
        text += (
            f"equal images stay together ({equal:,} rows); nothing says which rows show one person, and persons may "
            "stand in several splits: --group COLUMN or --column NAME=PATTERN keeps them together"
        )
    if len(used) < len(SHARES) and rows:
        text += f"; too few {'groups' if groups or equal else 'rows'} for more splits than {', '.join(sorted(used))}"
    return text
