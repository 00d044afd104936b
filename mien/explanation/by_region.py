"""What a model loses when a part of each face is blurred out: brows, eyes, nose, mouth, or all around the face.

Any blurred spot disturbs a model. So each part stands beside random patches of the same area inside the same face, and
what counts is the difference.

The model's first two convolutions are asked too: by how much what they give changes. Any filter answers to edges, and
eyes and mouth have many; so the same model with the random weights of its seed stands beside it. Those of other seeds
wouldn't do: two random nets differ in this too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mien.experiment.building import build_model
from mien.explanation.context import Context
from mien.explanation.face_points import FacePoints, face_points, outline
from mien.explanation.layers import heard, map_layers
from mien.explanation.rows import RULE, probabilities_of, row_facts, typical_rows
from mien.explanation.storage import Arrays
from mien.faces.ibug import GROUPS
from mien.inference.network import Network
from mien.intervals import Values, percentile_interval, resampled_means
from mien.landmarks.predict import open_landmarker
from mien.progress import progress
from mien.registry import register
from mien.workspace import Workspace

Points = npt.NDArray[np.floating[Any]]
Masks = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

ALL = "all"
BACKGROUND = "background"

# Each part as the hulls of some points; random patches come in as many pieces.
PARTS: Mapping[str, tuple[Sequence[int], ...]] = MappingProxyType(
    {
        "brows": (range(17, 22), range(22, 27)),
        "eyes": (range(36, 42), range(42, 48)),
        "nose": (GROUPS["nose"],),
        "mouth": (GROUPS["lips"],),
        BACKGROUND: ((),),
    }
)
# Shares of the image's side: how far a part reaches beyond its points, the blur's standard deviation, and that of the
# soft edge. At 48 pixels 2, 8 and 1; an eye is 8 pixels wide there and a mouth 15 by 6.
_REACH, _BLUR, _EDGE = 1 / 24, 1 / 6, 1 / 48
PATCHES = 3
# So many rows are in work at once, each as 21 images.
_ROWS = 16


@dataclass(frozen=True)
class Losses:
    """Losses of probability (n, parts, 2), of the true and the predicted class, with a part blurred or its patches.

    `patch` is the mean of a part's random patches, `area` and `patch_area` (n, parts) the blurred shares of the image,
    `whole` (n, 2) the probabilities with nothing blurred.
    """

    part: Values
    patch: Values
    area: Values
    patch_area: Values
    whole: Values


def part_masks(points: Points, size: int) -> tuple[Bools, Bools]:
    """The pixels of each part of `PARTS`, bool (parts, size, size), and of the face, for points (68, 2) as shares.

    The face reaches from the jaw to the forehead, which is taken to be as high as it is from the brows to the base of
    the nose (the thirds of a face: L. G. Farkas, "Anthropometry of the Head and Face", 1994). The background is all
    else.
    """
    places = np.clip(points.astype(np.float64), -4, 5) * size - 0.5
    brows = places[list(GROUPS["brows"])]
    forehead = brows + brows.mean(axis=0) - places[33]
    face = _hull(np.concatenate([places, forehead]), size)
    reach = 2 * round(_REACH * size) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    masks = np.zeros((len(PARTS), size, size), np.uint8)
    for mask, (name, hulls) in zip(masks, PARTS.items(), strict=True):
        for hull in hulls:
            own = 1 - face if name == BACKGROUND else cv2.dilate(_hull(places[list(hull)], size), kernel)
            mask[own > 0] = 1
    return masks.astype(np.bool_), face.astype(np.bool_)


def _hull(points: Points, size: int) -> npt.NDArray[np.uint8]:
    canvas = np.zeros((size, size), np.uint8)
    # In sixteenths of a pixel, as OpenCV's `shift` has it.
    hull = cv2.convexHull(np.round(points * 16).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, 1, shift=4)
    return canvas


def random_patch(face: Bools, area: int, pieces: int, random: np.random.Generator) -> Bools:
    """`area` pixels of a face (size, size), in `pieces`: those next to pixels drawn from it; all for a larger area.

    >>> random_patch(np.ones((5, 5), np.bool_), 5, 1, np.random.default_rng(0)).sum()
    np.int64(5)
    """
    free = np.argwhere(face)
    patch = np.zeros(face.shape, np.bool_)
    area = min(area, len(free))
    for piece in range(pieces):
        take = (area * (piece + 1)) // pieces - (area * piece) // pieces
        if not take:
            continue
        near = ((free - free[random.integers(len(free))]) ** 2).sum(axis=1)
        taken = np.zeros(len(free), np.bool_)
        taken[np.argpartition(near, take - 1)[:take]] = True
        patch[tuple(free[taken].T)] = True
        free = free[~taken]
    return patch


def blurred(image: Masks, masks: Bools) -> tuple[Masks, Values]:
    """An image (c, s, s) with the pixels of each mask (m, s, s) blurred, float32 (m, c, s, s), and the areas (m,).

    The blur is Gaussian with a standard deviation of a sixth of the side; the masks' edges are soft. An area is the
    share of the image, the soft edge by its weight.
    """
    size = image.shape[-1]
    channels = np.ascontiguousarray(image.transpose(1, 2, 0), dtype=np.float32)
    smooth = _gaussian(channels, _BLUR * size).reshape(size, size, -1).transpose(2, 0, 1)
    soft = np.stack([_gaussian(mask.astype(np.float32), _EDGE * size) for mask in masks])[:, None]
    return np.asarray(image + soft * (smooth - image), dtype=np.float32), soft.mean(axis=(1, 2, 3), dtype=np.float64)


def _gaussian(image: Masks, sd: float) -> Masks:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sd, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def losses(context: Context, points: Points, seed: int = 0) -> Losses:
    """How much of each row's probabilities goes with each part, by its points (n, 68, 2), as shares of the sides.

    Probabilities are those of a user, by the run's temperature. A row in which the image has nothing of a part has NaN.
    """
    n, parts = len(context), len(PARTS)
    found = Losses(
        *(np.full(shape, np.nan) for shape in ((n, parts, 2), (n, parts, 2), (n, parts), (n, parts), (n, 2)))
    )
    for places, made in _batches(context, points, seed, f"regions of {context.run.name}"):
        shown = np.concatenate([images for images, _, _ in made])
        given = context.network.probabilities(context.pixels(shown), context.temperature or 1.0)
        every = given.cpu().numpy().astype(np.float64)
        every = every.reshape(len(made), 1 + parts * (1 + PATCHES), -1)
        for place, row, (_, areas, there) in zip(places, every, made, strict=True):
            said = row[:, [context.labels[place], context.predicted[place]]]
            drop = (said[0] - said[1:]).reshape(parts, 1 + PATCHES, 2)
            found.whole[place] = said[0]
            found.part[place, there] = drop[there, 0]
            found.patch[place, there] = drop[there, 1:].mean(axis=1)
            found.area[place, there] = areas[there, 0]
            found.patch_area[place, there] = areas[there, 1:].mean(axis=1)
    return found


def changes(
    context: Context, points: Points, networks: Sequence[Network], layers: Sequence[str], seed: int = 0
) -> Values:
    """By how much what layers give changes without each part, (networks, layers, n, parts, 2), by points (n, 68, 2).

    The last axis is a part, and the mean of its random patches: those of `losses` with that seed. A change is the
    Euclidean length of the difference of a layer's maps, as a share of the length of the maps of the whole image. A row
    in which the image has nothing of a part has NaN.
    """
    parts = len(PARTS)
    found = np.full((len(networks), len(layers), len(context), parts, 2), np.nan)
    for places, made in _batches(context, points, seed, f"first layers of {context.run.name}"):
        pixels = context.pixels(np.concatenate([images for images, _, _ in made]))
        for number, network in enumerate(networks):
            for layer, maps in enumerate(_given(network, layers, pixels)):
                maps = maps.reshape(len(made), 1 + parts * (1 + PATCHES), -1)
                length = maps[:, 0].norm(dim=1).clamp(min=torch.finfo(maps.dtype).tiny)
                apart = (maps[:, 1:] - maps[:, :1]).norm(dim=2) / length[:, None]
                every = apart.cpu().numpy().astype(np.float64).reshape(len(made), parts, 1 + PATCHES)
                for place, row, (_, _, there) in zip(places, every, made, strict=True):
                    found[number, layer, place, there, 0] = row[there, 0]
                    found[number, layer, place, there, 1] = row[there, 1:].mean(axis=1)
    return found


class _HeardError(Exception):
    """All layers that are wanted have spoken."""


@torch.inference_mode()
def _given(network: Network, layers: Sequence[str], pixels: torch.Tensor) -> list[torch.Tensor]:
    """What layers give at their first call, float32, where the network is; what comes after them isn't computed."""
    found: dict[str, torch.Tensor] = {}

    def hear(name: str, _: Any, output: Any) -> None:
        # A ReLU that works in place would change it afterwards.
        found.setdefault(name, output.float().clone())
        if len(found) == len(layers):
            raise _HeardError

    with heard(network.model, layers, hear), suppress(_HeardError):
        network(pixels)
    return [found[name] for name in layers]


