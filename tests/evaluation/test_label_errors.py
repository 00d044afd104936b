"""Likely label errors: by hand, by a second implementation, and on noise whose rows are known."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import cross_val_predict
from statsmodels.stats.proportion import proportion_confint
from verbs import call

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.importers.ferplus import KIND
from mien.data.labels import FER2013
from mien.errors import MienError
from mien.evaluation.label_errors import (
    confident,
    confident_joint,
    find_label_errors,
    margins,
    out_of_fold,
    suspicious,
    thresholds,
)
from mien.experiment.schema import load_experiment
from mien.files import write_json
from mien.images import encode_png
from mien.runs.run import Run, new_run
from mien.workspace import Workspace

SCORED = {"protocol": "official", "split": "test", "n": 1, "accuracy": 1.0, "per_class": {}, "interval": {}}

# Two classes: rows 3 and 5 are confidently of the other one, row 6 of none.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1])
SURE = np.array([0.9, 0.8, 0.7, 0.2, 0.4, 0.7, 0.55])
GIVEN = np.stack([SURE, 1 - SURE], axis=1)


def test_by_hand() -> None:
    assert thresholds(LABELS, GIVEN).tolist() == pytest.approx([0.65, (0.6 + 0.3 + 0.45) / 3])
    assert confident(LABELS, GIVEN).tolist() == [0, 0, 0, 1, 1, 0, 1]
    assert confident_joint(LABELS, GIVEN).tolist() == [[3, 1], [1, 2]]
    assert margins(LABELS, GIVEN).tolist() == pytest.approx([0.8, 0.6, 0.4, -0.6, 0.2, -0.4, -0.1])
    rows, rather = suspicious(LABELS, GIVEN)
    assert (rows.tolist(), rather.tolist()) == ([3, 5], [1, 0])


def test_of_two_classes_whose_thresholds_are_reached_the_likelier_counts() -> None:
    # The thresholds are 0.4, 0.5 and 0.1; the last class is never likeliest, but reaches its own at once.
    labels = np.array([0, 0, 1, 2])
    sure = np.array([[0.3, 0.25, 0.45], [0.5, 0.3, 0.2], [0.45, 0.5, 0.05], [0.2, 0.7, 0.1]])
    assert thresholds(labels, sure).tolist() == pytest.approx([0.4, 0.5, 0.1])
    assert confident(labels, sure).tolist() == [2, 0, 1, 1]
    assert confident_joint(labels, sure).tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    rows, rather = suspicious(labels, sure)
    assert (rows.tolist(), rather.tolist()) == ([3, 0], [1, 2])


def test_a_class_without_rows_is_suggested_to_nobody() -> None:
    sure = np.array([[0.1, 0.2, 0.7], [0.3, 0.1, 0.6], [0.2, 0.7, 0.1]])
    assert thresholds(np.array([0, 0, 1]), sure).tolist() == pytest.approx([0.2, 0.7, np.inf])
    assert confident(np.array([0, 0, 1]), sure).tolist() == [-1, 0, 1]


def naive(labels: Sequence[int], given: Sequence[Sequence[float]]) -> list[list[int]]:
    """The paper's equations 1 and 2 and table, row by row."""
    k = len(given[0])
    limits = []
    for j in range(k):
        own = [row[j] for row, label in zip(given, labels, strict=True) if label == j]
        limits.append(sum(own) / len(own) if own else float("inf"))
    joint = [[0] * k for _ in range(k)]
    for row, label in zip(given, labels, strict=True):
        reached = [j for j in range(k) if row[j] >= limits[j]]
        if reached:
            joint[label][max(reached, key=lambda j: row[j])] += 1
    return joint


