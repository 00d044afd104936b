"""The contenders of a comparison: runs, seed groups, and other people's predictions, all on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.data.labels import canonical
from mien.errors import MienError
from mien.metrics.probabilities import probabilities
from mien.runs.model_file import ModelFile, is_model_file
from mien.runs.predictions import Predictions, read_foreign, read_predictions, told
from mien.runs.run import Run, find_runs
from mien.workspace import Workspace

Correct = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """One model, or the seeds of one experiment; `runs` are on the same rows in the same order.

    `contaminated` is the share of these rows that were trained on; None where nobody knows. `temperatures` has one for
    each run, or is empty where none was fitted. `dataset` is name and fingerprint of what was measured, where that is
    known. `notes` are for the reader.
    """

    name: str
    runs: tuple[Predictions, ...]
    names: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    contaminated: float | None = 0.0
    protocol: str | None = None
    dataset: tuple[str, str] | None = None
    temperatures: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def correct(self) -> Correct:
        """Whether each run has each row right, (runs, rows)."""
        return np.stack([run.predicted == run.labels for run in self.runs])

    @property
    def probabilities(self) -> Values:
        """The probability of each class for each row, mean over the runs, (rows, k)."""
        scales = self.temperatures or (1.0,) * len(self.runs)
        parts = [probabilities(run.logits, scale) for run, scale in zip(self.runs, scales, strict=True)]
        return np.asarray(np.mean(parts, axis=0))


def find_contender(workspace: Workspace, reference: str) -> Contender:
    """The run that `reference` means, the file of a model, or the seed group of `name/1,2,5` or `name/1-5`.

    Raises MienError for what isn't there, isn't measured on its reporting role, or isn't a group of seeds.
    """
    if is_model_file(reference):
        return _load(ModelFile(Path(reference), workspace))
    runs = find_runs(workspace, reference)
    return _load(runs[0]) if len(runs) == 1 else group(reference, runs)


def group(name: str, runs: Sequence[Run]) -> Contender:
    """The runs of one experiment as one contender; raises MienError when more than their seeds differs."""
    plain = [_flat(run.content) for run in runs]
    for run, content in zip(runs, plain, strict=True):
        differ = {key for key in plain[0].keys() | content.keys() if plain[0].get(key) != content.get(key)}
        if "protocol.fold" in differ:
            raise MienError(
                f"runs {runs[0].name} and {run.name} are folds: each is measured on rows of its own",
                key=name,
                expected="a group of runs that differ in nothing but train.seed",
            )
        if differ - {"train.seed"}:
            raise MienError(
                f"runs {runs[0].name} and {run.name} differ in {', '.join(sorted(differ - {'train.seed'}))}",
                key=name,
                expected="a group of runs that differ in nothing but train.seed",
            )
    seeds = [content.get("train.seed") for content in plain]
    for place, seed in enumerate(seeds):
        if seed in seeds[:place]:
            raise MienError(
                f"runs {runs[seeds.index(seed)].name} and {runs[place].name} have the same seed {seed}",
                key=name,
                expected="a group of runs with a seed of its own each",
            )
    return as_one(name, runs)


def as_one(name: str, runs: Sequence[Run]) -> Contender:
    """Measured runs as one contender; this one doesn't check what they differ in."""
    same = aligned([_load(run) for run in runs])
    return replace(
        same[0],
        name=name,
        runs=tuple(one.runs[0] for one in same),
        names=tuple(run.name for run in runs),
        seeds=tuple(seed for one in same for seed in one.seeds),
        contaminated=max(one.contaminated or 0.0 for one in same),
        temperatures=tuple(scale for one in same for scale in one.temperatures),
    )


