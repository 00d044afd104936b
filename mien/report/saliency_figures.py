"""The figures of Grad-CAM, occlusion and regions, drawn from what a run's folder holds."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mien.explanation.by_region import ALL, PARTS
from mien.explanation.storage import Arrays
from mien.faces.ibug import GROUPS
from mien.images import Pixels
from mien.intervals import percent, with_interval
from mien.report.explain_pictures import Draw, Drawing, Result, caption
from mien.report.explain_tiles import SIGNED, WIDTH, Tile, Values, colored, grid, picture
from mien.report.style import BLUE, FAINT, INK, VERMILION, Caption, figure, styled

# Pixels of a tile that a map is drawn on; the outline's gray, and that of places without a cell.
_SIDE = 144
_LINE, _OUTSIDE = (96, 104, 112), (232, 234, 237)
_STRONG = 0.75  # how much of its colour the strongest place of a map has over an image
# Lines along the points that are drawn as the outline of a face: a hole's line comes back to where it began.
_CURVES: tuple[tuple[range, bool], ...] = (
    (GROUPS["jaw"], False),
    (range(17, 22), False),
    (range(22, 27), False),
    (range(27, 31), False),
    (range(31, 36), False),
    (range(36, 42), True),
    (range(42, 48), True),
    (range(48, 60), True),
    (range(60, 68), True),
)
_TITLES = {"gradcam": "Grad-CAM", "occlusion": "Occlusion"}


def maps(name: str, result: Result, arrays: Arrays, public: bool = False) -> Iterator[Drawing]:
    """The mean maps by true class over the outline of a face, the twin's below, and those of single rows."""
    heading = _TITLES[name]
    kind = f"map of {result['layer']}, {'×'.join(map(str, result['map']))}" if name == "gradcam" else _covered(result)
    drawn = f" · {result['per_class']} rows of each class, drawn from {result['of']:,}" if "of" in result else ""
    seeds = result["twin_seeds"]
    twin = f"a twin with random weights (seed {seeds[0]})"
    signed = "vermilion speaks for the class" + (", blue against it" if name == "occlusion" else "")
    scale = f"{signed}; each map has its own scale"
    told = (
        f"{kind}{drawn} · {scale} · lower row: {twin} · alike: Spearman's rank correlation of the model's map with "
        f"that of a twin, mean over {len(seeds)} twins [95 % interval over rows and twins]; near 1 a map shows the "
        "images and not what was learned; not compared where a map has the same value everywhere"
    )
    above: list[Tile] = []
    below: list[Tile] = []
    for entry, mean, twin_mean in zip(result["classes"], arrays["mean"], arrays["twin"], strict=True):
        lines = f"{'model: ' if not above else ''}{entry['class']}{_none(mean)}\nn = {entry['n']:,}"
        above.append(Tile(_tinted(mean, result, arrays), lines))
        lines = f"{'twin: ' if not below else ''}{_alike(entry)}{_none(twin_mean)}"
        below.append(Tile(_tinted(twin_mean, result, arrays), lines, begins=not below))
    made = grid(f"{heading}: mean by true class", caption(result, told), [*above, *below], len(above))
    text = "; ".join(f"{entry['class']} (n = {entry['n']:,}): {_said(entry)}" for entry in result["classes"])
    yield Drawing(f"{name}-classes", made, f"{heading}, mean maps by true class; alike the twin's: {text}.")
    if not public:
        yield _single(name, heading, kind, scale, twin, result, arrays)


def _single(name: str, heading: str, kind: str, scale: str, twin: str, result: Result, arrays: Arrays) -> Drawing:
    tiles, texts = [], []
    for number, row in enumerate(result["rows"]):
        image = arrays["images"][number]
        who = f"{row['label']} → {row['predicted']} {row['p_predicted']:.2f}"
        alike = UNLIKE if row["alike"] is None else f"alike {row['alike']:.2f}"
        own, other = arrays["maps"][number], arrays["twin_maps"][number]
        tiles += [
            Tile(picture(image), f"{who}\n{row['split']} {row['id']}", begins=number % 2 == 0),
            Tile(_overlaid(image, own, result), f"model, for {row['predicted']}{_none(own)}"),
            Tile(_overlaid(image, other, result), f"twin, {alike}{_none(other)}"),
        ]
        texts.append(f"{row['id']} ({who}): {alike}")
    told = f"{kind} · {scale} · map of the class that the model says, beside {twin} · rows: {result['rule']}"
    made = grid(f"{heading}: single rows", caption({**result, "n": len(texts)}, told), tiles, 6, side=1.1)
    return Drawing(f"{name}-rows", made, f"{heading} of single rows beside their twin's: {'; '.join(texts)}.")


