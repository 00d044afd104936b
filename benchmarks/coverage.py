"""How often intervals hold the truth: simulated test sets with known scores, measured as every run is.

    python benchmarks/coverage.py                     prints the tables
    python benchmarks/coverage.py --write results     and writes results/coverage.md (10 minutes on one core)

Wanted: 95 % intervals of accuracy, balanced accuracy and macro F1 hold the truth in 93 to 97 % of 1,000 test sets.
The truth of each world is a matrix of shares, or a curve of accuracy by confidence; nothing is fitted to anything.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from mien.intervals import bootstrap, resample_seeds, seeds_mean, wilson
from mien.metrics import classification
from mien.metrics.calibration import bin_rows, corrected_ece

Values = npt.NDArray[np.float64]

# FER2013's PrivateTest: angry, disgust, fear, happy, sad, surprise, neutral.
PRIVATE_TEST = np.array([491, 55, 528, 879, 594, 416, 626])
SCORES = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class World:
    """A test set's rows by class, and the recall that a model truly has on each; wrong answers go anywhere."""

    name: str
    sizes: npt.NDArray[np.int64]
    recalls: tuple[float, ...]

    @property
    def shares(self) -> Values:
        """For each true class, what share is taken for each class, (k, k)."""
        k = len(self.sizes)
        shares = np.zeros((k, k))
        random = np.random.default_rng(0)
        for i, recall in enumerate(self.recalls):
            wrong = random.dirichlet(np.ones(k - 1)) * (1 - recall)
            shares[i] = np.insert(wrong, i, recall)
        return shares


