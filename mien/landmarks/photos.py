"""From photo files to points: reads photos, finds faces, predicts their points and writes them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mien import images
from mien.errors import FailedError, MienError
from mien.faces.detector import Detector, Face
from mien.faces.drawing import overlay
from mien.files import write_bytes, write_json, write_text
from mien.images import encode_png
from mien.inference.predictor import face_points
from mien.landmarks.formats import COORDINATES, Photo, Points, as_dict, csv_text, pts_texts
from mien.progress import progress

if TYPE_CHECKING:
    from mien.landmarks.stored_points import PointModel

Format = Literal["csv", "json", "pts"]


def landmark_photos(
    files: Sequence[Path], detector: Detector, predictor: "PointModel", folder: Path, format: Format = "csv"
) -> tuple[dict[str, Any], list[MienError]]:
    """Find the faces of photos and their points; write them into `folder`, and a picture with the points of each photo.

    Returns what was found, ready for JSON, and an error for each photo that can't be read (the others are done). Raises
    MienError before any work when two photos would be written to the same files, or into the folder of the photos.
    `format` is "csv" or "json" for one file landmarks.csv or .json, "pts" for a file a face: NAME.pts, or NAME_1.pts,
    NAME_2.pts … where a photo has several.
    """
    given = list(dict.fromkeys(files))
    _check_names(given, folder)
    told_of: list[dict[str, Any]] = []
    photos: list[Photo] = []
    errors: list[MienError] = []
    with progress("find points", len(given)) as advance:
        for file in given:
            try:
                read = images.read_photo(file)
                faces = find_points(read, detector, predictor)
                photo = Photo(str(file), read.width, read.height, tuple(faces), read.orientation)
                told = as_dict(photo)
                if format == "pts":
                    told["pts"] = _write_pts(photo, folder, {other.stem: other for other in given})
                told["overlay"] = _write_overlay(photo, read, folder)
                photos.append(photo)
            except FailedError:
                raise
            except MienError as error:
                errors.append(error)
                told = {"image": str(file), "error": error.as_dict()}
            told_of.append(told)
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
        "images": told_of,
    }
    if photos and format != "pts":
        result["points"] = str(folder / f"landmarks.{format}")
    if photos and format == "csv":
        write_text(folder / "landmarks.csv", csv_text(photos))
    if photos and format == "json":
        write_json(folder / "landmarks.json", result)
    return result, errors


def find_points(pixels: images.Photo, detector: Detector, predictor: "PointModel") -> list[tuple[Face, Points]]:
    """The faces of a photo, each with its points (68, 2), pixel centres from 0; boxes and points are of the full photo.

    A face's square stays that of the pixels at hand.
    """
    faces = detector.faces(pixels.pixels)
    points = face_points(predictor, [(pixels, face) for face in faces]) if faces else []
    back = [face._replace(box=face.box.scaled(1 / pixels.scale)) for face in faces]
    return list(zip(back, points, strict=True))


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


def _write_overlay(photo: Photo, read: images.Photo, folder: Path) -> str:
    file = folder / f"{Path(photo.image).stem}.png"
    boxes = [face.box.scaled(read.scale) for face, _ in photo.faces]
    points = [(points + 0.5) * read.scale - 0.5 for _, points in photo.faces]
    drawn = overlay(read.pixels, boxes, points)
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
