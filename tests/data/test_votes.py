"""Raters' votes: whose majority is the label, who is left out, and what one more rater would say."""

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from conftest import REPOSITORY, write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy, ttest_1samp
from statsmodels.stats.proportion import proportion_confint
from verbs import call

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.importers.ferplus import KIND
from mien.data.importers.ferplus import read_votes as read_file
from mien.data.labels import FER2013, FERPLUS, FERPLUS_VOTES, LabelScheme, canonical
from mien.data.votes import (
    RULE,
    by_majority,
    label_agreement,
    labels_under,
    left_out_score,
    majority,
    majority_labels,
    measure,
    read_votes,
    vote_distribution,
)
from mien.errors import MienError
from mien.experiment.building import check, class_counts, left_out
from mien.experiment.schema import load_experiment
from mien.images import encode_png
from mien.protocols import Part
from mien.protocols.batches import load
from mien.workspace import Workspace

#        neutral happiness surprise sadness anger disgust fear contempt unknown not a face
TABLE = {
    "neutral": [6, 0, 1, 1, 0, 0, 0, 0, 2, 0],
    # Five of the eight that are left without the single votes.
    "sadness": [3, 1, 0, 5, 1, 0, 0, 0, 0, 0],
    "tie": [4, 0, 0, 4, 2, 0, 0, 0, 0, 0],
    "tie of unknown": [4, 0, 0, 0, 0, 0, 0, 0, 4, 2],
    # Five of ten is half and no more.
    "no majority": [5, 3, 2, 0, 0, 0, 0, 0, 0, 0],
    "ten single votes": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    "contempt": [2, 0, 0, 0, 1, 0, 0, 7, 0, 0],
    "unknown": [2, 0, 0, 0, 0, 0, 0, 0, 8, 0],
    "not a face": [0, 0, 0, 0, 0, 0, 0, 0, 1, 9],
}
VOTES = np.array(list(TABLE.values()))
ballots = arrays(np.int64, st.tuples(st.integers(1, 20), st.just(10)), elements=st.integers(0, 5)).filter(
    lambda votes: bool((votes.sum(axis=1) >= 2).all())
)


def naive_majority(votes: list[int]) -> int:
    """The rule word by word."""
    heard = {choice: number for choice, number in enumerate(votes) if number != 1}
    total = sum(heard.values())
    over = [choice for choice, number in heard.items() if number > total / 2]
    return over[0] if over else -1


@settings(deadline=None, max_examples=200)
@given(ballots)
def test_the_majority_is_the_rule_s(votes: npt.NDArray[np.int64]) -> None:
    assert majority(votes).tolist() == [naive_majority(row) for row in votes.tolist()]


def test_rows_without_a_majority_say_why() -> None:
    labels, reasons = majority_labels(VOTES, FERPLUS)
    assert dict(zip(TABLE, labels.tolist(), strict=True)) == {
        "neutral": 0,
        "sadness": 3,
        "tie": -1,
        "tie of unknown": -1,
        "no majority": -1,
        "ten single votes": -1,
        "contempt": 7,
        "unknown": -1,
        "not a face": -1,
    }
    assert reasons.tolist() == ["", "", "tie", "tie", "no majority", "no majority", "", "unknown", "not a face"]
    labels, reasons = majority_labels(VOTES, FER2013)
    assert labels.tolist() == [6, 4, *[-1] * 7]
    assert reasons.tolist() == ["", "", "tie", "tie", *["no majority"] * 2, "contempt", "unknown", "not a face"]
    assert majority_labels(VOTES[:0], FER2013)[0].shape == (0,)


@settings(deadline=None, max_examples=100)
@given(ballots)
def test_a_row_has_a_label_or_a_reason(votes: npt.NDArray[np.int64]) -> None:
    for scheme in (FER2013, FERPLUS):
        labels, reasons = majority_labels(votes, scheme)
        for label, reason, found in zip(labels, reasons, majority(votes), strict=True):
            assert (label >= 0) == (reason == "")
            if label >= 0:
                assert canonical(scheme.classes[label]) == canonical(FERPLUS_VOTES[found])
            else:
                assert reason in ("tie", "no majority") if found < 0 else reason == FERPLUS_VOTES[found]


