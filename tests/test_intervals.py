"""Intervals against published numbers, a second implementation, and the resampling that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest, ttest_ind, ttest_rel
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from mien.intervals import (
    bootstrap,
    by_group,
    clusters,
    holm,
    mcnemar,
    paired_interval,
    resample,
    resampled_means,
    seeds_difference,
    seeds_mean,
    share_interval,
    wilson,
)
from mien.metrics.classification import balanced_accuracy, macro_f1, measure


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # R. G. Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_numbers(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 40_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_equals_statsmodels(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert (low, high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)
    mirrored = wilson(n - successes, n)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-12)


def test_wilson_of_no_rows_says_nothing_and_of_too_many_successes_fails() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="5 of 4 is no share"):
        wilson(5, 4)


matrices = (
    st.integers(2, 6)
    .flatmap(lambda k: st.lists(st.lists(st.integers(0, 30), min_size=k, max_size=k), min_size=k, max_size=k))
    .filter(lambda rows: np.sum(rows) > 0)
)


@settings(deadline=None)
@given(matrices)
def test_resamples_keep_the_rows_of_each_class_and_make_up_nothing(rows: list[list[int]]) -> None:
    matrix = np.array(rows)
    drawn = resample(matrix, draws=50)
    assert drawn.shape == (50, *matrix.shape)
    assert (drawn.sum(axis=2) == matrix.sum(axis=1)).all()
    assert (drawn[:, matrix == 0] == 0).all()
    assert (drawn == resample(matrix, draws=50)).all()


@settings(deadline=None, max_examples=50)
@given(matrices)
def test_the_interval_holds_its_score_in_0_to_1_and_is_the_same_each_time(rows: list[list[int]]) -> None:
    matrix = np.array(rows)
    for score in (balanced_accuracy, macro_f1):
        low, high = bootstrap(matrix, score, draws=400)
        assert 0 <= low <= score(matrix[None])[0] <= high <= 1
        assert bootstrap(matrix, score, draws=400) == (low, high)


def test_rows_that_are_all_right_still_leave_a_doubt() -> None:
    # Balanced accuracy of equal classes is the accuracy; 140 right ones of 140 leave Wilson's interval at .973.
    matrix = np.diag([20] * 7)
    low, high = bootstrap(matrix, balanced_accuracy)
    assert high == 1.0
    assert 0.97 < low < 0.99
    assert bootstrap(np.diag([2, 2]), macro_f1)[0] < 0.8
    # What varies by itself gets nothing imagined.
    varied = np.array([[15, 5], [4, 16]])
    assert (resample(varied, doubt=0.5) == resample(varied)).all()


def test_multinomial_draws_equal_drawing_rows_one_by_one() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [120, 40, 15])
    predicted = np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, 3, len(labels)))
    matrix = np.zeros((3, 3), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)

    rows_of = [np.flatnonzero(labels == c) for c in range(3)]
    naive = []
    for _ in range(2000):
        rows = np.concatenate([rng.choice(of, len(of)) for of in rows_of])
        naive.append([np.mean([np.mean(predicted[rows][labels[rows] == c] == c) for c in range(3)])])
        if len(naive) <= 400:  # scikit-learn takes a millisecond a draw.
            naive[-1].append(f1_score(labels[rows], predicted[rows], average="macro"))
    recalls = np.array([row[0] for row in naive])
    f1s = np.array([row[1] for row in naive[:400]])

    drawn = resample(matrix, draws=2000)
    # Standard errors of the naive figures: about .001 for the mean and the sd, .003 for a quantile.
    assert balanced_accuracy(drawn).mean() == pytest.approx(recalls.mean(), abs=0.005)
    assert balanced_accuracy(drawn).std() == pytest.approx(recalls.std(), rel=0.08)
    assert bootstrap(matrix, balanced_accuracy) == pytest.approx(np.quantile(recalls, [0.025, 0.975]), abs=0.01)
    assert macro_f1(drawn).mean() == pytest.approx(f1s.mean(), abs=0.01)
    assert macro_f1(drawn).std() == pytest.approx(f1s.std(), rel=0.15)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    truth = np.array([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.1, 0.3, 0.6]])
    rng = np.random.default_rng(2)
    samples = rng.multinomial([150, 150, 150], truth, size=(300, 3))
    held = 0
    for matrix in samples:
        low, high = bootstrap(matrix, balanced_accuracy, draws=500)
        held += low <= 0.6 <= high
    # 300 × .95 = 285 with a standard deviation of 3.8.
    assert 270 <= held <= 298


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        # M. W. Fagerland, S. Lydersen, P. Laake (2013), The McNemar test for binary matched-pairs data: airway
        # hyper-responsiveness of 21 children before and after a transplantation. The second is counted by hand.
        (1, 7, 0.0703),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
        (0, 0, 1.0),
        (5, 5, 1.0),
    ],
)
def test_mcnemar_gives_known_numbers(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p, rel=1e-3)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_statsmodels_and_knows_no_sides(only_a: int, only_b: int) -> None:
    p = mcnemar(only_a, only_b)
    assert 0 <= p <= 1
    assert p == mcnemar(only_b, only_a)
    assert p == pytest.approx(reference_mcnemar([[7, only_a], [only_b, 9]], exact=True).pvalue, abs=1e-12)
    assert p == pytest.approx(binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0, abs=1e-12)


def brute_tango(only_a: int, only_b: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The interval by its definition: differences whose score test, at the likeliest shares, isn't beyond z."""

    def score(difference: float) -> float:
        # The likelihood of the shares (q + difference, q) on a fine grid in place of the quadratic's root.
        grid = np.linspace(max(0.0, -difference), (1 - difference) / 2, 200_001)[1:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = (
                (only_a * np.log(grid + difference) if only_a else 0)
                + (only_b * np.log(grid) if only_b else 0)
                + ((n - only_a - only_b) * np.log(1 - 2 * grid - difference) if n > only_a + only_b else 0)
            )
        share = grid[np.argmax(likelihood)]
        return float((only_a - only_b - n * difference) / np.sqrt(n * (2 * share + difference * (1 - difference))))

    found = (only_a - only_b) / n
    low = brentq(lambda d: score(d) - z, -0.999, found - 1e-6)
    return low, brentq(lambda d: score(d) + z, found + 1e-6, 0.999)


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(6, 16, 161), (12, 2, 14), (1, 9, 30), (30, 25, 700)])
def test_the_paired_interval_is_tangos_by_its_definition(only_a: int, only_b: int, n: int) -> None:
    assert paired_interval(only_a, only_b, n) == pytest.approx(brute_tango(only_a, only_b, n), abs=2e-4)


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "low", "high"),
    # M. W. Fagerland, S. Lydersen, P. Laake (2014), Recommended tests and confidence intervals for paired binomial
    # proportions, Statistics in Medicine 33, table V. Without discordant pairs: z² / (n + z²), by Tango's formula.
    [(1, 7, 21, -0.517, -0.026), (0, 0, 50, -0.0713, 0.0713)],
)
def test_the_paired_interval_gives_published_numbers(only_a: int, only_b: int, n: int, low: float, high: float) -> None:
    assert paired_interval(only_a, only_b, n) == pytest.approx((low, high), abs=5e-4)


