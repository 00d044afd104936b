"""Images a second of training CNN 1 at batch 64, four ways, in one run on one machine.

    python benchmarks/training.py                    prints the table
    python benchmarks/training.py --write results    and writes results/speed.md and results/speed.json

(a) a plain PyTorch loop whose Dataset parses the pixel string of a row at each access, with 2 workers;
(b) the same from decoded tensors, with the default collate;
(c) `mien train`;
(d) forward, backward and optimiser step on one fixed batch: what the machine can do.

Training steps alone, validation apart. Each measurement is a process of its own, and the rounds take turns, since a
shared machine is now fast, now slow; the table shows each way's best round, and ratios of the best.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH = 64
WAYS = {
    "a": "plain loop, parses the pixel string at each access, 2 workers",
    "b": "plain loop, decoded tensors, default collate",
    "c": "mien train",
    "d": "one fixed batch: forward, backward, step",
}
MEASURED = (("a", "float32"), ("b", "float32"), *((way, p) for p in ("float32", "auto") for way in ("c", "d")))


def main() -> None:
    """Measure every way in rounds, print the table, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--way", nargs=3, metavar=("WAY", "PRECISION", "HOME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        way, precision, home = arguments.way
        rate = measure(way, precision, Path(home), arguments.images)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"rate": rate, "peak_gb": peak}))
        return
    with tempfile.TemporaryDirectory() as home:
        draw(Path(home), arguments.images)
        found: dict[tuple[str, str], list[dict[str, float]]] = {one: [] for one in MEASURED}
        for number in range(arguments.rounds):
            for way, precision in MEASURED:
                command = [sys.executable, __file__, "--images", str(arguments.images), "--way", way, precision, home]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[way, precision].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"round {number + 1} ({way}) {precision}: {found[way, precision][-1]['rate']:,.0f}/s")
    report(found, arguments.images, arguments.write)


