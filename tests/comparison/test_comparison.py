"""Comparing: the same rows or a refusal, the right test for each pair, words that follow from p, groups as units."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv
from scipy.stats import ttest_1samp
from sklearn.metrics import balanced_accuracy_score, f1_score
from verbs import call

from mien.audit import audit
from mien.comparison import (
    UNDECIDED,
    Contender,
    compare,
    describe_group,
    disagreements,
    find_contender,
    foreign,
    group,
    markdown,
    tables,
    write_galleries,
)
from mien.comparison.pairs import EXACT, STUDENT
from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.evaluation.slices import read_column
from mien.files import write_json, write_text
from mien.intervals import holm, mcnemar, paired_interval, seeds_difference, seeds_mean, wilson
from mien.metrics.probabilities import probabilities
from mien.runs.predictions import People, Predictions
from mien.runs.run import Run
from mien.workspace import Workspace

CLASSES = ("angry", "happy", "sad")


def one(name: str, right: list[bool] | np.ndarray, labels: list[int] | np.ndarray | None = None) -> Contender:
    """A contender that has these rows right; wrong answers are the next class."""
    right = np.asarray(right, dtype=bool)
    truth = np.asarray(labels if labels is not None else np.arange(right.shape[-1]) % 3)
    runs = []
    for row in np.atleast_2d(right):
        said = np.where(row, truth, (truth + 1) % 3)
        ids = tuple(map(str, range(len(truth))))
        runs.append(Predictions(Path(f"{name}.parquet"), ids, ("test",) * len(truth), truth, np.eye(3)[said], CLASSES))
    return Contender(name, tuple(runs))


def drawn(name: str, share: float, seeds: int = 1, n: int = 300, seed: int = 0) -> Contender:
    random = np.random.default_rng(abs(hash((share, seeds, seed))) % 2**32)
    return one(name, random.random((seeds, n)) < share)


def test_two_models_are_told_apart_by_the_rows_that_one_of_them_has_right() -> None:
    right_a = [True] * 60 + [True] * 12 + [False] * 2 + [False] * 26
    right_b = [True] * 60 + [False] * 12 + [True] * 2 + [False] * 26
    found = compare([one("a", right_a), one("b", right_b)])
    (pair,) = found["pairs"]
    assert (found["n"], found["split"]) == (100, "test")
    assert {key: pair[key] for key in ("a", "b", "n", "split", "test", "only_a", "only_b", "protocol")} == {
        "a": "a",
        "b": "b",
        "n": 100,
        "split": "test",
        "test": EXACT,
        "only_a": 12,
        "only_b": 2,
        "protocol": None,
    }
    assert pair["difference"] == pytest.approx(0.10)
    assert pair["interval"] == list(paired_interval(12, 2, 100))
    assert pair["p"] == pair["p_holm"] == mcnemar(12, 2)
    assert pair["verdict"] == "a is better"
    first, second = found["contenders"]
    assert (first["accuracy"], first["interval"]) == (0.72, list(wilson(72, 100)))
    assert (second["accuracy"], second["each"], second["sd"]) == (0.62, [0.62], None)


def test_five_discordant_rows_say_nothing() -> None:
    found = compare([one("a", [True] * 5 + [False] * 45), one("b", [False] * 50)])
    (pair,) = found["pairs"]
    assert pair["p"] == 0.0625
    assert pair["verdict"] == UNDECIDED == "not distinguishable"


def test_all_pairs_share_one_level() -> None:
    # Each has all rows right that the one before it has, and some more.
    contenders = [one(name, np.arange(300) < right) for name, right in (("a", 150), ("b", 152), ("c", 190), ("d", 193))]
    pairs = compare(contenders)["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("a", "b"),
        ("a", "c"),
        ("a", "d"),
        ("b", "c"),
        ("b", "d"),
        ("c", "d"),
    ]
    assert [pair["p_holm"] for pair in pairs] == holm([pair["p"] for pair in pairs])
    for pair in pairs:
        better = pair["b"] if pair["difference"] < 0 else pair["a"]
        assert pair["verdict"] == (f"{better} is better" if pair["p_holm"] < 0.05 else UNDECIDED)
    assert [pair["verdict"] for pair in pairs] == [
        UNDECIDED,
        "c is better",
        "d is better",
        "c is better",
        "d is better",
        UNDECIDED,
    ]


def test_with_a_baseline_each_is_compared_with_it_alone() -> None:
    contenders = [
        one(name, np.arange(300) < right) for name, right in (("a", 150), ("base", 152), ("c", 164), ("d", 193))
    ]
    everything, compared = compare(contenders), compare(contenders, "base")
    pairs = compared["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [("a", "base"), ("c", "base"), ("d", "base")]
    assert [pair["difference"] for pair in pairs] == pytest.approx([-2 / 300, 12 / 300, 41 / 300])
    # Each has what the same pair has among all pairs, but for sides and for Holm, who counts three.
    of = {frozenset((pair["a"], pair["b"])): pair for pair in everything["pairs"]}
    for pair in pairs:
        other = of[frozenset((pair["a"], pair["b"]))]
        sign = 1 if other["a"] == pair["a"] else -1
        assert pair["difference"] == pytest.approx(sign * other["difference"])
        assert sorted(pair["interval"]) == pytest.approx(sorted(sign * end for end in other["interval"]))
        assert pair["p"] == other["p"]
    # Only c has 12 rows right that base has wrong: p = 2 · 2⁻¹² before Holm.
    assert pairs[1]["p"] == pytest.approx(2 * 0.5**12)
    assert [pair["p_holm"] for pair in pairs] == holm([pair["p"] for pair in pairs])
    assert [pair["verdict"] for pair in pairs] == [UNDECIDED, "c is better", "d is better"]
    assert pairs[1]["p_holm"] == pytest.approx(2 * pairs[1]["p"])
    assert compared["notes"] == [
        *everything["notes"],
        "each is compared with base alone; p by Holm over these 3 pairs",
    ]
    with pytest.raises(MienError) as error:
        compare(contenders, "bas")
    assert str(error.value).startswith("--baseline: 'bas' isn't among what is compared; expected ")
    assert error.value.nearest == "base"


def test_by_class_it_is_recall_with_a_level_of_its_own() -> None:
    contenders = [drawn(name, share) for name, share in zip("abc", (0.5, 0.6, 0.8), strict=True)]
    pairs = compare(contenders)["pairs"]
    every = [part for pair in pairs for part in pair["per_class"].values()]
    assert [part["p_holm"] for part in every] == holm([part["p"] for part in every])
    assert list(pairs[0]["per_class"]) == list(CLASSES)
    rows = np.arange(300) % 3 == 1
    right = [one.correct[0][rows] for one in contenders]
    happy = pairs[0]["per_class"]["happy"]
    assert (happy["n"], happy["difference"]) == (100, pytest.approx(right[0].mean() - right[1].mean()))
    assert happy["p"] == mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))


def test_a_class_without_rows_is_not_tested() -> None:
    labels = np.arange(40) % 2
    pair = compare([one("a", np.ones(40), labels), one("b", np.zeros(40), labels)])["pairs"][0]
    assert pair["per_class"]["sad"] == {
        "n": 0,
        "difference": None,
        "interval": None,
        "p": None,
        "p_holm": None,
        "verdict": UNDECIDED,
    }
    assert pair["per_class"]["angry"]["p_holm"] == 2 * mcnemar(20, 0)


def test_a_group_compares_as_a_unit() -> None:
    a, b, c = drawn("a", 0.6, seeds=5), drawn("b", 0.5, seeds=3), drawn("c", 0.55)
    found = compare([a, b, c])
    pairs = found["pairs"]
    assert [pair["test"] for pair in pairs] == [STUDENT] * 3
    estimate = seeds_difference(a.correct.astype(float), b.correct.astype(float))
    assert (pairs[0]["difference"], pairs[0]["p"]) == (estimate.value, estimate.p)
    assert pairs[0]["interval"] == list(estimate.interval)
    told = found["contenders"][0]
    assert told["each"] == a.correct.mean(axis=1).tolist()
    assert told["sd"] == pytest.approx(np.std(told["each"], ddof=1))
    assert (told["accuracy"], told["interval"]) == (
        pytest.approx(a.correct.mean()),
        list(seeds_mean(a.correct.astype(float)).interval),
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([1, 3]), st.integers(2, 40))
def test_sides_and_the_order_of_rows_change_nothing(seed: int, seeds: int, n: int) -> None:
    random = np.random.default_rng(seed)
    a, b = (one(name, random.random((seeds, n)) < random.random()) for name in "ab")
    (pair,), (turned,) = compare([a, b])["pairs"], compare([b, a])["pairs"]
    assert pair["difference"] == pytest.approx(-turned["difference"])
    assert pair["interval"] == pytest.approx([-turned["interval"][1], -turned["interval"][0]])
    assert pair["interval"][0] <= pair["difference"] <= pair["interval"][1]
    assert pair["verdict"] == turned["verdict"]
    order = random.permutation(n).tolist()
    shuffled = Contender("b", tuple(run.take(order) for run in b.runs))
    again = compare([a, shuffled])["pairs"][0]
    assert again["p"] == pair["p"]
    assert again["per_class"] == pair["per_class"]


def test_classes_are_matched_by_name() -> None:
    a = one("a", np.arange(30) % 4 > 0)
    run = a.runs[0]
    renamed = Predictions(
        Path("b.parquet"),
        run.ids,
        run.splits,
        (run.labels + 1) % 3,
        np.roll(run.logits, 1, axis=1),
        ("sadness", "anger", "joy"),
    )
    (pair,) = compare([a, Contender("b", (renamed,))])["pairs"]
    assert (pair["only_a"], pair["only_b"]) == (0, 0)


def spoiled(**changes: Any) -> Contender:
    run = one("b", np.ones(6)).runs[0]
    values = {name: getattr(run, name) for name in ("file", "ids", "splits", "labels", "logits", "classes")}
    return Contender("b", (Predictions(**{**values, **changes}),))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            spoiled(ids=("0", "1", "2", "3", "4", "x")),
            "b.parquet: 'a' and 'b' weren't measured on the same rows: 1 only in 'a' (the first is '5' of test), "
            "1 only in 'b' (the first is 'x' of test); expected the 6 rows of a.parquet",
        ),
        (
            spoiled(splits=("train",) * 6),
            "b.parquet: 'a' and 'b' weren't measured on the same rows: 6 only in 'a' (the first is '0' of test), "
            "6 only in 'b' (the first is '0' of train); expected the 6 rows of a.parquet",
        ),
        (
            spoiled(labels=np.array([0, 1, 0, 0, 1, 2])),
            "b.parquet: 'a' and 'b' disagree on the labels of 1 rows; the first is '2' of test, 'sad' and 'angry'; "
            "expected runs on the same labels",
        ),
        (
            spoiled(classes=("angry", "happy", "fear")),
            "b.parquet: 'a' and 'b' have different classes: fear, sad in one of them alone; "
            "expected the classes angry, happy, sad",
        ),
        (one("a", np.zeros(6)), "'a' is named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(other: Contender, message: str) -> None:
    with pytest.raises(MienError) as error:
        compare([one("a", np.ones(6)), other])
    assert str(error.value) == message
    with pytest.raises(MienError, match="there is nothing to compare with"):
        compare([other])


def test_a_group_is_described_by_mean_sd_each_and_an_interval_over_seeds_and_rows() -> None:
    random = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    contender = one("g/1-4", random.random((4, 200)) < 0.65, labels)
    found = describe_group(contender)
    assert (found["name"], found["n"], found["split"]) == ("g/1-4", 200, "test")
    references = {
        "accuracy": lambda said: float((said == labels).mean()),
        "balanced_accuracy": lambda said: balanced_accuracy_score(labels, said),
        "macro_f1": lambda said: f1_score(labels, said, average="macro"),
        "weighted_f1": lambda said: f1_score(labels, said, average="weighted"),
    }
    assert found["scores"].keys() == references.keys()
    for name, reference in references.items():
        each = [reference(run.predicted) for run in contender.runs]
        score = found["scores"][name]
        assert score["each"] == pytest.approx(each)
        assert (score["mean"], score["sd"]) == (pytest.approx(np.mean(each)), pytest.approx(np.std(each, ddof=1)))
        assert score["interval"][0] <= score["mean"] <= score["interval"][1]
    # A second implementation: rows of each class and three of four seeds, drawn one by one.
    naive = []
    said = np.stack([run.predicted for run in contender.runs])
    rows_of = [np.flatnonzero(labels == label) for label in range(3)]
    for _ in range(1500):
        rows = np.concatenate([random.choice(of, len(of)) for of in rows_of])
        right = said[random.integers(0, 4, 3)][:, rows] == labels[rows]
        naive.append(np.mean([right[:, labels[rows] == label].mean() for label in range(3)]))
    assert found["scores"]["balanced_accuracy"]["interval"] == pytest.approx(
        np.quantile(naive, [0.025, 0.975]).tolist(), abs=0.012
    )


def test_a_single_run_is_described_without_an_sd() -> None:
    found = describe_group(drawn("a", 0.6))
    assert found["scores"]["macro_f1"]["sd"] is None
    assert found["scores"]["accuracy"]["interval"] == list(wilson(int(drawn("a", 0.6).correct.sum()), 300))


def test_disagreements_are_the_surest_of_each_kind() -> None:
    labels = np.zeros(4, dtype=np.int64)
    ids, splits = ("0", "1", "2", "3"), ("test",) * 4

    def contender(name: str, logits: list[list[float]], temperature: float = 1.0) -> Contender:
        run = Predictions(Path(name), ids, splits, labels, np.array(logits), CLASSES)
        return Contender(name, (run,), temperatures=(temperature,))

    a = contender("a", [[2.0, 0, 0], [5, 0, 0], [0, 3, 0], [1, 0, 0]])
    b = contender("b", [[0.0, 2, 0], [0, 5, 0], [0, 0, 3], [1, 0, 0]], temperature=2.0)
    found = disagreements(a, b)
    assert [(one.row[1], one.kind, one.said) for one in found] == [
        ("1", "only a is right", (0, 1)),
        ("0", "only a is right", (0, 1)),
        ("2", "both are wrong", (1, 2)),
    ]
    # Row 1: logits 5, 0, 0 at temperature 1, and at temperature 2.
    assert found[0].surely == pytest.approx((1 / (1 + 2 * np.exp(-5)), 1 / (1 + 2 * np.exp(-2.5))))
    assert [one.row[1] for one in disagreements(a, b, most=1)] == ["1", "2"]


def test_the_tables_say_split_n_protocol_test_and_contamination() -> None:
    a, b = one("a", np.ones(300)), one("b", np.zeros(300))
    a = Contender("a", a.runs, contaminated=0.8889, protocol="paper-2021")
    b = Contender("b", b.runs, protocol="official", contaminated=None)
    compared = compare([a, b])
    contenders, pairs, by_class = tables(compared)
    assert contenders.title == "accuracy, test, n = 300"
    assert contenders.rows[0][:3] == ("a", "paper-2021", "contaminated: 89 %")
    assert contenders.rows[1][:3] == ("b", "official", "not known")
    assert contenders.rows[0][3:] == ("1.000 [0.987, 1.000]", "–", "1", "1.000")
    row = dict(zip(pairs.columns, pairs.rows[0], strict=True))
    assert (row["pair"], row["p by Holm"], row["n"]) == ("a − b", "< 0.001", "300")
    assert (row["verdict"], row["test"], row["protocol"]) == ("a is better", EXACT, "paper-2021 and official")
    assert row["seen these rows"] == "contaminated: 89 %"
    assert [row[1] for row in by_class.rows] == list(CLASSES)
    page = markdown(compared, tables(compared), "mien compare a b")
    assert page.startswith("# a and b\n\nWritten by `mien compare a b`.")
    assert "- the protocols differ (official, paper-2021): the models were fit on different rows" in page
    widths = {line.count("|") for line in page.splitlines() if line.startswith("| a − b | a")}
    assert all(line.endswith("|") for line in page.splitlines() if line.startswith("|"))
    assert len(widths) == 1


# Runs on the disk.


def make_run(
    workspace: Workspace, reference: str, accuracy: float, *, dataset: Dataset | None = None, **changes: Any
) -> Run:
    """A measured run on the stripes' test rows, as `mien evaluate` leaves it."""
    name, _, number = reference.partition("/")
    folder = workspace.runs / name / number
    seed = int(number)
    ids, labels, splits = [str(i) for i in range(40)], np.arange(40) % 7, ["test"] * 40
    if dataset is not None:
        ids, labels, splits = dataset.ids("test"), dataset.labels("test"), ["test"] * dataset.rows("test")
    text = TINY.replace("name: tiny\ndataset", f"name: {name}\ndataset").replace("seed: 1,", f"seed: {seed},")
    for old, new in changes.pop("experiment", {}).items():
        assert old in text
        text = text.replace(old, new)
    write_text(folder / "experiment.yaml", text)
    classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    random = np.random.default_rng(seed + len(name))
    said = np.where(random.random(len(labels)) < accuracy, labels, (labels + 1) % 7)
    logits = random.normal(size=(len(labels), 7)) + 4 * np.eye(7)[said]
    columns = {"id": ids, "split": splits, "label": labels}
    columns |= {one: logits[:, i].astype(np.float32) for i, one in enumerate(classes)}
    (folder / "predictions").mkdir()
    pq.write_table(pa.table(columns), folder / "predictions" / "report.parquet")
    made = {"name": "tiny", "fingerprint": dataset.card.fingerprint if dataset else "f" * 64}
    write_json(folder / "environment.json", {"dataset": {**made, **changes.pop("environment", {})}})
    metrics = {"run": reference, "dataset": "tiny", "protocol": "official", "role": "report", "split": "test"}
    right = float(np.mean(said == labels))
    metrics |= {"accuracy": right, "interval": {"accuracy": [right, right]}, "per_class": {}}
    metrics |= {"n": len(labels), "seeds": [seed], "contaminated": 0.0, **changes}
    write_json(folder / "metrics.json", metrics)
    return Run(folder)


