"""The workers of a sweep: each takes a trial, trains its run to the end as `mien train` does, and takes the next."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from mien.data.dataset import open_dataset
from mien.errors import FailedError, MienError, reason
from mien.experiment.schema import load_experiment
from mien.progress import console
from mien.runs.epochs import Epoch, read_epochs
from mien.runs.run import Run, list_runs, new_run
from mien.side_by_side import stopped_at_the_end
from mien.sweep.file import Axis, Sweep
from mien.sweep.study import (
    BEAT,
    PATIENCE,
    Claim,
    Study,
    Watch,
    beating,
    claimed,
    make_study,
    plan_of,
    pruner_of,
    sampler_of,
)
from mien.sweep.summary import told_value
from mien.workflow import checked, train_to_end
from mien.workspace import Workspace

# s between two looks at trials that others work on.
_LOOK = 0.5


class PrunedError(FailedError):
    """A trial was ended early."""


def begin(workspace: Workspace, sweep: Sweep, storage: str | None = None) -> Study:
    """The study of a sweep, every end of its space checked as an experiment that can be built, on its data set."""
    for axis, path, given in sweep.ends():
        try:
            checked(workspace, sweep.base, sweep.changes(given))
        except MienError as error:
            first, *more = sweep.located(error, axis, path)
            first.more = tuple(more)
            raise first from error
    dataset = open_dataset(workspace, sweep.experiment.dataset.name)
    return make_study(workspace, sweep, plan_of(sweep, dataset.card.fingerprint), storage)


def work_in_processes(study: Study, workers: int, words: Sequence[str]) -> None:
    """Let so many processes work, each called by these words, until no trial is left; they share the cores evenly."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    processes: list[subprocess.Popen[bytes]] = []
    with stopped_at_the_end(processes):
        for _ in range(workers):
            # In a group of its own: Ctrl-C in the terminal reaches this process alone, which then stops them in order.
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "mien", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "OMP_NUM_THREADS": threads},
                    start_new_session=True,
                )
            )
        for process in processes:
            process.wait()
    left = study.trials(TrialState.RUNNING, TrialState.WAITING)
    if left:
        codes = ", ".join(str(process.returncode) for process in processes)
        raise FailedError(
            f"{len(left)} trials are left, and no worker is (exit codes {codes})",
            expected="the same command again, which goes on",
        )


def work(
    study: Study,
    workspace: Workspace,
    sweep: Sweep,
    command: Sequence[str],
    *,
    beat: float = BEAT,
    patience: float = PATIENCE,
) -> None:
    """Take trials until none is left or runs; `beat` and `patience` are seconds."""
    watch = Watch(study, patience)
    while True:
        with claimed(study) as claim:
            if claim is not None:
                with beating(study, claim.trial, beat):
                    _run_trial(study, claim, workspace, sweep, command)
                continue
        if not study.trials(TrialState.RUNNING, TrialState.WAITING):
            return
        watch.look()
        time.sleep(_LOOK)


def _run_trial(study: Study, claim: Claim, workspace: Workspace, sweep: Sweep, command: Sequence[str]) -> None:
    study.study.sampler = sampler_of(sweep.sampler, sweep.seed, claim.trial.number)
    study.study.pruner = pruner_of(sweep.pruner)
    trial = optuna.Trial(study.study, claim.trial._trial_id)
    values = suggest(trial, sweep.axes)
    try:
        _train_trial(trial, workspace, sweep, values, command, claim.begun)
    except UpdateFinishedTrialError:
        # Others held this worker for dead; what they made of the trial stands.
        return
    _tell(study, claim, sweep)


