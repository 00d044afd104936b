"""Draws points over a photo, large enough to be looked at whatever the photo's size."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.faces.detector import Box
from mien.images import Pixels

Points = npt.NDArray[np.float32]

# The longest side of the picture lies between these: small faces are enlarged to so many pixels, large photos shrunk.
_SMALLEST, _LARGEST = 512, 1280
_FACE = 160
_BITS = 4  # of a pixel's fraction, for OpenCV's `shift`
# Sky blue and orange of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), with a rim that sets them off.
_POINT, _BOX, _RIM = (86, 180, 233), (230, 159, 0), (20, 24, 28)


def overlay(image: Pixels, boxes: Sequence[Box], points: Sequence[Points]) -> Pixels:
    """A copy of an image with each face's box and points, RGB; several faces are numbered from 1.

    `image` is uint8 (height, width, 1 or 3), `points` one (n, 2) a face: pixel centres from 0 of that image. The copy
    is scaled to a longest side of 512 to 1280 pixels.

    >>> overlay(np.zeros((48, 32, 1), np.uint8), [Box(0, 0, 32, 48)], [np.full((68, 2), 16, np.float32)]).shape
    (512, 341, 3)
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    scale = max(1.0, _SMALLEST / longest, *(_FACE / max(box.side, 1) for box in boxes))
    scale = min(scale, _LARGEST / longest)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(image, size, interpolation=method)
    drawn = cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB) if scaled.ndim == 2 else scaled.copy()
    for number, (box, own) in enumerate(zip(boxes, points, strict=True), start=1):
        _face(drawn, box, own, scale, str(number) if len(boxes) > 1 else "")
    return np.asarray(drawn, np.uint8)


def _face(drawn: Any, box: Box, points: Points, scale: float, label: str) -> None:
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
    if label:
        _label(drawn, label, left, top)


def _label(drawn: Any, text: str, left: int, top: int) -> None:
    """A number on a plate at the upper left corner of a box, above it where there is room."""
    size = max(drawn.shape[:2]) / 1000
    letters = 0.5 + 0.4 * size
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, letters, 2)
    base = top - 6 if top > height + 12 else top + height + 8
    start = max(2, min(left + 2, drawn.shape[1] - width - 8))
    cv2.rectangle(drawn, (start - 3, base - height - 5), (start + width + 5, base + 5), _RIM, cv2.FILLED)
    cv2.putText(drawn, text, (start + 1, base), cv2.FONT_HERSHEY_SIMPLEX, letters, (255, 255, 255), 2, cv2.LINE_AA)
