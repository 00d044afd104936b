"""From photos to answers: faces found, framed and told, each with how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from mien.data.labels import LabelScheme
from mien.errors import MienError, unknown
from mien.faces.detector import Box, Detector, Face, Marks, scaled_marks
from mien.faces.framing import framed
from mien.faces.squares import crop
from mien.images import Color, Photo, Pixels, luma, stretch

Points = npt.NDArray[np.float32]

UNCERTAIN = "uncertain"
# Below these an answer is uncertain; docs/predict.md tells how they were measured.
SMALLEST = 18.0  # the side of the detector's box, in pixels of the photo
BLUREST = 0.02  # `sharpness`
MOST_TURNED = 0.6  # `turn`
SHARP_SIDE = 48


class TooManyFacesError(MienError):
    """A photo with more faces than are told."""


class Classifier(Protocol):
    """What tells expressions, as a `mien.inference.Model` does."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def digest(self) -> str:
        """The SHA-256 of its file."""

    @property
    def size(self) -> int:
        """The side of its images."""

    @property
    def color(self) -> Color:
        """The colour of its images."""

    @property
    def scheme(self) -> LabelScheme:
        """Its classes, in the order of its probabilities."""

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities (n, classes) of images of its size and colour."""


class Pointer(Protocol):
    """What predicts the 68 points, as a `mien.inference.Model` of them does."""

    def points(self, images: Sequence[Pixels]) -> Points:
        """The points (n, 68, 2), pixel centres from 0, of images that a face fills."""


@dataclass(frozen=True)
class FaceAnswer:
    """A face and what a model says of it; numbers of pixels are those of the photo, upright.

    `box` is left, top, width, height; `score` the detector's, None where faces weren't looked for; `marks` the
    detector's eyes, nose tip and corners of the mouth, of each pair the picture's left first; `size` the side of the
    square with the box's area. `sharpness` is that of `sharpness`, `probabilities` are by class and sum to 1, `entropy`
    is theirs in nats. `uncertain` says why the answer isn't to be relied on, "" where it may be. `points` are the 68,
    (68, 2), pixel centres from 0, where they were asked for.
    """

    box: Box
    score: float | None
    marks: Marks | None
    size: float
    sharpness: float
    probabilities: Mapping[str, float]
    entropy: float
    uncertain: str
    model: str
    points: Points | None = field(default=None, compare=False, repr=False)

    @property
    def top(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        """The highest probability."""
        return max(self.probabilities.values())

    @property
    def answer(self) -> str:
        """The class, or "uncertain"."""
        return UNCERTAIN if self.uncertain else self.top


@dataclass(frozen=True)
class Predictor:
    """A model and a detector, and which faces they are to tell; safe to be used by several threads.

    Faces smaller than `min_size` pixels, or of which the detector is less sure than `min_score`, are left out;
    `largest` leaves one a photo. Answers below `min_confidence` are uncertain. `classes` restricts the answers to
    these, their probabilities made to sum to 1; raises MienError for a class that the model hasn't. `pointer` adds the
    68 points. A photo with more than `max_faces` is refused.
    """

    model: Classifier
    detector: Detector
    classes: tuple[str, ...] = ()
    min_size: float = 0.0
    min_score: float = 0.0
    largest: bool = False
    min_confidence: float = 0.0
    pointer: Pointer | None = None
    max_faces: int | None = None

    def __post_init__(self) -> None:
        for name in self.classes:
            if name not in self.model.scheme.classes:
                raise unknown(
                    f"{self.model.name} has no class '{name}'", name, self.model.scheme.classes, key="--classes"
                )
        if len(set(self.classes)) != len(self.classes) or len(self.classes) == 1:
            raise MienError(f"the classes are {', '.join(self.classes)}", key="--classes", expected="two or more, once")

    @property
    def title(self) -> str:
        """The model's name and the first digits of its file's SHA-256."""
        return f"{self.model.name} {self.model.digest[:12]}"

    @property
    def names(self) -> tuple[str, ...]:
        """The classes of the answers, in the model's order."""
        return tuple(name for name in self.model.scheme.classes if name in self.classes or not self.classes)

    def answers(self, photos: Sequence[Photo]) -> list[list[FaceAnswer]]:
        """The faces of each photo, from left to right, with their answers; all are told at once.

        Raises TooManyFacesError for a photo with more than `max_faces`.
        """
        faces = [self._faces(photo) for photo in photos]
        pairs = [(photo, face) for photo, own in zip(photos, faces, strict=True) for face in own]
        if not pairs:
            return [[] for _ in photos]
        cuts = [self._cut(photo.pixels, face) for photo, face in pairs]
        ready = [luma(cut) if self.model.color == "gray" else cut for cut in cuts]
        all_classes = self.model.probabilities(np.stack(ready))
        told = all_classes[:, [self.model.scheme.classes.index(name) for name in self.names]]
        told = told / told.sum(axis=1, keepdims=True)
        points = [None] * len(pairs) if self.pointer is None else face_points(self.pointer, pairs)
        results = iter(
            self._answer(photo, face, cut, row, own)
            for (photo, face), cut, row, own in zip(pairs, cuts, told, points, strict=True)
        )
        return [[next(results) for _ in own] for own in faces]

    def _faces(self, photo: Photo) -> list[Face]:
        faces = [
            face
            for face in self.detector.faces(photo.pixels)
            if face.box.side >= self.min_size * photo.scale and (face.score is None or face.score >= self.min_score)
        ]
        if self.largest and faces:
            return [max(faces, key=lambda face: face.box.side)]
        if self.max_faces is not None and len(faces) > self.max_faces:
            raise TooManyFacesError(f"the image has {len(faces)} faces", expected=f"at most {self.max_faces}")
        return faces

    def _cut(self, pixels: Pixels, face: Face) -> Pixels:
        if self.detector.find is None:
            # As the images of a data set come to a model.
            return stretch(pixels, self.model.size, self.model.color)
        return framed(pixels, face, self.model.size)

    def _answer(
        self, photo: Photo, face: Face, cut: Pixels, told: npt.NDArray[np.float64], points: Points | None
    ) -> FaceAnswer:
        back = 1 / photo.scale
        size, sharp = face.box.side * back, sharpness(cut)
        reasons = {
            f"small: {size:.0f} px": size < SMALLEST,
            f"blurred: sharpness {sharp:.3f}": sharp < BLUREST,
            f"turned: {turn(face.marks):.2f}": turn(face.marks) > MOST_TURNED,
            f"confidence {told.max():.2f}": told.max() < self.min_confidence,
        }
        return FaceAnswer(
            box=face.box.scaled(back),
            score=face.score,
            marks=scaled_marks(face.marks, back),
            size=size,
            sharpness=sharp,
            probabilities=dict(zip(self.names, told.tolist(), strict=True)),
            entropy=float(-(told * np.log(np.maximum(told, 1e-300))).sum()),
            uncertain="; ".join(reason for reason, applies in reasons.items() if applies),
            model=self.title,
            points=points,
        )


