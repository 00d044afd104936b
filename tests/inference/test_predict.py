"""`model.predict`: whatever a picture comes as, the same answers; what they hold, and how they are shown."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.data.labels import LabelScheme
from mien.errors import MienError
from mien.faces.detector import Box, Detector, Fit, Found
from mien.images import Pixels, encode_png
from mien.inference import Model
from mien.inference.faces import Faces
from mien.inference.predictor import sharpness, turn

NAMES = ("dark", "middle", "bright")


class Brightness:
    """Logits that fall with the distance of an image's mean from 0, 128 and 255, in tenths."""

    def outputs(self, images: npt.NDArray[np.uint8], tta: str = "none") -> npt.NDArray[np.float32]:
        """Logits (n, 3)."""
        means = images.reshape(len(images), -1).mean(axis=1, keepdims=True)
        return np.asarray(-np.abs(means - [0, 128, 255]) / 10, np.float32)


MODEL = Model(
    name="brightness",
    task="expression",
    scheme=LabelScheme("light", NAMES),
    temperature=2.0,
    tta="none",
    limits="",
    digest="0123456789abcdef" * 4,
    size=24,
    color="gray",
    backend=Brightness(),
)


def red_boxes(image: Pixels) -> list[Found]:
    """Wherever the photo is red at the corner of a square of 40."""
    places = np.argwhere((image == (255, 0, 0)).all(axis=2)).tolist()
    marks = ((10.0, 12.0), (30.0, 12.0), (20.0, 20.0), (12.0, 30.0), (28.0, 30.0))
    return [Found(Box(x, y, 40, 40), 0.9 - x / 1000, tuple((x + a, y + b) for a, b in marks)) for y, x in places]


RED = Detector("red", "f" * 64, fit=Fit(1, 0, 0), sides=(10000,), find=red_boxes)


def photo() -> Pixels:
    """A noisy dark face at (20, 30) and a bright one at (100, 10)."""
    image = np.full((90, 160, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(-20, 20, (40, 40, 1))
    image[20:80, 10:70] = 30
    image[30:70, 20:60] = np.clip(30 + noise, 0, 255)
    image[0:60, 90:150] = 230
    image[10:50, 100:140] = np.clip(230 + noise, 0, 255)
    image[30, 20] = image[10, 100] = (255, 0, 0)
    return image


def test_what_an_answer_holds() -> None:
    faces = MODEL.predict(photo(), detector=RED)
    assert [(one.top, one.answer, one.box, one.size) for one in faces] == [
        ("dark", "dark", Box(20, 30, 40, 40), 40),
        ("bright", "bright", Box(100, 10, 40, 40), 40),
    ]
    first = faces[0]
    assert (first.score, first.model) == (pytest.approx(0.88), "brightness 0123456789ab")
    assert first.marks is not None
    assert first.marks[0] == (30, 42)
    shares = np.array(list(first.probabilities.values()))
    assert list(first.probabilities) == list(NAMES)
    # Of about 30 of 255, at a temperature of 2.
    logits = -np.abs(30 - np.array([0, 128, 255])) / 20
    assert shares == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=0.03)
    assert first.entropy == pytest.approx(-(shares * np.log(shares)).sum())


def test_all_that_pictures_come_as(tmp_path: Path) -> None:
    pixels = photo()
    path = tmp_path / "photo.png"
    path.write_bytes(encode_png(pixels))
    expected = MODEL.predict(pixels, detector=RED).answers
    given: list[Any] = [path, str(path), Image.fromarray(pixels), pixels.astype(np.uint16) * 257, pixels / 255]
    for one in given:
        assert MODEL.predict(one, detector=RED).answers == expected
    assert MODEL.predict(pixels[:, :, ::-1], detector=RED, channels="bgr").answers == expected
    for several in ([*given, pixels], np.stack([pixels] * 3)):
        batch = MODEL.predict(several, detector=RED)
        assert batch.answers == expected * len(several)
        assert batch.places == tuple(place for place in range(len(several)) for _ in range(2))
    assert MODEL.predict([path], detector=RED).paths == (str(path),)


def test_crops_are_told_without_a_detector() -> None:
    crops = np.stack([np.full((24, 24), value, np.uint8) for value in (10, 130, 250)])
    faces = MODEL.predict_faces(crops)
    assert [one.top for one in faces] == list(NAMES)
    assert [one.score for one in faces] == [None] * 3
    told = np.array([list(one.probabilities.values()) for one in faces])
    np.testing.assert_allclose(told, MODEL.probabilities(crops), atol=1e-12)
    assert MODEL.predict_faces([crops[0], np.full((60, 50, 3), 250, np.uint8)])[1].box == Box(0, 0, 50, 60)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "these images are a int"),
        (np.zeros((5, 5), np.int64), "these pixels are int64 numbers"),
        (np.full((5, 5), 7.0), "these pixels are floats of 7 to 7"),
        (np.zeros((0, 5), np.uint8), r"this image is an array of shape \(0, 5\)"),
        (np.zeros((2, 2, 2, 2, 2), np.uint8), r"this image is an array of shape \(2, 2, 2, 2, 2\)"),
        ("nothing.jpg", "nothing.jpg: there is no such image"),
    ],
)
def test_what_is_no_picture(given: Any, message: str) -> None:
    with pytest.raises(MienError, match=f"^{message}"):
        MODEL.predict(given, detector=RED)


