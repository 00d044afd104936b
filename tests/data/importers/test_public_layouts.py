"""Public data sets in their own layouts: ids, labels, splits and columns as they are meant, on drawn faces."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts_data import column, face, images_match, labels, points, refused, rows, splits_of, write

from mien.data.importers import import_dataset
from mien.data.importers.wflw import PLACES
from mien.data.labels import AFFECTNET, CK_PLUS, FACE, FER2013, RAF_DB
from mien.images import decode
from mien.workspace import Workspace

RESEARCH = "for research only, no commercial products; weights that are trained on it carry that limit"

# RAF-DB


def raf_db(aligned: bool = True) -> dict[str, Any]:
    """Two pictures of each class for training, one for testing; the order of the list isn't that of the numbers."""
    names = [(f"train_{i:05}", 1 + i % 7) for i in range(14)] + [(f"test_{i:04}", 7 - i % 7) for i in range(7)]
    listed = "".join(f"{name}.jpg {label}\n" for name, label in reversed(names))
    where = "Image/aligned/{}_aligned.jpg" if aligned else "Image/original/{}.jpg"
    files: dict[str, Any] = {where.format(name): number for number, (name, _) in enumerate(names)}
    return {**files, "EmoLabel/list_patition_label.txt": listed}


@pytest.mark.parametrize("aligned", [True, False])
def test_raf_db(workspace: Workspace, tmp_path: Path, aligned: bool) -> None:
    files = raf_db(aligned)
    source = write(tmp_path / "basic", files)
    if aligned:  # The original pictures lie beside the aligned ones.
        write(source, {"Image/original/train_00000.jpg": 99})
    dataset = import_dataset(workspace, source, "a")
    where = "Image/aligned/{}_aligned.jpg" if aligned else "Image/original/{}.jpg"
    assert dataset.card.scheme == RAF_DB
    assert rows(dataset) == {
        "train": {where.format(f"train_{i:05}"): RAF_DB.classes[i % 7] for i in reversed(range(14))},
        "test": {where.format(f"test_{i:04}"): RAF_DB.classes[6 - i % 7] for i in reversed(range(7))},
    }
    assert images_match(dataset, {name: what for name, what in files.items() if name.endswith("jpg")})
    kind = "aligned" if aligned else "original"
    assert dataset.card.notes == (
        f"labels from EmoLabel/list_patition_label.txt, {kind} pictures", f"RAF-DB's data are {RESEARCH}"
    )  # fmt: skip
    assert dataset.card.details == {"terms": f"RAF-DB's data are {RESEARCH}", "faces": kind}


def test_a_bad_raf_db(workspace: Workspace, tmp_path: Path) -> None:
    files = raf_db()
    files["EmoLabel/list_patition_label.txt"] = (
        files["EmoLabel/list_patition_label.txt"].replace("train_00003.jpg 4", "train_00003.jpg 8")
        + "train_00001.jpg 2\ntrain_99999.jpg 1\nnonsense\n"
    )
    source = write(tmp_path / "basic", {**files, "Image/aligned/train_77777_aligned.jpg": 77})
    at = "SOURCE/EmoLabel/list_patition_label.txt"
    assert refused(workspace, source) == [
        "SOURCE: row Image/aligned/train_00003_aligned.jpg, label: '8' is no label; expected 1, 2, 3, 4, 5, 6, 7",
        f"{at}:22: row Image/aligned/train_00001_aligned.jpg: the image is listed twice",
        f"{at}:23: row train_99999.jpg, image: there is no aligned picture of it",
        f"{at}:24: row nonsense: 'nonsense' is no label; expected as 'train_00001.jpg 5'",
        "SOURCE: row Image/aligned/train_77777_aligned.jpg, image: EmoLabel/list_patition_label.txt doesn't name it",
        "SOURCE: 5 bad rows, and so nothing is imported; --skip-bad goes on without them",
    ]
    write(tmp_path / "alone", {"EmoLabel/list_patition_label.txt": "train_00001.jpg 1\n"})
    assert refused(workspace, tmp_path / "alone") == [
        "SOURCE: there is a list of labels, and none of its images; seen: 1 .txt in EmoLabel/; this resembles RAF-DB, "
        "which is read as Image/aligned/train_00001_aligned.jpg with EmoLabel/list_patition_label.txt; "
        "expected Image/aligned/train_00001_aligned.jpg with EmoLabel/list_patition_label.txt"
    ]


