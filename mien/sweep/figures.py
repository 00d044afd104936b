"""The figures of a sweep: trials as lines across their values, and the best score by trial."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mien.report.style import BLUE, FAINT, INK, ORANGE, Caption, figure, styled
from mien.tasks import Score

_MARGIN = 0.12
# Inches that fill the page, so that letters are as large as in the other figures.
_PAGE = 8.0


def parallel(space: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]], score: Score) -> Figure:
    """Parallel coordinates: an axis for each key and one for the score, a line for each finished trial, best on top.

    A trial that lacks a key passes below its axis, at "not searched".
    """
    done = [trial for trial in trials if trial["score"] is not None]
    values = np.array([trial["score"] for trial in done])
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    goods = (values - low) / span if score.higher else (high - values) / span
    axes = [_Scale(one) for one in space]
    heights = np.array([[axis.height(trial["values"].get(axis.key)) for axis in axes] for trial in done])
    heights = np.column_stack([heights, (values - low) / span])
    places = np.arange(len(axes) + 1)
    with styled():
        caption = Caption((f"{len(done)} finished trials; the darker, the better; orange is the best",))
        made, (ax,) = figure("Values and score of each trial", caption, 3.2, width=max(_PAGE, 1.15 * len(places) + 1))
        palette = colormaps["Blues"]
        for number in np.argsort(goods):
            best = number == np.argmax(goods)
            color = ORANGE if best else palette(0.25 + 0.75 * goods[number])
            ax.plot(places, heights[number], color=color, linewidth=2.2 if best else 1.1, alpha=1 if best else 0.8)
        for place, axis in enumerate(axes):
            ax.axvline(place, color=FAINT, linewidth=0.8)
            for height, text in axis.ticks():
                _beside(ax, place, height, text)
        ax.axvline(places[-1], color=INK, linewidth=1)
        for height, value in ((0.0, low), (1.0, high)):
            _beside(ax, places[-1], height, score.told(value))
        if any(axis.conditional for axis in axes):
            ax.annotate("not searched", (0, -_MARGIN), (-4, 0), textcoords="offset points", ha="right", fontsize=7)
        ax.set_xticks(places, [*(axis.key for axis in axes), score.label], rotation=20, ha="right")
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_xlim(-0.1, places[-1] + 0.5)
        return made


def _beside(ax: Axes, place: float, height: float, text: str) -> None:
    """A text beside an axis, above the lines."""
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
    ax.annotate(text, (place, height), (4, 0), textcoords="offset points", va="center", fontsize=7, bbox=box, zorder=9)


class _Scale:
    """Where values of a key stand on its axis, 0 … 1."""

    def __init__(self, axis: Mapping[str, Any]) -> None:
        self.key: str = axis["key"]
        self.conditional = "when" in axis
        self.kind = next(kind for kind in ("log", "range", "int", "choices") if kind in axis)
        given = axis[self.kind]
        self.values = [one if isinstance(one, str) else json.dumps(one) for one in given]
        self.ends = (0.0, 1.0) if self.kind == "choices" else (float(given[0]), float(given[1]))

    def height(self, value: Any) -> float:
        """The place of a value; below the axis for None."""
        if value is None:
            return -_MARGIN
        if self.kind == "choices":
            text = value if isinstance(value, str) else json.dumps(value)
            return self.values.index(text) / (len(self.values) - 1)
        low, high = np.log(self.ends) if self.kind == "log" else self.ends
        return float(((np.log(value) if self.kind == "log" else value) - low) / (high - low))

    def ticks(self) -> list[tuple[float, str]]:
        """What stands beside the axis: heights and texts."""
        if self.kind == "choices":
            return [(number / (len(self.values) - 1), text[:14]) for number, text in enumerate(self.values)]
        return [(0.0, f"{self.ends[0]:g}"), (1.0, f"{self.ends[1]:g}")]


def history(trials: Sequence[Mapping[str, Any]], score: Score) -> Figure:
    """The score of each finished trial in the order in which they began, and the best so far."""
    done = sorted((trial for trial in trials if trial["score"] is not None), key=lambda trial: trial["trial"])
    scale = 100 if score.percent else 1
    numbers = [trial["trial"] for trial in done]
    values = scale * np.array([trial["score"] for trial in done])
    with styled():
        caption = Caption((f"choose role, {done[0]['split']}, n = {done[0]['n']:,} · bars: 95 % intervals",))
        made, (ax,) = figure("Score by trial", caption, 2.6)
        ends = scale * np.array([trial["interval"] for trial in done]).T
        ax.errorbar(numbers, values, np.abs(ends - values), fmt="o", color=BLUE, markersize=3.5, elinewidth=0.7)
        so_far = np.maximum.accumulate(values) if score.higher else np.minimum.accumulate(values)
        ax.step(numbers, so_far, where="post", color=ORANGE, label="best so far")
        ax.set_xlabel("trial")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_ylabel(score.name + (", %" if score.percent else ""))
        ax.grid(axis="y")
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), borderaxespad=0.2)
        return made
