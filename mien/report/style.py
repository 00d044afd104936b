"""One look for every figure: colours that colour-blind readers tell apart, sizes that a phone shows, stable bytes."""

import contextlib
import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox
from PIL import Image

from mien.files import write_bytes, write_text

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, FAINT, ALARM = "#24292F", "#8C959F", "#A63A00"
# Dark enough that white text on three quarters of it has a contrast of 4.5.
DEEP = "#004B80"

_EDGE = 0.05  # inches
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


class Told(Figure):
    """A figure that knows what is said above it, and how many inches that takes."""

    heading: str
    caption: Caption
    top: float


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
    made = Told(figsize=(width, height), dpi=_DPI, layout="constrained")
    made.heading, made.caption, made.top = heading, caption, top
    FigureCanvasAgg(made)
    axes = list(made.subplots(len(rows), columns, squeeze=False, height_ratios=rows).ravel())
    made.text(0.01, 1 - 0.05 / height, heading, va="top", fontsize=10, fontweight="bold")
    for number, line in enumerate(lines + warning):
        strong: dict[str, Any] = {"color": ALARM, "fontweight": "bold"} if number >= len(lines) else {}
        made.text(0.01, 1 - (0.26 + 0.16 * number) / height, line, va="top", fontsize=8, **strong)
    engine = made.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    # A legend that stands outside of the axes would touch the edge.
    edge = (_EDGE / width, _EDGE / height)
    engine.set(rect=(edge[0], edge[1], 1 - 2 * edge[0], 1 - 2 * edge[1] - top / height), h_pad=0.06)
    return made, axes


def _placed(made: Figure) -> None:
    """Give everything its place, once: else each file would be drawn twice, the first time to find the places."""
    engine = made.get_layout_engine()
    if engine is not None:
        engine.execute(made)
        made.set_layout_engine(None)
        for ax in made.axes:
            # The solver's last digits differ from one call to the next, and the SVG would.
            ax.set_position(Bbox(np.round(ax.get_position(original=True).get_points(), 9)))


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


# Whether figures that are saved are also written for a paper.
_PRINTED: ContextVar[bool] = ContextVar("printed", default=False)


@contextlib.contextmanager
def printing(wanted: bool = True) -> Iterator[None]:
    """Inside of it, `save` also writes a figure as a bare PDF, with what is said above it as text beside it."""
    before = _PRINTED.set(wanted)
    try:
        yield
    finally:
        _PRINTED.reset(before)


def printed(made: Figure) -> dict[str, bytes]:
    """The files for a paper by their ending, where `printing` asks for them; {} elsewhere."""
    return {".pdf": pdf(made), ".txt": spoken(made).encode()} if _PRINTED.get() else {}


def pdf(made: Figure) -> bytes:
    """The figure as PDF, letters as TrueType, without what is said above it; the same bytes for the same data."""
    drawn = io.BytesIO()
    with styled(), matplotlib.rc_context({"pdf.fonttype": 42}):
        _placed(made)
        width, height = made.get_size_inches()
        box = Bbox([[0, 0], [width, height - made.top]]) if isinstance(made, Told) else None
        made.savefig(drawn, format="pdf", bbox_inches=box, metadata={"CreationDate": None, "Creator": "mien"})
    return drawn.getvalue()


def spoken(made: Figure) -> str:
    """What is said above a figure, as text: heading, lines, warning."""
    if not isinstance(made, Told):
        return ""
    return "".join(f"{line}\n" for line in (made.heading, *made.caption.lines, made.caption.warning) if line)


def save(made: Figure, stem: Path) -> str:
    """Write `<stem>.png` and `<stem>.svg`, inside of `printing` `.pdf` and `.txt` as well; returns the SVG."""
    write_bytes(stem.with_name(stem.name + ".png"), png(made))
    text = svg(made)
    write_text(stem.with_name(stem.name + ".svg"), text)
    files = printed(made)
    for ending in (".pdf", ".txt"):
        if ending in files:
            write_bytes(stem.with_name(stem.name + ending), files[ending])
        else:
            # An older one would tell older numbers.
            stem.with_name(stem.name + ending).unlink(missing_ok=True)
    return text


def without_glyph(texts: Iterable[str]) -> str:
    """The characters of some texts that the figures' font has no shape for, each once; "" where it has all.

    A PNG or PDF has an empty box for each; an SVG, and so a page, has the reader's fonts.

    >>> without_glyph(["happy", "高兴", "高"])
    '高兴'
    """
    known = get_font(findfont(_RC["font.family"][0])).get_charmap()
    return "".join(
        dict.fromkeys(mark for text in texts for mark in text if ord(mark) not in known and mark.isprintable())
    )


def glyph_note(texts: Iterable[str]) -> str:
    """A sentence on `without_glyph`; "" where nothing is lacking."""
    lacking = without_glyph(texts)
    if not lacking:
        return ""
    return (
        f"The figures' font has no glyph for {', '.join(lacking[:_NAMED])}{', …' if len(lacking) > _NAMED else ''}: "
        "PNG and PDF files show empty boxes there; SVG files and pages don't."
    )


_NAMED = 8  # characters that a sentence names
