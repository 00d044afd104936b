"""Landmark models beside PFLD and the mean shape, on the same squares of the same faces; and faces a second as ONNX.

    python benchmarks/landmarks.py landmarks-small --peer pfld_68.onnx
    python benchmarks/landmarks.py landmarks-small --datasets helen youtube --peer pfld_68.onnx --write results
    python benchmarks/landmarks.py landmarks-small --peer pfld_68.onnx --speed --write results

A model is a run of the workspace (MIEN_HOME), an ONNX file of one, or one that mien ships, measured by `mien evaluate`;
with `--datasets` on each of these, whatever the protocol. The peer is an ONNX file with one input, RGB (n, 3, 112, 112)
in 0 … 1, and 68 × (x, y) as shares of the crop. It gets 8-bit pixels by the resize with which it errs least on other
splits of the data set. With `--speed` the first model's ONNX is timed at 48 px, with PFLD in turns on the same faces:
on shared machines the ratio tells more than the rates. Without, a page that is written keeps the speed that it told
before.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from mien.comparison.tables import over_groups, p_value
from mien.data.dataset import Dataset, open_dataset
from mien.environment import describe
from mien.errors import MienError
from mien.faces.shares import as_shares
from mien.files import write_json, write_text
from mien.inference.export import export_run
from mien.inference.named import named_model
from mien.intervals import with_interval
from mien.metrics.nme import image_errors, measure_points, paired
from mien.protocols import Part
from mien.protocols.batches import Samples, load_faces
from mien.reading import read_json
from mien.report.wording import in_percent, scored
from mien.runs.model_file import ModelFile, find_measured
from mien.runs.predictions import SIZES, read_groups, read_points
from mien.runs.run import Run
from mien.workspace import Workspace, find_workspace

Shares = npt.NDArray[np.float32]
WANTED = 500  # faces a second at 48 px
_TURNS = 12
_FACES = 256


# The peer's input, the ways in which a picture may come to that size, and on how many faces the best is looked for.
_SIDE = 112
RESIZES = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "Lanczos": cv2.INTER_LANCZOS4,
}
_TRIED = 100

# What a reader must know of a data set.
_KNOWN = {
    "helen": "The peer may have seen these photos in training.",
    "youtube": "A machine placed these points, so errors below its own can't be told; no model of mien's has seen "
    "these persons, the peer may have.",
}


class Measured(dict[str, Any]):
    """What `mien evaluate` measured of a model, with the file of its `predictions`."""

    def __init__(self, of: Run | ModelFile, dataset: str | None) -> None:
        super().__init__(of.measured())
        self.predictions = of.predictions("report")
        if dataset is None or self["dataset"] == dataset:
            return
        found = sorted(of.folder.glob(f"evaluations/*@{dataset}/metrics.json"), key=lambda file: file.stat().st_mtime)
        if not found:
            raise MienError(
                f"{of.name} isn't measured on {dataset}", expected=f"mien evaluate {of.name} --dataset {dataset} first"
            )
        self.update(read_json(found[-1]))
        self.predictions = found[-1].with_name("predictions.parquet")


def main() -> None:
    """Measure, print and, when asked, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--datasets", nargs="+", default=[None])
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    home = find_workspace(None)
    models = [one for name in arguments.models for one in find_measured(home, named_model(home, name))]
    measured: dict[str, Any] = {"sets": [compare(home, models, arguments.peer, one) for one in arguments.datasets]}
    if arguments.speed:
        measured["speed"] = speed(models[0], arguments.peer)
        measured["machine"] = {key: describe()[key] for key in ("cpu", "cores") if key in describe()}
    elif arguments.write and (arguments.write / "landmarks.json").is_file():
        before = read_json(arguments.write / "landmarks.json")
        measured |= {key: before[key] for key in ("speed", "machine") if key in before}
    text = page(measured)
    print(text)
    if arguments.write:
        write_text(arguments.write / "landmarks.md", text)
        write_json(arguments.write / "landmarks.json", measured)


