"""Faces in photos: found at every size, once each, and framed as the points promise."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.data.synthetic import faces
from mien.errors import MienError
from mien.faces.detector import Box, Detector, Face, Fit, Found, Look, open_detector
from mien.faces.squares import WIDEN, Square, crop
from mien.images import Pixels, decode

EXPECTED = "YuNet's weights, face_detection_yunet_2023mar.onnx of OpenCV's model zoo, or auto, yunet, cascade or none"
# The middles of the four faces of the photo.
FOUR = [(30, 131), (182, 155), (306, 115), (466, 158)]


def yunet(real_data: Path) -> Detector:
    return open_detector(str(real_data.parent / "weights" / "face_detection_yunet.onnx"))


def photo(real_data: Path, name: str) -> Pixels:
    return decode((real_data.parent / "photos" / name).read_bytes(), "rgb")


def middles(found: Sequence[Face]) -> npt.NDArray[np.float64]:
    return np.array([(one.square.left + one.square.side / 2, one.square.top + one.square.side / 2) for one in found])


def test_a_box_becomes_the_square_about_its_points() -> None:
    fit = Fit(scale=0.8, right=0.25, down=0.5)
    # The side of a box of 10 × 40 is 20: the points' is 16, the square's 20, 5 to the right and 10 below its middle.
    assert fit.square(Box(100, 200, 10, 40)) == Square(100, 220, 20)


@given(st.integers(-50, 90), st.integers(-50, 90), st.integers(1, 120), st.integers(1, 40), st.integers(1, 40))
def test_a_crop_repeats_the_edges_as_opencv_does(left: int, top: int, side: int, height: int, width: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (height, width, 3), dtype=np.uint8)
    border = 250
    wide = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
    expected = wide[border + top : border + top + side, border + left : border + left + side]
    assert np.array_equal(crop(image, Square(left, top, side)), expected)


@given(st.integers(1, 60), st.integers(1, 60))
def test_none_takes_the_whole_image_as_a_square(height: int, width: int) -> None:
    (face,) = open_detector("none").faces(np.zeros((height, width, 3), np.uint8))
    side = max(height, width)
    assert (face.box, face.score, face.square.side) == (Box(0, 0, width, height), None, side)
    assert face.square.left == round(width / 2 - side / 2)
    assert face.square.top == round(height / 2 - side / 2)


def test_photos_are_shrunk_and_boxes_come_back_to_their_size() -> None:
    seen = []

    def find(image: Pixels) -> list[tuple[Box, float]]:
        seen.append(image.shape)
        height, width = image.shape[:2]
        return [(Box(width / 2, height / 4, width / 4, height / 4), 0.9)]

    detector = Detector("test", find=find, sides=(400, 100), fit=Fit(1 / WIDEN, 0, 0))
    assert [face.box for face in detector.faces(np.zeros((1600, 800, 3), np.uint8))] == [Box(400, 400, 200, 400)]
    assert seen == [(100, 50, 3), (400, 200, 3)]
    seen.clear()
    assert [face.box for face in detector.faces(np.zeros((80, 40, 3), np.uint8))] == [Box(20, 20, 10, 20)]
    assert seen == [(80, 40, 3)]


def test_where_nothing_is_found_a_small_photo_is_enlarged_the_more_the_surer_a_face_has_to_be() -> None:
    seen: list[tuple[int, ...]] = []

    def find(image: Pixels) -> list[Found]:
        seen.append(image.shape[:2])
        there = {300: 0.55, 450: 0.7}.get(image.shape[0], 0.9)
        return [Found(Box(20, 40, 10, 10), there, ((20, 40),) * 5)] if image.shape[0] >= least else []

    detector = Detector("test", find=find, sides=(400, 100), looks=(Look(2, 500, 0.6), Look(3, 600, 0.7)))
    photo = np.zeros((150, 100, 3), np.uint8)
    looked = [(100, 67), (150, 100)]
    least = 150
    assert [face.score for face in detector.faces(photo)] == [0.9]
    assert seen == looked
    seen.clear()
    least = 300
    (face,) = detector.faces(photo)
    assert seen == [*looked, (300, 200), (450, 300)]
    assert (face.score, face.square) == (0.7, detector.fit.square(Box(20 / 3, 40 / 3, 10 / 3, 10 / 3)))
    np.testing.assert_allclose(face.box, (20 / 3, 40 / 3, 10 / 3, 10 / 3))
    np.testing.assert_allclose(face.marks or (), [(20 / 3, 40 / 3)] * 5)
    # The longest side has its limit, and none is enlarged beyond that.
    seen.clear()
    least = 550
    assert [face.score for face in detector.faces(np.zeros((250, 100, 3), np.uint8))] == [0.9]
    assert seen == [(100, 40), (250, 100), (500, 200), (600, 240)]
    seen.clear()
    least = 700
    assert detector.faces(np.zeros((600, 60, 3), np.uint8)) == []
    assert seen == [(100, 10), (400, 40)]


def test_several_threads_look_at_once(real_data: Path) -> None:
    detector = yunet(real_data)
    four = photo(real_data, "four_faces.jpg")
    sizes = [np.asarray(cv2.resize(four, None, fx=one, fy=one), np.uint8) for one in (1, 1.5, 2)] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.faces, sizes)) == [detector.faces(one) for one in sizes]


def test_opencv_without_a_cascade_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenCV 5 is."""
    monkeypatch.delattr(cv2, "CascadeClassifier")
    expected = "expected YuNet, by `mien models fetch yunet` or --detector-weights FILE, or --detector none"
    with pytest.raises(MienError) as error:
        open_detector("cascade")
    assert str(error.value) == f"--detector: OpenCV {cv2.__version__} has no cascade; {expected}"
    with pytest.raises(MienError) as error:
        open_detector("auto")
    why = "and YuNet isn't here (YuNet can't be downloaded (MIEN_OFFLINE is set))"
    assert str(error.value) == f"--detector: OpenCV {cv2.__version__} has no cascade, {why}; {expected}"


