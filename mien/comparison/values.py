"""Which of several runs is better by the score of each row: how tasks are compared that say no other way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.comparison.pairing import told
from mien.comparison.pairs import judge
from mien.comparison.rows import baseline_of, measured, row_pairs, runs_of
from mien.comparison.tables import Compared, Table, over_groups, pair_cells
from mien.errors import MienError
from mien.evaluation.values import read_scores
from mien.runs.predictions import read_groups
from mien.tasks import Score
from mien.workspace import Workspace


def compare_values(
    workspace: Workspace, references: Sequence[str], predictions: Sequence[Path], baseline: str | None = None
) -> Compared:
    """All pairs of two or more runs that were measured on the same rows, by the task's score.

    With a `baseline` each other run and that one.

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
    against = baseline_of(workspace, baseline)
    people = {key: metrics[0].get(key) for key in ("groups", "grouped_by")}
    groups = read_groups(runs[0].predictions("report"))
    pairs = row_pairs(scores, about, against, groups)
    judge(pairs, higher=score.higher)
    notes = [f"{run.name}: {of['limits']}" for run, of in zip(runs, metrics, strict=True) if of["limits"]]
    if against is not None:
        notes.append(told(against, len(pairs)))
    result = {
        "task": metrics[0]["task"],
        **about,
        **people,
        "dataset": metrics[0]["dataset"],
        "contenders": [
            {"name": run.name, score.key: of[score.key], "interval": of["interval"][score.key]}
            for run, of in zip(runs, metrics, strict=True)
        ],
        "pairs": pairs,
        "notes": notes,
    }
    return Compared(result, _tables(result, score))


def _tables(result: dict[str, Any], score: Score) -> list[Table]:
    where = f"{result['dataset']}, {result['split']}, n = {result['n']:,}{over_groups(result)}"
    runs = [(one["name"], score.bracketed(one[score.key], one["interval"])) for one in result["contenders"]]
    pairs = [(f"{pair['a']} − {pair['b']}", *pair_cells(pair, score)) for pair in result["pairs"]]
    columns = ("pair", "difference", "95 % interval", "p", "p by Holm", "verdict")
    return [
        Table(f"{score.name}, {where}", ("run", f"{score.label} [95 %]"), runs, 1),
        Table(f"differences of {score.label}, {where}", columns, pairs, 1),
    ]
