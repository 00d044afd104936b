"""Folders of images with a `.pts` file beside each: the layout of 300-W.

A `.pts` file holds 68 lines "x y", with or without 300-W's header (`version: 1`, `n_points: 68`) and braces. Points
count from 1, as in MATLAB, where they were made: the middle of the first pixel is (1, 1). Source: the pages of the
300-W challenge, https://ibug.doc.ic.ac.uk/resources/300-W/.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mien.data.dataset import split_rank
from mien.data.importers import face_points, layouts
from mien.data.importers.disk import LEADS_OUT, NOT_UTF_8, SUFFIXES, leads_out, read, relative, visible
from mien.data.importers.pts_lists import splits_of_lists
from mien.data.importers.source import MAX_IMAGE_BYTES, MAX_SPLITS, Asked, BadRow, Row, Source
from mien.data.labels import FACE, canonical, is_expression
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.registry import register

CONVENTION = "300-W's .pts, pixel centres from 1"

# 68 lines with 15 digits a number are 2 KB.
_MAX_BYTES = 2**16
# How 300-W's people write a point that isn't in the picture.
_UNSEEN = (-1.0, -1.0)
# The number of a face in its photo; longer ones, and those with zeros in front, number images.
_NUMBERED = re.compile(r"_[1-9]\d?$")
_MIN_PHOTOS = 10
_HEADER = re.compile(r"(?i)(version|n_points)\s*:\s*(\S+)")


@dataclass(frozen=True)
class _Face:
    """A `.pts` file and the images beside it that share its name: one image, if all is well."""

    points: Path
    images: tuple[Path, ...]
    id: str
    folder: tuple[str, ...]


@register("importer", "pts")
def pts(source: Path, asked: Asked) -> Source | None:
    """Images with 300-W's `.pts` files beside them, in any folders; points count from 1.

    Folders that are called by expressions, or as `--labels` says, are classes, in folders of splits or not. Lists
    beside the folders (`train.txt`) give the splits; else of several folders each is one, named by its path
    (`helen_trainset`). Where there are none mien draws the splits.
    """
    if not source.is_dir():
        return None
    faces, linked, alone = _find(source)
    if not faces:
        return None
    classes = _classes(faces, asked)
    folders = _below_common({face.folder[:-1] if classes else face.folder for face in faces})
    apart = 1 < len(folders) <= MAX_SPLITS and all(folders.values())
    if classes:
        apart = apart and all(layouts.is_split("_".join(below)) for below in folders.values())
    listed, unlisted = splits_of_lists(source, [face.id for face in faces])
    if listed:
        apart = True
        faces = [face for face in faces if face.id in listed]
    splits: dict[str, str | None] = dict.fromkeys([face.id for face in faces], None)
    if apart:
        places = {face.id: folders[face.folder[:-1] if classes else face.folder] for face in faces}
        splits |= {row: _split(below) for row, below in places.items()}
        splits |= listed
    faces.sort(key=lambda face: (split_rank(splits[face.id] or ""), face.id))
    # More folders than there can be splits: then each is a person or a film, and its pictures are alike.
    whole = len(folders) > MAX_SPLITS and all(folders.values()) and not classes and not listed
    photos = _photos([face.id for face in faces])
    groups = {face.id: "/".join(face.folder) if whole else photos[face.id] for face in faces}
    notes = face_points.notes(CONVENTION, limited=True)
    bad = [*linked, *unlisted]
    bad += [BadRow(image, face_points.COLUMN, "there is no .pts file beside it") for image in sorted(alone)]
    return Source(
        rows=_rows(source, faces, splits, groups, classes, bad),
        classes=tuple(sorted(set(classes.values()))) if classes else FACE.classes,
        total=len(faces) + len(bad),
        columns={face_points.COLUMN: face_points.KIND, face_points.GROUP: face_points.GROUP_KIND},
        drawn=not apart,
        groups=(face_points.GROUP,),
        label_column="class folder" if classes else "label",
        details=face_points.details(CONVENTION, limited=True),
        notes=notes,
    )


def _classes(faces: list[_Face], asked: Asked) -> dict[tuple[str, ...], str]:
    """The class of each folder, where all folders of images are called by classes; else none."""
    wanted = {canonical(name) for name in asked.labels.classes} if asked.labels else set()
    folders = {face.folder for face in faces}
    if asked.labels == FACE or not all(folders):
        return {}
    if all(is_expression(folder[-1]) or canonical(folder[-1]) in wanted for folder in folders):
        return {folder: folder[-1] for folder in folders}
    return {}


def _photos(ids: list[str]) -> dict[str, str]:
    """The photo of each image: mirrored twins share one, and so do the faces `NAME_1` and `NAME_2`."""
    names = {row: face_points.original(row) for row in ids}
    photos = {row: _NUMBERED.sub("", name) for row, name in names.items()}
    # With few names that are left, the number was all that told images apart.
    return photos if len(set(photos.values())) >= _MIN_PHOTOS else names


def _find(source: Path) -> tuple[list[_Face], list[BadRow], list[str]]:
    """The `.pts` files below a folder; the links that aren't followed; the images that have no `.pts` file."""
    faces: list[_Face] = []
    linked: list[BadRow] = []
    alone: list[str] = []
    waiting = [source]
    while waiting:
        folder = waiting.pop()
        files: list[Path] = []
        for path in visible(folder):
            if path.is_dir():
                if path.is_symlink():
                    linked.append(BadRow(relative(path, source), "", "a link to a folder, which isn't followed"))
                else:
                    waiting.append(path)
            else:
                files.append(path)
        images = [path for path in files if path.suffix.lower() in SUFFIXES]
        named = [path for path in files if path.suffix.lower() == ".pts"]
        of_stem: dict[str, list[Path]] = {}
        for path in images if named else ():
            of_stem.setdefault(path.stem, []).append(path)
        for path in named:
            beside = of_stem.pop(path.stem, [])
            shown = relative(beside[0] if len(beside) == 1 else path, source)
            faces.append(_Face(path, tuple(beside), shown, PurePosixPath(relative(folder, source)).parts))
        left = [path for of in of_stem.values() for path in of] if named else images
        alone += (relative(path, source) for path in left)
    return faces, sorted(linked, key=lambda bad: bad.row), alone


