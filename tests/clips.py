"""Clips for the tests: drawn faces in coloured frames at known places, and what finds and tells them."""

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from mien.data.labels import FER2013
from mien.data.synthetic import faces
from mien.faces.detector import Box, Detector, Found
from mien.images import Color, Pixels
from mien.inference.predictor import Predictor

SIZE, SIDE, RATE = (256, 108), 40, 10
COLOURS = ((230, 20, 20), (20, 210, 20), (20, 20, 230))
# Where the faces of a frame are, None where one is away: left and top.
Places = Sequence[tuple[float, float] | None]


@functools.cache
def drawn(number: int) -> Pixels:
    """A drawn face in a frame of its colour."""
    image = next(iter(faces(1, size=SIDE, color="rgb", seed=number)))[0].copy()
    inner = image[5:-5, 5:-5].copy()
    image[:] = COLOURS[number]
    image[5:-5, 5:-5] = inner.mean(axis=2, keepdims=True)
    return image


def picture(places: Places, size: tuple[int, int] = SIZE) -> Pixels:
    """A gray scene with the faces at their places."""
    scene = np.full((size[1], size[0], 3), 120, np.uint8)
    for number, place in enumerate(places):
        if place is not None:
            left, top = map(round, place)
            scene[top : top + SIDE, left : left + SIDE] = drawn(number)
    return scene


def write_clip(
    file: Path,
    pictures: Sequence[Pixels],
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    gop: int = RATE,
    aspect: int = 1,
    **options: str,
) -> Path:
    """Write pictures as a video, at `RATE` or at these times in seconds, with a key frame each `gop` frames."""
    with av.open(str(file), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=RATE)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        stream.codec_context.gop_size = gop
        if codec == "libx264":
            stream.options = {"crf": "12", "preset": "veryfast", "sc_threshold": "0"}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[number]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def by_colour(image: Pixels) -> list[Found]:
    """The coloured frames in an image."""
    found = []
    for colour in COLOURS:
        near = (np.abs(image.astype(int) - colour) < 70).all(axis=2)
        if near.sum() > 100:
            rows, columns = np.flatnonzero(near.sum(axis=1) > 5), np.flatnonzero(near.sum(axis=0) > 5)
            box = Box(columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
            found.append(Found(box, 0.9))
    return found


class Brightness:
    """A model that tells by the brightness of the face's parts."""

    name, digest, size, scheme = "brightness", "0" * 64, 14, FER2013
    color: Color = "gray"

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """By the means of pairs of columns."""
        means = images.reshape(len(images), 14, 7, 2).mean(axis=(1, 3)) / 20.0
        shares = np.exp(means - means.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float64)


def predictor(find: Callable[[Pixels], list[Found]] = by_colour, **options: Any) -> Predictor:
    """What finds the coloured frames and tells the faces in them."""
    return Predictor(Brightness(), Detector("colour", "1" * 64, sides=(1280,), find=find), **options)
