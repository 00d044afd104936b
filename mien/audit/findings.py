"""What an audit says of each row: a flag for each finding, and the groups of copies that the row is in."""

from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mien.audit.copies import BLANK_BELOW, Copies, inherited
from mien.audit.groups import ALONE, Groups
from mien.audit.scan import scan
from mien.data.dataset import Dataset
from mien.data.labels import FERPLUS, FERPLUS_VOTES, canonical
from mien.data.votes import majority

Bools = npt.NDArray[np.bool_]

# Half of FER2013's side. Recognition falls quickly below heads of 36 × 48 pixels already (Y. Tian (2012), Understanding
# effects of image resolution for facial expression analysis).
TINY_BELOW = 24
# So many of ten raters saw no face.
NOT_A_FACE = 5

FLAGS = {
    "leaked": "an exact copy stands in another split",
    "near_leaked": "a near copy stands in another split",
    "duplicate": "an exact copy stands in the data set",
    "near_duplicate": "a near copy stands in the data set",
    "conflict": "an exact copy has another label",
    "blank": f"gray levels have a standard deviation below {BLANK_BELOW:g}",
    "tiny": f"a side is shorter than {TINY_BELOW} pixels",
    "undecodable": "the image doesn't decode",
    "not_a_face": f"{NOT_A_FACE} or more raters saw no face",
    "vote_conflict": "the raters' majority is another class",
    "fallback": "cut out by the mean shape, or kept whole, as no face was found",
}
# In a set of cut-out regions the column `source` says where the box came from; rows that share it share no person.
_FALLBACKS = ("mean_shape", "whole_image")
_REGIONS = {"landmarks", "detected", *_FALLBACKS}
# Columns that name who is shown, or where from.
_OWNERS = (
    *("subject", "subject_id", "id_subject", "person", "person_id", "id_person", "identity", "identity_id"),
    *("source", "source_id", "id_source", "video", "video_id", "actor", "user"),
)


def table_of(dataset: Dataset, copies: Copies) -> pa.Table:
    """The rows of all splits: `split`, `id`, the flags as bool, `exact_group` and `near_group` as int32, −1 alone.

    All flags of near copies are false where nobody looked for near copies.
    """
    splits = dataset.card.splits
    split_of = np.repeat(np.arange(len(splits)), [dataset.rows(split) for split in splits])
    labels = np.concatenate([dataset.labels(split) for split in splits])
    exact = np.concatenate([copies.exact(split) for split in splits])
    parts = [groups for split in splits if (groups := copies.near(split)) is not None]
    near = np.concatenate(parts) if parts else np.full(len(exact), ALONE, np.int64)
    of_splits = [_flags(dataset, split) for split in splits]
    flags = {
        "leaked": mixed(exact, split_of),
        "near_leaked": mixed(near, split_of),
        "duplicate": exact != ALONE,
        "near_duplicate": near != ALONE,
        "conflict": mixed(exact, labels),
        **{name: np.concatenate([flags[name] for flags in of_splits]) for name in of_splits[0]},
    }
    columns = {
        **_names(dataset),
        **{name: pa.array(flags[name]) for name in FLAGS},
        "exact_group": pa.array(exact, pa.int32()),
        "near_group": pa.array(near, pa.int32()),
    }
    return pa.table(columns)


def _names(dataset: Dataset) -> dict[str, pa.Array]:
    """The columns `split` and `id` of the rows of all splits."""
    splits = list(dataset.card.splits)
    return {
        "split": pa.array(np.repeat(splits, [dataset.rows(split) for split in splits]), pa.string()),
        "id": pa.concat_arrays([dataset.table(split, ["id"])["id"].combine_chunks() for split in splits]),
    }


def mixed(groups: Groups, values: npt.NDArray[np.int64]) -> Bools:
    """Whether each row is in a group whose rows have different values.

    >>> mixed(np.array([0, 0, 1, 1, -1]), np.array([3, 4, 5, 5, 6])).tolist()
    [True, True, False, False, False]
    """
    rows = np.flatnonzero(groups != ALONE)
    many = np.zeros(len(groups), np.bool_)
    if len(rows):
        low = np.full(groups.max() + 1, np.iinfo(np.int64).max)
        high = np.full(groups.max() + 1, np.iinfo(np.int64).min)
        np.minimum.at(low, groups[rows], values[rows])
        np.maximum.at(high, groups[rows], values[rows])
        many[rows] = (low < high)[groups[rows]]
    return many


