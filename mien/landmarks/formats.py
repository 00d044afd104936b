"""Writes points of faces as text: CSV, JSON, and the .pts files of 300-W."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien import files
from mien.faces.detector import Face
from mien.faces.ibug import POINTS
from mien.faces.orientation import Header, upright

Points = npt.NDArray[np.float32]

# What the numbers of CSV and JSON are, said in each of them.
COORDINATES = "pixel centres from 0, of the image turned as its EXIF orientation says"

_DIGITS = 3


@dataclass(frozen=True)
class Photo:
    """A photo's name as it was given, its size, and its faces from left to right, each with its (68, 2) points.

    Size, boxes and points are those of the photo turned as its EXIF orientation (1 to 8) says, points as pixel centres
    from 0.
    """

    image: str
    width: int
    height: int
    faces: tuple[tuple[Face, Points], ...] = ()
    orientation: int = 1


def as_dict(photo: Photo) -> dict[str, Any]:
    """A photo and its faces for JSON: `points` are 68 pairs x, y, `box` is left, top, width, height in pixels."""
    return {
        "image": photo.image,
        "width": photo.width,
        "height": photo.height,
        "faces": [
            {
                "face": number,
                "score": None if face.score is None else round(face.score, _DIGITS),
                "box": [round(value, _DIGITS) for value in face.box],
                "points": [[round(float(value), _DIGITS) for value in point] for point in points],
            }
            for number, (face, points) in enumerate(photo.faces, start=1)
        ],
    }


def csv_text(photos: Sequence[Photo]) -> str:
    """One line a face: image, face (from 1), score, box, what the coordinates are, then x1, y1 … x68, y68."""
    names = [f"{axis}{number}" for number in range(1, POINTS + 1) for axis in "xy"]
    lines: list[list[Any]] = [["image", "face", "score", "left", "top", "width", "height", "coordinates", *names]]
    for photo in photos:
        for face in as_dict(photo)["faces"]:
            score = "" if face["score"] is None else face["score"]
            flat = [value for point in face["points"] for value in point]
            lines.append([photo.image, face["face"], score, *face["box"], COORDINATES, *flat])
    return files.csv_text(lines)


def pts_texts(photo: Photo) -> list[str]:
    """A .pts file for each face of a photo; its points are of the pixels as stored, not turned, as importers expect."""
    # All ways to turn and mirror are undone by themselves, but a quarter turn by the one back.
    undone = {6: 8, 8: 6}.get(photo.orientation, photo.orientation)
    turned = Header(photo.width, photo.height, undone)
    return [pts_text(upright(points.astype(np.float64), turned)) for _, points in photo.faces]


def pts_text(points: npt.NDArray[np.floating[Any]]) -> str:
    """A .pts file of points (68, 2), pixel centres from 0: 300-W's header, and counted from 1 as the format is.

    >>> print(pts_text(np.zeros((1, 2), np.float32)), end="")
    version: 1
    n_points: 1
    {
    1.000 1.000
    }
    """
    lines = [f"{x + 1:.{_DIGITS}f} {y + 1:.{_DIGITS}f}" for x, y in points.tolist()]
    return "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}"]) + "\n"
