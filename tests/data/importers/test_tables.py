"""Tables of paths and labels: Hugging Face's imagefolder, CSV, JSON lines; the challenge's CSV as others write it."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts_data import column, images_match, labels, numbered, refused, rows, splits_of, write
from test_importers import text_of, write_csv

from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.data.importers.known import FER2013_COUNTS, renamed
from mien.data.labels import AFFECTNET_7, FER2013, FERPLUS
from mien.images import decode
from mien.workspace import Workspace

NAMES = ("happy", "sad", "fear")


def listing(header: str, count: int, path: str, *, between: str = ",", start: int = 0) -> str:
    """A table of the images `path.format(i)`, each with a label and whose picture it is."""
    lines = [header.replace(",", between)]
    lines += [
        between.join((path.format(i), NAMES[i % 3], f"S{i // 4}", f"{i / 2}", str(i)))
        for i in range(start, start + count)
    ]
    return "\n".join(lines) + "\n"


HEADER = "file_name,label,subject,valence,age"


def wanted(pattern: str, count: int, start: int = 0) -> dict[str, str]:
    return {pattern.format(i): NAMES[i % 3] for i in range(start, start + count)}


# Hugging Face's imagefolder


def test_an_imagefolder_with_splits(workspace: Workspace, tmp_path: Path) -> None:
    files: dict[str, Any] = {**numbered("train/{}.png", 9), **numbered("test/{}.png", 6, 9)}
    source = write(tmp_path / "s", files)
    write(
        source, {"train/metadata.csv": listing(HEADER, 9, "{}.png"), "test/metadata.csv": listing(HEADER, 6, "{}.png")}
    )
    dataset = import_dataset(workspace, source, "a")
    assert dataset.card.format == "table"
    assert rows(dataset) == {"train": wanted("train/{}.png", 9), "test": wanted("test/{}.png", 6)}
    assert images_match(dataset, files)
    assert column(dataset, "subject") == {name: f"S{int(name[:-4].split('/')[1]) // 4}" for name in files}
    assert column(dataset, "valence")["train/5.png"] == 2.5
    assert column(dataset, "age")["train/5.png"] == 5
    assert dataset.card.columns == ("id", "image", "label", "subject", "valence", "age")


def test_an_imagefolder_in_one_file(workspace: Workspace, tmp_path: Path) -> None:
    """JSON lines at the root, or Parquet: the splits are the folders of the paths."""
    files: dict[str, Any] = {**numbered("train/{}.png", 6), **numbered("validation/{}.png", 6, 6)}
    told = [
        {"file_name": name, "label": NAMES[i % 3], "who": {"is": 1}, "glasses": i % 2 == 0}
        for i, name in enumerate(files)
    ]
    by_split = {split: {n: NAMES[i % 3] for i, n in enumerate(files) if n.startswith(split)}
                for split in ("train", "validation")}  # fmt: skip
    source = write(tmp_path / "s", {**files, "metadata.jsonl": "\n".join(map(json.dumps, told)) + "\n\n"})
    dataset = import_dataset(workspace, source, "a")
    assert rows(dataset) == by_split
    assert column(dataset, "glasses")["train/1.png"] == "False"
    assert dataset.card.details == {"left_out": ["who"]}
    other = write(tmp_path / "t", files)
    pq.write_table(
        pa.table({key: [one[key] for one in told] for key in ("file_name", "label")}), other / "metadata.parquet"
    )
    assert rows(import_dataset(workspace, other, "b")) == by_split


def test_an_imagefolder_that_does_not_fit(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", numbered("train/{}.png", 6))
    (tmp_path / "out.png").write_bytes(b"secret")
    write(source, {"train/metadata.csv": listing(HEADER, 4, "{}.png") + "9.png,sad,S1,0,0\n../../out.png,sad,S1,0,0\n"})
    assert refused(workspace, source) == [
        "SOURCE/train/metadata.csv:6: row train/9.png, image: the file can't be read (No such file or directory)",
        "SOURCE/train/metadata.csv:7: row train/../../out.png, image: the path leads out of the folder; "
        "expected one below it",
        "SOURCE: row train/4.png, image: train/metadata.csv doesn't name it",
        "SOURCE: row train/5.png, image: train/metadata.csv doesn't name it",
        "SOURCE: of 8 rows read, 4 bad, and so nothing is imported; expected a source of which most rows are good",
    ]
    write(source, {"train/metadata.csv": "file_name,caption,mood\n0.png,a,happy\n"})
    assert refused(workspace, source) == [
        "SOURCE/train/metadata.csv: there is no column of labels among 'file_name', 'caption', 'mood'; "
        "expected --label-column with one of them"
    ]
    write(source, {"train/metadata.csv": "file_name,mood\n" + "".join(f"{i}.png,{NAMES[i % 2]}\n" for i in range(6))})
    assert labels(import_dataset(workspace, source, "a", label_column="mood"))["train/3.png"] == "sad"
    assert refused(workspace, source, label_column="mod") == [
        "SOURCE/train/metadata.csv: --label-column: there is no column 'mod'; "
        "expected one of file_name, mood. Did you mean 'mood'?"
    ]


# Tables of one's own


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_of_paths(workspace: Workspace, tmp_path: Path, between: str, packed: bool) -> None:
    files = numbered("faces/{}.png", 40)
    write(tmp_path, files)
    text = listing("Path,Emotion,subject,valence,age", 40, "faces/{}.png", between=between).encode()
    source = tmp_path / ("list.csv.gz" if packed else "list.csv")
    source.write_bytes(gzip.compress(text) if packed else text)
    dataset = import_dataset(workspace, source, "a")
    assert labels(dataset) == wanted("faces/{}.png", 40)
    assert images_match(dataset, files)
    # A column that is called like a person keeps rows together, unasked.
    assert all(len(of) == 1 for of in splits_of(dataset, column(dataset, "subject")).values())
    assert dataset.card.details["made_splits"]["groups"] == ["subject"]
    assert set(dataset.card.splits) == {"train", "validation", "test"}
    other = import_dataset(workspace, source, "b", group="age")
    assert other.card.details["made_splits"]["groups"] == ["age"]


def test_a_table_beside_a_folder(workspace: Workspace, tmp_path: Path) -> None:
    files = numbered("images/{}.png", 12)
    source = write(tmp_path / "s", files)
    meta = tmp_path / "meta.csv"
    meta.write_text(
        "name,mood,split\n" + "".join(f"{i},{NAMES[i % 3]},{'train' if i < 8 else 'dev'}\n" for i in range(12))
    )
    dataset = import_dataset(workspace, source, "a", metadata=meta, label_column="mood")
    # A name without its suffix is found as well.
    assert rows(dataset) == {
        "train": wanted("images/{}.png", 8), "dev": wanted("images/{}.png", 4, 8)
    }  # fmt: skip
    # The same table in the folder is found by itself.
    write(source, {"labels.csv": meta.read_text().replace("mood", "label")})
    assert rows(import_dataset(workspace, source, "b")) == rows(dataset)
    write(source, {"more.csv": meta.read_text()})
    assert refused(workspace, source) == [
        "SOURCE: there are 2 tables of images: labels.csv, more.csv; expected --metadata FILE"
    ]
    assert refused(workspace, source, metadata=tmp_path / "none.csv") == [
        f"{tmp_path / 'none.csv'}: --metadata: there is no such table"
    ]


def test_tables_that_are_called_by_their_splits(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", numbered("{}.png", 9))
    write(source, {"train.csv": listing(HEADER, 6, "{}.png"), "test.csv": listing(HEADER, 3, "{}.png", start=6)})
    dataset = import_dataset(workspace, source, "a")
    assert rows(dataset) == {"train": wanted("{}.png", 6), "test": wanted("{}.png", 3, 6)}


def test_a_table_with_class_folders(workspace: Workspace, tmp_path: Path) -> None:
    """Asked for, the table counts, wherever the images lie; without labels of its own the folders do."""
    files = {f"{NAMES[i % 3]}/{i}.png": i for i in range(12)}
    source = write(tmp_path / "s", files)
    meta = tmp_path / "meta.csv"
    meta.write_text("image,label,subject\n" + "".join(f"{i}.png,{NAMES[(i + 1) % 3]},S{i // 2}\n" for i in range(12)))
    dataset = import_dataset(workspace, source, "a", metadata=meta)
    assert labels(dataset) == {name: NAMES[(i + 1) % 3] for name, i in files.items()}
    meta.write_text("image,subject\n" + "".join(f"{i}.png,S{i // 2}\n" for i in range(12)))
    dataset = import_dataset(workspace, source, "b", metadata=meta)
    assert labels(dataset) == {name: NAMES[i % 3] for name, i in files.items()}
    assert column(dataset, "subject")["fear/5.png"] == "S2"


def test_affectnet_s_lists(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path, numbered("1/{}.jpg", 14))
    text = "subDirectory_filePath,face_x,facial_landmarks,expression,valence\n" + "".join(
        f"1/{i}.jpg,{i},{';'.join(['1.5'] * 136)},{i % 7},{i / 16}\n" for i in range(14)
    )
    source = write(tmp_path, {"training.csv": text}) / "training.csv"
    dataset = import_dataset(workspace, source, "a", labels="affectnet-7")
    assert dataset.card.scheme == AFFECTNET_7
    assert labels(dataset) == {f"1/{i}.jpg": AFFECTNET_7.classes[i % 7] for i in range(14)}
    assert column(dataset, "valence")["1/9.jpg"] == 9 / 16
    assert dataset.card.details["left_out"] == ["facial_landmarks"]
    assert refused(workspace, source)[0].startswith(
        "SOURCE: expression: the labels are numbers, and nothing says which"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "SOURCE: there is no column of paths of images among 'a', 'b'; "
         "expected --image-column with one of them"),
        ("path,label\n0.png\n", "SOURCE:2: 1 columns; expected 2"),
        ("path,label,label\n0.png,a,b\n", "SOURCE:1: two columns are called 'label'"),
        ("path,label\n", "SOURCE: there are no rows"),
        ("path,label\n0.png,a\n0.png,a\n1.png,\n,b\n/etc/passwd,a\n",
         "SOURCE:3: row 0.png: the image is listed twice"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(workspace: Workspace, tmp_path: Path, text: str, message: str) -> None:
    source = write(tmp_path, {**numbered("{}.png", 2), "list.csv": text}) / "list.csv"
    found = refused(workspace, source)
    assert found[0] == message
    if len(found) > 1:
        assert found[1:] == [
            "SOURCE: row 1.png, label: no label",
            "SOURCE:5: row 3, path: no path",
            "SOURCE:6: row /etc/passwd, image: the path leads out of the folder; expected one below it",
            "SOURCE: of 5 rows read, 4 bad, and so nothing is imported; expected a source of which most rows are good",
        ]


# The challenge's CSV, as others write it


def grays(count: int) -> list[Any]:
    return list(np.random.default_rng(5).integers(0, 256, (count, 4, 4), dtype=np.uint8))


def pixels_by_id(dataset: Dataset) -> dict[str, bytes]:
    return {
        row: decode(data, "gray").tobytes()
        for split in dataset.card.splits
        for row, data in zip(dataset.ids(split), dataset.images(split), strict=True)
    }


def test_the_challenge_s_own_train_csv(workspace: Workspace, tmp_path: Path) -> None:
    """It has no Usage: mien draws the splits."""
    images = grays(70)
    source = tmp_path / "train.csv"
    source.write_text("emotion,pixels\n" + "".join(f"{i % 7},{text_of(image)}\n" for i, image in enumerate(images)))
    dataset = import_dataset(workspace, source, "a")
    assert labels(dataset) == {str(i): FER2013.classes[i % 7] for i in range(70)}
    assert dataset.card.splits == {"train": (8,) * 7, "validation": (1,) * 7, "test": (1,) * 7}
    assert pixels_by_id(dataset) == {str(i): image.tobytes() for i, image in enumerate(images)}


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("usages", "stored"),
    [
        (("training", "PUBLICTEST", "PrivateTest"), ("Training", "PublicTest", "PrivateTest")),
        (("train", "val", "test"), ("train", "val", "test")),
        (("Train", "Validation", "Test"), ("train", "validation", "test")),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_names_usages_and_what_stands_between(
    workspace: Workspace, tmp_path: Path, between: str, usages: tuple[str, ...], stored: tuple[str, ...], packed: bool
) -> None:
    images = grays(12)
    emotions = ("Happy", "sad", "Fear")
    plain = write_csv(tmp_path / "a", [(emotions[i % 2], image, usages[i % 3]) for i, image in enumerate(images)])
    text = plain.read_text().replace(",", between).encode()
    source = tmp_path / "a.csv"
    source.write_bytes(gzip.compress(text) if packed else text)
    dataset = import_dataset(workspace, source, "a")
    assert rows(dataset) == {
        split: {str(i): emotions[i % 2] for i in range(12) if i % 3 == place} for place, split in enumerate(stored)
    }
    assert pixels_by_id(dataset) == {str(i): image.tobytes() for i, image in enumerate(images)}


def test_what_numbers_mean_is_what_labels_says(workspace: Workspace, tmp_path: Path) -> None:
    """Not the class of that name at FER2013's place."""
    rows_ = [(i % 8, image, "Training") for i, image in enumerate(grays(16))]
    source = write_csv(tmp_path / "a.csv", rows_)
    dataset = import_dataset(workspace, source, "a", labels="ferplus-8")
    assert labels(dataset) == {str(i): FERPLUS.classes[i % 8] for i in range(16)}
    mine = import_dataset(workspace, source, "b", labels="a,b,c,d,e,f,g,h")
    assert labels(mine) == {str(i): "abcdefgh"[i % 8] for i in range(16)}
    assert refused(workspace, source)[0] == "SOURCE:9: row 7, emotion: '7' is no label; expected 0 to 6"


