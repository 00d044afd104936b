"""The rows of a role as batches: which order, which pixels, which labels. All training and evaluation reads these."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mien.cache import pixels
from mien.dataset import Dataset
from mien.errors import MienError
from mien.images import Color
from mien.labels import FERPLUS_VOTES, LabelScheme, canonical
from mien.protocols import Part


class Batch(NamedTuple):
    """One batch: uint8 images (n, c, h, w) in channels-last memory, int64 labels (n,), float32 votes (n, classes).

    `votes` sum to 1 in each row; without votes they are of shape (n, 0). `rows` are positions in the role, int64 (n,).
    """

    images: torch.Tensor
    labels: torch.Tensor
    votes: torch.Tensor
    rows: torch.Tensor


@dataclass(frozen=True)
class Samples:
    """All rows of a role: memory-mapped pixels by split, and for each row its place, id, label and votes.

    `pixels` are uint8 (rows of the split, h, w, c); row i of the role is `pixels[part[i]][place[i]]`.
    """

    pixels: tuple[npt.NDArray[np.uint8], ...]
    splits: tuple[str, ...]
    part: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    ids: npt.NDArray[np.object_]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32]

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

    def batch(self, rows: npt.NDArray[np.int64]) -> Batch:
        """Some rows as a batch."""
        return Batch(
            torch.from_numpy(self.images(rows)).permute(0, 3, 1, 2),
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(self.votes[rows]),
            torch.from_numpy(rows),
        )


class Batches:
    """Batches of a role's rows in a given order; the last one may be smaller. Iterates anew each time."""

    def __init__(self, samples: Samples, batch_size: int, order: npt.NDArray[np.int64]) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.order = order

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.order), self.batch_size):
            yield self.samples.batch(self.order[start : start + self.batch_size])


def load(
    dataset: Dataset,
    parts: Iterable[Part],
    size: int,
    color: Color,
    scheme: LabelScheme,
    votes: bool = False,
) -> Samples:
    """The rows of some parts, labels turned into `scheme` by the names of the classes.

    Rows of a class that `scheme` doesn't have are left out. With `votes`, each row's rater votes become a
    distribution over the scheme's classes (a row that nobody voted one of them keeps its label).
    Only the named splits are opened.
    """
    to = np.array([-1 if index is None else index for index in dataset.card.scheme.to(scheme)])
    images, names, part, place, ids, labels, ballots = [], [], [], [], [], [], []
    for number, one in enumerate(parts):
        columns = ["id", "label", *(["votes"] if votes else [])]
        if votes:
            check_votes(dataset)
        table = dataset.table(one.split, columns)
        own = to[np.asarray(table["label"], dtype=np.int64)]
        rows = np.arange(len(own)) if one.index is None else one.index
        rows = rows[own[rows] >= 0]
        images.append(pixels(dataset, one.split, size, color))
        names.append(one.split)
        part.append(np.full(len(rows), number))
        place.append(rows)
        ids.append(np.array(table["id"].to_pylist(), dtype=object)[rows])
        labels.append(own[rows])
        if votes:
            counts = np.array(table["votes"].to_pylist(), dtype=np.float32)[rows]
            ballots.append(vote_distribution(counts, own[rows], scheme))
        else:
            ballots.append(np.empty((len(rows), 0), np.float32))
    return Samples(
        tuple(images),
        tuple(names),
        np.concatenate(part),
        np.concatenate(place),
        np.concatenate(ids),
        np.concatenate(labels),
        np.concatenate(ballots),
    )


def check_votes(dataset: Dataset) -> None:
    """An error where a data set has no rater votes."""
    if "votes" not in dataset.card.columns:
        raise MienError(
            f"data set '{dataset.card.name}' has no rater votes",
            key="loss",
            expected="a loss on labels, or a data set imported with --votes",
        )


def vote_distribution(
    counts: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], scheme: LabelScheme
) -> npt.NDArray[np.float32]:
    """FER+ vote counts (n, 10) as a distribution over a scheme's classes, float32 (n, classes), rows summing to 1.

    Votes for what the scheme lacks (contempt in FER2013's, 'unknown', 'not a face') are dropped; a row without any
    other vote is one-hot at its label.
    """
    column = {canonical(name): i for i, name in enumerate(FERPLUS_VOTES)}
    chosen = np.zeros((len(counts), len(scheme)), np.float32)
    for index, name in enumerate(scheme.classes):
        if canonical(name) in column:
            chosen[:, index] = counts[:, column[canonical(name)]]
    empty = chosen.sum(axis=1) == 0
    chosen[empty, labels[empty]] = 1
    chosen /= chosen.sum(axis=1, keepdims=True)
    return chosen


def epoch_order(rows: int, shuffle: bool, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of a role's rows in one epoch (from 0): as they stand, or a permutation by (seed, epoch).

    >>> epoch_order(4, shuffle=False, seed=0, epoch=0).tolist()
    [0, 1, 2, 3]
    """
    if not shuffle:
        return np.arange(rows)
    return np.random.default_rng([seed, epoch]).permutation(rows)


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of all randomness inside one training step, from (seed, epoch, step), 0 … 2**63 − 1."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
