"""What is measured: whose rows, under which protocol, and where the numbers go; opened and predicted for any task."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mien.data.dataset import Dataset, open_dataset
from mien.data.people import group_column, groups_of
from mien.errors import MienError
from mien.inference.model import Model, file_header, load_file, load_run
from mien.progress import progress
from mien.protocols import ALL_ROWS, UNSEEN_ROWS, Overlap, Part, Role, Roles, overlap, unseen, without
from mien.protocols.batches import EVALUATION_BATCH, Samples
from mien.registry import Component, build, component
from mien.runs import ledger
from mien.runs.model_file import ModelFile, write_seen
from mien.runs.predictions import People
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
    """The rows of a role, opened: for a model whose own data set and roles these are.

    `excluded` counts the rows that its training was kept from, by role and flag; {} where nobody knows. `known` says
    whether it is known, or taken for granted, which rows the model has seen.
    """

    model: Model
    seeds: list[int]
    excluded: dict[str, Any]
    own: Dataset
    roles: Roles
    request: Request
    samples: tuple[Samples, ...]
    known: bool = True

    @property
    def seen(self) -> Overlap | None:
        """What the run has seen of the rows of the report role; None for another role, and where nobody knows."""
        if self.request.role != "report" or not self.known:
            return None
        return overlap(self.own, self.roles, self.request.parts, self.request.dataset)


def open_role(
    workspace: Workspace,
    run: Run | ModelFile,
    role: Role,
    read: Callable[[Request, Model], tuple[Samples, ...]],
    *,
    protocol: Component | None = None,
    dataset: str | None = None,
    command: Sequence[str] = (),
) -> Opened:
    """Open the rows of a role for a finished run: the one place that opens the report role, and writes the ledger.

    Or for the file of a model. `read` loads the rows of a request, in one size or several. Raises MienError for a run
    without weights, a data set that has changed, and for what `read` can't load; then nothing is written.
    """
    if isinstance(run, ModelFile):
        opened = _open_file(workspace, run, protocol, dataset)
    else:
        own = own_dataset(run)
        roles = own_roles(run, own)
        request = resolve_request(workspace, run, own, roles, role, protocol, dataset)
        excluded = run.environment["dataset"].get("excluded", {})
        opened = Opened(load_run(run), [run.experiment.train.seed], excluded, own, roles, request, ())
    opened = opened._replace(samples=read(opened.request, opened.model))
    if role == "report":
        run.folder.mkdir(parents=True, exist_ok=True)
        _record(workspace, run, opened.request, len(opened.samples[0]), command)
    return opened


def _open_file(workspace: Workspace, file: ModelFile, protocol: Component | None, dataset: str | None) -> Opened:
    """The report rows for the file of a model, under a protocol, by default the one that it was trained under.

    What mien exported says itself what it has seen; on another data set all rows are measured that it hasn't been fit
    or chosen on. Of someone else's model that isn't known: it is taken to have seen the fit and choose rows of the
    protocol, by default the official one. Where a data set has no splits of its own, nobody can have gone by them, and
    all of its rows are measured.
    """
    header = file_header(file.path) or {}
    trained_on = header.get("dataset", {})
    name = dataset or trained_on.get("name")
    if name is None:
        raise MienError(f"{file.name} doesn't say what it is measured on", key="--dataset", expected="--dataset NAME")
    other = open_dataset(workspace, name)
    own, known = other, other.card.fingerprint == trained_on.get("fingerprint")
    if trained_on and not known:
        try:
            own = open_dataset(workspace, trained_on["name"])
            known = own.card.fingerprint == trained_on["fingerprint"]
        except MienError:
            known = False
    model = replace(load_file(file.path), name=file.name)
    seeds = [header["seed"]] if header else []
    # The protocol of a model of mien's speaks of splits that are another data set's.
    elsewhere = bool(trained_on) and name != trained_on["name"]
    if protocol is None and not known and (elsewhere or not _has_own_splits(other)):
        parts = tuple(Part(split) for split in other.card.splits)
        request = _file_request(file, other, ALL_ROWS, {}, parts)
        return Opened(model, seeds, {}, other, Roles(parts, (), parts), request, (), known=False)
    made = component("protocol", header.get("protocol", {"name": "official"}))
    given = protocol or made
    if not known:
        own = other
    roles: Roles = build("protocol", made if known else given, dataset=own)
    roles, _ = without(own, roles, header.get("exclude", ()) if known else ())
    if protocol is None and own is not other:
        (called, parts), parameters = _unseen(own, roles, other), {}
    else:
        called, parameters = given.called, _set(given)
        parts = build("protocol", given, dataset=other).report
    return Opened(model, seeds, {}, own, roles, _file_request(file, other, called, parameters, parts), ())


def _file_request(
    file: ModelFile, dataset: Dataset, called: str, parameters: dict[str, Any], parts: tuple[Part, ...]
) -> Request:
    folder = file.evaluation(_folder(called, parameters), dataset.card.name)
    files = folder / "metrics.json", folder / "predictions.parquet"
    return Request("report", dataset, called, parameters, parts, *files)


def store_seen(opened: Opened, exact: Bools | None) -> None:
    """Store beside the predictions of a file which rows it has seen; a run's are found again by its own protocol."""
    samples = opened.samples[0]
    rows = np.flatnonzero(exact) if exact is not None else ()
    write_seen(opened.request.predictions, [(samples.splits[samples.part[row]], samples.ids[row]) for row in rows])


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
    """The rows that are asked for: the run's own of a role, or the report rows of another protocol.

    Of another data set, unless a protocol is named, they are all rows that the run wasn't fit or chosen on.
    """
    other = open_dataset(workspace, dataset) if dataset not in (None, own.card.name) else own
    given = run.experiment.protocol
    if other is own and protocol in (None, given):
        files = run.metrics_file(role), run.predictions(role)
        return Request(role, own, given.called, _set(given), roles.of(role), *files)
    parameters = _set(protocol) if protocol is not None else {}
    if protocol is not None:
        called, parts = protocol.called, build("protocol", protocol, dataset=other).of(role)
    else:
        called, parts = _unseen(own, roles, other)
    folder = run.evaluation(_folder(called, parameters), None if other is own else other.card.name)
    return Request(role, other, called, parameters, parts, folder / "metrics.json", folder / "predictions.parquet")


