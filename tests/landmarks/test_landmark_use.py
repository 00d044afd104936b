"""Landmark models after training: their points of any image, compared in pairs, told on screen and in results/."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from verbs import call

from mien.comparison import compare_points
from mien.data.dataset import open_dataset
from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.evaluation import evaluate
from mien.experiment.schema import load_experiment
from mien.faces.ibug import POINTS
from mien.faces.squares import cut
from mien.images import decode
from mien.inference import load
from mien.landmarks.predict import open_landmarker
from mien.metrics.nme import image_errors
from mien.report import results
from mien.runs.predictions import read_points
from mien.runs.run import Run, find_run, new_run
from mien.training.fit import train
from mien.workspace import Workspace

FILE = """
name: points
task: landmarks
dataset: {name: drawn, size: 32}
preprocess: [{op: normalize}]
augment: [{op: frame}]
model: {name: landmarks-small, width: 8}
loss: wing
optimizer: {name: adamw, lr: 5e-3}
train: {epochs: 1, batch_size: 16, seed: 1, precision: float32, device: cpu}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two measured landmark runs, which differ in their seeds, on drawn faces."""
    folder = tmp_path_factory.mktemp("points")
    workspace = Workspace(folder / "home")
    write_faces(workspace, "drawn", n=60, size=48, color="gray", seed=3)
    (folder / "points.yaml").write_text(FILE)
    for seed in (1, 2):
        run = new_run(workspace, load_experiment(folder / "points.yaml", [f"train.seed={seed}"]))
        train(workspace, run, ["mien", "train"])
        evaluate(workspace, run, "choose")
        evaluate(workspace, run)
    return workspace


@pytest.fixture
def here(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same workspace, where commands look for theirs."""
    monkeypatch.setenv("MIEN_HOME", str(home.root))
    return home


def nets(workspace: Workspace) -> Run:
    return find_run(workspace, "points/1")


def test_points_of_an_image_are_the_nets_shares_times_its_sides(home: Workspace) -> None:
    run = nets(home)
    model = open_landmarker(home, "points/1")
    assert (model.name, model.limits) == ("points/1", "")
    assert model.digest == hashlib.sha256(run.weights.read_bytes()).hexdigest()
    random = np.random.default_rng(0)
    small, tall, color = (
        random.integers(0, 256, shape).astype(np.uint8) for shape in ((32, 32, 1), (64, 32, 1), (32, 32, 3))
    )
    found = model.points([tall, small, color, small])
    assert found.shape == (4, POINTS, 2)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[1], found[3])
    shares = model.outputs(small[None]).reshape(POINTS, 2)
    np.testing.assert_allclose(found[1], (shares + 0.5) * 32 - 0.5, atol=1e-4)
    # Of a colour image the luma counts.
    luma = np.round(color @ np.array([0.299, 0.587, 0.114]))[:, :, None].astype(np.uint8)
    np.testing.assert_allclose(found[2], model.points([luma])[0], atol=0.2)


def test_an_image_enlarged_twice_has_its_points_there(home: Workspace) -> None:
    model = open_landmarker(home, "points/1")
    image = decode(next(open_dataset(home, "drawn").images("test")), "gray")
    large = cut(image, np.array([23.5, 23.5, 48.0]), 96)
    one, two = model.points([image, large])
    np.testing.assert_allclose((two + 0.5) / 2 - 0.5, one, atol=0.5)


def test_weights_can_be_used_without_their_experiment(home: Workspace) -> None:
    run = nets(home)
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 32, 1)).astype(np.uint8)
    alone, together = load(run.weights), load("points/1", home)
    np.testing.assert_array_equal(alone.points(faces), together.points(faces))
    assert (alone.name, alone.size, alone.color, alone.limits) == ("points", 32, "gray", "")


def test_only_landmark_runs_give_points(home: Workspace) -> None:
    with pytest.raises(MienError, match="there is no run 'pionts'") as wrong:
        open_landmarker(home, "pionts")
    assert wrong.value.nearest == "points"


