"""Every op: what it does to pixels, that points go with them, and that torch's seed fixes it."""

import colorsys
import io
import random
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from pydantic import ValidationError
from scipy import ndimage

from mien.augment import Gray, Normalize, Pipeline, RepeatChannels, Resize, Seen
from mien.augment.geometry import Affine, Crop, Flip, Frame
from mien.augment.input import Standardize
from mien.augment.jpeg import CHROMA, LUMA, Jpeg, tables
from mien.augment.light import Brightness, Contrast, Gamma, Hue, Saturation
from mien.augment.quality import Blur, Degrade, Erasing, Noise
from mien.errors import MienError
from mien.faces import ibug
from mien.registry import build, entry, names

SIZE = 48
# Every random op as an experiment would use it, and whether it takes `p`.
RANDOM = {
    "flip": {"p": 0.5},
    "affine": {"rotate": 20, "scale": [0.8, 1.2], "shift": 0.1, "p": 0.7},
    "crop": {"padding": 6},
    "brightness": {"change": 0.4, "p": 0.7},
    "contrast": {"change": 0.9, "p": 0.7},
    "gamma": {"exponent": [0.4, 2.5], "p": 0.7},
    "noise": {"sd": 30, "p": 0.7},
    "blur": {"sd": [0.3, 2], "p": 0.7},
    "erasing": {"area": [0.05, 0.3], "p": 0.7},
    "frame": {"widen": [0.8, 1.4], "shift": 0.1, "rotate": 15, "partial": 0.3},
    "saturation": {"change": 0.9, "p": 0.7},
    "hue": {"change": 0.4, "p": 0.7},
    "jpeg": {"quality": [20, 90], "p": 0.7},
    "degrade": {"side": [16, 40], "p": 0.7},
}
FIXED = {"normalize": {}, "standardize": {}, "resize": {"size": 40}, "repeat_channels": {}, "gray": {}}
MOVING = {"flip", "affine", "crop", "frame", "resize"}
COLOUR = {"saturation", "hue"}
WITH_P = [name for name, parameters in RANDOM.items() if "p" in parameters]
# The package's own, whatever plugins other tests have registered.
OWN = [name for name in names("op") if entry("op", name).build.__module__.startswith("mien.augment.")]


def op_of(name, **parameters):
    return build("op", entry("op", name).spec(**parameters))


def faces(n=8, channels=1, size=SIZE, seed=0):
    """Noise over the whole range from black to white, with smooth parts, as whole gray values."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return (smooth * 300 - 20 + 20 * torch.randn(n, channels, size, size, generator=generator)).clamp(0, 255).round()


def faces_for(name, n=8):
    """Faces of as few channels as an op takes."""
    return faces(n, channels=3 if name in COLOUR else 1)


def points_of(n=8, seed=0):
    return torch.rand(n, ibug.POINTS, 2, generator=torch.Generator().manual_seed(seed)) * (SIZE - 1)


def seeded(op, images, points=None, seed=0):
    torch.manual_seed(seed)
    return op(images, points)


def test_all_ops_are_registered():
    assert sorted(RANDOM | FIXED) == OWN


class TestPoints:
    """The 68 points' groups and mirror partners."""

    def test_groups_are_all_points_once(self):
        assert list(ibug.GROUPS) == ["jaw", "brows", "nose", "eyes", "lips"]
        assert [point for group in ibug.GROUPS.values() for point in group] == list(range(68))

    def test_mirroring_twice_changes_nothing_and_stays_in_a_group(self):
        assert [ibug.MIRROR[partner] for partner in ibug.MIRROR] == list(range(68))
        for group in ibug.GROUPS.values():
            assert {ibug.MIRROR[point] for point in group} == set(group)

    def test_what_lies_on_the_axis_is_its_own_partner(self):
        own = [point for point in range(68) if ibug.MIRROR[point] == point]
        # chin, bridge of the nose, its base, and the middles of the four rims of the lips
        assert own == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]

    def test_neighbours_along_a_contour_stay_neighbours(self):
        contours = [range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36)]
        pairs = [pair for contour in contours for pair in pairwise(contour)]
        for ring in (range(36, 42), range(42, 48), range(48, 60), range(60, 68)):
            pairs += zip(ring, (*ring[1:], ring[0]), strict=True)
        neighbours = {frozenset(pair) for pair in pairs}
        assert {frozenset(ibug.MIRROR[point] for point in pair) for pair in neighbours} == neighbours


