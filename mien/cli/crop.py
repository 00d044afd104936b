"""The verb that cuts a data set by region: data crop."""

from typing import Annotated

import typer

from mien.cli.shared import Home, Json, Trust, data, open_home, print_result, print_table, say


@data.command("crop")
def data_crop(
    name: Annotated[str, typer.Argument(help="The data set's name.")],
    region: Annotated[
        str,
        typer.Option(metavar="REGION", help="face, mouth, eyes, brows, upper, lower, no-mouth or aligned."),
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
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Cut every image by the 68 points of its face; rows keep their ids, splits and labels.

    For images that a face fills: no faces are looked for. Stopped and started again, it goes on where it was.

    Example: mien data crop fer2013 --region mouth --as fer2013-mouth
    """
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
