"""Raters' votes (FER+): the label that most raters give, and how well labels, models and raters agree with them.

Votes are counts (n, 10) in the order of `FERPLUS_VOTES`: eight classes, then "unknown" and "not a face".
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from scipy.stats import t

from mien.data.dataset import Dataset
from mien.data.labels import FERPLUS, FERPLUS_VOTES, LabelScheme, canonical
from mien.errors import MienError
from mien.intervals import CONFIDENCE, proportion

Counts = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

# Shown with every number that depends on this rule.
RULE = (
    "a single vote for something counts as none; the majority is what has more than half of the remaining votes; "
    "rows without one (tie, no majority) and those of 'unknown' or 'not a face' are left out"
)


def majority(votes: Counts) -> Labels:
    """The majority of each row's raters, as an index into `FERPLUS_VOTES`, int64 (n,); -1 where there is none.

    A choice with a single vote counts as having none; the majority has more than half of the remaining votes.
    Source: E. Barsoum et al. (2016), Training deep networks for facial expression recognition with crowd-sourced label
    distribution, ICMI, and the code that the authors published with it.

    >>> majority(np.array([[6, 0, 1, 1, 0, 0, 0, 0, 2, 0], [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]])).tolist()
    [0, -1]
    """
    heard = _heard(votes)
    top = heard.argmax(axis=1)
    most = heard.max(axis=1, initial=0)
    return np.where(2 * most > heard.sum(axis=1), top, -1).astype(np.int64)


def _heard(votes: Counts) -> Counts:
    return np.where(votes > 1, votes, 0)


def majority_labels(votes: Counts, scheme: LabelScheme) -> tuple[Labels, npt.NDArray[np.object_]]:
    """The majority as a label of a scheme, int64 (n,), and why a row has none (then its label is -1), text (n,).

    The reasons: "tie" (two or more share the most votes), "no majority" (one leads, with half or less), or the name of
    a majority that is no class of the scheme, as "unknown", "not a face" and, for FER2013's, "contempt"; else "".

    >>> votes = np.eye(10, dtype=int)[[1, 7, 9]] * 10
    >>> labels, reasons = majority_labels(votes, LabelScheme("few", ("sad", "happy")))
    >>> labels.tolist(), reasons.tolist()
    ([1, -1, -1], ['', 'contempt', 'not a face'])
    """
    choice = majority(votes)
    place = {canonical(name): i for i, name in enumerate(scheme.classes)}
    to = np.array([place.get(canonical(name), -1) for name in FERPLUS_VOTES] + [-1])
    labels = to[choice]
    heard = _heard(votes)
    shared = (heard == heard.max(axis=1, initial=0, keepdims=True)).sum(axis=1) > 1
    names = np.array([*FERPLUS_VOTES, "no majority"], dtype=object)[choice]
    names[(choice < 0) & shared & heard.any(axis=1)] = "tie"
    names[labels >= 0] = ""
    return labels, names


def read_votes(dataset: Dataset, split: str) -> npt.NDArray[np.int64]:
    """The votes of a split, int64 (rows, 10); a data set without votes is an error."""
    check_votes(dataset)
    column = dataset.table(split, ["votes"])["votes"].combine_chunks()
    return np.asarray(column.flatten(), dtype=np.int64).reshape(len(column), len(FERPLUS_VOTES))


def check_votes(dataset: Dataset) -> None:
    """Raise MienError if a data set has no rater votes."""
    if "votes" not in dataset.card.columns:
        raise MienError(
            f"data set '{dataset.card.name}' has no rater votes",
            key="loss",
            expected="a loss on labels, or a data set imported with --votes",
        )


def by_majority(dataset: Dataset, scheme: LabelScheme) -> bool:
    """Whether a data set's labels under a scheme are its raters' majority: under `ferplus-8`, if it has votes."""
    return scheme.name == FERPLUS.name != dataset.card.labels and "votes" in dataset.card.columns


def labels_under(dataset: Dataset, split: str, scheme: LabelScheme) -> tuple[Labels, npt.NDArray[np.object_]]:
    """The label of each row of a split under a scheme, int64 (rows,), and why a row has none (then it is -1).

    Under `ferplus-8`, if the data set has votes, the label is the raters' majority (`majority_labels`). Otherwise it
    is the data set's own label, matched by class name; the reason is the name of a class that the scheme lacks.
    """
    if by_majority(dataset, scheme):
        return majority_labels(read_votes(dataset, split), scheme)
    own = dataset.labels(split)
    to = np.array([-1 if index is None else index for index in dataset.card.scheme.to(scheme)])
    labels = to[own]
    names = np.array(dataset.card.classes, dtype=object)[own]
    names[labels >= 0] = ""
    return labels, names


def vote_distribution(votes: Counts, labels: Labels, scheme: LabelScheme) -> npt.NDArray[np.float32]:
    """Votes (n, 10) as a distribution over a scheme's classes, float32 (n, classes), rows summing to 1.

    Votes for what the scheme lacks (contempt in FER2013's, 'unknown', 'not a face') are dropped; a row without any
    other vote is one-hot at its label.
    """
    chosen = _of_classes(votes, scheme.classes).astype(np.float32)
    empty = chosen.sum(axis=1) == 0
    chosen[empty, labels[empty]] = 1
    chosen /= chosen.sum(axis=1, keepdims=True)
    return chosen


def _of_classes(votes: Counts, classes: Sequence[str]) -> Counts:
    """The votes for each class of a scheme, (n, classes); 0 for a class that raters couldn't choose."""
    column = {canonical(name): i for i, name in enumerate(FERPLUS_VOTES)}
    chosen = np.zeros((len(votes), len(classes)), votes.dtype)
    for index, name in enumerate(classes):
        if canonical(name) in column:
            chosen[:, index] = votes[:, column[canonical(name)]]
    return chosen


def label_agreement(votes: Counts, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """How often the labels (n,) are the raters' majority, as plain data.

    `rows` is n, and `dropped` counts those without a majority among the classes, by reason (see `majority_labels`).
    Of the other `n` rows `value` is the share whose label is the majority, `interval` Wilson's of 95 %, and `per_class`
    gives `n`, `value` and `interval` of the rows with each label; where there is no row, value and interval are None.

    >>> label_agreement(np.eye(10, dtype=int)[[0, 1, 1]] * 10, np.array([0, 0, 1]), ["neutral", "happy"])["value"]
    0.6666666666666666
    """
    target, reasons = majority_labels(votes, LabelScheme("", tuple(classes)))
    has_majority = target >= 0
    right, of_class = (target == labels)[has_majority], labels[has_majority]
    return {
        "rows": len(labels),
        **_share(right),
        "dropped": _counted(reasons),
        "per_class": {name: _share(right[of_class == index]) for index, name in enumerate(classes)},
    }


def measure(votes: Counts, labels: Labels, logits: npt.NDArray[Any], classes: Sequence[str]) -> dict[str, Any]:
    """How labels and a model do by the raters' votes, as plain data: what `metrics.json` holds as `votes`.

    `votes` are counts (n, 10), `labels` int (n,), `logits` (n, k), `classes` the scheme's k names. Only rows with a
    majority among the classes are measured: `n` of all `rows`; `dropped` counts the others by reason, `rule` states
    the rule in words. Every number is `{n, value, interval}` with an interval of 95 %: Wilson's for shares, Student's
    for means. With v the votes of a row for each of the ten choices and N their sum:

    - `accuracy`: how often the model's class is the majority.
    - `agreement`: how often the label is the majority, with `per_class` (see `label_agreement`).
    - `one_more_rater`: the expected score of a further rater. `label`: the mean of v[label] / N, how often a rater
      gives the label. `rater`: Σ v (v - 1) / (N (N - 1)), how often two raters of a row agree. `majority`: how often a
      rater says what most of the others do, each rater of a row left out in turn: Σ v[c] / N · h[c], where h[c] is
      1 / (number of choices that share the most of the other N - 1 votes) if c is one of them, else 0.
    - `model_with_rater`: the mean of v[model's class] / N; compare it with `one_more_rater.rater`.
    - `cross_entropy`: of the model's probabilities against the votes for the classes as a distribution, in nats;
      `entropy`: that of the votes themselves, below which no model can get. `votes_dropped` counts the votes of these
      rows that are for no class of the scheme, by name.
    """
    votes, labels, logits = np.asarray(votes), np.asarray(labels), np.asarray(logits, dtype=np.float64)
    if votes.shape != (len(labels), len(FERPLUS_VOTES)) or logits.shape != (len(labels), len(classes)):
        raise ValueError(f"votes {votes.shape} and logits {logits.shape} for {len(labels)} rows")
    agreed = label_agreement(votes, labels, classes)
    target, _ = majority_labels(votes, LabelScheme("", tuple(classes)))
    has_majority = target >= 0
    votes, labels, logits, target = (values[has_majority] for values in (votes, labels, logits, target))
    chosen = _of_classes(votes, classes)
    raters = votes.sum(axis=1)
    row = np.arange(len(labels))
    predicted = logits.argmax(axis=1)
    shares = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
    surprise = np.where(shares > 0, -np.log(np.where(shares > 0, shares, 1)), 0)
    place = {canonical(name) for name in classes}
    return {
        "rows": agreed.pop("rows"),
        "n": len(labels),
        "dropped": agreed.pop("dropped"),
        "rule": RULE,
        "accuracy": _share(predicted == target),
        "agreement": agreed,
        "one_more_rater": {
            "label": _mean(chosen[row, labels] / raters, most=1),
            "rater": _mean((votes * (votes - 1)).sum(axis=1) / (raters * (raters - 1)), most=1),
            "majority": _mean(left_out_score(votes), most=1),
        },
        "model_with_rater": _mean(chosen[row, predicted] / raters, most=1),
        "cross_entropy": _mean(-(shares * log_softmax(logits, axis=1)).sum(axis=1)),
        "entropy": _mean((shares * surprise).sum(axis=1)),
        "votes_dropped": {
            name: int(votes[:, i].sum())
            for i, name in enumerate(FERPLUS_VOTES)
            if canonical(name) not in place and votes[:, i].any()
        },
    }


def left_out_score(votes: Counts) -> Values:
    """How often a rater of each row says what most of its other raters say, 0 … 1, (n,); a tie is broken by lot.

    Each row needs two raters or more. The mean over all its raters, each left out in turn: what to expect of a rater
    who is compared with one rater fewer than there are.

    >>> left_out_score(np.array([[3, 1], [2, 2], [4, 0]])).tolist()
    [0.75, 0.0, 1.0]
    """
    score = np.zeros(len(votes))
    for choice in range(votes.shape[1]):
        others = votes.copy()
        others[:, choice] -= 1
        most = others.max(axis=1, initial=0)
        hit = others[:, choice] == most
        score += np.where(hit, votes[:, choice] / (others == most[:, None]).sum(axis=1).clip(1), 0)
    return np.asarray(score / votes.sum(axis=1), dtype=np.float64)


def _counted(reasons: npt.NDArray[np.object_]) -> dict[str, int]:
    counts = Counter(reasons.tolist())
    return {name: counts[name] for name in ("tie", "no majority", *FERPLUS_VOTES) if counts[name]}


def _share(right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return proportion(right) if len(right) else {"n": 0, "value": None, "interval": None}


def _mean(values: Values, most: float = np.inf) -> dict[str, Any]:
    """The mean of values in 0 … `most`, with Student's interval, which ends where the values do."""
    n = len(values)
    if n < 2:
        return {"n": n, "value": float(values[0]) if n else None, "interval": None}
    mean = float(values.mean())
    half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1) * values.std(ddof=1) / n**0.5)
    return {"n": n, "value": mean, "interval": [max(mean - half, 0.0), min(mean + half, most)]}
