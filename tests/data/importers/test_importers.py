"""Importers: what is in the source is what is in the data set, and what can't be imported is said, row by row."""

import inspect
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mien.data.importers.source
from mien import registry
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.data.importers.fer2013_csv import parse_pixels
from mien.data.importers.known import FER2013_COUNTS, difference
from mien.data.importers.splits import make_splits
from mien.data.labels import FER2013, FERPLUS, LabelScheme
from mien.errors import MienError
from mien.images import Pixels, decode, encode_png
from mien.workspace import Workspace

USAGES = ("Training", "PublicTest", "PrivateTest")
NUMBERED = (
    "--labels with one of fer2013-7, ferplus-8, affectnet-8, affectnet-7, raf-db, ck-plus-8, "
    "or with the names of the classes in order, as --labels happy,sad"
)
LOOKED_FOR = (
    "a CSV with the columns emotion and pixels, or with paths of images and labels; Parquet with an image and a label "
    "or landmarks; a folder of <split>/<class>/images or <class>/images, of images with .pts files, or of a public set "
    "that docs/data.md lists; or dlib's XML"
)


def faces(count: int, side: int = 4, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)


def text_of(image: Pixels) -> str:
    return " ".join(map(str, image.ravel().tolist()))


def write_csv(file: Path, rows: Sequence[tuple[object, object, object]], header: str = "emotion,pixels,Usage") -> Path:
    """Rows of emotion, pixels (an image or a text) and usage, as the challenge's CSV."""
    lines = [header]
    for emotion, pixels, usage in rows:
        lines.append(f"{emotion},{text_of(pixels) if isinstance(pixels, np.ndarray) else pixels},{usage}")
    file.write_text("\n".join(lines) + "\n")
    return file


def plain_rows(count: int = 12) -> list[tuple[object, object, object]]:
    return [(row % 7, image, USAGES[row % 3]) for row, image in enumerate(faces(count))]


def pixels_of(dataset: Dataset, split: str) -> list[Pixels]:
    return [decode(data, "gray")[:, :, 0] for data in dataset.images(split)]


def content(dataset: Dataset) -> dict[str, list[tuple[str, str, bytes]]]:
    """For each split its rows' ids, class names and image bytes."""
    classes = dataset.card.classes
    return {
        split: [
            (row, classes[label], data)
            for row, label, data in zip(dataset.ids(split), dataset.labels(split), dataset.images(split), strict=True)
        ]
        for split in dataset.card.splits
    }


def refusal(workspace: Workspace, source: Path, **options: Any) -> list[str]:
    """The messages with which an import is refused; nothing may stay behind."""
    with pytest.raises(MienError) as error:
        import_dataset(workspace, source, "new", **options)
    assert not workspace.datasets.exists() or list(workspace.datasets.iterdir()) == []
    return [str(one).replace(str(source), "SOURCE") for one in (error.value, *error.value.more)]


# The challenge's CSV


@settings(max_examples=15, deadline=None)
@given(
    images=st.integers(1, 12).flatmap(
        lambda side: st.lists(
            st.tuples(st.integers(0, 6), st.binary(min_size=side**2, max_size=side**2), st.sampled_from(USAGES)),
            min_size=1,
            max_size=20,
        )
    )
)
def test_every_pixel_and_label_of_a_csv_comes_through(images: list[tuple[int, bytes, str]]) -> None:
    side = int(len(images[0][1]) ** 0.5)
    rows = [(label, np.frombuffer(data, np.uint8).reshape(side, side), usage) for label, data, usage in images]
    with tempfile.TemporaryDirectory() as folder:
        dataset = import_dataset(
            Workspace(Path(folder)), write_csv(Path(folder) / "a.csv", rows), "a", labels="fer2013-7"
        )
        assert set(dataset.card.splits) == {usage for *_, usage in rows}
        for split in dataset.card.splits:
            wanted = [(str(row), *of) for row, of in enumerate(rows) if of[2] == split]
            assert dataset.ids(split) == [row for row, *_ in wanted]
            assert dataset.labels(split).tolist() == [label for _, label, *_ in wanted]
            assert np.array_equal(pixels_of(dataset, split), [image for _, _, image, _ in wanted])


def test_the_card_of_a_csv(workspace: Workspace, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", plain_rows())
    card = import_dataset(workspace, source, "a").card
    assert (card.format, card.source, card.labels) == ("fer2013-csv", str(source), "fer2013-7")
    assert card.splits == {
        "Training": (1, 0, 1, 1, 0, 0, 1),
        "PublicTest": (1, 1, 0, 1, 1, 0, 0),
        "PrivateTest": (0, 1, 1, 0, 1, 1, 0),
    }
    assert (card.image_sizes, card.skipped, card.details) == ({"4×4": 12}, (), {})


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("emotion,pixels,Usage", " Emotion , PIXELS, usage"),
        lambda text: "\ufeff" + text,
        lambda text: "\ufeff" + text.replace("emotion,pixels,Usage", ' "emotion", "pixels", "Usage"'),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\n\n") + "\n \n",
        lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text),
        lambda text: text.replace(" ", "  ").replace(",", " , "),
        lambda text: re.sub(r"\d+(?= )", lambda number: number[0].zfill(5), text),
        # icml_face_data.csv: other order, blanks in front.
        lambda text: "emotion, Usage, pixels\n" + re.sub(r"(?m)^(\d),(.*),(.*)$", r"\1,\3,\2", text.split("\n", 1)[1]),
    ],
    ids=["names", "BOM", "BOM and blanks", "CRLF", "no end", "empty lines", "quotes", "blanks", "zeros", "icml"],
)
def test_a_csv_may_be_written_otherwise(workspace: Workspace, tmp_path: Path, change: Callable[[str], str]) -> None:
    plain = write_csv(tmp_path / "plain.csv", plain_rows())
    other = tmp_path / "other.data"
    other.write_bytes(change(plain.read_text()).encode())
    datasets = [import_dataset(workspace, source, f"d{i}") for i, source in enumerate((plain, other))]
    assert datasets[0].card.fingerprint == datasets[1].card.fingerprint


