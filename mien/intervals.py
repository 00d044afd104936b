"""How sure a measured number is: intervals, paired differences, and p adjusted for several tests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm, t

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 2000
# Of more classes no matrices are drawn: those of 1,000 classes would take 16 GB.
_MOST_MATRICES = 50


class Margins(NamedTuple):
    """What scores need of confusion matrices (..., k, k): how many rows of each class, int64 (..., k).

    `right` were predicted right, `support` are of the class, `predicted` were taken for it.
    """

    right: Counts
    support: Counts
    predicted: Counts


def margins(matrices: "Counts | Margins") -> Margins:
    """The margins of confusion matrices (..., k, k), true classes down; margins stay as they are."""
    if isinstance(matrices, Margins):
        return matrices
    return Margins(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-1), matrices.sum(axis=-2))


def percent(share: float, digits: int = 0) -> str:
    """A share in per cent that rounds neither a little to nothing nor almost all to all.

    >>> percent(0.8889), percent(0.0001), percent(0.9999), percent(0.0187, 1)
    ('89 %', 'less than 1 %', 'more than 99 %', '1.9 %')
    """
    step, text = 10.0**-digits, f"{100 * share:.{digits}f}"
    if share > 0 and float(text) == 0:
        return f"less than {step:.{digits}f} %"
    if share < 1 and float(text) == 100:
        return f"more than {100 - step:.{digits}f} %"
    return f"{text} %"


def with_interval(value: float, ends: Sequence[float], form: str = ".3f", *, scale: float = 1, unit: str = "") -> str:
    """A value with its interval in brackets, both times `scale`; `unit` stands right after the value.

    >>> with_interval(0.4762, [0.4599, 0.4927]), with_interval(0.0472, [0.0454, 0.0492], ".2f", scale=100, unit=" %")
    ('0.476 [0.460, 0.493]', '4.72 % [4.54, 4.92]')
    >>> with_interval(-0.01, [-0.02, 0.0], "+.2f")
    '−0.01 [−0.02, +0.00]'
    """
    middle, low, high = (number(scale * one, form) for one in (value, *ends))
    return f"{middle}{unit} [{low}, {high}]"


def number(value: float, form: str = ".3f") -> str:
    """A number as text shows it: with a minus sign, which a hyphen isn't.

    >>> number(-0.5, "+.1f"), number(0.5, "+.1f")
    ('−0.5', '+0.5')
    """
    return f"{value:{form}}".replace("-", "−")


def choice_of(found: Mapping[str, Any]) -> str:
    """What intervals are over: rows, or groups of rows.

    >>> choice_of({"groups": 118, "grouped_by": "subject"}), choice_of({"groups": None})
    ('over the choice of persons (118 groups by subject)', 'over the choice of rows')
    """
    if not found.get("groups"):
        return "over the choice of rows"
    column = str(found["grouped_by"])
    what = "videos" if "video" in column.lower() else "persons"
    return f"over the choice of {what} ({found['groups']:,} groups by {column})"


def wilson(successes: int, n: int) -> tuple[float, float]:
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
    low, high = binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)


def proportion(right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The share of rows (n,) that are right as plain data: `n`, `value` (None for no rows), Wilson's `interval`."""
    n, number = len(right), int(right.sum())
    return {"n": n, "value": number / n if n else None, "interval": list(wilson(number, n))}


def clusters(names: Sequence[Any] | None) -> Counts | None:
    """Groups of rows by their names as numbers from 0, int64 (n,); None where they say nothing.

    A row without a name (None or "") is a group of its own. Groups say nothing where there is one alone, or where each
    row is one: then rows are what is drawn.

    >>> clusters(["ann", "bob", "ann", None]).tolist(), clusters(["ann", "bob"]), clusters(None)
    ([0, 1, 0, 2], None, None)
    """
    if names is None:
        return None
    place: dict[Any, int] = {}
    own = [(row, None) if name is None or name == "" else str(name) for row, name in enumerate(names)]
    numbers = np.array([place.setdefault(name, len(place)) for name in own], np.int64)
    return numbers if 1 < len(place) < len(own) else None


