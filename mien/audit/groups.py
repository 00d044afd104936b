"""Groups of copies from hashes and pairs. A group's number means nothing; −1 is a row that is alone."""

import numpy as np
import numpy.typing as npt

from mien.audit.near import Pairs
from mien.audit.scan import Hashes

Groups = npt.NDArray[np.int64]
ALONE = -1
# From this correlation of details on a pair is a copy beyond doubt; weaker pairs make groups of up to so many rows.
STRONG = 0.95
WEAK_ROWS = 20
_STEP = 100_000


def exact_groups(hashes: Hashes) -> Groups:
    """The group of each row, int64 (n,): rows with the same hash; a row without a hash is alone.

    >>> exact_groups(np.array([b"a", b"b", b"", b"a", b""])).tolist()
    [0, -1, -1, 0, -1]
    """
    _, number, count = np.unique(hashes, return_inverse=True, return_counts=True)
    return _renumbered(np.where((count[number] > 1) & (hashes != b""), number, ALONE))


def near_groups(rows: int, pairs: Pairs) -> Groups:
    """The group of each of `rows` rows, int64 (rows,), from pairs of near copies, the most similar first.

    A pair joins the groups of its rows in three cases: one row is still alone, so that every row is grouped with its
    most similar copy; the similarity is at least `STRONG`; or both groups together have at most `WEAK_ROWS` rows. So
    neither a wrong pair nor a chain of pairs, each a little different from the last, joins everything into one group.

    >>> first = np.arange(5)
    >>> near_groups(7, Pairs(first, first + 1, np.array([0.99, 0.99, 0.9, 0.9, 0.9]), first > 9)).tolist()
    [0, 0, 0, 0, 0, 0, -1]
    """
    parent = list(range(rows))
    size = [1] * rows

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    order = np.argsort(-pairs.similarity, kind="stable")
    for at in range(0, len(order), _STEP):
        some = order[at : at + _STEP]
        strong = pairs.similarity[some] >= STRONG
        for i, j, sure in zip(pairs.first[some].tolist(), pairs.second[some].tolist(), strong.tolist(), strict=True):
            a, b = root(i), root(j)
            if a != b and (sure or min(size[a], size[b]) == 1 or size[a] + size[b] <= WEAK_ROWS):
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
    groups = np.array([root(row) if size[root(row)] > 1 else ALONE for row in range(rows)], np.int64)
    return _renumbered(groups)


def joined(a: Groups, b: Groups) -> Groups:
    """Join two groupings: rows share a group if they do in either, directly or through other rows.

    >>> joined(np.array([0, 0, -1, -1, 1, 1]), np.array([-1, 7, 7, -1, -1, -1])).tolist()
    [0, 0, 0, -1, 1, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = []
    for groups in (a, b):
        rows = np.flatnonzero(groups != ALONE)
        _, first, number = np.unique(groups[rows], return_index=True, return_inverse=True)
        links.append((rows, rows[first[number]]))
    start, end = (np.concatenate(part) for part in zip(*links, strict=True))
    graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(len(a), len(a)))
    number = connected_components(graph, directed=False)[1].astype(np.int64)
    return _renumbered(np.where(np.bincount(number)[number] > 1, number, ALONE) if len(a) else number)


def _renumbered(groups: Groups) -> Groups:
    """The same groups, numbered from 0 in the order of their first rows."""
    values, first, number = np.unique(groups, return_index=True, return_inverse=True)
    real = np.flatnonzero(values != ALONE)
    rank = np.full(len(values), ALONE, np.int64)
    rank[real[np.argsort(first[real])]] = np.arange(len(real))
    return rank[number].astype(np.int64)
