"""The interface of a task, and what every task shares.

A task is a function without parameters that gives a `Task`, registered as `@register("task", "name")`. What is heavy
(measuring, comparing, showing, the page) is named as text, `"mien.evaluation.values:measure_values"`, and imported
when it is wanted; a plugin may give the function itself. Without any, a task is measured by numbers of each row.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mien.data.labels import LabelScheme
from mien.errors import MienError
from mien.registry import entry

if TYPE_CHECKING:
    from torch import Tensor

    from mien.data.dataset import Dataset
    from mien.protocols import Role
    from mien.protocols.batches import Batch, Samples

RowScores = Callable[["Tensor", "Tensor", "Tensor"], Mapping[str, "Tensor"]]
Part = str | Callable[..., Any]
# What doesn't go with a task: a message, the path of the key, what was expected.
Misfit = tuple[str, tuple[str | int, ...], str]


@dataclass(frozen=True)
class Score:
    """What a training is watched by: its column in `history.csv` (`fit_key`, `choose_key`) and how it is told.

    `label` names it in words, `short` in the progress bar, `of` what it is a share of. `higher` says that more is
    better, `percent` that it is shown in per cent, `share` that it is the share of rows that are right.
    """

    key: str
    label: str
    higher: bool = False
    percent: bool = False
    share: bool = False
    short: str = ""
    of: str = ""

    @property
    def name(self) -> str:
        """The label with what it is a share of."""
        return f"{self.label} ({self.of})" if self.of else self.label

    def told(self, value: float) -> str:
        """A value as text.

        >>> Score("mae", "MAE").told(1.2345), Score("nme", "NME", percent=True).told(0.0482)
        ('1.234', '4.82 %')
        """
        return f"{100 * value:.2f} %" if self.percent else f"{value:.3f}"

    def bracketed(self, value: float, interval: tuple[float, float]) -> str:
        """A value with its interval as text.

        >>> Score("nme", "NME", percent=True).bracketed(0.0482, (0.047, 0.05))
        '4.82 % [4.70, 5.00]'
        """
        # Tasks are looked up where scipy isn't wanted yet.
        from mien.intervals import with_interval

        if self.percent:
            return with_interval(value, interval, ".2f", scale=100, unit=" %")
        return with_interval(value, interval)


LOSS = Score("loss", "loss")


def load_rows(
    dataset: "Dataset",
    parts: Any,
    role: "Role",
    size: int,
    color: Any,
    names: LabelScheme,
    targets: str,
    columns: Sequence[str] = (),
) -> "Samples":
    """The rows of some parts with their labels, raters' votes where the loss is on those, and columns of numbers."""
    from mien.protocols.batches import load

    return load(dataset, parts, size, color, names, votes=targets == "votes" and role != "report", columns=columns)


def stored_targets(targets: str, batch: "Batch", side: int) -> "Tensor":
    """What the loss wants of a batch: its labels, votes or values."""
    return {"label": batch.labels, "votes": batch.votes, "values": batch.values}[targets]


def score_line(metrics: Mapping[str, Any]) -> str:
    """The score of a metrics file that says itself what its score is: name, value, interval, split and n."""
    score = Score(**metrics["score"])
    told = score.bracketed(metrics[score.key], metrics["interval"][score.key])
    return f"{score.label} {told} {metrics['split']} n {metrics['n']:,}"


