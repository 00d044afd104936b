"""A sweep: its trials are runs, the reporting role stays closed, and however many work, none is lost or run twice."""

import csv
import json
import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from conftest import TINY, read_json, write_tiny
from optuna.trial import TrialState
from pages import Page
from verbs import call

from mien.errors import MienError
from mien.intervals import percentile_interval
from mien.runs.ledger import entries
from mien.runs.run import Run, list_runs
from mien.sweep.file import read_sweep
from mien.sweep.study import Study, claimed, make_study, open_study, plan_of, sampler_of
from mien.sweep.summary import best_interval, importance, summary
from mien.sweep.work import begin, suggest, work
from mien.workflow import new_runs, train_to_end
from mien.workspace import Workspace

SWEEP = """
name: rates
experiment: tiny.yaml
trials: 3
space:
  optimizer.lr: {log: [1e-3, 1e-1]}
  model.fc: {choices: [[16], [8, 8]]}
"""

TWO = SWEEP.replace("trials: 3", "trials: 2")


@pytest.fixture
def file(workspace: Workspace, tmp_path: Path) -> Path:
    """A sweep's file, on a data set that is there."""
    write_tiny(workspace)
    return written(tmp_path)


def written(folder: Path, sweep: str = SWEEP) -> Path:
    (folder / "tiny.yaml").write_text(TINY)
    file = folder / "rates.yaml"
    file.write_text(sweep)
    return file


def epochs(run: Run) -> int:
    return len(list(csv.reader(run.history.read_text().splitlines()))) - 1


