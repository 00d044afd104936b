"""Errors of points against a naive loop, known values and what must hold for all points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mien.data.synthetic import faces
from mien.errors import FailedError, MienError
from mien.faces.ibug import GROUPS
from mien.intervals import wilson
from mien.metrics.nme import LIMIT, THRESHOLDS, distances, image_errors, measure_points, normalisers, paired

FACE = next(faces(1, size=100, seed=5))[2].astype(np.float64)
offsets = arrays.arrays(np.float64, (5, 68, 2), elements=st.floats(-8, 8))
DRAWS = 50


def near(offset):
    """True faces and predictions so far off of them."""
    true = FACE + np.arange(len(offset))[:, None, None] * [3, -1]
    return true + offset, true


def naive(predicted, true):
    """The two errors of one face, as the papers have them, point by point; numbers from 1."""

    def point(points, number):
        return points[number - 1][0], points[number - 1][1]

    def pupil(first):
        six = [point(true, number) for number in range(first, first + 6)]
        return sum(x for x, _ in six) / 6, sum(y for _, y in six) / 6

    total = sum(math.dist(point(predicted, number), point(true, number)) for number in range(1, 69)) / 68
    return total / math.dist(point(true, 37), point(true, 46)), total / math.dist(pupil(37), pupil(43))


@settings(deadline=None, max_examples=30)
@given(offsets)
def test_the_measures_are_those_of_a_naive_loop(offset):
    predicted, true = near(offset)
    both = [naive(one.tolist(), other.tolist()) for one, other in zip(predicted, true, strict=True)]
    np.testing.assert_allclose(image_errors(predicted, true), [one for one, _ in both])
    np.testing.assert_allclose(image_errors(predicted, true, "inter_pupil"), [one for _, one in both])
    found = measure_points(predicted, true, draws=DRAWS)
    errors = [one for one, _ in both]
    assert found["n"] == 5
    assert found["nme_outer_eyes"] == pytest.approx(sum(errors) / 5)
    assert found["nme_inter_pupil"] == pytest.approx(sum(one for _, one in both) / 5)
    assert found["median"] == pytest.approx(sorted(errors)[2])
    assert found["failure_rate_8"] == sum(one > 0.08 for one in errors) / 5
    # The area under the curve by the trapezoid's rule at many places.
    places = np.linspace(0, 0.08, 8001)
    curve = [sum(one <= place for one in errors) / 5 for place in places]
    assert found["auc_8"] == pytest.approx(np.trapezoid(curve, places) / 0.08, abs=1e-3)
    for group, points in GROUPS.items():
        parts = [
            np.mean([math.dist(p[i], t[i]) for i in points]) / math.dist(t[36], t[45])
            for p, t in zip(predicted, true, strict=True)
        ]
        assert found["by_group"][group] == pytest.approx(np.mean(parts))


@settings(deadline=None, max_examples=30)
@given(offsets, st.floats(0.01, 100), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_scaling_and_shifting_both_changes_nothing(offset, scale, x, y):
    predicted, true = near(offset)
    one = measure_points(predicted, true, draws=DRAWS)
    for normaliser in ("outer_eyes", "inter_pupil"):
        np.testing.assert_allclose(
            image_errors(predicted * scale + [x, y], true * scale + [x, y], normaliser),
            image_errors(predicted, true, normaliser),
            rtol=1e-6,
            atol=1e-9,
        )
    other = measure_points(predicted * scale + [x, y], true * scale + [x, y], draws=DRAWS)
    assert other["by_group"] == pytest.approx(one["by_group"], rel=1e-6, abs=1e-9)
    assert other["interval"]["nme_inter_pupil"] == pytest.approx(one["interval"]["nme_inter_pupil"], rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(offsets)
def test_every_measure_stays_in_its_bounds_and_its_interval(offset):
    found = measure_points(*near(offset), draws=DRAWS)
    assert 0 <= found["failure_rate_8"] <= 1
    # A face that fails has no area, another one at most all of it.
    assert 0 <= found["auc_8"] <= 1 - found["failure_rate_8"] + 1e-12
    assert found["nme_inter_pupil"] >= found["nme_outer_eyes"] >= 0
    sizes = [len(points) for points in GROUPS.values()]
    weighted = sum(size * found["by_group"][name] for size, name in zip(sizes, GROUPS, strict=True)) / 68
    assert weighted == pytest.approx(found["nme_outer_eyes"])
    share = found["ced"]["share"]
    assert share == sorted(share)
    assert share[80] == pytest.approx(1 - found["failure_rate_8"])
    interval = found["interval"]
    for name in ("nme_outer_eyes", "nme_inter_pupil", "median", "failure_rate_8", "auc_8"):
        assert interval[name][0] <= found[name] <= interval[name][1], name
    for name in GROUPS:
        assert interval["by_group"][name][0] <= found["by_group"][name] <= interval["by_group"][name][1], name


def test_right_points_have_no_error():
    _, true = near(np.zeros((40, 68, 2)))
    found = measure_points(true, true)
    assert {name: found[name] for name in ("n", "nme_outer_eyes", "nme_inter_pupil", "median", "failure_rate_8")} == {
        "n": 40,
        "nme_outer_eyes": 0,
        "nme_inter_pupil": 0,
        "median": 0,
        "failure_rate_8": 0,
    }
    assert found["auc_8"] == 1
    assert found["by_group"] == dict.fromkeys(("jaw", "brows", "nose", "eyes", "lips"), 0)
    assert set(found["ced"]["share"]) == {1}
    assert found["interval"]["nme_outer_eyes"] == [0, 0]
    # No failure of 40 isn't none of all.
    assert found["interval"]["failure_rate_8"] == list(wilson(0, 40))
    assert found["interval"]["failure_rate_8"][1] == pytest.approx(0.0876, abs=1e-4)


def known():
    """Four faces whose outer corners are 200 apart and pupils 100; their points are 4, 8, 16 and 24 off."""
    true = np.zeros((4, 68, 2))
    true[:, 36, 0], true[:, 45, 0] = -100, 100
    true[:, 37:42, 0], true[:, 42:45, 0], true[:, 46:48, 0] = -40, 40, 40
    off = np.array([4, 8, 16, 24.0])
    return true + off[:, None, None] * [0.6, -0.8], true


def test_known_values():
    predicted, true = known()
    assert normalisers(true, "outer_eyes").tolist() == [200] * 4
    assert normalisers(true, "inter_pupil").tolist() == pytest.approx([100] * 4)
    assert image_errors(predicted, true).tolist() == pytest.approx([0.02, 0.04, 0.08, 0.12])
    predicted[2] = true[2] + 15.5 * np.array([0.6, 0.8])  # Off from the limit, where rounding decides.
    found = measure_points(predicted, true)
    assert found["nme_outer_eyes"] == pytest.approx((0.02 + 0.04 + 0.0775 + 0.12) / 4)
    assert found["nme_inter_pupil"] == pytest.approx(2 * found["nme_outer_eyes"])
    assert found["median"] == pytest.approx((0.04 + 0.0775) / 2)
    assert found["failure_rate_8"] == 0.25
    assert found["auc_8"] == pytest.approx((0.06 + 0.04 + 0.0025 + 0) / 4 / 0.08)
    assert found["ced"]["threshold"][:3] == [0, 0.001, 0.002]
    shares = dict(zip(found["ced"]["threshold"], found["ced"]["share"], strict=True))
    assert [shares[place] for place in (0.0, 0.019, 0.021, 0.05, 0.08, 0.1)] == [0, 0, 0.25, 0.5, 0.75, 0.75]
    assert THRESHOLDS[80] == LIMIT


def test_one_group_alone_may_be_wrong():
    predicted, true = known()
    predicted = true.copy()
    predicted[:, 48:68, 1] += 10
    found = measure_points(predicted, true)
    assert found["by_group"] == pytest.approx({"jaw": 0, "brows": 0, "nose": 0, "eyes": 0, "lips": 0.05})
    assert found["nme_outer_eyes"] == pytest.approx(0.05 * 20 / 68)


def spread(n, seed=0):
    """Predictions whose errors differ from face to face."""
    random = np.random.default_rng(seed)
    return near(random.normal(0, 1, (n, 68, 2)) * random.gamma(4, 0.5, (n, 1, 1)))


def test_intervals_are_those_of_samples_drawn_by_hand():
    predicted, true = spread(60)
    found = measure_points(predicted, true, draws=300, seed=7)
    errors = image_errors(predicted, true)
    random = np.random.default_rng(7)
    rows = [random.integers(0, 60, 60) for _ in range(300)]
    means, medians = [errors[one].mean() for one in rows], [np.median(errors[one]) for one in rows]
    assert found["interval"]["nme_outer_eyes"] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist())
    assert found["interval"]["median"] == pytest.approx(np.quantile(medians, [0.025, 0.975]).tolist())
    assert measure_points(predicted, true, draws=300, seed=7) == found
    assert measure_points(predicted, true, draws=300, seed=8)["interval"] != found["interval"]


def test_the_interval_of_the_mean_is_about_the_normal_one():
    predicted, true = spread(400)
    errors, found = image_errors(predicted, true), measure_points(predicted, true)
    half = 1.96 * errors.std(ddof=1) / 20
    low, high = found["interval"]["nme_outer_eyes"]
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_one_face_is_enough():
    predicted, true = spread(1)
    found = measure_points(predicted, true, draws=DRAWS)
    assert found["interval"]["nme_outer_eyes"] == [found["nme_outer_eyes"]] * 2
    assert found["median"] == found["nme_outer_eyes"]


def test_what_can_not_be_measured():
    predicted, true = near(np.zeros((3, 68, 2)))
    with pytest.raises(FailedError, match="there are no faces to measure"):
        measure_points(predicted[:0], true[:0])
    with pytest.raises(ValueError, match=r"points of shapes \(3, 68, 2\) and \(2, 68, 2\)"):
        distances(predicted, true[:2])
    with pytest.raises(ValueError, match="not twice"):
        distances(predicted.reshape(3, 136), true.reshape(3, 136))
    broken = predicted.copy()
    broken[1, 3, 0] = np.nan
    with pytest.raises(FailedError, match="the predicted points of 1 of 3 faces aren't finite numbers"):
        measure_points(broken, true)
    flat = true.copy()
    flat[2, 45] = flat[2, 36]
    with pytest.raises(MienError) as error:
        measure_points(predicted, flat)
    assert str(error.value) == (
        "the outer eye corners of face 2 are 0 apart, so its error has no measure; expected true points of two eyes"
    )
    assert error.value.exit_code == 2


class TestPaired:
    def test_the_same_errors_are_no_difference(self):
        errors = np.array([0.03, 0.05, 0.09])
        assert paired(errors, errors) == (0, (0, 0), 1)

    def test_a_difference_on_every_face_is_as_sure_as_the_samples_allow(self):
        b = np.random.default_rng(0).gamma(4, 0.01, 100)
        found = paired(b - 0.001, b, draws=999)
        assert found.value == pytest.approx(-0.001)
        assert found.interval == pytest.approx((-0.001, -0.001))
        assert found.p == pytest.approx(2 / 1000)

    def test_the_other_way_round_it_is_mirrored(self):
        random = np.random.default_rng(1)
        a, b = random.gamma(4, 0.01, 80), random.gamma(4, 0.011, 80)
        one, other = paired(a, b), paired(b, a)
        assert one.value == -other.value
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
        assert one.p == other.p
        assert (one.interval[0] > 0 or one.interval[1] < 0) == (one.p < 0.05)

    def test_pairs_tell_what_two_intervals_could_not(self):
        random = np.random.default_rng(2)
        faces_ = random.gamma(4, 0.0125, 330)
        found = paired(faces_ + random.normal(0.001, 0.005, 330), faces_)
        assert found.value == pytest.approx(0.001, abs=0.0006)
        assert found.p < 0.01
        assert 0 < found.interval[0] < found.value < found.interval[1] < 0.002

    def test_where_nothing_differs_p_is_even(self):
        random = np.random.default_rng(3)
        p = [paired(random.normal(0, 1, 50), np.zeros(50), draws=200).p for _ in range(200)]
        assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.04)
        assert np.mean(p) == pytest.approx(0.5, abs=0.08)

    def test_errors_of_other_faces_are_no_pair(self):
        with pytest.raises(ValueError, match="not twice"):
            paired(np.zeros(3), np.zeros(4))
        with pytest.raises(ValueError, match="not twice"):
            paired(np.zeros(0), np.zeros(0))
