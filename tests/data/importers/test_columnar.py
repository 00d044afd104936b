"""Parquet and Arrow as hubs and `datasets` write them: columns of other names, folders of the hub, `save_to_disk`."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts_data import column, face, labels, refused, rows, splits_of

from mien.data.importers import import_dataset
from mien.data.labels import FER2013
from mien.workspace import Workspace


def write(file: Path, columns: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


@pytest.mark.parametrize(("image", "label"), [("img", "labels"), ("img_bytes", "Emotion"), ("image", "class")])
def test_usual_names_of_columns(workspace: Workspace, tmp_path: Path, image: str, label: str) -> None:
    columns = {image: [face(i) for i in range(6)], label: ["happy", "sad"] * 3, "subject": list("aabbcc")}
    dataset = import_dataset(workspace, write(tmp_path / "train.parquet", columns), "a")
    assert rows(dataset) == {"train": {str(i): ("happy", "sad")[i % 2] for i in range(6)}}
    assert dataset.card.columns == ("id", "image", "label", "subject")


def test_columns_that_are_named(workspace: Workspace, tmp_path: Path) -> None:
    """Also where usual ones are there; these come along."""
    columns = {"image": [b"other"] * 6, "pic": [face(i) for i in range(6)], "label": list("uvwxyz"),
               "mood": ["happy", "sad"] * 3}  # fmt: skip
    source = write(tmp_path / "train.parquet", columns)
    dataset = import_dataset(workspace, source, "a", image_column="pic", label_column="mood")
    assert labels(dataset) == {str(i): ("happy", "sad")[i % 2] for i in range(6)}
    assert list(dataset.images("train")) == [face(i) for i in range(6)]
    assert column(dataset, "source_label")["2"] == "w"
    assert refused(workspace, source, image_column="pics") == [
        "SOURCE: --image-column: there is no column 'pics'; "
        "expected one of image, pic, label, mood. Did you mean 'pic'?"
    ]
    write(tmp_path / "n.parquet", {"pic": [face(0)], "n": [1.5]})
    assert refused(workspace, tmp_path / "n.parquet", image_column="n", label_column="pic")[0] == (
        "SOURCE: --image-column: the column 'n' has the type double; expected bytes, {bytes, path} or paths"
    )


def test_numbers_with_names_of_one_s_own(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "train.parquet", {"img": [face(i) for i in range(6)], "labels": [1, 2, 3] * 2})
    assert labels(import_dataset(workspace, source, "a", labels="x,y,z")) == {str(i): "xyz"[i % 3] for i in range(6)}


def test_the_challenge_with_usages_in_any_case(workspace: Workspace, tmp_path: Path) -> None:
    columns = {"image": [face(i) for i in range(6)], "emotion": [0, 1, 2] * 2,
               "Usage": ["training", "PUBLICTEST", "PrivateTest"] * 2}  # fmt: skip
    dataset = import_dataset(workspace, write(tmp_path / "a.parquet", columns), "a")
    assert rows(dataset) == {
        split: {str(i): FER2013.classes[place], str(i + 3): FER2013.classes[place]}
        for place, (i, split) in enumerate(((0, "Training"), (1, "PublicTest"), (2, "PrivateTest")))
    }
    columns["Usage"] = ["train", "val", "test"] * 2
    dataset = import_dataset(workspace, write(tmp_path / "b.parquet", columns), "b")
    assert list(dataset.card.splits) == ["train", "val", "test"]


@pytest.mark.parametrize("above", ["default/", ""])
def test_folders_of_the_hub(workspace: Workspace, tmp_path: Path, above: str) -> None:
    for split, n, start in (("train", 4, 0), ("test", 2, 4)):
        for shard in range(2):
            numbers = range(start + shard * n // 2, start + (shard + 1) * n // 2)
            write(tmp_path / f"s/{above}{split}/{shard:04}.parquet",
                  {"image": [face(i) for i in numbers], "label": [f"c{i % 2}" for i in numbers]})  # fmt: skip
    dataset = import_dataset(workspace, tmp_path / "s", "a")
    assert rows(dataset) == {
        "train": {str(i): f"c{i % 2}" for i in range(4)}, "test": {str(i): f"c{i % 2}" for i in (4, 5)}
    }  # fmt: skip
    # The folder of one split keeps its name.
    assert list(import_dataset(workspace, tmp_path / f"s/{above}train", "b").card.splits) == ["train"]
    if above:
        write(tmp_path / "s/raw/train/0000.parquet", {"image": [face(1)], "label": ["x"]})
        assert refused(workspace, tmp_path / "s") == [
            "SOURCE: there are several configurations: default, raw; expected one of them, "
            "as mien data import SOURCE/default --as NAME"
        ]


def saved(folder: Path, splits: bool) -> Path:
    """Six faces as `datasets` saves them, with class names."""
    import datasets

    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["sad", "happy"]),
             "person": datasets.Value("string")}  # fmt: skip
    made = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": face(i), "path": f"{i}.png"} for i in range(20)],
            "label": [i % 2 for i in range(20)],
            "person": [f"p{i // 4}" for i in range(20)],
        },
        features=datasets.Features(kinds),
    )
    parts = {"train": made.select(range(15)), "test": made.select(range(15, 20))}
    (datasets.DatasetDict(parts) if splits else made).save_to_disk(str(folder), num_shards=None if splits else 2)
    return folder


def test_save_to_disk(workspace: Workspace, tmp_path: Path) -> None:
    dataset = import_dataset(workspace, saved(tmp_path / "both", splits=True), "a")
    assert rows(dataset) == {
        "train": {str(i): ("sad", "happy")[i % 2] for i in range(15)},
        "test": {str(i): ("sad", "happy")[i % 2] for i in range(15, 20)},
    }
    assert dataset.card.format == "parquet"
    assert list(dataset.images("test")) == [face(i) for i in range(15, 20)]
    one = import_dataset(workspace, saved(tmp_path / "one", splits=False), "b")
    assert labels(one) == {str(i): ("sad", "happy")[i % 2] for i in range(20)}
    assert column(one, "person") == {str(i): f"p{i // 4}" for i in range(20)}
    assert all(len(of) == 1 for of in splits_of(one, column(one, "person")).values())
    assert list(import_dataset(workspace, tmp_path / "both" / "train", "c").card.splits) == ["train"]


def test_a_broken_arrow_file(workspace: Workspace, tmp_path: Path) -> None:
    source = saved(tmp_path / "s", splits=True)
    (file,) = (source / "train").glob("*.arrow")
    whole = file.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"ARROW1" + whole, whole[:200] + b"\xff" * 300 + whole[500:]):
        file.write_bytes(data)
        (message,) = refused(workspace, source)
        assert message.startswith(f"SOURCE/train/{file.name}: this Arrow file can't be read (")


def test_what_datasets_leaves_beside_is_no_row_and_what_is_missing_is_told(
    workspace: Workspace, tmp_path: Path
) -> None:
    source = saved(tmp_path / "s", splits=False)
    (source / "cache-0123456789abcdef.arrow").write_bytes((source / "data-00000-of-00002.arrow").read_bytes())
    assert len(labels(import_dataset(workspace, source, "a"))) == 20
    (source / "data-00001-of-00002.arrow").unlink()
    assert refused(workspace, source) == ["SOURCE: data-00001-of-00002.arrow is missing; expected all of its files"]
    (source / "state.json").write_text('{"_data_files": [{"filename": "../../x.arrow"}]}')
    assert refused(workspace, source) == ["SOURCE/state.json: _data_files: this lists no files; expected names"]
    both = saved(tmp_path / "both", splits=True)
    (both / "test" / "state.json").unlink()
    assert refused(workspace, both) == ["SOURCE: the split 'test' is missing; expected all of the data set"]


def test_a_file_of_several_that_is_missing(workspace: Workspace, tmp_path: Path) -> None:
    columns = {"image": [face(0), face(1)], "label": ["x", "y"]}
    for name in (
        "train-00000-of-00003-0123456789abcdef",
        "train-00002-of-00003-0123456789abcdef",
        "test-00000-of-00001",
    ):
        write(tmp_path / "s" / f"{name}.parquet", columns)
    assert refused(workspace, tmp_path / "s") == [
        "SOURCE: train-00001-of-00003.parquet is missing; expected all of its files"
    ]
    write(tmp_path / "s" / "train-00001-of-00003-0123456789abcdef.parquet", columns)
    assert len(labels(import_dataset(workspace, tmp_path / "s", "a"))) == 8
    write(tmp_path / "s" / "more" / "train.parquet", columns)
    assert refused(workspace, tmp_path / "s") == [
        "SOURCE: there are other Parquet files further down, as more/train.parquet; "
        "expected all of them in one folder, or the path of one"
    ]
    # mien's own, with the table of an audit further down.
    folder = workspace.datasets / "a"
    write(folder / "audit" / "audit.parquet", {"id": ["0"]})
    assert labels(import_dataset(workspace, folder, "b")) == labels(import_dataset(workspace, folder, "c"))