def _flat(content: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {key: content}
    return {name: value for k, v in content.items() for name, value in _flat(v, f"{key}.{k}" if key else k).items()}


def _load(run: Run | ModelFile) -> Contender:
    measured, file = run.measured(), run.predictions("report")
    made = run.environment.get("dataset", {})
    found = read_predictions(file)
    if len(set(found.rows)) < len(found):
        raise MienError("a row stands there twice", file=str(file), expected=f"mien evaluate {run.name} anew")
    more = isinstance(measured.get("tta"), dict)
    return Contender(
        run.name,
        (found,),
        (run.name,),
        tuple(measured.get("seeds", ())),
        measured["contaminated"],
        measured["protocol"],
        (made["name"], made["fingerprint"]) if "name" in made and "fingerprint" in made else None,
        ((measured.get("calibration") or {}).get("temperature", 1.0),),
        ("each image is taken once, without test-time augmentation",) if more else (),
    )


def foreign(file: Path, like: Contender) -> Contender:
    """Someone else's predictions on the rows of a contender; see `predictions.read_foreign` for the file."""
    found, further = read_foreign(file, like.runs[0])
    notes = [f"{file.stem} is matched by row ids; what it was trained on isn't known"]
    if further:
        notes.append(f"{further:,} further rows of {file.name} have no part in this")
    return Contender(file.stem, (found,), contaminated=None, notes=tuple(notes))


def aligned(contenders: Sequence[Contender]) -> list[Contender]:
    """The contenders on the rows of the first, in its order and with its classes; MienError where rows differ."""
    first = contenders[0]
    return [replace(one, runs=tuple(_like(first, one, run) for run in one.runs)) for one in contenders]


def _like(first: Contender, other: Contender, run: Predictions) -> Predictions:
    rows = first.runs[0]
    if run is rows:
        return run
    run = _same_classes(rows, run, f"'{other.name}'", f"'{first.name}'")
    if run.ids != rows.ids or run.splits != rows.splits:
        run = _same_rows(rows, run, first.name, other.name)
    differ = np.flatnonzero(run.labels != rows.labels)
    if len(differ):
        row = int(differ[0])
        raise MienError(
            f"'{first.name}' and '{other.name}' disagree on the labels of {len(differ):,} rows; the first is "
            f"{told(rows.rows[row])}, '{rows.classes[rows.labels[row]]}' and '{rows.classes[run.labels[row]]}'",
            file=str(run.file),
            expected="runs on the same labels",
        )
    return run


def _same_rows(rows: Predictions, run: Predictions, first: str, name: str) -> Predictions:
    """The predictions in the order of `rows`."""
    place = {row: i for i, row in enumerate(run.rows)}
    wanted = set(rows.rows)
    lacking = [row for row in rows.rows if row not in place]
    more = [row for row in run.rows if row not in wanted]
    if lacking or more:
        parts = [
            f"{len(some):,} only in '{whose}' (the first is {told(some[0])})"
            for some, whose in ((lacking, first), (more, name))
            if some
        ]
        raise MienError(
            f"'{first}' and '{name}' weren't measured on the same rows: {', '.join(parts)}",
            file=str(run.file),
            expected=f"the {len(rows):,} rows of {rows.file}",
        )
    return run.take([place[row] for row in rows.rows])


def _same_classes(rows: Predictions, run: Predictions, name: str, first: str) -> Predictions:
    """The predictions with the classes in the order of `rows`, matched by their names."""
    place = {canonical(one): i for i, one in enumerate(run.classes)}
    wanted = [canonical(one) for one in rows.classes]
    if set(place) != set(wanted) or len(place) != len(run.classes):
        odd = sorted(set(place) ^ set(wanted))
        raise MienError(
            f"{first} and {name} have different classes: {', '.join(odd)} in one of them alone",
            file=str(run.file),
            expected=f"the classes {', '.join(rows.classes)}",
        )
    order = [place[one] for one in wanted]
    if order == list(range(len(order))):
        return run
    return replace(run, logits=run.logits[:, order], labels=np.argsort(order)[run.labels], classes=rows.classes)
