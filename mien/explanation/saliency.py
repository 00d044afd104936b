"""Where in its images a model looks: Grad-CAM and occlusion, each beside the same maps of twins with random weights.

Sources: R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
ICCV 2017; M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014; both as captum
has them. Why twins: J. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018. A map that looks the same when
nothing was learned shows the image, or the architecture, and not what the model knows.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from mien.errors import MienError
from mien.experiment.building import build_model
from mien.explanation.context import Context
from mien.explanation.face_points import outline
from mien.explanation.layers import heard
from mien.explanation.rows import RULE, probabilities_of, row_facts, typical_rows
from mien.explanation.storage import Arrays
from mien.images import Pixels
from mien.inference.network import Network
from mien.intervals import Values, percentile_interval, resampled_means
from mien.progress import progress
from mien.registry import register

Maps = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

ALL = "all"

_BATCH = 128
# The square that covers a part of the image, and its steps, as shares of the image's side: 8 and 4 pixels of 48.
_WINDOW, _STEP = 1 / 6, 1 / 12
# Occlusion takes a hundred forward passes a row, so it is done for so many rows of each class.
PER_CLASS = 20
# Of fewer cells a side nobody sees which part of a face is meant.
USEFUL = 5
# One twin may be like the model by chance: what random weights make of a class is the same for all rows.
TWINS = 3
_DRAWS = 1000


class MapLayer(NamedTuple):
    """A layer whose output is a map of height × width cells; `cover` is the share of the input's side that it spans."""

    name: str
    module: nn.Module
    height: int
    width: int
    cover: float


def last_map(model: nn.Module, inputs: Tensor) -> MapLayer:
    """The layer that gives the last map of useful size, found by one forward pass of `inputs`.

    Useful are `USEFUL` cells a side; of a model whose maps all have fewer it is the last of the largest. That is what
    convolutions hand on, with their normalisation, ReLU, pooling and shortcut: the output of a convolution inside of a
    residual branch would miss the half that goes around it. Layers that are called more than once don't count. Raises
    MienError for a model without convolutions.

    Cells are taken to be a whole number of pixels apart, and the map to lie in the middle of the image: a net without
    padding doesn't see the image's rim from as many places.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> last_map(net, torch.zeros(1, 1, 20, 20))[2:]
    (16, 16, 0.8)
    """
    calls: list[str] = []
    outputs: dict[str, Tensor] = {}
    modules = {name: module for name, module in model.named_modules() if name}

    def hear(name: str, _: Any, output: Any) -> None:
        calls.append(name)
        convolved = bool(outputs) or any(isinstance(inner, nn.Conv2d) for inner in modules[name].modules())
        if convolved and isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            outputs[name] = output

    with torch.no_grad(), heard(model, list(modules), hear):
        model(inputs[:1])
    once = [name for name in outputs if calls.count(name) == 1]
    if not once:
        raise MienError("the model gives no map that Grad-CAM could show", key="gradcam", expected="convolutions")
    # A layer and those that it stands in give the same tensor: the innermost names it best, and is called first.
    sides = {name: min(outputs[name].shape[2:]) for name in once}
    last = [name for name in once if sides[name] >= min(USEFUL, max(sides.values()))][-1]
    name = next(one for one in once if outputs[one] is outputs[last])
    height, width = outputs[name].shape[2:]
    side = inputs.shape[3]
    step = min(max(1, round(side / width)), side / width)
    return MapLayer(name, modules[name], height, width, step * width / side)


def twins_of(context: Context) -> tuple[list[Network], list[int]]:
    """A run's model as it is before any training, `TWINS` times, and the seeds of its weights: never the run's own."""
    experiment = context.run.experiment
    seeds = [seed for seed in range(TWINS + 1) if seed != experiment.train.seed][:TWINS]
    twins = []
    for seed in seeds:
        fresh = experiment.model_copy(update={"train": experiment.train.model_copy(update={"seed": seed})})
        model = build_model(fresh, context.names).to(context.device)
        twins.append(Network(model, context.network.preprocess).eval())
    return twins, seeds


