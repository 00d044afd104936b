"""Checks whether predicted points can be those of a face, without knowing the true ones.

Unless they say otherwise, limits are shares of the distance of the outer eye corners, after the face is turned until
its eyes are level. They are wide enough for true points: all 1,200 faces of HELEN that people marked, and all of 2,000
drawn ones, pass each check.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mien.faces.ibug import GROUPS, MIRROR, OUTER_EYES, PUPILS

Points = npt.NDArray[np.floating]
Sizes = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# How far points may lie outside of the image, as shares of its sides. FER2013's faces are cut tight, so that many have
# no chin and some no brows, and a model that was trained on cut faces says where those would be: in 898 rows of
# PrivateTest (each fourth) up to .34 of a side for the jaw and .15 for the others; the 48 furthest look right.
JAW_OUTSIDE = 0.35
OUTSIDE = 0.15
# The outer eye corners of a face that fills its image are further apart than this share of the image's width: .15 or
# more in FER2013 by PFLD, profiles among them, .26 in 99.5 %.
SMALLEST = 0.125
# One point may be on the wrong side of another by so much: marks of single points are that rough, by people too.
SLACK = 0.1
# The mean distance of the points to those of the mirrored image, mirrored back. Where it is large, so is the error:
# H. Yang, I. Patras, "Mirror, mirror on the wall, tell me, is the error small?", CVPR 2015. Of those 898 rows, by the
# packaged model: half are below .024 and 95 % below .085; up to .08 nearly all look right, beyond .09 most are profiles
# or wrong.
MIRROR_LIMIT = 0.09

CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "inside": f"inside the image, but for {OUTSIDE:.0%} of its side, {JAW_OUTSIDE:.0%} for the jaw",
        "size": f"the outer eye corners are {SMALLEST:.1%} of the image's width apart, or more",
        "eyes": "the left eye is left of the right one, and so are the corners of each",
        "brows": "each brow is over its eye, the left one left of the right one",
        "nose": "its tip is under the eyes, its base too",
        "mouth": "under the base of the nose, and over the chin",
        "lips": "the upper lip is over the lower one, the left corner left of the right one",
        "jaw": "runs from left to right, the chin between its ends and under them",
        "mirror": f"the points of the mirrored image differ by {MIRROR_LIMIT:.0%} of the eyes' distance or less",
    }
)


@dataclass(frozen=True)
class Checked:
    """The results of the checks of n faces: `passed` by name of `CHECKS`, bool (n,); `quality` (n,), 0 … 1.

    Quality is at least 0.5 where a face passes all checks, and falls from 1 with the distance to the mirrored
    prediction; it is below 0.5 elsewhere, and falls with the number of failed checks.
    """

    passed: Mapping[str, Bools]
    quality: npt.NDArray[np.float32]

    @property
    def ok(self) -> Bools:
        """Which faces pass all checks, bool (n,)."""
        return np.asarray(np.all(list(self.passed.values()), axis=0))


def mirrored_back(points: Points, widths: npt.NDArray[np.integer]) -> Points:
    """Points (n, 68, 2) of mirrored images with these widths (n,) as points of the images themselves.

    >>> mirrored_back(np.zeros((1, 68, 2)), np.array([48]))[0, 0].tolist()
    [47.0, 0.0]
    """
    back = points[:, MIRROR].copy()
    back[:, :, 0] = widths[:, None] - 1 - back[:, :, 0]
    return back


def mirror_distance(points: Points, back: Points) -> Floats:
    """The mean distance of points (n, 68, 2) to the mirrored prediction's, in shares of the outer eyes', float64 (n,).

    Infinite where the eyes' distance is 0 or a number isn't finite.
    """
    with np.errstate(all="ignore"):
        eyes = np.linalg.norm(points[:, OUTER_EYES[1]] - points[:, OUTER_EYES[0]], axis=1)
        found = np.linalg.norm(points - back, axis=2).mean(axis=1) / eyes
    return np.where(np.isfinite(found), found, np.inf)


def check_points(points: Points, sizes: Sizes, mirror: npt.NDArray[np.floating] | None = None) -> Checked:
    """The checks of points (n, 68, 2), pixel centres from 0, of images with these widths and heights (n, 2).

    `mirror` (n,) is `mirror_distance`; without it, as for points that people set, that check counts as passed. Points
    that aren't finite pass none.
    """
    whole: Bools = np.asarray(np.isfinite(points).all(axis=(1, 2)))
    known: Floats = np.where(whole[:, None, None], points, 0).astype(np.float64)
    passed = {"inside": _inside(known, sizes), **_ordered(known, np.asarray(sizes, dtype=np.float64))}
    share = np.zeros(len(known)) if mirror is None else np.asarray(mirror, dtype=np.float64) / MIRROR_LIMIT
    passed["mirror"] = share <= 1
    passed = {name: passed[name] & whole for name in CHECKS}
    score = np.clip(1 - share / 2, 0, 1)
    counted = np.mean(list(passed.values()), axis=0)
    quality = np.where(counted == 1, score, score * counted / 2)
    return Checked(passed, np.where(whole, quality, 0).astype(np.float32))


def _inside(points: Floats, sizes: Sizes) -> Bools:
    shares = (points + 0.5) / np.asarray(sizes)[:, None, :]
    outside = np.maximum(-shares, shares - 1).max(axis=2)
    jaw = len(GROUPS["jaw"])
    return np.asarray((outside[:, :jaw].max(axis=1) <= JAW_OUTSIDE) & (outside[:, jaw:].max(axis=1) <= OUTSIDE))


def _ordered(points: Floats, sizes: Floats) -> dict[str, Bools]:
    left, right = (points[:, list(eye)].mean(axis=1) for eye in PUPILS)
    across = right - left
    eyes = np.linalg.norm(points[:, OUTER_EYES[1]] - points[:, OUTER_EYES[0]], axis=1)
    with np.errstate(all="ignore"):
        along = across / np.linalg.norm(across, axis=1, keepdims=True)
        level = (points - ((left + right) / 2)[:, None]) / eyes[:, None, None]
    x = np.einsum("nkj,nj->nk", level, along)
    y = level[:, :, 1] * along[:, :1] - level[:, :, 0] * along[:, 1:]
    # Not-a-number is in no order, so eyes that fall together fail.
    with np.errstate(invalid="ignore"):
        brow_left, brow_right = slice(17, 22), slice(22, 27)
        mouth = y[:, 48:].mean(axis=1)
        return {
            "size": eyes >= SMALLEST * sizes[:, 0],
            "eyes": (across[:, 0] > 0) & (np.diff(x[:, [36, 39, 42, 45]], axis=1) > 0).all(axis=1),
            "brows": (y[:, brow_left].mean(axis=1) < y[:, 36:42].mean(axis=1))
            & (y[:, brow_right].mean(axis=1) < y[:, 42:48].mean(axis=1))
            & (x[:, brow_left].mean(axis=1) < x[:, brow_right].mean(axis=1)),
            # The middle between the eyes is 0. The tip of a nose that is held up is as high as the eyes.
            "nose": (y[:, 30] > -SLACK) & (y[:, 33] > 0),
            "mouth": (mouth > y[:, 33]) & (y[:, 57] - SLACK < y[:, 8]) & (mouth < y[:, 8]),
            "lips": (x[:, 48] < x[:, 54]) & (y[:, 51] < y[:, 57] + SLACK),
            "jaw": (x[:, 0] < x[:, 16])
            & (x[:, 0] < x[:, 8] + SLACK)
            & (x[:, 8] < x[:, 16] + SLACK)
            & (y[:, 8] > y[:, 0])
            & (y[:, 8] > y[:, 16]),
        }
