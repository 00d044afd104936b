"""Where data sets and runs stand: one folder, by default the one that a command runs in."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mien.errors import MienError
from mien.files import check_public, publishing

# What stands in a workspace.
_OWN = ("datasets", "runs", "models", "suspects", "reproductions", "sweeps")
# What can be a folder's name everywhere, and never leads out of its parent.
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


@dataclass(frozen=True)
class Workspace:
    """The folder that holds `datasets/<name>` and `runs/<experiment name>/<number>`; `named` says that the user did."""

    root: Path
    named: bool = field(default=True, compare=False)

    @property
    def datasets(self) -> Path:
        """The folder of the data sets."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """The folder of the runs."""
        return self.root / "runs"

    def check_public(self, folder: Path) -> None:
        """`files.check_public` of a folder that the user names; MienError also for one that lies in mien's own."""
        if any(folder.resolve().is_relative_to((self.root / name).resolve()) for name in _OWN):
            raise MienError("this folder is the workspace's own", file=str(folder), expected="a folder elsewhere")
        check_public(folder)

    @contextlib.contextmanager
    def publishing(self, folder: Path) -> Iterator[Path]:
        """`files.publishing` into a folder that the user names, if `check_public` lets it."""
        self.check_public(folder)
        with publishing(folder) as new:
            yield new


def find_workspace(given: Path | None = None) -> Workspace:
    """The workspace: what was given, else MIEN_HOME, else the current folder."""
    named = given or os.environ.get("MIEN_HOME")
    root = Path(named or ".")
    if root.exists() and not root.is_dir():
        raise MienError("the workspace is a file", file=str(root), expected="a folder")
    return Workspace(root, bool(named))


def other_roots(workspace: Workspace) -> Iterator[Path]:
    """Other places where a user may have a workspace: MIEN_HOME, and the current folder with those above it."""
    named = os.environ.get("MIEN_HOME")
    for root in (*([Path(named)] if named else []), Path.cwd(), *Path.cwd().parents):
        if root.resolve() != workspace.root.resolve():
            yield root


def check_name(name: str, what: str) -> str:
    """`name` if it can be a folder's name everywhere; else an error that says what a name is made of."""
    if not re.fullmatch(NAME, name):
        raise MienError(
            f"'{name}' can't be the name of {what}",
            expected="1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit",
        )
    return name
