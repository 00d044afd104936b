"""Predicts the points of a whole data set and stores them beside it, part by part, so that stopped work goes on."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.data.framing import stored_points
from mien.errors import FailedError, MienError
from mien.faces.ibug import POINTS
from mien.files import replacing, sweep
from mien.images import Pixels, decode
from mien.landmarks.checks import mirror_distance, mirrored_back
from mien.parallel import ordered_map
from mien.progress import progress
from mien.reading import read_arrays

# To be counted up with every change of what is kept, so that nothing older is read.
VERSION = 1
# So many rows are a part: two or three seconds of work, which is what a stopped command loses. Rows of a part are
# always predicted together, so that a part has the same bytes whether or not the command was stopped before it.
_PART = 512
# So many are predicted at once, or fewer when they are large.
_BATCH = 64
_BATCH_BYTES = 64 * 2**20


class PointModel(Protocol):
    """A model that predicts points, as a landmark `mien.inference.Model` does."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def digest(self) -> str:
        """The SHA-256 of its weights."""

    @property
    def limits(self) -> str:
        """The terms that limit its use; "" for none that are known."""

    def points(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """The points (n, 68, 2), pixel centres from 0, of images, uint8 (height, width, 1 or 3), that a face fills."""


class Predicted(NamedTuple):
    """Predicted points of rows, float32 (n, 68, 2), and their distance to those of the mirrored image, float32 (n,)."""

    points: npt.NDArray[np.float32]
    mirror: npt.NDArray[np.float32]


def pixels_of(data: bytes) -> Pixels:
    """An image file's pixels, uint8 (height, width, channels): 3 channels for colour, 1 where all three are alike."""
    pixels = decode(data, "rgb")
    gray = bool((pixels[:, :, 0] == pixels[:, :, 1]).all() and (pixels[:, :, 0] == pixels[:, :, 2]).all())
    return np.ascontiguousarray(pixels[:, :, :1]) if gray else pixels


def predict_points(dataset: Dataset, model: PointModel, splits: Iterable[str] | None = None) -> dict[str, Predicted]:
    """The predicted points of the rows of some splits (None: all) of a data set, by split, in its order.

    Each image is predicted twice, as it is and mirrored; the points are those of the first. They are stored in
    `cache/points-…` of the data set, for its fingerprint and this model, and predicted only once. Raises MienError,
    with split and row, for an image that doesn't decode.
    """
    name = f"points-{VERSION}-{dataset.card.fingerprint[:16]}-{model.digest[:16]}"
    folder = dataset.folder / "cache" / name
    sweep(folder)  # Where the parts are whole, nothing is written that would do it.
    wanted = list(dataset.card.splits if splits is None else splits)
    with progress(f"points of {dataset.card.name}", sum(map(dataset.rows, wanted))) as advance:
        found = {}
        for split in wanted:
            parts = []
            for start, part in enumerate(_parts(dataset, split, folder, model)):
                advance(min(_PART, dataset.rows(split) - start * _PART))
                parts.append(part)
            found[split] = Predicted(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return found


def points_of(
    dataset: Dataset, model: PointModel | None, splits: Iterable[str]
) -> tuple[dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]], dict[str, str]]:
    """The points of some splits' rows, with their distances as `Predicted` has them, and what found them.

    Without a model they are the data set's own, which have no such distances. What found them is told by `name`,
    `digest` and `limits`. Raises MienError for a data set without points of its own.
    """
    if model is None:
        own = {split: (stored_points(dataset, split), None) for split in splits}
        return dict(own), {"name": "stored", "digest": "", "limits": ""}
    about = {"name": model.name, "digest": model.digest, "limits": model.limits}
    return dict(predict_points(dataset, model, splits)), about


def _parts(dataset: Dataset, split: str, folder: Path, model: PointModel) -> Iterator[Predicted]:
    rows = dataset.rows(split)
    files, ids, passed = dataset.images(split), dataset.ids(split), 0
    for start in range(0, rows, _PART):
        path = folder / f"{split}-{start // _PART:05d}.npz"
        count = min(_PART, rows - start)
        part = _read(path, count)
        if part is None:
            data = list(islice(files, start - passed, start - passed + count))
            passed = start + count
            part = _predict(data, model, [f"row '{id_}' of {split}" for id_ in ids[start:passed]])
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, points=part.points, mirror=part.mirror)
        yield part


def _read(path: Path, count: int) -> Predicted | None:
    if not path.exists():
        return None
    try:
        file = read_arrays(path)
        part = Predicted(file["points"], file["mirror"])
    except (FailedError, KeyError):  # A damaged part is made anew.
        return None
    right = part.points.shape == (count, POINTS, 2) and part.mirror.shape == (count,)
    return part if right and part.points.dtype == part.mirror.dtype == np.float32 else None


def _predict(files: list[bytes], model: PointModel, names: list[str]) -> Predicted:
    found = []
    for images in decoded(files, names):
        points = np.asarray(model.points(images), dtype=np.float32)
        mirrored = np.asarray(model.points([np.ascontiguousarray(one[:, ::-1]) for one in images]), dtype=np.float32)
        back = mirrored_back(mirrored, np.array([one.shape[1] for one in images]))
        found.append(Predicted(points, mirror_distance(points, back).astype(np.float32)))
    return Predicted(*(np.concatenate(column) for column in zip(*found, strict=True)))


def decoded(files: Sequence[bytes], names: Sequence[str]) -> Iterator[list[Pixels]]:
    """The pixels of image files, as `pixels_of` gives them, some at a time: 64, or fewer when they are large.

    An error for a file that doesn't decode begins with its name.
    """
    batch: list[Pixels] = []
    for pixels in ordered_map(_pixels, zip(files, names, strict=True)):
        batch.append(pixels)
        if len(batch) == _BATCH or sum(one.nbytes for one in batch) >= _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _pixels(file: tuple[bytes, str]) -> Pixels:
    data, name = file
    try:
        return pixels_of(data)
    except MienError as error:
        raise MienError(f"{name}: {error.message}", expected=error.expected) from error
