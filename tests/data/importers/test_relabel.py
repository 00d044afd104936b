"""A data set with some labels changed: just those, by a CSV whose every mistake is named."""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_tiny
from verbs import call

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.importers.relabel import relabel
from mien.data.labels import FER2013
from mien.errors import MienError
from mien.images import encode_png
from mien.workspace import Workspace

HEADER = "split,id,given,suggested"


@pytest.fixture
def few(workspace: Workspace) -> Dataset:
    """70 stripes: the id is the row's number, the label that modulo 7; rows 42 to 48 of each 49 are `test`'s."""
    return write_tiny(workspace, "few", n=70)


def write(folder: Path, *lines: str) -> Path:
    file = folder / "changes.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def rows(dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    for shard in dataset.card.shards:
        for row in pq.read_table(dataset.folder / shard.file).to_pylist():
            yield shard.split, row


def test_only_those_labels_change(workspace: Workspace, few: Dataset, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "rank,Suggested,given,id,split,apply",
        "1,sad,angry,0,train,",
        "2,happiness,disgust,1,train,yes",
        "3,,fear,2,train,yes",
        "4,sad,happy,3,train,no",
        '5,sad,angry,"42",test,YES',
        "6,neutral,neutral,6,train,",
    )
    made = relabel(workspace, "few", file, "fewer-errors")
    changed = {("train", "0"): 4, ("train", "1"): 3, ("test", "42"): 4}
    expected = [(split, {**row, "label": changed.get((split, row["id"]), row["label"])}) for split, row in rows(few)]
    assert list(rows(made)) == expected
    old, new = few.card, made.card
    assert new.parent is not None
    assert (new.parent.name, new.parent.fingerprint) == ("few", old.fingerprint)
    assert new.fingerprint != old.fingerprint
    assert (new.columns, new.labels, new.image_sizes) == (old.columns, old.labels, old.image_sizes)
    assert new.splits["train"][:5] == tuple(
        count + change for count, change in zip(old.splits["train"][:5], (-1, -1, 0, 1, 1), strict=True)
    )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert new.details == {
        "relabelled": {
            "file": "changes.csv",
            "sha256": digest,
            "changed": 3,
            "by_class": {"angry → sad": 2, "disgust → happy": 1},
        }
    }
    assert new.notes == (
        *old.notes,
        f"3 labels changed by changes.csv (SHA-256 {digest[:16]}): angry → sad 2, disgust → happy 1",
    )
    # Again, from the new one: the notes tell the whole story.
    again = write(tmp_path, HEADER, "train,0,sad,angry")
    last = relabel(workspace, "fewer-errors", again, "third").card
    assert last.notes[:-1] == new.notes
    assert last.parent is not None
    assert last.parent.name == "fewer-errors"


def test_all_kinds_of_columns_are_kept(workspace: Workspace, tmp_path: Path) -> None:
    kinds = {"votes": pa.list_(pa.int16(), 10), "points": pa.list_(pa.float32(), 4), "person": pa.string()}
    random = np.random.default_rng(0)
    with write_dataset(workspace, "wide", FER2013, source="", format="test", columns=kinds) as writer:
        for number in range(5):
            shape = (int(random.integers(8, 40)), int(random.integers(8, 40)), 3)
            extra: dict[str, Any] = {
                "votes": [number] * 10,
                "points": random.random(4).astype(np.float32).tolist(),
                "person": None if number == 3 else f"p{number}",
            }
            image = encode_png(random.integers(0, 255, shape).astype(np.uint8))
            writer.add("train", f"a{number}", image, number, size=(shape[1], shape[0]), path=f"{number}.png", **extra)
    old = open_dataset(workspace, "wide")
    made = relabel(workspace, "wide", write(tmp_path, HEADER, "train,a4,sad,angry"), "wide-2")
    before, after = (pq.read_table(one.folder / one.card.shards[0].file) for one in (old, made))
    assert after.schema == before.schema
    assert after.schema.metadata == before.schema.metadata
    assert after.drop_columns(["label"]) == before.drop_columns(["label"])
    assert after["label"].to_pylist() == [0, 1, 2, 3, 0]
    assert made.card.image_sizes == old.card.image_sizes


