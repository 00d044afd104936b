"""What is measured: whose rows, under which protocol, and where the numbers go; the same for every task."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mien.data.dataset import Dataset, open_dataset
from mien.errors import MienError
from mien.experiment.building import build_roles
from mien.inference.weights import Trained, load_weights
from mien.protocols import Overlap, Part, Role, Roles, check_roles
from mien.protocols.batches import Samples
from mien.registry import Component, build
from mien.runs import ledger
from mien.runs.run import Run
from mien.workspace import Workspace

Bools = npt.NDArray[np.bool_]


class Asked(NamedTuple):
    """Whose rows are measured: of which data set, under which protocol, and where the numbers go.

    `parameters` are those of the protocol that aren't its defaults.
    """

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


def own_weights(run: Run, device: str) -> Trained:
    """The weights of a finished run on a device."""
    if not run.weights.exists():
        raise MienError(
            f"run {run.name} is {run.state} and has no weights",
            file=str(run.folder),
            expected=f"a finished run: mien train --resume {run.name}",
        )
    return load_weights(run.weights, run.experiment, device)


def own_dataset(workspace: Workspace, run: Run) -> Dataset:
    """The data set that a run was trained on, unchanged."""
    dataset = open_dataset(workspace, run.experiment.dataset.name)
    made = run.environment["dataset"]["fingerprint"]
    if dataset.card.fingerprint != made:
        raise MienError(
            f"data set '{dataset.card.name}' isn't the one that run {run.name} was trained on",
            file=str(dataset.folder),
            expected=f"fingerprint {made[:16]}, but it is {dataset.card.fingerprint[:16]}",
        )
    return dataset


def own_roles(run: Run, dataset: Dataset) -> Roles:
    """The rows that a run was fit and chosen on; an error where they can't be found again."""
    roles = build_roles(run.experiment, dataset)
    if run.roles.exists():
        check_roles(dataset, roles, pq.read_table(run.roles))
    return roles


def ask(
    workspace: Workspace,
    run: Run,
    own: Dataset,
    roles: Roles,
    role: Role,
    protocol: Component | None,
    dataset: str | None,
) -> Asked:
    """The rows that are asked for: the run's own of a role, or the report rows of another protocol or data set."""
    other = open_dataset(workspace, dataset) if dataset not in (None, own.card.name) else own
    given = run.experiment.protocol
    if other is own and protocol in (None, given):
        return Asked(own, given.called, _set(given), roles.of(role), run.metrics_file(role), run.predictions(role))
    parameters = _set(protocol) if protocol is not None else {}
    if protocol is not None:
        called, parts = protocol.called, build("protocol", protocol, dataset=other).of(role)
    else:
        called, parts = _usual(other)
    # Two protocols of one name and other parameters don't share a folder.
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    folder = run.evaluation(f"{called}-{digest}" if parameters else called, None if other is own else other.card.name)
    return Asked(other, called, parameters, parts, folder / "metrics.json", folder / "predictions.parquet")


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


def about(run: Run, asked: Asked, role: Role, n: int) -> dict[str, Any]:
    """What every metrics file says first: which run of which task was measured on which rows."""
    return {
        "run": run.name,
        "task": run.experiment.task.name,
        "dataset": asked.dataset.card.name,
        "protocol": asked.protocol,
        "parameters": asked.parameters,
        "role": role,
        "split": asked.splits,
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
        found = np.zeros(len(samples), np.bool_)
        for number, mask in enumerate(masks):
            here = samples.part == number
            found[here] = mask[samples.place[here]]
        return found

    return of_rows(seen.exact_rows), of_rows(seen.near_rows)


def record(workspace: Workspace, run: Run, asked: Asked, n: int, command: Sequence[str]) -> None:
    """Write into the ledger that the report role is opened."""
    told = {
        "protocol": asked.protocol,
        "parameters": asked.parameters,
        "dataset": asked.dataset.card.name,
        "role": "report",
        "split": asked.splits,
    }
    ledger.record(workspace, run, {**told, "n": n, "command": list(command)})