def test_trials_are_runs_and_the_report_role_stays_closed(
    workspace: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    file.write_text(TWO)
    done = call("sweep", file, "train.epochs=1", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["states"] == {"finished": 2, "ended early": 0, "failed": 0, "running": 0, "waiting": 0}
    assert [one["trial"] for one in sorted(told["trials"], key=lambda one: one["run"])] == [1, 2]

    runs = list_runs(workspace)
    assert [run.name for run in runs] == ["rates/1", "rates/2"]
    for trial in told["trials"]:
        run = next(run for run in runs if run.name == trial["run"])
        assert (run.state, epochs(run), run.page.is_file()) == ("finished", 1, True)
        assert run.experiment.optimizer.parameters["lr"] == trial["values"]["optimizer.lr"]
        assert json.dumps(run.experiment.model.parameters["fc"]) == trial["values"]["model.fc"]
        measured = json.loads(run.metrics_file("choose").read_text())
        assert (trial["score"], trial["n"], trial["split"]) == (measured["accuracy"], 35, "validation")
        assert trial["interval"] == measured["interval"]["accuracy"]
        assert not run.metrics_file("report").exists()
        assert not run.predictions("report").exists()
    assert entries(workspace.root) == []
    assert told["best"] == max(told["trials"], key=lambda one: one["score"])

    # The same command again trains nothing.
    before = {run.name: run.weights.stat().st_mtime_ns for run in runs}
    again = call("sweep", file, "train.epochs=1", "--json")
    assert again.json == told
    assert {run.name: run.weights.stat().st_mtime_ns for run in list_runs(workspace)} == before

    best = call("sweep", "best", "rates", "--json").json
    assert best["said"] == told["said"]
    assert best["said"].startswith(
        "The best of 2 trials was picked by this very score, so it is optimistic: part of it"
    )
    assert best["said"].endswith(f"mien evaluate {told['best']['run']}")
    assert read_json((workspace.root / "sweeps/rates/report.json").read_text())["trials"] == told["trials"]

    page = Page((workspace.root / "sweeps/rates/report.html").read_text())
    for trial in told["trials"]:
        low, high = trial["interval"]
        assert f"{trial['score']:.3f} [{low:.3f}, {high:.3f}]" in page.row(str(trial["trial"]))[2].replace("\xa0", " ")
    assert told["said"].split(":")[0] in page.text

    # More trials are more; fewer, or another plan, are refused.
    file.write_text(SWEEP)
    more = call("sweep", file, "train.epochs=1", "--json").json
    assert [one for one in more["trials"] if one["trial"] < 3] == told["trials"]
    assert len(list_runs(workspace)) == 3
    for text, overrides, message in (
        (TWO, ["train.epochs=1"], "trials: the sweep 'rates' has 3 trials already; expected at least 3"),
        (SWEEP, [], "experiment: the sweep 'rates' was begun with another experiment; expected the same as then, or "),
        (SWEEP.replace("1e-3", "1e-4"), ["train.epochs=1"], "space: the sweep 'rates' was begun with another space; "),
    ):
        file.write_text(text)
        refused = call("sweep", file, *overrides)
        assert refused.code == 2
        assert refused.err.startswith(f"mien: {file}: {message}")


def test_a_sweep_whose_storage_is_damaged_is_told(workspace: Workspace, file: Path, tmp_path: Path) -> None:
    sweep = read_sweep(file)
    make_study(workspace, sweep, plan_of(sweep, "0" * 64), None)
    journal = workspace.root / "sweeps/rates/journal.log"
    lines = journal.read_text().splitlines()
    words = ("sweep", "status", "rates", "--workspace", workspace.root)
    for text, message in (
        ("{}\n" + "\n".join(lines) + "\n", f"mien: {journal}: the journal can't be read (KeyError: "),
        ("no journal\n" * 3, f"mien: {journal}: the journal can't be read (JSONDecodeError: "),
        (lines[0] + "\n", f"mien: {journal.parent}: experiment: the plan of the study can't be read "),
        ("", f"mien: {journal.parent}: its storage has no such study; expected the sweep begun anew"),
    ):
        journal.write_text(text)
        done = call(*words)
        assert done.code in (1, 2)
        assert done.err.startswith(message)
    journal.unlink()
    assert call(*words).err.startswith(f"mien: {journal}: the journal of the sweep isn't here; expected the disk ")
    assert not journal.exists()


def test_values_are_drawn_by_the_seed_and_the_trials_number(workspace: Workspace, file: Path) -> None:
    def drawn(name: str, seed: int) -> list[dict[str, Any]]:
        file.write_text(SWEEP.replace("rates", name) + f"seed: {seed}\n")
        sweep = read_sweep(file)
        study = make_study(workspace, sweep, plan_of(sweep, "0" * 64), None)
        values = []
        # In any order, and by whichever worker.
        for trial in reversed(study.trials()):
            assert study.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            study.study.sampler = sampler_of(sweep.sampler, sweep.seed, trial.number)
            values.append(suggest(optuna.Trial(study.study, trial._trial_id), sweep.axes))
        return values

    first = drawn("a", 0)
    assert drawn("b", 0) == first
    assert drawn("c", 1) != first
    assert len({one["optimizer.lr"] for one in first}) == 3
    assert {str(one["model.fc"]) for one in first} <= {"[16]", "[8, 8]"}


def test_a_bad_trial_ends_early_and_one_that_fails_is_told(workspace: Workspace, file: Path) -> None:
    text = SWEEP.replace("trials: 3", "trials: 3\npruner: {name: median, trials: 1}")
    file.write_text(text.replace("[1e-3, 1e-1]", "[1e-5, 1e30]"))
    sweep = read_sweep(file)
    study = begin(workspace, sweep)
    # What a sampler would have drawn, so that each outcome is there.
    for trial, rate in zip(study.trials(), (0.05, 1e-5, 1e30), strict=True):
        fixed = {"optimizer.lr": rate, "model.fc": "[16]"}
        study.storage.set_trial_system_attr(trial._trial_id, "fixed_params", fixed)
    work(study, workspace, sweep, ["mien", "sweep"])
    good, early, failed = study.trials()
    assert (good.state, failed.state) == (TrialState.COMPLETE, TrialState.FAIL)
    assert (early.state, early.last_step) == (TrialState.PRUNED, 1)
    assert failed.user_attrs["error"].startswith("optimizer.lr: the loss is")
    run = Run(workspace.runs / early.user_attrs["run"])
    assert (run.state, epochs(run), run.checkpoint.is_file()) == ("stopped", 1, True)
    status = json.loads((run.folder / "status.json").read_text())
    assert status["reason"] == "PrunedError: ended early, after epoch 1 of 3"
    assert summary(study)["states"]["ended early"] == 1


def test_a_finished_run_whose_trial_was_not_told_is_not_ended_early(workspace: Workspace, file: Path) -> None:
    file.write_text(TWO + "pruner: {name: median, trials: 1}\n")
    sweep = read_sweep(file, ["train.epochs=1"])
    study = begin(workspace, sweep)
    best, late = study.trials()
    for trial, rate in ((best, 0.05), (late, 1e-3)):
        fixed = {"optimizer.lr": rate, "model.fc": "[16]"}
        study.storage.set_trial_system_attr(trial._trial_id, "fixed_params", fixed)
    with claimed(study) as claim:
        assert claim is not None
        done = optuna.Trial(study.study, claim.trial._trial_id)
        suggest(done, sweep.axes)
        done.report(1.0, 1)
        done.set_user_attr("choose", {"split": "validation", "n": 35, "interval": [0.9, 1.0]})
        study.study.tell(done, 1.0)
    # Its worker died after the last epoch.
    with claimed(study) as claim:
        assert claim is not None
        (run,) = new_runs(workspace, sweep.base, sweep.changes({"optimizer.lr": 1e-3, "model.fc": [16]}))
        train_to_end(run, ["mien"])
        study.storage.set_trial_user_attr(claim.trial._trial_id, "run", run.name)
    work(study, workspace, sweep, ["mien", "sweep"])
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 2
    measured = json.loads(run.metrics_file("choose").read_text())["accuracy"]
    assert study.trials()[1].value == measured < 1
    assert [one.name for one in list_runs(workspace)] == [run.name]


def test_where_all_fail_the_first_error_is_told(
    workspace: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    file.write_text(SWEEP.replace("[1e-3, 1e-1]", "[1e28, 1e30]").replace("trials: 3", "trials: 1"))
    done = call("sweep", file)
    assert done.code == 1
    assert ": all of 1 trial failed, the first: optimizer.lr: the loss is" in done.err


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (
            "sqlite:///a.db",
            "--storage: 'sqlite' can't be a storage; expected postgresql://USER@HOST/DATABASE, or the path of a "
            "journal on a disk that all workers share",
        ),
        (
            "postgresql://me:secret@host/a",
            "--storage: a password doesn't belong on a command line; expected it in PGPASSWORD or ~/.pgpass",
        ),
        ("none/a.log", "none/a.log: --storage: no journal can be here; expected a file in a folder that is there"),
    ],
)
def test_what_is_no_storage(
    workspace: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch, storage: str, message: str
) -> None:
    monkeypatch.chdir(file.parent)
    done = call("sweep", "rates.yaml", "--storage", storage, "--workspace", workspace.root)
    assert done.code == 2
    assert done.err.replace(f"{file.parent}/", "") == f"mien: {message}\n"
    assert not (workspace.root / "sweeps").exists()


def test_a_space_that_no_model_is_built_of_makes_no_study(workspace: Workspace, file: Path) -> None:
    file.write_text(SWEEP + "  model.kernel_size: {choices: [5, 99]}\n")
    with pytest.raises(MienError) as error:
        begin(workspace, read_sweep(file))
    assert (error.value.file, error.value.line) == (str(file), 8)
    assert not (workspace.root / "sweeps").exists()
    assert list_runs(workspace) == []


def test_a_sweep_that_is_not_there(workspace: Workspace) -> None:
    told = call("sweep", "status", "rates", "--workspace", workspace.root).err
    assert told.startswith("mien: there is no sweep 'rates'; expected a sweep in ")
    assert call("sweep", "rates.yaml", "--workspace", workspace.root).err == (
        "mien: rates.yaml: no such file; expected a sweep file\n"
    )


# Many workers.

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "pytorch_lightning", "mien.training.fit", "mien.report.page", "mien.sweep.work"]
)