def test_pairs_are_told_apart_by_the_errors_of_the_same_faces(home: Workspace) -> None:
    runs = [find_run(home, f"points/{number}") for number in (1, 2)]
    compared = compare_points(runs)
    assert [(pair["a"], pair["b"], pair["size"], pair["n"]) for pair in compared["pairs"]] == [
        ("points/1", "points/2", 128, 6),
        ("points/1", "points/2", 48, 6),
    ]
    for pair in compared["pairs"]:
        errors = []
        for run in runs:
            _, true, predicted = read_points(run.predictions("report"), pair["size"])
            errors.append(image_errors(predicted, true))
        assert pair["difference"] == pytest.approx((errors[0] - errors[1]).mean())
        assert pair["interval"][0] <= pair["difference"] <= pair["interval"][1]
        assert pair["p"] <= pair["p_holm"] <= min(1, 2 * pair["p"])
    against = compare_points(runs, "points/1")
    assert [(pair["a"], pair["b"]) for pair in against["pairs"]] == [("points/2", "points/1")] * 2
    for pair, other in zip(against["pairs"], compared["pairs"], strict=True):
        assert (pair["difference"], pair["p_holm"]) == (-other["difference"], other["p_holm"])
    assert against["notes"][-1] == "each is compared with points/1 alone; p by Holm over these 2 pairs"
    with pytest.raises(MienError, match="nothing to compare with"):
        compare_points(runs[:1])


def test_mien_compare_prints_and_writes_the_pairs(here: Workspace, tmp_path: Path) -> None:
    done = call("compare", "points/1-2", "--to", tmp_path / "pair")
    assert done.code == 0, done.err
    assert "points/1 − points/2" in done.out
    assert "differences of NME, drawn, test, n = 6" in done.out
    assert json.loads((tmp_path / "pair" / "comparison.json").read_text())["task"] == "landmarks"
    page = (tmp_path / "pair" / "comparison.md").read_text()
    assert page.startswith("# points/1 and points/2\n")
    foreign = call("compare", "points/1", "--predictions", "x.parquet")
    assert (foreign.code, foreign.out) == (2, "")
    assert "points of others can't be compared; expected landmark runs alone" in foreign.err


def test_faces_that_differ_arent_compared(home: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    shutil.copytree(home.root, other.root)
    run = find_run(other, "points/2")
    write_faces(other, "more", n=60, size=48, color="gray", seed=4)
    away = evaluate(other, run, dataset="more")
    assert (away["dataset"], away["split"], away["n"]) == ("more", "train + validation + test", 60)
    shutil.copyfile(run.evaluation("all-rows", "more") / "predictions.parquet", run.predictions("report"))
    with pytest.raises(MienError, match="runs points/1 and points/2 were measured on other faces"):
        compare_points([find_run(other, "points/1"), run])


def test_classes_arent_looked_for_in_points(here: Workspace) -> None:
    done = call("slices", "points/1", "--by", "class")
    assert done.code == 2
    assert "these are points, not classes; expected a run whose task is expression" in done.err


def test_runs_lists_errors(here: Workspace) -> None:
    done = call("runs")
    measured = json.loads(nets(here).metrics_file("report").read_text())
    low, high = (100 * end for end in measured["sizes"]["128"]["interval"]["nme_outer_eyes"])
    told = f"{100 * measured['sizes']['128']['nme_outer_eyes']:.2f} [{low:.2f}, {high:.2f}] % at 128 px, test n 6"
    assert told in " ".join(done.out.split())


def test_results_have_a_table_of_landmark_runs(home: Workspace, tmp_path: Path) -> None:
    assert results.point_table("", tmp_path) == ""
    folder = tmp_path / "points"
    folder.mkdir()
    for name in ("metrics.json", "environment.json", "history.csv"):
        shutil.copyfile(nets(home).folder / name, folder / name)
    measured = json.loads((folder / "metrics.json").read_text())
    said, _, head, _, line = results.point_table("results/", tmp_path).splitlines()
    assert said == "68 points, errors in % of the distance of the outer eye corners, faces in a detector's squares:"
    cells = dict(zip(head.strip("| ").split(" | "), line.strip("| ").split(" | "), strict=True))
    low, high = (100 * end for end in measured["sizes"]["128"]["interval"]["nme_outer_eyes"])
    assert cells["run"] == "[points](results/points/report.html)"
    assert cells["measured on"] == "drawn, test, n = 6"
    assert cells["NME at 128 px"] == f"{100 * measured['sizes']['128']['nme_outer_eyes']:.2f} [{low:.2f}, {high:.2f}]"
    assert cells["trained"].startswith("1 epochs, ")
    # The table of expressions has none of it.
    assert results.table("", tmp_path).count("\n") == 2