counts = st.integers(1, 5000).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda a: st.tuples(st.just(a), st.integers(0, n - a), st.just(n)))
)


@settings(deadline=None)
@given(counts)
def test_the_paired_interval_holds_the_difference_and_turns_with_the_sides(drawn: tuple[int, ...]) -> None:
    only_a, only_b, n = drawn
    low, high = paired_interval(only_a, only_b, n)
    assert -1 <= low <= (only_a - only_b) / n <= high <= 1
    assert low < high
    mirrored = paired_interval(only_b, only_a, n)
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]), abs=1e-9)


def test_a_paired_interval_of_no_rows_says_nothing_and_of_too_many_fails() -> None:
    assert paired_interval(0, 0, 0) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="3 and 2 of 4 rows are no shares"):
        paired_interval(3, 2, 4)


@settings(deadline=None, max_examples=15)  # statsmodels takes a tenth of a second a call.
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert adjusted == pytest.approx(multipletests(p, method="holm")[1].tolist())
    # By the definition: the smallest times n, the next times n − 1, none below one before it.
    order = np.argsort(p, kind="stable")
    stepwise = np.minimum(np.maximum.accumulate([(len(p) - i) * p[place] for i, place in enumerate(order)]), 1)
    assert np.array(adjusted)[order] == pytest.approx(stepwise)
    assert all(one >= raw for one, raw in zip(adjusted, p, strict=True))
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_of_holms_example_and_of_nothing() -> None:
    # The example of Wikipedia's page on Holm's procedure: of .01, .04, .03, .005 the smallest two are below .05.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def table(seeds: int, n: int, level: float, seed: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Right answers (seeds, rows): rows are easy or hard, seeds good or bad."""
    random = np.random.default_rng(seed)
    chance = (np.random.default_rng(0).normal(0, 2, n) if rows is None else rows) + level
    seen = chance + random.normal(0, 0.3, (seeds, 1))
    return (random.random((seeds, n)) < 1 / (1 + np.exp(-seen))).astype(float)


