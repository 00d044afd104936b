"""The frames of a camera in real time: late ones are dropped. A video file can stand in for it."""

import contextlib
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import cv2
import numpy as np

from mien.errors import FailedError, MienError
from mien.faces.detector import silent
from mien.images import Photo
from mien.prediction.video import MAX_FRAME_PIXELS, Frame, Place

# How often a wait for the next frame looks whether it is to stop, in seconds.
_PATIENCE = 0.2


class Newest:
    """A place for one frame: a new one takes the place of one that nobody has taken. `dropped` counts these."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Any = None
        self._ended = False
        self.dropped = 0

    def put(self, frame: Any) -> None:
        """Leave a frame; None says that none will come."""
        with self._changed:
            if frame is None:
                self._ended = True
            else:
                self.dropped += self._frame is not None
                self._frame = frame
            self._changed.notify()

    def take(self, stopped: Callable[[], bool]) -> Any:
        """The newest frame, waited for; None at the end, or once `stopped` says so."""
        with self._changed:
            while self._frame is None and not self._ended and not stopped():
                self._changed.wait(_PATIENCE)
            frame, self._frame = self._frame, None
            return None if stopped() else frame


class Camera(NamedTuple):
    """OpenCV's open camera, or file; `live` where frames come whether or not somebody takes them."""

    capture: Any
    live: bool


def camera_name(source: str) -> str:
    """What rows and pictures call a camera: "camera 0"; a file by its path."""
    return f"camera {source}" if source.isdecimal() else source


@contextlib.contextmanager
def open_camera(source: str) -> Iterator[Camera]:
    """A camera by its number, or a video file that stands in for one; raises MienError for what can't be opened."""
    live = source.isdecimal()
    with silent():
        capture = cv2.VideoCapture(int(source) if live else source)
    try:
        if not capture.isOpened():
            expected = "a camera's number, usually 0, or a video file"
            raise MienError(f"{camera_name(source)} can't be opened", key="--camera", expected=expected)
        yield Camera(capture, live)
    finally:
        capture.release()


def camera_frames(camera: Camera, fps: float | None, stopped: Callable[[], bool]) -> Iterator[Frame]:
    """The frames of a camera as it sees them when they are asked for, at most `fps` a second, until `stopped` says so.

    Times are seconds since the first frame. A file waits until its frame is told, so none is dropped, and it has its
    own times. Raises FailedError where a camera gives no more frames.
    """
    yield from _sampled((_live if camera.live else _filed)(camera.capture, stopped), fps)


def _sampled(frames: Iterator[tuple[int, float, Any]], fps: float | None) -> Iterator[Frame]:
    cell = -1
    for number, seconds, pixels in frames:
        own = math.floor(seconds * fps + 1e-6) if fps else number
        if own > cell:
            cell = own
            height, width = pixels.shape[:2]
            if width * height > MAX_FRAME_PIXELS:
                raise MienError(f"the camera's frames have {width} × {height} pixels", key="--camera")
            rgb = np.ascontiguousarray(pixels[:, :, ::-1])
            yield Frame(number, seconds, Photo(rgb, width, height), Place(number), False)


def _filed(camera: Any, stopped: Callable[[], bool]) -> Iterator[tuple[int, float, Any]]:
    number = 0
    while not stopped():
        there, pixels = camera.read()
        if not there:
            return
        yield number, camera.get(cv2.CAP_PROP_POS_MSEC) / 1000, pixels
        number += 1


def _live(camera: Any, stopped: Callable[[], bool]) -> Iterator[tuple[int, float, Any]]:
    newest, done = Newest(), threading.Event()

    def read() -> None:
        began: float | None = None
        for number in itertools.count():
            there, pixels = camera.read()
            if not there or done.is_set():
                break
            now = time.monotonic()
            began = now if began is None else began
            newest.put((number, now - began, pixels))
        newest.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (frame := newest.take(stopped)) is not None:
            yield frame
    finally:
        done.set()
        reader.join(5)
    if not stopped():
        raise FailedError("the camera gives no more frames")


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """What says whether Ctrl-C or SIGTERM has asked to stop; asked twice, it is an interrupt as everywhere."""
    asked = threading.Event()
    before: dict[int, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, signal.default_int_handler)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
