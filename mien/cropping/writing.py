"""A data set cut by region: every row of another one, its image cut by the points of its face."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from mien.cropping.cutting import MEAN_SHAPE, SOURCES, Array, Cuts, cut_images
from mien.cropping.sheets import write_sheets
from mien.data.dataset import POINTS_COLUMN, Dataset, Shard, free_name, open_dataset, write_dataset
from mien.data.lineage import inherited
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.faces.regions import moved, region_named
from mien.images import Pixels, stored_pngs
from mien.landmarks.stored_points import PointModel, decoded, points_of
from mien.progress import progress
from mien.workspace import Workspace

Stored = Literal["stored"]

_FACE = pa.list_(pa.float32(), 2 * POINTS)
BOX = pa.list_(pa.int32(), 4)
# In the parent's pixels, but for `landmarks`, which are in those of the image that they stand beside.
COLUMNS = {
    "landmarks": _FACE,
    "box": BOX,
    "source_landmarks": _FACE,
    "quality": pa.float32(),
    "source": pa.string(),
}
_OWN = ("id", "image", "label")
_SMALLEST, _LARGEST = 8, 1024


def crop_dataset(
    workspace: Workspace,
    dataset_name: str,
    region: str,
    as_name: str,
    landmarker: PointModel | Stored,
    *,
    size: int = 48,
    margin: float | None = None,
) -> Dataset:
    """The data set `dataset_name` cut by a region of `REGIONS` to size × size pixels, as the data set `as_name`.

    `landmarker` predicts the points of each face, or "stored" takes those of the column `landmarks`. `margin` is that
    of the region unless given. Rows keep split, order, id, label and all columns; docs/regions.md tells the new ones.
    In the folder `sheets` stand contact sheets; see `write_sheets`.
    Predicted points are kept beside the first data set, so work that was stopped goes on, and another region needs no
    second prediction. Raises MienError for an unknown region, a name that is taken, an image that doesn't decode, and
    for stored points that aren't there.
    """
    parent = open_dataset(workspace, dataset_name)
    what = region_named(region)
    margin = what.margin if margin is None else margin
    check_target(workspace, as_name, size)
    if not 0 <= margin <= 10:
        raise MienError(f"a margin of {margin:g}", key="--margin", expected="0 to 10, as a share of the box")
    if landmarker == "stored" and not parent.has_points:
        raise MienError(
            f"data set '{dataset_name}' has no points of its own",
            key="--landmarks",
            expected="a model that predicts them, or a data set with the column 'landmarks'",
        )
    points, model = points_of(parent, None if landmarker == "stored" else landmarker, parent.card.splits)
    columns, renamed = columns_of(parent, {**COLUMNS, **({"filled": BOX} if what.how == "filled" else {})})
    counts = {split: dict.fromkeys(SOURCES, 0) for split in parent.card.splits}
    crop = {"region": region, "margin": margin, "size": size, "landmarks": model, "source": counts}
    notes = list(parent.card.notes)
    with (
        write_dataset(
            workspace,
            as_name,
            parent.card.scheme,
            source=dataset_name,
            format="cut",
            columns=columns,
            notes=notes,
            skipped=list(parent.card.skipped),
            details={**inherited(parent.card, renamed), "crop": crop},
            parent=parent.card,
            finish=lambda made: write_sheets(made, parent),
        ) as writer,
        progress(f"cut {as_name}", sum(shard.rows for shard in parent.card.shards)) as advance,
    ):
        start = dict.fromkeys(parent.card.splits, 0)
        for shard in parent.card.shards:
            for rows in batches(parent, shard):
                begin, end = start[shard.split], start[shard.split] + len(rows)
                start[shard.split] = end
                known, mirror = points[shard.split]
                names = [f"row '{row['id']}' of {shard.split}" for row in rows]
                done = 0
                for images in decoded([row["image"]["bytes"] for row in rows], names):
                    some = slice(begin + done, begin + done + len(images))
                    cuts = cut_images(images, known[some], None if mirror is None else mirror[some], what, margin, size)
                    for row, png, values in _cut_rows(rows[done : done + len(images)], known[some], cuts, renamed):
                        writer.add(shard.split, row["id"], png, row["label"], size=(size, size), **values)
                        counts[shard.split][values["source"]] += 1
                    done += len(images)
                advance(len(rows))
        notes.extend(_notes(dataset_name, crop))
    return open_dataset(workspace, as_name)


def check_target(workspace: Workspace, name: str, size: int) -> None:
    """Errors of a new set's name and size before hours of work rather than after."""
    free_name(workspace, name)
    if not _SMALLEST <= size <= _LARGEST:
        raise MienError(f"{size} pixels a side", key="--size", expected=f"{_SMALLEST} to {_LARGEST}")


