"""The verb that draws 68 points on the faces of photos: landmarks."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mien.cli.shared import (
    DetectorName,
    DetectorWeights,
    Home,
    Json,
    Trust,
    app,
    counted,
    open_home,
    print_result,
    say,
    tell_unread,
)


@app.command()
def landmarks(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Photos, folders, patterns, @list.txt, or - for a list on standard input."
        ),
    ],
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    model: Annotated[str | None, typer.Option(metavar="RUN", help="A landmark run, else the model of mien.")] = None,
    to: Annotated[Path, typer.Option(metavar="FOLDER", file_okay=False, help="Where points and pictures go.")] = Path(
        "landmarks"
    ),
    format: Annotated[
        Literal["csv", "json", "pts"], typer.Option(help="One file for all faces, or 300-W's file for each.")
    ] = "csv",
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Find the faces in photos and the 68 points of each; write the points, and a picture of each photo with them.

    Example: mien landmarks photo.jpg

    Example: mien landmarks faces/*.png --detector none --to points --format pts
    """
    from mien.faces.detector import open_detector
    from mien.landmarks.photos import landmark_photos
    from mien.landmarks.predict import open_landmarker
    from mien.prediction.inputs import find_photos

    files = [photo.file for photo in find_photos(images, sys.stdin)]
    finder = open_detector(detector, detector_weights)
    if finder.note:
        print(f"mien: {finder.note}", file=sys.stderr)
    landmarker = open_landmarker(open_home(workspace, trust), model)
    found, errors = landmark_photos(files, finder, landmarker, to, format)

    def show() -> None:
        for image in found["images"]:
            if faces := image.get("faces"):
                say(f"{image['image']}: {counted(len(faces), 'face')}")
            elif "error" not in image:
                say(f"{image['image']}: no face found")
        without = f", {len(found['without']):,} without a face" if found["without"] else ""
        say(
            f"{counted(found['n'], 'image')}, {counted(found['faces'], 'face')}{without} "
            f"(detector {finder.name}, points by {landmarker.name})"
        )
        if found["n"]:
            say(f"points: {found['points'] or to / '*.pts'}\npictures: {to / '*.png'}")
        if landmarker.limits:
            say(f"{landmarker.name}: {landmarker.limits}")

    if errors:
        found["error"] = errors[0].as_dict()
    print_result(as_json, found, show)
    for error in errors:
        print(f"mien: {error}", file=sys.stderr)
    tell_unread(len(errors), len(files))
