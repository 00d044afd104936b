"""A run's logits on a role, and the numbers made of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mien.data import votes as raters
from mien.data.dataset import Dataset
from mien.data.labels import FERPLUS_VOTES
from mien.errors import MienError
from mien.evaluation import slices
from mien.evaluation.request import (
    Bools,
    Request,
    about,
    copied,
    open_role,
    people_of,
    predict,
    store_seen,
    what_was_seen,
)
from mien.experiment.building import left_out
from mien.files import replacing, write_json
from mien.inference.foreign import StoredPredictions
from mien.inference.model import Model, own_weights
from mien.inference.tta import views
from mien.inference.weights import read_header, store_temperature
from mien.intervals import Counts
from mien.metrics import classification as metrics
from mien.metrics.calibration import fit_temperature, measure_calibration
from mien.protocols import Role
from mien.protocols.batches import Samples, load
from mien.registry import Component
from mien.runs.model_file import ModelFile
from mien.runs.predictions import People, Predictions, read_foreign, with_people
from mien.runs.run import Run
from mien.workspace import Workspace

Logits = npt.NDArray[np.float32]

# By these columns of a data set every measurement is parted, where the set has them.
_PARTED_BY = ("agreement", "source", "subject_group")


def measure_classes(
    workspace: Workspace,
    run: Run | ModelFile,
    role: Role,
    protocol: Component | None,
    dataset: str | None,
    command: Sequence[str],
) -> dict[str, Any]:
    """What `evaluate` does for a run whose task is expression.

    On the choose role the run's temperature is fitted and, when the metrics are written, stored with its weights.
    """
    if isinstance(run, Run) and role == "report":
        fitted = read_header(own_weights(run)).get("temperature") is not None
        if not (fitted and run.metrics_file("choose").is_file()):
            measure_classes(workspace, run, "choose", None, None, ())
    opened = open_role(workspace, run, role, read_classes, protocol=protocol, dataset=dataset, command=command)
    model, request, samples = opened.model, opened.request, opened.samples[0]
    classes = model.scheme.classes
    measured = {**about(opened), "labels": model.scheme.name}
    if isinstance(model.backend, StoredPredictions):
        logits = _stored(model.backend.file, samples, classes)
    else:
        logits = predict(model, samples, f"{run.name} on {request.dataset.card.name}, {request.splits}")
    people = people_of(request, samples)
    groups = None if people is None else people.groups
    _write_predictions(request.predictions, samples, logits, classes, people)
    seen = opened.seen
    masks = copied(samples, seen)
    if isinstance(run, ModelFile):
        store_seen(opened, masks[0])
    measured |= {**_scores(samples, logits, classes, masks, groups), "grouped_by": people and people.column}
    measured |= {**what_was_seen(opened, seen), "tta": None}
    kind = model.tta
    if role == "report" and kind != "none":
        averaged = predict(model, samples, f"{run.name} with {kind}", kind)
        file = request.predictions.with_stem(f"{request.predictions.stem}-tta")
        _write_predictions(file, samples, averaged, classes, people)
        measured["tta"] = {
            "name": kind,
            "views": len(list(views(torch.zeros(1, 1, 8, 8), kind))),
            **_scores(samples, averaged, classes, masks, groups),
        }
    temperature = model.temperature or 1.0
    if isinstance(run, Run) and role == "choose":
        temperature = fit_temperature(logits, samples.labels)
    measured |= {
        "calibration": {
            "temperature": temperature,
            "before": measure_calibration(samples.labels, logits, groups=groups),
            "after": measure_calibration(samples.labels, logits, temperature, groups),
        },
        "votes": _votes(request.dataset, samples, logits / temperature, classes),
        "slices": _slices(request.dataset, samples, logits, classes, groups),
        "dropped": _dropped(request, model),
        "crop": request.dataset.card.details.get("crop"),
    }
    write_json(request.metrics, measured)
    if isinstance(run, Run) and role == "choose":
        store_temperature(run.weights, temperature)
    return measured


def read_classes(request: Request, model: Model) -> tuple[Samples]:
    """The rows of a request whose class the model knows, at its size and colour."""
    samples = load(request.dataset, request.parts, model.size, model.color, model.scheme)
    if len(samples) == 0:
        raise MienError(f"the {request.role} role has no rows whose class the model knows", key="protocol")
    return (samples,)


def _stored(file: Path, samples: Samples, classes: tuple[str, ...]) -> Logits:
    """The logits of the rows in someone else's file of predictions."""
    ids, splits = tuple(samples.ids.tolist()), tuple(samples.splits[part] for part in samples.part)
    like = Predictions(file, ids, splits, samples.labels, np.empty((len(samples), 0)), classes)
    return np.asarray(read_foreign(file, like)[0].logits, np.float32)


def _scores(
    samples: Samples,
    logits: Logits,
    classes: tuple[str, ...],
    copied: tuple[Bools | None, Bools | None],
    groups: Counts | None,
) -> dict[str, Any]:
    """The scores of all rows, and again without exact and without near copies of rows that the model has seen."""

    def measure(rows: Any) -> dict[str, Any]:
        own = None if groups is None else groups[rows]
        return metrics.measure(samples.labels[rows], logits[rows], classes, own)

    twins = {}
    for name, mask in zip(("clean", "near_clean"), copied, strict=True):
        left = None if mask is None or mask.all() else ~mask
        twins[name] = None if left is None else measure(left)
    return {**measure(slice(None)), **twins}


def _votes(dataset: Dataset, samples: Samples, logits: Logits, classes: tuple[str, ...]) -> dict[str, Any] | None:
    if "votes" not in dataset.card.columns:
        return None
    by_split = {split: raters.read_votes(dataset, split) for split in dict.fromkeys(samples.splits)}
    votes = np.empty((len(samples), len(FERPLUS_VOTES)), np.int64)
    for number, split in enumerate(samples.splits):
        here = samples.part == number
        votes[here] = by_split[split][samples.place[here]]
    return raters.measure(votes, samples.labels, logits, classes)


def _slices(
    dataset: Dataset, samples: Samples, logits: Logits, classes: tuple[str, ...], groups: Counts | None
) -> dict[str, Any]:
    columns = set(dataset.card.columns) | ({"agreement"} if "votes" in dataset.card.columns else set())
    rows = [(samples.splits[part], id_) for part, id_ in zip(samples.part, samples.ids.tolist(), strict=True)]
    return {
        column: slices.slices(samples.labels, logits, classes, slices.read_column(dataset, column, rows), groups=groups)
        for column in _PARTED_BY
        if column in columns
    }


def _dropped(request: Request, model: Model) -> dict[str, Any]:
    """Rows that have no class of the model, by class or by why their raters agree on none."""
    found = left_out(request.dataset, request.parts, model.scheme)
    return {"rows": sum(found.values()), "classes": found}


def _write_predictions(
    file: Path, samples: Samples, logits: Logits, classes: tuple[str, ...], people: People | None
) -> None:
    columns = {
        "id": pa.array(samples.ids.tolist(), pa.string()),
        "split": pa.array([samples.splits[part] for part in samples.part], pa.string()),
        "label": pa.array(samples.labels, pa.int64()),
        **{name: pa.array(logits[:, index], pa.float32()) for index, name in enumerate(classes)},
    }
    with replacing(file) as temporary:
        pq.write_table(with_people(pa.table(columns), people), temporary)
