"""How far predicted points are from the true ones: normalised mean errors, each measure with its interval.

An error is divided by a distance in the same true face, so that it means the same in a large photo and a small one:
the distance of the outer eye corners, or that of the pupils, each the mean of its eye's six points (`ibug` has the
sources). The outer corners are further apart, so errors by them are smaller.
Points are (n, 68, 2) in iBUG's order; their unit may be any, the same for predicted and true.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mien.errors import FailedError, MienError
from mien.faces.ibug import GROUPS, OUTER_EYES, POINTS, PUPILS
from mien.intervals import (
    DRAWS,
    Counts,
    Estimate,
    Values,
    clusters,
    percentile_interval,
    resampled_rows,
    share_interval,
)

Points = npt.NDArray[np.floating[Any]]
Normaliser = Literal["outer_eyes", "inter_pupil"]

# An image fails, and the area under the curve ends, where the error by outer eyes is beyond 8 %: C. Sagonas et al.,
# "300 Faces In-The-Wild Challenge: database and results", Image and Vision Computing 47 (2016).
LIMIT = 0.08
# Where the curve is drawn: 0 to 10 %, LIMIT among them.
THRESHOLDS: Values = np.arange(101) / 1000


def distances(predicted: Points, true: Points) -> Values:
    """How far each predicted point is from its true one, float64 (n, 68), in the points' unit.

    Raises FailedError for no faces and for predicted points that aren't finite numbers.
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if predicted.shape != true.shape or true.shape[1:] != (POINTS, 2):
        raise ValueError(f"points of shapes {predicted.shape} and {true.shape}, not twice (n, {POINTS}, 2)")
    if not len(true):
        raise FailedError("there are no faces to measure")
    broken = ~np.isfinite(predicted).all(axis=(1, 2))
    if broken.any():
        raise FailedError(f"the predicted points of {broken.sum()} of {len(true)} faces aren't finite numbers")
    return np.asarray(np.linalg.norm(predicted - true, axis=2))


def normalisers(true: Points, normaliser: Normaliser) -> Values:
    """The distance in each face that normalises its errors, float64 (n,), in the points' unit.

    "outer_eyes" is the distance of the outer eye corners, "inter_pupil" that of the means of the eyes' points. Raises
    MienError where it is 0 or not finite: such true points are no face.
    """
    true = np.asarray(true, np.float64)
    if normaliser == "outer_eyes":
        what, (left, right) = "outer eye corners", (true[:, point] for point in OUTER_EYES)
    else:
        what, (left, right) = "pupils", (true[:, points].mean(axis=1) for points in PUPILS)
    lengths = np.asarray(np.linalg.norm(left - right, axis=1))
    useless = ~(np.isfinite(lengths) & (lengths > 0))
    if useless.any():
        face = int(useless.argmax())
        raise MienError(
            f"the {what} of face {face} are {lengths[face]:g} apart, so its error has no measure",
            expected="true points of two eyes",
        )
    return lengths


def image_errors(predicted: Points, true: Points, normaliser: Normaliser = "outer_eyes") -> Values:
    """The mean error of each face's 68 points as a share of its normaliser, float64 (n,).

    >>> true = np.zeros((1, 68, 2))
    >>> true[0, OUTER_EYES[1]] = 100, 0  # the outer eye corners are 100 px apart
    >>> image_errors(true + [3, 4], true)  # and each point is 5 px off
    array([0.05])
    """
    return np.asarray(distances(predicted, true).mean(axis=1) / normalisers(true, normaliser))


