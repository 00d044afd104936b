"""Which of two runs is better, in words, by the code behind `mien compare`; unlike that, nothing is written."""

from collections.abc import Mapping
from typing import Any

from mien.audit.copies import are_known
from mien.comparison import disagreements, find_contender, same_task
from mien.comparison.expression import compared
from mien.comparison.pairs import UNDECIDED
from mien.comparison.tables import pair_cells
from mien.errors import MienError
from mien.runs.rows import own_dataset
from mien.runs.run import Run
from mien.serving.view.reading import run_of, table_of
from mien.serving.view.schema import Compared, Disagreement
from mien.tasks import Score, resolve
from mien.workspace import Workspace


def compare_two(home: Workspace, a: str, b: str) -> Compared:
    """The verdict on two measured runs of one task; MienError for others, as `mien compare` tells it."""
    runs = [run_of(home, name) for name in (a, b)]
    task = same_task(runs)
    named = [str(run.folder) for run in runs]
    shown: list[Disagreement] = []
    if task.classes:
        contenders = [find_contender(home, name) for name in named]
        result, tables = compared(contenders, look=all(map(_copies_are_known, runs)))
        classes = contenders[0].runs[0].classes
        shown = [
            Disagreement(
                split=one.row[0],
                id=one.row[1],
                label=classes[one.label],
                kind=one.kind,
                said=[classes[label] for label in one.said],
                surely=[min(share, 1.0) for share in one.surely],
            )
            for one in disagreements(contenders[0], contenders[1])
        ]
    else:
        result, tables, _ = resolve(task.compare)(home, named, [])
    return Compared(
        verdicts=[_sentence(pair, task.score) for pair in result["pairs"]],
        tables=[table_of(table) for table in tables],
        notes=result["notes"],
        dataset=_dataset(runs[0]),
        disagreements=shown,
    )


def _sentence(pair: Mapping[str, Any], score: Score) -> str:
    """A pair's verdict in words, with the difference, its interval, p and n."""
    a, b = pair["a"], pair["b"]
    if pair["difference"] is None:
        return f"{a} and {b}: there are no rows to compare them on."
    difference, interval, p, _, verdict = pair_cells(dict(pair), score)
    told = f"{a} and {b} are {UNDECIDED}" if verdict == UNDECIDED else verdict
    size = f" at {pair['size']} px" if "size" in pair else ""
    unit = " points of %" if score.percent else ""
    return (
        f"{told}{size}: {score.label} of {a} less that of {b} is {difference}{unit} (95 % interval {interval}), "
        f"p {p if p.startswith('<') else f'= {p}'}, on {pair['split']}, n = {pair['n']:,}."
    )


def _copies_are_known(run: Run) -> bool:
    try:
        return are_known(own_dataset(run))
    except (MienError, OSError):
        return False


def _dataset(run: Run) -> str:
    """The data set of the pictures; "" where it is gone or has changed."""
    try:
        return own_dataset(run).card.name
    except (MienError, OSError):
        return ""