def test_a_picture_of_another_name_beside_raf_db_s_is_not_left_out_unsaid(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "basic", {**raf_db(), "Image/aligned/mine.png": 5})
    assert refused(workspace, source)[0] == (
        "SOURCE: row Image/aligned/mine.png, image: EmoLabel/list_patition_label.txt doesn't name it"
    )


def test_raf_db_s_pictures_without_the_list(workspace: Workspace, tmp_path: Path) -> None:
    """They were one class, called aligned."""
    files = raf_db()
    del files["EmoLabel/list_patition_label.txt"]
    (message,) = refused(workspace, write(tmp_path / "basic", files))
    assert "; this resembles RAF-DB, which is read as Image/aligned/train_00001_aligned.jpg with EmoLabel" in message


# AffectNet


def npy(value: Any) -> bytes:
    data = io.BytesIO()
    np.save(data, np.array(value))
    return data.getvalue()


def affectnet() -> dict[str, Any]:
    files: dict[str, Any] = {}
    for place, (part, count) in enumerate((("train_set", 16), ("val_set", 8))):
        for i in range(count):
            files[f"{part}/images/{i}.jpg"] = 100 * place + i
            # The set stores numbers as text.
            files[f"{part}/annotations/{i}_exp.npy"] = npy(str((i + place) % 8))
            files[f"{part}/annotations/{i}_val.npy"] = npy(f"{i / 16 - 0.5}")
            files[f"{part}/annotations/{i}_aro.npy"] = npy(i / 32)
            files[f"{part}/annotations/{i}_lnd.npy"] = npy(["1.0"] * 136)
    return files


def test_affectnet(workspace: Workspace, tmp_path: Path) -> None:
    files = affectnet()
    source = write(tmp_path / "affectnet", files)
    (source / "train_set" / "images" / "left.png").mkdir()  # A folder is no image, whatever its name.
    dataset = import_dataset(workspace, source, "a")
    assert dataset.card.scheme == AFFECTNET
    assert rows(dataset) == {
        "train": {f"train_set/images/{i}.jpg": AFFECTNET.classes[i % 8] for i in range(16)},
        "val": {f"val_set/images/{i}.jpg": AFFECTNET.classes[(i + 1) % 8] for i in range(8)},
    }
    assert images_match(dataset, {name: what for name, what in files.items() if name.endswith("jpg")})
    assert column(dataset, "valence")["train_set/images/4.jpg"] == 4 / 16 - 0.5
    assert column(dataset, "arousal")["val_set/images/6.jpg"] == 6 / 32
    assert dataset.card.notes[1] == f"AffectNet's data are {RESEARCH}"
    # One part alone: mien draws the splits.
    alone = import_dataset(workspace, tmp_path / "affectnet" / "train_set", "b")
    assert labels(alone) == {f"images/{i}.jpg": AFFECTNET.classes[i % 8] for i in range(16)}
    # Seven classes, as many papers have it; contempt is no row then, and said.
    assert refused(workspace, tmp_path / "affectnet", labels="affectnet-7")[0] == (
        "SOURCE: row train_set/images/7.jpg, expression: '7' is no label; expected 0, 1, 2, 3, 4, 5, 6"
    )


