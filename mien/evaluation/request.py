"""What is measured: whose rows, under which protocol, and where the numbers go; opened and predicted for any task."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset, open_dataset
from mien.inference.model import Model, load_run
from mien.progress import progress
from mien.protocols import Overlap, Part, Role, Roles, overlap
from mien.protocols.batches import EVALUATION_BATCH, Samples
from mien.registry import Component, build
from mien.runs import ledger
from mien.runs.rows import own_dataset, own_roles
from mien.runs.run import Run
from mien.workspace import Workspace

Bools = npt.NDArray[np.bool_]


class Request(NamedTuple):
    """Whose rows are measured: of which role and data set, under which protocol, and where the numbers go.

    `parameters` are those of the protocol that aren't its defaults.
    """

    role: Role
    dataset: Dataset
    protocol: str
    parameters: dict[str, Any]
    parts: tuple[Part, ...]
    metrics: Path
    predictions: Path

    @property
    def splits(self) -> str:
        """The splits that the rows are of, as one text."""
        return " + ".join(dict.fromkeys(part.split for part in self.parts))


class Opened(NamedTuple):
    """The rows of a role, opened: for the model of a run, whose own data set and roles these are."""

    model: Model
    own: Dataset
    roles: Roles
    request: Request
    samples: tuple[Samples, ...]

    @property
    def seen(self) -> Overlap | None:
        """What the run has seen of the rows of the report role; None for another role."""
        if self.request.role != "report":
            return None
        return overlap(self.own, self.roles, self.request.parts, self.request.dataset)


def open_role(
    workspace: Workspace,
    run: Run,
    role: Role,
    read: Callable[[Request, Model], tuple[Samples, ...]],
    *,
    protocol: Component | None = None,
    dataset: str | None = None,
    command: Sequence[str] = (),
) -> Opened:
    """Open the rows of a role for a finished run: the one place that opens the report role, and writes the ledger.

    `read` loads the rows of a request, in one size or several. Raises MienError for a run without weights, a data set
    that has changed, and for what `read` can't load; then nothing is written.
    """
    model = load_run(run)
    own = own_dataset(run)
    roles = own_roles(run, own)
    request = resolve_request(workspace, run, own, roles, role, protocol, dataset)
    samples = read(request, model)
    if role == "report":
        _record(workspace, run, request, len(samples[0]), command)
    return Opened(model, own, roles, request, samples)


def predict(model: Model, samples: Samples, what: str, tta: str = "none") -> npt.NDArray[np.float32]:
    """A model's outputs for all rows of some samples, float32 (rows, outputs), in their order; `what` is shown."""
    out = []
    with progress(what, len(samples)) as advance:
        for start in range(0, len(samples), EVALUATION_BATCH):
            rows = np.arange(start, min(start + EVALUATION_BATCH, len(samples)))
            out.append(model.outputs(samples.images(rows), tta))
            advance(len(rows))
    return np.concatenate(out)


def resolve_request(
    workspace: Workspace,
    run: Run,
    own: Dataset,
    roles: Roles,
    role: Role,
    protocol: Component | None,
    dataset: str | None,
) -> Request:
    """The rows that are asked for: the run's own of a role, or the report rows of another protocol or data set."""
    other = open_dataset(workspace, dataset) if dataset not in (None, own.card.name) else own
    given = run.experiment.protocol
    if other is own and protocol in (None, given):
        files = run.metrics_file(role), run.predictions(role)
        return Request(role, own, given.called, _set(given), roles.of(role), *files)
    parameters = _set(protocol) if protocol is not None else {}
    if protocol is not None:
        called, parts = protocol.called, build("protocol", protocol, dataset=other).of(role)
    else:
        called, parts = _usual(other)
    # Two protocols of one name and other parameters don't share a folder.
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    folder = run.evaluation(f"{called}-{digest}" if parameters else called, None if other is own else other.card.name)
    return Request(role, other, called, parameters, parts, folder / "metrics.json", folder / "predictions.parquet")


def _set(protocol: Component) -> dict[str, Any]:
    """The parameters of a protocol that aren't its defaults."""
    return {
        key: value for key, value in protocol.model_dump(mode="json", exclude_defaults=True).items() if key != "name"
    }


def _usual(dataset: Dataset) -> tuple[str, tuple[Part, ...]]:
    """The rows that a data set is reported on when nobody says which: its own test split, else all of its rows."""
    for split in ("PrivateTest", "test", "Testing", "testing"):
        if split in dataset.card.splits:
            return "test-split", (Part(split),)
    return "all-rows", tuple(Part(split) for split in dataset.card.splits)


def about(run: Run, request: Request, n: int) -> dict[str, Any]:
    """What every metrics file says first: which run of which task was measured on which rows."""
    return {
        "run": run.name,
        "task": run.experiment.task.name,
        "dataset": request.dataset.card.name,
        "protocol": request.protocol,
        "parameters": request.parameters,
        "role": request.role,
        "split": request.splits,
        "seeds": [run.experiment.train.seed],
        "n": n,
    }


def what_was_seen(run: Run, seen: Overlap | None) -> dict[str, Any]:
    """What every metrics file says of the rows that the run has seen, and of those that it was kept from."""
    return {
        "contaminated": seen.contaminated if seen else 0.0,
        "overlap": {"rows": seen.rows, "exact": seen.exact, "near": seen.near} if seen else None,
        "excluded": run.environment["dataset"].get("excluded", {}),
    }


def copied(samples: Samples, seen: Overlap | None) -> tuple[Bools | None, Bools | None]:
    """Of the measured rows, which the model has seen: as exact and as near copies; None where nobody looked."""
    if seen is None:
        return None, None

    def of_rows(masks: tuple[Bools, ...] | None) -> Bools | None:
        if masks is None:
            return None
        rows = np.zeros(len(samples), np.bool_)
        for number, mask in enumerate(masks):
            here = samples.part == number
            rows[here] = mask[samples.place[here]]
        return rows

    return of_rows(seen.exact_rows), of_rows(seen.near_rows)


def _record(workspace: Workspace, run: Run, request: Request, n: int, command: Sequence[str]) -> None:
    """Write into the ledger that the report role is opened."""
    record = {
        "protocol": request.protocol,
        "parameters": request.parameters,
        "dataset": request.dataset.card.name,
        "role": "report",
        "split": request.splits,
    }
    ledger.record(workspace, run, {**record, "n": n, "command": list(command)})