def test_a_face_is_told_once_and_faces_go_from_left_to_right() -> None:
    found = [
        (Box(60, 10, 20, 20), 0.8),
        (Box(0, 0, 40, 40), 0.7),
        (Box(4, 4, 10, 10), 0.9),  # inside of the one before, and surer: that one isn't a face
        (Box(62, 12, 20, 20), 0.95),  # nearly the first
        (Box(float("nan"), 0, 10, 10), 0.99),
        (Box(30, 30, 0.2, 10), 0.99),
        (Box(12, 12, 10, 10), 0.6),  # shares a corner with the third
    ]
    detector = Detector("test", find=lambda _: found, sides=(100,))
    told = [(face.box, face.score) for face in detector.faces(np.zeros((100, 100, 3), np.uint8))]
    assert told == [(Box(4, 4, 10, 10), 0.9), (Box(12, 12, 10, 10), 0.6), (Box(62, 12, 20, 20), 0.95)]


def test_what_is_no_detector_is_one_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "weights.onnx"
    for content in (b"", b"hello", bytes(range(256)) * 40):
        file.write_bytes(content)
        with pytest.raises(MienError) as caught:
            open_detector(str(file))
        assert caught.value.as_dict() == {
            "message": "this file holds no YuNet face detector",
            "file": str(file),
            "expected": EXPECTED,
        }
    for missing in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(MienError, match=r"^[^ ]*: there is no such file with a detector; expected YuNet's"):
            open_detector(str(missing))
    with pytest.raises(MienError, match="Did you mean 'cascade'"):
        open_detector("casade")
    # OpenCV would tell of its own errors first.
    assert capfd.readouterr().err == ""


