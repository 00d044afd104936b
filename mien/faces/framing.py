"""Faces of photos framed as those that expression models are trained on: FER2013's, cut tight about the face."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mien.faces.detector import Face
from mien.faces.squares import warped
from mien.images import Pixels


class Framing(NamedTuple):
    """Where the square about a face stands in a detector's box, in sides of the latter (`Box.side`).

    `scale` is the square's side, `down` how far its middle is below the box's; `turned`: with the face, until its eyes
    are level.
    """

    scale: float
    down: float
    turned: bool


# The best on PublicTest by benchmarks/framing.py, see docs/predict.md. The cascade's boxes are as large as YuNet's.
FER2013 = Framing(scale=0.95, down=0.0, turned=True)


def frame_map(face: Face, size: int, framing: Framing = FER2013) -> npt.NDArray[np.float64]:
    """The map (2, 3) from a photo's pixel centres to those of the face's square of `size` pixels."""
    angle = tilt(face) if framing.turned else 0.0
    side = framing.scale * face.box.side
    factor = size / side
    along, across = factor * math.cos(angle), factor * math.sin(angle)
    # Down is the face's down. A box reaches from a pixel's edge, which is half a pixel before its centre.
    x = face.box.left + face.box.width / 2 - math.sin(angle) * framing.down * face.box.side - 0.5
    y = face.box.top + face.box.height / 2 + math.cos(angle) * framing.down * face.box.side - 0.5
    middle = (size - 1) / 2
    return np.array(
        [
            [along, across, middle - along * x - across * y],
            [-across, along, middle + across * x - along * y],
        ]
    )


def framed(image: Pixels, face: Face, size: int, framing: Framing = FER2013) -> Pixels:
    """A face of an image, uint8 (h, w, c), as a model is to see it: uint8 (size, size, c); edges are carried on."""
    return warped(image, frame_map(face, size, framing), size)


def tilt(face: Face) -> float:
    """By how much a face leans, in radians, clockwise: the angle of the line through its eyes; 0 without marks.

    >>> from mien.faces.detector import Box
    >>> from mien.faces.squares import Square
    >>> marks = ((0.0, 0.0), (10.0, 10.0), (5.0, 10.0), (0.0, 15.0), (10.0, 20.0))
    >>> round(math.degrees(tilt(Face(Box(0, 0, 9, 9), 0.9, Square(0, 0, 9), marks))))
    45
    """
    if face.marks is None:
        return 0.0
    (left, top), (right, bottom) = face.marks[:2]
    return math.atan2(bottom - top, right - left)
