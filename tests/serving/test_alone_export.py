"""`mien export --page`: a folder with everything, and one sentence where there can't be one."""

import gzip
import json
from pathlib import Path

import onnx
import pytest
from verbs import call

from mien.files import write_json
from mien.inference.model import SHIPPED
from mien.serving import alone


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files in place of ONNX Runtime Web, which only a browser runs."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "ort.js").write_text("// ort\n")
    (folder / "ort.wasm.gz").write_bytes(gzip.compress(b"\0asm"))
    monkeypatch.setattr(alone, "RUNTIME", folder)
    return folder


@pytest.fixture
def weights(real_data: Path) -> Path:
    return real_data.parent / "weights" / "face_detection_yunet.onnx"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_page_is_one_folder_and_is_made_again(runtime: Path, weights: Path, tmp_path: Path) -> None:
    to = tmp_path / "page"
    done = call("export", "mien-s", "--page", to, "--detector-weights", weights, "--json")
    assert done.code == 0, done.err
    assert files(to) == [
        "LICENSES.txt",
        "index.html",
        *(f"models/{name}" for name in ("LICENSE.txt", "expression.md", "expression.onnx", "points.md")),
        *(f"models/{name}" for name in ("points.onnx", "yunet.onnx")),
        *(f"page/{name}" for name in ("about.json", "api.js", "camera.js", "clip.js", "detector.js", "faces.js")),
        *(f"page/{name}" for name in ("frames.js", "icon.svg", "main.js", "page.css", "photo.js", "predictor.js")),
        *(f"page/{name}" for name in ("resize.js", "runtime/ort.js", "runtime/ort.wasm", "table.js", "tracks.js")),
        "page/worker.js",
        "published.json",
    ]
    assert (done.json["files"], done.json["folder"]) == (len(files(to)) - 1, str(to))
    assert done.json["bytes"] == sum(
        path.stat().st_size for path in to.rglob("*") if path.name not in ("published.json",) and path.is_file()
    )
    assert (to / "models/expression.onnx").read_bytes() == SHIPPED["mien-s"].read_bytes()
    assert (to / "page/api.js").read_text() == (Path(alone.__file__).with_name("alone") / "api.js").read_text()
    about = json.loads((to / "page/about.json").read_text())
    (model,) = about["models"]
    assert (model["name"], model["size"], model["output"]) == ("mien-s", 48, "logits")
    assert about["detector"]["sides"] == [1280, 320]
    assert about["points"] == "trained on research-only annotations"
    # A file of the user's stays, and the earlier page's go.
    (to / "notes.txt").write_text("mine")
    again = call("export", "mien-m-int8", "--page", to, "--detector-weights", weights)
    assert again.code == 0, again.err
    assert (to / "notes.txt").read_text() == "mine"
    assert (to / "models/expression.onnx").read_bytes() == SHIPPED["mien-m-int8"].read_bytes()


def test_somebody_s_folder_stays_as_it_is(runtime: Path, tmp_path: Path) -> None:
    mine, report, file = tmp_path / "mine", tmp_path / "report", tmp_path / "file"
    mine.mkdir()
    (mine / "index.html").write_text("mine")
    report.mkdir()
    (report / "report.html").write_text("a report")
    write_json(report / "published.json", {"files": ["report.html"]})
    file.write_text("mine")
    for to, sentence in (
        (
            mine,
            "this folder holds something else; "
            "expected a new folder, or one with the published.json of an earlier call",
        ),
        (
            file,
            "this folder holds something else; "
            "expected a new folder, or one with the published.json of an earlier call",
        ),
        (
            report,
            "this folder holds something else of mien's, as its published.json says; "
            "expected a new folder, or an earlier page",
        ),
    ):
        done = call("export", "--page", to)
        assert (done.code, done.err) == (2, f"mien: {to}: {sentence}\n")
    assert files(mine) == ["index.html"]
    assert files(report) == ["published.json", "report.html"]
    assert file.read_text() == "mine"


def test_without_yunet_or_the_runtime_there_is_no_page(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "page"
    done = call("export", "--page", to)
    assert (done.code, done.err) == (
        2,
        "mien: there are no weights of YuNet for the page (YuNet can't be downloaded (MIEN_OFFLINE is set)); "
        "expected `mien models fetch yunet`, or --detector-weights FILE\n",
    )
    wrong = call("export", "--page", to, "--detector-weights", SHIPPED["mien-s"])
    assert wrong.code == 2
    assert wrong.err.startswith(f"mien: {SHIPPED['mien-s']}: this file holds no YuNet face detector; expected ")
    (runtime / "ort.wasm.gz").unlink()
    done = call("export", "--page", to)
    assert (done.code, done.err) == (
        2,
        f"mien: {runtime}/ort.wasm.gz: the page needs ONNX Runtime Web, which this mien was installed without; "
        "expected `make page` in a clone of mien, which has npm bring it\n",
    )
    assert not to.exists()


def test_models_that_tell_no_expressions_are_refused(runtime: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    stripped = onnx.load(SHIPPED["mien-s"])
    del stripped.metadata_props[:]
    onnx.save(stripped, other)
    to = tmp_path / "page"
    for arguments, sentence in (
        (("landmarks-small",), "landmarks-small tells no expressions; expected a model whose task is expression"),
        (
            (SHIPPED["landmarks-small"],),
            "landmarks-small tells no expressions; expected a model whose task is expression",
        ),
        (
            (other,),
            f"{other}: mien didn't export this file; expected a run, a shipped model, or a file by `mien export`",
        ),
        ((tmp_path / "none.onnx",), f"{tmp_path}/none.onnx: there is no such file"),
        (("mien-s", "--precision", "int8"), "--precision: a file has its precision; expected a run"),
        (("mien-s", "--to", "a.onnx"), "--to: a page goes into a folder; expected --page DIR alone"),
    ):
        done = call("export", *arguments, "--page", to)
        assert (done.code, done.err) == (2, f"mien: {sentence}\n")
    assert not to.exists()
    assert call("export").err == "mien: RUN: no run is named; expected a run, or --page DIR for the page of mien-s\n"
