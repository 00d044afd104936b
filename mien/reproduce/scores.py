"""The scores of a plan's runs as plain data, from which tables, figures and the page are made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from mien.comparison import Contender, as_one, describe_group, without_copies
from mien.data.labels import FER2013
from mien.experiment.building import build_model
from mien.experiment.schema import load_experiment
from mien.intervals import Counts, Margins, Values, bootstraps, margins, wilson
from mien.metrics.classification import SCORES, class_scores, confusion
from mien.report import wording
from mien.report.reading import read_metrics
from mien.reproduce.paper import BY_CLASS, CLAIMED, MEANS, PARTS, REPORT, STORED, Part, experiment_file
from mien.reproduce.plan import Planned
from mien.runs.predictions import read_predictions
from mien.runs.run import Run
from mien.workspace import Workspace

_KEPT = ("dataset", "split", "n", "contaminated", "overlap", "interval", "clean")


def measured(planned: Planned) -> bool:
    """Whether a run is finished and measured under its own protocol; one on classes under the report's as well.

    A step, which isn't measured, need only be finished.
    """
    run = planned.run
    if planned.part.kind == "step":
        return planned.state == "finished"
    if planned.state != "finished" or run is None or not run.metrics_file("report").is_file():
        return False
    return planned.part.kind == "points" or (run.evaluation(REPORT, None) / "metrics.json").is_file()


def gather(workspace: Workspace, plan: Sequence[Planned]) -> list[dict[str, Any]]:
    """Each part's claims and runs, and the mean over its seeds with sd and 95 % interval.

    `runs` are the measured ones, the first seed first; `missing` says what the others lack. In a part on classes a
    run has `official` and `paper` (metrics of both protocols) and `classes` (`by_class` of each); `seeds` has `n` and
    the scores of `describe_group`, `clean` the same without exact copies. `claimed` is the part's of CLAIMED.
    """
    return [_part(workspace, part, [one for one in plan if one.part == part]) for part in PARTS]


def _part(workspace: Workspace, part: Part, plan: Sequence[Planned]) -> dict[str, Any]:
    there = [one for one in plan if measured(one)]
    found: dict[str, Any] = {
        "name": part.name,
        "title": part.title,
        "kind": part.kind,
        "images": part.images,
        "claim": part.claim,
        "claimed": dict(CLAIMED[part.claim]) if part.claim else None,
        "stored": STORED.get(part.name),
        "optional": part.optional,
        "runs": [_run(one) for one in there],
        "missing": [
            {"run": one.name, **{key: getattr(one, key) for key in ("seed", "state", "why", "failed", "epochs_done")}}
            for one in plan
            if one not in there
        ],
        "seeds": None,
    }
    if there and part.kind not in ("points", "step"):
        contender = contender_of(part.name, plan)
        assert contender is not None
        left = without_copies([contender])
        found["seeds"] = {**_scores(contender), "clean": _scores(left[0]) if left else None}
    return found


def _scores(contender: Contender) -> dict[str, Any]:
    of = describe_group(contender)
    return {"n": of["n"], "split": of["split"], "seeds": of["seeds"], **of["scores"]}


def contender_of(name: str, plan: Sequence[Planned]) -> Contender | None:
    """The measured seeds of a part as one contender; None where there are none.

    They may differ in how precisely they were computed, which `mien.comparison.group` doesn't allow.
    """
    runs = [one.run for one in plan if one.part.name == name and one.run is not None and measured(one)]
    return as_one(name, runs) if runs else None


def _run(planned: Planned) -> dict[str, Any]:
    run = planned.run
    assert run is not None
    made = run.environment
    train = run.experiment.train
    found: dict[str, Any] = {
        "run": run.name,
        "seed": planned.seed,
        "start": start_weights(run),
        "epochs": planned.epochs_done,
        "keep": train.keep,
        "precision": made.get("precision"),
        "device": wording.processor(made),
        "minutes": made.get("duration_s", 0.0) / 60,
        "commit": (made.get("commit") or "")[:10],
        "dataset": made["dataset"]["name"],
        "fingerprint": made["dataset"]["fingerprint"],
        "notes": list(made["dataset"].get("notes", [])),
        "size": run.experiment.dataset.size,
    }
    if planned.part.kind == "step":
        return found
    official = read_metrics(run.metrics_file("report"))
    if planned.part.kind == "points":
        return {**found, "points": official}
    paper = read_metrics(run.evaluation(REPORT, None) / "metrics.json")
    files = {"official": run.predictions("report"), "paper": run.evaluation(REPORT, None) / "predictions.parquet"}
    return {
        **found,
        "official": _kept(official),
        "paper": _kept(paper),
        "seen": _seen(files["paper"], made),
        "classes": {name: _by_class(file) for name, file in files.items()},
    }


def _kept(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's metrics what tables show; a score that an older mien didn't know isn't there."""
    return {key: metrics[key] for key in (*_KEPT, *SCORES) if key in metrics}


