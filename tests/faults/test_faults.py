"""A handful of what `python -m tests.faults` does at large: a kill and a full disk of each kind of verb."""

import contextlib
import random
from pathlib import Path

import pytest
from faults import disks, kills
from faults.__main__ import page
from faults.scenes import SCENES, Stage, used

BY_NAME = {scene.name: scene for scene in SCENES}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The tiny data, made once."""
    return Stage(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("by_change", [True, False], ids=["at a change of files", "at a time"])
@pytest.mark.parametrize("name", ["data import", "data audit", "predict"])
def test_after_a_kill_the_next_call_ends_as_an_undisturbed_one(stage: Stage, name: str, by_change: bool) -> None:
    when, wrong = kills.killed(stage, BY_NAME[name], random.Random(1), by_change)
    assert wrong == [], when


def test_a_killed_training_goes_on(stage: Stage) -> None:
    when, wrong = kills.killed(stage, BY_NAME["train"], random.Random(3), True)
    assert wrong == [], when


@pytest.mark.parametrize("name", ["data import", "data audit", "predict"])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(tmp_path: Path, name: str) -> None:
    stage, mounted = Stage(tmp_path), disks.can_mount()
    with disks.disk(stage.home) if mounted else contextlib.nullcontext():
        when, wrong = disks.filled(stage, BY_NAME[name], random.Random(1), mounted)
    assert wrong == [], when


def test_no_memory_map_grows_on_a_full_disk(tmp_path: Path) -> None:
    """That would end the process without a word (SIGBUS); here room is left for all but the pictures of an audit."""
    if not disks.can_mount():
        pytest.skip("this process may not mount a file system")
    stage, scene = Stage(tmp_path), BY_NAME["data audit"]
    with disks.disk(stage.home):
        stage.begin(scene)
        disks.resize(stage.home, used(stage.home) + 50 * 4096)
        told = stage.call(scene.arguments)
    assert (told.code, told.err) == (1, "mien: there is no space left on the disk\n")


def test_what_differs_is_told(stage: Stage) -> None:
    scene = BY_NAME["data import"]
    expected = stage.unhurt(scene).files
    stage.begin(scene)
    assert stage.call(scene.arguments).code == 0
    (stage.home / "datasets/new/card.json").unlink()
    (stage.home / "datasets/.new.abcdefgh.partial").mkdir()
    (stage.home / "datasets/new/README.md").rename(stage.home / "other")
    assert "datasets/new/card.json" in expected
    (first, *others) = stage.differences(scene._replace(then=lambda home: []))
    assert first == "datasets/new/README.md is missing"
    assert others == [
        "datasets/new/card.json is missing",
        "other is new",
        f"{stage.home}/datasets/.new.abcdefgh.partial is left",
    ]
    assert stage.differences(scene._replace(then=lambda home: [("train", "nothing.yaml")]))[0].startswith(
        "train nothing.yaml: exit 2: "
    )


def test_the_page_is_what_the_counts_say() -> None:
    written = Path(__file__).parents[2] / "results" / "faults.md"
    assert written.read_text(encoding="utf-8") == page()
