"""Videos: which frames are told, when, how they stand, what of damaged files is told, and that memory stays flat."""

import contextlib
import csv
import io
import json
import multiprocessing
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from array import array
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import RATE, SIDE, SIZE, Places, picture, predictor, write_clip
from PIL import Image

from mien.errors import FailedError, MienError
from mien.images import Pixels
from mien.inference.rows import BOX, Row, columns
from mien.prediction import footage
from mien.prediction.camera import Camera, Newest, camera_frames, open_camera
from mien.prediction.footage import Footage, Outcome, predict_camera, predict_video
from mien.prediction.inputs import Photo
from mien.prediction.output import Output
from mien.prediction.timeline import Line, Summary, timeline
from mien.prediction.video import is_video, open_video

ALL = Footage(None, 0.5)
NAMES = columns(predictor().names, with_frames=True)
ABOUT = {"model": predictor().title}


def places(at: int) -> Places:
    """One face that goes to the right, one to the left, below; the first is away for a while, a third comes late."""
    return (
        None if 30 <= at < 35 else (4 + 2.4 * at, 4.0),
        (148 - 2.4 * at, 64.0),
        (210.0, 10.0) if at >= 45 else None,
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with three faces."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", [picture(places(at)) for at in range(60)])


def given(file: Path) -> Photo:
    return Photo(file, Path(file.name))


def tell(file: Path, how: Footage = ALL, **options: Any) -> tuple[list[Row], Outcome]:
    rows: list[Row] = []
    outcome = predict_video(given(file), predictor(**options), how, lambda more, further: rows.extend(more))
    return rows, outcome


def times(file: Path, fps: float | None = None) -> list[tuple[int, float]]:
    with open_video(file) as opened:
        return [(frame.number, round(frame.time, 6)) for frame in opened.frames(fps)]


def test_tracks_are_those_of_the_faces(clip: Path) -> None:
    rows, (summary, error) = tell(clip)
    assert error is None
    assert [row["frame"] for row in rows] == [at for at in range(60) for one in places(at) if one]
    for row in rows:
        at = row["frame"]
        assert row["time"] == pytest.approx(at / RATE)
        place = places(at)[row["track"] - 1]
        assert place is not None
        assert np.abs(np.array([row[key] for key in BOX]) - (*map(round, place), SIDE, SIDE)).max() <= 2
    assert (summary["frames"], summary["faces"], summary["without"]) == (60, 55 + 60 + 15, 0)
    assert [(one["track"], one["from"], one["to"], one["faces"]) for one in summary["tracks"]] == [
        (1, 0.0, 5.9, 55),
        (2, 0.0, 5.9, 60),
        (3, 4.5, 5.9, 15),
    ]


def test_answers_are_of_the_smoothed_probabilities_and_the_raw_ones_stay(clip: Path) -> None:
    plain = {(row["frame"], row["track"]): row for row in tell(clip, Footage(None, 0.0))[0]}
    rows, (summary, _) = tell(clip, Footage(None, 0.8), min_confidence=0.3)
    smoothed: dict[int, dict[str, float]] = {}
    for row in rows:
        raw = {name: row[f"p_{name}"] for name in predictor().names}
        assert raw == {name: plain[row["frame"], row["track"]][f"p_{name}"] for name in raw}
        before = smoothed.get(row["track"], raw)
        told = {name: 0.8 * before[name] + 0.2 * raw[name] for name in raw}
        smoothed[row["track"]] = told
        assert {name: row[f"s_{name}"] for name in raw} == pytest.approx(told, abs=2e-5)
        assert row["top"] == max(told, key=lambda name: told[name])
        low = f"confidence {told[row['top']]:.2f}" if told[row["top"]] < 0.3 else ""
        own = plain[row["frame"], row["track"]]["uncertain"]
        assert row["uncertain"] == "; ".join(filter(None, (own, low)))
        assert row["answer"] == ("uncertain" if own or low else row["top"])
    for row in plain.values():
        assert all(row[f"s_{name}"] == row[f"p_{name}"] for name in predictor().names)
    shares = {name: sum(row["answer"] == name for row in rows) / len(rows) for name in summary["time"]}
    assert summary["time"] == pytest.approx(shares, abs=1e-4)


def test_the_first_frame_of_each_interval_is_told(clip: Path) -> None:
    assert times(clip) == [(at, at / RATE) for at in range(60)]
    assert times(clip, 2) == [(at, at / RATE) for at in range(0, 60, 5)]
    assert [at for at, _ in times(clip, 3)] == [
        at for at in range(60) if at == 0 or at * 3 // RATE > (at - 1) * 3 // RATE
    ]
    assert times(clip, 1000) == times(clip)


