"""Builds the parts of an experiment; the only module that knows both, so that parts need not know the experiment."""

import contextlib
import importlib.util
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mien import environment
from mien.augment import Pipeline, Seen
from mien.data.dataset import Dataset
from mien.data.labels import FER2013, SCHEMES, LabelScheme, scheme_named
from mien.data.votes import by_majority, labels_under
from mien.errors import MienError, reason, unknown
from mien.experiment.problems import problem_at
from mien.experiment.schema import Experiment, TrainSection
from mien.images import Pixels
from mien.models.layers import freeze as freeze_layers
from mien.models.layers import last_layer, under
from mien.models.summary import Summary, summarize
from mien.optimizers import Factor
from mien.protocols import ROLES, Part, Role, Roles, without
from mien.protocols.batches import Samples, step_seed, training_steps
from mien.registry import Component, build
from mien.tasks.base import targets_of


@dataclass(frozen=True)
class Check:
    """What `mien check` shows: the model, and the rows of each role where the data set is there.

    `frozen` is the number of parameters that don't learn. `left_out` counts the rows of each role that have no label
    under the scheme, by reason.
    """

    summary: Summary
    frozen: int
    scheme: LabelScheme
    rows: dict[Role, int] | None
    left_out: dict[Role, dict[str, int]] | None


def check(experiment: Experiment, dataset: Dataset | None) -> Check:
    """Build every part of an experiment once, without training; MienError for the first part that can't be built.

    Without the data set, the label scheme is the one that the file names, else FER2013's.
    """
    names = scheme_for(experiment, dataset)
    channels, size = input_shape(experiment)
    model = build_model(experiment, names)
    with _at("model"):
        summary = summarize(model, channels, size)
        if summary.output_shape != (number := experiment.task.outputs(names),):
            raise MienError(
                f"the model gives outputs of shape {summary.output_shape}",
                expected=f"({number},), {experiment.task.outputs_in_words(names)}",
            )
    section = experiment.dataset
    shape = (1 if section.color == "gray" else 3, section.size, section.size)
    room = experiment.task.room * section.size
    if (changed := _shape_after(experiment.augment, "augment", (shape[0], room, room))) != shape:
        raise MienError(
            f"augment makes {_size(changed)} of {_size(shape)}",
            key="augment",
            expected="what changes shapes in preprocess",
        )
    counts = {role: [1] * len(names) for role in ROLES}
    without = None
    if dataset is not None:
        roles = build_roles(experiment, dataset)
        counts = {role: class_counts(dataset, roles.of(role), names) for role in ROLES}
        for role in ROLES:
            if sum(counts[role]) == 0:
                raise MienError(f"the {role} role has no rows", key="protocol")
        without = {role: left_out(dataset, roles.of(role), names) for role in ROLES}
    build_loss(experiment, counts["fit"])
    # Without the data set, assume enough rows that no warm-up rounds to the whole training.
    fit = sum(counts["fit"]) if dataset is not None else 1000 * experiment.train.batch_size
    steps = training_steps(fit, experiment.train.batch_size)
    if min(fit, experiment.train.batch_size) == 1:
        _check_single(model, (channels, size, size), fit)
    freeze(experiment, model)
    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    build_optimizer(experiment, model)
    build_schedule(experiment, steps)
    check_devices(experiment.train)
    if experiment.train.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise MienError(
            "TensorBoard isn't installed", key="train.tensorboard", expected="pip install 'mien[tensorboard]'"
        )
    rows = {role: sum(counts[role]) for role in ROLES} if dataset is not None else None
    return Check(summary, frozen, names, rows, without)


def check_devices(section: TrainSection) -> None:
    """Raise MienError unless this machine has the devices of a training, and each of them gets a row of every batch."""
    environment.check_devices(section.devices, environment.device(section.device))
    number = section.devices * section.nodes
    if section.batch_size < number:
        raise MienError(
            f"{number} devices can't share a batch of {section.batch_size} rows",
            key="train.batch_size",
            expected=f"at least {number}; batch_size is that of all devices together",
        )


def _check_single(model: nn.Module, shape: tuple[int, int, int], rows: int) -> None:
    """MienError where a model can't be trained on an image at a time, as batch norm can't on maps of 1 × 1."""
    try:
        with torch.no_grad():
            model.train()(torch.zeros(1, *shape))
    except ValueError as error:
        given = "the fit role has one row" if rows == 1 else "each batch has one row"
        raise MienError(
            f"{given}, and this model can't learn from a single one ({reason(error)})",
            key="train.batch_size",
            expected="at least 2 rows, since batch norm needs more than one value of each channel",
        ) from error


