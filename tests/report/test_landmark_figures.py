"""The figures of points: their numbers, what they say, and that marks lie on the pixels they mean."""

import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from mien.data.synthetic import faces
from mien.metrics.nme import measure_points
from mien.report import landmark_figures as figures
from mien.report import style

CAPTION = style.Caption(
    ("landmarks-small/2 · report: test", "n = 60"), "contaminated: 5 % of these rows were trained on"
)

SAID = {"heading": "Faces", "caption": CAPTION}


def drawn(n=4, size=48, color="gray"):
    """Faces, their points, and points near them."""
    found = list(faces(n, size=size, color=color, seed=3))
    images = [image if image.ndim == 3 else image[:, :, None] for image, _, _ in found]
    true = np.stack([points for _, _, points in found]).astype(np.float64)
    return images, true + np.random.default_rng(0).normal(0, 0.02 * size, true.shape), true


def measured(names=("landmarks-small", "$mean shape$")):
    true = np.stack([points for _, _, points in faces(60, size=48, seed=1)]).astype(np.float64)
    random = np.random.default_rng(0)
    return {
        name: measure_points(true + random.normal(0, sd, true.shape), true, draws=100)
        for name, sd in zip(names, (0.8, 1.6, 2, 3, 4), strict=False)
    }


def all_figures():
    images, predicted, true = drawn()
    said = {"heading": "The largest errors", "caption": CAPTION}
    return {
        "error-curve": figures.error_curve(measured(), CAPTION),
        "group-bars": figures.group_bars(measured(), CAPTION),
        "overlays": figures.overlays(images, predicted, true, [f"row {i}" for i in range(4)], **said),
    }


def test_each_figure_says_what_was_measured():
    for name, made in all_figures().items():
        text = style.svg(made)
        for line in (*CAPTION.lines, CAPTION.warning):
            assert f">{line}</text>" in text, name


def test_figures_are_light():
    sizes = {name: len(style.png(made)) for name, made in all_figures().items()}
    assert sizes["error-curve"] < 60_000
    assert sizes["group-bars"] < 60_000
    assert sizes["overlays"] < 120_000


def test_figures_are_the_same_for_the_same_data():
    for one, other in zip(all_figures().values(), all_figures().values(), strict=True):
        assert style.svg(one) == style.svg(other)


class TestErrorCurve:
    def test_it_draws_the_curves_in_percent(self):
        results = measured()
        ax = figures.error_curve(results, CAPTION).axes[0]
        lines = ax.get_lines()[:2]
        for line, found in zip(lines, results.values(), strict=True):
            np.testing.assert_allclose(line.get_xdata(), 100 * np.array(found["ced"]["threshold"]))
            np.testing.assert_allclose(line.get_ydata(), 100 * np.array(found["ced"]["share"]))
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 2
        assert len({line.get_linestyle() for line in lines}) == 2
        assert ax.get_lines()[2].get_xdata() == [8, 8]
        assert ax.get_xlabel() == "error in % of the distance of the outer eye corners"

    def test_its_legend_has_the_numbers_with_their_intervals(self):
        found = {
            "nme_outer_eyes": 0.04804,
            "failure_rate_8": 0.0212,
            "auc_8": 0.4256,
            "ced": {"threshold": [0.0, 0.1], "share": [0.0, 1.0]},
            "interval": {"nme_outer_eyes": [0.046, 0.05], "failure_rate_8": [0.01, 0.044], "auc_8": [0.4, 0.45]},
        }
        made = figures.error_curve({"$small$": found}, CAPTION)
        assert [text.get_text() for text in made.legends[0].get_texts()] == [
            "$small$: mean 4.80 % [4.60, 5.00]\nAUC 0.426 [0.400, 0.450], 2.1 % [1.0, 4.4] fail"
        ]


class TestGroupBars:
    def test_it_has_a_bar_with_its_interval_for_every_group_and_for_all(self):
        results = measured()
        made = figures.group_bars(results, CAPTION)
        ax = made.axes[0]
        widths = [bar.get_width() for bar in ax.patches]
        expected = [
            100 * value
            for found in results.values()
            for value in (found["nme_outer_eyes"], *found["by_group"].values())
        ]
        assert widths == pytest.approx(expected)
        ends = [line.get_xdata() for line in ax.get_lines()]
        found = results["landmarks-small"]["interval"]
        assert ends[0] == pytest.approx([100 * end for end in found["nme_outer_eyes"]])
        assert ends[5] == pytest.approx([100 * end for end in found["by_group"]["lips"]])
        assert [text.get_text() for text in ax.texts] == [f"{value:.1f}" for value in expected]
        assert [label.get_text() for label in ax.get_yticklabels()] == [
            *("all\n68 points", "jaw\n17 points", "brows\n10 points", "nose\n9 points", "eyes\n12 points"),
            "lips\n20 points",
        ]
        assert [text.get_text() for text in made.legends[0].get_texts()] == [
            "landmarks-small, 95 %",
            "$mean shape$, 95 %",
        ]

    def test_its_order_is_that_of_the_groups_whatever_the_results_is(self):
        found = measured(("a",))["a"]
        turned = {**found, "by_group": dict(sorted(found["by_group"].items()))}
        one, other = (figures.group_bars({"a": of}, CAPTION).axes[0].patches for of in (found, turned))
        assert [bar.get_width() for bar in one] == [bar.get_width() for bar in other]

    def test_bars_of_a_place_do_not_overlap(self):
        bars = figures.group_bars(measured(tuple("abcde")), CAPTION).axes[0].patches
        spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars)
        assert len(spans) == 30
        assert all(one[1] < other[0] for one, other in pairwise(spans))


