"""Photos to points and back from what was written: the same points, in every format, and nothing lost on the way."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from verbs import call

import mien.cli.landmarks  # noqa: F401  (registers the verb)
from mien.data.dataset import open_dataset
from mien.data.importers import import_dataset
from mien.data.importers.pts import parse_pts
from mien.errors import FailedError, MienError
from mien.faces.detector import Box, Detector, Face, Fit, open_detector
from mien.faces.drawing import overlay
from mien.faces.squares import Square
from mien.images import Photo as Read
from mien.images import Pixels, decode, encode_png, read_photo
from mien.landmarks.formats import COORDINATES, Photo, csv_text, pts_text, pts_texts
from mien.landmarks.photos import Format, find_points, landmark_photos
from mien.workspace import Workspace

Points = npt.NDArray[np.float32]
FORMATS: tuple[Format, ...] = ("csv", "json", "pts")
LIMITS = "trained on research-only annotations"


@dataclass(frozen=True)
class Marks:
    """Finds 68 pixels whose red is 1 to 68: their places are the points, exactly."""

    name: str = "marks"
    digest: str = "0" * 64
    limits: str = LIMITS

    def points(self, images: Sequence[Pixels]) -> Points:
        """The pixel of each number, the innermost where the photo's edge is repeated."""
        return np.array([[self._place(image, number) for number in range(1, 69)] for image in images], np.float32)

    def _place(self, image: Pixels, number: int) -> Any:
        places = np.argwhere(image[:, :, 0] == number)
        return places[np.abs(places - (len(image) - 1) / 2).sum(axis=1).argmin()][::-1]


# A marked face is a square of 20 pixels; the square that is predicted from has a margin of 2.5.
FIT = Fit(scale=1, right=0, down=0)