def suggest(trial: optuna.Trial, axes: Sequence[Axis]) -> dict[str, Any]:
    """A trial's value of each key that is searched in it."""
    values: dict[str, Any] = {}
    for axis in axes:
        if not axis.active(values):
            continue
        if axis.kind == "choices":
            # Optuna stores no lists.
            choices = {one if _is_plain(one) else json.dumps(one): one for one in axis.values}
            values[axis.key] = choices[trial.suggest_categorical(axis.key, list(choices))]
        elif axis.kind == "int":
            values[axis.key] = trial.suggest_int(axis.key, *axis.values)
        else:
            values[axis.key] = trial.suggest_float(axis.key, *axis.values, log=axis.kind == "log")
    return values


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _train_trial(
    trial: optuna.Trial, workspace: Workspace, sweep: Sweep, values: dict[str, Any], command: Sequence[str], begun: bool
) -> None:
    """Train a trial's run to its end and tell the study; a run that was begun goes on."""
    score = sweep.experiment.task.score

    def report(epoch: Epoch) -> None:
        if epoch.number not in trial.storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(epoch.choose_score, epoch.number)

    def told(epoch: Epoch) -> None:
        report(epoch)
        if epoch.number < epoch.epochs and trial.should_prune():
            raise PrunedError(f"ended early, after epoch {epoch.number} of {epoch.epochs}")

    try:
        run = _run_of(trial, workspace, sweep, values, begun)
        done = read_epochs(run)
        for epoch in done[:-1]:
            report(epoch)
        for epoch in done[-1:]:
            told(epoch)
        outcome = train_to_end(run, command, on_epoch=told)
    except PrunedError:
        trial.study.tell(trial, state=TrialState.PRUNED)
    except (OSError, StorageInternalError, UpdateFinishedTrialError):
        raise  # A full disk isn't the trial's fault: it goes on where the sweep does.
    except Exception as error:  # What a model of that size raises can be anything, as where memory ends.
        trial.set_user_attr("error", str(error) if isinstance(error, MienError) else reason(error))
        trial.study.tell(trial, state=TrialState.FAIL)
    else:
        measured = outcome.metrics
        kept = {key: measured[key] for key in ("split", "n")}
        trial.set_user_attr("choose", {**kept, "interval": list(measured["interval"][score.key])})
        trial.study.tell(trial, measured[score.key])


def _run_of(trial: optuna.Trial, workspace: Workspace, sweep: Sweep, values: dict[str, Any], begun: bool) -> Run:
    """The run of a trial: the one that it has, else one that a worker made just before it died, else a new one."""
    name = str(trial.user_attrs.get("run", ""))
    # Whoever wrote the storage doesn't say where else to write.
    if re.fullmatch(rf"{re.escape(sweep.name)}/[1-9][0-9]*", name) and (workspace.runs / name).is_dir():
        return Run(workspace.runs / name, workspace if workspace.named else None)
    experiment = load_experiment(sweep.base, sweep.changes(values))
    left = _orphan(trial, workspace, experiment.to_yaml()) if begun else None
    run = left or new_run(workspace, experiment)
    trial.set_user_attr("run", run.name)
    return run


def _orphan(trial: optuna.Trial, workspace: Workspace, text: str) -> Run | None:
    taken = {one.user_attrs.get("run") for one in trial.study.get_trials(deepcopy=False)}
    for run in list_runs(workspace):
        fresh = run.name not in taken and run.state == "interrupted" and not run.history.exists()
        if fresh and run.experiment_file.read_text(encoding="utf-8") == text:
            return run
    return None


def _tell(study: Study, claim: Claim, sweep: Sweep) -> None:
    """A line on standard error of what a trial came to."""
    trial = study.storage.get_trial(claim.trial._trial_id)
    score = sweep.experiment.task.score
    if trial.value is not None and trial.state == TrialState.COMPLETE:
        low, high = trial.user_attrs["choose"]["interval"]
        came = f"choose {score.label} {score.bracketed(trial.value, (low, high))}"
    elif trial.state == TrialState.PRUNED:
        came = f"ended early, after epoch {trial.last_step}"
    else:
        came = f"failed: {trial.user_attrs.get('error', 'its score is no number')}"
    given = ", ".join(f"{key} {told_value(value)}" for key, value in trial.params.items())
    line = f"trial {trial.number + 1}/{sweep.trials} {trial.user_attrs.get('run', '')} {came} | {given}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
