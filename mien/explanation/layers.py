"""The layers of any model, found and listened to by hooks alone: their names, what they give, what they take."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mien.errors import MienError, unknown


@dataclass(frozen=True)
class Layer:
    """A layer that gives a map: its name in the model, its class, and the shape (c, h, w) of what it gives.

    `convolution` says whether it has filters. Of a layer that is called several times the first call counts.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    convolution: bool


@contextmanager
def heard(model: nn.Module, names: Sequence[str], hear: Callable[[str, Any, Any], None]) -> Iterator[None]:
    """While this is open, `hear` is told the name, input and output of each call of these layers."""
    modules = dict(model.named_modules())
    hooks = []
    for name in names:

        def hook(_: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            hear(name, inputs, output)

        hooks.append(modules[name].register_forward_hook(hook))
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def map_layers(model: nn.Module, inputs: Tensor) -> tuple[Layer, ...]:
    """All layers that give maps (n, c, h, w), in the order of their calls on `inputs`, float32 (n, channels, s, s).

    A layer that holds others stands after them.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    >>> [(layer.name, layer.kind, layer.shape) for layer in map_layers(net, torch.zeros(1, 3, 5, 5))]
    [('0', 'Conv2d', (8, 3, 3)), ('1', 'ReLU', (8, 3, 3))]
    """
    found: dict[str, Layer] = {}
    modules = {name: module for name, module in model.named_modules() if name}

    def hear(name: str, _: Any, output: Any) -> None:
        if name not in found and isinstance(output, Tensor) and output.ndim == 4:
            channels, height, width = output.shape[1:]
            kind = modules[name]
            found[name] = Layer(name, type(kind).__name__, (channels, height, width), isinstance(kind, _ConvNd))

    with torch.inference_mode(), heard(model, list(modules), hear):
        model(inputs[:1])
    return tuple(found.values())


def choose_layers(layers: Sequence[Layer], names: Sequence[str], only_convolutions: bool = False) -> list[Layer]:
    """The layers of these names, or for no names the first two convolutions.

    `only_convolutions` refuses layers without filters. Raises MienError for an unknown name, and for a model without
    convolutions where none is named.
    """
    convolutions = [layer for layer in layers if layer.convolution]
    if not names and not convolutions:
        raise MienError("the model has no convolution that gives a map", expected="a layer by name, or another model")
    if not names:
        return convolutions[:2]
    allowed = {layer.name: layer for layer in (convolutions if only_convolutions else layers)}
    for name in names:
        if name not in allowed:
            there = any(layer.name == name for layer in layers)
            message = f"layer '{name}' has no filters" if there else f"no layer that gives maps is called '{name}'"
            raise unknown(message, name, allowed, key="--layer")
    return [allowed[name] for name in dict.fromkeys(names)]


@torch.inference_mode()
def outputs_of(model: nn.Module, names: Sequence[str], inputs: Tensor) -> dict[str, Tensor]:
    """What layers give for some inputs, by name, on the CPU; of several calls the first."""
    found: dict[str, Tensor] = {}

    def hear(name: str, _: Any, output: Any) -> None:
        if name not in found:
            # A ReLU that works in place would change it afterwards.
            found[name] = output.detach().clone().cpu()

    with heard(model, names, hear):
        model(inputs)
    return found


@torch.inference_mode()
def inputs_of(model: nn.Module, name: str, inputs: Tensor) -> Tensor:
    """What a layer takes for some inputs, on the CPU; of several calls the first."""
    found: list[Tensor] = []

    def hear(_: str, given: Any, __: Any) -> None:
        if not found:
            found.append(given[0].detach().clone().cpu())

    with heard(model, [name], hear):
        model(inputs)
    return found[0]


def feature_layer(model: nn.Module, inputs: Tensor) -> str:
    """The layer whose input are a model's features: the last linear layer that is called, else the last convolution.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> feature_layer(net, torch.zeros(1, 1, 2, 2))
    '3'
    """
    called: list[str] = []
    modules = dict(model.named_modules())
    kinds = {"linear": nn.Linear, "convolution": _ConvNd}
    names = [name for name, module in modules.items() if name and isinstance(module, (*kinds.values(),))]
    with torch.inference_mode(), heard(model, names, lambda name, _, __: called.append(name)):
        model(inputs[:1])
    for kind in kinds.values():
        of_kind = [name for name in called if isinstance(modules[name], kind)]
        if of_kind:
            return of_kind[-1]
    raise MienError("the model calls no linear layer and no convolution", expected="a model with one of them")


def flat(features: Tensor) -> Tensor:
    """Features as vectors, (n, d): of maps (n, d, h, w) the mean over places, of tokens (n, t, d) that over tokens."""
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    return features.mean(dim=1) if features.ndim == 3 else features.flatten(1)
