"""Teachers of a distillation: trained models that see the same images as the one that learns from them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.experiment.building import scheme_for
from mien.experiment.schema import Experiment
from mien.inference.model import file_header, load_file
from mien.inference.named import named_model
from mien.inference.network import load_network
from mien.inference.weights import read_header
from mien.runs.run import Run, find_runs
from mien.tasks import Task, find_task
from mien.workspace import Workspace

KEY = "loss.teacher"


@dataclass(frozen=True)
class Teacher:
    """A finished run, or a model that mien trained and exported as ONNX.

    `says` is what the weights say of themselves. `experiment` is a run's, which knows its plugins; a file has none.
    """

    name: str
    weights: Path
    says: Mapping[str, Any]
    task: Task
    experiment: Experiment | None = None


class FileNetwork(nn.Module):
    """An ONNX file in the place of a network; it runs on the processor, on as many threads as torch has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.model = load_file(path, torch.get_num_threads())

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 (n, classes), of images (n, c, h, w) with values 0 … 255, which are rounded to 8 bits."""
        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(self.model.outputs(pixels)).to(images.device)


class Teachers(nn.Module):
    """Several networks' mean probabilities, softmax over `temperature`; their weights never change."""

    def __init__(self, networks: Sequence[nn.Module], temperature: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network.requires_grad_(False).eval() for network in networks)
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, float32 (n, classes), of images (n, c, h, w) with values 0 … 255."""
        told = [torch.softmax(network(images) / self.temperature, dim=1) for network in self.networks]
        return torch.stack(told).mean(dim=0)


def find_teachers(experiment: Experiment, dataset: Dataset, workspace: Workspace) -> list[Teacher]:
    """The models that an experiment's loss names as teachers, [] where it names none.

    Runs are named as elsewhere, models that mien ships by their names, ONNX files by their paths, from the workspace
    on. Each tells the same classes of the same pixels, and was fit under the same protocol on the same data set, so
    that no row that the student is chosen or measured by has been seen; else MienError.
    """
    names = experiment.loss.parameters.get("teacher", ())
    teachers = [teacher for name in names for teacher in _named(name, workspace)]
    for teacher in teachers:
        told = _misfit(teacher, experiment, dataset)
        if told is not None:
            raise _refused(teacher.name, *told)
    return teachers


def _named(name: str, workspace: Workspace) -> list[Teacher]:
    given = Path(named_model(workspace, name)).expanduser()
    if given.suffix != ".onnx":
        return [_of_run(run) for run in find_runs(workspace, name)]
    file = workspace.root / given
    if not file.is_file():
        raise MienError(f"there is no file '{file}'", key=KEY, expected="a path from the workspace on, or a run")
    says = file_header(file)
    if says is None:
        raise _refused(name, "mien didn't export it, so nobody knows which rows it has seen", "a run, or mien's ONNX")
    return [Teacher(name, file, says, find_task(says["task"]))]


def _of_run(run: Run) -> Teacher:
    if run.state != "finished":
        raise _refused(run.name, "it isn't finished", "a finished run")
    return Teacher(run.name, run.weights, read_header(run.weights), run.experiment.task, run.experiment)


def _refused(name: str, told: str, expected: str) -> MienError:
    return MienError(f"{name} can't teach: {told}", key=KEY, expected=expected)


def _misfit(teacher: Teacher, experiment: Experiment, dataset: Dataset) -> tuple[str, str] | None:
    """Why a model can't teach, and what was expected."""
    says, data = teacher.says, experiment.dataset
    if teacher.task != experiment.task:
        return f"it is on {teacher.task.on}", f"a model on {experiment.task.on}"
    if (says.get("dataset") or {}).get("fingerprint") != dataset.card.fingerprint:
        return "it was fit on other data", f"a model fit on data set '{dataset.card.name}' as it is"
    classes, wanted = tuple(says["classes"]), scheme_for(experiment, dataset).classes
    if classes != wanted:
        return f"it tells {', '.join(classes)}", ", ".join(wanted)
    protocol, own = says.get("protocol"), experiment.protocol.model_dump(mode="json")
    if protocol != own:
        return f"its protocol is {json.dumps(protocol)}", f"{json.dumps(own)}, so that it has seen the same rows"
    size, color = says["input"]["size"], says["input"]["color"]
    if (size, color) != (data.size, data.color):
        return f"it sees {size} px, {color}", f"{data.size} px, {data.color}"
    return None


def load_teachers(teachers: Sequence[Teacher], experiment: Experiment, device: str) -> Teachers | None:
    """The teachers of an experiment on a device, None where there are none."""
    if not teachers:
        return None
    networks: list[nn.Module] = [
        load_network(one.weights, device, one.experiment) if one.experiment else FileNetwork(one.weights)
        for one in teachers
    ]
    return Teachers(networks, experiment.loss.parameters["temperature"])


def same_teachers(run: Run, teachers: Sequence[Teacher], before: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The record of the teachers, name and SHA-256 of the weights; a run that goes on must find the same again."""
    record = []
    for teacher in teachers:
        with teacher.weights.open("rb") as file:
            record.append({"name": teacher.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()})
    for was, now in zip(before or record, record, strict=True):
        if was != now:
            raise MienError(
                f"teacher {now['name']} has changed since run {run.name} began",
                key=KEY,
                expected=f"SHA-256 {was['sha256'][:16]}, but it is {now['sha256'][:16]}",
            )
    return record