@st.composite
def predictions(draw: st.DrawFn) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Labels and probabilities of few classes, with an eighth as the unit so that nothing is rounded."""
    k, n = draw(st.integers(2, 4)), draw(st.integers(1, 25))
    cuts = draw(st.lists(st.lists(st.integers(0, 8), min_size=k - 1, max_size=k - 1), min_size=n, max_size=n))
    edges = [[0, *sorted(cut), 8] for cut in cuts]
    labels = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    return np.array(labels), np.diff(np.array(edges), axis=1) / 8


@settings(deadline=None, max_examples=200)
@given(predictions())
def test_it_is_what_the_paper_says(made: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]) -> None:
    labels, sure = made
    joint = confident_joint(labels, sure)
    assert joint.tolist() == naive(labels.tolist(), sure.tolist())
    rows, rather = suspicious(labels, sure)
    assert len(rows) == joint.sum() - np.trace(joint)
    assert (rather != labels[rows]).all()
    ranked = margins(labels, sure)[rows]
    assert (np.diff(ranked) >= 0).all()
    assert ((ranked >= -1) & (ranked <= 1)).all()


@settings(deadline=None, max_examples=100)
@given(predictions(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_classes_is_of_no_matter(
    made: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]], random: Any
) -> None:
    labels, sure = made
    sure = sure + np.arange(sure.shape[1]) / 1000  # No two classes of a row are equally likely.
    rows = np.array(random.sample(range(len(labels)), len(labels)))
    classes = np.array(random.sample(range(sure.shape[1]), sure.shape[1]))
    place = np.argsort(classes)
    before, after = confident(labels, sure), confident(place[labels[rows]], sure[rows][:, classes])
    expected = np.where(before >= 0, place[before], -1)[rows]
    assert after.tolist() == expected.tolist()


@settings(deadline=None, max_examples=100)
@given(st.integers(2, 6), st.integers(0, 2**31), st.floats(0, 0.9))
def test_who_knows_the_truth_finds_just_the_flipped_rows(k: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(k), random.integers(0, k, 60)])
    flipped = random.random(len(truth)) < share
    flipped[:k] = False  # Each class keeps a row.
    labels = np.where(flipped, (truth + random.integers(1, k, len(truth))) % k, truth)
    rows, rather = suspicious(labels, np.eye(k)[truth])
    assert sorted(rows.tolist()) == np.flatnonzero(flipped).tolist()
    assert rather.tolist() == truth[rows].tolist()


def test_noise_of_known_rows_is_found() -> None:
    """Three overlapping clouds with a tenth of the labels flipped; predictions by five folds of a linear model."""
    x, truth = make_blobs(1500, centers=[[0, 0], [5, 0], [0, 5]], cluster_std=1.0, random_state=0)
    random = np.random.default_rng(0)
    flipped = random.random(1500) < 0.1
    labels = np.where(flipped, (truth + random.integers(1, 3, 1500)) % 3, truth)
    sure = cross_val_predict(LogisticRegression(), x, labels, cv=5, method="predict_proba")
    rows, rather = suspicious(labels, sure)
    right = flipped[rows]
    assert right.mean() > 0.97
    assert (rather[right] == truth[rows[right]]).all()
    # A row between the thresholds is of no class, so some flipped rows are missed.
    assert 0.8 < right.sum() / flipped.sum() < 0.9


def write_noisy(workspace: Workspace, votes: bool = True) -> tuple[Dataset, dict[str, int]]:
    """70 flat pictures whose true class is the id modulo 7; of ids 0, 10, 20, … the label is the next class."""
    truth = {}
    columns = {"votes": KIND} if votes else {}
    ferplus = [4, 5, 6, 1, 3, 2, 0]
    with write_dataset(workspace, "noisy", FER2013, source="", format="test", columns=columns) as writer:
        for number in range(70):
            true = number % 7
            label = (true + 1) % 7 if number % 10 == 0 else true
            ballot = np.eye(10, dtype=int)[ferplus[true]] * 9
            if number == 20:
                ballot = np.array([5, 5, *[0] * 8])
            if number == 30:
                ballot = np.eye(10, dtype=int)[ferplus[label]] * 9
            image = encode_png(np.full((24, 24), 20 + 30 * true, np.uint8))
            extra = {"votes": ballot.tolist()} if votes else {}
            split = "test" if number >= 60 else "train"
            writer.add(split, str(number), image, label, size=(24, 24), **extra)
            truth[str(number)] = true
    return open_dataset(workspace, "noisy"), truth


def write_folds(
    workspace: Workspace,
    file: Path,
    dataset: Dataset,
    truth: dict[str, int],
    folds: int = 5,
    protocol: tuple[str, ...] = ("protocol.name=k-fold",),
) -> list[Run]:
    """Finished runs, one a fold, that know the truth of all rows but 33, which they take for happy."""
    everyone = [(split, id_) for split in dataset.card.splits for id_ in dataset.ids(split)]
    labels = {(split, id_): label for split in dataset.card.splits
              for id_, label in zip(dataset.ids(split), dataset.labels(split).tolist(), strict=True)}  # fmt: skip
    found = []
    for fold in range(folds):
        overrides = ["dataset.name=noisy", "name=folds", *protocol, f"protocol.fold={fold}"]
        run = new_run(workspace, load_experiment(file, overrides))
        run.set_state("finished")
        run.write_environment({"dataset": {"name": "noisy", "fingerprint": dataset.card.fingerprint}})
        rows = everyone[fold::folds]
        says = [3 if id_ == "33" else truth[id_] for _, id_ in rows]
        logits = np.where(np.eye(7)[says] == 1, 3.0, 0.0) + np.array([[0.001 * int(id_)] * 7 for _, id_ in rows])
        logits[:, 0] -= 0.5
        columns = {
            "id": [row[1] for row in rows],
            "split": [row[0] for row in rows],
            "label": [labels[r] for r in rows],
        }
        columns |= {name: logits[:, i].astype(np.float32) for i, name in enumerate(FER2013.classes)}
        run.predictions("report").parent.mkdir()
        pq.write_table(pa.table(columns), run.predictions("report"))
        write_json(
            run.metrics_file("report"), {**SCORED, "contaminated": 0.0, "labels": "fer2013-7", "calibration": None}
        )
        found.append(run)
    return found


FLIPPED = {str(number) for number in range(0, 70, 10)}


def test_from_folds_to_a_list_and_a_new_data_set(
    workspace: Workspace, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The set is small.
    monkeypatch.setattr("mien.evaluation.label_errors._FIRST", (3, 6, 1000))
    dataset, truth = write_noisy(workspace)
    write_folds(workspace, tiny_file, dataset, truth)
    told = call("suspects", "folds/1-5", "--workspace", workspace.root)
    assert told.code == 0, told.err
    found = json.loads((workspace.root / "suspects/noisy/suspects.json").read_text())
    assert found["runs"] == [f"folds/{number}" for number in range(1, 6)]
    assert (found["dataset"], found["fingerprint"]) == ("noisy", dataset.card.fingerprint)
    assert (found["split"], found["n"], found["rows"], found["suspects"]) == ("train + test", 70, 70, 8)
    assert found["interval"] == pytest.approx(list(proportion_confint(8, 70, method="wilson")))
    lines = list(csv.DictReader(io.StringIO((workspace.root / "suspects/noisy/suspects.csv").read_text())))
    assert [line["rank"] for line in lines] == [str(rank) for rank in range(1, 9)]
    assert {line["id"] for line in lines} == FLIPPED | {"33"}
    for line in lines:
        true = 3 if line["id"] == "33" else truth[line["id"]]
        assert line["suggested"] == FER2013.classes[true]
        assert line["given"] == FER2013.classes[truth["33"] if line["id"] == "33" else (true + 1) % 7]
        assert line["split"] == ("test" if int(line["id"]) >= 60 else "train")
        assert line["apply"] == "yes"
        assert 0 < float(line["p_given"]) < float(line["p_suggested"]) < 1
    by_rank = [float(line["p_given"]) - float(line["p_suggested"]) for line in lines]
    assert by_rank == sorted(by_rank)
    assert sum(map(sum, found["joint"])) == 70
    happy = FER2013.classes.index("happy")
    assert found["joint"][truth["33"]][happy] == 1
    labels = np.concatenate([dataset.labels(split) for split in dataset.card.splits])
    assert {name: part["n"] for name, part in found["per_class"].items()} == {
        name: int((labels == index).sum()) for index, name in enumerate(FER2013.classes)
    }
    assert sum(part["suspects"] for part in found["per_class"].values()) == 8
    # Of the eight, 20 has no majority, 30 and 33 have the given label as theirs.
    raters = found["raters"]
    assert (raters["n"], raters["dropped"]) == (7, 1)
    assert {key: raters[key]["value"] for key in ("suggested", "given", "neither")} == pytest.approx(
        {"suggested": 5 / 7, "given": 2 / 7, "neither": 0}
    )
    assert raters["suggested"]["interval"] == pytest.approx(list(proportion_confint(5, 7, method="wilson")))
    assert (raters["others"]["n"], raters["others"]["value"]) == (62, 1.0)
    ids = [line["id"] for line in lines]
    for part, rows in zip(raters["first"], (3, 6), strict=True):
        decided = [id_ for id_ in ids[:rows] if id_ != "20"]
        given = len({"30", "33"} & set(decided))
        assert (part["rows"], part["suggested"]["n"], part["given"]["n"]) == (rows, len(decided), len(decided))
        assert part["given"]["value"] == pytest.approx(given / len(decided))
        assert part["suggested"]["value"] == pytest.approx(1 - given / len(decided))
    assert "suspects of noisy: train + test, n = 70 of 70 rows, out-of-fold predictions of 5 runs" in told.out
    assert "7 suspects have a raters' majority (1 have none); it is the suggested label in 0.714" in told.out
    with Image.open(found["gallery"]) as sheet:
        assert sheet.mode == "L"
        assert sheet.width > 8 * 96

    # Looked through: the row that the models are wrong about keeps its label, and with that all labels are true.
    file = tmp_path / "looked-through.csv"
    text = (workspace.root / "suspects/noisy/suspects.csv").read_text().splitlines()
    file.write_text("\n".join(line.replace(",yes", ",no") if ",33," in line else line for line in text) + "\n")
    made = call("data", "import", "noisy", "--as", "clean", "--relabel", file, "--workspace", workspace.root, "--json")
    assert made.json["details"]["relabelled"]["changed"] == 7
    clean = open_dataset(workspace, "clean")
    for split in clean.card.splits:
        assert clean.labels(split).tolist() == [truth[id_] for id_ in clean.ids(split)]
    alone = call("suspects", "folds/1", "--workspace", workspace.root)
    assert "n = 14 of 70 rows, out-of-fold predictions of 1 run\n" in alone.out


def test_folds_that_are_missing_are_told(workspace: Workspace, tiny_file: Path) -> None:
    dataset, truth = write_noisy(workspace)
    write_folds(workspace, tiny_file, dataset, truth)
    told = call("suspects", "folds/1-2", "--workspace", workspace.root)
    assert told.code == 0, told.err
    note = (
        "3 of 5 folds are missing: the labels of their rows weren't looked at, and the thresholds of the others are "
        "those of 28 rows alone"
    )
    assert f"warning: {note}\n" in told.out
    assert json.loads((workspace.root / "suspects/noisy/suspects.json").read_text())["notes"] == [note]
    assert find_label_errors(workspace, "folds/1-5")["notes"] == []


def test_models_that_know_no_more_than_chance_are_refused(workspace: Workspace, tiny_file: Path) -> None:
    dataset, truth = write_noisy(workspace)
    random = np.random.default_rng(0)
    write_folds(workspace, tiny_file, dataset, {id_: int(random.integers(0, 7)) for id_ in truth})
    told = call("suspects", "folds/1-5", "--workspace", workspace.root, "--json")
    predicted = out_of_fold(workspace, "folds/1-5")
    said = predicted.given.argmax(axis=1)
    right = round(100 * float((said == predicted.labels).mean()))
    found = cohen_kappa_score(predicted.labels, said)
    assert found < 0.2
    assert told.code == 2
    assert told.error.message.startswith(f"these runs are right in {right} % of 70 rows (Cohen's kappa {found:.2f}; ")
    assert told.error.message.endswith("), so what they doubt says nothing of the labels")
    assert told.error.expected == "models with a kappa of 0.2 or more, as longer training may give"
    assert not (workspace.root / "suspects").exists()


def test_a_list_that_somebody_has_looked_through_is_not_written_over(workspace: Workspace, tiny_file: Path) -> None:
    dataset, truth = write_noisy(workspace)
    write_folds(workspace, tiny_file, dataset, truth)
    find_label_errors(workspace, "folds/1-5")
    find_label_errors(workspace, "folds/1-5")
    file = workspace.root / "suspects/noisy/suspects.csv"
    mine = file.read_text().replace(",yes", ",no", 1)
    file.write_text(mine)
    with pytest.raises(MienError) as error:
        find_label_errors(workspace, "folds/1-5")
    assert str(error.value) == (
        f"{file}: somebody has looked through this list; expected mien data import --relabel with it, or another name "
        "for it"
    )
    assert file.read_text() == mine


def test_without_votes_the_raters_are_silent(workspace: Workspace, tiny_file: Path) -> None:
    dataset, truth = write_noisy(workspace, votes=False)
    write_folds(workspace, tiny_file, dataset, truth)
    told = call("suspects", "folds/1,2,4-5", "--workspace", workspace.root, "--json")
    assert told.json["raters"] is None
    assert (told.json["n"], told.json["rows"]) == (56, 70)
    assert "majority" not in call("suspects", "folds/2-3", "--workspace", workspace.root).out


def test_the_temperature_of_each_run_counts(workspace: Workspace, tiny_file: Path) -> None:
    dataset, truth = write_noisy(workspace)
    runs = write_folds(workspace, tiny_file, dataset, truth)
    before = out_of_fold(workspace, "folds/1-5").given
    write_json(
        runs[0].metrics_file("report"),
        {
            **SCORED,
            "contaminated": 0.0,
            "labels": "fer2013-7",
            "calibration": {"temperature": 2.0, "before": {}, "after": {}},
        },
    )
    after = out_of_fold(workspace, "folds/1-5").given
    assert np.log(after[0, 1] / after[0, 2]) == pytest.approx(np.log(before[0, 1] / before[0, 2]) / 2)
    assert after[14:].tolist() == before[14:].tolist()


PLUGIN = """
from mien.protocols import Part, Roles, folded
from mien.registry import register

