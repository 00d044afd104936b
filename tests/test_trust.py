"""Whose plugins are run: the user's own and those that the workspace knows; a stranger's are named and refused."""

import shutil
from pathlib import Path

import pytest
from conftest import TINY
from verbs import call

from mien.data.dataset import Dataset
from mien.experiment.schema import load_experiment
from mien.runs.run import Run, new_run
from mien.workspace import Workspace

PLUGIN = """
from pathlib import Path
from mien.registry import register

Path({mark!r}).touch()


@register("loss", "mine")
class Mine:
    targets = "label"
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once the plugin was run."""
    return tmp_path / "ran"


@pytest.fixture
def stranger(tmp_path: Path, mark: Path, tiny: Dataset) -> Run:
    """The run of someone else, with a plugin, that was copied into the workspace."""
    home = Workspace(tmp_path / "theirs")
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "evil.py").write_text(PLUGIN.format(mark=str(mark)))
    (folder / "tiny.yaml").write_text(TINY + "plugins: [evil.py]\n")
    theirs = new_run(home, load_experiment(folder / "tiny.yaml"))
    assert (home.root / "trusted-plugins.txt").is_file()
    mine = Run(tmp_path / "home" / "runs" / "tiny" / "1")
    shutil.copytree(theirs.folder, mine.folder)
    mark.unlink()
    return mine


@pytest.mark.parametrize("verb", ["evaluate", "explain", "train --resume"])
def test_a_strangers_run_runs_no_code(stranger: Run, mark: Path, workspace: Workspace, verb: str) -> None:
    done = call(*verb.split(), "tiny/1", "--workspace", workspace.root)
    assert done.code == 2
    assert done.err == (
        f"mien: this would run code that workspace {workspace.root} doesn't know: {stranger.folder}/plugins/evil.py; "
        "expected --trust, once you have read it; it is remembered\n"
    )
    assert not mark.exists()


def test_what_is_trusted_once_is_remembered_by_its_content(stranger: Run, mark: Path, workspace: Workspace) -> None:
    assert "weights" in call("evaluate", "tiny/1", "--trust", "--workspace", workspace.root).err
    assert mark.exists()
    mark.unlink()
    assert "weights" in call("evaluate", "tiny/1", "--workspace", workspace.root).err
    assert mark.exists()
    mark.unlink()
    plugin = stranger.folder / "plugins" / "evil.py"
    plugin.write_text(plugin.read_text() + "\n# another\n")
    assert "doesn't know" in call("evaluate", "tiny/1", "--workspace", workspace.root).err
    assert not mark.exists()


def test_a_path_to_a_run_elsewhere_brings_no_list(
    stranger: Run, mark: Path, tmp_path: Path, workspace: Workspace
) -> None:
    theirs = tmp_path / "theirs" / "runs" / "tiny" / "1"
    assert "doesn't know" in call("evaluate", theirs, "--workspace", workspace.root).err
    assert not mark.exists()


def test_compiled_code_beside_a_plugin_isnt_run(
    tmp_path: Path, workspace: Workspace, tiny: Dataset, mark: Path
) -> None:
    import importlib.util
    import py_compile

    source = tmp_path / "p.py"
    source.write_text("from pathlib import Path\nPath(" + repr(str(mark)) + ").touch()\n")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert Path(importlib.util.cache_from_source(str(source))).is_file()
    source.write_text("x = 1\n")
    (tmp_path / "tiny.yaml").write_text(TINY + "plugins: [p.py]\n")
    load_experiment(tmp_path / "tiny.yaml")
    assert not mark.exists()


def test_a_named_file_runs_its_own_plugins_and_not_those_of_a_file_elsewhere(
    tmp_path: Path, workspace: Workspace, tiny: Dataset, mark: Path
) -> None:
    theirs, mine = tmp_path / "stranger", tmp_path / "mine"
    theirs.mkdir()
    mine.mkdir()
    for folder in (theirs, mine):
        (folder / "evil.py").write_text(PLUGIN.format(mark=str(mark)) + f"# {folder}\n")
        (folder / "base.yaml").write_text(TINY + "plugins: [evil.py]\n")
    (mine / "beside.yaml").write_text("extends: base.yaml\n")
    (mine / "over.yaml").write_text("extends: ../stranger/base.yaml\n")
    here = ("--workspace", workspace.root)
    refused = call("check", mine / "over.yaml", *here)
    assert refused.code == 2
    assert f"{mine}/../stranger/evil.py; expected --trust" in refused.err
    assert not mark.exists()
    assert call("check", mine / "beside.yaml", *here).code == 0
    assert mark.exists()
    mark.unlink()
    assert call("check", mine / "over.yaml", "--trust", *here).code == 0
    assert mark.exists()
