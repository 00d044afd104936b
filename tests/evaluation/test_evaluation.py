"""Evaluation: the numbers are those of its predictions, and the report role is opened here alone."""

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import TINY, write_tiny
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_recall_fscore_support
from verbs import call

from mien.audit import audit
from mien.comparison import compare, find_contender, without_copies
from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.importers import import_dataset
from mien.data.labels import FER2013, LabelScheme
from mien.errors import FailedError, MienError
from mien.evaluation import evaluate, evaluate_file
from mien.experiment.building import build_model, build_roles, build_samples
from mien.experiment.schema import load_experiment, read_protocol
from mien.images import decode, encode_png
from mien.inference.model import load_run
from mien.metrics.calibration import fit_temperature, measure_calibration
from mien.metrics.classification import measure
from mien.report.page import write_report
from mien.report.wording import over, which_rows
from mien.runs.ledger import entries
from mien.runs.model_file import ModelFile
from mien.runs.predictions import read_predictions
from mien.runs.run import Run, new_run
from mien.training.fit import train
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
        evaluate(workspace, run, role)
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
    told = [measured[key] for key in ("protocol", "contaminated", "tta", "seeds", "excluded")]
    assert told == ["official", 0, None, [1], {}]
    assert measured["dropped"] == {"rows": 0, "classes": {}}
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


def test_the_temperature_is_fitted_on_choose_and_stored_with_the_weights(home: Workspace) -> None:
    run = run_of(home)
    found = read_predictions(run.predictions("choose"))
    temperature = fit_temperature(found.logits, found.labels)
    model = load_run(run)
    assert model.temperature == temperature != 1
    for role in ("choose", "report"):
        calibration = json.loads(run.metrics_file(role).read_text())["calibration"]
        assert calibration["temperature"] == calibration["after"]["temperature"] == temperature
        assert calibration["before"]["temperature"] == 1
        stored = read_predictions(run.predictions(role))
        assert calibration["after"] == measure_calibration(stored.labels, stored.logits, temperature)
    images = np.zeros((1, 24, 24), np.uint8)
    expected = torch.softmax(torch.from_numpy(model.logits(images)) / temperature, dim=1)
    np.testing.assert_allclose(model.probabilities(images), expected, rtol=1e-5)


def test_votes_and_slices_are_measured_where_there_are_votes(home: Workspace) -> None:
    measured = json.loads(run_of(home).metrics_file("report").read_text())
    # Eight of ten raters say the label, the others something else.
    assert measured["votes"]["agreement"]["value"] == 1
    assert measured["votes"]["accuracy"]["value"] == pytest.approx(measured["accuracy"])
    (part,) = measured["slices"]["agreement"]
    assert (part["slice"], part["n"], part["accuracy"]) == ("0.8", 35, measured["accuracy"])


def write_toy(workspace: Workspace, copied: int = 0, name: str = "toy") -> Dataset:
    """FER2013's splits with 45, 9 and 9 noise images; the first `copied` of PrivateTest stand in Training too."""
    pixels = np.random.default_rng(0).integers(0, 256, (63, 24, 24), np.uint8)
    pixels[54 : 54 + copied] = pixels[:copied]
    with write_dataset(workspace, name, FER2013, source="", format="test") as writer:
        for index, image in enumerate(pixels):
            split = "Training" if index < 45 else "PublicTest" if index < 54 else "PrivateTest"
            writer.add(split, str(index), encode_png(image), index % 7, size=(24, 24))
    return open_dataset(workspace, name)


def toy_file(folder: Path, more: str = "") -> Path:
    file = folder / "toy.yaml"
    file.write_text(TINY.replace("name: tiny, size", "name: toy, size") + more)
    return file


def test_the_clean_twin_leaves_copies_out(workspace: Workspace, tmp_path: Path) -> None:
    write_toy(workspace, copied=2)
    run = trained(workspace, toy_file(tmp_path))
    measured = evaluate(workspace, run)
    assert measured["overlap"] == {"rows": 0, "exact": pytest.approx(2 / 9), "near": pytest.approx(2 / 9)}
    # Copies of more than a fifth of the rows contaminate a protocol that shares no row.
    assert measured["contaminated"] == pytest.approx(2 / 9)
    stored = read_predictions(run.predictions("report"))
    expected = measure(stored.labels[2:], stored.logits[2:], stored.classes)
    assert (measured["n"], expected["n"]) == (9, 7)
    assert measured["clean"] == measured["near_clean"] == expected


