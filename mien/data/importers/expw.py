"""ExpW: `label/label.lst` lists the faces of `image/*.jpg` with their boxes; each face is cut out and is a row.

A line is "name face top left right bottom confidence label"; labels are 0 to 6: angry, disgust, fear, happy, sad,
surprise, neutral. Faces of one photo stay together. Source: Z. Zhang et al. (2018), From facial expression recognition
to interpersonal relation prediction, IJCV 126, and the set's own readme.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from mien.data.importers import layouts, listed
from mien.data.importers.listed import Listed
from mien.data.importers.source import BadRow, Row, Source
from mien.data.importers.tree import tree_of
from mien.data.labels import FER2013
from mien.errors import MienError
from mien.images import decode, encode_png
from mien.reading import read_lines
from mien.registry import register

_FIELDS = ("name", "face", "top", "left", "right", "bottom", "confidence", "label")
_PHOTO, _CONFIDENCE, _BOX = "photo", "confidence", "_box"


@register("importer", "expw")
def expw(source: Path) -> Source | None:
    """ExpW's list with its photos below the same folder."""
    if not source.is_dir():
        return None
    tree = tree_of(source)
    lists = [file for file in tree.files if file.path.name.lower() == "label.lst"]
    images = {file.path.name: file.id for file in tree.images}
    if len(lists) != 1 or not images:
        return None
    (found,) = lists
    # Read once, so that an error in the list comes before any work.
    named = {one.image for one in _listed(found.path, found.id, images)}
    stray = [*listed.unlisted(tree.images, named, found.id), *tree.linked]
    return Source(
        rows=_rows(source, found.path, found.id, images, stray),
        classes=tuple(map(str, range(len(FER2013)))),
        columns={_PHOTO: pa.string(), _CONFIDENCE: pa.float64()},
        drawn=True,
        groups=(_PHOTO,),
        scheme=FER2013.name,
        checked=True,
        details={"terms": layouts.EXPW.terms},
        notes=["faces cut out of the photos by the boxes of the list, as PNG", layouts.EXPW.terms],
    )


def _rows(source: Path, file: Path, name: str, images: dict[str, str], stray: list[BadRow]) -> Iterator[Row | BadRow]:
    for row in listed.rows(source, _listed(file, name, images), stray):
        yield row if isinstance(row, BadRow) else _cut(row)


def _listed(file: Path, name: str, images: dict[str, str]) -> Iterator[Listed]:
    for line, text in read_lines(file):
        fields = text.split()
        if not fields:
            continue
        row = "#".join(fields[:2])
        try:
            if len(fields) != len(_FIELDS):
                raise ValueError
            box = tuple(int(number) for number in fields[2:6])
            confidence = float(fields[6])
        except ValueError:
            problem = BadRow(row, "", f"'{text.strip()[:60]}' is no face", " ".join(_FIELDS), line, name)
            yield Listed("", None, None, problem=problem)
            continue
        image = images.get(fields[0])
        if image is None:
            problem = BadRow(row, "image", "there is no such image", None, line, name)
            yield Listed("", None, None, problem=problem)
        else:
            extra = {_PHOTO: fields[0], _CONFIDENCE: confidence, _BOX: box}
            yield Listed(image, fields[7], None, line, name, extra, f"{image}#{fields[1]}")


def _cut(row: Row) -> Row | BadRow:
    """The row with its face alone."""
    top, left, right, bottom = row.extra[_BOX]
    try:
        pixels = decode(row.image, "rgb")
    except MienError as error:
        return BadRow(row.id, "image", error.message, error.expected)
    height, width, _ = pixels.shape
    face = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if not face.size:
        where = f"({left}, {top}) to ({right}, {bottom})"
        return BadRow(row.id, "box", f"{where} is outside of the image", f"{width} × {height} pixels")
    extra = {name: value for name, value in row.extra.items() if name != _BOX}
    return replace(row, image=encode_png(face), size=(face.shape[1], face.shape[0]), extra=extra)