def test_a_model_of_points_tells_no_expressions() -> None:
    with pytest.raises(MienError, match="brightness gives no expressions; expected a model whose task is expression"):
        replace(MODEL, task="landmarks").predict(photo(), detector=RED)


def test_small_blurred_and_turned_faces_are_uncertain() -> None:
    tiny = MODEL.predict(photo()[::3, ::3], detector=replace(RED, find=lambda _: [Found(Box(7, 10, 13, 13), 0.9)]))
    assert tiny[0].uncertain.startswith("small: 13 px")
    flat = MODEL.predict(
        np.full((90, 90), 30, np.uint8), detector=replace(RED, find=lambda _: [Found(Box(9, 9, 40, 40), 1)])
    )
    assert (flat[0].answer, flat[0].uncertain) == ("uncertain", "blurred: sharpness 0.000")
    marks = ((10.0, 12.0), (30.0, 12.0), (35.0, 20.0), (12.0, 30.0), (28.0, 30.0))
    aside = MODEL.predict(photo(), detector=replace(RED, find=lambda _: [Found(Box(20, 30, 40, 40), 1, marks)]))
    assert aside[0].uncertain == "turned: 0.75"


def test_sharpness_is_that_of_the_face_whatever_its_light() -> None:
    noise = np.random.default_rng(0).integers(0, 100, (48, 48, 1)).astype(np.uint8)
    assert sharpness(noise) == pytest.approx(sharpness(noise * 2 + 30), rel=1e-3)
    smooth = np.linspace(0, 255, 48 * 48).reshape(48, 48, 1).astype(np.uint8)
    assert sharpness(smooth) < 0.01 < 5 < sharpness(noise)
    assert turn(((0.0, 0.0),) * 5) == 1
    leaning = tuple((complex(*mark) * np.exp(0.5j)) for mark in ((0, 0), (10, 0), (8, 6)))
    assert turn(tuple((place.real, place.imag) for place in leaning)) == pytest.approx(0.3)


def test_several_threads_get_the_same_answers() -> None:
    photos = [np.roll(photo(), shift, axis=0) for shift in range(8)]
    expected = [MODEL.predict(one, detector=RED).answers for one in photos]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: MODEL.predict(one, detector=RED).answers, photos)) == expected


@pytest.fixture
def faces() -> Faces:
    return MODEL.predict([photo(), np.zeros((50, 50), np.uint8)], detector=RED)


def test_a_table(faces: Faces) -> None:
    table = faces.to_pandas()
    assert table["answer"].tolist() == ["dark", "bright", "no face"]
    assert table["x"].tolist()[:2] == [20, 100]
    assert list(table.columns[9:13]) == ["p_dark", "p_middle", "p_bright", "entropy"]
    assert repr(faces) == "Faces(2 in 2: dark 97 %, bright 98 %)"


def test_pictures(faces: Faces) -> None:
    drawn = np.asarray(faces.draw())
    assert drawn.shape == (360, 640, 3)
    # Boxes in orange, four times as large.
    orange = np.argwhere((drawn == (230, 159, 0)).all(axis=2))
    assert np.abs(orange.min(axis=0) - (40, 80)).max() <= 2
    assert np.abs(orange.max(axis=0) - (280, 560)).max() <= 2
    page = faces._repr_html_()
    assert "<p>2 faces in 2 images</p>" in page
    assert page.count("<img") == 2
    first = page.partition("base64,")[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(first))) as image:
        assert image.size == (640, 360)
