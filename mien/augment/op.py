"""The interface of ops: their call, the types of their parameters, one random draw for each image."""

from typing import Annotated, Any, NamedTuple, Protocol

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from mien.errors import MienError

WHITE = 255.0

Moved = tuple[Tensor, Tensor | None]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("[low, high] with low at most high")
    return limits


ASCENDING = AfterValidator(_ascending)
Positives = Annotated[tuple[Positive, Positive], ASCENDING]


class Seen(NamedTuple):
    """Which rows of their role the images are, int64 (n,), in which epoch (from 0), and the training's seed."""

    rows: Tensor
    epoch: int
    seed: int


class Op(Protocol):
    """A step of a pipeline; a plugin's op without the attribute `random` counts as random.

    One with the attribute `wants_seen` is called with a `Seen` as third argument, or None where nobody trains.
    """

    random: bool

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The changed images, and the points at their new places."""
        ...


def draw(images: Tensor, low: float, high: float) -> Tensor:
    """One number from low … high for each image, (n, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(images), 1, 1, 1, device=images.device)


def some(p: float, changed: Tensor, images: Tensor) -> Tensor:
    """Each image changed with probability p."""
    return torch.where(torch.rand(len(images), 1, 1, 1, device=images.device) < p, changed, images)


def chosen(p: float, images: Tensor) -> Tensor:
    """Which images to change, bool (n,), each with probability p; for ops that cost too much to run on all."""
    return torch.rand(len(images), device=images.device) < p


def by_kornia(module: Any, images: Tensor, points: Tensor | None) -> Moved:
    """Images through one of kornia's modules, and points moved by the matrix (n, 3, 3) that the module reports."""
    images = module(images)
    return images, points if points is None else moved_by(module.transform_matrix, points)


def moved_by(matrix: Tensor, points: Tensor) -> Tensor:
    """Points (n, k, 2) moved by affine matrices (n, 2 or 3, 3), in pixels.

    >>> moved_by(torch.tensor([[[2.0, 0, 1], [0, 2, 0]]]), torch.tensor([[[3.0, 4.0]]]))
    tensor([[[7., 8.]]])
    """
    matrix = matrix.to(points)
    return points @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 2]


def check_channels(name: str, images: Tensor, *allowed: int) -> None:
    """Raise MienError unless the images have a number of channels that the op called `name` takes."""
    channels = images.shape[1]
    if channels not in allowed:
        raise MienError(
            f"{name} got images of {channels} {'channel' if channels == 1 else 'channels'}",
            expected=" or ".join(map(str, allowed)) + (" channel" if allowed == (1,) else " channels"),
        )
