"""Pairs of runs by what each row is measured by: the differences, and their intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.comparison.pairing import pairing
from mien.errors import MienError
from mien.intervals import Counts, Values
from mien.metrics.nme import paired
from mien.runs.model_file import ModelFile, find_measured
from mien.runs.run import Run
from mien.tasks import Task
from mien.workspace import Workspace


def row_pairs(
    scores: Mapping[str, Values], about: Mapping[str, Any], baseline: str | None = None, groups: Counts | None = None
) -> list[dict[str, Any]]:
    """All pairs of runs by the scores (n,) of the same rows: `a`, `b`, what `about` says, difference, interval, p.

    With a `baseline` each other run and that one; with `groups`, int (n,) as `intervals.clusters` gives them, whole
    groups are drawn.
    """
    pairs, names = [], list(scores)
    for i, j in pairing(names, baseline):
        a, b = names[i], names[j]
        found = paired(scores[a], scores[b], groups=groups)
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


def baseline_of(workspace: Workspace, baseline: str | None) -> str | None:
    """The name of the one run that a reference means, for tasks that compare row by row."""
    if baseline is None:
        return None
    runs = find_measured(workspace, baseline)
    if len(runs) > 1:
        raise MienError(f"'{baseline}' is several runs", key="--baseline", expected=f"one, as {runs[0].name}")
    return runs[0].name


def measured(runs: Sequence[Run | ModelFile]) -> list[dict[str, Any]]:
    """The metrics of two or more runs of one task on their reporting role; else a MienError."""
    task = same_task(runs)
    if len(runs) < 2:
        raise MienError("there is nothing to compare with", expected=f"two {task.compared} or more")
    return [run.measured() for run in runs]
