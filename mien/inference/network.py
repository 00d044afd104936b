"""From pixels to outputs in torch: the one module that training, evaluation, explanations and photos run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.augment import Gray, Op, Pipeline, RepeatChannels, Resize
from mien.data.labels import LabelScheme
from mien.errors import MienError
from mien.experiment.building import build_pipeline
from mien.experiment.schema import Experiment, import_components
from mien.inference.tta import mean_logits, views
from mien.inference.weights import read_header
from mien.reading import reading
from mien.registry import Component, Kind, build, component, names
from mien.tasks import find_task


class Network(nn.Module):
    """A model with what its images go through before it.

    It takes images (n, c, h, w), uint8 or float32 with values 0 … 255, and gives float32 (n, outputs): logits, or
    points as shares of the image's side from its middle.
    """

    def __init__(self, model: nn.Module, preprocess: Pipeline) -> None:
        super().__init__()
        self.model, self.preprocess = model, preprocess

    def inputs(self, images: Tensor) -> Tensor:
        """Images as the model takes them: float32 (n, channels, side, side), in channels-last memory.

        An explanation that changes pixels (blurs, covers them) changes them before this.
        """
        ready, _ = self.preprocess(images.float())
        return ready.contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Logits or points of images."""
        outputs: Tensor = self.model(self.inputs(images))
        return outputs.float()

    @torch.inference_mode()
    def probabilities(self, images: Tensor, temperature: float = 1.0) -> Tensor:
        """The softmax of logits over a temperature, float32 (n, classes)."""
        return torch.softmax(self(images) / temperature, dim=1)


class TorchBackend:
    """A network on a device, by numpy arrays; see `mien.inference.model.Backend`."""

    def __init__(self, network: Network, device: str) -> None:
        self.network, self.device = network, device

    @torch.inference_mode()
    def outputs(self, images: npt.NDArray[np.uint8], tta: str = "none") -> npt.NDArray[np.float32]:
        """Outputs of images (n, h, w, c); with `tta` the logarithm of the views' mean probabilities."""
        # torch warns of arrays that it may not write into, and takes none with negative strides.
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).permute(0, 3, 1, 2).to(self.device)
        if tta == "none":
            outputs = self.network(pixels)
        else:
            outputs = mean_logits([self.network(view) for view in views(pixels.float(), tta)])
        return np.asarray(outputs.cpu().numpy())


def load_network(path: Path, device: str, experiment: Experiment | None = None) -> Network:
    """The network of a weights file in eval mode, built as its header says, or as the experiment that made it.

    Only the experiment knows plugins. Where the task says so, the network takes images of any size and colour: the
    preprocessing makes them what the model was trained on. Raises MienError for weights that don't fit, and for models
    of plugins.
    """
    header = read_header(path)
    size, gray = header["input"]["size"], header["input"]["color"] == "gray"
    given, ops = (experiment.model, experiment.preprocess) if experiment else _named(path, header)
    own = build_pipeline(ops)
    channels, side, _ = own.output_shape((1 if gray else 3, size, size))
    task = experiment.task if experiment else find_task(header["task"])
    outputs = task.outputs(LabelScheme(header["labels"], tuple(header["classes"])))
    _check_shapes(path, given, num_classes=outputs, in_channels=channels, image_size=side)
    model: nn.Module = build("model", given, num_classes=outputs, in_channels=channels, image_size=side)
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with reading(path, "the weights", MienError):
            state = load_file(path, device)
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise MienError(f"the weights don't fit the experiment's model ({reason})", file=str(path)) from error
    fitting: list[Op] = [Gray(), Resize(size=size), *([] if gray else [RepeatChannels(n=3)])] if task.any_size else []
    return Network(model, Pipeline([*fitting, *own.ops])).eval()


def _check_shapes(path: Path, model: Component, **supplied: int) -> None:
    """Refuse weights that aren't the model's before it is built: a stranger's header may name one of any size."""
    if model.entry.build.__module__.partition(".")[0] != "mien":
        return  # A plugin's model may not be built without memory.
    with torch.device("meta"):
        wanted = {name: list(of.shape) for name, of in build("model", model, **supplied).state_dict().items()}
    with reading(path, "the weights", MienError), safe_open(path, framework="numpy") as file:
        given = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (no mapping)
    if given != wanted:
        name = next(name for name in (*wanted, *given) if given.get(name) != wanted.get(name))
        raise MienError(
            f"the weights don't fit the experiment's model ('{name}' is {given.get(name)}, not {wanted.get(name)})",
            file=str(path),
        )


def _named(path: Path, header: dict[str, Any]) -> tuple[Component, Sequence[Component]]:
    """The model and the preprocessing that a header names; an error for what only a plugin has."""
    import_components()
    ops = header["preprocess"]
    wanted: list[tuple[Kind, str]] = [("model", header["model"]["name"]), *(("op", op["op"]) for op in ops)]
    for kind, name in wanted:
        if name not in names(kind):
            raise MienError(
                f"mien itself has no {kind} '{name}', and a weights file doesn't hold the plugin that has it",
                file=str(path),
                expected="the run that it is of, whose folder has its plugins",
            )
    return component("model", header["model"]), [component("op", op) for op in ops]