def write_voted(workspace: Workspace, name: str = "voted") -> Dataset:
    """The rows of TABLE in three splits; FER2013's label is happy everywhere but where raters say sadness."""
    columns = {"votes": KIND}
    with write_dataset(workspace, name, FER2013, source="", format="test", columns=columns) as writer:
        for split in ("train", "validation", "test"):
            for what, votes in TABLE.items():
                label = FER2013.classes.index("sad" if what == "sadness" else "happy")
                shade = np.full((24, 24), 40 + label * 20, np.uint8)
                writer.add(split, what, encode_png(shade), label, size=(24, 24), votes=votes)
    return open_dataset(workspace, name)


def test_ferplus_labels_are_the_raters_majority(workspace: Workspace) -> None:
    voted = write_voted(workspace)
    some = Part("validation", np.array([1, 2, 7]))
    samples = load(voted, [Part("train"), some], 24, "gray", FERPLUS, votes=True)
    assert samples.ids.tolist() == ["neutral", "sadness", "contempt", "sadness"]
    assert [FERPLUS.classes[label] for label in samples.labels] == ["neutral", "sadness", "contempt", "sadness"]
    assert samples.place.tolist() == [0, 1, 6, 1]
    assert samples.votes[1].tolist() == pytest.approx([0.3, 0.1, 0, 0.5, 0.1, 0, 0, 0])
    assert class_counts(voted, [Part("train"), some], FERPLUS) == np.bincount(samples.labels, minlength=8).tolist()
    assert left_out(voted, [Part("train"), some], FERPLUS) == {
        "tie": 3,
        "no majority": 2,
        "unknown": 2,
        "not a face": 1,
    }
    # Under FER2013's own scheme nothing changes.
    assert load(voted, [Part("train")], 24, "gray", FER2013).labels.tolist() == [3, 4, *[3] * 7]
    assert class_counts(voted, [Part("train")], FER2013) == [0, 0, 0, 8, 1, 0, 0]
    assert left_out(voted, [Part("train")], FER2013) == {}


def test_without_votes_the_classes_go_by_their_names(workspace: Workspace) -> None:
    pixel = encode_png(np.zeros((24, 24), np.uint8))
    with write_dataset(workspace, "plain", FER2013, source="", format="test") as writer:
        for label in range(7):
            writer.add("train", str(label), pixel, label, size=(24, 24))
    with write_dataset(workspace, "plus", FERPLUS, source="", format="test", columns={"votes": KIND}) as writer:
        for label in range(8):
            writer.add("train", str(label), pixel, label, size=(24, 24), votes=TABLE["tie"])
    plain, plus = open_dataset(workspace, "plain"), open_dataset(workspace, "plus")
    assert not by_majority(plain, FERPLUS)
    assert [FERPLUS.classes[label] for label in labels_under(plain, "train", FERPLUS)[0]][:3] == [
        "anger",
        "disgust",
        "fear",
    ]
    # A data set whose own labels are FER+'s keeps them.
    assert not by_majority(plus, FERPLUS)
    assert labels_under(plus, "train", FERPLUS)[0].tolist() == list(range(8))
    labels, reasons = labels_under(plus, "train", FER2013)
    assert (labels.tolist(), reasons.tolist()) == ([6, 3, 5, 4, 0, 1, 2, -1], [*[""] * 7, "contempt"])
    assert left_out(plus, [Part("train"), Part("train", np.array([0, 7]))], FER2013) == {"contempt": 2}