# How many bootstrap samples are drawn at once; memory holds as many counts for each row or group.
_AT_ONCE = 250


def drawn_groups(number: int, draws: int = DRAWS, seed: int = 0) -> Iterator[Counts]:
    """How often each of `number` groups stands in bootstrap samples of whole groups, int64 (some draws, number).

    A sample has number − 1 groups, drawn with replacement: rows of a group, as the pictures of one person, stay
    together, since they aren't independent; and with all of them the variance would look too small by a share of
    1 / number. Sources: C. A. Field, A. H. Welsh (2007), Bootstrapping clustered data, JRSS B 69; J. N. K. Rao, C. F.
    J. Wu (1988), Resampling inference with complex survey data, JASA 83.

    >>> [counts.sum(axis=1).tolist() for counts in drawn_groups(3, draws=2)]
    [[2, 2]]
    """
    random = np.random.default_rng(seed)
    for start in range(0, draws, _AT_ONCE):
        size = min(_AT_ONCE, draws - start)
        cells = random.integers(0, number, (size, number - 1)) + number * np.arange(size)[:, None]
        yield np.bincount(cells.ravel(), minlength=size * number).reshape(size, number).astype(np.int64)


def resampled_rows(n: int, draws: int = DRAWS, seed: int = 0, groups: Counts | None = None) -> Iterator[Counts]:
    """The rows of bootstrap samples, int64: `n` rows drawn with replacement, or all rows of whole groups drawn so."""
    if groups is None:
        random = np.random.default_rng(seed)
        for _ in range(draws):
            yield random.integers(0, n, n)
        return
    order = np.argsort(groups, kind="stable")
    for some in drawn_groups(int(groups.max()) + 1, draws, seed):
        for counts in some:
            yield np.repeat(order, counts[groups[order]])


def group_interval(samples: Values, value: float, number: int) -> tuple[float, float]:
    """The percentile interval of a score of 0 … 1 over samples (draws,) of `number` groups; it holds the score.

    NaN stands for a sample that has no rows to score. Where no sample differs from the score, as when every row is
    right, the interval is Wilson's of so many groups, as if each were right or wrong as a whole.
    """
    known = samples[~np.isnan(samples)]
    if len(known) == 0 or np.ptp(np.append(known, value)) < 1e-12:
        low, high = wilson(round(value * number), number)
        return min(low, value), max(high, value)
    return percentile_interval(known, value)


def share_interval(right: npt.NDArray[np.bool_], groups: Counts | None = None) -> tuple[float, float]:
    """The interval of the share of rows (n,) that are right: Wilson's, or with `groups` that of a cluster bootstrap."""
    groups = _renumbered(groups)
    if groups is None:
        return wilson(int(right.sum()), len(right))
    number = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, weights=of, minlength=number) for of in (right, np.ones(len(right)))], axis=1)
    drawn = np.concatenate([counts @ sums for counts in drawn_groups(number)])
    return group_interval(drawn[:, 0] / drawn[:, 1], float(right.mean()), number)


def _renumbered(groups: Counts | None) -> Counts | None:
    """Groups of some rows, numbered from 0 without gaps; None as `clusters` gives it."""
    return None if groups is None else clusters(groups.tolist())


