"""The ledger: who asked for rows that a model is reported on, when, and for which run; in the run and the workspace."""

import datetime
import getpass
import json
from pathlib import Path
from typing import Any

from mien.errors import FailedError
from mien.files import append_line
from mien.runs.model_file import ModelFile
from mien.runs.run import Run
from mien.workspace import Workspace

FILE = "evaluations.jsonl"


def record(workspace: Workspace, run: Run | ModelFile, asked: dict[str, Any]) -> None:
    """Add a line to both ledgers, before anything is measured: what was asked for, by whom and when."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        who = "unknown"
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = json.dumps({"when": now, "who": who, "run": run.name, **asked}, ensure_ascii=False) + "\n"
    for folder in (run.folder, workspace.root):
        append_line(folder / FILE, line)


def entries(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's or a workspace's ledger, the oldest first; none where nobody asked."""
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise FailedError(f"the ledger can't be read ({error})", file=str(path)) from error