def test_other_networks_are_no_detector(real_data: Path) -> None:
    for name in ("weights/ultraface_slim_320.onnx", "peers/mini_xception.onnx"):
        with pytest.raises(MienError, match="this file holds no YuNet face detector"):
            open_detector(str(real_data.parent / name))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (24, 24), (31, 33), (5, 3000), (3000, 2)])
def test_the_cascade_looks_at_images_of_every_shape(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert open_detector("cascade").faces(noise) == []


def test_the_cascade_finds_drawn_faces() -> None:
    detector = open_detector("cascade")
    for image, _, points in faces(4, size=192, color="rgb"):
        wide = np.full((420, 640, 3), 140, np.uint8)
        wide[100:292, 200:392] = image
        (face,) = detector.faces(wide)
        low, high = points.min(axis=0), points.max(axis=0)
        side = (high - low).max()
        assert np.abs(middles([face])[0] - ((low + high) / 2 + (200, 100))).max() < 0.15 * side
        assert 0.8 < face.square.side / (WIDEN * side) < 1.2


@pytest.mark.parametrize("factor", [0.5, 1, 5])
@pytest.mark.parametrize("name", ["yunet", "cascade"])
def test_real_photos_at_all_sizes(real_data: Path, name: str, factor: float) -> None:
    detector = yunet(real_data) if name == "yunet" else open_detector(name)
    assert (detector.name, len(detector.digest)) == (name, 64)
    four = photo(real_data, "four_faces.jpg")
    one = photo(real_data, "grace_hopper.jpg")
    sized = [np.asarray(cv2.resize(image, None, fx=factor, fy=factor), np.uint8) for image in (four, one)]
    if name == "yunet" or factor >= 1:  # two faces have 22 pixels at half the size
        found = detector.faces(sized[0])
        assert np.abs(middles(found) / factor - FOUR).max() < 15
    (face,) = detector.faces(sized[1])
    assert np.abs(middles([face]) / factor - (266, 252)).max() < 10
    assert 205 < face.square.side / factor < 265


def test_a_portrait_of_scikit_image() -> None:
    portrait = pytest.importorskip("skimage.data").astronaut()
    found = open_detector("cascade").faces(portrait)
    assert np.abs(middles(found) - (224, 115)).max() < 20


@pytest.mark.parametrize(("name", "rate", "spread"), [("yunet", 1.0, 0.09), ("cascade", 0.85, 0.17)])
def test_squares_are_those_of_the_points(real_data: Path, name: str, rate: float, spread: float) -> None:
    """Every twelfth face of HELEN's training part; benchmarks/detectors.py measures all of them."""
    table = pq.read_table(real_data / "landmarks" / "helen_68pt.parquet", columns=["subset", "image", "landmarks"])
    rows = [row for row in table.to_pylist() if row["subset"] == "helen_train"][::12]
    detector = yunet(real_data) if name == "yunet" else open_detector(name)
    sides, off = [], []
    for row in rows:
        points = np.array(row["landmarks"]).reshape(68, 2) + 0.5
        low, high = points.min(axis=0), points.max(axis=0)
        side = WIDEN * (high - low).max()
        found = detector.faces(decode(row["image"], "rgb"))
        near = [one for one in found if np.abs(middles([one])[0] - (low + high) / 2).max() < 0.25 * side]
        if near:
            sides.append(near[0].square.side / side)
            off.append((middles(near[:1])[0] - (low + high) / 2) / side)
    assert len(sides) >= rate * len(rows)
    assert np.median(sides) == pytest.approx(1, abs=0.03)
    assert np.median(off, axis=0) == pytest.approx([0, 0], abs=0.02)
    assert np.percentile(np.abs(np.log(sides)), 80) < spread


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (32, 20), (31, 33), (5, 3000), (3000, 2)])
def test_yunet_looks_at_images_of_every_shape(real_data: Path, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert yunet(real_data).faces(noise) == []
