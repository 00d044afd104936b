"""Finds likely label errors by confident learning, from predictions of models that weren't trained on these rows.

C. G. Northcutt, L. Jiang, I. L. Chuang (2021), Confident learning: estimating uncertainty in dataset labels, Journal of
Artificial Intelligence Research 70, sections 3.1 and 3.2: the confident joint and the rows off its diagonal.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.data.contact_sheets import gallery, pictures_of
from mien.data.dataset import Dataset, open_dataset
from mien.data.votes import majority_labels, read_votes
from mien.errors import MienError
from mien.experiment.yamlfile import read_yaml
from mien.files import csv_text, write_bytes, write_json, write_text
from mien.intervals import Values, percent, proportion, wilson
from mien.metrics.classification import Labels, confusion
from mien.metrics.probabilities import probabilities
from mien.protocols import folds as number_of_folds
from mien.runs.predictions import Predictions, read_predictions, told
from mien.runs.rows import own_protocol
from mien.runs.run import Run, find_runs
from mien.workspace import Workspace

COLUMNS = ("rank", "split", "id", "given", "suggested", "p_given", "p_suggested", "apply")
_SHOWN = 64
_FIRST = (100, 300, 1000, 3000, 10_000)
# Rows that are all equally sure reach their own mean, in whatever order it was summed.
_ROUNDING = 1e-9
# Agreement below this is slight, by Landis and Koch.
_SLIGHT = 0.2


def thresholds(labels: Labels, given: Values) -> Values:
    """The mean probability of each class over the rows with its label, (k,): the threshold of being confident.

    `given` are probabilities (n, k). The threshold of a class without rows is infinity, which no row reaches.
    """
    k = given.shape[1]
    own = np.bincount(labels, given[np.arange(len(labels)), labels], minlength=k)
    n = np.bincount(labels, minlength=k)
    return np.where(n > 0, own / np.maximum(n, 1), np.inf)


def confident(labels: Labels, given: Values) -> Labels:
    """The confident class of each row, int64 (n,): the likeliest of those whose threshold it reaches, -1 for none.

    >>> given = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.3, 0.7]])
    >>> confident(np.array([0, 0, 0, 1]), given).tolist()
    [0, -1, 1, 1]
    """
    reached = np.where(given >= thresholds(labels, given) - _ROUNDING, given, -np.inf)
    likely = reached.argmax(axis=1)
    return np.where(np.isfinite(reached.max(axis=1)), likely, -1).astype(np.int64)


def confident_joint(labels: Labels, given: Values) -> npt.NDArray[np.int64]:
    """The number of rows by label (down) and confident class (across), int64 (k, k)."""
    likely = confident(labels, given)
    counted = likely >= 0
    return confusion(labels[counted], likely[counted], given.shape[1])


def margins(labels: Labels, given: Values) -> Values:
    """The normalised margin of each row, -1 … 1: the probability of its label less the highest of any other class."""
    others = given.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(given[np.arange(len(labels)), labels] - others.max(axis=1))


def suspicious(labels: Labels, given: Values) -> tuple[Labels, Labels]:
    """The rows whose confident class isn't their label, the lowest normalised margin first, and those classes.

    `labels` is int64 (n,), `given` probabilities (n, k) by models that weren't trained on these rows; gives row numbers
    and classes, both int64 (suspects,). Rows with the same margin stay in their order.
    """
    likely = confident(labels, given)
    rows = np.flatnonzero((likely >= 0) & (likely != labels))
    rows = rows[np.argsort(margins(labels, given)[rows], kind="stable")]
    return rows, likely[rows]


@dataclass(frozen=True)
class OutOfFold:
    """Rows of a data set with labels int64 (n,) and probabilities (n, k) by runs that weren't trained on them."""

    dataset: Dataset
    runs: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    labels: Labels
    given: Values


