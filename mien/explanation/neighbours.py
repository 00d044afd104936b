"""The rows that a model was fit on and that it sees as most alike: by the cosine of its features.

Features are the input of the last linear layer. A row whose nearest neighbour is its own copy was met before.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.audit import copies
from mien.explanation.context import Context, fit_samples, split_and_id
from mien.explanation.layers import feature_layer, flat, inputs_of
from mien.explanation.rows import Indices, probabilities_of, row_facts, typical_rows
from mien.explanation.storage import Arrays
from mien.intervals import Values, proportion
from mien.progress import progress
from mien.protocols.batches import EVALUATION_BATCH, Samples
from mien.registry import register

NEAREST = 5
_COPIES, _LIKEST = 3, 4
# Why a row is shown.
ASKED, TYPICAL, COPIED, ALIKE = (
    "asked for",
    "that are surest of their class",
    "with an exact copy among the fit rows",
    "most alike to a fit row without being an exact copy",
)
# What a row of the role is to a row that the model was fit on.
EXACT, NEAR = "exact copy", "near copy"


@register("explanation", "neighbours")
def neighbours(context: Context, chosen: Sequence[int] = ()) -> tuple[dict[str, Any], Arrays]:
    """The `NEAREST` fit rows of rows by the cosine of features; the row itself, where it was fit on, isn't counted.

    Rows are the chosen ones, else (`why`): the typical ones, then the first that have an exact copy among the fit rows,
    then the likest of those that have none. `rows` has for each its `nearest` with split, id, label, `similarity` and
    `copy` ("exact copy", "near copy" or None, by the audit's groups; near ones only where they were looked for).
    Over all n rows: `copies` counts those with an exact copy in fit, and `found` how many of these have it as their
    nearest; `same_label` and `as_predicted` are the shares whose nearest fit row has the row's label or the model's
    answer, `{n, value, interval}` (Wilson, 95 %). Arrays: `images` uint8 (m, c, s, s), `nearest` (m, NEAREST, c, s, s),
    `similarity` float32 (n,), that of the nearest fit row.
    """
    fit = fit_samples(context)
    fit_rows = split_and_id(fit)
    at, similarity = _nearest(context, fit, fit_rows)
    exact, near = _groups(context, context.rows, near=False), _groups(context, context.rows, near=True)
    fit_exact, fit_near = _groups(context, fit_rows, near=False), _groups(context, fit_rows, near=True)
    copied = _has_copy(exact, fit_exact, context.rows, fit_rows)
    nearest = at[:, 0]
    found = copied & (exact == fit_exact[nearest]) & (exact >= 0)
    given = probabilities_of(context)

    def copy(row: int, other: int) -> str | None:
        if exact[row] >= 0 and exact[row] == fit_exact[other]:
            return EXACT
        return NEAR if near[row] >= 0 and near[row] == fit_near[other] else None

    shown = _shown(context, chosen, copied, similarity[:, 0])
    rows = []
    for why, row in shown:
        others = [
            {
                "split": fit_rows[other][0],
                "id": fit_rows[other][1],
                "label": context.names.classes[int(fit.labels[other])],
                "similarity": round(float(alike), 4),
                "copy": copy(row, other),
            }
            for other, alike in zip(at[row].tolist(), similarity[row], strict=True)
        ]
        rows.append({"why": why, **row_facts(context, row, given), "nearest": others})
    index = np.array([row for _, row in shown], dtype=np.int64)
    pictures = [fit.images(at[row]).transpose(0, 3, 1, 2) for row in index]
    result = {
        **context.about,
        "fit": {"split": " + ".join(dict.fromkeys(split for split, _ in fit_rows)), "n": len(fit)},
        "features": feature_layer(context.network.model, context.inputs([0])),
        "copies": int(copied.sum()),
        "found": int(found.sum()),
        "same_label": proportion(fit.labels[nearest] == context.labels),
        "as_predicted": proportion(fit.labels[nearest] == context.predicted),
        "rows": rows,
    }
    return result, {
        "images": context.images[index],
        "nearest": np.stack(pictures),
        "similarity": similarity[:, 0].astype(np.float32),
    }


def _nearest(context: Context, fit: Samples, fit_rows: list[tuple[str, str]]) -> tuple[Indices, Values]:
    """The nearest fit rows of each row, int64 (n, NEAREST), and their cosines (n, NEAREST), the nearest first."""
    number = min(NEAREST, len(fit) - 1)
    own = torch.cat(list(_features(context, context.images, "features of the rows")))
    place = {row: index for index, row in enumerate(fit_rows)}
    itself = torch.tensor([place.get(row, -1) for row in context.rows])
    best = torch.full((len(own), number), -torch.inf)
    at = torch.full((len(own), number), -1)
    start = 0
    everything = np.arange(len(fit))
    chunks = (fit.images(everything[i : i + 2048]).transpose(0, 3, 1, 2) for i in range(0, len(fit), 2048))
    with progress("features of the fit rows", len(fit)) as advance:
        for chunk in chunks:
            theirs = torch.cat(list(_features(context, chunk)))
            alike = own @ theirs.T
            here = (itself >= start) & (itself < start + len(theirs))
            alike[here, itself[here] - start] = -torch.inf
            first, place_of = alike.topk(min(number, len(theirs)), dim=1)
            best, order = torch.cat([best, first], dim=1).topk(number, dim=1)
            at = torch.cat([at, place_of + start], dim=1).gather(1, order)
            start += len(theirs)
            advance(len(theirs))
    # Of equally near ones the first.
    similarity, index = best.double().numpy().round(6), at.numpy()
    by_row = np.lexsort((index, -similarity), axis=1)
    return np.take_along_axis(index, by_row, axis=1), np.take_along_axis(similarity, by_row, axis=1)


def _features(context: Context, images: npt.NDArray[np.uint8], what: str = "") -> Iterator[Tensor]:
    """The features of images, batch by batch, float32 (m, d), each of length 1."""
    model = context.network.model
    layer = feature_layer(model, context.inputs([0]))
    for start in range(0, len(images), EVALUATION_BATCH):
        inputs = context.network.inputs(context.pixels(images[start : start + EVALUATION_BATCH]))
        yield torch.nn.functional.normalize(flat(inputs_of(model, layer, inputs)).float(), dim=1)


def _groups(context: Context, rows: list[tuple[str, str]], *, near: bool) -> Indices:
    """The group of copies of each row, by the audit or by its pixels, int64 (rows,); −1 for none."""
    found = copies(context.dataset, near=False)
    groups: dict[tuple[str, str], int] = {}
    for split in dict.fromkeys(split for split, _ in rows):
        of_split = found.near(split) if near else found.exact(split)
        if of_split is not None:
            ids = context.dataset.ids(split)
            groups.update(zip(((split, id_) for id_ in ids), of_split.tolist(), strict=True))
    return np.array([groups.get(row, -1) for row in rows], dtype=np.int64)


def _has_copy(
    groups: Indices, fit_groups: Indices, rows: list[tuple[str, str]], fit_rows: list[tuple[str, str]]
) -> npt.NDArray[np.bool_]:
    """Which rows have an exact copy among the fit rows that isn't the row itself."""
    there = np.bincount(fit_groups[fit_groups >= 0], minlength=int(groups.max(initial=0)) + 1)
    fitted = set(fit_rows)
    own = np.array([row in fitted for row in rows])
    return np.asarray((groups >= 0) & (there[np.maximum(groups, 0)] - own > 0))


def _shown(
    context: Context, chosen: Sequence[int], copied: npt.NDArray[np.bool_], alike: Values
) -> list[tuple[str, int]]:
    """The rows that are shown, each with why."""
    if chosen:
        return [(ASKED, row) for row in chosen]
    typical = typical_rows(context)
    others = np.setdiff1d(np.arange(len(context)), typical)
    twins = others[copied[others]][:_COPIES]
    strangers = others[~copied[others]]
    likest = strangers[np.argsort(-alike[strangers], kind="stable")][:_LIKEST]
    return [
        *((TYPICAL, row) for row in typical),
        *((COPIED, int(row)) for row in twins),
        *((ALIKE, int(row)) for row in likest),
    ]
