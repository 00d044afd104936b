"""Overlap: what of the rows that a model is reported on it was fit or chosen on, and when that is contamination."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.audit.copies import copies, parent, rows_by_id
from mien.audit.scan import pixel_hashes
from mien.data.dataset import Dataset
from mien.protocols.roles import Bools, Part, Roles, masks

# From this share of report rows on, copies of rows that were fit or chosen on make a protocol contaminated.
CONTAMINATED = 0.2

Masks = dict[str, Bools]


@dataclass(frozen=True)
class Overlap:
    """What of the rows that a model is reported on it has seen before.

    Shares of the rows, 0 … 1: `rows` are fit rows by id; `exact` stand in fit or choose, themselves or as an exact
    copy by pixels; `near` likewise as near copies, None where those weren't looked for. `contaminated` is what the
    protocol is marked with, 0 when it isn't.
    `exact_rows` and `near_rows` say it row by row: for each part booleans (rows of its split,).
    """

    rows: float
    exact: float
    near: float | None
    contaminated: float
    exact_rows: tuple[Bools, ...]
    near_rows: tuple[Bools, ...] | None


def overlap(dataset: Dataset, fitted: Roles, parts: Iterable[Part], other: Dataset | None = None) -> Overlap:
    """How much of some parts a model has seen that was fit and chosen on the roles `fitted` of `dataset`.

    The parts are of `dataset`, or of `other`: then they are compared by the hashes of their pixels, near copies aren't
    looked for, and rows are the same by id only where one set was made from the other, or both from a third.
    Contaminated are parts with a fit row, by id, and parts of which more than a fifth (`CONTAMINATED`) has a copy in
    fit or choose besides; so the few copies that FER2013 has of itself contaminate nothing.
    """
    parts = tuple(parts)
    trained, seen = masks(dataset, fitted.fit), masks(dataset, (*fitted.fit, *fitted.choose))
    near: Masks | None = None
    if other is None or other.card.fingerprint == dataset.card.fingerprint:
        other = dataset
        found = copies(dataset)
        exact = _copied(dataset, seen, parts, found.exact)
        if all(found.near(split) is not None for split in dataset.card.splits):
            near = _copied(dataset, seen, parts, found.near)
    else:
        trained = _there(dataset, trained, other, parts)
        exact = _alike(dataset, seen, other, parts)
        for split, mask in _there(dataset, seen, other, parts, with_copies=True).items():
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


def _copied(
    dataset: Dataset, seen: Masks, parts: Iterable[Part], groups: Callable[[str], npt.NDArray[np.int64] | None]
) -> Masks:
    """Of the splits of some parts, the rows that are seen, or in a group with a row that is; group −1 is none."""
    known = np.unique(np.concatenate([np.asarray(groups(split))[mask] for split, mask in seen.items()]))
    known = known[known >= 0]
    found = {part.split: np.isin(np.asarray(groups(part.split)), known) for part in parts}
    return {split: mask | seen[split] if split in seen else mask for split, mask in found.items()}


def _alike(dataset: Dataset, seen: Masks, other: Dataset, parts: Iterable[Part]) -> Masks:
    """Of the splits of some parts of another data set, the rows with the pixels of a seen row."""
    known = np.unique(np.concatenate([pixel_hashes(dataset, split)[mask] for split, mask in seen.items()]))
    # What doesn't decode has no pixels, so it is like nothing.
    known = known[known != b""]
    return {part.split: np.isin(pixel_hashes(other, part.split), known) for part in parts}


def _there(dataset: Dataset, seen: Masks, other: Dataset, parts: Iterable[Part], with_copies: bool = False) -> Masks:
    """Of the splits of some parts of another data set, the rows that are seen by split and id, where both are related.

    Copies are those in the set that they come from: two crops of equal pictures needn't be equal.
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
        at_home = _copied(home, at_home, splits, copies(home).exact)
    found: Masks = {}
    for part in splits:
        if part.split in at_home:
            place = _places(other, home, part.split)
            found[part.split] = at_home[part.split][place] & (place >= 0)
    return found


def _places(dataset: Dataset, home: Dataset, split: str) -> npt.NDArray[np.int64]:
    """Where a split's rows stand in the set that they come from, −1 for nowhere."""
    same = dataset.card.fingerprint == home.card.fingerprint
    return np.arange(dataset.rows(split)) if same else rows_by_id(dataset, home, split)


def _share(parts: tuple[Part, ...], masks: Masks) -> float:
    """The share of the parts' rows at which the masks are true."""
    own = [masks[part.split] if part.index is None else masks[part.split][part.index] for part in parts]
    total = sum(len(mask) for mask in own)
    return sum(int(mask.sum()) for mask in own) / total if total else 0.0
