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
from mien.protocols import Part, Roles, contamination, folder, official, paper_2021, splits, stratified
from mien.workspace import Workspace

PIXEL = encode_png(np.zeros((8, 8), np.uint8))


def rows(workspace: Workspace, **counts: int) -> Dataset:
    """A data set with so many rows of each split, the classes in turn."""
    with write_dataset(workspace, "rows", FER2013, source="", format="test") as writer:
        for split, count in counts.items():
            for index in range(count):
                writer.add(split, f"{split}{index}", PIXEL, index % 7, size=(8, 8))
    return open_dataset(workspace, "rows")


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
    assert contamination(dataset, roles) == 0


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
    assert contamination(dataset, roles) == pytest.approx(28 / 42)


def test_paper_2021_needs_fer2013_s_splits(workspace: Workspace) -> None:
    with pytest.raises(MienError, match="data set 'rows' has no split 'PrivateTest'; expected one of Training, Public"):
        paper_2021(rows(workspace, Training=7, PublicTest=7))


def test_splits_are_those_named(workspace: Workspace) -> None:
    dataset = rows(workspace, a=7, b=14, c=7)
    roles = splits(dataset, fit=["a", "b"], choose=["c"], report=["b", "c"])
    assert roles == Roles((Part("a"), Part("b")), (Part("c"),), (Part("b"), Part("c")))
    assert contamination(dataset, roles) == pytest.approx(14 / 21)
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
    assert contamination(dataset, roles) == 0
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


def test_contamination_is_counted_by_row(workspace: Workspace) -> None:
    dataset = rows(workspace, a=10, b=10)
    roles = Roles((Part("a", np.array([0, 1, 2])),), (Part("b"),), (Part("a", np.array([2, 3])), Part("b")))
    assert contamination(dataset, roles) == pytest.approx(1 / 12)


def test_contamination_of_the_real_paper(workspace: Workspace, real_data: Path) -> None:
    import pyarrow.parquet as pq

    usage = pq.read_table(real_data / "fer2013/fer2013.parquet", columns=["usage"])["usage"].to_pylist()
    dataset = rows(workspace, **{name: usage.count(name) for name in ("Training", "PublicTest", "PrivateTest")})
    assert round(contamination(dataset, paper_2021(dataset)), 4) == 0.8889