def test_fer2013_s_own_numbers_are_not_renamed() -> None:
    counts = {split: (*of, 0) for split, of in FER2013_COUNTS.items()}
    assert renamed(FERPLUS, counts)
    assert renamed(AFFECTNET_7, FER2013_COUNTS)
    assert not renamed(FER2013, FER2013_COUNTS)
    assert not renamed(FERPLUS, {"Training": (1,) * 8})


def test_a_packed_bomb_is_refused(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mien.data.importers.fer2013_csv", "mien.reading"):
        monkeypatch.setattr(f"{module}.MAX_UNPACKED", 1000)
    source = tmp_path / "a.csv.gz"
    source.write_bytes(gzip.compress(b"emotion,pixels,Usage\n" + b"0,1 2 3 4,Training\n" * 1000))
    assert refused(workspace, source) == ["SOURCE:54: the CSV is too long; expected at most 0 GB"]
    source.write_bytes(gzip.compress(b"path,label\n" + b"0.png,happy\n" * 1000))
    assert refused(workspace, source) == ["SOURCE:84: the text is too long; expected at most 4 MB a line, 0 GB in all"]


# Further columns


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_further_columns_of_a_csv_of_pixels_come_along(workspace: Workspace, tmp_path: Path, between: str) -> None:
    """Persons among them keep rows together; names of digits stay as they are written."""
    lines = [between.join(["emotion", "subject", "pixels", "age", "note", "zip"])]
    lines += [
        between.join(
            [str(i % 7), f"{i // 7:02}", text_of(np.full((4, 4), i, np.uint8)), str(i), f'"say ""{i}"" é"', ""]
        )
        for i in range(42)
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    dataset = import_dataset(workspace, tmp_path / "a.csv", "a")
    assert dataset.card.columns == ("id", "image", "label", "subject", "age", "note")
    assert column(dataset, "subject") == {str(i): f"{i // 7:02}" for i in range(42)}
    assert column(dataset, "age") == {str(i): i for i in range(42)}
    assert column(dataset, "note")["9"] == 'say "9" é'
    assert dataset.card.details["left_out"] == ["zip"]
    assert all(len(of) == 1 for of in splits_of(dataset, column(dataset, "subject")).values())
    assert dataset.card.details["made_splits"]["groups"] == ["subject"]


def test_a_csv_of_pixels_whose_columns_are_no_text(workspace: Workspace, tmp_path: Path) -> None:
    pixels = text_of(np.eye(4, dtype=np.uint8))
    source = tmp_path / "a.csv"
    source.write_bytes(b"emotion,pixels,Usage,who\n" + f"3,{pixels},Training,".encode() + b"caf\xe9\n")
    assert refused(workspace, source)[0] == "SOURCE:2: row 0: the text isn't UTF-8"
    source.write_text(f"emotion,pixels,Usage,Emotion\n3,{pixels},Training,4\n")
    assert refused(workspace, source) == ["SOURCE:1: two columns are called 'emotion'"]


def test_names_of_digits_stay_as_they_are_written(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path, numbered("{}.png", 6))
    far = 10**19
    rows_of = [f"{i}.png,{NAMES[i % 2]},{i:03},{far + i},{2**60 + i if i else 0.5}" for i in range(6)]
    (tmp_path / "a.csv").write_text("\n".join(["path,label,person,long,mixed", *rows_of]) + "\n")
    dataset = import_dataset(workspace, tmp_path / "a.csv", "a")
    assert column(dataset, "person") == {f"{i}.png": f"{i:03}" for i in range(6)}
    assert column(dataset, "long") == {f"{i}.png": str(far + i) for i in range(6)}
    assert column(dataset, "mixed")["5.png"] == str(2**60 + 5)


def test_not_a_number_is_nothing(workspace: Workspace, tmp_path: Path) -> None:
    """As pandas writes what is missing."""
    source = write(tmp_path / "s", numbered("train/{}.png", 6))
    content = {"file_name": [f"train/{i}.png" for i in range(6)], "label": list(NAMES) * 2,
               "age": [1.5, float("nan"), 2, 3, 4, 5]}  # fmt: skip
    pq.write_table(pa.table(content), source / "metadata.parquet")
    dataset = import_dataset(workspace, source, "a")
    assert column(dataset, "age") == {f"train/{i}.png": None if i == 1 else content["age"][i] for i in range(6)}
    pq.write_table(pa.table({**content, "label": [0.0, 1, 2, 0, 1, float("nan")]}), source / "metadata.parquet")
    assert refused(workspace, source, labels="a,b,c")[0] == "SOURCE: row train/5.png, label: no label"


def test_a_picture_that_is_gone_changes_no_split(workspace: Workspace, tmp_path: Path) -> None:
    """Nor does a picture of another split stand in for it."""
    source = write(tmp_path / "s", {**numbered("train/{}.png", 9), **numbered("test/{}.png", 9, 9)})
    write(source, {f"{split}/metadata.csv": listing(HEADER, 9, "{}.png") for split in ("train", "test")})
    (source / "train" / "7.png").unlink()
    assert refused(workspace, source)[0] == (
        "SOURCE/train/metadata.csv:9: row train/7.png, image: the file can't be read (No such file or directory)"
    )
    dataset = import_dataset(workspace, source, "a", skip_bad=True)
    assert {split: len(of) for split, of in rows(dataset).items()} == {"train": 8, "test": 9}


def test_a_path_outside_of_the_folders_of_splits_draws_none(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {**numbered("train/{}.png", 6), **numbered("test/{}.png", 3, 6), "more.png": 99})
    names = [f"train/{i}.png" for i in range(6)] + [f"test/{i}.png" for i in range(3)] + ["more.png"]
    write(source, {"metadata.csv": "file_name,label\n" + "".join(f"{n},{NAMES[i % 3]}\n" for i, n in enumerate(names))})
    assert refused(workspace, source)[0] == "SOURCE: row more.png, split: no split; expected one, as other rows have"
    dataset = import_dataset(workspace, source, "a", skip_bad=True)
    assert {split: len(of) for split, of in rows(dataset).items()} == {"train": 6, "test": 3}


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_that_is_saved_otherwise_than_as_utf_8(workspace: Workspace, tmp_path: Path, encoding: str) -> None:
    source = tmp_path / "a.csv"
    source.write_bytes("path,label\ncafé.png,x\n".encode(encoding))
    line = 1 if encoding == "utf-16" else 2
    assert refused(workspace, source) == [f"SOURCE:{line}: this isn't UTF-8; expected a text that is saved as UTF-8"]


def test_a_folder_in_a_class_folder_is_no_class_of_a_table(workspace: Workspace, tmp_path: Path) -> None:
    files = [*(f"happy/{i}.png" for i in range(3)), *(f"sad/{i}.png" for i in range(3, 6)), "happy/augmented/9.png"]
    source = write(tmp_path / "s", {name: i for i, name in enumerate(files)})
    write(source, {"metadata.csv": "file_name,split\n" + "".join(f"{name},train\n" for name in files)})
    assert refused(workspace, source) == [
        "SOURCE/metadata.csv: there is no column of labels among 'file_name', 'split'; "
        "expected --label-column with one of them"
    ]


def test_a_number_among_names_is_no_class(workspace: Workspace, tmp_path: Path) -> None:
    """As -1 stands for rows without a label."""
    write(tmp_path, numbered("{}.png", 6))
    lines = ["path,label", *(f"{i}.png,{'happy' if i % 2 else 'sad'}" for i in range(5)), "5.png,-1"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert refused(workspace, tmp_path / "a.csv") == [
        "SOURCE: label: among the names of classes stands a number, '-1'; "
        "expected names alone, or --labels with the classes"
    ]
    assert refused(workspace, tmp_path / "a.csv", labels="happy,sad")[0] == (
        "SOURCE: row 5.png, label: '-1' is no label; expected happy, sad"
    )
    pixels = text_of(np.eye(4, dtype=np.uint8))
    (tmp_path / "b.csv").write_text(f"emotion,pixels\nhappy,{pixels}\nsad,{pixels}\n-1,{pixels}\n")
    assert refused(workspace, tmp_path / "b.csv")[0] == (
        "SOURCE:4: row 2, emotion: '-1' is no label; expected a name, as in the other rows"
    )
