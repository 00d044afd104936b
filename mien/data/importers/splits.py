"""Splits for a source that has none: seeded, and stratified by class."""

from collections.abc import Hashable, Sequence

import numpy as np

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def make_splits(labels: Sequence[Hashable], seed: int, groups: Sequence[Hashable] | None = None) -> list[str]:
    """A split for each row: a tenth of each class for validation, a tenth for test, the rest for train.

    Tenths are rounded; a class of three rows or more has at least one in each split, a smaller class is all in train.
    With `groups`, whole groups are split, in tenths of the groups; a group's class is that of its first row.

    >>> sorted(make_splits(["happy"] * 10 + ["sad"] * 2, seed=0)).count("train")
    10
    """
    if groups is not None:
        first = dict(reversed(list(zip(groups, labels, strict=True))))
        of_group = dict(zip(first, make_splits(list(first.values()), seed), strict=True))
        return [of_group[group] for group in groups]
    rows: dict[Hashable, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    splits = ["train"] * len(labels)
    random = np.random.default_rng(seed)
    for of_class in rows.values():
        share = max(1, (len(of_class) + 5) // 10) if len(of_class) >= 3 else 0
        order = random.permutation(of_class)
        for row in order[:share]:
            splits[row] = "validation"
        for row in order[share : 2 * share]:
            splits[row] = "test"
    return splits
