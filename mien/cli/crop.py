"""The verb that cuts a data set by region, or to the faces that a detector finds: data crop."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.shared import (
    DetectorName,
    DetectorWeights,
    Home,
    Json,
    Trust,
    data,
    open_home,
    print_result,
    print_table,
    say,
)
from mien.extras import require
from mien.workspace import find_workspace


@data.command("crop")
def data_crop(
    name: Annotated[str, typer.Argument(help="The data set's name.")],
    region: Annotated[
        str,
        typer.Option(metavar="REGION", help="face, mouth, eyes, brows, upper, lower, no-mouth, aligned or detected."),
    ],
    new: Annotated[str, typer.Option("--as", help="The new data set's name.")],
    size: Annotated[int, typer.Option(help="Pixels a side of the new images.")] = 48,
    margin: Annotated[
        float | None, typer.Option(help="Added on all sides, as a share of the box's longer one (else the region's).")
    ] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="What finds the points: a landmark run, or 'stored' for the set's own."),
    ] = None,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Cut every image by the 68 points of its face; rows keep their ids, splits and labels.

    For images that a face fills: no faces are looked for, but by the region detected, which cuts the largest face of
    each image as mien predict does. Stopped and started again, the others go on where they were.

    Example: mien data crop fer2013 --region mouth --as fer2013-mouth

    Example: mien data crop portraits --region detected --as portraits-48
    """
    require("cutting a data set", "pyarrow")
    if region == "detected":
        _detected(name, new, size, detector, detector_weights, workspace, as_json)
        return
    from mien.cropping import SHEETS, SOURCES, crop_dataset, share

    home = open_home(workspace, trust)
    if landmarks == "stored":
        made = crop_dataset(home, name, region, new, "stored", size=size, margin=margin)
    else:
        from mien.landmarks.predict import open_landmarker

        made = crop_dataset(home, name, region, new, open_landmarker(home, landmarks), size=size, margin=margin)
    sheets = [made.folder / "sheets" / f"{name}.png" for name in SHEETS]
    crop = made.card.details["crop"]
    splits = crop["source"]
    source = {one: sum(counts[one] for counts in splits.values()) for one in SOURCES}
    result = {
        "dataset": new,
        "n": sum(source.values()),
        "source": source,
        "splits": splits,
        **{key: crop[key] for key in ("region", "margin", "size", "landmarks")},
        "sheets": [str(path) for path in sheets],
    }

    def show() -> None:
        rows = [
            (split, f"{sum(counts.values()):,}", f"{counts['landmarks']:,}", share(counts))
            for split, counts in {**splits, "all": source}.items()
        ]
        title = f"{new}: {region} of {name}, {size} × {size} pixels, margin {crop['margin']:g}"
        print_table(title, ("split", "n", "by landmarks", "by the mean shape"), rows)
        for note in made.card.notes:
            say(f"note: {note}")
        for path in sheets:
            say(f"sheet: {path}")

    print_result(as_json, result, show)


def _detected(
    name: str, new: str, size: int, detector: str, weights: Path | None, workspace: Path | None, as_json: bool
) -> None:
    from mien.cropping.detected import crop_detected
    from mien.faces.detector import open_detector

    finder = open_detector(detector, weights)
    if finder.note:
        print(f"mien: {finder.note}", file=sys.stderr)
    made = crop_detected(find_workspace(workspace), name, new, finder, size=size)
    crop = made.card.details["crop"]
    splits = crop["source"]
    result = {
        "dataset": new,
        "n": sum(sum(counts.values()) for counts in splits.values()),
        "splits": splits,
        **{key: crop[key] for key in ("region", "size", "detector")},
    }

    def show() -> None:
        rows = [
            (split, f"{sum(counts.values()):,}", f"{counts['detected']:,}", f"{counts['whole_image']:,}")
            for split, counts in splits.items()
        ]
        print_table(f"{new}: faces of {name}, {size} × {size} pixels", ("split", "n", "detected", "kept whole"), rows)
        for note in made.card.notes:
            say(f"note: {note}")

    print_result(as_json, result, show)
