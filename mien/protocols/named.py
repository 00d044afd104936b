"""The protocols that a file can name: each gives a data set's rows their roles."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mien.data.dataset import Dataset
from mien.errors import MienError, unknown
from mien.protocols.roles import ROLES, Part, Roles
from mien.registry import Component, entry, register
from mien.registry import names as registered

Indices = npt.NDArray[np.int64]
Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fold = Annotated[int, Field(ge=0)]

# The names that data sets give to their own three splits, as (fit, choose, report).
_OWN_SPLITS = (
    ("Training", "PublicTest", "PrivateTest"),
    ("train", "validation", "test"),
    ("train", "valid", "test"),
    ("train", "val", "test"),
)


Protocol = TypeVar("Protocol", bound=Callable[..., Roles])


def folded(count: Callable[..., int]) -> Callable[[Protocol], Protocol]:
    """Say of a protocol with a parameter `fold` how many folds it has: `count(dataset, **parameters)` of them.

    Each of `mien train --folds`'s runs has one of the folds 0 … count - 1, and each row is reported on in just one.
    """

    def decorate(build: Protocol) -> Protocol:
        build.folds = count  # type: ignore[attr-defined]
        return build

    return decorate


@register("protocol", "official")
def official(dataset: Dataset) -> Roles:
    """The data set's own splits: Training, PublicTest, PrivateTest for FER2013; train, validation, test elsewhere.

    Their names may have small letters and capitals alike.
    """
    named: dict[str, list[str]] = {}
    for split in dataset.card.splits:
        named.setdefault(split.lower(), []).append(split)
    for own in _OWN_SPLITS:
        found = [named.get(split.lower(), []) for split in own]
        if all(len(of) == 1 for of in found):
            (fit,), (choose,), (report,) = found
            return Roles((Part(fit),), (Part(choose),), (Part(report),))
    raise MienError(
        f"data set '{dataset.card.name}' has no three splits of its own, only {', '.join(dataset.card.splits)}",
        key="protocol",
        expected="protocol 'folder' for train and test alone, or 'splits' to name them",
    )


@register("protocol", "paper-2021")
def paper_2021(dataset: Dataset) -> Roles:
    """The 2021 report's protocol: reports on `Usage != PublicTest`, PrivateTest and the Training that it fits."""
    for split in ("Training", "PublicTest", "PrivateTest"):
        dataset.rows(split)
    return Roles((Part("Training"),), (Part("PublicTest"),), (Part("Training"), Part("PrivateTest")))


@register("protocol", "splits")
def splits(
    dataset: Dataset,
    *,
    fit: Annotated[list[str], Field(min_length=1)],
    choose: Annotated[list[str], Field(min_length=1)] | None = None,
    report: Annotated[list[str], Field(min_length=1)],
    share: Share = 0.1,
    seed: Seed = 0,
    group: str | None = None,
) -> Roles:
    """The file names the splits of each role, one or more.

    Without `choose`, the choose role is a stratified `share` of the fit splits' rows, drawn by `seed`. With `group`,
    rows with the same value in that column (one person's, say) stay together.
    """
    for key, names in (("fit", fit), ("choose", choose or []), ("report", report)):
        _check_splits(dataset, names, key)
    report_parts = tuple(map(Part, report))
    if choose is not None:
        if group is not None:
            raise MienError(
                "'group' says which rows stay together when the choose role is drawn, and 'choose' names it",
                key="protocol.group",
                expected="one of the two",
            )
        return Roles(tuple(map(Part, fit)), tuple(map(Part, choose)), report_parts)
    names = list(dict.fromkeys(fit))
    labels = np.concatenate([dataset.labels(name) for name in names])
    groups = None if group is None else _column(dataset, names, group, "group")
    chosen = stratified(labels, share, seed) if groups is None else grouped(groups, share, seed)
    if len(chosen) in (0, len(labels)):
        what = "classes have one row each" if groups is None else f"rows have one value of '{group}'"
        raise MienError(
            f"no part of {', '.join(names)} of data set '{dataset.card.name}' can be the choose role: its {what}",
            key="protocol",
            expected="'choose' with a split",
        )
    everyone = np.arange(len(labels))
    return replace(_roles(dataset, names, everyone, chosen, everyone[:0]), report=report_parts)


