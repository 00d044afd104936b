"""Videos and cameras told: each frame's faces found by all cores, followed, smoothed, written, drawn and summed up."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from mien.errors import FailedError, MienError
from mien.faces.detector import Box
from mien.faces.drawing import Points, overlay, steady_size
from mien.files import write_bytes
from mien.images import Photo as Picture
from mien.images import Pixels
from mien.inference.predictor import FaceAnswer, Predictor
from mien.inference.rows import BOX, Row, error_row, frame_rows, smoothed_of
from mien.parallel import ordered_map
from mien.prediction.inputs import Photo
from mien.prediction.output import Told
from mien.prediction.timeline import SHORTEST, Summary, timeline
from mien.prediction.tracks import Tracks
from mien.prediction.video import Frame, Place, Video, annotated, open_video
from mien.progress import progress

# A segment ends at the first key frame after so many seconds, and without key frames after so many.
SEGMENT, LONGEST = 10.0, 60.0

# Takes the rows of a segment, and how the video goes on, None at its end.
Take = Callable[[list[Row], dict[str, Any] | None], None]


@dataclass(frozen=True)
class Footage:
    """How videos are told: frames a second (None: all), the weight of what was before, and where pictures go."""

    fps: float | None
    smooth: float
    draw: Path | None = None

    def marks(self) -> dict[str, Any]:
        """What has to be the same when a stopped run goes on."""
        return {"fps": self.fps, "smooth": self.smooth}


class Outcome(NamedTuple):
    """What a video came to; `error` says why it couldn't be read, or only up to where."""

    summary: dict[str, Any]
    error: MienError | None


@dataclass
class _Teller:
    """One video's tracks and summary, and the rows of each frame."""

    name: str
    predictor: Predictor
    how: Footage
    tracks: Tracks
    summary: Summary
    pending: list[Row] = field(default_factory=list)

    def rows(self, frame: Frame, answers: Sequence[FaceAnswer]) -> list[Row]:
        followed = self.tracks.follow(frame.time, answers)
        least = self.predictor.min_confidence
        rows = frame_rows(self.name, frame.number, frame.time, answers, followed, least)
        self.summary.add(rows)
        return rows

    def draw(self, stem: Path) -> None:
        """The timelines."""
        for number, line in self.summary.tracks.items() if self.how.draw else ():
            if line.lasts >= SHORTEST:
                picture = timeline(f"{stem.name}, track {number}", line, self.how.smooth)
                write_bytes(stem.with_name(f"{stem.name}.track-{number}.png"), picture)

    def outcome(self, error: MienError | None) -> Outcome:
        return Outcome({"path": self.name, **self.summary.result()}, error)


def predict_video(video: Photo, predictor: Predictor, how: Footage, take: Take, earlier: Told | None = None) -> Outcome:
    """Tell the faces of a video file; `take` gets the rows of each segment, and the file's error as the last one.

    `earlier` is what a stopped run has told of it, all or the first segments. With `how.draw` there are an annotated
    video of the frames that were told, called as the video and `.mp4`, and a timeline of each track that lasts a
    second. No more frames are in memory than threads need. Raises MienError where `earlier` was told in another way.
    """
    further = (earlier and earlier.further) or {"how": how.marks(), "place": None, "tracks": None}
    if further["how"] != how.marks():
        told = " ".join(f"--{key} {'all' if value is None else value}" for key, value in further["how"].items())
        raise MienError("this video was begun in another way", file=video.name, key="--resume", expected=told)
    teller = _Teller(video.name, predictor, how, Tracks(how.smooth, further["tracks"]), Summary(predictor.names))
    before = _by_frame(earlier.rows if earlier else ())
    for rows in before.values():
        teller.summary.add(rows)
    if earlier and not earlier.further:
        teller.summary.end()
        return teller.outcome(None)
    # Each thread has a frame of its own, so those of the libraries would only be in the way.
    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        with open_video(video.file) as opened:
            error = _tell_file(video, opened, teller, further["place"], before, take)
    except MienError as unreadable:
        error = unreadable
    if error is not None:
        teller.pending.append(error_row(video.name, error))
    teller.summary.end()
    teller.draw(_stem(video, how))
    take(teller.pending, None)
    return teller.outcome(error)