def test_a_bad_affectnet(workspace: Workspace, tmp_path: Path) -> None:
    files = affectnet()
    evil = io.BytesIO()
    np.save(evil, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    huge = b"\x93NUMPY\x01\x00v\x00" + (
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }".ljust(117) + b"\n"
    )
    files |= {
        "train_set/annotations/1_exp.npy": evil.getvalue(),
        "train_set/annotations/2_exp.npy": npy([1, 2]),
        "train_set/annotations/3_exp.npy": npy("happy"),
        "train_set/annotations/4_exp.npy": npy("9"),
        "train_set/annotations/5_exp.npy": huge,
        "train_set/annotations/6_exp.npy": npy("2.5"),
        "train_set/annotations/99_exp.npy": npy("2"),
    }
    del files["train_set/annotations/0_exp.npy"]
    at = "SOURCE/train_set/annotations"
    assert refused(workspace, write(tmp_path / "affectnet", files)) == [
        f"{at}/0_exp.npy: row train_set/images/0.jpg, expression: there is no such file",
        f"{at}/1_exp.npy: row train_set/images/1.jpg, expression: this array can't be read "
        "(ValueError: Object arrays cannot be loaded when allow_pickle=False)",
        f"{at}/2_exp.npy: row train_set/images/2.jpg, expression: 2 values is no number; expected one number",
        f"{at}/3_exp.npy: row train_set/images/3.jpg, expression: 'happy' is no number; expected one number",
        "SOURCE: row train_set/images/4.jpg, expression: '9' is no label; expected 0, 1, 2, 3, 4, 5, 6, 7",
        f"{at}/5_exp.npy: row train_set/images/5.jpg, expression: this array is too large; "
        "expected at most 4,096 bytes",
        "SOURCE: row train_set/images/6.jpg, expression: '2.5' is no label",
        "SOURCE: row train_set/annotations/99_exp.npy, image: there is no image of it",
        "SOURCE: 8 bad rows, and so nothing is imported; --skip-bad goes on without them",
    ]


# CK+


def ck_plus() -> dict[str, Any]:
    """Ten persons with two sequences of three frames; the second of S009 has no emotion."""
    files: dict[str, Any] = {}
    for person in range(10):
        for sequence in (1, 2):
            stem = f"S{person:03}_{sequence:03}_"
            folder = f"S{person:03}/{sequence:03}"
            for frame in (1, 2, 3):
                number = 10 * person + 3 * sequence + frame
                files[f"cohn-kanade-images/{folder}/{stem}{frame:08}.png"] = number
            if (person, sequence) != (9, 2):
                label = 1 + (person + sequence) % 7
                files[f"Emotion/{folder}/{stem}00000003_emotion.txt"] = f"   {label}.0000000e+00\n"
    return files


def test_ck_plus(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "ck", ck_plus())
    dataset = import_dataset(workspace, source, "a")
    assert dataset.card.scheme == CK_PLUS
    peak = "cohn-kanade-images/S{0:03}/{1:03}/S{0:03}_{1:03}_00000003.png"
    wanted = {
        peak.format(person, sequence): CK_PLUS.classes[1 + (person + sequence) % 7]
        for person in range(10)
        for sequence in (1, 2)
        if (person, sequence) != (9, 2)
    }
    assert labels(dataset) == wanted
    assert images_match(dataset, {name: ck_plus()[name] for name in wanted})
    persons = {name: name.split("/")[1] for name in wanted}
    assert column(dataset, "subject") == persons
    assert all(len(of) == 1 for of in splits_of(dataset, persons).values())
    assert set(dataset.card.splits) == {"train", "validation", "test"}
    assert dataset.card.notes[:2] == (
        "peak frames with the label of their sequence; frames without one, left out: 41", f"CK+'s data are {RESEARCH}"
    )  # fmt: skip
    write(
        source,
        {"Emotion/S001/001/S001_001_00000003_emotion.txt": "happy", "Emotion/S001_001_00000009_emotion.txt": "1"},
    )
    at = "SOURCE/Emotion/S001/001/S001_001_00000003_emotion.txt"
    assert refused(workspace, source)[:2] == [
        f"{at}:1: row {peak.format(1, 1)}, emotion: 'happy' is no label; expected 0 to 7",
        "SOURCE: row Emotion/S001_001_00000009_emotion.txt, image: there is no image of it",
    ]