def gradcam_maps(model: nn.Module, layer: nn.Module, inputs: Tensor, targets: Labels) -> Maps:
    """Grad-CAM of a layer for one class of each input, float32 (m, cells down, cells across), 0 or more.

    The layer's channels are weighted by the mean gradient of the class's logit, summed, and cut off at 0.
    """
    from captum.attr import LayerGradCam

    # With gradients on the way in, any layer has one, frozen weights or not.
    wanted = inputs.detach().requires_grad_()
    target = torch.from_numpy(targets).to(inputs.device)
    found = LayerGradCam(model, layer).attribute(wanted, target=target, relu_attributions=True)
    return np.asarray(found.detach().float().cpu().numpy()[:, 0], dtype=np.float32)


def occlusion_maps(network: Network, images: Pixels, targets: Labels, device: str, temperature: float = 1.0) -> Maps:
    """How much of a class's probability goes when a square of each image is covered, float32 (m, s, s).

    The square is a sixth of the side and moves by a twelfth; it is filled with the image's mean gray. A pixel has the
    mean of all squares that cover it; below 0, the class gains.
    """
    from captum.attr import Occlusion

    size = images.shape[-1]
    window, step = max(1, round(_WINDOW * size)), max(1, round(_STEP * size))
    given = torch.from_numpy(np.ascontiguousarray(images)).to(device, torch.float32)
    found = Occlusion(partial(network.probabilities, temperature=temperature)).attribute(
        given,
        sliding_window_shapes=(images.shape[1], window, window),
        strides=(images.shape[1], step, step),
        baselines=given.mean(dim=(2, 3), keepdim=True).expand_as(given),
        target=torch.from_numpy(targets).to(device),
        perturbations_per_eval=max(1, _BATCH // len(images)),
    )
    # All channels of a place are covered together and share one value.
    return np.asarray(found.detach().float().cpu().numpy().mean(axis=1), dtype=np.float32)


def rank_correlations(a: Values, b: Values) -> Values:
    """Spearman's rank correlation of each row of a with that of b (m, cells), float64 (m,); NaN where one is constant.

    >>> rank_correlations(np.array([[1.0, 2, 3], [1, 1, 1]]), np.array([[1.0, 4, 9], [1, 2, 3]])).tolist()
    [1.0, nan]
    """
    first, second = (rankdata(one, axis=1) - (one.shape[1] + 1) / 2 for one in (a, b))
    with np.errstate(invalid="ignore"):
        return np.asarray((first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1)))


def compare(maps: Maps, twins: Maps, labels: Labels, names: Sequence[str]) -> tuple[dict[str, Any], Arrays]:
    """The mean maps of all rows and of each class that has some, and how alike those of a model and its twins are.

    `maps` is (n, h, w), `twins` (t, n, h, w), `labels` int64 (n,) in the order of `names`. `classes` says, in the order
    of the mean maps: `n`; `alike`, the mean over the twins of Spearman's rank correlation of the two mean maps; and its
    95 % percentile `interval` over bootstrap samples of the rows, drawn class by class, and of the twins (None: a map
    has the same value everywhere). `single` has the mean of the rank correlations of single rows, and its interval;
    `empty` counts the maps with the same value everywhere, which have none. Arrays: `mean`, `twin` of the first twin.
    """
    n, height, width = maps.shape
    every = np.concatenate([maps[None], twins]).reshape(1 + len(twins), n, -1)
    table = every.transpose(1, 0, 2).reshape(n, -1).astype(np.float64)
    means, samples, classes = [table.mean(axis=0)], np.zeros((1, table.shape[1])), []
    for number, name in enumerate(names):
        own = table[labels == number]
        if not len(own):
            continue
        means.append(own.mean(axis=0))
        drawn = resampled_means(own, _DRAWS, seed=number)
        samples = samples + drawn * (len(own) / n)
        classes.append({"class": name, "n": len(own), **_alike(means[-1], drawn, len(twins))})
    single = _correlations(table, len(twins))
    single = single[np.isfinite(single).all(axis=1)]
    mean = single.mean(axis=0, keepdims=True) if len(single) else np.full((1, len(twins)), np.nan)
    sampled = resampled_means(single, _DRAWS) if len(single) else mean
    result = {
        "classes": [{"class": ALL, "n": n, **_alike(means[0], samples, len(twins))}, *classes],
        "single": {"n": len(single), **_over_twins(mean, sampled)},
        "empty": {"model": _empty(maps), "twins": [_empty(twin) for twin in twins]},
    }
    both = np.stack(means).astype(np.float32).reshape(-1, 1 + len(twins), height, width)
    return result, {"mean": both[:, 0], "twin": both[:, 1]}