def _covered(result: Result) -> str:
    return (
        f"loss of probability where {result['window']}×{result['window']} pixels are covered with the image's mean "
        f"gray, in steps of {result['step']}"
    )


# Of two maps that can't be compared since one has the same value everywhere.
UNLIKE = "not compared"


def _none(values: Values) -> str:
    """What is added to the words below a map that has the same value everywhere."""
    return ", no map" if values.max() == values.min() else ""


def _alike(entry: Result) -> str:
    if entry["alike"] is None:
        return UNLIKE
    return "alike " + with_interval(entry["alike"], entry["interval"], ".2f").replace(" [", "\n[")


def _said(entry: Result) -> str:
    return _alike(entry).replace("\n", " ")


def placed(values: Values, cover: float, side: int = _SIDE, *, edges: bool = False) -> Values:
    """A map's cells (h, w) on side × side pixels; `cover` of the side lies under cells, the rest is NaN.

    Cells are interpolated, or keep their `edges`.

    >>> placed(np.ones((2, 2)), 0.5, 4)[1].tolist()
    [nan, 1.0, 1.0, nan]
    """
    height, width = values.shape
    first = (1 - cover) / 2 * side
    at = np.arange(side) + 0.5 - first
    inside = (at > 0) & (at < cover * side)
    grids = [np.asarray(at * count / (cover * side) - 0.5, dtype=np.float32) for count in (width, height)]
    x, y = np.meshgrid(*grids)
    method = cv2.INTER_NEAREST if edges else cv2.INTER_LINEAR
    drawn = cv2.remap(values.astype(np.float32), x, y, method, borderMode=cv2.BORDER_REPLICATE)
    return np.where(inside[:, None] & inside[None, :], drawn, np.nan)


def outlined(image: Pixels, points: Values) -> Pixels:
    """A copy of a picture, uint8 (s, s, 3), with the lines of a face's 68 points (68, 2), shares of its sides."""
    made = image.copy()
    # In sixteenths of a pixel, as OpenCV's `shift` has it.
    places = np.round((points.astype(np.float64).clip(-4, 5) * len(made) - 0.5) * 16).astype(np.int32)
    for curve, closed in _CURVES:
        cv2.polylines(made, [places[list(curve)]], closed, _LINE, 1, cv2.LINE_AA, 4)
    return made


def _tinted(values: Values, result: Result, arrays: Arrays) -> Pixels:
    """A map over the outline of the middle face."""
    drawn = placed(values, result["cover"], edges="window" in result)
    reach = float(np.abs(values).max())
    shown = colored(np.nan_to_num(drawn), -reach, reach, SIGNED)
    shown[np.isnan(drawn)] = _OUTSIDE
    return outlined(shown, arrays["outline"])


def _overlaid(image: Pixels, values: Values, result: Result) -> Pixels:
    """A map over its image (1 or 3, s, s)."""
    base = np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)).astype(np.uint8)
    large = cv2.resize(np.ascontiguousarray(base), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float64)
    drawn = np.nan_to_num(placed(values, result["cover"], edges="window" in result))
    reach = float(np.abs(values).max())
    share = np.abs(drawn)[:, :, None] / reach if reach else np.zeros((_SIDE, _SIDE, 1))
    full = colored(np.sign(drawn), -1, 1, SIGNED)
    return np.asarray(np.rint(large + _STRONG * share * (full - large)).clip(0, 255), dtype=np.uint8)


def regions(result: Result, arrays: Arrays, public: bool = False) -> Iterator[Drawing]:
    """The loss of the true class's probability by part and class, beside random patches; and what is blurred."""
    found = {(entry["part"], entry["class"]): entry for entry in result["parts"]}
    parts = [part for part in PARTS if (part, ALL) in found]
    if parts:
        text = "; ".join(
            f"{part} {_span(found[part, ALL], 'drop', 'interval')}, more than a random patch by "
            f"{_span(found[part, ALL], 'difference', 'difference_interval')}"
            for part in parts
        )
        yield Drawing("regions", _losses(result, found, parts), f"Loss of the true class's probability: {text}.")
    yield _blurred(result, arrays, public)


