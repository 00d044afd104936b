"""Overlap: how many report rows a model has already seen in fit or choose, and when that is contamination."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.audit.copies import copies, parent, rows_by_id
from mien.audit.scan import pixel_hashes
from mien.data.dataset import Dataset
from mien.protocols.roles import Bools, Part, Roles, masks

# A protocol is contaminated when more than this share of its report rows are copies of fit or choose rows.
CONTAMINATED = 0.2

Masks = dict[str, Bools]


@dataclass(frozen=True)
class Overlap:
    """The shares of the report rows, 0 … 1, that a model has seen before.

    `rows` is the share that are fit rows, by id. `exact` is the share that are in fit or choose, or have an exact copy
    there (equal pixels). `near` counts near copies too; None where nobody looked for near copies. `contaminated` is
    the share that the protocol is marked with, 0 for a clean protocol.
    `exact_rows` and `near_rows` give the same row by row: for each part, booleans (rows of its split,).
    """

    rows: float
    exact: float
    near: float | None
    contaminated: float
    exact_rows: tuple[Bools, ...]
    near_rows: tuple[Bools, ...] | None


def overlap(dataset: Dataset, fitted: Roles, parts: Iterable[Part], other: Dataset | None = None) -> Overlap:
    """How much of some parts a model has seen when it was fit and chosen on the roles `fitted` of `dataset`.

    The parts belong to `dataset`, or to `other`. Rows of `other` are compared by the hashes of their pixels, without
    near copies; they are also compared by id where one set was made from the other, or both from a third.
    Parts are contaminated when they hold a fit row, by id, or when, fit rows aside, more than a fifth (`CONTAMINATED`)
    of the rows have a copy in fit or choose. So the few copies inside FER2013 contaminate nothing.
    """
    parts = tuple(parts)
    trained, seen = masks(dataset, fitted.fit), masks(dataset, (*fitted.fit, *fitted.choose))
    near: Masks | None = None
    if other is None or other.card.fingerprint == dataset.card.fingerprint:
        other = dataset
        found = copies(dataset)
        exact = _with_copies(dataset, seen, parts, found.exact)
        if all(found.near(split) is not None for split in dataset.card.splits):
            near = _with_copies(dataset, seen, parts, found.near)
    else:
        trained = _seen_by_id(dataset, trained, other, parts)
        exact = _seen_by_pixels(dataset, seen, other, parts)
        for split, mask in _seen_by_id(dataset, seen, other, parts, with_copies=True).items():
            exact[split] = exact[split] | mask
    nothing = {part.split: np.zeros(other.rows(part.split), np.bool_) for part in parts}
    rows, copied = _share(parts, nothing | trained), _share(parts, exact)
    if near is not None:
        near = {split: mask | exact[split] for split, mask in near.items()}
    return Overlap(
        rows=rows,
        exact=copied,
        near=None if near is None else _share(parts, near),
        contaminated=copied if copied - rows > CONTAMINATED else rows,
        exact_rows=tuple(exact[part.split] for part in parts),
        near_rows=None if near is None else tuple(near[part.split] for part in parts),
    )


def unseen(dataset: Dataset, fitted: Roles, other: Dataset) -> tuple[Part, ...]:
    """The rows of another data set that a model, fit and chosen on the roles `fitted` of `dataset`, wasn't given.

    All of them, unless one set was made from the other, or both from a third: then without the fit and choose rows, by
    split and id. Exact and near copies stay, since `overlap` tells them.
    """
    parts = tuple(Part(split) for split in other.card.splits)
    seen = _seen_by_id(dataset, masks(dataset, (*fitted.fit, *fitted.choose)), other, parts)
    left = []
    for part in parts:
        mask = seen.get(part.split)
        if mask is None or not mask.any():
            left.append(part)
        elif not mask.all():
            left.append(Part(part.split, np.flatnonzero(~mask)))
    return tuple(left)


def _with_copies(
    dataset: Dataset, seen: Masks, parts: Iterable[Part], groups: Callable[[str], npt.NDArray[np.int64] | None]
) -> Masks:
    """Masks of the parts' splits: rows that are seen, or share a group with a seen row; −1 means no group."""
    known = np.unique(np.concatenate([np.asarray(groups(split))[mask] for split, mask in seen.items()]))
    known = known[known >= 0]
    found = {part.split: np.isin(np.asarray(groups(part.split)), known) for part in parts}
    return {split: mask | seen[split] if split in seen else mask for split, mask in found.items()}


def _seen_by_pixels(dataset: Dataset, seen: Masks, other: Dataset, parts: Iterable[Part]) -> Masks:
    """Masks of the splits of another data set's parts: rows that have the same pixels as a seen row."""
    known = np.unique(np.concatenate([pixel_hashes(dataset, split)[mask] for split, mask in seen.items()]))
    # An image that doesn't decode has no pixels, so it is a copy of nothing.
    known = known[known != b""]
    return {part.split: np.isin(pixel_hashes(other, part.split), known) for part in parts}


def _seen_by_id(
    dataset: Dataset, seen: Masks, other: Dataset, parts: Iterable[Part], with_copies: bool = False
) -> Masks:
    """Masks of the splits of another data set's parts: rows whose split and id are seen, where the sets are related.

    Both sets are traced to the set that they were made from, and copies are looked up there, since two crops of equal
    pictures need not be equal.
    """
    home = parent(dataset) or dataset
    if home.card.fingerprint != (parent(other) or other).card.fingerprint:
        return {}
    at_home: Masks = {}
    for split, mask in seen.items():
        if split in home.card.splits:
            place = _places(dataset, home, split)
            at_home[split] = np.zeros(home.rows(split), np.bool_)
            at_home[split][place[mask & (place >= 0)]] = True
    splits = [part for part in parts if part.split in home.card.splits]
    if with_copies and at_home:
        at_home = _with_copies(home, at_home, splits, copies(home).exact)
    found: Masks = {}
    for part in splits:
        if part.split in at_home:
            place = _places(other, home, part.split)
            found[part.split] = at_home[part.split][place] & (place >= 0)
    return found


def _places(dataset: Dataset, home: Dataset, split: str) -> npt.NDArray[np.int64]:
    """The position of each row of a split in the set that the rows come from; −1 where it has none."""
    same = dataset.card.fingerprint == home.card.fingerprint
    return np.arange(dataset.rows(split)) if same else rows_by_id(dataset, home, split)


def _share(parts: tuple[Part, ...], masks: Masks) -> float:
    """The share of the parts' rows at which the masks are true."""
    own = [masks[part.split] if part.index is None else masks[part.split][part.index] for part in parts]
    total = sum(len(mask) for mask in own)
    return sum(int(mask.sum()) for mask in own) / total if total else 0.0
