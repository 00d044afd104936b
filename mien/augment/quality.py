"""Ops that take detail away: noise, blur, erasing, degrade."""

import math
from functools import cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from mien.augment.input import luma
from mien.augment.op import (
    ASCENDING,
    WHITE,
    Moved,
    Positive,
    Positives,
    Probability,
    Share,
    by_kornia,
    check_channels,
    chosen,
    some,
)
from mien.registry import register

Side = Annotated[int, Field(ge=1)]


@register("op", "noise")
class Noise:
    """Add Gaussian noise of standard deviation `sd`, in gray values, to every value of an image."""

    random = True

    def __init__(self, *, sd: Positive = 8.0, p: Probability = 1.0) -> None:
        self.sd, self.p = sd, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images with noise."""
        changed = images + self.sd * torch.randn(images.shape, device=images.device)
        return some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "blur")
class Blur:
    """Blur an image by a Gaussian whose standard deviation, in pixels, is drawn from `sd` [low, high]."""

    random = True

    def __init__(self, *, sd: Positives = (0.1, 1.0), p: Probability = 0.5) -> None:
        from kornia.augmentation import RandomGaussianBlur

        # Beyond three standard deviations a Gaussian holds nothing that gray values could show.
        side = 2 * math.ceil(3 * sd[1]) + 1
        self._blur = RandomGaussianBlur((side, side), sd, border_type="replicate", p=p)

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, some of them softer."""
        images, points = by_kornia(self._blur, images, points)
        return images.clamp(0, WHITE), points


@register("op", "erasing")
class Erasing:
    """Black out a rectangle that covers a share of the image drawn from `area` [low, high].

    Its height over its width is between 0.3 and 3.3 (Z. Zhong et al., AAAI 2020).
    """

    random = True

    def __init__(self, *, area: Annotated[tuple[Share, Share], ASCENDING] = (0.02, 0.2), p: Probability = 0.5) -> None:
        from kornia.augmentation import RandomErasing

        self._erase = RandomErasing(scale=area, ratio=(0.3, 3.3), value=0.0, p=p)

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, some of them with a hole."""
        return by_kornia(self._erase, images, points)


@register("op", "degrade")
class Degrade:
    """Show an image as a small gray one enlarged: down to a side drawn from `side` [low, high] pixels and back.

    Scaling down is antialiased bilinear, scaling up bilinear. `side` is the small image's longer side. An image that is
    no longer than that stays as it is; otherwise all channels of a colour image become its luma (ITU-R BT.601).
    """

    random = True

    def __init__(self, *, side: Annotated[tuple[Side, Side], ASCENDING] = (24, 96), p: Probability = 0.5) -> None:
        self.side, self.p = side, p
        self._matrices = cache(self._make_matrices)

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, some of them with little detail; other than 1 or 3 channels are a MienError."""
        check_channels("degrade", images, 1, 3)
        height, width = images.shape[2:]
        low, high = self.side
        sides = torch.randint(low, high + 1, (len(images),), device=images.device)
        picked = chosen(self.p, images) & (sides < max(height, width))
        if not picked.any():
            return images, points
        rows, columns = self._matrices(height, width, images.device)
        place = sides[picked] - low
        gray = luma(images[picked])[:, 0]
        changed = images.clone()
        changed[picked] = (rows[place] @ gray @ columns[place].transpose(1, 2)).clamp(0, WHITE)[:, None]
        return changed, points

    def _make_matrices(self, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The matrices for each side: for rows (sides, height, height) and for columns (sides, width, width)."""
        longer = max(height, width)
        sides = range(self.side[0], min(self.side[1] + 1, longer))
        rows, columns = (
            torch.stack([_down_and_up(length, max(1, round(length * side / longer))) for side in sides]).to(device)
            for length in (height, width)
        )
        return rows, columns


def _down_and_up(length: int, smaller: int) -> Tensor:
    """The matrix (length, length) by which a line of pixels is scaled to `smaller` pixels and back.

    Scaling is linear, and the same for all lines: with matrices, a batch of many sides is one product.
    """
    lines = torch.eye(length)[None, None]
    down = F.interpolate(lines, size=(smaller, length), mode="bilinear", antialias=True)
    return F.interpolate(down, size=(length, length), mode="bilinear")[0, 0]