def resample_groups(
    labels: Counts, predicted: Counts, groups: Counts, k: int, draws: int = DRAWS, seed: int = 0
) -> Margins:
    """The margins of confusion matrices of bootstrap samples of whole groups, int64 (draws, k); see `drawn_groups`.

    `labels`, `predicted` and `groups` are int (n,); classes are 0 … k - 1, groups 0 … number - 1.
    """
    from scipy.sparse import csr_array  # Rows that are independent need none of it.

    number = int(groups.max()) + 1
    right = labels == predicted
    parts = [
        csr_array((np.ones(len(rows), np.int64), (of, rows)), shape=(number, k)).T.tocsr()
        for of, rows in ((groups[right], labels[right]), (groups, labels), (groups, predicted))
    ]
    sums = [np.empty((draws, k), np.int64) for _ in parts]
    start = 0
    for counts in drawn_groups(number, draws, seed):
        for of, part in zip(sums, parts, strict=True):
            of[start : start + len(counts)] = (part @ counts.T).T
        start += len(counts)
    return Margins(*sums)


def by_group(table: Values, groups: Counts | None) -> Values:
    """A table (…, rows) of which each row has a value of its own as one (…, groups) with the same means.

    A group's value is the mean plus what its rows are apart from it, times groups / rows: so that the variance of the
    mean over groups is that of whole groups drawn, of whatever sizes (the linearised variance of a ratio; N. A.
    Obuchowski (1998), On the comparison of correlated proportions for clustered data, Statistics in Medicine 17).
    Without `groups` the table itself.

    >>> by_group(np.array([[1.0, 1, 0, 0, 1, 1]]), np.array([0, 0, 1, 1, 2, 2])).round(9).tolist()
    [[1.0, 0.0, 1.0]]
    """
    if groups is None:
        return table
    number = int(groups.max()) + 1
    means = table.mean(axis=-1, keepdims=True)
    apart = (table - means).reshape(-1, table.shape[-1])
    sums = np.stack([np.bincount(groups, weights=row, minlength=number) for row in apart])
    return np.asarray(means + sums.reshape(*table.shape[:-1], number) * (number / table.shape[-1]))


