"""Weights with what is needed to use them: safetensors whose header holds model, input, classes and temperature."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mien import __version__
from mien.augment import Pipeline, Resize
from mien.data.labels import LabelScheme
from mien.errors import MienError
from mien.experiment.building import build_model, build_pipeline
from mien.experiment.schema import Experiment, import_components
from mien.files import replacing
from mien.images import Color
from mien.registry import build, component
from mien.tasks import EXPRESSION, find_task


def save_weights(
    path: Path,
    state: dict[str, Tensor],
    experiment: Experiment,
    names: LabelScheme,
    fingerprint: str,
    limits: str = "",
    start: Mapping[str, Any] | None = None,
) -> None:
    """Write a model's tensors, and in the header (key `mien`, JSON) what they are for and under which `limits`.

    `start` is the record of the weights that the training began with, where that is known.
    """
    header: dict[str, Any] = {
        "mien": __version__,
        "experiment": experiment.name,
        "task": experiment.task.name,
        "limits": limits,
        "labels": names.name,
        "classes": names.classes,
        "input": {"size": experiment.dataset.size, "color": experiment.dataset.color, "range": [0, 255]},
        "preprocess": [op.model_dump(mode="json") for op in experiment.preprocess],
        "model": experiment.model.model_dump(mode="json"),
        "protocol": experiment.protocol.model_dump(mode="json"),
        "dataset": {"name": experiment.dataset.name, "fingerprint": fingerprint},
        "epochs": experiment.train.epochs,
        "seed": experiment.train.seed,
        "start_weights": start,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with replacing(path) as temporary:
        # Its own way of writing files hides a full disk behind an error of its own.
        temporary.write_bytes(save(tensors, metadata={"mien": json.dumps(header, ensure_ascii=False)}))


@dataclass(frozen=True)
class Trained:
    """A trained model in eval mode, what its images go through before it, its classes and its temperature.

    The temperature is None until it has been fitted on the choose role. `size` and `channels` are those of the images
    that it was trained on, `limits` says what its use is bound to.
    """

    model: nn.Module
    preprocess: Pipeline
    names: LabelScheme
    temperature: float | None
    size: int
    channels: int
    limits: str

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 (n, classes), of images (n, c, h, w) of values 0 … 255 at the training's size and colour."""
        plain = images.to(torch.float32, memory_format=torch.channels_last)
        ready, _ = self.preprocess(plain)
        out: Tensor = self.model(ready.contiguous(memory_format=torch.channels_last))
        return out.float()

    def shares(self, images: Tensor) -> Tensor:
        """Of a landmark model the points as shares of the image's side from its middle, float32 (n, 136).

        Images are (n, 1, s, s) with values 0 … 255, of any size s.
        """
        fitting, _ = Resize(size=self.size)(images.to(torch.float32))
        return self.logits(fitting.expand(-1, self.channels, -1, -1))

    def probabilities(self, images: Tensor) -> Tensor:
        """What a user is told, float32 (n, classes), rows summing to 1: the softmax of logits over the temperature."""
        return torch.softmax(self.logits(images) / (self.temperature or 1.0), dim=1)


def load_weights(path: Path, experiment: Experiment, device: str) -> Trained:
    """The model of an experiment with the weights of a file; raises MienError where the two don't fit."""
    header, state = _read(path, device)
    names = LabelScheme(header["labels"], tuple(header["classes"]))
    section = experiment.dataset
    return _trained(
        path,
        build_model(experiment, names).to(device),
        state,
        build_pipeline(experiment.preprocess),
        header,
        section.size,
        section.color,
    )


def load_packaged(path: Path, device: str) -> Trained:
    """The model that a weights file describes itself, for models that mien brings; raises MienError for other files."""
    import_components()
    header, state = _read(path, device)
    try:
        size, color = header["input"]["size"], header["input"]["color"]
        preprocess = build_pipeline([component("op", op) for op in header["preprocess"]])
        channels, side, _ = preprocess.output_shape((1 if color == "gray" else 3, size, size))
        names = LabelScheme(header["labels"], tuple(header["classes"]))
        outputs = find_task(header.get("task", EXPRESSION)).outputs(names)
        supplied = {"in_channels": channels, "image_size": side, "num_classes": outputs}
        model: nn.Module = build("model", component("model", header["model"]), **supplied)
    except (KeyError, TypeError) as error:
        raise MienError(f"these aren't weights that mien wrote ({error})", file=str(path)) from error
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _trained(path, model, state, preprocess, header, size, color)


def _read(path: Path, device: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header of a weights file, and its tensors."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header: dict[str, Any] = json.loads(file.metadata()["mien"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        LabelScheme(header["labels"], tuple(header["classes"]))
    except FileNotFoundError as error:
        raise MienError("there are no weights; the run isn't finished", file=str(path)) from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise MienError(f"these aren't weights that mien wrote ({error})", file=str(path)) from error
    return header, state


def _trained(
    path: Path,
    model: nn.Module,
    state: dict[str, Tensor],
    preprocess: Pipeline,
    header: dict[str, Any],
    size: int,
    color: Color,
) -> Trained:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise MienError(f"the weights don't fit the experiment's model ({reason})", file=str(path)) from error
    names = LabelScheme(header["labels"], tuple(header["classes"]))
    channels = 1 if color == "gray" else 3
    limits = header.get("limits", "")
    return Trained(model.eval(), preprocess, names, header.get("temperature"), size, channels, limits)


def store_temperature(path: Path, temperature: float) -> None:
    """Write a temperature into a weights file's header; the tensors stay as they are, byte for byte."""
    data = path.read_bytes()
    # The format: 8 bytes with the length of the header, the header as JSON, the tensors.
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["mien"])
    header["__metadata__"]["mien"] = json.dumps({**about, "temperature": temperature}, ensure_ascii=False)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary:
        temporary.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
