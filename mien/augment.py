"""What changes images on their way to the model: ops, and the pipeline that runs a list of them.

An op is called as `op(images, points=None)` and gives both back; it never writes into what it was given. Images are
float32 (n, c, h, w) with values 0 … 255, on any device; points, float32 (n, 68, 2), are moved together with the pixels.
`op.random` says whether it draws numbers; all of them come from torch's global generator, so that `torch.manual_seed`
fixes them. Each image has its own draw, and `p` is the probability that an image is changed.

What moves pixels is done by kornia; what computes each pixel by itself is a line of torch, since kornia's versions
work on values 0 … 1 (and its contrast is a multiplication). kornia is imported when an op that needs it is built.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Protocol

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional as F

from mien.errors import MienError
from mien.ibug import MIRROR
from mien.registry import register

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


class Op(Protocol):
    """What a pipeline calls; a plugin's op that has no `random` is taken to be random."""

    random: bool

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, and the points where they are now."""
        ...


class Pipeline:
    """Ops, one after the other; without ops it gives back what it gets.

    `normalize` is the last op, since all others expect values 0 … 255: another order is a MienError.

    >>> pipeline = Pipeline([RepeatChannels(n=3), Resize(size=64)])
    >>> pipeline.random, pipeline.output_shape((1, 48, 48))
    (False, (3, 64, 64))
    """

    def __init__(self, ops: Sequence[Op]) -> None:
        if any(isinstance(op, Normalize) for op in ops[:-1]):
            raise MienError("an op stands after normalize", expected="normalize as the last op")
        self.ops = tuple(ops)

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images (n, c, h, w) and points (n, 68, 2) after all ops."""
        for op in self.ops:
            images, points = op(images, points)
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


@register("op", "flip")
class Flip:
    """Mirror an image left to right; its points change places with their mirror partners."""

    random = True

    def __init__(self, *, p: Probability = 0.5) -> None:
        from kornia.augmentation import RandomHorizontalFlip

        self._flip = RandomHorizontalFlip(p=p)

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, some of them mirrored."""
        images, points = _by_kornia(self._flip, images, points)
        if points is not None:
            mirrored = self._flip.transform_matrix[:, 0, 0] < 0
            points = torch.where(mirrored[:, None, None], points[:, MIRROR], points)
        return images, points


@register("op", "affine")
class Affine:
    """Turn, scale and shift an image about its centre, black where nothing was.

    `rotate` in degrees: an angle is drawn from −rotate … rotate. `scale`: a factor from [low, high]. `shift`: a share
    of the width and one of the height, each from −shift … shift. All three at rest is a MienError.
    """

    random = True

    def __init__(
        self,
        *,
        rotate: Annotated[float, Field(ge=0, le=180)] = 0.0,
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
        images, points = _by_kornia(self._warp, images, points)
        return images.clamp(0, WHITE), points


@register("op", "crop")
class Crop:
    """Add `padding` black pixels on every side and cut out the image's own size anywhere."""

    random = True

    def __init__(self, *, padding: Annotated[int, Field(ge=1)] = 4) -> None:
        from kornia.augmentation import RandomCrop

        # kornia wants to know the size beforehand, so there is one cropper for each size that is met.
        self._cropper = cache(lambda height, width: RandomCrop((height, width), padding=padding))

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images shifted by up to `padding` whole pixels each way."""
        return _by_kornia(self._cropper(images.shape[2], images.shape[3]), images, points)


@register("op", "brightness")
class Brightness:
    """Add to an image −change … change of the way from black to white."""

    random = True

    def __init__(self, *, change: Share = 0.2, p: Probability = 1.0) -> None:
        self.change, self.p = change, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, darker or brighter."""
        changed = images + WHITE * _draw(images, -self.change, self.change)
        return _some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "contrast")
class Contrast:
    """Multiply an image's distances from its mean by 1 − change … 1 + change."""

    random = True

    def __init__(self, *, change: Share = 0.2, p: Probability = 1.0) -> None:
        self.change, self.p = change, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, flatter or harder."""
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        changed = mean + (images - mean) * _draw(images, 1 - self.change, 1 + self.change)
        return _some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "gamma")
class Gamma:
    """Raise an image's values, as shares of white, to a power drawn from `exponent` [low, high]: above 1 is darker."""

    random = True

    def __init__(self, *, exponent: Positives = (0.7, 1.4), p: Probability = 1.0) -> None:
        self.exponent, self.p = exponent, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images with their middle tones moved; black and white stay."""
        changed = WHITE * (images / WHITE) ** _draw(images, *self.exponent)
        return _some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "noise")
class Noise:
    """Add Gaussian noise of standard deviation `sd`, in gray values, to every value of an image."""

    random = True

    def __init__(self, *, sd: Positive = 8.0, p: Probability = 1.0) -> None:
        self.sd, self.p = sd, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images with noise."""
        changed = images + self.sd * torch.randn(images.shape, device=images.device)
        return _some(self.p, changed.clamp_(0, WHITE), images), points


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
        images, points = _by_kornia(self._blur, images, points)
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
        return _by_kornia(self._erase, images, points)


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
    """Show a gray image `n` times, as networks made for colour want it."""

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


def _by_kornia(module: Any, images: Tensor, points: Tensor | None) -> Moved:
    """Images through one of kornia's modules, and points by the matrix (n, 3, 3) that it says it moved them by."""
    images = module(images)
    if points is not None:
        matrix: Tensor = module.transform_matrix.to(points)
        points = points @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 2]
    return images, points


def _draw(images: Tensor, low: float, high: float) -> Tensor:
    """One number from low … high for each image, (n, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(images), 1, 1, 1, device=images.device)


def _some(p: float, changed: Tensor, images: Tensor) -> Tensor:
    """Each image changed with probability p."""
    return torch.where(torch.rand(len(images), 1, 1, 1, device=images.device) < p, changed, images)
