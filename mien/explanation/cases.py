"""Single rows that say most of a model: its most confident errors, and the rows it is least sure of."""

from typing import Any

import numpy as np

from mien.data.votes import majority_labels, read_votes
from mien.explanation.context import Context
from mien.explanation.rows import Indices, probabilities_of, row_facts
from mien.explanation.storage import Arrays
from mien.intervals import Values, wilson
from mien.registry import register

SHOWN = 18


def confident_errors(labels: Indices, given: Values) -> Indices:
    """The rows that are wrong, the surest first, int64; `labels` (n,), `given` probabilities (n, k).

    >>> confident_errors(np.array([0, 0, 1]), np.array([[0.4, 0.6], [0.1, 0.9], [0.2, 0.8]])).tolist()
    [1, 0]
    """
    wrong = np.flatnonzero(given.argmax(axis=1) != labels)
    return wrong[np.argsort(-given[wrong].max(axis=1), kind="stable")]


def least_certain(given: Values) -> Indices:
    """All rows, the one whose likeliest class has the lowest probability first, int64 (n,).

    >>> least_certain(np.array([[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]])).tolist()
    [2, 0, 1]
    """
    return np.argsort(given.max(axis=1), kind="stable")


@register("explanation", "cases")
def cases(context: Context) -> tuple[dict[str, Any], Arrays]:
    """The `SHOWN` most confident errors (`errors`) and the least certain rows (`uncertain`), probabilities as told.

    Each row has `raters`, what most raters of it say, where the data set has votes, else None. `wrong` is how many rows
    are wrong, with the share's `interval` (Wilson, 95 %). Arrays `errors` and `uncertain` are the pictures, uint8
    (m, c, s, s).
    """
    given = probabilities_of(context)
    wrong = confident_errors(context.labels, given)
    parts = {"errors": wrong[:SHOWN], "uncertain": least_certain(given)[:SHOWN]}
    said = _raters(context)
    result = {
        **context.about,
        "wrong": len(wrong),
        "interval": list(wilson(len(wrong), len(context))),
        "temperature": context.temperature,
        **{
            name: [{**row_facts(context, int(row), given), "raters": said.get(context.rows[row])} for row in rows]
            for name, rows in parts.items()
        },
    }
    return result, {name: context.images[rows] for name, rows in parts.items()}


def _raters(context: Context) -> dict[tuple[str, str], str]:
    """What most raters of each row say, as a class of the run or in words; {} without votes."""
    if "votes" not in context.dataset.card.columns:
        return {}
    found: dict[tuple[str, str], str] = {}
    for split in dict.fromkeys(context.splits):
        labels, reasons = majority_labels(read_votes(context.dataset, split), context.names)
        for id_, label, reason in zip(context.dataset.ids(split), labels.tolist(), reasons.tolist(), strict=True):
            found[split, id_] = context.names.classes[label] if label >= 0 else reason
    return found
