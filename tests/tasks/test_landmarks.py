"""Points as a task: the same trainer, run folder and evaluation; what is measured is what was predicted."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import write_tiny
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from trained import history

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.framing import stored_points
from mien.data.labels import FACE
from mien.data.synthetic import faces
from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.evaluation import evaluate
from mien.experiment.building import build_loss, build_roles, build_samples, check
from mien.experiment.schema import load_experiment, read_protocol
from mien.faces.ibug import POINTS
from mien.faces.squares import face_squares
from mien.images import encode_png
from mien.inference.model import load_run
from mien.metrics.nme import image_errors, measure_points
from mien.protocols import Part, Role
from mien.protocols.batches import load_faces
from mien.runs.ledger import entries
from mien.runs.predictions import SIZES, read_points
from mien.runs.run import Run, find_run, new_run
from mien.training.fit import train
from mien.training.module import Training
from mien.workspace import Workspace

FILE = """
name: dots
task: landmarks
dataset: {name: drawn, size: 32}
preprocess: [{op: normalize}]
augment: [{op: frame, rotate: 10}, {op: flip}, {op: noise, sd: 2}]
model: {name: landmarks-small, width: 8}
loss: wing
optimizer: {name: adamw, lr: 5e-3}
schedule: {name: cosine}
train: {epochs: 3, batch_size: 16, seed: 1, precision: float32, device: cpu}
"""
# The same of a set that has faces and no expressions.
POSED = [
    "name=posed",
    "dataset.name=posed",
    "protocol={name: splits, fit: [train], share: 0.25, report: [test]}",
    "train.epochs=1",
]

Shares = npt.NDArray[np.float32]


def write_posed(workspace: Workspace, name: str = "posed", seed: int = 5) -> Dataset:
    """Drawn faces without expressions: 16 to train on, 10 to test, of which the fourth is one of those."""
    columns = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}
    drawn = list(faces(25, size=40, color="gray", seed=seed))
    drawn.insert(19, drawn[5])
    details = {"landmarks": {"terms": "research only"}}
    with write_dataset(workspace, name, FACE, source="", format="test", columns=columns, details=details) as writer:
        for index, (image, _, points) in enumerate(drawn):
            split = "train" if index < 16 else "test"
            flat = points.ravel().tolist()
            writer.add(split, f"{split}-{index}", encode_png(image), 0, size=(40, 40), landmarks=flat)
    return open_dataset(workspace, name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with drawn faces, a run `dots/1` of theirs, and a run `posed/1`, measured on both roles."""
    root = tmp_path_factory.mktemp("home")
    workspace = Workspace(root)
    write_faces(workspace, "drawn", n=50, size=40, color="gray", seed=0)
    write_posed(workspace)
    (root / "dots.yaml").write_text(FILE)
    fit(workspace)
    run = fit(workspace, *POSED)
    evaluate(workspace, run, "choose")
    evaluate(workspace, run, command=["mien", "evaluate", "posed/1"])
    return workspace


def fit(workspace: Workspace, *overrides: str) -> Run:
    run = new_run(workspace, load_experiment(workspace.root / "dots.yaml", overrides))
    train(workspace, run, ["test"])
    return run


