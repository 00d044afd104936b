"""Files of a source on the disk: which are looked at, which lead out of it, and reading them within limits."""

import os
import stat
from pathlib import Path

from mien.errors import MienError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
LEADS_OUT = "a link that leads out of the source"
NOT_UTF_8 = "the name isn't UTF-8"

_JUNK = ("thumbs.db", "desktop.ini", "__macosx", "icon\r")


def visible(folder: Path) -> list[Path]:
    """What stands in a folder, sorted, without hidden files and those that file managers leave."""
    return sorted(
        Path(entry.path)
        for entry in os.scandir(folder)
        if not entry.name.startswith(".") and entry.name.lower() not in _JUNK
    )


def leads_out(path: Path, root: Path) -> bool:
    """Whether it is a link to something outside of `root`, which must be resolved."""
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root)


def utf8(name: str) -> str:
    """A file's name as text; bytes that are none become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def relative(path: Path, source: Path) -> str:
    """The path below the source, with slashes: what rows are called by."""
    return utf8(path.relative_to(source).as_posix())


def read(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most `limit` bytes; MienError says why there are none."""
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
