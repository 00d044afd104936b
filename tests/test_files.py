"""Files and folders that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from mien.files import new_folder, replacing, write_json, write_text
from mien.reading import read_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    write_text(file, "old")
    with replacing(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert names(file.parent) == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def write_half() -> None:
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"

    def fill_half() -> None:
        with new_folder(target) as folder:
            (folder / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill_half()
    assert names(target.parent) == []
    with new_folder(target) as folder:
        (folder / "whole").write_text("whole")
        assert not target.exists()
    assert names(target.parent) == ["folder"]
    assert (target / "whole").read_text() == "whole"


def test_a_folder_that_came_in_between_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "folder"

    def fill_late() -> None:
        with new_folder(target) as folder:
            (folder / "mine").write_text("mine")
            target.mkdir()
            (target / "theirs").write_text("theirs")

    with pytest.raises(OSError, match="not empty"):
        fill_late()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "theirs"]


def test_what_is_written_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
        with new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_json_keeps_its_order_and_refuses_what_json_has_not(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"b": "π", "a": [1, None]})
    assert file.read_text(encoding="utf-8") == '{\n  "b": "π",\n  "a": [\n    1,\n    null\n  ]\n}\n'
    assert read_json(file) == {"b": "π", "a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(file, float("nan"))
    assert read_json(file) == {"b": "π", "a": [1, None]}
