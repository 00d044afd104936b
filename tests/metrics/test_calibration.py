"""Calibration against scikit-learn, scipy and a second, naive implementation; and what must hold for all inputs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from mien.errors import FailedError
from mien.metrics.calibration import (
    aurc,
    bin_rows,
    corrected_ece,
    fit_temperature,
    measure_calibration,
    probabilities,
    risk_coverage,
)


def drawn(n: int = 600, k: int = 4, scale: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax: calibrated before the logits are scaled."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, k)) * 1.5
    shares = probabilities(logits).cumsum(axis=1)
    labels = (random.random((n, 1)) > shares).sum(axis=1).clip(0, k - 1)
    return logits * scale, labels


def test_probabilities_are_the_softmax_over_a_temperature() -> None:
    logits, _ = drawn(5)
    assert probabilities(logits, 2.5) == pytest.approx(np.exp(log_softmax(logits / 2.5, axis=1)))
    # Far logits neither overflow nor lose their sum.
    assert probabilities(np.array([[1e4, -1e4]], dtype=np.float32)).tolist() == [[1.0, 0.0]]


def test_nll_and_brier_are_scikit_learns() -> None:
    logits, labels = drawn()
    found = measure_calibration(labels, logits, 1.7)
    given = probabilities(logits, 1.7)
    assert found["nll"] == pytest.approx(log_loss(labels, given))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, given, labels=range(4), scale_by_half=False))
    assert (found["n"], found["temperature"]) == (600, 1.7)


def test_the_intervals_of_nll_and_brier_are_students() -> None:
    from scipy.stats import ttest_1samp

    logits, labels = drawn()
    found = measure_calibration(labels, logits)
    given = probabilities(logits)
    losses = {
        "nll": -np.log(given[np.arange(600), labels]),
        "brier": ((given - np.eye(4)[labels]) ** 2).sum(axis=1),
    }
    for name, values in losses.items():
        low, high = ttest_1samp(values, 0).confidence_interval()
        assert found["interval"][name] == pytest.approx([low, high])


def naive_ece(confidence: np.ndarray, correct: np.ndarray, edges: np.ndarray) -> float:
    """The definition of Guo et al., bin by bin; a bin holds its upper edge."""
    total = 0.0
    for low, high in itertools.pairwise(edges):
        rows = (confidence > low) & (confidence <= high)
        if rows.any():
            total += rows.mean() * abs(correct[rows].mean() - confidence[rows].mean())
    return total


def test_ece_is_the_definitions() -> None:
    logits, labels = drawn(scale=2)
    given = probabilities(logits)
    confidence, correct = given.max(axis=1), given.argmax(axis=1) == labels
    wide = naive_ece(confidence, correct, np.linspace(0, 1, 16))
    assert bin_rows(confidence, correct).ece == pytest.approx(wide)
    # 600 rows, 15 bins, no two equally sure: 40 rows each.
    edges = np.concatenate([[0], np.sort(confidence)[39::40]])
    mass = naive_ece(confidence, correct, edges)
    assert bin_rows(confidence, correct, equal_mass=True).ece == pytest.approx(mass)
    assert bin_rows(confidence, correct, equal_mass=True).n.tolist() == [40] * 15
    found = measure_calibration(labels, logits)
    assert (found["ece"], found["ece_equal_mass"]) == (pytest.approx(wide), pytest.approx(mass))


def test_bins_are_those_of_scikit_learns_reliability_curve() -> None:
    logits, labels = drawn()
    given = probabilities(logits)
    confidence, correct = given.max(axis=1), given.argmax(axis=1) == labels
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15)
    bins = bin_rows(confidence, correct)
    assert bins.accuracy == pytest.approx(accuracy)
    assert bins.confidence == pytest.approx(mean)


def test_an_example_by_hand() -> None:
    # Guo et al.'s definition on six rows: bins (.53, .6] and (.8, .87], (.93, 1].
    confidence = np.array([0.55, 0.6, 0.85, 0.85, 0.95, 1.0])
    correct = np.array([True, False, True, False, True, True])
    bins = bin_rows(confidence, correct)
    assert bins.n.tolist() == [2, 2, 2]
    assert bins.confidence == pytest.approx([0.575, 0.85, 0.975])
    assert bins.accuracy.tolist() == [0.5, 0.5, 1.0]
    assert bins.ece == pytest.approx((0.075 + 0.35 + 0.025) / 3)


def test_a_temperature_is_where_scipy_finds_the_lowest_nll() -> None:
    logits, labels = drawn(2000, scale=3)

    def nll(log: np.ndarray) -> float:
        return float(-log_softmax(logits / np.exp(log[0]), axis=1)[np.arange(2000), labels].mean())

    found = minimize(nll, [0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(found.x[0]), rel=1e-4)
    # The labels were drawn from logits a third as large.
    assert fit_temperature(logits, labels) == pytest.approx(3, rel=0.1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.2, 5), st.floats(-50, 50))
def test_a_temperature_scales_with_the_logits_and_never_worsens_the_nll(seed: int, scale: float, shift: float) -> None:
    logits, labels = drawn(60, scale=0.7, seed=seed)
    found = fit_temperature(logits, labels)
    assert 0.05 <= found <= 20
    assert log_loss(labels, probabilities(logits, found), labels=range(4)) <= (
        log_loss(labels, probabilities(logits), labels=range(4)) + 1e-9
    )
    if 0.3 < found < 3:
        assert fit_temperature(logits * scale + shift, labels) == pytest.approx(found * scale, rel=1e-3)


def test_where_every_row_is_right_no_temperature_is_fitted() -> None:
    assert fit_temperature(np.eye(3), np.arange(3)) == 1.0


def test_no_rows_and_logits_that_are_none_are_errors() -> None:
    for measure in (fit_temperature, lambda logits, labels: measure_calibration(labels, logits)):
        with pytest.raises(FailedError) as error:
            measure(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
        assert str(error.value) == "there are no rows to measure"
        with pytest.raises(FailedError) as error:
            measure(np.array([[0.0, np.nan]]), np.array([0]))
        assert str(error.value) == "the logits aren't finite numbers"
        with pytest.raises(ValueError, match="for 2 labels"):
            measure(np.zeros((1, 3)), np.array([0, 1]))


def test_chance_is_taken_from_the_ece() -> None:
    # 100 test sets of a calibrated model: the ECE as measured is far from 0, the corrected one near it.
    random = np.random.default_rng(3)
    measured, corrected, held = [], [], 0
    for _ in range(100):
        confidence = random.uniform(0.3, 1, 400)
        bins = bin_rows(confidence, random.random(400) < confidence)
        estimate, (low, high) = corrected_ece(bins)
        assert low <= estimate <= high
        measured.append(bins.ece)
        corrected.append(estimate)
        held += low == 0
    assert np.mean(measured) > 0.05
    assert np.mean(corrected) < 0.025
    assert held >= 92  # 97.5 wanted; sd 1.6.


def test_a_large_ece_keeps_its_size() -> None:
    confidence = np.full(10_000, 0.9)
    correct = np.arange(10_000) < 6000
    estimate, (low, high) = corrected_ece(bin_rows(confidence, correct))
    # One bin: a share, whose normal interval is .3 ± 1.96 × sqrt(.6 × .4 / 10,000).
    assert estimate == pytest.approx(0.3, abs=5e-4)
    assert [low, high] == pytest.approx([0.2904, 0.3096], abs=8e-4)


rows = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.2, 0.35, 0.5, 0.6, 0.61, 0.8, 0.9, 1.0]), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.permutations(range(n)),
    )
)


@settings(deadline=None, max_examples=30)
@given(rows)
def test_nothing_depends_on_the_order_of_rows_and_all_lies_in_0_to_1(
    drawn: tuple[list[float], list[bool], list[int]],
) -> None:
    confidence, correct, order = np.array(drawn[0]), np.array(drawn[1]), np.array(drawn[2])
    for equal_mass in (False, True):
        bins = bin_rows(confidence, correct, equal_mass=equal_mass)
        again = bin_rows(confidence[order], correct[order], equal_mass=equal_mass)
        for one, other in zip(bins, again, strict=True):
            assert one == pytest.approx(other, abs=1e-12)
        assert bins.n.sum() == len(confidence)
        assert 0 <= bins.ece <= 1
        estimate, (low, high) = corrected_ece(bins)
        assert 0 <= low <= estimate <= high <= 1
    assert aurc(confidence, correct) == pytest.approx(aurc(confidence[order], correct[order]))
    coverage, risk = risk_coverage(confidence, correct)
    assert (coverage[-1], risk[-1]) == (1.0, pytest.approx(1 - correct.mean()))
    assert ((risk >= 0) & (risk <= 1)).all()


def test_equally_sure_rows_stay_together_in_bins_of_equal_mass() -> None:
    confidence = np.array([0.5] * 40 + [0.9] * 20)
    assert bin_rows(confidence, confidence > 0.6, equal_mass=True).n.tolist() == [40, 20]


def test_risk_by_coverage_is_the_definitions() -> None:
    random = np.random.default_rng(0)
    confidence, correct = random.permutation(50) / 50, random.random(50) < 0.7
    coverage, risk = risk_coverage(confidence, correct)
    for number in range(1, 51):
        surest = np.argsort(-confidence)[:number]
        assert coverage[number - 1] == number / 50
        assert risk[number - 1] == pytest.approx((~correct[surest]).mean())
    assert aurc(confidence, correct) == pytest.approx(risk.mean())


def test_rows_that_are_equally_sure_have_the_mean_risk_of_any_order() -> None:
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, False, True, False])
    _, risk = risk_coverage(confidence, correct)
    assert risk == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 2])


def test_the_interval_of_aurc_is_a_bootstrap_over_rows_and_the_same_each_time() -> None:
    logits, labels = drawn()
    found = measure_calibration(labels, logits)
    assert found["interval"]["aurc"] == measure_calibration(labels, logits)["interval"]["aurc"]
    given = probabilities(logits)
    confidence, correct = given.max(axis=1), given.argmax(axis=1) == labels
    random = np.random.default_rng(7)
    naive = []
    for _ in range(500):
        rows = random.integers(0, 600, 600)
        order = rows[np.argsort(-confidence[rows], kind="stable")]
        naive.append((np.cumsum(~correct[order]) / np.arange(1, 601)).mean())
    assert found["interval"]["aurc"] == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=0.01)
