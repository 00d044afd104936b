"""How often `mien compare` calls one of two equals better, and how often it finds a difference that is there.

    python benchmarks/comparing.py                     prints the table
    python benchmarks/comparing.py --write results     and writes results/comparing.md

Wanted: of comparisons without a difference, at most 5 % end with "is better"; with many pairs at once, at most 5 % of
tables hold one such verdict. Each simulation draws rows, some easy and some hard, models that share them, and what
their seeds do; then all goes through `mien.comparison.compare`, as runs would.
"""

import argparse
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from mien.comparison import UNDECIDED, Contender, compare
from mien.runs.predictions import Predictions

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class World:
    """What is compared: how many seeds each contender has, and what its rows and seeds are like.

    On the scale of logits: rows differ by sd 2, models on one row by `apart`, seeds of a model in all rows by `seeds`.
    A difference of `gain` lifts the first contender.
    """

    name: str
    runs: tuple[int, ...]
    n: int
    apart: float = 1.0
    seeds: float = 0.0
    gain: float = 0.0
    level: float = 0.0


WORLDS = (
    World("two models", (1, 1), 350),
    World("two models", (1, 1), 3589),
    World("two models that rarely differ", (1, 1), 3589, apart=0.1),
    World("two models, 95 % right", (1, 1), 350, level=5.0),
    World("five seeds of one model, all ten pairs", (1,) * 5, 3589, apart=0.0),
    World("ten models, all 45 pairs", (1,) * 10, 3589),
    World("two seeds against two", (2, 2), 3589, seeds=0.05),
    World("three seeds against three", (3, 3), 3589, seeds=0.05),
    World("five against five, seeds alike", (5, 5), 3589, apart=0.0),
    World("five against five", (5, 5), 3589),
    World("five against five, seeds matter", (5, 5), 3589, seeds=0.05),
    World("five against five, seeds matter most", (5, 5), 3589, seeds=0.2),
    World("five against five, few rows", (5, 5), 350, seeds=0.05),
    World("five against one", (5, 1), 3589),
    World("three groups of five, all three pairs", (5, 5, 5), 3589, seeds=0.05),
    World("two models", (1, 1), 3589, gain=0.12),
    World("five seeds against five", (5, 5), 3589, gain=0.12),
    World("five against five, seeds matter", (5, 5), 3589, seeds=0.05, gain=0.12),
)


@dataclass(frozen=True)
class Found:
    """What came of many simulations: true difference, share with a verdict, coverage and width of the intervals."""

    difference: float
    decided: float
    coverage: float
    width: float


def draw(world: World, random: np.random.Generator) -> list[Bools]:
    """Which rows each seed of each contender has right, (seeds, rows) for each contender."""
    rows = random.normal(world.level, 2, world.n)
    drawn = []
    for place, seeds in enumerate(world.runs):
        own = rows + random.normal(0, world.apart, world.n) + (world.gain if place == 0 else 0.0)
        drawn.append(random.random((seeds, world.n)) < expit(own + random.normal(0, world.seeds, (seeds, 1))))
    return drawn


@functools.cache
def rows(n: int) -> tuple[tuple[str, ...], tuple[str, ...], npt.NDArray[np.int64]]:
    """Ids, splits and labels of `n` rows, all of the first class."""
    return tuple(map(str, range(n))), ("test",) * n, np.zeros(n, dtype=np.int64)


def contender(name: str, right: Bools) -> Contender:
    """Right and wrong answers as runs of one class against another."""
    ids, splits, labels = rows(right.shape[1])
    runs = tuple(
        Predictions(Path(f"{name}-{i}"), ids, splits, labels, np.stack([one, ~one], axis=1) * 1.0, ("a", "b"))
        for i, one in enumerate(right)
    )
    return Contender(name, runs)


def simulate(world: World, simulations: int, seed: int) -> Found:
    """The share of simulated tables with a verdict, and the first pair's intervals against its true difference."""
    random = np.random.default_rng(seed)
    spread = np.random.default_rng(1).normal(0, (4 + world.apart**2 + world.seeds**2) ** 0.5, 2_000_000)
    truth = float(expit(spread + world.level + world.gain).mean() - expit(spread + world.level).mean())
    decided = held = 0
    width = 0.0
    for _ in range(simulations):
        found: dict[str, Any] = compare([contender(str(i), right) for i, right in enumerate(draw(world, random))])
        decided += any(pair["verdict"] != UNDECIDED for pair in found["pairs"])
        low, high = found["pairs"][0]["interval"]
        held += low <= truth <= high
        width += high - low
    return Found(truth, decided / simulations, held / simulations, width / simulations)


def report(simulations: int, seed: int) -> str:
    """The table as Markdown."""
    lines = [
        "# How often a comparison is wrong",
        "",
        f"Written by `python benchmarks/comparing.py --write results`: {simulations:,} simulated tables a line, by "
        f"`mien.comparison.compare`, seed {seed}. By chance alone a share of .05 varies by "
        f"± {1.96 * (0.05 * 0.95 / simulations) ** 0.5:.3f}. Where the true difference is 0, *verdict* is the share of "
        "tables in which anything was called better, so the error rate; else it is how often the difference was found. "
        "Coverage is that of the first pair's interval.",
        "",
        "| what is compared | n | true difference | verdict | coverage | width of the interval |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for world in WORLDS:
        one = simulate(world, simulations, seed)
        lines.append(
            f"| {world.name} | {world.n:,} | {one.difference:.3f} | {one.decided:.3f} | {one.coverage:.3f} "
            f"| {one.width:.3f} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    text = report(given.simulations, given.seed)
    if given.write:
        (given.write / "comparing.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
