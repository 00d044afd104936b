"""Faces followed over frames by where they are, and their probabilities smoothed; nothing tells who they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from mien.faces.detector import Box, Marks
from mien.inference.predictor import FaceAnswer

# A track ends that wasn't seen for so many seconds, nor in the frame before.
GAP = 1.0
# A face is a track's if its points are no further from where the track's are expected than this part of their sides,
# on average, and if neither side is more than so many times the other.
_FARTHEST = 0.75
_LARGEST = 2.0
# Seconds for which a face is thought to go on as it went.
_AHEAD = 0.5


class Followed(NamedTuple):
    """What is known of a face by its track: the track's number from 1, and the smoothed probabilities by class."""

    track: int
    smoothed: dict[str, float]


@dataclass
class _Track:
    """Where a face was last, in pixels and in pixels a second, when, and what was told of it."""

    number: int
    points: list[tuple[float, float]]
    side: float
    box: Box
    time: float
    frame: int
    smoothed: dict[str, float]
    speed: tuple[float, float] = (0.0, 0.0)
    seen: int = 1

    def ahead(self, time: float) -> tuple[float, float]:
        """How far it should have gone by then."""
        lasts = min(max(time - self.time, 0.0), _AHEAD)
        return self.speed[0] * lasts, self.speed[1] * lasts


class Tracks:
    """The faces of one video, followed frame by frame.

    A face goes to the track whose expected box overlaps its own most and whose points are nearest, best pairs first.
    `smooth` is the weight, 0 to below 1, of a track's earlier frames: s = smooth · s before + (1 − smooth) · p.
    """

    def __init__(self, smooth: float = 0.5, state: Mapping[str, Any] | None = None) -> None:
        self.smooth = smooth
        self._next: int = state["next"] if state else 1
        self._frame: int = state["frame"] if state else 0
        self._tracks = [_restored(one) for one in state["tracks"]] if state else []

    def state(self) -> dict[str, Any]:
        """All that a later call needs to go on, as plain data."""
        return {"next": self._next, "frame": self._frame, "tracks": [asdict(track) for track in self._tracks]}

    def follow(self, time: float, faces: Sequence[FaceAnswer]) -> list[Followed]:
        """The track of each face of the next frame; no two faces of a frame have the same."""
        self._tracks = [track for track in self._tracks if time - track.time <= GAP or track.frame == self._frame]
        self._frame += 1
        pairs = sorted(
            (-score, track.number, place)
            for track in self._tracks
            for place, face in enumerate(faces)
            if (score := _score(track, face, time)) is not None
        )
        tracks = {track.number: track for track in self._tracks}
        mine: dict[int, _Track] = {}
        for _, number, place in pairs:
            if number in tracks and place not in mine:
                mine[place] = tracks.pop(number)
        return [self._seen(mine.get(place), face, time) for place, face in enumerate(faces)]

    def _seen(self, track: _Track | None, face: FaceAnswer, time: float) -> Followed:
        points, told = _points(face.box, face.marks), dict(face.probabilities)
        if track is None:
            track = _Track(self._next, points, face.box.side, face.box, time, self._frame, told)
            self._next += 1
            self._tracks.append(track)
        else:
            track.speed = _speed(track, face.box, time)
            track.smoothed = {
                name: self.smooth * track.smoothed[name] + (1 - self.smooth) * value for name, value in told.items()
            }
            track.points, track.side, track.box = points, face.box.side, face.box
            track.time, track.frame, track.seen = time, self._frame, track.seen + 1
        return Followed(track.number, dict(track.smoothed))


def _speed(track: _Track, box: Box, time: float) -> tuple[float, float]:
    """The mean of the speed so far and that of the last step, since a detector's boxes tremble."""
    lasts = time - track.time
    if lasts <= 0:
        return track.speed
    before, now = _middle(track.box), _middle(box)
    step = (now[0] - before[0]) / lasts, (now[1] - before[1]) / lasts
    if track.seen == 1:
        return step
    return (track.speed[0] + step[0]) / 2, (track.speed[1] + step[1]) / 2


def _score(track: _Track, face: FaceAnswer, time: float) -> float | None:
    """How well a face fits a track, 0 to 2: overlap of the boxes, and nearness of the points; None where it doesn't."""
    side = face.box.side
    if max(side, track.side) > _LARGEST * min(side, track.side):
        return None
    x, y = track.ahead(time)
    points = _points(face.box, face.marks)
    # A detector either has points or not; its boxes stand in for them.
    pairs = list(zip(track.points, points, strict=False))
    away = sum(math.hypot(now[0] - was[0] - x, now[1] - was[1] - y) for was, now in pairs) / len(pairs)
    distance = away / ((side + track.side) / 2)
    if distance > _FARTHEST:
        return None
    was = track.box
    return 1 - distance + overlap(Box(was.left + x, was.top + y, was.width, was.height), face.box)


def overlap(a: Box, b: Box) -> float:
    """The area that two boxes have in common over the area of both together (IoU), 0 to 1.

    >>> overlap(Box(0, 0, 2, 2), Box(1, 0, 2, 2))
    0.3333333333333333
    """
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    both = max(0.0, width) * max(0.0, height)
    return both / (a.width * a.height + b.width * b.height - both)


def _points(box: Box, marks: Marks | None) -> list[tuple[float, float]]:
    if marks is not None:
        return [(x, y) for x, y in marks]
    right, bottom = box.left + box.width, box.top + box.height
    return [(box.left, box.top), (right, box.top), (box.left, bottom), (right, bottom)]


def _middle(box: Box) -> tuple[float, float]:
    return box.left + box.width / 2, box.top + box.height / 2


def _restored(content: Mapping[str, Any]) -> _Track:
    """A track that JSON has had: its tuples are lists there."""
    points = [(x, y) for x, y in content["points"]]
    return _Track(**{**content, "points": points, "box": Box(*content["box"]), "speed": tuple(content["speed"])})