def compare(
    home: Workspace, models: Sequence[Run | ModelFile], peer: Path, dataset: str | None = None
) -> dict[str, Any]:
    """Errors of the models, the peer and the mean shape by size, and their paired differences from the first model."""
    files = {Path(one.name).stem: Measured(one, dataset) for one in models}
    first = next(iter(files.values()))
    opened = open_dataset(home, first["dataset"])
    rows, resizes = [], {}
    for size in SIZES:
        where, true, _ = read_points(first.predictions, size)
        groups = read_groups(first.predictions, size)
        found = {}
        for name, one in files.items():
            rows_of, _, found[name] = read_points(one.predictions, size)
            if rows_of != where:
                raise MienError(f"{name} is measured on other rows than {next(iter(files))}", expected="the same rows")
        resizes[size], found[peer.stem] = by_peer(opened, where, peer, size)
        own = image_errors(next(iter(found.values())), true)
        for name, points in found.items():
            of = measure_points(points, true, groups=groups)
            errors = image_errors(points, true)
            difference = None if points is next(iter(found.values())) else paired(errors, own, groups=groups)
            rows.append({"name": name, "size": size, **of, "difference": difference and difference._asdict()})
    rows.append({"name": "mean shape", "size": SIZES[0], **first["mean_shape"], "difference": None})
    about = {key: first[key] for key in ("dataset", "split", "n", "normaliser", "groups", "grouped_by")}
    return {**about, "first": next(iter(files)), "peer": peer.stem, "resizes": resizes, "rows": rows}


def by_peer(dataset: Dataset, where: Sequence[tuple[str, str]], peer: Path, size: int) -> tuple[str, Shares]:
    """The peer's points on these rows (split and id), cut at `size` pixels: in colour, at 48 px in gray.

    Also the name of the resize that brings them to its own size: that by which it errs least on other splits, or the
    first where the data set has no others.
    """
    session = onnxruntime.InferenceSession(peer, providers=["CPUExecutionProvider"])
    splits = list(dict.fromkeys(split for split, _ in where))
    others = [split for split in dataset.card.splits if split not in splits]
    best = next(iter(RESIZES))
    if others:
        parts = [Part(split, np.arange(min(_TRIED, dataset.rows(split)))) for split in others]
        tried = faces_at(dataset, parts, size)
        true = as_shares(tried.batch(np.arange(len(tried))).points, size).numpy().reshape(-1, 68, 2)
        errors = {name: image_errors(points_by(session, tried, name), true).mean() for name in RESIZES}
        best = min(errors, key=lambda name: float(errors[name]))
    parts = []
    for split in splits:
        place = {id_: number for number, id_ in enumerate(dataset.ids(split))}
        parts.append(Part(split, np.array([place[id_] for of, id_ in where if of == split])))
    return best, points_by(session, faces_at(dataset, parts, size), best)


def faces_at(dataset: Dataset, parts: Sequence[Part], size: int) -> Samples:
    """Faces in a detector's squares, as models are measured on them."""
    return load_faces(dataset, parts, size, "gray" if size == SIZES[1] else "rgb", "detector")


def points_by(session: onnxruntime.InferenceSession, samples: Samples, resize: str) -> Shares:
    """A peer's points, shares of the side from the middle, of faces resized to its size as 8-bit pixels."""
    images = samples.batch(np.arange(len(samples))).images.permute(0, 2, 3, 1).numpy().astype(np.uint8)
    resized = [cv2.resize(one, (_SIDE, _SIDE), interpolation=RESIZES[resize]) for one in images]
    fitting = [one.reshape(_SIDE, _SIDE, -1) for one in resized]
    ready = np.stack([np.broadcast_to(one, (_SIDE, _SIDE, 3)) for one in fitting]).transpose(0, 3, 1, 2)
    name = session.get_inputs()[0].name
    out = [
        session.run(None, {name: (ready[start : start + 32] / np.float32(255)).astype(np.float32)})[0]
        for start in range(0, len(ready), 32)
    ]
    return np.asarray(np.concatenate(out).reshape(len(ready), 68, 2) - 0.5, dtype=np.float32)