# So many that a kill comes between them.
EPOCHS = 8


def worker(home: Path, file: Path, storage: str | None, patience: float) -> None:
    """A worker, as `mien sweep FILE` is one."""
    workspace, sweep = Workspace(home), read_sweep(file, [f"train.epochs={EPOCHS}"])
    work(begin(workspace, sweep, storage), workspace, sweep, ["mien", "sweep"], beat=0.2, patience=patience)


def started(homes: Sequence[Path], file: Path, storage: str | None, patience: float = 600) -> list[BaseProcess]:
    processes: list[BaseProcess] = []
    for home in homes:
        processes.append(CONTEXT.Process(target=worker, args=(home, file, storage, patience)))
        processes[-1].start()
    return processes


def killed_in_a_trial(study: Study, processes: Sequence[BaseProcess]) -> tuple[BaseProcess, int]:
    """Kill the worker whose trial is first to have an epoch behind it: the process, and the trial's number."""
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(0.02)
            for trial in study.trials(TrialState.RUNNING):
                if trial.intermediate_values and trial.user_attrs.get("process") == process.pid:
                    process.kill()
                    process.join()
                    return process, trial.number
    raise AssertionError("no worker was seen in a trial")


def check_that_none_is_lost(study: Study, n: int, workspaces: Sequence[Workspace]) -> None:
    """Each trial is finished by a run of its own, and each run is a trial's, or was of one that died elsewhere."""
    trials = study.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * n
    runs = {}
    for workspace in workspaces:
        folder = json.loads((workspace.root / "sweeps/rates/sweep.json").read_text())["id"]
        runs |= {(folder, run.name): run for run in list_runs(workspace)}
    own = [(trial.user_attrs["folder"], trial.user_attrs["run"]) for trial in trials]
    assert len(set(own)) == n
    assert {(runs[name].state, epochs(runs[name])) for name in own} == {("finished", EPOCHS)}
    died = [trial for trial in study.study.get_trials() if trial.user_attrs.get("died")]
    assert runs.keys() == {*own, *((trial.user_attrs["folder"], trial.user_attrs["run"]) for trial in died)}


