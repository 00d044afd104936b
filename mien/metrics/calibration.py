"""Calibration of a model's probabilities: NLL, Brier, ECE, risk by coverage; and the temperature that mends them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_softmax
from scipy.stats import t

from mien.errors import FailedError
from mien.intervals import (
    CONFIDENCE,
    Counts,
    Values,
    by_group,
    clusters,
    percentile_interval,
    resampled_means,
    resampled_rows,
)
from mien.metrics.classification import Labels, Logits
from mien.metrics.probabilities import probabilities

BINS = 15
_DRAWS = 2000
_ROWS = 1024
# Temperatures beyond these make a softmax a maximum, or flat.
_COLDEST, _HOTTEST = 0.05, 20.0


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature at which the logits (n, k) give the labels (n,) the lowest NLL, 0.05 … 20.

    Fit it on the choose role alone. 1 where every row is right: the NLL then only falls as the temperature does, and
    no row says how far. Source: C. Guo et al. (2017), On calibration of modern neural networks, ICML, section 4.2.
    Raises FailedError for no rows and for logits that aren't finite.

    >>> round(fit_temperature(np.array([[2.0, 0], [2, 0], [2, 0], [0, 2]]), np.array([0, 0, 1, 1])), 3)
    1.82
    """
    wide = _checked(logits, labels)
    if (wide[np.arange(len(labels)), labels] >= wide.max(axis=1)).all():
        return 1.0
    # The NLL is convex in 1 / temperature, so it has one minimum between any two ends.
    minimum = minimize_scalar(
        lambda scale: _nll(wide * np.exp(-scale), labels).mean(),
        bounds=(np.log(_COLDEST), np.log(_HOTTEST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(minimum.x))


def _checked(logits: Logits, labels: Labels) -> Values:
    if not len(labels):
        raise FailedError("there are no rows to measure")
    if logits.shape[:1] != np.shape(labels):
        raise ValueError(f"logits of shape {logits.shape} for {len(labels)} labels")
    if not np.isfinite(logits).all():
        raise FailedError("the logits aren't finite numbers")
    return np.asarray(logits, dtype=np.float64)


def _nll(logits: Values, labels: Labels) -> Values:
    at = np.asarray(labels)[:, None]
    return -_by_rows(lambda some, own: np.take_along_axis(log_softmax(some, axis=1), own, 1), logits, at)[:, 0]


def _by_rows(work: Callable[..., Values], *arrays: npt.NDArray[Any]) -> Values:
    """`work` of some rows at a time, since each step of its own would take as much memory as all logits."""
    first = work(*(one[:_ROWS] for one in arrays))
    of_all = np.empty((len(arrays[0]), *first.shape[1:]))
    of_all[:_ROWS] = first
    for start in range(_ROWS, len(of_all), _ROWS):
        of_all[start : start + _ROWS] = work(*(one[start : start + _ROWS] for one in arrays))
    return of_all


class Bins(NamedTuple):
    """Rows binned by confidence: the number of rows, mean confidence and accuracy of each bin that has rows.

    `sums` is each bin's signed part of the ECE, `errors` its standard error.
    """

    n: npt.NDArray[np.int64]
    confidence: Values
    accuracy: Values
    sums: Values
    errors: Values

    @property
    def ece(self) -> float:
        """The expected calibration error: how far accuracy lies from confidence, weighted by rows, 0 … 1."""
        return float(abs(self.sums).sum())


def bin_rows(
    confidence: Values,
    correct: npt.NDArray[np.bool_],
    *,
    equal_mass: bool = False,
    bins: int = BINS,
    groups: Counts | None = None,
) -> Bins:
    """Rows in bins of equal width, (0, 1/15], …, (14/15, 1], or of equal mass: as many rows in each.

    `confidence` is the highest probability of each row, (n,); `correct` whether its class is the right one. With
    `groups`, int (n,) as `intervals.clusters` gives them, the errors are those of whole groups drawn.
    Source: Guo et al. (2017), section 2; equal mass: K. Nguyen, B. O'Connor (2015), Posterior calibration, EMNLP.
    """
    n = len(confidence)
    if equal_mass:
        place = np.empty(n, dtype=np.int64)
        place[np.argsort(confidence, kind="stable")] = np.arange(n) * bins // max(n, 1)
        # Rows with equal confidence share a bin, since they have no order.
        _, inverse = np.unique(confidence, return_inverse=True)
        least = np.full(inverse.max(initial=-1) + 1, bins)
        np.minimum.at(least, inverse, place)
        place = least[inverse]
    else:
        place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    gaps = correct - confidence

    def total(values: Values) -> Values:
        return np.asarray(np.bincount(place, values, minlength=bins), dtype=np.float64)

    rows = np.bincount(place, minlength=bins).astype(np.int64)
    there = rows > 0
    sums = total(gaps) / n
    # A bin of a few rows, all right, shows no spread: its spread is at least what its confidence implies.
    spread = np.maximum(total(gaps**2) / n - sums**2, total(confidence * (1 - confidence)) / n)
    if groups is not None:
        table = np.where(place == np.arange(bins)[:, None], gaps, 0.0)
        number = int(groups.max()) + 1
        spread = np.maximum(spread, by_group(table, groups).var(axis=1, ddof=1) * n / number)
    return Bins(
        rows[there],
        total(confidence)[there] / rows[there],
        total(correct.astype(np.float64))[there] / rows[there],
        sums[there],
        np.sqrt(spread[there] / n),
    )


def corrected_ece(bins: Bins, confidence: float = CONFIDENCE, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The ECE corrected for what chance alone adds to it, and its interval; all are 0 or more.

    The ECE drops the sign of each gap between accuracy and confidence, so chance adds to it, and a perfectly calibrated
    model shows an ECE well over 0. Here each bin's gap is taken as normal around its true gap. The estimate is the true
    ECE whose median is the observed ECE; the ends of the interval are the true ECEs that would exceed the observed one,
    or fall short of it, in one of 40 cases. Chance adds most where few bins have true gaps, and least where all have.
    The estimate takes the gaps in the observed proportions; the lower end, only gaps of more than two standard errors;
    the upper end, gaps in all bins. The interval of a model that may be calibrated begins at 0. results/coverage.md
    measures how often such intervals hold the truth.
    """
    observed = bins.ece
    errors = np.maximum(bins.errors, 1e-9)  # 0 where every row is wrong with full confidence.
    noise = errors * np.random.default_rng(seed).standard_normal((_DRAWS, len(errors)))
    most = observed + 10 * float(errors.sum())
    # An ECE below the median of chance alone says no more than that median.
    by_chance = float(np.median(abs(noise).sum(axis=1)))

    def true_ece(share: float, gaps: Values, ece: float) -> float:
        """The true ECE, its gaps in these proportions, at which a `share` of all samples would show less than `ece`."""
        proportions = gaps / abs(gaps).sum()

        def beyond(true: float) -> float:
            return float(np.quantile(abs(true * proportions + noise).sum(axis=1), share)) - ece

        return 0.0 if beyond(0.0) >= 0 else float(brentq(beyond, 0.0, most, xtol=1e-6))

    tail = (1 - confidence) / 2
    clear = np.sign(bins.sums) * np.sqrt(np.maximum(bins.sums**2 - (2 * errors) ** 2, 0))
    if not clear.any():
        clear = np.where(abs(bins.sums) == abs(bins.sums).max(), 1.0, 0.0)
    estimate = true_ece(0.5, bins.sums if bins.sums.any() else errors, observed)
    low = true_ece(1 - tail, clear, observed)
    high = true_ece(tail, errors, max(observed, by_chance))
    return estimate, (min(low, estimate), min(max(high, estimate), 1.0))


def risk_coverage(confidence: Values, correct: npt.NDArray[np.bool_]) -> tuple[Values, Values]:
    """Coverage and risk, each (n,): the share of rows answered, most confident first, and of errors among these.

    Rows with equal confidence may come in any order; the risk is the mean over all orders.
    Source: Y. Geifman, R. El-Yaniv (2017), Selective classification for deep neural networks, NeurIPS.

    >>> coverage, risk = risk_coverage(np.array([0.9, 0.6, 0.8]), np.array([True, False, True]))
    >>> coverage.round(2).tolist(), risk.round(2).tolist()
    ([0.33, 0.67, 1.0], [0.0, 0.0, 0.33])
    """
    values, group = np.unique(-confidence, return_inverse=True)
    sizes = np.bincount(group, minlength=len(values))
    wrong = np.bincount(group, ~correct, minlength=len(values)) / sizes
    number = np.arange(1, len(confidence) + 1)
    return number / len(confidence), np.cumsum(np.repeat(wrong, sizes)) / number


def aurc(confidence: Values, correct: npt.NDArray[np.bool_]) -> float:
    """The mean risk over all coverages, 0 … 1; lower if the model is less confident in its wrong answers."""
    return float(risk_coverage(confidence, correct)[1].mean())


def measure_calibration(
    labels: Labels, logits: Logits, temperature: float = 1.0, groups: Counts | None = None
) -> dict[str, Any]:
    """The measures of calibration as plain data; `interval` gives the 95 % interval [low, high] of each.

    `nll` is the mean negative log likelihood in nats; `brier` the mean squared distance to the right answer, summed
    over the classes, so 0 … 2; `ece` and `ece_equal_mass` have 15 bins; `ece_corrected` and `ece_equal_mass_corrected`
    are their corrected values, to which their intervals belong; `aurc` is the area under the risk–coverage curve.
    Intervals of NLL and Brier are Student's, that of `aurc` a bootstrap's over rows (a fixed seed). With `groups`, int
    (n,) as `intervals.clusters` gives them, these are a cluster bootstrap's, and the corrections are for whole groups.
    Raises FailedError for no rows and for logits that aren't finite.
    """
    groups = None if groups is None else clusters(np.asarray(groups).tolist())
    wide = _checked(logits, labels) / temperature
    given = probabilities(wide)
    classes = np.arange(given.shape[1])

    def brier(some: Values, own: Labels) -> Values:
        return np.asarray(((some - (classes == np.asarray(own)[:, None])) ** 2).sum(axis=1))

    # Logits still differ where probabilities round to ties.
    said = wide.argmax(axis=1)
    confidence, correct = given[np.arange(len(said)), said], said == labels
    losses = {"nll": _nll(wide, labels), "brier": _by_rows(brier, given, labels)}
    binned = {
        "ece": bin_rows(confidence, correct, groups=groups),
        "ece_equal_mass": bin_rows(confidence, correct, equal_mass=True, groups=groups),
    }
    scores: dict[str, Any] = {"n": len(labels), "temperature": temperature}
    interval = {}
    for name, values in losses.items():
        scores[name] = float(values.mean())
        interval[name] = _of_mean(values, groups)
    for name, bins in binned.items():
        scores[name] = bins.ece
        scores[f"{name}_corrected"], ends = corrected_ece(bins)
        interval[f"{name}_corrected"] = list(ends)
    scores["aurc"] = aurc(confidence, correct)
    interval["aurc"] = _of_rows(aurc, confidence, correct, groups)
    return {**scores, "interval": interval}


def _of_mean(values: Values, groups: Counts | None) -> list[float]:
    if groups is not None:
        samples = resampled_means(values[:, None], groups=groups)[:, 0]
        return list(percentile_interval(samples, float(values.mean())))
    half = float(t.ppf(0.5 + CONFIDENCE / 2, max(len(values) - 1, 1)) * values.std(ddof=min(len(values) - 1, 1)))
    half /= len(values) ** 0.5
    return [max(float(values.mean()) - half, 0.0), float(values.mean()) + half]


def _of_rows(
    score: Callable[[Values, npt.NDArray[np.bool_]], float],
    confidence: Values,
    correct: npt.NDArray[np.bool_],
    groups: Counts | None,
    draws: int = 500,
    seed: int = 0,
) -> list[float]:
    rows_drawn = resampled_rows(len(correct), draws, seed, groups)
    samples = [score(confidence[rows], correct[rows]) for rows in rows_drawn]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return [float(low), float(high)]
