"""Scores on slices of the rows: by class, by how far the raters agreed, by any column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.audit import FLAGS, found_flags
from mien.audit.scan import scan
from mien.data.dataset import POINTS_COLUMN, Dataset
from mien.data.labels import FERPLUS
from mien.data.votes import read_votes
from mien.errors import MienError, unknown
from mien.metrics.classification import Labels, Logits, measure

# Below this, an interval of accuracy is some .35 wide: a number would be read for more than it is.
MINIMUM = 30
# A column of numbers with more values than this is cut into four parts of about as many rows.
_MANY = 10
MISSING = "missing"

_SHOWN = ("accuracy", "balanced_accuracy")


def slices(
    labels: Labels,
    logits: Logits,
    classes: Sequence[str],
    values: Sequence[Any],
    minimum: int = MINIMUM,
    groups: Labels | None = None,
) -> list[dict[str, Any]]:
    """The scores of each part of the rows, as plain data: `slice`, `n`, `accuracy`, `balanced_accuracy`, `interval`.

    `values` are text, whole numbers, truths, or numbers, which are cut into quarters when there are more than ten; rows
    with the same value are a slice, those with None or NaN the slice "missing". A slice with fewer than `minimum` rows
    has its n and None for the rest. In the order of the values, missing last. With `groups`, int (n,) as
    `intervals.clusters` gives them, intervals are over whole groups. Raises FailedError as `metrics.predict` does.

    >>> slices(np.array([0, 1]), np.eye(2), ["sad", "happy"], ["x", "x"], minimum=2)[0]["accuracy"]
    1.0
    """
    names = np.asarray(_parts(list(values)), dtype=object)
    if names.shape != np.shape(labels):
        raise ValueError(f"{len(names)} values for {len(labels)} labels")
    found = []
    for name in _sorted(values, names):
        rows = names == name
        n = int(rows.sum())
        part: dict[str, Any] = {"slice": name, "n": n, **dict.fromkeys(_SHOWN), "interval": None}
        if n >= minimum:
            scores = measure(labels[rows], logits[rows], classes, None if groups is None else groups[rows])
            part |= {key: scores[key] for key in _SHOWN}
            part["interval"] = {key: scores["interval"][key] for key in _SHOWN}
        found.append(part)
    return found


def by_class(
    labels: Labels,
    logits: Logits,
    classes: Sequence[str],
    minimum: int = MINIMUM,
    groups: Labels | None = None,
) -> list[dict[str, Any]]:
    """`slices` by the true class, in the scheme's order; the accuracy of a class is its recall."""
    names = [classes[label] for label in np.asarray(labels).tolist()]
    found = {part["slice"]: part for part in slices(labels, logits, classes, names, minimum, groups)}
    return [found[name] for name in classes if name in found]


def read_column(dataset: Dataset, column: str, rows: Sequence[tuple[str, str]]) -> list[Any]:
    """A value for each row (split and id) of a data set, by which `slices` can part them.

    `column` is one that the data set has, a flag of its audit, or one of two that are made: `agreement`, the share of
    the raters' votes for a class that went to the winning one (None without such a vote), and `contrast`, the standard
    deviation of the gray levels, 0 … 127.5. Raises MienError for any other column and for rows that aren't there.
    """
    splits = list(dict.fromkeys(split for split, _ in rows))
    if column == "agreement" and "votes" in dataset.card.columns:
        values = [value for split in splits for value in rater_agreement(read_votes(dataset, split))]
    elif column == "contrast":
        values = [value for split in splits for value in scan(dataset, split)["deviation"].tolist()]
    elif column in FLAGS:
        return _flagged(dataset, column, rows)
    else:
        values = [value for split in splits for value in _own(dataset, column, split)]
    places = [(split, id_) for split in splits for id_ in dataset.ids(split)]
    return _joined(dict(zip(places, values, strict=True)), dataset, rows)


def rater_agreement(votes: npt.NDArray[np.int64]) -> list[float | None]:
    """The share of each row's votes for a class, of votes (n, 10), that went to the winning one; None without any.

    >>> rater_agreement(np.array([[6, 2, 0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]]))
    [0.75, None]
    """
    of_classes = votes[:, : len(FERPLUS)]
    return [
        most / all_ if all_ else None
        for most, all_ in zip(of_classes.max(axis=1).tolist(), of_classes.sum(axis=1).tolist(), strict=True)
    ]


def _flagged(dataset: Dataset, flag: str, rows: Sequence[tuple[str, str]]) -> list[Any]:
    try:
        table = found_flags(dataset, [flag])
    except MienError as error:
        error.key = flag
        raise
    places = zip(table["split"].to_pylist(), table["id"].to_pylist(), strict=True)
    return _joined(dict(zip(places, table[flag].to_pylist(), strict=True)), dataset, rows)


def _own(dataset: Dataset, column: str, split: str) -> list[Any]:
    known = [name for name in dataset.card.columns if name not in ("id", "image", "label", "votes", POINTS_COLUMN)]
    made = ["class", "contrast", *(["agreement"] if "votes" in dataset.card.columns else []), *FLAGS]
    if column not in known:
        message = f"data set '{dataset.card.name}' has no column '{column}' to part its rows by"
        raise unknown(message, column, [*made, *known], key="--by")
    values: list[Any] = dataset.table(split, [column])[column].to_pylist()
    if any(isinstance(value, list | dict | bytes) for value in values):
        raise MienError(f"column '{column}' holds no single values", key="--by", expected="text, numbers or truths")
    return values


def _joined(values: dict[tuple[str, str], Any], dataset: Dataset, rows: Sequence[tuple[str, str]]) -> list[Any]:
    missing = next((row for row in rows if row not in values), None)
    if missing is not None:
        raise MienError(f"data set '{dataset.card.name}' has no row '{missing[1]}' in {missing[0]}")
    return [values[row] for row in rows]


def _parts(values: list[Any]) -> list[str]:
    """The name of each row's part."""
    there = np.array([not _is_missing(value) for value in values], dtype=bool)
    known = [value for value, is_there in zip(values, there, strict=True) if is_there]
    if len(set(known)) <= _MANY or not all(isinstance(value, int | float | np.number) for value in known):
        return [_told(value) if is_there else MISSING for value, is_there in zip(values, there, strict=True)]
    numbers = np.array(known, dtype=np.float64)
    cuts = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75]))
    part = np.searchsorted(cuts, numbers, side="left")
    names = {}
    for number in np.unique(part):
        inside = numbers[part == number]
        names[int(number)] = f"{inside.min():.4g} to {inside.max():.4g}"
    found = iter(part.tolist())
    return [names[next(found)] if is_there else MISSING for is_there in there]


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _sorted(values: Sequence[Any], names: npt.NDArray[np.object_]) -> list[str]:
    """The parts by the smallest value in each, missing last."""
    first: dict[str, Any] = {}
    for name, value in zip(names.tolist(), values, strict=True):
        if name != MISSING and (name not in first or value < first[name]):
            first[name] = value
    ordered = sorted(first, key=lambda name: first[name])
    return ordered + ([MISSING] if MISSING in names.tolist() else [])


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
