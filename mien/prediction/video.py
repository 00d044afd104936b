"""Moving pictures in and out, by PyAV: a stream of upright frames with their times, and an annotated video."""

import contextlib
import math
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mien.errors import MienError
from mien.extras import require
from mien.files import replacing
from mien.images import REDUCED_SIDE, SUFFIXES, Photo, Pixels
from mien.parallel import THREADS

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".3gp", ".3g2", ".ogv", ".mxf", ".y4m", ".h264", ".h265", ".hevc"),
)
# 8K. A decoder holds up to sixteen frames, and one more for each of its threads.
MAX_FRAME_PIXELS = 8192 * 4320
_MOST = f"at most {MAX_FRAME_PIXELS // 1_000_000} million"
# A container that promises so much more than it holds was cut off; less is a matter of rounding.
_LACKING = 1.0
# How long before the place where a stopped run goes on its key frame is looked for.
_BEFORE = (0, 20)
_RATE = Fraction(25)
_WIDEST = 4

# The first that PyAV's build has.
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
_TICKS = 1000  # a second, of annotated videos


class Place(NamedTuple):
    """A frame from which decoding may go on: its number from 0, its time stamp in the stream, None where it has none.

    `start` is the stamp of the video's beginning, `cell` the number of the interval that the frame last told lies in.
    """

    number: int = 0
    stamp: int | None = None
    start: int | None = None
    cell: int = -1


class Frame(NamedTuple):
    """A frame of a video: its number from 0 and its time in seconds, both from the video's beginning.

    `place` is where a run that stops before this frame goes on: at the last key frame before it, or at it, if there was
    one since the last frame that was told (`key`), else at the frame itself.
    """

    number: int
    time: float
    photo: Photo
    place: Place
    key: bool


@dataclass(frozen=True)
class Video:
    """An open video. `duration` in seconds and `count` of frames are what the file promises; None where it doesn't."""

    container: Any
    stream: Any
    duration: float | None
    count: int | None

    def frames(self, fps: float | None = None, begin: Place | None = None) -> Iterator[Frame]:
        """The first frame of each interval of 1 / `fps` seconds, or all; from a place that an earlier frame told.

        A frame is upright, of square pixels, and reduced as a photo is; frames stream, and none is kept. Times are the
        stream's own, so the rate may vary; where they step back, they go on from there. Raises MienError at the end of
        a video that breaks off or is damaged, after the frames before that.
        """
        place = begin or Place()
        clock = _Clock(self.stream, place.start)
        number, cell, key = -1, place.cell, None
        for frame in self._decoded(place):
            # The place's own frame has its number; without one the frames are counted from the beginning.
            number = place.number if number < 0 and place.stamp is not None else number + 1
            time = clock.time(frame)
            stamp = frame.pts if clock.steady else None
            if frame.key_frame:
                key = Place(number, stamp, clock.start, cell)
            own = max(0, math.floor(time * fps + 1e-6)) if fps else number
            if number < place.number or own <= cell:
                continue
            _check_size(frame.width, frame.height)
            at = key or Place(number, stamp, clock.start, cell)
            yield Frame(number, time, _photo(frame, self.stream), at._replace(cell=cell), key is not None)
            cell, key = own, None
        if number < 0:
            raise MienError("no frame of this video can be decoded", expected="a whole video")
        if self.duration is not None and clock.end < self.duration - _LACKING:
            raise self._broken(clock.end, "the file ends there")

    def _decoded(self, place: Place) -> Iterator[Any]:
        """The decoder's frames, from a place on; all that come before what is damaged."""
        from av.error import FFmpegError

        last = None
        try:
            for last in self._sought(place):
                if last.is_corrupt:
                    raise self._broken(_seconds(last, self.stream), "damaged frames")
                yield last
        except (FFmpegError, ValueError, OverflowError, MemoryError) as error:
            told = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._broken(_seconds(last, self.stream), told) from error

    def _sought(self, place: Place) -> Iterator[Any]:
        if place.stamp is None:
            yield from self._from_here()
            return
        first, frames = self._near(place.stamp)
        while first is not None and (first.pts is None or first.pts < place.stamp):
            first = next(frames, None)
        if first is not None:
            yield first
            yield from frames

    def _near(self, stamp: int) -> tuple[Any, Iterator[Any]]:
        """A key frame at or before a stamp, or the first of all, and the frames after it."""
        from av.error import FFmpegError

        for before in _BEFORE:
            # Some formats have no index and are sought by guess, so that what comes may be later.
            with contextlib.suppress(FFmpegError):
                self.container.seek(stamp - round(before / self.stream.time_base), stream=self.stream)
                frames = self._from_here()
                # Some decoders begin between key frames, with what is no picture yet.
                first = next((one for one in frames if one.key_frame or one.pts is None or one.pts > stamp), None)
                if first is not None and first.pts is not None and first.key_frame and first.pts <= stamp:
                    return first, frames
        self.container.seek(self.stream.start_time or 0, stream=self.stream)
        frames = self._from_here()
        return next(frames, None), frames

    def _from_here(self) -> Iterator[Any]:
        """The frames of all packets; where one is cut off, those of the packets before it, and then the error."""
        packets = self.container.demux(self.stream)
        failed: Exception | None = None
        while True:
            try:
                packet = next(packets, None)
            except ValueError as error:  # It is the file that is damaged, and not what the decoder was given.
                packet, failed = None, error
            if packet is None or packet.is_corrupt:
                break
            if packet.size:
                yield from packet.decode()
        yield from self.stream.codec_context.decode(None)
        if failed or packet is not None:
            raise failed or ValueError("the file is cut off there")

    def _broken(self, time: float, why: str) -> MienError:
        whole = f" of {self.duration:.1f} s" if self.duration else ""
        return MienError(f"the video breaks off after {max(time, 0):.1f} s{whole} ({why})")


