"""Files and folders that appear whole or not at all, whatever stops the process; and what a user published."""

import contextlib
import csv
import errno
import fcntl
import functools
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from mien.errors import MienError

# What lists the files that mien has put into a folder of the user's.
PUBLISHED = "published.json"
_LOCK = ".mien-lock"
_DAY = 24 * 60 * 60


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the path that this yields; on leaving without an error it becomes `path` in one step."""
    with _beside(path) as temporary:
        yield temporary
        # Some libraries make files for their owner alone; what mien writes is as readable as the umask says.
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


class TakenError(FileExistsError):
    """Somebody else has made what was to be made, in the meantime."""


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill the folder that this yields; on leaving without an error it becomes `path`, else it is removed.

    Raises TakenError where somebody else has made `path` in the meantime; what is there stays.
    """
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise TakenError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
            raise


@contextlib.contextmanager
def _beside(path: Path, called: Path | None = None) -> Iterator[Path]:
    """A path of the same name for what is to become `path`, in a folder beside it that goes in the end.

    A lock in that folder says that its process lives: the system lets go of it when the process dies, however it dies.
    Errors of the system tell of `called`, else of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    try:
        folder, lock = _locked(path)
    except OSError as error:
        error.filename = str(called or path)
        raise
    temporary = folder / path.name
    try:
        yield temporary
    except OSError as error:
        # Python names no file when writing to an open one fails; and a user knows nothing of the temporary one.
        named = str(error.filename2 or error.filename or temporary)
        error.filename = named.replace(str(temporary), str(called or path))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _locked(path: Path) -> tuple[Path, IO[str]]:
    """A new folder beside a path, and the lock in it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", suffix=".partial", dir=path.parent))
        try:
            lock = (folder / _LOCK).open("w")
        except FileNotFoundError:
            continue  # Without a lock, another process took it for one that was left.
        with contextlib.suppress(OSError):  # Where a file system has no locks, nobody else can hold it either.
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _LOCK).exists():
            return folder, lock
        lock.close()  # Another process was there before the lock was.


@contextlib.contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Whether this process holds the lock of a file alone, which the system takes from it however it dies."""
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


# Once is enough: a process that was killed before this one began is dead for all of its life.
@functools.cache
def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half made in a folder."""
    for partial in folder.glob(".*.????????.partial"):
        with contextlib.suppress(OSError):
            # An empty one was to be locked next; should its process live, it makes another.
            partial.rmdir()
        with contextlib.suppress(OSError), (partial / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(partial, ignore_errors=True)


def leftovers(folder: Path) -> list[Path]:
    """What processes that were killed left half made in a folder and below; never what a living one is making.

    What an older mien left has no lock to ask; it is one of them when nobody has touched it for a day.
    """
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        partials = [name for name in (*folders, *files) if name.startswith(".") and name.endswith(".partial")]
        folders[:] = [name for name in folders if name not in partials]
        found += (path for name in partials if _is_left(path := Path(root, name)))
    return sorted(found)


def _is_left(partial: Path) -> bool:
    try:
        with (partial / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (FileNotFoundError, NotADirectoryError):
        with contextlib.suppress(FileNotFoundError):  # It is whole by now.
            return partial.lstat().st_mtime < time.time() - _DAY
    except OSError:
        pass
    return False


@contextlib.contextmanager
def publishing(folder: Path, *, own: bool = False) -> Iterator[Path]:
    """Fill the folder that this yields; on leaving without an error its files stand in `folder`, the older ones gone.

    `published.json` lists what mien has put there, and only that is ever replaced or removed. Raises MienError for a
    folder that holds other things and no such list, and for a file of the user's where one is to go. An `own` folder
    is one of the workspace's, where files of the same names are mien's even without the list.
    """
    marker, there = folder / PUBLISHED, folder.exists()
    if not own:
        check_public(folder)
    try:
        with _beside(marker, called=folder) as new:
            new.mkdir()
            yield new
            _move(new, folder, set(_listed(marker) or ()), own=own)
    except BaseException:
        if not there:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def published(folder: Path) -> list[str] | None:
    """The files that mien has put into a folder of the user's, as its `published.json` lists them; None without one."""
    return _listed(folder / PUBLISHED)


def check_public(folder: Path) -> None:
    """Raise MienError for a folder of the user's that mien didn't publish into, unless it is new or empty."""
    if published(folder) is not None or not folder.exists():
        return
    if folder.is_dir():
        sweep(folder)
        if not any(folder.iterdir()):
            return
    raise MienError(
        "this folder holds something else",
        file=str(folder),
        expected=f"a new folder, or one with the {PUBLISHED} of an earlier call",
    )


def _move(new: Path, folder: Path, before: set[str], *, own: bool) -> None:
    """Move all files of `new` into `folder`, and remove those of `before` that aren't among them."""
    made = {path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file()}
    known = before | (made if own else set())
    others = {name for name in made - known if os.path.lexists(folder / name)}
    others |= {name for name in made | known if not _inside(folder, name)}
    if others:
        raise MienError(
            f"not made by mien, and in the way: {', '.join(sorted(others))}",
            file=str(folder),
            expected="a folder without them",
        )
    # From here on nothing needs space. The list tells of all files, at whatever moment the process is stopped.
    write_json(folder / PUBLISHED, {"files": sorted(made | known)})
    for name in sorted(made):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).replace(folder / name)
    for name in sorted(known - made):
        (folder / name).unlink(missing_ok=True)
        for parent in (folder / name).parents:
            if parent == folder or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
    if known - made:
        write_json(folder / PUBLISHED, {"files": sorted(made)})


def _listed(marker: Path) -> list[str] | None:
    """The files that a marker lists; None where there is none, or none that mien wrote."""
    try:
        files = json.loads(marker.read_text("utf-8"))["files"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return files if isinstance(files, list) and all(isinstance(name, str) and name for name in files) else None


def _inside(folder: Path, name: str) -> bool:
    """Whether a file of a published folder can be there: in it, and beyond no link and no file."""
    parents = [parent for parent in (folder / name).parents if parent.is_relative_to(folder)]
    real = (folder / name).parent.resolve().is_relative_to(folder.resolve())
    return real and not (folder / name).is_dir() and all(parent.is_dir() or not parent.exists() for parent in parents)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step (UTF-8)."""
    write_bytes(path, text.encode("utf-8"))


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, as a whole or, on a full disk, not at all; other processes wait for their turn."""
    with path.open("ab", buffering=0) as file:
        with contextlib.suppress(OSError):  # Where a file system has no locks.
            fcntl.flock(file, fcntl.LOCK_EX)
        before = file.seek(0, os.SEEK_END)
        try:
            complete = file.write(content := line.encode("utf-8")) == len(content)
        except OSError as error:
            error.filename = str(path)  # Python doesn't say.
            raise
        if not complete:
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV, a line each; a text that a spreadsheet would take for a formula has an apostrophe before it.

    >>> csv_text([["id", "label"], [1, "happy, or not"]])
    'id,label\\n1,"happy, or not"\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def cell_value(text: str) -> str:
    """What a cell that `csv_text` wrote stood for.

    >>> cell_value("'=1"), cell_value("'tis")
    ('=1', "'tis")
    """
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


# What a spreadsheet may take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file in one step; not-a-number is refused, since JSON has none."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """Plain data as the text of a JSON file."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
