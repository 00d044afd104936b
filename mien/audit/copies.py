"""Which rows of a data set are copies of each other, looked for once and kept beside it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mien.audit.groups import ALONE, Groups, exact_groups, joined, near_groups
from mien.audit.near import near_pairs
from mien.audit.scan import SIDE, scan
from mien.data.dataset import Dataset
from mien.errors import FailedError, MienError
from mien.files import replacing
from mien.progress import progress
from mien.reading import read_arrays

# The search for near copies takes time that grows with the square of the rows, so in larger sets only an audit does it.
MOST_ROWS = 100_000
# Images whose gray levels have a standard deviation below this show nothing: blank, or as good as that.
BLANK_BELOW = 5.0
# Raise this with every change to the search, so that results of older versions aren't read.
VERSION = 2


@dataclass(frozen=True)
class Copies:
    """Groups of copies by split: int64 (rows,), the same number for the same group in all splits, −1 for none."""

    _exact: Mapping[str, Groups]
    _near: Mapping[str, Groups] | None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits whose rows were compared."""
        return tuple(self._exact)

    def exact(self, split: str) -> Groups:
        """The groups of rows with equal pixels, in a split's order."""
        return self._exact[split]

    def near(self, split: str) -> Groups | None:
        """The groups of near copies, which contain the exact ones; None where they weren't looked for."""
        return None if self._near is None else self._near[split]


def copies(dataset: Dataset, *, near: bool | None = None) -> Copies:
    """The copies among all rows of a data set.

    A data set that was cut or relabelled from another also has the copies of that one, by split and id. `near` says
    whether to look for near copies (by default in sets of up to `MOST_ROWS` rows). The result is stored beside the data
    set, so a second call takes no time; near copies that were found once are always given.
    """
    path = _file(dataset)
    splits = {split: dataset.rows(split) for split in dataset.card.splits}
    look_for_near = near if near is not None else sum(splits.values()) <= MOST_ROWS
    stored = _stored(path, sum(splits.values()))
    exact, close = stored.get("exact"), stored.get("near")
    if exact is None or (look_for_near and close is None):
        exact, close = _compare(dataset, near=look_for_near)
        with replacing(path) as temporary, temporary.open("wb") as file:
            if close is None:
                np.savez_compressed(file, exact=exact)
            else:
                np.savez_compressed(file, exact=exact, near=close)
    origin = parent(dataset)
    if origin is not None:
        originals = copies(origin, near=near)
        exact = joined(
            exact, inherited(dataset, origin, {split: originals.exact(split) for split in origin.card.splits})
        )
        older = {split: groups for split in origin.card.splits if (groups := originals.near(split)) is not None}
        if close is not None and older:
            close = joined(close, inherited(dataset, origin, older))
        if close is not None:
            close = joined(close, exact)
    return Copies(_split(exact, splits), None if close is None else _split(close, splits))


def are_known(dataset: Dataset) -> bool:
    """Whether `copies` has nothing to look for: it would only read what an earlier call has stored."""
    n = sum(map(dataset.rows, dataset.card.splits))
    wanted = {"exact", "near"} if n <= MOST_ROWS else {"exact"}
    origin = parent(dataset)
    return wanted <= _stored(_file(dataset), n).keys() and (origin is None or are_known(origin))


def _file(dataset: Dataset) -> Path:
    return dataset.folder / "cache" / f"copies-{VERSION}-{dataset.card.fingerprint[:16]}.npz"


def parent(dataset: Dataset) -> Dataset | None:
    """The data set that this one was cut or relabelled from; None unless it is in the same workspace, unchanged."""
    if dataset.card.parent is None:
        return None
    try:
        origin = Dataset(dataset.folder.parent / dataset.card.parent.name)
    except (MienError, OSError):
        return None
    return origin if origin.card.fingerprint == dataset.card.parent.fingerprint else None


def inherited(dataset: Dataset, origin: Dataset, groups: Mapping[str, Groups]) -> Groups:
    """For every row of a data set, the group of the row with its split and id in the set that it was made from."""
    parts = []
    for split in dataset.card.splits:
        rows = np.full(dataset.rows(split), ALONE, np.int64)
        if split in origin.card.splits:
            place = rows_by_id(dataset, origin, split)
            rows[place >= 0] = groups[split][place[place >= 0]]
        parts.append(rows)
    return np.concatenate(parts)


def rows_by_id(dataset: Dataset, origin: Dataset, split: str) -> Groups:
    """Each row's position, int64 (rows,), in the same split of the set that it was made from; −1 where it has none."""
    own = dataset.table(split, ["id"])["id"]
    place = pc.index_in(own, value_set=origin.table(split, ["id"])["id"].combine_chunks())
    return np.asarray(pc.fill_null(place, ALONE).cast(pa.int64()), dtype=np.int64)


def _stored(path: Path, rows: int) -> dict[str, Groups]:
    if not path.exists():
        return {}
    try:
        found = read_arrays(path)
    except FailedError:  # A damaged file is made anew.
        return {}
    return {name: of for name, of in found.items() if of.shape == (rows,) and of.dtype == np.int64}


def _compare(dataset: Dataset, *, near: bool) -> tuple[Groups, Groups | None]:
    scans = [scan(dataset, split) for split in dataset.card.splits]
    exact = exact_groups(np.concatenate([rows["hash"] for rows in scans]))
    if not near:
        return exact, None
    deviation = np.concatenate([rows["deviation"] for rows in scans])
    # One picture of each exact group is enough.
    _, first = np.unique(np.where(exact == ALONE, -2 - np.arange(len(exact)), exact), return_index=True)
    rows = np.sort(first)
    rows = rows[deviation[rows] >= BLANK_BELOW]
    with TemporaryFile(dir=dataset.folder / "cache") as file:
        if not len(rows):
            return exact, exact.copy()
        # On disk, so that a large set doesn't fill the memory.
        # A full disk raises an error here; while rows are written, it would end the process.
        os.posix_fallocate(file.fileno(), 0, len(rows) * SIDE * SIDE)
        gray = np.memmap(file, np.uint8, "w+", shape=(len(rows), SIDE, SIDE))
        start = np.cumsum([0, *map(len, scans)])
        for looks, begin, end in zip(scans, start, start[1:], strict=False):
            low, high = np.searchsorted(rows, [begin, end])
            for at in range(low, high, 1000):
                chunk = slice(at, min(at + 1000, high))
                gray[chunk] = looks["gray"][rows[chunk] - begin]
        with progress(f"near copies in {dataset.card.name}", len(rows)) as advance:
            pairs = near_pairs(gray, advance)
        del gray
    near_of = np.full(len(exact), ALONE, np.int64)
    near_of[rows] = near_groups(len(rows), pairs)
    return exact, joined(exact, near_of)


def _split(groups: Groups, splits: Mapping[str, int]) -> dict[str, Groups]:
    ends = np.cumsum(list(splits.values()))
    return dict(zip(splits, np.split(groups, ends[:-1]), strict=True))