def marked(corners: Sequence[tuple[int, int]], size: tuple[int, int] = (90, 60)) -> tuple[Pixels, list[Points]]:
    """A photo (width, height) with a face of marks at each corner, green 255; and where the marks are."""
    photo = np.zeros((size[1], size[0], 3), np.uint8)
    points = []
    for seed, (left, top) in enumerate(corners):
        places = np.random.default_rng(seed).permutation(400)[:68]
        own = np.stack([left + places % 20, top + places // 20], axis=1)
        photo[top : top + 20, left : left + 20, 1] = 255
        photo[own[:, 1], own[:, 0], 0] = np.arange(1, 69)
        points.append(own.astype(np.float32))
    return photo, points


def green(image: Pixels) -> list[tuple[Box, float]]:
    """The detector of marked faces."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(image[:, :, 1]))
    return [(Box(*map(float, row[:4])), 0.9) for row in stats[1:]]


GREEN = Detector("green", "1" * 64, FIT, (1000,), green)


def save(file: Path, pixels: Pixels, orientation: int = 1) -> Path:
    """A PNG that is stored turned, so that its EXIF orientation turns it upright."""
    undo: dict[int, list[Any]] = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    image = Image.fromarray(pixels)
    for step in undo[orientation]:
        image = image.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(file, exif=exif)
    return file


def rows(file: Path) -> list[dict[str, str]]:
    """The lines of a CSV by column."""
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def of_row(row: dict[str, str]) -> Points:
    """The points of a line."""
    return np.array([[float(row[f"{axis}{n}"]) for axis in "xy"] for n in range(1, 69)], np.float32)


@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 40)), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_points_come_back_to_their_pixels(corners: list[tuple[int, int]]) -> None:
    apart = [
        one
        for n, one in enumerate(corners)
        if all(max(abs(one[0] - o[0]), abs(one[1] - o[1])) > 25 for o in corners[:n])
    ]
    photo, points = marked(apart)
    found = find_points(Read(photo, photo.shape[1], photo.shape[0]), GREEN, Marks())
    expected = {(left, top): own for (left, top), own in zip(apart, points, strict=True)}
    assert [face.box for face, _ in found] == [Box(left, top, 20, 20) for left, top in sorted(apart)]
    for face, own in found:
        assert face.square.side == 25
        assert np.array_equal(own, expected[int(face.box.left), int(face.box.top)])


def test_csv_json_and_pts_hold_the_same_points(tmp_path: Path) -> None:
    photo, (left, right) = marked([(2, 1), (60, 30)])
    file = save(tmp_path / "two.png", photo)
    results = {}
    for kind in FORMATS:
        results[kind], errors = landmark_photos([file], GREEN, Marks(), tmp_path / kind, kind)
        assert errors == []
    lines = rows(tmp_path / "csv" / "landmarks.csv")
    assert [(line["image"], line["face"], line["score"]) for line in lines] == [
        (str(file), "1", "0.9"),
        (str(file), "2", "0.9"),
    ]
    assert [float(lines[1][key]) for key in ("left", "top", "width", "height")] == [60, 30, 20, 20]
    assert {line["coordinates"] for line in lines} == {COORDINATES}
    stored = json.loads((tmp_path / "json" / "landmarks.json").read_text())
    assert stored == results["json"]
    (image,) = stored["images"]
    assert (image["width"], image["height"]) == (90, 60)
    assert {key: stored[key] for key in ("n", "faces", "without", "limits", "detector", "landmarker")} == {
        "n": 1,
        "faces": 2,
        "without": [],
        "limits": LIMITS,
        "detector": {"name": "green", "digest": "1" * 64},
        "landmarker": {"name": "marks", "digest": "0" * 64},
    }
    assert results["pts"]["images"][0]["pts"] == [str(tmp_path / "pts" / f"two_{n}.pts") for n in (1, 2)]
    for number, own in enumerate((left, right)):
        assert np.array_equal(of_row(lines[number]), own)
        assert image["faces"][number]["points"] == own.tolist()
        text = (tmp_path / "pts" / f"two_{number + 1}.pts").read_bytes()
        assert np.array_equal(parse_pts(text)[0] - 1, own)
    assert sorted(path.name for path in (tmp_path / "pts").iterdir()) == ["two.png", "two_1.pts", "two_2.pts"]


@given(st.lists(st.floats(-500, 5000, width=32), min_size=136, max_size=136))
@settings(max_examples=30, deadline=None)
def test_any_points_survive_csv_and_pts(values: list[float]) -> None:
    points = np.array(values, np.float32).reshape(68, 2)
    assert np.abs(parse_pts(pts_text(points).encode())[0] - 1 - points).max() < 1e-3
    face = Face(Box(1, 2, 3, 4), None, Square(0, 0, 1))
    (line,) = csv.DictReader(io.StringIO(csv_text([Photo("a, b.png", 10, 10, ((face, points),))])))
    assert (line["image"], line["score"]) == ("a, b.png", "")
    assert np.abs(of_row(line) - points).max() < 1e-3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photos_are_upright_and_their_pts_are_read_as_they_are_meant(tmp_path: Path, orientation: int) -> None:
    photo, (own,) = marked([(50, 10)])
    folder = tmp_path / "set"
    folder.mkdir()
    file = save(folder / "turned.png", photo, orientation)
    read = read_photo(file)
    assert read.orientation == orientation
    assert np.array_equal(read.pixels, photo)
    landmark_photos([file], GREEN, Marks(), tmp_path / "points", "pts")
    text = (tmp_path / "points" / "turned.pts").read_text()
    (folder / "turned.pts").write_text(text)
    if orientation == 6:  # the stored picture is the upright one turned a quarter to the left
        stored = np.stack([own[:, 1], 89 - own[:, 0]], axis=1)
        assert np.array_equal(parse_pts(text.encode())[0] - 1, stored)
    for number in range(12):  # splits need some rows
        save(folder / f"other{number}.png", photo)
        (folder / f"other{number}.pts").write_text(pts_text(own))
    home = Workspace(tmp_path / "home")
    import_dataset(home, folder, "turned")
    dataset = open_dataset(home, "turned")
    for split in dataset.card.splits:
        table = dataset.table(split, ["id", "landmarks"]).to_pylist()
        for row in table:
            assert np.abs(np.array(row["landmarks"]).reshape(68, 2) - own).max() < 1e-3


def test_one_bad_image_stops_no_other(tmp_path: Path) -> None:
    photo, _ = marked([(2, 1)])
    good = save(tmp_path / "good.png", photo)
    empty = save(tmp_path / "empty.png", np.zeros((30, 40, 3), np.uint8))
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "short.png").write_bytes(good.read_bytes()[:200])
    (tmp_path / "sub").mkdir()
    files = [tmp_path / name for name in ("bad.jpg", "good.png", "missing.png", "sub", "empty.png", "short.png")]
    result, errors = landmark_photos([*files, good], GREEN, Marks(), tmp_path / "out", "csv")
    assert [Path(str(error.file)).name for error in errors] == ["bad.jpg", "missing.png", "sub", "short.png"]
    assert [error.message for error in errors[:3]] == [
        "this is no image of a known format",
        "there is no such image",
        "this is a folder",
    ]
    assert [Path(image["image"]).name for image in result["images"]] == [file.name for file in files]
    assert [image.get("error", {}).get("message") for image in result["images"]] == [
        errors[0].message,
        None,
        errors[1].message,
        errors[2].message,
        None,
        errors[3].message,
    ]
    assert (result["n"], result["faces"], result["without"]) == (2, 1, [str(empty)])
    assert result["images"][4]["faces"] == []
    assert [line["image"] for line in rows(tmp_path / "out" / "landmarks.csv")] == [str(good)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["empty.png", "good.png", "landmarks.csv"]


def test_where_no_image_is_one_nothing_is_written(tmp_path: Path) -> None:
    result, errors = landmark_photos([tmp_path / "nothing.png"], GREEN, Marks(), tmp_path / "out")
    assert (len(errors), result["n"], result["points"]) == (1, 0, None)
    assert not (tmp_path / "out").exists()


def test_a_failing_model_is_not_the_images_fault(tmp_path: Path) -> None:
    class Broken(Marks):
        def points(self, images: Sequence[Pixels]) -> Points:
            raise FailedError("its points aren't numbers")

    file = save(tmp_path / "good.png", marked([(2, 1)])[0])
    with pytest.raises(FailedError, match=r"^its points aren't numbers$"):
        landmark_photos([file], GREEN, Broken(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over_something_else(tmp_path: Path) -> None:
    photo, _ = marked([(2, 1), (60, 30)])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    one, same = save(tmp_path / "a" / "1.png", photo), save(tmp_path / "b" / "1.png", photo)
    out = tmp_path / "out"
    with pytest.raises(MienError) as caught:
        landmark_photos([one, same], GREEN, Marks(), out)
    assert caught.value.message == f"{one} and {same} would both be written as {out / '1.png'}"
    with pytest.raises(MienError, match=r"what stands beside your images would be replaced; expected another folder$"):
        landmark_photos([one], GREEN, Marks(), tmp_path / "b" / ".." / "a")
    assert not out.exists()
    # The second face of 1.png would be called as the other photo's only one.
    other = save(tmp_path / "b" / "1_2.png", marked([(2, 1)])[0])
    result, (error,) = landmark_photos([one, other], GREEN, Marks(), out, "pts")
    assert error.message == f"one of its 2 faces would be written as 1_2.pts, as the points of {other}"
    assert [len(image.get("faces", [])) for image in result["images"]] == [0, 1]
    assert sorted(path.name for path in out.iterdir()) == ["1_2.png", "1_2.pts"]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_overlays_have_a_size_to_look_at(width: int, height: int, count: int) -> None:
    image = np.full((height, width, 1), 100, np.uint8)
    boxes = [Box(-5, -5, width + 10, height / 2)] * count
    far = np.array([[np.nan, 0], [1e9, -1e9]] * 34, np.float32)
    drawn = overlay(image, boxes, [far] * count)
    assert 512 <= max(drawn.shape[:2]) <= 1280
    assert abs(drawn.shape[0] / max(drawn.shape) - height / max(width, height)) < 0.01
    assert (image == 100).all()
    assert (drawn == 100).all() == (count == 0)


def test_points_and_box_are_drawn_where_they_are() -> None:
    image = np.full((64, 128, 3), 200, np.uint8)
    points = np.full((68, 2), [90.0, 40.0], np.float32)
    drawn = overlay(image, [Box(70, 8, 40, 48)], [points])
    assert drawn.shape == (256, 512, 3)
    # Four pixels for one: the middle of pixel (90, 40) lies between pixels 361 and 362, 161 and 162.
    blue = np.argwhere((drawn == (86, 180, 233)).all(axis=2))
    assert np.abs(blue.mean(axis=0) - (161.5, 361.5)).max() < 0.2
    orange = np.argwhere((drawn == (230, 159, 0)).all(axis=2))
    assert np.abs(orange.min(axis=0) - (32, 280)).max() <= 2
    assert np.abs(orange.max(axis=0) - (224, 440)).max() <= 2
    # Only several faces are numbered, in white.
    assert not (drawn == 255).all(axis=2).any()
    assert (overlay(image, [Box(70, 8, 40, 48)] * 2, [points] * 2) == 255).all(axis=2).any()


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str | None]]:
    """The marks in the place of a trained model, and with what it was asked for."""
    asked: list[tuple[Any, str | None]] = []
    module = ModuleType("mien.landmarks.predict")

    def open_landmarker(workspace: Workspace, reference: str | None) -> Marks:
        asked.append((workspace.root, reference))
        return Marks()

    module.open_landmarker = open_landmarker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mien.landmarks.predict", module)
    return asked


def test_the_verb(tmp_path: Path, marks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    pixels, (own,) = marked([(0, 0)], size=(20, 20))
    save(tmp_path / "photos" / "one.png", pixels)
    done = call("landmarks", "photos/one.png", "--detector", "none", "--workspace", tmp_path, "--model", "small/1")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "photos/one.png: 1 face",
        "1 image, 1 face (detector none, points by marks)",
        "points: landmarks/landmarks.csv",
        "pictures: landmarks/*.png",
        f"marks: {LIMITS}",
    ]
    assert marks == [(tmp_path, "small/1")]
    (line,) = rows(tmp_path / "landmarks" / "landmarks.csv")
    assert np.array_equal(of_row(line), own)
    shown = decode((tmp_path / "landmarks" / "one.png").read_bytes(), "rgb")
    assert shown.shape == (512, 512, 3)


def test_the_verb_without_faces_succeeds_and_with_a_bad_image_does_not(tmp_path: Path, marks: list[Any]) -> None:
    (tmp_path / "blank.png").write_bytes(encode_png(np.full((60, 80, 3), 99, np.uint8)))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    out = tmp_path / "out"
    done = call("landmarks", tmp_path / "blank.png", "--to", out)
    assert done.code == 0
    assert done.err.startswith("mien: OpenCV's cascade looks for the faces (YuNet can't be downloaded")
    assert done.out.splitlines()[:2] == [
        f"{tmp_path / 'blank.png'}: no face found",
        "1 image, 0 faces, 1 without a face (detector cascade, points by marks)",
    ]
    done = call("landmarks", tmp_path / "blank.png", tmp_path / "bad.png", "--to", out, "--json")
    assert done.code == 1
    assert f"mien: {tmp_path / 'bad.png'}: this is no image of a known format" in done.err
    assert done.json["error"] == done.json["images"][1]["error"]
    assert (done.json["faces"], done.json["without"]) == (0, [str(tmp_path / "blank.png")])
    assert len(rows(out / "landmarks.csv")) == 0


def test_the_verb_says_what_is_wrong(tmp_path: Path, marks: list[Any]) -> None:
    done = call("landmarks", "x.png", "--detector", tmp_path / "none.onnx", "--json")
    assert (done.code, done.error.message) == (2, "there is no such file with a detector")
    done = call("landmarks", "x.png", "--format", "xml")
    assert done.code == 2
    assert "'xml' is not one of" in done.err
    assert call("landmarks").code == 2


def test_every_way_of_turning_is_undone_by_hand() -> None:
    face = Face(Box(0, 0, 9, 9), None, Square(0, 0, 9))
    points = np.tile(np.array([[2.0, 1.0]], np.float32), (68, 1))
    first = {
        n: parse_pts(pts_texts(Photo("a", 10, 20, ((face, points),), n))[0].encode())[0][8] - 1 for n in range(1, 9)
    }
    # The upright photo has 10 × 20 pixels; those from 5 on are stored lying, 20 × 10.
    assert {n: tuple(place.tolist()) for n, place in first.items()} == {
        1: (2, 1),
        2: (7, 1),
        3: (7, 18),
        4: (2, 18),
        5: (1, 2),
        6: (1, 7),
        7: (18, 7),
        8: (18, 2),
    }


def test_real_photos(tmp_path: Path, real_data: Path) -> None:
    @dataclass(frozen=True)
    class Middle(Marks):
        def points(self, images: Sequence[Pixels]) -> Points:
            """The middle of each square, 68 times."""
            return np.array([[[(side - 1) / 2] * 2] * 68 for side in (image.shape[0] for image in images)], np.float32)

    photos = real_data.parent / "photos"
    detector = open_detector(str(real_data.parent / "weights" / "face_detection_yunet.onnx"))
    files = [photos / "four_faces.jpg", photos / "grace_hopper.jpg"]
    result, errors = landmark_photos(files, detector, Middle(), tmp_path, "pts")
    assert errors == []
    assert [len(image["faces"]) for image in result["images"]] == [4, 1]
    assert all(face["score"] > 0.9 for image in result["images"] for face in image["faces"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "four_faces.png",
        *(f"four_faces_{n}.pts" for n in range(1, 5)),
        "grace_hopper.png",
        "grace_hopper.pts",
    ]
