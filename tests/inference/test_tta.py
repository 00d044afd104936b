"""Test-time augmentation: which views there are, pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import mien.augment  # noqa: F401
from mien.errors import MienError
from mien.experiment.schema import load_experiment
from mien.inference.tta import mean_logits, views
from mien.registry import names

NUMBER = {"flip": 2, "flip-shifts": 10, "ten-crop": 10}
IMAGE = torch.arange(48 * 48, dtype=torch.float32).reshape(1, 1, 48, 48)


@pytest.mark.parametrize("kind", NUMBER)
@given(side=st.integers(8, 64), channels=st.sampled_from([1, 3]))
def test_views_keep_the_shape_and_come_with_their_mirror_images(kind: str, side: int, channels: int) -> None:
    images = torch.rand(2, channels, side, side) * 255
    found = list(views(images, kind))
    assert len(found) == NUMBER[kind]
    assert {view.shape for view in found} == {images.shape}
    for one, mirrored in zip(found[::2], found[1::2], strict=True):
        assert torch.equal(one.flip(3), mirrored)
    again = list(views(images, kind))
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


def test_flip_is_the_image_and_its_mirror_image() -> None:
    plain, mirrored = views(IMAGE, "flip")
    assert torch.equal(plain, IMAGE)
    assert torch.equal(mirrored[0, 0, :, 0], IMAGE[0, 0, :, 47])


def test_shifts_are_by_three_pixels_of_48() -> None:
    plain, left, right, up, down = list(views(IMAGE, "flip-shifts"))[::2]
    assert torch.equal(plain, IMAGE)
    assert torch.equal(left[..., :45], IMAGE[..., 3:])
    assert torch.equal(left[..., 47], IMAGE[..., 47])
    assert torch.equal(right[..., 3:], IMAGE[..., :45])
    assert torch.equal(right[..., 0], IMAGE[..., 0])
    assert torch.equal(up[..., :45, :], IMAGE[..., 3:, :])
    assert torch.equal(down[..., 3:, :], IMAGE[..., :45, :])


def test_ten_crop_is_corners_and_centre_of_seven_eighths() -> None:
    found = list(views(IMAGE, "ten-crop"))[::2]
    places = [(0, 0), (0, 6), (6, 0), (6, 6), (3, 3)]
    for view, (top, left) in zip(found, places, strict=True):
        cut = IMAGE[:, :, top : top + 42, left : left + 42]
        torch.testing.assert_close(view, F.interpolate(cut, size=(48, 48), mode="bilinear", antialias=True))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MienError) as error:
        views(IMAGE, "flop")
    assert str(error.value) == (
        "no tta is called 'flop'; expected one of flip, flip-shifts, ten-crop. Did you mean 'flip'?"
    )
    assert names("tta") == list(NUMBER)


@given(st.integers(1, 10), st.integers(0, 2**16))
def test_probabilities_are_averaged(number: int, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 5, (number, 4, 7))
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    found = mean_logits([torch.tensor(one) for one in logits]).exp()
    np.testing.assert_allclose(found.numpy(), shares.mean(axis=0), rtol=1e-6)


def test_a_file_can_name_what_is_registered(tiny_file: Path) -> None:
    assert load_experiment(tiny_file, ["tta=ten-crop"]).tta == "ten-crop"
    with pytest.raises(MienError) as error:
        load_experiment(tiny_file, ["tta=mirror"])
    assert error.value.message == '"mirror" can\'t stand here'
    assert error.value.expected == "'none', 'flip', 'flip-shifts' or 'ten-crop'"
