"""Publishes a run: copies what everyone may see into a folder, so no weights, predictions, real faces or names."""

import shutil
from pathlib import Path

from mien.errors import MienError
from mien.report.reading import read_metrics
from mien.report.wording import OLDER
from mien.runs.run import Run
from mien.tasks import resolve

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
    "figures/*.pdf",
    "figures/*.txt",
    "explain/*.json",
)


def publish(run: Run, folder: Path) -> None:
    """Copy a measured run's report, numbers and figures into a folder, in place of what was published there before.

    The public report of a landmark run shows drawn faces in place of the data set's, also in `figures/drawn-faces.png`.
    That of a run with explanations shows activations of drawn faces, maps over a mean face's outline, and ids in place
    of single rows. Raises MienError for a run that isn't measured, or was by a mien that looked for no copies, and for
    a folder that `Workspace.publishing` refuses.
    """
    run.measured()  # An error where nobody has.
    metrics = read_metrics(run.metrics_file("report"))
    if metrics["older"]:
        raise MienError(f"run {run.name} was {OLDER}", expected=f"mien evaluate {run.name} again")
    with run.workspace.publishing(folder) as new:
        own: dict[str, bytes] = resolve(run.task.publish)(run)
        files = [file for pattern in _SHOWN for file in sorted(run.folder.glob(pattern)) if file.name not in own]
        for target in (*(file.relative_to(run.folder) for file in files), *map(Path, own)):
            (new / target).parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, new / file.relative_to(run.folder))
        for name, content in own.items():
            (new / name).write_bytes(content)


def with_drawn_faces(run: Run) -> dict[str, bytes]:
    """The public report and picture of a landmark run, by their paths; they are made anew, not copied."""
    from mien.report.landmark_faces import drawn_faces
    from mien.report.landmark_page import landmark_page

    galleries = drawn_faces(run)
    page = landmark_page(run, galleries)
    return {"report.html": page.encode(), "figures/drawn-faces.png": galleries.shown[0].picture}


def explained(run: Run) -> dict[str, bytes]:
    """The page and the pictures of a run's explanations without rows of the data set, by path; {} for none."""
    from mien.report.explain_page import sections
    from mien.report.page import run_page

    found = sections(run, public=True)
    pictures = {f"explain/{picture.name}.png": picture.png for section in found for picture in section.pictures}
    return {"report.html": run_page(run, found, public=True).encode(), **pictures} if found else {}


def nothing_anew(run: Run) -> dict[str, bytes]:
    """For tasks whose report shows no row of the data set: all of it can be published as it is."""
    return {}
