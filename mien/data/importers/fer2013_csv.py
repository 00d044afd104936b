"""FER2013 as the challenge gave it: a CSV whose column `pixels` holds the gray values of a square image as text.

`fer2013.csv` has the columns emotion, pixels, Usage; `icml_face_data.csv` has them in another order and with a blank in
front of their names; the challenge's own `train.csv` has no Usage. Sets of others have names as emotions, usages like
train and test, and semicolons or tabs between values.
"""

import codecs
import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from mien.data.dataset import SPLIT_NAMES
from mien.data.importers import tables
from mien.data.importers.source import OFFICIAL_SPLITS, Asked, BadRow, Row, Source
from mien.data.labels import FER2013, MAX_NAME
from mien.errors import MienError
from mien.images import Pixels, stored_pngs
from mien.parallel import chunks
from mien.reading import MAX_UNPACKED, delimiter_of, open_text, reading
from mien.registry import register

_COLUMNS = ("emotion", "pixels")
_USAGE = "usage"
# A line this long holds an image of 1,000 × 1,000; a longer one is refused without being held in memory.
_MAX_LINE = 2**22
_CHUNK_ROWS = 64
_CHUNK_BYTES = 2**20
# Rows parsed at a time: with fewer, numpy's calls take longer than their work; with more, arrays outgrow the cache.
_PARSED_VALUES = 75_000
_MAX_NAMES = 10_000

_NUMBER = re.compile(rb"[+-]?\d+(\.\d+)?")
_NUMBERS = {str(i).encode(): i for i in range(len(FER2013))}
_OFFICIAL = {name.lower().encode(): name for name in OFFICIAL_SPLITS}
_USUAL = {name.encode(): name for name in sorted(SPLIT_NAMES - {name.lower() for name in OFFICIAL_SPLITS[1:]})}

# Row number, line number, and the line without its end.
Line = tuple[int, int, bytes]
# Stands in for a line that was too long to keep.
_TOO_LONG = b"\0"


@dataclass(frozen=True)
class _Form:
    """How a CSV is written: places of its `width` columns, what stands between them, what its labels and usages mean.

    `labels` gives the label of each text, and None takes any number. Without `usage` mien draws the splits. `extra` are
    the further columns: place, name and type.
    """

    width: int
    label: int
    pixels: int
    usage: int | None
    between: bytes
    labels: Mapping[bytes, int | str] | None
    usages: Mapping[bytes, str]
    extra: tuple[tuple[int, str, pa.DataType], ...] = ()

    def fields(self, text: bytes) -> list[bytes]:
        """The values of a line. No value holds what stands between them, so quotes can be dropped."""
        return [_plain(value) for value in text.split(self.between, self.width)]


@register("importer", "fer2013-csv")
def fer2013_csv(source: Path, asked: Asked) -> Source | None:
    """The challenge's `fer2013.csv` and `icml_face_data.csv`, images of any one square size, and CSVs like them."""
    if not source.is_file():
        return None
    header = b""
    # What isn't packed as its first bytes claim is no CSV, and perhaps another importer's.
    with contextlib.suppress(MienError), reading(source, "this CSV", MienError), open_text(source) as file:
        header = file.readline(4096).removeprefix(codecs.BOM_UTF8)
    between = delimiter_of(header.decode("utf-8", "replace")).encode()
    names = [_plain(name).decode("utf-8", "replace") for name in header.split(between)]
    columns = [name.lower() for name in names]
    if "pixels" not in columns:
        return None
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise MienError(f"two columns are called '{twice}'", file=str(source), line=1)
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise MienError(
            f"the CSV has no column '{missing[0]}'",
            file=str(source),
            line=1,
            expected="the columns emotion and pixels, and perhaps Usage",
        )
    usage = columns.index(_USAGE) if _USAGE in columns else None
    form = _Form(len(columns), columns.index("emotion"), columns.index("pixels"), usage, between, _NUMBERS, _OFFICIAL)
    form, classes = _meaning(source, form, asked)
    own = {form.label, form.pixels, form.usage}
    form, left_out = _with_extra(source, form, {place: name for place, name in enumerate(names) if place not in own})
    return Source(
        rows=_rows(source, form),
        classes=classes,
        total=_estimate(source),
        columns={name: kind for _, name, kind in form.extra},
        details={"left_out": left_out} if left_out else {},
        drawn=usage is None,
        label_column="emotion",
        numbered=True,
        checked=True,
    )