@pytest.mark.parametrize("name", RANDOM)
class TestEveryRandomOp:
    def test_says_that_it_is_random(self, name):
        assert op_of(name, **RANDOM[name]).random is True
        assert entry("op", name).build.random is True

    @pytest.mark.parametrize("channels", [1, 3])
    def test_keeps_shape_type_and_range_and_changes_something(self, name, channels):
        if channels == 1 and name in COLOUR:
            with pytest.raises(MienError) as error:
                op_of(name, **RANDOM[name])(faces())
            assert str(error.value) == f"{name} got images of 1 channel; expected 3 channels"
            return
        images, points = faces(channels=channels), points_of()
        before = images.clone(), points.clone()
        out, moved = seeded(op_of(name, **RANDOM[name]), images, points)
        side = SIZE // 2 if name == "frame" else SIZE
        assert (out.shape, out.dtype) == ((8, channels, side, side), torch.float32)
        assert (moved.shape, moved.dtype) == (points.shape, torch.float32)
        assert out.min() >= 0
        assert out.max() <= 255
        assert not torch.equal(out, images)
        assert torch.equal(images, before[0])
        assert torch.equal(points, before[1])

    def test_a_seed_fixes_every_bit_and_another_gives_another(self, name):
        op, images, points = op_of(name, **RANDOM[name]), faces_for(name), points_of()
        first = seeded(op, images, points, seed=5)
        random.seed(1)
        np.random.seed(1)
        op(images, points)  # what came before doesn't count, and neither does which object it is
        for again in (op, op_of(name, **RANDOM[name])):
            second = seeded(again, images, points, seed=5)
            assert torch.equal(first[0], second[0])
            assert torch.equal(first[1], second[1])
        assert not torch.equal(first[0], seeded(op, images, points, seed=6)[0])

    def test_points_do_not_change_what_happens_to_the_images(self, name):
        op, images = op_of(name, **RANDOM[name]), faces_for(name)
        out, points = seeded(op, images)
        assert points is None
        assert torch.equal(out, seeded(op, images, points_of())[0])

    def test_each_image_has_its_own_draw(self, name):
        images = faces_for(name, 1).expand(16, -1, -1, -1)
        out, _ = seeded(op_of(name, **RANDOM[name]), images)
        assert len({image.numpy().tobytes() for image in out}) > (1 if name == "flip" else 4)

    def test_channels_of_an_image_have_the_same_draw(self, name):
        out, _ = seeded(op_of(name, **RANDOM[name]), faces().expand(-1, 3, -1, -1))
        same = torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 0], out[:, 2])
        assert same is (name != "noise")

    def test_takes_any_memory_format_and_a_single_image(self, name):
        op, images = op_of(name, **RANDOM[name]), faces(channels=3)
        plain, _ = seeded(op, images)
        last, _ = seeded(op, images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, plain, rtol=0, atol=1e-3)
        assert op(images[:1])[0].shape == (1, *plain.shape[1:])


@pytest.mark.parametrize("name", WITH_P)
class TestProbability:
    def test_0_is_the_identity(self, name):
        images, points = faces_for(name), points_of()
        out, moved = op_of(name, **RANDOM[name] | {"p": 0})(images, points)
        assert torch.equal(out, images)
        torch.testing.assert_close(moved, points, rtol=0, atol=1e-5)

    def test_some_are_changed_and_the_others_left_bit_for_bit(self, name):
        images = faces_for(name, 1).expand(400, -1, -1, -1)
        out, _ = seeded(op_of(name, **RANDOM[name] | {"p": 0.3}), images)
        changed = (out != images).flatten(1).any(dim=1).float().mean().item()
        assert changed == pytest.approx(0.3, abs=0.07)  # three standard deviations of 400 draws

    def test_1_changes_every_image(self, name):
        images = faces_for(name, 32)
        out, _ = seeded(op_of(name, **RANDOM[name] | {"p": 1}), images)
        assert (out != images).flatten(1).any(dim=1).all()


ranges = st.floats(0.7, 1.0).flatmap(lambda low: st.floats(low, 1.4).map(lambda high: (low, high)))
affines = st.builds(
    Affine, rotate=st.floats(1, 90), scale=ranges, shift=st.floats(0, 0.2), p=st.sampled_from([0.5, 1.0])
)
geometric = st.one_of(
    st.builds(Flip, p=st.sampled_from([0.5, 1.0])),
    affines,
    st.builds(Crop, padding=st.integers(1, 10)),
    st.builds(Resize, size=st.integers(36, 100)),
)


# Two points that are their own mirror partners, so that a flip leaves them where they are in the list.
CHIN, BRIDGE = 8, 27
BLOB = 1.5  # standard deviation in px


def blob(height, width, x, y):
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    return 255 * torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * BLOB**2))


def centroid(images):
    """The centre of brightness (x, y) of each image, (n, 2)."""
    shares = images[:, 0] / images.sum(dim=(1, 2, 3))[:, None, None]
    columns = (shares.sum(dim=1) * torch.arange(images.shape[3])).sum(dim=1)
    rows = (shares.sum(dim=2) * torch.arange(images.shape[2])).sum(dim=1)
    return torch.stack([columns, rows], dim=1)


# Nine points that are their own mirror partners.
AXIS = [8, 27, 28, 29, 30, 33, 51, 57, 62]
DOT = 2.5  # standard deviation in px
# Every op strong enough to show, and weak enough for dots to be found.
SHOWN = {
    "flip": {"p": 0.5},
    "affine": {"rotate": 20, "scale": [0.8, 1.2], "shift": 0.1},
    "crop": {"padding": 6},
    "brightness": {"change": 0.3},
    "contrast": {"change": 0.8},
    "gamma": {"exponent": [0.5, 2]},
    "blur": {"sd": [0.5, 2], "p": 1},
    "erasing": {"area": [0.02, 0.2], "p": 1},
    "frame": {"widen": [0.8, 1.5], "shift": 0.15, "rotate": 20, "partial": 0.3},
    "saturation": {"change": 0.9},
    "hue": {"change": 0.5},
    "jpeg": {"quality": [20, 90], "p": 1},
    "degrade": {"side": [24, 60], "p": 1},
    "resize": {"size": 41},
}


