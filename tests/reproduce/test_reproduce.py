"""The 2021 report by one command, on drawn faces: what is run, what is written, and what is said of what is missing."""

import csv
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pages import Page
from safetensors.torch import save_file
from verbs import call

from mien.data.dataset import write_dataset
from mien.data.labels import FACE, FER2013
from mien.data.synthetic import faces
from mien.experiment.schema import load_experiment
from mien.faces.ibug import POINTS
from mien.images import encode_png
from mien.models.mobilenet import MobileNetV2
from mien.report.style import printing
from mien.reproduce import write_again, write_all
from mien.reproduce.conclusions import overall
from mien.reproduce.execute import make
from mien.reproduce.paper import CLAIMED, PARTS, experiment_file
from mien.reproduce.plan import Planned, make_plan
from mien.runs.run import Run, new_run
from mien.workspace import Workspace

pytestmark = pytest.mark.large

COMMAND = "mien reproduce paper-2021 --epochs 1"
TRAINED = ["cnn1", "cnn4", "googlenet", "googlenet-face", "xception"]
SPLITS = ("Training", "Training", "PublicTest", "PrivateTest")


def draw(workspace: Workspace) -> None:
    """Drawn faces under the names and splits of FER2013, of HELEN, of drawn faces and of YouTube's persons."""
    columns = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}
    with write_dataset(workspace, "fer2013", FER2013, source="", format="test", columns=columns) as writer:
        for index, (image, label, points) in enumerate(faces(28, size=48, seed=0)):
            where = points.ravel().tolist()
            writer.add(SPLITS[index // 7], str(index), encode_png(image), label, size=(48, 48), landmarks=where)
    with write_dataset(workspace, "helen", FACE, source="", format="test", columns=columns) as writer:
        for index, (image, _, points) in enumerate(faces(10, size=64, color="rgb", seed=0)):
            split, where = "helen_train" if index < 8 else "helen_test", points.ravel().tolist()
            writer.add(split, str(index), encode_png(image), 0, size=(64, 64), landmarks=where)
    for seed, name in enumerate(("drawn", "youtube"), 1):
        more = {**columns, "person": pa.string()}
        with write_dataset(workspace, name, FACE, source="", format="test", columns=more) as writer:
            for index, (image, _, points) in enumerate(faces(21, size=64, seed=seed)):
                split, where = ("train", "validation", "test")[index // 7], points.ravel().tolist()
                row = {"landmarks": where, "person": str(index)}
                writer.add(split, str(index), encode_png(image), 0, size=(64, 64), **row)


def of(plan: Sequence[Planned], part: str) -> list[Planned]:
    """The runs of a part."""
    return [one for one in plan if one.part.name == part]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace in which some of the report is trained: CNN 1 with two seeds, CNN 4, two GoogLeNets, the points."""
    workspace = Workspace(tmp_path_factory.mktemp("reproduce"))
    draw(workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_HOME", str(workspace.root))
        patch.setenv("TORCH_HOME", str(workspace.root / "torch"))
        make(workspace, make_plan(workspace, epochs=1, seeds=1), TRAINED, COMMAND.split())
        make(workspace, make_plan(workspace, epochs=1, seeds=2), ["cnn1"], COMMAND.split())
        yield workspace


@pytest.fixture(scope="module")
def written(home: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What is written for everyone, and where."""
    folder = tmp_path_factory.mktemp("public") / "paper-2021"
    return write_all(home, make_plan(home, epochs=1), {folder: True}, COMMAND), folder


def test_every_part_has_an_experiment_of_its_name() -> None:
    assert {part.name for part in PARTS if experiment_file(part) is None} == set()
    assert set(CLAIMED) == {part.claim for part in PARTS if part.claim}


def test_before_anything_is_trained_the_plan_says_what_is_in_the_way(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    plan = make_plan(workspace)
    assert len(plan) == 4 * 3 + 16
    assert [(one.seed, one.state) for one in of(plan, "cnn2")] == [(seed, "waits") for seed in (42, 43, 44)]
    assert of(plan, "cnn2")[0].why == "no data set fer2013: mien data import fer2013.csv --as fer2013"
    draw(workspace)
    plan = make_plan(workspace, epochs=3, seeds=1)
    assert len(plan) == 20
    assert {one.experiment.train.epochs for one in plan if one.experiment} == {3}
    assert [(one.state, one.why) for name in ("cnn1", "googlenet-mouth") for one in of(plan, name)] == [
        ("new", ""),
        ("new", "the data set fer2013-mouth is cut first"),
    ]
    assert of(plan, "googlenet-imagenet")[0].why == "its start weights are downloaded first"
    lacking = of(plan, "mobilenet-imagenet-48")[0]
    assert lacking.state == "left out"
    assert lacking.why == "there is no file 'weights/mobilenet_v2_imagenet.safetensors' with start weights"


def test_what_is_finished_is_found_by_its_experiment_and_not_made_again(home: Workspace) -> None:
    plan = make_plan(home, epochs=1)
    assert [(one.state, one.run and one.run.name) for one in of(plan, "cnn1")] == [
        ("finished", "cnn1/1"),
        ("finished", "cnn1/2"),
        ("new", None),
    ]
    # Other epochs are another experiment; other names and devices aren't.
    assert {one.state for one in of(make_plan(home), "cnn1")} == {"new"}
    run = home.runs / "cnn4/1"
    (home.runs / "mine").mkdir()
    run.rename(home.runs / "mine/7")
    text = (home.runs / "mine/7/experiment.yaml").read_text()
    changed = text.replace("name: cnn4", "name: mine").replace("precision: float32", "precision: bfloat16")
    (home.runs / "mine/7/experiment.yaml").write_text(changed)
    try:
        again = make_plan(home, epochs=1)
        assert next((one.state, one.run and one.run.name) for one in of(again, "cnn4")) == ("finished", "mine/7")
    finally:
        (home.runs / "mine/7/experiment.yaml").write_text(text)
        (home.runs / "mine/7").rename(run)
    before = {path: path.stat().st_mtime_ns for path in home.runs.rglob("*") if path.is_file()}
    made = make(home, make_plan(home, epochs=1, seeds=1), TRAINED, COMMAND.split())
    assert [one.state for one in made if one.part.name in TRAINED] == ["finished"] * 5
    assert {path: path.stat().st_mtime_ns for path in home.runs.rglob("*") if path.is_file()} == before


def test_each_run_is_measured_once_under_both_protocols(home: Workspace) -> None:
    lines = [json.loads(line) for line in (home.root / "evaluations.jsonl").read_text().splitlines()]
    asked = sorted((line["run"], line["protocol"]) for line in lines)
    classes = ["cnn1/1", "cnn1/2", "cnn4/1", "googlenet-face/1", "googlenet/1"]
    both = [(run, protocol) for run in classes for protocol in ("official", "paper-2021")]
    assert asked == sorted([*both, ("xception/1", "splits")])
    assert {tuple(line["command"]) for line in lines} == {tuple(COMMAND.split())}


def test_a_run_that_was_stopped_goes_on_in_its_folder(home: Workspace) -> None:
    planned = of(make_plan(home, epochs=1), "cnn2")[0]
    assert planned.experiment is not None
    run = new_run(home, planned.experiment)
    run.set_state("stopped")
    try:
        again = of(make_plan(home, epochs=1, seeds=1), "cnn2")
        assert [(one.state, one.run and one.run.name, one.epochs_done) for one in again] == [("begun", "cnn2/1", 0)]
        (done,) = make(home, again, ["cnn2"], COMMAND.split())
        assert (done.state, done.run and done.run.name, done.epochs_done) == ("finished", "cnn2/1", 1)
    finally:
        run.folder.rename(home.root / "cnn2-1")


def test_a_run_that_fails_is_told_and_the_others_go_on(home: Workspace) -> None:
    (planned,) = of(make_plan(home, epochs=1, seeds=1), "cnn3")
    file = experiment_file(planned.part)
    assert file is not None
    broken = replace(planned, experiment=load_experiment(file, ["train.epochs=1", "optimizer.lr=1e30"]))
    made = make(home, [broken, *of(make_plan(home, epochs=1, seeds=1), "cnn1")], ["cnn3", "cnn1"], COMMAND.split())
    assert [(one.state, one.failed) for one in made] == [("new", True), ("finished", False)]
    assert made[0].why == "cnn3/1 gives numbers that aren't finite"
    # What it left behind is no run of the report.
    assert of(make_plan(home, epochs=1, seeds=1), "cnn3")[0].state == "new"


def test_tables_hold_what_the_runs_hold(home: Workspace, written: tuple[dict[str, Any], Path]) -> None:
    content, folder = written
    part = next(one for one in content["parts"] if one["name"] == "cnn1")
    each = [json.loads((home.runs / f"cnn1/{number}/metrics.json").read_text()) for number in (1, 2)]
    paper = json.loads((home.runs / "cnn1/1/evaluations/paper-2021/metrics.json").read_text())
    assert [run["seed"] for run in part["runs"]] == [42, 43]
    assert part["seeds"]["accuracy"]["mean"] == pytest.approx(np.mean([one["accuracy"] for one in each]))
    assert part["seeds"]["accuracy"]["sd"] == pytest.approx(np.std([one["accuracy"] for one in each], ddof=1))
    assert part["runs"][0]["paper"]["contaminated"] == pytest.approx(14 / 21)
    # Of the 21 rows that the report's way measures, those that were trained on and the others make up the whole.
    seen, new = part["runs"][0]["seen"], each[0]
    assert seen["right"] + round(new["accuracy"] * 7) == round(paper["accuracy"] * 21)
    with (folder / "tables/table-1.csv").open() as file:
        rows = {row["score"]: row for row in csv.DictReader(file) if row["model"] == "CNN 1"}
    assert {name: row["claimed"] for name, row in rows.items()} == {
        "accuracy": "0.80",
        "balanced accuracy": "0.78",
        "macro F1": "–",
        "weighted F1": "0.80",
    }
    for name, key in (("accuracy", "accuracy"), ("macro F1", "macro_f1"), ("balanced accuracy", "balanced_accuracy")):
        assert float(rows[name]["PrivateTest"]) == pytest.approx(each[0][key])
        assert float(rows[name]["PrivateTest, low"]) == pytest.approx(each[0]["interval"][key][0])
        assert float(rows[name]["as the report measured (contaminated)"]) == pytest.approx(paper[key])
    assert "contaminated: 66.7 % of these images were trained on" in rows["accuracy"]["measured on"]
    latex = (folder / "tables/table-1.tex").read_text()
    assert f"CNN 1 & accuracy & 0.80 & {paper['accuracy']:.3f}" in latex
    assert r"66.7 \%" in latex


def test_the_tables_by_class_stand_beside_their_claims(home: Workspace, written: tuple[dict[str, Any], Path]) -> None:
    _, folder = written
    own = json.loads((home.runs / "googlenet-face/1/metrics.json").read_text())
    with (folder / "tables/table-5-googlenet-face.csv").open() as file:
        rows = {(row["class"], row["score"]): row for row in csv.DictReader(file)}
    # Seven classes and two means with three scores each, and the accuracy.
    assert len(rows) == 28
    assert [rows["happy", score]["claimed"] for score in ("precision", "recall", "F1")] == ["0.93", "0.95", "0.94"]
    assert rows["weighted", "precision"]["claimed"] == "0.898"
    column = "1 epochs, random weights: PrivateTest"
    for name, of in own["per_class"].items():
        assert float(rows[name, "recall"][column]) == pytest.approx(of["recall"])
    assert float(rows["macro", "recall"][column]) == pytest.approx(own["balanced_accuracy"])
    assert float(rows["macro", "recall"][f"{column}, low"]) == pytest.approx(own["interval"]["balanced_accuracy"][0])
    assert float(rows["weighted", "F1"][column]) == pytest.approx(own["weighted_f1"])
    assert float(rows["all classes", "accuracy"][column]) == pytest.approx(own["accuracy"])
    with (folder / "tables/table-2.csv").open() as file:
        assert next(csv.DictReader(file))["outputs of the fully connected layers, printed"] == "120, 250, 7"


def test_a_published_page_is_written_anew_without_its_runs(
    written: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(written[1], folder)
    (folder / "README.md").write_text("an older page")
    content = json.loads((folder / "reproduction.json").read_text())
    content["conclusions"] = [{**one, "said": "older words", "because": ""} for one in content["conclusions"]]
    (folder / "reproduction.json").write_text(json.dumps(content))
    (folder / "tables/points.csv").unlink()
    write_again(folder)
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert names == {path.relative_to(written[1]) for path in written[1].rglob("*") if path.is_file()}
    for name in names:
        assert (folder / name).read_bytes() == (written[1] / name).read_bytes(), name


def test_figures_for_a_paper_are_bare_and_their_captions_beside_them(home: Workspace, tmp_path: Path) -> None:
    with printing():
        write_all(home, make_plan(home, epochs=1), {tmp_path / "paper": True}, COMMAND)
    figures = tmp_path / "paper/figures"
    drawn = {path.stem for path in figures.glob("*.pdf")}
    assert {"why", "curves-cnn1-seed42", "regions"} <= drawn
    # Pixels are a PNG.
    assert {path.stem for path in figures.glob("*.png")} - drawn == {"points", "samples"}
    assert (figures / "why.pdf").read_bytes()[:5] == b"%PDF-"
    assert (figures / "why.txt").read_text() == (
        "Right answers: on images trained on, and on new ones\n"
        "Each block is as wide as its share of the images and as tall as the share of answers that are right.\n"
    )


def test_the_page_says_everything_and_loads_nothing(written: tuple[dict[str, Any], Path]) -> None:
    _, folder = written
    text = (folder / "README.md").read_text()
    html = (folder / "report.html").read_text()
    page = Page(html)
    sources = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert {str(value).partition(":")[0] for value in sources if not str(value).startswith("#")} == {"data"}
    for said in (text, page.text):
        assert "eight of nine" in said
        assert "6 of 28 runs are trained and measured" in said
        assert "faces that are shown here are drawn by mien" in said
    # What is missing stands where it would stand.
    assert page.row("CNN 2")[:3] == ["–", "0.83", "not run yet"]
    assert page.row("CNN 1")[1] == "0.80"
    assert page.row("mobilenet-imagenet-96")[:2] == ["42", "left out"]
    for said in (text, page.text):
        assert "mobilenet-imagenet-96, seed 42: left out: there is no file 'weights/" in said
        assert "What the words mean" in said
        short = "In short: where the report claims 80 % to 89 % right answers, networks of the same kinds give"
        assert short in said.replace("\N{NO-BREAK SPACE}", " ")
        assert "Beside the mean shape, which is the same for every face and sees no image, this net is" in said
    # Contents lead to headings that are there, and no negative number has a hyphen.
    places = {str(attributes["id"]) for _, attributes in page.tags if "id" in attributes}
    links = {str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a" and "href" in attributes}
    assert len(links) == 7 + len(written[0]["conclusions"])
    assert links <= places
    assert re.findall(r"(?<![\w.+-])-\d+\.\d", page.text) == []
    named = {line.partition("](")[2].partition(")")[0] for line in text.splitlines() if line.startswith("![")}
    assert {"figures/why.png", "figures/points.png", "figures/samples.png", "figures/curves-cnn1-seed42.png"} <= named
    assert any("activations" in name for name in named)
    assert any("filters" in name for name in named)
    for name in named:
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (folder / name).with_suffix(".svg").read_text()[:600]
    stems = {path.stem for path in (folder / "tables").iterdir()}
    assert {
        "overview",
        "table-1",
        "table-2",
        "table-3",
        "table-4-googlenet",
        "table-5-googlenet-face",
        "points",
    } <= stems
    assert {path.suffix for path in (folder / "tables").iterdir()} == {".csv", ".tex"}


def test_conclusions_are_of_the_runs_that_are_there(home: Workspace, written: tuple[dict[str, Any], Path]) -> None:
    judged = {one["key"]: one for one in written[0]["conclusions"]}
    assert list(judged) == ["layers", "kernels", "pretrained", "epochs", "face", "mouth", "regions"]
    (kernels,) = judged["kernels"]["differences"]
    assert (kernels["what"], kernels["n"], kernels["seeds"]) == ("CNN 4 − CNN 1", 7, [1, 2])
    assert kernels["on"].startswith("PrivateTest, without exact copies; one seed varies by sd 0.")
    assert kernels["on"].endswith(", as the CNNs' do (Student's t, df 1)")
    assert judged["kernels"]["missing"] == []
    assert [one["what"] for one in judged["face"]["differences"]] == ["GoogLeNet on faces − GoogLeNet on full images"]
    assert judged["face"]["missing"] == [
        "Still to be trained and measured: GoogLeNet on faces, long; GoogLeNet on full images, long."
    ]
    assert judged["layers"]["missing"] == ["Still to be trained and measured: CNN 2; CNN 3."]
    assert judged["epochs"]["missing"] == ["At least two runs of CNNs with 40 epochs are needed; there is none."]
    assert judged["layers"]["because"] == "nothing is measured yet"
    asked = judged["regions"]["differences"]
    net = [one["what"] for one in asked if "layer" not in one]
    assert net == ["eyes − random patch", "mouth − random patch"]
    # Both convolutions are asked for both parts, beside random patches and then beside the untrained net.
    assert [(one["layer"], one["beyond_untrained"]) for one in asked if "layer" in one] == [
        (layer, beyond) for beyond in (False, True) for layer in ("features.conv1", "features.conv2") for _ in range(2)
    ]
    assert asked[0]["what"] == "eyes − random patch in the first convolution"
    stored = json.loads((home.runs / "cnn1/1/explain/regions.json").read_text())
    eyes = next(of for of in stored["layers"][0]["parts"] if of["part"] == "eyes")
    assert (asked[0]["difference"], asked[0]["interval"]) == (eyes["difference"], eyes["difference_interval"])
    assert (asked[4]["difference"], asked[4]["interval"]) == (eyes["beyond"], eyes["beyond_interval"])
    assert judged["regions"]["verdict"] == overall([one["verdict"] for one in asked if "layer" in one], complete=True)
    # Eyes have more edges than other skin, for any filter; one epoch on 14 faces hardly changes that.
    assert asked[0]["difference"] > 10 * abs(asked[4]["difference"])
    assert "first layers answer to" in judged["regions"]["because"]
    assert "aren't measured" not in judged["regions"]["because"]


def test_a_folder_that_holds_something_else_is_left_alone(home: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    told = call("reproduce", "paper-2021", "--no-train", "--to", tmp_path)
    assert (told.code, told.err) == (
        2,
        f"mien: {tmp_path}: this folder holds something else; expected a new folder, or one with the "
        "published.json of an earlier call\n",
    )


def test_the_dry_run_tells_what_is_left(home: Workspace) -> None:
    given = ["--dry-run", "--epochs", 1, "--only", "cnn1", "--only", "xception", "--json"]
    told = call("reproduce", "paper-2021", *given).json
    assert [(one["experiment"], one["seed"], one["state"]) for one in told["runs"]] == [
        ("cnn1", 42, "finished"),
        ("cnn1", 43, "finished"),
        ("cnn1", 44, "new"),
        ("xception", 42, "finished"),
    ]
    left = told["runs"][2]
    rate = Run(home.runs / "cnn1/2").environment["images_per_second"]
    assert left["by"] == "a run here"
    assert left["minutes"] == pytest.approx((14 + 7 / 3) / rate / 60, abs=0.06)
    assert told["minutes"] == left["minutes"]


def test_the_whole_report_by_one_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cached = tmp_path / "torch/hub/checkpoints/googlenet-1378be20.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"other weights")
    (workspace.root / "weights").mkdir(parents=True)
    save_file(MobileNetV2(3, 224, 1000).state_dict(), workspace.root / "weights/mobilenet_v2_imagenet.safetensors")
    draw(workspace)
    given = ["--epochs", 1, "--seeds", 1, "--to", tmp_path / "public", "--workspace", workspace.root, "--json"]
    told = call("reproduce", "paper-2021", *given)
    assert (told.code, told.json["failed"]) == (0, [])
    assert {part["name"]: len(part["runs"]) for part in told.json["parts"]} == {
        part.name: 0 if part.name == "googlenet-imagenet" else 1 for part in PARTS
    }
    (missing,) = next(part["missing"] for part in told.json["parts"] if part["name"] == "googlenet-imagenet")
    assert missing["state"] == "left out"
    assert "isn't what its name promises: its SHA-256 begins with" in missing["why"]
    starts = {part["name"]: part["runs"][0]["start"] for part in told.json["parts"] if part["runs"]}
    assert {name for name, start in starts.items() if start != "random"} == {
        "mobilenet-imagenet-48",
        "mobilenet-imagenet-96",
        "xception-youtube",
        "xception-64",
        "xception-full",
    }
    # With one run of each CNN and one epoch, nothing can be said of epochs; all else has its differences.
    without = [one["key"] for one in told.json["conclusions"] if not one["differences"]]
    assert without == ["epochs"]
    for folder in (tmp_path / "public", workspace.root / "reproductions/paper-2021"):
        text = (folder / "README.md").read_text()
        assert "Not complete: 19 of 20 runs are trained and measured." in text
        assert "Not here" not in text
        assert "not run yet" not in text
    before = told.json["parts"]
    again = call("reproduce", "paper-2021", *given).json["parts"]
    assert again == before


def test_without_any_run_the_page_is_written_and_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    told = call("reproduce", "paper-2021", "--no-train", "--workspace", workspace.root, "--json")
    assert told.code == 0
    assert {one["verdict"] for one in told.json["conclusions"]} == {"can't be told"}
    text = (workspace.root / "reproductions/paper-2021/README.md").read_text()
    assert "Not complete: 0 of 28 runs are trained and measured." in text
    assert "> Not here: Xception-like net for 68 points, not trained yet." in text
    assert "> Not here: there is no data set fer2013 yet." in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paper-2012"], "no report is called 'paper-2012'; expected paper-2021. Did you mean 'paper-2021'?"),
        (
            ["paper-2021", "--only", "cnn5"],
            "--only: no part of paper-2021 is called 'cnn5'; expected one of "
            + ", ".join(part.name for part in PARTS)
            + ". Did you mean 'cnn4'?",
        ),
    ],
)
def test_what_is_wrong_is_said(workspace: Workspace, arguments: list[str], message: str) -> None:
    told = call("reproduce", *arguments, "--workspace", workspace.root)
    assert (told.code, told.err) == (2, f"mien: {message}\n")
