"""Trains many runs at once, each in a process of its own."""

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.progress import console
from mien.runs.run import Run

# s between two looks at what the processes have come to.
_LOOK = 0.5


@dataclass(frozen=True)
class Ended:
    """A run whose process has ended: its state then, and what it said last where that is an error."""

    run: Run
    state: str
    error: str = ""


@dataclass
class _Training:
    run: Run
    process: subprocess.Popen[bytes]
    log: Path
    told: int = 0


def train_at_once(runs: Sequence[Run], at_once: int, stop_after: float | None = None) -> list[Ended]:
    """Train runs to their end, up to `at_once` at a time; each writes its `training.log`, and a line an epoch is shown.

    The processes share the CPU's cores evenly, and a GPU as it comes. After `stop_after` minutes no run begins, and
    those that train stop after their epoch; they go on where they are trained again. A run that fails doesn't stop
    the others. Ctrl-C stops them all.
    """
    waiting, training, ended = deque(runs), list[_Training](), list[Ended]()
    processes: list[subprocess.Popen[bytes]] = []
    begun = time.monotonic()
    with stopped_at_the_end(processes):
        while waiting or training:
            left = None if stop_after is None else stop_after - (time.monotonic() - begun) / 60
            while waiting and len(training) < at_once and (left is None or left > 0):
                training.append(_start(waiting.popleft(), at_once, left))
                processes.append(training[-1].process)
            if not training:
                break
            time.sleep(_LOOK)
            for one in list(training):
                _tell(one)
                if one.process.poll() is not None:
                    training.remove(one)
                    ended.append(_ended(one))
    return ended + [Ended(run, run.state) for run in waiting]


def _start(run: Run, at_once: int, minutes: float | None) -> _Training:
    words = [sys.executable, "-m", "mien", "train", "--resume", str(run.folder), "--workspace", str(run.workspace.root)]
    words += [] if minutes is None else ["--stop-after", f"{minutes:.3f}"]
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    log = run.folder / "training.log"
    with log.open("ab") as file:
        # In a group of its own: Ctrl-C in the terminal reaches this process alone, which then stops them in order.
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": threads},
            start_new_session=True,
        )
    return _Training(run, process, log, log.stat().st_size)


def _tell(one: _Training) -> None:
    """Show what the run has written about its epochs since the last look."""
    with one.log.open("rb") as file:
        file.seek(one.told)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    one.told += len(whole)
    for line in whole.decode(errors="replace").splitlines():
        if line.startswith(f"{one.run.name} epoch"):
            console.print(line, markup=False, highlight=False)


def _ended(one: _Training) -> Ended:
    state = one.run.state
    if one.process.returncode == 0:
        return Ended(one.run, state)
    lines = one.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return Ended(one.run, state, lines[-1].removeprefix("mien: ") if lines else f"exit {one.process.returncode}")


@contextlib.contextmanager
def stopped_at_the_end(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop the processes of a list that are still there when an error or Ctrl-C ends the work."""
    try:
        yield
    finally:
        for one in processes:
            one.terminate()  # As Ctrl-C, which a process in the background may be told to ignore.
        for one in processes:
            one.wait()
