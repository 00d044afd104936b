"""FER2013 as the challenge gave it: a CSV whose column `pixels` holds the gray values of a square image as text.

`fer2013.csv` has the columns emotion, pixels, Usage; `icml_face_data.csv` has them in another order and with a blank in
front of their names.
"""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mien.data.importers.source import OFFICIAL_SPLITS, BadRow, Row, Source
from mien.data.labels import FER2013
from mien.errors import MienError
from mien.images import Pixels, stored_pngs
from mien.parallel import chunks
from mien.registry import register

_COLUMNS = ("emotion", "pixels", "usage")
# A line this long holds an image of 1,000 × 1,000; a longer one is refused without being held in memory.
_MAX_LINE = 2**22
_CHUNK_ROWS = 64
_CHUNK_BYTES = 2**20
# Rows parsed at a time: with fewer, numpy's calls take longer than their work; with more, arrays outgrow the cache.
_PARSED_VALUES = 75_000

_LABELS = {str(i).encode(): i for i in range(len(FER2013))}
_USAGES = {name.encode(): name for name in OFFICIAL_SPLITS}

# Row number, line number, and the line without its end.
Line = tuple[int, int, bytes]
# Stands in for a line that was too long to keep.
_TOO_LONG = b"\0"


@register("importer", "fer2013-csv")
def fer2013_csv(source: Path) -> Source | None:
    """The challenge's `fer2013.csv` and `icml_face_data.csv`, images of any one square size."""
    if not source.is_file():
        return None
    with source.open("rb") as file:
        head = file.read(2**20)
        file.seek(0)
        columns = [_plain(name).lower().decode("utf-8", "replace") for name in file.readline(4096).split(b",")]
    columns[0] = columns[0].removeprefix("\ufeff").strip('"')
    if "pixels" not in columns:
        return None
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise MienError(
            f"the CSV has no column '{missing[0]}'",
            file=str(source),
            line=1,
            expected="the columns emotion, pixels and Usage",
        )
    # An estimate: rows have nearly the same length, and counting them would mean reading the file twice.
    total = round(head.count(b"\n") * source.stat().st_size / len(head))
    return Source(
        rows=_rows(source, columns),
        classes=FER2013.classes,
        total=total,
        label_column="emotion",
        numbered=True,
        checked=True,
    )


def _plain(value: bytes) -> bytes:
    return value.strip(b' \t\r\n"')


def _rows(source: Path, columns: list[str]) -> Iterator[Row | BadRow]:
    label, pixels, usage = (columns.index(name) for name in _COLUMNS)
    with source.open("rb", buffering=2**20) as file:
        file.readline(_MAX_LINE)
        of_lines = chunks(_lines(file), _CHUNK_ROWS, lambda line: len(line[2]), _CHUNK_BYTES)
        first = next(of_lines, [])
        side = _side([text.split(b",")[pixels] for _, _, text in first if text.count(b",") >= pixels])
        # glibc gives free memory back to the system, and takes it anew for each block's arrays, which is slower than to
        # parse them; once a larger piece was freed, it keeps as much (mallopt(3), M_MMAP_THRESHOLD).
        np.empty(2**23, np.uint8)
        # One thread: numpy's calls are so short here that two threads would mostly wait for each other.
        for chunk in chain([first], of_lines):
            yield from _parse(chunk, len(columns), label, pixels, usage, side)


def _lines(file: BinaryIO) -> Iterator[Line]:
    row, number = 0, 1
    while line := file.readline(_MAX_LINE):
        number += 1
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


def _parse(chunk: list[Line], width: int, label: int, pixels: int, usage: int, side: int) -> list[Row | BadRow]:
    """The rows of a chunk of lines; `label`, `pixels` and `usage` are the positions of the `width` columns."""
    # No value holds a comma, so quotes can be dropped.
    lines = [(str(row), line, [_plain(value) for value in text.split(b",", width)]) for row, line, text in chunk]
    problems = [_problem(row, line, fields, width, label, usage) for row, line, fields in lines]
    good = [fields[pixels] for (_, _, fields), bad in zip(lines, problems, strict=True) if bad is None]
    images = _images(good, side)
    rows: list[Row | BadRow] = []
    for (row, line, fields), bad in zip(lines, problems, strict=True):
        if bad is not None:
            rows.append(bad)
            continue
        image = next(images)
        if isinstance(image, MienError):
            rows.append(BadRow(row, "pixels", image.message, image.expected, line))
        else:
            rows.append(Row(_USAGES[fields[usage]], row, image, _LABELS[fields[label]], size=(side, side)))
    return rows


def _problem(row: str, line: int, fields: list[bytes], width: int, label: int, usage: int) -> BadRow | None:
    """What is wrong with a row, its pixels aside."""
    if fields == [_TOO_LONG]:
        return BadRow(row, "", "the line is too long", f"at most {_MAX_LINE // 2**20} MB", line)
    if len(fields) != width:
        return BadRow(row, "", f"{len(fields)} columns" + (" or more" if len(fields) > width else ""), str(width), line)
    if fields[label] not in _LABELS:
        return BadRow(row, "emotion", f"{_show(fields[label])} is no label", f"0 to {len(_LABELS) - 1}", line)
    if fields[usage] not in _USAGES:
        return BadRow(row, "Usage", f"{_show(fields[usage])} is no usage", ", ".join(OFFICIAL_SPLITS), line)
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