Variants = tuple[Masks, Values, Bools]


def _batches(context: Context, points: Points, seed: int, what: str) -> Iterator[tuple[range, list[Variants]]]:
    """The places of a few rows at a time, with the variants of each; the same seed gives the same ones."""
    random = np.random.default_rng(seed)
    n, size = len(context), context.images.shape[-1]
    with progress(what, n) as advance:
        for start in range(0, n, _ROWS):
            places = range(start, min(start + _ROWS, n))
            yield places, [_variants(context.images[place], points[place], size, random) for place in places]
            advance(len(places))


def _variants(image: npt.NDArray[np.uint8], points: Points, size: int, random: np.random.Generator) -> Variants:
    """An image as it is, and for each part without it and without its random patches; areas; which parts are there."""
    masks, face = part_masks(points, size)
    shown = []
    for mask, hulls in zip(masks, PARTS.values(), strict=True):
        shown.append(mask)
        # Of a face that lies outside of the image nothing can be drawn.
        area = int(mask.sum()) if face.any() else 0
        shown += [random_patch(face, area, len(hulls), random) for _ in range(PATCHES)]
    plain = image.astype(np.float32)
    without, areas = blurred(plain, np.stack(shown))
    there = np.asarray(masks.any(axis=(1, 2)) & face.any())
    return np.concatenate([plain[None], without]), areas.reshape(len(masks), -1), there