def test_times_are_the_streams_own(tmp_path: Path) -> None:
    steps = [0.04, 0.04, 0.5, 0.04, 1.3, 0.1] * 3
    stamps = np.round(np.cumsum([0.0, *steps]), 3).tolist()
    file = write_clip(tmp_path / "vfr.mkv", [picture(places(at)) for at in range(len(stamps))], stamps)
    assert [time for _, time in times(file)] == pytest.approx(stamps, abs=1e-3)
    seconds = [int(stamp) for stamp in stamps]
    first = [at for at, second in enumerate(seconds) if at == 0 or second > seconds[at - 1]]
    assert [at for at, _ in times(file, 1)] == first
    rows, (summary, _) = tell(file)
    held = np.diff(stamps)
    shares = dict.fromkeys(summary["time"], 0.0)
    for row in rows:
        shares[row["answer"]] += held[row["frame"]] if row["frame"] < len(held) else held.mean()
    assert summary["time"] == pytest.approx({key: one / sum(shares.values()) for key, one in shares.items()}, abs=1e-3)


def turned(file: Path, matrix: tuple[int, ...], to: Path) -> Path:
    """The MP4 with another display matrix in the header of its track."""
    data = bytearray(file.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 4 * 2
    assert struct.unpack(">9i", data[at : at + 36])[0] == 0x10000
    data[at : at + 36] = struct.pack(">9i", *matrix)
    to.write_bytes(data)
    return to


@pytest.mark.parametrize(
    ("matrix", "turns"),
    # As phones write them: the picture is to be turned so many quarters to the left.
    [((0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000), 3), ((0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000), 1)],
)
def test_frames_are_upright(clip: Path, tmp_path: Path, matrix: tuple[int, ...], turns: int) -> None:
    file = turned(clip, matrix, tmp_path / "turned.mp4")
    with open_video(file) as opened:
        frame = next(opened.frames())
    expected = np.rot90(picture(places(0)), turns)
    assert (frame.photo.width, frame.photo.height) == SIZE[::-1]
    assert frame.photo.pixels.shape == expected.shape
    assert np.abs(frame.photo.pixels.astype(int) - expected).mean() < 12


def test_pixels_are_square_and_large_frames_reduced(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "aspect.mkv", [picture(places(0))], aspect=2)
    with open_video(file) as opened:
        assert next(opened.frames()).photo.pixels.shape == (SIZE[1], 2 * SIZE[0], 3)
    large = write_clip(tmp_path / "large.mp4", [np.full((1080, 3840, 3), 99, np.uint8)])
    with open_video(large) as opened:
        photo = next(opened.frames()).photo
    assert (photo.pixels.shape, photo.width, photo.height, photo.scale) == ((540, 1920, 3), 3840, 1080, 0.5)


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "mpeg4")]
)
@pytest.mark.parametrize("gop", [1, 12, 1000])
@pytest.mark.parametrize("fps", [None, 3])
def test_decoding_goes_on_at_any_place(tmp_path: Path, ending: str, codec: str, gop: int, fps: float | None) -> None:
    file = write_clip(tmp_path / f"x.{ending}", [picture(places(at)) for at in range(40)], codec=codec, gop=gop)
    with open_video(file) as opened:
        whole = list(opened.frames(fps))
    for at in range(0, len(whole), 5):
        place = type(whole[at].place)(*json.loads(json.dumps(whole[at].place)))
        with open_video(file) as opened:
            rest = list(opened.frames(fps, place))
        assert [(one.number, one.time) for one in rest] == [(one.number, one.time) for one in whole[at:]]
        assert all((a.photo.pixels == b.photo.pixels).all() for a, b in zip(rest, whole[at:], strict=True))
    if gop == 12 and fps is None and ending != "avi":
        assert [one.number for one in whole if one.key] == [0, 12, 24, 36]


def test_a_stream_without_time_stamps_is_counted(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "x.h264", [picture(places(at)) for at in range(20)])
    with open_video(file) as opened:
        whole = list(opened.frames())
        assert [one.number for one in whole] == list(range(20))
        assert np.all(np.diff([one.time for one in whole]) > 0)
    with open_video(file) as opened:
        assert [one.number for one in opened.frames(None, whole[7].place)] == list(range(7, 20))


def kill_after(segments: int, file: Path, out: Path, how: Footage) -> None:
    """Tell a video in this process, and be killed after so many segments."""
    footage.SEGMENT = 1.0  # type: ignore[misc]
    with Output(out, NAMES, ABOUT) as output:
        left = segments

        def take(rows: list[Row], further: Any) -> None:
            nonlocal left
            output.add(rows, further)
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

        predict_video(given(file), predictor(), how, take)


