"""Puts a measured run into the package, with a card of its numbers and the terms it is under.

    python results/package.py landmarks-small [RUN]
    python results/package.py mien-m|mien-s [RUN]
    python results/package.py mien-m|mien-s FILE.onnx results/PUBLISHED

The run is of the workspace (MIEN_HOME), measured by `mien evaluate`. What stands in the card comes from its folder; a
model of expressions goes in as ONNX, in float16 and int8, and each file is measured by itself; without RUN its int8
file is made anew from the float16 one. Of a run whose folder is gone, its float16 file and what was published of it do.
The landmark model goes in as weights and as ONNX; without RUN its ONNX
and card are made anew from the weights and numbers that are published.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mien.data.dataset import open_dataset
from mien.data.labels import scheme_named
from mien.errors import MienError
from mien.files import write_bytes, write_text
from mien.inference.export import IMAGES, export_run, numbers
from mien.inference.graph import Precision, classes_parts, network_of, points_graph
from mien.inference.model import SHIPPED, file_header
from mien.inference.network import load_network
from mien.inference.weights import read_header
from mien.landmarks.predict import NAME as LANDMARKER
from mien.landmarks.predict import PACKAGED
from mien.protocols.batches import load
from mien.protocols.named import official
from mien.report.model_card import model_card
from mien.report.wording import in_percent, scored
from mien.runs.model_file import ModelFile
from mien.runs.run import Run, find_run
from mien.tasks import LANDMARKS, require
from mien.workflow import measure_file
from mien.workspace import Workspace, find_workspace

LARGEST = 6_000_000  # bytes
WEIGHTS = PACKAGED.with_suffix(".safetensors")
PUBLISHED = Path(__file__).with_name(LANDMARKER)

TERMS = """The weights beside this file (landmarks-small.onnx and .safetensors) are not under mien's MIT licence.

They were trained on research-only annotations: the 68 points that the iBUG group placed on the photos of HELEN, part of
300-W, which are for research only and not for commercial products. Use these weights for research only, and pass these
terms on with them. For anything else, train your own on data that allow it: experiments/landmarks/small.yaml and
`mien data import` take any data set with 68 points, and every command that takes this model takes yours.

They come without any warranty. Source of the annotations: C. Sagonas, G. Tzimiropoulos, S. Zafeiriou, M. Pantic,
"300 Faces in-the-Wild Challenge: The first facial landmark localization challenge", ICCV Workshops 2013;
photos: V. Le, J. Brandt, Z. Lin, L. Bourdev, T. S. Huang, "Interactive Facial Feature Localization", ECCV 2012.
"""


def main() -> None:
    """Copy the weights, write the card and the terms."""
    if len(sys.argv) == 2 and sys.argv[1] == LANDMARKER:
        read = {one: json.loads((PUBLISHED / f"{one}.json").read_text("utf-8")) for one in ("environment", "metrics")}
        write_onnx(read["metrics"])
        write_text(PACKAGED.parent / "README.md", card(read["environment"], read["metrics"]))
        return
    if len(sys.argv) not in (2, 3, 4) or sys.argv[1] not in SHIPPED:
        raise SystemExit(__doc__)
    name, home = sys.argv[1], find_workspace(None)
    if len(sys.argv) == 2:
        renew_int8(name, home)
        return
    if len(sys.argv) == 4:
        write_bytes(SHIPPED[name], Path(sys.argv[2]).read_bytes())
        write_int8(name, home)
        write_card(Run(Path(sys.argv[3]).resolve()), name, home)
        return
    run = find_run(home, sys.argv[2])
    SHIPPED[name].parent.mkdir(exist_ok=True)
    if name == LANDMARKER:
        package_landmarks(run)
    else:
        package_expressions(run, name, home)


def package_landmarks(run: Run) -> None:
    """The weights as they are, and as ONNX, a card, and the terms of the annotations."""
    metrics = run.measured()
    require(run.task, LANDMARKS, run.name, str(run.folder))
    if run.weights.stat().st_size > LARGEST:
        raise MienError(f"{run.weights.stat().st_size:,} bytes are too many", expected=f"at most {LARGEST:,}")
    shutil.copyfile(run.weights, WEIGHTS)
    write_onnx(metrics)
    write_text(PACKAGED.parent / "LICENSE.txt", TERMS)
    write_text(PACKAGED.parent / "README.md", card(run.environment, metrics))


def write_onnx(metrics: dict[str, Any]) -> None:
    """The packaged weights of the landmark model as ONNX, in float32, as `mien export` writes a run."""
    header = read_header(WEIGHTS)
    given = header["input"]
    parts = points_graph(load_network(WEIGHTS, "cpu"), given["size"], given["color"] == "gray", 1.0)
    about = {
        **header,
        "run": metrics["run"],
        "precision": "float32",
        "raw_output": parts.raw,
        "weights_sha256": hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
        "metrics": {"report": numbers(metrics)},
    }
    write_bytes(PACKAGED, parts.joined("float32", {"mien": json.dumps(about, ensure_ascii=False)}))


def package_expressions(run: Run, name: str, home: Workspace) -> None:
    """The run as ONNX in both precisions, each measured on the report role, and the card."""
    precisions: dict[str, Precision] = {name: "float16", f"{name}-int8": "int8"}
    for called, precision in precisions.items():
        export_run(run, SHIPPED[called], precision)
    write_card(run, name, home)


def write_card(run: Run, name: str, home: Workspace) -> None:
    """The card of a run, published or not, and of its two files, each measured on the report role."""
    dataset = run.environment["dataset"]["name"]
    rows = [row_of(SHIPPED[called], home, dataset) for called in (name, f"{name}-int8")]
    write_text(SHIPPED[name].with_suffix(".md"), model_card(run, name, rows))


def row_of(path: Path, home: Workspace, dataset: str) -> tuple[str, ...]:
    """A file's row of the card, measured on the report role: its name, bytes, scores of all and clean rows, digest."""
    measured = measure_file(ModelFile(path, home), ["results/package.py"], dataset=dataset)
    told = [f"{scored(of)} (n = {of['n']:,})" for of in (measured, measured["clean"])]
    data = path.read_bytes()
    return (path.name, f"{len(data):,}", *told, hashlib.sha256(data).hexdigest())


