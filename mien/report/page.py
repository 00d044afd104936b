"""A run as one HTML file, and its figures and tables as files of their own; all read from the run's folder."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mien.errors import MienError
from mien.files import write_text
from mien.metrics import classification_report, confusion, predict
from mien.predictions import read_predictions
from mien.report import figures, pictures, tables, wording
from mien.report.reading import read_content, read_history, read_ledger, read_metrics, read_others
from mien.report.rendering import render
from mien.report.style import Caption
from mien.run import Run
from mien.slices import MINIMUM
from mien.yamlfile import read_yaml


@dataclass(frozen=True)
class Measured:
    """All that the page says of one role."""

    role: str
    metrics: dict[str, Any]
    warning: str
    seeds: str
    twins: list[str]
    scores: tables.Scores
    classes: list[dict[str, Any]]
    names: tuple[str, ...]
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
    """Write `report.html`, `figures/` and `classification_report.*` of a run from what its folder holds.

    Before `mien evaluate` the numbers are those of the choose role, and the page says so. Returns the page's path.
    Raises MienError when the folder is no run, FailedError for a file in it that can't be read.
    """
    run = Run(folder.resolve())
    if not run.experiment_file.is_file():
        raise MienError("this folder isn't a run", file=str(folder), expected="a folder with experiment.yaml")
    environment = read_content(folder / "environment.json")
    history = read_history(run.history)
    measured = {role: _measured(run, role) for role in ("report", "choose") if run.metrics_file(role).is_file()}
    own = measured["report"].metrics if "report" in measured else None
    others = read_others(folder)
    contaminated = [one for one in [*([own] if own else []), *others] if one["contaminated"]]
    made = environment.get("dataset", {})
    fit = made.get("roles", {}).get("fit")
    content = {
        "name": run.name,
        "about": _about(run, environment, measured),
        "state": run.state,
        "reason": read_content(folder / "status.json").get("reason"),
        "measured": list(measured.values()),
        "first": next(iter(measured.values()), None),
        "opened": own is not None,
        "ledger": opened(run, own),
        "others": tables.other_rows(others, own) if others else [],
        "why_high": [wording.why_high(one, fit) for one in contaminated],
        "excluded": wording.excluded(made.get("excluded", {})),
        "minimum": MINIMUM,
        "curves": _curves(run, history, environment, measured) if history else [],
        "training": _training(run, history),
        "experiment": run.experiment_file.read_text(encoding="utf-8"),
        "environment": _facts({key: environment[key] for key in environment if key not in _ELSEWHERE}),
        "dataset": _facts({key: value for key, value in made.items() if key != "excluded"}),
        "commands": _commands(run, environment),
    }
    page = folder / "report.html"
    write_text(page, render("page.html.j2", content))
    return page


# What the page shows in a place of its own, or twice.
_ELSEWHERE = ("dataset", "command", "sessions")


def _measured(run: Run, role: str) -> Measured:
    metrics = {"role": role, **read_metrics(run.metrics_file(role))}
    rows = read_predictions(run.predictions(role))
    matrix = confusion(rows.labels, predict(rows.labels, rows.logits, rows.classes), len(rows.classes))
    confused = tables.confused(matrix, rows.classes)
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
        scores=tables.score_table(metrics),
        classes=tables.class_table(matrix, rows.classes),
        names=rows.classes,
        matrix=matrix.tolist(),
        confused=confused,
        constant=tables.constant(matrix, rows.classes),
        pictures=pictures.score_pictures(run, metrics, matrix, rows.classes, confused),
        calibration=tables.calibration_table(metrics["calibration"]) if metrics["calibration"] else [],
        calibration_pictures=drawings,
        coverage=coverage,
        slices=tables.slice_tables(metrics),
        votes=tables.vote_table(metrics["votes"]) if metrics["votes"] else [],
    )


def _curves(
    run: Run, history: figures.History, environment: Mapping[str, Any], measured: Mapping[str, Measured]
) -> list[Markup]:
    roles = environment.get("dataset", {}).get("roles", {})
    known = {role: roles[role] for role in ("fit", "choose") if role in roles}
    known |= {role: of.metrics for role, of in measured.items() if role == "choose"}
    where = " · ".join(f"{role}: {of['split']}, n = {of['n']:,}" for role, of in known.items())
    of = next(iter(measured.values()), None)
    first = f"{run.name} · protocol {of.metrics['protocol']} · {of.seeds}" if of else run.name
    said = Caption((first, where) if where else (first,))
    return pictures.curve_pictures(run, history, said, known.get("choose", {}).get("n"))


def opened(run: Run, own: Mapping[str, Any] | None) -> str:
    """How often the report role was opened, by the run's ledger, and by the workspace's for the same rows."""
    mine = wording.opened(read_ledger(run.folder))
    if not mine or own is None:
        return ""
    text = f"The report role of this run was opened {mine}."
    lines = read_ledger(run.folder.parent.parent.parent)
    same = [line for line in lines if (line.get("dataset"), line.get("split")) == (own["dataset"], own["split"])]
    if len({line["run"] for line in same}) > 1:
        text += f" In its workspace {own['split']} of {own['dataset']} was opened {wording.opened(same)}."
    return text


def _about(run: Run, environment: Mapping[str, Any], measured: Mapping[str, Measured]) -> str:
    """Model, data set, protocol and seed in one line."""
    content = read_yaml(run.experiment_file)[0]
    parts = {
        "model": content.get("model", {}).get("name"),
        "data set": environment.get("dataset", {}).get("name"),
        "protocol": content.get("protocol", {}).get("name"),
        "seed": environment.get("seed"),
    }
    return " · ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


def _training(run: Run, history: figures.History | None) -> str:
    """How long it trained and which weights it kept, in one sentence."""
    if not history:
        return "No epoch is finished yet."
    section = read_yaml(run.experiment_file)[0].get("train", {})
    epochs = int(history["epoch"][-1])
    text = f"{epochs} epoch{'s' if epochs > 1 else ''}"
    if run.state != "finished":
        return f"{text} so far."
    monitor = section.get("monitor", "choose_accuracy")
    if section.get("keep") == "best":
        best = figures.best_epoch(history, monitor.removeprefix("choose_"))
        return f"{text}; kept: the weights of epoch {best}, the best by {monitor.replace('_', ' ')}."
    return f"{text}; kept: the weights of the last one."


def _facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested data as lines of name and text."""
    return [(key.removesuffix("_s").replace("_", " "), _fact(key, value)) for key, value in content.items()]


def _fact(key: str, value: Any) -> str:
    if isinstance(value, Mapping) and value.keys() == {"split", "n"}:
        return f"{value['split']} ({value['n']:,} rows)"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact(str(name), of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(key, one) for one in value) or "none"
    if key == "duration_s":
        return wording.duration(float(value))
    return "unknown" if value is None else str(value)


def _commands(run: Run, environment: Mapping[str, Any]) -> list[str]:
    given = environment.get("command") or ["mien", "train", f"runs/{run.name}/experiment.yaml"]
    return [given if isinstance(given, str) else shlex.join(given), f"mien evaluate {run.name}"]
