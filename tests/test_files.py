"""Files and folders that appear whole or not at all."""

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.errors import MienError
from mien.files import (
    PUBLISHED,
    TakenError,
    append_line,
    leftovers,
    new_folder,
    publishing,
    replacing,
    write_json,
    write_text,
)
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

    with pytest.raises(TakenError, match="File exists"):
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


def test_errors_of_the_system_name_what_was_to_be_made(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "full")

    def inside() -> None:
        with new_folder(tmp_path / "set") as folder, replacing(folder / "deep" / "a.txt"):
            full()

    def copied() -> None:
        with new_folder(tmp_path / "set") as folder:
            raise OSError(errno.ENOSPC, "full", "/some/source", None, str(folder / "copy"))

    for work, file in ((inside, "set/deep/a.txt"), (copied, "set/copy")):
        with pytest.raises(OSError, match="full") as error:
            work()
        assert error.value.filename == str(tmp_path / file)
    assert names(tmp_path) == []
    # A folder in which nothing can be made: not even what lies beside the file for a while is named.
    with pytest.raises(OSError, match="No such file") as error:
        write_text(Path("/proc/answers.csv"), "whole")
    assert error.value.filename == "/proc/answers.csv"


def test_a_name_may_be_as_long_as_the_system_lets_it(tmp_path: Path) -> None:
    write_text(tmp_path / ("é" * 127), "whole")
    with pytest.raises(OSError, match="too long") as error:
        write_text(tmp_path / ("a" * 256), "")
    assert error.value.filename == str(tmp_path / ("a" * 256))


Started = Callable[[Path], int]


@pytest.fixture
def started() -> Iterator[Started]:
    """Starts a process that fills a new folder and waits; gives its number when it is half done."""
    processes = []

    def start(path: Path) -> int:
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            with new_folder(path) as folder:
                (folder / "half").write_text("half")
                os.write(write, b"x")
                signal.pause()
        processes.append(process)
        os.read(read, 1)
        return process

    yield start
    for process in processes:
        kill(process)


def kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_what_a_killed_process_left_goes_with_the_next_call(tmp_path: Path, started: Started) -> None:
    dead, alive = started(tmp_path / "dead"), started(tmp_path / "alive")
    kill(dead)
    (tmp_path / ".mine.partial").write_text("")
    (left,) = leftovers(tmp_path)
    assert left.name.startswith(".dead.")
    write_text(tmp_path / "other", "")
    assert leftovers(tmp_path) == []
    (living,) = tmp_path.glob(".alive.*.partial")
    assert names(tmp_path) == [living.name, ".mine.partial", "other"]
    kill(alive)
    assert leftovers(tmp_path.parent) == [living]


def test_a_process_that_was_taken_for_dead_before_its_lock_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, opened = [], Path.open

    def late(path: Path, *arguments: object, **named: object) -> object:
        if path.name == ".mien-lock" and not made:
            made.append(path.parent)
            path.parent.rmdir()  # As another process does with an empty one.
        return opened(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", late)
    write_text(tmp_path / "a", "whole")
    assert len(made) == 1
    assert names(tmp_path) == ["a"]


def test_what_an_older_mien_left_is_listed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / "deep" / ".a.txt.abcdefgh.partial", tmp_path / "deep" / ".b.abcdefgh.partial"
    new.mkdir(parents=True)
    old.write_text("half")
    os.utime(old, (0, 0))
    assert leftovers(tmp_path) == [old]
    write_text(tmp_path / "deep" / "c", "")
    assert old.exists()


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append_line(file, "one\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (7, before[1]))
    try:
        with pytest.raises(OSError, match="No space left") as error:
            append_line(file, "zwei drei\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(file)
    append_line(file, "zwei\n")
    assert file.read_text() == "one\nzwei\n"


def publish(folder: Path, *files: str, own: bool = False) -> None:
    with publishing(folder, own=own) as new:
        for name in files:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(f"of {name}")


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_published_folder_lists_its_files_and_only_those_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    publish(folder, "a.txt", "figures/old.png", "deep/er/b.txt")
    assert read_json(folder / PUBLISHED) == {"files": ["a.txt", "deep/er/b.txt", "figures/old.png"]}
    (folder / "notes.txt").write_text("mine")
    (folder / "figures" / "mine.png").write_text("mine")
    publish(folder, "a.txt", "figures/new.png")
    assert files_of(folder) == ["a.txt", "figures/mine.png", "figures/new.png", "notes.txt", PUBLISHED]
    assert not (folder / "deep").exists()
    with pytest.raises(MienError) as error:
        publish(folder, "a.txt", "notes.txt", "figures/mine.png/x")
    assert str(error.value) == (
        f"{folder}: not made by mien, and in the way: figures/mine.png/x, notes.txt; expected a folder without them"
    )
    assert files_of(folder) == ["a.txt", "figures/mine.png", "figures/new.png", "notes.txt", PUBLISHED]


def test_what_stops_a_publication_leaves_the_old_one_whole(tmp_path: Path) -> None:
    def stopped(folder: Path) -> None:
        with publishing(folder) as new:
            (new / "b.txt").write_text("half")
            raise OSError(errno.ENOSPC, "full", str(new / "b.txt"))

    publish(tmp_path / "out", "a.txt")
    for name in ("out", "new"):
        with pytest.raises(OSError, match="full") as error:
            stopped(tmp_path / name)
        assert error.value.filename == str(tmp_path / name / "b.txt")
    assert names(tmp_path) == ["out"]
    assert files_of(tmp_path / "out") == ["a.txt", PUBLISHED]


@pytest.mark.parametrize("content", ["", "[]", '{"files": [1]}', '{"files": "a"}', '{"other": []}', None])
def test_a_folder_without_a_list_of_miens_is_refused(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    if content is not None:
        (tmp_path / PUBLISHED).write_text(content)
    before = files_of(tmp_path)
    with pytest.raises(MienError) as error:
        publish(tmp_path, "metrics.json")
    assert str(error.value) == (
        f"{tmp_path}: this folder holds something else; expected a new folder, or one with the published.json of an "
        "earlier call"
    )
    assert files_of(tmp_path) == before
    with pytest.raises(MienError, match="holds something else"):
        publish(tmp_path / "metrics.json", "a.txt")
    publish(tmp_path, "metrics.json", own=True)
    assert (tmp_path / "metrics.json").read_text() == "of metrics.json"


@pytest.mark.parametrize("name", ["../thesis.txt", "PLACE/thesis.txt", "link/thesis.txt", "..", "."])
def test_a_strangers_list_takes_nothing_away_outside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    publish(folder, "a.txt")
    (tmp_path / "thesis.txt").write_text("mine")
    (folder / "link").symlink_to(tmp_path)
    write_json(folder / PUBLISHED, {"files": [name.replace("PLACE", str(tmp_path))]})
    with pytest.raises(MienError, match="not made by mien"):
        publish(folder, "b.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert not (folder / "b.txt").exists()
