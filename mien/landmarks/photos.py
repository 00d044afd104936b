"""From photo files to points: reads photos, finds faces, predicts their points and writes them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien.data.importers.face_points import header
from mien.errors import FailedError, MienError, reason
from mien.faces.detector import Detector, Face
from mien.faces.squares import crop
from mien.files import write_bytes, write_json, write_text
from mien.images import Pixels, decode, encode_png
from mien.landmarks.drawing import overlay
from mien.landmarks.formats import COORDINATES, Photo, Points, as_dict, csv_text, pts_texts
from mien.landmarks.stored_points import PointModel
from mien.progress import progress

Format = Literal["csv", "json", "pts"]


def landmark_photos(
    files: Sequence[Path], detector: Detector, predictor: PointModel, folder: Path, format: Format = "csv"
) -> tuple[dict[str, Any], list[MienError]]:
    """Find the faces of photos and their points; write them into `folder`, and a picture with the points of each photo.

    Returns what was found, ready for JSON, and an error for each photo that can't be read (the others are done). Raises
    MienError before any work when two photos would be written to the same files, or into the folder of the photos.
    `format` is "csv" or "json" for one file landmarks.csv or .json, "pts" for a file a face: NAME.pts, or NAME_1.pts,
    NAME_2.pts … where a photo has several.
    """
    given = list(dict.fromkeys(files))
    _check_names(given, folder)
    images: list[dict[str, Any]] = []
    photos: list[Photo] = []
    errors: list[MienError] = []
    with progress("find points", len(given)) as advance:
        for file in given:
            try:
                pixels, orientation = read(file)
                faces = find_points(pixels, detector, predictor)
                photo = Photo(str(file), pixels.shape[1], pixels.shape[0], tuple(faces), orientation)
                told = as_dict(photo)
                if format == "pts":
                    told["pts"] = _write_pts(photo, folder, {other.stem: other for other in given})
                told["overlay"] = _write_overlay(photo, pixels, folder)
                photos.append(photo)
            except FailedError:
                raise
            except MienError as error:
                errors.append(error)
                told = {"image": str(file), "error": error.as_dict()}
            images.append(told)
            advance(1)
    result = {
        "n": len(photos),
        "faces": sum(len(photo.faces) for photo in photos),
        "without": [photo.image for photo in photos if not photo.faces],
        "detector": {"name": detector.name, "digest": detector.digest},
        "landmarker": {"name": predictor.name, "digest": predictor.digest},
        "limits": predictor.limits,
        "coordinates": COORDINATES,
        "folder": str(folder),
        "points": None,
        "images": images,
    }
    if photos and format != "pts":
        result["points"] = str(folder / f"landmarks.{format}")
    if photos and format == "csv":
        write_text(folder / "landmarks.csv", csv_text(photos))
    if photos and format == "json":
        write_json(folder / "landmarks.json", result)
    return result, errors


def read(file: Path) -> tuple[Pixels, int]:
    """A photo's pixels, uint8 (height, width, 3) RGB, turned upright, and its EXIF orientation, 1 to 8.

    Raises MienError, which names the file, for what isn't there or isn't an image.
    """
    if not file.exists():
        raise MienError("there is no such image", file=str(file))
    if file.is_dir():
        raise MienError("this is a folder", file=str(file), expected=f"images, such as {file / '*.jpg'}")
    try:
        data = file.read_bytes()
        pixels = decode(data, "rgb")
    except OSError as error:
        raise MienError(f"the image can't be read ({error.strerror or reason(error)})", file=str(file)) from error
    except MienError as error:
        error.file = str(file)
        raise
    of = header(data)
    return pixels, of.orientation if of else 1


def find_points(pixels: Pixels, detector: Detector, predictor: PointModel) -> list[tuple[Face, Points]]:
    """The faces of an image, uint8 (height, width, 3) RGB, each with its points (68, 2), pixel centres from 0."""
    faces = detector.faces(pixels)
    if not faces:
        return []
    inside = predictor.points([crop(pixels, face.square) for face in faces])
    corners = np.array([face.square[:2] for face in faces], np.float32)
    return list(zip(faces, (inside + corners[:, None]).astype(np.float32), strict=True))


def _check_names(files: Sequence[Path], folder: Path) -> None:
    for stem, number in Counter(file.stem for file in files).items():
        if number > 1:
            first, second = [file for file in files if file.stem == stem][:2]
            raise MienError(
                f"{first} and {second} would both be written as {folder / stem}.png",
                expected="images whose names differ by more than folder and ending",
            )
    for file in files:
        if file.parent.resolve() == folder.resolve():
            raise MienError(
                f"{folder} is the folder of {file}; what stands beside your images would be replaced",
                key="--to",
                expected="another folder",
            )


def _write_overlay(photo: Photo, pixels: Pixels, folder: Path) -> str:
    file = folder / f"{Path(photo.image).stem}.png"
    drawn = overlay(pixels, [face.box for face, _ in photo.faces], [points for _, points in photo.faces])
    write_bytes(file, encode_png(drawn))
    return str(file)


def _write_pts(photo: Photo, folder: Path, others: dict[str, Path]) -> list[str]:
    stem = Path(photo.image).stem
    several = len(photo.faces) > 1
    names = [f"{stem}_{number}" if several else stem for number in range(1, len(photo.faces) + 1)]
    for name in names:
        if several and name in others:
            raise MienError(
                f"one of its {len(names)} faces would be written as {name}.pts, as the points of {others[name]}",
                file=photo.image,
                expected="photos whose names differ otherwise, each by itself, or --format csv",
            )
    files = [folder / f"{name}.pts" for name in names]
    for file, text in zip(files, pts_texts(photo), strict=True):
        write_text(file, text)
    return [str(file) for file in files]