def resample(confusion: Counts, draws: int = DRAWS, seed: int = 0, doubt: float = 0.0) -> Counts:
    """Confusion matrices of `draws` stratified bootstrap samples, int64 (draws, k, k), the same for the same seed.

    `confusion` is (k, k), true classes down, predicted classes across. Drawing as many rows of each true class as
    there are, with replacement, gives each row of the matrix a multinomial distribution with its own shares; so the
    rows need not be drawn one by one. `doubt` adds so many imagined right rows and as many wrong ones. They are shared
    by the classes whose own rows are all right, or all wrong, and would never vary without them.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    k, sizes = len(counts), counts.sum(axis=1)
    each = _doubts(counts, doubt)
    weights = counts + np.where(np.eye(k, dtype=bool), each[:, None], each[:, None] / max(k - 1, 1))
    # A class without rows draws none, whatever its shares.
    shares = np.where(sizes[:, None] > 0, weights / np.maximum(weights.sum(axis=1), 1)[:, None], 1 / k)
    return np.random.default_rng(seed).multinomial(sizes, shares, size=(draws, k))


def _doubts(counts: Counts, doubt: float) -> Values:
    """How many imagined right rows, and as many wrong ones, each class has, float64 (k,)."""
    right, sizes, _ = margins(counts)
    unvaried = (sizes > 0) & ((right == 0) | (right == sizes))
    return np.asarray(doubt * unvaried / max(int(unvaried.sum()), 1), np.float64)


def resample_margins(confusion: Counts, draws: int = DRAWS, seed: int = 0, doubt: float = 0.0) -> Margins:
    """The margins, (draws, k), of such samples as `resample` draws, row by row: for many classes with few rows each."""
    counts = np.asarray(confusion, dtype=np.int64)
    k, sizes = len(counts), counts.sum(axis=1)
    each = _doubts(counts, doubt)
    weights = counts + np.diag(each)
    # The cells that have a weight, class after class; at the end of each class the wrong row that is only imagined.
    true, taken = np.nonzero(weights)
    true, taken = np.concatenate([true, np.arange(k)]), np.concatenate([taken, np.full(k, -1)])
    order = np.argsort(true, kind="stable")
    true, taken = true[order], taken[order]
    ends = np.cumsum(np.concatenate([weights[np.nonzero(weights)], each])[order])
    whole = sizes + 2 * each
    labels = np.repeat(np.arange(k), sizes)
    begin, width = (np.cumsum(whole) - whole)[labels], whole[labels]
    random = np.random.default_rng(seed)
    right, predicted = np.zeros((draws, k), np.int64), np.zeros((draws, k), np.int64)
    for draw in range(draws):
        places = np.searchsorted(ends, begin + random.random(len(labels)) * width, side="right")
        # By rounding a draw may come to the next class's first cell.
        found = np.where(
            true[np.minimum(places, len(true) - 1)] == labels, taken[np.minimum(places, len(true) - 1)], -1
        )
        imagined = np.flatnonzero(found < 0)
        found[imagined] = (labels[imagined] + random.integers(1, max(k, 2), len(imagined))) % k
        right[draw] = np.bincount(labels[found == labels], minlength=k)
        predicted[draw] = np.bincount(found, minlength=k)
    return Margins(right, np.broadcast_to(sizes, (draws, k)), predicted)


def bootstrap(
    confusion: Counts, score: Callable[[Counts | Margins], Values], *, draws: int = DRAWS
) -> tuple[float, float]:
    """The percentile interval of a score over stratified bootstrap samples; it holds the score itself.

    `score` takes matrices (draws, k, k), or the margins of many classes, and gives values (draws,).
    Classes whose rows are all right, or all wrong, would never vary, and a few rows would look too sure. So these
    classes share half a right and half a wrong row more, as Jeffreys' prior adds to a share.
    Source: B. Efron, R. J. Tibshirani (1993), An introduction to the bootstrap, chapter 13.
    """
    return bootstraps(confusion, lambda drawn: score(drawn)[:, None], draws=draws)[0]


def bootstraps(
    confusion: Counts, scores: Callable[[Counts | Margins], Values], *, draws: int = DRAWS
) -> list[tuple[float, float]]:
    """The intervals, as `bootstrap` gives them, of several scores of the same samples: `scores` gives (draws, scores).

    More than 50 classes are drawn row by row.
    """
    values = scores(np.asarray(confusion)[None])[0]
    draw = resample if len(confusion) <= _MOST_MATRICES else resample_margins
    drawn = scores(draw(confusion, draws, doubt=0.5))
    return [percentile_interval(of, float(value)) for of, value in zip(drawn.T, values, strict=True)]


def resample_seeds(
    labels: Counts, predicted: Counts, k: int, draws: int = 1000, seed: int = 0, groups: Counts | None = None
) -> Margins:
    """The margins of bootstrap samples of rows and seeds together, int64 (draws, seeds drawn, k) each.

    `labels` is int (n,), `predicted` int (seeds, n), of `k` classes. Rows are drawn as `resample` draws them, the same
    for all seeds of a sample; of m seeds, m − 1 are drawn, without which the variance of a few would look too small
    by a share of 1 / m (J. N. K. Rao, C. F. J. Wu (1988), Resampling inference with complex survey data, JASA 83).
    With `groups`, int (n,), whole groups are drawn in place of rows.
    """
    random = np.random.default_rng(seed)
    if groups is not None:
        m = max(len(predicted) - 1, 1)
        chosen = random.integers(0, len(predicted), (draws, m))
        of_groups = Margins(*(np.zeros((draws, m, k), np.int64) for _ in range(3)))
        # All seeds have the same groups in a sample, since these are drawn by the same numbers.
        for number, one in enumerate(predicted):
            of_seed = resample_groups(labels, one, groups, k, draws, seed)
            at = chosen == number
            for part, drawn in zip(of_groups, of_seed, strict=True):
                part[at] = np.broadcast_to(drawn[:, None], part.shape)[at]
        return of_groups
    order = np.argsort(labels, kind="stable")
    cells = (labels * k + predicted)[:, order]
    sizes = np.bincount(labels, minlength=k)
    start, size = (np.repeat(part, sizes) for part in (np.cumsum(sizes) - sizes, sizes))
    m = max(len(predicted) - 1, 1)
    offset = np.arange(m)[:, None] * k
    right, support, taken = (np.zeros((draws, m, k), np.int64) for _ in range(3))
    for draw in range(draws):
        rows = start + (random.random(len(labels)) * size).astype(np.int64)
        true, found = np.divmod(cells[random.integers(0, len(cells), m)][:, rows], k)
        hits = (true + offset)[true == found]
        for of, counts in ((hits, right), (true + offset, support), (found + offset, taken)):
            counts[draw] = np.bincount(of.ravel(), minlength=m * k).reshape(m, k)
    return Margins(right, support, taken)


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p of McNemar's test, in 0 … 1, from the rows that only one of two models has right.

    Source: Q. McNemar (1947), Note on the sampling error of the difference between correlated proportions,
    Psychometrika 12; exact, so a sign test on the rows that tell them apart. 1 where there are none.

    >>> round(mcnemar(1, 7), 4)
    0.0703
    """
    return min(2 * float(binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)), 1.0)