def test_a_run_and_a_group_are_found_by_name(workspace: Workspace) -> None:
    for number in (1, 2, 3):
        make_run(workspace, f"small/{number}", 0.6, calibration={"temperature": 1.5, "before": {}, "after": {}})
    make_run(workspace, "other/1", 0.6)
    single = find_contender(workspace, "small/2")
    assert (single.name, single.names, single.seeds, single.temperatures) == ("small/2", ("small/2",), (2,), (1.5,))
    assert find_contender(workspace, "other").temperatures == (1.0,)
    for reference in ("small/1-3", "small/1,2,3", "small/1,2-3"):
        found = find_contender(workspace, reference)
        assert (found.name, found.seeds, len(found.runs)) == (reference, (1, 2, 3), 3)
        assert found.names == ("small/1", "small/2", "small/3")
        assert found.temperatures == (1.5, 1.5, 1.5)


def test_what_is_no_group_is_refused(workspace: Workspace) -> None:
    runs = [make_run(workspace, f"small/{number}", 0.6) for number in (1, 2)]
    other = make_run(workspace, "small/3", 0.6, experiment={"lr: 0.05": "lr: 0.5"})
    same = make_run(workspace, "small/4", 0.6, experiment={"seed: 4": "seed: 1"})
    for name, given_runs, message in (
        ("small/1-3", [*runs, other], "small/1-3: runs small/1 and small/3 differ in optimizer.lr; "
         "expected a group of runs that differ in nothing but train.seed"),
        ("small/1,4", [runs[0], same], "small/1,4: runs small/1 and small/4 have the same seed 1; "
         "expected a group of runs with a seed of its own each"),
    ):  # fmt: skip
        with pytest.raises(MienError) as error:
            group(name, given_runs)
        assert str(error.value) == message
    with pytest.raises(MienError, match="there is no run 'small/9'"):
        find_contender(workspace, "small/1,9")
    with pytest.raises(MienError, match="'3-1' counts backwards; expected 1-3"):
        find_contender(workspace, "small/3-1")