def _correlations(table: Values, twins: int) -> Values:
    """The rank correlation of a model's maps with those of each twin, (m, twins), of all their cells side by side."""
    model, *others = np.split(table, 1 + twins, axis=1)
    return np.stack([rank_correlations(model, other) for other in others], axis=1)


def _alike(mean: Values, samples: Values, twins: int) -> dict[str, Any]:
    return _over_twins(_correlations(mean[None], twins), _correlations(samples, twins))


def _over_twins(found: Values, samples: Values) -> dict[str, Any]:
    """The mean of found values (1, twins), and its interval by samples of rows (draws, twins) and of the twins.

    Of t twins t − 1 are drawn, without which a few would seem to vary too little (see `resample_seeds`).
    """
    if not np.isfinite(found).all():
        return {"alike": None, "interval": None}
    samples = samples[np.isfinite(samples).all(axis=1)]
    twins = found.shape[1]
    drawn = np.random.default_rng(0).integers(0, twins, (len(samples), max(twins - 1, 1)))
    values = np.take_along_axis(samples, drawn, axis=1).mean(axis=1)
    value = float(found.mean())
    return {"alike": value, "interval": list(percentile_interval(values, value))}


def _empty(maps: Maps) -> int:
    """How many maps have the same value everywhere."""
    return int((maps.max(axis=(1, 2)) == maps.min(axis=(1, 2))).sum())


@register("explanation", "gradcam")
def gradcam(context: Context, chosen: Sequence[int] = ()) -> tuple[dict[str, Any], Arrays]:
    """Grad-CAM over all rows of a context as the mean by true class, and of chosen rows (positions), beside twins'.

    Means are of the map of each row's own class, as shares of the map's sum, so that each row counts alike; the maps of
    chosen rows (else the typical ones) are of the class that the model says. Arrays: `mean` and `twin` (1 + k, h, w) in
    the order of `classes`; `images` uint8 (m, c, s, s), `maps` and `twin_maps` (m, h, w) of the rows, `twin…` those of
    the first twin; `outline` (68, 2). Raises MienError for a model without convolutions.
    """
    twins, seeds = twins_of(context)
    example = context.inputs(slice(0, 1))
    found = [(one.model, last_map(one.model, example)) for one in (context.network, *twins)]

    def every(index: Labels, targets: Labels) -> Maps:
        inputs = context.inputs(index)
        return np.stack([gradcam_maps(model, layer.module, inputs, targets) for model, layer in found])

    maps = _shares(_all(context, "Grad-CAM", _BATCH, every))
    compared, arrays = compare(maps[0], maps[1:], context.labels, context.names.classes)
    layer = found[0][1]
    about = {"layer": layer.name, "map": [layer.height, layer.width], "cover": layer.cover, "twin_seeds": seeds}
    return _with_rows(context, chosen, every, {**context.about, **about, **compared}, arrays)