def draw(home: Path, images: int) -> None:
    """A drawn data set, of which eight tenths are trained on, and its training rows as pixel strings."""
    from mien.data.synthetic.dataset import write_faces
    from mien.images import decode
    from mien.workspace import Workspace

    dataset = write_faces(Workspace(home), "drawn", n=images * 10 // 8, size=48, color="gray", seed=0)
    with (home / "rows.csv").open("w") as file:
        for label, data in zip(dataset.labels("train"), dataset.images("train"), strict=True):
            file.write(f"{label},{' '.join(map(str, decode(data, 'gray').ravel()))}\n")


def measure(way: str, precision: str, home: Path, images: int) -> float:
    """Images a second of one way."""
    if way == "c":
        return by_mien(precision, home)
    import torch

    torch.manual_seed(0)
    return fixed_batch(precision, images) if way == "d" else plain_loop(way, home, images)


def cnn1() -> tuple[Any, Any]:
    """CNN 1 and its optimiser, as `mien train` builds them."""
    import torch

    from mien.models.cnn import CNN
    from mien.optimizers import adam

    model: Any = CNN(3, 48, 7, kernel_size=5, fc=(120, 250))
    model = model.to(memory_format=torch.channels_last)
    return model, adam(model.parameters(), lr=1e-4)


def by_mien(precision: str, home: Path) -> float:
    """(c): the median of the epochs' training steps, as the run's environment has it."""
    from mien.experiment.schema import load_experiment
    from mien.runs.run import new_run
    from mien.training.fit import train
    from mien.workspace import Workspace

    file = Path(__file__).parent.parent / "experiments" / "paper-2021" / "cnn1.yaml"
    overrides = ["dataset.name=drawn", "train.epochs=3", f"train.precision={precision}", "train.device=cpu"]
    run = new_run(Workspace(home), load_experiment(file, overrides))
    train(Workspace(home), run, sys.argv)
    return float(run.environment["images_per_second"])


def fixed_batch(precision: str, images: int) -> float:
    """(d): the median of three times as many steps as an epoch has."""
    import statistics

    import torch
    from torch.nn import functional as F

    from mien.environment import precision as resolve

    model, optimizer = cnn1()
    batch = (torch.rand(BATCH, 3, 48, 48) * 255).to(memory_format=torch.channels_last)
    labels = torch.randint(7, (BATCH,))
    half = resolve(precision, "cpu") == "bfloat16"
    rates = []
    for _ in range(3):
        started = time.monotonic()
        for _ in range(images // BATCH):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = model(batch)
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        rates.append(images // BATCH * BATCH / (time.monotonic() - started))
    return statistics.median(rates)


def plain_loop(way: str, home: Path, images: int) -> float:
    """(a) and (b): what a script of one page does."""
    import numpy as np
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, Dataset

    lines = (home / "rows.csv").read_text().splitlines()

    def parse(line: str) -> tuple[torch.Tensor, int]:
        label, _, pixels = line.partition(",")
        image = np.array(pixels.split(), dtype=np.float32).reshape(1, 48, 48)
        return torch.from_numpy(image).repeat(3, 1, 1), int(label)

    class Rows(Dataset[tuple[torch.Tensor, int]]):
        def __len__(self) -> int:
            return len(lines)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return parse(lines[index]) if way == "a" else decoded[index]

    decoded = [parse(line) for line in lines] if way == "b" else []
    loader = DataLoader(Rows(), batch_size=BATCH, num_workers=2 if way == "a" else 0)
    model, optimizer = cnn1()
    model = model.to(memory_format=torch.contiguous_format)
    rates = []
    for _ in range(2):
        started = time.monotonic()
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels).backward()
            optimizer.step()
        rates.append(len(lines) / (time.monotonic() - started))
    return max(rates)


def report(found: dict[tuple[str, str], list[dict[str, float]]], images: int, folder: Path | None) -> None:
    """The table and the ratios as Markdown, and all rounds as JSON."""
    from mien import environment

    best = {one: max(round_["rate"] for round_ in rounds) for one, rounds in found.items()}
    peak = max(round_["peak_gb"] for round_ in found["c", "auto"] + found["c", "float32"])
    here = environment.describe()
    picked = environment.precision("auto", "cpu")
    rows = "\n".join(
        f"| ({way}) {WAYS[way]} | {picked + ' (auto)' if precision == 'auto' else precision} | {rate:,.0f} | "
        + ", ".join(f"{round_['rate']:,.0f}" for round_ in found[way, precision])
        + " |"
        for (way, precision), rate in best.items()
    )
    text = f"""# Speed of training CNN 1 at batch 64

Written by `python benchmarks/training.py --write results`, {images:,} drawn faces of 48 × 48 an epoch, training steps
alone. {here["cpu"]}, {here["cores"]} cores, torch {here["packages"]["torch"]}, {here["threads"]} threads, commit
{(here["commit"] or "unknown")[:12]}. The machine is shared: the best of
{len(found["a", "float32"])} rounds that took turns.

| way | precision | images a second | rounds |
| --- | --- | ---: | --- |
{rows}

| ratio | value | wanted |
| --- | ---: | ---: |
| c / d, float32 | {best["c", "float32"] / best["d", "float32"]:.2f} | ≥ 0.95 |
| c / d, auto | {best["c", "auto"] / best["d", "auto"]:.2f} | ≥ 0.95 |
| c, auto / a | {best["c", "auto"] / best["a", "float32"]:.2f} | ≥ 2 |
| peak memory of c, GB | {peak:.2f} | ≤ 1.5 |
"""
    print(text)
    if folder:
        folder.mkdir(exist_ok=True)
        (folder / "speed.md").write_text(text, encoding="utf-8")
        rounds = {f"{way} {precision}": values for (way, precision), values in found.items()}
        (folder / "speed.json").write_text(json.dumps({"environment": here, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
