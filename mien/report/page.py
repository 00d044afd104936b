"""A run as one HTML file, and its figures and tables as files of their own; all read from the run's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mien.errors import MienError
from mien.evaluation.slices import MINIMUM
from mien.files import write_text
from mien.metrics.classification import classification_report, confusion, predict
from mien.reading import reading
from mien.report import pictures, tables, wording
from mien.report.explain_page import Section, sections, write_pictures
from mien.report.facts import common, file_facts
from mien.report.reading import read_content, read_metrics, read_others
from mien.report.rendering import render
from mien.runs.model_file import FileEvaluation, ModelFile
from mien.runs.predictions import read_predictions
from mien.runs.run import Run
from mien.tasks import resolve


@dataclass(frozen=True)
class Measured:
    """The measurements of one role, as the page shows them."""

    role: str
    metrics: dict[str, Any]
    warning: str
    seeds: str
    twins: list[str]
    over: list[str]
    scores: tables.Scores
    classes: list[dict[str, Any]]
    names: Sequence[str]
    matrix: list[list[int]]
    confused: str
    constant: str
    pictures: list[Markup]
    calibration: list[tuple[str, str, list[tables.Cell]]]
    calibration_pictures: list[Markup]
    coverage: str
    slices: list[tuple[str, list[tuple[str, str, tables.Cell, tables.Cell]]]]
    votes: list[tuple[str, str, str, str]]


def write_report(folder: Path) -> Path:
    """Write `report.html`, `figures/` and what else the run's task shows of a run, from its folder.

    Before `mien evaluate` the numbers are those of the choose role, and the page says so. Returns the page's path.
    Raises MienError when the folder is no run, FailedError for a file in it that can't be read.
    """
    run = Run(folder.resolve())
    if not run.experiment_file.is_file():
        raise MienError("this folder isn't a run", file=str(folder), expected="a folder with experiment.yaml")
    # What each file says is checked where it is read; here, that they go together.
    with reading(run.folder, "what the run's folder holds"):
        page: Path = resolve(run.task.page)(run)
        return page


def write_class_report(run: Run) -> Path:
    """Write the page of a run on classes, its `figures/`, `explain/*.png` and `classification_report.*`."""
    explained = sections(run)
    write_pictures(run, explained)
    write_text(run.page, run_page(run, explained))
    return run.page


def run_page(run: Run, explained: list[Section], public: bool = False) -> str:
    """The page with these explanations (`public` ones show no row); its figures are written into the run's folder."""
    measured = {role: _measured(run, role) for role in ("report", "choose") if run.metrics_file(role).is_file()}
    own = measured["report"].metrics if "report" in measured else None
    others = read_others(run.folder)
    contaminated = [one for one in [*([own] if own else []), *others] if one["contaminated"]]
    environment = read_content(run.folder / "environment.json")
    fit = environment.get("dataset", {}).get("roles", {}).get("fit")
    content = {
        **common(run, {role: of.metrics for role, of in measured.items()}),
        "measured": list(measured.values()),
        "first": next(iter(measured.values()), None),
        "others": tables.other_rows(others, own) if others else [],
        "why_high": [wording.why_high(one, fit) for one in contaminated],
        "minimum": MINIMUM,
        "unprintable": pictures.unprintable(run),
        "explained": explained,
        "public": public,
    }
    return render("page.html.j2", content)


def write_file_report(file: ModelFile) -> Path:
    """Write the page of a file of a model, which is no run, with its figures, beside what was measured of it last.

    Returns the page's path. Raises MienError for a file that wasn't measured, or whose answers aren't classes.
    """
    if not file.task.classes:
        raise MienError(f"{file.name} gives {file.task.gives}", file=str(file.path), expected="a model of classes")
    last = file.evaluated()
    with reading(last.folder, "what was measured of the file"):
        measured = _measured(last, "report")
        content = {
            **file_facts(file, measured.metrics),
            "measured": [measured],
            "first": measured,
            "others": tables.other_rows(read_others(file.folder), None),
            "why_high": [],
            "minimum": MINIMUM,
            "unprintable": pictures.unprintable(last),
            "explained": [],
            "public": False,
        }
        page = last.folder / "report.html"
        write_text(page, render("page.html.j2", content))
    return page


def _measured(run: Run | FileEvaluation, role: str) -> Measured:
    metrics = {"role": role, **read_metrics(run.metrics_file(role))}
    rows = read_predictions(run.predictions(role))
    matrix = confusion(rows.labels, predict(rows.labels, rows.logits, rows.classes), len(rows.classes))
    confused = tables.confused(matrix, rows.classes)
    drawn, names = tables.most_confused(matrix, rows.classes)
    shown = role == "report" or not run.metrics_file("report").is_file()
    drawings: list[Markup] = []
    coverage = ""
    if shown:
        title = pictures.title(run, metrics)
        for suffix, text in classification_report(rows.labels, rows.logits, rows.classes, title).items():
            write_text(run.folder / f"classification_report.{suffix}", text)
        if metrics["calibration"]:
            drawings, coverage = pictures.calibration_pictures(run, metrics, rows)
    return Measured(
        role=role,
        metrics=metrics,
        warning=wording.warning(metrics),
        seeds=wording.seeds(metrics),
        twins=[*wording.twins(metrics), *wording.augmented(metrics)],
        over=[wording.over(metrics), *wording.wide(metrics)],
        scores=tables.score_table(metrics),
        classes=tables.class_table(matrix, rows.classes, metrics["per_class"]),
        names=names,
        matrix=drawn.tolist(),
        confused=confused,
        constant=wording.constant(metrics),
        pictures=pictures.score_pictures(run, metrics, drawn, names, confused),
        calibration=tables.calibration_table(metrics["calibration"]) if metrics["calibration"] else [],
        calibration_pictures=drawings,
        coverage=coverage,
        slices=tables.slice_tables(metrics),
        votes=tables.vote_table(metrics["votes"]) if metrics["votes"] else [],
    )
