"""A run's folder: its number, its state, how it is found, and that it holds all it needs."""

import shutil
import threading
from pathlib import Path

import pytest
from conftest import TINY

from mien.errors import MienError
from mien.experiment.schema import load_experiment
from mien.experiment.yamlfile import read_yaml
from mien.files import write_json
from mien.runs.run import Run, find_run, find_runs, group_name, is_group, list_runs, new_group, new_run, overview
from mien.workspace import Workspace


def make(workspace: Workspace, file: Path, name: str, state: str = "finished") -> Run:
    run = new_run(workspace, load_experiment(file, [f"name={name}"]))
    run.set_state(state)  # type: ignore[arg-type]
    return run


def test_runs_are_numbered(workspace: Workspace, tiny_file: Path) -> None:
    assert [make(workspace, tiny_file, name).name for name in ("a", "a", "b", "a")] == ["a/1", "a/2", "b/1", "a/3"]
    shutil.rmtree(workspace.runs / "a/2")
    # A number isn't given twice while a later one stands.
    assert make(workspace, tiny_file, "a").name == "a/4"
    assert [run.name for run in list_runs(workspace)] == ["a/1", "a/3", "a/4", "b/1"]
    assert make(workspace, tiny_file, "a").folder == workspace.runs / "a" / "5"


def test_runs_that_begin_at_once_get_numbers_of_their_own(workspace: Workspace, tiny_file: Path) -> None:
    experiment = load_experiment(tiny_file)
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(new_run(workspace, experiment).name)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(f"tiny/{number}" for number in range(1, 13))


def test_a_group_waits_and_is_found_by_its_numbers(workspace: Workspace, tiny_file: Path) -> None:
    experiment = load_experiment(tiny_file)
    make(workspace, tiny_file, "tiny")
    runs = new_group(workspace, [experiment] * 3)
    assert [(run.name, run.state) for run in runs] == [
        ("tiny/2", "waiting"),
        ("tiny/3", "waiting"),
        ("tiny/4", "waiting"),
    ]
    assert group_name(runs) == "tiny/2-4"
    assert group_name([runs[0], runs[2]]) == "tiny/2,4"
    assert group_name(runs[:1]) == "tiny/2"
    for reference, numbers in (
        ("tiny/2-4", [2, 3, 4]),
        ("tiny/4,1", [4, 1]),
        ("tiny/1,3-4", [1, 3, 4]),
        ("tiny/3", [3]),
    ):
        assert [run.name for run in find_runs(workspace, reference)] == [f"tiny/{number}" for number in numbers]
    assert [is_group(text) for text in ("tiny/2-4", "tiny/1,2", "tiny/1", "tiny", "a-b/1", "a,b")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "tiny/1-2",
            "there is no run 'tiny/2'; expected a run's folder, its name, or name/number. Did you mean 'tiny/1'?",
        ),
        ("tiny/2-1", "tiny/2-1: '2-1' counts backwards; expected 1-2"),
        ("tiny/1,1", "tiny/1,1: run tiny/1 is named twice"),
    ],
)
def test_groups_that_are_none(workspace: Workspace, tiny_file: Path, reference: str, message: str) -> None:
    make(workspace, tiny_file, "tiny")
    with pytest.raises(MienError) as error:
        find_runs(workspace, reference)
    assert str(error.value) == message


def test_a_group_that_cannot_begin_leaves_nothing(workspace: Workspace, tiny_file: Path, tmp_path: Path) -> None:
    plain = load_experiment(tiny_file)
    (tmp_path / "mine.py").write_text("")
    tiny_file.write_text(TINY + "plugins: [mine.py]\n")
    broken = load_experiment(tiny_file)
    (tmp_path / "mine.py").unlink()
    with pytest.raises(FileNotFoundError):
        new_group(workspace, [plain, broken])
    assert list((workspace.runs / "tiny").iterdir()) == []


def test_the_stored_experiment_is_the_same(workspace: Workspace, tiny_file: Path) -> None:
    experiment = load_experiment(tiny_file, ["train.epochs=9"])
    run = new_run(workspace, experiment)
    assert run.experiment == experiment
    assert sorted(path.name for path in run.folder.iterdir()) == ["experiment.yaml", "status.json"]
    assert find_run(workspace, "tiny").experiment.train.epochs == 9
    content, _ = read_yaml(run.experiment_file)
    assert content["train"]["keep"] == "best"