def test_ck_plus_in_class_folders_keeps_persons_together(workspace: Workspace, tmp_path: Path) -> None:
    files = {f"{label}/S{person:03}_00{k}_{frame:08}.png": 40 * person + 20 * k + frame
             for person in range(10) for k, label in enumerate(("anger", "happy")) for frame in (7, 8, 9)}  # fmt: skip
    dataset = import_dataset(workspace, write(tmp_path / "CK+48", files), "a")
    assert labels(dataset) == {name: name.split("/")[0] for name in files}
    persons = {name: name.split("/")[1][:4] for name in files}
    assert column(dataset, "subject") == persons
    assert all(len(of) == 1 for of in splits_of(dataset, persons).values())
    assert dataset.card.splits == {"train": (24, 24), "validation": (3, 3), "test": (3, 3)}
    assert dataset.card.notes[0] == f"CK+'s data are {RESEARCH}"


# JAFFE


def test_jaffe(workspace: Workspace, tmp_path: Path) -> None:
    codes = ("AN", "DI", "FE", "HA", "NE", "SA", "SU")
    names = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    persons = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
    files: dict[str, Any] = {}
    wanted = {}
    for place, person in enumerate(persons):
        for k, code in enumerate(codes):
            files[name := f"{person}.{code}{1 + k % 3}.{10 * place + k}.tiff"] = 10 * place + k
            wanted[name] = names[k]
    source = write(tmp_path / "jaffe", {**files, "README": "JAFFE"})
    dataset = import_dataset(workspace, source, "a")
    assert (dataset.card.format, dataset.card.scheme) == ("jaffe", FER2013)
    assert labels(dataset) == wanted
    assert images_match(dataset, files)
    assert all(len(of) == 1 for of in splits_of(dataset, column(dataset, "subject")).values())
    assert dataset.card.splits == {"train": (8,) * 7, "validation": (1,) * 7, "test": (1,) * 7}
    write(source, {"other.tiff": 200})
    assert refused(workspace, source)[0] == (
        "SOURCE: row other.tiff, label: the name is none of JAFFE's; expected as KA.AN1.39.tiff"
    )
    folders = write(tmp_path / "folders", {f"{wanted[name]}/{name}": what for name, what in files.items()})
    again = import_dataset(workspace, folders, "b")
    assert again.card.format == "folder"
    assert all(len(of) == 1 for of in splits_of(again, column(again, "subject")).values())


# SFEW and AFEW


def test_sfew(workspace: Workspace, tmp_path: Path) -> None:
    files = {f"{split}/{label.title()}/Film{film}_00012{film}160_0000000{k}.png": 100 * place + 10 * film + k
             for place, (split, first) in enumerate((("Train", 0), ("Val", 4)))
             for film in range(first, first + 3) for k, label in enumerate(FER2013.classes)}  # fmt: skip
    source = write(tmp_path / "SFEW", files)
    dataset = import_dataset(workspace, source, "a")
    assert dataset.card.scheme == FER2013
    assert rows(dataset) == {
        split: {name: name.split("/")[1].lower() for name in files if name.startswith(split)}
        for split in ("Train", "Val")
    }
    assert column(dataset, "film") == {name: name.split("/")[2][:5] for name in files}
    assert dataset.card.notes == (f"SFEW and AFEW's data are {RESEARCH}",)
    # Its test part has no labels.
    write(source, {"Test/Film9_000129160_00000000.png": 250})
    assert refused(workspace, source)[0] == (
        "SOURCE: row Test/Film9_000129160_00000000.png, image: not in a class folder"
    )


