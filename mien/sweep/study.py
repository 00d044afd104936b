"""The study of a sweep in Optuna's storage: made once with all its trials waiting, each taken by one worker alone.

A worker that dies leaves its trial running. Where they share a folder its lock tells so at once, and another worker
goes on with the very run; elsewhere its beat stops, and the trial is failed and waits anew with the same values.
"""

import contextlib
import fcntl
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from mien.errors import FailedError, MienError, nearest, reason
from mien.extras import require
from mien.files import TakenError, locked, new_folder, write_json
from mien.reading import Stored, check, read_object, reading
from mien.sweep.file import Pruner, Sweep
from mien.workspace import Workspace

# s between two signs of life, and without one until others hold a worker for dead.
BEAT, PATIENCE = 20.0, 180.0
# The lock in PostgreSQL under which a study is made; any number that nobody else takes.
_MAKING = 0x6D69656E
_SEEDS = 2**32

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Place(Stored):
    """What `sweep.json` says: the folder's own number, and the storage ("" for the journal in the folder)."""

    id: str
    storage: str


class Plan(Stored):
    """What a study keeps of its sweep: see `plan_of`."""

    experiment: str
    fingerprint: str
    space: list[dict[str, Any]]
    sampler: str
    pruner: dict[str, Any]
    seed: int
    score: dict[str, Any]


class Claim(NamedTuple):
    """A trial that this worker alone works on, and whether a worker that died had begun it."""

    trial: FrozenTrial
    begun: bool


class Study:
    """A sweep's study, its storage, and the folder of the sweep in this workspace."""

    def __init__(self, folder: Path, place: Place, storage: BaseStorage, study: optuna.Study) -> None:
        self.folder, self.place = folder, place
        self.storage, self.study = storage, study

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.folder.name

    @property
    def plan(self) -> dict[str, Any]:
        """What every trial is made by, as plain data: experiment, data set, space, sampler, pruner, seed, score."""
        plan: dict[str, Any] = self.study.user_attrs.get("plan", {})
        check(plan, Plan, self.folder, "the plan of the study")
        return plan

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in these states, or all, but for those whose worker died and that were done anew."""
        found = self.study.get_trials(deepcopy=False, states=states or None)
        return [trial for trial in found if not is_replaced(trial)]


def is_replaced(trial: FrozenTrial) -> bool:
    """Whether a trial's worker died elsewhere, and another trial has its values."""
    return trial.state == TrialState.FAIL and "died" in trial.user_attrs


def folder_of(workspace: Workspace, name: str) -> Path:
    """The folder of a sweep."""
    return workspace.root / "sweeps" / name


def open_study(workspace: Workspace, name: str) -> Study:
    """The study of a sweep that was begun in this workspace; MienError for a name that none has."""
    folder = folder_of(workspace, name)
    if not (folder / "sweep.json").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/sweep.json"))
        raise MienError(
            f"there is no sweep '{name}'",
            expected="one of " + ", ".join(there) if there else f"a sweep in {folder.parent}",
            nearest=nearest(name, there),
        )
    place = _place(folder)
    _check_there(place, folder)
    with _reached(place.storage, folder) as storage:
        try:
            return Study(folder, place, storage, optuna.load_study(study_name=name, storage=storage))
        except KeyError as error:
            raise MienError(
                "its storage has no such study", file=str(folder), expected="the sweep begun anew"
            ) from error


def make_study(workspace: Workspace, sweep: Sweep, plan: dict[str, Any], storage: str | None) -> Study:
    """The study of a sweep with all its trials, made by the first call; later ones, anywhere, find it.

    Raises MienError where a study of that name follows another plan, or has more trials already.
    """
    folder = folder_of(workspace, sweep.name)
    given = "" if storage is None else storage if "://" in storage else str(Path(storage).expanduser().resolve())
    check_storage(given)
    with contextlib.suppress(TakenError), new_folder(folder) as new:
        write_json(new / "sweep.json", {"id": secrets.token_hex(8), "storage": given})
        (new / "trials").mkdir()
    place = _place(folder)
    if storage is not None and place.storage != given:
        raise MienError(
            f"the sweep '{sweep.name}' was begun in another storage",
            key="--storage",
            expected=place.storage or "none, for the journal in its folder",
        )
    if storage is None and place.storage:
        _check_there(place, folder)
    with _reached(place.storage, folder) as opened, _making(place.storage, folder, opened):
        study = optuna.create_study(
            study_name=sweep.name,
            storage=opened,
            direction="maximize" if plan["score"]["higher"] else "minimize",
            load_if_exists=True,
        )
        if "plan" not in study.user_attrs:
            study.set_user_attr("plan", plan)
        made = Study(folder, place, opened, study)
        for key, value in plan.items():
            if made.plan.get(key) != json.loads(json.dumps(value)):
                raise MienError(
                    f"the sweep '{sweep.name}' was begun with another {_WORDS.get(key, key)}",
                    file=str(sweep.file),
                    key=key,
                    expected="the same as then, or another name for this one",
                )
        there = len(made.trials())
        if there > sweep.trials:
            raise MienError(
                f"the sweep '{sweep.name}' has {there:,} trials already",
                file=str(sweep.file),
                key="trials",
                expected=f"at least {there:,}",
            )
        for _ in range(sweep.trials - there):
            study.add_trial(create_trial(state=TrialState.WAITING))
    return made


