"""The long verbs on tiny drawn data: where each begins, how it goes on after a fault, and what it should end with."""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import verbs
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from verbs import Result, apart

from mien.data.synthetic import faces

TINY = """
name: tiny
dataset: {name: faces, size: 24}
model: {name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}
preprocess: [{op: normalize}]
augment: [{op: brightness}]
optimizer: {name: sgd, lr: 0.05}
train: {epochs: 3, batch_size: 32, seed: 1, precision: float32, device: cpu}
"""
FOLDS = TINY.replace("name: tiny", "name: folds") + "protocol: {name: k-fold, folds: 2}\n"
# Folds of a model that learns, since label errors are looked for by no other.
LEARNT = (
    FOLDS.replace("name: faces", "name: fer2013")
    .replace("{name: sgd, lr: 0.05}", "{name: adam, lr: 0.01}")
    .replace("epochs: 3, batch_size: 32", "epochs: 12, batch_size: 8")
)
SWEEP = """
name: rates
experiment: tiny.yaml
trials: 2
space: {optimizer.lr: {log: [1.0e-3, 1.0e-1]}}
seed: 0
"""
PHOTOS = 6
FER2013_SPLITS = ("Training", "Training", "Training", "PublicTest", "PrivateTest")
# What a time, a duration, a place or a changed checkout makes another one in every run.
_VARY = {
    "made",
    "when",
    "started",
    "duration_s",
    "seconds",
    "sessions",
    "images_per_second",
    "command",
    "minutes",
    "commit",
}
_ONLY_THERE = (".html", ".jsonl", ".md", "runs.csv", "runs.tex", "journal.log", "sweep.json")


class Scene(NamedTuple):
    """A verb: the template that it begins with, its arguments, and the calls that a user makes after a fault."""

    name: str
    template: str
    arguments: tuple[str, ...]
    then: Callable[[Path], list[tuple[str, ...]]]
    # What the next call may say instead of doing it again.
    done: str = ""


class Unhurt(NamedTuple):
    """What an undisturbed call came to: its files, seconds, changes of files, bytes on the disk, the largest file's."""

    files: dict[str, str]
    seconds: float
    changes: int
    bytes: int
    largest: int


