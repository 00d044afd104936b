"""Learned filters: the weights of a convolution, as small pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.explanation.context import Context
from mien.explanation.layers import choose_layers, inputs_of, map_layers
from mien.explanation.storage import Arrays
from mien.registry import register

OUTPUTS, INPUTS = 32, 16
_LOOKED_AT = 8


@register("explanation", "filters")
def filters(context: Context, layers: Sequence[str] = ()) -> tuple[dict[str, Any], Arrays]:
    """The weights of convolutions by name, or for no names of the first two.

    The result's `layers` say each one's name, `kind`, number of `outputs` and `inputs` (of a group), how many of them
    are kept, its `largest` weight as an absolute value, and whether the inputs are `summed`: where all channels that
    the layer takes are the same picture, as gray ones repeated are, only the sum over them does anything. The arrays
    `layer<i>` are float32 (outputs kept, inputs kept, h, w). Raises MienError for an unknown layer.
    """
    model = context.network.model
    some = context.inputs(slice(0, _LOOKED_AT))
    found = choose_layers(map_layers(model, some), layers, only_convolutions=True)
    modules = dict(model.named_modules())
    told, arrays = [], {}
    for number, layer in enumerate(found):
        weights = _weights(modules[layer.name])
        summed = weights.shape[1] > 1 and _alike(inputs_of(model, layer.name, some))
        shown = weights.sum(dim=1, keepdim=True) if summed else weights
        kept = shown[:OUTPUTS, :INPUTS].numpy()
        arrays[f"layer{number}"] = np.ascontiguousarray(kept, dtype=np.float32)
        told.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "outputs": weights.shape[0],
                "inputs": weights.shape[1],
                "size": list(weights.shape[2:]),
                "outputs_kept": kept.shape[0],
                "inputs_kept": kept.shape[1],
                "summed": summed,
                "largest": float(shown.abs().max()),
            }
        )
    return {**context.about, "layers": told}, arrays


def _weights(module: nn.Module) -> Tensor:
    """The weights of a convolution on the CPU, float32 (outputs, inputs of a group, h, w)."""
    weights = module.weight.detach().float().cpu()  # type: ignore[operator]
    return weights.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else weights


def _alike(taken: Tensor) -> bool:
    """Whether all channels of a layer's input are one picture."""
    return taken.ndim == 4 and bool(torch.equal(taken, taken[:, :1].expand_as(taken)))
