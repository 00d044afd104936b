"""Folders of images: `<split>/<class>/images`, or `<class>/images`, for which mien makes the splits.

FER2013's folder version puts PublicTest and PrivateTest together as `test`; the names of its files
(`PublicTest_123.jpg`) give the official splits back.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mien.data.dataset import split_rank
from mien.data.importers.disk import LEADS_OUT, NOT_UTF_8, SUFFIXES, leads_out, read, relative, utf8, visible
from mien.data.importers.source import MAX_IMAGE_BYTES, BadRow, Row, Source
from mien.errors import MienError
from mien.registry import register

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
    needs_splits = all(file.split is None for file in files)
    return Source(
        rows=_rows(files, stray),
        classes=tuple(sorted({file.label for file in files})),
        total=len(files) + len(stray),
        labels=[*(file.label for file in files), *(None for _ in stray)] if needs_splits else None,
        label_column="class folder",
    )


def _find(source: Path) -> tuple[list[_File], list[BadRow]]:
    """The files of the class folders, and the files that wrongly lie outside of them."""
    root = source.resolve()
    top = visible(source)
    # In folders that hold folders, the upper ones are splits.
    if any(_is_folder(below, root) for above in top if _is_folder(above, root) for below in visible(above)):
        parents: list[tuple[Path, str | None]] = [(path, path.name) for path in top if _is_folder(path, root)]
        outside = [path for path in top if not _is_folder(path, root)]
    else:
        parents, outside = [(source, None)], []
    files: list[_File] = []
    for parent, split in parents:
        for path in visible(parent):
            if _is_folder(path, root):
                files.extend(_file(below, source, root, split) for below in visible(path))
            else:
                outside.append(path)
    stray = [
        BadRow(relative(path, source), "image", LEADS_OUT if leads_out(path, root) else "not in a class folder")
        for path in outside
        if leads_out(path, root) or path.suffix.lower() in SUFFIXES
    ]
    return files, stray


def _is_folder(path: Path, root: Path) -> bool:
    return path.is_dir() and not leads_out(path, root)


def _file(path: Path, source: Path, root: Path, split: str | None) -> _File:
    name = relative(path, source)
    problem = None
    if leads_out(path, root):
        problem = LEADS_OUT
    elif "\ufffd" in name:
        problem = NOT_UTF_8
    return _File(path, name, split, utf8(path.parent.name), problem=problem)


def _official(file: _File, name: re.Match[str] | None) -> _File:
    """The file with the official split that its name gives, or with a problem if the name gives none or contradicts."""
    if name is None:
        return replace(file, problem="the name gives no official split, as most of the others do")
    split = name[1]
    problem = file.problem
    if file.split is not None and (split == "Training") != file.split.lower().startswith("train"):
        problem = f"the name says {split}, but the folder is '{file.split}'"
    return replace(file, split=split, number=int(name[2]), problem=problem)


def _rows(files: list[_File], stray: list[BadRow]) -> Iterator[Row | BadRow]:
    for file in files:
        try:
            if file.problem:
                raise MienError(file.problem)
            image = read(file.path, MAX_IMAGE_BYTES)
        except MienError as error:
            yield BadRow(file.id, "image", error.message)
        else:
            yield Row(file.split, file.id, image, file.label, path=file.path.name)
    yield from stray
