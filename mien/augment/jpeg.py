"""The op that degrades an image as storing it as JPEG would; it makes no bytes, only the loss.

Source: ITU-T Recommendation T.81 (the transform, A.3.3; the tables, K.1) and T.871 (JFIF: YCbCr); how a quality scales
the tables, and halved colour, as in the Independent JPEG Group's library. Written in torch for batches with a
quality for each image: kornia's `RandomJPEG` takes two milliseconds for an image of 64 pixels.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from mien.augment.op import ASCENDING, WHITE, Moved, Probability, check_channels, chosen
from mien.registry import register

Quality = Annotated[int, Field(ge=1, le=100)]

BLOCK = 8

# fmt: off
LUMA = torch.tensor([
    16, 11, 10, 16,  24,  40,  51,  61,
    12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56,
    14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77,
    24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103,  99,
])
CHROMA = torch.tensor([
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
])
# fmt: on
# Y, Cb and Cr of R, G and B, the last two around 0.
YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


@register("op", "jpeg")
class Jpeg:
    """Store an image as JPEG, at a quality (1 … 100) drawn from `quality` [low, high], and read it again.

    Colours are stored at half the width and height, as most programs do.
    """

    random = True

    def __init__(
        self, *, quality: Annotated[tuple[Quality, Quality], ASCENDING] = (30, 90), p: Probability = 0.5
    ) -> None:
        self.quality, self.p = quality, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images with the losses of JPEG, in whole values; other than 1 or 3 channels are a MienError."""
        check_channels("jpeg", images, 1, 3)
        picked = chosen(self.p, images)
        if not picked.any():
            return images, points
        low, high = self.quality
        few = images[picked].contiguous()
        quality = torch.randint(low, high + 1, (len(few),), device=images.device)
        changed = images.clone()
        changed[picked] = stored(few, quality)
        return changed, points


def stored(images: Tensor, quality: Tensor) -> Tensor:
    """Images (n, 1 or 3, h, w), values 0 … 255, after JPEG of qualities (n,): whole values of the same shape.

    >>> stored(torch.full((1, 1, 5, 9), 77.0), torch.tensor([25])).unique()
    tensor([76.])
    """
    height, width = images.shape[2:]
    gray = images.shape[1] == 1
    # Pad to whole blocks of the image and, for colour, of its half size.
    block = BLOCK if gray else 2 * BLOCK
    planes = F.pad(images, (0, -width % block, 0, -height % block), mode="replicate")
    if gray:
        planes = _quantised(planes - 128, tables(LUMA, quality)) + 128
    else:
        ycbcr = torch.einsum("dc,nchw->ndhw", YCBCR.to(images), planes).round()
        light = _quantised(ycbcr[:, :1] - 128, tables(LUMA, quality)) + 128
        colour = _quantised(F.avg_pool2d(ycbcr[:, 1:], 2), tables(CHROMA, quality))
        colour = F.interpolate(colour, scale_factor=2.0, mode="bilinear")
        blue, red = colour.split(1, dim=1)
        planes = torch.cat([light + 1.402 * red, light - 0.344136 * blue - 0.714136 * red, light + 1.772 * blue], dim=1)
    return planes[:, :, :height, :width].round().clamp(0, WHITE)


def tables(base: Tensor, quality: Tensor) -> Tensor:
    """The quantisation steps (n, 64) of the coefficients at each quality (n,), row by row of a block."""
    quality = quality[:, None]
    percent = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return ((base.to(quality.device) * percent + 50) // 100).clamp(1, 255)


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes (n, c, h, w) of whole blocks, with each block's cosine coefficients rounded to steps (n, 64)."""
    n, c, height, width = planes.shape
    grid = (n, c, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    blocks = planes.reshape(grid).transpose(3, 4).reshape(n, -1, BLOCK * BLOCK)
    cosines = _cosines().to(planes)
    coefficients = blocks @ cosines.T
    steps = steps[:, None].to(planes)
    blocks = (coefficients / steps).round() * steps @ cosines
    return blocks.view(n, c, grid[2], grid[4], BLOCK, BLOCK).transpose(3, 4).reshape(planes.shape)


def _cosines() -> Tensor:
    """The orthonormal matrix (64, 64) from a block's pixels to its cosine coefficients, both row by row."""
    frequency, place = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)[None]
    line = torch.cos(math.pi / BLOCK * (place + 0.5) * frequency) * math.sqrt(2 / BLOCK)
    line[0] /= math.sqrt(2)
    return torch.kron(line, line)
