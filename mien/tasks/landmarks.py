"""The task of finding the 68 iBUG points of a face: x and y of each, as shares of the image's side."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mien.data.labels import LabelScheme
from mien.faces.ibug import POINTS
from mien.registry import register
from mien.tasks.base import Misfit, Score, Task

if TYPE_CHECKING:
    from torch import Tensor

    from mien.data.dataset import Dataset
    from mien.protocols import Role
    from mien.protocols.batches import Batch, Samples

NAME = "landmarks"
NME = Score("nme", "NME", percent=True, of="outer eye corners")
# Faces to fit points on come with room around them, which the op `frame` takes away.
ROOM = 2


@register("task", NAME)
def landmarks() -> Task:
    """Where the 68 points of a face are."""
    return Task(
        NME,
        outputs=lambda names: 2 * POINTS,
        outputs_in_words=lambda names: f"x and y of {POINTS} points",
        targets=("points",),
        losses="a loss on points, as {name: wing}",
        gives="points",
        on="points",
        compared="landmark runs",
        any_size=True,
        room=ROOM,
        check_data=_check_data,
        samples=_samples,
        batch_targets=_targets,
        row_scores=_errors,
        misfits=_misfits,
        headline=_headline,
        needed=frozenset({"protocol", "split", "n", "normaliser", "sizes", "mean_shape", "contaminated", "overlap"}),
        filled={"limits": ""},
        evaluate="mien.evaluation.landmarks:measure_run",
        compare="mien.comparison.landmarks:compare_landmarks",
        show="mien.report.console:points",
        page="mien.report.landmark_page:write_landmark_report",
        graph="mien.inference.graph:points_graph",
        publish="mien.report.publishing:with_drawn_faces",
    )


def _check_data(dataset: "Dataset", targets: str) -> None:
    from mien.data.framing import require_points

    require_points(dataset)


def _samples(
    dataset: "Dataset", parts: Any, role: "Role", size: int, color: Any, names: LabelScheme, targets: str
) -> "Samples":
    from mien.protocols.batches import load_faces

    if role == "fit":
        return load_faces(dataset, parts, ROOM * size, color, "wide")
    return load_faces(dataset, parts, size, color, "detector")


def _targets(targets: str, batch: "Batch", side: int) -> "Tensor":
    from mien.faces.shares import as_shares

    return as_shares(batch.points, side)


def _errors(outputs: "Tensor", targets: "Tensor", labels: "Tensor") -> dict[str, "Tensor"]:
    from mien.faces.shares import normalized_errors

    return {"nme": normalized_errors(outputs, targets)}


def _misfits(parts: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Misfit]:
    ops = parts.get("augment", [])
    for index, op in enumerate(ops):
        if op is not None and op.called == "frame" and index > 0:
            yield "op 'frame' can't stand here", ("augment", index), "it first in augment"
    if "augment" in parts and (not ops or (ops[0] is not None and ops[0].called != "frame")):
        yield "faces are framed anew each time that they are trained on", ("augment",), "op 'frame' first"
    if "augment" not in given:
        yield "this key is missing", ("augment",), "at least 'augment: [{op: frame}]'"


def _headline(metrics: Mapping[str, Any]) -> str:
    from mien.intervals import with_interval

    size, of = next(iter(metrics["sizes"].items()))
    error = with_interval(of["nme_outer_eyes"], of["interval"]["nme_outer_eyes"], ".2f", scale=100)
    return f"NME {error} % at {size} px, {metrics['split']} n {metrics['n']:,}"
