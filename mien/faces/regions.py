"""Parts of a face as boxes of its 68 points: the points that bound them, margins, and maps into the cut image.

A box is left, top, right, bottom in whole pixels of the image, right and bottom exclusive; points are pixel centres
from 0, so the pixel of a point p reaches from p − 0.5 to p + 0.5, and a box has the pixels that its points lie in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from mien.errors import unknown
from mien.faces.ibug import GROUPS, POINTS, PUPILS

Points = npt.NDArray[np.floating]
Sizes = npt.NDArray[np.integer]
Boxes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A part of a face: its box reaches over the x of some points and the y of some (numbers from 0).

    `margin` is the default margin on all four sides, as a share of the box's longer side. `how` says what happens to
    the box: "cut" out; "filled" in the whole image; "turned" until both eyes are level, and cut.
    """

    what: str
    x: tuple[int, ...]
    y: tuple[int, ...]
    margin: float = 0.0
    how: Literal["cut", "filled", "turned"] = "cut"


_LIPS, _EYES, _BROWS = (tuple(GROUPS[name]) for name in ("lips", "eyes", "brows"))

REGIONS: Mapping[str, Region] = MappingProxyType(
    {
        "face": Region("brows to chin, ear to ear; the 2021 report's", x=(0, 16), y=(19, 8)),
        "mouth": Region("the lips; the 2021 report's", x=_LIPS, y=_LIPS),
        "eyes": Region("both eyes with their lids", x=_EYES, y=_EYES, margin=0.1),
        "brows": Region("both brows and the skin between", x=_BROWS, y=_BROWS, margin=0.1),
        "upper": Region("brows, eyes and bridge of the nose", x=(0, 16), y=(*_BROWS, 30)),
        "lower": Region("tip of the nose to chin", x=tuple(range(2, 15)), y=(30, *range(4, 13))),
        "no-mouth": Region("the whole image without the lips", x=_LIPS, y=_LIPS, margin=0.1, how="filled"),
        "aligned": Region("the face turned until its eyes are level", x=_EYES, y=_EYES, how="turned"),
    }
)

# Where `aligned` puts the middles of the eyes, as shares of the cut image's sides. MEAN_SHAPE's brows and chin are then
# at .22 and .92 of its height, which leaves room for a jaw that drops.
EYES_AT = ((0.33, 0.36), (0.67, 0.36))

# A face that fills its image, as shares of the image's sides (a pixel's edge, not its centre, is 0): the mean of the
# 68 points of 2,000 drawn faces and of their mirror images, its box put at x from .1 to .9 and y from .25 to 1. That is
# where it stands in FER2013: PFLD's points of 1,496 of its images reach from .09 to .91 and from .24 to 1.02 (medians).
_MEAN = """
.100 .415  .102 .504  .114 .595  .136 .687  .171 .778  .234 .862  .307 .934  .397 .982  .500 1.00
.603 .982  .693 .934  .766 .862  .829 .778  .864 .687  .886 .595  .898 .504  .900 .415
.181 .311  .215 .271  .282 .251  .360 .250  .435 .264
.565 .264  .640 .250  .718 .251  .785 .271  .819 .311
.500 .391  .500 .458  .500 .523  .500 .588  .415 .630  .458 .648  .500 .658  .542 .648  .585 .630
.235 .397  .282 .367  .349 .367  .408 .408  .352 .420  .285 .420
.592 .408  .651 .367  .718 .367  .765 .397  .715 .420  .648 .420
.346 .771  .404 .730  .465 .711  .500 .718  .535 .711  .596 .730  .654 .771
.612 .811  .555 .835  .500 .839  .445 .835  .388 .811
.358 .770  .449 .747  .500 .750  .551 .747  .642 .770  .552 .791  .500 .795  .448 .791
"""
MEAN_SHAPE: Floats = np.array(_MEAN.split(), dtype=np.float64).reshape(POINTS, 2)
MEAN_SHAPE.setflags(write=False)


def region_named(name: str) -> Region:
    """The region of that name; an unknown one is an error with the nearest.

    >>> region_named("mouth").margin
    0.0
    """
    if name not in REGIONS:
        raise unknown(f"no region is called '{name}'", name, REGIONS, key="--region")
    return REGIONS[name]


def mean_points(sizes: Sizes) -> Floats:
    """`MEAN_SHAPE` in the pixels of images with these widths and heights (n, 2), as float64 (n, 68, 2)."""
    return np.asarray(MEAN_SHAPE * np.asarray(sizes)[:, None, :] - 0.5, dtype=np.float64)


