"""The tables of a run's page, as plain data: rows of text, every score with its interval and n."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mien.intervals import Counts, bootstraps, percent, wilson
from mien.metrics.classification import SCORES, class_scores
from mien.report.wording import OLDER, fit_on, left_out, span, view, which_rows

CALIBRATION = {
    "nll": ("NLL", "mean negative log likelihood, in nats"),
    "brier": ("Brier score", "squared distance to the right answer, 0 to 2"),
    "ece_corrected": ("ECE, 15 bins", "calibration error, without what chance adds"),
    "ece": ("ECE, 15 bins, as found", "chance alone makes it more than 0"),
    "ece_equal_mass_corrected": ("ECE, equal mass", "15 bins of as many rows each, without what chance adds"),
    "ece_equal_mass": ("ECE, equal mass, as found", "chance alone makes it more than 0"),
    "aurc": ("AURC", "mean risk over all coverages"),
}
_VOTES = {
    "accuracy": "The model's class is the majority's",
    "agreement": "The label is the majority's",
    "one_more_rater.label": "A further rater gives the label",
    "one_more_rater.rater": "Two raters of a row agree",
    "one_more_rater.majority": "A rater says what most of the others do",
    "model_with_rater": "A rater says what the model does",
    "cross_entropy": "Cross entropy of the model against the votes, in nats",
    "entropy": "Entropy of the votes, which no model can go below, in nats",
}

# Of more classes no one reads a matrix, and a picture of each cell would take minutes.
MOST_CLASSES = 24

_SLICES = {"agreement": "rater agreement"}

# A value and what stands small below it, its interval first.
Cell = tuple[str, ...]


class Scores(NamedTuple):
    """A table of scores: groups of columns, columns with their n, and rows of label, meaning and a cell a column."""

    groups: list[tuple[str, int]]
    columns: list[tuple[str, int]]
    rows: list[tuple[str, str, list[Cell]]]


def score_table(metrics: Mapping[str, Any]) -> Scores:
    """Scores of all rows, without exact and without near copies; of the image alone, then of test-time views."""
    views = [("the image alone", metrics)] + ([(view(metrics["tta"]), metrics["tta"])] if metrics["tta"] else [])
    groups, columns, parts = [], [], []
    for name, of in views:
        here = [("all rows", of), ("no exact copies", of.get("clean")), ("no near copies", of.get("near_clean"))]
        there = [(label, part) for label, part in here if part]
        groups.append((name, len(there)))
        columns += [(label, part["n"]) for label, part in there]
        parts += [part for _, part in there]
    rows = [
        (heading(score.name), score.meaning, [_cell(part, key, score.form) for part in parts])
        for key, score in SCORES.items()
    ]
    return Scores(groups, columns, rows)


def heading(text: str) -> str:
    """A name as a heading: `balanced accuracy` as `Balanced accuracy`."""
    return text[:1].upper() + text[1:]


def _cell(of: Mapping[str, Any], key: str, form: str = ".3f") -> Cell:
    return ("–",) if of.get(key) is None else (f"{of[key]:{form}}", span(of["interval"][key], form))


def class_table(
    matrix: Counts, classes: Sequence[str], measured: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """The scores of each class, with Wilson's intervals for precision and recall, and the bootstrap's for F1.

    Intervals over whole groups are those of `measured`, the `per_class` of `metrics.measure`, where that has them.
    """
    scores, measured = class_scores(matrix), measured or {}
    grouped = any("interval" in of for of in measured.values())
    drawn = None if grouped else bootstraps(matrix, lambda sample: class_scores(sample).f1)
    rows = []
    for i, name in enumerate(classes):
        right, support, predicted = int(matrix[i, i]), int(matrix[i].sum()), int(matrix[:, i].sum())
        if drawn is None:
            known = measured.get(name, {}).get("interval", {})
            ends = {key: span(known.get(key)) for key in ("precision", "recall", "f1")}
        else:
            ends = {"f1": span(drawn[i])}
            ends["precision"], ends["recall"] = span(wilson(right, predicted)), span(wilson(right, support))
        rows.append(
            {
                "name": name,
                "support": f"{support:,}",
                "precision": (f"{scores.precision[i]:.3f}", ends["precision"] if predicted else ""),
                "recall": (f"{scores.recall[i]:.3f}", ends["recall"]) if support else ("–", ""),
                "f1": (f"{scores.f1[i]:.3f}", ends["f1"]) if support else ("–", ""),
            }
        )
    return rows


def most_confused(matrix: Counts, classes: Sequence[str]) -> tuple[Counts, Sequence[str]]:
    """The matrix and classes as they are drawn: of many, those with the most wrong rows, and all others as one.

    >>> matrix, classes = most_confused(np.eye(100, dtype=np.int64), [str(i) for i in range(100)])
    >>> matrix.shape, classes[-1], int(matrix[-1, -1])
    ((25, 25), '76 others', 76)
    """
    k = len(classes)
    # One more, since “1 other” would take no less place than that class.
    if k <= MOST_CLASSES + 1:
        return matrix, classes
    wrong = matrix.sum(axis=1) - matrix.diagonal()
    kept = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
    place = np.full(k, MOST_CLASSES)
    place[kept] = np.arange(MOST_CLASSES)
    rows = np.zeros((MOST_CLASSES + 1, k), matrix.dtype)
    np.add.at(rows, place, matrix)
    merged = np.zeros((MOST_CLASSES + 1, MOST_CLASSES + 1), matrix.dtype)
    np.add.at(merged.T, place, rows.T)
    return merged, [*(classes[i] for i in kept), f"{k - MOST_CLASSES:,} others"]


def confused(matrix: Counts, classes: Sequence[str], most: int = 3) -> str:
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


def calibration_table(content: Mapping[str, Any]) -> list[tuple[str, str, list[Cell]]]:
    """Each calibration measure before and after the temperature."""

    def cell(side: Mapping[str, Any], key: str) -> Cell:
        return f"{side[key]:.3f}", span(side["interval"][key]) if key in side["interval"] else ""

    return [
        (label, meaning, [cell(content["before"], key), cell(content["after"], key)])
        for key, (label, meaning) in CALIBRATION.items()
    ]


def slice_tables(metrics: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str, Cell, Cell]]]]:
    """A table for each column: the slices' names, n, accuracy and balanced accuracy ("–" for too few rows)."""

    return [
        (
            _SLICES.get(column, column.replace("_", " ")),
            [
                (part["slice"], f"{part['n']:,}", _cell(part, "accuracy"), _cell(part, "balanced_accuracy"))
                for part in parts
            ],
        )
        for column, parts in metrics["slices"].items()
        if parts
    ]


