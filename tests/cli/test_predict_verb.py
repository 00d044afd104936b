"""`mien predict`: a row for whatever lies in a folder, its exit codes, and evaluate's own probabilities."""

import csv
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from conftest import TINY, read_json, write_tiny
from PIL import Image
from verbs import call

from mien.data.dataset import open_dataset
from mien.data.synthetic import faces
from mien.evaluation import evaluate
from mien.experiment.schema import load_experiment
from mien.inference import load
from mien.metrics.probabilities import probabilities
from mien.runs.predictions import read_predictions
from mien.runs.run import new_run
from mien.training.fit import train
from mien.workspace import Workspace

UNKNOWN = "this is no image of a known format; expected PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM"
NUMBERS = "expected 8 or 16 bits, or floats of 0 to 1"
LIMIT = "expected at most 64 million"
CUT = "the image doesn't decode (image file is truncated"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a measured run on stripes."""
    folder = tmp_path_factory.mktemp("predict")
    workspace = Workspace(folder / "home")
    write_tiny(workspace)
    (folder / "tiny.yaml").write_text(TINY)
    run = new_run(workspace, load_experiment(folder / "tiny.yaml", ["train.epochs=1"]))
    train(workspace, run, ["mien", "train"])
    evaluate(workspace, run, "choose")
    evaluate(workspace, run)
    return workspace


@pytest.fixture
def here(home: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the workspace where commands look for it."""
    monkeypatch.setenv("MIEN_HOME", str(home.root))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(file: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(file).read_text(encoding="utf-8"), newline="")))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def heic(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file)
    return file.getvalue()


def gray(values: Any) -> Image.Image:
    return Image.fromarray(np.asarray(values))


RAMP = np.linspace(0, 255, 48 * 48).reshape(48, 48).astype(np.uint8)
PLAIN, COLOUR = gray(RAMP), gray(np.repeat(RAMP[:, :, None], 3, 2))
WIDE = RAMP.astype(np.uint16) * 257
PALETTE = COLOUR.quantize(16)
NOISE = gray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
PNG, JPEG = saved(NOISE, "PNG"), saved(NOISE, "JPEG")


def exif(orientation: int) -> Image.Exif:
    content = Image.Exif()
    content[0x0112] = orientation
    return content


def claims(width: int, height: int) -> bytes:
    """A PNG whose header says another size."""
    head = b"IHDR" + struct.pack(">II", width, height) + PNG[24:29]
    return PNG[:12] + head + struct.pack(">I", zlib.crc32(head)) + PNG[33:]


def pixels_16(header: bytes) -> bytes:
    return header + WIDE.astype(">u2").tobytes()