WEAK = (0.38, 0.20, 0.30, 0.68, 0.38, 0.62, 0.45)
GOOD = (0.75, 0.70, 0.60, 0.90, 0.65, 0.85, 0.75)
WORLDS = (
    World("FER2013's PrivateTest, a weak model", PRIVATE_TEST, WEAK),
    World("FER2013's PrivateTest, a good model", PRIVATE_TEST, GOOD),
    World("a tenth of it, a weak model", PRIVATE_TEST // 10, WEAK),
    World("a tenth of it, a good model", PRIVATE_TEST // 10, GOOD),
    World("50 rows a class, 97 % right", np.full(7, 50), (0.97,) * 7),
    World("20 rows a class, 99 % right", np.full(7, 20), (0.99,) * 7),
)


def of_scores(world: World, *, drawn_sizes: bool, sets: int, draws: int, seed: int = 0) -> dict[str, float]:
    """The share of test sets whose interval holds the truth, by score.

    Each set has the world's number of rows of each class, as the stratified bootstrap takes them, or, with
    `drawn_sizes`, its number of rows in all, each of a class that is drawn.
    """
    random = np.random.default_rng(seed)
    expected = world.shares * world.sizes[:, None]
    truth = {name: float(getattr(classification, name)(expected)) for name in SCORES}
    held = dict.fromkeys(SCORES, 0)
    n, k = int(world.sizes.sum()), len(world.sizes)
    for _ in range(sets):
        if drawn_sizes:
            matrix = random.multinomial(n, (expected / n).ravel()).reshape(k, k)
        else:
            matrix = random.multinomial(world.sizes, world.shares)
        for name in SCORES:
            if name == "accuracy":
                low, high = wilson(int(np.trace(matrix)), n)
            else:
                low, high = bootstrap(matrix, getattr(classification, name), draws=draws)
            held[name] += low <= truth[name] <= high
    return {name: held[name] / sets for name in SCORES}


@dataclass(frozen=True)
class Seeds:
    """A group: how many seeds are trained, and by how much (on the scale of logits) each does better on a class."""

    name: str
    seeds: int
    spread: float


GROUPS = (
    Seeds("3 seeds that hardly differ", 3, 0.02),
    Seeds("5 seeds that hardly differ", 5, 0.02),
    Seeds("3 seeds that differ", 3, 0.15),
    Seeds("5 seeds that differ", 5, 0.15),
)


def _recall(rows: Values, shift: Values, labels: npt.NDArray[np.int64]) -> Values:
    """How likely each row is taken for its own class by each seed: rows are easy or hard, seeds good or bad."""
    return np.asarray(1 / (1 + np.exp(-(0.3 + rows + shift[:, labels]))))


def of_groups(group: Seeds, *, sets: int, seed: int = 0) -> dict[str, float]:
    """The share of test sets on which a group's interval holds the mean over all rows and seeds there could be."""
    random = np.random.default_rng(seed)
    sizes, k = PRIVATE_TEST, len(PRIVATE_TEST)
    labels = np.repeat(np.arange(k), sizes)
    # The truth: 400 seeds on 2,000 quantiles of all rows a class; wrong answers go to any class alike.
    many = np.repeat(np.arange(k), 2000)
    quantiles = 2 * norm.ppf((np.arange(2000) + 0.5) / 2000)
    chance = _recall(np.tile(quantiles, k), random.normal(0, group.spread, (400, k)), many)
    recall = chance.reshape(400, k, 2000).mean(axis=2)
    wrong = (1 - recall)[:, :, None] / (k - 1) * (1 - np.eye(k))
    matrices = (wrong + recall[:, :, None] * np.eye(k)) * sizes[:, None]
    truth = {name: float(getattr(classification, name)(matrices).mean()) for name in SCORES}
    held = dict.fromkeys(SCORES, 0)
    for _ in range(sets):
        chance = _recall(random.normal(0, 2, len(labels)), random.normal(0, group.spread, (group.seeds, k)), labels)
        right = random.random(chance.shape) < chance
        predicted = np.where(right, labels, (labels + random.integers(1, k, chance.shape)) % k)
        drawn = resample_seeds(labels, predicted, k, draws=500)
        for name in SCORES:
            if name == "accuracy":
                low, high = seeds_mean(right.astype(np.float64)).interval
            else:
                low, high = np.quantile(getattr(classification, name)(drawn).mean(axis=1), [0.025, 0.975])
            held[name] += low <= truth[name] <= high
    return {name: held[name] / sets for name in SCORES}


def _flat(random: np.random.Generator, n: int) -> Values:
    return np.asarray(1 / 7 + random.beta(2.2, 3.0, n) * 6 / 7)


def _sure(random: np.random.Generator, n: int) -> Values:
    return np.asarray(1 - random.beta(0.6, 4.0, n) * 6 / 7)


@dataclass(frozen=True)
class Trust:
    """How sure a model is of its answers, and how right it truly is at each confidence."""

    name: str
    confidence: Callable[[np.random.Generator, int], Values]
    accuracy: Callable[[Values], Values]


TRUSTS = (
    Trust("calibrated, unsure", _flat, lambda c: c),
    Trust("calibrated, sure", _sure, lambda c: c),
    Trust("2 points too sure, unsure", _flat, lambda c: c - 0.02),
    Trust("2 points too sure, sure", _sure, lambda c: c - 0.02),
    Trust("5 points too sure", _flat, lambda c: c - 0.05),
    Trust("15 points too sure", _flat, lambda c: np.maximum(c - 0.15, 0)),
    Trust("too sure here, too unsure there", _flat, lambda c: np.clip(c - 0.12 * np.sin(6 * c), 0, 1)),
    Trust("20 points too sure where over 80 % sure", _flat, lambda c: np.where(c > 0.8, c - 0.2, c)),
)


@dataclass(frozen=True)
class Calibrated:
    """What became of the ECE of many test sets: the truth, the mean as measured and as corrected, and the coverage."""

    truth: float
    measured: float
    corrected: float
    coverage: float


def of_ece(trust: Trust, n: int, *, sets: int, equal_mass: bool = False, seed: int = 0) -> Calibrated:
    """The ECE of 15 bins of `sets` test sets of `n` rows, against that of two million rows without any chance."""
    random = np.random.default_rng(seed)
    many = trust.confidence(random, 2_000_000)
    gaps = trust.accuracy(many) - many
    edges = np.quantile(many, np.arange(1, 15) / 15) if equal_mass else np.arange(1, 15) / 15
    truth = float(abs(np.bincount(np.searchsorted(edges, many), gaps)).sum() / len(many))
    measured, corrected, held = [], [], 0
    for _ in range(sets):
        confidence = trust.confidence(random, n)
        bins = bin_rows(confidence, random.random(n) < trust.accuracy(confidence), equal_mass=equal_mass)
        estimate, (low, high) = corrected_ece(bins)
        measured.append(bins.ece)
        corrected.append(estimate)
        held += low <= truth <= high
    return Calibrated(truth, float(np.mean(measured)), float(np.mean(corrected)), held / sets)


def report(sets: int, draws: int, seed: int) -> str:
    """The three tables as Markdown."""
    lines = [
        "# How often 95 % intervals hold the truth",
        "",
        f"Written by `python benchmarks/coverage.py --write results`: {sets:,} simulated test sets a line, {draws:,} "
        f"draws a bootstrap, seed {seed} (the methods were chosen on test sets of seed 0). By chance "
        f"alone a share of .95 varies by ± {1.96 * (0.95 * 0.05 / sets) ** 0.5:.3f}.",
        "",
        "Accuracy has Wilson's interval, the others the stratified bootstrap's, which takes the sizes of the classes "
        "as they are: that is what its 95 % are for. With *drawn* sizes they vary too, which the interval of F1 "
        "doesn't count; that shows where a class is rare. Where a class has a handful of rows (disgust has 5 in a "
        "tenth of PrivateTest), or a whole test set one or two wrong answers, counts are too few for any interval to "
        "hold the truth in just 95 %: these are on the safe side.",
        "",
        "| test set | class sizes | n | accuracy | balanced accuracy | macro F1 |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for world in WORLDS:
        for drawn in (False, True):
            found = of_scores(world, drawn_sizes=drawn, sets=sets, draws=draws, seed=seed)
            cells = " | ".join(f"{found[name]:.3f}" for name in SCORES)
            lines.append(f"| {world.name} | {'drawn' if drawn else 'as they are'} | {world.sizes.sum():,} | {cells} |")
            print(lines[-1], flush=True)
    lines += [
        "",
        "Groups of seeds on FER2013's PrivateTest, for the mean over all rows and seeds there could be: accuracy by "
        f"closed form, the others by a bootstrap over seeds and rows together ({sets // 4:,} test sets a line: "
        f"± {1.96 * (0.95 * 0.05 / (sets // 4)) ** 0.5:.3f}). What seeds do to single rows counts three times in such "
        "a bootstrap, so that it is on the safe side where seeds hardly differ.",
        "",
        "| group | n | accuracy | balanced accuracy | macro F1 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for group in GROUPS:
        found = of_groups(group, sets=sets // 4, seed=seed)
        cells = " | ".join(f"{found[name]:.3f}" for name in SCORES)
        lines.append(f"| {group.name} | {PRIVATE_TEST.sum():,} | {cells} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        "The ECE of 15 bins: what it truly is, what is measured on the mean (chance adds to it), what `ece_corrected` "
        "says on the mean, and how often its interval holds the truth. Its ends are on the safe side: it is wider than "
        "it would have to be where gaps are small and spread over all bins.",
        "",
        "| model | bins | n | true ECE | measured | corrected | coverage |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for trust in TRUSTS:
        for n in (350, 3589):
            for equal_mass in (False, True):
                one = of_ece(trust, n, sets=sets, equal_mass=equal_mass, seed=seed)
                lines.append(
                    f"| {trust.name} | {'equal mass' if equal_mass else 'equal width'} | {n:,} | {one.truth:.4f} "
                    f"| {one.measured:.4f} | {one.corrected:.4f} | {one.coverage:.3f} |"
                )
                print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    text = report(given.sets, given.draws, given.seed)
    if given.write:
        (given.write / "coverage.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