def _below_common(folders: set[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Each folder's path below the folder that holds them all."""
    common = 0
    while len({folder[: common + 1] for folder in folders}) == 1 and all(len(folder) > common for folder in folders):
        common += 1
    return {folder: folder[common:] for folder in folders}


def _split(folder: tuple[str, ...]) -> str:
    return re.sub(r"\W+", "_", "_".join(folder))


def _rows(
    source: Path,
    faces: list[_Face],
    splits: dict[str, str | None],
    groups: dict[str, str],
    classes: dict[tuple[str, ...], str],
    bad: list[BadRow],
) -> Iterator[Row | BadRow]:
    root = source.resolve()
    for face in faces:
        label = classes.get(face.folder, FACE.classes[0])
        yield _row(source, root, face, splits[face.id], groups[face.id], label)
    yield from bad


def _row(source: Path, root: Path, face: _Face, split: str | None, group: str, label: str) -> Row | BadRow:
    file = relative(face.points, source)
    if "\ufffd" in file:
        return BadRow(face.id, "", NOT_UTF_8)
    if not face.images:
        return BadRow(face.id, "image", f"there is no image beside it ({', '.join(SUFFIXES)})", file=file)
    if len(face.images) > 1:
        names = ", ".join(path.name for path in face.images)
        return BadRow(face.id, "image", f"there are {len(face.images)} images beside it: {names}", "one", file=file)
    (image,) = face.images
    for path, column in ((image, "image"), (face.points, face_points.COLUMN)):
        if leads_out(path, root):
            return BadRow(face.id, column, LEADS_OUT)
    try:
        pixels = read(image, MAX_IMAGE_BYTES)
    except MienError as error:
        return BadRow(face.id, "image", error.message)
    try:
        points, lines = parse_pts(read(face.points, _MAX_BYTES))
    except MienError as error:
        return BadRow(face.id, face_points.COLUMN, error.message, error.expected, error.line, file)
    row = Row(split, face.id, pixels, label, path=image.name)
    return face_points.with_points(row, group, points - 1, lines, file)


def parse_pts(content: bytes) -> tuple[face_points.Points, list[int]]:
    """The points of a `.pts` file, float64 (68, 2) as they stand there, and the line of each; MienError with its line.

    >>> parse_pts(b"n_points: 68\\n{\\n" + b"1.5 2\\n" * 68 + b"}")[0][67].tolist()
    [1.5, 2.0]
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MienError("this is no text", expected="lines of x and y") from error
    points: list[tuple[float, float]] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.strip()
        if plain in ("", "{", "}"):
            continue
        header = _HEADER.fullmatch(plain)
        if header is not None:
            if header[1].lower() == "n_points" and header[2] != str(POINTS):
                raise MienError(f"n_points is {header[2]}", line=number, expected=str(POINTS))
            continue
        numbers = plain.replace(",", " ").split()
        if len(numbers) != 2:
            shown = f"{plain[:20]}…" if len(plain) > 20 else plain
            raise MienError(f"'{shown}' is no point", line=number, expected="x and y")
        try:
            x, y = map(face_points.parse_number, numbers)
        except MienError as error:
            error.line = number
            raise
        if (x, y) == _UNSEEN:
            raise MienError(f"point {len(points) + 1} is -1 -1, so nobody saw it", line=number, expected="all points")
        points.append((x, y))
        lines.append(number)
    if len(points) != POINTS:
        raise MienError(f"{len(points)} points", expected=str(POINTS))
    return np.array(points, np.float64), lines