class Stage:
    """A folder with the templates, and `home`, the workspace that every call runs in: the same path each time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.templates = folder / "templates"
        self.results: dict[str, Unhurt] = {}

    def call(self, arguments: tuple[str, ...], prepare: Callable[[], None] | None = None, **limit: Any) -> Result:
        """A command line in `home`, in a process of its own."""
        given = [argument.replace("HOME", str(self.home)) for argument in arguments]
        return apart(self.folder, verbs.mien, self.home, given, partial(prepared, prepare), **limit)

    def begin(self, scene: Scene) -> None:
        """Set `home` to where a scene begins."""
        if not (self.templates / scene.template).exists():
            self._make(scene.template)
        self._set(scene.template)

    def _set(self, template: str) -> None:
        for path in self.home.glob("*") if self.home.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.templates / template, self.home, dirs_exist_ok=True)

    def _make(self, name: str) -> None:
        """Make a template: `data`; from it `stopped` after one epoch, `trained`, `folded`, `parts` of a list."""
        if name == "data":
            self.home.mkdir(parents=True, exist_ok=True)
            (self.home / "tiny.yaml").write_text(TINY)
            (self.home / "folds.yaml").write_text(FOLDS)
            (self.home / "rates.yaml").write_text(SWEEP)
            (self.home / "fer2013.csv").write_text(_fer2013(70))
            (self.home / "photos").mkdir()
            for number, image in enumerate(face[0] for face in faces(PHOTOS, size=48, color="rgb", seed=0)):
                cv2.imwrite(str(self.home / "photos" / f"{number}.png"), image)
            self._calls(("data", "synth", "--as", "faces", "--n", "70", "--size", "24"))
        else:
            if not (self.templates / "data").exists():
                self._make("data")
            self._set("data")
            if name == "stopped":
                (self.home / "tiny.yaml").write_text(TINY + "explain: [filters]\n")
                stopped = self.call(("train", "HOME/tiny.yaml"), partial(kill_after_checkpoint, self.home))
                assert stopped.code == -9
            elif name == "trained":
                self._calls(
                    ("train", "HOME/tiny.yaml"), ("evaluate", "tiny"), ("report", "tiny", "--to", "HOME/public")
                )
                (self.home / "public" / "notes.txt").write_text("mine")
            elif name == "folded":
                (self.home / "folds.yaml").write_text(LEARNT)
                self._calls(
                    ("data", "import", "HOME/fer2013.csv", "--as", "fer2013"),
                    ("train", "HOME/folds.yaml", "--folds"),
                    ("evaluate", "folds/1-2"),
                )
            elif name == "parts":
                self._calls(*((*_PREDICT, "--shard", f"{part}/2", "--out", "HOME/parts") for part in (1, 2)))
            else:
                self._calls(("data", "import", "HOME/fer2013.csv", "--as", "fer2013"))
        shutil.copytree(self.home, self.templates / name)

    def _calls(self, *calls: tuple[str, ...]) -> None:
        for arguments in calls:
            result = self.call(arguments)
            assert result.code == 0, (arguments, result.err)

    @property
    def count(self) -> Path:
        """Where `count_changes` counts."""
        return self.folder / "changes"

    def unhurt(self, scene: Scene) -> Unhurt:
        """What an undisturbed call ends with."""
        if scene.name not in self.results:
            self.begin(scene)
            begun = time.monotonic()
            result = self.call(scene.arguments, partial(count_changes, self.home, self.count, None))
            assert result.code == 0, (scene.name, result.err)
            seconds, changes = time.monotonic() - begun, int(self.count.read_text())
            sizes = [path.stat().st_size for path in self.home.rglob("*") if path.is_file()]
            self.results[scene.name] = Unhurt(snapshot(self.home), seconds, changes, used(self.home), max(sizes))
        return self.results[scene.name]

    def differences(self, scene: Scene) -> list[str]:
        """What is wrong after the calls that follow a fault; [] where all is as after an undisturbed call."""
        for arguments in scene.then(self.home):
            result = self.call(arguments)
            told = result.code == 2 and scene.done and scene.done in result.err
            if result.code != 0 and not told:
                return [f"{' '.join(arguments)}: exit {result.code}: {result.err.strip().splitlines()[-1:]}"]
        now, expected = snapshot(self.home), self.results[scene.name].files
        wrong = [
            f"{name} is {'missing' if name not in now else 'new'}" for name in sorted(now.keys() ^ expected.keys())
        ]
        wrong += [f"{name} differs" for name in sorted(now.keys() & expected.keys()) if now[name] != expected[name]]
        return wrong + [f"{path} is left" for path in self.home.rglob("*.partial")]


def prepared(prepare: Callable[[], None] | None) -> None:
    """For a process of its own: charts are blank, since drawing them takes two thirds of all time; then `prepare`.

    Ray starts a cluster for each call, also where another runs.
    """
    os.environ["RAY_ADDRESS"] = "local"
    save = Figure.savefig

    def blank(figure: Figure, *arguments: Any, **named: Any) -> None:
        save(Figure(figsize=(1, 1)), *arguments, **named)

    Figure.savefig = blank  # type: ignore[method-assign]
    ConstrainedLayoutEngine.execute = lambda engine, figure: None  # type: ignore[method-assign]
    if prepare is not None:
        prepare()


# What changes a disk, as Python tells of it.
_CHANGES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
    "shutil.copyfile",
)


def die() -> None:
    """End this process as the system does when memory runs out: nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def count_changes(home: Path, file: Path, last: int | None) -> None:
    """For a process of its own: count its changes of files in `home` into a file, and die at the `last` one."""
    number, place = 0, str(home)
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        if event == "open":
            changes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            changes = event in _CHANGES
        if changes and arguments and str(arguments[0]).startswith(place):
            number += 1
            os.pwrite(out, str(number).encode(), 0)
            if number == last:
                die()

    sys.addaudithook(hook)


def used(home: Path) -> int:
    """The bytes that are taken of the file system at `home`."""
    of = os.statvfs(home)
    return (of.f_blocks - of.f_bfree) * of.f_frsize


