"""What of a run can be shown to everyone, copied into a folder: no weights, predictions, faces or names."""

import shutil
from pathlib import Path

from mien.errors import MienError
from mien.report.reading import read_metrics
from mien.report.wording import OLDER
from mien.run import Run

_SHOWN = (
    "experiment.yaml",
    "environment.json",
    "history.csv",
    "metrics.json",
    "metrics-choose.json",
    "evaluations/*/metrics.json",
    "classification_report.txt",
    "classification_report.csv",
    "classification_report.tex",
    "report.html",
    "figures/*.png",
    "figures/*.svg",
)


def publish(run: Run, folder: Path) -> None:
    """Copy a measured run's report, numbers and figures into a folder, in place of what was published there before.

    Raises MienError for a run that isn't measured, or was by a mien that knew no clean twin, and for a folder that
    holds something else.
    """
    if not run.metrics_file("report").exists():
        raise MienError(
            f"run {run.name} has not been measured on its reporting role", expected=f"mien evaluate {run.name} first"
        )
    if read_metrics(run.metrics_file("report"))["older"]:
        raise MienError(f"run {run.name} was {OLDER}", expected=f"mien evaluate {run.name} again")
    if folder.exists() and not (folder / "metrics.json").exists() and any(folder.iterdir()):
        raise MienError("this folder holds something else", file=str(folder), expected="a new or published folder")
    shutil.rmtree(folder, ignore_errors=True)
    for pattern in _SHOWN:
        for file in sorted(run.folder.glob(pattern)):
            target = folder / file.relative_to(run.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
