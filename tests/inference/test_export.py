"""`mien export`: one file that gives the run's answers, says what it is, and isn't written where it would lie."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import REPOSITORY, TINY, write_tiny
from test_architecture import loaded
from verbs import call

from mien.comparison.expression import compare_contenders
from mien.data.dataset import open_dataset
from mien.errors import FailedError, MienError
from mien.evaluation import evaluate, evaluate_file
from mien.experiment.building import build_model
from mien.experiment.schema import load_experiment
from mien.images import decode
from mien.inference import export, load
from mien.inference.export import export_run
from mien.inference.model import SHIPPED, load_run
from mien.inference.weights import save_weights
from mien.reading import read_json
from mien.runs.ledger import entries
from mien.runs.model_file import ModelFile
from mien.runs.predictions import read_predictions
from mien.runs.run import Run, new_run
from mien.workspace import Workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with the weights that its seed draws, measured on choose and report."""
    home = Workspace(tmp_path_factory.mktemp("home"))
    dataset = write_tiny(home)
    (home.root / "made.yaml").write_text(TINY)
    made = new_run(home, load_experiment(home.root / "made.yaml"))
    names, fingerprint = dataset.card.scheme, dataset.card.fingerprint
    state = build_model(made.experiment, names).state_dict()
    save_weights(made.weights, state, made.experiment, names, fingerprint, limits="for tests alone")
    made.write_environment({"dataset": {"name": "tiny", "fingerprint": fingerprint}})
    made.set_state("finished")
    evaluate(home, made, "report")
    return made


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("files") / "tiny.onnx"
    export_run(run, to)
    return to


@pytest.fixture(scope="module")
def images(run: Run) -> np.ndarray:
    """The report rows' images, uint8 (n, 24, 24, 1)."""
    return np.stack([decode(data, "gray", 24) for data in open_dataset(run.workspace, "tiny").images("test")])


def test_a_file_gives_the_answers_of_its_run(run: Run, file: Path, images: np.ndarray) -> None:
    model, of_run = load(file, threads=1), load_run(run)
    np.testing.assert_allclose(model.logits(images), of_run.logits(images), atol=1e-5)
    np.testing.assert_allclose(model.probabilities(images), of_run.probabilities(images), atol=1e-6)
    assert (model.name, model.task, model.size, model.color) == ("tiny", "expression", 24, "gray")
    assert (model.scheme, model.temperature, model.limits) == (of_run.scheme, of_run.temperature, "for tests alone")
    assert model.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    session = onnxruntime.InferenceSession(file)
    (alone,) = session.run(["probabilities"], {"images": images})
    np.testing.assert_allclose(alone, of_run.probabilities(images), atol=1e-6)


def test_a_file_says_what_it_is(run: Run, file: Path) -> None:
    about = json.loads(onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map["mien"])
    measured = read_json(run.metrics_file("report"))
    assert (about["run"], about["task"], about["labels"]) == ("tiny/1", "expression", "fer2013-7")
    assert about["classes"][3] == "happy"
    assert about["protocol"] == {"name": "official"}
    assert about["limits"] == "for tests alone"
    assert about["weights_sha256"] == hashlib.sha256(run.weights.read_bytes()).hexdigest()
    report = about["metrics"]["report"]
    assert (report["n"], report["split"], report["accuracy"]) == (measured["n"], "test", measured["accuracy"])
    assert report["interval"]["accuracy"] == measured["interval"]["accuracy"]
    assert report["clean"]["accuracy"] == measured["clean"]["accuracy"]
    assert set(about["metrics"]) == {"choose", "report"}


def test_json_says_what_was_written_and_how_it_was_checked(run: Run, tmp_path: Path) -> None:
    to = tmp_path / "half.onnx"
    done = call("export", run.name, "--to", to, "--precision", "float16", "--json", "--workspace", run.workspace.root)
    result = json.loads(done.out)
    assert (result["file"], result["bytes"]) == (str(to), to.stat().st_size)
    assert result["sha256"] == hashlib.sha256(to.read_bytes()).hexdigest()
    parity = result["parity"]
    assert (parity["split"], parity["n"], parity["score"], parity["limit"]) == ("validation", 35, "accuracy", 0.005)
    assert parity["torch"] == read_json(run.metrics_file("choose"))["accuracy"]
    assert parity["shift"] == abs(parity["torch"] - parity["onnx"])


def test_what_differs_is_not_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(FailedError) as error:
        export_run(run, tmp_path / "x.onnx")
    assert str(error.value).startswith(
        "the float32 file isn't the run tiny/1: on validation, n = 35, an answer differs"
    )
    assert str(error.value).endswith("; expected at most -1; nothing was written")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MienError) as named:
        export_run(run, tmp_path / "x.bin")
    assert str(named.value) == "--to: 'x.bin' isn't called as an ONNX file; expected x.onnx"


