"""`mien predict` of videos and before a camera: rows, pictures, exit codes, and what signals leave."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from clips import RATE, picture, write_clip
from conftest import REPOSITORY
from PIL import Image
from verbs import call

from mien.data.synthetic import faces
from mien.prediction.timeline import LIMITS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the workspace as well."""
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clip(file: Path, frames: int = 30, **options: Any) -> Path:
    """A face that goes to the right, for `--detector none`: the frame is the face."""
    return write_clip(file, [picture(((4.0 + at % 60, 30.0),)) for at in range(frames)], **options)


def two_faces(file: Path) -> None:
    """Twelve frames with two drawn faces that move, and four without any."""
    drawn = [image for image, _, _ in faces(2, size=192, color="rgb")]
    pictures = []
    for at in range(16):
        scene = np.full((420, 800, 3), 140, np.uint8)
        for place, image in enumerate(drawn if at < 12 else []):
            left = (40 + 4 * at, 420 - 4 * at)[place]
            scene[100:292, left : left + 192] = image
        pictures.append(scene)
    write_clip(file, pictures)


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))


def test_a_video_beside_a_photo(here: Path) -> None:
    two_faces(here / "two.mp4")
    Image.new("RGB", (64, 64), "gray").save(here / "gray.png")
    options = ("--detector", "cascade", "--fps", "all", "--out", "x.csv", "--draw", "drawn")
    done = call("predict", "gray.png", "two.mp4", *options)
    assert (done.code, done.err) == (0, "")
    told = rows(here / "x.csv")
    assert (told[0]["path"], told[0]["answer"], told[0]["frame"], told[0]["track"]) == ("gray.png", "no face", "", "")
    found = [row for row in told if row["track"]]
    for track, left in (("1", 40), ("2", 420)):
        own = [row for row in found if row["track"] == track]
        assert len(own) >= 10
        for row in own:
            expected = left + (4 if track == "1" else -4) * int(row["frame"]) + 96
            assert abs(float(row["x"]) + float(row["width"]) / 2 - expected) < 20
            assert float(row["time"]) == int(row["frame"]) / RATE
            assert sum(float(row[key]) for key in row if key.startswith("s_")) == pytest.approx(1, abs=1e-5)
    assert {row["track"] for row in found} == {"1", "2"}
    assert [row["answer"] for row in told if row["frame"] in ("12", "13", "14", "15")] == ["no face"] * 4
    assert sorted(path.name for path in (here / "drawn").iterdir()) == [
        "gray.png.png",
        "two.mp4.mp4",
        "two.mp4.track-1.png",
        "two.mp4.track-2.png",
    ]
    with av.open("drawn/two.mp4.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 16
    assert f"two.mp4: 16 frames told (every frame), {len(found)} faces (" in done.out
    assert "in 2 tracks, 25 % of the frames without a face" in done.out
    assert "1 photo, 0 faces (0 uncertain), 1 without a face, 0 can't be read (model mien-m " in done.out
    assert LIMITS in done.out.splitlines()


def test_the_formats_hold_the_same_rows_and_a_summary(here: Path) -> None:
    clip(here / "x.mp4")
    for ending in ("csv", "json", "jsonl", "parquet"):
        assert call("predict", "x.mp4", "--detector", "none", "--out", f"x.{ending}").code == 0
    whole = json.loads((here / "x.json").read_text())
    assert (whole["fps"], whole["smooth"]) == (5, 0.5)
    assert [(one["frame"], one["time"], one["track"]) for one in whole["faces"]] == [
        (at, at / RATE, 1) for at in range(0, 30, 2)
    ]
    assert [json.loads(line) for line in (here / "x.jsonl").read_text().splitlines()] == whole["faces"]
    for row, one, line in zip(
        pq.read_table(here / "x.parquet").to_pylist(), whole["faces"], rows(here / "x.csv"), strict=True
    ):
        assert {key.removeprefix("s_"): row[key] for key in row if key.startswith("s_")} == one["smoothed"]
        assert {key: "" if value is None else str(value) for key, value in row.items()} == line
    (video,) = whole["videos"]
    assert (video["path"], video["frames"], video["faces"], video["without_share"]) == ("x.mp4", 15, 15, 0.0)
    assert video["limits"] == LIMITS
    assert sum(video["time"].values()) == pytest.approx(1, abs=1e-3)
    done = call("predict", "x.mp4", "--detector", "none", "--json")
    assert (done.json["videos"], done.json["faces"]) == ([video], whole["faces"])
    before = (here / "x.json").read_bytes()
    again = call("predict", "x.mp4", "--detector", "none", "--out", "x.json", "--resume", "--json")
    assert (again.code, again.json["videos"]) == (0, [video])
    assert (here / "x.json").read_bytes() == before


def test_a_video_that_breaks_off_is_told_up_to_there(here: Path) -> None:
    clip(here / "x.mp4", 60, codec="mpeg4", movflags="faststart")
    data = (here / "x.mp4").read_bytes()
    (here / "x.mp4").write_bytes(data[: len(data) * 8 // 10])
    (here / "bad.mp4").write_bytes(b"nothing")
    done = call("predict", "x.mp4", "bad.mp4", "--detector", "none", "--out", "x.csv")
    assert done.code == 1
    first, second = done.err.splitlines()
    assert first.startswith("mien: x.mp4: the video breaks off after ")
    assert first.endswith(" s of 6.0 s (the file is cut off there)")
    assert second == "mien: 1 of 2 files can't be read"
    told = rows(here / "x.csv")
    assert [row["answer"] for row in told[-2:]] == ["error", "error"]
    assert [row["path"] for row in told] == ["x.mp4"] * (len(told) - 1) + ["bad.mp4"]
    assert len(told) > 7
    assert call("predict", "x.mp4", "--detector", "none").code == 1
    assert call("predict", "bad.mp4", "--detector", "none").code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.mp4", "--fps", "0"], "--fps: the rate is '0'; expected a number above 0 and up to 1000, or all"),
        (["x.mp4", "--fps", "nan"], "--fps: the rate is 'nan'; expected a number above 0 and up to 1000, or all"),
        (["x.mp4", "--smooth", "1"], "Invalid value for '--smooth': Input should be less than or equal to 0.99"),
        ([], "there is nothing to look at, or too much; expected PATH..., or --camera"),
        (["x.mp4", "--camera", "0"], "there is nothing to look at, or too much; expected PATH..., or --camera"),
        (["--camera", "0", "--out", "x.csv", "--resume"], "--resume: there is nothing to go on with; expected --out"),
        (["--camera", "97"], "--camera: camera 97 can't be opened; expected a camera's number, usually 0"),
        (["--camera", "97", "--out", "x.csv", "--draw", "d"], "--camera: camera 97 can't be opened; expected a"),
        (["."], ".: no image lies in this folder; expected files such as .jpg or .png; videos are named each"),
    ],
)
def test_mistakes_are_one_sentence(here: Path, arguments: list[str], message: str) -> None:
    clip(here / "x.mp4", 2)
    done = call("predict", *arguments)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith(f"mien: {message}")
    assert [path.name for path in here.iterdir()] == ["x.mp4"]


def test_without_pyav_nothing_is_begun(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64), "gray").save(here / "gray.png")
    monkeypatch.setitem(sys.modules, "av", None)
    done = call("predict", "gray.png", "x.mp4", "--out", "x.csv")
    assert (done.code, done.err) == (
        2,
        "mien: a video needs PyAV, which isn't installed; expected pip install 'mien[video]'\n",
    )
    assert not (here / "x.csv").exists()
    assert call("predict", "gray.png", "--detector", "none", "--out", "x.csv").code == 0


