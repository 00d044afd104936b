"""Which rows have which role."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.dataset import Dataset, open_dataset, write_dataset
from mien.errors import MienError
from mien.images import encode_png
from mien.labels import FER2013
from mien.protocols import Part, Roles, folder, official, overlap, paper_2021, splits, stratified
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
        "protocol: data set 'rows' has no split 'lefd'; expected one of left. Did you mean 'left'?"
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


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve rows of three splits with six pictures among them."""
    workspace = Workspace(tmp_path_factory.mktemp("copied"))
    return pictures(workspace, a=[0, 1, 2, 3, 3], b=[4, 0, 5, 4], c=[2, 2, 5])


def naive(dataset: Dataset, fitted: Roles, parts: tuple[Part, ...]) -> tuple[list[bool], list[bool]]:
    """For each row of some parts: whether it is a fit row; whether its picture stands in fit or choose."""

    def places(of: tuple[Part, ...]) -> list[tuple[str, int]]:
        whole = {split: range(dataset.rows(split)) for split in dataset.card.splits}
        return [
            (part.split, int(row)) for part in of for row in (whole[part.split] if part.index is None else part.index)
        ]

    bytes_of = {(split, row): image for split in "abc" for row, image in enumerate(dataset.images(split))}
    known = {bytes_of[place] for place in places((*fitted.fit, *fitted.choose))}
    fit = set(places(fitted.fit))
    return [place in fit for place in places(parts)], [bytes_of[place] in known for place in places(parts)]


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


@settings(deadline=None, max_examples=100)
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
        return np.clip(128 + 30 * np.asarray(waves), 0, 255).astype(np.uint8)

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
