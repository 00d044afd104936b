"""Contact sheets of a cut data set: each row's parent image with points and box, and beside it the cut one."""

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mien.cropping.cutting import MEAN_SHAPE
from mien.data.contact_sheets import gallery, pictures_of
from mien.data.dataset import Dataset
from mien.faces.regions import Points, mean_points, region_named, turned_corners
from mien.files import write_bytes
from mien.images import Pixels

_SHOWN = 64
_ACROSS = 8
# The side of each of the two pictures of a row: three pixels to one of a 48-pixel image.
_SIDE = 144
_GAP = 4
# Okabe and Ito's sky blue and orange, which show on gray and on skin; vermilion where the mean shape was taken.
_POINT, _BOX, _FALLBACK = (86, 180, 233), (230, 159, 0), (213, 94, 0)
_COLUMNS = ["id", "box", "source_landmarks", "quality", "source"]


# The files' names without their ending.
SHEETS = ("random", "lowest-quality")


def write_sheets(dataset: Dataset, parent: Dataset) -> None:
    """Write two PNGs into the folder `sheets` of a cut data set: 64 rows drawn at random, and the 64 of lowest quality.

    The rows are the same each time.
    """
    splits = list(dataset.card.splits)
    crop = dataset.card.details["crop"]
    columns = [*_COLUMNS, *(["filled"] if "filled" in dataset.card.columns else [])]
    table = pa.concat_tables([dataset.table(split, columns) for split in splits])
    split_of = np.repeat(splits, [dataset.rows(split) for split in splits])
    quality = np.asarray(table["quality"])
    drawn = np.random.default_rng(0).permutation(len(table))[:_SHOWN]
    lowest = np.argsort(quality, kind="stable")[:_SHOWN]
    wanted = np.union1d(drawn, lowest)
    rows = dict(zip(wanted.tolist(), table.take(pa.array(wanted)).to_pylist(), strict=True))
    keys = {number: (str(split_of[number]), row["id"]) for number, row in rows.items()}
    before, after = pictures_of(parent, set(keys.values())), pictures_of(dataset, set(keys.values()))
    title = f"{crop['region']} of {parent.card.name}, points by {crop['landmarks']['name']}: "
    sheets = (
        (f"{len(drawn)} of {len(table):,} rows, drawn at random", drawn),
        (f"the {len(lowest)} of {len(table):,} rows with the lowest quality", lowest),
    )
    for name, (what, chosen) in zip(SHEETS, sheets, strict=True):
        pictures, captions = [], []
        for number in chosen.tolist():
            row, key = rows[number], keys[number]
            pictures.append(_pair(before[key], after[key], row, crop))
            captions.append(f"{key[0]} {key[1]}\n{_caption(row)}")
        sheet = gallery(pictures, captions, title + what, columns=_ACROSS, largest=2 * _SIDE + _GAP, colors=256)
        write_bytes(dataset.folder / "sheets" / f"{name}.png", sheet)


def _caption(row: dict[str, object]) -> str:
    return f"quality {row['quality']:.2f}{', mean shape' if row['source'] == MEAN_SHAPE else ''}"


def _pair(before: Pixels, after: Pixels, row: dict[str, object], crop: dict[str, object]) -> Pixels:
    region = region_named(str(crop["region"]))
    fallback = row["source"] == MEAN_SHAPE
    points = np.array(row["source_landmarks"], dtype=np.float64).reshape(1, -1, 2)
    if region.how == "turned":
        used = mean_points(np.array([[before.shape[1], before.shape[0]]])) if fallback else points
        corners = turned_corners(used, float(str(crop["margin"])))[0]
    else:
        box = np.array(row.get("filled") or row["box"], dtype=np.float64)
        corners = box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
    marked = _marked(before, points[0], corners, _FALLBACK if fallback else _BOX)
    beside = np.full((_SIDE, _GAP, 3), 255, np.uint8)
    return np.concatenate([marked, beside, _enlarged(after, (_SIDE, _SIDE))], axis=1)


def _marked(image: Pixels, points: Points, corners: npt.NDArray[np.float64], color: tuple[int, int, int]) -> Pixels:
    """An image on a square of `_SIDE`, with points (pixel centres) and the outline of the cut (edges of pixels)."""
    height, width = image.shape[:2]
    times = _SIDE / max(height, width)
    size = max(1, round(width * times)), max(1, round(height * times))
    square = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    left, top = (_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2
    square[top : top + size[1], left : left + size[0]] = _enlarged(image, size)
    offset = np.array([left, top]) - 0.5
    # In sixteenths of a pixel, as OpenCV's `shift` has it.
    outline = np.round((corners * times + offset).clip(-4 * _SIDE, 5 * _SIDE) * 16).astype(np.int32)
    cv2.polylines(square, [outline], True, color, 2, cv2.LINE_AA, 4)
    for x, y in np.round(((points + 0.5) * times + offset) * 16)[np.isfinite(points).all(axis=1)].tolist():
        if min(x, y) >= -16 * _SIDE and max(x, y) <= 32 * _SIDE:
            cv2.circle(square, (int(x), int(y)), 22, _POINT, -1, cv2.LINE_AA, 4)
    return square


def _enlarged(image: Pixels, size: tuple[int, int]) -> Pixels:
    color = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    smaller = max(image.shape[:2]) > max(size)
    made = cv2.resize(color, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST)
    return np.asarray(made, dtype=np.uint8)
