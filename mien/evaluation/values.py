"""A run's outputs on a role and what each row is measured by: how tasks are measured that say no other way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mien.errors import MienError
from mien.evaluation.request import Request, about, copied, open_role, people_of, predict, what_was_seen
from mien.files import replacing, write_json
from mien.inference.model import Model
from mien.intervals import Values
from mien.metrics.rows import measure_rows
from mien.parquet import read_table
from mien.protocols import Role
from mien.protocols.batches import Samples
from mien.registry import Component
from mien.runs.predictions import People, with_people
from mien.runs.run import Run
from mien.tasks.base import targets_of
from mien.workspace import Workspace


def measure_values(
    workspace: Workspace,
    run: Run,
    role: Role,
    protocol: Component | None,
    dataset: str | None,
    command: Sequence[str],
) -> dict[str, Any]:
    """What `evaluate` does for a task that is measured by the numbers of each row that `Task.row_scores` gives."""
    task, section, targets = run.experiment.task, run.experiment.dataset, targets_of(run.experiment.loss)

    def read(request: Request, model: Model) -> tuple[Samples]:
        task.check_data(request.dataset, targets)
        samples = task.samples(request.dataset, request.parts, role, section.size, section.color, model.scheme, targets)
        if len(samples) == 0:
            raise MienError(f"the {role} role has no rows", key="protocol")
        return (samples,)

    opened = open_role(workspace, run, role, read, protocol=protocol, dataset=dataset, command=command)
    model, request, samples = opened.model, opened.request, opened.samples[0]
    outputs = torch.from_numpy(predict(model, samples, f"{run.name} on {request.splits}"))
    batch = samples.batch(np.arange(len(samples)), pixels=False)
    true = task.batch_targets(targets, batch, samples.pixels[0].shape[1])
    scores = {name: of.double().numpy() for name, of in task.row_scores(outputs, true, batch.labels).items()}
    seen = opened.seen
    exact, _ = copied(samples, seen)
    unseen = None if exact is None or exact.all() else ~exact
    people = people_of(request, samples)
    groups = None if people is None else people.groups
    measured = {
        **about(opened),
        **task.about,
        "limits": model.limits,
        **measure_rows(scores, groups),
        "grouped_by": people and people.column,
        "clean": None
        if unseen is None
        else measure_rows(
            {name: of[unseen] for name, of in scores.items()}, None if groups is None else groups[unseen]
        ),
        **what_was_seen(opened, seen),
    }
    _write_rows(request.predictions, samples, outputs, true, scores, people)
    write_json(request.metrics, measured)
    return measured


def _write_rows(
    file: Path,
    samples: Samples,
    outputs: Tensor,
    true: Tensor,
    scores: Mapping[str, Values],
    people: People | None,
) -> None:
    """Split and id of each row, what is true of it, what was predicted, and what it is measured by."""
    columns = {
        "split": pa.array([samples.splits[part] for part in samples.part], pa.string()),
        "id": pa.array(samples.ids.tolist(), pa.string()),
        "true": pa.array(true.reshape(len(true), -1).tolist(), pa.list_(pa.float32())),
        "predicted": pa.array(outputs.reshape(len(outputs), -1).tolist(), pa.list_(pa.float32())),
        **{name: pa.array(of, pa.float64()) for name, of in scores.items()},
    }
    with replacing(file) as temporary:
        pq.write_table(with_people(pa.table(columns), people), temporary)


def read_scores(file: Path, name: str) -> tuple[list[tuple[str, str]], Values]:
    """Split and id of each row of a stored evaluation, and what it is measured by under a name, float64 (n,)."""
    table = read_table(file, ["split", "id", name], "the predictions")
    rows = list(zip(table["split"].to_pylist(), table["id"].to_pylist(), strict=True))
    return rows, np.asarray(table[name].to_numpy(), dtype=np.float64)
