"""What was imported as something else: now read for what it is, or refused with the reason."""

import io
import shlex
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts_data import column, face, images_match, labels, numbered, points, refused, rows, splits_of, write
from PIL import Image

from mien.data.importers import import_dataset
from mien.errors import MienError
from mien.images import decode
from mien.workspace import Workspace

WAYS = "expected <split>/<class>/images or <class>/images, or a list of labels (--metadata FILE)"
UNSAID = (
    "nothing says which rows show one person, and persons may stand in several splits: "
    "--group COLUMN or --column NAME=PATTERN keeps them together"
)


def pets(count: int = 6) -> dict[str, Any]:
    return {**numbered("happy/{}.png", count), **numbered("sad/{}.png", count, 50)}


# Layouts


def test_a_subfolder_in_a_class_folder_changes_no_layout(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {**pets(), "happy/augmented/x.png": 99})
    assert refused(workspace, source) == [
        "SOURCE: row happy/augmented/x.png, image: in a folder below a class folder",
        "SOURCE: 1 bad row, and so nothing is imported; --skip-bad goes on without them",
    ]
    dataset = import_dataset(workspace, source, "a", skip_bad=True)
    assert labels(dataset) == {name: name.split("/")[0] for name in pets()}


def test_class_folders_one_level_too_deep(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {f"faces/{name}": what for name, what in pets().items()})
    assert refused(workspace, source) == [
        "SOURCE: the class folders lie one level too deep; mien data import SOURCE/faces --as NAME reads them; "
        f"seen: 6 .png in faces/happy/, 6 .png in faces/sad/; {WAYS}"
    ]
    assert len(labels(import_dataset(workspace, source / "faces", "a"))) == 12


def test_folders_of_persons_are_no_splits(workspace: Workspace, tmp_path: Path) -> None:
    files = {f"S{i}/{label}/{k}.png": 10 * i + k for i in range(10) for k, label in enumerate(("happy", "sad"))}
    source = write(tmp_path / "s", files)
    (message,) = refused(workspace, source)
    assert message.startswith(
        "SOURCE: images lie two folders deep, and the upper folders aren't called like splits (S0, S1, S2, S3, …); "
        "if they are persons, --column subject='^([^/]+)/' reads them so; seen: "
    )
    dataset = import_dataset(workspace, source, "a", columns={"subject": "^([^/]+)/"})
    assert labels(dataset) == {name: name.split("/")[1] for name in files}
    assert column(dataset, "subject") == {name: name.split("/")[0] for name in files}
    assert all(len(of) == 1 for of in splits_of(dataset, column(dataset, "subject")).values())


def test_splits_without_classes(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {**numbered("train/{}.png", 4), **numbered("test/{}.png", 2, 10)})
    seen = "seen: 4 .png in train/, 2 .png in test/"
    assert refused(workspace, source) == [
        "SOURCE: images lie in folders that are called like splits (test, train), and nothing gives their classes; "
        f"{seen}; {WAYS}"
    ]
    dataset = import_dataset(workspace, source, "a", labels="face")
    assert {split: len(of) for split, of in rows(dataset).items()} == {"train": 4, "test": 2}
    assert (dataset.card.labels, dataset.card.notes) == (
        "face", (f"faces without labels, as --labels face asked; {seen}",)
    )  # fmt: skip


