"""A summary of a model: layers, output shapes, parameters and multiply-adds for one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from mien.errors import MienError


@dataclass(frozen=True)
class Layer:
    """One call of one layer: its name and class, the shape of its output without the batch, what it costs."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """A model's layers in the order of their calls, its outputs' shape without the batch, and what it costs.

    `macs` are the multiply-adds of convolutions and linear layers for one image; biases, activations, norms and
    pooling aren't counted. `parameters` counts every parameter of the model, called or not.
    """

    layers: tuple[Layer, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


def summarize(model: nn.Module, in_channels: int, image_size: int) -> Summary:
    """Send one image of zeros through a model and note what each layer does; the model is left as it was.

    A layer that is called twice stands there twice: its multiply-adds count each time, its parameters once. A model
    that fails on the image is a MienError.

    >>> summary = summarize(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), in_channels=3, image_size=5)
    >>> summary.layers[0]
    Layer(name='0', kind='Conv2d', output_shape=(8, 3, 3), parameters=224, macs=1944)
    >>> summary.output_shape, summary.parameters, summary.macs
    ((8, 3, 3), 224, 1944)
    """
    layers: list[Layer] = []
    counted: set[Tensor] = set()

    def note(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        new = set(module.parameters(recurse=False)) - counted
        counted.update(new)
        parameters = sum(parameter.numel() for parameter in new)
        layers.append(Layer(name, type(module).__name__, _shape(output), parameters, _macs(module, inputs, output)))

    modes = {module: module.training for module in model.modules()}
    hooks = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if not list(module.children()) or list(module.parameters(recurse=False))
    ]
    like = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, in_channels, image_size, image_size, dtype=like.dtype, device=like.device)
    try:
        model.eval()
        with torch.no_grad():
            output = model(image)
    except MienError:
        raise
    except Exception as error:
        raise MienError(
            f"the model fails on one image of {in_channels}×{image_size}×{image_size}: {type(error).__name__}: {error}",
            key="model",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return Summary(
        layers=tuple(layers),
        output_shape=_shape(output),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(layer.macs for layer in layers),
    )


def _shape(output: Any) -> tuple[int, ...]:
    """The shape of the first tensor in an output, without the batch."""
    if isinstance(output, Tensor):
        return tuple(output.shape[1:])
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, Sequence) and not isinstance(output, str) and output:
        return _shape(output[0])
    return ()


def _macs(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> int:
    """Multiply-adds of one call: each weight once for every place that it is applied at."""
    if isinstance(module, nn.Linear):
        return int(output.numel()) * module.in_features
    if isinstance(module, _ConvTransposeNd):
        return module.weight.numel() * int(inputs[0][0, 0].numel())
    if isinstance(module, _ConvNd):
        return module.weight.numel() * int(output[0, 0].numel())
    return 0