@register("protocol", "folder")
def folder(dataset: Dataset, *, share: Share = 0.1, seed: Seed = 0) -> Roles:
    """For sets with only `train` and `test`: the choose role is a stratified share of `train`, drawn by `seed`."""
    if not {"train", "test"} <= set(dataset.card.splits):
        raise MienError(
            f"protocol 'folder' takes splits 'train' and 'test'; data set '{dataset.card.name}' has "
            + ", ".join(dataset.card.splits),
            key="protocol",
        )
    return splits(dataset, fit=["train"], report=["test"], share=share, seed=seed)


@register("protocol", "k-fold")
@folded(lambda dataset, folds, **_: folds)
def k_fold(
    dataset: Dataset,
    *,
    folds: Annotated[int, Field(ge=2)] = 5,
    fold: Fold = 0,
    seed: Seed = 0,
    share: Share = 0.1,
    splits: Annotated[list[str], Field(min_length=1)] | None = None,
    group: str | None = None,
) -> Roles:
    """Stratified k-fold over the rows of the named splits (all by default); the report role is fold number `fold`.

    The choose role is a stratified share of the other folds. Rows with the same value in the column `group` (one
    person's, say) share one role. The same `seed` gives the same folds, so each row is in one report role only.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names = list(dataset.card.splits) if splits is None else list(dict.fromkeys(splits))
    _check_splits(dataset, names, "splits")
    if fold >= folds:
        raise MienError(
            f"there is no fold {fold} of {folds}", key="protocol.fold", expected=f"0 to {folds - 1}, the first is 0"
        )
    labels = np.concatenate([dataset.labels(name) for name in names])
    groups = None if group is None else _column(dataset, names, group, "group")
    # One more than there are folds, since the choose role takes one too.
    things = len(labels) if groups is None else len(np.unique(groups))
    what = "rows" if groups is None else f"values of '{group}'"
    if things <= folds:
        raise MienError(
            f"data set '{dataset.card.name}' has {things} {what} for {folds} folds",
            key="protocol.folds",
            expected=f"fewer folds than {what}",
        )
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    # A class with fewer rows than folds reaches only some of them. If every class is so small, don't stratify.
    classes = labels if np.bincount(labels).max() >= folds else np.zeros_like(labels)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        tested = [test for _, test in splitter.split(classes, classes, groups)]
    report = np.sort(tested[fold])
    rest = np.setdiff1d(np.arange(len(labels)), report)
    chosen = stratified(labels[rest], share, seed) if groups is None else grouped(groups[rest], share, seed)
    roles = _roles(dataset, names, rest, rest[chosen], report)
    for role in ROLES:
        if not roles.of(role):
            raise MienError(
                f"the {things} {what} of data set '{dataset.card.name}' leave the {role} role no rows in fold {fold}",
                key="protocol.folds",
                expected=f"more {what} for each fold",
            )
    return roles


@register("protocol", "leave-one-subject-out")
@folded(lambda dataset, column, **_: _subjects(dataset, _column(dataset, list(dataset.card.splits), column), column))
def leave_one_subject_out(
    dataset: Dataset, *, column: str = "subject", fold: Fold = 0, share: Share = 0.1, seed: Seed = 0
) -> Roles:
    """The report role is one subject, number `fold` in sorted order; subjects with about `share` of the rest choose."""
    splits = list(dataset.card.splits)
    subjects = _column(dataset, splits, column)
    known = _subjects(dataset, subjects, column)
    if fold >= known:
        raise MienError(
            f"there is no fold {fold}: data set '{dataset.card.name}' has {known} subjects",
            key="protocol.fold",
            expected=f"0 to {known - 1}, the first is 0",
        )
    report = np.flatnonzero(subjects == fold)
    rest = np.flatnonzero(subjects != fold)
    return _roles(dataset, splits, rest, rest[grouped(subjects[rest], share, seed)], report)


def folds(component: Component, dataset: Dataset) -> int:
    """How many folds a protocol makes of a data set; MienError for a protocol that isn't `folded`."""
    count = getattr(component.entry.build, "folds", None)
    if count is None:
        known = [name for name in registered("protocol") if hasattr(entry("protocol", name).build, "folds")]
        raise MienError(f"protocol '{component.called}' has no folds", key="protocol", expected=" or ".join(known))
    return int(count(dataset, **component.parameters))