def test_folds_are_no_seeds(workspace: Workspace) -> None:
    runs = []
    for fold in (1, 2):
        folds = {"model:": f"protocol: {{name: folds, folds: 2, fold: {fold}}}\nmodel:", f"seed: {fold}": "seed: 1"}
        runs.append(make_run(workspace, f"small/{fold}", 0.6, experiment=folds))
    with pytest.raises(MienError) as error:
        group("small/1-2", runs)
    assert str(error.value) == (
        "small/1-2: runs small/1 and small/2 are folds: each is measured on rows of its own; "
        "expected a group of runs that differ in nothing but train.seed"
    )


def test_a_run_that_was_not_measured_says_what_to_do(workspace: Workspace) -> None:
    run = make_run(workspace, "small/1", 0.6)
    (run.folder / "metrics.json").unlink()
    with pytest.raises(MienError) as error:
        find_contender(workspace, "small")
    assert str(error.value) == (
        f"{run.folder}: run small/1 has not been measured on its reporting role; expected mien evaluate small/1 first"
    )


def test_a_row_that_stands_in_a_runs_predictions_twice_is_refused(workspace: Workspace) -> None:
    run = make_run(workspace, "small/1", 0.6)
    file = run.predictions("report")
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), file)
    with pytest.raises(MienError, match="a row stands there twice; expected mien evaluate small/1 anew"):
        find_contender(workspace, "small")


