"""A grid of small pictures with a line or two under each, as one figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from mien.images import Pixels
from mien.report.style import BLUE, VERMILION, Caption, figure, styled

Values = npt.NDArray[np.floating[Any]]

WIDTH = 7.2
# Below zero, zero, above; Okabe and Ito's blue and vermilion differ in hue for everyone.
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "#FFFFFF", VERMILION], 257)
_LARGEST = 160  # px; of a larger picture a tile shows no more
_LINE = 0.125  # inches of a line of text
_GAP = 0.06  # inches between tiles
_RIM = 1  # px between small pictures


@dataclass(frozen=True)
class Tile:
    """A picture, uint8 (h, w, 3), or None for an empty place; the text under it; whether it begins a line."""

    pixels: Pixels | None
    text: str = ""
    begins: bool = False


def picture(image: Pixels) -> Pixels:
    """An image uint8 (1 or 3, h, w) as a tile shows it, uint8 (h, w, 3), no larger than is needed."""
    rgb = np.ascontiguousarray(np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)))
    side = max(rgb.shape[:2])
    if side <= _LARGEST:
        return rgb
    size = [max(round(length * _LARGEST / side), 1) for length in (rgb.shape[1], rgb.shape[0])]
    return np.asarray(Image.fromarray(rgb).resize((size[0], size[1]), Image.Resampling.LANCZOS))


def colored(values: Values, low: float, high: float, colors: Colormap) -> Pixels:
    """Numbers (h, w) in the colours of a scale from `low` to `high`, uint8 (h, w, 3); its middle where all are equal.

    >>> colored(np.array([[-1.0, 0.0, 1.0]]), -1, 1, SIGNED)[0, 1].tolist()
    [255, 255, 255]
    """
    share = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    rgba = np.asarray(colors(np.clip(share, 0, 1)))
    return np.asarray(np.rint(255 * rgba[..., :3]), dtype=np.uint8)


def grid(heading: str, caption: Caption, tiles: Sequence[Tile], columns: int, side: float = 1.6) -> Figure:
    """Tiles from left to right, `columns` to a line, in a figure as wide as a page; none is over `side` inches wide."""
    side = min((WIDTH - 0.1) / columns - _GAP, side)
    lines = max((tile.text.count("\n") + 1 for tile in tiles if tile.text), default=0)
    pitch = side + _GAP + (lines * _LINE + 0.06 if lines else 0)
    row, column, places = 0, 0, []
    for tile in tiles:
        if column == columns or (tile.begins and column):
            row, column = row + 1, 0
        places.append((row, column))
        column += 1
    height = pitch * (row + 1)
    with styled():
        made, (ax,) = figure(heading, caption, height + 0.12, width=WIDTH)
        for tile, (row, column) in zip(tiles, places, strict=True):
            if tile.pixels is None:
                continue
            x, y = column * (side + _GAP), row * pitch
            tall, wide = tile.pixels.shape[:2]
            scale = side / max(tall, wide)
            shown = ax.imshow(tile.pixels, extent=(x, x + wide * scale, y + tall * scale, y), interpolation="nearest")
            shown.set_in_layout(False)
            text = ax.text(x, y + side + 0.03, tile.text, va="top", fontsize=6.5, linespacing=1.25)
            text.set_in_layout(False)
        ax.set_xlim(-0.02, WIDTH - 0.1)
        ax.set_ylim(height, -0.02)
        ax.set_aspect("equal", anchor="NW")
        ax.set_axis_off()
        return made


def matrix(heading: str, caption: Caption, pictures: Sequence[Sequence[Pixels]], down: str, across: str) -> Figure:
    """Small pictures of one size, uint8 (h, w, 3), as lines of a table whose lines and columns are numbered.

    `down` and `across` say what they are.
    """
    rows, columns = len(pictures), len(pictures[0])
    tall, wide = (length + _RIM for length in pictures[0][0].shape[:2])
    whole = np.full((rows * tall + _RIM, columns * wide + _RIM, 3), 255, np.uint8)
    for (i, j), one in np.ndenumerate(np.empty((rows, columns))):
        del one
        whole[i * tall + _RIM : (i + 1) * tall, j * wide + _RIM : (j + 1) * wide] = pictures[i][j]
    width = min(WIDTH - 0.5, columns * 0.5)
    with styled():
        made, (ax,) = figure(heading, caption, width * whole.shape[0] / whole.shape[1] + 0.6, width=WIDTH)
        ax.imshow(whole, interpolation="nearest")
        ax.set_xticks([(j + 0.5) * wide for j in range(columns)], [str(j) for j in range(columns)], fontsize=6.5)
        ax.set_yticks([(i + 0.5) * tall for i in range(rows)], [str(i) for i in range(rows)], fontsize=6.5)
        ax.xaxis.tick_top()
        ax.xaxis.set_label_position("top")
        ax.set_xlabel(across)
        ax.set_ylabel(down)
        ax.tick_params(length=0, pad=2)
        ax.spines[:].set_visible(False)
        ax.set_anchor("NW")
        return made