def test_a_comparison_has_a_clean_twin_too(workspace: Workspace, tmp_path: Path) -> None:
    write_toy(workspace, copied=2)
    for seed in (1, 2):
        evaluate(workspace, trained(workspace, toy_file(tmp_path), f"train.seed={seed}"))
    contenders = [find_contender(workspace, name) for name in ("tiny/1", "tiny/2")]
    left = without_copies(contenders)
    assert left is not None
    assert [one.runs[0].ids for one in left] == [contenders[0].runs[0].ids[2:]] * 2
    assert [one.contaminated for one in left] == [0, 0]
    assert [one.contaminated for one in contenders] == [pytest.approx(2 / 9)] * 2
    assert compare(left)["n"] == 7
    for number in ("1", "2"):  # What a run has seen can be told without its weights.
        (workspace.runs / "tiny" / number / "weights.safetensors").unlink()
    again = without_copies(contenders)
    assert again is not None
    assert [one.runs[0].ids for one in again] == [one.runs[0].ids for one in left]
    (workspace.datasets / "toy").rename(workspace.datasets / "gone")
    assert without_copies(contenders) is None


def test_one_training_is_measured_under_two_protocols(workspace: Workspace, tmp_path: Path) -> None:
    write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path))
    own = evaluate(workspace, run)
    other = evaluate(workspace, run, protocol=read_protocol("paper-2021")[0], command=["mien", "evaluate"])
    assert (own["protocol"], own["n"], own["contaminated"]) == ("official", 9, 0)
    assert (other["protocol"], other["n"], other["split"]) == ("paper-2021", 54, "Training + PrivateTest")
    assert other["contaminated"] == pytest.approx(45 / 54)
    assert other["clean"] == {key: own[key] for key in other["clean"]}
    assert json.loads(run.metrics_file("report").read_text()) == own
    folder = run.folder / "evaluations" / "paper-2021"
    assert json.loads((folder / "metrics.json").read_text()) == other
    assert len(read_predictions(folder / "predictions.parquet")) == 54
    for place in (run.folder, workspace.root):
        lines = entries(place)
        assert [(line["run"], line["protocol"], line["n"]) for line in lines] == [
            ("tiny/1", "official", 9),
            ("tiny/1", "paper-2021", 54),
        ]
        assert lines[1]["command"] == ["mien", "evaluate"]


def test_training_and_choosing_leave_no_line_in_the_ledger(workspace: Workspace, tmp_path: Path) -> None:
    write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path))
    evaluate(workspace, run, "choose")
    assert entries(run.folder) == entries(workspace.root) == []


def test_another_data_set_is_measured_by_the_names_of_its_classes(workspace: Workspace, tmp_path: Path) -> None:
    write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path))
    own = LabelScheme("own", ("Happiness", "bored", "Sadness"))
    with write_dataset(workspace, "other", own, source="", format="test") as writer:
        for index, image in enumerate(np.random.default_rng(1).integers(0, 256, (9, 24, 24), np.uint8)):
            writer.add("train" if index < 3 else "test", str(index), encode_png(image), index % 3, size=(24, 24))
    measured = evaluate(workspace, run, dataset="other")
    assert (measured["dataset"], measured["split"], measured["n"]) == ("other", "train + test", 6)
    assert measured["dropped"] == {"rows": 3, "classes": {"bored": 3}}
    assert measured["per_class"]["happy"]["support"] == measured["per_class"]["sad"]["support"] == 3
    assert which_rows(measured) == ["These are all 6 rows of other: train + test whose class the model has."]
    assert measured["overlap"] == {"rows": 0, "exact": 0, "near": None}
    assert measured["near_clean"] is None
    folder = run.folder / "evaluations" / "all-rows@other"
    assert read_predictions(folder / "predictions.parquet").classes == FER2013.classes


def test_of_a_set_made_from_its_own_a_run_is_measured_on_what_it_was_not_given(
    workspace: Workspace, tmp_path: Path
) -> None:
    dataset = write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path))
    with write_dataset(workspace, "cut", FER2013, source="", format="test", parent=dataset.card) as writer:
        for split in dataset.card.splits:
            labels = dataset.labels(split).tolist()
            for id_, label, data in zip(dataset.ids(split), labels, dataset.images(split), strict=True):
                writer.add(split, id_, encode_png(decode(data, "gray")[:12, :, 0]), label, size=(24, 12))
        writer.add("extra", "new", encode_png(np.full((12, 24), 9, np.uint8)), 0, size=(24, 12))
    measured = evaluate(workspace, run, dataset="cut")
    told = [measured[key] for key in ("protocol", "split", "n", "contaminated")]
    assert told == ["unseen-rows", "PrivateTest + extra", 10, 0]
    assert which_rows(measured) == [
        "These are the 10 rows of cut: PrivateTest + extra, that the model was neither trained nor chosen on."
    ]
    with write_dataset(workspace, "seen", FER2013, source="", format="test", parent=dataset.card) as writer:
        for id_, data in zip(dataset.ids("Training"), dataset.images("Training"), strict=True):
            writer.add("Training", id_, data, 0, size=(24, 24))
    with pytest.raises(MienError) as error:
        evaluate(workspace, run, dataset="seen")
    assert str(error.value) == (
        "--dataset: the model was trained or chosen on every row of data set 'seen'; expected another data set, or "
        "--protocol to measure on rows that it has seen"
    )


