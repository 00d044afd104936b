"""How sure a measured number is: intervals for shares and for scores of a confusion matrix."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 2000


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval for a share of `n` independent rows, both ends in 0 … 1; (0, 1) for no rows.

    Source: E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.
    Raises ValueError unless 0 ≤ successes ≤ n.

    >>> [round(end, 4) for end in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    if n == 0:
        return 0.0, 1.0
    low, high = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def resample(confusion: Counts, draws: int = DRAWS, seed: int = 0) -> Counts:
    """Confusion matrices of `draws` stratified bootstrap samples, int64 (draws, k, k), the same for the same seed.

    `confusion` is (k, k), true classes down, predicted classes across. Drawing as many rows of each true class as
    there are, with replacement, gives each row of the matrix a multinomial distribution with its own shares; so the
    rows need not be drawn one by one.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    sizes = counts.sum(axis=1)
    # A class without rows draws none, whatever its shares.
    shares = np.where(sizes[:, None] > 0, counts / np.maximum(sizes, 1)[:, None], 1 / len(counts))
    return np.random.default_rng(seed).multinomial(sizes, shares, size=(draws, len(counts)))


def bootstrap(
    confusion: Counts,
    score: Callable[[Counts], Values],
    *,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of a score over stratified bootstrap samples.

    `score` takes matrices (draws, k, k) and gives values (draws,). What never varies in the sample has no width:
    without a single error the interval of any score is (1, 1), so few rows look surer than they are.
    Source: B. Efron, R. J. Tibshirani (1993), An introduction to the bootstrap, chapter 13.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(score(resample(confusion, draws, seed)), [tail, 1 - tail])
    return float(low), float(high)
