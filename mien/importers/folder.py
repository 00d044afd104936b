"""Folders of images: `<split>/<class>/images`, or `<class>/images`, for which the split is then made.

FER2013's folder version puts PublicTest and PrivateTest together as `test`; the names of its files
(`PublicTest_123.jpg`) give the official splits back.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mien.dataset import split_rank
from mien.importers.source import MAX_IMAGE_BYTES, BadRow, Row, Source
from mien.registry import register

_JUNK = ("thumbs.db", "desktop.ini", "__macosx", "icon\r")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
_LEADS_OUT = "a link that leads out of the source"
_OFFICIAL = re.compile(r"(Training|PublicTest|PrivateTest)_(\d{1,18})\.\w+")


@dataclass(frozen=True)
class _File:
    """A file of a class folder; `problem` says why it isn't even opened."""

    path: Path
    id: str
    split: str | None
    label: str
    number: int = 0
    problem: str | None = None


@register("importer", "folder")
def folder(source: Path) -> Source | None:
    """Images in class folders, with or without folders of splits above them."""
    if not source.is_dir():
        return None
    files, stray = _find(source)
    if not files:
        return None
    named = [_OFFICIAL.fullmatch(file.path.name) for file in files]
    official = 2 * sum(name is not None for name in named) > len(files)
    if official:
        files = [_official(file, name) for file, name in zip(files, named, strict=True)]
    files.sort(key=lambda file: (split_rank(file.split or ""), file.number, file.id))
    made = all(file.split is None for file in files)
    return Source(
        rows=_rows(files, stray),
        classes=tuple(sorted({file.label for file in files})),
        total=len(files) + len(stray),
        labels=[*(file.label for file in files), *(None for _ in stray)] if made else None,
        label_column="class folder",
    )


def _find(source: Path) -> tuple[list[_File], list[BadRow]]:
    """The files of the class folders, and what stands outside of them but should not."""
    root = source.resolve()
    top = _visible(source)
    # Folders within folders: the upper ones are splits.
    if any(_is_folder(below, root) for above in top if _is_folder(above, root) for below in _visible(above)):
        parents: list[tuple[Path, str | None]] = [(path, path.name) for path in top if _is_folder(path, root)]
        outside = [path for path in top if not _is_folder(path, root)]
    else:
        parents, outside = [(source, None)], []
    files: list[_File] = []
    for parent, split in parents:
        for path in _visible(parent):
            if _is_folder(path, root):
                files.extend(_file(below, source, root, split) for below in _visible(path))
            else:
                outside.append(path)
    stray = [
        BadRow(_id(path, source), "image", _LEADS_OUT if _leads_out(path, root) else "not in a class folder")
        for path in outside
        if _leads_out(path, root) or path.suffix.lower() in _SUFFIXES
    ]
    return files, stray


def _visible(folder: Path) -> list[Path]:
    return sorted(
        Path(entry.path)
        for entry in os.scandir(folder)
        if not entry.name.startswith(".") and entry.name.lower() not in _JUNK
    )


def _leads_out(path: Path, root: Path) -> bool:
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root)


def _is_folder(path: Path, root: Path) -> bool:
    return path.is_dir() and not _leads_out(path, root)


def _id(path: Path, source: Path) -> str:
    return _utf8(path.relative_to(source).as_posix())


def _utf8(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _file(path: Path, source: Path, root: Path, split: str | None) -> _File:
    name = _id(path, source)
    problem = None
    if _leads_out(path, root):
        problem = _LEADS_OUT
    elif "\ufffd" in name:
        problem = "the name isn't UTF-8"
    return _File(path, name, split, _utf8(path.parent.name), problem=problem)


def _official(file: _File, name: re.Match[str] | None) -> _File:
    """The file with the official split that its name gives, and a problem where it gives none or contradicts."""
    if name is None:
        return replace(file, problem="the name gives no official split, as most of the others do")
    split = name[1]
    problem = file.problem
    if file.split is not None and (split == "Training") != file.split.lower().startswith("train"):
        problem = f"the name says {split}, but the folder is '{file.split}'"
    return replace(file, split=split, number=int(name[2]), problem=problem)


def _rows(files: list[_File], stray: list[BadRow]) -> Iterator[Row | BadRow]:
    for file in files:
        image = file.problem or _read(file.path)
        if isinstance(image, str):
            yield BadRow(file.id, "image", image)
        else:
            yield Row(file.split, file.id, image, file.label, path=file.path.name)
    yield from stray


def _read(path: Path) -> bytes | str:
    """The bytes of an image file, or why there are none."""
    try:
        facts = path.stat()
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(facts.st_mode):
            return "not a file"
        if facts.st_size > MAX_IMAGE_BYTES:
            return f"the file has {facts.st_size:,} bytes, more than {MAX_IMAGE_BYTES:,}"
        return path.read_bytes()
    except OSError as error:
        return f"the file can't be read ({error.strerror})"
