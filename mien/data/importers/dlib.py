"""dlib's XML of faces with 68 points, as its tool imglab writes it and as `labels_ibug_300W_train.xml` is.

    <dataset><images><image file='helen/trainset/1.jpg'><box top='…'><part name='00' x='61' y='96'/>…</box></image>…

Points are pixel centres from 0, as dlib counts. Source: ibug_300W_large_face_landmark_dataset of
https://dlib.net/files/data/, whose points are 300-W's.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.data.dataset import SPLIT_NAMES, split_rank
from mien.data.importers import face_points
from mien.data.importers.disk import read
from mien.data.importers.imglab import Box, boxes, is_imglab
from mien.data.importers.source import MAX_IMAGE_BYTES, BadRow, Row, Source
from mien.data.labels import FACE
from mien.errors import MienError
from mien.registry import register

CONVENTION = "dlib's XML, pixel centres from 0"


@dataclass(frozen=True)
class _List:
    """An XML file, the split that its name gives, and its path in errors where it isn't the source itself."""

    path: Path
    split: str | None
    shown: str | None


@register("importer", "dlib-xml")
def dlib_xml(source: Path) -> Source | None:
    """dlib's XML, or a folder with `NAME_train.xml` and `NAME_test.xml`; images stand below the XML's folder.

    If a file's name gives no split, mien makes the splits, and a mirrored twin stays with its original.
    """
    lists = _lists(source)
    if not lists:
        return None
    # Read once to count: an error in the XML comes before any work.
    total = sum(1 for each in lists for _ in boxes(each.path))
    return Source(
        rows=_rows(lists),
        classes=FACE.classes,
        total=total,
        columns={face_points.COLUMN: face_points.KIND, face_points.GROUP: face_points.GROUP_KIND},
        drawn=lists[0].split is None,
        groups=(face_points.GROUP,),
        details=face_points.details(CONVENTION, limited=True),
        notes=face_points.notes(CONVENTION, limited=True),
    )


def _lists(source: Path) -> list[_List]:
    if source.is_file():
        return [_List(source, _split(source), None)] if is_imglab(source) else []
    if not source.is_dir():
        return []
    files = [path for path in sorted(source.glob("[!.]*.xml")) if is_imglab(path)]
    # `labels_ibug_300W.xml` repeats the rows of the other two.
    named = [path for path in files if _split(path) is not None]
    chosen = named or files
    if not named and len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise MienError(
            f"there are {len(files)} lists of faces: {names}", file=str(source), expected="the path of one of them"
        )
    lists = [_List(path, _split(path), path.name) for path in chosen]
    return sorted(lists, key=lambda each: split_rank(each.split or ""))


def _split(path: Path) -> str | None:
    """The split that a file's name ends with: `train` for `labels_ibug_300W_train.xml`."""
    word = path.stem.rpartition("_")[2]
    return word if word.lower() in SPLIT_NAMES else None


def _rows(lists: list[_List]) -> Iterator[Row | BadRow]:
    seen: set[str] = set()
    for each in lists:
        root = each.path.parent.resolve()
        for box in boxes(each.path):
            row = box.file if box.number is None else f"{box.file}#{box.number}"
            if row in seen:
                yield BadRow(row, "", "the image is listed twice", None, box.line, each.shown)
            else:
                seen.add(row)
                yield _row(row, root, each, box)


def _row(row: str, root: Path, each: _List, box: Box) -> Row | BadRow:
    path = Path(os.path.realpath(root / box.file.replace("\\", "/")))
    if not path.is_relative_to(root):
        return BadRow(row, "image", "the path leads out of the folder", "one below it", box.line, each.shown)
    try:
        image = read(path, MAX_IMAGE_BYTES)
    except MienError as error:
        return BadRow(row, "image", error.message, error.expected, box.line, each.shown)
    try:
        points, lines = box.points()
    except MienError as error:
        return BadRow(row, face_points.COLUMN, error.message, error.expected, error.line or box.line, each.shown)
    good = Row(each.split, row, image, FACE.classes[0], path=path.name)
    return face_points.with_points(good, face_points.original(box.file), points, lines, each.shown)