def test_check_counts_what_is_left_out(workspace: Workspace, tiny_file: Path) -> None:
    voted = write_voted(workspace)
    experiment = load_experiment(tiny_file, ["dataset.name=voted", "dataset.labels=ferplus-8"])
    found = check(experiment, voted)
    assert found.rows == {"fit": 3, "choose": 3, "report": 3}
    reasons = {"tie": 2, "no majority": 2, "unknown": 1, "not a face": 1}
    assert found.left_out == {"fit": reasons, "choose": reasons, "report": reasons}
    arguments = ("check", tiny_file, "dataset.name=voted", "--workspace", workspace.root)
    told = call(*arguments, "dataset.labels=ferplus-8").out
    assert "left out of fit, without a label under ferplus-8: tie 2, no majority 2, unknown 1, not a face 1\n" in told
    assert call(*arguments, "--json").json["left_out"] == {"fit": {}, "choose": {}, "report": {}}
    assert "left out" not in call(*arguments).out


def test_votes_of_a_split(workspace: Workspace) -> None:
    voted = write_voted(workspace)
    assert read_votes(voted, "test").tolist() == VOTES.tolist()
    tiny = write_tiny(workspace, n=70)
    own, _ = majority_labels(read_votes(tiny, "train"), FER2013)
    assert own.tolist() == tiny.labels("train").tolist()
    with write_dataset(workspace, "plain", FER2013, source="", format="test") as writer:
        writer.add("train", "0", encode_png(np.zeros((8, 8), np.uint8)), 0, size=(8, 8))
    with pytest.raises(MienError, match=r"^loss: data set 'plain' has no rater votes; expected a loss on labels"):
        read_votes(open_dataset(workspace, "plain"), "train")


def left_out_by_hand(votes: list[int]) -> float:
    """Each rater by name, against a draw among what most of the others say."""
    raters = [choice for choice, number in enumerate(votes) for _ in range(number)]
    score = 0.0
    for place, said in enumerate(raters):
        others = Counter(raters[:place] + raters[place + 1 :])
        most = [choice for choice, number in others.items() if number == max(others.values())]
        score += (said in most) / len(most)
    return score / len(raters)


@settings(deadline=None, max_examples=100)
@given(ballots)
def test_each_rater_against_the_others(votes: npt.NDArray[np.int64]) -> None:
    assert left_out_score(votes).tolist() == pytest.approx([left_out_by_hand(row) for row in votes.tolist()])


def test_one_more_rater_is_what_one_more_rater_does() -> None:
    """Raters drawn from known tendencies: the estimates from ten are what an eleventh really scores, on average."""
    random = np.random.default_rng(0)
    tendency = random.dirichlet([0.4] * 10, 4000)
    nine = np.array([random.multinomial(9, row) for row in tendency])
    tenth = np.array([random.multinomial(1, row) for row in tendency])
    shared = (nine == nine.max(axis=1, keepdims=True)).astype(float)
    agreed = (tenth * shared / shared.sum(axis=1, keepdims=True)).sum(axis=1)
    from_ten = left_out_score(nine + tenth)
    # Both estimate the same; their difference over 4,000 rows is a few standard errors at most.
    assert abs(ttest_1samp(agreed - from_ten, 0).statistic) < 3
    assert from_ten.std() < agreed.std()


def test_agreement_by_hand() -> None:
    labels = np.array([FER2013.classes.index(name) for name in ("neutral", "neutral", *["happy"] * 7)])
    found = label_agreement(VOTES, labels, FER2013.classes)
    assert (found["rows"], found["n"], found["value"]) == (9, 2, 0.5)
    assert found["dropped"] == {"tie": 2, "no majority": 2, "contempt": 1, "unknown": 1, "not a face": 1}
    assert found["interval"] == pytest.approx(list(proportion_confint(1, 2, method="wilson")))
    assert found["per_class"]["neutral"] == {key: found[key] for key in ("n", "value", "interval")}
    assert found["per_class"]["happy"] == {"n": 0, "value": None, "interval": None}


