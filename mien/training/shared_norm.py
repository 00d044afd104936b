"""Batch norm over a batch of which each device has a part; torch's SyncBatchNorm is for GPUs alone."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mien.training.devices import Share


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all devices; so is its gradient."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        """The same on every device."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """What all devices' losses say of it."""
        return _Sum.forward(context, gradient)


class SharedNorm(_BatchNorm):
    """A batch norm whose mean and variance in training are those of the rows of all devices."""

    share: Share

    def _check_input_dim(self, input: Tensor) -> None:
        """What fits is known to the class that the layer had."""

    def forward(self, input: Tensor) -> Tensor:
        """As torch's batch norm of the whole batch, float32 inside; (n, channels, …)."""
        if not (self.training and self.share.parted):
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        values = input.float()
        sums = _Sum.apply(torch.cat([values.sum(axes), values.new_tensor([values[:, 0].numel()])]))  # type: ignore[no-untyped-call]
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count  # type: ignore[no-untyped-call]
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                weight = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, weight)
                self.running_var.lerp_(variance * count / (count - 1), weight)
        output: Tensor = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)


def share_norms(model: nn.Module, share: Share) -> None:
    """Make a model's batch norms see the whole batch; their names, weights and statistics stay as they are."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SharedNorm
            module.share = share  # type: ignore[assignment]
