"""A list of ops that runs as one op."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mien.augment.input import Normalize, Standardize
from mien.augment.op import Moved, Op, Seen
from mien.errors import MienError


class Pipeline:
    """Runs ops one after the other; without ops, images and points stay as they are.

    `normalize` or `standardize` is the last op, since all others expect values 0 … 255: another order is a MienError.

    >>> from mien.augment import RepeatChannels, Resize
    >>> pipeline = Pipeline([RepeatChannels(n=3), Resize(size=64)])
    >>> pipeline.random, pipeline.output_shape((1, 48, 48))
    (False, (3, 64, 64))
    """

    def __init__(self, ops: Sequence[Op]) -> None:
        for op in ops[:-1]:
            if isinstance(op, Normalize | Standardize):
                name = type(op).__name__.lower()
                raise MienError(f"an op stands after {name}", expected=f"{name} as the last op")
        self.ops = tuple(ops)

    def __call__(self, images: Tensor, points: Tensor | None = None, seen: Seen | None = None) -> Moved:
        """The images (n, c, h, w) and points (n, 68, 2) after all ops; `seen` says which images, in which epoch."""
        for op in self.ops:
            more = (seen,) if getattr(op, "wants_seen", False) else ()
            images, points = op(images, points, *more)
        return images, points

    @property
    def random(self) -> bool:
        """Whether any op draws numbers."""
        return any(getattr(op, "random", True) for op in self.ops)

    def output_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Channels, height and width that images of `shape` (channels, height, width) have after all ops.

        Found by running the pipeline on one black image; torch's generator is left as it was. An op that doesn't
        take such an image is a MienError.
        """
        with torch.random.fork_rng(devices=[]):
            images, _ = self(torch.zeros(1, *shape))
        _, channels, height, width = images.shape
        return channels, height, width