GOOD = " ".join(["7"] * 16)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((9, GOOD, "Training"), "emotion: '9' is no label; expected 0 to 6"),
        (("", GOOD, "Training"), "emotion: '' is no label; expected 0 to 6"),
        (("happy", GOOD, "Training"), "emotion: 'happy' is no label; expected 0 to 6"),
        ((3, GOOD, "Test"), "Usage: 'Test' is no usage; expected Training, PublicTest, PrivateTest"),
        ((3, GOOD + " 7", "Training"), "pixels: 17 values; expected 16 (4 × 4)"),
        ((3, GOOD[2:], "Training"), "pixels: 15 values; expected 16 (4 × 4)"),
        ((3, "", "Training"), "pixels: 0 values; expected 16 (4 × 4)"),
        ((3, "256" + GOOD[1:], "Training"), "pixels: value 0 is '256'; expected a whole number from 0 to 255"),
        ((3, "300" + GOOD[1:], "Training"), "pixels: value 0 is '300'; expected a whole number from 0 to 255"),
        ((3, GOOD[:-1] + "1000", "Training"), "pixels: value 15 is '1000'; expected a whole number from 0 to 255"),
        ((3, GOOD[:-1] + "-1", "Training"), "pixels: value 15 is '-1'; expected a whole number from 0 to 255"),
        ((3, GOOD[:-1] + "1.5", "Training"), "pixels: value 15 is '1.5'; expected a whole number from 0 to 255"),
        ((3, GOOD[:-1] + "9" * 9999, "Training"),
         "pixels: value 15 is '99999999999999999999…'; expected a whole number from 0 to 255"),
        ((3, GOOD, "Training,Training"), "4 columns or more; expected 3"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(
    workspace: Workspace, tmp_path: Path, row: tuple[object, object, object], message: str
) -> None:
    rows = plain_rows(20)
    rows[13] = row
    comma = "," if re.match(r"\w+:", message) else ":"
    assert refusal(workspace, write_csv(tmp_path / "a.csv", rows)) == [
        f"SOURCE:15: row 13{comma} {message}",
        "SOURCE: 1 bad row, and so nothing is imported; --skip-bad goes on without them",
    ]


def test_a_line_without_end(workspace: Workspace, tmp_path: Path) -> None:
    """A line of 9 MB is passed over without being held; the rows behind it are good."""
    rows = plain_rows(5)
    rows[2] = (0, "7 " * 4_500_000, "Training")
    source = write_csv(tmp_path / "a.csv", rows)
    assert refusal(workspace, source)[0] == "SOURCE:4: row 2: the line is too long; expected at most 4 MB"
    dataset = import_dataset(workspace, source, "a", skip_bad=True)
    assert {split: dataset.ids(split) for split in dataset.card.splits} == {
        "Training": ["0", "3"],
        "PublicTest": ["1", "4"],
    }


def test_up_to_20_bad_rows_at_once(workspace: Workspace, tmp_path: Path) -> None:
    rows = plain_rows(200)
    for row in range(50, 80):
        rows[row] = (8, GOOD, "Training")
    messages = refusal(workspace, write_csv(tmp_path / "a.csv", rows))
    assert messages[:-1] == [
        f"SOURCE:{row + 2}: row {row}, emotion: '8' is no label; expected 0 to 6" for row in range(50, 70)
    ]
    assert messages[-1] == "SOURCE: 20 bad rows or more, and so nothing is imported; --skip-bad goes on without them"


def test_skipped_rows_are_listed_and_the_others_keep_their_ids(workspace: Workspace, tmp_path: Path) -> None:
    rows = plain_rows(300)
    bad = list(range(1, 300, 11))
    for row in bad:
        rows[row] = (rows[row][0], "1 2 3", rows[row][2])
    dataset = import_dataset(workspace, write_csv(tmp_path / "a.csv", rows), "a", skip_bad=True)
    assert dataset.card.skipped == tuple(f"row {row}, pixels: 3 values; expected 16 (4 × 4)" for row in bad)
    for index, split in enumerate(USAGES):
        good = [row for row in range(index, 300, 3) if row not in bad]
        assert dataset.ids(split) == list(map(str, good))
        assert np.array_equal(pixels_of(dataset, split), [rows[row][1] for row in good])


def test_nothing_but_bad_rows(workspace: Workspace, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", [(7, GOOD, "Training")])
    assert refusal(workspace, source, skip_bad=True) == ["SOURCE: there are no rows"]
    assert refusal(workspace, write_csv(tmp_path / "b.csv", [])) == ["SOURCE: there are no rows"]


def test_the_commonest_square_is_the_size_of_all(workspace: Workspace, tmp_path: Path) -> None:
    rows = [(0, " ".join(["1"] * count), "Training") for count in (15, 25, 16, 16)]
    assert refusal(workspace, write_csv(tmp_path / "a.csv", rows))[:2] == [
        "SOURCE:2: row 0, pixels: 15 values; expected 16 (4 × 4)",
        "SOURCE:3: row 1, pixels: 25 values; expected 16 (4 × 4)",
    ]
    assert refusal(workspace, write_csv(tmp_path / "b.csv", rows[:1]))[0] == (
        "SOURCE:2: row 0, pixels: 15 values; expected 2304 (48 × 48)"
    )


def test_a_csv_without_one_of_the_columns(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("Usage,pixels\n0,1\n")
    assert refusal(workspace, source) == [
        "SOURCE:1: the CSV has no column 'emotion'; expected the columns emotion and pixels, and perhaps Usage"
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=9, max_size=9), min_size=1, max_size=6))
def test_plain_texts_go_the_fast_way(images: list[bytes]) -> None:
    parsed = parse_pixels([" ".join(map(str, image)).encode() for image in images], side=3)
    assert parsed is not None
    assert parsed.tobytes() == b"".join(images)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["0", "9", "25", "255", "256", "260", "999", "0255", "-1", "", "a", "1 2", "/", ":"])),
        min_size=1,
        max_size=3,
    ).map(lambda rows: [" ".join(row).encode() for row in rows])
)  # fmt: skip
def test_the_fast_way_takes_nothing_but_plain_texts(texts: list[bytes]) -> None:
    plain = re.compile(rb"\d{1,3}( \d{1,3}){3}")
    good = all(plain.fullmatch(text) and max(map(int, text.split())) < 256 for text in texts)
    parsed = parse_pixels(texts, side=2)
    assert (parsed is not None) == good
    if parsed is not None:
        assert parsed.reshape(-1, 4).tolist() == [list(map(int, text.split())) for text in texts]


