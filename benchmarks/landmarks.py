"""Landmark runs beside PFLD and the mean shape, on the same squares of the same faces; and faces a second as ONNX.

    python benchmarks/landmarks.py landmarks-small xception --peer pfld_68.onnx
    python benchmarks/landmarks.py landmarks-small xception --peer pfld_68.onnx --write results

Runs are of the workspace (MIEN_HOME), measured by `mien evaluate`. The peer is an ONNX file with one input,
RGB (n, 3, 112, 112) in 0 … 1, and 68 × (x, y) as shares of the crop. The first run is also exported and timed at 48 px,
with PFLD in turns on the same faces: on shared machines the ratio tells more than the rates.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor, nn

from mien.comparison.tables import p_value
from mien.data.dataset import open_dataset
from mien.environment import describe
from mien.experiment.building import build_pipeline, build_roles
from mien.files import write_json, write_text
from mien.inference.network import load_network
from mien.intervals import with_interval
from mien.metrics.nme import image_errors, measure_points, paired
from mien.protocols.batches import load_faces
from mien.reading import read_json
from mien.report.wording import in_percent, scored
from mien.runs.predictions import SIZES, read_points
from mien.runs.run import Run, find_run
from mien.workspace import Workspace, find_workspace

Shares = npt.NDArray[np.float32]
WANTED = 500  # faces a second at 48 px
_TURNS = 12
_FACES = 256


class Whole(nn.Module):
    """Gray images (n, 1, s, s) of values 0 … 255 to points (n, 136): what is exported, preprocessing included."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.model = load_network(run.weights, "cpu", run.experiment).model
        self.preprocess, self.size = build_pipeline(run.experiment.preprocess), run.experiment.dataset.size

    def forward(self, gray: Tensor) -> Tensor:
        """Points in shares of the image's side from its middle."""
        fitting = nn.functional.interpolate(gray, size=(self.size, self.size), mode="bilinear")
        ready, _ = self.preprocess(fitting)
        points: Tensor = self.model(ready)
        return points