def _span(entry: Result, value: str, interval: str) -> str:
    return with_interval(entry[value], entry[interval], "+.3f")


def _losses(result: Result, found: Mapping[tuple[str, str], Any], parts: list[str]) -> Figure:
    labels = [entry["class"] for entry in result["probability"]]
    told = (
        f"mean loss of the true class's probability when a part is blurred (Gaussian, sd {result['sd']:g} px), and "
        f"when {result['patches']} random patches of the same area in the face are (mean) · 95 % bootstrap intervals "
        f"over rows · points by {result['landmarks']['name']}; {result['fallback']:,} further rows without usable "
        "points aren't here"
    )
    with styled():
        made, axes = figure("Loss by region", caption(result, told), 0.9 + 0.28 * len(labels), len(parts), WIDTH)
        ends = [end for one in found.values() for side in (one, one["random"]) for end in side["interval"]]
        for ax, part in zip(axes, parts, strict=True):
            _panel(ax, part, labels, found, (min(ends), max(ends)))
        counts = {entry["class"]: entry["n"] for entry in result["probability"]}
        axes[0].set_yticklabels([f"{label}, n = {counts[label]:,}" for label in labels])
        handles, names = axes[0].get_legend_handles_labels()
        made.legend(handles, names, loc="outside lower center", ncols=2)
        return made


def _panel(
    ax: Axes, part: str, labels: list[str], found: Mapping[tuple[str, str], Any], ends: tuple[float, float]
) -> None:
    there = [(place, found[part, label]) for place, label in enumerate(labels) if (part, label) in found]
    for shift, color, marker, size, label in (
        (-0.14, VERMILION, "o", 4, "the part"),
        (0.16, BLUE, "D", 3, "random patches"),
    ):
        for number, (place, entry) in enumerate(there):
            of = entry["random"] if marker == "D" else entry
            ax.plot(of["interval"], [place + shift] * 2, color=color, linewidth=1.2, solid_capstyle="butt")
            name = None if number else label
            ax.plot(of["drop"], place + shift, marker, color=color, markersize=size, linestyle="none", label=name)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    ax.axhline(0.5, color=FAINT, linewidth=0.6, linestyle=":")
    room = 0.05 * (ends[1] - ends[0]) + 1e-3
    ax.set_xlim(ends[0] - room, ends[1] + room)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_yticks(range(len(labels)), [""] * len(labels))
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)
    ax.grid(axis="x")
    area = percent(found[part, ALL]["area"])
    ax.set_title(f"{part}\n", loc="left")
    ax.text(0, 1.02, f"{area} of the image", transform=ax.transAxes, fontsize=7, color=INK)


def _blurred(result: Result, arrays: Arrays, public: bool) -> Drawing:
    """What is blurred: on the middle face, or on single rows."""
    names = list(PARTS)
    tiles = []
    if public:
        for name, mask in zip(names, arrays["masks"], strict=True):
            drawn = cv2.resize(mask.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
            tiles.append(Tile(outlined(colored(0.6 * drawn, -1, 1, SIGNED), arrays["outline"]), name))
        told, said = "vermilion is blurred; the outline is the middle face's", caption(result)
        columns = len(tiles)
    else:
        columns = 1 + len(names)
        for row, images in zip(result["rows"], arrays["images"], strict=True):
            who = f"{row['label']}, {row['split']} {row['id']}" + (" (mean shape)" if row["fallback"] else "")
            tiles.append(Tile(picture(images[0]), who, begins=True))
            tiles += [Tile(picture(image), f"without {name}") for name, image in zip(names, images[1:], strict=True)]
        told, said = f"rows: {result['rule']}", caption({**result, "n": len(result["rows"])})
    blur = f"Gaussian, sd {result['sd']:g} px; parts by the points of {result['landmarks']['name']}"
    made = grid("What is blurred", Caption((*said.lines, f"{blur} · {told}"), said.warning), tiles, columns, side=1.1)
    return Drawing("regions-blurred", made, f"Faces without {', '.join(names)}: {blur}.")


# Public ones are drawn over the outline of the data set's middle face.
FIGURES: dict[str, Draw] = {
    "gradcam": partial(maps, "gradcam"),
    "occlusion": partial(maps, "occlusion"),
    "regions": regions,
}