def four_workers(workspace: Workspace, file: Path, storage: str | None) -> None:
    """Four workers that begin at once, of which one is killed: another goes on with the very run."""
    processes = started([workspace.root] * 4, file, storage)
    while not (workspace.root / "sweeps/rates/sweep.json").is_file():
        assert processes[0].exitcode is None
        processes[0].join(0.02)
    study = None
    while study is None:
        assert processes[0].exitcode is None
        try:
            study = open_study(workspace, "rates")
            study.plan  # noqa: B018
        except (MienError, KeyError):
            study = None
    victim, number = killed_in_a_trial(study, processes)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes if process is not victim] == [0, 0, 0]
    assert victim.exitcode == -signal.SIGKILL
    check_that_none_is_lost(study, 5, [workspace])
    assert len(list_runs(workspace)) == 5
    sessions = {trial.number: len(run_of(workspace, trial).environment["sessions"]) for trial in study.trials()}
    # One that was killed while its page was written has been trained in one.
    assert sessions.pop(number) in (1, 2)
    assert set(sessions.values()) == {1}
    assert entries(workspace.root) == []


def run_of(workspace: Workspace, trial: optuna.trial.FrozenTrial) -> Run:
    return Run(workspace.runs / trial.user_attrs["run"])


def two_machines(workspace: Workspace, file: Path, storage: str) -> None:
    """Two workspaces that share a storage alone: what was killed in one is failed, and done anew in the other."""
    other = Workspace(workspace.root.parent / "other")
    shutil.copytree(workspace.datasets, other.datasets)
    (first,) = started([workspace.root], file, storage)
    while not (workspace.root / "sweeps/rates/trials/0.lock").is_file():
        assert first.exitcode is None
        first.join(0.02)
    study = open_study(workspace, "rates")
    _, number = killed_in_a_trial(study, [first])
    (second,) = started([other.root], file, storage, patience=1)
    second.join()
    assert second.exitcode == 0
    everything = study.study.get_trials()
    assert len(everything) == 4
    lost = everything[number]
    assert (lost.state, lost.user_attrs["died"]) == (TrialState.FAIL, True)
    again = everything[3]
    assert (again.state, again.params) == (TrialState.COMPLETE, lost.params)
    check_that_none_is_lost(study, 3, [workspace, other])


FIVE = SWEEP.replace("trials: 3", "trials: 5")


@pytest.mark.large
def test_of_four_workers_on_a_journal_one_is_killed(workspace: Workspace, file: Path) -> None:
    file.write_text(FIVE)
    four_workers(workspace, file, None)


