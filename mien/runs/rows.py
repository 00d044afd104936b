"""Which rows a run was fit, chosen and reported on, read from its folder without any part of its model."""

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset, open_dataset
from mien.errors import MienError
from mien.parquet import read_table
from mien.protocols import Roles, check_roles, overlap, without
from mien.registry import Component, build, component
from mien.runs.model_file import ModelFile
from mien.runs.predictions import read_predictions
from mien.runs.run import Run

Bools = npt.NDArray[np.bool_]


def own_dataset(run: Run) -> Dataset:
    """The data set that a run was trained on, unchanged."""
    made = run.environment["dataset"]
    dataset = open_dataset(run.workspace, made["name"])
    if dataset.card.fingerprint != made["fingerprint"]:
        raise MienError(
            f"data set '{dataset.card.name}' isn't the one that run {run.name} was trained on",
            file=str(dataset.folder),
            expected=f"fingerprint {made['fingerprint'][:16]}, but it is {dataset.card.fingerprint[:16]}",
        )
    return dataset


def measured_dataset(run: Run | ModelFile) -> Dataset:
    """The data set of the rows that `measured` is of: a run's own, or the one that a model's file was measured on."""
    if isinstance(run, Run):
        return own_dataset(run)
    return open_dataset(run.workspace, run.measured()["dataset"])


def own_protocol(run: Run) -> Component:
    """The protocol of a run; where the run has plugins they are run, since it may be one of theirs."""
    content = run.content
    stored = content.get("protocol")
    if content.get("plugins") or not isinstance(stored, dict):
        return run.experiment.protocol
    return component("protocol", stored)


def own_roles(run: Run, dataset: Dataset) -> Roles:
    """The rows that a run was fit and chosen on; an error where they can't be found again."""
    try:
        roles: Roles = build("protocol", own_protocol(run), dataset=dataset)
    except MienError as error:
        error.key = error.key or "protocol"
        raise
    roles, _ = without(dataset, roles, run.content.get("exclude", ()))
    if run.roles.exists():
        check_roles(dataset, roles, read_table(run.roles, ["split", "id", "role"], "the rows of the roles"))
    return roles


def copied_rows(run: Run) -> tuple[Bools | None, Bools | None]:
    """Of the measured report rows of a run's own protocol, which it has seen as exact and as near copies, (n,) each.

    Near ones are None where nobody looked for them.
    """
    dataset = own_dataset(run)
    roles = own_roles(run, dataset)
    seen = overlap(dataset, roles, roles.report)
    rows = read_predictions(run.predictions("report")).rows

    def of_rows(masks: tuple[Bools, ...] | None) -> Bools | None:
        if masks is None:
            return None
        copied = {
            (part.split, id_)
            for part, mask in zip(roles.report, masks, strict=True)
            for id_, here in zip(dataset.ids(part.split), mask, strict=True)
            if here
        }
        return np.array([row in copied for row in rows], np.bool_)

    return of_rows(seen.exact_rows), of_rows(seen.near_rows)
