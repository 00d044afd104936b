"""What `mien compare` does for runs on expressions: seeds as one, other people's predictions, pictures, clean twins."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.comparison.clean import without_copies
from mien.comparison.contenders import Contender, find_contender, foreign
from mien.comparison.disagreements import write_galleries
from mien.comparison.pairs import compare
from mien.comparison.tables import Compared, Table, tables
from mien.workspace import Workspace


def compare_contenders(
    workspace: Workspace, references: Sequence[str], predictions: Sequence[Path], baseline: str | None = None
) -> Compared:
    """All pairs of runs, groups of seeds and others' predictions, as `compare` has them, and again without copies.

    With a `baseline`, one of the references, each of the others and that one.
    """
    contenders = [find_contender(workspace, name) for name in references]
    contenders += [foreign(file, contenders[0]) for file in predictions]
    if baseline is not None:
        baseline = find_contender(workspace, baseline).name
    return Compared(*compared(contenders, baseline), write_galleries(workspace, contenders, baseline))


def compared(
    contenders: Sequence[Contender], baseline: str | None = None, *, look: bool = True
) -> tuple[dict[str, Any], list[Table]]:
    """What `compare` finds, as `clean` again without copies, and both as tables; unless `look`, without that twin."""
    found = compare(contenders, baseline)
    left = without_copies(contenders) if look else None
    found["clean"] = compare(left, baseline) if left else None
    if not left:
        found["notes"].append("copies of rows that were trained on weren't looked for")
    return found, tables(found)
