"""Decoded pixels: made once, equal to decoding each row, whole or not there."""

import ctypes
import mmap
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from conftest import write_tiny
from verbs import apart

from mien.data import cache
from mien.data.cache import pixels
from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.errors import MienError
from mien.experiment.schema import load_experiment
from mien.images import Color, decode, encode_png
from mien.runs.run import new_run
from mien.training.fit import train
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
    monkeypatch.setattr("mien.parallel.THREADS", 1)
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


LARGE = """
name: large
dataset: {name: large, size: 256, color: rgb}
plugins: [strider.py]
model: strider
optimizer: {name: sgd, lr: 1e-6}
train: {epochs: 1, batch_size: 32, precision: float32, device: cpu}
"""

STRIDER = """
from torch import nn
from mien.registry import register

@register("model", "strider")
class Strider(nn.Sequential):
    '''A model that looks at the mean of each 32 × 32 pixels.'''

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(nn.AvgPool2d(32), nn.Conv2d(in_channels, 2, 1), nn.Flatten(), nn.Linear(128, num_classes))
"""

ALLOWANCE = 256 * 2**20


def train_within(home: Path, file: Path) -> None:
    """For a process of its own: train in so much more memory than it has now, then try to hold the images at once."""
    # Private writable memory; maps of files that are only read, or shared, don't count.
    (used,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    limit = int(used) * 1024 + ALLOWANCE
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    workspace = Workspace(home)
    run = new_run(workspace, load_experiment(file))
    train(workspace, run, ["test"])
    mapped = pixels(open_dataset(workspace, "large"), "train", 256, "rgb")
    try:
        # What a copy of all images would ask the system for.
        mmap.mmap(-1, mapped.nbytes, flags=mmap.MAP_PRIVATE)
    except OSError:
        print(run.state, mapped.nbytes > 1.5 * ALLOWANCE)
        return
    print("all images fitted into the memory allowed")


def test_a_set_larger_than_memory_trains(workspace: Workspace, tmp_path: Path) -> None:
    small = [encode_png(np.random.default_rng(label).integers(0, 256, (8, 8), np.uint8)) for label in range(7)]
    with write_dataset(workspace, "large", FER2013, source="", format="test") as writer:
        for index in range(2240):
            split = ("validation", "test")[index % 2] if index < 70 else "train"
            writer.add(split, str(index), small[index % 7], index % 7, size=(8, 8))
    file = tmp_path / "large.yaml"
    file.write_text(LARGE)
    (tmp_path / "strider.py").write_text(STRIDER)
    told = apart(tmp_path, train_within, workspace.root, file)
    assert (told.code, told.out) == (0, "finished True\n"), told.err
    (workspace.datasets / "large/cache").joinpath(
        f"train-256-rgb-{open_dataset(workspace, 'large').card.fingerprint[:16]}.npy"
    ).unlink()


def in_memory(file: Path, start: int) -> bool:
    """Whether the system has the page in memory that a byte of a file is in."""
    page, state = start // mmap.PAGESIZE * mmap.PAGESIZE, (ctypes.c_ubyte * 1)()
    with file.open("rb") as opened:
        mapped = np.frombuffer(mmap.mmap(opened.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ, offset=page), np.uint8)
    place = ctypes.c_void_p(mapped.ctypes.data)
    assert ctypes.CDLL(None, use_errno=True).mincore(place, ctypes.c_size_t(1), state) == 0
    return bool(state[0] & 1)


def test_rows_are_brought_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, side = tmp_path / "rows.npy", 64
    np.save(file, np.random.default_rng(0).integers(0, 256, (10_000, side, side, 1), np.uint8))
    wanted = np.array([1_000, 5_000, 9_000])
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    starts = {row: 128 + row * side**2 for row in (*wanted.tolist(), 3_000, 7_000)}
    if any(in_memory(file, start) for start in starts.values()):
        pytest.skip("this file system is in memory")
    rows = np.asarray(np.load(file, mmap_mode="r"))
    monkeypatch.setattr(cache, "_KEPT", rows.nbytes)
    with cache.asked_ahead([np.empty(0), rows]) as ask:
        ask(1, wanted)  # A map of no more bytes stays the system's.
        assert not any(in_memory(file, start) for start in starts.values())
    monkeypatch.setattr(cache, "_KEPT", rows.nbytes - 1)
    with cache.asked_ahead([np.empty(0), rows]) as ask:
        ask(1, wanted)
        for row in wanted.tolist():
            while not in_memory(file, starts[row]):
                pass
    assert [in_memory(file, starts[row]) for row in (3_000, 7_000)] == [False, False]