@pytest.mark.parametrize("ending", [".csv", ".json"])
@pytest.mark.parametrize("draw", [False, True])
def test_a_killed_one_goes_on_at_its_segment(
    clip: Path, tmp_path: Path, ending: str, draw: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footage, "SEGMENT", 1.0)
    looked: list[int] = []

    def whole(out: Path, folder: Path, resume: bool) -> tuple[Any, int]:
        def find(image: Pixels) -> Any:
            looked.append(threading.get_ident())
            return predictor().detector.find(image)  # type: ignore[misc]

        looked.clear()
        how = Footage(5, 0.7, folder if draw else None)
        with Output(out, NAMES, dict(ABOUT), resume=resume) as output:
            told = predict_video(given(clip), predictor(find), how, output.add, output.videos.get(str(clip)))
            output.about["videos"] = [told.summary]
        return told.summary, len(looked)

    expected, seen = whole(tmp_path / f"whole{ending}", tmp_path / "whole", False)
    assert seen == 30
    killed = tmp_path / f"killed{ending}"
    how = Footage(5, 0.7, tmp_path / "killed" if draw else None)
    process = multiprocessing.get_context("fork").Process(target=kill_after, args=(3, clip, killed, how))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not killed.exists()
    assert not (tmp_path / "killed" / "clip.mp4.mp4").exists()
    summary, seen = whole(killed, tmp_path / "killed", True)
    assert summary == expected
    assert seen == 15
    assert killed.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    names = [f"{kind}{ending}" for kind in ("killed", "whole")] + ["killed", "whole"] * draw
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    if draw:
        for file in sorted((tmp_path / "whole").iterdir()):
            assert file.read_bytes() == (tmp_path / "killed" / file.name).read_bytes(), file.name
        # What is done is summed up again, and not looked at.
        assert whole(killed, tmp_path / "killed", True) == (expected, 0)


def test_another_rate_does_not_go_on(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "SEGMENT", 1.0)

    def stop(rows: list[Row], further: Any) -> None:
        output.add(rows, further)
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), Output(tmp_path / "x.csv", NAMES, ABOUT) as output:
        predict_video(given(clip), predictor(), Footage(5, 0.5), stop)
    begun = Output(tmp_path / "x.csv", NAMES, ABOUT, resume=True)
    assert (begun.done, list(begun.videos)) == (set(), [str(clip)])
    with pytest.raises(MienError) as error:
        predict_video(given(clip), predictor(), Footage(None, 0.5), output.add, begun.videos[str(clip)])
    assert str(error.value) == (f"{clip}: --resume: this video was begun in another way; expected --fps 5 --smooth 0.5")


