"""A run as one HTML file, for tasks that name no page of their own: the tables that the console shows, and curves."""

from pathlib import Path

from mien.files import write_text
from mien.report import wording
from mien.report.console import values
from mien.report.facts import about, opened, record, training
from mien.report.pictures import curve_caption, curve_pictures
from mien.report.reading import read_content, read_history, read_metrics, read_others
from mien.report.rendering import render
from mien.runs.run import Run
from mien.tasks import LOSS, headline


def write_value_report(run: Run) -> Path:
    """Write `report.html` and `figures/` of a run; the page shows no row of a data set. Returns its path."""
    score, folder = run.task.score, run.folder
    environment = read_content(folder / "environment.json")
    history = read_history(run.history, score.key)
    measured = {
        role: read_metrics(run.metrics_file(role)) for role in ("report", "choose") if run.metrics_file(role).is_file()
    }
    first, own = next(iter(measured.values()), None), measured.get("report")
    said, rows = curve_caption(run, environment, measured)
    content = {
        "name": run.name,
        "about": about(run, environment),
        "state": run.state,
        "reason": read_content(folder / "status.json").get("reason"),
        "warning": wording.warning(first) if first else "",
        "headline": headline(first) if first else "",
        "opened": own is not None,
        "ledger": opened(run, own),
        "parts": [part for of in [*measured.values(), *read_others(folder)] for part in values(of)],
        "curves": curve_pictures(run, history, said, rows, (LOSS, score)) if history else [],
        "training": training(run, history, score),
        **record(run, environment),
    }
    page = folder / "report.html"
    write_text(page, render("values.html.j2", content))
    return page
