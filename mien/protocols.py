"""Protocols: which rows a model is fit on, which it is chosen by, and which it is reported on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mien.dataset import Dataset
from mien.errors import MienError, nearest
from mien.registry import register

Bools = npt.NDArray[np.bool_]
Role = Literal["fit", "choose", "report"]
ROLES: tuple[Role, ...] = ("fit", "choose", "report")


@dataclass(frozen=True)
class Part:
    """Rows of one split: all of them, or those at `index` (int64, ascending)."""

    split: str
    index: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Roles:
    """The rows of each role, as parts of splits. A row may stand in two roles; then the numbers are contaminated."""

    fit: tuple[Part, ...]
    choose: tuple[Part, ...]
    report: tuple[Part, ...]

    def of(self, role: Role) -> tuple[Part, ...]:
        """The parts of one role."""
        parts: tuple[Part, ...] = getattr(self, role)
        return parts


# The names that data sets give to their own three splits, as (fit, choose, report).
_OWN_SPLITS = (
    ("Training", "PublicTest", "PrivateTest"),
    ("train", "validation", "test"),
    ("train", "valid", "test"),
    ("train", "val", "test"),
)


@register("protocol", "official")
def official(dataset: Dataset) -> Roles:
    """The data set's own splits: Training, PublicTest, PrivateTest for FER2013; train, validation, test elsewhere."""
    for fit, choose, report in _OWN_SPLITS:
        if {fit, choose, report} <= set(dataset.card.splits):
            return Roles((Part(fit),), (Part(choose),), (Part(report),))
    raise MienError(
        f"data set '{dataset.card.name}' has no three splits of its own, only {', '.join(dataset.card.splits)}",
        key="protocol",
        expected="protocol 'folder' for train and test alone, or 'splits' to name them",
    )


@register("protocol", "paper-2021")
def paper_2021(dataset: Dataset) -> Roles:
    """The 2021 report's: reported on `Usage != PublicTest`, so on Training, which it was fit on, and PrivateTest."""
    for split in ("Training", "PublicTest", "PrivateTest"):
        dataset.rows(split)
    return Roles((Part("Training"),), (Part("PublicTest"),), (Part("Training"), Part("PrivateTest")))


@register("protocol", "splits")
def splits(
    dataset: Dataset,
    *,
    fit: Annotated[list[str], Field(min_length=1)],
    choose: Annotated[list[str], Field(min_length=1)],
    report: Annotated[list[str], Field(min_length=1)],
) -> Roles:
    """Splits named in the file, one or more for each role."""
    for name in (*fit, *choose, *report):
        if name not in dataset.card.splits:
            raise MienError(
                f"data set '{dataset.card.name}' has no split '{name}'",
                key="protocol",
                expected="one of " + ", ".join(dataset.card.splits),
                nearest=nearest(name, dataset.card.splits),
            )
    return Roles(tuple(map(Part, fit)), tuple(map(Part, choose)), tuple(map(Part, report)))


