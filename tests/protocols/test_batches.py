"""A role's rows as batches: their order, pixels, labels and votes."""

import os

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data import cache
from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.framing import faces, stored_points
from mien.data.labels import FER2013, FERPLUS, LabelScheme
from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.faces.squares import detector_squares
from mien.images import decode, encode_png
from mien.protocols import Part
from mien.protocols.batches import Batches, epoch_order, load, load_faces, step_seed, training_steps
from mien.workspace import Workspace


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 300), st.integers(0, 2**31 - 1), st.integers(0, 1000))
def test_the_order_is_a_permutation_by_seed_and_epoch(rows: int, seed: int, epoch: int) -> None:
    order = epoch_order(rows, shuffle=True, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(rows))
    assert order.tolist() == epoch_order(rows, shuffle=True, seed=seed, epoch=epoch).tolist()
    assert epoch_order(rows, shuffle=False, seed=seed, epoch=epoch).tolist() == list(range(rows))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31 - 2), st.integers(0, 1000))
def test_the_order_differs_between_epochs_and_seeds(seed: int, epoch: int) -> None:
    orders = {
        tuple(epoch_order(50, shuffle=True, seed=seed + more, epoch=epoch + later))
        for more in (0, 1)
        for later in (0, 1)
    }
    assert len(orders) == 4


@settings(deadline=None, max_examples=50)
@given(*[st.integers(0, 2**31 - 1)] * 3)
def test_the_seed_of_a_step_is_one_that_torch_takes(seed: int, epoch: int, step: int) -> None:
    made = step_seed(seed, epoch, step)
    assert made == step_seed(seed, epoch, step)
    assert 0 <= made < 2**63
    assert made != step_seed(seed, epoch, step + 1)


def test_batches_are_the_rows_in_the_given_order(tiny: Dataset) -> None:
    samples = load(tiny, [Part("train")], 24, "gray", FER2013)
    order = epoch_order(len(samples), shuffle=True, seed=1, epoch=2)
    batches = Batches(samples, 64, order)
    assert len(batches) == 4
    made = list(batches)
    assert [len(batch.labels) for batch in made] == [64, 64, 64, 18]
    assert torch.cat([batch.rows for batch in made]).tolist() == order.tolist()
    images, labels = list(tiny.images("train")), tiny.labels("train")
    batch = made[1]
    assert (batch.images.dtype, batch.labels.dtype, batch.votes.shape) == (torch.uint8, torch.int64, (64, 0))
    assert batch.points.shape == (64, 0, 2)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    for place, row in enumerate(order[64:128]):
        assert np.array_equal(batch.images[place].permute(1, 2, 0).numpy(), decode(images[row], "gray", 24))
        assert batch.labels[place] == labels[row]
    again = list(batches)
    assert all(torch.equal(one.images, two.images) for one, two in zip(made, again, strict=True))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 300), st.integers(1, 310))