@pytest.mark.large
def test_a_machine_that_dies_leaves_its_trial_to_another(workspace: Workspace, file: Path, tmp_path: Path) -> None:
    two_machines(workspace, file, str(tmp_path / "journal.log"))


@pytest.mark.large
def test_workers_as_the_verb_starts_them(workspace: Workspace, file: Path) -> None:
    file.write_text(TWO)
    done = call("sweep", file, "train.epochs=1", "--workers", 2, "--workspace", workspace.root, "--json")
    assert done.code == 0, done.err
    assert done.json["states"]["finished"] == 2
    assert {run.state for run in list_runs(workspace)} == {"finished"}


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of a database in a PostgreSQL of the test's own, which root may not run."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert folders, "PostgreSQL isn't installed"
    programs = folders[-1]
    user = "postgres" if os.getuid() == 0 else None
    name = user or pwd.getpwuid(os.getuid()).pw_name
    # Not in tmp_path, whose parents are closed to others.
    with tempfile.TemporaryDirectory(prefix="mien-", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)

        def run(*words: str) -> None:
            subprocess.run(words, check=True, cwd="/", user=user, stdout=subprocess.DEVNULL)

        run(str(programs / "initdb"), "--auth", "trust", "--no-sync", "-D", f"{folder}/data")
        # A socket in the folder and no port, so that nothing else can be in the way.
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run(str(programs / "pg_ctl"), "-w", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql://{name}@/postgres?host={folder}"
        finally:
            run(str(programs / "pg_ctl"), "-w", "-D", f"{folder}/data", "-m", "immediate", "stop")


@pytest.mark.postgresql
def test_of_four_workers_on_postgresql_one_is_killed(workspace: Workspace, file: Path, postgresql: str) -> None:
    file.write_text(FIVE)
    four_workers(workspace, file, postgresql)


@pytest.mark.postgresql
def test_a_machine_that_dies_leaves_its_trial_to_another_on_postgresql(
    workspace: Workspace, file: Path, postgresql: str
) -> None:
    two_machines(workspace, file, postgresql)


def test_a_database_that_is_not_there_is_told(workspace: Workspace, file: Path, tmp_path: Path) -> None:
    done = call("sweep", file, "--storage", f"postgresql://me@/a?host={tmp_path}", "--workspace", workspace.root)
    assert done.code == 1
    assert done.err.startswith("mien: --storage: the storage can't be reached (OperationalError: ")


# What is told of them.


def test_the_best_of_many_by_bootstrap() -> None:
    values = np.random.default_rng(1).normal(0.6, 0.05, 20)
    draws = [max(np.random.default_rng(seed).choice(values, 20)) for seed in range(2000)]
    expected = percentile_interval(np.array(draws), values.max())
    assert best_interval(values, higher=True) == pytest.approx(expected, abs=0.005)
    assert best_interval(-values, higher=False) == pytest.approx([-expected[1], -expected[0]], abs=0.005)
    assert best_interval(np.array([0.5]), higher=True) == (0.5, 0.5)


def test_importance_finds_the_key_that_matters(workspace: Workspace, file: Path) -> None:
    file.write_text(SWEEP.replace("trials: 3", "trials: 24") + "  model.dropout: {range: [0, 0.5]}\n")
    sweep = read_sweep(file)
    study = make_study(workspace, sweep, plan_of(sweep, "0" * 64), None)
    random = np.random.default_rng(0)
    for trial in study.trials():
        study.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        own = optuna.Trial(study.study, trial._trial_id)
        rate = own.suggest_float("optimizer.lr", 1e-3, 1e-1, log=True)
        own.suggest_categorical("model.fc", ["[16]", "[8, 8]"])
        if trial.number:
            own.suggest_float("model.dropout", 0, 0.5)
        study.study.tell(own, np.log10(rate) + 0.01 * random.normal())
    found = importance(study, study.trials())
    assert list(found) == ["optimizer.lr", "model.fc", "model.dropout"]
    assert found["optimizer.lr"] is not None
    assert found["optimizer.lr"] > 0.9
    assert found["model.dropout"] is None  # One trial lacks it.
    assert importance(study, study.trials()[:4]) == {}