def face_points(model: Pointer, pairs: Sequence[tuple[Photo, Face]]) -> list[Points]:
    """The 68 points (68, 2) of each face, pixel centres from 0 of the photo in full."""
    inside = model.points([crop(photo.pixels, face.square) for photo, face in pairs])
    corners = np.array([face.square[:2] for _, face in pairs], np.float32)
    scales = np.array([photo.scale for photo, _ in pairs], np.float32)[:, None, None]
    return list(((inside + corners[:, None] + 0.5) / scales - 0.5).astype(np.float32))


def sharpness(face: Pixels) -> float:
    """How sharp a face is, whatever its light and contrast: the Laplacian's variance over that of the gray, at 48 px.

    >>> sharpness(np.zeros((48, 48, 1), np.uint8))
    0.0
    """
    gray = luma(face)[:, :, 0]
    if gray.shape != (SHARP_SIDE, SHARP_SIDE):
        method = cv2.INTER_AREA if len(gray) > SHARP_SIDE else cv2.INTER_LINEAR
        gray = np.asarray(cv2.resize(gray, (SHARP_SIDE, SHARP_SIDE), interpolation=method), np.uint8)
    spread = float(gray.var())
    return float(cv2.Laplacian(gray, cv2.CV_64F).var()) / spread if spread else 0.0


def turn(marks: Marks | None) -> float:
    """How far a face looks aside: the nose's distance from the eyes' middle, along their line, in eyes' distances.

    0 for a face that looks at the camera, and without marks.

    >>> turn(((0.0, 0.0), (10.0, 0.0), (8.0, 6.0), (2.0, 12.0), (8.0, 12.0)))
    0.3
    """
    if marks is None:
        return 0.0
    left, right, nose = (complex(*mark) for mark in marks[:3])
    across = right - left
    if across == 0:
        return 1.0
    return round(abs(((nose - (left + right) / 2) / across).real), 9)