def snapshot(home: Path) -> dict[str, str]:
    """What stands in a workspace, by path; of what tells times and places only that it is there."""
    found = {}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if not path.is_file() or path.name == ".lock" or ".partial/" in name:
            continue
        if name.endswith(_ONLY_THERE):
            found[name] = "there"
        elif path.name == "manifest.json":  # Its digests are of files that tell times, too.
            found[name] = json.dumps(sorted(json.loads(path.read_text(encoding="utf-8"))["files"]))
        elif path.suffix == ".json":
            found[name] = json.dumps(_steady(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _steady(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _steady(value) for key, value in content.items() if key not in _VARY}
    return [_steady(value) for value in content] if isinstance(content, list) else content


def _fer2013(n: int) -> str:
    """Noise, and a bright bar whose height tells the class."""
    draw = random.Random(0)
    lines = ["emotion,pixels,Usage"]
    for row in range(n):
        bright = range(48 * 6 * (row % 7), 48 * 6 * (row % 7 + 1))
        pixels = " ".join(str(draw.randrange(128) + 127 * (place in bright)) for place in range(48 * 48))
        lines.append(f"{row % 7},{pixels},{FER2013_SPLITS[row // 7 % 5]}")
    return "\n".join(lines) + "\n"


def kill_after_checkpoint(home: Path) -> None:
    """For the process of its own: it dies when its first checkpoint stands."""
    before = Path.replace

    def replace(path: Path, target: Path) -> Path:
        done = before(path, target)
        if Path(target).name == "checkpoint.ckpt":
            die()
        return done

    Path.replace = replace  # type: ignore[method-assign, assignment]


def _again(*arguments: str) -> Callable[[Path], list[tuple[str, ...]]]:
    return lambda home: [arguments]


def _trained(*arguments: str) -> Callable[[Path], list[tuple[str, ...]]]:
    """Go on with the run if there is one, else the same call again."""

    def then(home: Path) -> list[tuple[str, ...]]:
        return [("train", "--resume", "tiny/1") if (home / "runs/tiny/1/experiment.yaml").is_file() else arguments]

    return then


def _train_folds(home: Path) -> list[tuple[str, ...]]:
    """Go on with each fold that is there, and train the others."""
    there = [(home / f"runs/folds/{number}/experiment.yaml").is_file() for number in (1, 2)]
    if not any(there):
        return [("train", "HOME/folds.yaml", "--folds")]
    second = ("train", "--resume", "folds/2") if there[1] else ("train", "HOME/folds.yaml", "protocol.fold=1")
    return [("train", "--resume", "folds/1"), second]


def scene(name: str, template: str, *arguments: str, done: str = "") -> Scene:
    """One whose next call is the same again."""
    return Scene(name, template, arguments, _again(*arguments), done)


FINISHED = "is finished"
_TRAIN = ("train", "HOME/tiny.yaml")
_DEVICES = (*_TRAIN, "train.devices=2")
_PREDICT = ("predict", "HOME/photos", "--detector", "none")
_SMALL = ("--epochs", "1", "--seeds", "1")
SCENES = (
    Scene("train", "data", _TRAIN, _trained(*_TRAIN), FINISHED),
    Scene("train on two devices", "data", _DEVICES, _trained(*_DEVICES), FINISHED),
    scene("train --resume", "stopped", "train", "--resume", "tiny/1", done=FINISHED),
    Scene("train --folds", "data", ("train", "HOME/folds.yaml", "--folds"), _train_folds, FINISHED),
    scene("evaluate", "trained", "evaluate", "tiny"),
    scene("data import", "data", "data", "import", "HOME/fer2013.csv", "--as", "new", done="there is a data set"),
    scene("data crop", "data", "data", "crop", "faces", "--region", "mouth", "--as", "new", done="there is a data set"),
    scene("data audit", "data", "data", "audit", "faces"),
    scene("explain", "trained", "explain", "tiny", "filters", "gradcam", "cases"),
    scene("suspects", "folded", "suspects", "folds/1-2"),
    scene("sweep", "data", "sweep", "HOME/rates.yaml"),
    scene("predict", "data", *_PREDICT, "--out", "HOME/faces.csv", "--draw", "HOME/drawn", "--resume"),
    scene("predict --shard", "data", *_PREDICT, "--shard", "1/2", "--out", "HOME/parts", "--resume"),
    scene("predict --merge", "parts", "predict", "--merge", "HOME/parts", "--out", "HOME/faces.csv"),
    scene("predict by Ray", "data", *_PREDICT, "--engine", "ray", "--out", "HOME/faces", "--resume"),
    scene("export", "trained", "export", "tiny", "--to", "HOME/tiny.onnx"),
    scene("report --to", "trained", "report", "tiny", "--to", "HOME/public"),
    scene("reproduce", "fer2013", "reproduce", "paper-2021", "--only", "cnn1", *_SMALL, "--to", "HOME/public"),
)
