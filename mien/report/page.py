"""A run as one HTML file, and its figures and tables as files of their own; all read from the run's folder."""

import csv
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from markupsafe import Markup

from mien.errors import FailedError, MienError
from mien.files import read_json, write_text
from mien.metrics import Labels, Logits, class_scores, classification_report, confusion, predict
from mien.report import figures
from mien.report.rendering import percent, render
from mien.report.style import ALARM, DEEP, INK, Caption, save, svg
from mien.run import Run
from mien.statistics import Counts, bootstrap, wilson
from mien.yamlfile import read_yaml

_SCORES = {
    "accuracy": ("Accuracy", "share of rows predicted right"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall of the classes"),
    "macro_f1": ("Macro F1", "mean F1 of the classes"),
    "weighted_f1": ("Weighted F1", "mean F1, each class by its rows"),
}


_NEEDED = {"protocol", "split", "n", "per_class", "interval", "contaminated", *_SCORES}


class Predictions(NamedTuple):
    """Labels (n,), logits (n, k) and the k class names of a role's rows."""

    labels: Labels
    logits: Logits
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """All that the page says of one role."""

    role: str
    metrics: dict[str, Any]
    warning: str
    scores: list[tuple[str, str, str, str]]
    classes: list[dict[str, Any]]
    names: tuple[str, ...]
    matrix: list[list[int]]
    confused: str
    constant: str
    pictures: list[Markup]


def write_report(folder: Path) -> Path:
    """Write `report.html`, `figures/` and `classification_report.*` of a run from what its folder holds.

    Before `mien evaluate` the numbers are those of the choose role, and the page says so. Returns the page's path.
    Raises MienError when the folder is no run, FailedError for a file in it that can't be read.
    """
    run = Run(folder.resolve())
    if not run.experiment_file.is_file():
        raise MienError("this folder isn't a run", file=str(folder), expected="a folder with experiment.yaml")
    environment = _json(folder / "environment.json") or {}
    history = _history(run.history)
    measured = {role: _measured(run, role) for role in ("report", "choose") if run.metrics_file(role).is_file()}
    pictures = _curves(run, history, environment) if history else []
    context = {
        "name": run.name,
        "about": _about(run, environment),
        "state": run.state,
        "reason": (_json(folder / "status.json") or {}).get("reason"),
        "measured": list(measured.values()),
        "first": next(iter(measured.values()), None),
        "opened": "report" in measured,
        "curves": pictures,
        "training": _training(run, history),
        "experiment": run.experiment_file.read_text(encoding="utf-8"),
        "environment": _facts({key: environment[key] for key in environment if key not in _ELSEWHERE}),
        "dataset": _facts(environment.get("dataset", {})),
        "commands": _commands(run, environment),
    }
    page = folder / "report.html"
    write_text(page, render("page.html.j2", context))
    return page


# What the page shows in a place of its own, or twice.
_ELSEWHERE = ("dataset", "command", "sessions")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise FailedError(f"the file isn't JSON ({error})", file=str(path)) from error
    return content


def _history(path: Path) -> figures.History | None:
    """The columns of a history by name, float64 with NaN for an empty cell; None when there is no epoch."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        columns = {
            name: np.array([float(row[name] or "nan") for row in rows])
            for name in ("epoch", "fit_loss", "fit_accuracy", "choose_loss", "choose_accuracy")
        }
    except (KeyError, TypeError, ValueError) as error:
        raise FailedError(f"the history can't be read ({error})", file=str(path)) from error
    return columns if rows else None


def _predictions(path: Path) -> Predictions:
    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise FailedError(f"the predictions can't be read ({error})", file=str(path)) from error
    classes = table.column_names[3:]
    logits = np.stack([table[name].to_numpy() for name in classes], axis=1)
    return Predictions(table["label"].to_numpy(), logits, tuple(classes))


def _interval(ends: tuple[float, float] | list[float]) -> str:
    # A score that no resample changed is not a sure one: it has no interval.
    if ends[0] == ends[1]:
        return "–"
    return f"{ends[0]:.3f}–{ends[1]:.3f}"


def _measured(run: Run, role: str) -> Measured:
    metrics = _json(run.metrics_file(role)) or {}
    missing = _NEEDED - metrics.keys()
    if missing:
        raise FailedError(f"the metrics lack {', '.join(sorted(missing))}", file=str(run.metrics_file(role)))
    labels, logits, classes = _predictions(run.predictions(role))
    predicted = predict(labels, logits, classes)
    matrix = confusion(labels, predicted, len(classes))
    where = f"{run.name} · protocol {metrics['protocol']} · {role}: {metrics['split']}"
    warning = f"contaminated: {percent(metrics['contaminated'])} of these rows were trained on"
    warning = warning if metrics["contaminated"] else ""

    low, high = metrics["interval"]["accuracy"]
    accuracy = f"accuracy {metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}]"
    caption = Caption((where, f"n = {metrics['n']:,} · {accuracy}"), warning)
    drawn = {
        "confusion": figures.confusion_matrix(matrix, classes, caption),
        "per-class": figures.per_class(metrics["per_class"], caption),
    }
    drawings = {name: save(made, run.folder / "figures" / f"{name}-{role}") for name, made in drawn.items()}
    confused = _confused(matrix, classes)
    texts = {
        "confusion": f"Confusion matrix of {role}, {metrics['split']}, n = {metrics['n']:,}. {confused}",
        "per-class": f"Bars of precision, recall and F1 by class on {role}, {metrics['split']}, n = {metrics['n']:,}; "
        "the table of classes has the numbers.",
    }
    if role == "report" or not run.metrics_file("report").is_file():
        title = f"{where} · n = {metrics['n']:,}" + (f" · {warning}" if warning else "")
        for suffix, text in classification_report(labels, logits, classes, title).items():
            write_text(run.folder / f"classification_report.{suffix}", text)
    return Measured(
        role=role,
        metrics=metrics,
        warning=warning,
        scores=[
            (label, meaning, f"{metrics[key]:.3f}", _interval(metrics["interval"][key]))
            for key, (label, meaning) in _SCORES.items()
        ],
        classes=_classes(matrix, classes),
        names=classes,
        matrix=matrix.tolist(),
        confused=confused,
        constant=_constant(matrix, classes),
        pictures=[Markup(inline_svg(drawing, f"{role}-{name}", texts[name])) for name, drawing in drawings.items()],
    )


def _classes(matrix: Counts, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The table of classes: Wilson's intervals for the shares, the bootstrap's for F1."""
    scores = class_scores(matrix)
    rows = []
    for i, name in enumerate(classes):
        right, support, predicted = int(matrix[i, i]), int(matrix[i].sum()), int(matrix[:, i].sum())
        f1 = bootstrap(matrix, partial(_f1_of, i)) if support else None
        rows.append(
            {
                "name": name,
                "support": f"{support:,}",
                "precision": (f"{scores.precision[i]:.3f}", _interval(wilson(right, predicted)) if predicted else ""),
                "recall": (f"{scores.recall[i]:.3f}", _interval(wilson(right, support))) if support else ("–", ""),
                "f1": (f"{scores.f1[i]:.3f}", _interval(f1)) if f1 else ("–", ""),
            }
        )
    return rows


def _f1_of(index: int, matrices: Counts) -> Any:
    return class_scores(matrices).f1[..., index]


def _confused(matrix: Counts, classes: tuple[str, ...], most: int = 3) -> str:
    """The commonest mistakes in words, by their share of the true class."""
    support = np.maximum(matrix.sum(axis=1), 1)
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, matrix) / support[:, None]
    pairs = [divmod(int(cell), len(classes)) for cell in np.argsort(-wrong, axis=None, kind="stable")[:most]]
    told = [
        f"{classes[i]} taken for {classes[j]} ({percent(wrong[i, j])}, {matrix[i, j]:,} of {support[i]:,})"
        for i, j in pairs
        if wrong[i, j]
    ]
    return f"Commonest mistakes: {'; '.join(told)}." if told else "No row was predicted wrong."