def speed(model: Run | ModelFile, peer: Path) -> dict[str, Any]:
    """Faces a second of a model's ONNX at 48 px and of the peer's at its 112, in turns, on two threads; medians."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    faces = np.random.default_rng(0).integers(0, 256, (_FACES, 48, 48, 1)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        file = model.path if isinstance(model, ModelFile) else Path(folder) / "landmarks.onnx"
        if isinstance(model, Run):
            export_run(model, file, "float32")
        ours = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        about = {"onnx_bytes": file.stat().st_size}
    given = ours.get_inputs()[0].name
    other = onnxruntime.InferenceSession(peer, options, providers=["CPUExecutionProvider"])
    large = np.random.default_rng(0).random((_FACES, 3, _SIDE, _SIDE)).astype(np.float32)
    name = other.get_inputs()[0].name
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(_TURNS):
        for which, session, feed in (("ours", ours, {given: faces}), ("peer", other, {name: large})):
            started = time.perf_counter()
            for start in range(0, _FACES, 64):
                session.run(None, {key: value[start : start + 64] for key, value in feed.items()})
            times[which].append(time.perf_counter() - started)
    rates = {which: _FACES / float(np.median(of)) for which, of in times.items()}
    return {
        "run": Path(model.name).stem,
        "peer": peer.stem,
        "faces_per_second": rates["ours"],
        "peer_faces_per_second": rates["peer"],
        "ratio": rates["ours"] / rates["peer"],
        **about,
    }


def page(measured: dict[str, Any]) -> str:
    """All of it as Markdown."""
    first = measured["sets"][0]
    lines = [
        "# 68 points: mien's models beside PFLD and the mean shape",
        "",
        "Written by `benchmarks/landmarks.py`. Faces in a detector's squares, the same for all; errors in % of the "
        f"{first['normaliser']}; brackets are 95 % intervals. At 48 px the faces are gray. {first['peer']} gets 8-bit "
        "pixels by the resize with which it errs least on other photos of the data set. Weights trained on 300-W's "
        "annotations are for research only.",
        *(line for one in measured["sets"] for line in _set(one)),
    ]
    if of := measured.get("speed"):
        verdict = "as wanted" if of["faces_per_second"] >= WANTED else "fewer than wanted"
        lines += [
            "",
            f"{of['run']} as ONNX ({of['onnx_bytes'] / 1e6:.1f} MB) at 48 px on two threads: "
            f"{of['faces_per_second']:,.0f} faces a second ({verdict}: {WANTED}), {of['ratio']:.1f} × {of['peer']} at "
            f"its 112 px in the same run ({of['peer_faces_per_second']:,.0f}), on {measured['machine']['cpu']}.",
        ]
    return "\n".join(lines) + "\n"


def _set(one: dict[str, Any]) -> list[str]:
    """What was measured on one data set."""
    resizes = ", ".join(f"{size} px: {name}" for size, name in one["resizes"].items())
    known = _KNOWN.get(one["dataset"])
    lines = [
        "",
        f"## {one['dataset']}, {one['split']}",
        "",
        f"n = {one['n']}{over_groups(one)}; {one['peer']}'s resizes: {resizes}.{f' {known}' if known else ''}",
        "",
        f"| model | faces of | NME | NME by pupils | beyond 8 % | AUC to 8 % | NME less that of {one['first']} | p |",
        "| --- | ---: | --- | --- | --- | --- | --- | --- |",
    ]
    for row in one["rows"]:
        nme, pupils, failed = (in_percent(row, key) for key in ("nme_outer_eyes", "nme_inter_pupil", "failure_rate_8"))
        auc = scored(row, "auc_8")
        told, p = "–", "–"
        if row["difference"]:
            told = with_interval(row["difference"]["value"], row["difference"]["interval"], "+.2f", scale=100)
            p = p_value(row["difference"]["p"])
        lines.append(f"| {row['name']} | {row['size']} px | {nme} | {pupils} | {failed} | {auc} | {told} | {p} |")
    return lines


if __name__ == "__main__":
    main()
