"""Squares about faces: what they hold, where their points are, and that a detector's are by the row's id alone."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from conftest import write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.framing import faces, framed_points, stored_points
from mien.data.labels import FACE
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.faces.squares import (
    MIDDLE_SD,
    ROOM,
    SIDE_SD,
    WIDEN,
    Frame,
    cut,
    detector_squares,
    face_squares,
    into,
    wide_squares,
)
from mien.images import Pixels, encode_png
from mien.workspace import Workspace

NUMBER = st.floats(-50, 150, width=32)
SQUARE = st.tuples(NUMBER, NUMBER, st.floats(8, 200, width=32))


def smooth(height: int, width: int, channels: int, seed: int = 0) -> Pixels:
    """A few long waves, as no detail finer than a pixel of what is cut would be."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.empty((height, width, channels))
    for channel in range(channels):
        turn = random.uniform(0, 6, 2)
        image[:, :, channel] = 128 + 60 * np.sin(x / 25 + turn[0]) + 60 * np.cos(y / 30 + turn[1])
    return image.round().astype(np.uint8)


def by_pillow(image: Pixels, square: tuple[float, float, float], size: int) -> npt.NDArray[np.float32]:
    """The same square by Pillow's antialiased `resize`, of the image with its edges carried on, unrounded."""
    around = 200
    x, y, side = square
    wide = np.pad(image, ((around, around), (around, around), (0, 0)), mode="edge")
    corner = (x + 0.5 - side / 2 + around, y + 0.5 - side / 2 + around)
    box = (*corner, corner[0] + side, corner[1] + side)
    planes = [
        Image.fromarray(wide[:, :, channel].astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR, box=box)
        for channel in range(image.shape[2])
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


@pytest.mark.parametrize(
    ("square", "size"),
    [
        ((49.5, 49.5, 100.0), 100),
        ((50.2, 47.9, 80.3), 48),  # smaller
        ((40.7, 60.1, 33.4), 64),  # larger
        ((50.2, 47.9, 90.0), 17),  # much smaller
        ((5.3, 97.6, 70.0), 64),  # over two edges
        ((50.0, 50.0, 180.0), 96),  # over all of them
        ((-60.0, 50.0, 40.0), 24),  # beside the image
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_cut_is_what_pillow_makes_of_the_same_box(
    square: tuple[float, float, float], size: int, channels: int
) -> None:
    image = smooth(100, 120, channels)
    made = cut(image, np.array(square), size)
    assert made.shape == (size, size, channels)
    assert made.dtype == np.uint8
    off = made - by_pillow(image, square, size)
    assert np.abs(off).max() <= 1.5
    # Half a pixel of the image to one side would be more.
    assert np.abs(off).mean() < 0.4


def test_a_cut_of_whole_pixels_is_those_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    assert np.array_equal(cut(image, np.array([14.5, 9.5, 16.0]), 16), image[2:18, 7:23])
    beyond = cut(image, np.array([1.5, 1.5, 8.0]), 8)
    assert np.array_equal(beyond, np.pad(image[:6, :6], ((2, 0), (2, 0), (0, 0)), mode="edge"))


def test_each_pixel_of_a_smaller_cut_is_a_mean() -> None:
    image = np.indices((64, 64)).sum(axis=0)[:, :, None] % 2 * 255
    made = cut(image.astype(np.uint8), np.array([31.5, 31.5, 48.0]), 12)
    # A pattern of black and white pixels is gray from afar.
    assert made.min() >= 126
    assert made.max() <= 129


def out_of(points, squares, size):
    """What `into` should undo: points of squares as points of the images."""
    corner = squares[:, None, :2] + 0.5 - squares[:, None, 2:] / 2
    return (points + 0.5) * (squares[:, None, 2:] / size) + corner - 0.5


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=5), SQUARE, st.integers(8, 256))
def test_out_of_undoes_into(places: list[tuple[float, float]], square: tuple[float, float, float], size: int) -> None:
    points = np.resize(np.array(places, np.float32), (1, POINTS, 2))
    squares = np.array([square])
    moved = into(points, squares, size)
    assert moved.dtype == np.float32
    assert moved.shape == points.shape
    np.testing.assert_allclose(out_of(moved, squares, size), points, atol=1e-2)
    np.testing.assert_allclose(into(out_of(points, squares, size), squares, size), points, atol=1e-2)


def test_the_corners_of_a_square_are_those_of_its_cut() -> None:
    squares = np.array([[10.0, 20.0, 8.0]])
    points = np.array([[[6.0, 16.0], [14.0, 24.0], [10.0, 20.0]]], np.float32)
    # A square of 8 px about (10, 20) reaches from 6 to 14: its edges are half a pixel off the outer pixels' centres.
    assert into(points, squares, 16).tolist() == [[[-0.5, -0.5], [15.5, 15.5], [7.5, 7.5]]]


@pytest.fixture
def some(workspace: Workspace) -> Dataset:
    """Black photos of several sizes with white dots at the points that make the box, at other places in each."""
    return write_dots(workspace)


# The points that are dots; all others lie in the middle of them, without one.
DOTS = (0, 8, 16, 27)


def write_dots(workspace: Workspace) -> Dataset:
    random = np.random.default_rng(1)
    columns = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}
    with write_dataset(workspace, "dots", FACE, source="", format="test", columns=columns) as writer:
        for index in range(12):
            height, width = random.integers(90, 200, 2)
            side = random.uniform(30, 60)
            x, y = random.uniform(35, width - 35), random.uniform(35, height - 35)
            points = np.tile(np.array([x, y]), (POINTS, 1))
            points[list(DOTS)] = np.array([x, y]) + side / 2 * np.array(
                [[-1, -0.5], [0.3, 0.8], [1, 0.1], [-0.2, -0.8]]
            )
            points = points.astype(np.float32)
            rows, columns_ = np.mgrid[0:height, 0:width]
            image = np.zeros((height, width))
            for dot in points[list(DOTS)]:
                image = np.maximum(image, np.exp(-((columns_ - dot[0]) ** 2 + (rows - dot[1]) ** 2) / (2 * 1.5**2)))
            file = encode_png((255 * image).round().astype(np.uint8))
            split = "train" if index < 8 else "test"
            size = (int(width), int(height))
            writer.add(split, f"photo-{index}", file, 0, size=size, landmarks=points.ravel().tolist())
    return open_dataset(workspace, "dots")


