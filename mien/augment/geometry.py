"""Ops that move pixels, and points with them: flip, affine, crop, frame."""

import math
from functools import cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mien.augment.op import (
    ASCENDING,
    WHITE,
    Moved,
    Positives,
    Probability,
    Seen,
    Share,
    by_kornia,
    chosen,
    draw,
    moved_by,
)
from mien.errors import MienError
from mien.faces.ibug import MIRROR
from mien.registry import register

Degrees = Annotated[float, Field(ge=0, le=180)]
Widening = Annotated[float, Field(gt=0, le=2)]


@register("op", "flip")
class Flip:
    """Mirror an image left to right; its points change places with their mirror partners.

    With `alternate` an image is mirrored in every other epoch, and `p` is that of its first one: of two epochs in a
    row each shows another side of it, so that nothing is seen twice before all is seen once. Source: K. Jordan, "94 %
    on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, 2024, section 3.6; which images begin mirrored is
    told by a hash of their row and the training's seed.
    """

    random = True

    def __init__(self, *, p: Probability = 0.5, alternate: bool = False) -> None:
        from kornia.augmentation import RandomHorizontalFlip

        self._flip = RandomHorizontalFlip(p=p)
        self.p, self.wants_seen = p, alternate

    def __call__(self, images: Tensor, points: Tensor | None = None, seen: Seen | None = None) -> Moved:
        """The images, some of them mirrored."""
        if seen is not None:
            mirrored = ((shares(seen.rows, seen.seed) < self.p) ^ bool(seen.epoch % 2)).to(images.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            if points is not None:
                turned = points[:, MIRROR] * points.new_tensor([-1, 1]) + points.new_tensor([images.shape[3] - 1, 0])
                points = torch.where(mirrored[:, None, None], turned, points)
            return images, points
        images, points = by_kornia(self._flip, images, points)
        if points is not None:
            mirrored = self._flip.transform_matrix[:, 0, 0] < 0
            points = torch.where(mirrored[:, None, None], points[:, MIRROR], points)
        return images, points


def shares(rows: Tensor, seed: int) -> Tensor:
    """A number 0 … 1 (excluded) for each row, int64 (n,), float64, that nothing but row and seed decides.

    T. Mueller's hash of 32-bit integers; the same on every machine.

    >>> shares(torch.tensor([0, 1, 2]), seed=1).tolist() == shares(torch.tensor([0, 1, 2]), seed=1).tolist()
    True
    """
    mask = 0xFFFFFFFF
    value = (rows + (seed + 1) * 0x9E3779B1) & mask
    for _ in range(2):
        value = ((value ^ (value >> 16)) * 0x45D9F3B) & mask
    return (value ^ (value >> 16)).double() / 2**32


@register("op", "affine")
class Affine:
    """Turn, scale and shift an image about its centre; what comes in from outside is black.

    `rotate` in degrees: an angle is drawn from −rotate … rotate. `scale`: a factor from [low, high]. `shift`: a share
    of the width and one of the height, each from −shift … shift. If all three change nothing, it is a MienError.
    """

    random = True

    def __init__(
        self,
        *,
        rotate: Degrees = 0.0,
        scale: Positives = (1.0, 1.0),
        shift: Share = 0.0,
        p: Probability = 1.0,
    ) -> None:
        if rotate == 0 and scale == (1, 1) and shift == 0:
            raise MienError("affine changes nothing", expected="rotate, scale or shift")
        from kornia.augmentation import RandomAffine

        self._warp = RandomAffine(degrees=rotate, translate=(shift, shift), scale=scale, p=p, padding_mode="zeros")

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images moved, of the same size."""
        images, points = by_kornia(self._warp, images, points)
        return images.clamp(0, WHITE), points


@register("op", "crop")
class Crop:
    """Add `padding` black pixels on every side and cut out the image's own size anywhere."""

    random = True

    def __init__(self, *, padding: Annotated[int, Field(ge=1)] = 4) -> None:
        from kornia.augmentation import RandomCrop

        # kornia needs the size in advance, so there is one cropper for each size that comes.
        self._cropper = cache(lambda height, width: RandomCrop((height, width), padding=padding))

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images shifted by up to `padding` whole pixels each way."""
        return by_kornia(self._cropper(images.shape[2], images.shape[3]), images, points)


@register("op", "frame")
class Frame:
    """Cut a square about the face from a wide square, with the errors of a real detector.

    The wide square's middle half is the face: its box's longer side is half of the wide square's. The cut's side is
    drawn from `widen` [low, high] × the box's longer side (below 1 a part of the face is lost), then turned by
    −rotate … rotate degrees and moved, along x and along y, by −shift … shift of its own side. What lies outside of
    the wide square repeats its edge.

    With probability `partial` the cut is instead a partial crop of the face: its side is 0.5 … 0.9 of the box's, and
    its middle anywhere such that, unturned, it lies inside the box. Points outside of the cut stay known.
    """

    random = True

    def __init__(
        self,
        *,
        widen: Annotated[tuple[Widening, Widening], ASCENDING] = (1.0, 1.5),
        shift: Share = 0.1,
        rotate: Degrees = 15.0,
        partial: Probability = 0.0,
    ) -> None:
        from kornia.geometry.transform import warp_affine

        self._warp = warp_affine
        self.widen, self.shift, self.rotate, self.partial = widen, shift, rotate, partial

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The cuts (n, c, s, s) of wide squares (n, c, 2s, 2s); an odd side, or sides that differ, are a MienError."""
        height, width = images.shape[2:]
        if height != width or height % 2:
            raise MienError(f"frame got images of {width} × {height} pixels", expected="squares of an even side")
        size = height // 2
        matrix = self._matrices(images, size)
        # Bilinear is enough: a cut is at most twice as large as what is made of it.
        cut = self._warp(images, matrix, (size, size), mode="bilinear", padding_mode="border")
        return cut.clamp(0, WHITE), points if points is None else moved_by(matrix, points)

    def _matrices(self, images: Tensor, size: int) -> Tensor:
        """The maps from pixels of the wide squares to pixels of the cuts, (n, 2, 3)."""
        wide = draw(images, *self.widen).flatten()
        part = chosen(self.partial, images)
        side = torch.where(part, draw(images, 0.5, 0.9).flatten(), wide)
        # Both in sides of the box, which are `size` pixels.
        reach = torch.where(part, (1 - side) / 2, self.shift * side)
        middle = reach[:, None] * (2 * torch.rand(len(images), 2, device=images.device) - 1)
        angle = math.radians(self.rotate) * (2 * torch.rand(len(images), device=images.device) - 1)
        # cut = turn · (wide − its middle − the cut's middle) / side + the cut's own middle
        cos, sin = angle.cos() / side, angle.sin() / side
        turn = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
        source = (2 * size - 1) / 2 + size * middle[:, :, None]
        return torch.cat([turn, (size - 1) / 2 - turn @ source], dim=2)