@register("explanation", "occlusion")
def occlusion(
    context: Context, chosen: Sequence[int] = (), per_class: int = PER_CLASS
) -> tuple[dict[str, Any], Arrays]:
    """Occlusion over `per_class` rows of each class of a context (seed 0), and of chosen rows, beside twins'.

    Means are of the loss of probability of each row's own class; the maps of chosen rows are of the class that the
    model says. `n` counts the rows that were drawn, `of` those they were drawn from. Arrays as for `gradcam`.
    """
    places = balanced(context.labels, per_class)
    drawn = take(context, places)
    twins, seeds = twins_of(context)
    size = context.images.shape[-1]

    def every(index: Labels, targets: Labels) -> Maps:
        images, device, temperature = context.images[index], context.device, context.temperature or 1.0
        return np.stack(
            [occlusion_maps(one, images, targets, device, temperature) for one in (context.network, *twins)]
        )

    maps = _all(drawn, "occlusion", _OCCLUDED, lambda index, targets: every(places[index], targets))
    compared, arrays = compare(maps[0], maps[1:], drawn.labels, context.names.classes)
    about = {
        "of": len(context),
        "per_class": per_class,
        "window": max(1, round(_WINDOW * size)),
        "step": max(1, round(_STEP * size)),
        "map": [size, size],
        "cover": 1.0,
        "twin_seeds": seeds,
    }
    return _with_rows(context, chosen, every, {**drawn.about, **about, **compared}, arrays)


def _all(context: Context, what: str, batch: int, every: Callable[[Labels, Labels], Maps]) -> Maps:
    """The maps of all rows for their own classes, of the model and its twins: (1 + twins, n, h, w)."""
    parts = []
    with progress(f"{what} of {context.run.name}", len(context)) as advance:
        for start in range(0, len(context), batch):
            index = np.arange(start, min(start + batch, len(context)))
            parts.append(every(index, context.labels[index]))
            advance(len(index))
    return np.concatenate(parts, axis=1)


# So many images are occluded at once, each in several places.
_OCCLUDED = 16


def balanced(labels: Labels, per_class: int, seed: int = 0) -> Labels:
    """Positions of rows drawn at random, `per_class` of each label or all that there are, in their order.

    >>> balanced(np.array([0, 0, 0, 1]), 2).tolist()
    [0, 2, 3]
    """
    random = np.random.default_rng(seed)
    drawn = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(drawn))


def take(context: Context, index: npt.NDArray[np.int64]) -> Context:
    """A context with the rows at these positions alone."""
    return replace(
        context,
        splits=tuple(context.splits[place] for place in index),
        ids=tuple(context.ids[place] for place in index),
        images=context.images[index],
        labels=context.labels[index],
        logits=context.logits[index],
    )


def _shares(maps: Maps) -> Maps:
    """Maps (…, h, w) as shares of their sums; one that is 0 everywhere stays so."""
    sums = maps.sum(axis=(-2, -1), keepdims=True)
    return np.asarray(np.divide(maps, sums, out=np.zeros_like(maps), where=sums > 0), dtype=np.float32)


def _with_rows(
    context: Context,
    chosen: Sequence[int],
    every: Callable[[Labels, Labels], Maps],
    result: dict[str, Any],
    arrays: Arrays,
) -> tuple[dict[str, Any], Arrays]:
    """A result with what is said of chosen rows, or the typical ones, and arrays with their images and maps."""
    typical = typical_rows(context)
    index = np.array(chosen or typical, dtype=np.int64)
    given = probabilities_of(context)
    maps = every(index, given[index].argmax(axis=1))
    flat = maps.transpose(1, 0, 2, 3).reshape(len(index), -1).astype(np.float64)
    rows = []
    for place, alike in zip(index.tolist(), _correlations(flat, len(maps) - 1), strict=True):
        known = alike[np.isfinite(alike)]
        rows.append({**row_facts(context, place, given), "alike": float(known.mean()) if len(known) else None})
    arrays = {
        **arrays,
        "outline": outline(context.dataset, context.splits),
        "images": context.images[index],
        "maps": maps[0],
        "twin_maps": maps[1],
    }
    return {**result, "rule": RULE if index.tolist() == typical else "asked for", "rows": rows}, arrays
