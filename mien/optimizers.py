"""Optimisers, and schedules that multiply their learning rate at every step.

The optimisers but Muon are torch's fused ones: on a CPU a step of Adam on CNN 1's parameters takes a quarter of the
time, or less.
"""

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

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


class Muon(torch.optim.Optimizer):
    """Steps of equal size in all directions for the kernels of convolutions, AdamW for every other parameter.

    A kernel's update is the orthogonal matrix nearest to its Nesterov momentum, approximately, the kernel read as a
    matrix of an output channel a row. Parameters with one input channel, of batch norms and of the last layers are
    AdamW's. The groups' `kernels` says which of the two a group is for.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        adamw_lr: float,
        betas: tuple[float, float],
        eps: float,
        adamw_weight_decay: float,
    ) -> None:
        given = list(parameters)
        kernels = [parameter for parameter in given if parameter.ndim == 4 and parameter.shape[1] > 1]
        chosen = set(map(id, kernels))
        weights = [parameter for parameter in given if id(parameter) not in chosen and parameter.ndim > 1]
        rest = [parameter for parameter in given if parameter.ndim <= 1]
        adamw = {"kernels": False, "lr": adamw_lr, "betas": betas, "eps": eps}
        groups = [
            {"params": kernels, "kernels": True, "lr": lr, "momentum": momentum, "weight_decay": weight_decay},
            {"params": weights, **adamw, "weight_decay": adamw_weight_decay},
            {"params": rest, **adamw, "weight_decay": 0.0},
        ]
        super().__init__([group for group in groups if group["params"]], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step for every parameter that has a gradient; gives the loss of `closure`, where there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            step = self._kernel_step if group["kernels"] else self._adamw_step
            for parameter in group["params"]:
                if parameter.grad is not None:
                    step(parameter, parameter.grad, group)
        return loss

    def _kernel_step(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(group["momentum"]).add_(gradient)
        update = gradient.add(state["momentum"], alpha=group["momentum"])
        matrix = update.reshape(len(update), -1)
        size = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonal(matrix).reshape(update.shape), alpha=-group["lr"] * size)

    def _adamw_step(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(state["mean"], scale, value=-group["lr"] / (1 - first ** state["step"]))


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About the orthogonal matrix nearest to a float32 matrix: singular values from .7 to 1.2 in place of its own.

    Newton and Schulz's iteration as a polynomial of degree 5; source: K. Jordan et al., "Muon: An optimizer for hidden
    layers in neural networks", 2024. Each step multiplies the matrix X by a polynomial of its Gram matrix X Xᵀ, so the
    steps are taken on that alone, which is small and square; source: "Gram Newton-Schulz", Dao AI Lab, 2026. In
    float32, since bfloat16 loses the small directions, and most CPUs are slower in it.

    >>> found = orthogonal(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.1, 0.0]]))
    >>> [0.6 < value < 1.25 for value in torch.linalg.svdvals(found).tolist()]
    [True, True]
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).contiguous()
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    product = torch.eye(len(x), device=x.device)
    for left in reversed(range(steps)):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor @ product
        if left:
            gram = factor @ gram @ factor
    found: Tensor = product @ x
    return found.T if tall else found


@register("optimizer", "muon")
def muon(
    parameters: Parameters,
    *,
    lr: Rate = 0.02,
    momentum: Fraction = 0.95,
    weight_decay: Decay = 0.01,
    adamw_lr: Rate = 3e-3,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Rate = 1e-8,
    adamw_weight_decay: Decay = 0.01,
) -> torch.optim.Optimizer:
    """Muon for kernels with more than one input channel, AdamW for all else; biases and batch norms don't decay.

    Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; its weight decay as in
    AdamW. A model without such kernels is AdamW's alone.
    """
    return Muon(
        parameters,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        adamw_lr=adamw_lr,
        betas=betas,
        eps=eps,
        adamw_weight_decay=adamw_weight_decay,
    )


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
