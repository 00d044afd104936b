"""A list of experiments is trained in processes of their own, stops in time, and goes on where it stopped."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_tiny
from safetensors.torch import load_file

from mien.errors import MienError
from mien.runs.manifest import changes
from mien.runs.run import Run, find_run, list_runs
from mien.side_by_side import train_at_once
from mien.training.fit import train
from mien.training.recorder import TimeUpError
from mien.workflow import listed_runs, new_runs
from mien.workspace import Workspace

pytestmark = pytest.mark.large


@pytest.fixture
def files(workspace: Workspace, tiny_file: Path) -> list[Path]:
    """Two experiments, on a data set that is there."""
    write_tiny(workspace)
    other = tiny_file.with_name("other.yaml")
    other.write_text(tiny_file.read_text().replace("name: tiny\n", "name: other\n", 1))
    return [tiny_file, other]


def epochs(run: Run) -> int:
    return len(run.history.read_text().splitlines()) - 1


def test_a_list_ends_with_the_weights_of_single_trainings(workspace: Workspace, files: list[Path]) -> None:
    (alone,) = new_runs(workspace, files[0], ["name=alone"])
    train(workspace, alone, ["mien", "train"])
    runs = listed_runs(workspace, files, seeds=2)
    assert [run.name for run in runs] == ["tiny/1", "tiny/2", "other/1", "other/2"]
    assert {run.state for run in runs} == {"waiting"}

    ended = train_at_once(runs, 2)
    assert [(one.state, one.error) for one in ended] == [("finished", "")] * 4
    assert [epochs(run) for run in runs] == [3, 3, 3, 3]
    one, other = load_file(runs[0].weights), load_file(alone.weights)
    assert all((one[name] == other[name]).all() for name in other)
    assert "tiny/1 epoch 3/3" in (runs[0].folder / "training.log").read_text()

    # The log goes on after the manifest was sealed, and is no damage.
    assert changes(runs[0]) == {}

    # Nothing is trained twice; one more seed is one more run, and changed data are other data.
    assert [run.name for run in listed_runs(workspace, files[1:], seeds=2)] == ["other/1", "other/2"]
    assert [run.name for run in listed_runs(workspace, files[:1], ["train.seed=9"])] == ["tiny/3"]


def test_a_run_on_other_data_is_another(workspace: Workspace, files: list[Path]) -> None:
    runs = listed_runs(workspace, files[:1])
    train(workspace, runs[0], ["mien", "train"])
    assert [run.name for run in listed_runs(workspace, files[:1])] == ["tiny/1"]
    (workspace.datasets / "tiny").rename(workspace.datasets / "old")
    write_tiny(workspace, seed=1)
    assert [run.name for run in listed_runs(workspace, files[:1])] == ["tiny/2"]


def test_an_error_in_one_file_leaves_no_run(workspace: Workspace, files: list[Path]) -> None:
    files[1].write_text(files[1].read_text().replace("lr: 0.05", "lr: -1"))
    with pytest.raises(MienError, match=r"optimizer\.lr"):
        listed_runs(workspace, files)
    assert list_runs(workspace) == []


def test_it_stops_between_epochs_and_goes_on(workspace: Workspace, files: list[Path]) -> None:
    (alone,) = new_runs(workspace, files[0], ["name=alone"])
    train(workspace, alone, ["mien", "train"])
    (run,) = new_runs(workspace, files[0])
    with pytest.raises(TimeUpError, match="the time was up after epoch 1 of 3"):
        train(workspace, run, ["mien", "train"], stop_after=0.0)
    assert (run.state, epochs(run)) == ("stopped", 1)
    # A run that has stopped is in the list, and a deadline that isn't reached changes nothing.
    assert [one.folder for one in listed_runs(workspace, files[:1])] == [run.folder]
    train(workspace, run, ["mien", "train"], stop_after=60.0)
    one, other = load_file(run.weights), load_file(alone.weights)
    assert all((one[name] == other[name]).all() for name in other)


def test_one_that_fails_is_told_and_the_others_go_on(workspace: Workspace, files: list[Path], mien) -> None:
    files[0].write_text(files[0].read_text().replace("lr: 0.05", "lr: 1e30"))
    done = mien("train", *files, "--at-once", "2", "--json")
    assert done.returncode == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    first, second = told[0]["runs"]
    assert (first["state"], second["state"]) == ("failed", "finished")
    assert first["error"].startswith("optimizer.lr: the loss is")
    assert told[1]["error"] == {"message": "1 of 2 runs failed", "expected": "the same command again, once mended"}


def test_ctrl_c_and_sigterm_stop_all(workspace: Workspace, files: list[Path]) -> None:
    words = [sys.executable, "-m", "mien", "train", *map(str, files), "train.epochs=100000", "--at-once", "2"]
    with subprocess.Popen([*words, "--workspace", str(workspace.root)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        training = set()
        for line in process.stderr:
            if "epoch 2/" in line:
                training.add(line.split()[0])
            # Both must be at it: on a busy machine one trains while the other still imports torch.
            if len(training) == 2:
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
    assert process.returncode != 0
    assert {find_run(workspace, name).state for name in ("tiny/1", "other/1")} <= {"stopped", "interrupted"}
    assert all(epochs(find_run(workspace, name)) >= 1 for name in ("tiny/1", "other/1"))


def test_nothing_begins_when_there_is_no_time(workspace: Workspace, files: list[Path]) -> None:
    runs = listed_runs(workspace, files)
    assert [one.state for one in train_at_once(runs, 2, stop_after=0.0)] == ["waiting", "waiting"]
