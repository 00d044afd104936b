"""A landmark run as one HTML file, with its figures beside it; all read from the run's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mien.files import write_text
from mien.report import landmark_tables as tables
from mien.report import wording
from mien.report.facts import common
from mien.report.landmark_faces import Galleries, measured_faces
from mien.report.landmark_pictures import error_pictures
from mien.report.reading import read_metrics, read_others
from mien.report.rendering import render
from mien.report.tables import Cell
from mien.runs.run import Run


@dataclass(frozen=True)
class Measured:
    """The measurements of one role, as the page shows them."""

    role: str
    metrics: dict[str, Any]
    warning: str
    seeds: str
    twins: list[str]
    headlines: list[tuple[str, Cell]]
    sizes: list[tuple[str, str, str, list[Cell]]]
    pictures: list[Markup]


def write_landmark_report(run: Run) -> Path:
    """Write `report.html` and `figures/` of a landmark run; the page shows faces of the data set it was measured on.

    Returns the page's path. Raises FailedError for a file of the run that can't be read.
    """
    write_text(run.page, landmark_page(run, None))
    return run.page


def landmark_page(run: Run, galleries: Galleries | None) -> str:
    """The page with these galleries; None stands for galleries of the faces that the run was measured on.

    The figures are written into the run's folder.
    """
    measured = {role: _measured(run, role) for role in ("report", "choose") if run.metrics_file(role).is_file()}
    first = next(iter(measured.values()), None)
    own = measured["report"].metrics if "report" in measured else None
    others = read_others(run.folder)
    if galleries is None:
        galleries = measured_faces(run, first.metrics) if first else Galleries([], "")
    content = {
        **common(run, {role: of.metrics for role, of in measured.items()}),
        "measured": list(measured.values()),
        "first": first,
        "others": tables.other_rows(others, own) if others else [],
        "columns": [(label, meaning) for label, meaning, _ in tables.MEASURES.values()],
        "galleries": galleries,
    }
    return render("landmarks.html.j2", content)


def _measured(run: Run, role: str) -> Measured:
    metrics = {"role": role, **read_metrics(run.metrics_file(role))}
    found = tables.results(metrics)
    return Measured(
        role=role,
        metrics=metrics,
        warning=wording.warning(metrics),
        seeds=wording.seeds(metrics),
        twins=tables.twins(metrics),
        headlines=[(name, tables.number(of, tables.NME)) for name, of in found.items() if name != "mean shape"],
        sizes=tables.size_rows(metrics),
        pictures=error_pictures(run, metrics),
    )