def test_screen_and_page_say_which_rows_of_a_set_with_drawn_splits(workspace: Workspace, tmp_path: Path) -> None:
    write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path))
    random = np.random.default_rng(3)
    for index in range(60):
        folder = tmp_path / "wild" / ("happy", "sad")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.png").write_bytes(encode_png(random.integers(0, 256, (24, 24), np.uint8)))
    made = import_dataset(workspace, tmp_path / "wild", "wild", labels="fer2013-7")
    assert len(made.card.splits) == 3
    shown = call("evaluate", run.name, "--dataset", "wild", "--workspace", workspace.root)
    assert shown.code == 0, shown.err
    assert "protocol all-rows, report role: wild, train + validation + test, n = 60" in shown.out
    assert "These are all 60 rows of wild: train + validation + test.\n" in shown.out
    assert "These are all 60 rows of wild: train + validation + test." in run.page.read_text()
    named = evaluate(workspace, run, dataset="wild", protocol=read_protocol("official")[0])
    assert (named["protocol"], named["split"], named["n"]) == ("official", "test", made.rows("test"))
    assert which_rows(named) == []
    # Of somebody else's model nobody can have gone by splits that mien drew.
    rows = [(split, id_) for split in made.card.splits for id_ in made.ids(split)]
    sure = {name: [1.0 if name == "happy" else 0.0] * 60 for name in FER2013.classes}
    pq.write_table(
        pa.table({"split": [split for split, _ in rows], "id": [id_ for _, id_ in rows], **sure}),
        tmp_path / "peer.parquet",
    )
    (tmp_path / "peer.yaml").write_text(f"predictions: peer.parquet\nclasses: [{', '.join(FER2013.classes)}]\n")
    peer = evaluate_file(ModelFile(tmp_path / "peer.yaml", workspace), dataset="wild")
    assert [peer[key] for key in ("protocol", "n", "accuracy", "overlap")] == ["all-rows", 60, 0.5, None]
    assert which_rows(peer)[1] == "Which of them the model has seen isn't known."
    told = call("evaluate", tmp_path / "peer.yaml", "--dataset", "wild", "--workspace", workspace.root)
    assert "Which of them the model has seen isn't known.\n" in told.out


def by_person(workspace: Workspace, copies: int) -> None:
    """The data set toy with FER2013's splits: of each of 12 persons in PrivateTest one picture, so many times over."""
    random = np.random.default_rng(0)
    columns = {"subject": pa.string()}
    with write_dataset(workspace, "toy", FER2013, source="", format="test", columns=columns) as writer:
        for index in range(54):
            image = encode_png(random.integers(0, 256, (24, 24), np.uint8))
            split = "Training" if index < 45 else "PublicTest"
            writer.add(split, str(index), image, index % 7, size=(24, 24), subject=f"p{index}")
        for person in range(12):
            image = random.integers(0, 250, (24, 24), np.uint8)
            for copy in range(copies):
                writer.add(
                    "PrivateTest", f"{person}-{copy}", encode_png(image + copy), person % 7, size=(24, 24),
                    subject=f"q{person}",
                )  # fmt: skip


