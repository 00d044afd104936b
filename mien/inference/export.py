"""`mien export`: a run as one ONNX file, checked against PyTorch before it is kept."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mien.errors import FailedError, MienError
from mien.files import replacing
from mien.inference.graph import Parts, Precision
from mien.inference.model import Model, file_header, load_run, own_weights
from mien.inference.network import TorchBackend
from mien.inference.onnx_files import OnnxBackend, open_session
from mien.inference.weights import read_header
from mien.protocols import Part, Role
from mien.protocols.batches import EVALUATION_BATCH, Samples
from mien.runs.rows import own_dataset, own_roles
from mien.runs.run import Run
from mien.runs.stored import read_metrics
from mien.tasks import resolve
from mien.tasks.base import targets_of

# So many images are compared one by one, and so many fit rows scale int8.
IMAGES = 512
# The largest difference of a probability, or of a point as a share of the image's side, in float32.
LARGEST_DIFFERENCE = 1e-5
# How far the score on the choose role may move in float16 and int8: half a point.
LARGEST_SHIFT = 0.005


def export_run(run: Run, to: Path | None = None, precision: Precision = "float32") -> dict[str, Any]:
    """Write a finished run as one ONNX file, by default `<name>-<number>[-<precision>].onnx` in the current folder.

    The file is compared with PyTorch on rows of the choose role. Gives `run`, `file`, `bytes`, `sha256`, `precision`
    and `parity`: `split`, `n`, `score` (its name), `torch` and `onnx` (the score of each), `shift` (of it),
    `largest_difference` (of an answer) and `limit` (of that in float32, of the shift in others).
    Raises FailedError, and writes nothing, where they differ by more than the limit.
    """
    model = load_run(run)
    assert isinstance(model.backend, TorchBackend)
    # The exporter and the file both run on the CPU, so what they are compared with does, too.
    network = model.backend.network.cpu()
    model = replace(model, backend=TorchBackend(network, "cpu"))
    gray = model.color == "gray"
    parts: Parts = resolve(run.experiment.task.graph)(network, model.size, gray, model.temperature or 1.0)
    rows = _rows(run, model, "fit", IMAGES) if precision == "int8" else None
    calibration = None if rows is None else parts.inputs(rows[0].images(rows[1]))
    about = json.dumps(_about(run, precision, parts.raw), ensure_ascii=False)
    data = parts.joined(precision, {"mien": about}, calibration)
    ending = "" if precision == "float32" else f"-{precision}"
    path = to or Path(f"{run.name.replace('/', '-')}{ending}.onnx")
    if path.suffix != ".onnx":
        raise MienError(f"'{path.name}' isn't called as an ONNX file", key="--to", expected=f"{path.stem}.onnx")
    if path.exists() and file_header(path) is None:
        raise MienError("this file isn't one that mien exported", file=str(path), expected="--to with another name")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
        parity = _parity(run, model, parts, temporary, precision)
        shift, limit = parity["largest_difference" if precision == "float32" else "shift"], parity["limit"]
        if not shift <= limit:
            raise FailedError(
                f"the {precision} file isn't the run {run.name}: on {parity['split']}, n = {parity['n']:,}, "
                f"{'an answer' if precision == 'float32' else parity['score']} differs by {shift:.2g}",
                expected=f"at most {limit:g}; nothing was written",
            )
    return {
        "run": run.name,
        "file": str(path),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "precision": precision,
        "parity": parity,
    }


def _rows(run: Run, model: Model, role: Role, most: int | None) -> tuple[Samples, npt.NDArray[np.int64]]:
    """The rows of a role as they are measured, and the places of all of them, or of `most` that lie evenly."""
    dataset = own_dataset(run)
    parts: tuple[Part, ...] = own_roles(run, dataset).of(role)
    task, targets = run.experiment.task, targets_of(run.experiment.loss)
    # As choose rows also those to fit, whose faces would come with room for augmentation.
    samples = task.samples(dataset, parts, "choose", model.size, model.color, model.scheme, targets)
    n = len(samples) if most is None else min(most, len(samples))
    return samples, np.linspace(0, len(samples) - 1, n).astype(np.int64)


def _parity(run: Run, model: Model, parts: Parts, file: Path, precision: Precision) -> dict[str, Any]:
    """How the file and PyTorch compare on choose rows: `IMAGES` of them in float32, else all."""
    samples, places = _rows(run, model, "choose", IMAGES if precision == "float32" else None)
    answers = replace(model, backend=OnnxBackend(open_session(file)[0], parts.answer))
    task, targets = run.experiment.task, targets_of(run.experiment.loss)
    difference = 0.0
    scores: dict[str, list[torch.Tensor]] = {"torch": [], "onnx": []}
    for start in range(0, len(places), EVALUATION_BATCH):
        batch = samples.batch(places[start : start + EVALUATION_BATCH])
        images = samples.images(batch.rows.numpy())
        outputs = torch.from_numpy(model.outputs(images))
        told = {
            "torch": torch.softmax(outputs / (model.temperature or 1.0), 1) if task.classes else outputs,
            "onnx": torch.from_numpy(answers.outputs(images)),
        }
        difference = max(difference, float((told["torch"] - told["onnx"]).abs().max()))
        true = task.batch_targets(targets, batch, images.shape[1])
        for name, of in told.items():
            scores[name].append(next(iter(task.row_scores(of, true, batch.labels).values())).double())
    means = {name: float(torch.cat(of).mean()) for name, of in scores.items()}
    limit = LARGEST_DIFFERENCE if precision == "float32" else LARGEST_SHIFT
    return {
        "split": " + ".join(dict.fromkeys(samples.splits)),
        "n": len(places),
        "score": task.score.key,
        **means,
        "shift": abs(means["torch"] - means["onnx"]),
        "largest_difference": difference,
        "limit": limit,
    }


def _about(run: Run, precision: Precision, raw: str) -> dict[str, Any]:
    """What the file says of itself: the header of the run's weights, and what was measured of the run."""
    weights = own_weights(run)
    metrics = {role: run.metrics_file(role) for role in ("choose", "report")}
    return {
        **read_header(weights),
        "run": run.name,
        "precision": precision,
        "raw_output": raw,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "exclude": run.content.get("exclude", []),
        "metrics": {role: numbers(read_metrics(file)) for role, file in metrics.items() if file.is_file()},
    }


def numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """The scores of a metrics file with their rows, intervals and clean twins, at each size where there are several."""
    kept: dict[str, Any] = {}
    for key, value in metrics.items():
        if isinstance(value, str | int | float) or key == "interval":
            kept[key] = value
        elif isinstance(value, dict) and (key in ("clean", "sizes") or key.isdigit()):
            kept[key] = numbers(value)
    return kept