def test_afew_s_frames(workspace: Workspace, tmp_path: Path) -> None:
    files = {f"{split}/{label}/{clip:09}/{k:03}.jpg": 50 * place + 10 * clip + k
             for place, (split, first) in enumerate((("Train_AFEW", 0), ("Val_AFEW", 2)))
             for clip, label in ((first, "Happy"), (first + 1, "Sad")) for k in range(3)}  # fmt: skip
    dataset = import_dataset(workspace, write(tmp_path / "AFEW", files), "a")
    assert rows(dataset) == {
        split: {name: name.split("/")[1] for name in files if name.startswith(split)}
        for split in ("Train_AFEW", "Val_AFEW")
    }
    assert column(dataset, "clip") == {name: name.rpartition("/")[0] for name in files}


# ExpW


def test_expw(workspace: Workspace, tmp_path: Path) -> None:
    """Faces are cut by their boxes; those of one photo stay together."""
    lines, files = [], {}
    for photo in range(20):
        files[f"image/p{photo}.jpg"] = photo
        for k in range(2):
            lines.append(f"p{photo}.jpg {k} {2 + k} {3} {15} {18 + k} {50.5 + k} {(photo + k) % 7}")
    source = write(tmp_path / "expw", {**files, "label/label.lst": "\n".join(lines) + "\n", "readme.txt": "ExpW"})
    dataset = import_dataset(workspace, source, "a")
    assert dataset.card.scheme == FER2013
    assert labels(dataset) == {
        f"image/p{photo}.jpg#{k}": FER2013.classes[(photo + k) % 7] for photo in range(20) for k in range(2)
    }
    for split in dataset.card.splits:
        for row, data in zip(dataset.ids(split), dataset.images(split), strict=True):
            photo, k = int(row[7:].split(".")[0]), int(row[-1])
            whole = decode(face(photo), "gray")
            assert np.array_equal(decode(data, "gray"), whole[2 + k : 18 + k, 3:15])
    photos = column(dataset, "photo")
    assert photos["image/p3.jpg#1"] == "p3.jpg"
    assert all(len(of) == 1 for of in splits_of(dataset, photos).values())
    assert column(dataset, "confidence")["image/p3.jpg#1"] == 51.5
    bad = [
        "p0.jpg 5 90 90 99 99 1 3",
        "p0.jpg 6 1 1 9 9 1 7",
        "none.jpg 0 1 1 9 9 1 1",
        "p0.jpg one",
        "p1.jpg 0 1 1 9 9 1 1",
    ]
    write(source, {"label/label.lst": "\n".join(lines + bad), "image/alone.jpg": 99})
    at = "SOURCE/label/label.lst"
    assert refused(workspace, source) == [
        "SOURCE: row image/p0.jpg#5, box: (90, 90) to (99, 99) is outside of the image; expected 24 × 24 pixels",
        "SOURCE: row image/p0.jpg#6, label: '7' is no label; expected 0, 1, 2, 3, 4, 5, 6",
        f"{at}:43: row none.jpg#0, image: there is no such image",
        f"{at}:44: row p0.jpg#one: 'p0.jpg one' is no face; expected name face top left right bottom confidence label",
        f"{at}:45: row image/p1.jpg#0: the image is listed twice",
        "SOURCE: row image/alone.jpg, image: label/label.lst doesn't name it",
        "SOURCE: 6 bad rows, and so nothing is imported; --skip-bad goes on without them",
    ]


# WFLW


def test_the_table_of_wflw_s_points() -> None:
    """98 points on a drawn face's curves: each of the 68 has a place of its own, in order along its part."""
    assert len(PLACES) == len(set(PLACES)) == 68
    parts = (range(17), range(17, 22), range(22, 27), range(27, 36), range(36, 42), range(42, 48), range(48, 68))
    # By the set's own picture: jaw 0–32, brows 33–41 and 42–50, nose 51–59, eyes 60–67 and 68–75, mouth 76–95.
    own = (range(33), range(33, 42), range(42, 51), range(51, 60), range(60, 68), range(68, 76), range(76, 96))
    for part, of in zip(parts, own, strict=True):
        places = [PLACES[point] for point in part]
        assert places == sorted(places)
        assert set(places) <= set(of)
    assert (PLACES[8], PLACES[30], PLACES[36], PLACES[39], PLACES[42], PLACES[45]) == (16, 54, 60, 64, 68, 72)


