"""`import mien` as a notebook uses it: the whole road, what each answer shows, and errors that teach."""

import ast
import doctest
import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import installs
import numpy as np
import pytest
from conftest import REPOSITORY
from safetensors.numpy import load_file
from verbs import call

import mien
from mien.data.dataset import open_dataset
from mien.images import decode
from mien.runs.ledger import entries
from mien.runs.predictions import read_predictions

DRAWN = """
name: first
dataset: {name: drawn, size: 24}
preprocess: [{op: normalize}]
model: {name: cnn, channels: [4], fc: [8]}
optimizer: {name: adam, lr: 0.01}
train: {epochs: 2, seed: 1, precision: float32, device: cpu}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a data set and two measured runs that differ in the seed."""
    folder = tmp_path_factory.mktemp("api")
    home = mien.open_workspace(folder)
    mien.draw_dataset("drawn", n=200, size=24, workspace=home)
    (folder / "first.yaml").write_text(DRAWN)
    for seed in (1, 2):
        mien.evaluate(mien.train(folder / "first.yaml", [f"train.seed={seed}"], workspace=home))
    return folder


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> mien.Workspace:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MIEN_HOME", raising=False)
    return mien.open_workspace()


@pytest.mark.parametrize("module", ["mien.api.folders", "mien.api.results"])
def test_examples_run(home: mien.Workspace, module: str) -> None:
    found = doctest.testmod(importlib.import_module(module), extraglobs={"mien": mien})
    assert found.attempted > 3
    assert found.failed == 0


def test_every_public_name_is_there() -> None:
    assert set(mien.api.__all__) <= set(dir(mien))
    for name in mien.api.__all__:
        assert getattr(mien, name) is getattr(mien.api, name)
    with pytest.raises(AttributeError, match="module 'mien' has no attribute 'trian'"):
        mien.trian  # type: ignore[attr-defined]  # noqa: B018


def test_modules_hide_no_name_of_the_face() -> None:
    modules = {path.stem for path in (REPOSITORY / "mien").iterdir()}
    assert modules & set(mien.api.__all__) == set()


def test_verbs_list_their_parameters() -> None:
    tree = ast.parse((REPOSITORY / "mien/api/verbs.py").read_text())
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
            text = ast.get_docstring(function) or ""
            arguments = function.args
            names = [one.arg for one in (*arguments.args, *arguments.kwonlyargs)]
            names += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
            listed = re.findall(r"^(\*?\w+(?:, \w+)*) : ", text.partition("Parameters\n---")[2], flags=re.M)
            assert sorted(", ".join(listed).split(", ")) == sorted(names), function.name


def test_a_run_says_what_its_files_say(home: mien.Workspace) -> None:
    run = home.runs["first/2"]
    content = json.loads((run.folder / "metrics.json").read_text())
    metrics = run.metrics
    assert (metrics.run, metrics.role, metrics.split, metrics.n) == ("first/2", "report", "test", 20)
    assert metrics.accuracy == mien.Score(content["accuracy"], tuple(content["interval"]["accuracy"]))
    assert float(metrics["macro_f1"]) == content["macro_f1"]
    assert metrics.content == content
    with pytest.raises(mien.MienError, match=r"first/2 has no acuracy; expected one of accuracy, .* mean 'accuracy'"):
        metrics["acuracy"]
    lines = (run.folder / "history.csv").read_text().splitlines()
    assert [(one.number, one.epochs, one.score) for one in run.history()] == [(1, 2, "accuracy"), (2, 2, "accuracy")]
    assert run.history()[1].choose_loss == float(lines[2].split(",")[4])
    assert json.loads((run.folder / "environment.json").read_text())["command"] == [
        f'mien.train("{home.root.resolve() / "first.yaml"}", ["train.seed=2"])'
    ]
    assert "mien.train(&#34;" in (run.folder / "report.html").read_text()
    assert [(line["command"], line["n"]) for line in entries(run.folder)] == [(['mien.evaluate("first/2")'], 20)]


def test_predictions_are_a_table(home: mien.Workspace) -> None:
    run = home.runs["first/1"]
    frame = run.predictions()
    rows = read_predictions(run.stored.predictions("report"))
    assert frame["id"].tolist() == list(rows.ids)
    assert (frame["label"] == frame["predicted"]).mean() == pytest.approx(run.metrics.accuracy.value)
    scaled = rows.logits / run.metrics.content["calibration"]["temperature"]
    shares = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(frame[list(rows.classes)].to_numpy(), shares, rtol=1e-5)
    assert set(run.predictions("choose")["split"]) == {"validation"}


