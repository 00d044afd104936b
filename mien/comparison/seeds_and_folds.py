"""The scores of several runs of one experiment: of seeds the mean and its spread, of folds one measurement."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.comparison.contenders import Contender, group
from mien.comparison.pairs import describe_group
from mien.errors import FailedError
from mien.files import write_json
from mien.intervals import clusters
from mien.metrics import classification as metrics
from mien.runs.predictions import read_predictions
from mien.runs.rows import copied_rows
from mien.runs.run import Run, find_runs
from mien.tasks import EXPRESSION, require
from mien.workspace import Workspace

Bools = npt.NDArray[np.bool_]
_TWINS = ("clean", "near_clean")


def describe(workspace: Workspace, reference: str) -> dict[str, Any]:
    """The scores of a group that was measured on its reporting role, as plain data.

    `kind` is "seeds" or "folds". Each of `metrics.SCORES` gives `mean`, `sd` and `each` over the runs, and the 95 %
    `interval`. That of seeds is the interval of the mean, as if seeds and rows had both been drawn from many. Of folds,
    `mean` and `interval` are of all rows together, each predicted by the run that wasn't trained on it.
    `clean` and `near_clean` give `n` and the same without exact and without near copies of what the runs have seen.
    `groups` says over how many groups of rows, by the column `grouped_by`, intervals are; None for rows. Of seeds,
    `overlap` says what they all have seen of the rows, as in a run's metrics.
    Raises MienError for a run that isn't measured and for runs that are no group.
    """
    runs = find_runs(workspace, reference)
    for run in runs:
        require(run.task, EXPRESSION, run.name, str(run.folder))
    measured = [run.measured() for run in runs]
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
    copied = [copied_rows(run) for run in runs]
    folds = [run.content["protocol"].get("fold") for run in runs]
    if len(set(folds)) > 1:
        scores = _of_folds(runs, [None] * len(runs))
        twins = {name: _of_folds(runs, [one[i] for one in copied]) for i, name in enumerate(_TWINS)}
        return {"kind": "folds", **about, **(scores or {}), **twins}
    together = group(reference, runs)
    # All seeds have the same roles.
    twins = {name: _of_seeds(together, mask) for name, mask in zip(_TWINS, copied[0], strict=True)}
    about["overlap"] = first.get("overlap")
    return {"kind": "seeds", **about, **(_of_seeds(together, np.zeros(len(together.runs[0]), bool)) or {}), **twins}


def _of_seeds(together: Contender, copied: Bools | None) -> dict[str, Any] | None:
    """The scores of seeds on the rows without copies; None where copies weren't looked for, or no row is left."""
    if copied is None or copied.all():
        return None
    left = np.flatnonzero(~copied).tolist()
    found = describe_group(replace(together, runs=tuple(run.take(left) for run in together.runs)))
    return {"n": found["n"], "groups": found["groups"], "grouped_by": found["grouped_by"], **found["scores"]}


def _of_folds(runs: list[Run], copied: Sequence[Bools | None]) -> dict[str, Any] | None:
    """The scores of all folds together, on the rows that aren't copied; None where no row is left."""
    parts = [read_predictions(run.predictions("report")) for run in runs]
    rows = [row for part in parts for row in part.rows]
    if len(set(rows)) < len(rows):
        raise FailedError(f"{len(rows) - len(set(rows)):,} rows are reported on by more than one of {len(runs)} folds")
    parts = [
        part if mask is None else part.take(np.flatnonzero(~mask).tolist())
        for part, mask in zip(parts, copied, strict=True)
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    each = [metrics.measure(part.labels, part.logits, part.classes) for part in parts]
    labels, logits = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "logits"))
    people = [part.people for part in parts if part.people is not None]
    whole = len(people) == len(parts)
    groups = clusters([name for of in people for name in of.names]) if whole else None
    pooled = metrics.measure(labels, logits, parts[0].classes, groups)
    scores = {
        key: {
            "mean": pooled[key],
            "sd": float(np.std([one[key] for one in each], ddof=1)) if len(each) > 1 else None,
            "each": [one[key] for one in each],
            "interval": pooled["interval"][key],
        }
        for key in metrics.SCORES
    }
    return {"n": pooled["n"], "groups": pooled["groups"], "grouped_by": people[0].column if whole else None, **scores}


def publish_group(workspace: Workspace, reference: str, folder: Path) -> dict[str, Any]:
    """Write the public part of a group into a folder: `group.json`, and the first run's experiment and environment.

    Raises MienError for a folder that `Workspace.publishing` refuses.
    """
    with workspace.publishing(folder) as new:
        found = describe(workspace, reference)
        first = find_runs(workspace, reference)[0]
        shutil.copyfile(first.experiment_file, new / "experiment.yaml")
        write_json(new / "environment.json", first.environment)
        write_json(new / "group.json", found)
    return found