def dots(side, channels, seed):
    """Eight dark images with nine bright dots about their middle 64 px, never nearer than 16 px, and their points."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)) * 20.0 + (side - 1) / 2
    at = grid + 4 * torch.rand(8, 9, 2, generator=generator) - 2
    places = torch.arange(side)
    x, y = (torch.exp(-((places - at[:, :, axis, None]) ** 2) / (2 * DOT**2)) for axis in (0, 1))
    images = 40 + 180 * torch.einsum("nky,nkx->nyx", y, x)[:, None]
    points = torch.zeros(8, ibug.POINTS, 2)
    points[:, AXIS] = at
    return images * torch.tensor([1.0, 0.6, 0.8])[:channels, None, None], points


def distances(images, moved, points):
    """How far, in px, each dot that is still whole lies from its point."""
    found = []
    for image, after, before in zip(images.sum(dim=1), moved[:, AXIS], points[:, AXIS], strict=True):
        larger = (after[0] - after[1]).norm() / (before[0] - before[1]).norm()
        reach = int(torch.ceil(2.2 * DOT * larger))
        for x, y in after.tolist():
            left, top = round(x) - reach, round(y) - reach
            side = 2 * reach + 1
            if min(left, top) < 0 or max(left, top) + side > image.shape[0]:
                continue
            window = image[top : top + side, left : left + side]
            if (window == 0).any():
                continue  # erased, or the black beside a moved image
            weights = (window - (window.min() + window.max()) / 2).clamp(min=0)
            weights = weights / weights.sum()
            places = torch.arange(side)
            middle = torch.stack(
                [(weights.sum(dim=0) * places).sum() + left, (weights.sum(dim=1) * places).sum() + top]
            )
            found.append((middle - torch.tensor([x, y])).norm())
    return torch.stack(found)


class TestPointsFollowPixels:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(geometric, min_size=1, max_size=3), st.floats(10, 37), st.floats(10, 37), st.integers(0, 1000))
    def test_a_bright_blob_ends_where_its_point_says(self, ops, x, y, seed):
        images = blob(SIZE, SIZE, x, y).expand(4, 1, SIZE, SIZE)
        points = torch.tensor([x, y]).repeat(4, ibug.POINTS, 1)
        points[:, CHIN, 0] += 1  # its distance from the others shows how much the blob has grown
        whole = torch.ones(4, dtype=torch.bool)
        torch.manual_seed(seed)
        for op in ops:
            images, points = op(images, points)
            middle = points[:, BRIDGE]
            radius = 4.5 * BLOB * (points[:, CHIN] - middle).norm(dim=1, keepdim=True)
            far = torch.tensor([images.shape[3] - 1, images.shape[2] - 1]) - radius
            whole &= ((middle > radius) & (middle < far)).all(dim=1)
        assume(whole.any())
        distance = (centroid(images[whole]) - points[whole, BRIDGE]).norm(dim=1)
        assert distance.max() < 0.1

    @pytest.mark.parametrize("name", OWN)
    @pytest.mark.parametrize("seed", range(3))
    def test_dots_end_where_their_points_say(self, name, seed):
        side = 128 if name == "frame" else 64
        images, points = dots(side, 3 if name in COLOUR else 1, seed)
        out, moved = seeded(op_of(name, **SHOWN.get(name, {})), images, points, seed)
        found = distances(out, moved, points)
        # Of the 9 dots of each of 8 images; the others were cut off or erased.
        assert len(found) > (30 if name == "frame" else 45)
        assert found.max() < 0.5

    def test_a_point_that_stays_behind_by_a_pixel_is_seen(self):
        images, points = dots(64, 1, 0)
        out, moved = seeded(op_of("affine", **SHOWN["affine"]), images, points)
        assert distances(out, moved + torch.tensor([1.0, 0.0]), points).median() == pytest.approx(1, abs=0.1)

    @pytest.mark.parametrize("name", [name for name in OWN if name not in MOVING])
    def test_where_nothing_moves_points_stay(self, name):
        points = points_of()
        sure = {"p": 1} if name in WITH_P else {}
        _, moved = seeded(op_of(name, **(RANDOM | FIXED)[name] | sure), faces_for(name), points)
        torch.testing.assert_close(moved, points, rtol=0, atol=0)

    def test_flip_swaps_the_points_of_mirrored_images_alone(self):
        images, points = faces(64), points_of(64)
        out, moved = seeded(Flip(p=0.5), images, points)
        flipped = (out != images).flatten(1).any(dim=1)
        assert 16 < flipped.sum() < 48
        assert torch.equal(moved[~flipped], points[~flipped])
        expected = points[flipped][:, ibug.MIRROR] * torch.tensor([-1, 1]) + torch.tensor([SIZE - 1, 0])
        torch.testing.assert_close(moved[flipped], expected)
        assert torch.equal(out[flipped], images[flipped].flip(3))

    def test_flips_alternate_by_epoch_and_row(self):
        images, points = faces(64), points_of(64)
        op = op_of("flip", alternate=True)
        rows = torch.arange(1000, 1064)
        seen = [op(images, points, Seen(rows, epoch, 1)) for epoch in range(4)]
        first = (seen[0][0] != images).flatten(1).any(dim=1)
        assert 16 < first.sum() < 48
        for epoch, (out, moved) in enumerate(seen):
            mirrored = first ^ (epoch % 2 == 1)
            assert torch.equal(out, torch.where(mirrored[:, None, None, None], images.flip(3), images))
            expected = points[:, ibug.MIRROR] * torch.tensor([-1, 1]) + torch.tensor([SIZE - 1, 0])
            assert torch.equal(moved, torch.where(mirrored[:, None, None], expected, points))
        # A row's side is its own, in whichever batch it comes; another seed has other sides.
        alone, _ = op(images[5:6], None, Seen(rows[5:6], 2, 1))
        assert torch.equal(alone, seen[0][0][5:6])
        other, _ = op(images, None, Seen(rows, 0, 2))
        assert not torch.equal(other, seen[0][0])

    @pytest.mark.parametrize(("p", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
    def test_p_is_the_share_that_begins_mirrored(self, p, share):
        images = faces(1).expand(4000, -1, -1, -1)
        op = op_of("flip", alternate=True, p=p)
        for epoch, wanted in ((0, share), (1, 1 - share)):
            out, _ = op(images, None, Seen(torch.arange(4000), epoch, 7))
            assert (out != images).flatten(1).any(dim=1).float().mean().item() == pytest.approx(wanted, abs=0.03)

    def test_a_pipeline_tells_who_wants_to_know_which_images_they_are(self):
        images = faces(16)
        seen = Seen(torch.arange(16), 0, 0)
        out, _ = Pipeline([op_of("flip", alternate=True), op_of("gray")])(images, seen=seen)
        alone, _ = op_of("flip", alternate=True)(images, None, seen)
        assert torch.equal(out, alone)
        # Where nobody trains, sides are drawn.
        torch.manual_seed(0)
        drawn, _ = Pipeline([op_of("flip", alternate=True)])(images)
        torch.manual_seed(0)
        assert torch.equal(drawn, op_of("flip")(images)[0])

    def test_flipping_twice_is_the_identity(self):
        images, points = faces(), points_of()
        out, moved = Pipeline([Flip(p=1), Flip(p=1)])(images, points)
        assert torch.equal(out, images)
        torch.testing.assert_close(moved, points)


def matrix_of(op, images, seed=0):
    """The images after an op, and the affine matrix (n, 2, 3) from input to output pixels that its points show."""
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).expand(len(images), 3, 2)
    out, (origin, along_x, along_y) = (lambda out, moved: (out, moved.unbind(dim=1)))(
        *seeded(op, images, corners, seed)
    )
    return out, torch.stack([along_x - origin, along_y - origin, origin], dim=2).double().numpy()


class TestAffine:
    def test_agrees_with_scipy(self):
        images = faces()
        out, matrices = matrix_of(Affine(rotate=30, scale=(0.8, 1.2), shift=0.1), images)
        for image, found, matrix in zip(images[:, 0].numpy(), out[:, 0].numpy(), matrices, strict=True):
            back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
            swap = [1, 0, 2]  # scipy counts (row, column)
            back = back[swap][:, swap]
            expected = ndimage.affine_transform(image, back, order=1, mode="grid-constant")
            np.testing.assert_allclose(found, expected, atol=0.05)

    def test_draws_from_the_whole_of_its_ranges_and_no_further(self):
        centre = torch.tensor([23.5, 23.5, 1.0]).double().numpy()
        _, matrices = matrix_of(Affine(rotate=30, scale=(0.5, 1.25), shift=0.1), faces(1).expand(400, -1, -1, -1))
        angle = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
        scale = np.sqrt(np.linalg.det(matrices[:, :, :2]))
        shift = (matrices @ centre - centre[:2]) / SIZE
        for values, low, high in ((angle, -30, 30), (scale, 0.5, 1.25), (shift, -0.1, 0.1)):
            slack = (high - low) * 0.03
            assert low - 1e-4 <= values.min() < low + slack
            assert high - slack < values.max() <= high + 1e-4

    def test_must_do_something(self):
        with pytest.raises(MienError) as error:
            Affine()
        assert str(error.value) == "affine changes nothing; expected rotate, scale or shift"


class TestCrop:
    def test_moves_whole_pixels_over_black(self):
        images = faces(64) + 0.25  # no black inside
        out, matrices = matrix_of(Crop(padding=3), images)
        seen = set()
        for image, found, matrix in zip(images[:, 0].numpy(), out[:, 0].numpy(), matrices, strict=True):
            right, down = matrix[:, 2].astype(int)
            np.testing.assert_array_equal(matrix, [[1, 0, right], [0, 1, down]])
            start_y, start_x = 3 - down, 3 - right
            expected = np.pad(image, 3)[start_y : start_y + SIZE, start_x : start_x + SIZE]
            np.testing.assert_array_equal(found, expected)
            seen |= {right, down}
        assert seen == {-3, -2, -1, 0, 1, 2, 3}

    def test_takes_images_of_any_size_one_after_the_other(self):
        op = Crop(padding=2)
        assert [tuple(op(torch.zeros(2, 1, *size))[0].shape[2:]) for size in ((48, 48), (20, 30), (48, 48))] == [
            (48, 48),
            (20, 30),
            (48, 48),
        ]


class TestFrame:
    @pytest.mark.parametrize("partial", [0.0, 1.0])
    def test_agrees_with_scipy(self, partial):
        wide = faces()
        out, matrices = matrix_of(Frame(widen=(0.7, 1.9), shift=0.2, rotate=40, partial=partial), wide)
        assert out.shape == (8, 1, SIZE // 2, SIZE // 2)
        for image, found, matrix in zip(wide[:, 0].numpy(), out[:, 0].numpy(), matrices, strict=True):
            back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
            swap = [1, 0, 2]  # scipy counts (row, column)
            back = back[swap][:, swap]
            expected = ndimage.affine_transform(image, back, output_shape=found.shape, order=1, mode="nearest")
            np.testing.assert_allclose(found, expected, atol=0.05)

    def cuts(self, op):
        """Of 600 cuts the side and the middle (x, y), in box sides from the box's middle, and the angle in degrees."""
        _, matrices = matrix_of(op, faces(1).expand(600, -1, -1, -1))
        back = np.linalg.inv(np.concatenate([matrices, np.tile([[[0, 0, 1]]], (600, 1, 1))], axis=1))
        box, own = SIZE // 2, (SIZE // 2 - 1) / 2
        middle = (back @ [own, own, 1])[:, :2]
        angle = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
        return np.sqrt(np.linalg.det(back)), (middle - (SIZE - 1) / 2) / box, angle

    def test_draws_from_the_whole_of_its_ranges_and_no_further(self):
        side, middle, angle = self.cuts(Frame(widen=(0.8, 1.6), shift=0.2, rotate=25))
        shift = middle / side[:, None]
        for values, low, high in ((side, 0.8, 1.6), (shift, -0.2, 0.2), (angle, -25, 25)):
            slack = (high - low) * 0.03
            assert low - 1e-4 <= values.min() < low + slack
            assert high - slack < values.max() <= high + 1e-4

    def test_a_partial_crop_is_a_part_of_the_face(self):
        side, middle, angle = self.cuts(Frame(widen=(1, 1), shift=0, rotate=10, partial=1))
        assert 0.5 - 1e-4 <= side.min() < 0.52
        assert 0.88 < side.max() <= 0.9 + 1e-4
        assert 9 < np.abs(angle).max() <= 10 + 1e-4
        edge = np.abs(middle) + side[:, None] / 2
        assert edge.max() <= 0.5 + 1e-4  # of the box's side, from its middle
        assert np.abs(middle).max() > 0.2

    def test_partial_is_a_share(self):
        side, _, _ = self.cuts(Frame(widen=(1, 1), partial=0.25))
        assert (side < 0.95).mean() == pytest.approx(0.25, abs=0.06)

    def test_the_box_alone_is_the_middle_of_the_wide_square(self):
        wide = faces()
        points = torch.tensor([[[12.0, 35.0], [-3.0, 60.0]]]).expand(8, 2, 2)
        out, moved = Frame(widen=(1, 1), shift=0, rotate=0)(wide, points)
        torch.testing.assert_close(out, wide[:, :, 12:36, 12:36], rtol=0, atol=1e-2)
        # What lies outside of the cut is known too.
        torch.testing.assert_close(moved[0], torch.tensor([[0.0, 23.0], [-15.0, 48.0]]), rtol=0, atol=1e-4)

    @pytest.mark.parametrize(("height", "width"), [(47, 47), (48, 50)])
    def test_takes_squares_of_an_even_side_alone(self, height, width):
        with pytest.raises(MienError) as error:
            Pipeline([Frame()]).output_shape((1, height, width))
        assert str(error.value) == f"frame got images of {width} × {height} pixels; expected squares of an even side"

    def test_halves_the_shape(self):
        assert Pipeline([Frame()]).output_shape((3, 128, 128)) == (3, 64, 64)