# What lies in the file, and what is said of it: None for a face.
ODD: dict[str, tuple[bytes, str | None]] = {
    "gray.png": (saved(PLAIN, "PNG"), None),
    "colour.jpg": (saved(COLOUR, "JPEG"), None),
    "gray.jpg": (saved(PLAIN, "JPEG"), None),
    "progressive.jpg": (saved(COLOUR, "JPEG", progressive=True), None),
    "cmyk.jpg": (saved(COLOUR.convert("CMYK"), "JPEG"), None),
    "cmyk.tif": (saved(COLOUR.convert("CMYK"), "TIFF"), None),
    "lab.tif": (saved(Image.new("LAB", (48, 48), (128, 128, 128)), "TIFF"), None),
    "ycbcr.tif": (saved(COLOUR.convert("YCbCr"), "TIFF"), None),
    "rgba.png": (saved(COLOUR.convert("RGBA"), "PNG"), None),
    "unseen.png": (saved(Image.new("RGBA", (48, 48), (0, 0, 0, 0)), "PNG"), None),
    "la.png": (saved(PLAIN.convert("LA"), "PNG"), None),
    "palette.png": (saved(PALETTE, "PNG"), None),
    "palette-unseen.png": (saved(PALETTE, "PNG", transparency=0), None),
    "palette.gif": (saved(PALETTE, "GIF"), None),
    "animated.gif": (saved(PALETTE, "GIF", save_all=True, append_images=[PLAIN.convert("P")]), None),
    "animated.webp": (saved(COLOUR, "WEBP", save_all=True, append_images=[PLAIN]), None),
    "animated.png": (saved(COLOUR, "PNG", save_all=True, append_images=[NOISE.resize((48, 48))]), None),
    "pages.tif": (saved(PLAIN, "TIFF", save_all=True, append_images=[PLAIN]), None),
    "bits.png": (saved(PLAIN.convert("1"), "PNG"), None),
    "bits.tif": (saved(PLAIN.convert("1"), "TIFF"), None),
    "16bit.png": (saved(gray(WIDE), "PNG"), None),
    "16bit.tif": (saved(gray(WIDE), "TIFF"), None),
    "16bit.pgm": (pixels_16(b"P5 48 48 65535\n"), None),
    "12bit.pgm": (b"P5 48 48 4095\n" + (WIDE >> 4).astype(">u2").tobytes(), None),
    "float.tif": (saved(gray((RAMP / 255).astype(np.float32)), "TIFF"), None),
    "float.pfm.pgm": (b"Pf\n48 48\n-1.0\n" + (RAMP / 255).astype("<f4").tobytes(), None),
    "plain.pgm": (b"P5 48 48 255\n" + RAMP.tobytes(), None),
    "plain.ppm": (b"P6 48 48 255\n" + np.repeat(RAMP[:, :, None], 3, 2).tobytes(), None),
    "plain.bmp": (saved(COLOUR, "BMP"), None),
    "plain.webp": (saved(COLOUR, "WEBP"), None),
    "turned.jpg": (saved(COLOUR, "JPEG", exif=exif(6)), None),
    "mirrored.jpg": (saved(COLOUR, "JPEG", exif=exif(5)), None),
    "exif-of-9.jpg": (saved(COLOUR, "JPEG", exif=exif(9)), None),
    "png-as.jpg": (saved(COLOUR, "PNG"), None),
    "no-suffix.JPEG": (saved(COLOUR, "JPEG"), None),
    "one-pixel.png": (saved(PLAIN.resize((1, 1)), "PNG"), None),
    "narrow.png": (saved(PLAIN.resize((1, 900)), "PNG"), None),
    "wide.jpg": (saved(PLAIN.resize((4000, 20)), "JPEG"), None),
    "flat.png": (saved(Image.new("L", (48, 48), 128), "PNG"), None),
    "photo.heic": (heic(COLOUR), None),
    "20000.jpg": (saved(Image.new("L", (20000, 20000), 90), "JPEG", quality=20), None),
    'name with ünïcode, "quotes".png': (PNG, None),
    "new\nline.png": (PNG, None),
    "trailing.jpg": (JPEG + bytes(1000), None),
    "20000-progressive.jpg": (
        saved(Image.new("L", (20000, 3300), 90), "JPEG", quality=20, progressive=True),
        f"the image has 20000 × 3300 pixels; {LIMIT}",
    ),
    "9000.png": (claims(9000, 8000), f"the image has 9000 × 8000 pixels; {LIMIT}"),
    "bomb.png": (claims(60000, 60000), f"the image has far too many pixels; {LIMIT}"),
    "zero.jpg": (b"", "the file is empty; expected an image"),
    "text.jpg": (b"no picture\n" * 20, UNKNOWN),
    "page.png": (b"<!DOCTYPE html><html></html>", UNKNOWN),
    "svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNKNOWN),
    "pdf.tif": (b"%PDF-1.7\n" + bytes(100), UNKNOWN),
    "zeros.bmp": (bytes(4096), UNKNOWN),
    "mp4.jpg": (b"\0\0\0\x18ftypisom" + bytes(200), UNKNOWN),
    "avif.jpg": (b"\0\0\0\x18ftypavif" + bytes(200), UNKNOWN),
    "tga.bmp": (saved(PLAIN, "TGA"), UNKNOWN),
    "broken.heic": (
        b"\0\0\0\x18ftypheic" + bytes(200),
        "the image doesn't decode (",
    ),
    "cut.png": (PNG[:3000], CUT),
    "cut.jpg": (JPEG[: len(JPEG) // 2], CUT),
    "cut.webp": (saved(NOISE, "WEBP")[:200], "the image doesn't decode ("),
    "header-alone.jpg": (JPEG[:3], "the image doesn't decode ("),
    "broken.png": (PNG[:100] + bytes(200) + PNG[300:], "the image doesn't decode ("),
    "integers.tif": (saved(gray(WIDE.astype(np.int32)), "TIFF"), f"these pixels are int32 numbers; {NUMBERS}"),
    "float255.tif": (
        saved(gray(RAMP.astype(np.float32)), "TIFF"),
        f"these pixels are floats of 0 to 255; {NUMBERS}",
    ),
    "nan.tif": (
        saved(gray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
        f"these pixels are floats of nan to nan; {NUMBERS}",
    ),
}


def test_a_row_for_every_odd_file(here: Path) -> None:
    assert len(ODD) >= 60
    for name, (data, _) in ODD.items():
        path = here / "odd" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    os.mkfifo(here / "odd" / "pipe.png")
    (here / "odd" / "nowhere.png").symlink_to(here / "gone.png")
    expected = {name: said for name, (_, said) in ODD.items()}
    expected |= {"pipe.png": "this isn't a file; expected an image", "nowhere.png": "there is no such image"}
    done = call("predict", "odd", "--model", "tiny", "--detector", "none", "--out", "x.csv", "--draw", "drawn")
    bad = sum(said is not None for said in expected.values())
    assert done.code == 1
    assert "Traceback" not in done.err
    assert done.err == f"mien: {bad} of {len(expected)} photos can't be read\n"
    told = {row["path"].removeprefix("odd/"): row for row in rows("x.csv")}
    assert set(told) == set(expected)
    for name, said in expected.items():
        row = told[name]
        if said is None:
            assert (row["error"], row["face"]) == ("", "1"), name
            shares = [float(row[f"p_{label}"]) for label in load("tiny").scheme.classes]
            assert sum(shares) == pytest.approx(1, abs=1e-5)
            assert (here / "drawn" / f"{name}.png").is_file()
        else:
            assert row["answer"] == "error"
            assert row["error"].startswith(said), (name, row["error"])
            assert row["face"] == row["top"] == ""
    same = ("16bit.png", "16bit.tif", "16bit.pgm", "float.tif", "plain.pgm", "rgba.png", "plain.bmp")
    shares = np.array([[float(told[name][key]) for key in told[name] if key.startswith("p_")] for name in same])
    # Twelve bits and PFM, which stands on its head, aside.
    assert np.abs(shares - shares[0]).max() < 1e-5


def test_detector_none_gives_evaluates_probabilities(here: Path, home: Workspace) -> None:
    dataset, run = open_dataset(home, "tiny"), load("tiny")
    stored = read_predictions(home.runs / "tiny" / "1" / "predictions" / "report.parquet")
    for id_, data in zip(dataset.ids("test"), dataset.images("test"), strict=True):
        (here / f"{id_}.png").write_bytes(data)
    done = call("predict", ".", "--model", "tiny", "--detector", "none", "--json")
    assert done.code == 0, done.err
    told = {face["path"]: list(face["probabilities"].values()) for face in done.json["faces"]}
    expected = probabilities(stored.logits, run.temperature or 1.0)
    assert len(told) == len(stored) == 35
    assert np.abs(np.array([told[f"{id_}.png"] for id_ in stored.ids]) - expected).max() < 1e-5


def scene(path: Path, count: int = 2) -> None:
    """A scene with drawn faces."""
    wide = np.full((420, 800, 3), 140, np.uint8)
    for place, (image, _, _) in enumerate(faces(count, size=192, color="rgb")):
        wide[100:292, 40 + 380 * place : 232 + 380 * place] = image
    Image.fromarray(wide).save(path)


def test_faces_are_told_on_screen_with_what_the_cascade_costs(here: Path) -> None:
    scene(here / "two.png")
    Image.new("RGB", (300, 200), "gray").save(here / "empty.png")
    done = call("predict", "two.png", "empty.png", "--model", "tiny", "--classes", "sad,happy", "--draw", "out")
    assert done.code == 0
    assert done.err.splitlines() == [
        "mien: OpenCV's cascade looks for the faces (YuNet can't be downloaded (MIEN_OFFLINE is set)); it misses "
        "turned, small and covered ones, 95 of 870 in HELEN, where YuNet misses none. `mien models fetch yunet` or "
        "--detector-weights FILE gives YuNet",
        "mien: of 7 classes only happy, sad",
    ]
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[0] for line in lines if line and line[0].endswith(".png")] == ["two.png", "two.png", "empty.png"]
    assert "2 photos, 2 faces (" in done.out
    assert "1 without a face, 0 can't be read" in done.out
    with Image.open(here / "out" / "two.png.png") as drawn:
        assert drawn.size == (800, 420)


def test_which_faces_are_told(here: Path) -> None:
    scene(here / "two.png")

    def told(*options: object) -> list[dict[str, Any]]:
        done = call("predict", "two.png", "--model", "tiny", "--json", *options)
        assert done.code == 0
        return [face for face in done.json["faces"] if face["answer"] != "no face"]

    both = told()
    assert [face["face"] for face in both] == [1, 2]
    assert len(told("--largest")) == 1
    sizes = sorted(face["size"] for face in both)
    assert len(told("--min-size", (sizes[0] + sizes[1]) / 2)) == (1 if sizes[0] < sizes[1] else 2)
    assert told("--min-score", 1e9) == []
    few = told("--classes", "happy,sad")
    for one, whole in zip(few, both, strict=True):
        share = {name: whole["probabilities"][name] for name in ("happy", "sad")}
        expected = {name: value / sum(share.values()) for name, value in share.items()}
        assert one["probabilities"] == pytest.approx(expected, abs=1e-5)
    (unsure, _) = told("--min-confidence", 0.99)
    assert unsure["answer"] == "uncertain"
    assert unsure["uncertain"] == f"confidence {max(unsure['probabilities'].values()):.2f}"
    (one, _) = told("--points")
    assert len(one["points"]) == 68


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["two.png", "--model", "landmarks-small"], "landmarks-small tells no expressions"),
        (["two.png", "--model", "tiny", "--classes", "hapy,sad"], "tiny/1 has no class 'hapy'"),
        (["two.png", "--model", "tiny", "--classes", "sad"], "the classes are sad; expected two or more, once"),
        (["two.png", "--model", "tiny", "--resume"], "--resume: there is nothing to go on with; expected --out FILE"),
        (["two.png", "--model", "tiny", "--out", "x.xls"], "x.xls: a file of answers ends otherwise"),
        (["two.png", "--model", "tiny", "--draw", "two.png"], "'--draw': dir 'two.png' is a file"),
        (["*.gif", "--model", "tiny"], "nothing matches this pattern"),
        (["two.png", "--model", "tiny", "--detector", "none", "--detector-weights", "x"], "are YuNet's"),
        (["two.png", "--model", "tiny", "--detector-weights", "x"], "there is no such file with a detector"),
        (["two.png", "deep/two.png", "--model", "tiny", "--draw", "d"], "two.png would both be drawn as d/two.png.png"),
    ],
)
def test_mistakes_are_one_sentence(here: Path, home: Workspace, arguments: list[str], message: str) -> None:
    scene(here / "two.png")
    done = call("predict", *arguments)
    assert done.code == 2
    assert message.format(home=home.root.resolve()) in done.err.splitlines()[-1]
    assert sorted(path.name for path in here.iterdir()) == ["two.png"]