def _estimate(source: Path) -> int | None:
    """About how many rows there are: they have nearly the same length, and counting means reading twice."""
    with source.open("rb") as file:
        head = file.read(2**20)
    return None if head.startswith(b"\x1f\x8b") else round(head.count(b"\n") * source.stat().st_size / len(head))


def _meaning(source: Path, form: _Form, asked: Asked) -> tuple[_Form, tuple[str, ...]]:
    """The form with the meaning of labels and usages, by the first rows, and the classes of the source."""
    with reading(source, "this CSV", MienError), open_text(source) as file:
        file.readline(_MAX_LINE)
        first = [form.fields(text) for _, _, text in islice(_lines(file), _CHUNK_ROWS)]
    first = [fields for fields in first if len(fields) == form.width]
    if form.usage is not None:
        told = [fields[form.usage].lower() for fields in first]
        if sum(usage in _OFFICIAL for usage in told) < sum(usage in _USUAL for usage in told):
            form = replace(form, usages=_USUAL)
    labels = [fields[form.label] for fields in first if fields[form.label]]
    names = 2 * sum(not _NUMBER.fullmatch(label) for label in labels) > len(labels)
    if names:
        known = {
            label: name for label in _labels(source, form) if not _NUMBER.fullmatch(label) and (name := _utf8(label))
        }
        return replace(form, labels=known), tuple(sorted(set(known.values())))
    if asked.labels is None:
        return form, FER2013.classes
    # By what was asked for, and not by the place that the challenge gave to a class of that name.
    numbers = sorted(int(label) for label in _labels(source, form) if label.isdigit() and len(label) < 4)
    return replace(form, labels=None), tuple(map(str, numbers))


