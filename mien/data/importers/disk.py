"""A source's files on the disk: which ones are read, which links lead out of it, and limits on reading."""

import os
import stat
from pathlib import Path

from mien.errors import MienError
from mien.images import SUFFIXES as SUFFIXES

LEADS_OUT = "a link that leads out of the source"
NOT_UTF_8 = "the name isn't UTF-8"

_JUNK = ("thumbs.db", "desktop.ini", "__macosx", "icon\r")


def visible(folder: Path) -> list[Path]:
    """The entries of a folder, sorted, without hidden files and without those that file managers leave behind."""
    return sorted(
        Path(entry.path)
        for entry in os.scandir(folder)
        if not entry.name.startswith(".") and entry.name.lower() not in _JUNK
    )


def leads_out(path: Path, root: Path) -> bool:
    """Whether a path is a link to something outside of `root`; `root` must be resolved."""
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root)


def utf8(name: str) -> str:
    """A file's name as text; bytes that aren't UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def relative(path: Path, source: Path) -> str:
    """The path below the source, with slashes, as in the ids of rows."""
    return utf8(path.relative_to(source).as_posix())


def read(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most `limit` bytes; MienError if it can't be read or is larger."""
    try:
        facts = path.stat()
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(facts.st_mode):
            raise MienError("not a file")
        if facts.st_size > limit:
            raise MienError(f"the file has {facts.st_size:,} bytes, more than {limit:,}")
        return path.read_bytes()
    except OSError as error:
        raise MienError(f"the file can't be read ({error.strerror})") from error
