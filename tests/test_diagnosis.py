"""What `mien doctor RUN` tells: each file that is missing or damaged, and the command that makes it again."""

import shutil
from pathlib import Path

import pytest
from conftest import TINY, write_tiny
from verbs import call

from mien.diagnosis import examine
from mien.runs.manifest import changes, read_manifest
from mien.runs.run import Run
from mien.workspace import Workspace


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a measured run."""
    home = tmp_path_factory.mktemp("whole") / "home"
    write_tiny(Workspace(home))
    (home / "tiny.yaml").write_text(TINY.replace("epochs: 3", "epochs: 1"))
    for arguments in (("train", home / "tiny.yaml"), ("evaluate", "tiny/1")):
        assert call(*arguments, "--workspace", home).code == 0
    return home


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Run:
    """The run in a copy of that workspace."""
    shutil.copytree(whole, tmp_path / "home")
    return Run(tmp_path / "home" / "runs" / "tiny" / "1")


def test_a_finished_run_is_whole_and_lists_all_its_files(run: Run) -> None:
    assert examine(run) == []
    known = read_manifest(run)
    assert known is not None
    there = {file.relative_to(run.folder).as_posix() for file in run.folder.rglob("*") if file.is_file()}
    assert there - set(known) == {"manifest.json", "status.json", ".lock"} & there
    assert {"weights.safetensors", "metrics.json", "predictions/report.parquet", "report.html"} <= set(known)


MISSING = ("missing", "no such file", "there are no weights; the run isn't finished")


@pytest.mark.parametrize(
    ("file", "mend"),
    [
        ("weights.safetensors", ""),
        ("experiment.yaml", ""),
        ("environment.json", ""),
        ("history.csv", ""),
        ("metrics.json", "mien evaluate tiny/1"),
        ("predictions/report.parquet", "mien evaluate tiny/1"),
        ("metrics-choose.json", "mien train --resume tiny/1"),
        ("evaluations.jsonl", ""),
        ("report.html", "mien report tiny/1"),
        ("figures/curves.png", "mien report tiny/1"),
        ("classification_report.csv", "mien report tiny/1"),
    ],
)
def test_a_lost_or_changed_file_is_named_with_what_makes_it_again(run: Run, file: str, mend: str) -> None:
    path = run.folder / file
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (found,) = examine(run)
    assert (found.file, found.mend) == (file, mend)
    path.unlink()
    (found,) = [one for one in examine(run) if one.file == file]
    assert (found.mend, found.problem) in {(mend, problem) for problem in MISSING}
    told = call("doctor", "tiny/1", "--workspace", run.workspace.root)
    assert told.code == 1
    assert told.err == ""


def test_verbs_renew_what_they_write_and_bless_no_damage(run: Run) -> None:
    home = ("--workspace", run.workspace.root)
    history = run.history.read_bytes()
    run.history.write_bytes(history.replace(b"1", b"2", 1))
    figure = run.folder / "figures" / "curves.png"
    figure.write_bytes(b"")
    assert changes(run) == {"history.csv": "changed", "figures/curves.png": "changed"}
    run.history.write_bytes(history)
    assert call("report", "tiny/1", *home).code == 0
    assert changes(run) == {}
    run.roles.write_bytes(b"")
    (run.folder / "environment.json").write_text((run.folder / "environment.json").read_text() + "\n")
    assert call("report", "tiny/1", *home).code == 0
    assert changes(run) == {"environment.json": "changed"}


def test_a_run_from_before_there_were_manifests_opens(run: Run) -> None:
    (run.folder / "manifest.json").unlink()
    assert examine(run) == []
    run.weights.write_bytes(run.weights.read_bytes()[:-4])
    assert [one.file for one in examine(run)] == ["weights.safetensors"]


def test_a_changed_shard_is_found(run: Run) -> None:
    shard = run.workspace.datasets / "tiny" / "test-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    (found,) = examine(run)
    assert (found.file, found.mend) == ("the data set", "import it again, from the same source")
