"""Evaluation: the numbers are those of its predictions, and the report role is opened here alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import TINY, write_tiny
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_recall_fscore_support

from mien.building import build_model, build_roles, build_samples
from mien.dataset import Dataset, open_dataset, write_dataset
from mien.errors import MienError
from mien.evaluation import evaluate
from mien.experiment import load_experiment
from mien.images import decode, encode_png
from mien.labels import FER2013
from mien.run import Run, new_run
from mien.training import train
from mien.workspace import Workspace


def trained(workspace: Workspace, file: Path, *overrides: str) -> Run:
    run = new_run(workspace, load_experiment(file, ["train.epochs=1", *overrides]))
    train(workspace, run, ["test"])
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the stripes and a run of theirs, `tiny/1`, measured on both roles."""
    root = tmp_path_factory.mktemp("home")
    workspace = Workspace(root)
    write_tiny(workspace)
    file = root / "tiny.yaml"
    file.write_text(TINY)
    run = trained(workspace, file)
    for role in ("choose", "report"):
        evaluate(workspace, run, role)  # type: ignore[arg-type]
    return workspace


def run_of(home: Workspace) -> Run:
    return Run(home.runs / "tiny/1")


@pytest.mark.parametrize(("role", "split"), [("choose", "validation"), ("report", "test")])
def test_the_numbers_are_those_of_the_predictions(home: Workspace, role: str, split: str) -> None:
    run = run_of(home)
    table = pq.read_table(run.predictions(role)).to_pydict()
    classes = list(FER2013.classes)
    assert list(table) == ["id", "split", "label", *classes]
    dataset = open_dataset(home, "tiny")
    assert table["id"] == dataset.ids(split)
    assert table["label"] == dataset.labels(split).tolist()
    assert set(table["split"]) == {split}
    logits = np.array([table[name] for name in classes]).T
    label, predicted = np.array(table["label"]), logits.argmax(axis=1)

    measured: dict[str, Any] = json.loads(run.metrics_file(role).read_text())
    assert (measured["role"], measured["split"], measured["n"]) == (role, split, 35)
    assert (measured["protocol"], measured["contaminated"], measured["tta"], measured["seeds"]) == (
        "official",
        0,
        "none",
        [1],
    )
    assert (measured["run"], measured["dataset"], measured["labels"]) == ("tiny/1", "tiny", "fer2013-7")
    assert measured["accuracy"] == pytest.approx(accuracy_score(label, predicted))
    assert measured["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(label, predicted))
    for average in ("macro", "weighted"):
        expected = f1_score(label, predicted, average=average, zero_division=0)
        assert measured[f"{average}_f1"] == pytest.approx(expected)
    by_class = precision_recall_fscore_support(label, predicted, labels=range(7), zero_division=0)
    for index, name in enumerate(classes):
        own = measured["per_class"][name]
        assert [own[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [column[index] for column in by_class]
        )
    for key, (low, high) in measured["interval"].items():
        assert low <= measured[key] <= high


def test_logits_are_those_of_each_image_alone(home: Workspace) -> None:
    run, dataset = run_of(home), open_dataset(home, "tiny")
    model = build_model(run.experiment, FER2013)
    model.load_state_dict(load_file(run.weights))
    table = pq.read_table(run.predictions("report")).to_pydict()
    for row, data in enumerate(dataset.images("test")):
        image = torch.tensor(decode(data, "gray", 24)).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            logits = model.eval()((image / 255 - 0.5) / 0.5)
        stored = torch.tensor([[table[name][row] for name in FER2013.classes]])
        torch.testing.assert_close(stored, logits, rtol=1e-4, atol=1e-4)


def test_paper_2021_is_marked_as_contaminated(workspace: Workspace, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (63, 24, 24), np.uint8)
    with write_dataset(workspace, "toy", FER2013, source="", format="test") as writer:
        for index, image in enumerate(pixels):
            split = ("Training", "Training", "PublicTest", "PrivateTest", "Training", "Training", "Training")[
                index // 9
            ]
            writer.add(split, str(index), encode_png(image), index % 7, size=(24, 24))
    file = tmp_path / "toy.yaml"
    file.write_text(TINY.replace("name: tiny, size", "name: toy, size") + "protocol: paper-2021\n")
    run = trained(workspace, file)
    measured = evaluate(workspace, run, "report")
    assert measured["split"] == "Training + PrivateTest"
    assert measured["n"] == 54
    assert measured["contaminated"] == pytest.approx(45 / 54)
    assert evaluate(workspace, run, "choose")["contaminated"] == 0
    table = pq.read_table(run.predictions("report")).to_pydict()
    dataset = open_dataset(workspace, "toy")
    assert table["id"] == dataset.ids("Training") + dataset.ids("PrivateTest")
    assert table["split"] == ["Training"] * 45 + ["PrivateTest"] * 9
    experiment = run.experiment
    samples = build_samples(experiment, dataset, build_roles(experiment, dataset), "report", FER2013)
    assert table["label"] == samples.labels.tolist()


def test_a_run_without_weights_is_refused(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    run = new_run(workspace, load_experiment(tiny_file))
    run.set_state("stopped")
    with pytest.raises(MienError) as error:
        evaluate(workspace, run)
    assert str(error.value) == (
        f"{run.folder}: run tiny/1 is stopped and has no weights; expected a finished run: mien train --resume tiny/1"
    )
    assert not (run.folder / "predictions").exists()


def test_a_data_set_that_is_gone_is_told(workspace: Workspace, tiny_file: Path) -> None:
    write_tiny(workspace, n=70)
    run = trained(workspace, tiny_file)
    (workspace.datasets / "tiny").rename(workspace.datasets / "gone")
    with pytest.raises(MienError) as error:
        evaluate(workspace, run)
    assert str(error.value) == "no data set is called 'tiny'; expected one of gone"