WANTED = "expected the columns split, id, given, suggested, and perhaps apply"
CLASSES = "expected one of angry, disgust, fear, happy, sad, surprise, neutral"
NOTHING = " no label is changed by this; expected rows with another 'suggested' label"
FIRST = "train,0,angry,sad"
MISTAKES = {
    "no suggestions": (["split,id,given", "train,0,angry"], f"1: there is no column 'suggested'; {WANTED}"),
    "no header": ([FIRST], f"1: there is no column 'split'; {WANTED}"),
    "empty": ([""], f"1: there is no column 'split'; {WANTED}"),
    "short row": ([HEADER, "train,0,angry"], "2: 3 columns; expected 4"),
    "unknown id": ([HEADER, FIRST, "", "train,700,angry,sad"], "4: id: data set 'few' has no row '700' in train"),
    "unknown split": (
        [HEADER, "trian,0,angry,sad"],
        "2: split: data set 'few' has no split 'trian'; expected one of train, validation, test. Did you mean 'train'?",
    ),
    "unknown class": (
        [HEADER, "train,0,angry,sadd"],
        f"2: suggested: 'sadd' is no class; {CLASSES}. Did you mean 'sad'?",
    ),
    "given is no class": ([HEADER, "train,0,contempt,sad"], f"2: given: 'contempt' is no class; {CLASSES}"),
    "twice": (
        [HEADER, FIRST, "train,1,disgust,sad", "train,0,angry,fear"],
        "4: row '0' of train stands there twice; expected line 2 only",
    ),
    "other label": (
        [HEADER, "train,0,happy,sad"],
        "2: given: row '0' of train has the label 'angry'; expected a file made for this data set; here it is 'happy'",
    ),
    "apply": ([HEADER + ",apply", f"{FIRST},maybe"], "2: apply: 'maybe' doesn't say whether; expected yes or no"),
    "nothing new": ([HEADER, "train,0,angry,angry", "train,1,disgust,"], NOTHING),
    "header alone": ([HEADER], NOTHING),
    "quotes": ([HEADER, 'train,"0"x,angry,sad'], " this is no CSV (',' expected after '\"')"),
}


@pytest.mark.parametrize(("lines", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(workspace: Workspace, few: Dataset, tmp_path: Path, lines: list[str], message: str) -> None:
    file = write(tmp_path, *lines)
    with pytest.raises(MienError) as error:
        relabel(workspace, "few", file, "new")
    assert str(error.value) == f"{file}:{message}"
    assert sorted(path.name for path in workspace.datasets.iterdir()) == ["few"]


def test_what_isn_t_a_file_or_a_data_set(workspace: Workspace, few: Dataset, tmp_path: Path) -> None:
    with pytest.raises(MienError, match="this can't be read \\(No such file or directory\\)"):
        relabel(workspace, "few", tmp_path / "none.csv", "new")
    with pytest.raises(MienError, match=r"no data set is called 'fwe'; expected one of few in .* Did you mean 'few'\?"):
        relabel(workspace, "fwe", tmp_path / "none.csv", "new")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\ntrain,0,angry,\xe9\n")
    with pytest.raises(MienError, match="this is no CSV"):
        relabel(workspace, "few", tmp_path / "latin.csv", "new")


def test_the_verb(workspace: Workspace, few: Dataset, tmp_path: Path) -> None:
    with (tmp_path / "c.csv").open("w", newline="") as text:
        csv.writer(text).writerows([HEADER.split(","), ["train", "0", "angry", "sad"]])
    made = call("data", "import", "few", "--as", "v2", "--relabel", tmp_path / "c.csv", "--workspace", workspace.root)
    assert made.code == 0, made.err
    assert "note: 1 label changed by c.csv" in made.out
    arguments = ("data", "import", "few", "--relabel", tmp_path / "c.csv", "--workspace", workspace.root)
    taken = call(*arguments, "--as", "v2")
    assert (taken.code, "there is a data set 'v2' already" in taken.err) == (2, True)
    both = call(*arguments, "--as", "v3", "--labels", "ferplus-8")
    assert both.err == "mien: --relabel goes with --as alone; expected mien data import NAME --as NEW --relabel FILE\n"
    assert both.code == 2