@dataclass(frozen=True, eq=False)
class Task:
    """What a task says of itself; `find_task` fills in the name that it is registered under.

    What is learned: `score` is watched while a model trains. `outputs(names)` is how many numbers the model gives,
    `outputs_in_words(names)` says them in an error. A loss is on one of `targets` (its attribute of that name);
    `losses` says which in words. `gives` is what the outputs are, `on` what a run is on, `compared` what its runs are
    compared with, all in words. `classes` says that the outputs are logits of classes, so that there is a label
    scheme, test-time augmentation and explanations; `any_size` that a trained model takes images of any size and
    colour.

    Which rows: `check_data(dataset, targets)` raises MienError for a data set that lacks what the task needs.
    `samples(dataset, parts, role, size, color, names, targets)` gives a role's rows; those to fit come with `room`
    times the side, which an op takes away. `batch_targets(targets, batch, side)` gives what the loss compares the
    outputs with. `row_scores(outputs, targets, labels)` gives what each row is measured by, tensors (n,) by name, the
    score first. `misfits(parts, given)` yields what of an experiment's parts doesn't go with the task, where `given`
    are the keys of the file.

    What comes of it, of a metrics file's content: `headline(metrics)` is the score in one line; a file without one of
    the keys `needed` can't be read, for others that an older one lacks `filled` stands in.

    Heavy parts: `evaluate(workspace, run, role, protocol, dataset, command)` gives the metrics; `compare(workspace,
    references, predictions)`, and with `baseline=` each against one, a `mien.comparison.tables.Compared`;
    `show(metrics)` lines and tables for the console;
    `page(run)` writes the report and gives its path; `publish(run)` gives files, bytes by path, that are published in
    place of the run's own; `describe_group(workspace, reference)`, where there is one, the scores of several runs;
    `graph(network, size, gray, temperature)` the `mien.inference.graph.Parts` of an exported file.
    """

    score: Score
    name: str = ""
    outputs: Callable[[LabelScheme], int] = len
    outputs_in_words: Callable[[LabelScheme], str] = lambda names: "the outputs of the task"
    targets: tuple[str, ...] = ("values",)
    losses: str = "a loss on values"
    gives: str = "numbers"
    on: str = "numbers"
    compared: str = "runs of the same task"
    classes: bool = False
    any_size: bool = False
    room: int = 1
    check_data: Callable[["Dataset", str], None] = lambda dataset, targets: None
    samples: Callable[..., "Samples"] = load_rows
    batch_targets: Callable[[str, "Batch", int], "Tensor"] = stored_targets
    row_scores: RowScores = lambda outputs, targets, labels: {}
    misfits: Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[Misfit]] = lambda parts, given: iter(())
    headline: Callable[[Mapping[str, Any]], str] = score_line
    needed: frozenset[str] = frozenset({"protocol", "split", "n", "score", "interval", "contaminated", "overlap"})
    filled: Mapping[str, Any] = field(default_factory=dict)
    evaluate: Part = "mien.evaluation.values:measure_values"
    compare: Part = "mien.comparison.values:compare_values"
    show: Part = "mien.report.console:values"
    page: Part = "mien.report.value_page:write_value_report"
    publish: Part = "mien.report.publishing:nothing_anew"
    describe_group: Part | None = None
    graph: Part = "mien.inference.graph:values_graph"

    def __eq__(self, other: object) -> bool:
        # A plugin that is run again makes its functions anew.
        return isinstance(other, Task) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def monitor(self) -> str:
        """What training goes by unless a file says otherwise: the score on the choose role."""
        return f"choose_{self.score.key}"

    def all_misfits(self, parts: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Misfit]:
        """What of an experiment's parts is right by itself and doesn't go with the task."""
        loss, train, dataset = (parts.get(key) for key in ("loss", "train", "dataset"))
        if loss is not None and (targets := targets_of(loss)) not in self.targets:
            on = "labels" if targets == "label" else targets
            yield f"loss '{loss.called}' is on {on} and the task is {self.name}", ("loss",), self.losses
        if train is not None and train.monitor not in (self.monitor, "choose_loss"):
            message = f"'{train.monitor}' isn't measured when the task is {self.name}"
            yield message, ("train", "monitor"), f"{self.monitor} or choose_loss"
        yield from self.misfits(parts, given)
        if self.classes:
            return
        if parts.get("tta", "none") != "none":
            yield f"{self.gives} have no test-time augmentation", ("tta",), "none"
        for key, message in (("mixup", "can't be mixed"), ("cutmix", "can't be mixed"), ("votes", "have no votes")):
            if train is not None and getattr(train, key) is not None:
                yield f"{self.gives} {message}", ("train", key), "no such key"
        if parts.get("explain"):
            yield "only models of expressions are explained", ("explain",), "no such key"
        if dataset is not None and dataset.labels is not None:
            yield f"{self.gives} have no label scheme", ("dataset", "labels"), "no such key"

    @property
    def about(self) -> dict[str, Any]:
        """What a metrics file says of its task, so that it can be read where the task isn't registered."""
        return {"task": self.name, "score": asdict(self.score)}


def regression(score: Score, columns: Sequence[str], row_scores: RowScores, **more: Any) -> Task:
    """A task of telling the numbers that some columns of the data set hold, under a loss on "values"; see `Task`."""
    return Task(
        score,
        outputs=lambda names: len(columns),
        outputs_in_words=lambda names: " and ".join(columns),
        check_data=partial(_check_columns, columns=columns),
        samples=partial(load_rows, columns=columns),
        row_scores=row_scores,
        **more,
    )


def _check_columns(dataset: "Dataset", targets: str, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in dataset.card.columns:
            raise MienError(
                f"data set '{dataset.card.name}' has no column '{column}'",
                key="dataset.name",
                expected=f"the columns {', '.join(columns)}",
            )


def targets_of(loss: Any) -> str:
    """What a loss, as an experiment names it, is on; one that doesn't say is on labels."""
    return str(getattr(loss.entry.build, "targets", "label"))


def find_task(name: str) -> Task:
    """The task that is registered under a name; raises MienError, with the nearest name, for one that isn't."""
    task: Task = entry("task", name).build()
    return replace(task, name=name)


def require(task: Task, name: str, run: str, folder: str) -> None:
    """Raise MienError for a run whose task isn't the one of that name."""
    if task.name != name:
        raise MienError(f"run {run} is on {task.on}", file=folder, expected=f"a run whose task is {name}")


def resolve(part: Part) -> Callable[..., Any]:
    """The function that a heavy part names as `"module:function"`, or that it is.

    >>> resolve("mien.intervals:percent")(0.5)
    '50 %'
    """
    if not isinstance(part, str):
        return part
    module, _, name = part.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
