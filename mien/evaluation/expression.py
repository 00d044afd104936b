"""A run's logits on a role, and the numbers made of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mien import environment
from mien.data import votes as raters
from mien.data.dataset import Dataset
from mien.data.labels import FERPLUS_VOTES
from mien.errors import MienError
from mien.evaluation import slices
from mien.evaluation.request import (
    Asked,
    Bools,
    about,
    ask,
    copied,
    own_dataset,
    own_roles,
    own_weights,
    record,
    what_was_seen,
)
from mien.experiment.building import build_samples, left_out, scheme_for
from mien.files import replacing, write_json
from mien.inference.tta import VIEWS, mean_logits, views
from mien.inference.weights import Trained, store_temperature
from mien.metrics import classification as metrics
from mien.metrics.calibration import fit_temperature, measure_calibration
from mien.progress import progress
from mien.protocols import Role, overlap
from mien.protocols.batches import EVALUATION_BATCH, Batches, Samples, epoch_order, load
from mien.registry import Component
from mien.runs.run import Run
from mien.workspace import Workspace

Logits = npt.NDArray[np.float32]

# By these columns of a data set every measurement is parted, where the set has them.
_PARTED_BY = ("agreement", "source", "subject_group")


def measure_classes(
    workspace: Workspace,
    run: Run,
    role: Role,
    protocol: Component | None,
    dataset: str | None,
    command: Sequence[str],
) -> dict[str, Any]:
    """What `evaluate` does for a run whose task is expression.

    On the choose role the run's temperature is fitted and stored with its weights.
    """
    device = environment.device("auto")
    trained = own_weights(run, device)
    own = own_dataset(workspace, run)
    if role == "report" and trained.temperature is None:
        measure_classes(workspace, run, "choose", None, None, ())
        trained = own_weights(run, device)
    roles = own_roles(run, own)
    asked = ask(workspace, run, own, roles, role, protocol, dataset)
    section = run.experiment.dataset
    samples = load(asked.dataset, asked.parts, section.size, section.color, trained.names)
    if len(samples) == 0:
        raise MienError(f"the {role} role has no rows whose class the model knows", key="protocol")
    measured = {**about(run, asked, role, len(samples)), "labels": trained.names.name}
    if role == "report":
        record(workspace, run, asked, len(samples), command)
    logits = predict(trained, samples, device, f"{run.name} on {asked.dataset.card.name}, {measured['split']}")
    _write_predictions(asked.predictions, samples, logits, trained.names.classes)
    seen = overlap(own, roles, asked.parts, asked.dataset) if role == "report" else None
    masks = copied(samples, seen)
    measured |= _scores(samples, logits, trained.names.classes, masks)
    measured |= {**what_was_seen(run, seen), "tta": None}
    kind = run.experiment.tta
    if role == "report" and kind != "none":
        averaged = predict(trained, samples, device, f"{run.name} with {kind}", _by_views(trained, kind))
        _write_predictions(
            asked.predictions.with_stem(f"{asked.predictions.stem}-tta"), samples, averaged, trained.names.classes
        )
        measured["tta"] = {
            "name": kind,
            "views": VIEWS[kind],
            **_scores(samples, averaged, trained.names.classes, masks),
        }
    temperature = trained.temperature or 1.0
    if role == "choose":
        temperature = fit_temperature(logits, samples.labels)
        store_temperature(run.weights, temperature)
    measured |= {
        "calibration": {
            "temperature": temperature,
            "before": measure_calibration(samples.labels, logits),
            "after": measure_calibration(samples.labels, logits, temperature),
        },
        "votes": _votes(asked.dataset, samples, logits / temperature, trained.names.classes),
        "slices": _slices(asked.dataset, samples, logits, trained.names.classes),
        "dropped": _dropped(asked, trained),
        "crop": asked.dataset.card.details.get("crop"),
    }
    write_json(asked.metrics, measured)
    return measured


def copied_rows(workspace: Workspace, run: Run) -> tuple[Bools | None, Bools | None]:
    """Of the report rows of a run's own protocol, in order, which it has seen as exact and as near copies, (n,) each.

    Near ones are None where nobody looked for them.
    """
    dataset = own_dataset(workspace, run)
    roles = own_roles(run, dataset)
    samples = build_samples(run.experiment, dataset, roles, "report", scheme_for(run.experiment, dataset))
    return copied(samples, overlap(dataset, roles, roles.report))


def predict(
    trained: Trained,
    samples: Samples,
    device: str,
    what: str,
    logits_of: Callable[[Tensor], Tensor] | None = None,
) -> Logits:
    """Logits of all rows of a role, float32 (rows, classes), in their order; `logits_of` for other than the model's."""
    out = []
    order = epoch_order(len(samples), shuffle=False, seed=0, epoch=0)
    with progress(what, len(samples)) as advance:
        for batch in Batches(samples, EVALUATION_BATCH, order):
            out.append((logits_of or trained.logits)(batch.images.to(device)).cpu())
            advance(len(batch.labels))
    return np.asarray(torch.cat(out).numpy())


