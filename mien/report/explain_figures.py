"""The figures of filters, activations, nearest fit rows and single cases, drawn from what a run's folder holds."""

from collections.abc import Iterator

import numpy as np

from mien.explanation.storage import Arrays
from mien.report.explain_pictures import Draw, Drawing, Result, caption
from mien.report.explain_tiles import SIGNED, Tile, Values, colored, grid, matrix, picture
from mien.report.style import Caption
from mien.report.wording import seeds

# Of the values of a channel's maps, in per cent: a few that stick out don't make all others pale.
REACH = 99
_ACROSS = 16  # small pictures in a line, where they aren't numbered by lines and columns


def filters(result: Result, arrays: Arrays, public: bool = False) -> Iterator[Drawing]:
    """The filters of each layer, all on one scale; blue is below 0, vermilion above.

    Where a layer's inputs are summed there is a tile for each output, else a table of outputs by inputs.
    """
    del public  # Weights are nobody's picture.
    for number, layer in enumerate(result["layers"]):
        weights, reach = arrays[f"layer{number}"], layer["largest"]
        tiles = [[colored(one, -reach, reach, SIGNED) for one in of] for of in weights]
        size = "×".join(map(str, layer["size"]))
        kept = _of("filters", layer["outputs_kept"], layer["outputs"])
        if layer["summed"]:
            kept += f", summed over their {layer['inputs']} inputs, which are the same picture"
        elif layer["inputs"] > 1:
            kept += f", {_of('inputs', layer['inputs_kept'], layer['inputs'])} of each"
        told = f"{layer['kind']} {size} · {kept} · white is 0, blue below, vermilion above, full at ±{reach:.3g}"
        heading, said = f"Filters of {layer['name']}", Caption((f"{result['run']} · {seeds(result)}", told))
        if weights.shape[1] == 1:
            shown = [Tile(one, str(index)) for index, (one,) in enumerate(tiles)]
            made = grid(heading, said, shown, min(max(len(shown), 8), _ACROSS), side=0.6)
        else:
            by_input = [[tiles[i][j] for i in range(len(tiles))] for j in range(weights.shape[1])]
            made = matrix(heading, said, by_input, "input channel", "output channel")
        yield Drawing(f"filters-{_stem(layer['name'])}", made, f"The filters of {layer['name']}: {told}.")


def activations(result: Result, arrays: Arrays, public: bool = False) -> Iterator[Drawing]:
    """For each layer its channels' maps for each image; each channel has its own scale, the same for all images."""
    prefix, rows = ("drawn_", result["drawn"]) if public else ("", result["rows"])
    images = arrays[f"{prefix}images"]
    for number, layer in enumerate(result["layers"]):
        maps = arrays[f"{prefix}layer{number}"]
        kept = maps.shape[1]
        across = kept if kept <= 12 else 10 if kept <= 20 else _ACROSS
        reach = [_reaches(maps[:, channel]) for channel in range(kept)]
        tiles = []
        for index, row in enumerate(rows):
            tiles.append(Tile(picture(images[index]), _said(row), begins=True))
            for channel in range(kept):
                if channel and channel % across == 0:
                    tiles.append(Tile(None, begins=True))
                above = np.mean(maps[index, channel] > 0)
                shown = colored(_signed(maps[index, channel], *reach[channel]), -1, 1, SIGNED)
                tiles.append(Tile(shown, f"{channel}\n{100 * above:.0f} %"))
        c, h, w = layer["shape"]
        who = "faces drawn by mien, the surest of each class"
        who = who if public else f"rows of {result['role']}, {result['rule']}"
        told = (
            f"{layer['kind']}, {_of('channels', kept, c)} of {h}×{w} · {len(rows)} {who}; under each its label and the "
            f"probability of the answer · vermilion is above 0 (a ReLU next to it lets only that through), its share "
            f"stands under the map; blue is below · each channel is scaled by itself, alike for all images: full "
            f"colour at the {REACH}th percentile of its values above 0, and of those below"
        )
        made = grid(f"Activations of {layer['name']}", _about(result, public, told), tiles, across + 1)
        text = f"Maps that {layer['name']} gives for {'; '.join(_spoken(row) for row in rows)}."
        yield Drawing(f"activations-{_stem(layer['name'])}", made, text)


