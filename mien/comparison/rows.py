"""Pairs of runs by what each row is measured by: the differences, and their intervals."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from mien.errors import MienError
from mien.intervals import Values
from mien.metrics.nme import paired
from mien.runs.model_file import ModelFile, find_measured
from mien.runs.run import Run
from mien.tasks import Task
from mien.workspace import Workspace


def row_pairs(scores: Mapping[str, Values], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All pairs of runs by the scores (n,) of the same rows: `a`, `b`, what `about` says, difference, interval, p."""
    pairs = []
    for a, b in combinations(scores, 2):
        found = paired(scores[a], scores[b])
        numbers = {"difference": found.value, "interval": list(found.interval), "p": found.p}
        pairs.append({"a": a, "b": b, **about, **numbers})
    return pairs


def same_task(runs: Sequence[Run | ModelFile]) -> Task:
    """The task of all runs; raises MienError where one is of another than the first."""
    task = runs[0].task
    for run in runs:
        if run.task.name != task.name:
            raise MienError(
                f"run {run.name} is on {run.task.on}",
                file=str(run.folder),
                expected=f"{task.compared}, as the others are",
            )
    return task


def runs_of(workspace: Workspace, references: Sequence[str], predictions: Sequence[Path]) -> list[Run | ModelFile]:
    """The runs and files that references mean, for tasks that compare row by row, and nobody else's predictions."""
    runs = [run for name in references for run in find_measured(workspace, name)]
    if predictions:
        task = runs[0].task
        raise MienError(
            f"{task.gives} of others can't be compared", key="--predictions", expected=f"{task.compared} alone"
        )
    return runs


def measured(runs: Sequence[Run | ModelFile]) -> list[dict[str, Any]]:
    """The metrics of two or more runs of one task on their reporting role; else a MienError."""
    task = same_task(runs)
    if len(runs) < 2:
        raise MienError("there is nothing to compare with", expected=f"two {task.compared} or more")
    return [run.measured() for run in runs]