def _utf8(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def _labels(source: Path, form: _Form) -> set[bytes]:
    """All that stands in the column of labels."""
    found: set[bytes] = set()
    with reading(source, "this CSV", MienError), open_text(source) as file:
        file.readline(_MAX_LINE)
        for _, line, text in _lines(file):
            fields = text.split(form.between, form.label + 1)
            if len(fields) > form.label:
                found.add(_plain(fields[form.label])[:MAX_NAME])
            if len(found) > _MAX_NAMES:
                raise MienError(
                    f"there are more than {_MAX_NAMES:,} labels", file=str(source), line=line, key="emotion"
                )
    return found - {b""}


def _with_extra(source: Path, form: _Form, further: Mapping[int, str]) -> tuple[_Form, list[str]]:
    """The form with its further columns, and the names of those that can't be kept."""
    if not further:
        return form, []
    kinds = {name: tables.kind_of(_column(source, form, place)) for place, name in further.items() if name}
    extra, left_out = tables.named(kinds)
    places = {name: place for place, name in further.items()}
    return replace(form, extra=tuple((places[name], *of) for name, of in extra.items())), left_out


def _column(source: Path, form: _Form, place: int) -> Iterator[str]:
    """The texts of a column, row after row."""
    with reading(source, "this CSV", MienError), open_text(source) as file:
        file.readline(_MAX_LINE)
        for _, _, text in _lines(file):
            values = text.split(form.between, form.width)
            if len(values) == form.width:
                yield _cell(values[place]).decode("utf-8", "replace")


def _cell(value: bytes) -> bytes:
    """A value without its quotes."""
    plain = value.strip()
    quoted = len(plain) > 1 and plain.startswith(b'"') and plain.endswith(b'"')
    return plain[1:-1].replace(b'""', b'"') if quoted else plain


def _plain(value: bytes) -> bytes:
    return value.strip(b' \t\r\n"')


def _rows(source: Path, form: _Form) -> Iterator[Row | BadRow]:
    with reading(source, "this CSV", MienError), open_text(source) as file:
        file.readline(_MAX_LINE)
        of_lines = chunks(_lines(file), _CHUNK_ROWS, lambda line: len(line[2]), _CHUNK_BYTES)
        first = next(of_lines, [])
        split = [form.fields(text) for _, _, text in first]
        side = _side([fields[form.pixels] for fields in split if len(fields) > form.pixels])
        # glibc gives free memory back to the system, and takes it anew for each block's arrays, which is slower than to
        # parse them; once a larger piece was freed, it keeps as much (mallopt(3), M_MMAP_THRESHOLD).
        np.empty(2**23, np.uint8)
        # One thread: numpy's calls are so short here that two threads would mostly wait for each other.
        for chunk in chain([first], of_lines):
            yield from _parse(chunk, form, side)


def _lines(file: BinaryIO) -> Iterator[Line]:
    row, number, size = 0, 1, 0
    while line := file.readline(_MAX_LINE):
        number += 1
        size += len(line)
        if size > MAX_UNPACKED:
            raise MienError("the CSV is too long", line=number, expected=f"at most {MAX_UNPACKED >> 30} GB")
        if len(line) == _MAX_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            yield row, number, _TOO_LONG
        elif line.strip():
            yield row, number, line.rstrip(b"\r\n")
        else:
            continue
        row += 1


def _side(pixels: list[bytes]) -> int:
    """The commonest side of the square images with these pixel texts; 48 when none is a square."""
    counts = Counter(len(text.split()) for text in pixels)
    sides = {math.isqrt(count): n for count, n in counts.items() if count and math.isqrt(count) ** 2 == count}
    return max(sides, key=lambda side: (sides[side], side == 48), default=48)


def _parse(chunk: list[Line], form: _Form, side: int) -> list[Row | BadRow]:
    """The rows of a chunk of lines."""
    lines = [(str(row), line, form.fields(text)) for row, line, text in chunk]
    problems = [_problem(row, line, fields, form) for row, line, fields in lines]
    good = [fields[form.pixels] for (_, _, fields), bad in zip(lines, problems, strict=True) if bad is None]
    images = _images(good, side)
    rows: list[Row | BadRow] = []
    for (_, _, text), (row, line, fields), bad in zip(chunk, lines, problems, strict=True):
        if bad is not None:
            rows.append(bad)
            continue
        image = next(images)
        extra = _extra(text, form)
        if isinstance(image, MienError):
            rows.append(BadRow(row, "pixels", image.message, image.expected, line))
        elif extra is None:
            rows.append(BadRow(row, "", "the text isn't UTF-8", None, line))
        else:
            label = fields[form.label]
            split = None if form.usage is None else form.usages[fields[form.usage].lower()]
            of = form.labels[label] if form.labels else label.decode()
            rows.append(Row(split, row, image, of, (side, side), extra=extra))
    return rows


def _extra(text: bytes, form: _Form) -> dict[str, Any] | None:
    """The values of a line's further columns; None for what isn't UTF-8."""
    if not form.extra:
        return {}
    values = text.split(form.between, form.width)
    try:
        return {name: tables.READERS[kind](_cell(values[place]).decode()) for place, name, kind in form.extra}
    except UnicodeDecodeError:
        return None


def _problem(row: str, line: int, fields: list[bytes], form: _Form) -> BadRow | None:
    """What is wrong with a row, its pixels aside."""
    if fields == [_TOO_LONG]:
        return BadRow(row, "", "the line is too long", f"at most {_MAX_LINE // 2**20} MB", line)
    width = form.width
    if len(fields) != width:
        return BadRow(row, "", f"{len(fields)} columns" + (" or more" if len(fields) > width else ""), str(width), line)
    label, usage = fields[form.label], None if form.usage is None else fields[form.usage]
    if not label.isdigit() if form.labels is None else label not in form.labels:
        expected = f"0 to {len(_NUMBERS) - 1}" if form.labels is _NUMBERS else "a number"
        if form.labels and form.labels is not _NUMBERS:
            expected = "a name, as in the other rows"
        return BadRow(row, "emotion", f"{_show(label)} is no label", expected, line)
    if usage is not None and usage.lower() not in form.usages:
        expected = ", ".join(OFFICIAL_SPLITS if form.usages is _OFFICIAL else form.usages.values())
        return BadRow(row, "Usage", f"{_show(usage)} is no usage", expected, line)
    return None


def _images(texts: list[bytes], side: int) -> Iterator[bytes | MienError]:
    """The image file of each text, or what is wrong with it."""
    rows = max(1, _PARSED_VALUES // side**2)
    for start in range(0, len(texts), rows):
        block = texts[start : start + rows]
        images = parse_pixels(block, side)
        if images is not None:
            yield from stored_pngs(images)
        else:
            # A bad text sends only its own block the slow way.
            for image in (_parse_one(text, side) for text in block):
                yield image if isinstance(image, MienError) else stored_pngs(image[None])[0]


def parse_pixels(texts: list[bytes], side: int) -> Pixels | None:
    """Texts like b"70 80 82" of whole numbers from 0 to 255, as uint8 (texts, side, side).

    None unless each text is exactly that: side × side numbers of at most 3 digits, with one blank between them.

    >>> parse_pixels([b"0 17 255 4"], side=2).tolist()
    [[[0, 17], [255, 4]]]
    """
    if not texts:
        return np.empty((0, side, side), np.uint8)
    # Two blanks in front, so that every digit has two neighbours on its left.
    text = np.frombuffer(b"  " + b" ".join(texts) + b" ", np.uint8)
    blank = text == 32
    digits = text - np.uint8(48)
    digit = digits < 10
    ends = np.flatnonzero(blank[2:])  # the place of the blank behind each number
    rows = np.cumsum([len(text) + 1 for text in texts]) - 1
    if len(ends) != len(texts) * side**2 or not np.array_equal(ends[side**2 - 1 :: side**2], rows):
        return None
    if np.count_nonzero(digit) + np.count_nonzero(blank) != len(text):
        return None
    two = digit[1:-1] & digit[2:]  # this byte and the one before it are digits
    if (blank[2:] & blank[1:-1]).any() or (digit[:-3] & digit[1:-2] & two[1:]).any():
        return None
    # The number that ends at each byte; blanks count 0. Bytes are several times as fast as anything
    # wider; numbers that don't fit are refused.
    digits *= digit
    hundreds = digits[:-2] * two
    below = digits[2:] + digits[1:-1] * np.uint8(10)
    if ((hundreds > 2) | ((hundreds == 2) & (below > 55))).any():
        return None
    images: Pixels = (below + hundreds * np.uint8(100))[ends - 1].reshape(-1, side, side)
    return images


def _parse_one(text: bytes, side: int) -> Pixels | MienError:
    """One image from its text, however the numbers are spaced, or what is wrong with it."""
    values = text.split()
    if len(values) != side**2:
        return MienError(f"{len(values)} values", expected=f"{side**2} ({side} × {side})")
    images = parse_pixels([b" ".join(values)], side)
    if images is not None:
        parsed: Pixels = images[0]
        return parsed
    for i, value in enumerate(values):
        if not value.isdigit() or len(value.lstrip(b"0")) > 3 or int(value) > 255:
            return MienError(f"value {i} is {_show(value)}", expected="a whole number from 0 to 255")
    return np.array([int(value) for value in values], np.uint8).reshape(side, side)


def _show(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return f"'{text[:20]}…'" if len(text) > 20 else f"'{text}'"
