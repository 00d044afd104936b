"""Drawn faces: the same for the same seed however they are drawn, points on the features, every class as often."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mien.data.synthetic import CLASSES, Face, draw, faces, sample
from mien.data.synthetic.anatomy import UNITS, spline
from mien.errors import MienError

# iBUG's ranges, counted from 0.
LEFT_BROW, RIGHT_BROW, BRIDGE, BASE = (slice(17, 22), slice(22, 27), slice(27, 31), slice(31, 36))
LEFT_EYE, RIGHT_EYE, OUTER, INNER = slice(36, 42), slice(42, 48), slice(48, 60), slice(60, 68)

some_face = st.builds(sample, st.integers(0, 2**32), st.integers(0, 2**32))


def plain(face: Face) -> Face:
    """The face in even light, in focus, without what can cover its features."""
    return replace(
        face, noise=0, blur=0, glasses="none", beard="none", hair="back", light=(0, 0), ambient=0.6, gloss=0, age=0,
        skin=(225, 175, 140), lips=(150, 60, 60), hair_color=(30, 25, 25), background=(240, 240, 240), clutter=0,
        exposure=1, contrast=1, brow_strength=1, makeup=0, freckles=0,
    )  # fmt: skip


def upright(face: Face) -> Face:
    return replace(face, yaw=0, pitch=0, roll=0)


def inside(image: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, shift=4)
    return mask > 0


def test_a_face_depends_on_its_seed_and_index_alone() -> None:
    whole = list(faces(80, seed=7))
    for (a, label_a, p), (b, label_b, q) in zip(whole, faces(80, seed=7, workers=2), strict=True):
        assert label_a == label_b
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(p, q)
    for k, (image, label, points) in enumerate(faces(9, seed=7, start=37)):
        face = sample(7, 37 + k)
        alone, alone_points = draw(face)
        assert label == face.expression == whole[37 + k][1]
        np.testing.assert_array_equal(image, whole[37 + k][0])
        np.testing.assert_array_equal(image, alone)
        np.testing.assert_array_equal(points, alone_points)


def test_other_seeds_are_other_faces() -> None:
    assert sample(0, 5) != sample(1, 5)
    assert sample(0, 5) != sample(0, 6)
    assert len({sample(0, i).texture for i in range(200)}) == 200


@pytest.mark.parametrize("n", [0, 1, 33])
def test_as_many_as_asked_for(n: int) -> None:
    assert sum(1 for _ in faces(n, size=24, seed=1)) == n


# joblib warns that faces were drawn for nothing, which is meant here.
@pytest.mark.filterwarnings("ignore:.*tasks", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_stopping_early_leaves_the_next_ones_right() -> None:
    drawn = faces(10_000, size=24, color="rgb", seed=1, workers=2)
    image, label, landmarks = next(drawn)
    drawn.close()
    np.testing.assert_array_equal(image, draw(sample(1, 0), 24, "rgb")[0])
    assert landmarks.dtype == np.float32
    assert label == sample(1, 0).expression
    again, *_ = next(faces(10_000, size=24, color="rgb", seed=1, workers=2))
    np.testing.assert_array_equal(again, image)


def test_every_seven_faces_have_each_class_once_in_changing_order() -> None:
    labels = np.array([sample(3, i).expression for i in range(700)]).reshape(100, 7)
    assert (np.sort(labels, 1) == np.arange(7)).all()
    assert len({tuple(row) for row in labels}) > 80


def test_classes_are_those_of_fer2013_in_its_order() -> None:
    assert CLASSES == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize("size", [24, 48, 96, 128, 512])
def test_shapes_and_types(size: int) -> None:
    face = sample(0, 0)
    gray, points = draw(face, size)
    rgb, same = draw(face, size, "rgb")
    assert gray.shape == (size, size)
    assert rgb.shape == (size, size, 3)
    assert gray.dtype == rgb.dtype == np.uint8
    assert gray.flags.c_contiguous
    assert rgb.flags.c_contiguous
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, same)


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(MienError, match=r"^size: a face cannot be drawn on 4 pixels; expected at least 8$"):
        draw(sample(0, 0), 4)


@given(some_face)
@settings(max_examples=25, deadline=None)
def test_gray_is_the_luminance_of_the_colours(face: Face) -> None:
    # Where no channel is cut off at 0 or 255, up to rounding.
    face = replace(face, exposure=0.6, contrast=1, noise=0, tint=(1, 1, 1))
    gray, _ = draw(face, 48)
    rgb, _ = draw(face, 48, "rgb")
    kept = ((rgb > 0) & (rgb < 255)).all(2)
    luminance = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luminance - gray)[kept].max() < 3


@given(some_face, st.sampled_from([(48, 96), (48, 144), (64, 128), (32, 96)]))
@settings(max_examples=25, deadline=None)
def test_a_larger_size_is_the_same_picture(face: Face, sizes: tuple[int, int]) -> None:
    face = replace(face, noise=0)
    small, points = draw(face, sizes[0])
    large, scaled = draw(face, sizes[1])
    s = sizes[1] / sizes[0]
    np.testing.assert_allclose(scaled, (points + 0.5) * s - 0.5, atol=1e-3)
    shrunk = cv2.resize(large, small.shape, interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(shrunk - small).mean() < 7
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.97


@given(some_face)
@settings(max_examples=100, deadline=None)
def test_landmarks_are_inside_and_in_order(face: Face) -> None:
    _, p = draw(face, 48)
    assert (p >= 0).all()
    assert (p <= 47).all()
    # Undo the roll, about any point: then down is down and right is right.
    a = np.deg2rad(-face.roll)
    p = p @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]).T
    eyes, nose, mouth, chin = p[36:48, 1].mean(), p[BASE, 1].mean(), p[OUTER, 1].mean(), p[8, 1]
    assert p[17:27, 1].mean() < eyes < nose < mouth < chin
    assert (np.diff(p[BRIDGE, 1]) > 0).all()
    brows = (LEFT_BROW, RIGHT_BROW) if abs(face.yaw) < 15 else ()  # the far one's tail goes behind the forehead
    for run in (*brows, BASE, slice(4, 13), slice(48, 55)):
        assert (np.diff(p[run, 0]) > 0).all(), run
    assert (np.diff(p[[54, 55, 56, 57, 58, 59, 48], 0]) < 0).all()
    assert p[36, 0] < p[39, 0] < p[42, 0] < p[45, 0]
    # Upper edges above lower ones: lids, inner lips, outer lips.
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65), (51, 57)):
        assert p[upper, 1] <= p[lower, 1] + 1e-3, (upper, lower)
    # Inner lips lie between the outer ones.
    assert p[51, 1] < p[62, 1] + 0.1
    assert p[66, 1] < p[57, 1] + 0.1


@given(some_face)
@example(sample(70585, 0))
@settings(max_examples=25, deadline=None)
def test_the_jaw_is_the_edge_of_the_face(face: Face) -> None:
    # White skin before black everything: the jaw's points lie where the two meet.
    face = replace(
        plain(face), ambient=1, hair="bald", background=(0, 0, 0), skin=(255, 255, 255), exposure=1.2, tint=(1, 1, 1)
    )
    image, points = draw(face, 256)
    # Bright just inside each point of the jaw, darker just outside; the neck and the ears are in shade.
    centre = points[30]
    checked = 0
    for point in points[2:15]:
        step = (centre - point) / np.linalg.norm(centre - point)
        inner, outer = point + 9 * step, point - 5 * step
        if (outer < 0).any() or (outer > 255).any():
            continue
        x, y = np.round(inner).astype(int)
        u, v = np.round(outer).astype(int)
        # The brightest of a few pixels, since a crease of the cheek may run through one of them.
        assert image[y - 2 : y + 3, x - 2 : x + 3].max() > int(image[v, u]) + 10
        checked += 1
    assert checked >= 8


@given(some_face)
@settings(max_examples=25, deadline=None)
def test_brows_pupils_and_lips_are_where_the_landmarks_say(face: Face) -> None:
    neutral = tuple((0.0, 0.0) for _ in UNITS)
    face = upright(plain(replace(face, units=neutral, gaze=(0.0, 0.0), brow_thickness=1.0, iris=(20, 20, 20))))
    image, p = draw(face, 256)
    skin = np.median(image[inside(image, p[[1, 31, 48, 4]])])  # a cheek
    for eye in (LEFT_EYE, RIGHT_EYE):
        x, y = np.round(p[eye].mean(0)).astype(int)
        assert image[y - 3 : y + 4, x - 3 : x + 4].min() < 40  # the pupil
        corners = p[eye][[1, 2, 4, 5]]
        assert image[inside(image, corners)].max() > 150  # the white of the eye
    for brow in (LEFT_BROW, RIGHT_BROW):
        # Dark below the points of the upper edge, skin above it.
        for x, y in np.round(p[brow][1:4]).astype(int):
            assert image[y + 4, x] < 0.65 * image[y - 6, x]
    lips = inside(image, p[OUTER]) & ~inside(image, p[INNER])
    assert image[lips].mean() < 0.75 * skin
    ring = cv2.dilate(inside(image, p[OUTER]).astype(np.uint8), np.ones((15, 15))).astype(bool)
    ring &= ~cv2.dilate(inside(image, p[OUTER]).astype(np.uint8), np.ones((7, 7))).astype(bool)
    assert image[ring].mean() > 1.15 * image[lips].mean()


@given(some_face, st.sampled_from(["yaw", "pitch", "roll"]), st.floats(-20, 20))
@settings(max_examples=40, deadline=None)
def test_lips_stay_within_their_landmarks_in_any_pose(face: Face, turn: str, angle: float) -> None:
    # Without a mouth's colours only what lies inside the outer lips may change, but for soft edges.
    face = plain(replace(face, **{turn: angle}))
    image, p = draw(face, 128)
    bare, _ = draw(replace(face, lips=face.skin), 128)
    changed = np.abs(image.astype(int) - bare) > 12
    mouth = inside(image, p[OUTER])
    near = cv2.dilate(mouth.astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert not (changed & ~near).any()
    assert (changed & mouth).any()


def test_each_muscle_moves_its_landmarks() -> None:
    face = upright(
        replace(sample(0, 0), units=tuple((0.0, 0.0) for _ in UNITS), shape=(0.0,) * len(sample(0, 0).shape))
    )

    def moved(name: str) -> np.ndarray:
        units = tuple((1.0, 1.0) if unit == name else (0.0, 0.0) for unit in UNITS)
        _, before = draw(face, 480)
        _, after = draw(replace(face, units=units), 480)
        return after - before - (after - before)[27]  # the bridge of the nose does not move

    assert moved("inner_brow_raise")[[21, 22], 1].max() < -10
    assert moved("outer_brow_raise")[[18, 25], 1].max() < -10
    assert moved("brow_lower")[[21, 22], 1].min() > 10
    assert moved("brow_lower")[21, 0] > 5 > -5 > moved("brow_lower")[22, 0]  # towards each other
    assert moved("upper_lid_raise")[[37, 38, 43, 44], 1].max() < -5
    assert moved("lid_tighten")[[40, 41, 46, 47], 1].max() < -2
    assert moved("corner_pull")[[48, 54], 1].max() < -10
    assert moved("corner_depress")[[48, 54], 1].min() > 10
    assert moved("upper_lip_raise")[[50, 51, 52], 1].max() < -5
    assert moved("jaw_drop")[[8, 57, 66], 1].min() > 30
    assert abs(moved("jaw_drop")[33]).max() < 3  # the nose stays


def test_expressions_look_as_they_should() -> None:
    means = {name: np.zeros((68, 2)) for name in CLASSES}
    for i in range(420):
        face = upright(sample(5, i))
        _, p = draw(face, 48)
        means[CLASSES[face.expression]] += (p - p[27]) / np.linalg.norm(p[45] - p[36]) / 60
    neutral = means["neutral"]
    opening = {name: p[66, 1] - p[62, 1] for name, p in means.items()}
    eyes = {name: (p[[40, 41, 46, 47], 1] - p[[38, 37, 44, 43], 1]).mean() for name, p in means.items()}
    assert max(opening, key=opening.__getitem__) == "surprise"
    assert min(opening, key=opening.__getitem__) in ("neutral", "sad")
    assert eyes["fear"] > 1.15 * eyes["neutral"] > 1.15 * eyes["disgust"]
    corners = {name: (p[[48, 54], 1] - p[62, 1]).mean() for name, p in means.items()}
    assert min(corners, key=corners.__getitem__) == "happy"
    inner = {name: p[[21, 22], 1].mean() for name, p in means.items()}
    assert max(inner, key=inner.__getitem__) == "angry"
    assert inner["sad"] < neutral[[21, 22], 1].mean()


def test_a_spline_holds_its_points_and_keeps_straight_lines_straight() -> None:
    points = np.array([(0, 0), (1, 5), (4, 2), (6, 6)], np.float32)
    curve = spline(4, per=5) @ points
    np.testing.assert_allclose(curve[::5], points, atol=1e-6)
    line = np.linspace(0, 1, 4, dtype=np.float32)[:, None] * np.array([[3, -2]], np.float32)
    np.testing.assert_allclose(spline(4, per=4) @ line, np.linspace(0, 1, 13)[:, None] * [[3, -2]], atol=1e-6)
    np.testing.assert_allclose(spline(9, closed=True).sum(1), 1, atol=1e-6)
