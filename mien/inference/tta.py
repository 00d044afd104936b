"""Test-time augmentation: fixed views of each image, whose probabilities are averaged; nothing is drawn by chance."""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

# How many views each kind has.
VIEWS = {"flip": 2, "flip-shifts": 10, "ten-crop": 10}


def views(images: Tensor, kind: str) -> Iterator[Tensor]:
    """The views of images float32 (n, c, h, w), each of the same shape; the first kind's first is the image itself.

    `flip`: the image and its mirror image. `flip-shifts`: both, as they are and shifted left, right, up and down by a
    sixteenth of the side (at least 1 pixel; the border is repeated). `ten-crop`: the four corners and the centre, 7/8
    of each side, stretched to the whole size, and their mirror images (A. Krizhevsky et al., NeurIPS 2012, section 4.1,
    with its 224 of 256 pixels).

    >>> [len(list(views(torch.zeros(1, 1, 48, 48), kind))) for kind in VIEWS]
    [2, 10, 10]
    """
    height, width = images.shape[2:]
    if kind == "flip":
        seen = [images]
    elif kind == "flip-shifts":
        down, right = max(height // 16, 1), max(width // 16, 1)
        seen = [_shifted(images, y, x) for y, x in ((0, 0), (0, -right), (0, right), (-down, 0), (down, 0))]
    elif kind == "ten-crop":
        high, wide = height * 7 // 8, width * 7 // 8
        corners = [*product((0, height - high), (0, width - wide)), ((height - high) // 2, (width - wide) // 2)]
        cut = (images[:, :, top : top + high, left : left + wide] for top, left in corners)
        seen = [F.interpolate(one, size=(height, width), mode="bilinear", antialias=True) for one in cut]
    else:
        raise ValueError(f"no test-time augmentation is called {kind!r}")
    for one in seen:
        yield one
        yield one.flip(3)


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    """The images moved by whole pixels, what comes in being the border repeated."""
    edges = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))
    padded = F.pad(images, edges, mode="replicate")
    height, width = images.shape[2:]
    top, left = max(-down, 0), max(-right, 0)
    return padded[:, :, top : top + height, left : left + width]


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of the views' probabilities, (n, classes), from their logits.

    >>> mean_logits([torch.zeros(1, 2), torch.zeros(1, 2)]).exp().tolist()
    [[0.5, 0.5]]
    """
    return torch.stack([F.log_softmax(one, dim=1) for one in logits]).logsumexp(dim=0) - torch.tensor(len(logits)).log()
