"""Which rows have which role."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.audit import audit, read_flags
from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.errors import FailedError, MienError
from mien.images import decode, encode_png
from mien.protocols import ROLES, Part, Role, Roles, check_roles, folds, overlap, role_ids, without
from mien.protocols.named import (
    folder,
    grouped,
    k_fold,
    leave_one_subject_out,
    official,
    paper_2021,
    splits,
    stratified,
)
from mien.registry import build, entry, load_plugins
from mien.workspace import Workspace


def picture(seed: int, side: int = 8) -> np.ndarray:
    """A picture like no other."""
    return np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)


def rows(workspace: Workspace, **counts: int) -> Dataset:
    """A data set with so many rows of each split, the classes in turn, no two alike."""
    number = 0
    with write_dataset(workspace, "rows", FER2013, source="", format="test") as writer:
        for split, count in counts.items():
            for index in range(count):
                writer.add(split, f"{split}{index}", encode_png(picture(number)), index % 7, size=(8, 8))
                number += 1
    return open_dataset(workspace, "rows")


def pictures(workspace: Workspace, name: str = "pictures", **splits: list[int]) -> Dataset:
    """A data set with the pictures of these numbers in each split."""
    with write_dataset(workspace, name, FER2013, source="", format="test") as writer:
        for split, numbers in splits.items():
            for index, number in enumerate(numbers):
                writer.add(split, f"{split}{index}", encode_png(picture(number)), index % 7, size=(8, 8))
    return open_dataset(workspace, name)


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "PublicTest", "PrivateTest"),
        ("train", "validation", "test"),
        ("train", "valid", "test"),
        ("train", "val", "test"),
        ("Train", "Validation", "Test"),
        ("TRAINING", "publictest", "PrivateTest"),
    ],
)
def test_official_is_the_data_set_s_own_three(workspace: Workspace, names: tuple[str, str, str]) -> None:
    dataset = rows(workspace, **dict.fromkeys(reversed(names), 7), other=7)
    roles = official(dataset)
    assert roles == Roles(*((Part(name),) for name in names))
    assert [roles.of(role) for role in ("fit", "choose", "report")] == [(Part(name),) for name in names]


def test_official_takes_nothing_else(workspace: Workspace) -> None:
    with pytest.raises(MienError) as error:
        official(rows(workspace, train=7, test=7))
    assert str(error.value) == (
        "protocol: data set 'rows' has no three splits of its own, only train, test; "
        "expected protocol 'folder' for train and test alone, or 'splits' to name them"
    )


def test_paper_2021_reports_what_it_was_fit_on(workspace: Workspace) -> None:
    dataset = rows(workspace, Training=28, PublicTest=7, PrivateTest=14)
    roles = paper_2021(dataset)
    assert roles == Roles((Part("Training"),), (Part("PublicTest"),), (Part("Training"), Part("PrivateTest")))
    found = overlap(dataset, roles, roles.report)
    assert (found.rows, found.exact, found.contaminated) == (28 / 42, 28 / 42, 28 / 42)


def test_paper_2021_needs_fer2013_s_splits(workspace: Workspace) -> None:
    with pytest.raises(MienError, match="data set 'rows' has no split 'PrivateTest'; expected one of Training, Public"):
        paper_2021(rows(workspace, Training=7, PublicTest=7))


def test_splits_are_those_named(workspace: Workspace) -> None:
    dataset = rows(workspace, a=7, b=14, c=7)
    roles = splits(dataset, fit=["a", "b"], choose=["c"], report=["b", "c"])
    assert roles == Roles((Part("a"), Part("b")), (Part("c"),), (Part("b"), Part("c")))
    with pytest.raises(MienError) as error:
        splits(rows(Workspace(workspace.root / "two"), left=7), fit=["left"], choose=["lefd"], report=["left"])
    assert str(error.value) == (
        "protocol.choose.0: data set 'rows' has no split 'lefd'; expected one of left. Did you mean 'left'?"
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31 - 1), st.floats(0.01, 0.99), st.none() | st.just("subject"))
def test_splits_draw_a_choose_role_that_none_names(people: Dataset, seed: int, share: float, group: str | None) -> None:
    roles = splits(people, fit=["a", "b", "a"], report=["c"], share=share, seed=seed, group=group)
    assert roles.report == (Part("c"),)
    found = divided(people, Roles(roles.fit, roles.choose, (Part("c", np.arange(3)),)), "abc")
    again = splits(people, fit=["a", "b"], report=["c"], share=share, seed=seed, group=group)
    assert in_role(people, again, "choose") == in_role(people, roles, "choose")
    if group is not None:
        persons = [{PEOPLE[split][row] for split, row in found[role]} for role in ("fit", "choose")]
        assert not persons[0] & persons[1]
    else:
        labels = np.concatenate([people.labels("a"), people.labels("b")])
        ends = {"a": 0, "b": people.rows("a")}
        drawn = sorted(ends[split] + row for split, row in found["choose"])
        assert drawn == stratified(labels, share, seed).tolist()


def test_splits_draw_a_tenth_unless_told(workspace: Workspace) -> None:
    dataset = rows(workspace, a=140, b=70, c=7)
    roles = splits(dataset, fit=["a", "b"], report=["c"])
    labels = {split: dataset.labels(split) for split in dataset.card.splits}
    chosen = [labels[split][row] for split, row in in_role(dataset, roles, "choose")]
    assert np.bincount(chosen).tolist() == [3] * 7
    assert overlap(dataset, roles, roles.report).rows == 0
    # Roles of parts are saved row by row, the whole split isn't.
    assert set(role_ids(dataset, roles)["role"].to_pylist()) == {"fit", "choose"}


@pytest.mark.parametrize(
    ("counts", "parameters", "message"),
    [
        (
            {"a": 7, "b": 7},
            {"fit": ["a"], "report": ["b"]},
            "protocol: no part of a of data set 'rows' can be the choose role: its classes have one row each; "
            "expected 'choose' with a split",
        ),
        (
            {"a": 7, "b": 7},
            {"fit": ["a"], "choose": ["b"], "report": ["b"], "group": "person"},
            "protocol.group: 'group' says which rows stay together when the choose role is drawn, and 'choose' names "
            "it; expected one of the two",
        ),
        (
            {"a": 14, "b": 7},
            {"fit": ["a"], "report": ["b"], "group": "person"},
            "protocol.group: data set 'rows' has no column 'person'; expected a data set with such a column",
        ),
    ],
)
def test_splits_that_leave_no_choose_role(
    workspace: Workspace, counts: dict[str, int], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(MienError) as error:
        splits(rows(workspace, **counts), **parameters)
    assert str(error.value) == message


def test_one_group_can_not_be_divided(workspace: Workspace) -> None:
    with write_dataset(workspace, "one", FER2013, source="", format="test", columns={"who": pa.string()}) as writer:
        for index in range(6):
            writer.add("train", str(index), encode_png(picture(index)), 0, size=(8, 8), who="same")
    with pytest.raises(MienError) as error:
        splits(open_dataset(workspace, "one"), fit=["train"], report=["train"], group="who")
    assert str(error.value) == (
        "protocol: no part of train of data set 'one' can be the choose role: its rows have one value of 'who'; "
        "expected 'choose' with a split"
    )


def test_folder_divides_train(workspace: Workspace) -> None:
    dataset = rows(workspace, train=140, test=21)
    roles = folder(dataset, share=0.2, seed=3)
    (fit,), (choose,), (report,) = roles.fit, roles.choose, roles.report
    assert (fit.split, choose.split, report) == ("train", "train", Part("test"))
    assert fit.index is not None
    assert choose.index is not None
    assert sorted([*fit.index, *choose.index]) == list(range(140))
    assert np.bincount(dataset.labels("train")[choose.index]).tolist() == [4] * 7
    assert choose.index.tolist() == stratified(dataset.labels("train"), 0.2, 3).tolist()
    found = overlap(dataset, roles, roles.report)
    assert (found.rows, found.exact, found.contaminated) == (0, 0, 0)
    other = folder(dataset, share=0.2, seed=4).choose[0].index
    assert other is not None
    assert other.tolist() != choose.index.tolist()


def test_folder_takes_nothing_else(workspace: Workspace) -> None:
    with pytest.raises(MienError) as error:
        folder(rows(workspace, train=7, val=7))
    assert str(error.value) == (
        "protocol: protocol 'folder' takes splits 'train' and 'test'; data set 'rows' has train, val"
    )


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 4)),
    st.floats(0.01, 0.99),
    st.integers(0, 2**31),
)
def test_stratified_draws_the_share_of_each_class(labels: np.ndarray, share: float, seed: int) -> None:
    drawn = stratified(labels, share, seed)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert drawn.tolist() == stratified(labels, share, seed).tolist()
    for label in np.unique(labels):
        number, of = int((labels[drawn] == label).sum()), int((labels == label).sum())
        # Within a row of the share, and a class of two or more has rows on both sides.
        assert abs(number - share * of) <= 1
        assert of == 1 or 0 < number < of


def in_role(dataset: Dataset, roles: Roles, role: Role) -> list[tuple[str, int]]:
    """Split and place of each row of a role."""
    whole = {split: range(dataset.rows(split)) for split in dataset.card.splits}
    parts = roles.of(role)
    return [
        (part.split, int(row)) for part in parts for row in (whole[part.split] if part.index is None else part.index)
    ]


def divided(dataset: Dataset, roles: Roles, names: Iterable[str]) -> dict[Role, set[tuple[str, int]]]:
    """The rows of each role; checks that each row of some splits has one role, and each part its rows in order."""
    found = {role: in_role(dataset, roles, role) for role in ROLES}
    assert sorted(row for of in found.values() for row in of) == [
        (name, row) for name in sorted(names) for row in range(dataset.rows(name))
    ]
    assert all(found.values())
    for part in (*roles.fit, *roles.choose, *roles.report):
        assert part.index is not None
        assert part.index.dtype == np.int64
        assert part.index.tolist() == sorted(part.index.tolist())
    return {role: set(rows) for role, rows in found.items()}


PEOPLE = {"a": [0, 1, 2, 3, 0, 1, 2, 3, 0, 0] * 3, "b": [4, 5, 6, 7, 7, 2] * 3, "c": [8, 8, 9]}


def crowd(workspace: Workspace) -> Dataset:
    """Rows of ten people, some of them in two splits."""
    columns = {"subject": pa.string(), "age": pa.int16(), "points": pa.list_(pa.float32(), 2)}
    number = 0
    extra: Any
    with write_dataset(workspace, "crowd", FER2013, source="", format="test", columns=columns) as writer:
        for split, people in PEOPLE.items():
            for index, person in enumerate(people):
                extra = {"subject": f"P{person}", "age": None if split == "c" else 20, "points": [0, 0]}
                image = encode_png(picture(number, 32))
                writer.add(split, f"{split}{index}", image, number % 7, size=(32, 32), **extra)
                number += 1
    return open_dataset(workspace, "crowd")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The crowd, once for all tests that only read it."""
    return crowd(Workspace(tmp_path_factory.mktemp("people")))


