"""Compares landmark models: paired differences of their errors on the same faces, at each size."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mien.comparison.pairs import UNDECIDED
from mien.comparison.tables import Table, p_value
from mien.errors import MienError
from mien.intervals import CONFIDENCE, holm, with_interval
from mien.metrics.nme import image_errors, measure_points, paired
from mien.runs.predictions import SIZES, read_points
from mien.runs.run import Run


def compare_points(runs: Sequence[Run]) -> dict[str, Any]:
    """All pairs of two or more landmark runs that were measured on the same faces, as plain data.

    `contenders` gives for each run and size its `name`, `size`, `nme_outer_eyes` and `interval`. `pairs` gives `a`,
    `b`, `size`, `n`, `split`, `difference` (the mean error of a less that of b, as a share of the distance of the outer
    eye corners), `interval` (95 %), `p`, `p_holm` (over all pairs) and `verdict`; see `mien.metrics.nme.paired`.
    Raises MienError for runs that aren't measured, or on other faces.
    """
    if len(runs) < 2:
        raise MienError("there is nothing to compare with", expected="two landmark runs or more")
    measured = [_measured(run) for run in runs]
    contenders, pairs = [], []
    for size in SIZES:
        errors = {}
        for run in runs:
            rows, true, predicted = read_points(run.predictions("report"), size)
            if run is runs[0]:
                first = (rows, true)
            if rows != first[0] or not np.allclose(true, first[1], atol=1e-6):
                raise MienError(
                    f"runs {runs[0].name} and {run.name} were measured on other faces",
                    expected="runs with the same report rows",
                )
            errors[run.name] = image_errors(predicted, true)
            whole = measure_points(predicted, true)
            about = {"name": run.name, "size": size, "nme_outer_eyes": whole["nme_outer_eyes"]}
            contenders.append({**about, "interval": whole["interval"]["nme_outer_eyes"]})
        for a, b in combinations(errors, 2):
            found = paired(errors[a], errors[b])
            pairs.append(
                {
                    "a": a,
                    "b": b,
                    "size": size,
                    "n": len(errors[a]),
                    "split": measured[0]["split"],
                    "difference": found.value,
                    "interval": list(found.interval),
                    "p": found.p,
                }
            )
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        better = pair["a"] if pair["difference"] < 0 else pair["b"]
        pair |= {"p_holm": p, "verdict": f"{better} is better" if p < 1 - CONFIDENCE else UNDECIDED}
    return {
        "task": "landmarks",
        "n": pairs[0]["n"],
        "split": measured[0]["split"],
        "dataset": measured[0]["dataset"],
        "contenders": contenders,
        "pairs": pairs,
        "notes": [f"{run.name}: {one['limits']}" for run, one in zip(runs, measured, strict=True) if one["limits"]],
    }


def _measured(run: Run) -> dict[str, Any]:
    found = run.measured()
    if found.get("task") != "landmarks":
        raise MienError(
            f"run {run.name} is on expressions", file=str(run.folder), expected="landmark runs, as the others are"
        )
    return found


def point_tables(compared: dict[str, Any]) -> list[Table]:
    """The results of `compare_points` as tables: the runs, and the pairs."""
    where = f"{compared['dataset']}, {compared['split']}, n = {compared['n']:,}"
    runs = [
        (
            one["name"],
            f"{one['size']} px",
            with_interval(one["nme_outer_eyes"], one["interval"], ".2f", scale=100),
        )
        for one in compared["contenders"]
    ]
    pairs = [
        (
            f"{pair['a']} − {pair['b']}",
            f"{pair['size']} px",
            f"{100 * pair['difference']:+.2f}",
            " to ".join(f"{100 * end:+.2f}" for end in pair["interval"]),
            p_value(pair["p"]),
            p_value(pair["p_holm"]),
            pair["verdict"],
        )
        for pair in compared["pairs"]
    ]
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