def out_of_fold(workspace: Workspace, reference: str) -> OutOfFold:
    """The predictions of a fold group (`name/1-5`): each row by the run that reports on it.

    Probabilities are by each run's own temperature, where one was fitted. Raises MienError for runs that differ in more
    than the fold, aren't measured or whose protocol has no folds or is contaminated, for a data set that has changed
    or isn't measured by its own labels, and for a row that two runs predict.
    """
    if "/" not in reference:  # It would be the latest run alone.
        raise MienError(f"'{reference}' is no group of runs", expected="a name and numbers, as in name/1-5 or name/1,3")
    runs = find_runs(workspace, reference)
    _check_runs(reference, runs)
    content, _ = read_yaml(runs[0].experiment_file)
    dataset = open_dataset(workspace, content["dataset"]["name"])
    parts: list[Predictions] = []
    given: list[Values] = []
    seen: dict[tuple[str, str], str] = {}
    for run in runs:
        measured = _measured(run, dataset)
        part = read_predictions(run.predictions("report"))
        for row in part.rows:
            if row in seen:
                raise MienError(
                    f"row {told(row)} is predicted by runs {seen[row]} and {run.name}",
                    key=reference,
                    expected="runs of different folds",
                )
            seen[row] = run.name
        parts.append(part)
        given.append(probabilities(part.logits, (measured.get("calibration") or {}).get("temperature", 1.0)))
    return OutOfFold(
        dataset,
        tuple(run.name for run in runs),
        tuple(row for part in parts for row in part.rows),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(given),
    )


def _check_runs(reference: str, runs: Sequence[Run]) -> None:
    contents = []
    for run in runs:
        content, _ = read_yaml(run.experiment_file)
        protocol = dict(content["protocol"])
        if "fold" not in protocol:
            raise MienError(
                f"the protocol of run {run.name} is '{protocol['name']}', which reports on the same rows in each run",
                key=reference,
                expected="a group of runs under a protocol with folds, as k-fold, one for each fold",
            )
        protocol.pop("fold", None)
        contents.append({**content, "protocol": protocol})
    for run, content in zip(runs, contents, strict=True):
        differ = sorted(key for key in content.keys() | contents[0].keys() if content.get(key) != contents[0].get(key))
        if differ:
            raise MienError(
                f"runs {runs[0].name} and {run.name} differ in {', '.join(differ)}",
                key=reference,
                expected="a group of runs that differ in nothing but protocol.fold",
            )


def _measured(run: Run, dataset: Dataset) -> dict[str, Any]:
    """The metrics of a run's reporting role; MienError where label errors can't be found by its predictions."""
    measured = run.measured()
    if measured["contaminated"]:
        raise MienError(
            f"run {run.name} was trained on {percent(measured['contaminated'])} of the rows that it predicts",
            file=str(run.folder),
            expected="predictions by models that haven't seen the rows",
        )
    if run.environment["dataset"]["fingerprint"] != dataset.card.fingerprint:
        raise MienError(
            f"data set '{dataset.card.name}' isn't the one that run {run.name} was trained on", file=str(dataset.folder)
        )
    if measured["labels"] != dataset.card.labels:
        raise MienError(
            f"run {run.name} is measured by labels under {measured['labels']}",
            file=str(run.folder),
            expected=f"the data set's own labels ({dataset.card.labels}), which are the ones to be looked through",
        )
    return measured


