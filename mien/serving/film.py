"""A video told while it is read: a line of JSON for each face, as `mien predict --out FILE.jsonl` writes them."""

import contextlib
import functools
import io
import json
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from typing import Any

from mien.errors import MienError
from mien.inference.rows import Row, columns, error_row, frame_rows, nested
from mien.prediction.tracks import Tracks
from mien.prediction.video import Frame, Video, video_of
from mien.serving.pool import FullError
from mien.serving.schema import Filmed
from mien.serving.service import Service
from mien.serving.session import Upload, tell_photo

# Of its own time; a video of few bytes may be of any length.
LONGEST = 600.0


def lines(upload: Upload, question: Filmed, service: Service) -> Generator[bytes]:
    """The faces of a video, a line each; one that breaks off has a line that says so at its end.

    Raises MienError, before the first line, for what is no video and for a question that can't be answered.
    """
    names = columns(service.pool.first.predictor(question, service.limits).names, question.points, with_frames=True)
    told = _frames(upload, question, service)
    first = next(told)
    if isinstance(first, MienError):
        raise first

    def text() -> Generator[bytes]:
        with contextlib.closing(told):
            rows: list[Row] | MienError | None = first
            while rows is not None:
                for row in [error_row(upload.name, rows)] if isinstance(rows, MienError) else rows:
                    content = nested({name: row[name] for name in names})
                    yield (json.dumps(content, ensure_ascii=False) + "\n").encode()
                rows = next(told, None)

    return text()


def _frames(upload: Upload, question: Filmed, service: Service) -> Generator[list[Row] | MienError]:
    """The rows of each frame, and at the end the error, if there is one."""
    try:
        with video_of(io.BytesIO(upload.data), upload.name) as video:
            yield from _told(video, upload.name, question, service)
    except MienError as error:
        yield error
    except (FullError, TimeoutError):
        yield MienError("the server is busy", expected="the video to be sent again later")


def _told(video: Video, name: str, question: Filmed, service: Service) -> Iterator[list[Row]]:
    tracks = Tracks(question.smooth)
    frames = video.frames(None if question.fps == "all" else question.fps)
    ahead: deque[tuple[Frame, Future[Any]]] = deque()
    broken: MienError | None = None
    try:
        while broken is None:
            try:
                frame = next(frames, None)
            except MienError as error:
                broken, frame = error, None
            if frame is None:
                break
            if frame.time > LONGEST:
                broken = MienError("the video is too long", expected=f"at most {LONGEST:g} seconds")
                break
            job = functools.partial(tell_photo, photo=frame.photo, question=question, limits=service.limits)
            ahead.append((frame, service.pool.submit(job, patience=service.limits.seconds)))
            if len(ahead) > service.settings.sessions:
                yield _rows(*ahead.popleft(), name, question, service, tracks)
        while ahead:
            yield _rows(*ahead.popleft(), name, question, service, tracks)
    finally:
        for _, future in ahead:
            future.cancel()
    if broken is not None:
        raise broken


def _rows(
    frame: Frame, future: Future[Any], name: str, question: Filmed, service: Service, tracks: Tracks
) -> list[Row]:
    answers = future.result(service.limits.seconds)
    service.count(1, len(answers))
    followed = tracks.follow(frame.time, answers)
    return frame_rows(name, frame.number, frame.time, answers, followed, question.min_confidence)