# Votes


def write_votes(file: Path, usages: Sequence[str], header: str | None = None) -> Path:
    """Row n has the votes n, n + 1, …, n + 9."""
    names = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    lines = [header or names]
    lines += [
        f"{usage},fer{row:07}.png," + ",".join(str(row + i) for i in range(10)) for row, usage in enumerate(usages)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_votes_are_joined_by_row(workspace: Workspace, tmp_path: Path) -> None:
    rows = plain_rows()
    rows[4] = (0, "1", rows[4][2])
    source = write_csv(tmp_path / "a.csv", rows)
    votes = write_votes(tmp_path / "votes.csv", [str(usage) for *_, usage in rows])
    dataset = import_dataset(workspace, source, "a", votes=votes, skip_bad=True)
    assert dataset.card.columns == ("id", "image", "label", "votes")
    assert dataset.card.details == {"votes": str(votes)}
    for split in USAGES:
        table = dataset.table(split, ["id", "votes"])
        assert table["votes"].type == pa.list_(pa.int16(), 10)
        assert table["votes"].to_pylist() == [[int(row) + i for i in range(10)] for row in table["id"].to_pylist()]
    # Twelve rows less the bad one.
    assert sum(map(dataset.rows, USAGES)) == 11


def test_votes_in_another_order_of_columns(workspace: Workspace, tmp_path: Path) -> None:
    header = "USAGE,name, NF,unknown,contempt,fear,disgust,anger,sadness,surprise,happiness,neutral"
    votes = write_votes(tmp_path / "votes.csv", [str(usage) for *_, usage in plain_rows()], header)
    dataset = import_dataset(workspace, write_csv(tmp_path / "a.csv", plain_rows()), "a", votes=votes)
    assert dataset.table("Training", ["votes"])["votes"][1].as_py() == list(range(12, 2, -1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("PublicTest,fer0000004", "Training,fer0000004"),
         "VOTES:6: Usage: row 4 is in Training here and in PublicTest in the data set; "
         "expected votes for the same rows in the same order"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n",
         "VOTES: row 11 has no votes: there are 11 rows of votes"),
        (lambda text: text + "Training,x" + ",1" * 10 + "\n",
         "VOTES: there are 13 rows of votes, but 12 rows of images; row 12 has no image"),
        (lambda text: text.replace("contempt", "scorn"),
         "VOTES:1: the votes have no column 'contempt'; expected the columns Usage, neutral, happiness, surprise, "
         "sadness, anger, disgust, fear, contempt, unknown, NF"),
        (lambda text: text.replace(".png,3,", ".png,many,"),
         "VOTES:5: row 3, neutral: 'many' is no number of votes; expected 0 to 1000"),
        (lambda text: text.replace(".png,3,4,", ".png,3,-4,"),
         "VOTES:5: row 3, happiness: '-4' is no number of votes; expected 0 to 1000"),
        (lambda text: text.replace(".png,3,4,", ".png,3,"),
         "VOTES:5: row 3 has 11 columns; expected 12"),
        (lambda text: "", "VOTES:1: the votes have no column 'Usage'; expected the columns Usage, neutral, happiness, "
         "surprise, sadness, anger, disgust, fear, contempt, unknown, NF"),
        (None, "VOTES: the votes can't be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_votes_that_do_not_fit(
    workspace: Workspace, tmp_path: Path, change: Callable[[str], str] | None, message: str
) -> None:
    source = write_csv(tmp_path / "a.csv", plain_rows())
    votes = write_votes(tmp_path / "votes.csv", [str(usage) for *_, usage in plain_rows()])
    if change is None:
        votes.unlink()
    else:
        votes.write_text(change(votes.read_text()))
    assert refusal(workspace, source, votes=votes) == [message.replace("VOTES", str(votes))]


def test_votes_are_refused_for_a_folder(workspace: Workspace, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"train/happy/Training_0.png": 0})
    votes = write_votes(tmp_path / "votes.csv", ["Training"])
    assert refusal(workspace, tmp_path / "folder", votes=votes) == [
        f"{votes}: votes are joined by row number, and the rows of this source (folder) have none; "
        "expected --votes with fer2013.csv or icml_face_data.csv"
    ]


# Folders


def write_folder(folder: Path, files: dict[str, int | bytes]) -> Path:
    """Files by path: bytes, or the seed of a PNG."""
    for name, what in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(what if isinstance(what, bytes) else encode_png(faces(1, 6, what)[0]))
    return folder


def test_file_names_give_the_official_splits_back(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(
        tmp_path / "folder",
        {
            "train/happy/Training_10.png": 10,
            "train/angry/Training_9.png": 9,
            "train/happy/Training_2.jpg": 2,
            "test/sad/PublicTest_11.png": 11,
            "test/angry/PrivateTest_13.png": 13,
            "test/sad/PrivateTest_12.png": 12,
            "train/happy/.DS_Store": b"junk",
            "train/happy/Thumbs.db": b"junk",
            "README.md": b"text",
        },
    )
    dataset = import_dataset(workspace, source, "a")
    made = {split: [(row, name) for row, name, _ in rows] for split, rows in content(dataset).items()}
    assert made == {
        "Training": [
            ("train/happy/Training_2.jpg", "happy"),
            ("train/angry/Training_9.png", "angry"),
            ("train/happy/Training_10.png", "happy"),
        ],
        "PublicTest": [("test/sad/PublicTest_11.png", "sad")],
        "PrivateTest": [("test/sad/PrivateTest_12.png", "sad"), ("test/angry/PrivateTest_13.png", "angry")],
    }
    assert list(dataset.card.splits) == list(USAGES)
    assert list(dataset.images("PublicTest")) == [encode_png(faces(1, 6, 11)[0])]
    assert dataset.table("PublicTest", ["image"])["image"][0]["path"].as_py() == "PublicTest_11.png"
    assert (dataset.card.format, dataset.card.image_sizes) == ("folder", {"6×6": 6})
    # Three classes of the seven: no built-in scheme has just these.
    assert (dataset.card.labels, dataset.card.classes) == ("a", ("angry", "happy", "sad"))


def test_a_name_that_contradicts_its_folder_or_says_no_split(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(
        tmp_path / "folder",
        {f"train/happy/Training_{i}.png": i for i in range(5)}
        | {"train/sad/PrivateTest_7.png": 7, "test/sad/Training_8.png": 8, "test/sad/other.png": 9},
    )
    assert refusal(workspace, source) == [
        "SOURCE: row test/sad/Training_8.png, image: the name says Training, but the folder is 'test'",
        "SOURCE: row train/sad/PrivateTest_7.png, image: the name says PrivateTest, but the folder is 'train'",
        "SOURCE: row test/sad/other.png, image: the name gives no official split, as most of the others do",
        "SOURCE: 3 bad rows, and so nothing is imported; --skip-bad goes on without them",
    ]


@pytest.mark.parametrize("scheme", [FER2013, FERPLUS])
def test_split_folders_keep_their_names(workspace: Workspace, tmp_path: Path, scheme: LabelScheme) -> None:
    source = tmp_path / "folder"
    for split in ("test", "valid", "train"):
        for seed, name in enumerate(scheme.classes):
            write_folder(source, {f"{split}/{name.title()}/b.png": seed, f"{split}/{name.title()}/a.jpeg": seed})
    dataset = import_dataset(workspace, source, "a")
    assert dataset.card.scheme == scheme
    assert dataset.card.splits == {split: (2,) * len(scheme) for split in ("train", "valid", "test")}
    first = content(dataset)["train"][0]
    assert first == (f"train/{min(scheme.classes).title()}/a.jpeg", min(scheme.classes), encode_png(
        faces(1, 6, scheme.classes.index(min(scheme.classes)))[0]
    ))  # fmt: skip


def test_a_scheme_that_is_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(
        tmp_path / "folder", {"train/Anger/a.png": 0, "train/Joy/b.png": 1, "train/contempt/c.png": 2}
    )
    assert refusal(workspace, source, labels="fer2013-7") == [
        "SOURCE: row train/contempt/c.png, class folder: 'contempt' is no label; expected Anger, Joy",
        "SOURCE: 1 bad row, and so nothing is imported; --skip-bad goes on without them",
    ]
    dataset = import_dataset(workspace, source, "a", labels="fer2013-7", skip_bad=True)
    assert (dataset.card.scheme, dataset.labels("train").tolist()) == (FER2013, [0, 3])


def test_numbers_for_names_are_never_guessed(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "folder", {f"train/{i}/a.png": i for i in range(7)})
    assert refusal(workspace, source) == [
        "SOURCE: class folder: the labels are numbers, and nothing says which class each stands for; "
        f"expected {NUMBERED}"
    ]
    dataset = import_dataset(workspace, source, "a", labels="fer2013-7")
    assert (dataset.card.scheme, dataset.labels("train").tolist()) == (FER2013, list(range(7)))


def test_a_split_is_made_where_there_is_none(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(
        tmp_path / "folder",
        {f"{name}/{i:02}.png": seed + i for seed, name in ((0, "cat"), (50, "dog")) for i in range(20)}
        | {"ape/0.png": 99},
    )
    dataset = import_dataset(workspace, source, "pets", seed=3)
    assert dataset.card.scheme == LabelScheme("pets", ("ape", "cat", "dog"))
    assert list(dataset.card.splits.items()) == [("train", (1, 16, 16)), ("validation", (0, 2, 2)), ("test", (0, 2, 2))]
    assert dataset.card.details == {
        "made_splits": {
            "seed": 3,
            "shares": {"train": 0.8, "validation": 0.1, "test": 0.1},
            "stratified": True,
            "groups": [],
            "equal_rows": 0,
        }
    }
    again = import_dataset(workspace, source, "again", seed=3)
    assert content(again) == content(dataset)
    other = import_dataset(workspace, source, "other", seed=4)
    assert other.ids("test") != dataset.ids("test")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=80), st.integers(0, 2**32))
def test_made_splits_are_stratified(labels: list[str], seed: int) -> None:
    splits = make_splits(labels, seed)
    assert splits == make_splits(labels, seed)
    counts = Counter(zip(labels, splits, strict=True))
    for label in set(labels):
        n = labels.count(label)
        held_out = counts[label, "validation"], counts[label, "test"]
        assert held_out[0] == held_out[1]
        assert counts[label, "train"] == n - 2 * held_out[0] > 0
        assert held_out[0] == 0 if n < 3 else abs(held_out[0] - n / 10) <= 0.5 or held_out[0] == 1


def test_what_is_no_image(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = write_folder(tmp_path, {"secret.png": 5}) / "secret.png"
    source = write_folder(
        tmp_path / "folder",
        {
            "train/happy/0.png": 0,
            "train/happy/empty.png": b"",
            "train/happy/note.txt": b"not an image",
            "train/happy/cut.png": encode_png(faces(1, 48)[0])[:500],
            "train/happy/deep/1.png": 1,
            "train/stray.png": 2,
            "train/notes.txt": b"beside the classes: no row",
        },
    )
    (source / "train/happy/out.png").symlink_to(secret)
    (source / "train/happy/in.png").symlink_to("0.png")
    (source / "train/happy/lost.png").symlink_to("nowhere.png")
    (source / "train/sad").symlink_to(tmp_path)
    os.mkfifo(source / "train/happy/pipe.png")
    with (source / "train/happy/vast.png").open("wb") as vast:
        vast.truncate(2**26 + 1)
    assert refusal(workspace, source) == [
        "SOURCE: row train/happy/cut.png, image: the image doesn't decode (image file is truncated)",
        "SOURCE: row train/happy/empty.png, image: the file is empty",
        "SOURCE: row train/happy/lost.png, image: the file can't be read (No such file or directory)",
        "SOURCE: row train/happy/note.txt, image: this is no image of a known format; "
        "expected PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM",
        "SOURCE: row train/happy/out.png, image: a link that leads out of the source",
        "SOURCE: row train/happy/pipe.png, image: not a file",
        "SOURCE: row train/happy/vast.png, image: the file has 67,108,865 bytes, more than 67,108,864",
        "SOURCE: row train/sad, image: a link that leads out of the source",
        "SOURCE: row train/happy/deep/1.png, image: in a folder below a class folder",
        "SOURCE: row train/stray.png, image: not in a class folder",
        "SOURCE: of 12 rows read, 10 bad, and so nothing is imported; expected a source of which most rows are good",
    ]
    dataset = import_dataset(workspace, source, "a", labels="happy", skip_bad=True)
    warning = "10 of 12 rows are bad and were left out: is this the right source?"
    assert dataset.card.notes == (warning,)
    assert capsys.readouterr().err.splitlines()[-1] == f"warning: {warning}"
    assert dataset.ids("train") == ["train/happy/0.png", "train/happy/in.png"]
    assert len(dataset.card.skipped) == 10


def test_names_that_are_no_text(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "folder", {"train/happy/ü.png": 0})
    (source / "train/happy" / os.fsdecode(b"\xff.png")).write_bytes(encode_png(faces(1)[0]))
    assert refusal(workspace, source)[0] == "SOURCE: row train/happy/\ufffd.png, image: the name isn't UTF-8"
    assert import_dataset(workspace, source, "a", labels="happy", skip_bad=True).ids("train") == ["train/happy/ü.png"]


def test_a_folder_of_a_name_that_no_split_can_have(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "folder", {"my split/happy/0.png": 0})
    assert refusal(workspace, source)[0] == (
        "SOURCE: row my split/happy/0.png, split: 'my split' can't be the name of a split; "
        "expected letters, digits or '_'"
    )


def test_too_many_splits(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "folder", {f"fold{i}/happy/0.png": 0 for i in range(21)})
    assert refusal(workspace, source) == ["split: there are more than 20 splits; expected names like train or test"]


# Parquet


def write_parquet(file: Path, columns: dict[str, Any], names: Sequence[str] | None = None) -> Path:
    """Columns as a Parquet file; `names` are the class names of the column label, in Hugging Face's metadata."""
    table = pa.table(columns)
    if names is not None:
        info = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


def pngs(count: int, seed: int = 0) -> list[bytes]:
    return [encode_png(image) for image in faces(count, 5, seed)]


def test_the_challenge_as_parquet(workspace: Workspace, tmp_path: Path) -> None:
    source = write_parquet(
        tmp_path / "fer.parquet",
        {
            "row": pa.array([5, 6, 9], pa.int32()),
            "usage": ["Training", "PublicTest", "Training"],
            "emotion": pa.array([3, 0, 6], pa.uint8()),
            "image": pngs(3),
            "exact": [True, False, True],
        },
    )
    dataset = import_dataset(workspace, source, "a")
    assert dataset.card.scheme == FER2013
    assert content(dataset) == {
        "Training": [("5", "happy", pngs(3)[0]), ("9", "neutral", pngs(3)[2])],
        "PublicTest": [("6", "angry", pngs(3)[1])],
    }
    assert dataset.card.columns == ("id", "image", "label", "exact")
    assert dataset.table("Training", ["exact"])["exact"].to_pylist() == [True, True]


def test_hugging_face_s_layout(workspace: Workspace, tmp_path: Path) -> None:
    names = ["sad", "happy"]
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        images = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(pngs(count))]
        file = tmp_path / "hf" / "data" / f"{split}-00000-of-00001.parquet"
        write_parquet(file, {"image": images, "label": [i % 2 for i in range(count)]}, names)
    dataset = import_dataset(workspace, tmp_path / "hf", "a")
    assert dataset.card.scheme == LabelScheme("a", ("sad", "happy"))
    assert dataset.card.splits == {"train": (2, 1), "validation": (1, 1), "test": (1, 0)}
    # Row numbers, over all files.
    assert [dataset.ids(split) for split in dataset.card.splits] == [["0", "1", "2"], ["3", "4"], ["5"]]
    assert dataset.table("train", ["image"])["image"][2].as_py() == {"bytes": pngs(3)[2], "path": "2.png"}


def test_our_own_layout_comes_back_as_it_was(workspace: Workspace, tmp_path: Path) -> None:
    votes = write_votes(tmp_path / "votes.csv", [str(usage) for *_, usage in plain_rows()])
    first = import_dataset(workspace, write_csv(tmp_path / "a.csv", plain_rows()), "first", votes=votes)
    second = import_dataset(workspace, first.folder, "second")
    assert content(second) == content(first)
    assert (second.card.fingerprint, second.card.format) == (first.card.fingerprint, "parquet")
    assert second.table("PublicTest", ["votes"]) == first.table("PublicTest", ["votes"])
    with pytest.raises(MienError) as error:
        import_dataset(workspace, first.folder, "third", votes=votes)
    assert str(error.value) == f"{votes}: the source has votes already"


def test_votes_find_their_rows_in_our_own_layout(workspace: Workspace, tmp_path: Path) -> None:
    """The rows stand there by split, not in the votes' order."""
    first = import_dataset(workspace, write_csv(tmp_path / "a.csv", plain_rows()), "first")
    votes = write_votes(tmp_path / "votes.csv", [str(usage) for *_, usage in plain_rows()])
    second = import_dataset(workspace, first.folder, "second", votes=votes)
    assert [row[0] for row in second.table("PublicTest", ["votes"])["votes"].to_pylist()] == [1, 4, 7, 10]


def test_names_as_labels_and_a_split_that_is_made(workspace: Workspace, tmp_path: Path) -> None:
    labels = ["Happiness", "anger"] * 10
    source = write_parquet(tmp_path / "a.parquet", {"expression": labels, "image": pngs(20)})
    dataset = import_dataset(workspace, source, "a", labels="ferplus-8")
    assert dataset.card.scheme == FERPLUS
    assert {split: sum(counts) for split, counts in dataset.card.splits.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    rows = {row: of for split in content(dataset).values() for row, *of in split}
    assert [rows[str(i)] for i in range(20)] == [
        ["happiness" if label == "Happiness" else "anger", data] for label, data in zip(labels, pngs(20), strict=True)
    ]


def test_columns_that_come_along(workspace: Workspace, tmp_path: Path) -> None:
    source = write_parquet(
        tmp_path / "train-00000.parquet",
        {
            "id": ["x", "y"],
            "image": pngs(2),
            "label": ["cat", "dog"],
            "path": ["p", None],
            "score": pa.array([0.5, None], pa.float64()),
            "landmarks": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
            "name": pa.array(["n", "m"]).dictionary_encode(),
            "box": [{"x": 1}, {"x": 2}],
            "taken": pa.array([0, 1], pa.timestamp("s")),
        },
    )
    dataset = import_dataset(workspace, source, "a")
    columns = ["id", "source_path", "score", "landmarks", "name"]
    assert dataset.card.columns == ("id", "image", "label", *columns[1:])
    assert dataset.card.details == {"left_out": ["box", "taken"]}
    assert dataset.table("train", columns).to_pylist() == [
        {"id": "x", "source_path": "p", "score": 0.5, "landmarks": [1.0, 2.0], "name": "n"},
        {"id": "y", "source_path": None, "score": None, "landmarks": [3.0, 4.0], "name": "m"},
    ]


def test_ids_that_name_no_one_row_are_no_ids(workspace: Workspace, tmp_path: Path) -> None:
    source = write_parquet(
        tmp_path / "train-00000.parquet", {"id": ["x", "x"], "image": pngs(2), "label": ["cat", "dog"]}
    )
    dataset = import_dataset(workspace, source, "a")
    assert dataset.ids("train") == ["0", "1"]
    assert dataset.table("train", ["source_id"])["source_id"].to_pylist() == ["x", "x"]


def test_bad_rows_of_parquet(workspace: Workspace, tmp_path: Path) -> None:
    good = pngs(1)[0]
    source = write_parquet(
        tmp_path / "a.parquet",
        {
            "usage": ["Training", "Test", None, "Training", "Training", "Training", "Training", "Training"],
            "emotion": [0, 0, 0, 7, None, 0, 0, 0],
            "image": [good, good, good, good, good, None, b"", b"text"],
        },
    )
    assert refusal(workspace, source) == [
        "SOURCE: row 1, usage: 'Test' is no usage; expected Training, PublicTest, PrivateTest",
        "SOURCE: row 2, usage: 'None' is no usage; expected Training, PublicTest, PrivateTest",
        "SOURCE: row 3, emotion: '7' is no label; expected 0, 1, 2, 3, 4, 5, 6",
        "SOURCE: row 4, emotion: no label",
        "SOURCE: row 5, image: no bytes",
        "SOURCE: row 6, image: the file is empty",
        "SOURCE: row 7, image: this is no image of a known format; expected PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM",
        "SOURCE: of 8 rows read, 7 bad, and so nothing is imported; expected a source of which most rows are good",
    ]
    assert import_dataset(workspace, source, "a", labels="fer2013-7", skip_bad=True).ids("Training") == ["0"]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_path_is_read_below_the_table_alone(workspace: Workspace, tmp_path: Path, as_text: bool) -> None:
    """An image that is only a path could name any file of the machine."""
    secret = write_folder(tmp_path, {"secret.png": 0, "in/0.png": 1, "in/a/1.png": 2}) / "secret.png"
    paths = [str(secret), "../secret.png", "0.png", "a/1.png", str(tmp_path / "in/0.png"), "gone.png"]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = paths if as_text else pa.array([{"bytes": None, "path": path} for path in paths], kind)
    source = write_parquet(tmp_path / "in/train-00000.parquet", {"image": images, "label": list("abcabc")})
    embedded = (
        "and no such file below the table; expected images as bytes, which datasets embeds by "
        "ds.with_format('arrow').map(datasets.table.embed_table_storage, batched=True)"
    )
    assert refusal(workspace, source)[:3] == [
        f"SOURCE: row {row}, image: there is only a path, '{paths[row]}', {embedded}" for row in (0, 1, 5)
    ]
    dataset = import_dataset(workspace, source, "a", skip_bad=True)
    assert content(dataset)["train"] == [
        (row, label, encode_png(faces(1, 6, number)[0]))
        for row, label, number in (("2", "c", 1), ("3", "a", 2), ("4", "b", 1))
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": pngs(1), "label": [0]},
         "SOURCE: label: the labels are numbers, and nothing says which class each stands for; "
         f"expected {NUMBERED}"),
        ({"image": pngs(1), "label": ["3"]},
         "SOURCE: label: the labels are numbers, and nothing says which class each stands for; "
         f"expected {NUMBERED}"),
        ({"image": pngs(1), "label": [0.0]},
         "SOURCE: label: the labels have the type double; expected integers or text"),
        ({"image": pngs(1), "mood": [1]},
         "SOURCE: there is no column of labels among 'image', 'mood'; expected --label-column with one of them"),
        ({"pic": pngs(1), "label": [0]}, "SOURCE: there is no column of images among 'pic', 'label'; "
         "expected --image-column with one of them, of bytes, {bytes, path} or paths"),
        ({"image": [3], "label": [0]}, "SOURCE: there is no column of images among 'image', 'label'; "
         "expected --image-column with one of them, of bytes, {bytes, path} or paths"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())}, "SOURCE: there are no rows"),
        ({"image": pngs(1), "label": ["cat"], "split": ["../x"]},
         "SOURCE: row 0, split: '../x' can't be the name of a split; expected letters, digits or '_'"),
    ],
)  # fmt: skip
def test_parquet_that_can_not_be_imported(
    workspace: Workspace, tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    assert refusal(workspace, write_parquet(tmp_path / "train-00000.parquet", columns))[0] == message


def test_numbers_with_a_scheme(workspace: Workspace, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "train-00000.parquet", {"image": pngs(3), "label": [7, 0, 1]})
    assert refusal(workspace, source, labels="fer2013-7")[0] == (
        "SOURCE: row 0, label: '7' is no label; expected 0, 1, 2, 3, 4, 5, 6"
    )
    dataset = import_dataset(workspace, source, "a", labels="ferplus-8")
    assert [name for _, name, _ in content(dataset)["train"]] == ["contempt", "neutral", "happiness"]


def test_files_that_do_not_belong_together(workspace: Workspace, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a" / "train-00000.parquet", {"image": pngs(1), "label": ["cat"]})
    write_parquet(tmp_path / "a" / "test-00000.parquet", {"image": pngs(1), "label": [0]})
    assert refusal(workspace, tmp_path / "a") == [
        "SOURCE/test-00000.parquet: its columns differ from those of train-00000.parquet"
    ]
    write_parquet(tmp_path / "b" / "train-00000.parquet", {"image": pngs(1), "label": ["cat"]})
    write_parquet(tmp_path / "b" / "more.parquet", {"image": pngs(1), "label": ["cat"]})
    assert refusal(workspace, tmp_path / "b") == ["SOURCE: some files are called by their split and others aren't"]


def test_broken_parquet(workspace: Workspace, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "train-00000.parquet", {"image": pngs(40), "label": ["cat"] * 40})
    whole = source.read_bytes()
    source.write_bytes(whole[:-6] + b"\xff\xff\xff\xffPA")
    assert refusal(workspace, source)[0].startswith(
        "SOURCE: this Parquet can't be read (ArrowInvalid: Parquet magic bytes"
    )
    # The pages, not the footer.
    source.write_bytes(whole[:100] + b"\xff" * 600 + whole[700:])
    assert refusal(workspace, source)[0].startswith("SOURCE: this Parquet can't be read (")


# What holds for all


def test_what_is_not_there_or_of_no_known_format(workspace: Workspace, tmp_path: Path) -> None:
    assert refusal(workspace, tmp_path / "absent") == [
        f"SOURCE: there is no such file or folder; expected {LOOKED_FOR}"
    ]
    write_folder(tmp_path, {"empty.csv": b"", "text.bin": b"a,b\n1,2\n", "folder/0.png": 0})
    assert refusal(workspace, tmp_path / "empty.csv") == [f"SOURCE: the file is empty; expected {LOOKED_FOR}"]
    for name in ("text.bin", "folder/0.png"):
        assert refusal(workspace, tmp_path / name) == [f"SOURCE: this is of no known format; expected {LOOKED_FOR}"]


def test_a_name_that_is_taken(workspace: Workspace, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", plain_rows())
    before = import_dataset(workspace, source, "a").card
    with pytest.raises(MienError) as error:
        import_dataset(workspace, source, "a")
    assert str(error.value) == (
        f"{workspace.datasets / 'a'}: there is a data set 'a' already; expected another name, or mien data remove a"
    )
    assert Dataset(workspace.datasets / "a").card == before
    with pytest.raises(MienError, match=r"^'a/b' can't be the name of a data set"):
        import_dataset(workspace, source, "a/b")


def test_other_classes_can_not_have_a_built_in_scheme_s_name(workspace: Workspace, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "folder", {"train/cat/0.png": 0})
    with pytest.raises(MienError) as error:
        import_dataset(workspace, source, "ferplus-8")
    assert str(error.value) == "a data set with other classes than the label scheme 'ferplus-8' can't have its name"


def test_counts_that_are_not_fer2013_s_are_a_loud_warning(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = import_dataset(workspace, write_csv(tmp_path / "a.csv", plain_rows()), "a").card
    (note,) = card.notes
    assert note.splitlines() == [
        "The images by class are not those of FER2013: this is another, a changed or a broken copy.",
        "",
        "here            angry  disgust     fear    happy      sad surprise  neutral      all",
        "Training            1        0        1        1        0        0        1        4",
        "PublicTest          1        1        0        1        1        0        0        4",
        "PrivateTest         0        1        1        0        1        1        0        4",
        "",
        "FER2013         angry  disgust     fear    happy      sad surprise  neutral      all",
        "Training        3,995      436    4,097    7,215    4,830    3,171    4,965   28,709",
        "PublicTest        467       56      496      895      653      415      607    3,589",
        "PrivateTest       491       55      528      879      594      416      626    3,589",
    ]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"warning: {note}\n"


def test_only_what_claims_to_be_fer2013_is_compared_with_it() -> None:
    assert difference(FER2013, FER2013_COUNTS) is None
    assert difference(FER2013, {"train": (1,) * 7}) is None
    assert difference(FERPLUS, {"Training": (1,) * 8}) is None
    for split, counts in FER2013_COUNTS.items():
        assert difference(FER2013, {**FER2013_COUNTS, split: (counts[0] + 1, *counts[1:])}) is not None
        assert difference(FER2013, {name: of for name, of in FER2013_COUNTS.items() if name != split}) is not None


@pytest.fixture
def registered() -> Iterator[None]:
    """Forgets what a test registers."""
    before = dict(registry._entries)
    yield
    registry._entries.clear()
    registry._entries.update(before)


@pytest.mark.usefixtures("registered")
def test_a_plugin_adds_a_format(workspace: Workspace, tmp_path: Path) -> None:
    """The example in the contract's documentation, as a user's file."""
    documentation = inspect.getdoc(mien.data.importers.source) or ""
    example = "\n".join(line[4:] for line in documentation.splitlines() if line.startswith("    ") or not line)
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "from pathlib import Path\n\nfrom mien.data.importers import Row, Source\nfrom mien.registry import register\n"
        + example
    )
    registry.load_plugins([plugin])
    source = write_folder(tmp_path / "flat", {"1.png": 1, "2.png": 2})
    dataset = import_dataset(workspace, source, "a", labels="happy,sad")
    assert (dataset.card.format, dataset.card.classes) == ("one-class-folder", ("happy", "sad"))
    assert content(dataset) == {
        "train": [(f"{i}.png", "happy", encode_png(faces(1, 6, i)[0])) for i in (1, 2)],
    }
    (source / "3.png").write_bytes(b"none")
    assert refusal(Workspace(tmp_path / "other"), source)[0] == (
        "SOURCE: row 3.png, image: this is no image of a known format; expected PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM"
    )


def test_the_order_of_rows_does_not_depend_on_threads(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large images are decoded by threads; a bad one among them is found all the same."""
    images = {f"train/happy/{i:03}.png": encode_png(faces(1, 150, i)[0]) for i in range(200)}
    source = write_folder(tmp_path / "folder", images | {"train/happy/100.png": b"none"})
    made = []
    for threads in (1, 7):
        monkeypatch.setattr("mien.parallel.THREADS", threads)
        made.append(import_dataset(workspace, source, f"t{threads}", labels="happy", skip_bad=True))
    assert content(made[0]) == content(made[1])
    assert made[0].ids("train") == [name for name in images if "100" not in name]
    assert [row.split(",")[0] for row in made[0].card.skipped] == ["row train/happy/100.png"]


def test_the_real_fer2013(workspace: Workspace, real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real_data / "fer2013"
    source, votes = folder / "fer2013.parquet", folder / "ferplus_votes.csv"
    dataset = import_dataset(workspace, source, "fer2013", votes=votes)
    assert dataset.card.splits == FER2013_COUNTS
    assert (dataset.card.labels, dataset.card.notes, dataset.card.skipped) == ("fer2013-7", (), ())
    assert dataset.card.image_sizes == {"48×48": 35_887}
    assert dataset.card.columns == ("id", "image", "label", "exact", "label_ambiguous", "votes")
    assert capsys.readouterr().err == ""
    given = pq.read_table(source, columns=["row", "usage", "image"]).to_pylist()
    private = [row for row in given if row["usage"] == "PrivateTest"]
    assert dataset.ids("PrivateTest") == [str(row["row"]) for row in private]
    assert list(dataset.images("PrivateTest")) == [row["image"] for row in private]
    assert dataset.table("Training", ["votes"])["votes"][0].as_py() == [4, 0, 0, 1, 3, 2, 0, 0, 0, 0]
