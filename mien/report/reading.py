"""Reads a run's folder for its page; a broken file is an error that names it."""

from pathlib import Path
from typing import Any

import numpy as np

from mien.reading import Stored, read_object, reading
from mien.report.figures import History
from mien.runs import stored
from mien.runs.epochs import read_rows as read_history_rows
from mien.runs.ledger import entries
from mien.tasks import task_of


def read_content(path: Path) -> dict[str, Any]:
    """A JSON file's object; {} where there is no file."""
    try:
        return read_object(path, Stored)
    except FileNotFoundError:
        return {}


def read_metrics(path: Path) -> dict[str, Any]:
    """The metrics that an evaluation wrote, by its task; keys that an older mien didn't write stand for nothing.

    `older` says that copies weren't looked for yet.
    """
    content = stored.read_metrics(path)
    task = task_of(content)
    older = "overlap" not in content
    if older:
        content.pop("tta", None)  # It was text then.
    return {**task.filled, "dataset": "", "seeds": [], **content, "older": older}


def read_others(folder: Path) -> list[dict[str, Any]]:
    """The metrics under other protocols and on other data sets, in the order of their names."""
    return [read_metrics(path) for path in sorted(folder.glob("evaluations/*/metrics.json"))]


def read_history(path: Path, score: str = "accuracy") -> History | None:
    """The columns of a history by name, float64 with NaN for an empty cell; None when there is no epoch.

    `score` is the key of what the run's task is measured by.
    """
    if not path.is_file():
        return None
    rows = read_history_rows(path)
    with reading(path, "the history"):
        columns = {
            name: np.array([float(row[name] or "nan") for row in rows])
            for name in ("epoch", "fit_loss", f"fit_{score}", "choose_loss", f"choose_{score}")
        }
        if any(number != place for place, number in enumerate(columns["epoch"], 1)):
            raise ValueError("epochs aren't numbered from 1")
    return columns if rows else None


def read_ledger(folder: Path) -> list[dict[str, Any]]:
    """The ledger's lines on report roles that were opened, of a run or a workspace, the oldest first."""
    lines = [line for line in entries(folder) if line.get("role") == "report"]
    return sorted(lines, key=lambda line: str(line["when"]))