def as_pillow(image):
    """An image (c, h, w) of whole gray values for Pillow."""
    return Image.fromarray(image.permute(1, 2, 0).squeeze(2).byte().numpy())


def as_array(image):
    """Pillow's image as (c, h, w)."""
    array = np.asarray(image, np.float64)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


class TestColour:
    def test_saturation_agrees_with_pillow(self):
        images = (faces(channels=3) * 0.4 + 70).round()
        out, _ = seeded(Saturation(change=0.6), images)
        factors = []
        for image, found in zip(images, out, strict=True):
            gray = image - Gray()(image[None])[0][0]
            factors.append(((found - image + gray) * gray).sum().item() / gray.square().sum().item())
            expected = as_array(ImageEnhance.Color(as_pillow(image)).enhance(factors[-1]))
            np.testing.assert_allclose(found.numpy(), expected, atol=1.5)  # Pillow works in whole numbers
        assert 0.4 <= min(factors) < 0.7
        assert 1.3 < max(factors) <= 1.6

    def test_saturation_without_colour_is_gray(self):
        gray = faces().expand(-1, 3, -1, -1)
        torch.testing.assert_close(seeded(Saturation(change=1), gray)[0], gray, rtol=0, atol=1e-3)

    def test_hue_is_turned_by_one_angle_and_the_rest_of_hsv_stays(self):
        images = faces(32, channels=3, size=6) * 0.7 + 20
        out, _ = seeded(Hue(change=0.2), images)
        turns = []
        for image, found in zip(images, out, strict=True):
            before, after = (
                np.array([colorsys.rgb_to_hsv(*pixel) for pixel in (x / 255).flatten(1).T.tolist()])
                for x in (image, found)
            )
            np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=1e-4)
            turn = (after[:, 0] - before[:, 0] + 0.5) % 1 - 0.5
            colourful = before[:, 1] > 0.05
            np.testing.assert_allclose(turn[colourful], turn[colourful].mean(), atol=1e-3)
            turns.append(turn[colourful].mean())
        assert -0.2 <= min(turns) < -0.15
        assert 0.15 < max(turns) <= 0.2

    def test_gray_agrees_with_pillow_and_keeps_what_is_gray(self):
        images = faces(channels=3)
        out, _ = Gray()(images)
        for image, found in zip(images, out, strict=True):
            np.testing.assert_allclose(found.numpy(), as_array(as_pillow(image).convert("L")), atol=0.51)
        assert torch.equal(Gray()(out)[0], out)

    @pytest.mark.parametrize("name", ["gray", "jpeg", "degrade"])
    def test_two_channels_are_no_image(self, name):
        with pytest.raises(MienError) as error:
            op_of(name)(torch.zeros(1, 2, 8, 8))
        assert str(error.value) == f"{name} got images of 2 channels; expected 1 or 3 channels"


