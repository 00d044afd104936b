"""The manifest of a finished run: the SHA-256 of each of its files, by which `mien doctor` finds what has changed."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mien.files import write_json
from mien.reading import Digest, Stored, read_object
from mien.runs.run import Run

FILE = "manifest.json"
# What isn't listed: it changes after its run is finished, or is written by others.
_CHANGING = (FILE, "status.json", "training.log", "tensorboard")
# A path below the run's folder that never leads out of it.
Inside = Annotated[str, Field(pattern=r"^[^/\x00.][^/\x00]*(/[^/\x00.][^/\x00]*)*$")]


class Manifest(Stored):
    """`manifest.json`: digests by path."""

    files: dict[Inside, Digest]


@contextlib.contextmanager
def sealing(run: Run) -> Iterator[None]:
    """Renew a run's manifest after work that adds or replaces files; of all others it keeps the digests it had.

    So a file that was damaged before stays known as damaged. A run that isn't finished has no manifest.
    """
    before = _stamps(run)
    yield
    if run.state != "finished":
        return
    known = read_manifest(run) or {}
    files = {
        name: known[name] if name in known and before.get(name) == stamp else digest(run.folder / name)
        for name, stamp in _stamps(run).items()
    }
    # What is missing stays known, unless this work has taken it away.
    files |= {name: of for name, of in known.items() if name not in files and name not in before}
    write_json(run.folder / FILE, {"files": dict(sorted(files.items()))})


def read_manifest(run: Run) -> dict[str, str] | None:
    """The digests by path below the run's folder; None for a run from before there were manifests."""
    file = run.folder / FILE
    if not file.is_file():
        return None
    files: dict[str, str] = read_object(file, Manifest, "the manifest")["files"]
    return files


def is_sealed(run: Run, *files: Path) -> bool:
    """Whether the manifest has these files of a run; work that was killed before its end left files that it has not."""
    known = read_manifest(run) or {}
    return all(file.relative_to(run.folder).as_posix() in known for file in files)


def changes(run: Run) -> dict[str, str]:
    """What isn't as the manifest says: "missing" or "changed" by path; {} where there is no manifest."""
    found = {}
    for name, wanted in (read_manifest(run) or {}).items():
        file = run.folder / name
        if not file.is_file():
            found[name] = "missing"
        elif digest(file) != wanted:
            found[name] = "changed"
    return found


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _stamps(run: Run) -> dict[str, tuple[int, int, int]]:
    """What tells whether a file was written anew, by path; hidden files and those of _CHANGING aside."""
    stamps = {}
    for file in run.folder.rglob("*"):
        name = file.relative_to(run.folder)
        if name.parts[0] in _CHANGING or any(part.startswith(".") for part in name.parts):
            continue
        if file.is_file() and not file.is_symlink():
            stat = file.stat()
            stamps[name.as_posix()] = stat.st_mtime_ns, stat.st_size, stat.st_ino
    return stamps
