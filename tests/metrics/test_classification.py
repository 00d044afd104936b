"""The scores against scikit-learn's, and the classification report as text, CSV and LaTeX."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.errors import FailedError
from mien.intervals import wilson
from mien.metrics.classification import classification_report, confusion, measure, predict

NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def logits_of(predicted, k):
    """Logits whose highest one is the wanted class."""
    return np.eye(k, dtype=np.float32)[np.asarray(predicted, dtype=int)]


@st.composite
def predictions(draw):
    k = draw(st.integers(2, 7))
    n = draw(st.integers(1, 60))
    rows = st.lists(st.integers(0, k - 1), min_size=n, max_size=n)
    return np.array(draw(rows)), np.array(draw(rows)), k


@settings(deadline=None, max_examples=50)
@given(predictions())
def test_scores_equal_scikit_learns(given_rows):
    labels, predicted, k = given_rows
    found = measure(labels, logits_of(predicted, k), NAMES[:k])
    assert found["n"] == len(labels)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    weighted = reference.f1_score(labels, predicted, average="weighted", zero_division=0)
    assert found["weighted_f1"] == pytest.approx(weighted)
    present = np.unique(labels)
    recall = reference.recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert found["balanced_accuracy"] == pytest.approx(recall)
    # Over the same classes as balanced accuracy: those that have rows.
    macro = reference.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(macro)

    by_class = reference.precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=0)
    for name, precision, recall, f1, support in zip(NAMES, *by_class, strict=False):
        row = found["per_class"][name]
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx([precision, recall, f1])
        assert row["support"] == support

    expected = reference.confusion_matrix(labels, predicted, labels=range(k))
    assert confusion(labels, predicted, k).tolist() == expected.tolist()


@settings(deadline=None, max_examples=50)
@given(predictions())
def test_intervals_hold_their_values_where_rows_differ(given_rows):
    labels, predicted, k = given_rows
    found = measure(labels, logits_of(predicted, k), NAMES[:k])
    assert found["interval"].keys() == {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"}
    assert all(0 <= low <= high <= 1 for low, high in found["interval"].values())
    assert tuple(found["interval"]["accuracy"]) == wilson(int((labels == predicted).sum()), len(labels))
    low, high = found["interval"]["balanced_accuracy"]
    assert low - 1e-9 <= found["balanced_accuracy"] <= high + 1e-9


def test_a_small_case_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    logits = logits_of([0, 0, 0, 1, 1, 0, 1], 4)
    found = measure(labels, logits, ["a", "b", "c", "d"])
    assert found["accuracy"] == pytest.approx(4 / 7)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    # a: 6/8, b: 2/5, c: 0; d has neither rows nor predictions and doesn't count.
    assert found["macro_f1"] == pytest.approx((6 / 8 + 2 / 5 + 0) / 3)
    assert found["weighted_f1"] == pytest.approx((4 * 6 / 8 + 2 * 2 / 5) / 7)
    assert found["per_class"]["b"] == {"precision": 1 / 3, "recall": 1 / 2, "f1": 2 / 5, "support": 2}
    assert found["per_class"]["d"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def test_of_equal_logits_the_first_wins():
    assert predict(np.array([1, 0]), np.array([[0.5, 0.5], [1, 2]]), ["a", "b"]).tolist() == [0, 1]


def test_confusion_of_narrow_integers_does_not_wrap_around():
    found = confusion(np.array([19], dtype=np.uint8), np.array([19], dtype=np.uint8), 20)
    assert found[19, 19] == 1
    assert found.sum() == 1


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([], np.zeros((0, 2)), "there are no rows to measure"),
        ([0, 2], np.zeros((2, 2)), "row 1 has label 2; expected 0 to 1 (sad, happy)"),
        ([-1], np.zeros((1, 2)), "row 0 has label -1; expected 0 to 1 (sad, happy)"),
        ([0, 1, 1], [[1, 2], [np.nan, 0], [np.inf, 0]], "the logits of 2 of 3 rows aren't finite numbers"),
    ],
)
def test_what_cannot_be_measured_is_said(labels, logits, message):
    with pytest.raises(FailedError) as raised:
        measure(np.array(labels, dtype=np.int64), np.array(logits, dtype=np.float32), ["sad", "happy"])
    assert str(raised.value) == message


def test_logits_of_another_scheme_are_refused():
    with pytest.raises(ValueError, match=r"logits of shape \(1, 8\) for 1 labels and 7 classes"):
        measure(np.array([0]), np.zeros((1, 8)), NAMES)


TITLE = "official · report: PrivateTest · n = 5"


def five_rows():
    return classification_report(
        np.array([0, 0, 1, 1, 1]), logits_of([0, 1, 1, 1, 1], 3), ["not_a_face", "50% {sad}", "unseen"], TITLE
    )


def test_report_as_text():
    assert five_rows()["txt"] == (
        "official · report: PrivateTest · n = 5\n\n"
        "              precision    recall  f1-score   support\n\n"
        "  not_a_face      1.000     0.500     0.667         2\n"
        "   50% {sad}      0.750     1.000     0.857         3\n\n"
        "    accuracy                          0.800         5\n"
        "   macro avg      0.875     0.750     0.762         5\n"
        "weighted avg      0.850     0.800     0.781         5\n\n"
        "No rows and no predictions: unseen\n"
    )


def test_a_class_that_is_only_predicted_counts_in_no_mean():
    labels, logits = np.array([0, 0, 1]), logits_of([0, 2, 1], 3)
    found = measure(labels, logits, ["a", "b", "c"])
    assert (found["balanced_accuracy"], found["macro_f1"]) == pytest.approx((0.75, (2 / 3 + 1) / 2))
    text = classification_report(labels, logits, ["a", "b", "c"], TITLE)["txt"]
    assert "   macro avg      1.000     0.750     0.833         3\n" in text
    assert text.endswith("\nNo rows, and so no part of the means: c\n")


def test_report_as_csv_has_unrounded_numbers():
    rows = list(csv.DictReader(io.StringIO(five_rows()["csv"])))
    assert [row["class"] for row in rows] == ["not_a_face", "50% {sad}", "accuracy", "macro avg", "weighted avg"]
    assert rows[0] == {
        "class": "not_a_face",
        "precision": "1.0",
        "recall": "0.5",
        "f1": "0.6666666666666666",
        "support": "2",
        "measured_on": TITLE,
    }
    assert rows[2]["precision"] == ""
    assert float(rows[2]["f1"]) == 0.8


def test_report_as_latex_is_escaped():
    lines = five_rows()["tex"].splitlines()
    assert r"  \caption{official · report: PrivateTest · n = 5}" in lines
    assert r"    not\_a\_face & 1.000 & 0.500 & 0.667 & 2 \\" in lines
    assert r"    50\% \{sad\} & 0.750 & 1.000 & 0.857 & 3 \\" in lines
    assert r"    accuracy &  &  & 0.800 & 5 \\" in lines
    assert [line.strip() for line in lines if "rule" in line] == [r"\toprule", *[r"\midrule"] * 2, r"\bottomrule"]


@settings(deadline=None, max_examples=50)
@given(predictions())
def test_means_of_the_report_are_the_scores(given_rows):
    labels, predicted, k = given_rows
    logits = logits_of(predicted, k)
    report = classification_report(labels, logits, NAMES[:k], "made up")
    found = measure(labels, logits, NAMES[:k])
    rows = {row["class"]: row for row in csv.DictReader(io.StringIO(report["csv"]))}
    assert float(rows["accuracy"]["f1"]) == pytest.approx(found["accuracy"])
    assert float(rows["macro avg"]["f1"]) == pytest.approx(found["macro_f1"])
    assert float(rows["weighted avg"]["f1"]) == pytest.approx(found["weighted_f1"])
    # scikit-learn's text shows the same, to three digits.
    lines = {line[:13].strip(): line.split()[-2] for line in report["txt"].splitlines() if line[:13].strip()}
    assert float(lines["macro avg"]) == pytest.approx(found["macro_f1"], abs=6e-4)
    assert float(lines["accuracy"]) == pytest.approx(found["accuracy"], abs=6e-4)