@pytest.mark.parametrize("frame", ["wide", "detector"])
@pytest.mark.parametrize("size", [48, 128])
def test_a_dot_at_a_point_is_at_the_moved_point(some: Dataset, frame: Frame, size: int) -> None:
    for split, rows in (("train", 8), ("test", 4)):
        pixels, points = faces(some, split, size, "gray", frame)
        assert (pixels.shape, points.shape) == ((rows, size, size, 1), (rows, POINTS, 2))
        assert not pixels.flags.writeable
        down, across = np.mgrid[0:size, 0:size]
        looked = 0
        for image, own in zip(pixels[:, :, :, 0].astype(float), points, strict=True):
            for x, y in own[list(DOTS)]:
                near = ((across - x) ** 2 + (down - y) ** 2) < (size / 10) ** 2
                if not 5 < min(x, y) < max(x, y) < size - 6:
                    continue
                looked += 1
                weight = image * near
                middle = (weight * across).sum() / weight.sum(), (weight * down).sum() / weight.sum()
                assert np.hypot(middle[0] - x, middle[1] - y) < 0.5
        assert looked > 2 * rows


def test_frames_have_their_sides(some: Dataset) -> None:
    points = stored_points(some, "train")
    assert points.shape == (8, POINTS, 2)
    assert points.dtype == np.float32
    box = points.max(axis=1) - points.min(axis=1)
    middle = (points.max(axis=1) + points.min(axis=1)) / 2
    squares = face_squares(points)
    np.testing.assert_allclose(squares[:, :2], middle, rtol=1e-5)
    np.testing.assert_allclose(squares[:, 2], box.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(wide_squares(points), squares * [1, 1, ROOM])
    # In wide squares the box's longer side fills the middle half.
    moved, _ = framed_points(some, "train", 64, "wide")
    np.testing.assert_allclose((moved.max(axis=1) - moved.min(axis=1)).max(axis=1), 32, rtol=1e-4)
    np.testing.assert_allclose((moved.max(axis=1) + moved.min(axis=1)) / 2, 31.5, atol=1e-3)


def test_detector_squares_are_by_the_id_alone() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(0, 100, (5, POINTS, 2)).astype(np.float32)
    ids = ["a", "b", "c", "d", "ü"]
    squares = detector_squares(points, ids)
    order = [3, 0, 4]
    assert np.array_equal(detector_squares(points[order], [ids[row] for row in order]), squares[order])
    others = detector_squares(points, ["e", *ids[1:]])
    assert np.array_equal(others[1:], squares[1:])
    assert not np.isclose(others[0], squares[0]).any()
    # In another image the same face is framed the same.
    shifted = detector_squares(2 * points + 10, ids)
    np.testing.assert_allclose(shifted, squares * 2 + [10, 10, 0], rtol=1e-5)
    with pytest.raises(ValueError, match="shorter"):
        detector_squares(points, ids[:4])


def test_detector_squares_spread_as_they_are_said_to() -> None:
    n = 4000
    points = np.full((n, POINTS, 2), (50, 40), np.float32)
    points[:, 0], points[:, 1] = (10, 20), (90, 60)
    squares = detector_squares(points, [f"row-{index}" for index in range(n)])
    side = np.log(squares[:, 2] / (WIDEN * 80))
    off = (squares[:, :2] - [50, 40]) / squares[:, 2:]
    # Of 4,000 draws a standard deviation is known to about 1 %, a mean to 1.6 % of it.
    assert side.std() == pytest.approx(SIDE_SD, rel=0.06)
    assert off.std(axis=0) == pytest.approx([MIDDLE_SD, MIDDLE_SD], rel=0.06)
    assert side.mean() == pytest.approx(0, abs=0.07 * SIDE_SD)
    assert off.mean(axis=0) == pytest.approx([0, 0], abs=0.07 * MIDDLE_SD)
    assert np.abs(np.corrcoef([side, *off.T]) - np.eye(3)).max() < 0.07


def test_frames_are_cached_apart(some: Dataset) -> None:
    faces(some, "test", 24, "gray", "wide")
    faces(some, "test", 24, "gray", "detector")
    faces(some, "test", 24, "rgb", "detector")
    mark = some.card.fingerprint[:16]
    there = sorted(path.name for path in Path(some.folder / "cache").iterdir())
    assert there == [f"test-{frame}-{mark}.npy" for frame in ("detector-24-gray", "detector-24-rgb", "wide-24-gray")]


def test_a_set_without_points_says_so(workspace: Workspace) -> None:
    with pytest.raises(MienError) as error:
        stored_points(write_tiny(workspace, n=14), "train")
    assert str(error.value) == (
        "dataset.name: data set 'tiny' has no points; "
        "expected a column 'landmarks', as landmark data sets and drawn faces have it"
    )
