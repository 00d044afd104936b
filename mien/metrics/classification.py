"""The scores of a set of predictions: accuracy, balanced accuracy, F1, each with its interval, and by class.

All scores follow scikit-learn with `zero_division=0`. They are computed from the confusion matrix, so that one
function gives a value and the bootstrap samples of its interval.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mien import latex
from mien.errors import FailedError
from mien.files import csv_text
from mien.intervals import (
    Counts,
    Margins,
    Values,
    bootstraps,
    clusters,
    group_interval,
    margins,
    resample_groups,
    wilson,
)

Labels = npt.NDArray[np.int64]
Logits = npt.NDArray[np.floating[Any]]


class ClassScores(NamedTuple):
    """Precision, recall and F1 of every class, each (..., k) in 0 … 1."""

    precision: Values
    recall: Values
    f1: Values


def predict(labels: Labels, logits: Logits, classes: Sequence[str]) -> Labels:
    """The class with the highest logit for each row, int64 (n,); of equal ones the first.

    `labels` is (n,), `logits` (n, k), `classes` k names. Raises FailedError for no rows, a label that is no class, and
    logits that aren't finite.
    """
    labels, logits = np.asarray(labels), np.asarray(logits)
    if logits.shape != (len(labels), len(classes)):
        raise ValueError(f"logits of shape {logits.shape} for {len(labels)} labels and {len(classes)} classes")
    if not len(labels):
        raise FailedError("there are no rows to measure")
    strange = (labels < 0) | (labels >= len(classes))
    if strange.any():
        raise FailedError(
            f"row {int(strange.argmax())} has label {labels[strange.argmax()]}",
            expected=f"0 to {len(classes) - 1} ({', '.join(classes)})",
        )
    broken = ~np.isfinite(logits).all(axis=1)
    if broken.any():
        raise FailedError(f"the logits of {broken.sum()} of {len(labels)} rows aren't finite numbers")
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def confusion(labels: Labels, predicted: Labels, k: int) -> Counts:
    """How often each true class (down) was taken for each class (across), int64 (k, k).

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.asarray(labels, dtype=np.int64) * k + predicted
    return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)


def class_scores(matrix: Counts | Margins) -> ClassScores:
    """Precision, recall and F1 by class of confusion matrices (..., k, k) or margins; 0 where the divisor is 0."""
    right, support, predicted = margins(matrix)
    return ClassScores(
        right / np.maximum(predicted, 1), right / np.maximum(support, 1), 2 * right / np.maximum(support + predicted, 1)
    )


def accuracy(matrix: Counts | Margins) -> Values:
    """The share of rows that were predicted right, of confusion matrices (..., k, k) or margins, as in all scores."""
    sums = margins(matrix)
    return np.asarray(sums.right.sum(axis=-1) / sums.support.sum(axis=-1))


def balanced_accuracy(matrix: Counts | Margins) -> Values:
    """The mean recall over the classes that have rows."""
    sums = margins(matrix)
    return _mean(class_scores(sums).recall, sums.support > 0)


def macro_f1(matrix: Counts | Margins) -> Values:
    """The mean F1 over the classes that have rows, which are those of balanced accuracy.

    A class without rows has no F1 of its own; rows that are taken for it are missed by their own class.
    """
    sums = margins(matrix)
    return _mean(class_scores(sums).f1, sums.support > 0)


def weighted_f1(matrix: Counts | Margins) -> Values:
    """The mean F1, each class weighted by its rows."""
    sums = margins(matrix)
    return _mean(class_scores(sums).f1, sums.support)


def _mean(values: Values, weights: npt.NDArray[Any]) -> Values:
    return np.asarray((values * weights).sum(axis=-1) / weights.sum(axis=-1))


class MatrixScore(NamedTuple):
    """A score `of` confusion matrices (..., k, k): its name and meaning in words, and the format of its values.

    A `brief` one also stands in narrow tables: on the screen, in results/.
    """

    name: str
    meaning: str
    of: Callable[[Counts | Margins], Values]
    form: str = ".3f"
    brief: bool = True


# All that measures, shows or compares scores goes by this table. Metrics of before a score was added show "–" for it.
SCORES = {
    "accuracy": MatrixScore("accuracy", "share of rows predicted right", accuracy),
    "balanced_accuracy": MatrixScore(
        "balanced accuracy", "mean recall of the classes that have rows", balanced_accuracy
    ),
    "macro_f1": MatrixScore("macro F1", "mean F1 of the classes that have rows", macro_f1),
    "weighted_f1": MatrixScore("weighted F1", "mean F1, each class by its rows", weighted_f1, brief=False),
}


def brief_scores() -> dict[str, MatrixScore]:
    """The scores that narrow tables show, by key."""
    return {key: score for key, score in SCORES.items() if score.brief}


def resampled_scores() -> dict[str, MatrixScore]:
    """The scores whose intervals come from resampled confusion matrices: all but accuracy, which has Wilson's."""
    return {key: score for key, score in SCORES.items() if key != "accuracy"}