def test_measure_by_hand() -> None:
    votes = np.array([TABLE["neutral"], TABLE["sadness"], TABLE["contempt"], TABLE["tie"], [0, 10, *[0] * 8]])
    labels = np.array([6, 6, 3, 3, 3])
    sure = np.log(np.array([0.05, 0.05, 0.1, 0.1, 0.3, 0.1, 0.3]))
    logits = np.array([sure, sure, sure, sure, np.eye(7)[3] * 3])
    logits[0, 6] += 1
    found = measure(votes, labels, logits, FER2013.classes)
    assert (found["rows"], found["n"], found["dropped"]) == (5, 3, {"tie": 1, "contempt": 1})
    assert found["rule"] == RULE
    # Predicted: neutral, sad, happy; the majority: neutral, sad, happy; the labels: neutral, neutral, happy.
    assert (found["accuracy"]["value"], found["agreement"]["value"]) == (1.0, pytest.approx(2 / 3))
    assert found["agreement"]["per_class"]["neutral"]["value"] == 0.5
    assert found["one_more_rater"]["label"]["value"] == pytest.approx(np.mean([0.6, 0.3, 1]))
    assert found["model_with_rater"]["value"] == pytest.approx(np.mean([0.6, 0.5, 1]))
    pairs = [(6 * 5 + 2 * 1) / 90, (3 * 2 + 5 * 4) / 90, 1]
    assert found["one_more_rater"]["rater"]["value"] == pytest.approx(np.mean(pairs))
    assert found["one_more_rater"]["majority"]["value"] == pytest.approx(np.mean([0.6, 0.5, 1]))
    # Without the two votes for unknown.
    shares = np.array([[0, 0, 0, 0, 1, 1, 6], [1, 0, 0, 1, 5, 0, 3], [0, 0, 0, 10, 0, 0, 0]], dtype=float)
    shares /= shares.sum(axis=1, keepdims=True)
    crossed = -(shares * np.log(softmax(logits[[0, 1, 4]], axis=1))).sum(axis=1)
    assert found["cross_entropy"]["value"] == pytest.approx(crossed.mean())
    assert found["entropy"]["value"] == pytest.approx(entropy(shares, axis=1).mean())
    assert found["cross_entropy"]["interval"] == pytest.approx(
        [max(end, 0) for end in ttest_1samp(crossed, 0).confidence_interval()]
    )
    assert found["votes_dropped"] == {"unknown": 2}


@settings(deadline=None, max_examples=100)
@given(ballots, st.integers(0, 2**31), st.sampled_from([FER2013, FERPLUS, LabelScheme("few", ("sad", "happy"))]))
def test_what_always_holds(votes: npt.NDArray[np.int64], seed: int, scheme: LabelScheme) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(scheme), len(votes))
    logits = random.normal(0, 5, (len(votes), len(scheme)))
    found = measure(votes, labels, logits, scheme.classes)
    assert found["n"] + sum(found["dropped"].values()) == found["rows"] == len(votes)
    assert sum(part["n"] for part in found["agreement"]["per_class"].values()) == found["n"]
    numbers = [found[key] for key in ("accuracy", "agreement", "model_with_rater", "cross_entropy", "entropy")]
    for number in [*numbers, *found["one_more_rater"].values()]:
        assert number["n"] == found["n"]
        assert (number["value"] is None) == (found["n"] == 0)
        if number["interval"] is not None:
            low, high = number["interval"]
            assert 0 <= low <= number["value"] <= high
    if found["n"]:
        assert found["cross_entropy"]["value"] >= found["entropy"]["value"] - 1e-12
        # Whoever says what most raters say agrees with a rater most often.
        target, _ = majority_labels(votes, scheme)
        best = measure(votes, np.maximum(target, 0), np.eye(len(scheme))[target] * 9, scheme.classes)
        assert best["accuracy"]["value"] == best["agreement"]["value"] == 1
        assert best["model_with_rater"]["value"] >= max(
            found["model_with_rater"]["value"], best["one_more_rater"]["rater"]["value"] - 1e-12
        )


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r"^votes \(9, 10\) and logits \(9, 3\) for 9 rows$"):
        measure(VOTES, np.zeros(9, int), np.zeros((9, 3)), FER2013.classes)