def test_the_same_clip_gives_the_same_bytes(clip: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        with Output(tmp_path / name, NAMES, ABOUT) as output:
            predict_video(given(clip), predictor(), Footage(5, 0.5), output.add)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with (tmp_path / "a.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(one is not None for at in range(0, 60, 2) for one in places(at))


@pytest.mark.parametrize(("ending", "options"), [("mp4", {"movflags": "faststart"}), ("mkv", {}), ("avi", {})])
@pytest.mark.parametrize("draw", [False, True])
def test_of_a_video_that_breaks_off_the_rows_up_to_there_are_told(
    tmp_path: Path, ending: str, options: dict[str, str], draw: bool
) -> None:
    whole = write_clip(
        tmp_path / f"whole.{ending}", [picture(places(at)) for at in range(60)], codec="mpeg4", **options
    )
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(data[: len(data) * 6 // 10])
    rows, (summary, error) = tell(cut, Footage(None, 0.5, tmp_path / "drawn" if draw else None))
    good = [row for row in tell(whole)[0] if row["frame"] < summary["frames"]]
    assert 10 < summary["frames"] < 45
    assert [{**row, "path": ""} for row in rows[:-1]] == [{**row, "path": ""} for row in good]
    assert error is not None
    assert rows[-1]["answer"] == "error"
    assert rows[-1]["error"] == error.message
    # What is cut off in the middle of a frame, or between two; FFmpeg guesses anew how long such an AVI is.
    shown = re.fullmatch(r"the video breaks off after ([\d.]+) s of ([\d.]+) s \(.*there\)", error.message)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(summary["frames"] / RATE, abs=0.11)
    assert float(shown[2]) == (3.6 if ending == "avi" else 6.0)
    if draw:
        with av.open(str(tmp_path / "drawn" / f"cut.{ending}.mp4")) as container:
            assert sum(1 for _ in container.decode(video=0)) == summary["frames"]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_of_damage_in_the_middle_the_rows_before_it_are_told(tmp_path: Path, codec: str) -> None:
    file = write_clip(tmp_path / "x.mp4", [picture(places(at)) for at in range(60)], codec=codec)
    whole, data = tell(file)[0], bytearray(file.read_bytes())
    data[data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2] ^= 0x55
    file.write_bytes(data)
    rows, (summary, error) = tell(file)
    assert error is not None
    assert error.message == f"the video breaks off after {summary['frames'] / RATE:.1f} s of 6.0 s (damaged frames)"
    assert 10 < summary["frames"] < 50
    assert rows[:-1] == [row for row in whole if row["frame"] < summary["frames"]]


def audio(file: Path) -> None:
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


UNKNOWN = "this can't be opened as a video (Invalid data found when processing input); expected a video"


def test_what_is_no_video_is_one_sentence(clip: Path, tmp_path: Path) -> None:
    audio(tmp_path / "sound.mp4")
    write_clip(tmp_path / "huge.avi", [np.zeros((2000, 20000, 3), np.uint8)], codec="mjpeg")
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "head.mp4").write_bytes(clip.read_bytes()[:2000])
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    # These name other files, which aren't opened.
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    (tmp_path / "playlist.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST\n")
    said = {
        "gone.mp4": "there is no such video",
        "sound.mp4": "there is no video in this file; expected a video",
        "huge.avi": "the video's frames have no size, or too many pixels; expected at most 35 million",
        "text.mp4": UNKNOWN,
        "zero.mp4": "the file is empty; expected a video",
        "head.mp4": UNKNOWN,
        "pipe.mp4": "this isn't a file; expected a video",
        "folder.mp4": "this isn't a file; expected a video",
        "list.mp4": "this can't be opened as a video (Invalid argument); expected a video",
        "playlist.mp4": UNKNOWN,
        "null\0.mp4": "the video can't be read (embedded null byte)",
    }
    for name, expected in said.items():
        rows, (summary, error) = tell(tmp_path / name)
        assert [row["error"] for row in rows] == [expected], name
        assert summary["frames"] == 0
        assert error is not None


def test_a_video_is_known_by_its_ending_or_by_what_it_is(clip: Path, tmp_path: Path) -> None:
    names = {"a.mp4": True, "a.MOV": True, "gone.webm": True, "a.jpg": False, "a.gif": False, "text.txt": False}
    assert {name: is_video(Path(name)) for name in names} == names
    (tmp_path / "clip").write_bytes(clip.read_bytes())
    Image.fromarray(picture(places(0))).save(tmp_path / "photo", "JPEG")
    (tmp_path / "text").write_text("no video\n" * 50)
    assert [is_video(tmp_path / name) for name in ("clip", "photo", "text", "gone")] == [True, False, False, False]


def test_without_pyav_a_sentence_says_so(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MienError) as error, open_video(clip):
        pass
    assert str(error.value) == "a video needs PyAV, which isn't installed; expected pip install 'mien[video]'"


def test_what_is_drawn(clip: Path, tmp_path: Path) -> None:
    rows, _ = tell(clip, Footage(5, 0.5, tmp_path))
    names = ["clip.mp4.mp4", "clip.mp4.track-1.png", "clip.mp4.track-2.png", "clip.mp4.track-3.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with av.open(str(tmp_path / names[0])) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 512, 216)
    assert [round(float(frame.time), 3) for frame in frames] == [at / 5 for at in range(30)]
    shown = frames[0].to_ndarray(format="rgb24").astype(int)
    scale = 512 / SIZE[0]
    box = np.array([rows[0][key] for key in BOX]) * scale
    # Orange along the box's left side.
    side = shown[round(box[1]) + 20 : round(box[1] + box[3]) - 20, round(box[0]) - 3 : round(box[0]) + 4]
    assert np.abs(side - (230, 159, 0)).sum(axis=2).min(axis=1).max() < 150
    for name in names[1:]:
        with Image.open(tmp_path / name) as plot:
            assert plot.width == 960
            assert plot.mode == "P"
        assert (tmp_path / name).stat().st_size < 40_000


def test_a_timeline_is_dark_where_its_class_is_the_highest() -> None:
    line = Line()
    for at in range(100):
        line.times.append(at / 5 + (10 if at >= 50 else 0))
        for name, value in (("happy", 0.9 if at < 50 else 0.1), ("sad", 0.1 if at < 50 else 0.9)):
            for kind in (line.raw, line.smoothed):
                kind.setdefault(name, array("f")).append(value)
    pixels = np.asarray(Image.open(io.BytesIO(timeline("x", line, 0.5))).convert("RGB")).astype(int)
    dark = np.abs(pixels - (0, 114, 178)).sum(axis=2) < 30
    happy, sad = dark[84:142].sum(axis=0), dark[142:200].sum(axis=0)
    left, right = happy[160:380], sad[660:850]
    assert left.min() > 35
    assert right.min() > 35
    assert happy[600:850].max() == sad[160:380].max() == 0
    # Nothing where it wasn't seen.
    assert dark[:200, 410:600].sum() == 0


def test_of_no_frames_there_is_a_summary() -> None:
    summary = Summary(["happy", "sad"])
    summary.end()
    assert summary.result()["time"] == {"happy": 0.0, "sad": 0.0, "uncertain": 0.0}
    assert summary.result()["without_share"] is None


MEMORY = """
import sys
from clips import predictor
from mien.prediction.footage import Footage, predict_video
from mien.prediction.inputs import Photo
from pathlib import Path
file, peaks = Path(sys.argv[1]), []
def take(rows, further):
    # The peak that getrusage tells is that of the process which started this one, where that is larger.
    status = Path("/proc/self/status").read_text()
    peaks.append(int(status.split("VmHWM:")[1].split()[0]) // 1024)
outcome = predict_video(Photo(file, Path(file.name)), predictor(), Footage(2, 0.5), take)
print(outcome.summary["frames"], len(peaks), peaks[9], peaks[-1])
"""


@pytest.mark.large
def test_memory_stays_flat_over_an_hour(tmp_path: Path) -> None:
    # A frame a second; all of them together have 300 MB as RGB.
    scene = [picture(((4 + at % 100, 4.0),)) for at in range(100)]
    stamps = [float(at) for at in range(3600)]
    file = write_clip(tmp_path / "hour.mp4", [scene[at % 100] for at in range(3600)], stamps, gop=10)
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.returncode == 0, done.stderr
    frames, segments, early, late = map(int, done.stdout.split())
    assert frames == 3600
    assert segments == 360
    assert late - early < 60, "MB"


def test_a_place_for_one_frame_keeps_the_newest() -> None:
    newest = Newest()
    for number in range(3):
        newest.put(number)
    assert newest.take(lambda: False) == 2
    assert newest.dropped == 2
    newest.put(3)
    newest.put(None)
    assert newest.take(lambda: False) == 3
    assert newest.take(lambda: False) is None
    assert newest.take(lambda: True) is None
    assert newest.dropped == 2


class Device:
    """A camera that sees so many frames and is then pulled out; each is read once the last was told."""

    def __init__(self, frames: int) -> None:
        self.left, self.told = frames, threading.Semaphore(1)

    def read(self) -> tuple[bool, Any]:
        """As `cv2.VideoCapture` does."""
        self.told.acquire(timeout=60)
        self.left -= 1
        return self.left >= 0, picture(((4.0, 4.0),))[:, :, ::-1]


def test_a_camera_that_is_lost_leaves_its_rows_and_says_so(tmp_path: Path) -> None:
    device, rows = Device(3), list[Row]()

    def take(more: list[Row]) -> None:
        rows.extend(more)
        device.told.release()

    frames = camera_frames(Camera(device, live=True), None, lambda: False)
    summary, error = predict_camera("camera 0", frames, predictor(), Footage(None, 0.5, tmp_path), take)
    assert isinstance(error, FailedError)
    assert [(row["path"], row["frame"], row["track"]) for row in rows] == [
        *(("camera 0", at, 1) for at in range(3)),
        ("camera 0", None, None),
    ]
    assert rows[0]["time"] == 0.0
    assert rows[-1]["error"] == "the camera gives no more frames"
    assert summary["frames"] == 3
    assert (tmp_path / "camera-0.mp4").is_file()


def test_a_file_in_a_cameras_place_is_told_as_the_file(clip: Path) -> None:
    expected, _ = tell(clip, Footage(5, 0.5))
    rows: list[Row] = []
    with open_camera(str(clip)) as camera:
        frames = camera_frames(camera, 5, lambda: False)
        _, error = predict_camera(str(clip), frames, predictor(), Footage(5, 0.5), rows.extend)
    assert error is None
    keys = ("path", "frame", "time", "track", "face")
    assert [[row[key] for key in keys] for row in rows] == [[row[key] for key in keys] for row in expected]


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(MienError) as error, open_camera("97"):
        pass
    assert str(error.value) == (
        "--camera: camera 97 can't be opened; expected a camera's number, usually 0, or a video file"
    )