def renew_int8(name: str, home: Workspace) -> None:
    """The int8 file anew from the float16 one, and its card's row."""
    dataset = write_int8(name, home)
    path = SHIPPED[f"{name}-int8"]
    row = row_of(path, home, dataset)
    card_file = SHIPPED[name].with_suffix(".md")
    lines = card_file.read_text(encoding="utf-8").splitlines()
    (place,) = (at for at, line in enumerate(lines) if line.startswith(f"| {path.name} |"))
    lines[place] = f"| {' | '.join(row)} |"
    write_text(card_file, "\n".join(lines) + "\n")


def write_int8(name: str, home: Workspace) -> str:
    """The int8 file from the float16 one, scaled by the fit rows that `mien export` takes; gives their data set."""
    header = file_header(SHIPPED[name])
    assert header is not None
    dataset = open_dataset(home, header["dataset"]["name"])
    if dataset.card.fingerprint != header["dataset"]["fingerprint"]:
        raise MienError(f"{name} was trained on other data than this '{dataset.card.name}'", file=str(dataset.folder))
    given = header["input"]
    fit = load(dataset, official(dataset).of("fit"), given["size"], given["color"], scheme_named(header["labels"]))
    images = fit.images(np.linspace(0, len(fit) - 1, IMAGES).astype(np.int64))
    network = network_of(onnx.load(SHIPPED[name]))
    parts = classes_parts(network, given["size"], given["color"] == "gray", header["temperature"] or 1.0)
    about = json.dumps({**header, "precision": "int8"}, ensure_ascii=False)
    write_bytes(SHIPPED[f"{name}-int8"], parts.joined("int8", {"mien": about}, parts.inputs(images)))
    return dataset.card.name


def card(made: Mapping[str, Any], metrics: dict[str, Any]) -> str:
    """What the weights are, what they were trained on and how good they are, as Markdown."""
    files = "; ".join(
        f"{file.name} has {len(data := file.read_bytes()):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}"
        for file in (PACKAGED, WEIGHTS)
    )
    roles = made["dataset"]["roles"]
    lines = "".join(
        f"| {name} | {in_percent(of, 'nme_outer_eyes')} | {in_percent(of, 'nme_inter_pupil')} "
        f"| {in_percent(of, 'failure_rate_8')} |\n"
        for name, of in [
            *((f"{size} px", of) for size, of in metrics["sizes"].items()),
            ("mean shape, for comparison", metrics["mean_shape"]),
        ]
    )
    return (
        "# landmarks-small\n\n"
        "68 points of a face in iBUG's order, for images that a face fills; what `mien data crop` and `mien landmarks` "
        "use unless told otherwise.\n\n"
        f"**{metrics['limits'][:1].upper()}{metrics['limits'][1:]}**: see [LICENSE.txt](LICENSE.txt).\n\n"
        f"Trained as `experiments/landmarks/small.yaml` says, on {roles['fit']['n']:,} faces of "
        f"{roles['fit']['split']} of {metrics['dataset']}, seed {made['seed']}. The same weights stand "
        f"here as ONNX, which mien uses, and as they were trained: {files}. Errors on {metrics['split']} of "
        f"{metrics['dataset']}, n = {metrics['n']:,}, in % of the {metrics['normaliser']}, faces in a detector's "
        "squares, 95 % intervals in brackets:\n\n"
        "| faces of | NME | NME by pupils | beyond 8 % |\n| --- | --- | --- | --- |\n" + lines + "\n"
        "It was trained and measured on photos of HELEN, mostly of adults who look at the camera; on other people, "
        "poses, light or occlusion it can be worse, and nothing here measures that. Written by `results/package.py`.\n"
    )


if __name__ == "__main__":
    main()
