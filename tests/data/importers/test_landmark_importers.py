"""Importers of landmarks: points come back where they were, and what is wrong with them is said with file and line."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mien.data import synthetic
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.data.importers.face_points import KIND
from mien.data.importers.splits import make_splits
from mien.data.labels import FACE
from mien.errors import MienError
from mien.faces.ibug import MIRROR
from mien.images import decode, encode_png
from mien.workspace import Workspace

Points = npt.NDArray[np.float32]
SIDE = 24
Face = tuple[bytes, Points]


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    """Twelve drawn faces as PNG, with their points."""
    return [(encode_png(image), points) for image, _, points in synthetic.faces(12, size=SIDE, color="gray", seed=0)]


def text_of(points: Points, bare: bool = False) -> str:
    """Points from 0 as a `.pts` file, which counts from 1."""
    lines = "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points.astype(float))
    return f"{lines}\n" if bare else f"version: 1\nn_points:  68\n{{\n{lines}\n}}\n"


def write_pts(folder: Path, faces: dict[str, Face], bare: bool = False) -> Path:
    """Each face as NAME.png and NAME.pts."""
    for name, (image, points) in faces.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(image)
        (folder / f"{name}.pts").write_text(text_of(points, bare))
    return folder


def box_of(points: Points) -> str:
    parts = "".join(
        f"\n      <part name='{index:02}' x='{x:.4f}' y='{y:.4f}'/>"
        for index, (x, y) in enumerate(points.astype(float))
    )
    return f"    <box top='1' left='1' width='20' height='20'>{parts}\n    </box>\n"


def write_xml(file: Path, images: dict[str, list[Points]], head: str = "") -> Path:
    """Images with the points of their faces, as imglab writes them."""
    text = "".join(
        f"  <image file='{name}'>\n{''.join(map(box_of, points))}  </image>\n" for name, points in images.items()
    )
    file.write_text(
        f"<?xml version='1.0' encoding='ISO-8859-1'?>\n{head}<dataset>\n<images>\n{text}</images>\n</dataset>\n"
    )
    return file


def write_parquet(file: Path, columns: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def points_of(dataset: Dataset) -> dict[str, Points]:
    """The points of all rows by id."""
    return {
        row["id"]: np.array(row["landmarks"], np.float32).reshape(68, 2)
        for split in dataset.card.splits
        for row in dataset.table(split, ["id", "landmarks"]).to_pylist()
    }


def groups_of(dataset: Dataset) -> dict[str, list[str]]:
    return {split: dataset.table(split, ["group"])["group"].to_pylist() for split in dataset.card.splits}


def counts(dataset: Dataset) -> dict[str, int]:
    return {split: dataset.rows(split) for split in dataset.card.splits}


def refusal(workspace: Workspace, source: Path, **options: Any) -> list[str]:
    """The messages with which an import is refused; nothing may stay behind."""
    with pytest.raises(MienError) as error:
        import_dataset(workspace, source, "new", **options)
    assert not workspace.datasets.exists() or list(workspace.datasets.iterdir()) == []
    return [str(one).replace(str(source), "SOURCE") for one in (error.value, *error.value.more)]


BAD = "SOURCE: of 1 row read, 1 bad, and so nothing is imported; expected a source of which most rows are good"
DRAWN = (
    "splits drawn by mien, 80 : 10 : 10 by class, seed 0; rows with one value of 'group' stay together, "
    "and so do equal images (0 rows)"
)
TERMS = (
    "300-W's annotations (AFW, HELEN, iBUG, LFPW, 300-W) are for research only, no commercial products; "
    "weights that are trained on them carry that limit"
)

# .pts


@pytest.mark.parametrize("bare", [False, True])
def test_points_of_pts_come_back_from_0(workspace: Workspace, tmp_path: Path, faces: list[Face], bare: bool) -> None:
    source = write_pts(tmp_path / "faces", {f"{i:02}": face for i, face in enumerate(faces)}, bare)
    dataset = import_dataset(workspace, source, "a")
    card = dataset.card
    assert (card.scheme, card.format) == (FACE, "pts")
    assert card.columns == ("id", "image", "label", "landmarks", "group")
    assert dataset.table("train", ["landmarks"])["landmarks"].type == KIND
    assert counts(dataset) == {"train": 10, "validation": 1, "test": 1}
    for row, found in points_of(dataset).items():
        assert np.abs(found - faces[int(row[:2])][1]).max() < 1e-3
    assert card.details["landmarks"] == {
        "from": "300-W's .pts, pixel centres from 1",
        "to": "pixel centres from 0",
        "terms": "research only",
    }
    assert card.notes == (
        "68 points in iBUG's order, stored as pixel centres from 0; they come from 300-W's .pts, pixel centres from 1",
        TERMS,
        DRAWN,
    )


def test_folders_of_300_w_are_splits(workspace: Workspace, tmp_path: Path, faces: list[Face]) -> None:
    names = ["afw/1", "helen/testset/1", "helen/trainset/1", "helen/trainset/1_mirror", "01_Indoor/a b"]
    source = write_pts(tmp_path / "s", {f"300w/{name}": face for name, face in zip(names, faces, strict=False)})
    (source / "300w/afw/alone.jpg").write_bytes(faces[0][0])
    with pytest.raises(MienError, match=r"row 300w/afw/alone\.jpg, landmarks: there is no \.pts file beside it"):
        import_dataset(workspace, source, "a")
    dataset = import_dataset(workspace, source, "a", skip_bad=True)
    assert counts(dataset) == {"01_Indoor": 1, "afw": 1, "helen_testset": 1, "helen_trainset": 2}
    assert groups_of(dataset)["helen_trainset"] == ["300w/helen/trainset/1"] * 2
    assert dataset.ids("01_Indoor") == ["300w/01_Indoor/a b.png"]
    assert dataset.card.skipped == ("row 300w/afw/alone.jpg, landmarks: there is no .pts file beside it",)


def many(names: list[str], face: Face) -> dict[str, Face]:
    """A face by many names, each with a pixel of its own."""
    images = {}
    for place, name in enumerate(names):
        pixels = decode(face[0], "gray")[:, :, 0].copy()
        pixels[0, :2] = divmod(place, 256)
        images[name] = (encode_png(pixels), face[1])
    return images


def test_twins_and_folders_stay_together_where_splits_are_made(
    workspace: Workspace, tmp_path: Path, faces: list[Face]
) -> None:
    names = [f"{i}{twin}" for i in range(30) for twin in ("", "_mirror")]
    source = write_pts(tmp_path / "twins", many(names, faces[0]))
    found = groups_of(import_dataset(workspace, source, "twins"))
    assert {split: len(of) for split, of in found.items()} == {"train": 48, "validation": 6, "test": 6}
    assert (
        len({group for of in found.values() for group in set(of)}) == sum(len(set(of)) for of in found.values()) == 30
    )
    # More folders than there can be splits.
    source = write_pts(tmp_path / "people", many([f"p{i:02}/{k}" for i in range(21) for k in range(2)], faces[0]))
    found = groups_of(import_dataset(workspace, source, "people"))
    assert {split: len(of) for split, of in found.items()} == {"train": 34, "validation": 4, "test": 4}
    assert sum(len(set(of)) for of in found.values()) == 21


def test_groups_share_a_split() -> None:
    groups = [i // 3 for i in range(300)]
    made = make_splits(["x"] * 300, 5, groups)
    assert all(len({split for split, of in zip(made, groups, strict=True) if of == group}) == 1 for group in range(100))
    assert [made.count(split) for split in ("train", "validation", "test")] == [240, 30, 30]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("{\n", "{\n1 1\n"), "SOURCE/a.pts: row a.png, landmarks: 69 points; expected 68"),
        (lambda text: text.rsplit("\n", 3)[0] + "\n}\n",
         "SOURCE/a.pts: row a.png, landmarks: 67 points; expected 68"),
        (lambda text: text.replace("68", "67"), "SOURCE/a.pts:2: row a.png, landmarks: n_points is 67; expected 68"),
        (lambda text: text.replace("{\n", "{\nnan 1\n"),
         "SOURCE/a.pts:4: row a.png, landmarks: 'nan' is no coordinate; expected a number"),
        (lambda text: text.replace("{\n", "{\n1 1e999\n"),
         "SOURCE/a.pts:4: row a.png, landmarks: '1e999' is no coordinate; expected a number"),
        (lambda text: text.replace("{\n", "{\n1 2 3\n"),
         "SOURCE/a.pts:4: row a.png, landmarks: '1 2 3' is no point; expected x and y"),
        (lambda text: "\n".join([*text.split("\n")[:5], "4 99", *text.split("\n")[6:]]),
         "SOURCE/a.pts:6: row a.png, landmarks: point 3 at (3, 98) is far outside of the image; "
         "expected at most one image side away from its 24 × 24 pixels"),
        (lambda text: "\xff\xfe", "SOURCE/a.pts: row a.png, landmarks: this is no text; expected lines of x and y"),
        (lambda text: text + " " * 2**16, "SOURCE/a.pts: row a.png, landmarks: the file has 66,6"),
    ],
)  # fmt: skip
def test_a_bad_pts_is_named(
    workspace: Workspace, tmp_path: Path, faces: list[Face], change: Callable[[str], str], message: str
) -> None:
    source = write_pts(tmp_path / "s", {"a": faces[0]})
    (source / "a.pts").write_bytes(change(text_of(faces[0][1])).encode("latin-1"))
    found = refusal(workspace, source)
    assert found[0] == message or (message.endswith("66,6") and found[0].startswith(message))
    assert found[1:] == [BAD]


def test_pts_whose_image_is_missing_or_not_one(workspace: Workspace, tmp_path: Path, faces: list[Face]) -> None:
    source = write_pts(tmp_path / "s", dict.fromkeys(("a", "b", "c", "d"), faces[0]))
    (source / "a.png").unlink()
    (source / "b.JPG").write_bytes(faces[0][0])
    (source / "c.png").unlink()
    (tmp_path / "out.png").write_bytes(faces[0][0])
    (source / "c.png").symlink_to(tmp_path / "out.png")
    (source / "linked").symlink_to(tmp_path)
    assert refusal(workspace, source)[:4] == [
        "SOURCE/a.pts: row a.pts, image: there is no image beside it (.png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, "
        ".gif, .ppm, .pgm, .heic, .heif)",
        "SOURCE/b.pts: row b.pts, image: there are 2 images beside it: b.JPG, b.png; expected one",
        "SOURCE: row c.png, image: a link that leads out of the source",
        "SOURCE: row linked: a link to a folder, which isn't followed",
    ]
    dataset = import_dataset(workspace, source, "a", skip_bad=True)
    assert dataset.ids("train") == ["d.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_turn_with_the_image(workspace: Workspace, tmp_path: Path, orientation: int) -> None:
    """One bright pixel, and every point on it: where the decoded image has it, there the points are."""
    pixels = np.zeros((20, 30), np.uint8)
    pixels[4, 7] = 255
    points = np.tile(np.array([7, 4], np.float32), (68, 1))
    points[0] = 2, 3  # The jaw's first point, so that a mirror's permutation shows.
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", exif=exif)
    source = write_pts(tmp_path / "s", {"a": (data.getvalue(), points)})
    dataset = import_dataset(workspace, source, "a")
    (found,) = points_of(dataset).values()
    y, x = np.argwhere(decode(next(dataset.images("train")), "gray")[:, :, 0] == 255)[0]
    assert found[30].tolist() == [x, y]
    odd = MIRROR[0] if orientation in (2, 4, 5, 7) else 0
    assert [i for i, point in enumerate(found.tolist()) if point != [x, y]] == [odd]


# dlib's XML


def test_a_list_of_dlib_s(workspace: Workspace, tmp_path: Path, faces: list[Face]) -> None:
    write_pts(tmp_path / "f", dict(zip(("helen/1", "helen/2", "3"), faces, strict=False)))
    first, second, third = (points for _, points in faces[:3])
    images = {"helen/1.png": [first], "helen/2.png": [second, first], "3.png": [third]}
    dataset = import_dataset(workspace, write_xml(tmp_path / "f/faces.xml", images), "a")
    wanted = {"helen/1.png": first, "helen/2.png#1": second, "helen/2.png#2": first, "3.png": third}
    found = points_of(dataset)
    assert found.keys() == wanted.keys()
    assert all(np.abs(found[row] - points).max() < 1e-3 for row, points in wanted.items())
    assert dataset.card.details["landmarks"]["from"] == "dlib's XML, pixel centres from 0"
    assert (dataset.card.scheme, dataset.card.format, dataset.card.notes[1]) == (FACE, "dlib-xml", TERMS)


def test_lists_that_are_called_by_their_split(workspace: Workspace, tmp_path: Path, faces: list[Face]) -> None:
    folder = write_pts(tmp_path / "f", dict.fromkeys(("a", "a_mirror", "b"), faces[0]))
    write_xml(folder / "labels_ibug_300W.xml", {f"{name}.png": [faces[0][1]] for name in ("a", "a_mirror", "b")})
    write_xml(folder / "labels_ibug_300W_test.xml", {"b.png": [faces[0][1]]})
    train = write_xml(folder / "labels_ibug_300W_train.xml", {f"{n}.png": [faces[0][1]] for n in ("a", "a_mirror")})
    dataset = import_dataset(workspace, folder, "a")
    assert groups_of(dataset) == {"train": ["a", "a"], "test": ["b"]}
    assert counts(import_dataset(workspace, train, "b")) == {"train": 2}
    whole = import_dataset(workspace, folder / "labels_ibug_300W.xml", "c")
    assert [len(set(of)) for of in groups_of(whole).values()] == [2]


def part(name: str) -> Callable[[str], str]:
    return lambda text: text.replace("<part name='05'", f"<part name='{name}'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (part("04"), "SOURCE:11: row a.png, landmarks: part '04' is there twice; expected 00 to 67, each once"),
        (part("68"), "SOURCE:11: row a.png, landmarks: part '68' is no point; expected 00 to 67, each once"),
        (lambda text: "\n".join(line for line in text.split("\n") if "'05'" not in line),
         "SOURCE:5: row a.png, landmarks: 67 points; expected 68"),
        (lambda text: text.replace("name='05' x='", "name='05' x='NaN"),
         "SOURCE:11: row a.png, landmarks: part '05': 'NaN"),
        (lambda text: text.replace("name='05' x='", "name='05' x='9"),
         "SOURCE:11: row a.png, landmarks: point 6 at (9"),
        (lambda text: text.replace("a.png", "b.png"),
         "SOURCE:5: row b.png, image: the file can't be read (No such file or directory)"),
        (lambda text: text.replace("a.png", "../a.png"),
         "SOURCE:5: row ../a.png, image: the path leads out of the folder; expected one below it"),
        (lambda text: text.replace("a.png", "/etc/passwd"),
         "SOURCE:5: row /etc/passwd, image: the path leads out of the folder; expected one below it"),
    ],
)  # fmt: skip
def test_a_bad_face_of_a_list_is_named(
    workspace: Workspace, tmp_path: Path, faces: list[Face], change: Callable[[str], str], message: str
) -> None:
    write_pts(tmp_path / "f", {"a": faces[0]})
    (tmp_path / "a.png").write_bytes(faces[0][0])
    source = write_xml(tmp_path / "f/x.xml", {"a.png": [faces[0][1]]})
    source.write_text(change(source.read_text()))
    found = refusal(workspace, source)
    assert found[0].startswith(message)
    assert found[1:] == [BAD]


BOMB = "<!DOCTYPE dataset [\n<!ENTITY a 'ha'>\n<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>\n]>\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("<dataset>", BOMB + "<dataset>&b;"),
         "SOURCE:2: the XML declares a document type or an entity, which are refused: such files can be bombs"),
        (lambda text: text.replace("<dataset>", "<!DOCTYPE dataset SYSTEM 'file:///etc/passwd'><dataset>"),
         "SOURCE:2: the XML declares a document type or an entity, which are refused: such files can be bombs"),
        (lambda text: text.replace("</images>", ""), "SOURCE:77: this is no well-formed XML (mismatched tag)"),
        (lambda text: text[:-12], "SOURCE:76: this is no well-formed XML (no element found)"),
        (lambda text: text.replace("a.png", "a" * 2_200_000), "SOURCE:4: something there is longer than 1 MB"),
        (lambda text: text.replace("<images>", "<x>" * 30), "SOURCE:3: elements stand more than 20 deep in each other"),
        (lambda text: text.replace("    </box>", "<box></box>" * 1001 + "</box>"),
         "SOURCE:74: image 'a.png' has more than 1000 boxes"),
    ],
    ids=["bomb", "outer entity", "not closed", "cut", "long", "deep", "boxes"],
)  # fmt: skip
def test_xml_that_is_refused(
    workspace: Workspace, tmp_path: Path, faces: list[Face], change: Callable[[str], str], message: str
) -> None:
    write_pts(tmp_path / "f", {"a": faces[0]})
    source = write_xml(tmp_path / "f/x.xml", {"a.png": [faces[0][1]]})
    source.write_text(change(source.read_text()))
    (found,) = refusal(workspace, source)
    assert found.startswith(message)
    assert found.endswith("; expected dlib's <dataset><images><image file='…'><box><part name='00' x='…' y='…'/>…")


def test_other_xml_is_no_list(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<html></html>")
    assert refusal(workspace, tmp_path / "x.xml")[0].startswith("SOURCE: this is of no known format; expected a CSV")


# Parquet


def columns_of(faces: list[Face], **more: Any) -> dict[str, Any]:
    return {"image": [image for image, _ in faces], "landmarks": [p.ravel().tolist() for _, p in faces], **more}


def test_parquet_of_landmarks(workspace: Workspace, tmp_path: Path, faces: list[Face]) -> None:
    names = [f"{i}.jpg" for i in range(12)]
    flat = columns_of(faces, name=names, subset=["helen_train"] * 8 + ["helen_test"] * 4, person=["p"] * 12)
    dataset = import_dataset(workspace, write_parquet(tmp_path / "one.parquet", flat), "a")
    assert counts(dataset) == {"helen_test": 4, "helen_train": 8}
    assert dataset.card.columns == ("id", "image", "label", "landmarks", "person")
    assert {row: points.tolist() for row, points in points_of(dataset).items()} == {
        name: points.tolist() for name, (_, points) in zip(names, faces, strict=True)
    }
    assert dataset.labels("helen_train").tolist() == [0] * 8
    assert dataset.card.notes[1] == TERMS
    # Our own layout keeps points and terms.
    again = import_dataset(workspace, dataset.folder, "again")
    assert (again.card.scheme, again.card.fingerprint) == (FACE, dataset.card.fingerprint)
    assert again.card.notes[1] == TERMS
    pairs = {**flat, "landmarks": [points.tolist() for _, points in faces]}
    assert points_of(import_dataset(workspace, write_parquet(tmp_path / "two.parquet", pairs), "b")).keys() == set(
        names
    )


def test_files_with_other_columns_share_theirs(workspace: Workspace, tmp_path: Path, faces: list[Face]) -> None:
    width = pa.array([24] * 6, pa.int16())
    first = columns_of(faces[:6], name=list("abcdef"), subset=["one"] * 6, width=width, crop=[1] * 6)
    first["landmarks"] = pa.array(first["landmarks"], KIND)
    second = columns_of(faces[6:], name=list("abcdef"), split=["two"] * 6, width=[24] * 6, person=list("aabbcc"))
    write_parquet(tmp_path / "f/a.parquet", first)
    write_parquet(tmp_path / "f/b.parquet", second)
    dataset = import_dataset(workspace, tmp_path / "f", "a")
    assert counts(dataset) == {"one": 6, "two": 6}
    # Names that two rows share are no ids.
    assert [*dataset.ids("one"), *dataset.ids("two")] == [str(i) for i in range(12)]
    assert dataset.card.columns == ("id", "image", "label", "landmarks", "name", "width")
    assert dataset.card.notes == (
        "68 points in iBUG's order, stored as pixel centres from 0; they come from Parquet, pixel centres from 0",
        "columns left out, since not every file has them: crop, person",
    )
    write_parquet(tmp_path / "f/c.parquet", columns_of(faces))
    assert refusal(Workspace(tmp_path / "other"), tmp_path / "f") == [
        "SOURCE/c.parquet: nothing says of which split its rows are; "
        "expected a column split, usage, subset in each file, or in none"
    ]


def test_bad_points_of_parquet(workspace: Workspace, tmp_path: Path, faces: list[Face]) -> None:
    good = [float(value) for value in faces[0][1].ravel()]
    points = [good, good[:-2], good[:-1], None, [*good[:9], float("nan"), *good[10:]], [*good[:-1], -24.5]]
    source = write_parquet(tmp_path / "a.parquet", {"image": [faces[0][0]] * 6, "landmarks": points})
    assert refusal(workspace, source)[:-1] == [
        "SOURCE: row 1, landmarks: 67 points; expected 68 points, x and y of each",
        "SOURCE: row 2, landmarks: 135 numbers; expected 68 points, x and y of each",
        "SOURCE: row 3, landmarks: no points",
        "SOURCE: row 4, landmarks: the y of point 5 is nan; expected a number",
        f"SOURCE: row 5, landmarks: point 68 at ({good[-2]:.6g}, -24.5) is far outside of the image; "
        "expected at most one image side away from its 24 × 24 pixels",
    ]
    assert counts(import_dataset(workspace, source, "a", skip_bad=True)) == {"train": 1}


def test_the_real_landmarks(workspace: Workspace, real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "landmarks"
    helen = import_dataset(workspace, folder / "helen_68pt.parquet", "helen")
    assert counts(helen) == {"helen_test": 330, "helen_train": 870}
    assert helen.card.notes[1] == TERMS
    youtube = import_dataset(workspace, folder / "youtube_68pt.parquet", "youtube")
    assert counts(youtube) == {"training": 3531, "test": 770}
    assert "person" in youtube.card.columns
    both = import_dataset(workspace, folder, "both")
    assert counts(both) == {**counts(youtube), **counts(helen)}
    found = points_of(both)
    assert len(found) == 5501
    # The same faces as .pts and as XML.
    rows = helen.table("helen_test", ["id", "image", "landmarks"]).slice(0, 8).to_pylist()
    wanted = {
        f"{i}.png": (row["image"]["bytes"], np.array(row["landmarks"], np.float32).reshape(68, 2))
        for i, row in enumerate(rows)
    }
    write_pts(tmp_path / "p", {name.removesuffix(".png"): face for name, face in wanted.items()})
    write_xml(tmp_path / "p/faces.xml", {name: [points] for name, (_, points) in wanted.items()})
    as_xml = points_of(import_dataset(workspace, tmp_path / "p/faces.xml", "xml"))
    (tmp_path / "p/faces.xml").unlink()
    as_pts = points_of(import_dataset(workspace, tmp_path / "p", "pts"))
    for name, (_, points) in wanted.items():
        assert np.abs(as_pts[name] - points).max() < 1e-3
        assert np.abs(as_xml[name] - points).max() < 1e-3
