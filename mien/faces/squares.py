"""Squares about faces, and the pixels and points in them: wide ones for training, or as a detector would frame them."""

import hashlib
import math
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mien.images import Pixels

Frame = Literal["wide", "detector"]
Points = npt.NDArray[np.float32]
Squares = npt.NDArray[np.float64]

# A detector's square: its side is `WIDEN` times the longer side of the points' box, with random errors of size and
# middle (standard deviations of the side's logarithm, and of the middle in shares of the side).
WIDEN, SIDE_SD, MIDDLE_SD = 1.25, 0.06, 0.04
# The side of a wide square over the longer side of the points' box.
ROOM = 2.0


class Square(NamedTuple):
    """A square of whole pixels, which may reach beyond the image: the first column and row, and how many of each."""

    left: int
    top: int
    side: int


def face_squares(points: Points) -> Squares:
    """The squares about the boxes of points (n, 68, 2): middle x, middle y and side, float64 (n, 3), in pixels.

    The middle is a pixel centre's coordinate, the side the box's longer one.

    >>> face_squares(np.array([[[0, 0], [4, 2]]], np.float32)).tolist()
    [[2.0, 1.0, 4.0]]
    """
    low, high = points.min(axis=1).astype(np.float64), points.max(axis=1).astype(np.float64)
    return np.column_stack([(low + high) / 2, (high - low).max(axis=1)])


def wide_squares(points: Points) -> Squares:
    """Squares with room for turning, scaling and shifting: the face's box fills their middle half."""
    return face_squares(points) * [1, 1, ROOM]


def detector_squares(points: Points, ids: list[str]) -> Squares:
    """Squares as a face detector would give them: `WIDEN` times the box, with random errors of middle and size.

    A row's id alone seeds its errors, so they are the same in every data set and every order.
    """
    squares = face_squares(points) * [1, 1, WIDEN]
    for square, id_ in zip(squares, ids, strict=True):
        seed = int.from_bytes(hashlib.sha256(id_.encode()).digest()[:8], "little")
        off_x, off_y, off_side = np.random.default_rng(seed).normal(size=3)
        square[2] *= np.exp(SIDE_SD * off_side)
        square[:2] += MIDDLE_SD * square[2] * np.array([off_x, off_y])
    return squares


def crop(image: Pixels, square: Square) -> Pixels:
    """A square of an image (height, width, channels) as a copy; beyond the image its edges are repeated.

    >>> crop(np.arange(4, dtype=np.uint8).reshape(2, 2, 1), Square(-1, 0, 3))[:, :, 0].tolist()
    [[0, 0, 1], [2, 2, 3], [2, 2, 3]]
    """
    rows = np.clip(np.arange(square.top, square.top + square.side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(square.left, square.left + square.side), 0, image.shape[1] - 1)
    return np.ascontiguousarray(image[rows[:, None], columns])


def cut(image: Pixels, square: npt.NDArray[np.float64], size: int) -> Pixels:
    """A square of an image, uint8 (h, w, c), as uint8 (size, size, c): antialiased, the image's edge carried on.

    >>> image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    >>> cut(image, np.array([1.5, 1.5, 2.0]), 2)[:, :, 0].tolist()
    [[5, 6], [9, 10]]
    """
    x, y, side = square
    # First cut the covered pixels and a few more, so that shrinking costs no more than it must.
    left, top = int(np.floor(x - side / 2)) - 1, int(np.floor(y - side / 2)) - 1
    reach = int(np.ceil(side)) + 4
    part = crop(image, Square(left, top, reach))
    factor = side / size
    if factor > 1:
        # Each pixel of the result is the mean of the pixels that it covers.
        shrunk = max(1, round(reach / factor))
        part = np.asarray(cv2.resize(part, (shrunk, shrunk), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    scale = part.shape[0] / reach
    # Pixel centres count from 0, so edges are half a pixel before and behind.
    step = factor * scale
    start_x = (x + 0.5 - side / 2 - left) * scale - 0.5 + step / 2
    start_y = (y + 0.5 - side / 2 - top) * scale - 0.5 + step / 2
    matrix = np.array([[step, 0, start_x], [0, step, start_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    done = cv2.warpAffine(part, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(done, dtype=np.uint8).reshape(size, size, image.shape[2])


def warped(image: Pixels, matrix: npt.NDArray[np.float64], size: int) -> Pixels:
    """An image by a map (2, 3) of its pixels to size × size, antialiased, its edge carried on where the map leaves it.

    >>> warped(np.arange(4, dtype=np.uint8).reshape(2, 2, 1), np.array([[0, -1, 1.0], [1, 0, 0]]), 2)[:, :, 0].tolist()
    [[2, 0], [3, 1]]
    """
    # So many source pixels lie under one new pixel: as many are looked up, and their mean is taken.
    times = max(1, math.ceil(1 / math.hypot(*matrix[:, 0]) - 1e-6))
    finer = matrix * times
    finer[:, 2] += (times - 1) / 2
    flags = cv2.INTER_LINEAR
    large = cv2.warpAffine(image, finer, (size * times,) * 2, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if times > 1:
        large = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(large, dtype=np.uint8).reshape(size, size, -1)


def into(points: Points, squares: Squares, size: int) -> Points:
    """Points (n, 68, 2) of images as points of the images' squares (n, 3), cut at `size` pixels."""
    corner = squares[:, None, :2] + 0.5 - squares[:, None, 2:] / 2
    return ((points + 0.5 - corner) * (size / squares[:, None, 2:]) - 0.5).astype(np.float32)