def test_without_a_name_it_is_what_ships_even_beside_a_run_of_that_name(here: Path, home: Workspace) -> None:
    scene(here / "two.png")
    run = home.runs / "mien-m"
    (home.runs / "tiny").rename(run)
    try:
        done = call("predict", "two.png", "--detector", "none", "--json")
    finally:
        run.rename(home.runs / "tiny")
    assert (done.code, done.json["model"].split()[0]) == (0, "mien-m")
    assert len(done.json["faces"][0]["probabilities"]) == 7


def test_where_nothing_can_be_read_the_exit_code_is_2(here: Path) -> None:
    done = call("predict", "a.jpg", "b.jpg", "--model", "tiny", "--detector", "none", "--json")
    assert (done.code, done.json["failed"], done.json["images"]) == (2, 2, 2)
    assert [face["error"] for face in done.json["faces"]] == ["there is no such image"] * 2
    assert done.err == "mien: 2 of 2 photos can't be read\n"


def test_resume_skips_what_is_there(here: Path) -> None:
    for name in "abc":
        PLAIN.save(here / f"{name}.png")
    options = ("--model", "tiny", "--detector", "none", "--out", "x.jsonl")
    done = call("predict", "a.png", "gone.png", *options)
    assert (done.code, done.err) == (1, "mien: 1 of 2 photos can't be read\n")
    assert "\ngone.png: there is no such image\n" in done.out
    before = (here / "x.jsonl").read_text().splitlines()
    PLAIN.save(here / "gone.png")
    done = call("predict", "a.png", "b.png", "c.png", "gone.png", *options, "--resume", "--json")
    assert (done.code, done.json["images"], done.json["out"]) == (0, 3, "x.jsonl")
    lines = (here / "x.jsonl").read_text().splitlines()
    assert lines[0] == before[0]
    assert [json.loads(line)["path"] for line in lines] == ["a.png", "b.png", "c.png", "gone.png"]