def _seen(file: Any, made: Mapping[str, Any]) -> dict[str, Any]:
    """The accuracy on those rows of the report's protocol that the run was trained on, and their number."""
    rows = read_predictions(file)
    fit = made["dataset"]["roles"]["fit"]["split"]
    here = np.array([split == fit for split in rows.splits])
    right = (rows.predicted == rows.labels)[here]
    return {"split": fit, "n": int(here.sum()), "right": int(right.sum()), "accuracy": float(right.mean())}


def _by_class(file: Any) -> list[dict[str, Any]]:
    rows = read_predictions(file)
    return by_class(confusion(rows.labels, rows.predicted, len(rows.classes)), rows.classes)


def by_class(matrix: Counts, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, then their mean ("macro") and their mean by rows ("weighted").

    Each row has `name`, `n`, and for each score its value and 95 % interval, None for a class without rows or
    predictions. Shares have Wilson's interval: precision and recall of a class, and the weighted recall, which is the
    accuracy. The others have the bootstrap's. A class with neither rows nor predictions doesn't count in a mean.

    >>> rows = by_class(np.array([[3, 1], [2, 4]]), ["sad", "happy"])
    >>> [(row["name"], row["n"], round(row["recall"][0], 3)) for row in rows]
    [('sad', 4, 0.75), ('happy', 6, 0.667), ('macro', 10, 0.708), ('weighted', 10, 0.7)]
    """
    k, names = len(classes), [*classes, *MEANS]
    right, support, predicted = margins(matrix)
    values = _all_scores(margins(matrix[None])).reshape(len(BY_CLASS), len(names))
    drawn = iter(bootstraps(matrix, lambda sample: _all_scores(margins(sample))))
    rows: list[dict[str, Any]] = [{"name": name} for name in names]
    for score, of in zip(BY_CLASS, values, strict=True):
        for row, value in zip(rows, of, strict=True):
            row[score] = [float(value), *next(drawn)]
    for place, row in enumerate(rows[:k]):
        hits, n, taken = int(right[place]), int(support[place]), int(predicted[place])
        row["n"] = n
        row["precision"] = [row["precision"][0], *wilson(hits, taken)] if taken else None
        row["recall"] = [row["recall"][0], *wilson(hits, n)] if n else None
        row["f1"] = row["f1"] if n else None
    for row in rows[k:]:
        row["n"] = int(support.sum())
    rows[-1]["recall"][1:] = wilson(int(right.sum()), int(support.sum()))
    return rows


def _all_scores(sums: Margins) -> Values:
    """The scores of classes and their means, (draws, 3 × (k + 2)), of margins (draws, k)."""
    there, any_ = sums.support > 0, (sums.support + sums.predicted) > 0
    found = []
    for score, weights in zip(class_scores(sums), (any_, there, any_), strict=True):
        means = [(score * by).sum(axis=-1) / by.sum(axis=-1) for by in (weights, sums.support)]
        found += [score, np.stack(means, axis=-1)]
    return np.concatenate(found, axis=-1)


def architectures() -> list[dict[str, Any]]:
    """What CNN 1 to 4 are built of, by their experiment files: see the keys.

    `map` and `channels` are the side and the channels of what goes into the first fully connected layer, `layers` the
    outputs of these layers. A part whose file can't be read is left out.
    """
    found = []
    for part in PARTS:
        file = experiment_file(part)
        if part.kind != "cnn" or file is None:
            continue
        experiment = load_experiment(file)
        model = build_model(experiment, FER2013)
        convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
        linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        channels = convolutions[-1].out_channels
        found.append(
            {
                "name": part.name,
                "title": part.title,
                "size": experiment.dataset.size,
                "kernel_size": convolutions[0].kernel_size[0],
                "map": round((linear[0].in_features / channels) ** 0.5),
                "channels": channels,
                "layers": [layer.out_features for layer in linear],
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
            }
        )
    return found


def start_weights(run: Run) -> str:
    """The start weights of a run, in words; a run without a record of them began from random ones."""
    return wording.start_weights(run.environment.get("start_weights") or {"name": "random"})
