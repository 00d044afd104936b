"""Which photos are meant: files, folders, patterns and lists of them."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mien.errors import MienError
from mien.images import SUFFIXES
from mien.prediction.places import is_address


class Photo(NamedTuple):
    """A file to be read, and its path below the folder that it was named by, or its name."""

    file: Path
    below: Path

    @property
    def name(self) -> str:
        """The path as text; bytes that aren't UTF-8 become U+FFFD."""
        return os.fsencode(self.file).decode("utf-8", "replace")


def find_photos(given: Sequence[str], listed: Iterable[str] = ()) -> list[Photo]:
    """The photos that paths mean, each once, in their order.

    A folder stands for all images in it and below it, sorted; hidden ones and other files are left out. A pattern
    (`photos/**/*.jpg`) stands for what it matches, `@list.txt` for the paths in a file, one a line, and `-` for those
    of `listed`. A file that isn't there is kept: that it can't be read is told of it alone. Raises MienError for a
    folder without images, a pattern without matches and a list that can't be read.
    """
    photos = (photo for path in named_paths(given, listed) for photo in photos_of(path))
    return list({photo.file: photo for photo in photos}.values())


def named_paths(given: Sequence[str], listed: Iterable[str]) -> Iterator[str]:
    """The paths that are given, with those of lists in their place."""
    for one in given:
        if one == "-":
            yield from _lines(listed)
        elif one.startswith("@") and not Path(one).exists():
            try:
                yield from _lines(Path(one[1:]).read_text(encoding="utf-8").splitlines())
            except (OSError, UnicodeDecodeError) as error:
                raise MienError("this list of photos can't be read", file=one[1:], expected="a path a line") from error
        else:
            yield one


def _lines(lines: Iterable[str]) -> Iterator[str]:
    return (line.rstrip("\r\n") for line in lines if line.strip())


def photos_of(given: str) -> Iterator[Photo]:
    """The photos that one path, folder or pattern means; see `find_photos`."""
    if is_address(given):
        raise MienError("an object store is read by Ray alone", file=given, expected="--engine ray of mien predict")
    path = Path(given)
    if "\0" not in given and path.is_dir():
        below = images_below(path)
        if not below:
            expected = "files such as .jpg or .png; videos are named each"
            raise MienError("no image lies in this folder", file=given, expected=expected)
        yield from (Photo(file, file.relative_to(path)) for file in below)
    elif glob.has_magic(given) and not os.path.lexists(path):
        # A whole path with its pattern is nothing that `Path.glob` takes.
        names = sorted(glob.glob(given, recursive=True))  # noqa: PTH207
        matches = [Path(name) for name in names if not Path(name).is_dir()]
        if not matches:
            raise MienError("nothing matches this pattern", file=given, expected="such as photos/*.jpg")
        yield from (Photo(match, Path(match.name)) for match in matches)
    else:
        yield Photo(path, Path(path.name))


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and below it, sorted, those of a folder before those of the folders in it."""
    found = []
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = (name for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES)
        found += [Path(above, name) for name in sorted(images)]
    return found
