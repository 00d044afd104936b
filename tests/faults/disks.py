"""Full disks at random byte counts: a sentence, nothing old is lost, and with space again all is as undisturbed."""

import contextlib
import random
import resource
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faults.scenes import SCENES, Scene, Stage, snapshot, used

_PAGE = 4096
_ROOM = 256 * 2**20


def can_mount() -> bool:
    """Whether this process may mount a file system of its own; else `limit` stands for a full disk."""
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", "/mnt"], check=False, capture_output=True
    )
    if tried.returncode == 0:
        subprocess.run(["umount", "/mnt"], check=True)
    return tried.returncode == 0


def limit(size: int) -> None:
    """For a process of its own: no file of it gets larger, which is an error like a full disk's."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextlib.contextmanager
def disk(home: Path) -> Iterator[None]:
    """A file system in memory at `home`."""
    home.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(home)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def resize(home: Path, size: int) -> None:
    """Give the file system at `home` another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(home)], check=True)


def filled(stage: Stage, scene: Scene, draw: random.Random, mounted: bool) -> tuple[str, list[str]]:
    """Fill the disk once while a scene runs, and go on with space again: when that was, and what is wrong."""
    expected = stage.unhurt(scene)
    share = draw.random()
    while True:
        stage.begin(scene)
        before = snapshot(stage.home)
        if mounted:
            taken = used(stage.home)
            free = int(share * max(expected.bytes - taken, 16 * _PAGE)) // _PAGE * _PAGE
            resize(stage.home, taken + free)
            result = stage.call(scene.arguments)
            resize(stage.home, _ROOM)
        else:
            free = int(share * expected.largest)
            result = stage.call(scene.arguments, partial(limit, free))
        if result.code != 0:
            break
        share *= 0.8  # It was enough.
        if share < 1e-6:
            return "never", ["no disk is small enough"]
    wrong = [] if result.code == 1 and "Traceback" not in result.err else [f"exit {result.code}: {result.err[-300:]}"]
    if "no space left on the disk" not in result.err:
        wrong.append(f"said: {result.err[-300:]}")
    now = snapshot(stage.home)
    wrong += [f"{name} is lost" for name in before if name not in now]
    kept = {name for name in before.keys() & now.keys() if now[name] in (before[name], expected.files.get(name))}
    # How far a run is and which of its epochs are kept changes on the way.
    moving = ("status.json", "history.csv", "checkpoint.ckpt", "environment.json")
    wrong += [f"{name} is another" for name in before.keys() & now.keys() - kept if not name.endswith(moving)]
    return f"with {free:,} bytes", wrong + stage.differences(scene)


def run(folder: Path, seed: int, n: int) -> Iterator[dict[str, Any]]:
    """`n` full disks over all scenes in turn: after each the section for results/faults.md as it is then."""
    stage, draw, mounted = Stage(folder), random.Random(seed), can_mount()
    rows = {scene.name: [0, 0] for scene in SCENES}
    how = "a file system in memory of so many bytes" if mounted else "a limit on the size of files"
    with disk(stage.home) if mounted else contextlib.nullcontext():
        for index in range(n):
            scene = SCENES[index % len(SCENES)]
            when, wrong = filled(stage, scene, draw, mounted)
            rows[scene.name][0] += 1
            rows[scene.name][1] += not wrong
            print(f"{index + 1}/{n} {scene.name} {when}: {wrong or 'nothing lost'}", flush=True)
            yield {
                "title": "Full disks at random byte counts",
                "text": f"Each verb runs on a disk that gets full on the way ({how}). Counted is how often it says "
                "so in one sentence, every older file is still there, and the next call, with space again, ends with "
                "the same files as an undisturbed one.",
                "columns": ["verb", "full disks", "nothing lost"],
                "rows": [[name, *counts] for name, counts in rows.items()],
                "failed": sum(full - kept for full, kept in rows.values()),
            }
