"""What every explanation gets: a trained model, the rows of one role, and what the model says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien import environment
from mien.data.dataset import Dataset
from mien.data.labels import LabelScheme
from mien.errors import MienError
from mien.evaluation.expression import predict
from mien.evaluation.request import ask, own_dataset, own_roles, own_weights, record
from mien.inference.weights import Trained
from mien.protocols import Role, Roles
from mien.protocols.batches import Samples, load
from mien.protocols.roles import masks
from mien.runs.predictions import read_predictions
from mien.runs.run import Run
from mien.tasks import EXPRESSION
from mien.workspace import Workspace


@dataclass(frozen=True)
class Subject:
    """A finished run with a model in eval mode, and the n rows of a role that it is explained on.

    `split` names the rows' splits as one text ("Training + PrivateTest"); row i is `splits[i]`, `ids[i]`, the two
    together are unique. `images` are uint8 (n, c, s, s) as the decoded cache gives them at the run's size and colour;
    `labels` int64 (n,) and `logits` float32 (n, k) are under the scheme `names`. `device` is where the model is.
    """

    run: Run
    trained: Trained
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
        return prepare(self.trained, self.images[index], self.device)

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


def prepare(trained: Trained, images: npt.NDArray[np.uint8], device: str) -> Tensor:
    """Images uint8 (m, c, s, s) as the model takes them: float32 (m, channels, side, side), in channels-last memory.

    An explanation that changes pixels (blurs, covers them) changes them before this.
    """
    plain = torch.from_numpy(np.ascontiguousarray(images)).to(device, torch.float32, memory_format=torch.channels_last)
    ready, _ = trained.preprocess(plain)
    return ready.contiguous(memory_format=torch.channels_last)


def open_subject(run: Run, role: Role = "choose", command: Sequence[str] = ()) -> Subject:
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
    workspace = Workspace(run.folder.parents[2])
    device = environment.device("auto")
    trained = own_weights(run, device)
    dataset = own_dataset(workspace, run)
    roles = own_roles(run, dataset)
    asked = ask(workspace, run, dataset, roles, role, None, None)
    section = run.experiment.dataset
    samples = load(dataset, asked.parts, section.size, section.color, trained.names)
    if len(samples) == 0:
        raise MienError(f"the {role} role has no rows", key="protocol")
    if role == "report":
        record(workspace, run, asked, len(samples), command)
    rows = split_and_id(samples)
    logits = _stored(run.predictions(role), rows, trained.names)
    if logits is None:
        logits = predict(trained, samples, device, f"{run.name} on {asked.splits}")
    return Subject(
        run=run,
        trained=trained,
        dataset=dataset,
        roles=roles,
        role=role,
        split=asked.splits,
        splits=tuple(split for split, _ in rows),
        ids=tuple(id_ for _, id_ in rows),
        images=samples.images(np.arange(len(samples))).transpose(0, 3, 1, 2),
        labels=samples.labels,
        logits=logits,
        names=trained.names,
        device=device,
    )


def fit_samples(subject: Subject) -> Samples:
    """The rows that the subject's model was fit on, as they stand in the cache."""
    section = subject.run.experiment.dataset
    return load(subject.dataset, subject.roles.fit, section.size, section.color, subject.names)


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