def measure(labels: Labels, logits: Logits, classes: Sequence[str], groups: Counts | None = None) -> dict[str, Any]:
    """The scores of predictions as plain data: `n`, the ones of `SCORES`, `per_class`, `interval` and `groups`.

    `labels` is int (n,), `logits` float (n, k), `classes` the scheme's k names. `per_class` gives precision, recall, f1
    and support by class name. `interval` gives [low, high] of 95 %: Wilson's for accuracy, the percentiles of 2,000
    stratified bootstrap samples (a fixed seed) for the others. With `groups`, int (n,) as `intervals.clusters` gives
    them, all intervals are those of a cluster bootstrap, whole groups drawn; `groups` says of how many, and
    `per_class` has an `interval` as well. Raises FailedError as `predict` does.

    >>> measure(np.array([0, 0, 1, 1]), np.array([[2, 1], [1, 2], [0, 3], [0, 3]]), ["sad", "happy"])["accuracy"]
    0.75
    """
    predicted = predict(labels, logits, classes)
    matrix = confusion(labels, predicted, len(classes))
    by_class = class_scores(matrix)
    names = None if groups is None else clusters(np.asarray(groups).tolist())
    of_classes: list[dict[str, Any]] = [{} for _ in classes]
    if names is not None:
        number = int(names.max()) + 1
        sample = resample_groups(np.asarray(labels), predicted, names, len(classes))
        interval = {
            key: list(group_interval(score.of(sample), float(score.of(matrix)), number))
            for key, score in SCORES.items()
        }
        of_classes = _intervals_by_class(sample, by_class, number)
    else:
        number = 0
        interval = {"accuracy": list(wilson(int(np.trace(matrix)), int(matrix.sum())))}
        scores = resampled_scores()
        drawn = bootstraps(matrix, lambda sample: np.stack([score.of(sample) for score in scores.values()], axis=1))
        interval |= {key: list(ends) for key, ends in zip(scores, drawn, strict=True)}
    return {
        "n": int(matrix.sum()),
        **{key: float(score.of(matrix)) for key, score in SCORES.items()},
        "per_class": {
            name: {
                "precision": float(by_class.precision[i]),
                "recall": float(by_class.recall[i]),
                "f1": float(by_class.f1[i]),
                "support": int(matrix[i].sum()),
                **of_classes[i],
            }
            for i, name in enumerate(classes)
        },
        "interval": interval,
        "groups": number or None,
    }


def _intervals_by_class(sample: Margins, found: ClassScores, number: int) -> list[dict[str, Any]]:
    """The `interval` of each class's scores over samples of whole groups; {} for those of nothing."""
    scores = class_scores(sample)
    of_none = {"precision": sample.predicted == 0, "recall": sample.support == 0, "f1": sample.support == 0}
    intervals: list[dict[str, Any]] = []
    for i in range(sample.right.shape[-1]):
        ends = {}
        for key, none in of_none.items():
            drawn = np.where(none[:, i], np.nan, getattr(scores, key)[:, i])
            if not np.isnan(drawn).all():
                ends[key] = list(group_interval(drawn, float(getattr(found, key)[i]), number))
        intervals.append({"interval": ends})
    return intervals


def classification_report(labels: Labels, logits: Logits, classes: Sequence[str], title: str) -> dict[str, str]:
    """The scores by class, their means and the accuracy as `txt` (scikit-learn's layout), `csv` and `tex` (booktabs).

    `title` says what was measured (protocol, role, split, n) and stands in all three: as the first line, in the column
    `measured_on`, as the caption. Means are over the classes that have rows, as `macro_f1` is.
    """
    from sklearn.metrics import classification_report as text_report  # Reading stored scores needs none of it.

    predicted = predict(labels, logits, classes)
    matrix = confusion(labels, predicted, len(classes))
    support, scores = matrix.sum(axis=1), class_scores(matrix)
    present = np.flatnonzero(support + matrix.sum(axis=0)).tolist()
    text = text_report(
        labels, predicted, labels=present, target_names=[classes[i] for i in present], digits=3, zero_division=0
    )
    there = support > 0
    macro = [float(score[there].mean()) for score in scores]
    # scikit-learn's mean is also over classes that are only predicted.
    before, line, after = text.rpartition("macro avg")
    numbers = "".join(f" {score:>9.3f}" for score in macro)
    text = f"{before}{line} {numbers} {len(predicted):>9}\n{after.partition(chr(10))[2]}"
    absent = [name for i, name in enumerate(classes) if i not in present]
    note = f"\nNo rows and no predictions: {', '.join(absent)}\n" if absent else ""
    if others := [classes[i] for i in present if not there[i]]:
        note += f"\nNo rows, and so no part of the means: {', '.join(others)}\n"
    by_class: Rows = [(classes[i], [float(score[i]) for score in scores], int(support[i])) for i in present]
    n = len(predicted)
    means: Rows = [
        ("accuracy", [None, None, float(accuracy(matrix))], n),
        ("macro avg", [*macro], n),
        ("weighted avg", [float(np.average(score, weights=support)) for score in scores], n),
    ]
    return {
        "txt": f"{title}\n\n{text}{note}",
        "csv": _csv(by_class + means, title),
        "tex": latex.table(title, ("class", "precision", "recall", "F1", "support"), map(_texts, (by_class, means))),
    }


# Name; precision, recall and F1; support.
Rows = list[tuple[str, list[float | None], int]]


def _csv(rows: Rows, title: str) -> str:
    head = ["class", "precision", "recall", "f1", "support", "measured_on"]
    return csv_text([head, *([name, *scores, support, title] for name, scores, support in rows)])


def _texts(rows: Rows) -> list[list[str]]:
    return [
        [name, *("" if score is None else f"{score:.3f}" for score in scores), str(support)]
        for name, scores, support in rows
    ]
