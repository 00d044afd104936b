"""What importers of landmarks share: they check the 68 points of a face and move them to the image as decoded.

Inside mien, points are pixel centres from 0. The importer of a source that counts otherwise converts its points, and
says so in the card.
"""

import contextlib
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from mien.data.dataset import POINTS_COLUMN
from mien.data.importers.source import BadRow, Row
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.faces.orientation import Header, upright
from mien.images import FORMATS, MAX_PIXELS
from mien.reading import read_json

COLUMN = POINTS_COLUMN
KIND = pa.list_(pa.float32(), 2 * POINTS)
# Names the picture that a row shares with its mirrored twin: rows of one group stay in one split.
GROUP = "group"
GROUP_KIND = pa.string()

TERMS = (
    "300-W's annotations (AFW, HELEN, iBUG, LFPW, 300-W) are for research only, no commercial products; "
    "weights that are trained on them carry that limit"
)
_OF_300_W = re.compile(r"(?i)(?<![a-z])(300[-_ ]?w|ibug|helen|lfpw|afw)(?![a-z])")

_ORIENTATION = 0x0112
# A PNG without any of these chunks has no orientation; to read one, Pillow decodes the whole image.
_PNG_METADATA = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")

Points = npt.NDArray[np.float64]


def parse_number(text: str) -> float:
    """A finite number as people write it, or a MienError.

    >>> parse_number("-12.5e1")
    -125.0
    """
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) or not math.isfinite(float(text)):
        shown = f"{text[:20]}…" if len(text) > 20 else text
        raise MienError(f"'{shown}' is no coordinate", expected="a number")
    return float(text)


def points_from_numbers(values: Sequence[Any]) -> Points:
    """The points of a list of 136 numbers, x and y in turn, or of 68 pairs; MienError for anything else."""
    pairs = bool(values) and all(isinstance(value, list) and len(value) == 2 for value in values)
    flat = [number for pair in values for number in pair] if pairs else values
    if len(flat) != 2 * POINTS:
        given = f"{len(flat)} numbers" if len(flat) % 2 else f"{len(flat) // 2} points"
        raise MienError(given, expected=f"{POINTS} points, x and y of each")
    for index, value in enumerate(flat):
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise MienError(f"the {'xy'[index % 2]} of point {index // 2 + 1} is {value}", expected="a number")
    return np.array(flat, np.float64).reshape(POINTS, 2)


def header(image: bytes) -> Header | None:
    """The header of an image file; None if there is none, which decoding will report."""
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return None
            orientation = 1
            if opened.format != "PNG" or any(word in image for word in _PNG_METADATA):
                orientation = opened.getexif().get(_ORIENTATION, 1)
            return Header(*opened.size, orientation if orientation in range(1, 9) else 1)
    except Exception:  # Pillow's parsers raise whatever the broken bytes led them to.
        return None


def far_outside(points: Points, header: Header) -> tuple[int, str, str] | None:
    """The first point more than one image side away from the image: its index, the problem, what was expected."""
    size = np.array([header.width, header.height])
    wrong = ((points < -size) | (points > 2 * size)).any(axis=1)
    if not wrong.any():
        return None
    index = int(wrong.argmax())
    x, y = points[index]
    reason = f"point {index + 1} at ({x:.6g}, {y:.6g}) is far outside of the image"
    return index, reason, f"at most one image side away from its {header.width} × {header.height} pixels"


def with_points(row: Row, group: str, points: Points, lines: Sequence[int], file: str | None) -> Row | BadRow:
    """The row with points of its image as stored, and its group; or the row as a bad one.

    `lines` are the points' lines in a text file, and `file` is that file below the source.
    """
    stored = header(row.image)
    if stored is not None:
        far = far_outside(points, stored)
        if far is not None:
            index, reason, expected = far
            return BadRow(row.id, COLUMN, reason, expected, lines[index], file)
        points = upright(points, stored)
    return replace(row, extra={COLUMN: _numbers(points), GROUP: group})


def listed_points(row: str, column: str, image: bytes, values: Sequence[Any]) -> list[float] | BadRow:
    """The row's value of `landmarks` from a Parquet column: points of the image as decoded; or the row as a bad one."""
    try:
        points = points_from_numbers(values)
    except MienError as error:
        return BadRow(row, column, error.message, error.expected)
    stored = header(image)
    far = stored and far_outside(points, stored.turned)
    return BadRow(row, COLUMN, *far[1:]) if far else _numbers(points)


def _numbers(points: Points) -> list[float]:
    numbers: list[float] = points.ravel().tolist()
    return numbers


def details(convention: str, limited: bool) -> dict[str, Any]:
    """The card's entry for points given by a convention; `limited`: 300-W's terms hold for them."""
    content = {"from": convention, "to": "pixel centres from 0"}
    return {COLUMN: {**content, "terms": "research only"} if limited else content}


def notes(convention: str, limited: bool) -> list[str]:
    """The same facts as sentences for a reader."""
    sentence = f"68 points in iBUG's order, stored as pixel centres from 0; they come from {convention}"
    return [sentence, TERMS] if limited else [sentence]


def restricted(source: Path, splits: Iterable[Any]) -> bool:
    """Whether 300-W's terms hold for the points of a Parquet source: by its name, its splits or the card beside it.

    >>> restricted(Path("faces.parquet"), ["training", "helen_test"])
    True
    """
    card = source / "card.json"
    if card.is_file():
        with contextlib.suppress(OSError, MienError, AttributeError):
            if read_json(card).get("details", {}).get(COLUMN, {}).get("terms"):
                return True
    return any(_OF_300_W.search(name) for name in [source.name, *splits] if isinstance(name, str))


def original(path: str) -> str:
    """The path of an image without suffix; for a mirrored twin, by dlib's naming, that of its original.

    >>> original("helen/trainset/1_mirror.jpg"), original("helen/trainset/1.png")
    ('helen/trainset/1', 'helen/trainset/1')
    """
    return re.sub(r"\.\w+$", "", path).removesuffix("_mirror")
