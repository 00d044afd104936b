"""What several runs of one experiment come to: seeds as a mean with its spread, folds as one measurement."""

from pathlib import Path
from typing import Any

import numpy as np

from mien import metrics
from mien.comparison.contenders import group
from mien.comparison.pairs import describe_group
from mien.errors import FailedError, MienError
from mien.files import read_json, write_json, write_text
from mien.predictions import read_predictions
from mien.run import Run, find_runs
from mien.workspace import Workspace
from mien.yamlfile import read_yaml


def describe(workspace: Workspace, reference: str) -> dict[str, Any]:
    """The scores of a group that was measured on its reporting role, as plain data.

    `kind` is "seeds" or "folds". Each of `metrics.SCORES` that the kind has gives `mean`, `sd` and `each` over the
    runs, and the 95 % `interval`: of seeds that of the mean, as if seeds and rows had both been drawn from many; of
    folds that of all rows together, each predicted by the run that wasn't trained on it, and `mean` is their score.
    Raises MienError for a run that isn't measured and for runs that are no group.
    """
    runs = find_runs(workspace, reference)
    measured = [_measured(run) for run in runs]
    first = measured[0]
    about = {
        "name": reference,
        "experiment": runs[0].folder.parent.name,
        "runs": [run.name for run in runs],
        "seeds": sorted({seed for one in measured for seed in one["seeds"]}),
        "split": " + ".join(dict.fromkeys(split for one in measured for split in one["split"].split(" + "))),
        **{key: first[key] for key in ("protocol", "dataset", "labels")},
        "contaminated": max(one["contaminated"] for one in measured),
    }
    folds = [read_yaml(run.experiment_file)[0]["protocol"].get("fold") for run in runs]
    if len(set(folds)) > 1:
        return {"kind": "folds", **about, **_pooled(runs, measured)}
    found = describe_group(group(reference, runs))
    return {"kind": "seeds", **about, "n": found["n"], **found["scores"]}


def _measured(run: Run) -> dict[str, Any]:
    if not run.metrics_file("report").is_file():
        raise MienError(
            f"run {run.name} has not been measured on its reporting role", expected=f"mien evaluate {run.name} first"
        )
    found: dict[str, Any] = read_json(run.metrics_file("report"))
    return found


def _pooled(runs: list[Run], measured: list[dict[str, Any]]) -> dict[str, Any]:
    parts = [read_predictions(run.predictions("report")) for run in runs]
    rows = [row for part in parts for row in part.rows]
    if len(set(rows)) < len(rows):
        raise FailedError(f"{len(rows) - len(set(rows)):,} rows are reported on by more than one of {len(runs)} folds")
    classes = parts[0].classes
    labels, logits = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "logits"))
    pooled = metrics.measure(labels, logits, classes)
    scores = {
        key: {
            "mean": pooled[key],
            "sd": float(np.std([one[key] for one in measured], ddof=1)),
            "each": [one[key] for one in measured],
            "interval": pooled["interval"][key],
        }
        for key in metrics.SCORES
    }
    return {"n": pooled["n"], **scores}


def publish_group(workspace: Workspace, reference: str, folder: Path) -> dict[str, Any]:
    """Write what can be shown of a group into a folder: `group.json`, the experiment and the environment of its first.

    Raises MienError where the folder holds something else.
    """
    found = describe(workspace, reference)
    first = find_runs(workspace, reference)[0]
    if folder.exists() and not (folder / "group.json").exists() and any(folder.iterdir()):
        raise MienError("this folder holds something else", file=str(folder), expected="a new or published folder")
    write_text(folder / "experiment.yaml", first.experiment_file.read_text(encoding="utf-8"))
    write_json(folder / "environment.json", first.environment)
    write_json(folder / "group.json", found)
    return found