def test_other_data_sets_protocols_and_peoples_predictions_are_noted(workspace: Workspace, tmp_path: Path) -> None:
    make_run(workspace, "a/1", 0.9, tta={"name": "flip", "n": 35})
    make_run(workspace, "b/1", 0.5, environment={"fingerprint": "e" * 64}, protocol="paper-2021", contaminated=0.889)
    a, b = find_contender(workspace, "a"), find_contender(workspace, "b")
    file = tmp_path / "peer.parquet"
    run = a.runs[0]
    pq.write_table(pa.table({"id": [*run.ids, "x"], "prob": [*np.eye(7)[run.labels].tolist(), [1 / 7] * 7]}), file)
    compared = compare([a, b, foreign(file, a)])
    assert compared["notes"] == [
        "each image is taken once, without test-time augmentation",
        "peer is matched by row ids; what it was trained on isn't known",
        "1 further rows of peer.parquet have no part in this",
        "the data sets aren't the same (tiny (eeeeeeee), tiny (ffffffff)); rows are matched by split and id alone",
        "the protocols differ (official, paper-2021): the models were fit on different rows",
    ]
    assert [one["contaminated"] for one in compared["contenders"]] == [0.0, 0.889, None]
    assert [pair["contaminated"] for pair in compared["pairs"]] == [0.889, None, 0.889]
    told = tables(compared)[1].rows
    assert [row[-1] for row in told] == ["contaminated: 89 %", "not known", "contaminated: 89 %"]
    assert compared["contenders"][2]["accuracy"] == 1.0


