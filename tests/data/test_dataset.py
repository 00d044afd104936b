"""A data set is stored whole or not at all, says what it is, and opens with Hugging Face's `datasets`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mien.data.dataset
from mien.data.dataset import Dataset, list_datasets, open_dataset, write_dataset
from mien.data.labels import FER2013, LabelScheme
from mien.errors import FailedError, MienError
from mien.images import encode_png
from mien.workspace import Workspace

VOTES = {"votes": pa.list_(pa.int16(), 10)}


def image(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8))


def write(workspace: Workspace, name: str = "small", rows: int = 30, **changes: object) -> Dataset:
    """Every third row is of the split test; labels go round; votes are the row's number."""
    with write_dataset(workspace, name, FER2013, source="drawn", format="test", columns=VOTES, **changes) as writer:  # type: ignore[arg-type]
        for row in range(rows):
            split = "test" if row % 3 == 2 else "train"
            writer.add(split, f"r{row}", image(row), row % 7, size=(8, 8), path=f"{row}.png", votes=[row] * 10)
    return open_dataset(workspace, name)


def test_rows_come_back_as_they_were(workspace: Workspace) -> None:
    dataset = write(workspace)
    train = [row for row in range(30) if row % 3 != 2]
    assert (dataset.rows("train"), dataset.rows("test")) == (20, 10)
    assert dataset.ids("train") == [f"r{row}" for row in train]
    assert dataset.labels("train").tolist() == [row % 7 for row in train]
    assert list(dataset.images("train")) == [image(row) for row in train]
    table = dataset.table("test", ["votes", "image"])
    assert table["votes"].to_pylist() == [[row] * 10 for row in range(2, 30, 3)]
    assert [value["path"] for value in table["image"].to_pylist()] == [f"{row}.png" for row in range(2, 30, 3)]


def test_the_card(workspace: Workspace) -> None:
    card = write(workspace, notes=["look"], skipped=["row 9: bad"], details={"seed": 1}).card
    assert (card.name, card.labels, card.classes, card.scheme) == ("small", "fer2013-7", FER2013.classes, FER2013)
    assert card.splits == {"train": (4, 3, 2, 3, 3, 2, 3), "test": (1, 2, 2, 1, 1, 2, 1)}
    assert card.columns == ("id", "image", "label", "votes")
    assert (card.source, card.format, card.image_sizes) == ("drawn", "test", {"8×8": 30})
    assert (card.notes, card.skipped, card.details) == (("look",), ("row 9: bad",), {"seed": 1})
    assert [(shard.file, shard.split, shard.rows) for shard in card.shards] == [
        ("train-00000.parquet", "train", 20),
        ("test-00000.parquet", "test", 10),
    ]


def test_large_splits_are_shared_out_over_shards_in_order(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mien.data.dataset, "_GROUP_ROWS", 4)
    monkeypatch.setattr(mien.data.dataset, "_SHARD_BYTES", 2000)
    dataset = write(workspace, rows=60)
    assert len(dataset.card.shards) > 4
    assert sum(shard.rows for shard in dataset.card.shards) == 60
    train = [row for row in range(60) if row % 3 != 2]
    assert dataset.ids("train") == [f"r{row}" for row in train]
    assert list(dataset.images("train")) == [image(row) for row in train]
    assert dataset.labels("test").tolist() == [row % 7 for row in range(2, 60, 3)]


def test_large_images_are_written_before_many_are_held(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.data.dataset, "_GROUP_BYTES", 3 * len(image(0)))
    dataset = write(workspace)
    groups = pq.read_metadata(dataset.folder / "train-00000.parquet").num_row_groups
    assert 5 <= groups <= 10
    assert dataset.ids("train") == [f"r{row}" for row in range(30) if row % 3 != 2]


def test_text_and_bytes_are_what_arrow_makes_of_them(workspace: Workspace) -> None:
    paths = [None, "ü.png", "", "a"]
    with write_dataset(workspace, "small", FER2013, source="drawn", format="test") as writer:
        for row, path in enumerate(paths):
            writer.add("train", "é" * row, b"x" * row, row, size=(8, 8), path=path)
    table = open_dataset(workspace, "small").table("train", ["id", "image", "label"])
    table.validate(full=True)
    assert table.to_pylist() == [
        {"id": "é" * row, "image": {"bytes": b"x" * row, "path": path}, "label": row} for row, path in enumerate(paths)
    ]


