"""The task of telling a face's expression: a logit for each class of a label scheme."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mien.errors import MienError
from mien.registry import register
from mien.tasks.base import Misfit, Score, Task

if TYPE_CHECKING:
    from torch import Tensor

    from mien.data.dataset import Dataset

NAME = "expression"
ACCURACY = Score("accuracy", "accuracy", higher=True, share=True, short="acc")


@register("task", NAME)
def expression() -> Task:
    """Which class of a label scheme a face shows."""
    return Task(
        ACCURACY,
        outputs=len,
        outputs_in_words=lambda names: f"one logit for each class of {names.name}",
        targets=("label", "votes", "teacher"),
        losses="a loss on labels, votes or teachers, as cross_entropy",
        gives="classes",
        on="expressions",
        compared="runs on expressions",
        classes=True,
        check_data=_check_data,
        row_scores=_right,
        misfits=_misfits,
        headline=_headline,
        needed=_NEEDED,
        filled=_FILLED,
        evaluate="mien.evaluation.expression:measure_classes",
        compare="mien.comparison.expression:compare_contenders",
        show="mien.report.console:classes",
        page="mien.report.page:write_class_report",
        graph="mien.inference.graph:classes_graph",
        publish="mien.report.publishing:explained",
        describe_group="mien.comparison.seeds_and_folds:describe",
    )


def _check_data(dataset: "Dataset", targets: str) -> None:
    from mien.data.votes import check_votes

    if len(dataset.card.classes) == 1:
        raise MienError(
            f"data set '{dataset.card.name}' has a single class, {dataset.card.classes[0]}",
            key="dataset.name",
            expected="a data set of expressions, or task: landmarks",
        )
    if targets == "votes":
        check_votes(dataset)


def _right(outputs: "Tensor", targets: "Tensor", labels: "Tensor") -> dict[str, "Tensor"]:
    return {"accuracy": outputs.argmax(dim=1) == labels}


def _misfits(parts: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Misfit]:
    for index, op in enumerate(parts.get("augment", [])):
        if op is not None and op.called == "frame":
            wanted = "task: landmarks, or crop and affine instead"
            yield "op 'frame' can't stand here", ("augment", index), wanted


def _headline(metrics: Mapping[str, Any]) -> str:
    from mien.intervals import percent

    low, high = metrics["interval"]["accuracy"]
    mark = f" contaminated {percent(metrics['contaminated'])}" if metrics["contaminated"] else ""
    return f"{metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}] {metrics['split']} n {metrics['n']:,}{mark}"


_NEEDED = frozenset({"protocol", "split", "n", "accuracy", "per_class", "interval", "contaminated"})
# What metrics have held since there is a clean twin, with what stands for nothing.
_FILLED: Mapping[str, Any] = {
    "overlap": None,
    "clean": None,
    "near_clean": None,
    "tta": None,
    "calibration": None,
    "votes": None,
    "slices": {},
    "dropped": {"rows": 0, "classes": {}},
    "excluded": {},
}
