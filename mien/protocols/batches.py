"""The rows of a role as batches, in order, with pixels and labels. All training and evaluation reads these."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mien.data.cache import Ask, asked_ahead, pixels
from mien.data.dataset import Dataset
from mien.data.framing import faces
from mien.data.labels import LabelScheme
from mien.data.votes import labels_under, read_votes, vote_distribution
from mien.faces.squares import Frame
from mien.images import Color
from mien.protocols import Part

# The batch size for everything but training.
EVALUATION_BATCH = 256


class Batch(NamedTuple):
    """One batch: uint8 images (n, c, h, w) in channels-last memory, int64 labels (n,), float32 votes (n, classes).

    `votes` sum to 1 in each row; without votes they are of shape (n, 0). `points` are float32 (n, 68, 2), pixel centres
    from 0 of the batch's images; without points (n, 0, 2). `values` are other numbers of a row, float32 (n, k), without
    any (n, 0). `rows` are positions in the role, int64 (n,).
    """

    images: torch.Tensor
    labels: torch.Tensor
    votes: torch.Tensor
    points: torch.Tensor
    values: torch.Tensor
    rows: torch.Tensor


@dataclass(frozen=True)
class Samples:
    """All rows of a role: memory-mapped pixels by split, and for each row its place, id, label, and what `Batch` names.

    `pixels` are uint8 (rows of the split, h, w, c); row i of the role is `pixels[part[i]][place[i]]`.
    """

    pixels: tuple[npt.NDArray[np.uint8], ...]
    splits: tuple[str, ...]
    part: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    ids: npt.NDArray[np.object_]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The pixels of some rows, uint8 (n, h, w, c)."""
        if len(self.pixels) == 1:
            return self.pixels[0][self.place[rows]]
        out = np.empty((len(rows), *self.pixels[0].shape[1:]), np.uint8)
        for number, images in enumerate(self.pixels):
            here = self.part[rows] == number
            out[here] = images[self.place[rows[here]]]
        return out

    def announce(self, rows: npt.NDArray[np.int64], ask: Ask) -> None:
        """Say, by what `cache.asked_ahead` gives, that the pixels of some rows will be read."""
        for number in range(len(self.pixels)):
            ask(number, self.place[rows[self.part[rows] == number]])

    def batch(self, rows: npt.NDArray[np.int64], pixels: bool = True) -> Batch:
        """Some rows as a batch; without `pixels` its images are of shape (n, 0)."""
        return Batch(
            torch.from_numpy(self.images(rows)).permute(0, 3, 1, 2) if pixels else torch.empty(len(rows), 0),
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(self.votes[rows]),
            torch.from_numpy(self.points[rows]),
            torch.from_numpy(self.values[rows]),
            torch.from_numpy(rows),
        )


