"""What the card of a data set goes on to say of a set that is cut or relabelled from it."""

from collections.abc import Mapping
from typing import Any

from mien.data.dataset import Card
from mien.data.people import group_column

# What binds the use of rows, and how mien drew their splits.
_LASTING = ("terms", "landmarks", "made_splits")


def inherited(card: Card, renamed: Mapping[str, str]) -> dict[str, Any]:
    """The details that hold on; `renamed` says how the columns that are kept are called now.

    The column by which rows belong together is among them, so that intervals go on counting by it.
    """
    details = {key: card.details[key] for key in _LASTING if key in card.details}
    column = group_column(card)
    return {**details, "group": renamed[column]} if column is not None and column in renamed else details