def find_label_errors(workspace: Workspace, reference: str) -> dict[str, Any]:
    """Find the likely label errors by the runs of a fold group, write them, and return them as plain data.

    Into `suspects/<data set>/` go `suspects.csv`, which `mien data import --relabel` takes, `suspects.png` with the
    first 64 as pictures, and `suspects.json` with what this returns: `dataset`, `fingerprint`, `runs`, `split`, `n`
    rows predicted of `rows`, `suspects`, `share`, `interval`, `joint` (the confident joint, labels down), `per_class`
    (of the rows with each label: n, suspects, share, interval, and `rather`, the suggested classes), `notes` for the
    reader, and `raters`: see `majority_of_suspects`. Intervals are Wilson's of 95 %. Raises MienError for runs that
    hardly know the labels: by Cohen's kappa below 0.2, "slight" (J. R. Landis, G. G. Koch (1977), The measurement of
    observer agreement for categorical data, Biometrics 33).
    """
    predicted = out_of_fold(workspace, reference)
    _check_unread(workspace.root / "suspects" / predicted.dataset.card.name / "suspects.csv")
    _check_skill(predicted, reference)
    card = predicted.dataset.card
    rows, suggested = suspicious(predicted.labels, predicted.given)
    suspect = np.zeros(len(predicted.labels), np.bool_)
    suspect[rows] = True
    joint = confident_joint(predicted.labels, predicted.given)
    folder = workspace.root / "suspects" / card.name
    result = {
        "dataset": card.name,
        "fingerprint": card.fingerprint,
        "runs": list(predicted.runs),
        "split": " + ".join(split for split in card.splits if any(row[0] == split for row in predicted.rows)),
        "rows": sum(sum(counts) for counts in card.splits.values()),
        **_share(suspect),
        "joint": joint.tolist(),
        "per_class": {
            name: {**_share(suspect[predicted.labels == index]), "rather": _rather(joint[index], index, card.classes)}
            for index, name in enumerate(card.classes)
        },
        "raters": majority_of_suspects(predicted, rows, suggested),
        "notes": _lacking(workspace, reference, predicted),
        "csv": str(folder / "suspects.csv"),
        "gallery": str(folder / "suspects.png"),
    }
    write_text(folder / "suspects.csv", as_csv(predicted, rows, suggested))
    write_bytes(folder / "suspects.png", _gallery(predicted, rows, suggested))
    write_json(folder / "suspects.json", result)
    return result


def _check_skill(predicted: OutOfFold, reference: str) -> None:
    """Raise MienError for predictions that are little better than chance: they would call most labels wrong."""
    from sklearn.metrics import cohen_kappa_score  # Reading stored suspects needs none of it.

    said = predicted.given.argmax(axis=1)
    # Where both know a single class, the same, there is nothing beyond chance to agree on.
    found = 1.0 if len({*predicted.labels, *said}) == 1 else float(cohen_kappa_score(predicted.labels, said))
    if found >= _SLIGHT:
        return
    right = int((said == predicted.labels).sum())
    most = np.bincount(predicted.labels)
    usual = predicted.dataset.card.classes[most.argmax()]
    raise MienError(
        f"these runs are right in {percent(right / len(said))} of {len(said):,} rows (Cohen's kappa {found:.2f}; "
        f"always answering '{usual}' is in {percent(most.max() / len(said))}), so "
        "what they doubt says nothing of the labels",
        key=reference,
        expected=f"models with a kappa of {_SLIGHT:g} or more, as longer training may give",
    )


def _lacking(workspace: Workspace, reference: str, predicted: OutOfFold) -> list[str]:
    """A sentence where folds are missing: rows that no run predicts aren't looked at."""
    component = own_protocol(find_runs(workspace, reference)[0])
    folds = number_of_folds(component, predicted.dataset)
    lacking = folds - len(predicted.runs)
    if lacking <= 0:
        return []
    return [
        f"{lacking} of {folds} folds {'is' if lacking == 1 else 'are'} missing: the labels of their rows weren't "
        f"looked at, and the thresholds of the others are those of {len(predicted.labels):,} rows alone"
    ]