@settings(deadline=None, max_examples=15)
@given(
    st.integers(2, 6),
    st.integers(0, 2**31 - 1),
    st.floats(0.01, 0.99),
    st.none() | st.lists(st.sampled_from("ab"), min_size=1),
    st.none() | st.just("subject"),
)
def test_every_row_is_reported_on_in_one_fold(
    people: Dataset, number: int, seed: int, share: float, names: list[str] | None, group: str | None
) -> None:
    if group is not None:
        number = min(number, 3)
    reported: list[tuple[str, int]] = []
    for fold in range(number):
        roles = k_fold(people, folds=number, fold=fold, seed=seed, share=share, splits=names, group=group)
        rows = divided(people, roles, set(names or "abc"))
        reported += rows["report"]
        again = k_fold(people, folds=number, fold=fold, seed=seed, share=share, splits=names, group=group)
        assert divided(people, again, set(names or "abc")) == rows
        if group is not None:
            persons = [{PEOPLE[split][row] for split, row in of} for of in rows.values()]
            assert sum(map(len, persons)) == len(set.union(*persons))
    assert len(reported) == len(set(reported)) == sum(people.rows(name) for name in set(names or "abc"))


def test_folds_have_the_same_classes(workspace: Workspace) -> None:
    dataset = rows(workspace, train=140, test=70)
    labels = {split: dataset.labels(split) for split in dataset.card.splits}
    for fold in range(5):
        found = divided(dataset, k_fold(dataset, fold=fold), labels)
        counts = {role: np.bincount([labels[split][row] for split, row in of]) for role, of in found.items()}
        # 210 rows: 42 in a fold, then a tenth of the other 168, class by class.
        assert {role: count.tolist() for role, count in counts.items()} == {
            "fit": [22] * 7,
            "choose": [2] * 7,
            "report": [6] * 7,
        }
    others = [in_role(dataset, k_fold(dataset, seed=seed), "report") for seed in (0, 1)]
    assert others[0] != others[1]


