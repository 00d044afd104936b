"""How many of the labels that were flipped on purpose `mien suspects` finds, on faces that mien draws.

    python benchmarks/suspects.py [--n 4000] [--share 0.1] [--epochs 12] [--write results]

A share of the labels becomes another class, drawn evenly, by the same road that mends labels (`--relabel`). Five folds
of CNN 1 are trained on that; the list is compared with what was flipped, and with the plainest list there is: all rows
for which the model's likeliest class isn't the label.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mien.data.importers.relabel import relabel
from mien.data.synthetic.dataset import write_faces
from mien.evaluation import evaluate
from mien.evaluation.label_errors import find_label_errors, out_of_fold, suspicious
from mien.experiment.schema import load_experiment
from mien.intervals import wilson, with_interval
from mien.runs.run import new_run
from mien.training.fit import train
from mien.workspace import Workspace

FOLDS = 5
# Pixels a side, so that the five trainings take minutes.
SIZE = 32
FILE = Path(__file__).parent.parent / "mien" / "demo.yaml"


def flip(workspace: Workspace, n: int, share: float, seed: int) -> dict[tuple[str, str], int]:
    """Draw the data set `true` and, with a share of its labels changed, `flipped`; the true labels by row."""
    dataset = write_faces(workspace, "true", n=n, size=48, color="gray", seed=seed)
    classes = dataset.card.classes
    truth = {
        (split, id_): label
        for split in dataset.card.splits
        for id_, label in zip(dataset.ids(split), dataset.labels(split).tolist(), strict=True)
    }
    random = np.random.default_rng(seed)
    rows = list(truth)
    lines = ["split,id,given,suggested"]
    for place in sorted(random.choice(len(rows), round(n * share), replace=False).tolist()):
        row = rows[place]
        other = classes[(truth[row] + int(random.integers(1, len(classes)))) % len(classes)]
        lines.append(f"{row[0]},{row[1]},{classes[truth[row]]},{other}")
    file = workspace.root / "flips.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    relabel(workspace, "true", file, "flipped")
    return truth


def predict(workspace: Workspace, epochs: int) -> list[float]:
    """Train and measure the folds; the accuracy of each on its own part, under the labels as they are."""
    scores = []
    for fold in range(FOLDS):
        overrides = ["name=folds", "dataset.name=flipped", f"dataset.size={SIZE}", f"train.epochs={epochs}"]
        overrides += ["protocol.name=k-fold", f"protocol.folds={FOLDS}", f"protocol.fold={fold}"]
        run = new_run(workspace, load_experiment(FILE, overrides))
        train(workspace, run, ["benchmarks/suspects.py"])
        scores.append(evaluate(workspace, run, "report")["accuracy"])
    return scores


def share(part: int, n: int) -> str:
    """A share with its interval and what it is of."""
    return f"{with_interval(part / max(n, 1), wilson(part, n))} of {n:,}"


def main() -> None:
    """Flip, train, list, count; print a page and perhaps write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="also write suspects.md there")
    given = parser.parse_args()
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        truth = flip(workspace, given.n, given.share, given.seed)
        scores = predict(workspace, given.epochs)
        reference = f"folds/1-{FOLDS}"
        find_label_errors(workspace, reference)
        found = out_of_fold(workspace, reference)
    true = np.array([truth[row] for row in found.rows])
    flipped = true != found.labels
    rows, suggested = suspicious(found.labels, found.given)
    plain = np.flatnonzero(found.given.argmax(axis=1) != found.labels)
    lists: dict[str, Any] = {
        "suspects": (rows, suggested),
        "the first 100 suspects": (rows[:100], suggested[:100]),
        "all rows that the model takes for another class": (plain, found.given[plain].argmax(axis=1)),
    }
    lines = []
    for name, (listed, rather) in lists.items():
        hit = flipped[listed]
        mended = int((rather[hit] == true[listed[hit]]).sum())
        lines.append(
            f"| {name} | {len(listed):,} | {share(int(hit.sum()), int(flipped.sum()))} | "
            f"{share(int(hit.sum()), len(listed))} | {share(mended, int(hit.sum()))} |"
        )
    right = int((found.given.argmax(axis=1) == true).sum())
    text = f"""# Flipped labels that `mien suspects` finds

Written by `python benchmarks/suspects.py --write results`: {given.n:,} drawn faces, {flipped.sum():,} labels flipped to
another class, {FOLDS} folds of CNN 1 at {SIZE} × {SIZE} pixels for {given.epochs} epochs (data set and flips by seed
{given.seed}, training by seed 42, one run a fold). Out of fold the models have {share(right, len(true))} true classes
right, and of the labels as they stand {min(scores):.3f} to {max(scores):.3f} by fold. Intervals are Wilson's of 95 %.

| list | rows | flipped rows found | listed rows that were flipped | true class suggested, of those found |
| --- | ---: | ---: | ---: | ---: |
{chr(10).join(lines)}

Drawn faces have one true class, and the flips are even; people's labels are neither. On photos a list like this holds
faces that are hard to read as well as errors, so it is to be looked through.
"""
    print(text)
    print(f"{time.process_time() - start:.0f} s of CPU")
    if given.write:
        (given.write / "suspects.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