def region_boxes(points: Points, sizes: Sizes, region: Region, margin: float | None = None) -> Boxes:
    """The boxes of a region for points (n, 68, 2) of images with these widths and heights (n, 2), as int32 (n, 4).

    A box grows by `margin` (by default the region's own), then outward to whole pixels, and is clipped to the image. A
    box is empty if its points aren't finite, and it may be after clipping; see `is_empty`. For a "filled" region the
    box is the part to fill; for a "turned" one it bounds the turned square in the image.

    >>> points = np.zeros((1, 68, 2))
    >>> points[0, 48:, 0] = np.linspace(3, 6.6, 20)
    >>> points[0, 48:, 1] = 5
    >>> region_boxes(points, np.array([[48, 48]]), REGIONS["mouth"]).tolist()
    [[3, 5, 8, 6]]
    """
    edges = np.asarray(points, dtype=np.float64) + 0.5
    if region.how == "turned":
        corners = turned_corners(points, region.margin if margin is None else margin)
        low, high = corners.min(axis=1), corners.max(axis=1)
    else:
        low = np.stack([edges[:, list(region.x), 0].min(axis=1), edges[:, list(region.y), 1].min(axis=1)], axis=1)
        high = np.stack([edges[:, list(region.x), 0].max(axis=1), edges[:, list(region.y), 1].max(axis=1)], axis=1)
        grown = (high - low).max(axis=1, keepdims=True) * (region.margin if margin is None else margin)
        low, high = low - grown, high + grown
    boxes = np.concatenate([np.floor(low), np.ceil(high)], axis=1)
    boxes[~np.isfinite(boxes).all(axis=1)] = 0
    return np.asarray(np.clip(boxes, 0, np.tile(np.asarray(sizes), 2)), dtype=np.int32)


def is_empty(boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Whether each box (n, 4) is without a pixel.

    >>> is_empty(np.array([[0, 0, 1, 1], [48, 3, 48, 9]], np.int32)).tolist()
    [False, True]
    """
    return np.asarray((boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1]))


def stretched(boxes: Boxes, size: int) -> Floats:
    """The maps from an image's pixels to those of each box (n, 4) stretched to size × size, as float64 (n, 2, 3).

    A map takes a column (x, y, 1) of pixel centres.
    """
    scale = size / (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    maps = np.zeros((len(boxes), 2, 3))
    maps[:, 0, 0], maps[:, 1, 1] = scale[:, 0], scale[:, 1]
    maps[:, :, 2] = (0.5 - boxes[:, :2]) * scale - 0.5
    return maps


def levelled(points: Points, size: int, margin: float = 0.0) -> Floats:
    """The maps that turn and scale images until their eyes stand at `EYES_AT` of size × size, as float64 (n, 2, 3).

    The maps are similarities: angles stay. `margin` is added on all four sides of the square, as a share of its side.
    If the middles of both eyes coincide, the map isn't finite.
    """
    left, right = (_eye(points, eye) for eye in (0, 1))
    wanted = (np.array(EYES_AT) + margin) / (1 + 2 * margin) * size - 0.5
    # As complex numbers a similarity is z ↦ a z + b.
    here, there = left[:, 0] + 1j * left[:, 1], complex(*wanted[0])
    with np.errstate(all="ignore"):
        a = (complex(*wanted[1]) - there) / (right[:, 0] + 1j * right[:, 1] - here)
        b = there - a * here
    return np.stack([np.stack([a.real, -a.imag, b.real], 1), np.stack([a.imag, a.real, b.imag], 1)], 1)


def moved(points: Points, maps: Floats) -> Floats:
    """Points (n, k, 2) moved by the maps (n, 2, 3) of their images, as float64 (n, k, 2)."""
    return np.asarray(np.einsum("nkj,nij->nki", points, maps[:, :, :2]) + maps[:, None, :, 2], dtype=np.float64)


def turned_corners(points: Points, margin: float = 0.0) -> Floats:
    """The corners of the squares that `levelled` cuts, float64 (n, 4, 2), in pixels; the image's corner is 0."""
    maps = levelled(points, 1, margin)
    a, b = maps[:, 0, 0] + 1j * maps[:, 1, 0], maps[:, 0, 2] + 1j * maps[:, 1, 2]
    with np.errstate(all="ignore"):
        # Cut at one pixel, the square's corners lie half a pixel from that pixel's centre, 0.
        corners = (np.array([-0.5 - 0.5j, 0.5 - 0.5j, 0.5 + 0.5j, -0.5 + 0.5j]) - b[:, None]) / a[:, None]
    return np.stack([corners.real, corners.imag], axis=2) + 0.5


def _eye(points: Points, eye: int) -> Floats:
    return np.asarray(points[:, list(PUPILS[eye])].mean(axis=1), dtype=np.float64)