@pytest.mark.parametrize(
    "scheme", [FER2013, FERPLUS, LabelScheme("few", ("sad", "happy", "other"))], ids=["7", "8", "few"]
)
def test_votes_are_shares_of_the_scheme_s_classes(scheme: LabelScheme) -> None:
    random = np.random.default_rng(0)
    # Mostly zeros, so that many rows have no vote for any class of the scheme.
    counts = random.integers(-8, 4, (300, 10)).clip(0).astype(np.float32)
    labels = random.integers(0, len(scheme), 300)
    shares = vote_distribution(counts, labels, scheme)
    assert shares.dtype == np.float32
    empty = 0
    for row, votes in enumerate(counts):
        by_name = {canonical(name): number for name, number in zip(FERPLUS_VOTES, votes, strict=True)}
        kept = [float(by_name.get(canonical(name), 0)) for name in scheme.classes]
        if sum(kept) == 0:
            empty += 1
            kept[labels[row]] = 1.0
        assert shares[row].tolist() == pytest.approx([number / sum(kept) for number in kept], rel=1e-6)
    assert 0 < empty < 300


def test_what_mien_ferplus_is_trained_and_measured_on(real_data: Path, workspace: Workspace) -> None:
    """All rows of FER2013 with FER+'s votes; their pictures play no part here."""
    votes = read_file(real_data / "fer2013" / "ferplus_votes.csv")
    columns = {"votes": pa.list_(pa.int16(), 10)}
    image = encode_png(np.zeros((48, 48), np.uint8))
    with write_dataset(workspace, "fer2013", FER2013, source="", format="test", columns=columns) as writer:
        for row, (split, counts) in enumerate(zip(votes.usage, votes.counts.tolist(), strict=True)):
            writer.add(split, str(row), image, row % 7, size=(48, 48), votes=counts)
    file = REPOSITORY / "experiments" / "best" / "mien-ferplus.yaml"
    found = check(load_experiment(file), open_dataset(workspace, "fer2013"))
    assert found.scheme.classes[-1] == "contempt"
    assert found.rows == {"fit": 25_060, "choose": 3_199, "report": 3_153}
    assert found.left_out == {
        "fit": {"no majority": 1_974, "tie": 1_449, "not a face": 150, "unknown": 76},
        "choose": {"no majority": 210, "tie": 157, "unknown": 13, "not a face": 10},
        "report": {"no majority": 240, "tie": 170, "not a face": 16, "unknown": 10},
    }
    said = file.read_text(encoding="utf-8")
    assert all(f"{number:,}" in said for number in found.rows.values())


def test_ferplus_majorities(real_data: Path) -> None:
    """FER+'s own votes; docs/labels.md tells the same numbers."""
    votes = read_file(real_data / "fer2013" / "ferplus_votes.csv")
    usage = np.array(votes.usage)
    labels, reasons = majority_labels(votes.counts, FERPLUS)
    for split, counts in {
        "Training": [8740, 7287, 3149, 3014, 2100, 119, 532, 119],
        "PublicTest": [1182, 865, 415, 351, 287, 24, 62, 13],
        "PrivateTest": [1090, 893, 396, 384, 273, 18, 83, 16],
    }.items():
        assert np.bincount(labels[(usage == split) & (labels >= 0)], minlength=8).tolist() == counts
        found = Counter(reasons[usage == split].tolist())
        numbers = [(usage == split).sum(), *(found[key] for key in ("", "tie", "no majority", "unknown", "not a face"))]
        line = "| " + " | ".join([split, *(f"{number:,}" for number in numbers)]) + " |"
        assert line in (REPOSITORY / "docs" / "labels.md").read_text(encoding="utf-8").splitlines()
