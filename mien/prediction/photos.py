"""Many photos told by all cores: each is read, its faces found and told by one thread, several at once."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2

from mien.errors import MienError
from mien.files import write_bytes
from mien.images import encode_png, read_photo
from mien.inference.faces import drawn
from mien.inference.model import Model
from mien.inference.predictor import Predictor
from mien.inference.rows import Row, error_row, rows_of
from mien.parallel import THREADS, ordered_map
from mien.prediction.inputs import Photo
from mien.progress import progress


@dataclass
class Counts:
    """How many photos were told, how many faces (n) are in them, and how many have none or can't be read."""

    images: int = 0
    n: int = 0
    without: int = 0
    uncertain: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Counts":
        """Those of one photo, by its rows."""
        n, failed = sum(row["face"] is not None for row in rows), bool(rows[0]["error"])
        return cls(1, n, int(not n and not failed), sum(bool(row["uncertain"]) for row in rows), int(failed))


def about(predictor: Predictor, *models: Model) -> dict[str, Any]:
    """What stands above answers: `model`, `detector`, `classes`, and `limits`, what the models' use is bound to."""
    return {
        "model": predictor.title,
        "detector": f"{predictor.detector.name} {predictor.detector.digest[:12]}".strip(),
        "classes": list(predictor.names),
        "limits": "; ".join(f"{one.name}: {one.limits}" for one in models if one.limits),
    }


def predict_photos(
    photos: Sequence[Photo], predictor: Predictor, take: Callable[[list[Row]], None], draw: Path | None = None
) -> Counts:
    """Tell the faces of photos; `take` gets the rows of each, in the order of the photos.

    A photo that can't be read has a row that says why. `draw` is a folder for a picture of each photo: called as the
    photo and `.png`. No more photos are in memory than there are threads. Raises MienError where two photos would have
    the same picture.
    """
    counts = Counts()
    if draw is not None:
        check_names(photos, draw)
    if len(photos) >= THREADS:
        # Each thread has a photo of its own, so those of the libraries would only be in the way.
        cv2.setNumThreads(1)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)

    def tell(photo: Photo) -> list[Row]:
        try:
            read = read_photo(photo.file)
        except MienError as error:
            return [error_row(photo.name, error)]
        (answers,) = predictor.answers([read])
        if draw is not None:
            write_bytes(draw / f"{photo.below}.png", encode_png(drawn(read, answers)))
        return rows_of(photo.name, answers)

    with progress("predict", len(photos)) as advance:
        for rows in ordered_map(tell, photos):
            counts += Counts.of(rows)
            take(rows)
            advance(1)
    return counts


def check_names(photos: Sequence[Photo], folder: Path) -> None:
    """Raise MienError where two would be drawn under one name."""
    for below, number in Counter(photo.below for photo in photos).items():
        if number > 1:
            first, second = [photo.file for photo in photos if photo.below == below][:2]
            raise MienError(
                f"{first} and {second} would both be drawn as {folder / below}.png",
                key="--draw",
                expected="one folder above both, or names that differ",
            )
