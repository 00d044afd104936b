"""Whose code is run: plugins that the user names, and those that the workspace's own list knows by their digests.

A run's folder has its plugins with it, and may come from anyone. What the workspace itself trained is on its list, and
so is what was called with `--trust`; a copied folder brings no list.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mien.errors import MienError
from mien.workspace import Workspace, find_workspace

# A line for each plugin: its SHA-256 and its file's name.
FILE = "trusted-plugins.txt"

_home: Workspace | None = None
_accept = False


def use(workspace: Workspace, *, accept: bool | None = None) -> None:
    """Go by the list of this workspace from now on; with `accept`, what it doesn't know is added instead of refused."""
    global _home, _accept
    if accept is not None:
        _accept = accept
    elif workspace != _home:
        _accept = False
    _home = workspace


def remember(workspace: Workspace, files: Iterable[Path]) -> None:
    """Add plugins to a workspace's list."""
    known = _known(workspace)
    new = {digest: file.name for file in files if (digest := _digest(file.read_bytes())) not in known}
    if new:
        workspace.root.mkdir(parents=True, exist_ok=True)
        # One short write in append mode stays whole beside other processes.
        with (workspace.root / FILE).open("a", encoding="utf-8") as opened:
            opened.write("".join(f"{digest}  {name!r}\n" for digest, name in new.items()))


def require(files: Iterable[Path]) -> None:
    """Raise MienError, naming them, for plugins that the workspace in use doesn't know, unless it accepts them."""
    home = _home or find_workspace()
    known = _known(home)
    strange = [file for file in files if _digest(file.read_bytes()) not in known]
    if strange and _accept:
        remember(home, strange)
    elif strange:
        names = ", ".join(map(str, strange))
        raise MienError(
            f"this would run code that workspace {home.root.resolve()} doesn't know: {names}",
            expected="--trust, once you have read it; it is remembered",
        )


def _known(workspace: Workspace) -> set[str]:
    from mien.reading import read_text  # The command line's help needs none of it.

    file = workspace.root / FILE
    return {line[:64] for line in read_text(file).split("\n")} if file.is_file() else set()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
