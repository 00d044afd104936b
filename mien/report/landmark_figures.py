"""The figures of predicted points, drawn from plain data: how large the errors are, where, and on which faces.

Results are what `nme.measure_points` gives, by the name that the legend says. All errors are shares of the distance
of the outer eye corners.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from mien.faces.ibug import GROUPS, POINTS
from mien.images import Pixels
from mien.metrics.nme import LIMIT, Points
from mien.report.style import BLUE, FAINT, GREEN, INK, ORANGE, VERMILION, Caption, figure, styled
from mien.report.wording import in_percent, scored

Results = Mapping[str, Mapping[str, Any]]

_OF = "% of the distance of the outer eye corners"
_LOOKS = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), (ORANGE, ":"), (INK, (0, (1, 2))))
# Okabe and Ito's sky blue and their yellow: light enough for dark faces, with a dark rim for light ones.
_PREDICTED, _TRUE, _RIM = "#56B4E9", "#F0E442", "#1B1F24"
_LARGEST = 320  # px; of a larger picture a cell shows no more


def error_curve(results: Results, caption: Caption) -> Figure:
    """The share of faces (upwards) with at most an error (across), for up to five results; 8 % is marked.

    The legend has each result's mean error, AUC at 8 % and failure rate with their 95 % intervals.
    """
    with styled():
        made, (ax,) = figure("Cumulative error", caption, 2.9 + 0.32 * len(results))
        lines = []
        for name, found, color, line in _looks(results):
            places, share = 100 * np.array(found["ced"]["threshold"]), 100 * np.array(found["ced"]["share"])
            label = (
                f"{name}: mean {in_percent(found, 'nme_outer_eyes', unit=' %')}\n"
                f"AUC {scored(found, 'auc_8')}, {in_percent(found, 'failure_rate_8', 1, unit=' %')} fail"
            )
            lines += ax.plot(places, share, color=color, linestyle=line, label=label)
        ax.axvline(100 * LIMIT, color=FAINT, linewidth=0.8, linestyle=":")
        ax.annotate("fails beyond", (100 * LIMIT, 102), (0, 2), textcoords="offset points", ha="center", fontsize=7)
        ax.set_xlim(0, 10)
        ax.set_ylim(0, 102)
        ax.set_xlabel(f"error in {_OF}")
        ax.set_ylabel("% of the faces")
        ax.grid()
        made.legend(handles=lines, loc="outside lower left", handlelength=2.4)
        return made


def group_bars(results: Results, caption: Caption) -> Figure:
    """The mean error of all points and of each group of points as bars with 95 % intervals, for up to five results."""
    places = np.arange(1 + len(GROUPS), dtype=float)
    thick = 0.8 / max(len(results), 1)
    with styled():
        made, (ax,) = figure("Error by group", caption, 0.9 + len(places) * (0.18 + 0.18 * len(results)))
        largest = 0.0
        for number, (name, found, color, _) in enumerate(_looks(results)):
            values, ends = (
                100 * np.array([of["nme_outer_eyes"], *(of["by_group"][group] for group in GROUPS)])
                for of in (found, found["interval"])
            )
            at = places + thick * (number - (len(results) - 1) / 2)
            ax.barh(at, values, 0.9 * thick, color=color, label=f"{name}, 95 %")
            for place, value, pair in zip(at, values, ends, strict=True):
                ax.plot(pair, [place, place], color=INK, linewidth=1, marker="|", markersize=4)
                ax.annotate(f"{value:.1f}", (pair[1], place), (4, 0), textcoords="offset points", va="center", size=7)
            largest = max(largest, float(ends.max()))
        names = [f"all\n{POINTS} points", *(f"{name}\n{len(points)} points" for name, points in GROUPS.items())]
        ax.set_yticks(places, names)
        ax.set_ylim(len(places) - 0.45, -0.55)
        ax.set_xlim(0, 1.12 * largest or 1)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.set_xlabel(f"mean error in {_OF}")
        made.legend(loc="outside lower center", ncols=2 if len(results) < 5 else 3)
        return made


def overlays(
    images: Sequence[Pixels],
    predicted: Points,
    true: Points | None,
    captions: Sequence[str],
    *,
    heading: str,
    caption: Caption,
    columns: int = 4,
) -> Figure:
    """Faces with their points, `columns` to a line: predicted ones are crosses, true ones rings, a line joins the two.

    `images` are uint8 (h, w, 1 or 3) of any sizes; `predicted` and `true` are (n, 68, 2), pixel centres from 0 of these
    images; `captions` stand over the faces, of one or two short lines. Points beyond the image are shown to a quarter
    of its side. Pictures of faces are lighter as PNG (`style.png`) than as SVG. Raises ValueError for no images, and
    where their number isn't that of the points or the captions.
    """
    if (
        not images
        or not len(images) == len(predicted) == len(captions)
        or (true is not None and len(true) != len(images))
    ):
        raise ValueError(f"{len(images)} images, {len(predicted)} times points, {len(captions)} captions")
    columns = min(columns, len(images))
    lines = -(-len(images) // columns)
    over = max(text.count("\n") + 1 for text in captions)
    width = 7.2 if columns > 2 else 4.2
    with styled():
        height = lines * (width / columns + 0.16 * over) + 0.3
        made, axes = figure(heading, caption, height, columns, width, (1.0,) * lines)
        for ax in axes:
            ax.set_axis_off()
            ax.set_anchor("N")
        for number, (ax, image, text) in enumerate(zip(axes, images, captions, strict=False)):
            _face(ax, image, predicted[number], None if true is None else true[number])
            ax.set_title(text, fontsize=8, fontweight="normal", pad=3)
        rim = [Stroke(linewidth=2.2, foreground=_RIM), Normal()]
        marks = [Line2D([], [], color=_PREDICTED, marker="x", linestyle="", label="predicted", path_effects=rim)]
        if true is not None:
            marks.append(Line2D([], [], color=_TRUE, marker="o", linestyle="", label="true", path_effects=rim))
            marks[-1].set_markerfacecolor("none")
        made.legend(handles=marks, loc="outside lower center", ncols=2)
        return made


def _looks(results: Results) -> Iterator[tuple[str, Mapping[str, Any], str, Any]]:
    if not 0 < len(results) <= len(_LOOKS):
        raise ValueError(f"{len(results)} results, not 1 to {len(_LOOKS)}")
    for (name, found), (color, line) in zip(results.items(), _LOOKS, strict=False):
        yield name, found, color, line


def _face(ax: Axes, image: Pixels, predicted: Points, true: Points | None) -> None:
    height, width = image.shape[:2]
    side = max(height, width)
    shown = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if side > _LARGEST:
        size = [max(round(length * _LARGEST / side), 1) for length in (width, height)]
        shown = shown.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    # Pixel centres stay those of the image given; each pixel of a small one stays a square.
    box = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(np.asarray(shown), cmap="gray", vmin=0, vmax=255, extent=box, interpolation="none")

    both = predicted if true is None else np.concatenate([predicted, true])
    low = np.clip(both.min(axis=0) - 0.02 * side, -side / 4, -0.5)
    high = np.clip(both.max(axis=0) + 0.02 * side, [width - 0.5, height - 0.5], [width + side / 4, height + side / 4])
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(high[1], low[1])

    # Marks are parts of one path, in parts of what is shown: 68 single ones would be ten times the bytes.
    reach = 0.0095 * float((high - low).max())
    if true is not None:
        turn = np.linspace(0, 2 * np.pi, 9)
        ring = reach * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        _draw(ax, np.stack([predicted, true], axis=1), _TRUE, 0.6)
        _draw(ax, true[:, None] + ring, _TRUE, 0.9)
    stroke = reach * np.array([[-1, -1], [1, 1]])
    _draw(ax, np.concatenate([predicted[:, None] + stroke, predicted[:, None] + stroke * [1, -1]]), _PREDICTED, 1.0)


def _draw(ax: Axes, lines: Points, color: str, thick: float) -> None:
    """All lines (n, corners, 2) of one colour, with a dark rim."""
    codes = np.full(lines.shape[:2], Outline.LINETO)
    codes[:, 0] = Outline.MOVETO
    patch = PathPatch(Outline(lines.reshape(-1, 2), codes.ravel()), fill=False, edgecolor=color, linewidth=thick)
    patch.set_path_effects([Stroke(linewidth=thick + 1, foreground=_RIM), Normal()])
    patch.set_in_layout(False)
    ax.add_patch(patch)
