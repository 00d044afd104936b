"""A comparison without the rows of which a contender has seen an exact copy."""

from collections.abc import Sequence
from dataclasses import replace

from mien.comparison.contenders import Contender
from mien.errors import MienError
from mien.runs.model_file import read_seen
from mien.runs.predictions import Predictions, read_predictions
from mien.runs.rows import copied_rows
from mien.runs.run import Run


def without_copies(contenders: Sequence[Contender]) -> list[Contender] | None:
    """The contenders on the rows that none of their runs was trained or chosen on, nor on an exact copy.

    Nobody knows what other people's models have seen. None where copies can't be looked for (a run's data set is gone
    or has changed) and where no row is left.
    """
    seen: set[tuple[str, str]] = set()
    for one in contenders:
        for part in one.runs[: len(one.names)]:
            if (stored := read_seen(part.file)) is not None:
                seen.update(stored)
                continue
            try:
                exact, _ = copied_rows(Run(part.file.parent.parent))
            except MienError:
                return None
            rows = read_predictions(part.file).rows
            seen.update(row for row, copied in zip(rows, exact if exact is not None else [], strict=True) if copied)
    left = [
        replace(one, runs=tuple(_without(part, seen) for part in one.runs), contaminated=0.0 if one.names else None)
        for one in contenders
    ]
    return left if len(left[0].runs[0]) else None


def _without(part: Predictions, seen: set[tuple[str, str]]) -> Predictions:
    return part.take([place for place, row in enumerate(part.rows) if row not in seen])