def summarize(found: Losses, labels: npt.NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    """Mean losses by part, of all rows and of each class that has some, with 95 % percentile intervals.

    Bootstrap samples are of rows, drawn class by class, the same for a part, its patches and their difference.
    """
    return [entry for number, name in enumerate(PARTS) for entry in _part(found, number, name, labels, names)]


def _part(
    found: Losses, number: int, name: str, labels: npt.NDArray[np.int64], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    there = np.isfinite(found.area[:, number])
    part, patch = found.part[there, number], found.patch[there, number]
    # Three columns for the true class, three for the predicted one.
    table = np.stack([part, patch, part - patch], axis=2).reshape(-1, 6)
    areas = np.stack([found.area[there, number], found.patch_area[there, number]], axis=1)
    labels = labels[there]
    samples, classes = np.zeros((1, 6)), []
    for index, label in enumerate(names):
        own = labels == index
        if own.any():
            drawn = resampled_means(table[own], seed=index)
            samples = samples + drawn * own.mean()
            classes.append(_entry(name, label, table[own], drawn, areas[own]))
    if classes:
        yield _entry(name, ALL, table, samples, areas)
        yield from classes


def _entry(part: str, label: str, table: Values, samples: Values, areas: Values) -> dict[str, Any]:
    means = table.mean(axis=0).tolist()
    ends = [list(percentile_interval(column, mean)) for column, mean in zip(samples.T, means, strict=True)]
    area, patch_area = areas.mean(axis=0).tolist()

    def three(first: int, patch: dict[str, Any]) -> dict[str, Any]:
        return {
            "drop": means[first],
            "interval": ends[first],
            "random": {"drop": means[first + 1], "interval": ends[first + 1], **patch},
            "difference": means[first + 2],
            "difference_interval": ends[first + 2],
        }

    true, predicted = three(0, {"area": patch_area}), three(3, {})
    return {"part": part, "class": label, "n": len(table), "area": area, **true, "predicted": predicted}


def first_layers(context: Context, points: Points, rows: Bools) -> list[dict[str, Any]]:
    """What the first two convolutions answer to, over those `rows`: for each layer `name` and `parts`.

    Of each part `change` and `random`, that by random patches; their `difference`; `untrained`, the same difference
    with the random weights of the run's seed, which are those before a training that began from none; and how far the
    model's goes `beyond` it. Each has the 95 % percentile interval over rows that are drawn class by class. A model
    without convolutions has no layers.
    """
    found = [one.name for one in map_layers(context.network.model, context.inputs([0])) if one.convolution][:2]
    if not found:
        return []
    fresh = build_model(context.run.experiment, context.names).to(context.device)
    networks = [context.network, Network(fresh, context.network.preprocess).eval()]
    every = changes(context, points, networks, found)[:, :, rows]
    labels = context.labels[rows]
    return [
        {
            "name": name,
            "parts": [
                _change(part, of[:, there, number], labels[there])
                for number, part in enumerate(PARTS)
                if (there := np.isfinite(of[0, :, number, 0])).any()
            ],
        }
        for name, of in zip(found, np.moveaxis(every, 1, 0), strict=True)
    ]


def _change(part: str, of: Values, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The means over rows of a part's changes (2, rows, 2), of the model and of the same without training."""
    (change, by_patches), (own, untrained) = of[0].T, of[..., 0] - of[..., 1]
    columns = {
        "change": change,
        "random": by_patches,
        "difference": own,
        "untrained": untrained,
        "beyond": own - untrained,
    }
    table = np.stack(list(columns.values()), axis=1)
    means = table.mean(axis=0).tolist()
    samples = np.zeros((1, len(columns)))
    for label in np.unique(labels):
        here = labels == label
        samples = samples + resampled_means(table[here], seed=int(label)) * here.mean()
    entry: dict[str, Any] = {"part": part, "n": len(table)}
    for name, mean, column in zip(columns, means, samples.T, strict=True):
        entry |= {name: mean, f"{name}_interval": list(percentile_interval(column, mean))}
    return entry


@register("explanation", "regions")
def by_landmarks(
    context: Context, chosen: Sequence[int], workspace: Workspace, landmarks: str | None
) -> tuple[dict[str, Any], Arrays]:
    """See `regions`; the points are the data set's own where `landmarks` is "stored", else those of a landmark run.

    Without a name they are the data set's own where it has some, else those of the model that mien ships.
    """
    own = landmarks == "stored" or (landmarks is None and context.dataset.has_points)
    landmarker = None if own else open_landmarker(workspace, landmarks)
    return regions(context, face_points(context.dataset, context.rows, landmarker), chosen)


def regions(context: Context, faces: FacePoints, chosen: Sequence[int] = ()) -> tuple[dict[str, Any], Arrays]:
    """The loss of the true and the predicted class's probability with each part, by class, beside random patches.

    `layers` are those of `first_layers`.
    `n` counts the rows whose points can be a face's, of which `parts` speaks; the other `fallback` rows are in
    `fallback_parts`, by the mean shape. `sd` is the blur's, in pixels. Arrays: `images` uint8 (m, 1 + parts, c, s, s),
    chosen rows (positions; else the typical ones) as they are and without each part; `masks` bool (parts, s, s) of the
    middle face, `outline` (68, 2).
    """
    found = losses(context, faces.points)
    known = ~faces.fallback
    classes = context.names.classes
    size = context.images.shape[-1]
    result: dict[str, Any] = {
        **context.about,
        "n": int(known.sum()),
        "fallback": int(faces.fallback.sum()),
        "landmarks": dict(faces.model),
        "sd": _BLUR * size,
        "patches": PATCHES,
        "seed": 0,
        "probability": _probability(found.whole[known], context.labels[known], classes),
        "layers": first_layers(context, faces.points, known),
        "parts": summarize(_rows(found, known), context.labels[known], classes),
        "fallback_parts": [
            entry for entry in summarize(_rows(found, ~known), context.labels[~known], classes) if entry["class"] == ALL
        ],
    }
    middle = outline(context.dataset, context.splits)
    typical, given = typical_rows(context), probabilities_of(context)
    places = list(chosen or typical)
    result["rule"] = RULE if places == typical else "asked for"
    result["rows"] = [{**row_facts(context, place, given), "fallback": bool(faces.fallback[place])} for place in places]
    shown = []
    for place in places:
        image = context.images[place].astype(np.float32)
        shown.append(np.concatenate([image[None], blurred(image, part_masks(faces.points[place], size)[0])[0]]))
    arrays: Arrays = {
        "outline": middle,
        "masks": part_masks(middle, size)[0],
        "images": np.round(np.stack(shown)).clip(0, 255).astype(np.uint8),
    }
    return result, arrays


def _probability(whole: Values, labels: npt.NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    """The mean probability of the true and the predicted class with nothing blurred, of all rows and by class."""
    groups = {ALL: np.ones(len(labels), np.bool_), **{name: labels == index for index, name in enumerate(names)}}
    return [
        {"class": name, "n": int(own.sum()), "true": float(mean[0]), "predicted": float(mean[1])}
        for name, own in groups.items()
        if own.any()
        for mean in (whole[own].mean(axis=0),)
    ]


def _rows(found: Losses, where: Bools) -> Losses:
    return Losses(found.part[where], found.patch[where], found.area[where], found.patch_area[where], found.whole[where])
