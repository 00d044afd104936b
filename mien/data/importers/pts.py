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
from mien.data.importers import face_points
from mien.data.importers.disk import LEADS_OUT, NOT_UTF_8, SUFFIXES, leads_out, read, relative, visible
from mien.data.importers.source import MAX_IMAGE_BYTES, MAX_SPLITS, BadRow, Row, Source
from mien.data.labels import FACE
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.registry import register

CONVENTION = "300-W's .pts, pixel centres from 1"

# 68 lines with 15 digits a number are 2 KB.
_MAX_BYTES = 2**16
_HEADER = re.compile(r"(?i)(version|n_points)\s*:\s*(\S+)")


@dataclass(frozen=True)
class _Face:
    """A `.pts` file and the images beside it that share its name: one image, if all is well."""

    points: Path
    images: tuple[Path, ...]
    id: str
    folder: tuple[str, ...]


@register("importer", "pts")
def pts(source: Path) -> Source | None:
    """Images with 300-W's `.pts` files beside them, in any folders; points count from 1.

    Of several folders each is a split, named by its path (`helen_trainset`); otherwise mien makes the splits.
    """
    if not source.is_dir():
        return None
    faces, linked, alone = _find(source)
    if not faces:
        return None
    folders = _below_common({face.folder for face in faces})
    apart = 1 < len(folders) <= MAX_SPLITS and all(folders.values())
    splits = {folder: _split(below) if apart else None for folder, below in folders.items()}
    faces.sort(key=lambda face: (split_rank(splits[face.folder] or ""), face.id))
    # More folders than there can be splits: then each is a person or a film, and its pictures are alike.
    whole = len(folders) > MAX_SPLITS and all(folders.values())
    groups = {face.id: "/".join(face.folder) if whole else face_points.original(face.id) for face in faces}
    rows = len(faces) + len(linked)
    notes = face_points.notes(CONVENTION, limited=True)
    if alone:
        notes.append(f"images without a .pts file, left out: {alone:,}")
    return Source(
        rows=_rows(source, faces, splits, groups, linked),
        classes=FACE.classes,
        total=rows,
        columns={face_points.COLUMN: face_points.KIND, face_points.GROUP: face_points.GROUP_KIND},
        labels=None if apart else [FACE.classes[0]] * rows,
        groups=None if apart else [*groups.values(), *(bad.row for bad in linked)],
        details=face_points.details(CONVENTION, limited=True),
        notes=notes,
    )


def _find(source: Path) -> tuple[list[_Face], list[BadRow], int]:
    """The `.pts` files below a folder; the links that aren't followed; how many images have no `.pts` file."""
    faces: list[_Face] = []
    linked: list[BadRow] = []
    alone = 0
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
        alone += len(of_stem) if named else len(images)
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
    splits: dict[tuple[str, ...], str | None],
    groups: dict[str, str],
    linked: list[BadRow],
) -> Iterator[Row | BadRow]:
    root = source.resolve()
    for face in faces:
        yield _row(source, root, face, splits[face.folder], groups[face.id])
    yield from linked


def _row(source: Path, root: Path, face: _Face, split: str | None, group: str) -> Row | BadRow:
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
    row = Row(split, face.id, pixels, FACE.classes[0], path=image.name)
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
        points.append((x, y))
        lines.append(number)
    if len(points) != POINTS:
        raise MienError(f"{len(points)} points", expected=str(POINTS))
    return np.array(points, np.float64), lines
