"""The ledger: a line for each time that someone asked for the report role."""

import datetime
from pathlib import Path

import pytest

from mien.errors import FailedError
from mien.experiment.schema import load_experiment
from mien.runs.ledger import FILE, entries, record
from mien.runs.run import new_run
from mien.workspace import Workspace


def test_lines_stand_in_the_run_and_in_the_workspace(workspace: Workspace, tiny_file: Path) -> None:
    experiment = load_experiment(tiny_file)
    first, second = new_run(workspace, experiment), new_run(workspace, experiment)
    assert entries(first.folder) == entries(workspace.root) == []
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    record(workspace, first, {"protocol": "official", "n": 5})
    record(workspace, second, {"protocol": "ünlike", "n": 6})
    record(workspace, first, {"protocol": "official", "n": 7})
    assert [(line["run"], line["n"]) for line in entries(workspace.root)] == [
        ("tiny/1", 5),
        ("tiny/2", 6),
        ("tiny/1", 7),
    ]
    assert [line["n"] for line in entries(first.folder)] == [5, 7]
    (line,) = entries(second.folder)
    assert line["protocol"] == "ünlike"
    assert line["who"]
    assert before <= datetime.datetime.fromisoformat(line["when"]) <= datetime.datetime.now(datetime.UTC)


def test_a_broken_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"run": "a"}\n{"run": \n')
    with pytest.raises(FailedError) as error:
        entries(tmp_path)
    assert error.value.message.startswith("the ledger can't be read (")
    assert error.value.file == str(tmp_path / FILE)