def _tell_file(
    video: Photo, opened: Video, teller: _Teller, place: list[Any] | None, before: dict[int, list[Row]], take: Take
) -> MienError | None:
    """Tell an open video, and say why that ended too early."""
    how, predictor = teller.how, replace(teller.predictor, min_confidence=0.0)
    last = max(before, default=-1)
    # An annotated video is made anew: the frames that were told are drawn by their rows.
    begin = Place(*place) if place and how.draw is None else None
    error: MienError | None = None

    def frames() -> Iterator[Frame]:
        nonlocal error
        try:
            yield from opened.frames(how.fps, begin)
        except MienError as broken:
            error = broken

    def tell(frame: Frame) -> tuple[Frame, list[FaceAnswer]]:
        return frame, [] if frame.number <= last else predictor.answers([frame.photo])[0]

    with contextlib.ExitStack() as stack:
        draw = stack.enter_context(_drawing(_stem(video, how) if how.draw else None))
        advance = stack.enter_context(progress(video.below.name, _expected(opened, how.fps)))
        told = stack.enter_context(contextlib.closing(ordered_map(tell, frames(), _bytes)))
        began: float | None = None
        for frame, answers in told:
            advance(1)
            if frame.number <= last:
                draw(frame, before.get(frame.number, []))
                continue
            began = frame.time if began is None else began
            if teller.pending and frame.time - began >= (SEGMENT if frame.key else LONGEST):
                tracks = teller.tracks.state()
                take(teller.pending, {"how": how.marks(), "place": list(frame.place), "tracks": tracks})
                teller.pending, began = [], frame.time
            rows = teller.rows(frame, answers)
            teller.pending += rows
            draw(frame, rows)
    return error


def _bytes(frame: Frame) -> int:
    return frame.photo.pixels.nbytes


def predict_camera(
    name: str, frames: Iterator[Frame], predictor: Predictor, how: Footage, take: Callable[[list[Row]], None]
) -> Outcome:
    """Tell the frames of a camera as they come; `take` gets the rows of each. They end where `frames` end."""
    teller = _Teller(name, predictor, how, Tracks(how.smooth), Summary(predictor.names))
    plain = replace(predictor, min_confidence=0.0)
    stem = (how.draw or Path()) / Path(name).name.replace(" ", "-")
    error: MienError | None = None
    with _drawing(stem if how.draw else None) as draw:
        try:
            for frame in frames:
                rows = teller.rows(frame, plain.answers([frame.photo])[0])
                take(rows)
                draw(frame, rows)
        except FailedError as lost:
            error = lost
            take([error_row(name, error)])
    teller.summary.end()
    teller.draw(stem)
    return teller.outcome(error)


def _stem(video: Photo, how: Footage) -> Path:
    return (how.draw or Path()) / video.below


def _expected(video: Video, fps: float | None) -> int | None:
    """How many frames will be told, where that is known."""
    if fps is None or video.duration is None:
        return video.count
    return min(int(video.duration * fps) + 1, video.count or sys.maxsize)


def _by_frame(rows: Sequence[Row]) -> dict[int, list[Row]]:
    frames: dict[int, list[Row]] = {}
    for row in rows:
        frames.setdefault(row["frame"], []).append(row)
    return frames


@contextlib.contextmanager
def _drawing(stem: Path | None) -> Iterator[Callable[[Frame, Sequence[Row]], None]]:
    """What draws a frame with its rows into an annotated video; nothing where there is no place for it."""
    if stem is None:
        yield lambda frame, rows: None
        return
    with annotated(stem.with_name(f"{stem.name}.mp4")) as add:
        size: tuple[int, int] | None = None

        def draw(frame: Frame, rows: Sequence[Row]) -> None:
            nonlocal size
            size = size or steady_size(frame.photo.pixels.shape[1], frame.photo.pixels.shape[0])
            add(drawn_frame(frame.photo, rows, size), frame.time)

        yield draw


def drawn_frame(photo: Picture, rows: Sequence[Row], size: tuple[int, int]) -> Pixels:
    """The picture of a frame with the box, track, answer and perhaps points of each face in its rows."""
    faces = [row for row in rows if row["track"] is not None]
    boxes = [Box(*(row[key] for key in BOX)).scaled(photo.scale) for row in faces]
    points = [_points(row, photo.scale) for row in faces]
    return overlay(photo.pixels, boxes, points, [_label(row) for row in faces], size)


def _points(row: Row, scale: float) -> Points:
    if row["x1"] is None:
        return np.empty((0, 2), np.float32)
    numbers = [[row[f"{axis}{number}"] for axis in "xy"] for number in range(1, 69)]
    return (np.array(numbers, np.float32) + 0.5) * np.float32(scale) - 0.5


def _label(row: Row) -> str:
    told = f"{row['top']} {smoothed_of(row)[row['top']]:.0%}".replace("%", " %")
    return f"{row['track']}: " + (f"uncertain ({told})" if row["uncertain"] else told)
