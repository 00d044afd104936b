"""The rules of the reproduction by themselves: verdicts, tests over runs, formats of tables, the picture's numbers."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from scipy.stats import ttest_1samp
from sklearn.metrics import classification_report

from mien.comparison.tables import markdown_lines
from mien.data.labels import FER2013
from mien.files import write_json
from mien.intervals import wilson
from mien.reproduce.conclusions import (
    MARGIN,
    Spread,
    _epochs,
    _regions,
    because,
    over_runs,
    overall,
    seed_spread,
    verdict,
    with_seeds,
)
from mien.reproduce.figures import published_exam
from mien.reproduce.formats import PaperTable, ScoreCell, as_csv, as_latex
from mien.reproduce.paper import (
    CLAIMED,
    CLAIMED_BY_CLASS,
    MEANS,
    PRINTED_INPUT,
    PRINTED_LAYERS,
    STORED,
    part_named,
)
from mien.reproduce.plan import Planned
from mien.reproduce.scores import architectures, by_class
from mien.reproduce.tables import layer_table, missing
from mien.runs.run import Run


@pytest.mark.parametrize(
    ("way", "difference", "interval", "p", "expected"),
    [
        ("better", 0.030, (0.010, 0.050), 0.004, "holds"),
        ("better", -0.03, (-0.05, -0.01), 0.004, "does not hold"),
        ("better", 0.010, (-0.01, 0.030), 0.300, "can't be told"),
        ("better", 0.000, (-0.01, 0.010), 0.900, "does not hold"),
        ("same", 0.000, (-0.01, 0.010), 0.900, "holds"),
        ("same", 0.010, (0.005, 0.015), 0.001, "does not hold"),
        ("same", 0.000, (-0.03, 0.030), 0.900, "can't be told"),
        # Without p the interval alone says whether 0 is likely.
        ("better", 0.030, (0.010, 0.050), None, "holds"),
        ("better", 0.030, (-0.01, 0.070), None, "can't be told"),
        ("same", 0.010, (0.005, 0.015), None, "does not hold"),
    ],
)
def test_a_difference_decides_by_one_rule(way, difference, interval, p, expected):
    assert verdict(way, difference, interval, p) == expected


@given(st.floats(-1, 1), st.floats(0.001, 1), st.sampled_from(["better", "same"]))
def test_nothing_is_told_of_a_difference_that_could_be_both(difference, half, way):
    found = verdict(way, difference, (difference - half, difference + half), None)
    straddles = abs(difference) <= half
    if straddles and difference + half >= MARGIN and (way == "better" or half >= MARGIN):
        assert found == "can't be told"
    if way == "better" and difference <= 0:
        assert found != "holds"


def test_what_has_one_seed_is_judged_as_if_it_had_been_drawn_from_many() -> None:
    """Differences of two models without a difference, images and seeds drawn: 95 % of the intervals hold 0, or more."""
    random = np.random.default_rng(0)
    images, seeds, held = 0.01, 0.017, []
    for _ in range(2000):
        spread = seed_spread(random.normal(0.5, seeds, (4, 3)))
        assert spread is not None
        found = random.normal(0, (images**2 + 2 * seeds**2) ** 0.5)
        low, high = with_seeds(found, (found - 1.96 * images, found + 1.96 * images), 2, spread).interval
        held.append(low <= 0 <= high)
    assert 0.94 < np.mean(held) < 0.98


def test_without_a_spread_over_seeds_the_images_alone_decide() -> None:
    found = with_seeds(0.02, (0.0004, 0.0396), 2, Spread(0.0, 10**6))
    assert found.interval == pytest.approx((0.0004, 0.0396), abs=1e-4)
    assert found.p == pytest.approx(0.0455, abs=1e-3)  # Two standard errors of a normal.
    assert seed_spread([[0.5], [0.4]]) is None


@given(st.lists(st.sampled_from(["holds", "does not hold", "can't be told"]), max_size=4), st.booleans())
def test_one_that_fails_decides_and_all_must_hold(verdicts, complete):
    found = overall(verdicts, complete)
    assert (found == "does not hold") == ("does not hold" in verdicts)
    assert (found == "holds") == (complete and bool(verdicts) and all(one == "holds" for one in verdicts))


def test_differences_over_runs_are_tested_as_scipy_does():
    values = np.array([0.012, -0.004, 0.021, 0.008, 0.015])
    found, reference = over_runs(values), ttest_1samp(values, 0)
    assert found.value == pytest.approx(values.mean())
    assert found.p == pytest.approx(reference.pvalue)
    assert found.interval == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert over_runs(np.array([0.01, 0.01])).p == 0.0


def write_history(folder: Path, accuracy: list[float]) -> Run:
    """A run of which nothing but its history is there."""
    folder.mkdir(parents=True)
    lines = [f"{epoch},1e-4,1.0,0.5,1.0,{value}" for epoch, value in enumerate(accuracy, start=1)]
    text = "\n".join(["epoch,lr,fit_loss,fit_accuracy,choose_loss,choose_accuracy", *lines]) + "\n"
    (folder / "history.csv").write_text(text)
    return Run(folder)


@pytest.mark.parametrize(
    ("steps", "expected", "begins"),
    [
        ((0.30, 0.42, 0.42), "holds", "a gain is shown"),  # rises until 16–20, and is flat
        ((0.30, 0.42, 0.52), "does not hold", "it still changes after that; a difference is shown"),
        ((0.42, 0.42, 0.42), "does not hold", "it flattens earlier; a gain of 0.02 is ruled out"),
    ],
)
def test_where_validation_flattens(tmp_path, steps, expected, begins):
    plan = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        level = np.repeat(steps, (10, 10, 20)) + random.normal(0, 0.002, 40)
        run = write_history(tmp_path / f"cnn1/{seed + 1}", level.tolist())
        plan.append(Planned(part_named("cnn1"), seed, "finished", run=run))
    found = _epochs(plan)
    assert found.verdict == expected
    said = because({"key": "epochs", "verdict": expected, "differences": found.pairs})
    assert said.startswith(f"{begins}: epochs ")
    early, late = found.pairs
    assert early["difference"] == pytest.approx(steps[1] - steps[0], abs=0.005)
    assert late["difference"] == pytest.approx(steps[2] - steps[1], abs=0.005)
    assert (early["n"], early["p_holm"] >= early["p"]) == (4, True)
    # Too few runs, or too short ones, tell nothing.
    assert _epochs(plan[:1]).verdict == "can't be told"


@pytest.mark.parametrize(
    ("eyes", "mouth", "expected", "net"),
    [
        ([0.02, 0.05], [0.04, 0.09], "holds", "does"),
        ([-0.06, -0.01], [0.04, 0.09], "does not hold", "isn't shown to do so"),
        ([-0.01, 0.05], [0.04, 0.09], "can't be told", "isn't shown to do so"),
    ],
)
def test_of_the_first_layers_nothing_is_told_by_the_whole_net(tmp_path, eyes, mouth, expected, net):
    run = write_history(tmp_path / "cnn1/1", [0.4])
    plan = [Planned(part_named("cnn1"), 42, "finished", run=run)]
    assert _regions(plan).missing == ["Nobody has looked yet: mien explain cnn1/1 regions."]
    parts = [
        {"part": name, "class": of, "n": 100, "difference": sum(ends) / 2, "difference_interval": ends}
        for name, ends in (("eyes", eyes), ("mouth", mouth))
        for of in ("all", "happy")
    ]
    write_json(
        run.folder / "explain/regions.json", {"split": "PublicTest", "role": "choose", "seeds": [42], "parts": parts}
    )
    found = _regions(plan)
    assert (found.verdict, found.pairs[0]["verdict"], found.pairs[1]["verdict"]) == ("can't be told", expected, "holds")
    said = because({"key": "regions", "verdict": found.verdict, "differences": found.pairs})
    assert said.startswith(f"the net as a whole {net} (")
    assert "mouth − random patch +0.065 [+0.040, +0.090]" in said
    assert said.endswith("); its first layers by themselves aren't measured")
    assert [(one["what"], one["n"], one["p"]) for one in found.pairs] == [
        ("eyes − random patch", 100, None),
        ("mouth − random patch", 100, None),
    ]


def test_the_picture_adds_up_to_what_was_claimed():
    exam = published_exam()
    assert exam.share == pytest.approx(8 / 9, abs=1e-4)
    assert exam.share * exam.seen + (1 - exam.share) * exam.new == pytest.approx(CLAIMED["googlenet"]["accuracy"])
    assert (exam.new, round(exam.seen, 3)) == (STORED["googlenet"], 0.912)


TABLE = PaperTable(
    "some",
    "Some & more",
    ("name", "score_1", "note"),
    [("a|b", ScoreCell(0.5, (0.4, 0.6), 0.01), "50 %"), ("c", "–", "– not there")],
    ("n = 7.",),
)


def test_a_table_in_three_formats():
    rows = list(csv.DictReader(io.StringIO(as_csv(TABLE))))
    assert rows[0] == {
        "name": "a|b",
        "score_1": "0.5",
        "score_1, low": "0.4",
        "score_1, high": "0.6",
        "score_1, sd": "0.01",
        "note": "50 %",
        "measured on": "n = 7.",
    }
    assert (rows[1]["score_1"], rows[1]["score_1, sd"]) == ("–", "")
    latex = as_latex(TABLE)
    assert r"    a|b & 0.500 $\pm$ 0.010 [0.400, 0.600] & 50 \% \\" in latex
    assert r"\caption{Some \& more. n = 7.}" in latex
    assert r"name & score\_1 & note" in latex
    assert list(markdown_lines(TABLE.columns, TABLE.rows, TABLE.words)) == [
        "| name | score_1 | note |",
        "| --- | ---: | ---: |",
        "| a/b | 0.500 ± 0.010 [0.400, 0.600] | 50 % |",
        "| c | – | – not there |",
    ]


def test_a_score_without_a_width_has_no_interval():
    assert str(ScoreCell(1.0, (1.0, 1.0))) == "1.000"
    assert str(ScoreCell(12.345, None, digits=1)) == "12.3"
    assert math.isclose(ScoreCell(0.25, None).value, 0.25)


def difference(way, value, low, high, verdict, what="B − A"):
    return {"what": what, "way": way, "difference": value, "interval": [low, high], "verdict": verdict}


@pytest.mark.parametrize(
    ("differences", "verdict", "said"),
    [
        ([], "can't be told", "nothing is measured yet"),
        (
            [
                difference("better", 0.024, -0.03, 0.079, "can't be told", "short"),
                difference("better", -0.053, -0.107, 0.002, "does not hold", "long"),
            ],
            "does not hold",
            "a gain of 0.02 is ruled out: long −0.053 [−0.107, +0.002]; "
            "a gain is neither shown nor ruled out: short +0.024 [−0.030, +0.079]",
        ),
        (
            [difference("better", -0.05, -0.08, -0.02, "does not hold")],
            "does not hold",
            "a loss is shown: B − A −0.050 [−0.080, −0.020]",
        ),
        (
            [difference("same", -0.17, -0.22, -0.11, "does not hold")],
            "does not hold",
            "a difference is shown: B − A −0.170 [−0.220, −0.110]",
        ),
        (
            [difference("same", of, -0.05, 0.05, "can't be told", what) for what, of in (("a", 0.0), ("b", 0.01))],
            "can't be told",
            "a difference is neither shown nor ruled out: a +0.000 [−0.050, +0.050], b +0.010 [−0.050, +0.050]",
        ),
    ],
)
def test_a_verdict_carries_its_reason(differences, verdict, said):
    assert because({"key": "kernels", "verdict": verdict, "differences": differences}) == said
    # Where the report's nets began from other weights, the reason says so.
    unlike = "; all of these began from random weights, the report's from ImageNet's" if differences else ""
    face = {"key": "face", "verdict": verdict, "differences": differences}
    assert because(face) == said + unlike
    # And where one is hardly trained, that too.
    parts = [
        {"name": "googlenet-face", "runs": [{"epochs": 10}]},
        {"name": "googlenet-face-long", "runs": [{"epochs": 7}]},
        {"name": "googlenet", "runs": [{"epochs": 10}]},
        {"name": "googlenet-long", "runs": [{"epochs": 20}]},
    ]
    early = "; GoogLeNet on faces, long, stopped improving early, so it was trained for 7 epochs, not 10"
    assert because(face, parts) == (said + unlike + early if differences else said)


def test_a_verdict_on_another_net_than_the_reports_says_so():
    other = difference("better", 0.25, 0.2, 0.3, "holds", "MobileNetV2 − CNN 1")
    own = difference("better", 0.25, 0.2, 0.3, "holds", "GoogLeNet − CNN 1")
    told = because({"key": "pretrained", "verdict": "holds", "differences": [other]})
    assert told == (
        "a gain is shown: MobileNetV2 − CNN 1 +0.250 [+0.200, +0.300]; "
        "the report's own pre-trained net, GoogLeNet, isn't among these"
    )
    assert "isn't among" not in because({"key": "pretrained", "verdict": "holds", "differences": [other, own]})


@pytest.mark.parametrize(
    ("plain", "beyond", "verdict", "said"),
    [
        (
            0.1,
            0.05,
            "holds",
            "its first layers answer to both more than to random patches, and do so more than before training (",
        ),
        (
            0.1,
            0.0,
            "can't be told",
            "its first layers answer to both more than to random patches, but that training made",
        ),
        (
            0.1,
            -0.05,
            "does not hold",
            "its first layers answer to both more than to random patches, but not all of it more",
        ),
        (-0.1, -0.05, "does not hold", "its first layers aren't shown to answer to both more than to random patches"),
    ],
)
def test_first_layers_are_judged_by_what_they_answer_to(tmp_path, plain, beyond, verdict, said):
    def of(part, **values):
        ends = {f"{name}_interval": [value - 0.02, value + 0.02] for name, value in values.items()}
        return {"part": part, "class": "all", "n": 12, **values, **ends}

    content = {
        "split": "PublicTest",
        "role": "choose",
        "seeds": [42],
        "parts": [of(part, difference=0.1) for part in ("brows", "eyes", "mouth")],
        "layers": [
            {"name": name, "parts": [of(part, difference=plain, beyond=beyond) for part in ("nose", "eyes", "mouth")]}
            for name in ("conv1", "conv2")
        ],
    }
    write_json(tmp_path / "explain/regions.json", content)
    judged = _regions([Planned(part_named("cnn1"), 42, "finished", run=Run(tmp_path))])
    assert judged.verdict == verdict
    assert [one["layer"] for one in judged.pairs if "layer" in one] == ["conv1", "conv1", "conv2", "conv2"] * 2
    told = because({"key": "regions", "verdict": judged.verdict, "differences": judged.pairs})
    assert told.startswith(said)
    assert told.endswith(
        "; the net as a whole does (eyes − random patch +0.100 [+0.080, +0.120], "
        "mouth − random patch +0.100 [+0.080, +0.120])"
    )


def test_what_a_system_said_is_no_reason_on_a_page():
    one = {"state": "left out", "why": "start weights can't be downloaded (HTTP Error 404: Not Found)"}
    assert missing({"missing": [one]}) == "left out: start weights can't be downloaded"
    one = {"state": "begun", "why": "it failed: RuntimeError: CUDA error (at 0x7f)", "failed": False, "epochs_done": 3}
    assert missing({"missing": [one]}) == "begun, 3 epochs done; it failed"
    one = {"state": "left out", "why": "there is no file 'weights/some.safetensors' with start weights"}
    assert missing({"missing": [one]}) == "left out: there is no file 'weights/some.safetensors' with start weights"


def test_claims_are_those_that_the_report_prints(real_data):
    """By the file of every number that the report prints, which stands beside the real data."""
    printed = YAML(typ="safe").load(real_data.parent / "report-2021.yaml")
    assert {f"cnn{number}": printed["table-1"][f"CNN {number}"] for number in (1, 2, 3)} == {
        name: dict(CLAIMED[name]) for name in ("cnn1", "cnn2", "cnn3")
    }
    assert printed["table-3"]["CNN 4"] == dict(CLAIMED["cnn4"])
    assert {f"cnn{number}": tuple(printed["table-2"][f"CNN {number}"]) for number in (1, 2, 3)} == dict(PRINTED_LAYERS)
    for table, claim in ((4, "googlenet"), (5, "googlenet-face"), (6, "googlenet-mouth")):
        of = printed[f"table-{table}"]
        rows = {name: of["classes"][number] for number, name in enumerate(FER2013.classes)}
        rows |= {name: of[name] for name in MEANS}
        assert {name: list(values) for name, values in CLAIMED_BY_CLASS[claim].items()} == rows
        assert of["accuracy"] == CLAIMED[claim]["accuracy"]


def test_the_size_that_the_report_prints_is_that_of_its_5x5_nets():
    built = {of["name"]: of for of in architectures()}
    assert {name: (of["map"], of["channels"]) for name, of in built.items()} == {
        "cnn1": PRINTED_INPUT,
        "cnn2": PRINTED_INPUT,
        "cnn3": PRINTED_INPUT,
        "cnn4": (38, 20),
    }
    assert all(tuple(built[name]["layers"]) == layers for name, layers in PRINTED_LAYERS.items())
    assert built["cnn1"]["parameters"] == 2_812_307
    table = layer_table(list(built.values()))
    assert table.rows[0] == (
        "CNN 1",
        "5×5",
        "34² × 20",
        "34² × 20 = 23,120",
        "120, 250, 7",
        "120, 250, 7",
        "2,812,307",
    )
    assert table.rows[3][2:5] == ("–", "38² × 20 = 28,880", "–")
    assert "48 px become 34 with kernels of 5×5; 38 with kernels of 3×3" in table.where


@given(st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_scores_by_class_and_their_means_are_those_of_scikit_learn(matrix):
    counts = np.array(matrix)
    assume((counts.sum(axis=1) > 0).all())
    labels = np.repeat(np.arange(3), counts.sum(axis=1))
    predicted = np.concatenate([np.repeat(np.arange(3), row) for row in counts])
    rows = by_class(counts, ["a", "b", "c"])
    report = classification_report(labels, predicted, target_names=["a", "b", "c"], output_dict=True, zero_division=0)
    for row, name in zip(rows, ("a", "b", "c", "macro avg", "weighted avg"), strict=True):
        assert row["n"] == report[name]["support"]
        for score, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            if row[score] is not None:
                value, low, high = row[score]
                assert value == pytest.approx(report[name][key])
                assert low - 1e-9 <= value <= high + 1e-9
    assert [row["precision"] is None for row in rows[:3]] == (counts.sum(axis=0) == 0).tolist()


def test_the_weighted_recall_is_the_accuracy_with_its_interval():
    rows = by_class(np.array([[30, 10], [5, 55]]), ["sad", "happy"])
    assert rows[-1]["recall"] == [0.85, *wilson(85, 100)]
    assert rows[0]["precision"] == [30 / 35, *wilson(30, 35)]
    assert [row["name"] for row in rows] == ["sad", "happy", "macro", "weighted"]