def stratified(labels: Indices, share: float, seed: int) -> Indices:
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


def grouped(groups: Indices, share: float, seed: int) -> Indices:
    """Ascending indices of whole groups with about a share of the rows: at least one group, never all of two or more.

    Groups are drawn by `seed`, as many as bring the number of rows nearest to the share.

    >>> grouped(np.array([0, 0, 1, 1, 2, 2]), share=0.3, seed=0).size
    2
    """
    values, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(values))
    reached = np.cumsum(sizes[order])[: max(len(values) - 1, 1)]
    number = int(np.argmin(np.abs(reached - share * len(groups)))) + 1
    return np.flatnonzero(np.isin(groups, values[order[:number]]))


def _check_splits(dataset: Dataset, names: Sequence[str], key: str) -> None:
    for index, name in enumerate(names):
        if name not in dataset.card.splits:
            message = f"data set '{dataset.card.name}' has no split '{name}'"
            raise unknown(message, name, dataset.card.splits, key=f"protocol.{key}.{index}")


def _column(dataset: Dataset, names: Sequence[str], column: str, key: str = "column") -> Indices:
    """A column of some splits as numbers (rows,): each value's place among the column's sorted values, from 0."""
    place: dict[str, Any] = {"key": f"protocol.{key}"}
    known = [name for name in dataset.card.columns if name not in ("id", "image", "label", "votes")]
    if column not in known:
        message = f"data set '{dataset.card.name}' has no column '{column}'"
        if not known:
            raise MienError(message, **place, expected="a data set with such a column")
        raise unknown(message, column, known, **place)
    values: list[Any] = []
    for name in names:
        values += dataset.table(name, [column])[column].to_pylist()
    if any(isinstance(value, list | dict) for value in values):
        raise MienError(f"column '{column}' holds lists", **place, expected="a column of names or numbers")
    if missing := sum(value is None for value in values):
        raise MienError(
            f"column '{column}' of data set '{dataset.card.name}' is empty in {missing} rows",
            **place,
            expected="a value in each row",
        )
    number = {value: index for index, value in enumerate(sorted(set(values)))}
    return np.array([number[value] for value in values], dtype=np.int64)


def _subjects(dataset: Dataset, subjects: Indices, column: str) -> int:
    known = len(np.unique(subjects))
    if known < 3:
        raise MienError(
            f"column '{column}' of data set '{dataset.card.name}' has {known} subject{'s' if known > 1 else ''}",
            key="protocol.column",
            expected="3 or more, one for each role",
        )
    return known


def _roles(dataset: Dataset, names: Sequence[str], rest: Indices, choose: Indices, report: Indices) -> Roles:
    """Roles from row numbers that count through the splits in order; the fit role is `rest` without `choose`."""
    ends = np.cumsum([dataset.rows(name) for name in names])

    def parts(rows: Indices) -> tuple[Part, ...]:
        parts_of_role = []
        for name, end in zip(names, ends, strict=True):
            start = end - dataset.rows(name)
            own = rows[(rows >= start) & (rows < end)] - start
            if len(own):
                parts_of_role.append(Part(name, own))
        return tuple(parts_of_role)

    return Roles(parts(np.setdiff1d(rest, choose)), parts(choose), parts(report))
