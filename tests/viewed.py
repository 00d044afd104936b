"""A workspace to look at: two measured runs on the stripes, with an audit, an explanation and a list of suspects."""

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from conftest import TINY, write_tiny
from servers import settings

from mien.audit import audit
from mien.data.dataset import Dataset, open_dataset
from mien.evaluation import evaluate
from mien.evaluation.label_errors import OutOfFold, as_csv
from mien.experiment.schema import load_experiment
from mien.files import write_json, write_text
from mien.runs.run import new_run
from mien.serving.settings import Settings
from mien.training.fit import train
from mien.workflow import explain_run
from mien.workspace import Workspace

# The rows of the first three classes of the test split, whose labels are doubted, with what is suggested.
DOUBTED = [("48", 1), ("97", 0), ("42", 6)]


def write_home(root: Path) -> Workspace:
    """The workspace: `tiny` and its runs `tiny/1` (one epoch) and `tiny/2` (six), measured on both roles."""
    home = Workspace(root)
    dataset = write_tiny(home)
    audit(dataset)
    file = root / "tiny.yaml"
    file.write_text(TINY)
    for epochs in (1, 6):
        run = new_run(home, load_experiment(file, [f"train.epochs={epochs}"]))
        train(home, run, ["test"])
        for role in ("choose", "report"):
            evaluate(home, run, role)  # type: ignore[arg-type]
    explain_run(run, ["filters"], ["test"])
    write_suspects(home, dataset)
    return home


def write_suspects(home: Workspace, dataset: Dataset) -> Path:
    """A list of suspects as `mien suspects` writes it."""
    ids, labels = dataset.ids("test"), dataset.labels("test")
    given = np.full((len(ids), 7), 0.02)
    given[np.arange(len(ids)), labels] = 0.88
    rows = [ids.index(id_) for id_, _ in DOUBTED]
    for row, (_, rather) in zip(rows, DOUBTED, strict=True):
        given[row] = 0.04
        given[row, rather], given[row, labels[row]] = 0.75, 0.05
    predicted = OutOfFold(dataset, ("folds/1",), tuple(("test", id_) for id_ in ids), labels, given)
    file = home.root / "suspects" / dataset.card.name / "suspects.csv"
    write_text(file, as_csv(predicted, np.array(rows), np.array([rather for _, rather in DOUBTED])))
    write_json(file.with_suffix(".json"), {"fingerprint": dataset.card.fingerprint})
    return file


def copy_of(home: Workspace, root: Path) -> Workspace:
    """The same workspace in another folder, for a test that changes it."""
    shutil.copytree(home.root, root, symlinks=True)
    return Workspace(root)


def shows(home: Workspace, **given: Any) -> Settings:
    """Settings of a server that shows a workspace."""
    return dataclasses.replace(settings(**given), workspace=home.root, show_workspace=True)


def content(home: Workspace) -> dict[str, tuple[str, int]]:
    """The SHA-256 and the time of change of every file of a workspace."""
    return {
        str(file.relative_to(home.root)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in sorted(home.root.rglob("*"))
        if file.is_file()
    }


def tiny_of(home: Workspace) -> Dataset:
    """Its data set."""
    return open_dataset(home, "tiny")