class _Clock:
    """The time of each frame, which never steps back; `steady` while the stream's own stamps tell it."""

    def __init__(self, stream: Any, start: int | None) -> None:
        self.base, self.start = stream.time_base or 1 / _RATE, start if start is not None else stream.start_time
        self.step = float(1 / (stream.average_rate or _RATE))
        self.steady, self.end = True, 0.0
        self._last: float | None = None
        self._shift = 0.0

    def time(self, frame: Any) -> float:
        if frame.pts is None:
            self.steady = False
            time = 0.0 if self._last is None else self._last + self.step
        else:
            if self.start is None:
                self.start = frame.pts
            time = float((frame.pts - self.start) * self.base) + self._shift
            if self._last is not None and time < self._last:
                self.steady = False
                self._shift += self._last + self.step - time
                time = self._last + self.step
        self._last = time
        lasts = float(frame.duration * self.base) if frame.duration else self.step
        self.end = time + lasts
        return time


def _seconds(frame: Any, stream: Any) -> float:
    if frame is None or frame.pts is None:
        return 0.0
    return float((frame.pts - (stream.start_time or 0)) * stream.time_base)


@contextlib.contextmanager
def open_video(file: Path) -> Iterator[Video]:
    """A video file, open; nothing but this file is read, whatever it names.

    Raises MienError for what is no file, what PyAV can't open, what has no video in it, and for frames that are too
    large; and where PyAV is missing.
    """
    load_av()  # What it lacks is said before what the file is.
    try:
        facts = file.stat()
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(facts.st_mode):
            raise MienError("this isn't a file", file=str(file), expected="a video")
        if not facts.st_size:
            raise MienError("the file is empty", file=str(file), expected="a video")
        opened = file.open("rb")
    except FileNotFoundError as error:
        raise MienError("there is no such video", file=str(file)) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte.
        what = getattr(error, "strerror", None) or str(error)
        raise MienError(f"the video can't be read ({what})", file=str(file)) from error
    with opened, video_of(opened, str(file)) as video:
        yield video


@contextlib.contextmanager
def video_of(opened: BinaryIO, name: str) -> Iterator[Video]:
    """A video of bytes that can be sought in, as `open_video` opens a file; `name` is what errors call it."""
    av = load_av()
    limit = {"max_pixels": str(MAX_FRAME_PIXELS)}
    # No protocol: a list in the guise of a video would have FFmpeg open other files and addresses.
    options = {**limit, "protocol_whitelist": "none"}
    try:
        container = av.open(opened, options=options, metadata_errors="replace", buffer_size=2**18)
    except Exception as error:  # PyAV raises whatever the broken bytes led it to.
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MienError(f"this can't be opened as a video ({what})", file=name, expected="a video") from error
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [one for one in container.streams.video if not one.disposition & cover]
        if not streams:
            raise MienError("there is no video in this file", file=name, expected="a video")
        stream = streams[0]
        if stream.codec_context is None:
            raise MienError("PyAV has no decoder for this video", file=name, expected="such as H.264 in MP4")
        if not stream.width * stream.height:  # FFmpeg leaves out what is above the limit.
            what = "the video's frames have no size, or too many pixels"
            raise MienError(what, file=name, expected=_MOST)
        stream.codec_context.options = limit
        stream.codec_context.thread_count = THREADS
        stream.thread_type = "AUTO"
        yield Video(container, stream, _promised(container, stream), stream.frames or None)


