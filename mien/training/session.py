"""The record of a training's sessions, and what must still be as it was when a stopped run goes on."""

import datetime
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from mien import environment
from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.experiment.schema import Experiment
from mien.files import replacing
from mien.parquet import read_table
from mien.protocols import Roles, check_roles, role_ids
from mien.runs.run import Run
from mien.training.start_weights import KEY

_OTHER_DEVICES = (
    "on another number of devices: the same rows in the same order, changed alike; sums are rounded otherwise, and "
    "dropout draws other numbers"
)


def begin_session(run: Run, experiment: Experiment, dataset: Dataset, command: Sequence[str]) -> None:
    """Write the environment at the start; when the run goes on, check that it still fits and add a session."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    on = {"devices": experiment.train.devices, "nodes": experiment.train.nodes}
    session = {"started": now, "command": list(command), **on}
    if (run.folder / "environment.json").exists():
        made = run.environment
        if made["dataset"]["fingerprint"] != dataset.card.fingerprint:
            raise MienError(
                f"data set '{dataset.card.name}' has changed since run {run.name} began",
                file=str(dataset.folder),
                expected=f"fingerprint {made['dataset']['fingerprint'][:16]}, "
                f"but it is {dataset.card.fingerprint[:16]}",
            )
        last = made.setdefault("sessions", [{"started": now}])[-1]
        if "duration_s" not in last:
            # It was killed; what came after its last whole epoch is lost.
            begun = datetime.datetime.fromisoformat(last["started"]).timestamp()
            kept = run.checkpoint.stat().st_mtime if run.checkpoint.exists() else begun
            last["duration_s"] = round(max(kept - begun, 0.0), 1)
        if on != {key: last.get(key, 1) for key in on}:
            session["note"] = _OTHER_DEVICES
        made |= on
        made["sessions"].append(session)
    else:
        device = environment.device(experiment.train.device)
        made = {
            **environment.describe(),
            "device": device,
            **on,
            "precision": environment.precision(experiment.train.precision, device),
            "seed": experiment.train.seed,
            "dataset": {
                "name": dataset.card.name,
                "fingerprint": dataset.card.fingerprint,
                "notes": list(dataset.card.notes),
            },
            "command": list(command),
            "duration_s": 0.0,
            "sessions": [session],
        }
    run.write_environment(made)


def end_session(run: Run) -> None:
    """Write how long the session, and so the whole training, has taken."""
    made = run.environment
    started = datetime.datetime.fromisoformat(made["sessions"][-1]["started"])
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    made["sessions"][-1]["duration_s"] = round(seconds, 1)
    made["duration_s"] = round(sum(one.get("duration_s", 0.0) for one in made["sessions"]), 1)
    run.write_environment(made)


def same_start(run: Run, found: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """The record of start weights; a run that was stopped in its first epoch must begin with the same again."""
    was, now = (one.get("sha256", "none") for one in (before or found, found))
    if was != now:
        raise MienError(
            f"the start weights have changed since run {run.name} began",
            key=KEY,
            expected=f"SHA-256 {was[:16]}, but it is {now[:16]}",
        )
    return found


def keep_roles(run: Run, dataset: Dataset, roles: Roles) -> None:
    """Save which rows a protocol took out of whole splits; a run that goes on must find the same."""
    if run.roles.exists():
        check_roles(dataset, roles, read_table(run.roles, ["split", "id", "role"], "the rows of the roles"))
    elif (rows := role_ids(dataset, roles)).num_rows:
        with replacing(run.roles) as temporary:
            pq.write_table(rows, temporary)
