"""Evaluation: a run's logits on a role, and the numbers made of them. The one place that opens the report role."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mien import environment, ledger, metrics, raters, slices
from mien.batches import Batches, Samples, epoch_order, load
from mien.building import build_roles, build_samples, left_out, scheme_for
from mien.calibration import fit_temperature, measure_calibration
from mien.dataset import Dataset, open_dataset
from mien.errors import MienError
from mien.files import replacing, write_json
from mien.labels import FERPLUS_VOTES
from mien.progress import progress
from mien.protocols import Overlap, Part, Role, Roles, check_roles, overlap
from mien.registry import Component, build
from mien.run import Run
from mien.training import EVALUATION_BATCH
from mien.tta import VIEWS, mean_logits, views
from mien.weights import Trained, load_weights, store_temperature
from mien.workspace import Workspace

Logits = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# By these columns of a data set every measurement is parted, where the set has them.
_PARTED_BY = ("agreement", "source", "subject_group")


class _Asked(NamedTuple):
    """Whose rows are measured: of which data set, under which protocol, and where the numbers go.

    `parameters` are those of the protocol that aren't its defaults.
    """

    dataset: Dataset
    protocol: str
    parameters: dict[str, Any]
    parts: tuple[Part, ...]
    metrics: Path
    predictions: Path


def evaluate(
    workspace: Workspace,
    run: Run,
    role: Role = "report",
    *,
    protocol: Component | None = None,
    dataset: str | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure a finished run on a role; writes the predictions and the metrics into the run.

    The rows are those of the run's own protocol and data set, or the report rows of another protocol or another data
    set; what the model has seen of them is always told by what this run was fit and chosen on. Asking for the report
    role is written into the ledger before anything is measured. On the choose role the run's temperature is fitted and
    stored with its weights. Returns what `metrics.json` holds. Raises MienError for a run without weights or a data set
    that has changed.
    """
    own = _own_dataset(workspace, run)
    device = environment.device("auto")
    trained = load_weights(run.weights, run.experiment, device)
    if role == "report" and trained.temperature is None:
        evaluate(workspace, run, "choose")
        trained = load_weights(run.weights, run.experiment, device)
    roles = _own_roles(run, own)
    asked = _asked(workspace, run, own, roles, role, protocol, dataset)
    section = run.experiment.dataset
    samples = load(asked.dataset, asked.parts, section.size, section.color, trained.names)
    if len(samples) == 0:
        raise MienError(f"the {role} role has no rows whose class the model knows", key="protocol")
    measured: dict[str, Any] = {
        "run": run.name,
        "dataset": asked.dataset.card.name,
        "labels": trained.names.name,
        "protocol": asked.protocol,
        "parameters": asked.parameters,
        "role": role,
        "split": " + ".join(dict.fromkeys(part.split for part in asked.parts)),
        "seeds": [run.experiment.train.seed],
    }
    if role == "report":
        told = {key: measured[key] for key in ("protocol", "parameters", "dataset", "role", "split")}
        ledger.record(workspace, run, {**told, "n": len(samples), "command": list(command)})
    logits = predict(trained, samples, device, f"{run.name} on {asked.dataset.card.name}, {measured['split']}")
    _write_predictions(asked.predictions, samples, logits, trained.names.classes)
    seen = overlap(own, roles, asked.parts, asked.dataset) if role == "report" else None
    copied = _copied(samples, seen)
    measured |= _scores(samples, logits, trained.names.classes, copied)
    measured |= {
        "contaminated": seen.contaminated if seen else 0.0,
        "overlap": {"rows": seen.rows, "exact": seen.exact, "near": seen.near} if seen else None,
        "tta": None,
    }
    kind = run.experiment.tta
    if role == "report" and kind != "none":
        averaged = predict(trained, samples, device, f"{run.name} with {kind}", _by_views(trained, kind))
        _write_predictions(
            asked.predictions.with_stem(f"{asked.predictions.stem}-tta"), samples, averaged, trained.names.classes
        )
        measured["tta"] = {
            "name": kind,
            "views": VIEWS[kind],
            **_scores(samples, averaged, trained.names.classes, copied),
        }
    temperature = trained.temperature or 1.0
    if role == "choose":
        temperature = fit_temperature(logits, samples.labels)
        store_temperature(run.weights, temperature)
    measured |= {
        "calibration": {
            "temperature": temperature,
            "before": measure_calibration(samples.labels, logits),
            "after": measure_calibration(samples.labels, logits, temperature),
        },
        "votes": _votes(asked.dataset, samples, logits / temperature, trained.names.classes),
        "slices": _slices(asked.dataset, samples, logits, trained.names.classes),
        "dropped": _dropped(asked, trained),
        "excluded": run.environment["dataset"].get("excluded", {}),
    }
    write_json(asked.metrics, measured)
    return measured


def copied_rows(workspace: Workspace, run: Run) -> tuple[Bools | None, Bools | None]:
    """Of the report rows of a run's own protocol, in order, which it has seen as exact and as near copies, (n,) each.

    Near ones are None where nobody looked for them.
    """
    dataset = _own_dataset(workspace, run)
    roles = _own_roles(run, dataset)
    samples = build_samples(run.experiment, dataset, roles, "report", scheme_for(run.experiment, dataset))
    return _copied(samples, overlap(dataset, roles, roles.report))