def main() -> None:
    """Measure, print and, when asked, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    home = find_workspace(None)
    runs = [find_run(home, name) for name in arguments.runs]
    measured = compare(home, runs, arguments.peer)
    measured["speed"] = speed(home, runs[0], arguments.peer)
    measured["machine"] = {key: describe()[key] for key in ("cpu", "cores") if key in describe()}
    text = page(measured)
    print(text)
    if arguments.write:
        write_text(arguments.write / "landmarks.md", text)
        write_json(arguments.write / "landmarks.json", measured)


def compare(home: Workspace, runs: list[Run], peer: Path) -> dict[str, Any]:
    """Errors of the runs, the peer and the mean shape by size, and their paired differences from the first run."""
    own = read_json(runs[0].metrics_file("report"))
    rows = []
    for size in SIZES:
        _, true, _ = read_points(runs[0].predictions("report"), size)
        found = {run.name: read_points(run.predictions("report"), size)[2] for run in runs}
        found[peer.stem] = by_peer(home, runs[0], peer, size)
        first = image_errors(found[runs[0].name], true)
        for name, points in found.items():
            of = measure_points(points, true)
            difference = None if name == runs[0].name else paired(image_errors(points, true), first)
            rows.append({"name": name, "size": size, **of, "difference": difference and difference._asdict()})
    rows.append({"name": "mean shape", "size": SIZES[0], **own["mean_shape"], "difference": None})
    about = {key: own[key] for key in ("dataset", "split", "n", "normaliser")}
    return {**about, "first": runs[0].name, "rows": rows}


def by_peer(home: Workspace, run: Run, peer: Path, size: int) -> Shares:
    """The peer's points on a run's report faces, cut at `size` pixels: in colour, at 48 px in gray."""
    dataset = open_dataset(home, run.experiment.dataset.name)
    parts = build_roles(run.experiment, dataset).report
    samples = load_faces(dataset, parts, size, "gray" if size == SIZES[1] else "rgb", "detector")
    images = samples.batch(np.arange(len(samples))).images.float().expand(-1, 3, -1, -1)
    ready = nn.functional.interpolate(images, size=(112, 112), mode="bilinear", antialias=True) / 255
    session = onnxruntime.InferenceSession(peer, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    out = [session.run(None, {name: part.numpy()})[0] for part in ready.split(32)]
    return np.asarray(np.concatenate(out).reshape(len(samples), 68, 2) - 0.5, dtype=np.float32)


def speed(home: Workspace, run: Run, peer: Path) -> dict[str, Any]:
    """Faces a second of a run's ONNX at 48 px and of the peer's at its 112, in turns, on two threads; medians."""
    whole = Whole(run).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    faces = np.random.default_rng(0).integers(0, 256, (_FACES, 1, 48, 48)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "landmarks.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The exporter that needs no further package is called legacy.
            torch.onnx.export(
                whole,
                (torch.from_numpy(faces[:2]),),
                file,
                dynamo=False,
                input_names=["gray"],
                output_names=["points"],
                dynamic_axes={"gray": {0: "n"}, "points": {0: "n"}},
            )
        ours = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        size = file.stat().st_size
        (points,) = ours.run(None, {"gray": faces[:8]})
        with torch.inference_mode():
            same = whole(torch.from_numpy(faces[:8])).numpy()
        off = float(np.abs(points - same).max())
    other = onnxruntime.InferenceSession(peer, options, providers=["CPUExecutionProvider"])
    large = np.random.default_rng(0).random((_FACES, 3, 112, 112)).astype(np.float32)
    name = other.get_inputs()[0].name
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(_TURNS):
        for which, session, feed in (("ours", ours, {"gray": faces}), ("peer", other, {name: large})):
            started = time.perf_counter()
            for start in range(0, _FACES, 64):
                session.run(None, {key: value[start : start + 64] for key, value in feed.items()})
            times[which].append(time.perf_counter() - started)
    rates = {which: _FACES / float(np.median(of)) for which, of in times.items()}
    return {
        "run": run.name,
        "peer": peer.stem,
        "faces_per_second": rates["ours"],
        "peer_faces_per_second": rates["peer"],
        "ratio": rates["ours"] / rates["peer"],
        "onnx_bytes": size,
        "parameters": sum(parameter.numel() for parameter in whole.parameters()),
        "largest_difference": off,
    }


def page(measured: dict[str, Any]) -> str:
    """All of it as Markdown."""
    lines = [
        "# 68 points: mien's models beside PFLD and the mean shape",
        "",
        f"Written by `benchmarks/landmarks.py`. {measured['dataset']}, {measured['split']}, n = {measured['n']}; faces "
        f"in a detector's squares, the same for all; errors in % of the {measured['normaliser']}; brackets are 95 % "
        "intervals. At 48 px the faces are gray. PFLD may have seen these photos in training. Weights trained on "
        "300-W's annotations are for research only.",
        "",
        "| model | faces of | NME | NME by pupils | beyond 8 % | AUC to 8 % "
        f"| NME less that of {measured['first']} | p |",
        "| --- | ---: | --- | --- | --- | --- | --- | --- |",
    ]
    for row in measured["rows"]:
        nme, pupils, failed = (in_percent(row, key) for key in ("nme_outer_eyes", "nme_inter_pupil", "failure_rate_8"))
        auc = scored(row, "auc_8")
        told, p = "–", "–"
        if row["difference"]:
            told = with_interval(row["difference"]["value"], row["difference"]["interval"], "+.2f", scale=100)
            p = p_value(row["difference"]["p"])
        lines.append(f"| {row['name']} | {row['size']} px | {nme} | {pupils} | {failed} | {auc} | {told} | {p} |")
    of = measured["speed"]
    verdict = "as wanted" if of["faces_per_second"] >= WANTED else "fewer than wanted"
    lines += [
        "",
        f"{of['run']} as ONNX ({of['onnx_bytes'] / 1e6:.1f} MB, {of['parameters']:,} parameters) at 48 px on two "
        f"threads: {of['faces_per_second']:,.0f} faces a second ({verdict}: {WANTED}), {of['ratio']:.1f} × "
        f"{of['peer']} at its 112 px in the same run ({of['peer_faces_per_second']:,.0f}). Its points are those of "
        f"PyTorch to {of['largest_difference']:.1e} of the side.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
