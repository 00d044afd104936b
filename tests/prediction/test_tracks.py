"""Faces followed over frames: who keeps which number, and what smoothing comes to."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.faces.detector import Box, Marks
from mien.inference.predictor import FaceAnswer
from mien.prediction.tracks import GAP, Tracks, overlap

EVEN = {"happy": 0.5, "sad": 0.5}


def face(left: float, top: float = 0.0, side: float = 20.0, marks: bool = True, **shares: float) -> FaceAnswer:
    places: Marks = tuple((left + x * side, top + y * side) for x, y in ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6)))
    return FaceAnswer(
        box=Box(left, top, side, side),
        score=0.9,
        marks=places if marks else None,
        size=side,
        sharpness=0.5,
        probabilities=shares or EVEN,
        entropy=0.0,
        uncertain="",
        model="net",
    )


def numbers(frames: list[list[FaceAnswer]], step: float = 0.2, **options: Any) -> list[list[int]]:
    tracks = Tracks(**options)
    return [[one.track for one in tracks.follow(step * at, faces)] for at, faces in enumerate(frames)]


@pytest.mark.parametrize("marks", [True, False])
def test_two_faces_that_pass_each_other_keep_their_numbers(marks: bool) -> None:
    first, second = [10.0 + 6 * at for at in range(30)], [180.0 - 6 * at for at in range(30)]
    frames, expected = [], []
    for a, b in zip(first, second, strict=True):
        # A detector gives them from left to right.
        pair = sorted([(a, 1), (b, 2)])
        frames.append([face(left, 3.0 * number, marks=marks) for left, number in pair])
        expected.append([number for _, number in pair])
    assert expected[0] == [1, 2]
    assert expected[-1] == [2, 1]
    assert numbers(frames) == expected


def test_a_face_that_is_hidden_behind_another_comes_out_with_its_number() -> None:
    frames, expected = [], []
    for at in range(30):
        seen = [(10.0 + 6 * at, 1), (180.0 - 6 * at, 2)]
        if abs(seen[0][0] - seen[1][0]) < 14:  # The second is behind the first.
            seen = seen[:1]
        frames.append([face(left) for left, _ in sorted(seen)])
        expected.append([number for _, number in sorted(seen)])
    assert [1] in expected
    assert numbers(frames) == expected


def test_a_track_ends_after_a_gap() -> None:
    def seen_again(gap: float) -> list[int]:
        tracks = Tracks()
        ids = [tracks.follow(0.0, [face(0)])[0].track]
        tracks.follow(gap / 2, [])
        return [*ids, tracks.follow(gap, [face(0)])[0].track]

    assert GAP == 1.0
    assert seen_again(1.0) == [1, 1]
    assert seen_again(1.01) == [1, 2]
    # Frames that are further apart than that have no gap between them.
    assert numbers([[face(0)], [face(0)], [], [face(0)]], step=4) == [[1], [1], [], [2]]


def test_what_is_elsewhere_or_of_another_size_is_another_face() -> None:
    assert numbers([[face(0)], [face(14)]]) == [[1], [1]]
    assert numbers([[face(0)], [face(16)]]) == [[1], [2]]
    assert numbers([[face(100, side=20)], [face(95, side=30)]]) == [[1], [1]]
    assert numbers([[face(100, side=10)], [face(95, side=20.5)]]) == [[1], [2]]


def test_smoothing_is_the_weighted_mean_of_all_frames_so_far() -> None:
    shares = np.random.default_rng(0).dirichlet([1, 1], 40)
    for smooth in (0.0, 0.5, 0.9):
        tracks = Tracks(smooth)
        told = []
        for at, (happy, sad) in enumerate(shares):
            # Another face, and a frame in which it isn't seen, change nothing.
            both = [face(500, happy=1.0, sad=0.0), face(0, happy=happy, sad=sad)]
            if at == 20:
                tracks.follow(0.2 * at - 0.1, both[:1])
            told.append([one.smoothed["happy"] for one in tracks.follow(0.2 * at, both)][1])
        for at in range(40):
            # s(t) = smooth^t · p(0) + (1 − smooth) Σ smooth^(t−k) · p(k)
            weights = (1 - smooth) * smooth ** np.arange(at, -1, -1.0)
            weights[0] = smooth**at
            assert weights.sum() == pytest.approx(1)
            assert told[at] == pytest.approx(weights @ shares[: at + 1, 0], abs=1e-12)


BOXES = st.tuples(st.integers(0, 60), st.integers(0, 60), st.sampled_from([10, 15, 20, 40]), st.booleans())
FRAMES = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 3.0]), st.lists(BOXES, max_size=6)), max_size=12)


@settings(deadline=None)
@given(FRAMES)
def test_each_face_has_one_track_and_a_track_one_face_a_frame(frames: list[Any]) -> None:
    tracks, time, known = Tracks(), 0.0, 0
    for lasts, boxes in frames:
        time += lasts
        told = tracks.follow(time, [face(x, y, side, marks) for x, y, side, marks in boxes])
        assert len(told) == len(boxes)
        ids = [one.track for one in told]
        assert len(set(ids)) == len(ids)
        new = [number for number in ids if number > known]
        assert new == list(range(known + 1, known + 1 + len(new)))
        known += len(new)
        for one in told:
            assert sum(one.smoothed.values()) == pytest.approx(1)


@settings(deadline=None)
@given(FRAMES, st.integers(0, 12))
def test_a_state_that_was_json_goes_on_as_if_nothing_had_been(frames: list[Any], at: int) -> None:
    whole, halved, time = Tracks(), Tracks(), 0.0
    for number, (lasts, boxes) in enumerate(frames):
        time += lasts
        if number == at:
            halved = Tracks(state=json.loads(json.dumps(halved.state())))
        seen = [face(x, y, side, marks, happy=x / 60, sad=1 - x / 60) for x, y, side, marks in boxes]
        assert whole.follow(time, seen) == halved.follow(time, seen)


def test_overlap() -> None:
    assert overlap(Box(0, 0, 10, 10), Box(0, 0, 10, 10)) == 1
    assert overlap(Box(0, 0, 10, 10), Box(10, 0, 10, 10)) == 0
    assert overlap(Box(0, 0, 10, 10), Box(5, 5, 10, 10)) == pytest.approx(25 / 175)
