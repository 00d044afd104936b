"""The page without a server: a folder for any web host, where the browser that opens it looks at the photos itself."""

import gzip
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import FailedError, MienError
from mien.extras import require
from mien.faces import yunet
from mien.faces.detector import (
    SHARED,
    YUNET_LEAST,
    YUNET_OVERLAP,
    YUNET_PARTS,
    YUNET_SCORE,
    Detector,
    open_detector,
)
from mien.faces.framing import FER2013
from mien.faces.squares import WIDEN
from mien.files import PUBLISHED, published, write_json
from mien.images import MAX_PIXELS, REDUCED_SIDE
from mien.inference.model import card_of, file_header, load_file, load_shipped
from mien.inference.predictor import BLUREST, MOST_TURNED, SHARP_SIDE, SMALLEST
from mien.landmarks.predict import NAME as POINTER
from mien.landmarks.predict import PACKAGED
from mien.runs.run import find_run
from mien.serving.policy import ALONE
from mien.serving.schema import Moving
from mien.serving.session import Session, models
from mien.tasks import EXPRESSION
from mien.workspace import Workspace

if TYPE_CHECKING:
    from mien.inference.graph import Precision

# The model of a page for which none is named: the smaller one.
DEFAULT = "mien-s"
# What the server's page has as well, beside an api.js of its own and the workspace.
_SHARED = ("index.html", "main.js", "camera.js", "clip.js", "faces.js", "table.js", "page.css", "icon.svg")
_SERVED, _HERE = Path(__file__).with_name("page"), Path(__file__).with_name("alone")
# ONNX Runtime Web, which npm brings; `make page` puts it there.
RUNTIME = _HERE / "runtime"
# Packed, as it is four times as large otherwise.
_RUNTIME_FILES = ("ort.js", "ort.wasm.gz")
_ABOUT = "page/about.json"
_MODEL, _DETECTOR, _POINTER = "models/expression.onnx", "models/yunet.onnx", "models/points.onnx"