def wflw_line(number: int, path: str, occluded: int) -> str:
    """The 98 points of a face: its 68 at their places, and nothing of use elsewhere."""
    all_points = np.full((98, 2), 5.0)
    all_points[list(PLACES)] = points(number)
    numbers = " ".join(f"{value:.4f}" for value in all_points.ravel())
    return f"{numbers} 1 1 20 20 0 1 0 0 {occluded} 0 {path}"


def test_wflw(workspace: Workspace, tmp_path: Path) -> None:
    names = [f"{i}--Event/{i}_Event_{k}.jpg" for i in range(2) for k in range(4)]
    files: dict[str, Any] = {f"WFLW_images/{name}": number for number, name in enumerate(names)}
    lines = [wflw_line(number, name, number % 2) for number, name in enumerate(names)]
    where = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"
    # One photo has two faces.
    train = [*lines[:5], wflw_line(1, names[0], 1)]
    source = write(
        tmp_path / "wflw",
        {**files, where.format("train"): "\n".join(train), where.format("test"): "\n".join(lines[5:])},
    )
    dataset = import_dataset(workspace, source, "a")
    assert (dataset.card.scheme, dataset.card.format) == (FACE, "wflw")
    ids = [f"WFLW_images/{name}#1" for name in names]
    assert {split: dataset.ids(split) for split in dataset.card.splits} == {
        "train": [*ids[:5], f"WFLW_images/{names[0]}#2"], "test": ids[5:]
    }  # fmt: skip
    found = column(dataset, "landmarks")
    for row, number in zip([*ids, f"WFLW_images/{names[0]}#2"], [*range(8), 1], strict=True):
        assert np.abs(np.array(found[row]).reshape(68, 2) - points(number)).max() < 1e-3
    assert column(dataset, "occlusion")[ids[3]] == 1
    assert column(dataset, "group")[f"WFLW_images/{names[0]}#2"] == f"WFLW_images/{names[0]}"
    assert dataset.card.notes[-1] == f"WFLW's data are {RESEARCH}"
    bad = [
        lines[5].replace("5.0000", "x", 1),
        "1 2 3",
        wflw_line(1, "9--Gone/x.jpg", 0),
        lines[6].replace("5.0000", "999", 1),
    ]
    write(source, {where.format("test"): "\n".join(lines[5:] + bad), "WFLW_images/2--Event/more.jpg": 50})
    at = f"SOURCE/{where.format('test')}"
    assert refused(workspace, source) == [
        f"{at}:4: row WFLW_images/{names[5]}#2: 'x' is no coordinate; expected a number",
        f"{at}:5: row 3#1: 3 values; expected 207: 98 points, a box, 6 attributes and a path",
        f"{at}:6: row 9--Gone/x.jpg#1: there is no such image",
        "SOURCE: row WFLW_images/2--Event/more.jpg, image: "
        + " and ".join(where.format(part) for part in ("test", "train"))
        + " doesn't name it",
        "SOURCE: 4 bad rows, and so nothing is imported; --skip-bad goes on without them",
    ]


def test_wflw_s_images_without_its_lists(workspace: Workspace, tmp_path: Path) -> None:
    """They were one class, called 0--Parade."""
    (message,) = refused(workspace, write(tmp_path / "wflw", {f"WFLW_images/0--Parade/{i}.jpg": i for i in range(4)}))
    assert (
        "; this resembles WFLW, which is read as WFLW_images/0--Parade/*.jpg with list_98pt_rect_attr_train.txt; "
        in message
    )
