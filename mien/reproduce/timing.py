"""Estimates how long the remaining runs take on this machine: by earlier runs here, else by timing a few steps."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from mien import environment
from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.experiment.building import (
    build_model,
    build_optimizer,
    build_pipeline,
    build_roles,
    input_shape,
    scheme_for,
)
from mien.experiment.schema import Experiment
from mien.protocols import Part
from mien.reproduce.paper import CUTS
from mien.reproduce.plan import Planned, dataset_of
from mien.runs.run import list_runs
from mien.workspace import Workspace

_SECONDS = 1.0
# Images that are only looked at pass so many times faster than those that are learned from.
_LOOKED_AT = 3


class Minutes(NamedTuple):
    """An estimate in minutes, and what it is by: "a run here" or "a few steps now"."""

    value: float
    by: str


def estimates(workspace: Workspace, plan: Sequence[Planned]) -> dict[str, Minutes]:
    """The time of each run of a plan that has epochs left, by its name; without runs whose speed isn't known.

    Cutting data sets and measuring aren't counted. Early stopping may end a run sooner.
    """
    rates = _rates(workspace)
    found = {}
    for planned in plan:
        if planned.experiment is None or planned.state in ("finished", "left out"):
            continue
        rows = _rows(workspace, planned.experiment)
        if rows is None:
            continue
        key = _key(planned.experiment, _machine())
        if key not in rates:
            rates[key] = _timed(planned.experiment), "a few steps now"
        rate, by = rates[key]
        epochs = planned.experiment.train.epochs - planned.epochs_done
        found[planned.name] = Minutes(max(epochs, 0) * (rows[0] + rows[1] / _LOOKED_AT) / rate / 60, by)
    return found


def _machine() -> dict[str, Any]:
    device = environment.device("auto")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": environment.describe()["cpu"], "cores": os.cpu_count(), "gpus": gpus, "device": device}


def _key(experiment: Experiment, machine: Mapping[str, Any]) -> str:
    """What the speed of training depends on, as text."""
    precision = environment.precision(experiment.train.precision, machine["device"])
    return json.dumps(
        [
            experiment.model.model_dump(mode="json", exclude={"pretrained"}),
            input_shape(experiment),
            experiment.train.batch_size,
            [op.called for op in experiment.augment],
            precision,
            machine,
        ]
    )


def _rates(workspace: Workspace) -> dict[str, tuple[float, str]]:
    """Images a second of the workspace's runs that were trained on a machine like this one."""
    here, found = _machine(), {}
    for run in list_runs(workspace):
        try:
            made = run.environment
            if made.get("images_per_second") and {name: made.get(name) for name in here} == here:
                found[_key(run.experiment, here)] = made["images_per_second"], "a run here"
        except (MienError, OSError, ValueError, KeyError, RuntimeError):
            continue
    return found


def _rows(workspace: Workspace, experiment: Experiment) -> tuple[int, int] | None:
    """The numbers of fit and choose rows; for a data set that isn't cut yet, those of its parent."""
    name = experiment.dataset.name
    dataset = dataset_of(workspace, name)
    if dataset is None and name in CUTS:
        dataset = dataset_of(workspace, CUTS[name][0])
    if dataset is None:
        return None
    roles = build_roles(experiment, dataset)
    return _count(dataset, roles.fit), _count(dataset, roles.choose)


def _count(dataset: Dataset, parts: Sequence[Part]) -> int:
    return sum(dataset.rows(part.split) if part.index is None else len(part.index) for part in parts)


def _timed(experiment: Experiment) -> float:
    """Images a second of training steps on random pixels, after one to warm up."""
    device = environment.device(experiment.train.device)
    half = environment.precision(experiment.train.precision, device) == "bfloat16"
    section = experiment.dataset
    model = build_model(experiment, scheme_for(experiment, None)).to(device).train()
    optimizer, preprocess = build_optimizer(experiment, model), build_pipeline(experiment.preprocess)
    batch = experiment.train.batch_size
    images = torch.randint(0, 256, (batch, 1 if section.color == "gray" else 3, section.size, section.size))
    images = images.to(device, torch.float32, memory_format=torch.channels_last)
    started, steps = 0.0, -1
    while steps < 1 or time.monotonic() - started < _SECONDS:
        if steps == 0:
            started = time.monotonic()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            ready, _ = preprocess(images)
            loss = model(ready.contiguous(memory_format=torch.channels_last)).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        steps += 1
    return batch * steps / (time.monotonic() - started)
