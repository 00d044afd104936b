"""The models that mien ships beside what people use today: accuracy on the same rows, and faces a second.

    python benchmarks/best.py --peers FOLDER --tflite FILE --litert PYTHON --human FILE --node FOLDER
        [--write results/best]

`--peers` has big_xception.onnx, mini_xception.onnx and faceapi_expression.onnx; `--tflite` is the model in the package
`fer`, run by a Python that has ai-edge-litert; `--human` is models/emotion.json of @vladmandic/human, run in a folder
where @tensorflow/tfjs and @tensorflow/tfjs-backend-wasm are installed. Further seeds of a model that ships lie as
`<name>-seed<n>.onnx` where the results go. The data set is fer2013 of the workspace (MIEN_HOME).

Every accuracy is of PrivateTest's images as they are: no detector, one view. Speeds are of the network alone, on faces
that lie ready in its input; turns go round all models, and medians of them count. Nothing else may run meanwhile.
"""

import argparse
import csv
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from mien.comparison.clean import without_copies
from mien.comparison.contenders import Contender, find_contender
from mien.comparison.pairs import compare
from mien.comparison.tables import markdown_lines
from mien.data.dataset import Dataset, open_dataset
from mien.environment import describe
from mien.files import write_json, write_text
from mien.images import decode
from mien.inference.model import SHIPPED
from mien.intervals import wilson, with_interval
from mien.report.best_models import best_caption, best_table
from mien.report.style import BLUE, INK, ORANGE, Caption, figure, save, styled
from mien.report.wording import scored
from mien.runs.model_file import ModelFile
from mien.workflow import measure_file
from mien.workspace import Workspace, find_workspace

DATASET, SPLIT = "fer2013", "PrivateTest"
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
OURS = ("mien-m", "mien-m-int8", "mien-s", "mien-s-int8")
# Side of the input, and what it holds: all three take gray of 0 … 255 and give probabilities in FER2013's order.
PEERS = {"big_xception": 64, "mini_xception": 64, "faceapi_expression": 112}
FER, HUMAN = "fer (TFLite)", "@vladmandic/human"
THREADS, BATCHES = (1, 2), (1, 8, 64)
# The published run whose time to these accuracies is told.
QUICK, MARKS = Path(__file__).parent.parent / "results/quick", (0.5, 0.55, 0.6, 0.62, 0.64, 0.65, 0.66, 0.67)
_FACES, _TURNS = 256, 5


class Entrant(NamedTuple):
    """A model in the table: its file's bytes, its measurements, and what runs it on so many threads, in batches."""

    name: str
    bytes: int
    measured: dict[str, Any]
    contender: Contender
    rates: Callable[[int, Sequence[int]], dict[int, float]]


def main() -> None:
    """Measure, print and, when asked, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("peers", "tflite", "litert", "human", "node"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    home = find_workspace(None)
    dataset = open_dataset(home, DATASET)
    with tempfile.TemporaryDirectory() as folder:
        entrants = [*ours(home, arguments.write), *peers(home, dataset, arguments, Path(folder))]
        measured = table(entrants)
        measured["speeds"] = speeds(entrants)
    measured["machine"] = {key: describe()[key] for key in ("cpu", "cores", "commit")}
    text = page(measured)
    print(text)
    if arguments.write:
        write_json(arguments.write / "best.json", measured)
        write_text(arguments.write / "README.md", text)
        plot(measured, arguments.write / "accuracy-speed")


def ours(home: Workspace, folder: Path | None) -> Iterable[Entrant]:
    """What ships, each with its further seeds."""
    for name in OURS:
        path = SHIPPED[name]
        files = (path, *(sorted(folder.glob(f"{name}-seed*.onnx")) if folder else ()))
        parts = [measure(home, file) for file in files]
        together = replace(
            parts[0][1],
            name=name,
            runs=tuple(run for _, one in parts for run in one.runs),
            names=tuple(file.name for file in files),
            seeds=tuple(seed for _, one in parts for seed in one.seeds),
            temperatures=tuple(scale for _, one in parts for scale in one.temperatures),
        )
        yield Entrant(name, path.stat().st_size, parts[0][0], together, by_onnxruntime(path, (48, 48, 1), np.uint8))


def measure(home: Workspace, file: Path) -> tuple[dict[str, Any], Contender]:
    """The file measured by mien's own verb, and as one of a comparison."""
    measured = measure_file(ModelFile(file, home), ["benchmarks/best.py"], dataset=DATASET)
    return measured, find_contender(home, str(file))


