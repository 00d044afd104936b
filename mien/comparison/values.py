"""Which of several runs is better by the score of each row: how tasks are compared that say no other way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.comparison.pairs import judge
from mien.comparison.rows import measured, row_pairs, runs_of
from mien.comparison.tables import Compared, Table, pair_cells
from mien.errors import MienError
from mien.evaluation.values import read_scores
from mien.tasks import Score
from mien.workspace import Workspace


def compare_values(workspace: Workspace, references: Sequence[str], predictions: Sequence[Path]) -> Compared:
    """All pairs of two or more runs that were measured on the same rows, by the task's score.

    `contenders` gives for each run its `name`, the score under its own name and `interval`; `pairs` what `row_pairs`
    and `judge` say. Raises MienError for runs that aren't measured, or on other rows.
    """
    runs = runs_of(workspace, references, predictions)
    metrics = measured(runs)
    score = Score(**metrics[0]["score"])
    scores, first = {}, None
    for run in runs:
        rows, scores[run.name] = read_scores(run.predictions("report"), score.key)
        first = first or rows
        if rows != first:
            raise MienError(
                f"runs {runs[0].name} and {run.name} were measured on other rows",
                expected="runs with the same report rows",
            )
    about = {"split": metrics[0]["split"], "n": metrics[0]["n"]}
    pairs = row_pairs(scores, about)
    judge(pairs, higher=score.higher)
    result = {
        "task": metrics[0]["task"],
        **about,
        "dataset": metrics[0]["dataset"],
        "contenders": [
            {"name": run.name, score.key: of[score.key], "interval": of["interval"][score.key]}
            for run, of in zip(runs, metrics, strict=True)
        ],
        "pairs": pairs,
        "notes": [f"{run.name}: {of['limits']}" for run, of in zip(runs, metrics, strict=True) if of["limits"]],
    }
    return Compared(result, _tables(result, score))


def _tables(result: dict[str, Any], score: Score) -> list[Table]:
    where = f"{result['dataset']}, {result['split']}, n = {result['n']:,}"
    runs = [(one["name"], score.bracketed(one[score.key], one["interval"])) for one in result["contenders"]]
    pairs = [(f"{pair['a']} − {pair['b']}", *pair_cells(pair, score)) for pair in result["pairs"]]
    columns = ("pair", "difference", "95 % interval", "p", "p by Holm", "verdict")
    return [
        Table(f"{score.name}, {where}", ("run", f"{score.label} [95 %]"), runs, 1),
        Table(f"differences of {score.label}, {where}", columns, pairs, 1),
    ]
