"""Roles: which rows a model is fit on, which it is chosen by, and which it is reported on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mien.audit import FLAGS, found_flags
from mien.data.dataset import Dataset
from mien.data.importers.relabel import check_rows, read_bytes, read_changes
from mien.errors import FailedError, MienError, unknown

Bools = npt.NDArray[np.bool_]
Role = Literal["fit", "choose", "report"]
ROLES: tuple[Role, ...] = ("fit", "choose", "report")
LISTED = ".csv"  # What a file of rows to be left out ends with.
# In place of a protocol's name, where another data set is measured and nobody named one: all of its rows, or those that
# the model wasn't fit or chosen on.
ALL_ROWS, UNSEEN_ROWS = "all-rows", "unseen-rows"


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


def masks(dataset: Dataset, parts: Iterable[Part]) -> dict[str, Bools]:
    """For each split, booleans (rows of the split,): whether the row is in one of the parts."""
    by_split: dict[str, Bools] = {}
    for part in parts:
        mask = by_split.setdefault(part.split, np.zeros(dataset.rows(part.split), np.bool_))
        mask[slice(None) if part.index is None else part.index] = True
    return by_split


def role_ids(dataset: Dataset, roles: Roles) -> pa.Table:
    """The rows of every part that isn't a whole split, as a table of `split`, `id` and `role`.

    A run saves this table; a whole split needs no rows there, its name says it. No whole split is opened.
    """
    columns: dict[str, list[str]] = {"split": [], "id": [], "role": []}
    for role in ROLES:
        for part in roles.of(role):
            if part.index is not None:
                ids = dataset.ids(part.split)
                columns["split"] += [part.split] * len(part.index)
                columns["id"] += [ids[row] for row in part.index]
                columns["role"] += [role] * len(part.index)
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def check_roles(dataset: Dataset, roles: Roles, saved: pa.Table) -> None:
    """Check that the roles, as they are built now, hold the rows that `role_ids` saved before.

    Raises FailedError where they don't: the data set's audit has changed, or the library that divides the rows has.
    """
    now = role_ids(dataset, roles)
    for role in ROLES:
        old, new = _of_role(saved, role), _of_role(now, role)
        if old != new:
            raise FailedError(
                f"the {role} role isn't the one that was saved: {len(old - new)} of its rows are gone, "
                f"{len(new - old)} are new",
                expected="the same audit of the data set, and the same version of scikit-learn",
            )


def _of_role(table: pa.Table, role: Role) -> set[tuple[str, str]]:
    own = table.filter(pc.equal(table["role"], role))
    return set(zip(own["split"].to_pylist(), own["id"].to_pylist(), strict=True))


def without(dataset: Dataset, roles: Roles, flags: Sequence[str]) -> tuple[Roles, dict[str, dict[str, int]]]:
    """The roles without the fit and choose rows that have one of these flags in the data set's audit, and how many.

    A flag may also be a CSV of likely label errors as `mien suspects` writes it, by its path from the workspace: its
    rows, but for those with `apply` "no". The report role stays as it is. The counts give, for fit and choose, the
    role's rows with each flag and, as `rows`, all rows left out; a row with two flags is one row. Raises MienError
    without an audit, for an unknown flag, and for a CSV that isn't of this data set.
    """
    if not flags:
        return roles, {}
    audited = [flag for flag in flags if not flag.endswith(LISTED)]
    for flag in audited:
        if flag not in FLAGS:
            raise unknown(f"no flag is called '{flag}'", flag, FLAGS, key="exclude")
    try:
        table = found_flags(dataset, audited) if audited else None
    except MienError as error:
        error.key = "exclude"
        raise
    listed = {flag: _listed(dataset, flag) for flag in flags if flag.endswith(LISTED)}
    parts_by_role: dict[str, tuple[Part, ...]] = {}
    counts: dict[str, dict[str, int]] = {}
    for role in ROLES[:2]:
        parts, counts[role] = [], {**dict.fromkeys(flags, 0), "rows": 0}
        for part in roles.of(role):
            index = np.arange(dataset.rows(part.split)) if part.index is None else part.index
            own = None if table is None else table.filter(pc.equal(table["split"], part.split))
            columns = [
                listed[flag][part.split] if flag in listed or own is None else own[flag].to_numpy() for flag in flags
            ]
            flagged = np.stack(columns, axis=1)[index]
            gone = flagged.any(axis=1)
            for flag, number in zip(flags, flagged.sum(axis=0), strict=True):
                counts[role][flag] += int(number)
            counts[role]["rows"] += int(gone.sum())
            parts.append(Part(part.split, index[~gone]) if gone.any() else part)
        parts_by_role[role] = tuple(parts)
    return Roles(parts_by_role["fit"], parts_by_role["choose"], roles.report), counts


def _listed(dataset: Dataset, name: str) -> dict[str, Bools]:
    """For each split, booleans (rows of the split,): whether a CSV of the workspace lists the row."""
    file = dataset.folder.parent.parent / Path(name).expanduser()
    if not file.is_file():
        raise MienError(
            f"there is no file '{file}'",
            key="exclude",
            expected="a CSV that mien suspects wrote, by its path from the workspace",
        )
    changes = read_changes(read_bytes(file), dataset.card.scheme, file)
    check_rows(dataset, changes, file)
    found = {}
    for split in dataset.card.splits:
        gone = {change.id for change in changes if change.split == split and change.new is not None}
        found[split] = np.array([one in gone for one in dataset.ids(split)], np.bool_)
    return found
