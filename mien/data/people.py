"""Which rows of a data set belong together: the pictures of one person, or the frames of one video."""

from collections.abc import Sequence
from typing import Any

from mien.data.dataset import Card, Dataset

# Columns that say who is in a picture, by the names that people give them.
PERSONS = ("group", "subject", "subject_id", "person", "person_id", "identity")
_ALSO = ("identity_id", "id_subject", "id_person", "id_identity", "actor", "video", "video_id")


def group_column(card: Card) -> str | None:
    """The column whose values say which rows belong together; None where a data set has none.

    The one that `--group` named when the set was imported, those by which mien drew splits, else one that is called
    like a person or a video.
    """
    made = card.details.get("made_splits")
    drawn = made.get("groups", ()) if isinstance(made, dict) else ()
    named = [card.details.get("group"), *(reversed(drawn) if isinstance(drawn, list) else ())]
    called = sorted(
        (column for column in card.columns if column.strip().lower() in (*PERSONS, *_ALSO)),
        key=lambda column: (*PERSONS, *_ALSO).index(column.strip().lower()),
    )
    return next((str(column) for column in [*named, *called] if column in card.columns), None)


def groups_of(dataset: Dataset, column: str, rows: Sequence[tuple[str, int]]) -> list[Any]:
    """The value of a column for rows, each a split and a place in it; None where it is empty."""
    values = {split: dataset.table(split, [column])[column].to_pylist() for split in {split for split, _ in rows}}
    return [values[split][place] for split, place in rows]
