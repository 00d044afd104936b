"""Ops on light and colour: brightness, contrast, gamma, saturation, hue."""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor

from mien.augment.input import luma
from mien.augment.op import WHITE, Moved, Positives, Probability, Share, check_channels, chosen, draw, some
from mien.registry import register


@register("op", "brightness")
class Brightness:
    """Add −change … change of the range from black to white to an image."""

    random = True

    def __init__(self, *, change: Share = 0.2, p: Probability = 1.0) -> None:
        self.change, self.p = change, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, darker or brighter."""
        changed = images + WHITE * draw(images, -self.change, self.change)
        return some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "contrast")
class Contrast:
    """Multiply an image's distances from its mean by 1 − change … 1 + change."""

    random = True

    def __init__(self, *, change: Share = 0.2, p: Probability = 1.0) -> None:
        self.change, self.p = change, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, flatter or harder."""
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        changed = mean + (images - mean) * draw(images, 1 - self.change, 1 + self.change)
        return some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "gamma")
class Gamma:
    """Raise an image's values, as shares of white, to a power drawn from `exponent` [low, high]: above 1 is darker."""

    random = True

    def __init__(self, *, exponent: Positives = (0.7, 1.4), p: Probability = 1.0) -> None:
        self.exponent, self.p = exponent, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images with their middle tones moved; black and white stay."""
        changed = WHITE * (images / WHITE) ** draw(images, *self.exponent)
        return some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "saturation")
class Saturation:
    """Multiply the distances of an image's colours from their gray by 1 − change … 1 + change.

    Gray is the luma of ITU-R BT.601, as in Pillow's `ImageEnhance.Color`, so an image's gray copy stays the same but
    where colours leave 0 … 255.
    """

    random = True

    def __init__(self, *, change: Share = 0.2, p: Probability = 1.0) -> None:
        self.change, self.p = change, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images, paler or more vivid; other than 3 channels are a MienError."""
        check_channels("saturation", images, 3)
        gray = luma(images)
        changed = gray + (images - gray) * draw(images, 1 - self.change, 1 + self.change)
        return some(self.p, changed.clamp_(0, WHITE), images), points


@register("op", "hue")
class Hue:
    """Turn an image's hues by −change … change of the colour circle; saturation and value, as HSV has them, stay."""

    random = True

    def __init__(self, *, change: Annotated[float, Field(ge=0, le=0.5)] = 0.05, p: Probability = 1.0) -> None:
        from kornia.enhance import adjust_hue

        self._turn = adjust_hue
        self.change, self.p = change, p

    def __call__(self, images: Tensor, points: Tensor | None = None) -> Moved:
        """The images in other colours; other than 3 channels are a MienError."""
        check_channels("hue", images, 3)
        picked = chosen(self.p, images)
        if not picked.any():
            return images, points
        few = images[picked]
        angle = draw(few, -2 * math.pi * self.change, 2 * math.pi * self.change).flatten()
        changed = images.clone()
        changed[picked] = (WHITE * self._turn(few / WHITE, angle)).clamp(0, WHITE)
        return changed, points
