"""Images cut to a region by the points of their faces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.faces.regions import Region, is_empty, levelled, mean_points, region_boxes, stretched
from mien.faces.squares import warped
from mien.images import Pixels
from mien.landmarks.checks import check_points

Array = npt.NDArray[np.float32]

# Where the face stood in the picture; the audit's flag `fallback` looks for the second.
LANDMARKS, MEAN_SHAPE = "landmarks", "mean_shape"
SOURCES = (LANDMARKS, MEAN_SHAPE)


@dataclass(frozen=True)
class Cuts:
    """n cut images of size × size, their boxes (n, 4), and the `maps` (n, 2, 3) of points into them.

    `points` (n, 68, 2) are those that the boxes were made from; `fallback` (n,) says where they are the mean shape's.
    `filled` are the filled boxes of a region that is cut that way, else None.
    """

    images: list[Pixels]
    boxes: npt.NDArray[np.int32]
    filled: npt.NDArray[np.int32] | None
    points: npt.NDArray[np.float64]
    maps: npt.NDArray[np.float64]
    quality: Array
    fallback: npt.NDArray[np.bool_]


def cut_images(
    images: Sequence[Pixels], points: Array, mirror: Array | None, region: Region, margin: float, size: int
) -> Cuts:
    """Cut images, uint8 (height, width, 1 or 3), by their points (n, 68, 2), to size × size each.

    `mirror` (n,) is the points' distance to the mirrored prediction's, where there is one. The mean shape takes the
    place of points that fail `check_points`, or whose box has no pixel of the image.
    """
    sizes = np.array([(image.shape[1], image.shape[0]) for image in images])
    checked = check_points(points, sizes, mirror)
    fallback = ~checked.ok | is_empty(region_boxes(points, sizes, region, margin))
    used = np.where(fallback[:, None, None], mean_points(sizes), points)
    boxes = region_boxes(used, sizes, region, margin)
    filled = None
    if region.how == "turned":
        maps = levelled(used, size, margin)
        made = [warped(image, matrix, size) for image, matrix in zip(images, maps, strict=True)]
    else:
        if region.how == "filled":
            images = [_without(image, box) for image, box in zip(images, boxes, strict=True)]
            filled, boxes = boxes, np.concatenate([np.zeros_like(sizes), sizes], axis=1).astype(np.int32)
        maps = stretched(boxes, size)
        made = [_stretched(image, box, size) for image, box in zip(images, boxes, strict=True)]
    return Cuts(made, boxes, filled, used, maps, checked.quality, fallback)


def _stretched(image: Pixels, box: npt.NDArray[np.int32], size: int) -> Pixels:
    """A box of an image, stretched by the filter of `mien.images.decode`, which sees no pixel outside of the box."""
    left, top, right, bottom = box.tolist()
    part = image[top:bottom, left:right]
    flat = Image.fromarray(part[:, :, 0] if part.shape[2] == 1 else np.ascontiguousarray(part))
    return np.asarray(flat.resize((size, size), Image.Resampling.BILINEAR)).reshape(size, size, -1)


def _without(image: Pixels, box: npt.NDArray[np.int32]) -> Pixels:
    """An image with a box filled by the mean of the rest: it shows neither what was there nor a black edge."""
    left, top, right, bottom = box.tolist()
    rest = np.ones(image.shape[:2], np.bool_)
    rest[top:bottom, left:right] = False
    copy = image.copy()
    copy[~rest] = np.round(image[rest if rest.any() else ~rest].mean(axis=0)).astype(np.uint8)
    return copy