def test_rare_classes_are_divided_as_far_as_they_go(workspace: Workspace) -> None:
    few = pictures(workspace, train=list(range(14)))  # Two rows of each class for five folds.
    found = [divided(few, k_fold(few, fold=fold), ["train"])["report"] for fold in range(5)]
    assert sorted(row for of in found for row in of) == [("train", row) for row in range(14)]
    # Three of most classes, two of the last, for three folds.
    uneven = pictures(workspace, "uneven", train=list(range(19)), test=[19])
    found = [divided(uneven, k_fold(uneven, folds=3, fold=fold), ["train", "test"])["report"] for fold in range(3)]
    assert sorted(row for of in found for row in of) == [("test", 0), *(("train", row) for row in range(19))]


def test_folds_that_leave_a_role_nothing(workspace: Workspace) -> None:
    def message(dataset: Dataset, fold: int, group: str | None) -> str:
        with pytest.raises(MienError) as error:
            k_fold(dataset, folds=2, fold=fold, group=group)
        return str(error.value)

    single = pictures(workspace, train=list(range(7)))
    assert message(single, 0, None) == (
        "protocol.folds: the 7 rows of data set 'pictures' leave the choose role no rows in fold 0; "
        "expected more rows for each fold"
    )
    with write_dataset(workspace, "three", FER2013, source="", format="test", columns={"who": pa.int64()}) as writer:
        for index in range(9):
            writer.add("train", str(index), encode_png(picture(index)), 0, size=(8, 8), who=index % 3)
    three = open_dataset(workspace, "three")
    persons = [len({row % 3 for _, row in in_role(three, k_fold(three, folds=2, fold=1, group="who"), "report")})]
    assert persons == [1]
    assert message(three, 0, "who") == (
        "protocol.folds: the 3 values of 'who' of data set 'three' leave the fit role no rows in fold 0; "
        "expected more values of 'who' for each fold"
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fold": 5}, "protocol.fold: there is no fold 5 of 5; expected 0 to 4, the first is 0"),
        (
            {"folds": 51},
            "protocol.folds: data set 'crowd' has 51 rows for 51 folds; expected fewer folds than rows",
        ),
        (
            {"folds": 10, "group": "subject"},
            "protocol.folds: data set 'crowd' has 10 values of 'subject' for 10 folds; "
            "expected fewer folds than values of 'subject'",
        ),
        (
            {"group": "subjekt"},
            "protocol.group: data set 'crowd' has no column 'subjekt'; expected one of subject, age, points. "
            "Did you mean 'subject'?",
        ),
        (
            {"group": "age"},
            "protocol.group: column 'age' of data set 'crowd' is empty in 3 rows; expected a value in each row",
        ),
        ({"group": "points"}, "protocol.group: column 'points' holds lists; expected a column of names or numbers"),
        (
            {"splits": ["a", "d"]},
            "protocol.splits.1: data set 'crowd' has no split 'd'; expected one of a, b, c",
        ),
    ],
)
def test_folds_that_can_not_be_made(people: Dataset, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(MienError) as error:
        k_fold(people, **parameters)
    assert str(error.value) == message


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31 - 1), st.floats(0.01, 0.99))
def test_one_subject_is_left_out(people: Dataset, seed: int, share: float) -> None:
    for fold in range(10):
        roles = leave_one_subject_out(people, fold=fold, seed=seed, share=share)
        found = divided(people, roles, PEOPLE)
        persons = {role: {PEOPLE[split][row] for split, row in of} for role, of in found.items()}
        assert persons["report"] == {fold}
        assert not persons["fit"] & persons["choose"]


