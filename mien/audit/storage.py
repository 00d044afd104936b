"""An audit's files: `audit/audit.json` and `audit/audit.parquet` beside the data set."""

import datetime
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mien.audit import findings
from mien.audit.copies import VERSION, Copies, copies, parent
from mien.audit.groups import ALONE, Groups
from mien.audit.scan import scan
from mien.data.dataset import Dataset
from mien.errors import FailedError, MienError
from mien.files import replacing, write_json
from mien.parquet import read_table
from mien.reading import Count, Stored, read_object


class Audited(Stored):
    """What `audit.json` says that others rely on."""

    fingerprint: str
    version: int | str
    n: Count
    splits: dict[str, Count]
    exact: dict[str, Count]
    near: dict[str, Count] | None
    across: dict[str, Count]
    near_across: dict[str, Count] | None
    flags: dict[str, dict[str, Count]]
    classes: dict[str, dict[str, Count]]


def audit(dataset: Dataset, *, near: bool = True) -> dict[str, Any]:
    """Look at every image of a data set, write `audit.json` and `audit.parquet`, and return what the first holds.

    Without `near`, near copies are not looked for; those that an earlier audit found still count.
    """
    compared = copies(dataset, near=near)
    table = _table(dataset, compared)
    content = _content(dataset, compared, table)
    folder = dataset.folder / "audit"
    with replacing(folder / "audit.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
    write_json(folder / "audit.json", content)
    return content


def last_audit(dataset: Dataset) -> dict[str, Any] | None:
    """The content of `audit.json` for this data set, unchanged since; None where there is none."""
    path = dataset.folder / "audit" / "audit.json"
    try:
        content = read_object(path, Audited, "the audit")
    except (FileNotFoundError, FailedError):  # One that is damaged can be made anew.
        return None
    return content if (content.get("fingerprint"), str(content.get("version"))) == _of(dataset) else None


def read_flags(dataset: Dataset) -> pa.Table | None:
    """The flags of all rows: `split`, `id`, a bool column for each of `FLAGS`, `exact_group`, `near_group`.

    In the data set's order, split after split. A data set without an audit of its own inherits that of the set that it
    was cut or relabelled from, by split and id, with copies and labels compared anew; None without either.
    """
    path = dataset.folder / "audit" / "audit.parquet"
    if path.exists():
        table = read_table(path, what="the audit")
        said = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if (said.get("fingerprint"), said.get("version")) == _of(dataset):
            _check_flags(dataset, table, path)
            # An audit without near copies gets those that a later search has found.
            now = copies(dataset, near=False)
            return table if said.get("near") == str(_has_near(now)) else _table(dataset, now)
    origin = parent(dataset)
    if origin is None or read_flags(origin) is None:
        return None
    return _table(dataset, copies(dataset))


def _check_flags(dataset: Dataset, table: pa.Table, path: Path) -> None:
    kinds = {
        **dict.fromkeys(("split", "id"), pa.string()),
        **dict.fromkeys(findings.FLAGS, pa.bool_()),
        **dict.fromkeys(("exact_group", "near_group"), pa.int32()),
    }
    columns = {field.name: field.type for field in table.schema}
    right = all(columns.get(name) == kind and not table[name].null_count for name, kind in kinds.items())
    if not right or len(table) != sum(map(dataset.rows, dataset.card.splits)):
        raise FailedError(
            "this audit isn't that of the data set",
            file=str(path),
            expected=f"mien data audit {dataset.card.name} anew",
        )


def found_flags(dataset: Dataset, names: Sequence[str]) -> pa.Table:
    """The flags of all rows as `read_flags` gives them, once it is sure that an audit could find the named ones.

    Raises MienError without an audit, and for flags that would all be false because nobody looked: flags of near copies
    after an audit without them, flags of votes in a data set without votes, `fallback` in a set that isn't cut. To ask
    for `fallback` alone needs no audit, and gives only its column.
    """
    name = dataset.card.name
    if "fallback" in names and "source" not in dataset.card.columns:
        raise MienError(
            f"data set '{name}' isn't cut, so nothing is known of 'fallback'", expected="one that mien data crop made"
        )
    if set(names) == {"fallback"}:
        return findings.fallbacks(dataset)
    table = read_flags(dataset)
    if table is None:
        raise MienError(f"data set '{name}' has no audit", expected=f"mien data audit {name}")
    if any(flag.startswith("near_") for flag in names) and not _has_near(copies(dataset, near=False)):
        raise MienError(
            f"the audit of data set '{name}' looked for no near copies",
            expected=f"mien data audit {name}, with near copies",
        )
    voted = [flag for flag in names if flag in ("not_a_face", "vote_conflict")]
    if voted and parent(dataset) is None and not _has_votes(dataset):
        raise MienError(
            f"data set '{name}' has no rater votes, so nothing is known of '{voted[0]}'",
            expected="a data set imported with --votes",
        )
    return table


def _of(dataset: Dataset) -> tuple[str, str]:
    return dataset.card.fingerprint, str(VERSION)


def _table(dataset: Dataset, compared: Copies) -> pa.Table:
    table = findings.table_of(dataset, compared)
    origin = parent(dataset)
    if origin is not None and (older := read_flags(origin)) is not None:
        table = findings.inherit(dataset, table, origin, older)
    fingerprint, version = _of(dataset)
    return table.replace_schema_metadata(
        {"fingerprint": fingerprint, "version": version, "near": str(_has_near(compared))}
    )


def _has_near(compared: Copies) -> bool:
    return compared.near(next(iter(compared.splits))) is not None


def _content(dataset: Dataset, compared: Copies, table: pa.Table) -> dict[str, Any]:
    splits = list(dataset.card.splits)
    count = np.array([dataset.rows(split) for split in splits])
    split_of = np.repeat(np.arange(len(splits)), count)
    labels = np.concatenate([dataset.labels(split) for split in splits])
    exact = np.asarray(table["exact_group"], dtype=np.int64)
    near = np.asarray(table["near_group"], dtype=np.int64) if _has_near(compared) else None
    flags = {name: np.asarray(table[name], dtype=np.bool_) for name in findings.FLAGS}
    scans = {split: scan(dataset, split) for split in splits}
    return {
        "dataset": dataset.card.name,
        "fingerprint": dataset.card.fingerprint,
        "version": VERSION,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "n": len(table),
        "splits": dict(zip(splits, count.tolist(), strict=True)),
        "exact": _counted(exact),
        "near": None if near is None else _counted(near),
        "across": _across(exact, split_of, splits),
        "near_across": None if near is None else _across(near, split_of, splits),
        "conflicting": _groups(exact, findings.mixed(exact, labels)),
        "near_conflicting": None if near is None else _groups(near, findings.mixed(near, labels)),
        "blank": int(flags["blank"].sum()),
        "constant": sum(int(((look["hash"] != b"") & (look["deviation"] == 0)).sum()) for look in scans.values()),
        "tiny": int(flags["tiny"].sum()),
        "undecodable": int(flags["undecodable"].sum()),
        "not_a_face": int(flags["not_a_face"].sum()) if _has_votes(dataset) else None,
        "flags": {
            name: {split: int(flags[name][split_of == i].sum()) for i, split in enumerate(splits)}
            for name in findings.FLAGS
        },
        "votes": _agreements(dataset) if _has_votes(dataset) else None,
        "classes": {
            split: dict(zip(dataset.card.classes, rows, strict=True)) for split, rows in dataset.card.splits.items()
        },
        "shared": findings.owners(dataset),
    }


def _counted(groups: Groups) -> dict[str, int]:
    """The number of groups, of rows in them, and of rows beyond the first of each group."""
    rows = int((groups != ALONE).sum())
    number = len(np.unique(groups[groups != ALONE]))
    return {"groups": number, "rows": rows, "extra": rows - number}


def _groups(groups: Groups, rows: Any) -> int:
    return len(np.unique(groups[rows & (groups != ALONE)]))


def _across(groups: Groups, split_of: Any, splits: list[str]) -> dict[str, int]:
    """For each pair of splits, how many rows of the second have a copy in the first."""
    inside = [np.unique(groups[(split_of == i) & (groups != ALONE)]) for i in range(len(splits))]
    return {
        f"{splits[a]}/{splits[b]}": int(np.isin(groups[split_of == b], inside[a]).sum())
        for a, b in permutations(range(len(splits)), 2)
    }


def _has_votes(dataset: Dataset) -> bool:
    return findings.votes_of(dataset, next(iter(dataset.card.splits))) is not None


def _agreements(dataset: Dataset) -> dict[str, dict[str, dict[str, int]]]:
    """By split and class: how many `rows`, how many with a `majority`, in how many it `agrees` with the label."""
    by_split: dict[str, dict[str, dict[str, int]]] = {}
    for split in dataset.card.splits:
        votes, labels = findings.votes_of(dataset, split), dataset.labels(split)
        assert votes is not None
        decided, agreed = findings.compare_with_majority(votes, labels, dataset.card.classes)
        decided &= votes[:, -1] < findings.NOT_A_FACE
        by_split[split] = {
            name: {
                "rows": int((labels == i).sum()),
                "majority": int((decided & (labels == i)).sum()),
                "agrees": int((decided & agreed & (labels == i)).sum()),
            }
            for i, name in enumerate(dataset.card.classes)
        }
    return by_split
