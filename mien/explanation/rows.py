"""Which rows of a role are looked at one by one, and what is said of each."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.data.labels import LabelScheme, canonical
from mien.errors import MienError, nearest
from mien.explanation.context import Context
from mien.intervals import Values
from mien.metrics.probabilities import probabilities

Indices = npt.NDArray[np.int64]

# The expressions of the 2021 report's figures of activations.
TYPICAL = ("happy", "surprise", "angry")
RULE = "of each class the one with the highest probability of it, a right one where there is any"


def probabilities_of(context: Context) -> Values:
    """What the model tells a user of each row, by its temperature where it has one: float64 (n, k)."""
    return probabilities(context.logits, context.temperature or 1.0)


def typical_classes(names: LabelScheme) -> list[int]:
    """The classes of `TYPICAL` as a scheme has them, else its first three.

    >>> typical_classes(LabelScheme("mine", ("anger", "joy", "calm")))
    [1, 0]
    >>> typical_classes(LabelScheme("mine", ("a", "b", "c", "d")))
    [0, 1, 2]
    """
    place = {canonical(name): index for index, name in enumerate(names.classes)}
    return [place[name] for name in TYPICAL if name in place] or list(range(min(len(names), 3)))


def surest(labels: Indices, given: Values, classes: Iterable[int]) -> Indices:
    """Of each class the row that is right and surest; where no row is right, the one that is given it most.

    `labels` is int64 (n,), `given` probabilities (n, k); classes without rows are left out.

    >>> surest(np.array([0, 0, 1]), np.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2]]), [0, 1]).tolist()
    [1, 2]
    """
    found = []
    for label in classes:
        rows = np.flatnonzero(labels == label)
        right = rows[given[rows].argmax(axis=1) == label] if len(rows) else rows
        among = right if len(right) else rows
        if len(among):
            found.append(int(among[given[among, label].argmax()]))
    return np.array(found, dtype=np.int64)


def typical_rows(context: Context) -> list[int]:
    """Where the rows stand that are shown when nobody says which: see `TYPICAL` and `RULE`."""
    found = surest(context.labels, probabilities_of(context), typical_classes(context.names))
    return [int(row) for row in found]


def named_rows(context: Context, images: Sequence[str]) -> list[int]:
    """Where rows stand that a user named by id, or by split and id ("PublicTest/28709"), each once.

    Raises MienError for a row that isn't there, and for an id that two splits have.
    """
    by_id: dict[str, list[int]] = {}
    for index, (split, id_) in enumerate(context.rows):
        by_id.setdefault(id_, []).append(index)
        by_id.setdefault(f"{split}/{id_}", []).append(index)
    found: list[int] = []
    for name in images:
        here = by_id.get(name, [])
        if len(here) != 1:
            where = f"the {context.role} role of {context.run.name} ({context.split}, n = {len(context):,})"
            raise MienError(
                f"two splits have a row '{name}'" if here else f"no row of {where} is called '{name}'",
                key="--image",
                expected=" or ".join("/".join(context.rows[i]) for i in here) if here else "the id of one of its rows",
                # Of numbers the nearest by their digits is no likelier than any other.
                nearest=None if here or name.isdigit() else nearest(name, by_id),
            )
        found += here
    return list(dict.fromkeys(found))


def row_facts(context: Context, index: int, given: Values) -> dict[str, Any]:
    """A row in plain data: `split`, `id`, `label`, `predicted`, and the probability of each, of `given` (n, k)."""
    label, predicted = int(context.labels[index]), int(given[index].argmax())
    return {
        "split": context.splits[index],
        "id": context.ids[index],
        "label": context.names.classes[label],
        "predicted": context.names.classes[predicted],
        "p_label": round(float(given[index, label]), 4),
        "p_predicted": round(float(given[index, predicted]), 4),
    }
