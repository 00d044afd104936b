"""Splits for a source that has none: seeded, stratified by class, and whole where rows belong together."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def make_splits(labels: Sequence[Hashable], seed: int, groups: Sequence[Hashable] | None = None) -> list[str]:
    """A split for each row: a tenth of each class for validation, a tenth for test, the rest for train.

    Tenths are rounded; a class of three rows or more has at least one in each split, a smaller class is all in train.
    With `groups`, rows of one group share a split; then shares are of each class as near to tenths as whole groups
    allow, and of three groups or more each split has one.

    >>> sorted(make_splits(["happy"] * 10 + ["sad"] * 2, seed=0)).count("train")
    10
    """
    if groups is not None and len(set(groups)) < len(groups):
        return _whole(labels, seed, groups)
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


def _whole(labels: Sequence[Hashable], seed: int, groups: Sequence[Hashable]) -> list[str]:
    """Splits of whole groups: each, the largest first, goes where its classes are furthest below their share."""
    classes = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    members: dict[Hashable, Counter[int]] = {}
    for label, name in zip(labels, groups, strict=True):
        members.setdefault(name, Counter())[classes[label]] += 1
    names = list(members)
    totals = Counter(classes[label] for label in labels)
    # What a split lacks of a class, as a share of that class.
    lacking = [[share * totals[place] for place in range(len(classes))] for share in SHARES.values()]
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    order.sort(key=lambda place: -members[names[place]].total())
    chosen: dict[Hashable, int] = {}
    for place in order:
        group = members[names[place]]
        if len(group) == 1:
            (of,) = group
            gains = [lack[of] for lack in lacking]
        else:
            gains = [sum(lack[of] * n / totals[of] for of, n in group.items()) for lack in lacking]
        best = gains.index(max(gains))
        chosen[names[place]] = best
        for of, n in group.items():
            lacking[best][of] -= n
    _fill(chosen, members)
    split_names = list(SHARES)
    return [split_names[chosen[name]] for name in groups]


def _fill(chosen: dict[Hashable, int], members: dict[Hashable, Counter[int]]) -> None:
    """Move the smallest group of the fullest split into one that has none; train has one in any case."""
    for split in range(len(SHARES) if len(chosen) >= len(SHARES) else 1):
        if split in chosen.values():
            continue
        counts = Counter(chosen.values())
        movable = [group for group, of in chosen.items() if counts[of] > 1 or len(chosen) < len(SHARES)]
        chosen[min(movable, key=lambda group: members[group].total())] = split


def joined(rows: Iterable[Iterable[Hashable]]) -> list[int]:
    """The group of each row from its keys, as the number of the group's first row: rows that share a key share a group.

    >>> joined([["a"], ["b"], ["a", "c"], [], ["c"]])
    [0, 1, 0, 3, 0]
    """
    parent: list[int] = []
    first: dict[Hashable, int] = {}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for row, keys in enumerate(rows):
        parent.append(row)
        for key in keys:
            a, b = sorted((root(first.setdefault(key, row)), root(row)))
            parent[b] = a
    return [root(row) for row in range(len(parent))]