def _check_unread(path: Path) -> None:
    """Raise MienError for a list of suspects that somebody has looked through: what they wrote would be lost."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if any(row.get("apply") != "yes" for row in csv.DictReader(file)):
            raise MienError(
                "somebody has looked through this list",
                file=str(path),
                expected="mien data import --relabel with it, or another name for it",
            )


def _share(suspect: npt.NDArray[np.bool_]) -> dict[str, Any]:
    n, number = len(suspect), int(suspect.sum())
    return {"n": n, "suspects": number, "share": number / n if n else None, "interval": list(wilson(number, n))}


def _rather(counts: npt.NDArray[np.int64], label: int, classes: Sequence[str]) -> dict[str, int]:
    order = np.argsort(-counts, kind="stable").tolist()
    return {classes[other]: int(counts[other]) for other in order if other != label and counts[other]}


def as_csv(predicted: OutOfFold, rows: Labels, suggested: Labels) -> str:
    """Suspects as CSV: rank from 1, split, id, given and suggested class, the probability of each, and `apply`.

    `apply` is "yes" everywhere: whoever looks through the list writes "no" where the given label is right.
    """
    classes = predicted.dataset.card.classes
    lines: list[Sequence[object]] = [COLUMNS]
    for rank, (row, new) in enumerate(zip(rows.tolist(), suggested.tolist(), strict=True), start=1):
        old = int(predicted.labels[row])
        sure = [f"{predicted.given[row, label]:.4f}" for label in (old, new)]
        lines.append([rank, *predicted.rows[row], classes[old], classes[new], *sure, "yes"])
    return csv_text(lines)


def majority_of_suspects(predicted: OutOfFold, rows: Labels, suggested: Labels) -> dict[str, Any] | None:
    """How often the raters' majority is the suggested label of suspects, as plain data; None without votes.

    Of the suspects that have a majority among the classes (`n`; `dropped` have none): how often it is the suggested
    label, the given one or neither, and, beside it, how often it is the given one of the rows that are no suspects
    (`others`): each `{n, value, interval}`, with Wilson's interval of 95 %. `first` says it of the most suspicious 100,
    300, 1,000, … rows, as far as there are so many: `{rows, suggested, given}`.
    """
    dataset = predicted.dataset
    if "votes" not in dataset.card.columns:
        return None
    voted: dict[tuple[str, str], int] = {}
    for split in {split for split, _ in predicted.rows}:
        labels, _ = majority_labels(read_votes(dataset, split), dataset.card.scheme)
        voted.update(zip(((split, id_) for id_ in dataset.ids(split)), labels.tolist(), strict=True))
    most = np.array([voted[row] for row in predicted.rows], dtype=np.int64)
    decided = most[rows] >= 0
    said = most[rows][decided]
    new, old = said == suggested[decided], said == predicted.labels[rows][decided]
    # Of the first rows, how many have a majority.
    known = np.concatenate([[0], np.cumsum(decided)])
    others = np.setdiff1d(np.flatnonzero(most >= 0), rows)
    return {
        "n": len(said),
        "dropped": int((~decided).sum()),
        "suggested": proportion(new),
        "given": proportion(old),
        "neither": proportion(~new & ~old),
        "others": proportion(most[others] == predicted.labels[others]),
        "first": [
            {"rows": number, "suggested": proportion(new[: known[number]]), "given": proportion(old[: known[number]])}
            for number in _FIRST
            if number < len(rows)
        ],
    }


def _gallery(predicted: OutOfFold, rows: Labels, suggested: Labels) -> bytes:
    classes = predicted.dataset.card.classes
    shown = rows[:_SHOWN].tolist()
    pictures = pictures_of(predicted.dataset, {predicted.rows[row] for row in shown})
    captions = [
        f"{classes[predicted.labels[row]]} → {classes[new]}\n{predicted.given[row, predicted.labels[row]]:.2f} → "
        f"{predicted.given[row, new]:.2f}\n{predicted.rows[row][1]}"
        for row, new in zip(shown, suggested[: len(shown)].tolist(), strict=True)
    ]
    title = f"{predicted.dataset.card.name}: the {len(shown)} most suspicious of {len(rows):,} suspects"
    return gallery([pictures[predicted.rows[row]] for row in shown], captions, title)
