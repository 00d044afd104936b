"""Decoded pixels: made once, equal to decoding each row, whole or not there."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import write_tiny

from mien import cache
from mien.cache import pixels
from mien.dataset import Dataset, open_dataset, write_dataset
from mien.errors import MienError
from mien.images import Color, decode, encode_png
from mien.labels import FER2013
from mien.workspace import Workspace


def files(dataset: Dataset) -> list[str]:
    return sorted(path.name for path in (dataset.folder / "cache").iterdir())


@pytest.mark.parametrize(("size", "color"), [(24, "gray"), (40, "gray"), (12, "rgb")])
def test_each_row_is_what_decoding_it_gives(
    tiny: Dataset, monkeypatch: pytest.MonkeyPatch, size: int, color: Color
) -> None:
    monkeypatch.setattr(cache, "_CHUNK", 16)
    made = pixels(tiny, "train", size, color)
    assert made.shape == (210, size, size, 1 if color == "gray" else 3)
    assert made.dtype == np.uint8
    for row, data in enumerate(tiny.images("train")):
        assert np.array_equal(made[row], decode(data, color, size)), row
    assert files(tiny) == [f"train-{size}-{color}-{tiny.card.fingerprint[:16]}.npy"]


def test_it_is_made_once_and_mapped(tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pixels(tiny, "train", 24, "gray")
    monkeypatch.setattr(cache, "decode", None)
    again = pixels(tiny, "train", 24, "gray")
    assert np.array_equal(first, again)
    assert not again.flags.writeable
    assert not again.flags.owndata
    assert isinstance(again.base, np.memmap)


def test_others_stand_beside_it(workspace: Workspace, tiny: Dataset) -> None:
    for split, size, color in (
        ("train", 24, "gray"),
        ("train", 24, "rgb"),
        ("train", 32, "gray"),
        ("test", 24, "gray"),
    ):
        pixels(tiny, split, size, color)  # type: ignore[arg-type]
    old = tiny.card.fingerprint[:16]
    names = ["test-24-gray", "train-24-gray", "train-24-rgb", "train-32-gray"]
    assert files(tiny) == [f"{name}-{old}.npy" for name in names]

    # Another data set in the same place, whose cache was left behind.
    kept = tiny.folder / "cache"
    kept.rename(workspace.root / "kept")
    for file in tiny.folder.iterdir():
        file.unlink()
    tiny.folder.rmdir()
    other = write_tiny(workspace, seed=1)
    (workspace.root / "kept").rename(kept)
    made = pixels(other, "train", 24, "gray")
    assert f"train-24-gray-{other.card.fingerprint[:16]}.npy" in files(other)
    assert np.array_equal(made[3], decode(list(other.images("train"))[3], "gray", 24))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_half_made_is_left(tiny: Dataset, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    left = iter(range(100))

    def failing(data: bytes, color: Color, size: int) -> np.ndarray:
        if next(left) == 50:
            raise error
        return decode(data, color, size)

    monkeypatch.setattr(cache, "decode", failing)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(error):
        pixels(tiny, "train", 24, "gray")
    assert files(tiny) == []
    monkeypatch.undo()
    assert pixels(tiny, "train", 24, "gray").shape == (210, 24, 24, 1)


def test_a_row_that_does_not_decode_is_named(workspace: Workspace) -> None:
    with write_dataset(workspace, "bad", FER2013, source="", format="test") as writer:
        for index in range(5):
            good = encode_png(np.full((8, 8), index, np.uint8))
            writer.add("train", str(index), good if index != 3 else good[:20], 0, size=(8, 8))
    dataset = open_dataset(workspace, "bad")
    with pytest.raises(MienError) as error:
        pixels(dataset, "train", 8, "gray")
    assert error.value.message.startswith("data set 'bad', split 'train', row 3: ")
    assert files(dataset) == []


def test_a_split_without_rows_of_that_name_is_told(tiny: Dataset) -> None:
    with pytest.raises(MienError, match=r"data set 'tiny' has no split 'trian'; .*Did you mean 'train'\?"):
        pixels(tiny, "trian", 24, "gray")


def test_what_is_mapped_costs_no_memory_of_its_own(tiny: Dataset) -> None:
    mapped = pixels(tiny, "train", 24, "gray")
    path = Path(str(mapped.base.filename))  # type: ignore[union-attr]
    assert path.stat().st_size == mapped.nbytes + 128
    assert path.parent == tiny.folder / "cache"