@register("protocol", "folder")
def folder(
    dataset: Dataset,
    *,
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> Roles:
    """For sets with `train` and `test` alone: a stratified share of `train`, drawn by `seed`, is the choose role."""
    if not {"train", "test"} <= set(dataset.card.splits):
        raise MienError(
            f"protocol 'folder' takes splits 'train' and 'test'; data set '{dataset.card.name}' has "
            + ", ".join(dataset.card.splits),
            key="protocol",
        )
    chosen = stratified(dataset.labels("train"), share, seed)
    everyone = np.arange(dataset.rows("train"))
    return Roles((Part("train", np.setdiff1d(everyone, chosen)),), (Part("train", chosen),), (Part("test"),))


def stratified(labels: npt.NDArray[np.int64], share: float, seed: int) -> npt.NDArray[np.int64]:
    """Ascending indices of a share of the rows of each class (rounded, at least 1 of 2 or more), drawn by `seed`.

    >>> stratified(np.array([0] * 10 + [1] * 20), share=0.1, seed=0).size
    3
    """
    random = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        number = min(max(round(len(rows) * share), 1), len(rows) - 1)
        drawn.append(random.permutation(rows)[:number])
    return np.sort(np.concatenate(drawn))


# From this share of report rows on, copies of rows that were fit or chosen on make a protocol contaminated.
CONTAMINATED = 0.2


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

    The parts are of `dataset`, or of `other`, where nothing but exact copies is looked for. Contaminated are parts with
    a fit row, by id, and parts of which more than a fifth (`CONTAMINATED`) has a copy in fit or choose besides; so the
    few copies that FER2013 has of itself contaminate nothing.
    """
    parts = tuple(parts)
    trained, seen = _masks(dataset, fitted.fit), _masks(dataset, (*fitted.fit, *fitted.choose))
    if other is None or other.card.fingerprint == dataset.card.fingerprint:
        from mien.audit import copies

        found = copies(dataset)
        fit_rows = tuple(trained.get(part.split, np.zeros(dataset.rows(part.split), np.bool_)) for part in parts)
        exact_rows = _with_copies(dataset, seen, parts, found.exact)
        near_rows = None
        if all(found.near(split) is not None for split in {*seen, *(part.split for part in parts)}):
            copied = _with_copies(dataset, seen, parts, found.near)
            near_rows = tuple(near | exact for near, exact in zip(copied, exact_rows, strict=True))
    else:
        from mien.audit.scan import pixel_hashes

        fit_rows = tuple(np.zeros(other.rows(part.split), np.bool_) for part in parts)
        known = np.unique(np.concatenate([pixel_hashes(dataset, split)[mask] for split, mask in seen.items()]))
        # What doesn't decode has no pixels, so it is like nothing.
        known = known[known != b""]
        exact_rows = tuple(np.isin(pixel_hashes(other, part.split), known) for part in parts)
        near_rows = None
    rows, exact = _share(parts, fit_rows), _share(parts, exact_rows)
    return Overlap(
        rows=rows,
        exact=exact,
        near=None if near_rows is None else _share(parts, near_rows),
        contaminated=exact if exact - rows > CONTAMINATED else rows,
        exact_rows=exact_rows,
        near_rows=near_rows,
    )


def _masks(dataset: Dataset, parts: Iterable[Part]) -> dict[str, Bools]:
    """For each split of some parts, which of its rows stand in them."""
    masks: dict[str, Bools] = {}
    for part in parts:
        mask = masks.setdefault(part.split, np.zeros(dataset.rows(part.split), np.bool_))
        mask[slice(None) if part.index is None else part.index] = True
    return masks


def _with_copies(
    dataset: Dataset,
    seen: dict[str, Bools],
    parts: tuple[Part, ...],
    groups: Callable[[str], npt.NDArray[np.int64]],
) -> tuple[Bools, ...]:
    """For each part the rows of its split that are seen, or in a group with a row that is; group −1 is none."""
    known = np.unique(np.concatenate([groups(split)[mask] for split, mask in seen.items()]))
    known = known[known >= 0]
    return tuple(
        np.isin(groups(part.split), known) | seen.get(part.split, np.zeros(dataset.rows(part.split), np.bool_))
        for part in parts
    )


def _share(parts: tuple[Part, ...], masks: tuple[Bools, ...]) -> float:
    """The share of the parts' rows at which the masks are true."""
    own = [mask if part.index is None else mask[part.index] for part, mask in zip(parts, masks, strict=True)]
    total = sum(len(mask) for mask in own)
    return sum(int(mask.sum()) for mask in own) / total if total else 0.0


def contamination(dataset: Dataset, roles: Roles) -> float:
    """The share of report rows that are fit rows too, 0 … 1."""
    fit, report = _rows(dataset, roles.fit), _rows(dataset, roles.report)
    return len(fit & report) / len(report)


def _rows(dataset: Dataset, parts: Iterable[Part]) -> set[tuple[str, int]]:
    return {
        (part.split, int(i))
        for part in parts
        for i in (np.arange(dataset.rows(part.split)) if part.index is None else part.index)
    }
