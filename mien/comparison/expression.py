"""What `mien compare` does for runs on expressions: seeds as one, other people's predictions, pictures, clean twins."""

from collections.abc import Sequence
from pathlib import Path

from mien.comparison.clean import without_copies
from mien.comparison.contenders import find_contender, foreign
from mien.comparison.disagreements import write_galleries
from mien.comparison.pairs import compare
from mien.comparison.tables import Compared, tables
from mien.workspace import Workspace


def compare_contenders(workspace: Workspace, references: Sequence[str], predictions: Sequence[Path]) -> Compared:
    """All pairs of runs, groups of seeds and others' predictions, as `compare` has them, and again without copies."""
    contenders = [find_contender(workspace, name) for name in references]
    contenders += [foreign(file, contenders[0]) for file in predictions]
    compared = compare(contenders)
    left = without_copies(contenders)
    compared["clean"] = compare(left) if left else None
    if not left:
        compared["notes"].append("copies of rows that were trained on weren't looked for")
    return Compared(compared, tables(compared), write_galleries(workspace, contenders))
