"""Faces in photos: YuNet or a Haar cascade finds them, framed as landmark models expect them.

Sources: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023,
as `cv2.FaceDetectorYN`; P. Viola, M. Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features",
CVPR 2001, with the weights of R. Lienhart that opencv-python 4 carries.
"""

import functools
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from mien.errors import MienError, nearest
from mien.faces import yunet
from mien.faces.squares import WIDEN, Square
from mien.images import Pixels

# Longest sides of the photo at which YuNet looks: it finds faces of about 25 to 400 pixels. Where it finds none, it
# looks at a small photo again, enlarged; the more, the surer it has to be.
_YUNET_SIDES = (1280, 320)
YUNET_SCORE = 0.6
# The net halves an image five times.
YUNET_LEAST = 32
YUNET_OVERLAP = 0.3
# Places are taken in so many parts of a pixel: another runtime, which adds in another order, then gives the same.
YUNET_PARTS = 16
# The cascade searches all sizes from 24 pixels on; its time and its mistakes grow with the photo's side
# and with every smaller size of faces, so both are limited.
_CASCADE = "haarcascade_frontalface_alt2.xml"
_CASCADE_SIDE = 800
_CASCADE_FACE = 30
_CASCADE_NEIGHBOURS = 3

# Of two boxes that share more than this part of the smaller one, only the one with the higher score is a face.
SHARED = 0.5


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

    def scaled(self, factor: float) -> "Box":
        """The same in an image whose sides are so many times as long."""
        return Box(*(float(value) * factor for value in self))


Marks = tuple[tuple[float, float], ...]


class Found(NamedTuple):
    """What a detector finds: a box, how sure it is, and five points, or None.

    The points are the eyes, the tip of the nose and the corners of the mouth; of each pair first the one on the left of
    the picture.
    """

    box: Box
    score: float
    marks: Marks | None = None

    def scaled(self, factor: float) -> "Found":
        """The same in an image whose sides are so many times as long."""
        marks = scaled_marks(self.marks, factor)
        return Found(self.box.scaled(factor), float(self.score), marks)


def scaled_marks(marks: Marks | None, factor: float) -> Marks | None:
    """The same points in an image whose sides are so many times as long."""
    return marks and tuple((x * factor, y * factor) for x, y in marks)


class Face(NamedTuple):
    """A face in a photo: the detector's box and score (None: it wasn't looked for), and the square for its 68 points.

    `marks` are the detector's own five points, see `Found`; None where it has none.
    """

    box: Box
    score: float | None
    square: Square
    marks: Marks | None = None


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


class Look(NamedTuple):
    """A look at a photo enlarged so many `times`, at most to the longest `side`; only faces of that `score` count."""

    times: float
    side: int
    score: float


_YUNET_LOOKS = (Look(2, 1280, YUNET_SCORE), Look(3, 1920, 0.75))

# Each result is a `Found`, or a tuple of its first two.
Find = Callable[[Pixels], Sequence[Any]]


@dataclass(frozen=True)
class Detector:
    """A way to find faces, by several threads at once; `find` is None for images that are faces already.

    `digest` is the SHA-256 of the detector's weights, "" without any. A photo is looked at with each of `sides` as its
    longest side, never enlarged; where nothing is found, by one of `looks` after another. `note` is what a user is to
    be told.
    """

    name: str
    digest: str = ""
    fit: Fit = YUNET
    sides: tuple[int, ...] = ()
    find: Find | None = None
    looks: tuple[Look, ...] = ()
    note: str = ""

    def faces(self, image: Pixels) -> list[Face]:
        """The faces of an image, uint8 (height, width, 3) RGB, from left to right.

        >>> import numpy as np
        >>> Detector("none").faces(np.zeros((20, 10, 3), np.uint8))[0][:3]
        (Box(left=0, top=0, width=10, height=20), None, Square(left=-5, top=0, side=20))
        """
        height, width = image.shape[:2]
        if self.find is None:
            return [Face(Box(0, 0, width, height), None, _square(width / 2, height / 2, max(width, height)))]
        whole = max(width, height)
        found = self._at(image, {min(1.0, side / whole) for side in self.sides})
        for times, side, score in self.looks:
            larger = min(times, side / whole)
            if not found and larger > 1:
                found = [one for one in self._at(image, {larger}) if one.score >= score]
        faces = [Face(one.box, one.score, self.fit.square(one.box), one.marks) for one in _surest(found)]
        return sorted(faces, key=lambda face: face.box)

    def _at(self, image: Pixels, scales: set[float]) -> list[Found]:
        assert self.find is not None
        found = []
        for scale in sorted(scales):
            for one in self.find(_scaled(image, scale)):
                if np.isfinite((*one[0], one[1])).all() and min(one[0].width, one[0].height) >= 1:
                    found.append(Found(*one).scaled(1 / scale))
        # What lies mostly beyond the photo was seen in its repeated edge.
        whole = Box(0, 0, image.shape[1], image.shape[0])
        return [one for one in found if _common(one.box, whole) > SHARED * one.box.side**2]


def open_detector(given: str = "auto", weights: Path | None = None) -> Detector:
    """The detector that `--detector` names: auto, yunet, cascade, none, or a file with YuNet's weights (ONNX).

    YuNet's weights are `weights`, or those in the user's cache, or fetched. "auto" is the cascade where they can't be.
    Raises MienError for a file that isn't there or isn't a YuNet, and where there is no cascade.
    """
    if weights is not None:
        if given not in ("auto", "yunet"):
            raise MienError("--detector-weights are YuNet's", key=f"--detector {given}", expected="yunet or auto")
        return _yunet(weights)
    if given == "none":
        return Detector("none")
    if given == "cascade":
        return _cascade()
    if given not in ("auto", "yunet"):
        return _yunet(Path(given))
    try:
        fetched = yunet.fetch()
    except (MienError, OSError) as error:
        if given == "yunet":
            raise
        why = error.message if isinstance(error, MienError) else f"its folder can't be written: {error.strerror}"
        return _instead(why)
    note = f"YuNet, {yunet.BYTES:,} bytes, was fetched from {yunet.ADDRESS} and is kept as {yunet.path()}"
    return replace(_yunet(yunet.path()), note=note if fetched else "")


