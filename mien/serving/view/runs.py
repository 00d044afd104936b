"""The runs of a workspace: how far they are, their scores, the pictures behind them, and which of two is better."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import MienError
from mien.explanation import storage
from mien.metrics.classification import confusion
from mien.metrics.probabilities import probabilities
from mien.reading import read_object
from mien.report.explain_page import TITLES, sentences
from mien.report.explain_pictures import rows_of
from mien.report.reading import read_metrics
from mien.report.tables import confused, most_confused
from mien.report.wording import over, warning
from mien.runs.epochs import read_epochs
from mien.runs.predictions import Predictions, read_predictions
from mien.runs.rows import own_dataset
from mien.runs.run import Run, overview
from mien.runs.stored import Status
from mien.serving.schema import Problem
from mien.serving.view.reading import MissingError, run_of, runs_of, table_of, tried
from mien.serving.view.schema import (
    Cell,
    CellOf,
    Confusion,
    Curve,
    Epoch,
    Explanation,
    Measured,
    Row,
    RunDetail,
    RunLine,
)
from mien.tasks import EXPRESSION, OWN, headline, resolve, task_of
from mien.workspace import Workspace

ROLES = ("report", "choose")
_PNG = b"\x89PNG\r\n\x1a\n"
# A figure of a run has less.
_MOST_BYTES = 32 * 2**20


def run_lines(home: Workspace) -> list[RunLine]:
    """All runs of a workspace, a line each."""
    return [_line(run) for run in runs_of(home)]


def _line(run: Run) -> RunLine:
    problems: list[Problem] = []
    known = tried(lambda: _known(run.folder, _stamps(run)), run.folder, problems)
    state = tried(lambda: run.state, run.folder, problems) or "interrupted"
    if known is None or problems:
        return RunLine(run=run.name, state=state, error=problems[0])
    return known.model_copy(update={"state": state})


def _stamps(run: Run) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes with the files behind a run's line: inode, time and size of each, None where there is none."""
    found: list[tuple[int, int, int] | None] = []
    for file in (run.experiment_file, run.history, *map(run.metrics_file, ROLES)):
        try:
            about = file.stat()
            found.append((about.st_ino, about.st_mtime_ns, about.st_size))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


# A page that stays open asks every few seconds. Errors aren't kept, nor is the state, which hangs on a lock.
@functools.lru_cache(maxsize=4096)
def _known(folder: Path, stamps: object) -> RunLine:
    """A run's line as its files were when they had these stamps; MienError for a damaged one."""
    known = overview(Run(folder))
    if "error" in known:
        raise MienError(**known["error"])
    about = {key: known[key] for key in ("run", "state", "task", "dataset", "protocol", "epochs", "epochs_done")}
    scores = {role: headline(known[role]) for role in ROLES if known[role]}
    return RunLine.model_validate({**about, **scores})


def detail_of(home: Workspace, name: str) -> RunDetail:
    """All that a page shows of a run; what is damaged is a problem, and the rest is told."""
    run = run_of(home, name)
    problems: list[Problem] = []

    def known(work: Any, nothing: Any = None) -> Any:
        found = tried(work, run.folder, problems)
        return nothing if found is None else found

    content = known(lambda: run.listed, {})
    return RunDetail(
        run=run.name,
        state=known(lambda: run.state, "interrupted"),
        reason=known(lambda: _reason(run), ""),
        folder=str(run.folder),
        task=content.get("task", ""),
        dataset=content.get("dataset", {}).get("name", ""),
        protocol=content.get("protocol", {}).get("name", ""),
        epochs=content.get("train", {}).get("epochs"),
        epochs_done=known(lambda: run.epochs_done, 0),
        curve=known(lambda: _curve(run, content.get("task", ""))),
        measured=[
            found
            for role in ROLES
            if run.metrics_file(role).is_file() and (found := known(functools.partial(_measured, run, role)))
        ],
        explanations=known(lambda: _explanations(run), []),
        problems=list({str(problem): problem for problem in problems}.values()),
    )


def _reason(run: Run) -> str:
    try:
        return read_object(run.folder / "status.json", Status, "the state").get("reason") or ""
    except FileNotFoundError:
        return ""