def vote_table(votes: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """A row for each measure by raters' votes: label, value, interval, n; those by class are left out."""
    return [
        (
            _VOTES.get(key, key.replace(".", ", ").replace("_", " ")),
            f"{of['value']:.3f}",
            span(of["interval"]),
            f"{of['n']:,}",
        )
        for key, of in _numbers(votes)
        if of["value"] is not None
    ]


def _numbers(content: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The numbers `{n, value, interval}` in nested data, with their dotted names."""
    for name, part in content.items():
        if isinstance(part, Mapping) and name != "per_class":
            dotted = f"{key}.{name}" if key else name
            if "value" in part:
                yield dotted, part
            else:
                yield from _numbers(part, dotted)


def other_rows(metrics: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A row for each protocol and data set that a run was measured under; its own comes first."""
    return [
        {
            "protocol": one["protocol"],
            "own": one is own,
            "dataset": one["dataset"],
            "split": one["split"],
            "accuracy": _whole(one),
            "clean": _twin(one, "clean"),
            "near_clean": _twin(one, "near_clean"),
            "contaminated": contamination(one),
            "left_out": left_out(one["dropped"]),
            "which": " ".join(which_rows(one)),
        }
        for one in ([own] if own else []) + list(metrics)
    ]


def contamination(of: Mapping[str, Any]) -> str:
    """The share of rows that a run has seen, as a cell of a table; "" for none."""
    if not of["contaminated"]:
        return ""
    return f"{percent(of['contaminated'], 1)} {'trained on' if fit_on(of) else 'trained or chosen on, or copies'}"


def _whole(of: Mapping[str, Any]) -> Cell:
    return *_cell(of, "accuracy"), f"n = {of['n']:,}"


def _twin(metrics: Mapping[str, Any], key: str) -> Cell:
    if metrics[key]:
        return _whole(metrics[key])
    if metrics["older"]:
        return "–", OLDER
    looked = metrics["overlap"] and metrics["overlap"]["exact" if key == "clean" else "near"] is not None
    return "–", "no row is left" if looked else "not looked for"
