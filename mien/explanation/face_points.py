"""The 68 points of a context's rows: predicted or the data set's own, checked, and in the pixels of its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.data.framing import stored_points
from mien.faces.ibug import POINTS
from mien.faces.regions import MEAN_SHAPE, mean_points
from mien.images import decode
from mien.landmarks.checks import check_points
from mien.landmarks.stored_points import PointModel, points_of

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FacePoints:
    """Points (n, 68, 2) as shares of the image's sides (an edge is 0, not a pixel's centre), float32.

    `fallback` bool (n,) says where the mean shape took the place of points that can't be a face's. `model` names what
    found the points (`name`, `digest`, `limits`).
    """

    points: Points
    fallback: npt.NDArray[np.bool_]
    model: Mapping[str, str]


def face_points(dataset: Dataset, rows: Sequence[tuple[str, str]], landmarker: PointModel | None) -> FacePoints:
    """The points of rows (split, id), by a landmark model, or without one the data set's own (column `landmarks`).

    Predicted points are kept beside the data set. Points that fail `check_points` give way to the mean shape, and so do
    those of rows that were cut out by the mean shape. Raises MienError for a data set without points of its own.
    """
    found: dict[tuple[str, str], tuple[Points, bool]] = {}
    splits = list(dict.fromkeys(split for split, _ in rows))
    by_split, model = points_of(dataset, landmarker, splits)
    for split, (points, mirror) in by_split.items():
        sizes = _sizes(dataset, split)
        fallback = ~check_points(points, sizes, mirror).ok
        if landmarker is None and "source" in dataset.card.columns:
            # In what was cut out of a face, most of it lies outside; how it was cut says whether its points are known.
            fallback = np.array([one == "mean_shape" for one in dataset.table(split, ["source"])["source"].to_pylist()])
        used = np.where(fallback[:, None, None], mean_points(sizes), points)
        shares = ((used + 0.5) / sizes[:, None, :]).astype(np.float32)
        for id_, own, away in zip(dataset.ids(split), shares, fallback.tolist(), strict=True):
            found[split, id_] = own, away
    return FacePoints(np.stack([found[row][0] for row in rows]), np.array([found[row][1] for row in rows]), model)


def outline(dataset: Dataset, splits: Sequence[str]) -> Points:
    """Where the 68 points are in most of a data set's images, float32 (68, 2), as shares of their sides.

    The medians of the data set's own points, or without any the mean shape of faces that fill their images.
    """
    if not dataset.has_points:
        return MEAN_SHAPE.astype(np.float32)
    shares = []
    for split in dict.fromkeys(splits):
        points = stored_points(dataset, split)
        shares.append((points + 0.5) / _sizes(dataset, split)[:, None, :])
    every = np.concatenate(shares)
    every = every[np.isfinite(every).all(axis=(1, 2))]
    return np.asarray(np.median(every, axis=0), dtype=np.float32).reshape(POINTS, 2)


def _sizes(dataset: Dataset, split: str) -> npt.NDArray[np.int64]:
    """Widths and heights of a split's images (rows, 2)."""
    if len(dataset.card.image_sizes) == 1:
        # The card counts the commonest sizes: a single one is every row's.
        width, height = next(iter(dataset.card.image_sizes)).split("×")
        return np.tile(np.array([int(width), int(height)]), (dataset.rows(split), 1))
    shapes = [decode(data, "gray").shape for data in dataset.images(split)]
    return np.array([(width, height) for height, width, _ in shapes], dtype=np.int64).reshape(-1, 2)