def _curve(run: Run, task: str) -> Curve | None:
    epochs = read_epochs(run)
    if not epochs:
        return None
    known = OWN.get(task or EXPRESSION)
    score = known.score if known else None
    return Curve(
        score=score.name if score else epochs[0].score,
        percent=score.percent if score else False,
        higher=score.higher if score else False,
        epochs=[
            Epoch(
                number=one.number,
                fit_loss=_finite(one.fit_loss),
                fit_score=_finite(one.fit_score),
                choose_loss=_finite(one.choose_loss),
                choose_score=_finite(one.choose_score),
            )
            for one in epochs
        ],
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _measured(run: Run, role: str) -> Measured:
    metrics = {"run": run.name, "role": role, **read_metrics(run.metrics_file(role))}
    task = task_of(metrics)
    lines = resolve(task.show)(metrics)
    return Measured(
        role=role,
        split=metrics["split"],
        n=metrics["n"],
        warning=warning(metrics),
        tables=[table_of(line) for line in lines if not isinstance(line, str)],
        sentences=[*(line for line in lines if isinstance(line, str)), over(metrics)],
        confusion=task.classes and run.predictions(role).is_file(),
    )


def _explanations(run: Run) -> list[Explanation]:
    folder = storage.folder(run)
    pictures = sorted(path.stem for path in folder.glob("*.png"))
    found = []
    for name, said in sentences(run).items():
        stored = storage.read(run, name)
        if stored is not None:
            own = [f"{stem}.png" for stem in pictures if stem == name or stem.startswith(f"{name}-")]
            result = stored[0]
            rows, of = rows_of(result), warning(result)
            found.append(Explanation(title=TITLES[name], rows=rows, warning=of, sentences=said, pictures=own))
    return found


def explanation_picture(home: Workspace, name: str, file: str) -> bytes:
    """A picture of a run's explanations; MissingError for one that isn't among them."""
    run = run_of(home, name)
    there = {path.name: path for path in storage.folder(run).glob("*.png")}
    path = there.get(file)
    # A folder that somebody sent may hold links that lead out of it.
    if path is None or not path.resolve().is_relative_to(run.folder.resolve()):
        raise MissingError(f"run {name} has no picture '{file}'", nearest=None)
    with path.open("rb") as opened:
        data = opened.read(_MOST_BYTES + 1)
    if not data.startswith(_PNG) or len(data) > _MOST_BYTES:
        raise MienError("this is no picture that mien made", file=str(path))
    return data


def _predictions(run: Run, role: str) -> Predictions:
    if not (run.metrics_file(role).is_file() and run.predictions(role).is_file()):
        raise MissingError(f"run {run.name} has not been measured on its role {role}", file=str(run.folder))
    return read_predictions(run.predictions(role))


def confusion_of(home: Workspace, name: str, role: str) -> Confusion:
    """The confusion matrix of a run on one role; MienError where its pictures' data set has changed or is gone."""
    run = run_of(home, name)
    found = _predictions(run, role)
    metrics = read_metrics(run.metrics_file(role))
    matrix = confusion(found.labels, found.predicted, len(found.classes))
    shown, classes = most_confused(matrix, found.classes)
    merged = len(found.classes) - len(classes) + 1 if len(classes) < len(found.classes) else 0
    return Confusion(
        run=run.name,
        role=role,
        dataset=own_dataset(run).card.name,
        split=metrics["split"],
        n=len(found),
        classes=list(classes),
        merged=merged,
        matrix=shown.tolist(),
        told=confused(matrix, found.classes),
        warning=warning(metrics),
    )


def cell_of(home: Workspace, name: str, asked: CellOf) -> Cell:
    """The rows of a true class that were told as another, or as the same; the surest first."""
    run = run_of(home, name)
    found = _predictions(run, asked.role)
    for key, label in (("true", asked.true), ("told", asked.told)):
        if label not in found.classes:
            raise MissingError(f"run {name} has no class '{label}'", key=key)
    true, told = found.classes.index(asked.true), found.classes.index(asked.told)
    metrics = read_metrics(run.metrics_file(asked.role))
    rows = np.flatnonzero((found.labels == true) & (found.predicted == told))
    given = probabilities(found.logits[rows], (metrics["calibration"] or {}).get("temperature", 1.0))
    order = np.argsort(-given[:, told], kind="stable")[asked.first : asked.first + asked.most]
    return Cell(
        n=len(rows),
        rows=[
            Row(
                split=found.splits[rows[place]],
                id=found.ids[rows[place]],
                p_told=min(float(given[place, told]), 1.0),
                p_true=min(float(given[place, true]), 1.0),
            )
            for place in order.tolist()
        ],
    )
