"""Boxes by region, and the checks of points, against drawn faces' exact points."""

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.synthetic import sample
from mien.data.synthetic.pose import Pose
from mien.errors import MienError
from mien.faces.ibug import MIRROR
from mien.faces.regions import (
    EYES_AT,
    MEAN_SHAPE,
    REGIONS,
    is_empty,
    levelled,
    mean_points,
    moved,
    region_boxes,
    region_named,
    stretched,
    turned_corners,
)
from mien.landmarks.checks import CHECKS, MIRROR_LIMIT, check_points, mirror_distance, mirrored_back


def drawn(n, seed=0):
    """The exact points of drawn faces as shares of their images' sides."""
    poses = [Pose(sample(seed, index)) for index in range(n)]
    return np.array([pose.landmarks @ pose.affine[:, :2].T + pose.affine[:, 2] for pose in poses])


FACES = drawn(300)
SIZES = np.full((300, 2), 48)
POINTS = FACES * 48 - 0.5


@pytest.mark.parametrize(
    ("region", "left", "top", "right", "bottom", "margin"),
    [
        ("face", [1], [20], [17], [9], 0),
        ("mouth", range(49, 69), range(49, 69), range(49, 69), range(49, 69), 0),
        ("eyes", [37], range(37, 49), [46], range(37, 49), 0.1),
        ("brows", range(18, 28), range(18, 28), range(18, 28), range(18, 28), 0.1),
        ("upper", [1], range(18, 28), [17], [31], 0),
        ("lower", range(3, 16), [31], range(3, 16), range(5, 14), 0),
    ],
)
def test_boxes_of_drawn_faces_are_those_of_their_exact_points(region, left, top, right, bottom, margin):
    boxes = region_boxes(POINTS, SIZES, REGIONS[region])
    for shares, box in zip(FACES, boxes.tolist(), strict=True):
        of = {number + 1: (x * 48, y * 48) for number, (x, y) in enumerate(shares.tolist())}
        ends = [min(of[i][0] for i in left), min(of[i][1] for i in top)]
        ends += [max(of[i][0] for i in right), max(of[i][1] for i in bottom)]
        grown = margin * max(ends[2] - ends[0], ends[3] - ends[1])
        wanted = [np.floor(ends[0] - grown), np.floor(ends[1] - grown)]
        wanted += [np.ceil(ends[2] + grown), np.ceil(ends[3] + grown)]
        assert box == [min(max(int(end), 0), 48) for end in wanted]


def test_aligned_puts_the_eyes_level_and_keeps_angles():
    maps = levelled(POINTS, 48)
    there = (moved(POINTS, maps) + 0.5) / 48
    assert np.allclose(there[:, 36:42].mean(axis=1), EYES_AT[0])
    assert np.allclose(there[:, 42:48].mean(axis=1), EYES_AT[1])
    turn = maps[:, :, :2]
    scale = np.linalg.det(turn)
    assert (scale > 0).all()
    assert np.allclose(turn @ turn.transpose(0, 2, 1), scale[:, None, None] * np.eye(2))
    corners = moved(turned_corners(POINTS) - 0.5, maps) + 0.5
    assert np.allclose(corners, [(0, 0), (48, 0), (48, 48), (0, 48)], atol=1e-6)
    boxes = region_boxes(POINTS, SIZES, REGIONS["aligned"])
    square = turned_corners(POINTS)
    assert (boxes[:, :2] == np.clip(np.floor(square.min(axis=1)), 0, 48)).all()
    assert (boxes[:, 2:] == np.clip(np.ceil(square.max(axis=1)), 0, 48)).all()


def test_a_margin_of_aligned_gives_room_about_the_same_middle():
    wide = (moved(POINTS, levelled(POINTS, 48, 0.25)) + 0.5) / 48 - 0.5
    tight = (moved(POINTS, levelled(POINTS, 48)) + 0.5) / 48 - 0.5
    assert np.allclose(wide * 1.5, tight)


coordinates = st.floats(-30, 80, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=68, max_size=68), st.sampled_from(list(REGIONS)))
def test_boxes_lie_in_the_image_and_have_what_of_the_points_does(points, region):
    found = np.array(points)[None]
    box = region_boxes(found, np.array([[48, 40]]), REGIONS[region])
    assert box.dtype == np.int32
    assert (box >= 0).all()
    assert (box <= [48, 40, 48, 40]).all()
    if REGIONS[region].how != "turned" and not is_empty(box)[0]:
        edges = np.stack([found[0, list(REGIONS[region].x), 0], found[0, list(REGIONS[region].x), 0]]) + 0.5
        inside = edges.clip(0, 48)
        assert box[0, 0] <= inside.min()
        assert inside.max() <= box[0, 2]
        larger = region_boxes(found, np.array([[48, 40]]), REGIONS[region], 1.0)
        assert (larger[:, :2] <= box[:, :2]).all()
        assert (larger[:, 2:] >= box[:, 2:]).all()


def test_what_is_no_face_has_an_empty_box():
    outside = POINTS[:1] + 100
    broken = POINTS[:1].copy()
    broken[0, 50] = np.nan
    together = np.zeros((1, 68, 2))
    assert is_empty(region_boxes(outside, SIZES[:1], REGIONS["mouth"]))[0]
    assert is_empty(region_boxes(broken, SIZES[:1], REGIONS["mouth"]))[0]
    assert is_empty(region_boxes(together, SIZES[:1], REGIONS["aligned"]))[0]