def test_plugins_are_copied_into_the_run(workspace: Workspace, tiny_file: Path, tmp_path: Path) -> None:
    plugin = "from mien.registry import register\n@register('loss', '{0}')\ndef mine(*, a: int = {1}): return a\n"
    for folder, name in (("one", "first"), ("two", "second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(plugin.format(name, 1))
    tiny_file.write_text(TINY + "plugins: [one/mine.py, two/mine.py]\nloss: second\n")
    run = new_run(workspace, load_experiment(tiny_file))
    assert sorted(path.name for path in (run.folder / "plugins").glob("*.py")) == ["1_mine.py", "mine.py"]
    assert run.experiment.plugins == tuple(str(run.folder / name) for name in ("plugins/mine.py", "plugins/1_mine.py"))
    assert run.experiment.loss.parameters == {"a": 1}
    (tmp_path / "two/mine.py").write_text(plugin.format("second", 2))
    assert Run(run.folder).experiment.loss.entry.build() == 1
    moved = workspace.root / "elsewhere"
    run.folder.rename(moved)
    assert find_run(workspace, str(moved)).experiment.loss.entry.build() == 1


def test_a_run_that_cannot_begin_leaves_nothing(workspace: Workspace, tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    tiny_file.write_text(TINY + "plugins: [mine.py]\n")
    experiment = load_experiment(tiny_file)
    (tmp_path / "mine.py").unlink()
    with pytest.raises(FileNotFoundError):
        new_run(workspace, experiment)
    assert list((workspace.runs / "tiny").iterdir()) == []


def test_a_run_is_found_by_path_name_and_number(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = ["finished", "finished", "failed", "stopped"]
    runs = [make(workspace, tiny_file, "cnn1", state) for state in states]
    make(workspace, tiny_file, "other", "failed")
    make(workspace, tiny_file, "other", "stopped")
    assert find_run(workspace, "cnn1").name == "cnn1/2"
    assert find_run(workspace, "cnn1/").name == "cnn1/2"
    assert find_run(workspace, "cnn1/4").name == "cnn1/4"
    assert find_run(workspace, "other").name == "other/2"
    assert find_run(workspace, str(runs[0].folder)).folder == runs[0].folder
    monkeypatch.chdir(workspace.runs)
    assert find_run(Workspace(Path("elsewhere")), "cnn1/3").folder == runs[2].folder
    assert find_run(Workspace(Path("elsewhere")), "cnn1/3").name == "cnn1/3"


@pytest.mark.parametrize(
    ("reference", "nearest"),
    [("cnn2", "cnn1"), ("cnn1/7", "cnn1/2"), ("cnn1/0", "cnn1/2"), ("cnn1/1/x", "cnn1/1"), ("", None), ("/", None)],
)
def test_a_run_that_is_not_there(workspace: Workspace, tiny_file: Path, reference: str, nearest: str | None) -> None:
    make(workspace, tiny_file, "cnn1")
    make(workspace, tiny_file, "cnn1")
    with pytest.raises(MienError) as error:
        find_run(workspace, reference)
    assert error.value.message == f"there is no run '{reference}'"
    assert error.value.expected == "a run's folder, its name, or name/number"
    assert error.value.nearest == nearest


def test_where_no_run_is(workspace: Workspace) -> None:
    assert list_runs(workspace) == []
    with pytest.raises(MienError) as error:
        find_run(workspace, "cnn1")
    assert str(error.value) == f"there is no run 'cnn1'; expected a run in {workspace.runs}"


def test_the_state_of_a_run(workspace: Workspace, tiny_file: Path) -> None:
    run = new_run(workspace, load_experiment(tiny_file))
    assert run.state == "interrupted"
    with run.working():
        assert run.state == "running"
        with pytest.raises(MienError) as error, Run(run.folder).working():
            pass
        assert str(error.value) == f"{run.folder}: another process is working on run tiny/1"
    run.set_state("failed", "the loss is nan")
    assert run.state == "failed"
    assert (run.folder / "status.json").read_text() == ('{\n  "state": "failed",\n  "reason": "the loss is nan"\n}\n')
    (run.folder / "status.json").unlink()
    assert run.state == "interrupted"


def test_an_overview_needs_neither_plugin_nor_data_set(workspace: Workspace, tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    tiny_file.write_text(TINY + "plugins: [mine.py]\n")
    run = new_run(workspace, load_experiment(tiny_file))
    (run.folder / "plugins/mine.py").write_text("raise RuntimeError\n")
    run.history.write_text("epoch,lr\n1,0.1\n2,0.1\n")
    common = {"protocol": "official", "split": "a", "n": 2, "contaminated": 0.0, "per_class": {}, "interval": {}}
    write_json(run.metrics_file("report"), {"accuracy": 0.5, **common})
    write_json(run.metrics_file("choose"), {"accuracy": 0.6, **common})
    assert run.metrics_file("report").name == "metrics.json"
    assert overview(run) == {
        "run": "tiny/1",
        "task": "expression",
        "state": "interrupted",
        "dataset": "tiny",
        "protocol": "official",
        "epochs": 3,
        "epochs_done": 2,
        "choose": {"accuracy": 0.6, **common},
        "report": {"accuracy": 0.5, **common},
    }
