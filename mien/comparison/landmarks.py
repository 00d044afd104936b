"""Compares landmark models: paired differences of their errors on the same faces, at each size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mien.comparison.pairing import told
from mien.comparison.pairs import judge
from mien.comparison.rows import baseline_of, measured, row_pairs, runs_of
from mien.comparison.tables import Compared, Table, over_groups, pair_cells
from mien.errors import MienError
from mien.intervals import with_interval
from mien.metrics.nme import image_errors, measure_points
from mien.runs.model_file import ModelFile
from mien.runs.predictions import SIZES, read_groups, read_points
from mien.runs.run import Run
from mien.tasks import NME
from mien.workspace import Workspace


def compare_landmarks(
    workspace: Workspace, references: Sequence[str], predictions: Sequence[Path], baseline: str | None = None
) -> Compared:
    """What `mien compare` does for landmark runs: see `compare_points`."""
    result = compare_points(runs_of(workspace, references, predictions), baseline_of(workspace, baseline))
    return Compared(result, point_tables(result))


def compare_points(runs: Sequence[Run | ModelFile], baseline: str | None = None) -> dict[str, Any]:
    """All pairs of two or more landmark runs that were measured on the same faces, as plain data.

    With a `baseline`, a run's name, each other run and that one.

    `contenders` gives for each run and size its `name`, `size`, `nme_outer_eyes` and `interval`. `pairs` gives `a`,
    `b`, `size`, `n`, `split`, `difference` (the mean error of a less that of b, as a share of the distance of the outer
    eye corners), `interval` (95 %), `p`, `p_holm` (over all pairs) and `verdict`; see `mien.metrics.nme.paired`.
    Raises MienError for runs that aren't measured, or on other faces.
    """
    metrics = measured(runs)
    contenders, pairs = [], []
    for size in SIZES:
        errors = {}
        for run in runs:
            rows, true, predicted = read_points(run.predictions("report"), size)
            if run is runs[0]:
                first = (rows, true)
                groups = read_groups(run.predictions("report"), size)
            if rows != first[0] or not np.allclose(true, first[1], atol=1e-6):
                raise MienError(
                    f"runs {runs[0].name} and {run.name} were measured on other faces",
                    expected="runs with the same report rows",
                )
            errors[run.name] = image_errors(predicted, true)
            whole = measure_points(predicted, true, groups=groups)
            about = {"name": run.name, "size": size, "nme_outer_eyes": whole["nme_outer_eyes"]}
            contenders.append({**about, "interval": whole["interval"]["nme_outer_eyes"]})
        pairs += row_pairs(errors, {"size": size, "n": len(first[0]), "split": metrics[0]["split"]}, baseline, groups)
    judge(pairs, higher=NME.higher)
    notes = [f"{run.name}: {one['limits']}" for run, one in zip(runs, metrics, strict=True) if one["limits"]]
    if baseline is not None:
        notes.append(told(baseline, len(pairs)))
    return {
        "task": runs[0].task.name,
        "n": pairs[0]["n"],
        **{key: metrics[0].get(key) for key in ("groups", "grouped_by")},
        "split": metrics[0]["split"],
        "dataset": metrics[0]["dataset"],
        "contenders": contenders,
        "pairs": pairs,
        "notes": notes,
    }


def point_tables(compared: dict[str, Any]) -> list[Table]:
    """The results of `compare_points` as tables: the runs, and the pairs."""
    where = f"{compared['dataset']}, {compared['split']}, n = {compared['n']:,}{over_groups(compared)}"
    runs = [
        (one["name"], f"{one['size']} px", with_interval(one["nme_outer_eyes"], one["interval"], ".2f", scale=100))
        for one in compared["contenders"]
    ]
    pairs = [(f"{pair['a']} − {pair['b']}", f"{pair['size']} px", *pair_cells(pair, NME)) for pair in compared["pairs"]]
    return [
        Table(
            f"NME in % of the distance of the outer eye corners, {where}", ("run", "faces of", "NME [95 %]"), runs, 1
        ),
        Table(
            f"differences of NME, {where}",
            ("pair", "faces of", "difference", "95 % interval", "p", "p by Holm", "verdict"),
            pairs,
            1,
        ),
    ]