def _folder(called: str, parameters: dict[str, Any]) -> str:
    """Two protocols of one name and other parameters don't share a folder."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    return f"{called}-{digest}" if parameters else called


def _set(protocol: Component) -> dict[str, Any]:
    """The parameters of a protocol that aren't its defaults."""
    return {
        key: value for key, value in protocol.model_dump(mode="json", exclude_defaults=True).items() if key != "name"
    }


def _unseen(own: Dataset, roles: Roles, other: Dataset) -> tuple[str, tuple[Part, ...]]:
    """The rows that another data set is reported on when nobody says which, and what that is called."""
    parts = unseen(own, roles, other)
    if not parts:
        raise MienError(
            f"the model was trained or chosen on every row of data set '{other.card.name}'",
            key="--dataset",
            expected="another data set, or --protocol to measure on rows that it has seen",
        )
    whole = len(parts) == len(other.card.splits) and all(part.index is None for part in parts)
    return (ALL_ROWS if whole else UNSEEN_ROWS), parts


def _has_own_splits(dataset: Dataset) -> bool:
    """Whether someone may have trained by a data set's splits: there are two or more, and mien didn't draw them."""
    return len(dataset.card.splits) > 1 and "made_splits" not in dataset.card.details


def about(opened: Opened) -> dict[str, Any]:
    """What every metrics file says first: which run of which task was measured on which rows."""
    request = opened.request
    return {
        "run": opened.model.name,
        "task": opened.model.task,
        "dataset": request.dataset.card.name,
        "protocol": request.protocol,
        "parameters": request.parameters,
        "role": request.role,
        "split": request.splits,
        "seeds": opened.seeds,
        "n": len(opened.samples[0]),
    }


def people_of(request: Request, samples: Samples) -> People | None:
    """Whom the measured rows show, where the data set has a column that says it, or the protocol names one."""
    card = request.dataset.card
    named = request.parameters.get("group", request.parameters.get("column"))
    column = named if named in card.columns else group_column(card)
    if column is None or pa.types.is_nested(request.dataset.schema().field(column).type):
        return None
    rows = [(samples.splits[part], place) for part, place in zip(samples.part, samples.place.tolist(), strict=True)]
    return People(column, tuple(groups_of(request.dataset, column, rows)))


def what_was_seen(opened: Opened, seen: Overlap | None) -> dict[str, Any]:
    """What every metrics file says of the rows that the run has seen, and of those that it was kept from."""
    return {
        "contaminated": seen.contaminated if seen else 0.0,
        "overlap": {"rows": seen.rows, "exact": seen.exact, "near": seen.near} if seen else None,
        "excluded": opened.excluded,
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


def _record(workspace: Workspace, run: Run | ModelFile, request: Request, n: int, command: Sequence[str]) -> None:
    """Write into the ledger that the report role is opened."""
    record = {
        "protocol": request.protocol,
        "parameters": request.parameters,
        "dataset": request.dataset.card.name,
        "role": "report",
        "split": request.splits,
    }
    ledger.record(workspace, run, {**record, "n": n, "command": list(command)})