def test_points_move_with_the_box():
    boxes = np.array([[4, 8, 28, 16]], np.int32)
    corners = np.array([[[3.5, 7.5], [27.5, 15.5], [4, 8]]])
    assert moved(corners, stretched(boxes, 48)).tolist() == [[[-0.5, -0.5], [47.5, 47.5], [0.5, 2.5]]]


def test_the_mean_shape_is_that_of_drawn_faces_put_where_faces_stand():
    mean = drawn(600).mean(axis=0)
    mirrored = mean[list(MIRROR)] * [-1, 1] + [1, 0]
    mean = (mean + mirrored) / 2
    low, high = mean.min(axis=0), mean.max(axis=0)
    placed = (mean - low) / (high - low) * [0.8, 0.75] + [0.1, 0.25]  # in a box from (.1, .25) to (.9, 1)
    assert np.abs(placed - MEAN_SHAPE).max() < 0.01
    assert np.allclose(MEAN_SHAPE[list(MIRROR)] * [-1, 1] + [1, 0], MEAN_SHAPE, atol=0.0011)
    sizes = np.array([[48, 48], [100, 60]])
    assert np.allclose((mean_points(sizes) + 0.5) / sizes[:, None], MEAN_SHAPE)
    assert check_points(mean_points(sizes), sizes).ok.all()
    assert not is_empty(region_boxes(mean_points(np.array([[1, 1]])), np.array([[1, 1]]), REGIONS["eyes"]))[0]


def test_an_unknown_region_names_the_nearest():
    with pytest.raises(MienError) as caught:
        region_named("mouht")
    assert caught.value.nearest == "mouth"
    assert caught.value.expected == "one of face, mouth, eyes, brows, upper, lower, no-mouth, aligned"


def runs(points):
    """Numbers from 0 as the docs write them from 1: runs of them from first to last."""
    found = []
    for point in points:
        if found and point == found[-1][1] + 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return ", ".join(str(a + 1) if a == b else f"{a + 1}–{b + 1}" for a, b in found)


def test_the_table_of_the_docs_is_that_of_the_code():
    text = (REPOSITORY / "docs" / "regions.md").read_text(encoding="utf-8")
    lines = text.split("## The regions")[1].split("\n## ")[0].splitlines()
    told = [line for line in lines if line.startswith("| `")]
    assert told == [
        f"| `{name}` | {of.what} | {runs(of.x)} | {runs(of.y)} | {of.margin:g} | {of.how} |"
        for name, of in REGIONS.items()
    ]


def test_drawn_faces_pass_all_checks():
    found = check_points(POINTS, SIZES, np.zeros(300))
    assert list(found.passed) == list(CHECKS)
    assert found.ok.all()
    assert (found.quality == 1).all()
    assert found.quality.dtype == np.float32


def swapped(one, other):
    points = POINTS[:1].copy()
    points[0, [*one, *other]] = points[0, [*other, *one]]
    return points


@pytest.mark.parametrize(
    ("check", "points"),
    [
        ("inside", POINTS[:1] - [26, 0]),
        ("inside", POINTS[:1] + np.array([0, 20])),
        ("size", (POINTS[:1] - 24) * 0.1 + 24),
        ("eyes", swapped(range(36, 42), range(42, 48))),
        ("brows", swapped(range(17, 22), range(36, 41))),
        ("brows", swapped(range(17, 22), range(22, 27))),
        ("nose", swapped([33], [27])),
        ("mouth", POINTS[:1] - np.isin(np.arange(68), range(48, 68))[None, :, None] * [0, 20]),
        ("mouth", swapped([8], [27])),
        ("lips", swapped([48], [54])),
        ("jaw", swapped(range(8), range(9, 17))),
    ],
)
def test_each_check_finds_what_is_out_of_order(check, points):
    found = check_points(points, SIZES[:1])
    assert not found.passed[check][0]
    assert found.quality[0] < 0.5
    assert not found.ok[0]


def test_a_tight_chin_is_inside():
    lowest = (48 - 0.5 - POINTS[:1, 8, 1]) + 0.09 * 48
    shifted = POINTS[:1].copy()
    shifted[:, :17, 1] += lowest
    assert check_points(shifted, SIZES[:1]).passed["inside"][0]


def test_mirrored_points_come_back_and_their_distance_is_a_share_of_the_eyes():
    mirrored = POINTS[:, list(MIRROR)] * [-1, 1] + [47, 0]
    back = mirrored_back(mirrored, SIZES[:, 0])
    assert np.allclose(back, POINTS)
    eyes = np.linalg.norm(POINTS[:, 45] - POINTS[:, 36], axis=1)
    assert np.allclose(mirror_distance(POINTS, back + np.array([3, 4])), 5 / eyes)
    assert mirror_distance(np.zeros((1, 68, 2)), np.zeros((1, 68, 2))).tolist() == [np.inf]


@given(st.floats(0, 10))
def test_quality_is_half_or_more_just_where_all_checks_are_passed(share):
    found = check_points(POINTS[:1], SIZES[:1], np.array([share * MIRROR_LIMIT]))
    assert found.ok[0] == (found.quality[0] >= 0.5)
    assert 0 <= found.quality[0] <= 1


def test_points_that_are_no_numbers_pass_nothing():
    broken = POINTS[:2].copy()
    broken[1, 3, 0] = np.inf
    found = check_points(broken, SIZES[:2], np.array([0, np.inf]))
    assert [bool(passed[1]) for passed in found.passed.values()] == [False] * len(CHECKS)
    assert found.quality.tolist() == [1, 0]