def _constant(matrix: Counts, classes: tuple[str, ...]) -> str:
    """What the commonest class alone would score."""
    support = matrix.sum(axis=1)
    commonest = int(support.argmax())
    return f"Always answering “{classes[commonest]}” would score {support[commonest] / support.sum():.3f}."


def _curves(run: Run, history: figures.History, environment: Mapping[str, Any]) -> list[Markup]:
    choose = _json(run.metrics_file("choose"))
    roles = environment.get("dataset", {}).get("roles", {})
    known = {role: roles[role] for role in ("fit", "choose") if role in roles}
    if choose:
        known["choose"] = choose
    where = " · ".join(f"{role}: {of['split']}, n = {of['n']:,}" for role, of in known.items())
    protocol = choose or _json(run.metrics_file("report")) or {}
    first = f"{run.name} · protocol {protocol['protocol']}" if protocol else run.name
    caption = Caption((first, where) if where else (first,))
    save(figures.curves(history, caption), run.folder / "figures" / "curves")
    pictures = []
    for panel in figures.PANELS:
        best = figures.best_epoch(history, panel)
        last = f"{history[f'fit_{panel}'][-1]:.3f} on fit and {history[f'choose_{panel}'][-1]:.3f} on choose"
        text = f"The {panel} by epoch: after epoch {history['epoch'][-1]:.0f} it is {last}"
        if best is not None:
            value = history[f"choose_{panel}"][history["epoch"] == best][0]
            text += f"; best on choose {value:.3f} at epoch {best}"
        drawing = svg(figures.curves(history, caption, [panel]))
        pictures.append(Markup(inline_svg(drawing, f"curve-{panel}", f"{text}. {where}")))
    return pictures


def _about(run: Run, environment: Mapping[str, Any]) -> str:
    """Model, data set and seed in one line."""
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


def inline_svg(text: str, name: str, label: str) -> str:
    """A figure's SVG for a page: its ink is the page's, its paper clear, its ids its own, its width the place's."""
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<path [^>]*?style=")fill: #ffffff"', r'\1fill: none"', body)
    body = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", body).replace("xlink:href", "href")
    body = re.sub(r">\s+<", "><", body)
    for color, of_page in ((INK, "currentColor"), (DEEP, "var(--cell)"), (ALARM, "var(--alarm)")):
        body = body.replace(color.lower(), of_page)
    body = body.replace("'DejaVu Sans', Verdana, sans-serif", "inherit")
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    head = Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1], label)
    return f"{head}{body.strip()}"


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
        return _duration(float(value))
    return "unknown" if value is None else str(value)


def _duration(seconds: float) -> str:
    """A time as people say it.

    >>> _duration(59.2), _duration(1204), _duration(7322)
    ('59 s', '20 min 4 s', '2 h 2 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _commands(run: Run, environment: Mapping[str, Any]) -> list[str]:
    given = environment.get("command") or ["mien", "train", f"runs/{run.name}/experiment.yaml"]
    return [given if isinstance(given, str) else shlex.join(given), f"mien evaluate {run.name}"]