def columns_of(parent: Dataset, new: Mapping[str, pa.DataType]) -> tuple[dict[str, pa.DataType], dict[str, str]]:
    """The columns of a set that is cut from another, and how those of the parent are called in it, but for its points.

    `new` are those that cutting adds.
    """
    schema = parent.schema()
    columns, renamed = {}, {}
    for column in schema:
        if column.name in (*_OWN, POINTS_COLUMN):
            continue
        name = column.name
        while name in new or name in columns or (name != column.name and name in schema.names):
            name = f"parent_{name}"
        columns[name], renamed[column.name] = column.type, name
    return {**columns, **new}, renamed


def batches(parent: Dataset, shard: Shard) -> Iterator[list[dict[str, Any]]]:
    """The rows of a shard, some at a time."""
    for batch in parent.batches(shard):
        yield batch.to_pylist()


def _cut_rows(
    rows: list[dict[str, Any]], known: Array, cuts: Cuts, renamed: dict[str, str]
) -> Iterator[tuple[dict[str, Any], bytes, dict[str, Any]]]:
    """Each row with its new image's file and the values of its columns."""
    true = [row[POINTS_COLUMN] for row in rows] if POINTS_COLUMN in rows[0] else None
    faces = cuts.points if true is None else np.array(true, dtype=np.float64).reshape(-1, POINTS, 2)
    inside = moved(faces, cuts.maps).astype(np.float32).reshape(len(rows), -1)
    pngs = _pngs(cuts.images)
    for number, (row, png) in enumerate(zip(rows, pngs, strict=True)):
        path = row["image"]["path"]
        yield (
            row,
            png,
            {
                **{name: row[old] for old, name in renamed.items()},
                "path": None if path is None else str(PurePosixPath(path).with_suffix(".png")),
                "landmarks": inside[number].tolist(),
                "box": cuts.boxes[number].tolist(),
                "source_landmarks": known[number].ravel().tolist(),
                "quality": float(cuts.quality[number]),
                "source": SOURCES[int(cuts.fallback[number])],
                **({} if cuts.filled is None else {"filled": cuts.filled[number].tolist()}),
            },
        )


def _pngs(images: list[Pixels]) -> list[bytes]:
    """The files of images of one size, some of them gray and some in colour."""
    files: list[bytes] = [b""] * len(images)
    for channels in (1, 3):
        places = [place for place, image in enumerate(images) if image.shape[2] == channels]
        if places:
            for place, file in zip(places, stored_pngs(np.stack([images[at] for at in places])), strict=True):
                files[place] = file
    return files


def _notes(parent: str, crop: dict[str, Any]) -> Iterator[str]:
    model = crop["landmarks"]
    by = "the stored points" if model["name"] == "stored" else f"the points of {model['name']}"
    shares = ", ".join(f"{split} {share(counts)}" for split, counts in crop["source"].items())
    yield f"{crop['region']} of '{parent}' by {by}; by the mean shape, where those failed the checks: {shares}"
    if model["limits"]:
        yield f"the points are by {model['name']}, {model['limits']}"


def share(counts: dict[str, int]) -> str:
    """How many rows were cut by the mean shape, of counts by source.

    >>> share({"landmarks": 995, "mean_shape": 5})
    '5 of 1,000 (0.5 %)'
    """
    n = sum(counts.values())
    return f"{counts[MEAN_SHAPE]:,} of {n:,} ({100 * counts[MEAN_SHAPE] / n:.1f} %)"
