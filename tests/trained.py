"""A training by a call, and its history as numbers."""

import csv
from pathlib import Path

from mien.experiment.schema import load_experiment
from mien.runs.run import Run, new_run
from mien.training.fit import train
from mien.workspace import Workspace


def fit(workspace: Workspace, file: Path, *overrides: str) -> Run:
    """A run of an experiment's file, trained to its end."""
    run = new_run(workspace, load_experiment(file, overrides))
    train(workspace, run, ["test"])
    return run


def history(run: Run) -> list[dict[str, float]]:
    """The epochs of a run."""
    with run.history.open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
