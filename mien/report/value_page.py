"""A run as one HTML file, for tasks that name no page of their own: the tables that the console shows, and curves."""

from pathlib import Path

from mien.files import write_text
from mien.report import wording
from mien.report.console import values
from mien.report.facts import common
from mien.report.reading import read_metrics, read_others
from mien.report.rendering import render
from mien.runs.run import Run
from mien.tasks import headline


def write_value_report(run: Run) -> Path:
    """Write `report.html` and `figures/` of a run; the page shows no row of a data set. Returns its path."""
    measured = {
        role: read_metrics(run.metrics_file(role)) for role in ("report", "choose") if run.metrics_file(role).is_file()
    }
    first = next(iter(measured.values()), None)
    content = {
        **common(run, measured),
        "warning": wording.warning(first) if first else "",
        "headline": headline(first) if first else "",
        "parts": [part for of in [*measured.values(), *read_others(run.folder)] for part in values(of)],
    }
    write_text(run.page, render("values.html.j2", content))
    return run.page