def test_images_side_by_side(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", numbered("{}.png", 12))
    assert refused(workspace, source) == [
        f"SOURCE: images lie side by side, and nothing gives their labels; seen: 12 .png; {WAYS}"
    ]
    assert len(labels(import_dataset(workspace, source, "a", labels="face"))) == 12


def test_videos(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {"happy/1.avi": b"RIFF", "sad/2.mp4": b"x"})
    assert refused(workspace, source) == [
        "SOURCE: there are videos, 2 of them, and no images; expected frames as images, as ffmpeg makes them: "
        "ffmpeg -i clip.avi clip/%04d.png"
    ]


@pytest.mark.parametrize(
    ("magic", "name", "told"),
    [
        (b"PK\x03\x04..", "a.zip", "an archive (zip); expected what is in it: unzip SOURCE -d a; then"),
        (b"\x1f\x8b\x08..", "a.tar.gz",
         "an archive (gzip); expected what is in it: mkdir a; tar -xzf SOURCE -C a; then"),
        (b"\xfd7zXZ..", "a.txz", "an archive (xz); expected what is in it: mkdir a; tar -xJf SOURCE -C a; then"),
        (b"x" * 257 + b"ustar" + b"\0" * 300, "a.tar",
         "an archive (tar); expected what is in it: mkdir a; tar -xf SOURCE -C a; then"),
        (b"\x1f\x8b\x08..", "a.gz", "a packed file (gzip); expected the file in it: gunzip -c SOURCE > a; then"),
    ],
)  # fmt: skip
def test_archives_tell_what_unpacks_them(
    workspace: Workspace, tmp_path: Path, magic: bytes, name: str, told: str
) -> None:
    write(tmp_path, {name: magic})
    assert refused(workspace, tmp_path / name) == [f"SOURCE: this is {told} mien data import a --as NAME"]


def test_what_looks_like_an_archive_and_is_none_to_its_user(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path, {"a.xlsx": b"PK\x03\x04.."})
    assert refused(workspace, tmp_path / "a.xlsx") == ["SOURCE: .xlsx isn't read; expected a table as CSV, or images"]


def archive(file: Path, folder: Path) -> None:
    """A zip or a tar of what stands in a folder, with members that lead out of it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as packed:
            for path in files:
                packed.write(path, path.relative_to(folder))
            packed.writestr("../../escaped.png", "x")
    else:
        with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as packed_tar:
            for path in files:
                packed_tar.add(path, str(path.relative_to(folder)))
            link = tarfile.TarInfo("happy/out.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            packed_tar.addfile(link)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_the_command_unpacks_also_a_hostile_archive(
    workspace: Workspace, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mien itself writes nothing; a name that is a command is a name; a link that leads out is a bad row."""
    if suffix == ".zip" and shutil.which("unzip") is None:
        pytest.skip("unzip isn't there")
    here = tmp_path / "here" / "inner"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    source = Path(f"it's; touch hacked #{suffix}")
    archive(source, write(tmp_path / "s", pets()))
    before = sorted(tmp_path.rglob("*"))
    (told,) = refused(workspace, source)
    assert sorted(tmp_path.rglob("*")) == before
    command, _, after = told.partition("what is in it: ")[2].partition("; then ")
    assert shlex.split(after) == ["mien", "data", "import", "it's; touch hacked #", "--as", "NAME"]
    subprocess.run(command, shell=True, check=False, capture_output=True)
    assert not (here / "hacked").exists()
    assert not (tmp_path / "escaped.png").exists()
    # The same message again names a folder that isn't there yet.
    assert "unpacked-it" in refused(workspace, source)[0]
    folder = Path(shlex.split(after)[3])
    if suffix != ".zip":
        assert refused(workspace, folder)[0].endswith("row happy/out.png, image: a link that leads out of the source")
    dataset = import_dataset(workspace, folder, "a", skip_bad=True)
    assert images_match(dataset, pets())


def test_a_bomb_is_not_unpacked(workspace: Workspace, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("happy/0.png", bytes(50_000_000))
    assert (tmp_path / "a.zip").stat().st_size < 100_000
    assert refused(workspace, tmp_path / "a.zip")[0].startswith("SOURCE: this is an archive (zip); expected what")


def test_a_folder_of_one_table_names_the_command(workspace: Workspace, tmp_path: Path) -> None:
    """As an archive of FER2013 unpacks."""
    source = write(tmp_path / "s", {"my fer.csv": "emotion,pixels\n0,1 2 3 4\n1,4 5 6 7\n"})
    assert refused(workspace, source) == [
        "SOURCE: this is of no known format; seen: 1 .csv; expected mien data import 'SOURCE/my fer.csv' --as NAME"
    ]
    write(source, {"b/a.zip": b"PK"})
    assert refused(workspace, source)[0].endswith(", or another of its 2 tables and archives")


def test_a_folder_called_like_a_split_is_no_class(workspace: Workspace, tmp_path: Path) -> None:
    """Pictures without labels beside class folders, and a folder that is no split beside splits."""
    source = write(tmp_path / "s", {**pets(), **numbered("test/{}.png", 6, 90)})
    assert refused(workspace, source)[0].startswith(
        "SOURCE: folders that are called like splits (test) lie beside others (happy, sad); "
        "if all are classes, --labels with their names reads them so; seen: "
    )
    dataset = import_dataset(workspace, source, "a", labels="happy,sad,test")
    assert len(labels(dataset)) == 18
    files = {f"{top}/{name}": place for place, (top, name) in enumerate(
        (top, name) for top in ("train", "test", "backup") for name in pets())}  # fmt: skip
    assert refused(workspace, write(tmp_path / "t", files))[0].startswith(
        "SOURCE: of the upper folders some aren't called like splits (backup); seen: "
    )


def test_a_list_beside_class_folders_is_not_left_unread(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {**pets(), "labels.txt": "0.png happy\n1.png sad\n", "README.md": "pets"})
    assert refused(workspace, source) == [
        "SOURCE: 'labels.txt' may list labels, and with class folders it isn't read; expected --metadata "
        "'SOURCE/labels.txt' to take the labels from it, or --labels with the classes to take them from the folders"
    ]
    dataset = import_dataset(workspace, source, "a", labels="happy,sad")
    assert dataset.card.notes[0] == "not read, since --labels says what the folders are: labels.txt"
    assert len(labels(dataset)) == 12


def test_one_class_is_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", numbered("aligned/{}.png", 5))
    assert refused(workspace, source) == [
        "SOURCE: class folder: all 5 rows are of one class, 'aligned'; expected two classes or more; "
        "--labels aligned if this is right, --labels face for faces without labels"
    ]
    assert import_dataset(workspace, source, "a", labels="aligned").card.classes == ("aligned",)
    assert import_dataset(workspace, source, "b", labels="face").card.labels == "face"
    # A slip of the pen is no class.
    assert refused(workspace, source, labels="ferplus8") == [
        "no label scheme is called 'ferplus8'; expected one of affectnet-7, affectnet-8, ck-plus-8, face, fer2013-7, "
        "ferplus-8, raf-db. Did you mean 'ferplus-8'?"
    ]


def test_skipping_most_rows_is_not_advised(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {**pets(2), **{f"happy/x{i}.png": b"none" for i in range(6)}})
    assert refused(workspace, source)[-1] == (
        "SOURCE: of 10 rows read, 6 bad, and so nothing is imported; expected a source of which most rows are good"
    )


# Numbers


def test_numbered_folders_with_names_of_one_s_own(workspace: Workspace, tmp_path: Path) -> None:
    for first, name in ((0, "zero"), (1, "one")):
        source = write(tmp_path / name, {f"{first + i}/{k}.png": 10 * i + k for i in range(3) for k in range(2)})
        dataset = import_dataset(workspace, source, name, labels="cat, dog,ape")
        assert (dataset.card.labels, dataset.card.classes) == (name, ("cat", "dog", "ape"))
        assert labels(dataset) == {f"{first + i}/{k}.png": ("cat", "dog", "ape")[i] for i in range(3) for k in range(2)}
    assert refused(workspace, tmp_path / "one", labels="a,b") == [
        "SOURCE: class folder: the labels are the numbers 1, 2, 3, and --labels has 2 names; "
        "expected a name for each number, in order"
    ]
    # Folder 3 of four is the last if counted from 0, and not if from 1.
    assert refused(workspace, tmp_path / "one", labels="a,b,c,d")[0].startswith("SOURCE: class folder: the labels are")
    assert refused(workspace, tmp_path / "one", labels="a,,b") == [
        "--labels: 'a,,b' has a class without a name; expected names between commas"
    ]
    assert refused(workspace, tmp_path / "one", labels="a,b,A") == [
        "--labels: 'a,b,A' names a class twice; expected each once"
    ]


def test_numbered_folders_of_a_scheme_that_begins_with_1(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {f"train/{i}/a.png": i for i in range(1, 8)})
    assert list(labels(import_dataset(workspace, source, "a", labels="raf-db")).values()) == [
        "surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"
    ]  # fmt: skip


# Pixels


def as_file(pixels: Any, kind: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


def test_pictures_of_16_bits_and_of_floats_keep_their_grays(workspace: Workspace, tmp_path: Path) -> None:
    ramp = np.arange(36, dtype=np.uint16).reshape(6, 6) * 7 * 257
    float_tiff = as_file((ramp / 65535).astype(np.float32), "TIFF")
    source = write(tmp_path / "s", {"happy/a.pgm": as_file(ramp, "PPM"), "sad/b.tif": float_tiff})
    dataset = import_dataset(workspace, source, "a")
    for split in dataset.card.splits:
        for data in dataset.images(split):
            assert np.array_equal(decode(data, "gray")[:, :, 0], ramp // 257)


def test_pictures_of_32_bit_integers_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    wide = as_file(np.arange(36, dtype=np.int32).reshape(6, 6) * 1000, "TIFF")
    source = write(tmp_path / "s", {**pets(), "happy/wide.tif": wide})
    assert refused(workspace, source)[0] == (
        "SOURCE: row happy/wide.tif, image: these pixels are int32 numbers; expected 8 or 16 bits, or floats of 0 to 1"
    )


# Points


def pts_of(number: int) -> str:
    return "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points(number).astype(float)) + "\n"


def with_points(files: dict[str, int]) -> dict[str, Any]:
    return {**files, **{name.rpartition(".")[0] + ".pts": pts_of(number) for name, number in files.items()}}


def test_an_unseen_point_is_no_point(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", with_points(numbered("{}.png", 4)))
    lines = pts_of(2).split("\n")
    lines[9] = "-1 -1"
    write(source, {"2.pts": "\n".join(lines)})
    assert refused(workspace, source) == [
        "SOURCE/2.pts:10: row 2.png, landmarks: point 10 is -1 -1, so nobody saw it; expected all points",
        "SOURCE: 1 bad row, and so nothing is imported; --skip-bad goes on without them",
    ]


def test_class_folders_with_points_keep_their_classes(workspace: Workspace, tmp_path: Path) -> None:
    files = {f"{split}/{label}/{i}.png": 30 * k + i + (5 if split == "val" else 0)
             for k, label in enumerate(("Happy", "sad")) for split in ("train", "val") for i in range(3)}  # fmt: skip
    dataset = import_dataset(workspace, write(tmp_path / "s", with_points(files)), "a")
    assert dataset.card.format == "pts"
    assert rows(dataset) == {
        split: {name: name.split("/")[1] for name in files if name.startswith(split)} for split in ("train", "val")
    }
    for name, found in column(dataset, "landmarks").items():
        assert np.abs(np.array(found).reshape(68, 2) - points(files[name])).max() < 1e-3
    # Folders of names of one's own, by --labels; and an image without points is no row that goes unsaid.
    source = write(tmp_path / "t", with_points({**numbered("on/{}.png", 5), **numbered("off/{}.png", 5, 20)}))
    assert labels(import_dataset(workspace, source, "b", labels="on,off"))["off/3.png"] == "off"
    write(source, {"on/alone.png": 77})
    assert refused(workspace, source, labels="on,off")[0] == (
        "SOURCE: row on/alone.png, landmarks: there is no .pts file beside it"
    )


def test_faces_of_one_photo_stay_in_one_split(workspace: Workspace, tmp_path: Path) -> None:
    """Other pixels, as JPEG at two qualities would have: the names tell."""
    files = {f"photo{i:02}_{k}.png": 3 * i + k for i in range(17) for k in (1, 2)}
    dataset = import_dataset(workspace, write(tmp_path / "s", with_points(files)), "a")
    assert set(dataset.card.splits) == {"train", "validation", "test"}
    assert all(len(of) == 1 for of in splits_of(dataset, {name: name[:7] for name in files}).values())


def test_300_w_s_lists_give_the_splits(workspace: Workspace, tmp_path: Path) -> None:
    """Lists name images or points, from the folder or from above it; the one that holds the others is none."""
    files = {
        f"{part}/{i}.png": 10 * k + i for k, part in enumerate(("afw", "helen/trainset", "ibug")) for i in range(3)
    }
    source = write(tmp_path / "300w", with_points(files))
    names = list(files)
    write(source, {"train.txt": "".join(f"300w/{name}\n" for name in names[:5]),
                   "common.txt": "".join(f"{name[:-4]}.pts 1 2\n" for name in names[5:7]),
                   "challenging.txt": "\n".join(names[7:]), "all.txt": "\n".join(names), "readme": "-"})  # fmt: skip
    dataset = import_dataset(workspace, source, "a")
    assert {split: set(of) for split, of in rows(dataset).items()} == {
        "train": set(names[:5]), "common": set(names[5:7]), "challenging": set(names[7:])
    }  # fmt: skip
    write(source, {"common.txt": f"{names[5]}\n{names[5]}\nafw/9.png\n{names[0]}\n", "all.txt": "none"})
    assert refused(workspace, source) == [
        "SOURCE/common.txt:3: row afw/9, image: there is no such image with points",
        "SOURCE/train.txt:1: row afw/0.png: the image is listed twice, in common too",
        f"SOURCE: row {names[6]}, image: challenging.txt and common.txt and train.txt doesn't name it",
        "SOURCE: 3 bad rows, and so nothing is imported; --skip-bad goes on without them",
    ]


# Splits that are drawn


def test_equal_pixels_stay_in_one_split(workspace: Workspace, tmp_path: Path) -> None:
    """The same picture as PNG and as BMP, thrice; pictures of one colour are no copies of each other."""
    files: dict[str, Any] = {}
    for i in range(30):
        pixels = decode(face(i), "gray")[:, :, 0]
        files |= {f"happy/{i}.png": i, f"happy/{i}.bmp": as_file(pixels, "BMP"), f"sad/{i}.png": 100 + i}
    blank = as_file(np.full((24, 24), 9, np.uint8), "PNG")
    files |= {f"sad/blank{i}.png": blank for i in range(10)}
    dataset = import_dataset(workspace, write(tmp_path / "s", files), "a", seed=1)
    picture = {name: name.rpartition(".")[0] for name in files}
    found = splits_of(dataset, picture)
    assert {name: len(of) for name, of in found.items() if name.startswith("happy")} == {
        f"happy/{i}": 1 for i in range(30)
    }
    assert dataset.card.splits == {"train": (48, 32), "validation": (6, 4), "test": (6, 4)}
    assert dataset.card.notes == (
        f"splits drawn by mien, 80 : 10 : 10 by class, seed 1; equal images stay together (60 rows); {UNSAID}",
    )
    assert dataset.card.details["made_splits"] == {
        "seed": 1,
        "shares": {"train": 0.8, "validation": 0.1, "test": 0.1},
        "stratified": True,
        "groups": [],
        "equal_rows": 60,
    }
    assert images_match(import_dataset(workspace, write(tmp_path / "t", pets()), "b"), pets())


def test_persons_by_file_names_stay_in_one_split(workspace: Workspace, tmp_path: Path) -> None:
    files = {f"{label}/S{i:02}_{k}.png": 40 * i + 20 * place + k
             for i in range(12) for place, label in enumerate(("happy", "sad")) for k in range(2)}  # fmt: skip
    source = write(tmp_path / "s", files)
    dataset = import_dataset(workspace, source, "a", columns={"subject": r"(S\d+)_"})
    person = {name: name.split("/")[1][:3] for name in files}
    assert column(dataset, "subject") == person
    assert all(len(of) == 1 for of in splits_of(dataset, person).values())
    assert dataset.card.splits == {"train": (20, 20), "validation": (2, 2), "test": (2, 2)}
    assert dataset.card.notes == (
        "splits drawn by mien, 80 : 10 : 10 by class, seed 0; rows with one value of 'subject' stay together, "
        "and so do equal images (0 rows)",
    )
    same = import_dataset(workspace, source, "b", columns={"subject": r"S\d\d", "k": r"_(\d)"}, group="subject")
    assert same.card.details["made_splits"]["groups"] == ["subject"]
    assert [sorted(same.ids(split)) for split in same.card.splits] == [
        sorted(dataset.ids(split)) for split in dataset.card.splits
    ]


def test_columns_that_can_not_be_found(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", {**pets(), "sad/other.png": 99})
    assert refused(workspace, source, columns={"subject": r"(\d)\.png"})[0] == (
        r"SOURCE: row sad/other.png, subject: the name 'sad/other.png' doesn't match; expected '(\d)\.png'"
    )
    for pattern, message in (
        ("(", "'(' is no pattern (missing ), unterminated subpattern at position 0); expected a regular expression"),
        ("(a)(b)", "'(a)(b)' has 2 groups; expected one, around the value: '(S[0-9]+)_'"),
    ):
        assert refused(workspace, source, columns={"who": pattern}) == [f"--column who: {message}"]
    assert refused(workspace, source, columns={"id": "(.)"}) == [
        "--column id: 'id' can't be the name of a column; "
        "expected letters, digits or '_', and none of id, image, label, split, size, path"
    ]
    assert refused(workspace, source, group="person") == [
        "--group: there is no column 'person' to group by; "
        "expected --column NAME=PATTERN to find one in the names of files"
    ]
    assert refused(workspace, source, columns={"person": r"(\w)\.png"}, group="persn") == [
        "--group: there is no column 'persn' to group by; expected one of person. Did you mean 'person'?"
    ]


def test_too_few_persons_for_three_splits_is_said(workspace: Workspace, tmp_path: Path) -> None:
    dataset = import_dataset(workspace, write(tmp_path / "s", pets()), "a", columns={"who": "(happy|sad)"})
    assert dataset.card.splits == {"train": (6, 6)}
    assert dataset.card.notes[0].endswith("; too few groups for more splits than train")


def test_a_source_that_changes_is_not_stored(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read twice: what is stored must be what was looked at."""
    from mien.data.importers import drawing

    source = write(tmp_path / "s", pets())
    plan = drawing.plan

    def changing(*arguments: Any, **named: Any) -> Any:
        made = plan(*arguments, **named)
        write(source, {"sad/5.png": 200})
        return made

    monkeypatch.setattr(drawing, "plan", changing)
    with pytest.raises(MienError, match=r"^the source changed while it was imported$"):
        import_dataset(workspace, source, "a")
    assert list(workspace.datasets.iterdir()) == []


def test_an_option_that_nobody_looks_at(workspace: Workspace, tmp_path: Path) -> None:
    source = write(tmp_path / "s", pets())
    assert refused(workspace, source, image_column="img") == [
        "SOURCE: --image-column has no meaning for a source of the format folder; "
        "expected one of the formats parquet, table"
    ]
