"""Test-time augmentation: the fixed views of each image that a file can name; nothing is drawn by chance.

Each kind gives views of images float32 (n, c, h, w) that have the same shape, each followed by its mirror image.
"""

from collections.abc import Iterable, Iterator
from itertools import product

from torch import Tensor
from torch.nn import functional as F

from mien.registry import register


@register("tta", "flip")
def flip(images: Tensor) -> Iterator[Tensor]:
    """The image itself and its mirror image."""
    yield from _with_mirrors([images])


@register("tta", "flip-shifts")
def flip_shifts(images: Tensor) -> Iterator[Tensor]:
    """The image as it is and shifted left, right, up and down by a sixteenth of the side, and the mirror images.

    It is shifted by at least 1 pixel; the border is repeated.
    """
    height, width = images.shape[2:]
    down, right = max(height // 16, 1), max(width // 16, 1)
    yield from _with_mirrors(
        _shifted(images, y, x) for y, x in ((0, 0), (0, -right), (0, right), (-down, 0), (down, 0))
    )


@register("tta", "ten-crop")
def ten_crop(images: Tensor) -> Iterator[Tensor]:
    """The four corners and the centre, 7/8 of each side, stretched to the whole size, and their mirror images.

    Source: A. Krizhevsky et al., NeurIPS 2012, section 4.1, with its 224 of 256 pixels.
    """
    height, width = images.shape[2:]
    high, wide = height * 7 // 8, width * 7 // 8
    corners = [*product((0, height - high), (0, width - wide)), ((height - high) // 2, (width - wide) // 2)]
    cut = (images[:, :, top : top + high, left : left + wide] for top, left in corners)
    yield from _with_mirrors(F.interpolate(part, size=(height, width), mode="bilinear", antialias=True) for part in cut)


def _with_mirrors(views: Iterable[Tensor]) -> Iterator[Tensor]:
    for view in views:
        yield view
        yield view.flip(3)


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    """The images moved by whole pixels, what comes in being the border repeated."""
    edges = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))
    padded = F.pad(images, edges, mode="replicate")
    height, width = images.shape[2:]
    top, left = max(-down, 0), max(-right, 0)
    return padded[:, :, top : top + height, left : left + width]