def test_galleries_go_to_the_workspace_and_say_contaminated(workspace: Workspace, tiny: Dataset) -> None:
    from PIL import Image

    make_run(workspace, "a/1", 0.9, dataset=tiny)
    make_run(workspace, "b/1", 0.3, dataset=tiny, contaminated=0.5)
    contenders = [find_contender(workspace, name) for name in ("a", "b")]
    written = write_galleries(workspace, contenders)
    assert written == {("a/1", "b/1"): workspace.root / "comparisons" / "a-1-and-b-1.png"}
    with Image.open(written["a/1", "b/1"]) as sheet:
        shown = disagreements(*contenders)
        assert sheet.height > 80 * len(shown)
    assert write_galleries(workspace, [contenders[0], Contender("c", contenders[0].runs)]) == {}


@pytest.fixture
def home(workspace: Workspace, tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with the stripes and runs on them, which every command finds."""
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    for number in (1, 2, 3):
        make_run(workspace, f"small/{number}", 0.9, dataset=tiny)
    make_run(workspace, "weak/1", 0.2, dataset=tiny, contaminated=0.25)
    return workspace


def test_compare_prints_every_pair_and_writes_numbers_alone(home: Workspace, tmp_path: Path) -> None:
    run = find_contender(home, "small/1").runs[0]
    file = tmp_path / "peer.parquet"
    pq.write_table(pa.table({"id": run.ids, "prob": np.eye(7)[run.labels].tolist()}), file)
    to = tmp_path / "published"
    given = ("compare", "small/1-3", "weak/1", "--predictions", file, "--to", to)
    shown = call(*given)
    assert (shown.code, shown.err) == (0, "")
    assert "differences of accuracy, test, n = 35" in shown.out
    assert "small/1-3 is better" in shown.out
    assert "contaminated: 25 %" in shown.out
    assert f"where weak/1 and peer disagree: {home.root / 'comparisons' / 'weak-1-and-peer.png'}" in shown.out
    assert sorted(path.name for path in to.iterdir()) == ["comparison.json", "comparison.md", "comparison.tex"]
    content = json.loads((to / "comparison.json").read_text())
    assert len(content["pairs"]) == 3
    assert str(tmp_path) not in (to / "comparison.json").read_text() + (to / "comparison.md").read_text()
    assert "`mien compare small/1-3 weak/1 --predictions peer.parquet`" in (to / "comparison.md").read_text()
    latex = (to / "comparison.tex").read_text()
    assert latex.startswith("% Written by mien compare small/1-3 weak/1 --predictions peer.parquet\n")
    page = (to / "comparison.md").read_text()
    assert latex.count(r"\begin{tabular}") == page.count("\n## ")
    assert latex.count(r" \\") == len(re.findall(r"^\| (?!---)", page, flags=re.M))
    told = call("compare", "small/1-3", "weak/1", "--predictions", file, "--json").json
    assert {key: told[key] for key in content} == content
    # The mean over the three seeds is right everywhere, as the peer is: nothing to show of these two.
    assert [(one["a"], one["b"]) for one in told["galleries"]] == [("small/1-3", "weak/1"), ("weak/1", "peer")]
    assert all(Path(one["file"]).is_file() for one in told["galleries"])
    assert set(told["pairs"][0]) >= {"a", "b", "n", "difference", "interval", "p", "p_holm", "verdict"}


def test_compare_takes_a_baseline(home: Workspace, tmp_path: Path) -> None:
    to = tmp_path / "published"
    told = call("compare", "small/1", "small/2", "--baseline", "weak/1", "--to", to, "--json").json
    assert [(pair["a"], pair["b"]) for pair in told["pairs"]] == [("small/1", "weak/1"), ("small/2", "weak/1")]
    assert [(pair["a"], pair["b"]) for pair in told["clean"]["pairs"]] == [("small/1", "weak/1"), ("small/2", "weak/1")]
    assert [(one["a"], one["b"]) for one in told["galleries"]] == [("small/1", "weak/1"), ("small/2", "weak/1")]
    assert [one["name"] for one in told["contenders"]] == ["weak/1", "small/1", "small/2"]
    page = (to / "comparison.md").read_text()
    assert "`mien compare weak/1 small/1 small/2 --baseline weak/1`" in page
    assert "each is compared with weak/1 alone; p by Holm over these 2 pairs" in page
    # Named among the others it is the same; a name alone is its latest run.
    again = call("compare", "small/1", "weak", "small/2", "--baseline", "weak", "--json").json
    assert again["pairs"] == told["pairs"]
    alone = call("compare", "small/1-3", "--baseline", "weak/1")
    assert alone.code == 0
    assert "note: each is compared with weak/1 alone; p by Holm over this pair" in alone.out
    missing = call("compare", "small/1", "--baseline", "weka/1")
    assert missing.code == 2
    assert missing.err.startswith("mien: there is no run 'weka/1'")


def test_predictions_as_csv_say_what_those_as_parquet_do(home: Workspace, tmp_path: Path) -> None:
    run = find_contender(home, "weak/1").runs[0]
    shares = probabilities(run.logits)
    table = pa.table({"id": run.ids, **{name: shares[:, i] for i, name in enumerate(run.classes)}, "label": run.labels})
    pq.write_table(table, tmp_path / "peer.parquet")
    csv.write_csv(table, tmp_path / "peer.csv")
    told = [
        call("compare", "small/1", "--predictions", tmp_path / f"peer.{kind}", "--json").json
        for kind in ("parquet", "csv")
    ]
    assert told[0]["pairs"] == told[1]["pairs"]
    (tmp_path / "peer.csv").write_text("id,angry\n1,0.2\n")
    shown = call("compare", "small/1", "--predictions", tmp_path / "peer.csv", "--json")
    assert (shown.code, shown.error.message) == (2, "there is no column for class 'disgust'")
    (tmp_path / "peer.csv").write_text("name,angry\n1,0.2\n")
    shown = call("compare", "small/1", "--predictions", tmp_path / "peer.csv", "--json")
    assert (shown.error.message, shown.error.expected) == (
        "there is no column 'id'",
        "Parquet or CSV with a column id, split where ids alone aren't unique, and one of numbers for each class",
    )
    (tmp_path / "peer.csv").write_text("id,angry\n1,0.2\n2\n")
    shown = call("compare", "small/1", "--predictions", tmp_path / "peer.csv", "--json")
    assert shown.error.message.startswith("this CSV can't be read (CSV parse error: Expected 2 columns, got 1")
    (tmp_path / "peer.csv").write_text("id,angry,angry\n1,0.2,0.3\n")
    shown = call("compare", "small/1", "--predictions", tmp_path / "peer.csv", "--json")
    assert shown.error.message == "column 'angry' stands there twice"
    (tmp_path / "peer.txt").write_text("id angry\n")
    shown = call("compare", "small/1", "--predictions", tmp_path / "peer.txt", "--json")
    assert shown.code == 2
    assert shown.error.expected.startswith("Parquet or CSV with a column id")


def persons(contender: Contender, each: int) -> Contender:
    """The contender with each row so many times over, every copy by the same person."""
    (run,) = contender.runs
    many = run.take(np.repeat(np.arange(len(run)), each).tolist())
    ids = tuple(f"{id_}-{place}" for place, id_ in enumerate(many.ids))
    return replace(contender, runs=(replace(many, ids=ids, people=People("subject", many.ids)),))


def test_pairs_are_over_persons_where_rows_of_one_belong_together() -> None:
    random = np.random.default_rng(0)
    ids, labels = tuple(map(str, range(90))), random.integers(0, 2, 90)
    a, b = (
        Contender(name, (Predictions(Path(name), ids, ("test",) * 90, labels, np.eye(2)[found], ("x", "y")),), (name,))
        for name, found in (
            ("a", np.where(random.random(90) < 0.8, labels, 1 - labels)),
            ("b", np.where(random.random(90) < 0.65, labels, 1 - labels)),
        )
    )
    once, many = compare([a, b]), compare([persons(a, 6), persons(b, 6)])
    assert (once["groups"], many["groups"], many["grouped_by"]) == (None, 90, "subject")
    (pair,), (grouped,) = once["pairs"], many["pairs"]
    assert grouped["difference"] == pytest.approx(pair["difference"])
    # Six frames of a person say what one says: not six times as much, as they do where persons aren't known.
    blind = compare([replace(one, runs=(replace(one.runs[0], people=None),)) for one in map(six, (a, b))])["pairs"][0]
    width = {name: of["interval"][1] - of["interval"][0] for name, of in (("g", grouped), ("p", pair), ("b", blind))}
    assert width["g"] == pytest.approx(width["p"], rel=0.1)
    assert width["b"] < 0.5 * width["g"]
    assert grouped["test"] == "Obuchowski, over groups"
    # The test by hand: whole persons, Student's t.
    d = ((a.runs[0].predicted == labels).astype(float) - (b.runs[0].predicted == labels)).tolist()
    assert grouped["p"] == pytest.approx(ttest_1samp(d, 0).pvalue)
    draws = np.random.default_rng(0).integers(0, 90, (2000, 89))
    means = np.array([np.mean([d[person] for person in drawn]) for drawn in draws])
    assert grouped["interval"] == pytest.approx(np.quantile(means, [0.025, 0.975]))
    titles = [table.title for table in tables(many | {"clean": None})]
    assert titles[0] == "accuracy, test, n = 540; intervals over the choice of persons (90 groups by subject)"


def six(contender: Contender) -> Contender:
    return persons(contender, 6)


def test_compare_refuses_bad_predictions_and_writes_nothing(home: Workspace, tmp_path: Path) -> None:
    run = find_contender(home, "small/1").runs[0]
    file = tmp_path / "peer.parquet"
    pq.write_table(pa.table({"id": run.ids[1:], "prob": np.eye(7)[run.labels[1:]].tolist()}), file)
    shown = call("compare", "small/1", "--predictions", file, "--to", tmp_path / "out", "--json")
    assert shown.code == 2
    assert shown.error.message == f"row '{run.ids[0]}' is missing"
    assert not (tmp_path / "out").exists()
    assert not (home.root / "comparisons").exists()
    assert call("compare", "small/1", "--json").error.message == "there is nothing to compare with"


def test_slices_by_class_by_agreement_and_by_an_unknown_column(home: Workspace, tiny: Dataset) -> None:
    told = call("slices", "small/1", "--by", "class", "--json").json
    assert (told["by"], told["minimum"], told["split"], told["n"]) == ("class", 30, "test", 35)
    assert [part["n"] for part in told["slices"]] == np.bincount(tiny.labels("test")).tolist()
    assert [part["accuracy"] for part in told["slices"]] == [None] * 7
    told = call("slices", "weak/1", "--by", "agreement", "--json").json
    # Eight raters voted for the label, two for contempt.
    assert [(part["slice"], part["n"]) for part in told["slices"]] == [("0.8", 35)]
    assert told["slices"][0]["accuracy"] == find_contender(home, "weak/1").correct.mean()
    shown = call("slices", "weak/1", "--by", "contrast")
    assert "weak/1 by contrast, protocol official, report role: test, n = 35" in shown.out
    assert "contaminated: 25 % of these rows were trained on" in shown.out
    assert "a part with fewer than 30 rows shows no number" in shown.out
    group = call("slices", "small/1-2", "--by", "class", "--json")
    assert (group.code, group.error.message) == (2, "a group has no slices of its own")
    refused = call("slices", "small/1", "--by", "contrasts", "--json")
    assert refused.code == 2
    assert refused.error.message == "data set 'tiny' has no column 'contrasts' to part its rows by"
    assert refused.error.nearest == "contrast"
    unaudited = call("slices", "small/1", "--by", "leaked", "--json").error
    assert (unaudited.message, unaudited.expected) == ("data set 'tiny' has no audit", "mien data audit tiny")
    audit(tiny, near=False)
    unsought = call("slices", "small/1", "--by", "near_leaked", "--json").error
    assert (unsought.message, unsought.key) == (
        "the audit of data set 'tiny' looked for no near copies",
        "near_leaked",
    )


def test_slices_by_an_audits_flag_join_by_split_and_id(home: Workspace, tiny: Dataset) -> None:
    from mien.audit import read_flags

    audit(tiny, near=False)
    flags = read_flags(tiny)
    assert flags is not None
    rows = find_contender(home, "small/1").runs[0].rows[::-1]
    found = read_column(tiny, "blank", rows)
    expected = {
        row: flag
        for *row, flag in zip(
            flags["split"].to_pylist(), flags["id"].to_pylist(), flags["blank"].to_pylist(), strict=True
        )
        for row in [tuple(row)]
    }
    assert found == [expected[row] for row in rows]
    with pytest.raises(MienError, match="data set 'tiny' has no row 'x' in test"):
        read_column(tiny, "contrast", [("test", "x")])


def test_slices_refuse_a_data_set_that_has_changed(home: Workspace, tiny: Dataset) -> None:
    make_run(home, "old/1", 0.5, dataset=tiny, environment={"fingerprint": "0" * 64})
    shown = call("slices", "old", "--by", "agreement", "--json")
    assert shown.code == 2
    assert shown.error.message == "data set 'tiny' isn't the one that run old/1 was trained on"
    assert call("slices", "old", "--by", "class").code == 0