def test_a_file_of_somebody_else_is_not_written_over(run: Run, file: Path, tmp_path: Path) -> None:
    shutil.copyfile(file, tmp_path / "own.onnx")
    export_run(run, tmp_path / "own.onnx")
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    before = (tmp_path / "other.onnx").read_bytes()
    with pytest.raises(MienError) as error:
        export_run(run, tmp_path / "other.onnx")
    assert str(error.value) == (
        f"{tmp_path}/other.onnx: this file isn't one that mien exported; expected --to with another name"
    )
    assert (tmp_path / "other.onnx").read_bytes() == before


def test_a_file_is_measured_as_its_run_was(run: Run, file: Path) -> None:
    home = run.workspace
    subject = ModelFile(file, home)
    before = len(entries(home.root))
    measured, of_run = evaluate_file(subject, command=["mien"]), read_json(run.metrics_file("report"))
    for key in ("n", "split", "protocol", "seeds", "overlap", "contaminated", "slices", "dropped"):
        assert measured[key] == of_run[key], key
    assert measured["accuracy"] == of_run["accuracy"]
    assert measured["clean"]["n"] == of_run["clean"]["n"]
    assert (measured["run"], measured["task"]) == ("tiny.onnx", "expression")
    assert subject.folder.parent == home.root / "models"
    assert read_json(subject.evaluation("official", "tiny") / "metrics.json") == measured
    stored = read_predictions(subject.predictions("report"))
    assert stored.ids == read_predictions(run.predictions("report")).ids
    line = entries(home.root)[before]
    assert (line["run"], line["protocol"], line["n"], line["command"]) == ("tiny.onnx", "official", 35, ["mien"])
    assert entries(subject.folder) == [line]
    assert [path.name for path in file.parent.iterdir()] == ["tiny.onnx"]
    compared = compare_contenders(home, [run.name, str(file)], [])[0]
    assert (compared["pairs"][0]["difference"], compared["pairs"][0]["n"]) == (0, 35)
    assert compared["clean"]["n"] == of_run["clean"]["n"]


def test_predictions_of_others_are_measured_and_compared(run: Run, tmp_path: Path) -> None:
    home = run.workspace
    stored = run.predictions("report")
    (tmp_path / "peer.yaml").write_text(
        f"predictions: {stored}\nclasses: [angry, disgust, fear, happy, sad, surprise, neutral]\n"
    )
    subject = ModelFile(tmp_path / "peer.yaml", home)
    with pytest.raises(MienError) as error:
        subject.measured()
    assert error.value.message == "peer.yaml has not been measured"
    with pytest.raises(MienError) as missing:
        evaluate_file(subject)
    assert str(missing.value) == ("--dataset: peer.yaml doesn't say what it is measured on; expected --dataset NAME")
    measured = evaluate_file(subject, dataset="tiny")
    of_run = read_json(run.metrics_file("report"))
    assert measured["per_class"] == of_run["per_class"]
    assert measured["clean"]["accuracy"] == of_run["clean"]["accuracy"]
    assert (measured["protocol"], measured["seeds"]) == ("official", [])


def test_a_file_runs_without_torch(file: Path) -> None:
    code = (
        f"import numpy, mien; model = mien.load({str(file)!r}, threads=1)\n"
        "    assert model.probabilities(numpy.zeros((2, 24, 24), numpy.uint8)).shape == (2, 7)"
    )
    assert "torch" not in loaded(code)


def test_the_ten_lines_of_the_documentation_give_the_same_answer(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, flags=re.S)[0]
    assert len(code.splitlines()) <= 10
    assert "mien" not in re.sub(r'"mien"', "", code)
    data = next(iter(open_dataset(run.workspace, "tiny").images("test")))
    (tmp_path / "face.png").write_bytes(data)
    (tmp_path / "model.onnx").write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    expected = load_run(run).probabilities(decode(data, "gray", 24)[None])[0]
    answer = names["answer"]
    assert isinstance(answer, dict)
    np.testing.assert_allclose(list(answer.values()), expected, atol=1e-6)
    assert list(answer) == list(load_run(run).scheme.classes)


def test_models_lists_what_ships(tmp_path: Path) -> None:
    listed = json.loads(call("models", "--json").out)["models"]
    assert [one["name"] for one in listed] == [
        "mien-m",
        "mien-m-int8",
        "mien-s",
        "mien-s-int8",
        "landmarks-small",
    ]
    shipped = listed[-1]
    path = SHIPPED["landmarks-small"]
    assert (shipped["name"], shipped["task"], shipped["bytes"]) == ("landmarks-small", "landmarks", path.stat().st_size)
    assert shipped["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "landmarks-small" in Path(shipped["card"]).read_text(encoding="utf-8")
    assert "landmarks-small" in call("models").out
