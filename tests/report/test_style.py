"""Figures for a paper, and letters that the figures' font lacks."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from mien.report import figures, style

SAID = style.Caption(("cnn1/1 · protocol official", "n = 7"), "contaminated: 67 % of these rows were trained on")
HISTORY = {
    "epoch": np.arange(1.0, 4.0),
    **{f"{role}_{key}": np.array([0.5, 0.4, 0.3]) for role in ("fit", "choose") for key in ("loss", "accuracy")},
}


def box(pdf: bytes) -> list[float]:
    """The width and height of a PDF's page in inches."""
    found = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    assert found is not None
    return [float(side) / 72 for side in found.groups()]


def test_a_figure_for_a_paper_is_bare_and_its_caption_is_beside_it(tmp_path: Path) -> None:
    made = figures.curves(HISTORY, SAID, rows=7)
    with style.printing():
        style.save(made, tmp_path / "curves")
    assert (tmp_path / "curves.txt").read_text() == (
        "Training: loss and accuracy\ncnn1/1 · protocol official\nn = 7\n"
        "contaminated: 67 % of these rows were trained on\n"
    )
    with Image.open(tmp_path / "curves.png") as drawn:
        width, height = drawn.size
    # Heading 0.3 in, three lines of 0.16 in.
    assert np.allclose(box((tmp_path / "curves.pdf").read_bytes()), [width / 160, height / 160 - 0.78], atol=0.01)
    again = figures.curves(HISTORY, SAID, rows=7)
    assert style.pdf(again) == (tmp_path / "curves.pdf").read_bytes()


def test_without_being_asked_for_there_is_no_pdf_and_an_older_one_goes(tmp_path: Path) -> None:
    with style.printing():
        style.save(figures.curves(HISTORY, SAID), tmp_path / "curves")
    style.save(figures.curves(HISTORY, SAID), tmp_path / "curves")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "curves.svg"]
    with style.printing(wanted=False):
        assert style.printed(figures.curves(HISTORY, SAID)) == {}


def test_legends_keep_away_from_the_edge() -> None:
    for panels in (figures.PANELS, figures.PANELS[1:]):
        made = figures.curves(HISTORY, SAID, panels, rows=3589)
        style.svg(made)
        width = made.get_size_inches()[0] * made.dpi
        for ax in made.axes:
            found = ax.get_legend().get_window_extent()
            assert found.x0 > 0.02 * made.dpi
            assert found.x1 < width - 0.02 * made.dpi


def test_letters_without_a_glyph_are_named() -> None:
    assert style.glyph_note(["happy", "Ärger", "грусть"]) == ""
    assert style.glyph_note(["高兴", "happy", "高"]) == (
        "The figures' font has no glyph for 高, 兴: PNG and PDF files show empty boxes there; SVG files and pages "
        "don't."
    )
    assert "一, 丁, 丂, 七, 丄, 丅, 丆, 万, …: PNG" in style.glyph_note(map(chr, range(0x4E00, 0x4E20)))