@register("protocol", "stripes")
@folded(lambda dataset, **_: 2)
def stripes(dataset, *, fold: int = 0) -> Roles:
    raise AssertionError("reading stored runs builds no protocol")
"""


def test_a_plugin_s_folds_are_folds_too(workspace: Workspace, tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "stripes.py").write_text(PLUGIN)
    dataset, truth = write_noisy(workspace)
    protocol = (f"plugins=[{tmp_path / 'stripes.py'}]", "protocol.name=stripes")
    write_folds(workspace, tiny_file, dataset, truth, folds=2, protocol=protocol)
    found = find_label_errors(workspace, "folds/1-2")
    assert (found["n"], found["suspects"]) == (70, len(FLIPPED | {"33"}))


def test_what_isn_t_out_of_fold_is_refused(workspace: Workspace, tiny_file: Path) -> None:
    dataset, truth = write_noisy(workspace)
    runs = write_folds(workspace, tiny_file, dataset, truth, folds=3)

    def message(reference: str = "folds/1-3") -> str:
        with pytest.raises(MienError) as error:
            find_label_errors(workspace, reference)
        assert not (workspace.root / "suspects").exists()
        return str(error.value).replace(str(workspace.root), "")

    assert message("folds") == "'folds' is no group of runs; expected a name and numbers, as in name/1-5 or name/1,3"
    assert message("folds/2-4").startswith("there is no run 'folds/4'")

    measured = {**SCORED, "contaminated": 0.0, "labels": "fer2013-7"}
    write_json(runs[1].metrics_file("report"), {**measured, "contaminated": 0.25})
    assert message() == (
        "/runs/folds/2: run folds/2 was trained on 25 % of the rows that it predicts; "
        "expected predictions by models that haven't seen the rows"
    )
    write_json(runs[1].metrics_file("report"), {**measured, "labels": "ferplus-8"})
    assert message() == (
        "/runs/folds/2: run folds/2 is measured by labels under ferplus-8; "
        "expected the data set's own labels (fer2013-7), which are the ones to be looked through"
    )
    write_json(runs[1].metrics_file("report"), measured)
    runs[1].predictions("report").write_bytes(runs[0].predictions("report").read_bytes())
    assert message() == (
        "folds/1-3: row '0' of train is predicted by runs folds/1 and folds/2; expected runs of different folds"
    )
    runs[1].metrics_file("report").unlink()
    assert message() == (
        "/runs/folds/2: run folds/2 has not been measured on its reporting role; expected mien evaluate folds/2 first"
    )
    runs[0].write_environment({"dataset": {"name": "noisy", "fingerprint": "0" * 64}})
    assert message() == "/datasets/noisy: data set 'noisy' isn't the one that run folds/1 was trained on"

    overrides = ["dataset.name=noisy", "name=folds"]
    new_run(workspace, load_experiment(tiny_file, [*overrides, "protocol.name=k-fold", "train.epochs=9"]))
    assert message("folds/1,4") == (
        "folds/1,4: runs folds/1 and folds/4 differ in train; expected a group of runs that differ in nothing but "
        "protocol.fold"
    )
    new_run(workspace, load_experiment(tiny_file, overrides))
    assert message("folds/5") == (
        "folds/5: the protocol of run folds/5 is 'official', which reports on the same rows in each run; "
        "expected a group of runs under a protocol with folds, as k-fold, one for each fold"
    )
