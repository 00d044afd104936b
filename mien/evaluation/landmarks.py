"""A run's points on a role's faces, at the size of a photo's face and at FER2013's, and the numbers made of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mien.data.dataset import Dataset
from mien.data.framing import framed_points
from mien.errors import MienError
from mien.evaluation.request import (
    Request,
    about,
    copied,
    open_role,
    people_of,
    predict,
    store_seen,
    what_was_seen,
)
from mien.faces.ibug import POINTS
from mien.faces.shares import as_shares
from mien.files import replacing, write_json
from mien.inference import Model
from mien.intervals import Counts
from mien.metrics import nme
from mien.protocols import Part, Role
from mien.protocols.batches import Samples, load_faces
from mien.registry import Component
from mien.runs.model_file import ModelFile
from mien.runs.predictions import SIZES, People, with_people
from mien.runs.run import Run
from mien.workspace import Workspace

Shares = npt.NDArray[np.float32]


def measure_run(
    workspace: Workspace,
    run: Run | ModelFile,
    role: Role,
    protocol: Component | None,
    dataset: str | None,
    command: Sequence[str],
) -> dict[str, Any]:
    """What `evaluate` does for a run whose task is landmarks.

    Faces are framed as a detector would, by their true points; see `mien.data.framing`. Besides the run's own points
    those of the mean shape are measured: for each face the mean of the points that the run was fit on, each in its
    frame.
    """
    opened = open_role(workspace, run, role, _frames, protocol=protocol, dataset=dataset, command=command)
    model, own, roles, request = opened.model, opened.own, opened.roles, opened.request
    frames = dict(zip(SIZES, opened.samples, strict=True))
    samples = frames[SIZES[0]]
    seen = opened.seen
    exact, _ = copied(samples, seen)
    if isinstance(run, ModelFile):
        store_seen(opened, exact)
    true = {size: shares(of) for size, of in frames.items()}
    predicted = {
        size: predict(model, of, f"{run.name} at {size} px").reshape(-1, POINTS, 2) for size, of in frames.items()
    }
    # Where the fit rows aren't there it is the mean of the measured faces, which is harder to beat.
    mean = np.broadcast_to(_mean_shape(own, roles.fit or request.parts), true[SIZES[0]].shape)
    people = people_of(request, samples)
    groups = None if people is None else people.groups
    measured = {
        **about(opened),
        "normaliser": "distance of the outer eye corners (points 37 and 46)",
        "limits": model.limits,
        "sizes": {str(size): _measured(predicted[size], true[size], exact, groups) for size in SIZES},
        "mean_shape": _measured(mean, true[SIZES[0]], exact, groups),
        "groups": None if groups is None else int(groups.max()) + 1,
        "grouped_by": people and people.column,
        **what_was_seen(opened, seen),
    }
    _write_points(request, samples, true, predicted, people)
    write_json(request.metrics, measured)
    return measured


def _frames(request: Request, _: Model) -> tuple[Samples, ...]:
    """The faces of a request at both sizes."""
    frames = tuple(load_faces(request.dataset, request.parts, size, "gray", "detector") for size in SIZES)
    if len(frames[0]) == 0:
        raise MienError(f"the {request.role} role has no rows", key="protocol")
    return frames


def _mean_shape(dataset: Dataset, parts: Sequence[Part]) -> Shares:
    """The mean of the points of some rows, each face in its detector's square, as shares of that: (68, 2)."""
    found = []
    for part in parts:
        # In squares of one pixel a pixel centre is the share itself.
        points, _ = framed_points(dataset, part.split, 1, "detector")
        found.append(points if part.index is None else points[part.index])
    return np.asarray(np.concatenate(found).mean(axis=0), dtype=np.float32)


def shares(samples: Samples) -> Shares:
    """The true points of all rows as shares of their square's side from its middle, float32 (rows, 68, 2)."""
    side = samples.pixels[0].shape[1]
    flat = as_shares(torch.from_numpy(samples.points), side).numpy()
    return np.asarray(flat, dtype=np.float32).reshape(-1, POINTS, 2)


def _measured(
    predicted: Shares, true: Shares, copied: npt.NDArray[np.bool_] | None, groups: Counts | None
) -> dict[str, Any]:
    """All measures of all rows, and of those without an exact copy among what the run has seen."""
    clean = None
    if copied is not None and not copied.all():
        clean = nme.measure_points(
            predicted[~copied], true[~copied], groups=None if groups is None else groups[~copied]
        )
    return {**nme.measure_points(predicted, true, groups=groups), "clean": clean}


def _write_points(
    request: Request,
    samples: Samples,
    true: dict[int, Shares],
    predicted: dict[int, Shares],
    people: People | None,
) -> None:
    """Split, id, side of the square, and true and predicted points as shares of it: one row a face and size."""
    kind = pa.list_(pa.float32(), 2 * POINTS)
    splits = [samples.splits[part] for part in samples.part]
    n = len(samples)

    def flat(of: dict[int, Shares]) -> pa.Array:
        values = np.concatenate([of[size] for size in SIZES]).ravel()
        return pa.FixedSizeListArray.from_arrays(pa.array(values, pa.float32()), type=kind)

    columns = {
        "split": pa.array(splits * len(SIZES), pa.string()),
        "id": pa.array(samples.ids.tolist() * len(SIZES), pa.string()),
        "size": pa.array(np.repeat(SIZES, n), pa.int32()),
        "true": flat(true),
        "predicted": flat(predicted),
    }
    with replacing(request.predictions) as temporary:
        both = people and People(people.column, people.names * len(SIZES))
        pq.write_table(with_people(pa.table(columns), both), temporary)
