"""From the experiment to its parts: the one place that knows both, so that the parts stay plain."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mien.augment import Pipeline
from mien.batches import Samples, load
from mien.dataset import Dataset
from mien.errors import MienError, nearest
from mien.experiment import Experiment, problem_at
from mien.labels import FER2013, SCHEMES, LabelScheme, scheme
from mien.models.summary import Summary, summarize
from mien.optimizers import Factor
from mien.protocols import ROLES, Role, Roles, row_count
from mien.registry import Component, build, entry


@dataclass(frozen=True)
class Check:
    """What `mien check` shows: the model, and the rows of each role where the data set is there."""

    summary: Summary
    scheme: LabelScheme
    rows: dict[Role, int] | None


def check(experiment: Experiment, dataset: Dataset | None) -> Check:
    """Build every part of an experiment once, without training; raises MienError for the first that can't be built.

    Without the data set its label scheme is taken to be what the file names, else FER2013's.
    """
    names = scheme_for(experiment, dataset)
    channels, size = input_shape(experiment)
    model = build_model(experiment, names)
    summary = summarize(model, channels, size)
    if summary.output_shape != (len(names),):
        raise MienError(
            f"the model gives outputs of shape {summary.output_shape}", key="model", expected=f"({len(names)},)"
        )
    build_pipeline(experiment.augment)
    rows = None
    counts = [1] * len(names)
    if dataset is not None:
        roles = build_roles(experiment, dataset)
        rows = {role: row_count(dataset, roles.of(role)) for role in ROLES}
        counts = fit_counts(dataset, roles, names)
    build_loss(experiment, counts)
    steps = -(-(rows["fit"] if rows else 1000) // experiment.train.batch_size)
    build_optimizer(experiment, model)
    build_schedule(experiment, steps)
    return Check(summary, names, rows)


def located(error: MienError, file: Path, overrides: Sequence[str]) -> MienError:
    """An error of building, with the file and line of the key that it names."""
    return error if error.file or not error.key else problem_at(file, overrides, error.key, error)


def scheme_for(experiment: Experiment, dataset: Dataset | None) -> LabelScheme:
    """The label scheme of an experiment: the one that it names, else the data set's own."""
    wanted = experiment.dataset.labels
    if dataset is not None and wanted in (None, dataset.card.labels):
        return dataset.card.scheme
    if wanted is None:
        return FER2013
    if wanted not in SCHEMES:
        known = [*SCHEMES, *([dataset.card.labels] if dataset else [])]
        raise MienError(
            f"no label scheme is called '{wanted}'",
            key="dataset.labels",
            expected="one of " + ", ".join(known),
            nearest=nearest(wanted, known),
        )
    return scheme(wanted)


def build_roles(experiment: Experiment, dataset: Dataset) -> Roles:
    """The rows of each role under the experiment's protocol."""
    roles: Roles = build("protocol", experiment.protocol, dataset=dataset)
    return roles


def build_samples(experiment: Experiment, dataset: Dataset, roles: Roles, role: Role, names: LabelScheme) -> Samples:
    """The rows of one role as the experiment wants them; opens no other role's."""
    section = experiment.dataset
    votes = wants_votes(experiment) and role != "report"
    samples = load(dataset, roles.of(role), section.size, section.color, names, votes=votes)
    if len(samples) == 0:
        raise MienError(f"the {role} role has no rows", key="protocol")
    return samples


def build_pipeline(ops: Sequence[Component]) -> Pipeline:
    """The ops of a list, in order."""
    return Pipeline([build("op", op) for op in ops])


def input_shape(experiment: Experiment) -> tuple[int, int]:
    """Channels and size of what reaches the model, after `preprocess`."""
    section = experiment.dataset
    channels = 1 if section.color == "gray" else 3
    preprocess = build_pipeline(experiment.preprocess)
    channels, height, width = preprocess.output_shape((channels, section.size, section.size))
    if height != width:
        raise MienError(f"preprocess gives images of {width} × {height}", key="preprocess", expected="square ones")
    return channels, height


def build_model(experiment: Experiment, names: LabelScheme) -> nn.Module:
    """The model with weights drawn by the experiment's seed, in channels-last memory."""
    channels, size = input_shape(experiment)
    torch.manual_seed(experiment.train.seed)
    model: nn.Module = build("model", experiment.model, in_channels=channels, image_size=size, num_classes=len(names))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def build_loss(experiment: Experiment, class_counts: list[int]) -> nn.Module:
    """The loss; `class_counts` are the fit rows of each class."""
    loss: nn.Module = build("loss", experiment.loss, num_classes=len(class_counts), class_counts=class_counts)
    return loss


def wants_votes(experiment: Experiment) -> bool:
    """Whether the loss is on raters' votes instead of labels."""
    return getattr(entry("loss", experiment.loss.called).build, "targets", "label") == "votes"


def build_optimizer(experiment: Experiment, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all of the model's parameters."""
    optimizer: torch.optim.Optimizer = build("optimizer", experiment.optimizer, parameters=model.parameters())
    return optimizer


def build_schedule(experiment: Experiment, steps_per_epoch: int) -> Factor:
    """The factor on the learning rate, by step."""
    total = steps_per_epoch * experiment.train.epochs
    factor: Factor = build("schedule", experiment.schedule, steps_per_epoch=steps_per_epoch, total_steps=total)
    return factor


def fit_counts(dataset: Dataset, roles: Roles, names: LabelScheme) -> list[int]:
    """The number of fit rows of each class of a scheme."""
    counts = np.zeros(len(names), dtype=int)
    to: list[Any] = list(dataset.card.scheme.to(names))
    for part in roles.fit:
        labels = dataset.labels(part.split)
        for label in labels if part.index is None else labels[part.index]:
            if to[label] is not None:
                counts[to[label]] += 1
    return [int(count) for count in counts]