def test_the_fingerprint_is_that_of_the_content(workspace: Workspace) -> None:
    first, same, other = write(workspace, "a"), write(workspace, "b"), write(workspace, "c", rows=29)
    assert first.card.fingerprint == same.card.fingerprint
    assert first.card.fingerprint != other.card.fingerprint
    assert len(first.card.fingerprint) == 64


def test_the_fingerprint_knows_the_labels_names(workspace: Workspace) -> None:
    made = []
    for name in ("cat", "dog"):
        with write_dataset(workspace, name, LabelScheme("pets", (name,)), source="", format="test") as writer:
            writer.add("train", "0", image(0), 0, size=(8, 8))
        made.append(open_dataset(workspace, name).card.fingerprint)
    assert made[0] != made[1]


def test_an_error_leaves_nothing_behind(workspace: Workspace) -> None:
    def write_half() -> None:
        with write_dataset(workspace, "small", FER2013, source="drawn", format="test") as writer:
            writer.add("train", "0", image(0), 0, size=(8, 8))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(workspace.datasets.iterdir()) == []


NAME = "1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit"


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("small", "train", "{}: there is a data set 'small' already; expected another name, or mien data remove small"),
        ("../x", "train", f"'../x' can't be the name of a data set; expected {NAME}"),
        ("new", "../x", "'../x' can't be the name of a split; expected letters, digits or '_'"),
        ("new", None, "drawn: there are no rows"),
    ],
)
def test_what_can_not_be_written(workspace: Workspace, name: str, split: str | None, message: str) -> None:
    write(workspace)

    def write_row() -> None:
        with write_dataset(workspace, name, FER2013, source="drawn", format="test") as writer:
            if split is not None:
                writer.add(split, "0", image(0), 0, size=(8, 8))

    with pytest.raises(MienError) as error:
        write_row()
    assert str(error.value) == message.format(workspace.datasets / "small")
    assert [path.name for path in workspace.datasets.iterdir()] == ["small"]


def test_no_space_left(tmp_path: Path) -> None:
    """A file that may not grow stands for a full disk: one sentence, exit code 1, nothing left."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from mien.data.dataset import write_dataset\n"
        "from mien.data.labels import FER2013\n"
        "from mien.workspace import Workspace\n"
        "try:\n"
        "    with write_dataset(Workspace(Path(sys.argv[1])), 'big', FER2013, source='', format='test') as writer:\n"
        "        for row in range(2000):\n"
        "            writer.add('train', str(row), np.random.default_rng(row).bytes(1000), 0, size=(1, 1))\n"
        "except OSError as error:\n"
        "    sys.exit(f'stopped: {error.errno}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "stopped: 27\n")  # EFBIG
    assert list((tmp_path / "datasets").iterdir()) == []


def test_an_unknown_name_or_split(workspace: Workspace) -> None:
    with pytest.raises(MienError) as error:
        open_dataset(workspace, "fer2013")
    new = "or a new one by mien data import SOURCE --as"
    assert str(error.value) == (
        f"no data set is called 'fer2013'; expected a data set in {workspace.datasets}, {new} fer2013"
    )
    dataset = write(workspace)
    write(workspace, "other")
    with pytest.raises(MienError) as error:
        open_dataset(workspace, "smal")
    assert str(error.value) == (
        f"no data set is called 'smal'; expected one of other, small in {workspace.datasets}, {new} smal. "
        "Did you mean 'small'?"
    )
    with pytest.raises(MienError) as error:
        open_dataset(workspace, "../small")
    assert str(error.value) == (
        f"no data set is called '../small'; expected one of other, small in {workspace.datasets}. Did you mean 'small'?"
    )
    with pytest.raises(MienError) as error:
        dataset.labels("tests")
    assert str(error.value) == (
        "data set 'small' has no split 'tests'; expected one of train, test. Did you mean 'test'?"
    )


def test_a_data_set_of_another_workspace_is_pointed_at(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of MIEN_HOME, of the current folder, or of one above it."""
    other = Workspace(tmp_path / "my home")
    write(other)
    told = (
        f"no data set is called 'small'; expected a data set in {workspace.datasets}, or --workspace "
        f"'{other.root}', which has it, or a new one by mien data import SOURCE --as small"
    )
    with monkeypatch.context() as inside:
        inside.setenv("MIEN_HOME", str(other.root))
        with pytest.raises(MienError) as error:
            open_dataset(workspace, "small")
        assert str(error.value) == told
    monkeypatch.delenv("MIEN_HOME", raising=False)
    (other.root / "a" / "b").mkdir(parents=True)
    for folder in (other.root, other.root / "a" / "b"):
        monkeypatch.chdir(folder)
        with pytest.raises(MienError) as error:
            open_dataset(workspace, "small")
        assert str(error.value) == told