_WORDS = {"fingerprint": "data set", "score": "task"}


def _place(folder: Path) -> Place:
    content = read_object(folder / "sweep.json", Place, "the sweep")
    return Place(**content)


def _check_there(place: Place, folder: Path) -> None:
    journal = journal_of(place.storage, folder)
    if "://" not in place.storage and not journal.is_file():
        raise FailedError("the journal of the sweep isn't here", file=str(journal), expected="the disk that it is on")


def check_storage(storage: str) -> None:
    """Raise MienError for what is neither PostgreSQL's address nor the path of a journal."""
    if "://" not in storage:
        if storage and (Path(storage).is_dir() or not Path(storage).parent.is_dir()):
            raise MienError(
                "no journal can be here", file=storage, key="--storage", expected="a file in a folder that is there"
            )
        return
    parts = urlsplit(storage)
    if parts.scheme != "postgresql":
        raise MienError(
            f"'{parts.scheme}' can't be a storage",
            key="--storage",
            expected="postgresql://USER@HOST/DATABASE, or the path of a journal on a disk that all workers share",
        )
    if parts.password is not None:
        # A command line is seen by all users of a machine, and runs keep it.
        raise MienError(
            "a password doesn't belong on a command line", key="--storage", expected="it in PGPASSWORD or ~/.pgpass"
        )
    require("a sweep in PostgreSQL", "psycopg")


@contextlib.contextmanager
def _reached(storage: str, folder: Path) -> Iterator[BaseStorage]:
    """The storage; whatever its driver raises becomes one sentence."""
    check_storage(storage)
    if not storage.startswith("postgresql://"):
        journal = str(journal_of(storage, folder))
        with reading(Path(journal), "the journal"):
            opened: BaseStorage = JournalStorage(JournalFileBackend(journal, _journal_lock(storage, journal)))
        yield opened
        return
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    address = urlunsplit(urlsplit(storage)._replace(scheme="postgresql+psycopg"))
    try:
        # Of two processes that make the tables at once, one fails.
        with create_engine(address, poolclass=NullPool).connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_MAKING})"))
            # Connections that are kept would be many, with as many workers, and lost at night.
            opened = RDBStorage(address, engine_kwargs={"poolclass": NullPool})
    except SQLAlchemyError as error:
        raise FailedError(
            f"the storage can't be reached ({reason(getattr(error, 'orig', None) or error)})", key="--storage"
        ) from error
    yield opened


def journal_of(storage: str, folder: Path) -> Path:
    """The file of a journal."""
    return Path(storage) if storage else folder / "journal.log"


def _journal_lock(storage: str, journal: str) -> Any:
    """What a journal is written under; on a disk that machines share Optuna's own lock, left for 30 s by a kill."""
    return JournalFileSymlinkLock(journal, grace_period=30) if storage else _FileLock(f"{journal}.lock")


class _FileLock:
    """A lock as Optuna's journal wants one, which the system takes from a process that dies."""

    def __init__(self, file: str) -> None:
        self._path = file

    def acquire(self) -> bool:
        """Wait until this process has it."""
        file = Path(self._path).open("a")  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX)
        self._held = file
        return True

    def release(self) -> None:
        """Give it back."""
        self._held.close()


@contextlib.contextmanager
def _making(storage: str, folder: Path, opened: BaseStorage) -> Iterator[None]:
    """Hold the study alone, on whichever machine, so that its trials are made once."""
    if not isinstance(opened, RDBStorage):
        lock = _journal_lock(storage, f"{journal_of(storage, folder)}.making")
        lock.acquire()
        try:
            yield
        finally:
            lock.release()
        return
    from sqlalchemy import text

    with opened.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({_MAKING})"))
        try:
            yield
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({_MAKING})"))


