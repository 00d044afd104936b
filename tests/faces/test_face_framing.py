"""The square that a model sees: where it stands, how it turns, the same for points as for pixels."""

import numpy as np
import pytest

from mien.faces.detector import Box, Face
from mien.faces.framing import Framing, frame_map, framed, tilt
from mien.faces.squares import Square, cut

UPRIGHT = ((40.0, 40.0), (60.0, 40.0), (50.0, 50.0), (42.0, 60.0), (58.0, 60.0))


def face(marks: tuple[tuple[float, float], ...] | None = None) -> Face:
    return Face(Box(30, 25, 40, 40), 0.9, Square(0, 0, 1), marks)


def test_an_upright_face_is_cut_as_a_square_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    made = framed(image, face(UPRIGHT), 48, Framing(1.2, 0.1, True))
    # The box's middle is the edge (50, 45), 4 above the square's; as a pixel's centre it is half a pixel less.
    assert np.abs(made.astype(int) - cut(image, np.array([49.5, 48.5, 48.0]), 48)).max() <= 1


@pytest.mark.parametrize("degrees", [-50, 20, 90])
def test_a_leaning_face_is_turned_upright(degrees: float) -> None:
    turn = np.exp(1j * np.radians(degrees))
    middle = complex(50, 45)
    places = [(complex(*mark) - middle) * turn + middle for mark in UPRIGHT]
    leaning = face(tuple((place.real, place.imag) for place in places))
    assert np.degrees(tilt(leaning)) == pytest.approx(degrees)
    for setting in (Framing(1.2, 0.1, True), Framing(1.2, 0.1, False)):
        plain, turned = frame_map(face(UPRIGHT), 48, setting), frame_map(leaning, 48, setting)
        for mark, place in zip(UPRIGHT, places, strict=True):
            # Marks are edges' coordinates here: the box turns about its middle.
            seen = turned @ (place.real - 0.5, place.imag - 0.5, 1)
            same = np.allclose(seen, plain @ (mark[0] - 0.5, mark[1] - 0.5, 1))
            assert same == setting.turned


def test_beyond_the_photo_its_edge_is_carried_on() -> None:
    image = np.full((20, 20, 1), 7, np.uint8)
    assert (framed(image, Face(Box(-30, -30, 60, 60), None, Square(0, 0, 1)), 24) == 7).all()
