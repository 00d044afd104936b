"""What data sets cut by region came to: rows, the share that was cut by the mean shape, and how each region looks.

    python benchmarks/regions.py fer2013-face fer2013-mouth                     prints the table
    python benchmarks/regions.py fer2013-face fer2013-mouth --write results     and writes results/regions.md and .png

Sets are of the workspace (MIEN_HOME), made by `mien data crop`. The picture shows drawn faces, cut by exact points.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from mien.cropping import SOURCES, cut_images
from mien.data.contact_sheets import contact_sheet
from mien.data.dataset import Dataset, open_dataset
from mien.data.synthetic import CLASSES, faces
from mien.errors import MienError
from mien.faces.regions import REGIONS
from mien.files import write_bytes, write_text
from mien.intervals import wilson, with_interval
from mien.workspace import find_workspace

_FACES, _SIDE = 7, 64


def main() -> None:
    """Print and, when asked, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    home = find_workspace(None)
    text = page([open_dataset(home, name) for name in arguments.sets])
    print(text)
    if arguments.write:
        write_text(arguments.write / "regions.md", text)
        write_bytes(arguments.write / "regions.png", picture())


def page(sets: list[Dataset]) -> str:
    """A table of the sets, one line a split, as Markdown."""
    lines = [
        "# Data sets cut by region",
        "",
        "Written by `benchmarks/regions.py`. A row whose predicted points fail a check is cut by the mean shape "
        "instead and says so; brackets are 95 % intervals (Wilson).",
        "",
        "| data set | region of | points by | split | rows | cut by the mean shape |",
        "| --- | --- | --- | --- | ---: | --- |",
    ]
    notes: list[str] = []
    for dataset in sets:
        crop = dataset.card.details.get("crop")
        if crop is None or dataset.card.parent is None:
            raise MienError(f"data set '{dataset.card.name}' isn't cut", expected="one that `mien data crop` made")
        made: dict[str, Any] = crop["landmarks"]
        notes += [f"{made['name']}: {made['limits']}"] if made["limits"] else []
        for split, counts in crop["source"].items():
            n, fallback = sum(counts.values()), counts[SOURCES[1]]
            share = with_interval(fallback / n, wilson(fallback, n), ".1f", scale=100, unit=" %")
            cells = (
                f"{dataset.card.name}, {dataset.card.fingerprint[:8]}",
                f"{crop['region']} of {dataset.card.parent.name}, {crop['size']} px, margin {crop['margin']:g}",
                f"{made['name']} {made['digest'][:8]}".strip(),
                split,
                f"{n:,}",
                f"{fallback:,}: {share}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {note}" for note in dict.fromkeys(notes))] if notes else []
    lines += [
        "",
        "The regions of drawn faces, cut by their exact points:",
        "",
        "![Regions of drawn faces](regions.png)",
    ]
    return "\n".join(lines) + "\n"


def picture() -> bytes:
    """Drawn faces, one an expression, whole and cut to each region, as a PNG."""
    drawn: dict[int, tuple[Any, Any]] = {}
    for image, label, points in faces(200, size=_SIDE, color="rgb", seed=11, workers=1):
        drawn.setdefault(label, (image, points))
        if len(drawn) == _FACES:
            break
    images = [drawn[label][0] for label in range(_FACES)]
    points = np.stack([drawn[label][1] for label in range(_FACES)]).astype(np.float32)
    columns = [images]
    columns += [cut_images(images, points, None, of, of.margin, _SIDE).images for of in REGIONS.values()]
    rows = [[column[number] for column in columns] for number in range(_FACES)]
    return contact_sheet(rows, list(CLASSES), columns=["whole", *REGIONS])


if __name__ == "__main__":
    main()