def test_yunet_finds_one_and_four_faces(here: Path, real_data: Path) -> None:
    weights = real_data.parent / "weights" / "face_detection_yunet.onnx"
    done = call("predict", real_data.parent / "photos", "--model", "tiny", "--detector-weights", weights, "--json")
    assert (done.code, done.err) == (0, "")
    paths = [Path(face["path"]).name for face in done.json["faces"]]
    assert paths == ["four_faces.jpg"] * 4 + ["grace_hopper.jpg"]
    middles = [face["box"][0] + face["box"][2] / 2 for face in done.json["faces"]]
    assert np.abs(np.array(middles) - (30, 182, 306, 466, 266)).max() < 20
    for face in done.json["faces"]:
        left, _, right, _ = face["eyes"]
        assert face["box"][0] < left < right < face["box"][0] + face["box"][2]


def test_large_photos_have_their_boxes_in_full_size(here: Path) -> None:
    scene(here / "small.png")
    with Image.open(here / "small.png") as image:
        image.resize((3200, 1680)).save(here / "large.jpg", quality=95)
    boxes: Callable[[str], Any] = lambda name: np.array(  # noqa: E731
        [face["box"] for face in call("predict", name, "--model", "tiny", "--json").json["faces"]]
    )
    assert np.abs(boxes("large.jpg") / 4 - boxes("small.png")).max() < 12


def test_landmarks_take_the_same_paths_and_exit_codes(here: Path) -> None:
    scene(here / "two.png")
    (here / "bad.jpg").write_bytes(b"")
    (here / "list.txt").write_text("two.png\nbad.jpg\n")
    done = call("landmarks", "@list.txt", "--json")
    assert (done.code, done.json["faces"]) == (1, 2)
    assert done.err.splitlines()[-2:] == [
        "mien: bad.jpg: the file is empty; expected an image",
        "mien: 1 of 2 photos can't be read",
    ]
    assert call("landmarks", "bad.jpg").code == 2
    assert read_json(call("landmarks", "two.png", "--detector", "none", "--json").out)["faces"] == 1
