"""The ledger: who asked for rows that a model is reported on, when, and for which run; in the run and the workspace."""

import datetime
import getpass
import json
from pathlib import Path
from typing import Any

from mien.files import append_line
from mien.reading import Stored, check, parse_json, read_text, reading
from mien.runs.model_file import ModelFile
from mien.runs.run import Run
from mien.workspace import Workspace

FILE = "evaluations.jsonl"


class Asked(Stored):
    """What every line of a ledger says."""

    when: str
    who: str
    run: str
    role: str = ""
    protocol: str = ""
    dataset: str = ""


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
    text = read_text(path, "the ledger")
    with reading(path, "the ledger"):
        # `splitlines` would also break a line at characters that a path may hold.
        lines = [parse_json(line) for line in text.split("\n") if line]
    for line in lines:
        check(line, Asked, path, "the ledger")
    return lines