def test_intervals_are_over_persons_where_the_data_set_names_them(workspace: Workspace, tmp_path: Path) -> None:
    by_person(workspace, copies=5)
    run = trained(workspace, toy_file(tmp_path))
    measured = evaluate(workspace, run)
    assert (measured["n"], measured["groups"], measured["grouped_by"]) == (60, 12, "subject")
    stored = read_predictions(run.predictions("report"))
    assert stored.groups is not None
    assert stored.groups.tolist() == [row // 5 for row in range(60)]
    again = measure(stored.labels, stored.logits, stored.classes, stored.groups)
    assert measured["interval"] == again["interval"]
    assert measured["per_class"] == again["per_class"]
    rows = measure(stored.labels, stored.logits, stored.classes)
    for key, (low, high) in rows["interval"].items():
        assert measured["interval"][key][1] - measured["interval"][key][0] > high - low, key
    after = measured["calibration"]["after"]
    alone = measure_calibration(stored.labels, stored.logits, after["temperature"])
    for key in ("nll", "brier", "aurc"):
        (low, high), (wide_low, wide_high) = alone["interval"][key], after["interval"][key]
        assert wide_high - wide_low > high - low, key
    told = "Intervals are over the choice of persons (12 groups by subject): whole groups are drawn"
    assert over(measured) == f"{told}, and so few of them make such intervals too narrow."
    shown = call("evaluate", run.name, "--workspace", workspace.root)
    assert f"in brackets: 95 % intervals. {told}" in shown.out
    assert told in run.page.read_text()
    sliced = call("slices", run.name, "--by", "class", "--workspace", workspace.root, "--json")
    assert sliced.code == 0, sliced.err


def test_a_page_says_what_intervals_cannot_know(home: Workspace) -> None:
    measured = json.loads(run_of(home).metrics_file("report").read_text())
    assert (measured["groups"], measured["grouped_by"]) == (None, None)
    said = (
        "Intervals are over the choice of rows, as if these were independent: the data set has no column that names "
        "persons (mien data import --group), so they can't know of several pictures of one person, and are then too "
        "narrow."
    )
    assert over(measured) == said
    assert said in html.unescape(write_report(run_of(home).folder).read_text())


def test_views_are_averaged_beside_the_image_alone(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path, "tta: flip\n"))
    measured = evaluate(workspace, run)
    assert (measured["tta"]["name"], measured["tta"]["views"], measured["tta"]["n"]) == ("flip", 2, 9)
    model = load_run(run)
    assert model.tta == "flip"
    images = np.stack([decode(data, "gray", 24) for data in dataset.images("PrivateTest")])
    both = [torch.softmax(torch.from_numpy(model.logits(one)), dim=1) for one in (images, images[:, :, ::-1])]
    stored = read_predictions(run.folder / "predictions" / "report-tta.parquet")
    torch.testing.assert_close(torch.tensor(stored.logits).exp(), (both[0] + both[1]) / 2)
    alone = read_predictions(run.predictions("report"))
    np.testing.assert_array_equal(alone.logits, model.logits(images))
    np.testing.assert_array_equal(stored.logits, model.logits(images, tta="flip"))
    assert measured["tta"]["clean"] == measure(stored.labels, stored.logits, stored.classes)
    shown = call("evaluate", run.name, "--workspace", workspace.root).out
    for twin in ("", ", without exact copies", ", without near copies"):
        assert re.search(rf"^ flip, 2 views{twin} +9 ", shown, re.MULTILINE), twin


def test_excluded_rows_are_counted_and_roles_are_kept(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write_toy(workspace, copied=2)
    audit(dataset)
    run = trained(workspace, toy_file(tmp_path, "exclude: [leaked]\n"))
    measured = evaluate(workspace, run)
    assert measured["excluded"] == {"fit": {"leaked": 2, "rows": 2}, "choose": {"leaked": 0, "rows": 0}}
    assert run.environment["dataset"]["roles"]["fit"] == {"split": "Training", "n": 43}
    assert measured["overlap"]["exact"] == 0
    assert measured["n"] == 9
    kept = pq.read_table(run.roles).to_pydict()
    assert kept["id"] == [str(index) for index in range(2, 45)]
    assert set(kept["role"]) == {"fit"}
    pq.write_table(pq.read_table(run.roles).slice(1), run.roles)
    with pytest.raises(FailedError) as error:
        evaluate(workspace, run)
    assert error.value.message.startswith(
        "the fit role isn't the one that was saved: 0 of its rows are gone, 1 are new"
    )


def test_a_run_of_before_temperatures_gets_one(workspace: Workspace, tmp_path: Path) -> None:
    write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path))
    assert load_run(run).temperature is None
    measured = evaluate(workspace, run)
    assert load_run(run).temperature == measured["calibration"]["temperature"]
    assert run.metrics_file("choose").exists()


def test_paper_2021_is_marked_as_contaminated(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write_toy(workspace)
    run = trained(workspace, toy_file(tmp_path, "protocol: paper-2021\n"))
    measured = evaluate(workspace, run, "report")
    assert measured["split"] == "Training + PrivateTest"
    assert measured["n"] == 54
    assert measured["contaminated"] == pytest.approx(45 / 54)
    assert evaluate(workspace, run, "choose")["contaminated"] == 0
    table = pq.read_table(run.predictions("report")).to_pydict()
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
    assert str(error.value) == (
        f"no data set is called 'tiny'; expected one of gone in {workspace.datasets}, "
        "or a new one by mien data import SOURCE --as tiny"
    )
