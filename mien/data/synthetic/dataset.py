"""Drawn faces as a data set: what `mien data synth` makes."""

import pyarrow as pa

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.data.synthetic import faces
from mien.faces.ibug import POINTS
from mien.images import Color, encode_png
from mien.progress import progress
from mien.workspace import Workspace

# Of each ten faces, in order: eight to train, one to validate, one to test.
_SPLITS = ("train",) * 8 + ("validation", "test")


def write_faces(workspace: Workspace, name: str, *, n: int, size: int, color: Color, seed: int) -> Dataset:
    """Draw `n` faces into a new data set with splits train, validation and test (8 : 1 : 1) and their 68 points.

    The column `landmarks` holds 136 float32: x and y of each point, pixel centres from 0, in iBUG's order.
    """
    columns = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}
    details = {"drawn": {"n": n, "size": size, "color": color, "seed": seed}}
    with (
        write_dataset(
            workspace, name, FER2013, source="drawn by mien", format="synthetic", columns=columns, details=details
        ) as writer,
        progress("draw faces", n) as advance,
    ):
        for index, (image, label, points) in enumerate(faces(n, size=size, color=color, seed=seed)):
            writer.add(
                _SPLITS[index % len(_SPLITS)],
                str(index),
                encode_png(image),
                label,
                size=(size, size),
                landmarks=points.ravel().tolist(),
            )
            advance(1)
    return open_dataset(workspace, name)