def test_a_training_has_no_last_batch_of_one_and_else_the_usual_ones(rows: int, size: int) -> None:
    steps = training_steps(rows, size)
    last = rows - (steps - 1) * size
    if rows == 1 or size == 1:
        assert (steps, last) == (rows if size == 1 else 1, 1)
    else:
        assert 2 <= last <= size + 1
        assert steps == -(-rows // size) - (rows % size == 1 and rows > size)


def test_a_single_row_at_the_end_joins_the_batch_before_it(tiny: Dataset) -> None:
    samples = load(tiny, [Part("train")], 24, "gray", FER2013)
    order = epoch_order(210, shuffle=True, seed=1, epoch=0)
    for size, numbers in ((209, [210]), (19, [*[19] * 10, 20]), (208, [208, 2]), (211, [210]), (1, [1] * 210)):
        batches = Batches(samples, size, order, training_steps(210, size))
        assert [len(batch.labels) for batch in batches] == numbers
        assert len(batches) == len(numbers)
        assert torch.cat([batch.rows for batch in batches]).tolist() == order.tolist()
    # What is measured is batched as ever.
    assert [len(batch.labels) for batch in Batches(samples, 209, order)] == [209, 1]


def test_a_role_of_two_parts_is_one_list_of_rows(tiny: Dataset) -> None:
    some = np.array([1, 5, 30])
    samples = load(tiny, [Part("validation"), Part("train", some)], 16, "rgb", FER2013)
    images = [*tiny.images("validation"), *(list(tiny.images("train"))[row] for row in some)]
    ids = [*tiny.ids("validation"), *(tiny.ids("train")[row] for row in some)]
    labels = [*tiny.labels("validation"), *tiny.labels("train")[some]]
    assert len(samples) == tiny.rows("validation") + 3 == len(images)
    assert samples.ids.tolist() == ids
    assert samples.labels.tolist() == labels
    assert [samples.splits[part] for part in samples.part] == ["validation"] * 35 + ["train"] * 3
    mixed = np.array([37, 0, 36, 4, 35, 34])
    for row, made in zip(mixed, samples.images(mixed), strict=True):
        assert np.array_equal(made, decode(images[row], "rgb", 16))
    assert not any((tiny.folder / "cache").glob("test-*"))


def test_labels_are_turned_by_the_names_of_the_classes(workspace: Workspace) -> None:
    pixel = encode_png(np.zeros((8, 8), np.uint8))
    with write_dataset(workspace, "plus", FERPLUS, source="", format="test") as writer:
        for label in range(8):
            writer.add("train", FERPLUS.classes[label], pixel, label, size=(8, 8))
    dataset = open_dataset(workspace, "plus")
    samples = load(dataset, [Part("train")], 8, "gray", FER2013)
    # Contempt is no class of FER2013's.
    assert {name: FER2013.classes[label] for name, label in zip(samples.ids, samples.labels, strict=True)} == {
        "neutral": "neutral",
        "happiness": "happy",
        "surprise": "surprise",
        "sadness": "sad",
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
    }
    few = LabelScheme("few", ("sad", "happy"))
    samples = load(dataset, [Part("train", np.array([0, 1, 2]))], 8, "gray", few)
    assert (samples.ids.tolist(), samples.labels.tolist(), samples.place.tolist()) == (["happiness"], [1], [1])


def test_votes_come_with_the_rows(workspace: Workspace) -> None:
    dataset = write_tiny(workspace, n=70)
    samples = load(dataset, [Part("validation")], 24, "gray", FER2013, votes=True)
    # Eight of ten raters for the label; the two for contempt aren't FER2013's.
    assert np.array_equal(samples.votes, np.eye(7, dtype=np.float32)[samples.labels])
    samples = load(dataset, [Part("validation")], 24, "gray", FERPLUS, votes=True)
    assert samples.votes[:, FERPLUS.classes.index("contempt")].tolist() == pytest.approx([0.2] * len(samples))
    batch = samples.batch(np.array([3, 1]))
    assert torch.equal(batch.votes, torch.from_numpy(samples.votes[[3, 1]]))
    assert batch.votes.sum(dim=1).tolist() == pytest.approx([1, 1])


def test_a_data_set_without_votes_says_so(workspace: Workspace) -> None:
    with write_dataset(workspace, "plain", FER2013, source="", format="t", columns={"x": pa.int64()}) as writer:
        writer.add("train", "0", encode_png(np.zeros((8, 8), np.uint8)), 0, size=(8, 8), x=1)
    with pytest.raises(MienError) as error:
        load(open_dataset(workspace, "plain"), [Part("train")], 8, "gray", FER2013, votes=True)
    assert str(error.value) == (
        "loss: data set 'plain' has no rater votes; expected a loss on labels, or a data set imported with --votes"
    )


def test_faces_come_framed_with_their_points(workspace: Workspace) -> None:
    dataset = write_faces(workspace, "drawn", n=20, size=40, color="gray", seed=0)
    some = np.array([15, 2, 7])
    samples = load_faces(dataset, [Part("test"), Part("train", some)], 24, "rgb", "detector")
    assert samples.ids.tolist() == [*dataset.ids("test"), *(dataset.ids("train")[row] for row in some)]
    assert samples.labels.tolist() == [*dataset.labels("test"), *dataset.labels("train")[some]]
    assert (len(samples), samples.points.shape, samples.votes.shape) == (5, (5, POINTS, 2), (5, 0))
    both = {split: faces(dataset, split, 24, "rgb", "detector") for split in ("train", "test")}
    batch = samples.batch(np.array([3, 0, 4, 2]))
    assert batch.images.shape == (4, 3, 24, 24)
    assert (batch.points.shape, batch.points.dtype) == ((4, POINTS, 2), torch.float32)
    for place, (split, row) in enumerate([("train", 2), ("test", 0), ("train", 7), ("train", 15)]):
        pixels, points = both[split]
        assert np.array_equal(batch.images[place].permute(1, 2, 0).numpy(), pixels[row])
        assert np.array_equal(batch.points[place].numpy(), points[row])
    # Of a split's part the points are framed by the same ids as of the whole.
    squares = detector_squares(stored_points(dataset, "train"), dataset.ids("train"))
    middle, side = squares[7, :2], squares[7, 2]
    expected = (stored_points(dataset, "train")[7] - middle + side / 2) * 24 / side - 0.5
    np.testing.assert_allclose(batch.points[2].numpy(), expected, atol=1e-4)
    assert not any((dataset.folder / "cache").glob("validation-*"))


def test_batches_are_the_same_when_rows_are_asked_for_ahead(tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    samples = load(tiny, [Part("train"), Part("test")], 24, "gray", FER2013)
    order = epoch_order(len(samples), shuffle=True, seed=0, epoch=0)
    advise = os.posix_fadvise

    def counted(file: int, start: int, size: int, advice: int) -> None:
        asked.append((start, size))
        advise(file, start, size, advice)

    plain = list(Batches(samples, 30, order))
    monkeypatch.setattr(os, "posix_fadvise", counted)
    monkeypatch.setattr(cache, "_KEPT", 0)
    for number, (batch, before) in enumerate(zip(Batches(samples, 30, order), plain, strict=True)):
        # The rows of this batch and of the next.
        assert len(asked) == min(len(samples), 30 * (number + 2))
        assert torch.equal(batch.images, before.images)
        assert torch.equal(batch.rows, before.rows)
    places = [128 + samples.place[row] * 24 * 24 for row in order]
    assert sorted(asked) == sorted((place, 24 * 24) for place in places)