def export_page(
    reference: str, folder: Path, home: Workspace, weights: Path | None = None, precision: "Precision" = "float32"
) -> dict[str, Any]:
    """Write the page of a model, a run or an ONNX file that mien exported, into a folder.

    `weights` are YuNet's, else those in the user's cache, or fetched. Gives `folder`, `model` and `detector` (with the
    first digits of their SHA-256), `files` and `bytes`. The folder is new, or an earlier page, which is replaced.
    Raises MienError, and writes nothing, for any other folder, for a model that tells no expressions, and where ONNX
    Runtime Web or YuNet's weights are missing.
    """
    _check_runtime()
    _check_folder(folder, home)
    with tempfile.TemporaryDirectory() as temporary:
        name, file = _model(reference, home, precision, Path(temporary))
        detector, net = _yunet(weights)
        pointer = load_shipped(POINTER, 1) if PACKAGED.is_file() else None
        model = load_file(file, 1)
        session = Session({name: model}, detector, pointer)
        about = _about(session, file)
        with home.publishing(folder) as new:
            _write(new, about, file, net, card_of(name, model.digest))
            files = [path for path in new.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
    return {
        "folder": str(folder),
        "model": f"{name} {model.digest[:12]}",
        "detector": about["detector"]["name"],
        "files": len(files),
        "bytes": size,
    }


def _check_runtime() -> None:
    for name in _RUNTIME_FILES:
        if not (RUNTIME / name).is_file():
            raise MienError(
                "the page needs ONNX Runtime Web, which this mien was installed without",
                file=str(RUNTIME / name),
                expected="`make page` in a clone of mien, which has npm bring it",
            )


def _check_folder(folder: Path, home: Workspace) -> None:
    """Raise MienError for a folder that is neither new, nor empty, nor an earlier page."""
    home.check_public(folder)
    there = published(folder)
    if there and _ABOUT not in there:
        raise MienError(
            f"this folder holds something else of mien's, as its {PUBLISHED} says",
            file=str(folder),
            expected="a new folder, or an earlier page",
        )


def _model(reference: str, home: Workspace, precision: "Precision", folder: Path) -> tuple[str, Path]:
    """The name and the ONNX file of the model that a reference means; a run is exported into a folder."""
    file = Path(reference)
    name = file.stem
    if file.suffix != ".onnx":
        run = find_run(home, reference)
        _check_task(run.name, run.task.name)
        require("exporting a run", "torch")
        from mien.inference.export import export_run

        name, file = run.name, folder / "model.onnx"
        export_run(run, file, precision)
        return name, file
    if precision != "float32":
        raise MienError("a file has its precision", key="--precision", expected="a run")
    if (header := file_header(file)) is None:
        raise MienError(
            "mien didn't export this file",
            file=str(file),
            expected="a run, a shipped model, or a file by `mien export`",
        )
    _check_task(name, header["task"])
    return name, file


def _check_task(name: str, task: str) -> None:
    if task != EXPRESSION:
        raise MienError(f"{name} tells no expressions", expected=f"a model whose task is {EXPRESSION}")


def _yunet(weights: Path | None) -> tuple[Detector, Path]:
    """The detector by which faces are found, and the file of its weights."""
    try:
        detector = open_detector("yunet", weights)
    except FailedError as error:
        raise MienError(
            f"there are no weights of YuNet for the page ({error.message})",
            expected="`mien models fetch yunet`, or --detector-weights FILE",
        ) from error
    return detector, weights or yunet.path()


def _about(session: Session, file: Path) -> dict[str, Any]:
    """What the page's modules are told: the models, and by which numbers faces are found, framed and doubted."""
    detector = session.detector
    told = models(session).model_dump()
    header, pointer = file_header(file), None if session.pointer is None else file_header(PACKAGED)
    assert header is not None
    (card,) = told["models"]
    return {
        "models": [{**card, "file": _MODEL, "output": header["raw_output"]}],
        "points": told["points"],
        "pointer": pointer and {"file": _POINTER, "output": pointer["raw_output"]},
        "detector": {
            "name": f"{detector.name} {detector.digest[:12]}",
            "file": _DETECTOR,
            "sides": detector.sides,
            "looks": [look._asdict() for look in detector.looks],
            "least": YUNET_LEAST,
            "score": YUNET_SCORE,
            "overlap": YUNET_OVERLAP,
            "parts": YUNET_PARTS,
            "shared": SHARED,
        },
        "framing": FER2013._asdict(),
        "fit": {"scale": detector.fit.scale, "right": detector.fit.right, "down": detector.fit.down, "widen": WIDEN},
        "uncertain": {"smallest": SMALLEST, "blurest": BLUREST, "turned": MOST_TURNED},
        "sharp_side": SHARP_SIDE,
        "reduced_side": REDUCED_SIDE,
        "max_pixels": MAX_PIXELS,
        "smooth": Moving().smooth,
    }


def _write(new: Path, about: dict[str, Any], model: Path, net: Path, card: str | None) -> None:
    page, runtime, weights = new / "page", new / "page" / "runtime", new / "models"
    for folder in (page, runtime, weights):
        folder.mkdir()
    for file in (*(_SERVED / name for name in _SHARED), *_HERE.glob("*.js")):
        shutil.copyfile(file, page / file.name)
    shutil.copyfile(RUNTIME / "ort.js", runtime / "ort.js")
    (runtime / "ort.wasm").write_bytes(gzip.decompress((RUNTIME / "ort.wasm.gz").read_bytes()))
    charset = '<meta charset="utf-8">'
    html = (page / "index.html").read_text(encoding="utf-8")
    assert charset in html
    rules = f'{charset}\n    <meta http-equiv="Content-Security-Policy" content="{ALONE}">'
    (new / "index.html").write_text(
        html.replace(charset, f'{rules}\n    <meta name="referrer" content="no-referrer">'), encoding="utf-8"
    )
    (page / "index.html").unlink()
    write_json(new / _ABOUT, about)
    shutil.copyfile(model, new / _MODEL)
    shutil.copyfile(net, new / _DETECTOR)
    shutil.copyfile(_HERE / "LICENSES.txt", new / "LICENSES.txt")
    if card is not None:
        (weights / "expression.md").write_text(card, encoding="utf-8")
    if about["pointer"] is not None:
        shutil.copyfile(PACKAGED, new / _POINTER)
        shutil.copyfile(PACKAGED.with_name("README.md"), weights / "points.md")
        shutil.copyfile(PACKAGED.with_name("LICENSE.txt"), weights / "LICENSE.txt")