def peers(home: Workspace, dataset: Dataset, given: argparse.Namespace, folder: Path) -> Iterable[Entrant]:
    """What people use today: ONNX files by their YAML, the other two by the probabilities that they gave."""
    head = f"classes: [{', '.join(CLASSES)}]\nlimits: MIT\n"
    for name, size in PEERS.items():
        model = (given.peers / f"{name}.onnx").resolve()
        about = f"model: {model}\ninput: {{name: gray, size: {size}}}\noutput: {{name: prob, gives: probabilities}}\n"
        write_text(folder / f"{name}.yaml", about + head)
        rates = by_onnxruntime(model, (1, size, size), np.float32)
        yield Entrant(name, model.stat().st_size, *measure(home, folder / f"{name}.yaml"), rates)
    images = np.stack([decode(data, "gray")[..., 0] for data in dataset.images(SPLIT)])
    large = np.stack([cv2.resize(image, (64, 64)) for image in images])
    here = Path(__file__).with_name("peers")
    fer = [given.litert, here / "fer.py", given.tflite]
    human = ["node", here / "human.mjs", given.human.resolve()]
    weights = given.human.with_suffix(".bin").stat().st_size
    for name, stem, size, command, cwd, faces in (
        (FER, "fer", given.tflite.stat().st_size, fer, Path.cwd(), large),
        (HUMAN, "human", weights, human, given.node, images),
    ):
        _, found = by_program(command, cwd, faces, folder, 1, [1])
        columns = {"id": dataset.ids(SPLIT), "split": [SPLIT] * len(faces), "prob": list(found)}
        pq.write_table(pa.table(columns), folder / f"{stem}.parquet")
        write_text(folder / f"{stem}.yaml", f"predictions: {stem}.parquet\n" + head)

        def rates(
            threads: int, batches: Sequence[int], command: Any = command, cwd: Path = cwd, faces: Any = faces[:_FACES]
        ) -> dict[int, float]:
            return by_program(command, cwd, faces, folder, threads, batches)[0]

        yield Entrant(name, size, *measure(home, folder / f"{stem}.yaml"), rates)


def by_program(
    command: Sequence[Any], cwd: Path, faces: npt.NDArray[np.uint8], folder: Path, threads: int, batches: Sequence[int]
) -> tuple[dict[int, float], npt.NDArray[np.float32]]:
    """Faces a second by batch, and the probabilities (n, 7), of a model that a program of its own runs."""
    given, back = folder / "faces.bin", folder / "probabilities.bin"
    faces.tofile(given)
    words = [*command, given, back, threads, *batches]
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    rates = json.loads(done.stdout.strip().splitlines()[-1])
    return {int(batch): rate for batch, rate in rates.items()}, np.fromfile(back, np.float32).reshape(-1, len(CLASSES))


def by_onnxruntime(path: Path, shape: tuple[int, ...], dtype: Any) -> Callable[[int, Sequence[int]], dict[int, float]]:
    """What times an ONNX file on random faces of a shape; each call opens a session of its own."""
    faces = np.random.default_rng(0).integers(0, 256, (_FACES, *shape)).astype(dtype)

    def rates(threads: int, batches: Sequence[int]) -> dict[int, float]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name, out = session.get_inputs()[0].name, session.get_outputs()[0].name
        found = {}
        for batch in batches:
            started = time.perf_counter()
            for start in range(0, _FACES, batch):
                session.run([out], {name: faces[start : start + batch]})
            found[batch] = _FACES / (time.perf_counter() - started)
        return found

    return rates