def test_one_seed_each_is_the_paired_test_on_rows() -> None:
    a, b = table(1, 2000, 0.3, 1), table(1, 2000, 0.0, 2)
    found, paired = seeds_difference(a, b), ttest_rel(a[0], b[0])
    assert found.value == pytest.approx((a - b).mean())
    assert found.p == pytest.approx(paired.pvalue, abs=0.002)
    assert found.interval == pytest.approx(tuple(paired.confidence_interval()), abs=0.001)


def test_where_rows_are_many_seeds_are_what_counts() -> None:
    # All rows alike within a seed: what is left is Welch's test on the seeds' means.
    a = np.repeat([[0.50], [0.60], [0.55]], 200_000, axis=1)
    b = np.repeat([[0.40], [0.45], [0.52]], 200_000, axis=1)
    found, welch = seeds_difference(a, b), ttest_ind(a[:, 0], b[:, 0], equal_var=False)
    assert found.p == pytest.approx(welch.pvalue, abs=1e-3)
    assert found.interval == pytest.approx(tuple(welch.confidence_interval()), abs=1e-3)


def resampled(a: np.ndarray, b: np.ndarray, draws: int) -> np.ndarray:
    """A plain bootstrap of rows and of k − 1 of k seeds, so that the seeds' variance is unbiased."""
    random = np.random.default_rng(9)
    found = []
    for _ in range(draws):
        rows = random.integers(0, a.shape[1], a.shape[1])
        sides = [one[random.integers(0, len(one), len(one) - 1)][:, rows].mean() for one in (a, b)]
        found.append(sides[0] - sides[1])
    return np.array(found)


def test_the_closed_form_is_a_bootstrap_over_seeds_and_rows() -> None:
    # Many seeds, so that Student's t is the normal and the interaction, which a bootstrap counts thrice, is little.
    a, b = table(40, 400, 0.4, 1), table(40, 400, 0.1, 2)
    found = seeds_difference(a, b)
    drawn = resampled(a, b, 3000)
    half = (found.interval[1] - found.interval[0]) / 2
    assert drawn.mean() == pytest.approx(found.value, abs=0.003)
    assert half == pytest.approx(1.96 * drawn.std(), rel=0.1)
    assert found.interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.006)
    mean = seeds_mean(a)
    assert mean.value == a.mean()
    assert mean.interval[1] - mean.interval[0] == pytest.approx(
        2 * 1.96 * (resampled(a, np.zeros((2, 400)), 3000)).std(), rel=0.1
    )


tables = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 30), st.integers(0, 9999))


@settings(deadline=None)
@given(tables)
def test_a_difference_over_seeds_turns_with_the_sides_and_knows_no_order(drawn: tuple[int, ...]) -> None:
    k, m, n, seed = drawn
    random = np.random.default_rng(seed)
    a, b = ((random.random((seeds, n)) < random.random()).astype(float) for seeds in (k, m))
    found, turned = seeds_difference(a, b), seeds_difference(b, a)
    assert -1 <= found.interval[0] <= found.value <= found.interval[1] <= 1
    assert found.interval[0] < found.interval[1]
    assert 0 <= found.p <= 1
    assert found.p == pytest.approx(turned.p)
    assert found.interval == pytest.approx((-turned.interval[1], -turned.interval[0]))
    order = random.permutation(n)
    again = seeds_difference(a[::-1, order], b[:, order])
    assert again.p == pytest.approx(found.p)
    assert again.interval == pytest.approx(found.interval)
    mean = seeds_mean(a)
    assert 0 <= mean.interval[0] <= mean.value <= mean.interval[1] <= 1


