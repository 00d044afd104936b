"""Slices: every row in one part, each part measured as a whole set would be, small ones kept silent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.evaluation.slices import MINIMUM, by_class, slices
from mien.intervals import wilson
from mien.metrics.classification import measure

CLASSES = ("angry", "happy", "sad")


def drawn(n: int = 240) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, n)
    return labels, random.normal(size=(n, 3)) + np.eye(3)[labels]


def test_a_part_has_the_scores_of_its_rows_alone() -> None:
    labels, logits = drawn()
    values = np.array(["a"] * 100 + ["b"] * 140)
    first, second = slices(labels, logits, CLASSES, values.tolist())
    alone = measure(labels[:100], logits[:100], CLASSES)
    assert first == {
        "slice": "a",
        "n": 100,
        "accuracy": alone["accuracy"],
        "balanced_accuracy": alone["balanced_accuracy"],
        "interval": {name: alone["interval"][name] for name in ("accuracy", "balanced_accuracy")},
    }
    assert (second["slice"], second["n"]) == ("b", 140)


def test_parts_below_the_minimum_show_only_how_many_rows_they_have() -> None:
    labels, logits = drawn()
    values = ["few"] * (MINIMUM - 1) + ["enough"] * MINIMUM + ["rest"] * (240 - 2 * MINIMUM + 1)
    found = {part["slice"]: part for part in slices(labels, logits, CLASSES, values)}
    assert MINIMUM == 30
    assert found["few"] == {
        "slice": "few",
        "n": 29,
        "accuracy": None,
        "balanced_accuracy": None,
        "interval": None,
    }
    assert found["enough"]["n"] == 30
    assert found["enough"]["accuracy"] is not None


def test_numbers_with_many_values_become_quarters_and_missing_ones_a_part_of_their_own() -> None:
    labels, logits = drawn()
    values: list[float | None] = [float(i) for i in range(200)] + [float("nan")] * 15 + [None] * 25
    found = [(part["slice"], part["n"]) for part in slices(labels, logits, CLASSES, values)]
    assert found == [("0 to 49", 50), ("50 to 99", 50), ("100 to 149", 50), ("150 to 199", 50), ("missing", 40)]


def test_a_number_that_half_of_the_rows_have_is_not_cut_in_two() -> None:
    labels, logits = drawn()
    values = np.concatenate([np.linspace(0.1, 0.9, 80), np.ones(160)])
    found = [(part["slice"], part["n"]) for part in slices(labels, logits, CLASSES, values.tolist())]
    assert found == [("0.1 to 0.6975", 60), ("0.7076 to 1", 180)]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, False, True], ["False", "True"]),
        ([10, 9, 10], ["9", "10"]),
        ([1 / 3, 0.25, None], ["0.25", "0.3333", "missing"]),
        (["test", "train", "test"], ["test", "train"]),
        ([None, None, None], ["missing"]),
    ],
)
def test_few_values_name_their_parts_in_order(values: list[object], names: list[str]) -> None:
    labels, logits = drawn(3)
    assert [part["slice"] for part in slices(labels, logits, CLASSES, values)] == names


def test_the_accuracy_of_a_class_is_its_recall_with_wilsons_interval() -> None:
    labels, logits = drawn()
    found = by_class(labels, logits, CLASSES)
    assert [part["slice"] for part in found] == list(CLASSES)
    for label, part in enumerate(found):
        right = int((logits[labels == label].argmax(axis=1) == label).sum())
        assert part["accuracy"] == right / part["n"]
        assert part["interval"]["accuracy"] == list(wilson(right, part["n"]))
    assert [part["slice"] for part in by_class(labels[labels > 0], logits[labels > 0], CLASSES)] == ["happy", "sad"]


@settings(deadline=None, max_examples=30)
@given(
    st.one_of(
        st.lists(st.none() | st.floats(allow_infinity=False), min_size=1, max_size=60),
        st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1, max_size=60),
        st.lists(st.none() | st.text("ab", max_size=2), min_size=1, max_size=60),
        st.lists(st.none() | st.booleans(), min_size=1, max_size=60),
    )
)
def test_every_row_is_in_one_part_whatever_the_values(values: list[object]) -> None:
    labels, logits = drawn(len(values))
    found = slices(labels, logits, CLASSES, values)
    assert sum(part["n"] for part in found) == len(values)
    assert len({part["slice"] for part in found}) == len(found)


def test_a_value_for_each_row_or_none_at_all() -> None:
    labels, logits = drawn(3)
    with pytest.raises(ValueError, match="2 values for 3 labels"):
        slices(labels, logits, CLASSES, ["a", "b"])
