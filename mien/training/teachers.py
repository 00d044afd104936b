"""Teachers of a distillation: trained runs that see the same images as the model that learns from them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.experiment.building import scheme_for
from mien.experiment.schema import Experiment
from mien.inference.network import Network, load_network
from mien.runs.run import Run, find_runs
from mien.workspace import Workspace

KEY = "loss.teacher"


class Teachers(nn.Module):
    """Several networks' mean probabilities, softmax over `temperature`; their weights never change."""

    def __init__(self, networks: Sequence[Network], temperature: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network.requires_grad_(False).eval() for network in networks)
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, float32 (n, classes), of images (n, c, h, w) with values 0 … 255."""
        told = [torch.softmax(network(images) / self.temperature, dim=1) for network in self.networks]
        return torch.stack(told).mean(dim=0)


def find_teachers(experiment: Experiment, dataset: Dataset, workspace: Workspace) -> list[Run]:
    """The runs that an experiment's loss names as teachers, [] where it names none.

    Each is finished, tells the same classes of the same pixels, and was fit under the same protocol on the same data
    set, so that no row that the student is chosen or measured by has been seen; else MienError.
    """
    names = experiment.loss.parameters.get("teacher", ())
    runs = [run for name in names for run in find_runs(workspace, name)]
    for run in runs:
        told = _misfit(run, experiment, dataset)
        if told is not None:
            raise MienError(f"run {run.name} can't teach: {told[0]}", key=KEY, expected=told[1])
    return runs


def _misfit(run: Run, experiment: Experiment, dataset: Dataset) -> tuple[str, str] | None:
    """Why a run can't teach, and what was expected."""
    if run.state != "finished":
        return "it isn't finished", "a finished run"
    teacher = run.experiment
    if teacher.task != experiment.task:
        return f"it is on {teacher.task.on}", f"a run on {experiment.task.on}"
    if run.environment["dataset"]["fingerprint"] != dataset.card.fingerprint:
        return "it was fit on other data", f"a run on data set '{dataset.card.name}' as it is"
    classes, wanted = (scheme_for(one, dataset).classes for one in (teacher, experiment))
    if classes != wanted:
        return f"it tells {', '.join(classes)}", ", ".join(wanted)
    if teacher.protocol != experiment.protocol:
        given, own = (json.dumps(one.protocol.model_dump(mode="json")) for one in (teacher, experiment))
        return f"its protocol is {given}", f"{own}, so that it has seen the same rows"
    pixels, seen = ((one.dataset.size, one.dataset.color) for one in (teacher, experiment))
    if pixels != seen:
        return f"it sees {pixels[0]} px, {pixels[1]}", f"{seen[0]} px, {seen[1]}"
    return None


def load_teachers(runs: Sequence[Run], experiment: Experiment, device: str) -> Teachers | None:
    """The teachers of an experiment on a device, None where there are none."""
    if not runs:
        return None
    temperature = experiment.loss.parameters["temperature"]
    return Teachers([load_network(run.weights, device, run.experiment) for run in runs], temperature)


def same_teachers(run: Run, teachers: Sequence[Run], before: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The record of the teachers, name and SHA-256 of the weights; a run that goes on must find the same again."""
    record = []
    for teacher in teachers:
        with teacher.weights.open("rb") as file:
            record.append({"run": teacher.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()})
    for was, now in zip(before or record, record, strict=True):
        if was != now:
            raise MienError(
                f"teacher {now['run']} has changed since run {run.name} began",
                key=KEY,
                expected=f"SHA-256 {was['sha256'][:16]}, but it is {now['sha256'][:16]}",
            )
    return record
