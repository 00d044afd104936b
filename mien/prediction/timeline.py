"""What a video comes to: the share of time by class, and for each track its probabilities over time, as a picture."""

import io
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mien.inference.predictor import UNCERTAIN
from mien.inference.rows import Row, smoothed_of

LIMITS = (
    "shares of time tell how faces look to this model, which errs as its card says; neighbouring frames are alike, so "
    "they aren't as many measurements; time without a face isn't in them, and a track is a place, no person: one "
    "person may have several, and after a cut two may share one"
)
# A track that is shorter has no timeline.
SHORTEST = 1.0


@dataclass
class Line:
    """A track over time: its times in seconds, and by class the probabilities of each frame and the smoothed ones."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    raw: dict[str, "array[float]"] = field(default_factory=dict)
    smoothed: dict[str, "array[float]"] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def lasts(self) -> float:
        """Seconds from its first frame to its last."""
        return self.times[-1] - self.times[0]


class Summary:
    """What the frames of a video come to; `add` takes the rows of each, in order."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.tracks: dict[int, Line] = {}
        self.frames = self.faces = self.without = self.uncertain = 0
        self._times = (0.0, 0.0)  # of the first frame, and of the last
        self._shown: list[tuple[int, str]] = []  # track and answer of the last frame's faces

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of a frame."""
        time = rows[0]["time"]
        if self.frames:
            self._hold(time - self._times[1])
        self._times = (self._times[0] if self.frames else time, time)
        faces = [row for row in rows if row["track"] is not None]
        self.frames += 1
        self.faces += len(faces)
        self.without += not faces
        self.uncertain += sum(bool(row["uncertain"]) for row in faces)
        self._shown = [(row["track"], row["answer"]) for row in faces]
        for row in faces:
            line = self.tracks.setdefault(row["track"], Line())
            line.times.append(time)
            smoothed = smoothed_of(row)
            for name in self.classes:
                line.raw.setdefault(name, array("f")).append(row[f"p_{name}"])
                line.smoothed.setdefault(name, array("f")).append(smoothed[name])

    def end(self) -> None:
        """Say that there are no more frames: the last one lasts as long as the others on average."""
        first, last = self._times
        self._hold((last - first) / (self.frames - 1) if self.frames > 1 else 1.0)

    def _hold(self, seconds: float) -> None:
        """What the last frame showed was shown for so long."""
        for track, answer in self._shown:
            shown = self.tracks[track].seconds
            shown[answer] = shown.get(answer, 0.0) + seconds
        self._shown = []

    def result(self) -> dict[str, Any]:
        """Counts, and shares of the time that faces were seen, by class and by track."""
        names = (*self.classes, UNCERTAIN)
        total = {name: sum(line.seconds.get(name, 0.0) for line in self.tracks.values()) for name in names}
        return {
            "frames": self.frames,
            "seconds": round(self._times[1] - self._times[0], 3),
            "faces": self.faces,
            "uncertain": self.uncertain,
            "without": self.without,
            "without_share": round(self.without / self.frames, 4) if self.frames else None,
            "time": self._shares(total),
            "tracks": [
                {
                    "track": number,
                    "from": round(line.times[0], 3),
                    "to": round(line.times[-1], 3),
                    "faces": len(line.times),
                    "time": self._shares(line.seconds),
                }
                for number, line in self.tracks.items()
            ],
            "limits": LIMITS,
        }

    def _shares(self, seconds: Mapping[str, float]) -> dict[str, float]:
        whole = sum(seconds.values()) or 1.0
        return {name: round(seconds.get(name, 0.0) / whole, 4) for name in (*self.classes, UNCERTAIN)}


# Okabe and Ito's blue (https://jfly.uni-koeln.de/color/), pale where another class is the answer; told apart by
# lightness alone.
_TOP, _OTHER, _INK, _FAINT, _RAW = (0, 114, 178), (176, 202, 222), (36, 41, 47), (208, 213, 218), (60, 66, 74)
_WIDTH, _LEFT, _RIGHT, _HEAD, _ROW, _FOOT = 960, 150, 96, 84, 58, 62
_PAD, _TITLE, _TEXT = 14, 26, 20
_FINER = 2  # drawn so much larger, and shrunk
_STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
Columns = npt.NDArray[np.float64]


def timeline(title: str, line: Line, smooth: float) -> bytes:
    """A track as a PNG: a row a class, with its smoothed probability as an area and that of each frame as a line.

    The area is dark where the class has the highest smoothed probability; at the right stands for how much of the time.
    """
    names = list(line.smoothed)
    size = _WIDTH, _HEAD + _ROW * len(names) + _FOOT
    picture = Image.new("RGB", (size[0] * _FINER, size[1] * _FINER), "white")
    draw = ImageDraw.Draw(picture)
    wide = (_WIDTH - _LEFT - _RIGHT) * _FINER
    smoothed = np.stack([_columns(line, line.smoothed[name], wide) for name in names])
    top = np.where(np.isnan(smoothed[0]), -1, smoothed.argmax(axis=0))
    winners = np.argmax(np.stack([np.asarray(line.smoothed[name]) for name in names]), axis=0)
    for number, name in enumerate(names):
        low = (_HEAD + _ROW * (number + 1)) * _FINER
        high = (_ROW - 10) * _FINER
        for level in (low, low - high):  # 0 and 1
            draw.line([(_LEFT * _FINER, level), (_LEFT * _FINER + wide, level)], _FAINT, _FINER)
        for column, value in enumerate(smoothed[number]):
            if value > 0:  # Not-a-number, where the face wasn't seen, isn't.
                x = _LEFT * _FINER + column
                draw.line([(x, low - round(value * high)), (x, low)], _TOP if top[column] == number else _OTHER)
        _curve(draw, _columns(line, line.raw[name], wide), low, high)
        _write(draw, (_LEFT - _PAD, low / _FINER - 4), name, "rs")
        _write(draw, (_WIDTH - _PAD, low / _FINER - 4), f"{np.mean(winners == number):.0%}".replace("%", " %"), "rs")
    _write(draw, (_WIDTH - _PAD, _PAD + _TITLE + 30), "highest", "rs")
    _write(draw, (_PAD, _PAD + _TITLE), title, "ls", _TITLE)
    said = f"area: smoothed by {smooth:g}, dark where highest; line: each frame; 0 to 1" if smooth else "0 to 1"
    _write(draw, (_PAD, _PAD + _TITLE + 30), said, "ls")
    _axis(draw, line, wide, size[1] - _FOOT)
    few = picture.resize(size, Image.Resampling.LANCZOS).quantize(32, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    few.save(packed, "png", optimize=True)
    return packed.getvalue()


def _columns(line: Line, values: "array[float]", wide: int) -> Columns:
    """A value for each column of the picture: the mean of those in it, else between those beside; nan in gaps."""
    times = np.asarray(line.times) - line.times[0]
    places = np.minimum((times / (line.lasts or 1.0) * wide).astype(int), wide - 1)
    counts = np.bincount(places, minlength=wide)
    means = np.bincount(places, np.asarray(values), minlength=wide) / np.maximum(counts, 1)
    there = np.flatnonzero(counts)
    columns = np.interp(np.arange(wide), there, means[there])
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0
    for gap in np.flatnonzero(steps > 1.6 * usual):
        columns[places[gap] + 1 : places[gap + 1]] = np.nan
    return columns


def _curve(draw: ImageDraw.ImageDraw, columns: Columns, low: int, high: int) -> None:
    points: list[tuple[float, float]] = []
    for column, value in enumerate([*columns.tolist(), float("nan")]):
        if value == value:
            points.append((_LEFT * _FINER + column, low - value * high))
        else:
            if len(points) > 1:
                draw.line(points, _RAW, _FINER)
            points = []


def _axis(draw: ImageDraw.ImageDraw, line: Line, wide: int, top: int) -> None:
    """Ticks at round times; minutes and seconds."""
    first, last = line.times[0], line.times[-1]
    step = next((step for step in _STEPS if (last - first) / step <= 8), _STEPS[-1])
    tick = np.ceil(first / step) * step
    while tick <= last:
        x = _LEFT + (tick - first) / ((last - first) or 1.0) * wide / _FINER
        draw.line([(x * _FINER, top * _FINER), (x * _FINER, (top + 8) * _FINER)], _INK, _FINER)
        _write(draw, (x, top + 32), clock(float(tick), step < 1), "ms")
        tick += step


def _write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, anchor: str, size: int = _TEXT) -> None:
    font = ImageFont.load_default(size * _FINER)
    draw.text((place[0] * _FINER, place[1] * _FINER), text, _INK, font, anchor)


def clock(seconds: float, tenths: bool = False) -> str:
    """A time as players show it.

    >>> clock(65.5), clock(0.5, tenths=True), clock(3661)
    ('1:05', '0:00.5', '1:01:01')
    """
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{int(seconds * 10) % 10}" if tenths else text