def test_rows_of_a_camera_go_to_standard_output(here: Path) -> None:
    clip(here / "x.mp4")
    done = call("predict", "--camera", "x.mp4", "--detector", "none", "--fps", "all")
    assert done.code == 0
    told = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["path"], row["frame"], row["track"]) for row in told] == [("x.mp4", str(at), "1") for at in range(30)]
    assert done.err.splitlines()[0] == "mien: x.mp4: Ctrl-C stops"
    assert "x.mp4: 30 frames told (every frame), 30 faces" in done.err
    lines = call("predict", "--camera", "x.mp4", "--detector", "none", "--json").out.splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(0, 30, 2))


@pytest.mark.parametrize(("number", "out"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_camera_is_stopped_with_its_files_whole(here: Path, number: int, out: bool) -> None:
    clip(here / "x.mp4", 600)
    command = [sys.executable, "-m", "mien", "predict", "--camera", "x.mp4", "--detector", "none", "--fps", "all"]
    command += ["--draw", "drawn", *(("--out", "x.jsonl") if out else ())]
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "mien: x.mp4: Ctrl-C stops\n"
        begun = [] if out else [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        text, said = process.communicate()
    assert process.returncode == 0, said
    if out:
        told = [json.loads(line) for line in (here / "x.jsonl").read_text().splitlines()]
        numbers = [row["frame"] for row in told]
        assert "answers: x.jsonl" in text
    else:
        numbers = [int(row["frame"]) for row in csv.DictReader(io.StringIO("".join(begun) + text))]
        # More doesn't go into a pipe that nobody reads.
        assert 2 <= len(numbers) < 600
    assert numbers == list(range(len(numbers)))
    assert not list(here.glob("*.partial"))
    if numbers:
        with av.open("drawn/x.mp4.mp4") as container:
            assert sum(1 for _ in container.decode(video=0)) == len(numbers)


def test_real_faces_have_a_track_each(here: Path, real_data: Path) -> None:
    """Two seconds over the photo of four, and then one of the other photo: its face is elsewhere."""
    four, one = (
        cv2.cvtColor(cv2.imread(str(real_data.parent / "photos" / name)), cv2.COLOR_BGR2RGB)
        for name in ("four_faces.jpg", "grace_hopper.jpg")
    )
    size = (four.shape[1] // 2 * 2, four.shape[0] // 2 * 2)
    pictures = [cv2.warpAffine(four, np.array([[1, 0, 10.0 - at], [0, 1, 0]]), size) for at in range(20)]
    pictures += [np.full_like(pictures[0], 60)] * 12
    pictures += [cv2.resize(one[:400], size)] * 10
    write_clip(here / "real.mp4", pictures)
    weights = real_data.parent / "weights" / "face_detection_yunet.onnx"
    done = call("predict", "real.mp4", "--fps", "all", "--detector-weights", weights, "--json")
    assert done.code == 0
    (video,) = done.json["videos"]
    assert [(track["track"], track["from"], track["faces"]) for track in video["tracks"]] == [
        *((number, 0.0, 20) for number in range(1, 5)),
        (5, 3.2, 10),
    ]
    assert video["without"] == 12
