"""Draws boxes, labels and points over a photo, large enough to be looked at whatever the photo's size."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mien.faces.detector import Box
from mien.images import Pixels

Points = npt.NDArray[np.float32]
Corners = tuple[int, int, int, int]

# The longest side of the picture lies between these: small faces are enlarged to so many pixels, large photos shrunk.
_SMALLEST, _LARGEST = 512, 1280
_FACE = 160
_LETTERS, _PAD = 15, 4
_BITS = 4  # of a pixel's fraction, for OpenCV's `shift`
# Sky blue and orange of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), with a rim that sets them off.
_POINT, _BOX, _RIM = (86, 180, 233), (230, 159, 0), (20, 24, 28)


def overlay(
    image: Pixels,
    boxes: Sequence[Box],
    points: Sequence[Points],
    labels: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
) -> Pixels:
    """A copy of an image with each face's box, points and label, RGB; without labels several faces have numbers from 1.

    `image` is uint8 (height, width, 1 or 3), `points` one (n, 2) a face: pixel centres from 0 of that image. The copy
    is scaled to a longest side of 512 to 1280 pixels, or to `size`, width and height of the same shape.

    >>> overlay(np.zeros((48, 32, 1), np.uint8), [Box(0, 0, 32, 48)], [np.full((68, 2), 16, np.float32)]).shape
    (512, 341, 3)
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    scale = max(1.0, _SMALLEST / longest, *(_FACE / max(box.side, 1) for box in boxes))
    scale = size[0] / width if size else min(scale, _LARGEST / longest)
    size = size or (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(image, size, interpolation=method)
    drawn = cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB) if scaled.ndim == 2 else scaled.copy()
    numbers = [str(number) for number in range(1, len(boxes) + 1)] if len(boxes) > 1 else [""] * len(boxes)
    corners = [_face(drawn, box, own, scale) for box, own in zip(boxes, points, strict=True)]
    return _labelled(np.asarray(drawn, np.uint8), corners, numbers if labels is None else labels)


def steady_size(width: int, height: int) -> tuple[int, int]:
    """The size of all pictures of a video: a longest side of 512 to 1280 pixels, and even sides, as codecs want them.

    >>> steady_size(1921, 1080), steady_size(64, 48)
    ((1280, 720), (512, 384))
    """
    longest = max(width, height)
    scale = min(max(1.0, _SMALLEST / longest), _LARGEST / longest)
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


def _face(drawn: Any, box: Box, points: Points, scale: float) -> Corners:
    """Draw a box and its points; gives the box in the picture."""
    height, width = drawn.shape[:2]
    radius = float(np.clip(0.012 * scale * box.side, 1.2, 5))
    thick = 1 if radius < 2.5 else 2
    # A box that reaches beyond the photo shows where it ends.
    left, right = (round(float(np.clip(x * scale, 1, width - 2))) for x in (box.left, box.left + box.width))
    top, bottom = (round(float(np.clip(y * scale, 1, height - 2))) for y in (box.top, box.top + box.height))
    cv2.rectangle(drawn, (left, top), (right, bottom), _RIM, thick + 2)
    cv2.rectangle(drawn, (left, top), (right, bottom), _BOX, thick)
    # The middle of a pixel stays the middle of what it became.
    places = (np.nan_to_num(points + 0.5) * scale - 0.5) * (1 << _BITS)
    for rim, color in ((1.0, _RIM), (0.0, _POINT)):
        for x, y in np.clip(places, -(2**20), 2**20).round().astype(int).tolist():
            cv2.circle(drawn, (x, y), round((radius + rim) * (1 << _BITS)), color, cv2.FILLED, cv2.LINE_AA, _BITS)
    return left, top, right, bottom


def _labelled(drawn: Pixels, corners: Sequence[Corners], labels: Sequence[str]) -> Pixels:
    """White letters on a plate above each box, or below it, or in it: where there is room first."""
    picture = Image.fromarray(drawn)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(_LETTERS, round(0.022 * max(picture.size))))
    plates: list[Corners] = []
    for (left, top, _, bottom), label in zip(corners, labels, strict=True):
        if not label:
            continue
        wide, high = (round(end) + 2 * _PAD for end in draw.textbbox((0, 0), label, font)[2:])
        x = max(0, min(left - 1, picture.width - wide))
        places = [(x, y, x + wide, y + high) for y in (top - high - 2, bottom + 3, top + 2, bottom - high - 2)]
        free = (place for place in places if _is_free(place, plates, picture.height))
        plate = next(free, places[2])
        plates.append(plate)
        draw.rectangle(plate, fill=_RIM)
        draw.text((plate[0] + _PAD, plate[1] + _PAD), label, fill="white", font=font)
    return np.asarray(picture)


def _is_free(plate: Corners, others: Sequence[Corners], height: int) -> bool:
    left, top, right, bottom = plate
    inside = top >= 0 and bottom <= height
    return inside and all(left >= o[2] or right <= o[0] or top >= o[3] or bottom <= o[1] for o in others)
