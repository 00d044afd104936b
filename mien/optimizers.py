"""Optimisers, and schedules that multiply their learning rate at every step.

The optimisers are torch's fused ones: on a CPU a step of Adam on CNN 1's parameters takes a quarter of the time, or
less.
"""

import math
from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from mien.errors import MienError
from mien.registry import register

Parameters = Iterable[nn.Parameter]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

# The factor on the learning rate at a step, counted from 0 over the whole training.
Factor = Callable[[int], float]


@register("optimizer", "sgd")
def sgd(
    parameters: Parameters,
    *,
    lr: Rate,
    momentum: Fraction = 0.9,
    nesterov: bool = True,
    weight_decay: Decay = 0.0,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with (Nesterov's) momentum.

    Nesterov's momentum without momentum is a MienError.
    """
    if nesterov and momentum == 0:
        raise MienError(
            "nesterov needs momentum", key="optimizer.nesterov", expected="nesterov: false, or a momentum above 0"
        )
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
    )


@register("optimizer", "adam")
def adam(
    parameters: Parameters,
    *,
    lr: Rate = 1e-3,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Rate = 1e-8,
    weight_decay: Decay = 0.0,
) -> torch.optim.Optimizer:
    """Adam (D. Kingma, J. Ba, ICLR 2015); its weight decay is added to the gradient."""
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


@register("optimizer", "adamw")
def adamw(
    parameters: Parameters,
    *,
    lr: Rate = 1e-3,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Rate = 1e-8,
    weight_decay: Decay = 0.01,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (I. Loshchilov, F. Hutter, ICLR 2019)."""
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


@register("schedule", "constant")
def constant() -> Factor:
    """A constant learning rate."""
    return lambda step: 1.0


@register("schedule", "step")
def step(
    steps_per_epoch: int,
    *,
    every: Annotated[int, Field(ge=1)],
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1,
) -> Factor:
    """The learning rate times `gamma` after every `every` epochs.

    >>> factor = step(steps_per_epoch=100, every=2, gamma=0.5)
    >>> [factor(number) for number in (0, 199, 200, 400)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return lambda number: gamma ** (number // (every * steps_per_epoch))


@register("schedule", "cosine")
def cosine(
    steps_per_epoch: int,
    total_steps: int,
    *,
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    final: Annotated[float, Field(ge=0, le=1)] = 0.0,
) -> Factor:
    """Half a cosine from the full learning rate down to the share `final` of it, after a linear warm-up.

    With w steps of warm-up (`warmup_epochs`, rounded to whole steps) of T in all, step s has the factor
    (s + 1) / (w + 1) before w, and final + (1 − final) · (1 + cos(π (s − w) / (T − w))) / 2 from there; I. Loshchilov,
    F. Hutter, ICLR 2017, without restarts. A warm-up that leaves no step to train is a MienError.

    >>> factor = cosine(steps_per_epoch=4, total_steps=7, warmup_epochs=0.75)
    >>> [round(factor(number), 3) for number in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    warmup = round(warmup_epochs * steps_per_epoch)
    if warmup >= total_steps:
        than = "as long as" if warmup == total_steps else "longer than"
        raise MienError(
            f"the warm-up of {warmup} steps is {than} the training of {total_steps}",
            key="schedule.warmup_epochs",
            expected=f"fewer than {total_steps / steps_per_epoch:g} epochs",
        )

    def factor(number: int) -> float:
        if number < warmup:
            return (number + 1) / (warmup + 1)
        done = min(1.0, (number - warmup) / (total_steps - warmup))
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2

    return factor
