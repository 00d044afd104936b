"""WFLW: `list_98pt_rect_attr_train.txt` and `_test.txt` list the faces of `WFLW_images` with 98 points each.

A line is 196 coordinates, a box, six attributes (pose, expression, illumination, make-up, occlusion, blur) and the path
of the image. Of the 98 points, 68 stand where iBUG's do, by the usual table. Coordinates are taken as pixel centres
from 0.
Source: W. Wu et al. (2018), Look at boundary, CVPR, and the set's own readme.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mien.data.importers import face_points, layouts, listed
from mien.data.importers.listed import Listed
from mien.data.importers.source import BadRow, Row, Source
from mien.data.importers.tree import tree_of
from mien.data.labels import FACE
from mien.errors import MienError
from mien.reading import read_lines
from mien.registry import register

CONVENTION = "WFLW's 98 points, taken as pixel centres from 0"
ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")
# Where each of iBUG's points stands among WFLW's: jaw, brows, nose, eyes, mouth.
PLACES = (
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60),
    60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, *range(76, 96),
)  # fmt: skip
_LIST = re.compile(r"list_98pt_rect_attr_(train|test)\.txt", re.IGNORECASE)
_NUMBERS = 2 * 98
_BOX = 4
_POINTS = "_points"


@register("importer", "wflw")
def wflw(source: Path) -> Source | None:
    """WFLW's lists with its images, wherever below the folder."""
    if not source.is_dir():
        return None
    tree = tree_of(source)
    lists = {file.id: match[1].lower() for file in tree.files if (match := _LIST.fullmatch(file.path.name))}
    if not lists or not tree.images:
        return None
    images: dict[str, str] = {}
    for file in tree.images:
        parts = file.id.split("/")
        for start in range(len(parts)):
            images.setdefault("/".join(parts[start:]), file.id)
    listed_images = {one.image for name in lists for one in _listed(source / name, name, "", images)}
    stray = [*listed.unlisted(tree.images, listed_images, " and ".join(sorted(lists))), *tree.linked]
    names = sorted(lists, key=lambda name: (lists[name] != "train", name))
    return Source(
        rows=_rows(source, {name: lists[name] for name in names}, images, stray),
        classes=FACE.classes,
        columns={
            face_points.COLUMN: face_points.KIND,
            face_points.GROUP: face_points.GROUP_KIND,
            **dict.fromkeys(ATTRIBUTES, pa.int64()),
        },
        groups=(face_points.GROUP,),
        details={**face_points.details(CONVENTION, limited=False), "terms": layouts.WFLW.terms},
        notes=[*face_points.notes(CONVENTION, limited=False), layouts.WFLW.terms],
    )


def _rows(source: Path, lists: dict[str, str], images: dict[str, str], stray: list[BadRow]) -> Iterator[Row | BadRow]:
    entries = (one for name, split in lists.items() for one in _listed(source / name, name, split, images))
    for one, row in _paired(source, entries):
        if isinstance(row, BadRow):
            yield row
            continue
        points, others = one.extra[_POINTS], {key: row.extra[key] for key in ATTRIBUTES}
        placed = face_points.with_points(row, one.image, points, [one.line or 0] * len(points), one.file)
        yield (
            placed
            if isinstance(placed, BadRow)
            else Row(
                placed.split, placed.id, placed.image, placed.label, path=placed.path, extra={**placed.extra, **others}
            )
        )
    yield from stray


def _paired(source: Path, entries: Iterator[Listed]) -> Iterator[tuple[Listed, Row | BadRow]]:
    current: list[Listed] = []

    def noted() -> Iterator[Listed]:
        for one in entries:
            current[:] = [one]
            yield one

    for row in listed.rows(source, noted()):
        yield current[0], row


def _listed(file: Path, name: str, split: str, images: dict[str, str]) -> Iterator[Listed]:
    seen: dict[str, int] = {}
    for line, text in read_lines(file):
        fields = text.split(maxsplit=_NUMBERS + _BOX + len(ATTRIBUTES))
        if not fields:
            continue
        path = fields[-1].strip()
        image = images.get(path)
        number = seen[path] = seen.get(path, 0) + 1
        row = f"{image or path}#{number}"
        try:
            if len(fields) != _NUMBERS + _BOX + len(ATTRIBUTES) + 1:
                raise MienError(f"{len(fields)} values", expected="207: 98 points, a box, 6 attributes and a path")
            numbers = [face_points.parse_number(value) for value in fields[:_NUMBERS]]
            points = face_points.points_from_numbers([[numbers[2 * place], numbers[2 * place + 1]] for place in PLACES])
            flags = [int(face_points.parse_number(value)) for value in fields[_NUMBERS + _BOX : -1]]
            if image is None:
                raise MienError("there is no such image")
        except MienError as error:
            yield Listed("", None, None, problem=BadRow(row[:200], "", error.message, error.expected, line, name))
        else:
            extra = {_POINTS: points, **dict(zip(ATTRIBUTES, flags, strict=True))}
            yield Listed(image, FACE.classes[0], split, line, name, extra, row)
