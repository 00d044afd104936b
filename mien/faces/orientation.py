"""Points of an image as it is stored, and as its EXIF orientation turns it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.faces.ibug import MIRROR

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Header:
    """The header of an image file: width and height as stored, and the EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int

    @property
    def turned(self) -> "Header":
        """The header of the image as it is decoded: upright."""
        lying = self.orientation >= 5
        return Header(*((self.height, self.width) if lying else (self.width, self.height)), 1)


def upright(points: Points, header: Header) -> Points:
    """Points of the image as stored, moved to the image as turned by its EXIF orientation.

    Where that mirrors the picture, left and right points change places, as they do for the viewer.

    >>> upright(np.full((68, 2), [9.0, 0.0]), Header(10, 20, 6))[0].tolist()
    [19.0, 9.0]
    """
    x, y = points[:, 0], points[:, 1]
    right, bottom = header.width - 1 - x, header.height - 1 - y
    places = ((x, y), (right, y), (right, bottom), (x, bottom), (y, x), (bottom, x), (bottom, right), (y, right))
    moved = np.stack(places[header.orientation - 1], axis=1)
    mirrored = header.orientation in (2, 4, 5, 7)
    return moved[list(MIRROR)] if mirrored else moved
