"""Weights with what is needed to use them: safetensors whose header holds model, input, classes and temperature."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien import __version__
from mien.data.labels import LabelScheme
from mien.errors import MienError
from mien.experiment.schema import Experiment
from mien.extras import require
from mien.files import replacing
from mien.reading import check, parse_json, reading
from mien.runs.stored import WeightsHeader
from mien.tasks import EXPRESSION

if TYPE_CHECKING:
    from torch import Tensor


def save_weights(
    path: Path,
    state: "dict[str, Tensor]",
    experiment: Experiment,
    names: LabelScheme,
    fingerprint: str,
    limits: str = "",
    start: Mapping[str, Any] | None = None,
) -> None:
    """Write a model's tensors, and in the header (key `mien`, JSON) what they are for and under which `limits`.

    `start` is the record of the weights that the training began with, where that is known.
    """
    from safetensors.torch import save

    header: dict[str, Any] = {
        "mien": __version__,
        "experiment": experiment.name,
        "task": experiment.task.name,
        "limits": limits,
        "labels": names.name,
        "classes": names.classes,
        "input": {"size": experiment.dataset.size, "color": experiment.dataset.color, "range": [0, 255]},
        "preprocess": [op.model_dump(mode="json") for op in experiment.preprocess],
        "model": experiment.model.model_dump(mode="json"),
        "protocol": experiment.protocol.model_dump(mode="json"),
        "dataset": {"name": experiment.dataset.name, "fingerprint": fingerprint},
        "epochs": experiment.train.epochs,
        "seed": experiment.train.seed,
        "start_weights": start,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with replacing(path) as temporary:
        # Its own way of writing files hides a full disk behind an error of its own.
        temporary.write_bytes(save(tensors, metadata={"mien": json.dumps(header, ensure_ascii=False)}))


def read_header(path: Path) -> dict[str, Any]:
    """What a weights file says of itself: see `save_weights`, and `temperature` where one was stored.

    Raises MienError for a file that isn't there, or that mien didn't write.
    """
    require("a file of weights", "safetensors")
    from safetensors import safe_open

    try:
        with reading(path, "the weights", MienError), safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "mien" not in metadata:
                raise MienError("these aren't weights that mien wrote")
            header: dict[str, Any] = parse_json(metadata["mien"])
    except FileNotFoundError as error:
        raise MienError("there are no weights; the run isn't finished", file=str(path)) from error
    check(header, WeightsHeader, path, "what the weights say of themselves", MienError)
    # Older ones don't say it.
    return {"task": EXPRESSION, **header}


def store_temperature(path: Path, temperature: float) -> None:
    """Write a temperature into a weights file's header; the tensors stay as they are, byte for byte."""
    read_header(path)
    data = path.read_bytes()
    # The format: 8 bytes with the length of the header, the header as JSON, the tensors.
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["mien"])
    header["__metadata__"]["mien"] = json.dumps({**about, "temperature": temperature}, ensure_ascii=False)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary:
        temporary.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
