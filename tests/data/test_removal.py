"""What `mien data remove` takes away, and what it leaves."""

import io
import shutil
import sys
from pathlib import Path

import pytest
from conftest import write_tiny
from verbs import call

from mien.data.dataset import list_datasets
from mien.data.removal import remove_dataset
from mien.errors import MienError
from mien.workspace import Workspace


@pytest.fixture
def used(workspace: Workspace) -> Path:
    """The folder of a data set with all that verbs write into one, beside another."""
    write_tiny(workspace, "other", n=14)
    folder = write_tiny(workspace, n=70).folder
    for verb in ("audit", "show"):
        assert call("data", verb, "tiny", "--workspace", workspace.root).code == 0
    part = folder / "cache" / f"points-1-{'a' * 16}-{'b' * 16}" / "train-00000.npz"
    for file in (part, folder / "sheets" / "random.png", folder / "augmented-tiny.png"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
    (folder / ".cache.abcdefgh.partial").mkdir()
    (folder / ".cache.abcdefgh.partial" / ".mien-lock").touch()
    shutil.copy(workspace.datasets / "other" / "card.json", workspace.root / "evaluations.jsonl")
    return folder


def test_all_that_mien_made_goes_and_nothing_else(workspace: Workspace, used: Path) -> None:
    assert remove_dataset(workspace, "tiny") == []
    assert not used.exists()
    assert list_datasets(workspace) == ["other"]
    assert sorted(path.name for path in workspace.root.iterdir()) == ["datasets", "evaluations.jsonl"]
    assert sorted(path.name for path in workspace.datasets.iterdir()) == ["other"]


def test_what_mien_did_not_make_stays(workspace: Workspace, used: Path, tmp_path: Path) -> None:
    mine = ["notes.txt", "audit/mine.html", "cache/thesis.npz", "train.parquet", "pictures/1.png"]
    (used / "pictures").mkdir()
    for name in mine:
        (used / name).write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "card.json").write_text("mine")
    (used / "augmented-x.png").symlink_to(tmp_path / "elsewhere" / "card.json")
    (used / "sheets" / "linked").symlink_to(tmp_path / "elsewhere")
    assert remove_dataset(workspace, "tiny") == sorted([*mine, "pictures", "augmented-x.png", "sheets/linked"])
    assert [(used / name).read_text() for name in mine] == ["mine"] * len(mine)
    assert (tmp_path / "elsewhere" / "card.json").read_text() == "mine"
    assert sorted(path.name for path in used.iterdir()) == sorted(
        ["notes.txt", "audit", "cache", "train.parquet", "pictures", "augmented-x.png", "sheets"]
    )
    assert list_datasets(workspace) == ["other"]


def test_a_damaged_data_set_can_go_and_a_link_can_not(workspace: Workspace, used: Path, tmp_path: Path) -> None:
    (used / "card.json").write_text("{")
    assert remove_dataset(workspace, "tiny") == []
    (workspace.datasets / "other").rename(tmp_path / "other")
    (workspace.datasets / "linked").symlink_to(tmp_path / "other")
    with pytest.raises(MienError) as error:
        remove_dataset(workspace, "linked")
    assert str(error.value) == f"{workspace.datasets}/linked: this data set is a link, which mien didn't make"
    assert (tmp_path / "other" / "card.json").is_file()


def test_the_verb_asks(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tiny(workspace, n=14).folder
    arguments = ("data", "remove", "tiny", "--workspace", workspace.root)
    asked = f"Remove the data set in {folder}? [y/N] "
    for answer, code, told in (
        ("", 2, f"mien: {folder}: nobody answered whether to remove it; expected --yes\n"),
        ("no\n", 1, f"mien: {folder}: nothing is removed\n"),
        ("\n", 1, f"mien: {folder}: nothing is removed\n"),
    ):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert call(*arguments) == (code, "", asked + told)
    assert list_datasets(workspace) == ["tiny"]
    (folder / "mine.txt").touch()
    monkeypatch.setattr(sys, "stdin", io.StringIO("Yes\n"))
    assert call(*arguments) == (0, f"removed: {folder}\nnot mien's, and still there: mine.txt\n", asked)
    assert list_datasets(workspace) == []
    write_tiny(workspace, "b", n=14)
    done = call("data", "remove", "b", "--yes", "--json", "--workspace", workspace.root)
    assert (done.code, done.json, done.err) == (0, {"removed": "b", "kept": []}, "")
    assert call("data", "remove", "b", "--yes", "--workspace", workspace.root).err == (
        f"mien: no data set is called 'b'; expected a data set in {workspace.datasets}, "
        "or a new one by mien data import SOURCE --as b\n"
    )
