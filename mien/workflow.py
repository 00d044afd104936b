"""The whole road on drawn faces, as a newcomer's first command: data, training, evaluation, report."""

import sys
from pathlib import Path
from typing import Any

from mien.data.dataset import list_datasets, open_dataset
from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.evaluation import evaluate
from mien.experiment.schema import load_experiment
from mien.report.page import write_report
from mien.runs.run import Run, new_run
from mien.training.fit import train
from mien.workspace import Workspace

_DRAWN: dict[str, Any] = {"n": 4000, "size": 48, "color": "gray", "seed": 0}


def run_demo(workspace: Workspace) -> tuple[Run, dict[str, Any], Path]:
    """Draw the data set `demo` unless it is there, train CNN 1 on it, measure it; its run, metrics and report page."""
    if "demo" not in list_datasets(workspace):
        write_faces(workspace, "demo", **_DRAWN)
    elif open_dataset(workspace, "demo").card.details.get("drawn") != _DRAWN:
        raise MienError(
            "there is another data set called 'demo' here",
            file=str(workspace.datasets / "demo"),
            expected="another --workspace for the demo",
        )
    run = new_run(workspace, load_experiment(Path(__file__).with_name("demo.yaml")))
    train(workspace, run, ["mien", *sys.argv[1:]])
    evaluate(workspace, run, "choose")
    measured = evaluate(workspace, run, "report")
    return run, measured, write_report(run.folder)
