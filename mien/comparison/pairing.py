"""Which contenders are compared with which: all pairs, or each with one."""

from collections.abc import Sequence
from itertools import combinations

from mien.errors import unknown


def pairing(names: Sequence[str], baseline: str | None = None) -> list[tuple[int, int]]:
    """The places of all pairs, or with a baseline of each other one and the baseline.

    >>> pairing(["a", "b", "c"]), pairing(["a", "b", "c"], "b")
    ([(0, 1), (0, 2), (1, 2)], [(0, 1), (2, 1)])
    """
    if baseline is None:
        return list(combinations(range(len(names)), 2))
    if baseline not in names:
        raise unknown(f"'{baseline}' isn't among what is compared", baseline, names, key="--baseline")
    place = names.index(baseline)
    return [(other, place) for other in range(len(names)) if other != place]


def told(baseline: str, pairs: int) -> str:
    """What a comparison with a baseline notes."""
    over = "this pair" if pairs == 1 else f"these {pairs} pairs"
    return f"each is compared with {baseline} alone; p by Holm over {over}"
