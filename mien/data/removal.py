"""A data set goes: the files that mien has made, and no others."""

import contextlib
import os
import re
import shutil
from pathlib import Path

from mien.data.dataset import folder_of
from mien.errors import MienError
from mien.files import leftovers
from mien.workspace import NAME, Workspace

_CARD = "card.json"
# All that mien writes into the folder of a data set: rows, sheets, the audit, and caches of what can be made again.
_FILES = re.compile(
    rf"{_CARD}|README\.md|\w{{1,100}}-\d{{5}}\.parquet|contact-sheet\.png|augmented-{NAME}\.png"
    r"|sheets/(random|lowest-quality)\.png|audit/audit\.(html|json|parquet)"
    r"|cache/[\w.-]+-[0-9a-f]{16}\.np[yz]|cache/points-[\w.-]+-[0-9a-f]{16}/\w+-\d{5}\.npz"
)
_FOLDERS = re.compile(r"sheets|audit|cache(/points-[\w.-]+-[0-9a-f]{16})?")


def remove_dataset(workspace: Workspace, name: str) -> list[str]:
    """Remove a data set, also a damaged one; gives what mien didn't make and is still there, by paths below its folder.

    Runs and the ledger stay. A call that is stopped can be made again: the card goes last.
    """
    folder = folder_of(workspace, name)
    if folder.is_symlink():
        raise MienError("this data set is a link, which mien didn't make", file=str(folder))
    for partial in leftovers(folder):
        shutil.rmtree(partial, ignore_errors=True)
    inside: list[Path] = []
    for root, folders, names in os.walk(folder, topdown=False):
        inside += [Path(root, one) for one in (*names, *folders)]
    kept: list[str] = []
    for path in inside:
        below = path.relative_to(folder).as_posix()
        if path.is_symlink():
            kept.append(below)
        elif path.is_dir():
            made = _FOLDERS.fullmatch(below) is not None
            with contextlib.suppress(OSError):  # What is left in it has been told.
                if made:
                    path.rmdir()
            kept += [] if made else [below]
        elif not _FILES.fullmatch(below):
            kept.append(below)
        elif below != _CARD:
            path.unlink()
    (folder / _CARD).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return sorted(kept)