def neighbours(result: Result, arrays: Arrays, public: bool = False) -> Iterator[Drawing]:
    """Rows and, at the right of each, the fit rows with the most alike features; a figure for each reason to show."""
    if public:
        return
    fit = f"{result['fit']['split']}, n = {result['fit']['n']:,}"
    reasons = list(dict.fromkeys(row["why"] for row in result["rows"]))
    for number, why in enumerate(reasons):
        tiles, texts = [], []
        for index, row in enumerate(result["rows"]):
            if row["why"] != why:
                continue
            tiles.append(Tile(picture(arrays["images"][index]), f"{_said(row)}\n{_short(row)}", begins=True))
            for place, other in enumerate(row["nearest"]):
                text = f"{other['label']}, cos {other['similarity']:.3f}\n{_short(other)}\n{other['copy'] or ''}"
                tiles.append(Tile(picture(arrays["nearest"][index, place]), text))
            first = row["nearest"][0]
            copy = f", {first['copy']}" if first["copy"] else ""
            texts.append(f"{_spoken(row)}: {first['label']}, cosine {first['similarity']:.3f}{copy}")
        said = caption(result, f"left: rows {why} · right: the nearest of the fit rows ({fit}) by cosine of features")
        made = grid("Nearest fit rows", said, tiles, 6)
        text = f"Rows {why}, and each one's nearest fit row: {'; '.join(texts)}."
        yield Drawing(f"neighbours-{number + 1}", made, text)


def cases(result: Result, arrays: Arrays, public: bool = False) -> Iterator[Drawing]:
    """The most confident errors and the least certain rows, each with its label, the model's answer and the raters'."""
    if public:
        return
    for name, heading in (("errors", "Most confident errors"), ("uncertain", "Least certain rows")):
        rows = result[name]
        if not rows:
            continue
        tiles = [
            Tile(picture(image), f"{_said(row)}\n{_short(row)}\n{_raters(row)}".rstrip())
            for image, row in zip(arrays[name], rows, strict=True)
        ]
        what = "label → the model's answer, and its probability"
        what += ", then what most raters say" if rows[0]["raters"] else ""
        total = f"{len(rows)} of {result['wrong']:,} errors" if name == "errors" else f"{len(rows)} rows"
        made = grid(heading, caption(result, f"{total} · {what}"), tiles, 6)
        yield Drawing(f"cases-{name}", made, f"{heading}: {'; '.join(_spoken(row) for row in rows)}.")


# Public ones are drawn faces for the activations, and none for neighbours and cases: those are tables of row ids.
FIGURES: dict[str, Draw] = {
    "filters": filters,
    "activations": activations,
    "neighbours": neighbours,
    "cases": cases,
}


def _about(result: Result, public: bool, told: str) -> Caption:
    """The caption of an explanation of images; that of drawn ones names no row."""
    if public:
        return Caption((f"{result['run']} · protocol {result['protocol']} · {seeds(result)}", told))
    return caption(result, told)


def _reaches(values: Values) -> tuple[float, float]:
    """The largest size (a percentile) of a channel's values below 0 and above it; 1 where there are none."""
    below, above = -values[values < 0], values[values > 0]
    low, high = (float(np.percentile(side, REACH)) if len(side) else 1.0 for side in (below, above))
    return low, high


def _signed(values: Values, low: float, high: float) -> Values:
    """Values as shares of `low` (below 0) and `high` (above 0): −1 … 1 and beyond."""
    return np.where(values < 0, values / low, values / high)


def _of(what: str, kept: int, there: int) -> str:
    return f"{there} {what}" if kept == there else f"the first {kept} of {there:,} {what}"


def _said(row: Result) -> str:
    """A row's label, and the model's answer with its probability."""
    wrong = f" → {row['predicted']}" if row["label"] != row["predicted"] else ""
    return f"{row['label']}{wrong}\n{100 * row['p_predicted']:.0f} %"


def _spoken(row: Result) -> str:
    wrong = f" taken for {row['predicted']}" if row["label"] != row["predicted"] else ""
    return f"{row['label']}{wrong} ({100 * row['p_predicted']:.0f} %)"


def _raters(row: Result) -> str:
    return f"raters: {row['raters']}" if row["raters"] else ""


def _short(row: Result, most: int = 22) -> str:
    """A row's split and id, as far as there is room."""
    text = f"{row['split']} {row['id']}"
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _stem(layer: str) -> str:
    """A layer's name as part of a file's."""
    return "".join(letter if letter.isalnum() else "-" for letter in layer)
