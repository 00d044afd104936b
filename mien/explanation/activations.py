"""What layers make of single images: the maps of their channels, for rows of the data set and for drawn faces."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mien.data.labels import canonical
from mien.data.synthetic import CLASSES, faces
from mien.explanation.context import Context
from mien.explanation.layers import choose_layers, map_layers, outputs_of
from mien.explanation.rows import RULE, probabilities_of, row_facts, surest, typical_classes, typical_rows
from mien.explanation.storage import Arrays
from mien.metrics.probabilities import probabilities
from mien.registry import register

CHANNELS = 64
_DRAWN, _SEED = 70, 2021


@register("explanation", "activations")
def activations(
    context: Context, chosen: Sequence[int] = (), layers: Sequence[str] = ()
) -> tuple[dict[str, Any], Arrays]:
    """The maps that layers, or for none named the first two convolutions, give for chosen rows, or the typical ones.

    A convolution's map is what it gives before any activation function. The result's `rows` say which rows, `drawn`
    which drawn faces (by mien, chosen by the same rule; they can be shown to everyone), `layers` the name, kind, shape
    (c, h, w) of each layer and how many channels are kept. Arrays: `images` and `drawn_images` uint8 (m, c, s, s),
    `layer<i>` and `drawn_layer<i>` float32 (m, channels kept, h, w). Raises MienError for unknown layers.
    """
    model, given = context.network.model, probabilities_of(context)
    rows = np.array(chosen or typical_rows(context), dtype=np.int64)
    inputs = context.inputs(rows)
    found = choose_layers(map_layers(model, inputs), layers)
    drawn_images, drawn = drawn_faces(context)
    names = [layer.name for layer in found]
    parts = {
        "": outputs_of(model, names, inputs),
        "drawn_": outputs_of(model, names, context.network.inputs(context.pixels(drawn_images))),
    }
    arrays: Arrays = {"images": context.images[rows], "drawn_images": drawn_images}
    for prefix, maps in parts.items():
        for number, name in enumerate(names):
            arrays[f"{prefix}layer{number}"] = maps[name][:, :CHANNELS].float().numpy()
    return {
        **context.about,
        "rule": "asked for" if chosen else RULE,
        "rows": [row_facts(context, int(index), given) for index in rows],
        "drawn": drawn,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "channels_kept": min(layer.shape[0], CHANNELS),
            }
            for layer in found
        ],
    }, arrays


def drawn_faces(context: Context) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
    """Drawn faces of the typical classes at the run's size and colour, uint8 (m, c, s, s), and what is said of each.

    They are the surest ones, right where any is, of `_DRAWN`; of a run that knows no such classes the first three.
    """
    section = context.run.experiment.dataset
    drawn = list(faces(_DRAWN, size=section.size, color=section.color, seed=_SEED, workers=1))
    images = np.stack([image.reshape(section.size, section.size, -1) for image, _, _ in drawn]).transpose(0, 3, 1, 2)
    place = {canonical(name): index for index, name in enumerate(context.names.classes)}
    labels = np.array([place.get(CLASSES[label], -1) for _, label, _ in drawn], dtype=np.int64)
    with torch.inference_mode():
        logits = context.network(context.pixels(images)).cpu().numpy()
    given = probabilities(logits, context.temperature or 1.0)
    rows = surest(labels, given, typical_classes(context.names))
    if not len(rows):
        rows = np.arange(3)
    return images[rows], [
        {
            "id": f"drawn {row}",
            "label": CLASSES[drawn[row][1]],
            "predicted": context.names.classes[int(given[row].argmax())],
            "p_predicted": round(float(given[row].max()), 4),
        }
        for row in rows.tolist()
    ]
