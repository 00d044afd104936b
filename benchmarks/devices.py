"""What a second process gives one training, beside two threads of one process and two trainings side by side.

    python benchmarks/devices.py             prints the section
    python benchmarks/devices.py --report    and writes results/scale.md

Each way is `mien train` as a user calls it, on drawn faces. A training's images a second are the median of its epochs,
without what comes before and after; of two side by side, the sum; turns go round all ways, and medians of them count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scale_page import write_part

from mien import environment
from mien.runs.run import find_run
from mien.workspace import Workspace

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
# Names as the page has them; every file is trained on the same faces, by labels alone.
NETS = {
    "CNN 1 of the 2021 report": (EXPERIMENTS / "paper-2021" / "cnn1.yaml", ()),
    "mien-m": (EXPERIMENTS / "best" / "mien-m.yaml", ("train.votes=null",)),
}
# What `mien train` gets, the threads of each process, and the trainings.
WAYS: dict[str, tuple[tuple[str, ...], int, int]] = {
    "one process, one thread": ((), 1, 1),
    "one process, two threads": ((), 2, 1),
    "two processes (`train.devices=2`, gloo)": (("train.devices=2",), 2, 1),
    "two trainings side by side (`--seeds 2 --at-once 2`)": (("--seeds", "2", "--at-once", "2"), 2, 2),
}
FACES, EPOCHS = 3_000, 3


def mien(home: Path, threads: int, *words: object) -> None:
    """A command line in a workspace; its words where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "mien", *map(str, words)],
        env={**os.environ, "MIEN_HOME": str(home), "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)


def rate(home: Path, name: str, net: str, way: str) -> float:
    """Images a second of all trainings of a way together."""
    file, levers = NETS[net]
    arguments, threads, runs = WAYS[way]
    options = ["dataset.name=drawn", f"train.epochs={EPOCHS}", "train.device=cpu", f"name={name}"]
    mien(home, threads, "train", file, *options, *levers, *arguments)
    made = [find_run(Workspace(home), f"{name}/{number}").environment for number in range(1, runs + 1)]
    return sum(float(one["images_per_second"]) for one in made)


def measure(turns: int) -> dict[str, Any]:
    """Images a second by net and way: all turns and their median."""
    found: dict[str, dict[str, list[float]]] = {net: {way: [] for way in WAYS} for net in NETS}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        mien(home, 1, "data", "synth", "--as", "drawn", "--n", FACES, "--size", 48)
        for turn in range(turns):
            for number, (net, ways) in enumerate(found.items()):
                for place, (way, rates) in enumerate(ways.items()):
                    rates.append(rate(home, f"n{number}-{place}-{turn}", net, way))
    return {
        net: {way: {"turns": rates, "median": statistics.median(rates)} for way, rates in ways.items()}
        for net, ways in found.items()
    }


def section(found: dict[str, Any], about: dict[str, Any], turns: int) -> str:
    """What was measured as Markdown."""
    lines = [
        f"Written by `python benchmarks/devices.py --report`: images a second of trainings on drawn faces of 48 px, as "
        f"their files say but for the data; medians of {turns} turns; {about['cpu']}, {os.cpu_count()} cores; commit "
        f"{(about['commit'] or 'unknown')[:12]}. In brackets: times one process with two threads.\n\n",
        f"| way | {' | '.join(found)} |\n| --- |{' ---: |' * len(found)}\n",
    ]
    for way in WAYS:
        rates = [(ways[way]["median"], ways["one process, two threads"]["median"]) for ways in found.values()]
        lines.append(f"| {way} | {' | '.join(f'{one:,.0f} [{one / two:.2f}]' for one, two in rates)} |\n")
    return "".join(lines)


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="write results/scale/devices.json and results/scale.md")
    given = parser.parse_args()
    found = measure(given.turns)
    about = environment.describe()
    text = section(found, about, given.turns)
    print(text)
    if given.report:
        write_part("devices", "One training on two devices", text, {"environment": about, "found": found})


if __name__ == "__main__":
    main()