def _own_dataset(workspace: Workspace, run: Run) -> Dataset:
    """The data set that a run was trained on, unchanged."""
    if not run.weights.exists():
        raise MienError(
            f"run {run.name} is {run.state} and has no weights",
            file=str(run.folder),
            expected=f"a finished run: mien train --resume {run.name}",
        )
    dataset = open_dataset(workspace, run.experiment.dataset.name)
    made = run.environment["dataset"]["fingerprint"]
    if dataset.card.fingerprint != made:
        raise MienError(
            f"data set '{dataset.card.name}' isn't the one that run {run.name} was trained on",
            file=str(dataset.folder),
            expected=f"fingerprint {made[:16]}, but it is {dataset.card.fingerprint[:16]}",
        )
    return dataset


def _own_roles(run: Run, dataset: Dataset) -> Roles:
    """The rows that a run was fit and chosen on; an error where they can't be found again."""
    roles = build_roles(run.experiment, dataset)
    if run.roles.exists():
        check_roles(dataset, roles, pq.read_table(run.roles))
    return roles


def _asked(
    workspace: Workspace,
    run: Run,
    own: Dataset,
    roles: Roles,
    role: Role,
    protocol: Component | None,
    dataset: str | None,
) -> _Asked:
    other = open_dataset(workspace, dataset) if dataset not in (None, own.card.name) else own
    given = run.experiment.protocol
    if other is own and protocol in (None, given):
        return _Asked(own, given.called, _set(given), roles.of(role), run.metrics_file(role), run.predictions(role))
    parameters = _set(protocol) if protocol is not None else {}
    if protocol is not None:
        called, parts = protocol.called, build("protocol", protocol, dataset=other).of(role)
    else:
        called, parts = _usual(other)
    # Two protocols of one name and other parameters don't share a folder.
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    folder = run.evaluation(f"{called}-{digest}" if parameters else called, None if other is own else other.card.name)
    return _Asked(other, called, parameters, parts, folder / "metrics.json", folder / "predictions.parquet")


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


def predict(
    trained: Trained,
    samples: Samples,
    device: str,
    what: str,
    logits_of: Callable[[Tensor], Tensor] | None = None,
) -> Logits:
    """Logits of all rows of a role, float32 (rows, classes), in their order; `logits_of` for other than the model's."""
    out = []
    order = epoch_order(len(samples), shuffle=False, seed=0, epoch=0)
    with progress(what, len(samples)) as advance:
        for batch in Batches(samples, EVALUATION_BATCH, order):
            out.append((logits_of or trained.logits)(batch.images.to(device)).cpu())
            advance(len(batch.labels))
    return np.asarray(torch.cat(out).numpy())


def _by_views(trained: Trained, kind: str) -> Callable[[Tensor], Tensor]:
    def logits(images: Tensor) -> Tensor:
        return mean_logits([trained.logits(view) for view in views(images.float(), kind)])

    return logits


def _copied(samples: Samples, seen: Overlap | None) -> tuple[Bools | None, Bools | None]:
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


def _scores(
    samples: Samples, logits: Logits, classes: tuple[str, ...], copied: tuple[Bools | None, Bools | None]
) -> dict[str, Any]:
    """The scores of all rows, and again without exact and without near copies of rows that the model has seen."""
    twins = {}
    for name, mask in zip(("clean", "near_clean"), copied, strict=True):
        left = None if mask is None or mask.all() else ~mask
        twins[name] = None if left is None else metrics.measure(samples.labels[left], logits[left], classes)
    return {**metrics.measure(samples.labels, logits, classes), **twins}


def _votes(dataset: Dataset, samples: Samples, logits: Logits, classes: tuple[str, ...]) -> dict[str, Any] | None:
    if "votes" not in dataset.card.columns:
        return None
    by_split = {split: raters.read_votes(dataset, split) for split in dict.fromkeys(samples.splits)}
    votes = np.empty((len(samples), len(FERPLUS_VOTES)), np.int64)
    for number, split in enumerate(samples.splits):
        here = samples.part == number
        votes[here] = by_split[split][samples.place[here]]
    return raters.measure(votes, samples.labels, logits, classes)


def _slices(dataset: Dataset, samples: Samples, logits: Logits, classes: tuple[str, ...]) -> dict[str, Any]:
    columns = set(dataset.card.columns) | ({"agreement"} if "votes" in dataset.card.columns else set())
    rows = [(samples.splits[part], id_) for part, id_ in zip(samples.part, samples.ids.tolist(), strict=True)]
    return {
        column: slices.slices(samples.labels, logits, classes, slices.read_column(dataset, column, rows))
        for column in _PARTED_BY
        if column in columns
    }


def _dropped(asked: _Asked, trained: Trained) -> dict[str, Any]:
    """Rows that have no class of the model, by class or by why their raters agree on none."""
    found = left_out(asked.dataset, asked.parts, trained.names)
    return {"rows": sum(found.values()), "classes": found}


def _write_predictions(file: Path, samples: Samples, logits: Logits, classes: tuple[str, ...]) -> None:
    columns = {
        "id": pa.array(samples.ids.tolist(), pa.string()),
        "split": pa.array([samples.splits[part] for part in samples.part], pa.string()),
        "label": pa.array(samples.labels, pa.int64()),
        **{name: pa.array(logits[:, index], pa.float32()) for index, name in enumerate(classes)},
    }
    with replacing(file) as temporary:
        pq.write_table(pa.table(columns), temporary)
