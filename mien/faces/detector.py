"""Faces in photos: YuNet or a Haar cascade finds them, framed as landmark models expect them.

Sources: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023,
as `cv2.FaceDetectorYN`; P. Viola, M. Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features",
CVPR 2001, with the weights of R. Lienhart that opencv-python 4 carries.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import cv2.data
import numpy as np

from mien.errors import MienError, nearest
from mien.faces.squares import WIDEN, Square
from mien.images import Pixels

# Longest sides of the photo at which YuNet looks: it finds faces of about 25 to 400 pixels.
_YUNET_SIDES = (1280, 320)
_YUNET_SCORE = 0.7
# The net halves an image five times.
_YUNET_LEAST = 32
_YUNET_OVERLAP = 0.3
# The cascade searches all sizes from 24 pixels on; its time and its mistakes grow with the photo's side
# and with every smaller size of faces, so both are limited.
_CASCADE = "haarcascade_frontalface_alt2.xml"
_CASCADE_SIDE = 800
_CASCADE_FACE = 30
_CASCADE_NEIGHBOURS = 3

# Of two boxes that share more than this part of the smaller one, only the one with the higher score is a face.
_SHARED = 0.5


class Box(NamedTuple):
    """A rectangle in pixels: the first column and row, width and height."""

    left: float
    top: float
    width: float
    height: float

    @property
    def side(self) -> float:
        """The side of the square of the same area."""
        return float(np.sqrt(self.width * self.height))


class Face(NamedTuple):
    """A face in a photo: the detector's box and score (None: it wasn't looked for), and the square to predict from."""

    box: Box
    score: float | None
    square: Square


class Fit(NamedTuple):
    """Where the box of the 68 points stands in a detector's box, in sides of the latter (`Box.side`).

    `scale` is the points' longer side; `right` and `down` are from the middle of one box to the middle of the other.
    """

    scale: float
    right: float
    down: float

    def square(self, box: Box) -> Square:
        """The square about the points' box that a detector's box promises, `framing.WIDEN` times its longer side.

        >>> Fit(scale=0.8, right=0, down=0.1).square(Box(100, 50, 20, 20))
        Square(left=100, top=52, side=20)
        """
        side = WIDEN * self.scale * box.side
        return _square(
            box.left + box.width / 2 + self.right * box.side, box.top + box.height / 2 + self.down * box.side, side
        )


# Medians over the faces of `helen_train`, as benchmarks/detectors.py prints them. To the right they are 0.009 and 0.005
# there, which is chance: mirrored photos would have the opposite.
YUNET = Fit(scale=0.911, right=0.0, down=0.147)
CASCADE = Fit(scale=0.888, right=0.0, down=0.146)

Find = Callable[[Pixels], Sequence[tuple[Box, float]]]


@dataclass(frozen=True)
class Detector:
    """A way to find faces; `find` is None for images that are faces already.

    `digest` is the SHA-256 of the detector's weights, "" without any.
    """

    name: str
    digest: str = ""
    fit: Fit = YUNET
    sides: tuple[int, ...] = ()
    find: Find | None = None

    def faces(self, image: Pixels) -> list[Face]:
        """The faces of an image, uint8 (height, width, 3) RGB, from left to right.

        >>> import numpy as np
        >>> Detector("none").faces(np.zeros((20, 10, 3), np.uint8))
        [Face(box=Box(left=0, top=0, width=10, height=20), score=None, square=Square(left=-5, top=0, side=20))]
        """
        height, width = image.shape[:2]
        if self.find is None:
            return [Face(Box(0, 0, width, height), None, _square(width / 2, height / 2, max(width, height)))]
        scored = []
        for scale in sorted({min(1.0, side / max(width, height)) for side in self.sides}):
            for box, score in self.find(_shrunk(image, scale)):
                if np.isfinite((*box, score)).all() and min(box.width, box.height) >= 1:
                    scored.append((Box(*(float(value) / scale for value in box)), float(score)))
        return sorted(Face(box, score, self.fit.square(box)) for box, score in _surest(scored))


def open_detector(given: str) -> Detector:
    """The detector that `--detector` names: "none", "cascade", or a file with YuNet's weights (ONNX).

    Raises MienError for a file that isn't there or isn't a YuNet.
    """
    if given == "none":
        return Detector("none")
    if given == "cascade":
        return _cascade()
    return _yunet(Path(given))


def _cascade() -> Detector:
    file = Path(cv2.data.haarcascades) / _CASCADE
    cascade = cv2.CascadeClassifier(str(file))

    def find(image: Pixels) -> list[tuple[Box, float]]:
        boxes, _, scores = cascade.detectMultiScale3(
            cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
            scaleFactor=1.1,
            minNeighbors=_CASCADE_NEIGHBOURS,
            minSize=(_CASCADE_FACE, _CASCADE_FACE),
            outputRejectLevels=True,
        )
        return [(Box(*box), score) for box, score in zip(boxes, scores, strict=True)]

    return Detector("cascade", hashlib.sha256(file.read_bytes()).hexdigest(), CASCADE, (_CASCADE_SIDE,), find)


def _yunet(file: Path) -> Detector:
    if not file.is_file():
        like = nearest(str(file), ("cascade", "none"))
        raise MienError("there is no such file with a detector", file=str(file), expected=_EXPECTED, nearest=like)
    data = file.read_bytes()
    with _silent():
        try:
            # The framework's name and the weights' bytes: a path would meet OpenCV's own ideas of file names.
            net: Any = cv2.FaceDetectorYN.create(
                "onnx",
                np.frombuffer(data, np.uint8),
                np.empty(0, np.uint8),
                (64, 64),
                _YUNET_SCORE,
                _YUNET_OVERLAP,
                5000,
            )
            net.detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise MienError("this file holds no YuNet face detector", file=str(file), expected=_EXPECTED) from error

    def find(image: Pixels) -> list[tuple[Box, float]]:
        # On images of a few pixels it now and then, not at every call, finds faces of any size.
        low, narrow = (max(0, _YUNET_LEAST - side) for side in image.shape[:2])
        image = np.pad(image, ((0, low), (0, narrow), (0, 0)), mode="edge")
        net.setInputSize((image.shape[1], image.shape[0]))
        _, rows = net.detect(np.ascontiguousarray(image[:, :, ::-1]))
        return [] if rows is None else [(Box(*row[:4]), row[14]) for row in rows]

    return Detector("yunet", hashlib.sha256(data).hexdigest(), YUNET, _YUNET_SIDES, find)


_EXPECTED = "YuNet's weights, face_detection_yunet_2023mar.onnx of OpenCV's model zoo, or cascade, or none"


@contextmanager
def _silent() -> Iterator[None]:
    """OpenCV prints its own account of an error before it raises one."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _square(x: float, y: float, side: float) -> Square:
    whole = max(1, round(side))
    return Square(round(x - whole / 2), round(y - whole / 2), whole)


def _shrunk(image: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return image
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _surest(scored: Sequence[tuple[Box, float]]) -> list[tuple[Box, float]]:
    """The boxes that don't mostly overlap one with a higher score."""
    surest: list[tuple[Box, float]] = []
    for box, score in sorted(scored, key=lambda pair: -pair[1]):
        if all(_shared(box, other) <= _SHARED for other, _ in surest):
            surest.append((box, score))
    return surest


def _shared(a: Box, b: Box) -> float:
    """The part of the smaller of two boxes that lies in the other."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return max(0.0, width) * max(0.0, height) / min(a.width * a.height, b.width * b.height)