def speeds(entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """Medians over turns of the faces a second, by model, threads and batch."""
    turns: dict[tuple[str, int, int], list[float]] = {}
    for _ in range(_TURNS):
        for threads in THREADS:
            for one in entrants:
                # The first pass warms caches up and doesn't count.
                for batch, rate in one.rates(threads, (BATCHES[-1], *BATCHES)).items():
                    turns.setdefault((one.name, threads, batch), []).append(rate)
    return [
        {"name": name, "threads": threads, "batch": batch, "faces_per_second": float(np.median(of))}
        for (name, threads, batch), of in turns.items()
    ]


def table(entrants: Sequence[Entrant]) -> dict[str, Any]:
    """Scores of all, and the paired differences of mien's models from the peer with the highest accuracy."""
    mine = [one for one in entrants if one.name in OURS]
    best = max((one for one in entrants if one.name not in OURS), key=lambda one: float(one.measured["accuracy"]))
    named = [replace(one.contender, name=one.name) for one in [best, *mine]]
    clean = without_copies(named)
    assert clean is not None
    compared = {"all": compare(named, best.name), "clean": compare(clean, best.name)}

    def row(one: Entrant) -> dict[str, Any]:
        parts = {"all": one.measured, "clean": one.measured["clean"]}
        scores = {key: {name: of[name] for name in ("accuracy", "n", "interval")} for key, of in parts.items()}
        if one in mine:
            for key, of in compared.items():
                found = next(each for each in of["contenders"] if each["name"] == one.name)
                scores[key] |= {"accuracy": found["accuracy"], "interval": {"accuracy": found["interval"]}}
                pair = next(each for each in of["pairs"] if each["a"] == one.name)
                scores[key]["less_best"] = {"value": pair["difference"], "interval": pair["interval"], "p": pair["p"]}
        calibration = {
            key: {name: of[name] for name in ("temperature", "n", "ece_corrected", "nll", "brier", "interval")}
            for key, of in one.measured["calibration"].items()
            if key in ("before", "after")
        }
        return {
            "name": one.name,
            "bytes": one.bytes,
            "seeds": list(one.contender.seeds) or None,
            **scores,
            "per_class": {name: [of["recall"], of["support"]] for name, of in one.measured["per_class"].items()},
            "calibration": calibration,
        }

    return {"dataset": DATASET, "split": SPLIT, "best_peer": best.name, "rows": [row(one) for one in entrants]}


def page(measured: dict[str, Any]) -> str:
    """All of it as Markdown."""
    here = measured["machine"]
    machine = f"{here['cpu']}, {here['cores']} cores"
    columns, rows = best_table(measured)
    by = {(of["name"], of["threads"], of["batch"]): of["faces_per_second"] for of in measured["speeds"]}
    settings = [(threads, batch) for threads in THREADS for batch in BATCHES]
    head = ["model", *(f"{threads} thread{'s' * (threads > 1)}, {batch} at a time" for threads, batch in settings)]
    lines = [[one["name"], *(f"{by[one['name'], *each]:,.0f}" for each in settings)] for one in measured["rows"]]
    return "\n".join(
        [
            "# Models for expressions: mien's beside what people use",
            "",
            f"Written by `benchmarks/best.py`, commit {here['commit'] or 'unknown'}. " + best_caption(measured),
            "",
            *markdown_lines(columns, rows),
            "",
            "![Accuracy over speed](accuracy-speed.png)",
            "",
            f"Faces a second of the networks alone, medians of {_TURNS} turns, {machine}; ONNX files by ONNX Runtime "
            f"{onnxruntime.__version__}, fer's by LiteRT, human's by TensorFlow.js (WASM) in Node:",
            "",
            *markdown_lines(head, lines, right=99),
            "",
            *_per_class(measured),
            "",
            *_calibration(measured),
            "",
            *_time_to_accuracy(),
        ]
    )


def _first(one: Mapping[str, Any]) -> str:
    """A model's name, and of several seeds the one that is told."""
    return f"{one['name']}, seed {one['seeds'][0]}" if len(one["seeds"] or ()) > 1 else str(one["name"])


def _per_class(measured: Mapping[str, Any]) -> list[str]:
    """Recall of each class, and where the confusion matrices of mien's are."""
    rows = []
    for one in measured["rows"]:
        counts = ((round(share * n), n) for share, n in one["per_class"].values())
        rows.append([_first(one), *(with_interval(hits / n, wilson(hits, n)) for hits, n in counts)])
    supports = [n for _, n in measured["rows"][0]["per_class"].values()]
    head = ["model", *(f"{name}, n = {n}" for name, n in zip(CLASSES, supports, strict=True))]
    pages = " and ".join(f"[{name}](../{name}/figures/confusion-report.png)" for name in OURS if "int8" not in name)
    return [
        "## Class by class",
        "",
        f"Recall on {measured['split']}, with copies, Wilson's 95 % intervals; the confusion matrices of {pages}, as "
        "they were trained:",
        "",
        *markdown_lines(head, rows, right=99),
    ]


def _calibration(measured: Mapping[str, Any]) -> list[str]:
    """How far probabilities are from how often they are right, as the network gives them and as they are told."""
    rows = []
    for one in measured["rows"]:
        before, after = one["calibration"]["before"], one["calibration"]["after"]
        told = [scored(before, "ece_corrected"), scored(before, "nll")]
        changed = before["temperature"] != after["temperature"]
        scaled = [f"{after['temperature']:.2f}", scored(after, "ece_corrected"), scored(after, "nll")]
        rows.append([_first(one), *told, *(scaled if changed else ["–"] * 3)])
    columns = ["model", "error", "NLL", "temperature", "error with it", "NLL with it"]
    return [
        "## Calibration",
        "",
        f"The calibration error has 15 bins of equal width and is less what chance adds; {measured['split']}, n = "
        f"{measured['rows'][0]['all']['n']:,}, with copies. mien's temperatures were fitted on PublicTest and are part "
        "of the files; the others are told as they are:",
        "",
        *markdown_lines(columns, rows, right=99),
    ]


def _time_to_accuracy(run: Path = QUICK) -> list[str]:
    """After how many minutes of training `quick` first had an accuracy; nothing before it is published."""
    if not run.is_dir():
        return []
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        chosen = [float(line["choose_accuracy"]) for line in csv.DictReader(file)]
    made, measured = json.loads((run / "environment.json").read_text()), json.loads((run / "metrics.json").read_text())
    minutes = made["duration_s"] / 60
    rows = []
    for wanted in MARKS:
        if (epoch := next((number for number, one in enumerate(chosen, 1) if one >= wanted), None)) is not None:
            rows.append([f"{wanted:.2f}", str(epoch), f"{minutes * epoch / len(chosen):.1f}"])
    return [
        "## Time to accuracy",
        "",
        f"[quick](../quick/report.html), seed {made['seed']}: {len(chosen)} epochs in {minutes:.1f} minutes with all "
        f"that a training does (decoding, choosing, the report), {made['precision']}, {made['threads']} of "
        f"{made['cores']} cores, {made['cpu']}. PrivateTest, n = {measured['n']:,}: {scored(measured)}; without exact "
        f"copies, n = {measured['clean']['n']:,}: {scored(measured['clean'])}. The first epoch at which PublicTest's "
        "accuracy is this high, epochs taken as equally long:",
        "",
        *markdown_lines(["PublicTest", "epoch", "minutes"], rows, right=0),
        "",
    ]


def plot(measured: dict[str, Any], stem: Path) -> None:
    """Accuracy with its interval over faces a second on one thread, one at a time."""
    caption = Caption(
        (
            f"{measured['split']} of {measured['dataset']}, n = {measured['rows'][0]['all']['n']:,}, no copies taken "
            "out; lines are 95 % intervals.",
            f"One thread, one face at a time, {measured['machine']['cpu']}.",
        )
    )
    by = {of["name"]: of["faces_per_second"] for of in measured["speeds"] if (of["threads"], of["batch"]) == (1, 1)}
    with styled():
        made, (axes,) = figure("Accuracy over speed", caption, 3.4, width=6.0)
        # Ours are named above their points, others below; to the left where another is but little faster.
        others = [rate for name, rate in by.items() if name not in OURS]
        for one in measured["rows"]:
            mine = one["name"] in OURS
            color = BLUE if mine else ORANGE
            low, high = one["all"]["interval"]["accuracy"]
            x, y = by[one["name"]], one["all"]["accuracy"]
            axes.plot([x, x], [low, high], color=color, lw=1)
            axes.plot([x], [y], "o" if mine else "s", color=color)
            left = not mine and any(1 < rate / x < 1.15 for rate in others)
            axes.annotate(
                one["name"],
                (x, y),
                xytext=(-5 if left else 5, 4 if mine else -11),
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize=8,
                color=INK,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([100, 200, 500, 1000, 2000, 5000]))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("faces a second")
        axes.set_ylabel("accuracy")
        axes.margins(x=0.2)
        axes.grid(visible=True)
    save(made, stem)


if __name__ == "__main__":
    main()