def test_a_cluster_bootstrap_is_that_of_drawing_persons_one_by_one() -> None:
    random = np.random.default_rng(1)
    labels, predicted, groups = random.integers(0, 3, 60), random.integers(0, 3, 60), np.arange(60) // 5
    logits = np.eye(3)[predicted]
    # The plain way: a list of persons, of whom one fewer than there are is drawn, and all rows of each.
    draw = np.random.default_rng(0)
    scores: dict[str, list[float]] = {"accuracy": [], "macro_f1": []}
    recalls = []
    for _ in range(2000):
        rows = [row for person in draw.integers(0, 12, 11) for row in range(60) if groups[row] == person]
        true, found = labels[rows], predicted[rows]
        scores["accuracy"].append(float((true == found).mean()))
        parts = [2 * ((true == c) & (found == c)).sum() / ((true == c).sum() + (found == c).sum()) for c in set(true)]
        scores["macro_f1"].append(float(np.mean(parts)))
        if (true == 0).any():
            recalls.append(float((found[true == 0] == 0).mean()))
    measured = measure(labels, logits, ["a", "b", "c"], groups)
    assert measured["groups"] == 12
    for key, samples in scores.items():
        assert measured["interval"][key] == pytest.approx(np.quantile(samples, [0.025, 0.975]), abs=1e-12)
    found = measured["per_class"]["a"]["interval"]["recall"]
    assert found == pytest.approx(np.quantile(recalls, [0.025, 0.975]), abs=1e-12)
    assert share_interval(labels == predicted, groups) == pytest.approx(measured["interval"]["accuracy"])
    means = resampled_means((labels == predicted)[:, None].astype(float), groups=groups)[:, 0]
    assert means.tolist() == pytest.approx(scores["accuracy"])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_frames_of_one_person_say_no_more_than_one_of_them(seed: int, copies: int) -> None:
    random = np.random.default_rng(seed)
    labels, predicted = random.integers(0, 2, 40), random.integers(0, 2, 40)
    many = [np.repeat(of, copies) for of in (labels, predicted, np.arange(40))]
    cluster = measure(many[0], np.eye(2)[many[1]], ["a", "b"], many[2])["interval"]
    naive = measure(many[0], np.eye(2)[many[1]], ["a", "b"])["interval"]
    right = labels == predicted
    assert share_interval(np.repeat(right, copies), many[2]) == pytest.approx(
        share_interval(np.repeat(right, 2), np.arange(80) // 2)
    )
    for key in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert cluster[key][1] - cluster[key][0] > naive[key][1] - naive[key][0], key


def test_persons_who_are_all_right_leave_the_doubt_of_so_many_persons() -> None:
    groups = np.arange(30) // 3
    assert share_interval(np.ones(30, bool), groups) == (pytest.approx(wilson(10, 10)[0]), 1.0)
    assert measure(np.zeros(30, int), np.eye(2)[np.zeros(30, int)], ["a", "b"], groups)["interval"]["accuracy"] == list(
        share_interval(np.ones(30, bool), groups)
    )


def test_groups_that_say_nothing_are_none() -> None:
    assert clusters(["a"] * 5) is None
    assert clusters(["a", "b", None, ""]) is None
    found = clusters(["a", None, "a", None])
    assert found is not None
    assert found.tolist() == [0, 1, 0, 2]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_values_by_group_have_the_variance_of_a_ratio_over_groups(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(7), random.integers(0, 7, 30)])
    values = random.random((2, 37))
    of_groups = by_group(values, groups)
    assert of_groups.mean(axis=1) == pytest.approx(values.mean(axis=1))
    # Obuchowski's variance, as it is written down.
    mean = values[0].mean()
    apart = [values[0][groups == g].sum() - mean * (groups == g).sum() for g in range(7)]
    variance = 7 / 6 * sum(one**2 for one in apart) / 37**2
    assert of_groups[0].var(ddof=1) / 7 == pytest.approx(variance)


def test_where_each_row_is_a_group_seeds_are_compared_as_without() -> None:
    a, b = np.random.default_rng(2).integers(0, 2, (2, 3, 20)).astype(float)
    alone = np.arange(20)
    found, expected = seeds_difference(by_group(a, alone), by_group(b, alone)), seeds_difference(a, b)
    assert found.interval == pytest.approx(expected.interval)
    assert (found.value, found.p) == pytest.approx((expected.value, expected.p))
