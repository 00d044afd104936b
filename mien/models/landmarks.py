"""A small network for the 68 points of a face: each point is the mean place of its heat map.

Sources: residual blocks as in `mien.models.resnet`; the mean of a heat map as a point that can be learned through
(soft-argmax) of X. Sun et al., "Integral Human Pose Regression", ECCV 2018.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.models.resnet import BasicBlock
from mien.registry import register

# How often the image's sides are halved on the way to the coarsest features.
_HALVED = 8


@register("model", "landmarks-small")
class LandmarksSmall(nn.Module):
    """Features at half, a quarter and an eighth of the image's side; 68 heat maps at a quarter; their mean places.

    A linear layer on the mean of the coarsest features adds to each point what heat maps can't say: where it is when
    it lies outside of the image. `width` is the number of channels at half the side; below 8 oneDNN's gradients overrun
    their memory on some processors. Images (n, in_channels, image_size, image_size), a side that divides by 8, give
    (n, 136): x and y of each point in shares of the image's side from its middle. An image of another side is a
    MienError.

    >>> model = LandmarksSmall(in_channels=1, image_size=64)
    >>> sum(parameter.numel() for parameter in model.parameters())
    762412
    """

    def __init__(self, in_channels: int, image_size: int, *, width: Annotated[int, Field(ge=8)] = 32) -> None:
        if image_size % _HALVED:
            raise MienError(
                f"images of {image_size} px don't halve three times",
                key="model",
                expected=f"a side that divides by {_HALVED}, as 48, 64 or 96",
            )
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.quarter = nn.Sequential(BasicBlock(width, 2 * width, stride=2), BasicBlock(2 * width, 2 * width, stride=1))
        self.eighth = nn.Sequential(
            BasicBlock(2 * width, 4 * width, stride=2), BasicBlock(4 * width, 4 * width, stride=1)
        )
        self.lateral = nn.Conv2d(4 * width, 2 * width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.refine = BasicBlock(2 * width, 2 * width, stride=1)
        self.heat = nn.Conv2d(2 * width, POINTS, 1)
        self.offset = nn.Linear(4 * width, 2 * POINTS)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(self, images: Tensor) -> Tensor:
        """The points (n, 136) of images (n, in_channels, image_size, image_size)."""
        fine = self.quarter(F.relu(self.bn1(self.conv1(images))))
        coarse = self.eighth(fine)
        back = F.interpolate(self.lateral(coarse), scale_factor=2, mode="bilinear")
        places = mean_places(self.heat(self.refine(F.relu(self.bn2(back) + fine))))
        offset: Tensor = self.offset(coarse.mean(dim=(2, 3)))
        return places + offset


def mean_places(heat: Tensor) -> Tensor:
    """The mean places of heat maps (n, 68, h, w), their softmax taken, in shares of the side from the middle: (n, 136).

    >>> heat = torch.zeros(1, 1, 4, 4)
    >>> heat[0, 0, 0, 3] = 100  # the right upper cell, whose centre is three eighths from the middle
    >>> mean_places(heat)
    tensor([[ 0.3750, -0.3750]])
    """
    height, width = heat.shape[2:]
    shares = heat.flatten(2).softmax(dim=2).unflatten(2, (height, width))
    across = (torch.arange(width, device=heat.device) + 0.5) / width - 0.5
    down = (torch.arange(height, device=heat.device) + 0.5) / height - 0.5
    x = (shares.sum(dim=2) * across).sum(dim=2)
    y = (shares.sum(dim=3) * down).sum(dim=2)
    return torch.stack([x, y], dim=2).flatten(1)