def test_subjects_that_choose_are_about_the_share(people: Dataset) -> None:
    found = divided(people, leave_one_subject_out(people, share=0.3, fold=9), PEOPLE)
    # 50 rows are left; no person has more than 12.
    assert abs(len(found["choose"]) - 15) <= 6
    drawn = {
        frozenset(
            PEOPLE[split][row] for split, row in in_role(people, leave_one_subject_out(people, seed=seed), "choose")
        )
        for seed in range(20)
    }
    assert len(drawn) > 3


@settings(deadline=None, max_examples=60)
@given(arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 6)), st.floats(0.01, 0.99), st.integers(0, 99))
def test_groups_are_drawn_whole(groups: np.ndarray, share: float, seed: int) -> None:
    drawn = grouped(groups, share, seed)
    rest = np.setdiff1d(np.arange(len(groups)), drawn)
    assert not set(groups[drawn]) & set(groups[rest])
    assert len(drawn) > 0
    assert len(rest) > 0 or len(set(groups)) == 1
    # One group more or less is never nearer, unless a side would be empty.
    largest = np.bincount(groups).max()
    assert abs(len(drawn) - share * len(groups)) <= largest


def test_subjects_that_can_not_be_left_out(people: Dataset, workspace: Workspace) -> None:
    def message(**parameters: Any) -> str:
        with pytest.raises(MienError) as error:
            leave_one_subject_out(people, **parameters)
        return str(error.value)

    assert message(fold=10) == (
        "protocol.fold: there is no fold 10: data set 'crowd' has 10 subjects; expected 0 to 9, the first is 0"
    )
    assert message(column="subjects") == (
        "protocol.column: data set 'crowd' has no column 'subjects'; expected one of subject, age, points. "
        "Did you mean 'subject'?"
    )
    with pytest.raises(MienError) as error:
        leave_one_subject_out(rows(workspace, train=7))
    assert str(error.value) == (
        "protocol.column: data set 'rows' has no column 'subject'; expected a data set with such a column"
    )
    with write_dataset(workspace, "two", FER2013, source="", format="test", columns={"subject": pa.int64()}) as writer:
        for index in range(6):
            writer.add("train", str(index), encode_png(picture(index)), 0, size=(8, 8), subject=index % 2)
    with pytest.raises(MienError) as error:
        leave_one_subject_out(open_dataset(workspace, "two"))
    assert str(error.value) == (
        "protocol.column: column 'subject' of data set 'two' has 2 subjects; expected 3 or more, one for each role"
    )