def measure_points(
    predicted: Points, true: Points, *, draws: int = DRAWS, seed: int = 0, groups: Counts | None = None
) -> dict[str, Any]:
    """All measures of predicted points against true ones; errors are shares of the normaliser (0.048 is 4.8 %).

    - `n`: the number of faces
    - `nme_outer_eyes`, `nme_inter_pupil`: the mean over the faces of `image_errors`, by either normaliser
    - `median`: the median over the faces of the error by outer eyes; so are the next four by outer eyes
    - `failure_rate_8`: the share of faces with an error beyond 8 %
    - `auc_8`: the area under the curve of errors from 0 to 8 %, divided by 8 %; 1 is best
    - `by_group`: the mean error of the points of each group of `ibug.GROUPS`, by name
    - `ced`: the curve of errors; `share` of the faces with an error of at most each `threshold`, 0 to 10 %
    - `interval`: for each of these names but `n` and `ced` the 95 % interval, [low, high], those of `by_group` by name
    - `groups`: how many groups of faces, as of one person each, were drawn whole; None where faces are

    Intervals are percentiles over `draws` bootstrap samples of the faces, the same for the same `seed` (B. Efron, R.
    J. Tibshirani (1993), An introduction to the bootstrap, chapter 13). That of `failure_rate_8` is Wilson's: if no
    face fails, a bootstrap would claim that none ever will. With `groups`, int (n,) as `intervals.clusters` gives them,
    samples are of whole groups. Raises what `distances` and `normalisers` raise.
    """
    groups = None if groups is None else clusters(groups.tolist())
    apart, eyes = distances(predicted, true), normalisers(true, "outer_eyes")
    errors = apart.mean(axis=1) / eyes
    n, failed = len(errors), int((errors > LIMIT).sum())
    # Each of these is a mean over the faces.
    means = {
        "nme_outer_eyes": errors,
        "nme_inter_pupil": apart.mean(axis=1) / normalisers(true, "inter_pupil"),
        # The curve of one face is a step at its error: what is under it is what lies right of the step.
        "auc_8": 1 - np.minimum(errors, LIMIT) / LIMIT,
    }
    parts = {name: apart[:, points].mean(axis=1) / eyes for name, points in GROUPS.items()}
    table = np.stack([*means.values(), *parts.values()], axis=1)
    values = np.append(table.mean(axis=0), np.median(errors)).tolist()
    samples = [[*table[rows].mean(axis=0), np.median(errors[rows])] for rows in resampled_rows(n, draws, seed, groups)]
    ends = [list(percentile_interval(*column)) for column in zip(np.array(samples).T, values, strict=True)]

    names = [*means, *parts, "median"]
    by_name, interval = dict(zip(names, values, strict=True)), dict(zip(names, ends, strict=True))
    return {
        "n": n,
        "nme_outer_eyes": by_name["nme_outer_eyes"],
        "nme_inter_pupil": by_name["nme_inter_pupil"],
        "median": by_name["median"],
        "failure_rate_8": failed / n,
        "auc_8": by_name["auc_8"],
        "by_group": {name: by_name[name] for name in GROUPS},
        "ced": {
            "threshold": THRESHOLDS.tolist(),
            "share": (np.searchsorted(np.sort(errors), THRESHOLDS, side="right") / n).tolist(),
        },
        "interval": {
            **{name: interval[name] for name in (*means, "median")},
            "failure_rate_8": list(share_interval(errors > LIMIT, groups)),
            "by_group": {name: interval[name] for name in GROUPS},
        },
        "groups": None if groups is None else int(groups.max()) + 1,
    }


def paired(a: Values, b: Values, *, draws: int = DRAWS, seed: int = 0, groups: Counts | None = None) -> Estimate:
    """The mean difference, a − b, of two models' `image_errors` (n,) on the same faces; below 0, a is the better one.

    Its 95 % interval is the percentiles' over `draws` bootstrap samples of the faces; p is twice the share of samples
    on the rarer side of 0, the found one among them (A. C. Davison, D. V. Hinkley (1997), Bootstrap Methods and their
    Application, equation 4.11), so never below 2 / (draws + 1). With `groups`, int (n,) as
    `intervals.clusters` gives them, samples are of whole groups.

    >>> a, b = np.array([0.04, 0.05, 0.06, 0.05]), np.array([0.05, 0.05, 0.07, 0.06])
    >>> round(paired(a, b).value, 6)
    -0.0075
    """
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"errors of shapes {a.shape} and {b.shape}, not twice (n,)")
    difference = np.asarray(a, np.float64) - b
    samples = np.array([difference[rows].mean() for rows in resampled_rows(len(difference), draws, seed, groups)])
    value = float(difference.mean())
    rarer = min(int((samples <= 0).sum()), int((samples >= 0).sum()))
    p = min(2 * (1 + rarer) / (draws + 1), 1.0)
    return Estimate(value, percentile_interval(samples, value), p)