@pytest.mark.parametrize("draw", [figures.error_curve, figures.group_bars])
def test_more_results_than_looks_are_refused(draw):
    found = measured(("a",))["a"]
    draw(dict.fromkeys("abcde", found), CAPTION)
    with pytest.raises(ValueError, match="6 results, not 1 to 5"):
        draw(dict.fromkeys("abcdef", found), CAPTION)
    with pytest.raises(ValueError, match="0 results, not 1 to 5"):
        draw({}, CAPTION)


def vertices(ax):
    """The corners of each path in order: lines that join, rings, crosses (or crosses alone)."""
    return [patch.get_path().vertices for patch in ax.patches]


class TestOverlays:
    def test_marks_are_centred_on_their_points(self):
        images, predicted, true = drawn(2)
        for ax, one, other in zip(
            figures.overlays(images, predicted, true, ["a", "b"], **SAID).axes, predicted, true, strict=True
        ):
            joins, rings, crosses = vertices(ax)
            np.testing.assert_allclose(joins.reshape(68, 2, 2), np.stack([one, other], axis=1))
            np.testing.assert_allclose(rings.reshape(68, 9, 2)[:, :8].mean(axis=1), other, atol=1e-9)
            for strokes in crosses.reshape(2, 68, 2, 2):
                np.testing.assert_allclose(strokes.mean(axis=1), one, atol=1e-9)
            # The colours differ in brightness too.
            colors = [np.mean(patch.get_edgecolor()[:3]) for patch in ax.patches]
            assert colors[1] == colors[0] != colors[2]

    def test_without_true_points_there_are_crosses_alone(self):
        images, predicted, _ = drawn(3)
        made = figures.overlays(images, predicted, None, ["a", "b\n2", "c"], **SAID)
        assert [len(vertices(ax)) for ax in made.axes[:3]] == [1, 1, 1]
        assert [text.get_text() for text in made.legends[0].get_texts()] == ["predicted"]
        assert [ax.get_title(loc="left") for ax in made.axes] == ["a", "b\n2", "c"]

    @pytest.mark.parametrize("size", [48, 500])
    def test_a_mark_lies_on_its_pixel(self, size):
        image = np.full((size, size, 3), 128, np.uint8)
        block = size // 16
        image[5 * block : 6 * block, 11 * block : 12 * block] = (255, 0, 0)
        centre = np.array([11.5 * block - 0.5, 5.5 * block - 0.5])
        plain, crossed = (
            np.asarray(
                Image.open(
                    io.BytesIO(style.png(figures.overlays([image], np.tile(at, (1, 68, 1)), None, ["a"], **SAID)))
                ).convert("RGB")
            ).astype(int)
            for at in ([size / 2, size * 0.9], centre)
        )
        red = (np.abs(plain - [255, 0, 0]).max(axis=2) < 60).nonzero()
        blue = (np.abs(crossed - 255 * np.array(to_rgb("#56B4E9"))).max(axis=2) < 60).nonzero()
        # The legend has the same mark, at the picture's lower end.
        upper = blue[0] < red[0].max() + 20
        for axis in (0, 1):
            assert blue[axis][upper].mean() == pytest.approx(red[axis].mean(), abs=1.5)

    def test_points_beyond_the_image_are_shown_to_a_quarter_of_its_side(self):
        images, predicted, _ = drawn(3)
        predicted[1, 0] = [-6, 20]
        predicted[2, 0] = [400, -300]
        inside = np.clip(predicted[0], 2, 45)
        made = figures.overlays(images, np.stack([inside, *predicted[1:]]), None, ["a", "b", "c"], **SAID)
        assert made.axes[0].get_xlim() == (-0.5, 47.5)
        assert made.axes[0].get_ylim() == (47.5, -0.5)
        assert made.axes[1].get_xlim()[0] == pytest.approx(-6 - 0.96)
        assert made.axes[2].get_xlim()[1] == 48 + 12
        assert made.axes[2].get_ylim()[1] == -12

    def test_large_pictures_are_made_smaller_and_keep_their_coordinates(self):
        wide = np.zeros((300, 900, 3), np.uint8)
        made = figures.overlays([wide], np.full((1, 68, 2), 200.0), None, ["a"], **SAID)
        shown = made.axes[0].images[0]
        assert shown.get_array().shape == (107, 320, 3)
        assert shown.get_extent() == [-0.5, 899.5, 299.5, -0.5]
        assert made.axes[0].get_xlim() == (-0.5, 899.5)

    def test_faces_fill_line_after_line(self):
        images, predicted, true = drawn(5)
        made = figures.overlays(images, predicted, true, list("abcde"), columns=3, **SAID)
        assert len(made.axes) == 6
        assert [len(ax.images) for ax in made.axes] == [1, 1, 1, 1, 1, 0]

    def test_counts_must_agree(self):
        images, predicted, true = drawn(2)
        for arguments in (
            (images, predicted, true, ["a"]),
            (images[:1], predicted, true, ["a", "b"]),
            (images, predicted, true[:1], ["a", "b"]),
            ([], predicted[:0], None, []),
        ):
            with pytest.raises(ValueError, match="images"):
                figures.overlays(*arguments, **SAID)