def _flags(dataset: Dataset, split: str) -> dict[str, Bools]:
    """The flags of a split's rows that each row has by itself."""
    pictures = scan(dataset, split)
    whole = pictures["hash"] != b""
    no_face = conflict = np.zeros(len(pictures), np.bool_)
    votes = votes_of(dataset, split)
    if votes is not None:
        decided, agreed = compare_with_majority(votes, dataset.labels(split), dataset.card.classes)
        no_face = votes[:, -1] >= NOT_A_FACE
        conflict = decided & ~agreed & ~no_face
    return {
        "blank": whole & (pictures["deviation"] < BLANK_BELOW),
        "tiny": whole & (np.minimum(pictures["width"], pictures["height"]) < TINY_BELOW),
        "undecodable": ~whole,
        "not_a_face": no_face,
        "vote_conflict": conflict,
        "fallback": _fallback(dataset, split),
    }


def votes_of(dataset: Dataset, split: str) -> npt.NDArray[np.int64] | None:
    """The votes of a split's rows, int64 (rows, 10) in the order of `FERPLUS_VOTES`; None where the set has none."""
    if "votes" not in dataset.card.columns:
        return None
    column = dataset.table(split, ["votes"])["votes"].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.type.list_size != len(FERPLUS_VOTES):
        return None
    flat = column.fill_null([0] * len(FERPLUS_VOTES)).flatten().fill_null(0)
    return np.asarray(flat, dtype=np.int64).reshape(-1, len(FERPLUS_VOTES))


def compare_with_majority(votes: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Any:
    """Which rows have a raters' majority for a class, bool (n,), and in which it is the row's label, bool (n,).

    The majority is that of `mien.data.votes.majority`; "unknown" and "not a face" are no classes.
    """
    place = {canonical(name): index for index, name in enumerate(FERPLUS.classes)}
    own = np.array([place.get(canonical(name), -1) for name in classes])
    most = majority(votes)
    decided = (most >= 0) & (most < len(FERPLUS))
    return decided, decided & (own[labels] == most)


def fallbacks(dataset: Dataset) -> pa.Table:
    """Which rows of a cut data set were cut by the mean shape: `split`, `id` and `fallback`, in the set's order."""
    fallback = np.concatenate([_fallback(dataset, split) for split in dataset.card.splits])
    return pa.table({**_names(dataset), "fallback": pa.array(fallback)})


def _fallback(dataset: Dataset, split: str) -> Bools:
    if "source" not in dataset.card.columns:
        return np.zeros(dataset.rows(split), np.bool_)
    return np.array([value in _FALLBACKS for value in dataset.table(split, ["source"])["source"].to_pylist()], np.bool_)


def owners(dataset: Dataset) -> dict[str, dict[str, dict[str, int]]]:
    """Subjects or sources that two splits share, by column and pair of splits: `values`, and `rows` of the second."""
    shared: dict[str, dict[str, dict[str, int]]] = {}
    for column in dataset.card.columns:
        if column.lower() not in _OWNERS:
            continue
        values = {split: dataset.table(split, [column])[column].to_pylist() for split in dataset.card.splits}
        names = {split: set(map(str, filter(_named, column_values))) for split, column_values in values.items()}
        if set().union(*names.values()) <= _REGIONS:
            continue
        shared[column] = {
            f"{a}/{b}": {
                "values": len(names[a] & names[b]),
                "rows": sum(_named(value) and str(value) in names[a] for value in values[b]),
            }
            for a, b in permutations(values, 2)
        }
    return shared


def _named(value: Any) -> bool:
    return value is not None and value != ""


def inherit(dataset: Dataset, table: pa.Table, origin: Dataset, older: pa.Table) -> pa.Table:
    """The flags of a data set, joined with those that the audit of its parent `origin` gives to the same pictures."""
    lacking = ("not_a_face", "vote_conflict") if "votes" not in dataset.card.columns else ()
    for name in ("blank", "tiny", "undecodable", *lacking):
        flags = {
            split: older.filter(pc.equal(older["split"], split))[name].to_numpy().astype(np.int64)
            for split in origin.card.splits
        }
        merged = table[name].to_numpy() | (inherited(dataset, origin, flags) > 0)
        table = table.set_column(table.column_names.index(name), name, pa.array(merged))
    return table