def paired_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """Tango's score interval for the difference of two shares of the same `n` rows, a − b, both ends in -1 … 1.

    `only_a` rows count for a alone, `only_b` for b alone. It has a width even where no row tells the two apart.
    Source: T. Tango (1998), Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17. Raises ValueError for more rows than there are.

    >>> [round(end, 3) for end in paired_interval(1, 7, 21)]
    [-0.517, -0.026]
    """
    if min(only_a, only_b) < 0 or only_a + only_b > n:
        raise ValueError(f"{only_a} and {only_b} of {n} rows are no shares")
    if n == 0:
        return -1.0, 1.0
    z = float(norm.ppf(0.5 + CONFIDENCE / 2))
    # The interval of b − a is the mirrored one.
    return -_paired_end(only_b, only_a, n, z), _paired_end(only_a, only_b, n, z)


def _paired_end(only_a: int, only_b: int, n: int, z: float) -> float:
    observed = only_a - only_b
    if observed == n:
        return 1.0

    def beyond(difference: float) -> float:
        # The share of rows for b alone that is likeliest when the difference is this one: a quadratic's root.
        half = (-only_a - only_b + (2 * n + only_b - only_a) * difference) / (4 * n)
        share = np.sqrt(max(half**2 + only_b * difference * (1 - difference) / (2 * n), 0.0)) - half
        variance = n * (2 * share + difference * (1 - difference))
        return float(n * difference - observed - z * np.sqrt(max(variance, 0.0)))

    # The variance may be 0 at the difference found itself, and the end is the other root.
    return float(brentq(beyond, observed / n + 1e-9, 1.0))


