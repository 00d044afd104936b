"""Ops that turn stored images into a model's input: normalize, standardize, resize, repeat_channels, gray."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from mien.augment.op import WHITE, Moved, Positive, Share, check_channels
from mien.errors import MienError
from mien.registry import register


@register("op", "normalize")
class Normalize:
    """(x / 255 − mean) / sd, `mean` and `sd` being shares of white, one for all channels or one each.

    >>> images, _ = Normalize(mean=0.5, sd=0.25)(torch.tensor([0.0, 255.0]).view(1, 1, 1, 2))
    >>> images.flatten()
    tensor([-2.,  2.])
    """

    random = False

    def __init__(
        self,
        *,
        mean: Share | Annotated[tuple[Share, ...], Field(min_length=1)] = 0.5,
        sd: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] = 0.5,
    ) -> None:
        self.mean = (mean,) if isinstance(mean, int | float) else tuple(mean)
        self.sd = (sd,) if isinstance(sd, int | float) else tuple(sd)

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images around 0; a number of means or sds that doesn't fit the channels is a MienError."""
        channels = images.shape[1]
        for name, values in (("mean", self.mean), ("sd", self.sd)):
            if len(values) not in (1, channels):
                raise MienError(
                    f"normalize has {len(values)} values for images of {channels} "
                    f"{'channel' if channels == 1 else 'channels'} in {name}",
                    expected=f"one value or {channels}",
                )
        # One multiplication and one addition: x · 1/(255 sd) − mean/sd.
        factor = torch.tensor([1 / (WHITE * sd) for sd in self.sd], device=images.device).view(-1, 1, 1)
        offset = torch.tensor(self.mean, device=images.device) / torch.tensor(self.sd, device=images.device)
        return images * factor - offset.view(-1, 1, 1), points


@register("op", "standardize")
class Standardize:
    """Each image less its own mean, over its own standard deviation, so that light and contrast tell nothing.

    The deviation is taken as sqrt(variance + 8²): the noise of a blank image stays small.

    >>> images, _ = Standardize()(torch.tensor([0.0, 12.0, 50.0, 50.0]).view(2, 1, 1, 2))
    >>> images.flatten()
    tensor([-0.6000,  0.6000,  0.0000,  0.0000])
    """

    random = False

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images around 0."""
        centred = images - images.mean(dim=(1, 2, 3), keepdim=True)
        return centred * (centred.square().mean(dim=(1, 2, 3), keepdim=True) + 8**2).rsqrt(), points


@register("op", "resize")
class Resize:
    """Scale images to `size` × `size` pixels: bilinear, each pixel of a smaller image a mean of what it covers."""

    random = False

    def __init__(self, *, size: Annotated[int, Field(ge=1)]) -> None:
        self.size = size

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images (n, c, size, size)."""
        height, width = images.shape[2:]
        if (height, width) == (self.size, self.size):
            return images, points
        images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        if points is not None:
            scale = torch.tensor([self.size / width, self.size / height], device=points.device)
            # Pixel centres count from 0, so the image's edge is at −0.5 before and after.
            points = (points + 0.5) * scale - 0.5
        return images.clamp(0, WHITE), points


@register("op", "repeat_channels")
class RepeatChannels:
    """Repeat a gray image as `n` channels, for networks made for colour."""

    random = False

    def __init__(self, *, n: Annotated[int, Field(ge=2)] = 3) -> None:
        self.n = n

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images (n, `n`, h, w), a view; images of more than one channel are a MienError."""
        if images.shape[1] != 1:
            raise MienError(
                f"repeat_channels got images of {images.shape[1]} channels", expected="gray images of 1 channel"
            )
        return images.expand(-1, self.n, -1, -1), points


@register("op", "gray")
class Gray:
    """Turn a colour image gray, with 1 channel, by the luma of ITU-R BT.601; a gray image stays the same.

    >>> Gray()(torch.tensor([100.0, 200.0, 50.0]).view(1, 3, 1, 1))[0].flatten()
    tensor([153.])
    """

    random = False

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images (n, 1, h, w); other than 1 or 3 channels are a MienError."""
        check_channels("gray", images, 1, 3)
        return luma(images), points


def luma(images: Tensor) -> Tensor:
    """The luma 0.299 R + 0.587 G + 0.114 B of colour images (n, 3, h, w), as (n, 1, h, w); gray images as they are.

    Source: ITU-R Recommendation BT.601.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    gray: Tensor = 0.299 * red + 0.587 * green + 0.114 * blue
    return gray