def _by_views(trained: Trained, kind: str) -> Callable[[Tensor], Tensor]:
    def logits(images: Tensor) -> Tensor:
        return mean_logits([trained.logits(view) for view in views(images.float(), kind)])

    return logits


def _scores(
    samples: Samples, logits: Logits, classes: tuple[str, ...], masks: tuple[Bools | None, Bools | None]
) -> dict[str, Any]:
    """The scores of all rows, and again without exact and without near copies of rows that the model has seen."""
    twins = {}
    for name, mask in zip(("clean", "near_clean"), masks, strict=True):
        left = None if mask is None or mask.all() else ~mask
        twins[name] = None if left is None else metrics.measure(samples.labels[left], logits[left], classes)
    return {**metrics.measure(samples.labels, logits, classes), **twins}


def _votes(dataset: Dataset, samples: Samples, logits: Logits, classes: tuple[str, ...]) -> dict[str, Any] | None:
    if "votes" not in dataset.card.columns:
        return None
    by_split = {split: raters.read_votes(dataset, split) for split in dict.fromkeys(samples.splits)}
    votes = np.empty((len(samples), len(FERPLUS_VOTES)), np.int64)
    for number, split in enumerate(samples.splits):
        here = samples.part == number
        votes[here] = by_split[split][samples.place[here]]
    return raters.measure(votes, samples.labels, logits, classes)


def _slices(dataset: Dataset, samples: Samples, logits: Logits, classes: tuple[str, ...]) -> dict[str, Any]:
    columns = set(dataset.card.columns) | ({"agreement"} if "votes" in dataset.card.columns else set())
    rows = [(samples.splits[part], id_) for part, id_ in zip(samples.part, samples.ids.tolist(), strict=True)]
    return {
        column: slices.slices(samples.labels, logits, classes, slices.read_column(dataset, column, rows))
        for column in _PARTED_BY
        if column in columns
    }


def _dropped(asked: Asked, trained: Trained) -> dict[str, Any]:
    """Rows that have no class of the model, by class or by why their raters agree on none."""
    found = left_out(asked.dataset, asked.parts, trained.names)
    return {"rows": sum(found.values()), "classes": found}


def _write_predictions(file: Path, samples: Samples, logits: Logits, classes: tuple[str, ...]) -> None:
    columns = {
        "id": pa.array(samples.ids.tolist(), pa.string()),
        "split": pa.array([samples.splits[part] for part in samples.part], pa.string()),
        "label": pa.array(samples.labels, pa.int64()),
        **{name: pa.array(logits[:, index], pa.float32()) for index, name in enumerate(classes)},
    }
    with replacing(file) as temporary:
        pq.write_table(pa.table(columns), temporary)