def test_the_number_of_folds(people: Dataset) -> None:
    assert folds(entry("protocol", "k-fold").spec(), people) == 5
    assert folds(entry("protocol", "k-fold").spec(folds=7), people) == 7  # type: ignore[call-arg]
    assert folds(entry("protocol", "leave-one-subject-out").spec(), people) == 10
    with pytest.raises(MienError) as error:
        folds(entry("protocol", "official").spec(), people)
    assert str(error.value) == ("protocol: protocol 'official' has no folds; expected k-fold or leave-one-subject-out")


PLUGIN = """
import numpy as np
from mien.protocols import Part, Roles, folded
from mien.registry import register

@register("protocol", "by-split")
@folded(lambda dataset, spare, **_: len(dataset.card.splits) - spare)
def by_split(dataset, *, spare: int = 1, fold: int = 0) -> Roles:
    names = list(dataset.card.splits)
    return Roles((Part(names[fold - 1]),), (Part(names[fold - 1]),), (Part(names[fold]),))
"""


def test_a_plugin_s_protocol_has_folds(people: Dataset, tmp_path: Path) -> None:
    (tmp_path / "by_split.py").write_text(PLUGIN)
    load_plugins([tmp_path / "by_split.py"])
    splits = list(people.card.splits)
    assert folds(entry("protocol", "by-split").spec(), people) == len(splits) - 1
    assert folds(entry("protocol", "by-split").spec(spare=0), people) == len(splits)  # type: ignore[call-arg]
    built = build("protocol", entry("protocol", "by-split").spec(fold=1), dataset=people)  # type: ignore[call-arg]
    assert built.report == (Part(splits[1]),)
    with pytest.raises(MienError) as error:
        folds(entry("protocol", "official").spec(), people)
    assert str(error.value) == (
        "protocol: protocol 'official' has no folds; expected by-split or k-fold or leave-one-subject-out"
    )
    load_plugins([])


def test_rows_of_parts_of_splits_are_told_by_id(workspace: Workspace) -> None:
    dataset = rows(workspace, train=28, test=7)
    roles = folder(dataset, share=0.25)
    saved = role_ids(dataset, roles)
    assert saved.column_names == ["split", "id", "role"]
    fit, choose = roles.fit[0].index, roles.choose[0].index
    assert fit is not None
    assert choose is not None
    assert [tuple(row.values()) for row in saved.to_pylist()] == [
        *(("train", f"train{row}", "fit") for row in fit),
        *(("train", f"train{row}", "choose") for row in choose),
    ]
    check_roles(dataset, folder(dataset, share=0.25), saved)
    other = folder(dataset, share=0.25, seed=1)
    gone = len({*fit} - {*np.asarray(other.fit[0].index)})
    assert gone > 0
    with pytest.raises(FailedError) as error:
        check_roles(dataset, other, saved)
    assert str(error.value) == (
        f"the fit role isn't the one that was saved: {gone} of its rows are gone, {gone} are new; "
        "expected the same audit of the data set, and the same version of scikit-learn"
    )


