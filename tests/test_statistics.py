"""Intervals against published numbers, a second implementation, and the resampling that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from statsmodels.stats.proportion import proportion_confint

from mien.metrics import balanced_accuracy, macro_f1
from mien.statistics import bootstrap, resample, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # R. G. Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_numbers(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 40_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_equals_statsmodels(counts):
    successes, n = counts
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert (low, high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)
    mirrored = wilson(n - successes, n)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-12)


def test_wilson_of_no_rows_says_nothing_and_of_too_many_successes_fails():
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
def test_resamples_keep_the_rows_of_each_class_and_make_up_nothing(rows):
    matrix = np.array(rows)
    drawn = resample(matrix, draws=50)
    assert drawn.shape == (50, *matrix.shape)
    assert (drawn.sum(axis=2) == matrix.sum(axis=1)).all()
    assert (drawn[:, matrix == 0] == 0).all()
    assert (drawn == resample(matrix, draws=50)).all()


@settings(deadline=None)
@given(matrices)
def test_the_interval_lies_in_0_to_1_and_is_the_same_each_time(rows):
    matrix = np.array(rows)
    low, high = bootstrap(matrix, balanced_accuracy)
    assert 0 <= low <= high <= 1
    assert bootstrap(matrix, balanced_accuracy) == (low, high)


def test_multinomial_draws_equal_drawing_rows_one_by_one():
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


def test_nineteen_of_twenty_intervals_hold_the_truth():
    truth = np.array([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.1, 0.3, 0.6]])
    rng = np.random.default_rng(2)
    samples = rng.multinomial([150, 150, 150], truth, size=(300, 3))
    held = 0
    for matrix in samples:
        low, high = bootstrap(matrix, balanced_accuracy, draws=500)
        held += low <= 0.6 <= high
    # 300 × .95 = 285 with a standard deviation of 3.8.
    assert 270 <= held <= 298
