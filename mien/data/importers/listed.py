"""What importers of lists share: images that a list names, read below one folder, and images that no list names."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.data.importers.disk import read
from mien.data.importers.source import MAX_IMAGE_BYTES, BadRow, Row
from mien.data.importers.tree import File
from mien.errors import MienError


@dataclass(frozen=True, slots=True)
class Listed:
    """An image that a list names: its path below a folder, and what the list says of it.

    `line` and `file` are the place in the list, `file` below the source; `problem` says why it can't be a row.
    """

    image: str
    label: int | str | None
    split: str | None
    line: int | None = None
    file: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    problem: BadRow | None = None


def rows(root: Path, listed: Iterable[Listed], stray: Iterable[BadRow] = ()) -> Iterator[Row | BadRow]:
    """The images of a list as rows; one listed twice, or whose path leads out of `root`, is a bad row."""
    real = root.resolve()
    seen: set[str] = set()
    for one in listed:
        row = one.id or one.image
        if one.problem is not None:
            yield one.problem
        elif row in seen:
            yield BadRow(row, "", "the image is listed twice", None, one.line, one.file)
        else:
            seen.add(row)
            yield _row(row, real, one)
    yield from stray


def _row(row: str, root: Path, one: Listed) -> Row | BadRow:
    try:
        path = Path(os.path.realpath(root / one.image.replace("\\", "/")))
        if not path.is_relative_to(root):
            raise MienError("the path leads out of the folder", expected="one below it")
        image = read(path, MAX_IMAGE_BYTES)
    except ValueError:
        return BadRow(row, "image", "the path is none", None, one.line, one.file)
    except MienError as error:
        return BadRow(row, "image", error.message, error.expected, one.line, one.file)
    return Row(one.split, row, image, one.label, path=path.name, extra=one.extra)


def unlisted(images: Iterable[File], listed: Collection[str], lists: str) -> list[BadRow]:
    """The images that no list names, by their paths, as bad rows."""
    return [BadRow(image.id, "image", f"{lists} doesn't name it") for image in images if image.id not in listed]
