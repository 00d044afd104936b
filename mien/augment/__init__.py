"""Ops change images on their way to the model; a pipeline runs a list of ops.

An op is called as `op(images, points=None)` and returns both; it never writes into its arguments. Images are
float32 (n, c, h, w) with values 0 … 255, on any device; points, float32 (n, 68, 2), are moved together with the pixels.
`op.random` says whether it draws numbers; all of them come from torch's global generator, so that `torch.manual_seed`
fixes them. Each image has its own draw, and `p` is the probability that an image is changed.

kornia moves pixels. Ops that compute each pixel by itself are a line of torch, since kornia's versions work on values
0 … 1 (and its contrast is a multiplication). kornia is imported when an op that needs it is built.
"""

from mien.augment import geometry, jpeg, light, quality, views
from mien.augment.input import Gray, Normalize, RepeatChannels, Resize
from mien.augment.op import Op, Seen
from mien.augment.pipeline import Pipeline

__all__ = [
    "Gray",
    "Normalize",
    "Op",
    "Pipeline",
    "RepeatChannels",
    "Resize",
    "Seen",
    "geometry",
    "jpeg",
    "light",
    "quality",
    "views",
]