def test_without_pandas_one_sentence_says_so(home: mien.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(mien.MienError) as error:
        home.runs["first"].predictions()
    assert (
        str(error.value)
        == "a table of predictions needs pandas, which isn't installed; expected pip install 'mien[notebook]'"
    )


def test_what_a_notebook_shows(home: mien.Workspace) -> None:
    run = home.runs["first/1"]
    assert [one.name for one in home.runs] == ["first/1", "first/2"]
    assert f"accuracy {run.metrics.accuracy}" in home.runs._repr_html_()
    assert f"<td>{run.metrics.accuracy}</td>" in run.metrics._repr_html_()
    assert "report: test, n = 20" in run._repr_html_()
    assert "<td>160</td>" in home.datasets["drawn"]._repr_html_()
    assert home._repr_html_() == home.datasets._repr_html_() + home.runs._repr_html_()
    assert "<th>choose_loss</th>" in run.history()._repr_html_()
    figures = [run.figure(name) for name in ("confusion", "curves", "confusion-choose")]
    assert [figure.file.stem for figure in figures] == ["confusion-report", "curves", "confusion-choose"]
    figures.append(home.datasets["drawn"].contact_sheet())
    assert all(figure._repr_png_().startswith(b"\x89PNG") for figure in figures)
    with pytest.raises(mien.MienError, match=r"has no figure 'confusoin'; expected one of .* Did you mean 'confusion'"):
        run.figure("confusoin")
    with pytest.raises(TypeError, match="found by place"):
        run.history()["1"]


def test_text_is_escaped() -> None:
    table = mien.Table("a & b", ["<script>"], lambda text: {"what": text})
    assert table._repr_html_() == (
        "<p>a &amp; b</p><table><tr><th>what</th></tr><tr><td>&lt;script&gt;</td></tr></table>"
    )
    assert repr(table) == "a & b\nwhat\n<script>"
    assert repr(mien.Table("none", [], lambda text: {"what": text})) == "none"


def test_a_comparison_is_the_verbs(home: mien.Workspace) -> None:
    (pair,) = mien.compare(home.runs["first/1"], "first/2").pairs
    (said,) = call("compare", "first/1", "first/2", "--json").json["pairs"]
    assert (pair.difference.value, list(pair.difference.interval)) == (said["difference"], said["interval"])
    assert (pair.p, pair.p_holm, pair.verdict) == (said["p"], said["p_holm"], said["verdict"])
    html = mien.compare("first/1", "first/2")._repr_html_()
    assert "differences on test" in html
    assert f"<td>{pair.verdict}</td>" in html


def test_models_that_ship_are_measured_by_their_names(home: mien.Workspace) -> None:
    measured = mien.evaluate("mien-s", dataset="drawn")
    assert (measured.run, measured.dataset, measured.n) == ("mien-s.onnx", "drawn", 200)
    said = call("evaluate", "mien-s", "--dataset", "drawn", "--json").json
    assert (measured.accuracy.value, list(measured.accuracy.interval)) == (
        said["accuracy"],
        said["interval"]["accuracy"],
    )
    line = entries(home.root)[-2]
    assert (line["run"], line["command"]) == ("mien-s.onnx", ['mien.evaluate("mien-s.onnx")'])
    mien.evaluate("mien-m", dataset="drawn")
    (pair,) = mien.compare("mien-s", "mien-m").pairs
    assert (pair.a, pair.b, pair.n) == ("mien-s.onnx", "mien-m.onnx", 200)
    with pytest.raises(mien.MienError, match=r"there is no run 'mien-x'.* Did you mean 'mien-"):
        mien.evaluate("mien-x")


def test_explanations_come_with_pictures(home: mien.Workspace) -> None:
    explained = mien.explain("first/1", ["filters", "cases"])
    assert (explained.run, explained.role, explained.n) == ("first/1", "choose", 20)
    assert set(explained.sentences) == {"filters", "cases"}
    assert {figure.file.stem.partition("-")[0] for figure in explained.figures} == {"filters", "cases"}
    assert explained._repr_html_().count("data:image/png;base64,") == len(explained.figures)
    # Others call their functions again and again: the package of the same road mustn't hide the function.
    assert mien.explain("first/1", ["cases"]).sentences["cases"] == explained.sentences["cases"]


def test_what_on_epoch_raises_stops_a_run_that_can_go_on(home: mien.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[mien.Epoch] = []

    def listen(epoch: mien.Epoch) -> None:
        heard.append(epoch)
        if epoch.number == 2:
            raise LookupError("that is enough")

    with pytest.raises(LookupError, match="that is enough"):
        mien.train("first.yaml", ["name=stopped", "train.epochs=3"], on_epoch=listen)
    run = home.runs["stopped/1"]
    assert json.loads((run.folder / "status.json").read_text()) == {
        "state": "stopped",
        "reason": "LookupError: that is enough",
    }
    assert len(run.history()) == 2
    with pytest.raises(mien.MienError, match="run stopped/1 isn't measured; expected a finished run"):
        _ = run.metrics
    assert "stopped" in home.runs._repr_html_()
    run = mien.resume(run, on_epoch=heard.append)
    assert (run.state, [epoch.number for epoch in heard]) == ("finished", [1, 2, 3])
    whole = mien.train("first.yaml", ["name=whole", "train.epochs=3"])
    weights, same = (load_file(one.folder / "weights.safetensors") for one in (run, whole))
    assert all((weights[name] == same[name]).all() for name in weights)
    stored = run.history()[2]
    assert heard[2].images_per_second is not None
    assert heard[2] == mien.Epoch(**{**vars(stored), "images_per_second": heard[2].images_per_second})
    with pytest.raises(mien.MienError, match="run stopped/1 is finished"):
        mien.resume("stopped/1")
    for name in ("stopped", "whole"):
        shutil.rmtree(home.root / "runs" / name)


def test_a_run_is_loaded_as_a_model(home: mien.Workspace) -> None:
    run = home.runs["first/1"]
    frame = run.predictions().set_index("id")
    dataset = open_dataset(home.stored, "drawn")
    images = np.stack([decode(data, "gray") for data in dataset.images("test")])
    model = mien.load(run)
    assert mien.load("first/1").digest == model.digest
    shares = model.probabilities(images)
    np.testing.assert_allclose(shares, frame.loc[dataset.ids("test")][list(model.scheme.classes)], atol=1e-5)


def test_a_mistake_is_a_sentence(home: mien.Workspace) -> None:
    with pytest.raises(mien.MienError, match=r"model.kernel: unknown key.* Did you mean 'kernel_size'"):
        mien.train("first.yaml", ["model.kernel=3"])
    with pytest.raises(mien.MienError, match=re.escape('overrides are a list; expected ["train.epochs=3"]')):
        mien.train("first.yaml", "train.epochs=3")
    with pytest.raises(mien.MienError, match=r"there is no run 'frist'.* Did you mean 'first'"):
        mien.evaluate("frist")
    assert len(home.runs) == 2


def test_a_data_set_is_imported(tmp_path: Path) -> None:
    rows = [f"{label},{' '.join(['7'] * 2304)},{usage}" for usage in ("Training", "PrivateTest") for label in range(7)]
    (tmp_path / "some.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    made = mien.import_dataset(tmp_path / "some.csv", "some", workspace=mien.open_workspace(tmp_path / "home"))
    assert {split: sum(of.values()) for split, of in made.splits.items()} == {"Training": 7, "PrivateTest": 7}
    assert made.notes


def test_a_run_elsewhere_stands_in_its_own_workspace(
    home: mien.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = len(entries(home.root))
    assert mien.evaluate(mien.open_workspace(home.root).runs["first/1"], protocol="official").n == 20
    assert len(entries(home.root)) == before + 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "but"),
    [
        ("runs", ["matplotlib"]),
        ("compare first/1 first/2", []),
        ("slices first/1 --by class", ["matplotlib"]),
        ("slices first/1 --by contrast", ["matplotlib"]),
        ("data list", ["matplotlib"]),
        ("data show drawn", []),
        ("data audit drawn", []),
        ("report first/2", []),
        ("doctor first/1", []),
    ],
)
def test_results_are_read_without_torch(home: mien.Workspace, verb: str, but: list[str]) -> None:
    (done,) = installs.mien(["data"], [[*verb.split(), "--json"]], home.root, but=but)
    assert done.code == 0, done.err
    assert done.json.keys() == call(*verb.split(), "--json").json.keys()


def test_data_sets_are_made_without_torch(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 2304)
    (tmp_path / "some.csv").write_text(f"emotion,pixels,Usage\n3,{pixels},Training\n4,{pixels},Training\n")
    commands = [
        ["data", "synth", "--as", "drawn", "--n", "10"],
        ["data", "import", "some.csv", "--as", "some"],
        ["data", "crop", "drawn", "--region", "mouth", "--as", "lips"],
        ["data", "crop", "drawn", "--region", "detected", "--as", "found", "--detector", "cascade"],
        ["data", "list", "--json"],
    ]
    found = installs.mien(["data"], commands, tmp_path)
    assert [done.code for done in found] == [0] * len(commands), [done.err for done in found]
    rows = {one["name"]: sum(map(sum, one["splits"].values())) for one in found[-1].json["datasets"]}
    assert rows == {"drawn": 10, "found": 10, "lips": 10, "some": 2}


def test_the_api_reads_without_torch(home: mien.Workspace) -> None:
    code = """
import mien
home = mien.open_workspace()
run = home.runs["first/1"]
print(run.metrics.n, len(run.predictions()), len(run.history()), len(home.datasets), len(home._repr_html_()) > 99)
print(mien.compare("first/1", "first/2").pairs[0].n, run.figure("curves").file.name)
"""
    assert installs.python(["notebook"], code, home.root) == "20 20 2 1 True\n20 curves.png\n"
