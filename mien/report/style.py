"""One look for every figure: colours that colour-blind readers tell apart, sizes that a phone shows, stable bytes."""

import contextlib
import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from mien.files import write_bytes, write_text

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, FAINT, ALARM = "#24292F", "#8C959F", "#A63A00"
# Dark enough that white text on three quarters of it has a contrast of 4.5.
DEEP = "#004B80"

WIDTH = 4.2  # Inches; about the width of a phone, so that the letters keep their size there.
_DPI = 160

_RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    # Letters stay letters: a tenth of the bytes of outlines, and they can be searched and read aloud.
    "svg.fonttype": "none",
    # A class may be called "$5$".
    "text.parse_math": False,
    "svg.hashsalt": "mien",
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw and save figures in mien's style; outside of it matplotlib's settings are as they were."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Names in scripts that the font lacks are boxes in a PNG, and themselves in SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


@dataclass(frozen=True)
class Caption:
    """What a figure shows: lines of text, and a warning that must not be overlooked ("" for none)."""

    lines: tuple[str, ...]
    warning: str = ""


def figure(
    heading: str,
    caption: Caption,
    height: float,
    columns: int = 1,
    width: float = WIDTH,
    rows: Sequence[float] = (1.0,),
) -> tuple[Figure, list[Axes]]:
    """A figure with axes in `width` × `height` inches, and above them its heading and caption.

    They stand side by side, or with `rows` one above the other, with these parts of the height.
    """
    # Sixteen letters of 8 points an inch.
    lines = [part for line in caption.lines for part in textwrap.wrap(line, int(16 * width))]
    warning = textwrap.wrap(caption.warning, int(14 * width))
    top = 0.3 + 0.16 * len(lines + warning)
    height += top
    made = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(made)
    axes = list(made.subplots(len(rows), columns, squeeze=False, height_ratios=rows).ravel())
    made.text(0.01, 1 - 0.05 / height, heading, va="top", fontsize=10, fontweight="bold")
    for number, line in enumerate(lines + warning):
        strong: dict[str, Any] = {"color": ALARM, "fontweight": "bold"} if number >= len(lines) else {}
        made.text(0.01, 1 - (0.26 + 0.16 * number) / height, line, va="top", fontsize=8, **strong)
    engine = made.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, 0, 1, 1 - top / height), h_pad=0.06)
    return made, axes


def _placed(made: Figure) -> None:
    """Give everything its place, once: else each file would be drawn twice, the first time to find the places."""
    engine = made.get_layout_engine()
    if engine is not None:
        engine.execute(made)
        made.set_layout_engine(None)


def svg(made: Figure) -> str:
    """The figure as SVG: the same text for the same data."""
    text = io.StringIO()
    with styled():
        _placed(made)
        made.savefig(text, format="svg", metadata={"Date": None, "Creator": "mien"})
    # Verdana has DejaVu's widths.
    return text.getvalue().replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def png(made: Figure) -> bytes:
    """The figure as a PNG of 160 dots an inch."""
    drawn = io.BytesIO()
    with styled():
        _placed(made)
        made.savefig(drawn, format="png", dpi=_DPI, pil_kwargs={"compress_level": 0})
    # 256 colours are a third of the bytes; areas keep theirs, only the edges of letters are off by a few steps of 255.
    few = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    few.save(packed, "png", optimize=True, dpi=(_DPI, _DPI))
    return packed.getvalue()


def save(made: Figure, stem: Path) -> str:
    """Write `<stem>.png` and `<stem>.svg`; returns the SVG."""
    write_bytes(stem.with_name(stem.name + ".png"), png(made))
    text = svg(made)
    write_text(stem.with_name(stem.name + ".svg"), text)
    return text