def sampler_of(name: str, seed: int, number: int) -> BaseSampler:
    """What draws a trial's values: anew for each trial by (seed, number), so that a sweep goes on as it would have."""
    own = (seed * 1_000_003 + number) % _SEEDS
    if name == "random":
        return RandomSampler(seed=own)
    # A trial that runs counts as a bad one, so that workers don't all try the same place.
    return TPESampler(seed=own, constant_liar=True)


def pruner_of(pruner: Pruner) -> BasePruner:
    """The rule that ends trials early; epochs are counted from 1."""
    numbers = pruner.numbers
    if pruner.name == "median":
        return MedianPruner(n_startup_trials=numbers["trials"], n_warmup_steps=numbers["epochs"])
    if pruner.name == "halving":
        return SuccessiveHalvingPruner(min_resource=numbers["epochs"], reduction_factor=numbers["factor"])
    return NopPruner()


@contextlib.contextmanager
def claimed(study: Study) -> Iterator[Claim | None]:
    """A trial that is this worker's alone while the context lasts: one whose worker died here, else one that waits."""
    open_trials = study.trials(TrialState.RUNNING, TrialState.WAITING)
    for trial in sorted(open_trials, key=lambda one: (one.state == TrialState.WAITING, one.number)):
        begun = trial.state == TrialState.RUNNING
        if begun and trial.user_attrs.get("folder") != study.place.id:
            continue
        with locked(study.folder / "trials" / f"{trial.number}.lock") as alone:
            if alone and _taken(study, trial, begun):
                for key, value in (("host", platform.node()), ("process", os.getpid())):
                    study.storage.set_trial_user_attr(trial._trial_id, key, value)
                yield Claim(study.storage.get_trial(trial._trial_id), begun)
                return
    yield None


def _taken(study: Study, trial: FrozenTrial, begun: bool) -> bool:
    """Take a trial of which this process holds the lock, unless somebody was faster."""
    if begun:
        now = study.storage.get_trial(trial._trial_id)
        return now.state == TrialState.RUNNING and now.user_attrs.get("folder") == study.place.id
    try:
        if not study.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
            return False
    except UpdateFinishedTrialError:
        return False
    study.storage.set_trial_user_attr(trial._trial_id, "folder", study.place.id)
    return True


@contextlib.contextmanager
def beating(study: Study, trial: FrozenTrial, every: float = BEAT) -> Iterator[None]:
    """Give signs of life for a trial, for workers who don't share its folder."""
    stop = threading.Event()

    def beat() -> None:
        number = 0
        while not stop.wait(every if number else 0):
            number += 1
            # What the storage has against it, the worker itself meets too.
            with contextlib.suppress(Exception):
                study.storage.set_trial_user_attr(trial._trial_id, "beat", f"{platform.node()} {number}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Watch:
    """Looks after trials of workers whose folder isn't at hand, by this process's own clock: none is compared."""

    def __init__(self, study: Study, patience: float = PATIENCE) -> None:
        self.study, self.patience = study, patience
        self._seen: dict[int, tuple[Any, float]] = {}

    def look(self) -> None:
        """Fail each trial whose beat has stood still for too long, and let its values wait anew."""
        for trial in self.study.trials(TrialState.RUNNING):
            if trial.user_attrs.get("folder") == self.study.place.id:
                continue
            now = (trial.user_attrs.get("folder"), trial.user_attrs.get("beat"), len(trial.intermediate_values))
            before, since = self._seen.setdefault(trial.number, (now, time.monotonic()))
            if before != now:
                self._seen[trial.number] = (now, time.monotonic())
            elif time.monotonic() - since > self.patience:
                self._replace(trial)

    def _replace(self, trial: FrozenTrial) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):
            # Should this process die between, the study lacks a trial, and the next call adds it.
            self.study.storage.set_trial_user_attr(trial._trial_id, "died", True)
            if self.study.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL):
                self.study.study.add_trial(
                    create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": trial.params})
                )


def plan_of(sweep: Sweep, fingerprint: str) -> dict[str, Any]:
    """What every trial of a sweep is made by, as plain data that a study keeps."""
    # Plugins stand elsewhere on another machine.
    plugins = tuple(Path(plugin).name for plugin in sweep.experiment.plugins)
    return {
        "experiment": sweep.experiment.model_copy(update={"name": sweep.name, "plugins": plugins}).to_yaml(),
        "fingerprint": fingerprint,
        "space": [
            {"key": axis.key, axis.kind: list(axis.values), **({"when": dict(axis.when)} if axis.when else {})}
            for axis in sweep.axes
        ],
        "sampler": sweep.sampler,
        "pruner": {"name": sweep.pruner.name, **sweep.pruner.numbers},
        "seed": sweep.seed,
        "score": asdict(sweep.experiment.task.score),
    }
