"""Evaluation: a run's logits on a role, and the numbers made of them. The one place that opens the report role."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mien import environment, metrics
from mien.batches import Batches, Samples, epoch_order
from mien.building import build_roles, build_samples
from mien.dataset import open_dataset
from mien.errors import MienError
from mien.files import replacing, write_json
from mien.progress import progress
from mien.protocols import Role, contamination
from mien.run import Run
from mien.training import EVALUATION_BATCH
from mien.weights import Trained, load_weights
from mien.workspace import Workspace


def evaluate(workspace: Workspace, run: Run, role: Role = "report") -> dict[str, Any]:
    """Measure a finished run on a role of its protocol; writes the predictions and the metrics into the run.

    Returns what `metrics.json` holds. Raises MienError for a run without weights or a data set that has changed.
    """
    experiment = run.experiment
    if not run.weights.exists():
        raise MienError(
            f"run {run.name} is {run.state} and has no weights",
            file=str(run.folder),
            expected=f"a finished run: mien train --resume {run.name}",
        )
    dataset = open_dataset(workspace, experiment.dataset.name)
    made = run.environment
    if dataset.card.fingerprint != made["dataset"]["fingerprint"]:
        raise MienError(
            f"data set '{dataset.card.name}' isn't the one that run {run.name} was trained on",
            file=str(dataset.folder),
            expected=f"fingerprint {made['dataset']['fingerprint'][:16]}, but it is {dataset.card.fingerprint[:16]}",
        )
    device = environment.device("auto")
    trained = load_weights(run.weights, experiment, device)
    roles = build_roles(experiment, dataset)
    samples = build_samples(experiment, dataset, roles, role, trained.names)
    logits = predict(trained, samples, device, f"{run.name} on {role}")
    _write_predictions(run, role, samples, logits, trained.names.classes)
    measured = {
        "run": run.name,
        "dataset": dataset.card.name,
        "labels": trained.names.name,
        "protocol": experiment.protocol.called,
        "role": role,
        "split": " + ".join(part.split for part in roles.of(role)),
        **metrics.measure(samples.labels, logits, trained.names.classes),
        "contaminated": contamination(dataset, roles) if role == "report" else 0.0,
        "tta": "none",
        "seeds": [experiment.train.seed],
    }
    write_json(run.metrics_file(role), measured)
    return measured


def predict(trained: Trained, samples: Samples, device: str, what: str) -> npt.NDArray[np.float32]:
    """Logits of all rows of a role, float32 (rows, classes), in their order."""
    out = []
    order = epoch_order(len(samples), shuffle=False, seed=0, epoch=0)
    with progress(what, len(samples)) as advance:
        for batch in Batches(samples, EVALUATION_BATCH, order):
            out.append(trained.logits(batch.images.to(device)).cpu())
            advance(len(batch.labels))
    logits: npt.NDArray[np.float32] = torch.cat(out).numpy()
    return logits


def _write_predictions(
    run: Run, role: Role, samples: Samples, logits: npt.NDArray[np.float32], classes: tuple[str, ...]
) -> None:
    columns = {
        "id": pa.array(samples.ids.tolist(), pa.string()),
        "split": pa.array([samples.splits[part] for part in samples.part], pa.string()),
        "label": pa.array(samples.labels, pa.int64()),
        **{name: pa.array(logits[:, index], pa.float32()) for index, name in enumerate(classes)},
    }
    with replacing(run.predictions(role)) as temporary:
        pq.write_table(pa.table(columns), temporary)
