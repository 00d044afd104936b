"""Removing runs: only what mien made, only here, never one that trains, and the ledger stays."""

import io
import sys
from pathlib import Path

import pytest
from verbs import call

from mien.experiment.schema import load_experiment
from mien.runs import ledger
from mien.runs.run import Run, new_run
from mien.workspace import Workspace


@pytest.fixture
def runs(workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Four runs that were stopped; somebody has asked for the reporting rows of the second."""
    workspace.root.mkdir(exist_ok=True)
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    made = [new_run(workspace, load_experiment(tiny_file)) for _ in range(4)]
    for run in made:
        run.set_state("stopped")
    ledger.record(workspace, made[1], {"role": "report", "protocol": "official", "dataset": "tiny", "split": "test"})
    return made


def names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in (workspace.runs / "tiny").iterdir())


def test_runs_are_removed_and_the_ledger_stays(workspace: Workspace, runs: list[Run], tiny_file: Path) -> None:
    asked = (workspace.root / ledger.FILE).read_text()
    told = call("runs", "remove", "tiny/2", "tiny/3-4", "tiny/2", "--yes", "--json")
    assert told.json == {
        "removed": [{"run": f"tiny/{number}", "folder": f"{workspace.runs}/tiny/{number}"} for number in (2, 3, 4)]
    }
    assert names(workspace) == [".last", "1"]
    assert (workspace.root / ledger.FILE).read_text() == asked
    assert ledger.entries(workspace.root)[0]["run"] == "tiny/2"
    # A name in the ledger never means another run.
    assert new_run(workspace, load_experiment(tiny_file)).name == "tiny/5"
    assert call("runs", "remove", "tiny/1", "--yes").out == "removed: tiny/1\n"
    assert new_run(workspace, load_experiment(tiny_file)).name == "tiny/6"


@pytest.mark.parametrize(("answer", "left"), [("y\n", ["1", "2", "4"]), ("n\n", ["1", "2", "3", "4"])])
def test_it_asks_back(
    workspace: Workspace, runs: list[Run], monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    told = call("runs", "remove", "tiny/3")
    assert told.code == 0
    assert "Remove them for good? [y/N]" in told.out
    assert told.out.splitlines()[-1].endswith("removed: tiny/3" if answer == "y\n" else "nothing was removed")
    assert [name for name in names(workspace) if name != ".last"] == left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny/1"], "--yes: nobody is asked here; expected --yes, once it is sure"),
        (["tiny", "--yes"], "'tiny' doesn't say which run; expected its number, as tiny/1,2,3,4,7"),
        (
            ["tiny/1", "tiny/9", "--yes"],
            "there is no run 'tiny/9'; expected a run's folder, its name, or name/number. Did you mean 'tiny/7'?",
        ),
        (
            ["tiny/1", "tiny/2", "--yes"],
            "{runs}/tiny/2: the folder of run tiny/2 holds what mien didn't make: notes.txt; "
            "expected those files moved elsewhere",
        ),
        (["tiny/1", "tiny/3", "--yes"], "{runs}/tiny/3: another process is working on run tiny/3"),
        (
            ["tiny/1", "{other}", "--yes"],
            "{other}: run tiny/1 isn't in this workspace; expected one in {runs}, or another --workspace",
        ),
        (
            ["tiny/7", "--yes"],
            "{runs}/tiny/7: run tiny/7 isn't in this workspace; expected one in {runs}, or another --workspace",
        ),
    ],
    ids=["unasked", "no number", "unknown", "with notes", "at work", "elsewhere", "a link"],
)
def test_what_is_not_removed(
    workspace: Workspace, runs: list[Run], tiny_file: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    other = new_run(Workspace(tmp_path / "other"), load_experiment(tiny_file)).folder
    (runs[1].folder / "notes.txt").write_text("mine")
    (workspace.runs / "tiny" / "7").symlink_to(other)
    places = {"runs": workspace.runs, "other": other}
    with runs[2].working():
        told = call("runs", "remove", *(one.format(**places) for one in arguments))
    assert told == (2, "", f"mien: {message.format(**places)}\n")
    assert names(workspace) == ["1", "2", "3", "4", "7"]
    assert (other / "experiment.yaml").is_file()
    assert (runs[1].folder / "notes.txt").read_text() == "mine"