@contextlib.contextmanager
def _at(key: str) -> Iterator[None]:
    """Give errors the key at which they arise, unless they have one."""
    try:
        yield
    except MienError as error:
        error.key = error.key or key
        raise


def located(error: MienError, file: Path, overrides: Sequence[str]) -> MienError:
    """An error of building, with the file and line of its key."""
    return error if error.file or not error.key else problem_at(file, overrides, error.key, error)


def scheme_for(experiment: Experiment, dataset: Dataset | None) -> LabelScheme:
    """The label scheme of an experiment: the one that it names, else the data set's own, which has to fit the task."""
    wanted = experiment.dataset.labels
    if dataset is not None:
        experiment.task.check_data(dataset, _targets(experiment))
    if dataset is not None and wanted in (None, dataset.card.labels):
        return dataset.card.scheme
    if wanted is None:
        return FER2013
    if wanted not in SCHEMES:
        known = list(dict.fromkeys([*SCHEMES, *([dataset.card.labels] if dataset else [])]))
        raise unknown(f"no label scheme is called '{wanted}'", wanted, known, key="dataset.labels")
    return scheme_named(wanted)


def _targets(experiment: Experiment) -> str:
    """What the rows of an experiment must come with."""
    return "votes" if experiment.train.votes is not None else targets_of(experiment.loss)


def build_roles(experiment: Experiment, dataset: Dataset) -> Roles:
    """The rows of each role under the experiment's protocol, without the fit and choose rows that it excludes."""
    return _roles(experiment, dataset)[0]


def excluded(experiment: Experiment, dataset: Dataset) -> dict[str, dict[str, int]]:
    """How many fit and choose rows the experiment excludes, by flag, and in all as `rows`; {} without flags."""
    return _roles(experiment, dataset)[1]


def _roles(experiment: Experiment, dataset: Dataset) -> tuple[Roles, dict[str, dict[str, int]]]:
    with _at("protocol"):
        roles: Roles = build("protocol", experiment.protocol, dataset=dataset)
    return without(dataset, roles, experiment.exclude)


def build_samples(experiment: Experiment, dataset: Dataset, roles: Roles, role: Role, names: LabelScheme) -> Samples:
    """The rows of one role with the experiment's pixels and labels; opens no other role's rows."""
    section, targets = experiment.dataset, _targets(experiment)
    samples = experiment.task.samples(dataset, roles.of(role), role, section.size, section.color, names, targets)
    if len(samples) == 0:
        raise MienError(f"the {role} role has no rows", key="protocol")
    return samples


def build_pipeline(ops: Sequence[Component]) -> Pipeline:
    """The ops of a list, in order."""
    return Pipeline([build("op", op) for op in ops])


def build_augment(experiment: Experiment) -> Callable[[Pixels, int], Pixels]:
    """What an experiment's augmentation makes of faces, uint8 (n, h, w, c), in the first step of an epoch (from 0)."""
    pipeline = build_pipeline(experiment.augment)

    def augment(faces: Pixels, epoch: int) -> Pixels:
        torch.manual_seed(step_seed(experiment.train.seed, epoch, 0))
        seen = Seen(torch.arange(len(faces)), epoch, experiment.train.seed)
        changed, _ = pipeline(torch.from_numpy(faces).permute(0, 3, 1, 2).float(), seen=seen)
        return np.asarray(changed.clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy())

    return augment


def input_shape(experiment: Experiment) -> tuple[int, int]:
    """Channels and size of the model's input, after `preprocess`."""
    section = experiment.dataset
    channels = 1 if section.color == "gray" else 3
    after = _shape_after(experiment.preprocess, "preprocess", (channels, section.size, section.size))
    if after[1] != after[2]:
        raise MienError(f"preprocess gives {_size(after)}", key="preprocess", expected="square images")
    return after[0], after[1]


