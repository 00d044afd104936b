"""What every explanation gets: a trained model, the rows of one role, and what the model says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.data.dataset import Dataset
from mien.data.labels import LabelScheme
from mien.errors import MienError
from mien.evaluation.expression import read_classes
from mien.evaluation.request import open_role, predict
from mien.inference.network import Network, TorchBackend
from mien.protocols import Role, Roles
from mien.protocols.batches import Samples, load
from mien.protocols.roles import masks
from mien.runs.predictions import read_predictions
from mien.runs.run import Run
from mien.tasks import EXPRESSION


@dataclass(frozen=True)
class Context:
    """A finished run with a model in eval mode, and the n rows of a role that it is explained on.

    `split` names the rows' splits as one text ("Training + PrivateTest"); row i is `splits[i]`, `ids[i]`, the two
    together are unique. `images` are uint8 (n, c, s, s) as the decoded cache gives them at the run's size and colour;
    `labels` int64 (n,) and `logits` float32 (n, k) are under the scheme `names`. `device` is where the network is.
    """

    run: Run
    network: Network
    temperature: float | None
    dataset: Dataset
    roles: Roles
    role: Role
    split: str
    splits: tuple[str, ...]
    ids: tuple[str, ...]
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    names: LabelScheme
    device: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Split and id of each row."""
        return list(zip(self.splits, self.ids, strict=True))

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The class with the highest logit for each row, int64 (n,); of equal ones the first."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    def inputs(self, index: Sequence[int] | npt.NDArray[np.int64] | slice) -> Tensor:
        """Some rows' images as the model takes them, after `preprocess`: float32 (m, channels, side, side)."""
        return self.network.inputs(self.pixels(self.images[index]))

    def pixels(self, images: npt.NDArray[Any]) -> Tensor:
        """Images (m, c, s, s) where the network is, in channels-last memory."""
        return torch.from_numpy(np.ascontiguousarray(images)).to(self.device, memory_format=torch.channels_last)

    @property
    def about(self) -> dict[str, object]:
        """What a result says of its rows: run, seeds, data set, protocol, split, role, n, the share it was fit on."""
        return {
            "run": self.run.name,
            "seeds": [self.run.experiment.train.seed],
            "dataset": self.dataset.card.name,
            "protocol": self.run.experiment.protocol.called,
            "split": self.split,
            "role": self.role,
            "n": len(self),
            "contaminated": self.contaminated,
        }

    @property
    def contaminated(self) -> float:
        """The share of the rows that the model was fit on, by split and id; what is said of them says it too."""
        fit = masks(self.dataset, self.roles.fit)
        known = {
            split: {id_ for id_, here in zip(self.dataset.ids(split), fit[split], strict=True) if here}
            for split in dict.fromkeys(self.splits)
            if split in fit
        }
        return sum(id_ in known.get(split, ()) for split, id_ in self.rows) / len(self)


def open_context(run: Run, role: Role = "choose", command: Sequence[str] = ()) -> Context:
    """The model of a finished run and the rows of a role; opening the report role is written into the ledger.

    Logits are those that the run's evaluation stored of these rows, else they are computed. Raises MienError for a run
    without weights, on points, or whose data set has changed.
    """
    if not run.experiment.task.classes:
        raise MienError(
            f"run {run.name} finds {run.experiment.task.gives} and no classes",
            file=str(run.folder),
            expected=f"a run whose task is {EXPRESSION}",
        )
    opened = open_role(run.workspace, run, role, read_classes, command=command)
    model, samples = opened.model, opened.samples[0]
    # Explanations listen to layers and follow gradients, which torch alone can do.
    backend = cast(TorchBackend, model.backend)
    rows = split_and_id(samples)
    logits = _stored(run.predictions(role), rows, model.scheme)
    if logits is None:
        logits = predict(model, samples, f"{run.name} on {opened.request.splits}")
    return Context(
        run=run,
        network=backend.network,
        temperature=model.temperature,
        dataset=opened.own,
        roles=opened.roles,
        role=role,
        split=opened.request.splits,
        splits=tuple(split for split, _ in rows),
        ids=tuple(id_ for _, id_ in rows),
        images=samples.images(np.arange(len(samples))).transpose(0, 3, 1, 2),
        labels=samples.labels,
        logits=logits,
        names=model.scheme,
        device=backend.device,
    )


def fit_samples(context: Context) -> Samples:
    """The rows that the model was fit on, as they stand in the cache."""
    section = context.run.experiment.dataset
    return load(context.dataset, context.roles.fit, section.size, section.color, context.names)


def split_and_id(samples: Samples) -> list[tuple[str, str]]:
    """Split and id of each row of some samples."""
    return [(samples.splits[part], str(id_)) for part, id_ in zip(samples.part, samples.ids, strict=True)]


def _stored(file: Path, rows: list[tuple[str, str]], names: LabelScheme) -> npt.NDArray[np.float32] | None:
    """The logits of a file of predictions where they are of these rows, float32 (n, k), else None."""
    if not file.is_file():
        return None
    found = read_predictions(file)
    if found.classes != names.classes or found.rows != rows:
        return None
    return np.asarray(found.logits, dtype=np.float32)