def test_the_list_shows_only_whole_data_sets(workspace: Workspace) -> None:
    assert list_datasets(workspace) == []
    write(workspace, "b")
    write(workspace, "a")
    # What a killed import leaves: hidden, so it is none.
    shutil.copytree(workspace.datasets / "a", workspace.datasets / ".c.x.partial")
    (workspace.datasets / "d").mkdir()
    assert list_datasets(workspace) == ["a", "b"]


def test_a_changed_shard_or_card_is_said(workspace: Workspace) -> None:
    dataset = write(workspace)
    shard = dataset.folder / "test-00000.parquet"
    shard.write_bytes(shard.read_bytes() + b"x")
    with pytest.raises(FailedError) as error:
        dataset.ids("test")
    assert str(error.value) == f"{shard}: this shard isn't the one that the card describes; import again"
    card = dataset.folder / "card.json"
    content = json.loads(card.read_text())
    del content["labels"]
    card.write_text(json.dumps(content))
    with pytest.raises(MienError) as error:
        open_dataset(workspace, "small")
    assert str(error.value) == f"{card}: labels: the card can't be read (field required)"


def test_hugging_face_opens_the_folder(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    columns = {**VOTES, "score": pa.float32(), "tags": pa.list_(pa.string()), "sure": pa.bool_()}
    with write_dataset(workspace, "small", FER2013, source="drawn", format="test", columns=columns) as writer:
        for row in range(20):
            split = "PublicTest" if row % 4 == 3 else "Training"
            extra = {"votes": [row] * 10, "score": row / 2, "tags": ["a"] * (row % 3), "sure": row % 2 == 0}
            writer.add(split, str(row), image(row), row % 7, size=(8, 8), **extra)
    import datasets

    datasets.disable_progress_bars()
    opened = datasets.load_dataset(str(workspace.datasets / "small"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in opened.items()} == {"Training": 15, "PublicTest": 5}
    features = opened["Training"].features
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == list(FER2013.classes)
    assert features["votes"] == datasets.List(datasets.Value("int16"), length=10)
    row = opened["PublicTest"][1]
    assert row["id"] == "7"
    assert (row["label"], row["votes"], row["score"], row["tags"], row["sure"]) == (0, [7] * 10, 3.5, ["a"], False)
    expected = np.random.default_rng(7).integers(0, 256, (8, 8), dtype=np.uint8)
    assert np.array_equal(np.asarray(row["image"]), expected)


def test_a_name_that_was_taken_meanwhile_is_told_as_taken(workspace: Workspace) -> None:
    def both() -> None:
        with write_dataset(workspace, "dup", FER2013, source="late", format="test") as late:
            late.add("train", "1", encode_png(np.zeros((8, 8), np.uint8)), 0, size=(8, 8))
            with write_dataset(workspace, "dup", FER2013, source="early", format="test") as early:
                early.add("train", "1", encode_png(np.zeros((8, 8), np.uint8)), 0, size=(8, 8))

    with pytest.raises(MienError) as error:
        both()
    assert str(error.value) == (
        f"{workspace.datasets}/dup: there is a data set 'dup' already; expected another name, or mien data remove dup"
    )
    assert open_dataset(workspace, "dup").card.source == "early"
    assert [path.name for path in workspace.datasets.iterdir()] == ["dup"]


def test_a_file_in_place_of_the_folder_of_data_sets_is_no_taken_name(workspace: Workspace) -> None:
    workspace.root.mkdir()
    workspace.datasets.write_text("")

    def write() -> None:
        with write_dataset(workspace, "new", FER2013, source="", format="test"):
            pass

    with pytest.raises(FileExistsError):
        write()
