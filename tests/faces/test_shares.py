"""Points as torch has them: in shares of the image and back, and the same errors as the measures of runs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.faces.ibug import OUTER_EYES, POINTS
from mien.faces.shares import as_shares, normalized_errors
from mien.metrics.nme import image_errors


def drawn(n: int, seed: int, side: int) -> torch.Tensor:
    """Points inside and outside of images of `side` pixels, float32 (n, 68, 2)."""
    return torch.rand(n, POINTS, 2, generator=torch.Generator().manual_seed(seed)) * 2 * side - side / 2


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4), st.integers(0, 1000), st.integers(8, 512))
def test_pixels_and_shares_undo_each_other(n: int, seed: int, side: int) -> None:
    points = drawn(n, seed, side)
    shares = as_shares(points, side)
    assert shares.shape == (n, 2 * POINTS)
    pixels = (shares.unflatten(1, (-1, 2)) + 0.5) * side - 0.5
    torch.testing.assert_close(pixels, points, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(as_shares(pixels, side), shares, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(8, 200), st.integers(2, 4))
def test_shares_do_not_depend_on_the_size(seed: int, side: int, times: int) -> None:
    points = drawn(2, seed, side)
    # Pixel centres of an image enlarged so many times.
    larger = (points + 0.5) * times - 0.5
    torch.testing.assert_close(as_shares(larger, times * side), as_shares(points, side), rtol=1e-4, atol=1e-6)


def test_x_and_y_stand_in_turn_and_the_edges_are_at_a_half() -> None:
    points = torch.zeros(1, POINTS, 2)
    points[0, 3] = torch.tensor([-0.5, 47.5])
    shares = as_shares(points, 48)
    assert shares[0, 6:8].tolist() == [-0.5, 0.5]
    assert shares[0, 0].item() == pytest.approx(0.5 / 48 - 0.5)


def test_errors_are_those_of_the_measures() -> None:
    true, predicted = drawn(20, 0, 64), drawn(20, 1, 64)
    expected = image_errors(predicted.numpy(), true.numpy())
    found = normalized_errors(as_shares(predicted, 64), as_shares(true, 64))
    assert found.shape == (20,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_an_error_by_hand() -> None:
    true = torch.zeros(1, POINTS, 2)
    true[0, OUTER_EYES[1]] = torch.tensor([30.0, 40.0])
    shares = as_shares(true, 100)
    assert normalized_errors(as_shares(true + torch.tensor([3.0, 4.0]), 100), shares).item() == pytest.approx(0.1)
    assert normalized_errors(shares, shares).item() == 0