def test_whole_splits_are_told_by_name(tiny: Dataset) -> None:
    roles = official(tiny)
    for shard in tiny.folder.glob("*.parquet"):
        shard.unlink()
    saved = role_ids(tiny, roles)
    assert (len(saved), saved.column_names) == (0, ["split", "id", "role"])
    check_roles(tiny, roles, saved)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three splits with copies within and across them, a blank and a broken picture, and an audit."""
    blank, broken = encode_png(np.full((32, 32), 9, np.uint8)), b"no picture"
    held: dict[str, list[Any]] = {
        "train": [1, 2, 2, 3, blank, 4, 5, 6, blank, broken],
        "val": [1, 11, 12, blank],
        "test": [2, 21, broken, 3],
    }
    workspace = Workspace(tmp_path_factory.mktemp("audited"))
    with write_dataset(workspace, "mixed", FER2013, source="", format="test") as writer:
        for split, images in held.items():
            for index, image in enumerate(images):
                data = encode_png(picture(image, 32)) if isinstance(image, int) else image
                writer.add(split, f"{split}{index}", data, index % 7, size=(32, 32))
    dataset = open_dataset(workspace, "mixed")
    audit(dataset)
    return dataset


def test_rows_go_by_flag(audited: Dataset) -> None:
    roles = official(audited)
    left, counts = without(audited, roles, ["leaked", "blank"])
    fit, choose = left.fit[0].index, left.choose[0].index
    assert fit is not None
    assert choose is not None
    # Blank pictures are copies of each other too, and in two splits.
    assert (fit.tolist(), choose.tolist(), left.report) == ([5, 6, 7, 9], [1, 2], roles.report)
    assert counts == {
        "fit": {"leaked": 6, "blank": 2, "rows": 6},
        "choose": {"leaked": 2, "blank": 1, "rows": 2},
    }
    same, none = without(audited, roles, ["tiny"])
    assert same == roles
    assert none == {"fit": {"tiny": 0, "rows": 0}, "choose": {"tiny": 0, "rows": 0}}
    assert without(audited, roles, []) == (roles, {})


def test_a_set_made_from_an_audited_one_has_its_flags(audited: Dataset) -> None:
    workspace = Workspace(audited.folder.parent.parent)
    with write_dataset(workspace, "child", FER2013, source="", format="test", parent=audited.card) as writer:
        for split in audited.card.splits:
            for row, data in zip(audited.ids(split), audited.images(split), strict=True):
                # Smaller pictures, and two rows less.
                if row not in ("train1", "train9"):
                    small = decode(data, "gray")[8:, 8:] if data != b"no picture" else picture(99)
                    writer.add(split, row, encode_png(small), 0, size=(24, 24))
    child = open_dataset(workspace, "child")
    for flags in (["leaked"], ["near_leaked", "undecodable"]):
        of_child, of_parent = (without(of, official(of), flags)[0] for of in (child, audited))
        for role in ROLES:
            ids = [
                [of.ids(split)[row] for split, row in in_role(of, left, role)]
                for of, left in ((child, of_child), (audited, of_parent))
            ]
            assert ids[0] == [row for row in ids[1] if row not in ("train1", "train9")]


PLACES = st.sets(st.integers(0, 3), min_size=1).map(lambda rows: np.array(sorted(rows)))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["leaked", "duplicate", "blank", "undecodable", "near_leaked", "conflict"]), unique=True),
    st.permutations(["train", "val", "test"]),
    st.tuples(*[st.none() | PLACES] * 3),
)
def test_no_flag_touches_the_report_role(
    audited: Dataset, flags: list[str], names: list[str], places: tuple[Any, ...]
) -> None:
    roles = Roles(*((Part(name, index),) for name, index in zip(names, places, strict=True)))
    left, counts = without(audited, roles, flags)
    assert left.report is roles.report
    table = read_flags(audited)
    assert table is not None
    flagged = {(row["split"], row["id"]): [flag for flag in flags if row[flag]] for row in table.to_pylist()}
    for role in ROLES[:2]:
        before = [flagged[split, audited.ids(split)[row]] for split, row in in_role(audited, roles, role)]
        kept = [place for place, of in zip(in_role(audited, roles, role), before, strict=True) if not of]
        assert in_role(audited, left, role) == kept
        if flags:
            expected = {flag: sum(flag in of for of in before) for flag in flags}
            assert counts[role] == {**expected, "rows": len(before) - len(kept)}


def test_flags_that_can_not_be_read(workspace: Workspace) -> None:
    dataset = pictures(workspace, train=[1, 2], val=[1], test=[3])
    roles = official(dataset)

    def message(*flags: str) -> str:
        with pytest.raises(MienError) as error:
            without(dataset, roles, flags)
        return str(error.value)

    assert message("blank") == "exclude: data set 'pictures' has no audit; expected mien data audit pictures"
    audit(dataset, near=False)
    assert message("near_leaked") == (
        "exclude: the audit of data set 'pictures' looked for no near copies; "
        "expected mien data audit pictures, with near copies"
    )
    assert message("leakd").startswith("exclude: no flag is called 'leakd'; expected one of leaked, near_leaked, ")
    assert message("leakd").endswith(". Did you mean 'leaked'?")
    assert without(dataset, roles, ["leaked"])[1]["fit"] == {"leaked": 1, "rows": 1}


def test_rows_that_a_csv_lists_are_left_out_of_fit_and_choose(workspace: Workspace) -> None:
    dataset = pictures(workspace, train=[1, 2, 5, 6], val=[1, 7], test=[3])
    ids = {split: dataset.ids(split) for split in ("train", "val", "test")}
    given = {split: [dataset.card.classes[label] for label in dataset.labels(split)] for split in ids}
    rows = [("train", 1, "yes"), ("train", 2, "no"), ("train", 3, ""), ("val", 1, "yes"), ("test", 0, "yes")]
    other = {name: next(one for one in dataset.card.classes if one != name) for name in dataset.card.classes}
    lines = [f"{s},{ids[s][row]},{given[s][row]},{other[given[s][row]]},{says}" for s, row, says in rows]
    file = workspace.root / "suspects" / "list.csv"
    file.parent.mkdir()
    file.write_text("\n".join(["split,id,given,suggested,apply", *lines]))
    roles = official(dataset)
    left, counts = without(dataset, roles, ["suspects/list.csv"])
    assert in_role(dataset, left, "fit") == [("train", 0), ("train", 2)]
    assert in_role(dataset, left, "choose") == [("val", 0)]
    assert left.report == roles.report
    assert counts == {"fit": {"suspects/list.csv": 2, "rows": 2}, "choose": {"suspects/list.csv": 1, "rows": 1}}
    # With an audit's flags: a row that has both is one row.
    audit(dataset, near=False)
    left, counts = without(dataset, roles, ["leaked", "suspects/list.csv"])
    assert in_role(dataset, left, "fit") == [("train", 2)]
    assert counts["fit"] == {"leaked": 1, "suspects/list.csv": 2, "rows": 3}

    file.write_text(f"split,id,given,suggested\ntrain,nobody,{given['train'][0]},\n")
    with pytest.raises(MienError) as error:
        without(dataset, roles, ["suspects/list.csv"])
    assert str(error.value) == f"{file}:2: id: data set 'pictures' has no row 'nobody' in train"
    with pytest.raises(MienError) as error:
        without(dataset, roles, ["suspects/none.csv"])
    assert str(error.value) == (
        f"exclude: there is no file '{file.with_name('none.csv')}'; "
        "expected a CSV that mien suspects wrote, by its path from the workspace"
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve rows of three splits with six pictures among them."""
    workspace = Workspace(tmp_path_factory.mktemp("copied"))
    return pictures(workspace, a=[0, 1, 2, 3, 3], b=[4, 0, 5, 4], c=[2, 2, 5])