class Batches:
    """Batches of a role's rows in a given order; the last one may be smaller. Iterates anew each time.

    With `steps` there are so many, and the last one has all the rows that are left.
    """

    def __init__(
        self, samples: Samples, batch_size: int, order: npt.NDArray[np.int64], steps: int | None = None
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.order = order
        self.steps = -(-len(order) // batch_size) if steps is None else steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        with asked_ahead(self.samples.pixels) as ask:
            asked = 0
            for step in range(self.steps):
                # While a batch is worked on, the disk brings the next one.
                while asked < min(step + 2, self.steps):
                    self.samples.announce(self._rows(asked), ask)
                    asked += 1
                yield self.samples.batch(self._rows(step))

    def _rows(self, step: int) -> npt.NDArray[np.int64]:
        end = None if step == self.steps - 1 else (step + 1) * self.batch_size
        return self.order[step * self.batch_size : end]


def training_steps(rows: int, batch_size: int) -> int:
    """The number of batches that a training makes of some rows; a single row at the end joins the batch before it.

    Batch norm has no statistics of one row.

    >>> training_steps(320, 64), training_steps(320, 319), training_steps(320, 318), training_steps(1, 64)
    (5, 1, 2, 1)
    """
    steps = -(-rows // batch_size)
    return steps - 1 if rows > batch_size > 1 and rows % batch_size == 1 else steps


def load(
    dataset: Dataset,
    parts: Iterable[Part],
    size: int,
    color: Color,
    scheme: LabelScheme,
    votes: bool = False,
    columns: Sequence[str] = (),
) -> Samples:
    """The rows of some parts with their labels under `scheme`; rows that have none under it are left out.

    `mien.data.votes.labels_under` says which label that is. With `votes`, each row's rater votes become a
    distribution over the scheme's classes (a row that nobody voted one of them keeps its label). `columns` of numbers
    become the rows' values. Only the named splits are opened.
    """

    def read(split: str) -> _Split:
        labels, _ = labels_under(dataset, split, scheme)
        return pixels(dataset, split, size, color), labels, np.empty((len(labels), 0, 2), np.float32)

    samples = _gather(dataset, parts, read)
    by_split = [(split, samples.part == number) for number, split in enumerate(samples.splits)]
    if columns:
        values = [_numbers(dataset, split, columns)[samples.place[here]] for split, here in by_split]
        samples = replace(samples, values=np.concatenate(values))
    if not votes:
        return samples
    ballots = [
        vote_distribution(read_votes(dataset, split)[samples.place[here]], samples.labels[here], scheme)
        for split, here in by_split
    ]
    return replace(samples, votes=np.concatenate(ballots))


def _numbers(dataset: Dataset, split: str, columns: Sequence[str]) -> npt.NDArray[np.float32]:
    """Columns of a split as float32 (rows, columns)."""
    found = dataset.table(split, ["id", *columns])
    flat = [found[name].to_numpy() for name in columns]
    return np.stack(flat, axis=1).astype(np.float32) if flat else np.empty((len(found), 0), np.float32)


def load_faces(dataset: Dataset, parts: Iterable[Part], size: int, color: Color, frame: Frame) -> Samples:
    """The rows of some parts as faces with their points, as `mien.data.framing.faces` frames them; labels as stored."""

    def read(split: str) -> _Split:
        images, points = faces(dataset, split, size, color, frame)
        return images, dataset.labels(split), points

    return _gather(dataset, parts, read)


# Of all rows of a split: pixels, labels (below 0 for a row to be left out) and points.
_Split = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.float32]]


def _gather(dataset: Dataset, parts: Iterable[Part], read: Callable[[str], _Split]) -> Samples:
    images, names, part, place, ids, labels, points = [], [], [], [], [], [], []
    for number, one in enumerate(parts):
        shown, given, marked = read(one.split)
        rows = np.arange(len(given)) if one.index is None else one.index
        rows = rows[given[rows] >= 0]
        images.append(shown)
        names.append(one.split)
        part.append(np.full(len(rows), number))
        place.append(rows)
        ids.append(np.array(dataset.ids(one.split), dtype=object)[rows])
        labels.append(given[rows])
        points.append(marked[rows])
    return Samples(
        tuple(images),
        tuple(names),
        np.concatenate(part),
        np.concatenate(place),
        np.concatenate(ids),
        np.concatenate(labels),
        np.empty((sum(map(len, labels)), 0), np.float32),
        np.concatenate(points),
        np.empty((sum(map(len, labels)), 0), np.float32),
    )


def epoch_order(rows: int, shuffle: bool, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of a role's rows in one epoch (from 0): as they stand, or a permutation by (seed, epoch).

    >>> epoch_order(4, shuffle=False, seed=0, epoch=0).tolist()
    [0, 1, 2, 3]
    """
    if not shuffle:
        return np.arange(rows)
    return np.random.default_rng([seed, epoch]).permutation(rows)


def step_seed(seed: int, epoch: int, step: int, *part: int) -> int:
    """The seed of all randomness inside one training step, or a part of it, from (seed, epoch, step), 0 … 2**63 − 1."""
    return int(np.random.SeedSequence([seed, epoch, step, *part]).generate_state(1, np.uint64)[0] >> np.uint64(1))
