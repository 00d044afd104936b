"""A data set cut as `mien predict` cuts photos: by the face that a detector finds in each image."""

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from mien.cropping.writing import BOX, batches, check_target, columns_of
from mien.data.dataset import POINTS_COLUMN, Dataset, open_dataset, write_dataset
from mien.data.lineage import inherited
from mien.errors import MienError
from mien.faces.detector import Detector, Face
from mien.faces.framing import frame_map, framed
from mien.faces.ibug import POINTS
from mien.faces.regions import moved
from mien.images import Pixels, encode_png, stretch
from mien.landmarks.stored_points import decoded
from mien.parallel import ordered_map
from mien.progress import progress
from mien.workspace import Workspace

REGION = "detected"
# Where the cut came from; the audit's flag `fallback` looks for the second.
DETECTED, WHOLE = "detected", "whole_image"
SOURCES = (DETECTED, WHOLE)
_COLUMNS = {"box": BOX, "score": pa.float32(), "source": pa.string()}


def crop_detected(workspace: Workspace, name: str, as_name: str, detector: Detector, *, size: int = 48) -> Dataset:
    """The data set `name`, each image cut to its largest face as photos are for a model, as the data set `as_name`.

    An image in which no face is found is kept whole. Rows keep split, order, id, label and all columns, and get `box`
    (left, top, right, bottom of the detector's box), `score` and `source` ("detected" or "whole_image"); points of
    their own move with the cut. Raises MienError for a name that is taken and for an image that doesn't decode.
    """
    parent = open_dataset(workspace, name)
    if detector.find is None:
        raise MienError("nothing finds the faces", key="--detector none", expected="auto, yunet or cascade")
    check_target(workspace, as_name, size)
    columns, renamed = columns_of(parent, _COLUMNS)
    if parent.has_points:
        columns[POINTS_COLUMN] = pa.list_(pa.float32(), 2 * POINTS)
    counts = {split: dict.fromkeys(SOURCES, 0) for split in parent.card.splits}
    about = {"region": REGION, "size": size, "detector": detector.name, "digest": detector.digest, "source": counts}
    notes = list(parent.card.notes)
    with (
        write_dataset(
            workspace,
            as_name,
            parent.card.scheme,
            source=name,
            format="cut",
            columns=columns,
            notes=notes,
            skipped=list(parent.card.skipped),
            details={**inherited(parent.card, renamed), "crop": about},
            parent=parent.card,
        ) as writer,
        progress(f"cut {as_name}", sum(shard.rows for shard in parent.card.shards)) as advance,
    ):
        for shard in parent.card.shards:
            for rows in batches(parent, shard):
                names = [f"row '{row['id']}' of {shard.split}" for row in rows]
                images = (one for some in decoded([row["image"]["bytes"] for row in rows], names) for one in some)
                cuts = ordered_map(lambda image: _cut(image, detector, size), images)
                for row, (png, face, shape) in zip(rows, cuts, strict=True):
                    values = {renamed[old]: row[old] for old in renamed}
                    if parent.has_points:
                        values[POINTS_COLUMN] = _moved(row[POINTS_COLUMN], face, shape, size)
                    values |= {"path": _png(row["image"]["path"]), **_told(face, shape)}
                    writer.add(shard.split, row["id"], png, row["label"], size=(size, size), **values)
                    counts[shard.split][values["source"]] += 1
                advance(len(rows))
        found = ", ".join(f"{split} {kinds[WHOLE]:,} of {sum(kinds.values()):,}" for split, kinds in counts.items())
        notes.append(f"faces of '{name}' as {detector.name} finds them; kept whole, as no face was found: {found}")
    return open_dataset(workspace, as_name)


def _cut(image: Pixels, detector: Detector, size: int) -> tuple[bytes, Face | None, tuple[int, ...]]:
    """The file of the largest face, that face, and the image's shape."""
    colour = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    face = max(detector.faces(colour), key=lambda one: one.box.side, default=None)
    whole = "gray" if image.shape[2] == 1 else "rgb"
    cut = framed(image, face, size) if face else stretch(image, size, whole)  # type: ignore[arg-type]
    return encode_png(cut), face, image.shape


def _told(face: Face | None, shape: tuple[int, ...]) -> dict[str, Any]:
    if face is None:
        return {"box": [0, 0, shape[1], shape[0]], "score": None, "source": WHOLE}
    left, top, width, height = face.box
    box = [round(left), round(top), round(left + width), round(top + height)]
    return {"box": box, "score": face.score, "source": DETECTED}


def _moved(points: list[float], face: Face | None, shape: tuple[int, ...], size: int) -> list[float]:
    x, y = size / shape[1], size / shape[0]
    matrix = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]]) if face is None else frame_map(face, size)
    flat: list[float] = moved(np.array(points).reshape(1, POINTS, 2), matrix[None]).ravel().tolist()
    return flat


def _png(path: str | None) -> str | None:
    return None if path is None else str(PurePosixPath(path).with_suffix(".png"))