def load_av() -> ModuleType:
    """PyAV; raises MienError where it isn't installed."""
    require("a video", "av")
    import av

    return av


def is_video(file: Path) -> bool:
    """Whether a path is to be read as a video: by its ending, or, where that tells nothing, by what PyAV opens."""
    suffix = file.suffix.lower()
    if suffix in VIDEO_SUFFIXES or suffix in SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    try:
        with open_video(file) as video:
            # To FFmpeg an image is a video of one frame.
            name: str = video.container.format.name
            return not name.endswith("_pipe") and "image2" not in name
    except MienError:
        return False


def _promised(container: Any, stream: Any) -> float | None:
    """The seconds that a header promises; None where FFmpeg would only guess them from what is there."""
    if stream.frames and stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska's, of this stream alone: "00:01:02.400000000".
    parts = stream.metadata.get("DURATION", "").split(":")
    if len(parts) == 3:
        with contextlib.suppress(ValueError):
            hours, minutes, seconds = map(float, parts)
            return 3600 * hours + 60 * minutes + seconds
    return None


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_FRAME_PIXELS:
        raise MienError(f"the video has {width} × {height} pixels", expected=_MOST)


def _photo(frame: Any, stream: Any) -> Photo:
    """A frame as upright RGB of square pixels, halved while its longer side stays `REDUCED_SIDE` or more."""
    width, height = frame.width, frame.height
    aspect = float(stream.sample_aspect_ratio or 1)
    if 1 / _WIDEST <= aspect <= _WIDEST and width * aspect * height <= MAX_FRAME_PIXELS:
        width = max(1, round(width * aspect))
    factor = 1
    while max(width, height) // (2 * factor) >= REDUCED_SIDE:
        factor *= 2
    size = max(1, width // factor), max(1, height // factor)
    same = size == (frame.width, frame.height)
    made = frame.reformat(*size, format="rgb24", interpolation="BILINEAR" if same else "AREA")
    turns = round(frame.rotation / 90) % 4
    pixels: Pixels = np.ascontiguousarray(np.rot90(made.to_ndarray(), turns))
    return Photo(pixels, *((height, width) if turns % 2 else (width, height)))


@contextlib.contextmanager
def annotated(file: Path) -> Iterator[Callable[[Pixels, float], None]]:
    """A video to be made of pictures, uint8 (h, w, 3) of even sides, all of one size, each with its time in seconds.

    It is there at the end, whole, or not at all; without pictures there is none. H.264 where PyAV's build has it.
    """
    av = load_av()
    with contextlib.ExitStack() as stack:
        opened: list[Any] = []
        last = -1

        def add(pixels: Pixels, time: float) -> None:
            nonlocal last
            if not opened:
                path = stack.enter_context(replacing(file))
                container = stack.enter_context(av.open(str(path), "w", format="mp4", options=_FAST_START))
                opened.extend([container, _stream(av, container, pixels)])
            container, stream = opened
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = max(last + 1, round(time * _TICKS)), Fraction(1, _TICKS)
            last = frame.pts
            container.mux(stream.encode(frame))

        yield add
        if opened:
            container, stream = opened
            container.mux(stream.encode(None))


# The index first, so that a browser shows the video before it has all of it.
_FAST_START = {"movflags": "faststart"}


def _stream(av: ModuleType, container: Any, pixels: Pixels) -> Any:
    name = next(name for name in _ENCODERS if name in av.codecs_available)
    stream = container.add_stream(name, rate=25)
    stream.height, stream.width = pixels.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _TICKS)
    if name == "libx264":
        stream.options = {"preset": "veryfast", "crf": "23"}
    else:
        stream.codec_context.bit_rate = 4_000_000
    return stream
