"""The README: every command in it runs, its plugin works, and its numbers are the published ones."""

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
from clips import write_clip
from conftest import REPOSITORY, write_tiny
from PIL import Image
from skimage.data import astronaut

from mien.cli import main
from mien.data.dataset import open_dataset
from mien.data.labels import FERPLUS_VOTES
from mien.report import results
from mien.workspace import Workspace

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def fences(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def commands() -> list[str]:
    """Lines of four blanks and a command, and commands in the running text."""
    blocks = re.findall(r"^    (mien .*|make \w+)", README, flags=re.M)
    inline = re.findall(r"`(mien [a-z][^`]*)`", README)
    return [" ".join(command.partition("#")[0].split()) for command in (*blocks, *inline)]


def small_fer2013(folder: Path) -> None:
    """fer2013.csv with two rows a class and split, and votes for them."""
    rows = ["emotion,pixels,Usage"]
    votes = [",".join(("Usage", "Image name", *FERPLUS_VOTES[:-1], "NF"))]
    for usage in ("Training", "PublicTest", "PrivateTest"):
        for index in range(14):
            rows.append(f"{index % 7},{' '.join([str(index * 9)] * 2304)},{usage}")
            votes.append(f"{usage},,10,0,0,0,0,0,0,0,0,0")
    (folder / "fer2013.csv").write_text("\n".join(rows) + "\n")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n")


def run(command: str) -> None:
    words = shlex.split(command)
    with pytest.raises(SystemExit) as done:
        main(words[1:])
    assert done.value.code == 0, command


@pytest.mark.large
def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIEN_HOME", raising=False)
    monkeypatch.setenv("MIEN_OFFLINE", "1")
    shutil.copytree(REPOSITORY / "experiments", "experiments")
    small_fer2013(tmp_path)
    Image.fromarray(astronaut()).save("photo.jpg")
    write_clip(tmp_path / "clip.mp4", [astronaut()[:480]] * 3)
    (tmp_path / "list.txt").write_text("photo.jpg\n" * 3)
    seen = commands()
    assert [command for command in seen if command.startswith("make")] == ["make demo", "make test"]
    done = []
    for command in seen:
        verb = command.removeprefix("mien ")
        if command.startswith("make") or verb in ("demo", "train", "evaluate", "VERB --help", "--help"):
            continue  # make's targets are what this test runs under; a verb alone is only named.
        if verb.startswith("train experiments"):
            command = re.sub(r" train\.epochs=\d+", "", command) + " train.epochs=1"
        if verb == "reproduce paper-2021":
            continue  # All of it trains for hours; tests/test_reproduce.py runs it for an epoch.
        if verb.startswith("train --resume"):
            continue  # A run to resume has to be killed first: tests/test_training.py does.
        if verb.startswith(("serve", "export mien-s --page")):
            continue  # One runs until it is stopped, the other needs what npm brings: tests/serving does both.
        if verb.startswith(("sweep", "train mine.yaml train.devices", "predict s3://")):
            continue  # These need a file, devices and a store of their own: their tests have them.
        if verb.startswith("data synth"):
            command = command.replace("4000", "20")
        if "> mien.schema.json" in verb:
            command = command.partition(">")[0]
        run(command)
        done.append(verb.split()[0])
    assert {"data", "check", "train", "evaluate", "compare", "explain", "landmarks", "schema"} <= set(done)
    assert "PrivateTest" in capsys.readouterr().out


@pytest.mark.large
def test_the_plugin_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIEN_HOME", raising=False)
    write_tiny(Workspace(tmp_path), "drawn")
    python, plugin = fences("python")
    *_, experiment = fences("yaml")
    for text in (plugin, experiment):
        name = re.match(r"# (\S+)\n", text)
        assert name is not None
        (tmp_path / name[1]).write_text(text)
    run("mien check mine.yaml")
    run("mien train mine.yaml train.epochs=1 dataset.size=24")
    run("mien evaluate mine")
    # What a notebook does with the same file, for an epoch of smaller pictures.
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(python.replace('"train.epochs=5"', '"train.epochs=1", "dataset.size=24"'), {})
    epoch, accuracy, pairs = shown.getvalue().splitlines()
    assert epoch.startswith("Epoch(number=1, epochs=1, ")
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", accuracy)
    assert pairs.startswith("(Pair(a='mine/2', b='mine/1', n=35, ")


def test_its_experiment_is_the_one_in_the_repository() -> None:
    first, base, _ = fences("yaml")
    for text in (first, base):
        name, _, shown = text.partition("\n")
        real = (REPOSITORY / name.removeprefix("# ")).read_text()
        plain = [line for line in real.splitlines() if not line.startswith("#")]
        assert [line.partition("  #")[0].rstrip() for line in shown.splitlines()] == plain


def test_its_numbers_are_the_published_ones() -> None:
    published = REPOSITORY / "results"
    assert results.with_table(README, "results/", published) == README
    assert results.page(published) == (published / "README.md").read_text(encoding="utf-8")


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_the_small_fer2013_is_no_fer2013(tmp_path: Path) -> None:
    """The commands above run on few rows; the import says that they aren't the challenge's."""
    from mien.data.importers import import_dataset

    small_fer2013(tmp_path)
    made = import_dataset(Workspace(tmp_path), tmp_path / "fer2013.csv", "few", votes=tmp_path / "fer2013new.csv")
    assert made.card.notes
    assert open_dataset(Workspace(tmp_path), "few").card.splits["Training"] == (2,) * 7