def tensors_equal(one: Run, other: Run) -> bool:
    a, b = load_file(one.weights), load_file(other.weights)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_history_has_the_nme_in_the_accuracy_s_place(home: Workspace) -> None:
    rows = history(find_run(home, "dots/1"))
    assert list(rows[0]) == ["epoch", "lr", "fit_loss", "fit_nme", "choose_loss", "choose_nme"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(0 < row[key] < 2 for row in rows for key in ("fit_nme", "choose_nme", "fit_loss", "choose_loss"))


def test_the_same_file_and_seed_give_the_same_weights(home: Workspace) -> None:
    first, second, other = find_run(home, "dots/1"), fit(home), fit(home, "train.seed=2")
    assert tensors_equal(first, second)
    assert first.history.read_bytes() == second.history.read_bytes()
    assert not tensors_equal(first, other)


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_a_run_that_broke_off_goes_on_to_the_same_weights(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    steps = 0
    step = Training.training_step

    def failing(self: Training, *arguments: object) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == stop:
            raise RuntimeError("the power went out")
        return step(self, *arguments)  # type: ignore[arg-type]

    run = new_run(home, load_experiment(home.root / "dots.yaml"))
    with monkeypatch.context() as broken:
        broken.setattr(Training, "training_step", failing)
        with pytest.raises(RuntimeError, match="the power went out"):
            train(home, run, ["test"])
    # An epoch has three steps.
    assert run.checkpoint.exists() == (stop > 3)
    train(home, run, ["test"])
    whole = find_run(home, "dots/1")
    assert tensors_equal(run, whole)
    assert run.history.read_bytes() == whole.history.read_bytes()


def test_what_is_learned_is_where_the_points_are(home: Workspace) -> None:
    run = fit(home, "augment=[{op: frame, rotate: 0, shift: 0.05}]", "train.epochs=20", "train.keep=last")
    rows = history(run)
    assert rows[-1]["fit_loss"] < 0.5 * rows[0]["fit_loss"]
    assert rows[-1]["fit_nme"] < 0.5 * rows[0]["fit_nme"]
    assert rows[-1]["choose_nme"] < 0.5 * rows[0]["choose_nme"]
    measured = evaluate(home, run, "choose")
    for size in SIZES:
        error = measured["sizes"][str(size)]["nme_outer_eyes"]
        # Better than the mean of all faces, which knows nothing of this one; and as at the size of the training, since
        # drawn faces have no detail that it couldn't see.
        assert error < 0.9 * measured["mean_shape"]["nme_outer_eyes"]
        assert error == pytest.approx(rows[-1]["choose_nme"], rel=0.05)


def test_the_best_epoch_has_the_least_nme_and_it_is_that_of_its_points(home: Workspace) -> None:
    run = find_run(home, "dots/1")
    errors = [row["choose_nme"] for row in history(run)]
    best = int(np.argmin(errors))
    assert errors[best] < 0.9 * max(errors)
    experiment = run.experiment
    assert experiment.train.keep == "best"
    samples = load_faces(open_dataset(home, "drawn"), [Part("validation")], 32, "gray", "detector")
    batch = samples.batch(np.arange(len(samples)))
    outputs = torch.from_numpy(load_run(run).outputs(samples.images(np.arange(len(samples)))))
    points = (outputs.reshape(-1, POINTS, 2) + 0.5) * 32 - 0.5
    assert image_errors(points.numpy(), batch.points.numpy()).mean() == pytest.approx(errors[best], rel=1e-4)
    loss = build_loss(experiment, [1])(outputs, ((batch.points + 0.5) / 32 - 0.5).flatten(1))
    assert loss.item() == pytest.approx(history(run)[best]["choose_loss"], rel=1e-4)


def test_fit_faces_have_room_and_others_are_as_a_detector_has_them(home: Workspace) -> None:
    experiment, dataset = load_experiment(home.root / "dots.yaml"), open_dataset(home, "drawn")
    roles, names = build_roles(experiment, dataset), dataset.card.scheme
    shapes, sides = {}, {}
    for role in ("fit", "choose", "report"):
        samples = build_samples(experiment, dataset, roles, role, names)
        side = samples.pixels[0].shape[1]
        shapes[role] = (len(samples), side)
        sides[role] = side / face_squares(samples.points)[:, 2]
        assert samples.votes.shape == (len(samples), 0)
    assert shapes == {"fit": (40, 64), "choose": (5, 32), "report": (5, 32)}
    np.testing.assert_allclose(sides["fit"], 2, rtol=1e-4)
    for role in ("choose", "report"):
        assert np.abs(np.log(sides[role] / 1.25)).max() < 0.3
        assert sides[role].std() > 0.01


def test_a_check_counts_points(home: Workspace) -> None:
    experiment = load_experiment(home.root / "dots.yaml", POSED)
    told = check(experiment, open_dataset(home, "posed"))
    assert told.summary.output_shape == (136,)
    assert told.rows == {"fit": 12, "choose": 4, "report": 10}
    assert check(experiment, None).rows is None
    with pytest.raises(MienError, match="data set 'plain' has no points"):
        check(experiment, dataset_of(home))


def dataset_of(home: Workspace) -> Dataset:
    """Stripes that nobody has marked points on, under the splits that the protocol names."""
    return write_tiny(home, "plain", n=70) if not (home.datasets / "plain").exists() else open_dataset(home, "plain")


@pytest.mark.parametrize(("role", "split", "n"), [("choose", "train", 4), ("report", "test", 10)])
def test_the_numbers_are_those_of_the_stored_points(home: Workspace, role: Role, split: str, n: int) -> None:
    run, dataset = find_run(home, "posed/1"), open_dataset(home, "posed")
    measured = json.loads(run.metrics_file(role).read_text())
    assert set(measured) == {
        *("run", "task", "dataset", "protocol", "parameters", "role", "split", "seeds", "n", "normaliser", "limits"),
        *("sizes", "mean_shape", "contaminated", "overlap", "excluded", "groups", "grouped_by"),
    }
    told = [measured[key] for key in ("run", "task", "dataset", "protocol", "role", "split", "seeds", "n")]
    assert told == ["posed/1", "landmarks", "posed", "splits", role, split, [1], n]
    assert measured["parameters"] == {"fit": ["train"], "share": 0.25, "report": ["test"]}
    assert (measured["groups"], measured["grouped_by"]) == (None, None)
    assert measured["normaliser"] == "distance of the outer eye corners (points 37 and 46)"
    assert list(measured["sizes"]) == ["128", "48"]

    table = pq.read_table(run.predictions(role))
    assert table.column_names == ["split", "id", "size", "true", "predicted"]
    assert table["size"].to_pylist() == [128] * n + [48] * n
    part = build_roles(run.experiment, dataset).of(role)[0]
    ids = np.array(dataset.ids(split))[slice(None) if part.index is None else part.index]
    model = load_run(run)
    for size in SIZES:
        rows, true, predicted = read_points(run.predictions(role), size)
        assert rows == [(split, id_) for id_ in ids]
        expected = measure_points(predicted, true)
        assert expected == {key: measured["sizes"][str(size)][key] for key in expected}
        assert set(measured["sizes"][str(size)]) - set(expected) == {"clean"}
        # And the points are the model's of the framed pixels, shrunk or enlarged to what it was trained on.
        samples = load_faces(dataset, [part], size, "gray", "detector")
        np.testing.assert_allclose((samples.points + 0.5) / size - 0.5, true, atol=1e-6)
        points = model.points(samples.images(np.arange(n)))
        np.testing.assert_allclose((points + 0.5) / size - 0.5, predicted, atol=1e-6)


def test_the_mean_shape_is_that_of_the_fit_faces(home: Workspace) -> None:
    run, dataset = find_run(home, "posed/1"), open_dataset(home, "posed")
    measured = json.loads(run.metrics_file("report").read_text())
    (part,) = build_roles(run.experiment, dataset).fit
    samples = load_faces(dataset, [part], 128, "gray", "detector")
    mean = ((samples.points + 0.5) / 128 - 0.5).mean(axis=0)
    _, true, _ = read_points(run.predictions("report"), 128)
    errors = image_errors(np.broadcast_to(mean, true.shape), true)
    assert measured["mean_shape"]["nme_outer_eyes"] == pytest.approx(errors.mean(), rel=1e-4)
    assert measured["mean_shape"]["n"] == 10


def test_the_clean_twin_leaves_the_copied_face_out(home: Workspace) -> None:
    run = find_run(home, "posed/1")
    measured = json.loads(run.metrics_file("report").read_text())
    # One of ten has a copy in fit or choose: told, and too few to contaminate.
    assert measured["overlap"] | {"near": None} == {"rows": 0, "exact": 0.1, "near": None}
    assert measured["contaminated"] == 0
    left = np.arange(10) != 3
    for size in SIZES:
        _, true, predicted = read_points(run.predictions("report"), size)
        clean = measured["sizes"][str(size)]["clean"]
        assert clean == measure_points(predicted[left], true[left])
        assert clean["n"] == 9
    assert measured["mean_shape"]["clean"]["n"] == 9
    chosen = json.loads(run.metrics_file("choose").read_text())
    assert (chosen["overlap"], chosen["sizes"]["48"]["clean"], chosen["mean_shape"]["clean"]) == (None, None, None)


def test_asking_for_the_report_role_is_written_down(home: Workspace) -> None:
    (line,) = [one for one in entries(home.root) if one["run"] == "posed/1" and one["dataset"] == "posed"]
    assert line.pop("when")
    assert line.pop("who")
    assert line == {
        "run": "posed/1",
        "protocol": "splits",
        "parameters": {"fit": ["train"], "share": 0.25, "report": ["test"]},
        "dataset": "posed",
        "role": "report",
        "split": "test",
        "n": 10,
        "command": ["mien", "evaluate", "posed/1"],
    }


def test_weights_say_their_task_and_what_binds_their_use(home: Workspace) -> None:
    headers = {}
    for name in ("dots/1", "posed/1"):
        with safe_open(find_run(home, name).weights, framework="pt") as file:
            headers[name] = json.loads(file.metadata()["mien"])
    assert {header["task"] for header in headers.values()} == {"landmarks"}
    assert [headers[name]["limits"] for name in headers] == ["", "trained on research-only annotations"]
    run = find_run(home, "posed/1")
    assert load_run(run).limits == "trained on research-only annotations"
    assert json.loads(run.metrics_file("report").read_text())["limits"] == "trained on research-only annotations"


def test_what_binds_the_use_of_weights_binds_what_begins_with_them(home: Workspace) -> None:
    run = fit(home, "name=begun", "model.pretrained=runs/posed/1", "train.epochs=1")
    assert run.environment["dataset"]["name"] == "drawn"
    begun = run.environment["start_weights"]
    # The classes of faces are nothing to points.
    assert (begun["limits"], begun["last_layer"]) == ("trained on research-only annotations", "taken")
    assert load_run(run).limits == "trained on research-only annotations"


def test_another_set_and_another_protocol_are_measured_beside_the_own(home: Workspace) -> None:
    run = find_run(home, "posed/1")
    before = run.metrics_file("report").read_bytes()
    measured = evaluate(home, run, dataset="drawn")
    assert [measured[key] for key in ("dataset", "protocol", "split", "n", "contaminated")] == [
        *("drawn", "all-rows", "train + validation + test", 50, 0)
    ]
    rows, true, predicted = read_points(run.evaluation("all-rows", "drawn") / "predictions.parquet", 48)
    assert len(rows) == 50
    assert measured["sizes"]["48"]["nme_outer_eyes"] == pytest.approx(image_errors(predicted, true).mean())
    everyone, _ = read_protocol("{name: splits, fit: [test], choose: [test], report: [train, test]}")
    measured = evaluate(home, run, protocol=everyone)
    # Twelve of these are what it was fit on.
    assert (measured["n"], measured["split"]) == (26, "train + test")
    assert measured["contaminated"] == pytest.approx(measured["overlap"]["rows"]) == pytest.approx(12 / 26)
    assert measured["sizes"]["128"]["clean"]["n"] == 9
    assert run.metrics_file("report").read_bytes() == before
    dataset_of(home)
    with pytest.raises(MienError, match="data set 'plain' has no points"):
        evaluate(home, run, dataset="plain")


def test_training_opens_no_report_face(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    dataset = write_posed(workspace)
    (workspace.root / "dots.yaml").write_text(FILE)
    (shard,) = dataset.folder.glob("test-*.parquet")
    shard.write_bytes(bytes(shard.stat().st_size))
    assert fit(workspace, *POSED).state == "finished"
    assert not list((dataset.folder / "cache").glob("test-*"))


def test_points_are_fit_as_they_stand_in_the_data(home: Workspace) -> None:
    dataset = open_dataset(home, "posed")
    expected = np.array([points for _, _, points in faces(16, size=40, color="gray", seed=5)], np.float32)
    np.testing.assert_array_equal(stored_points(dataset, "train"), expected)
