"""The faces of a data set, cut out as squares about their points; decoded once, then cached."""

import numpy as np

from mien.data.cache import cached
from mien.data.dataset import POINTS_COLUMN, Dataset
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.faces.squares import Frame, Points, Squares, cut, detector_squares, into, wide_squares
from mien.images import Color, Pixels, decode


def require_points(dataset: Dataset) -> None:
    """Raise MienError if a data set has no points."""
    if not dataset.has_points:
        raise MienError(
            f"data set '{dataset.card.name}' has no points",
            key="dataset.name",
            expected="a column 'landmarks', as landmark data sets and drawn faces have it",
        )


def stored_points(dataset: Dataset, split: str) -> Points:
    """The points of a split's rows, float32 (rows, 68, 2), pixel centres from 0; a set without them is a MienError."""
    require_points(dataset)
    flat = dataset.table(split, [POINTS_COLUMN])[POINTS_COLUMN].combine_chunks().flatten()
    return np.asarray(flat, dtype=np.float32).reshape(-1, POINTS, 2)


def framed_points(dataset: Dataset, split: str, size: int, frame: Frame) -> tuple[Points, Squares]:
    """The points of a split's rows in their squares of `size` pixels, float32 (rows, 68, 2), and the squares."""
    points = stored_points(dataset, split)
    squares = wide_squares(points) if frame == "wide" else detector_squares(points, dataset.ids(split))
    return into(points, squares, size), squares


def faces(dataset: Dataset, split: str, size: int, color: Color, frame: Frame) -> tuple[Pixels, Points]:
    """A split's faces in squares of `size` pixels, uint8 (rows, size, size, channels), and their points in those.

    The pixels are a read-only memory map, which the first call makes.
    """
    points, squares = framed_points(dataset, split, size, frame)

    def framed(row: int, data: bytes) -> Pixels:
        return cut(decode(data, color), squares[row], size)

    return cached(dataset, split, f"{frame}-{size}", size, color, framed), points