def holm(p: Sequence[float]) -> list[float]:
    """The p values of several tests at once, adjusted so that one false alarm among all has its level at most.

    Source: S. Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    # statsmodels has this too, and clears the whole process's memory at each call.
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    return [float(value) for value in np.minimum(adjusted, 1)]


class Estimate(NamedTuple):
    """A value, its interval [low, high], and the two-sided p of its being 0."""

    value: float
    interval: tuple[float, float]
    p: float


def seeds_mean(table: Values) -> Estimate:
    """The mean of 0 … 1 over seeds and rows of a table (seeds, rows), as if both had been drawn from many.

    The rows are those of one test set, each measured under every seed. See `seeds_difference` for how.
    """
    rows = np.concatenate([table.mean(axis=0), [0, 0, 1, 1]])  # Agresti and Coull's (1998): no width of 0.
    return _over_seeds_and_rows(float(table.mean()), [table], rows, low=0.0)


def seeds_difference(a: Values, b: Values) -> Estimate:
    """The difference of two means over seeds and rows, a − b, of tables of 0 … 1 (seeds, rows) on the same rows.

    As if the seeds of each and the rows had been drawn from many: the variance is that of a bootstrap which draws
    seeds and rows together, in closed form (which for a mean there is), with two corrections. It is unbiased for few
    seeds, and what seeds do to single rows, which such a bootstrap counts three times, counts once (A. B. Owen (2007),
    The pigeonhole bootstrap, Annals of Applied Statistics 1). The interval is Student's, its degrees of freedom by
    Satterthwaite (1946). A side with one seed stands for that one model alone.

    >>> a, b = np.array([[1, 1, 1, 0], [1, 1, 1, 1.0]]), np.array([[1, 0, 0, 0], [1, 1, 0, 0.0]])
    >>> seeds_difference(a, b).value
    0.5
    """
    rows = np.concatenate([a.mean(axis=0) - b.mean(axis=0), [-1, 1]])  # Bonett and Price's (2012): no width of 0.
    return _over_seeds_and_rows(float(a.mean() - b.mean()), [a, b], rows, low=-1.0)


def _over_seeds_and_rows(value: float, tables: Sequence[Values], rows: Values, low: float) -> Estimate:
    by_rows = float(rows.var(ddof=1) / len(rows))
    by_seeds = shared = 0.0
    freedom = by_rows**2 / (len(rows) - 1)
    for table in tables:
        k, n = table.shape
        if k > 1:
            means = table.mean(axis=1)
            part = float(means.var(ddof=1) / k)
            by_seeds += part
            freedom += part**2 / (k - 1)
            rest = table - means[:, None] - table.mean(axis=0) + table.mean()
            shared += float((rest**2).sum()) / ((k - 1) * max(n - 1, 1) * k * n)
    # What seeds do to single rows stands in both terms; each of them alone is no more than the whole.
    variance = max(by_seeds + by_rows - shared, by_seeds, by_rows)
    student = t(variance**2 / freedom)
    half = float(student.ppf(0.5 + CONFIDENCE / 2)) * variance**0.5
    p = 2 * float(student.sf(abs(value) / variance**0.5))
    return Estimate(value, (max(value - half, low), min(value + half, 1.0)), min(p, 1.0))


def resampled_means(table: Values, draws: int = DRAWS, seed: int = 0, groups: Counts | None = None) -> Values:
    """The means of the columns of a table (n, columns) over bootstrap samples of its rows, float64 (draws, columns).

    With `groups`, int (n,), samples are of whole groups, as `drawn_groups` draws them.

    A sample has the same rows in all columns, so that columns can be compared sample by sample; the same seed gives the
    same rows. Source: B. Efron, R. J. Tibshirani (1993), An introduction to the bootstrap, chapter 13.

    >>> resampled_means(np.array([[1.0, 2], [1, 2]]), draws=3).tolist()
    [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]
    """
    n = len(table)
    if groups is not None:
        number = int(groups.max()) + 1
        columns = (*table.T, np.ones(n))
        sums = np.stack([np.bincount(groups, weights=column, minlength=number) for column in columns], axis=1)
        drawn = np.concatenate([counts @ sums for counts in drawn_groups(number, draws, seed)])
        return np.asarray(drawn[:, :-1] / drawn[:, -1:])
    random = np.random.default_rng(seed)
    means = np.empty((draws, table.shape[1]))
    for start in range(0, draws, _AT_ONCE):
        size = min(_AT_ONCE, draws - start)
        cells = random.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=size * n).reshape(size, n)
        means[start : start + size] = counts.astype(np.float64) @ table / n
    return means


def percentile_interval(samples: Values, value: float) -> tuple[float, float]:
    """The percentile interval of bootstrap samples (draws,) of a value; it always contains `value`.

    >>> [round(end, 3) for end in percentile_interval(np.arange(101.0), 50)], percentile_interval(np.zeros(9), 0.5)
    ([2.5, 97.5], (0.0, 0.5))
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    # Of a handful of rows the percentiles of a skewed score may lie on one side of it.
    return min(float(low), value), max(float(high), value)