def _instead(why: str) -> Detector:
    """The cascade, and what it costs to have no YuNet."""
    return replace(
        _cascade(why),
        note=f"OpenCV's cascade looks for the faces ({why}); it misses turned, small and covered ones, 95 of 870 in "
        "HELEN, where YuNet misses none. `mien models fetch yunet` or --detector-weights FILE gives YuNet",
    )


def _cascade(why: str = "") -> Detector:
    if not hasattr(cv2, "CascadeClassifier"):
        raise MienError(
            f"OpenCV {cv2.__version__} has no cascade" + (f", and YuNet isn't here ({why})" if why else ""),
            key="--detector",
            expected="YuNet, by `mien models fetch yunet` or --detector-weights FILE, or --detector none",
        )
    # OpenCV 5 has no such module.
    from cv2.data import haarcascades

    file = Path(haarcascades) / _CASCADE
    own = threading.local()

    def find(image: Pixels) -> list[Found]:
        if not hasattr(own, "cascade"):
            own.cascade = cv2.CascadeClassifier(str(file))
        boxes, _, scores = own.cascade.detectMultiScale3(
            cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
            scaleFactor=1.1,
            minNeighbors=_CASCADE_NEIGHBOURS,
            minSize=(_CASCADE_FACE, _CASCADE_FACE),
            outputRejectLevels=True,
        )
        return [Found(Box(*box), score) for box, score in zip(boxes, scores, strict=True)]

    return Detector("cascade", hashlib.sha256(file.read_bytes()).hexdigest(), CASCADE, (_CASCADE_SIDE,), find)


def _yunet(file: Path) -> Detector:
    if not file.is_file():
        like = nearest(str(file), ("auto", "yunet", "cascade", "none"))
        raise MienError("there is no such file with a detector", file=str(file), expected=_EXPECTED, nearest=like)
    try:
        return _yunet_of(file.read_bytes())
    except cv2.error as error:
        raise MienError("this file holds no YuNet face detector", file=str(file), expected=_EXPECTED) from error


@functools.lru_cache(maxsize=4)
def _yunet_of(data: bytes) -> Detector:
    """The detector of these weights, with a net for each thread that looks; raises cv2.error for other weights."""
    own = threading.local()

    def net() -> Any:
        if not hasattr(own, "net"):
            # The framework's name and the weights' bytes: a path would meet OpenCV's own ideas of file names.
            weights = np.frombuffer(data, np.uint8), np.empty(0, np.uint8)
            with silent():
                own.net = cv2.FaceDetectorYN.create("onnx", *weights, (64, 64), YUNET_SCORE, YUNET_OVERLAP, 5000)
        return own.net

    with silent():
        net().detect(np.zeros((64, 64, 3), np.uint8))

    def find(image: Pixels) -> list[Found]:
        # On images of a few pixels it now and then, not at every call, finds faces of any size.
        low, narrow = (max(0, YUNET_LEAST - side) for side in image.shape[:2])
        image = np.pad(image, ((0, low), (0, narrow), (0, 0)), mode="edge")
        net().setInputSize((image.shape[1], image.shape[0]))
        _, rows = net().detect(np.ascontiguousarray(image[:, :, ::-1]))
        return [] if rows is None else [_found(row.tolist()) for row in rows]

    digest = hashlib.sha256(data).hexdigest()
    return Detector("yunet", digest, YUNET, _YUNET_SIDES, find, looks=_YUNET_LOOKS)


def _found(row: list[float]) -> Found:
    """A row of YuNet's: a box, five points (of the person's right first, which is on the picture's left), a score."""
    # numpy's way leaves what isn't finite.
    places: list[float] = (np.round(np.array(row[:14]) * YUNET_PARTS) / YUNET_PARTS).tolist()
    return Found(Box(*places[:4]), row[14], tuple(zip(places[4::2], places[5::2], strict=True)))


_EXPECTED = "YuNet's weights, face_detection_yunet_2023mar.onnx of OpenCV's model zoo, or auto, yunet, cascade or none"


# The level is the process's: one thread alone may change it and put it back.
_SILENCE = threading.RLock()


@contextmanager
def silent() -> Iterator[None]:
    """OpenCV prints its own account of an error before it raises one, and OpenCV 5 a warning for each net."""
    with _SILENCE:
        before = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(before)


def _square(x: float, y: float, side: float) -> Square:
    whole = max(1, round(side))
    return Square(round(x - whole / 2), round(y - whole / 2), whole)


def _scaled(image: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return image
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def _surest(found: Sequence[Found]) -> list[Found]:
    """Those whose boxes don't mostly overlap one with a higher score."""
    surest: list[Found] = []
    for one in sorted(found, key=lambda one: -one.score):
        if all(_shared(one.box, other.box) <= SHARED for other in surest):
            surest.append(one)
    return surest


def _shared(a: Box, b: Box) -> float:
    """The part of the smaller of two boxes that lies in the other."""
    return _common(a, b) / min(a.width * a.height, b.width * b.height)


def _common(a: Box, b: Box) -> float:
    """The area that two boxes have in common."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return max(0.0, width) * max(0.0, height)