class TestJpeg:
    @pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 75, 95, 100])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize(("height", "width"), [(48, 48), (20, 30), (37, 61)])
    def test_agrees_with_pillow(self, quality, channels, height, width):
        generator = torch.Generator().manual_seed(0)
        light, colour = (
            torch.nn.functional.interpolate(
                torch.rand(8, deep, 4, 4, generator=generator), size=(height, width), mode="bicubic"
            )
            for deep in (1, channels)
        )
        images = 150 * light + 80 * colour + 6 * torch.randn(8, 1, height, width, generator=generator)
        images = images.clamp(0, 255).round()
        out, _ = Jpeg(quality=(quality, quality), p=1)(images)
        wrong = []
        for image, found in zip(images, out.numpy(), strict=True):
            file = io.BytesIO()
            as_pillow(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
            stored = Image.open(file)
            for place, table in enumerate([LUMA, CHROMA][:channels]):
                assert tables(table, torch.tensor([quality])).tolist() == [list(stored.quantization[place])]
            wrong.append(np.abs(found - as_array(stored)).mean())
        # libjpeg computes in whole numbers: what lies half-way between two steps may go to the other one.
        assert np.mean(wrong) < (0.4 if channels == 1 else 1)

    def test_every_quality_is_drawn(self):
        image = faces(1).expand(60, -1, -1, -1)
        out, _ = seeded(Jpeg(quality=(40, 43), p=1), image)
        each = [Jpeg(quality=(quality, quality), p=1)(image[:1])[0] for quality in range(40, 44)]
        drawn = [next(number for number, one in enumerate(each) if torch.equal(one[0], found)) for found in out]
        assert set(drawn) == {0, 1, 2, 3}


class TestDegrade:
    @pytest.mark.parametrize(("height", "width", "side", "smaller"), [(48, 48, 24, (24, 24)), (40, 64, 32, (20, 32))])
    def test_agrees_with_pillow(self, height, width, side, smaller):
        images = faces(4, size=64)[:, :, :height, :width]
        out, _ = Degrade(side=(side, side), p=1)(images)
        for image, found in zip(images[:, 0].numpy(), out[:, 0].numpy(), strict=True):
            small = Image.fromarray(image).resize(smaller[::-1], Image.Resampling.BILINEAR)
            expected = small.resize((width, height), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(found, np.asarray(expected), atol=0.01)

    def test_every_side_is_drawn_and_larger_ones_leave_the_image(self):
        image = faces(1).expand(200, -1, -1, -1)
        out, _ = seeded(Degrade(side=(44, 51), p=1), image)
        each = [Degrade(side=(side, side), p=1)(image[:1])[0] for side in range(44, 49)]
        drawn = [[(found - one[0]).abs().max() < 1e-2 for one in each].index(True) for found in out]
        assert set(drawn) == {0, 1, 2, 3, 4}
        assert drawn.count(4) / 200 == pytest.approx(0.5, abs=0.11)  # 48, 49, 50 and 51 of eight sides
        assert torch.equal(each[4], image[:1])

    def test_a_colour_image_becomes_gray_in_all_channels(self):
        images = faces(channels=3)
        op = Degrade(side=(20, 20), p=1)
        out, _ = op(images)
        expected, _ = op(Gray()(images)[0])
        torch.testing.assert_close(out, expected.expand(-1, 3, -1, -1))


class TestPixels:
    def test_brightness_adds_one_number_to_an_image(self):
        images = faces(200) * 0.4 + 76  # 76 … 178, far enough from both ends
        change = (seeded(Brightness(change=0.2), images)[0] - images).flatten(1)
        torch.testing.assert_close(change, change[:, :1].expand_as(change), rtol=0, atol=1e-3)
        assert -51.001 <= change.min() < -48
        assert 48 < change.max() <= 51.001

    def test_contrast_keeps_the_mean_and_scales_the_distance_from_it(self):
        images = faces(200) * 0.3 + 90
        out, _ = seeded(Contrast(change=0.4), images)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        torch.testing.assert_close(out.mean(dim=(1, 2, 3), keepdim=True), mean, rtol=1e-5, atol=0)
        factor = out.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
        torch.testing.assert_close(out, mean + (images - mean) * factor[:, None, None, None], rtol=0, atol=1e-2)
        assert 0.599 <= factor.min() < 0.62
        assert 1.38 < factor.max() <= 1.401

    def test_gamma_is_a_power_of_the_share_of_white(self):
        images = faces(200).clamp(1, 254)
        out, _ = seeded(Gamma(exponent=(0.5, 2)), images)
        power = ((out / 255).log() / (images / 255).log())[:, 0, 10:20, 10:20].flatten(1).median(dim=1).values
        torch.testing.assert_close(out, 255 * (images / 255) ** power[:, None, None, None], rtol=1e-3, atol=1e-2)
        assert 0.499 <= power.min() < 0.53
        assert 1.95 < power.max() <= 2.001
        ends = torch.tensor([0.0, 255.0]).view(1, 1, 1, 2)
        assert torch.equal(Gamma()(ends)[0], ends)

    def test_noise_has_its_standard_deviation_in_gray_values(self):
        gray = torch.full((16, 1, 64, 64), 128.0)
        noise = seeded(Noise(sd=12), gray)[0] - gray
        assert noise.std().item() == pytest.approx(12, rel=0.02)
        assert noise.mean().item() == pytest.approx(0, abs=0.2)

    @pytest.mark.parametrize("sd", [0.4, 1.0, 2.3])
    def test_blur_agrees_with_scipy(self, sd):
        images = faces()
        out, _ = Blur(sd=(sd, sd), p=1)(images)
        expected = ndimage.gaussian_filter(images.numpy(), sd, mode="nearest", axes=(2, 3), radius=int(np.ceil(3 * sd)))
        np.testing.assert_allclose(out.numpy(), expected, atol=0.02)

    def test_blur_takes_images_smaller_than_its_kernel(self):
        assert Blur(sd=(3, 3), p=1)(torch.full((1, 1, 4, 4), 9.0))[0].flatten().tolist() == pytest.approx([9] * 16)

    def test_erasing_blacks_out_one_rectangle_of_its_area(self):
        images = torch.full((100, 3, SIZE, SIZE), 200.0)
        out, _ = seeded(Erasing(area=(0.1, 0.3), p=1), images)
        assert set(out.unique().tolist()) == {0, 200}
        for image in (out[:, 0] == 0).numpy():
            rows, columns = image.any(axis=1).nonzero()[0], image.any(axis=0).nonzero()[0]
            assert image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert 0.09 < image.mean() < 0.31


class TestNormalize:
    def test_one_value_for_all_channels_or_one_each(self):
        images = faces(channels=3)
        shares = images.double().numpy() / 255
        one, points = Normalize(mean=0.4, sd=0.2)(images)
        assert points is None
        np.testing.assert_allclose(one.numpy(), (shares - 0.4) / 0.2, atol=1e-5)
        mean, sd = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        each = Normalize(mean=mean, sd=sd)(images)[0].numpy()
        np.testing.assert_allclose(each, (shares - np.reshape(mean, (3, 1, 1))) / np.reshape(sd, (3, 1, 1)), atol=1e-5)

    def test_as_many_values_as_channels(self):
        with pytest.raises(MienError) as error:
            Pipeline([Normalize(mean=(0.1, 0.2, 0.3))]).output_shape((1, 48, 48))
        assert str(error.value) == ("normalize has 3 values for images of 1 channel in mean; expected one value or 1")

    def test_is_the_last_op(self):
        with pytest.raises(MienError) as error:
            Pipeline([Normalize(), Resize(size=64)])
        assert str(error.value) == "an op stands after normalize; expected normalize as the last op"


class TestStandardize:
    def test_light_and_contrast_of_an_image_tell_nothing(self):
        images = faces(channels=3)
        out, points = Standardize()(images)
        assert points is None
        values = images.double().numpy()
        mean, variance = (of(values, axis=(1, 2, 3), keepdims=True) for of in (np.mean, np.var))
        np.testing.assert_allclose(out.numpy(), (values - mean) / np.sqrt(variance + 64), atol=1e-5)
        dim, _ = Standardize()(images * 0.5 + 40)
        np.testing.assert_allclose(dim.numpy(), out.numpy(), atol=0.1)

    def test_a_blank_image_is_zero(self):
        assert Standardize()(torch.full((2, 1, 4, 4), 255.0))[0].abs().max() == 0

    def test_is_the_last_op(self):
        with pytest.raises(MienError) as error:
            Pipeline([Standardize(), Resize(size=64)])
        assert str(error.value) == "an op stands after standardize; expected standardize as the last op"


class TestResize:
    @pytest.mark.parametrize("size", [17, 48, 64, 100])
    def test_agrees_with_pillow(self, size):
        images = faces(2)
        out, _ = Resize(size=size)(images)
        for image, found in zip(images[:, 0].numpy(), out[:, 0].numpy(), strict=True):
            expected = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(found, np.asarray(expected), atol=0.01)

    def test_points_keep_their_place_between_the_edges(self):
        points = torch.tensor([[[-0.5, 47.5], [23.5, 23.5]]])
        _, moved = Resize(size=96)(torch.zeros(1, 1, 48, 48), points)
        assert moved.tolist() == [[[-0.5, 95.5], [47.5, 47.5]]]

    def test_width_and_height_may_differ(self):
        images, points = Resize(size=20)(torch.zeros(1, 1, 10, 40), torch.tensor([[[39.5, 9.5]]]))
        assert images.shape == (1, 1, 20, 20)
        assert points.tolist() == [[[19.5, 19.5]]]


class TestRepeatChannels:
    def test_each_channel_is_the_gray_image(self):
        images = faces()
        out, _ = RepeatChannels(n=3)(images)
        assert torch.equal(out, torch.cat([images] * 3, dim=1))

    def test_takes_gray_images_alone(self):
        with pytest.raises(MienError) as error:
            RepeatChannels()(faces(channels=3))
        assert str(error.value) == "repeat_channels got images of 3 channels; expected gray images of 1 channel"


class TestPipeline:
    def test_without_ops_it_gives_back_what_it_gets(self):
        images, points = faces(), points_of()
        out = Pipeline([])(images, points)
        assert out[0] is images
        assert out[1] is points
        assert Pipeline([]).random is False
        assert Pipeline([]).output_shape((1, 48, 40)) == (1, 48, 40)

    def test_runs_its_ops_in_order(self):
        one, other = Brightness(change=0.3), Gamma(exponent=(2, 2))
        torch.manual_seed(3)
        expected, _ = other(one(faces())[0])
        assert torch.equal(seeded(Pipeline([one, other]), faces(), seed=3)[0], expected)
        assert not torch.equal(seeded(Pipeline([other, one]), faces(), seed=3)[0], expected)

    def test_is_random_when_an_op_is_or_does_not_say(self):
        assert Pipeline([Resize(size=9), RepeatChannels(), Normalize()]).random is False
        assert Pipeline([Resize(size=9), Noise()]).random is True
        assert Pipeline([lambda images, points=None: (images, points)]).random is True

    def test_its_output_shape_leaves_torchs_generator_alone(self):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        assert Pipeline([Noise(), RepeatChannels(n=4), Resize(size=20)]).output_shape((1, 48, 40)) == (4, 20, 20)
        assert torch.equal(torch.get_rng_state(), before)

    @settings(deadline=None, max_examples=25)
    @given(st.booleans(), st.lists(st.sampled_from([*RANDOM.keys() - {"frame"}]), max_size=5), st.integers(0, 100))
    def test_any_list_of_ops_keeps_the_range_and_its_seed_fixes_it(self, framed, chosen, seed):
        pipeline = Pipeline([op_of(name, **RANDOM[name]) for name in ["frame"] * framed + chosen])
        images, points = faces(4, channels=3), points_of(4)
        out, moved = seeded(pipeline, images, points, seed)
        again = seeded(pipeline, images, points, seed)
        assert torch.equal(out, again[0])
        assert torch.equal(moved, again[1])
        assert out.min() >= 0
        assert out.max() <= 255
        assert torch.isfinite(moved).all()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("flip", {"p": 1.1}),
        ("flip", {"probability": 0.5}),
        ("affine", {"rotate": -1}),
        ("affine", {"scale": [1.1, 0.9]}),
        ("affine", {"scale": [0, 1]}),
        ("affine", {"scale": [1]}),
        ("affine", {"shift": 1.5}),
        ("crop", {"padding": 0}),
        ("brightness", {"change": 2}),
        ("contrast", {"change": -0.1}),
        ("gamma", {"exponent": [2, 1]}),
        ("noise", {"sd": 0}),
        ("blur", {"sd": [1, 0.5]}),
        ("erasing", {"area": [0.3, 0.1]}),
        ("erasing", {"area": [0.1, 1.1]}),
        ("normalize", {"mean": 1.5}),
        ("normalize", {"sd": 0}),
        ("normalize", {"sd": []}),
        ("normalize", {"mean": [0.5, 127]}),
        ("resize", {}),
        ("resize", {"size": 0}),
        ("repeat_channels", {"n": 1}),
        ("frame", {"widen": [1, 2.1]}),
        ("frame", {"widen": [0, 1]}),
        ("frame", {"widen": [1.2, 1.1]}),
        ("frame", {"shift": -0.1}),
        ("frame", {"rotate": 181}),
        ("frame", {"partial": 1.1}),
        ("frame", {"p": 0.5}),
        ("saturation", {"change": 1.1}),
        ("hue", {"change": 0.6}),
        ("jpeg", {"quality": [0, 50]}),
        ("jpeg", {"quality": [50, 101]}),
        ("jpeg", {"quality": [60, 50]}),
        ("degrade", {"side": [0, 10]}),
        ("degrade", {"side": [24.5, 30]}),
        ("degrade", {"side": [96, 24]}),
        ("gray", {"p": 1}),
    ],
)
def test_what_a_file_may_not_say(name, wrong):
    with pytest.raises(ValidationError):
        entry("op", name).spec(**wrong)


def test_a_range_upside_down_says_so():
    with pytest.raises(ValidationError, match=r"\[low, high\] with low at most high"):
        entry("op", "gamma").spec(exponent=[2, 1])


def test_kornia_is_imported_when_an_op_needs_it():
    code = """
import sys
from mien.augment import *
from mien.augment.geometry import Flip
from mien.augment.jpeg import Jpeg
from mien.augment.light import Brightness, Contrast, Gamma, Saturation
from mien.augment.quality import Degrade, Noise
Pipeline([Brightness(), Contrast(), Gamma(), Noise(), Degrade(), Jpeg(), RepeatChannels(), Saturation(), Gray()])
Pipeline([Resize(size=9), Normalize()])
assert "kornia" not in sys.modules, "too early"
Flip()
assert "kornia" in sys.modules, "never"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