def naive(dataset: Dataset, fitted: Roles, parts: tuple[Part, ...]) -> tuple[list[bool], list[bool]]:
    """For each row of some parts: whether it is a fit row; whether its picture stands in fit or choose."""

    bytes_of = {(split, row): image for split in "abc" for row, image in enumerate(dataset.images(split))}
    fit, choose = in_role(dataset, fitted, "fit"), in_role(dataset, fitted, "choose")
    known = {bytes_of[place] for place in (*fit, *choose)}
    report = in_role(dataset, Roles((), (), parts), "report")
    return [place in fit for place in report], [bytes_of[place] in known for place in report]


PARTS = st.lists(
    st.sampled_from([("a", 5), ("b", 4), ("c", 3)]).flatmap(
        lambda of: st.builds(
            Part,
            st.just(of[0]),
            st.none() | st.sets(st.integers(0, of[1] - 1), min_size=1).map(lambda rows: np.array(sorted(rows))),
        )
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda part: part.split,
).map(tuple)


@settings(deadline=None, max_examples=50)
@given(PARTS, PARTS, PARTS)
def test_overlap_is_counted_row_by_row(
    copied: Dataset, fit: tuple[Part, ...], choose: tuple[Part, ...], report: tuple[Part, ...]
) -> None:
    roles = Roles(fit, choose, report)
    found = overlap(copied, roles, report)
    fit_rows, seen = naive(copied, roles, report)
    assert found.rows == sum(fit_rows) / len(fit_rows)
    assert found.exact == sum(seen) / len(seen)
    assert found.contaminated == (found.exact if found.exact - found.rows > 0.2 else found.rows)
    assert [len(mask) for mask in found.exact_rows] == [copied.rows(part.split) for part in report]
    own = [
        mask if part.index is None else mask[part.index] for mask, part in zip(found.exact_rows, report, strict=True)
    ]
    assert np.concatenate(own).tolist() == seen


def test_a_few_copies_contaminate_nothing(workspace: Workspace) -> None:
    dataset = pictures(workspace, a=list(range(10)), b=[20, 21], c=[0, 20, *range(30, 38)], d=[0, 20, 1, 40, 41])
    roles = Roles((Part("a"),), (Part("b"),), (Part("c"),))
    few = overlap(dataset, roles, roles.report)
    assert (few.rows, few.exact, few.contaminated) == (0, 0.2, 0)
    assert few.exact_rows[0].tolist() == [True, True, *[False] * 8]
    many = overlap(dataset, roles, (Part("d"),))
    assert (many.rows, many.exact, many.contaminated) == (0, 0.6, 0.6)
    assert overlap(dataset, roles, (Part("d", np.array([0, 3, 4])),)).exact == 1 / 3
    # To choose by what is reported is no better than to fit on it.
    chosen = overlap(dataset, roles, roles.choose)
    assert (chosen.rows, chosen.exact, chosen.contaminated) == (0, 1, 1)


def test_near_copies_are_counted_where_they_were_looked_for(workspace: Workspace) -> None:
    y, x = np.mgrid[0:48, 0:48]
    random = np.random.default_rng(0)

    def face() -> np.ndarray:
        waves = sum(
            random.normal() * np.sin(random.uniform(0.1, 0.8) * x + random.uniform(0.1, 0.8) * y) for _ in "1234567"
        )
        return np.asarray(np.clip(128 + 30 * np.asarray(waves), 0, 255), np.uint8)

    faces = [face() for _ in range(6)]
    held = {
        "train": faces[:3],
        "val": faces[3:4],
        "test": [faces[0], faces[1][:, ::-1], faces[3] // 2 + 40, *faces[4:]],
    }
    with write_dataset(workspace, "faces", FER2013, source="", format="test") as writer:
        for split, images in held.items():
            for index, image in enumerate(images):
                writer.add(split, f"{split}{index}", encode_png(np.ascontiguousarray(image)), 0, size=(48, 48))
    dataset = open_dataset(workspace, "faces")
    roles = official(dataset)
    found = overlap(dataset, roles, roles.report)
    assert found.near_rows is not None
    assert (found.rows, found.exact, found.near, found.contaminated) == (0, 0.2, 0.6, 0)
    assert found.exact_rows[0].tolist() == [True, False, False, False, False]
    assert found.near_rows[0].tolist() == [True, True, True, False, False]


def test_another_data_set_is_compared_by_its_pixels(workspace: Workspace) -> None:
    dataset = pictures(workspace, a=[0, 1, 2], b=[3], c=[4])
    other = pictures(workspace, "other", a=[7, 8, 9, 0], c=[3, 4, 4, 2])
    roles = Roles((Part("a", np.array([0, 1])),), (Part("b"),), (Part("c"),))
    found = overlap(dataset, roles, (Part("a"), Part("c", np.array([1, 2, 3]))), other)
    assert (found.rows, found.exact, found.near, found.near_rows, found.contaminated) == (0, 1 / 7, None, None, 0)
    assert [mask.tolist() for mask in found.exact_rows] == [[False, False, False, True], [True, False, False, False]]
    # The same data set under another name is the same.
    twin = pictures(Workspace(workspace.root / "two"), "other", a=[0, 1, 2], b=[3], c=[4])
    assert overlap(dataset, roles, (Part("a"),), twin).rows == 2 / 3


def test_sets_made_from_one_another_share_their_rows(workspace: Workspace) -> None:
    whole = pictures(workspace, a=[0, 1, 2, 3], b=[10, 11], c=[0, 20, 10, 21])

    def crop(name: str, drop: str) -> Dataset:
        side = 6 if name == "faces" else 4
        held = {split: list(zip(whole.ids(split), whole.images(split), strict=True)) for split in whole.card.splits}
        with write_dataset(workspace, name, FER2013, source="", format="test", parent=whole.card) as writer:
            for split, images in held.items():
                for number, (row, data) in enumerate(images):
                    if row != drop:
                        # So cut that no copy has the same pixels.
                        pixels = decode(data, "gray")[:side, :side] ^ np.uint8(number)
                        writer.add(split, row, encode_png(pixels), 0, size=(side, side))
        return open_dataset(workspace, name)

    faces, mouths = crop("faces", "a1"), crop("mouths", "c1")
    assert [row[:2] for row in (faces.ids("a"), mouths.ids("c"))] == [["a0", "a2"], ["c0", "c2"]]
    parts = (Part("a"), Part("c"))
    # Of a: all but a1 in faces; of c: c0 is a copy of a0, c2 of b0.
    for trained, measured, fit, exact in (
        (whole, faces, [True] * 3, [True, False, True, False]),
        (whole, mouths, [True] * 4, [True, True, False]),
        (faces, whole, [True, False, True, True], [True, False, True, False]),
        (faces, mouths, [True, False, True, True], [True, True, False]),
    ):
        found = overlap(trained, official_of(trained), parts, measured)
        assert [mask.tolist() for mask in found.exact_rows] == [fit, exact]
        assert found.rows == sum(fit) / (len(fit) + len(exact))
        assert found.exact == (sum(fit) + sum(exact)) / (len(fit) + len(exact))
        assert (found.contaminated, found.near) == (found.rows if found.exact - found.rows < 0.2 else found.exact, None)
    stranger = pictures(workspace, "stranger", a=[100, 101], b=[102], c=[103])
    assert overlap(stranger, official_of(stranger), parts, faces).exact == 0


def official_of(dataset: Dataset) -> Roles:
    return splits(dataset, fit=["a"], choose=["b"], report=["c"])


def test_overlap_of_real_faces(workspace: Workspace, real_data: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(real_data / "fer2013/fer2013.parquet")
    usage = np.array(table["usage"].to_pylist())
    takes = {"Training": 1200, "PublicTest": 150, "PrivateTest": 150}
    held: dict[str, list[bytes]] = {}
    with write_dataset(workspace, "part", FER2013, source="", format="test") as writer:
        for split, number in takes.items():
            part = table.take(np.flatnonzero(usage == split)[:number])
            held[split] = part["image"].to_pylist()
            for index, image in enumerate(held[split]):
                writer.add(split, f"{split}{index}", image, 0, size=(48, 48))
    dataset = open_dataset(workspace, "part")
    for roles in (official(dataset), paper_2021(dataset)):
        found = overlap(dataset, roles, roles.report)
        seen = {image for part in (*roles.fit, *roles.choose) for image in held[part.split]}
        copies = [image in seen for part in roles.report for image in held[part.split]]
        assert np.concatenate(found.exact_rows).tolist() == copies
        assert found.contaminated == found.rows == (1200 / 1350 if len(roles.report) == 2 else 0)
        assert found.near is not None
        assert found.near >= found.exact == sum(copies) / len(copies)
