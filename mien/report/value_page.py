"""A run as one HTML file, for tasks that name no page of their own: what each row is measured by, in the mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.files import write_text
from mien.report import wording
from mien.report.facts import about, opened, record, training
from mien.report.pictures import curve_caption, curve_pictures
from mien.report.reading import read_content, read_history, read_metrics, read_others
from mien.report.rendering import render
from mien.report.tables import Cell, contamination
from mien.runs.run import Run
from mien.tasks import LOSS, Score


@dataclass(frozen=True)
class Measured:
    """All that the page says of one role."""

    role: str
    metrics: dict[str, Any]
    warning: str
    seeds: str
    twins: list[str]
    score: Cell
    columns: list[tuple[str, int]]
    rows: list[tuple[str, list[Cell]]]


def write_value_report(run: Run) -> Path:
    """Write `report.html` and `figures/` of a run; the page shows no row of a data set. Returns its path."""
    score, folder = run.task.score, run.folder
    environment = read_content(folder / "environment.json")
    history = read_history(run.history, score.key)
    measured = {role: _measured(run, role, score) for role in ("report", "choose") if run.metrics_file(role).is_file()}
    own = measured["report"].metrics if "report" in measured else None
    said, rows = curve_caption(run, environment, {role: of.metrics for role, of in measured.items()})
    content = {
        "name": run.name,
        "about": about(run, environment),
        "task": run.task.name,
        "label": score.name,
        "state": run.state,
        "reason": read_content(folder / "status.json").get("reason"),
        "measured": list(measured.values()),
        "first": next(iter(measured.values()), None),
        "opened": own is not None,
        "ledger": opened(run, own),
        "others": _others([*([own] if own else []), *read_others(folder)], score),
        "curves": curve_pictures(run, history, said, rows, (LOSS, score)) if history else [],
        "training": training(run, history, score),
        **record(run, environment),
    }
    page = folder / "report.html"
    write_text(page, render("values.html.j2", content))
    return page


def _measured(run: Run, role: str, score: Score) -> Measured:
    metrics = {"role": role, **read_metrics(run.metrics_file(role))}
    clean = metrics["clean"]
    parts = {"all rows": metrics, **({"no exact copies": clean} if clean else {})}
    without = f"without them {score.label} is {_told(clean, score)}." if clean else "without them no row is left."
    return Measured(
        role=role,
        metrics=metrics,
        warning=wording.warning(metrics),
        seeds=wording.seeds(metrics),
        twins=wording.copies(metrics["overlap"], without) if metrics["overlap"] else [],
        score=_cell(metrics, score.key, score),
        columns=[(name, of["n"]) for name, of in parts.items()],
        rows=[
            (score.name if key == score.key else key, [_cell(of, key, score) for of in parts.values()])
            for key in metrics["interval"]
        ],
    )


def _others(metrics: Sequence[Mapping[str, Any]], score: Score) -> list[dict[str, Any]]:
    """One line for each protocol and data set, the run's own first; none where there is nothing but its own."""
    lines = [
        {
            **{key: of[key] for key in ("protocol", "dataset", "split")},
            "score": (*_cell(of, score.key, score), f"n = {of['n']:,}"),
            "contaminated": contamination(of),
        }
        for of in metrics
    ]
    return lines if len(lines) > 1 else []


def _cell(of: Mapping[str, Any], key: str, score: Score) -> Cell:
    return score.told(of[key]), "–".join(score.told(end) for end in of["interval"][key])


def _told(of: Mapping[str, Any], score: Score) -> str:
    return f"{score.bracketed(of[score.key], of['interval'][score.key])}, n = {of['n']:,}"