def _shape_after(ops: Sequence[Component], key: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    with _at(key):
        pipeline = build_pipeline(ops)
        try:
            return pipeline.output_shape(shape)
        except MienError:
            raise
        except Exception as error:
            raise MienError(f"an op fails on {_size(shape)} ({reason(error)})") from error


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{'gray' if channels == 1 else 'colour'} images of {width} × {height}"


def build_model(experiment: Experiment, names: LabelScheme) -> nn.Module:
    """The model with weights drawn by the experiment's seed, in channels-last memory."""
    channels, size = input_shape(experiment)
    torch.manual_seed(experiment.train.seed)
    with _at("model"):
        model: nn.Module = build(
            "model", experiment.model, in_channels=channels, image_size=size, num_classes=experiment.task.outputs(names)
        )
        if not isinstance(model, nn.Module) or "_modules" not in vars(model):
            raise MienError(
                f"{experiment.model.entry} is no torch.nn.Module, or its __init__ doesn't call super().__init__()"
            )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def build_loss(experiment: Experiment, class_counts: list[int]) -> nn.Module:
    """The loss; `class_counts` are the fit rows of each class."""
    with _at("loss"):
        loss: nn.Module = build("loss", experiment.loss, num_classes=len(class_counts), class_counts=class_counts)
    return loss


def freeze(experiment: Experiment, model: nn.Module) -> list[nn.Module]:
    """Make what `model.freeze` names learn no more; gives its batch norms, which a training keeps in eval mode."""
    with _at("model.freeze"):
        return freeze_layers(model, experiment.model.shared("freeze"))


def build_optimizer(experiment: Experiment, model: nn.Module, *heads: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all parameters of a model that learn, and of further heads.

    The learning rates of all but the last layers are multiplied by `optimizer.body`.
    """
    parameters = [
        parameter for module in (model, *heads) for parameter in module.parameters() if parameter.requires_grad
    ]
    with _at("optimizer"):
        optimizer: torch.optim.Optimizer = build("optimizer", experiment.optimizer, parameters=parameters)
        body = experiment.optimizer.shared("body")
        if body != 1:
            last = last_layer(model)
            slow = {id(parameter) for name, parameter in model.named_parameters() if not under(name, [last])}
            optimizer.param_groups = [part for group in optimizer.param_groups for part in _parts(group, slow, body)]
    return optimizer


def _parts(group: dict[str, Any], slow: Collection[int], body: float) -> list[dict[str, Any]]:
    """An optimiser's group as two: at its own rate, and at `body` times it; without what is empty."""
    quick = [parameter for parameter in group["params"] if id(parameter) not in slow]
    rest = [parameter for parameter in group["params"] if id(parameter) in slow]
    parts = [{**group, "params": quick, "body": 1.0}, {**group, "params": rest, "body": body, "lr": body * group["lr"]}]
    return [part for part in parts if part["params"]]


def build_schedule(experiment: Experiment, steps_per_epoch: int) -> Factor:
    """The factor on the learning rate, by step."""
    total = steps_per_epoch * experiment.train.epochs
    with _at("schedule"):
        factor: Factor = build("schedule", experiment.schedule, steps_per_epoch=steps_per_epoch, total_steps=total)
    return factor


def class_counts(dataset: Dataset, parts: Iterable[Part], names: LabelScheme) -> list[int]:
    """The number of rows of some parts in each class of a scheme; see `_counted` for which splits are opened."""
    counts = np.zeros(len(names), np.int64)
    for part in parts:
        counts += _counted(dataset, part, names)[0]
    return counts.tolist()


def left_out(dataset: Dataset, parts: Iterable[Part], names: LabelScheme) -> dict[str, int]:
    """How many rows of some parts have no label under a scheme, by reason: see `mien.data.votes.labels_under`."""
    reasons: Counter[str] = Counter()
    for part in parts:
        reasons.update(_counted(dataset, part, names)[1])
    return dict(reasons.most_common())


def _counted(dataset: Dataset, part: Part, names: LabelScheme) -> tuple[list[int], dict[str, int]]:
    """Rows by class of a scheme, and rows without one by reason.

    Counts of whole splits come from the card, without opening them, unless raters' votes make the labels.
    """
    if part.index is None and not by_majority(dataset, names):
        counts = [0] * len(names)
        without = {}
        to = dataset.card.scheme.to(names)
        for name, index, number in zip(dataset.card.classes, to, dataset.card.splits[part.split], strict=True):
            if index is not None:
                counts[index] += number
            elif number:
                without[name] = number
        return counts, without
    labels, reasons = labels_under(dataset, part.split, names)
    if part.index is not None:
        labels, reasons = labels[part.index], reasons[part.index]
    there = labels >= 0
    return np.bincount(labels[there], minlength=len(names)).tolist(), dict(Counter(reasons[~there].tolist()))
