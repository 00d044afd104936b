"""Images a second of training: `mien train`, plain loops, bare steps, and what the processor's matrix products allow.

    python benchmarks/training.py                    prints the tables
    python benchmarks/training.py --write results    and writes results/speed.md and results/speed.json

(a) a plain PyTorch loop whose Dataset parses the pixel string of a row at each access, with 2 workers; CNN 1 alone
(b) the same from decoded tensors, with the default collate; CNN 1 alone
(c) `mien train`
(d) forward, backward and optimiser step on one fixed batch of faces as the network gets them, without denormal numbers

(a) and (b) have CNN 1's batch of 64. Training steps alone, validation apart. Each measurement is a process of its own,
and the rounds take turns, since a shared machine is now fast, now slow; tables show medians, ratios are of the rounds.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BATCH = 64
# Each network's experiment, and how many images (c) and (d) have in an epoch.
NETWORKS = {
    "cnn1": ("paper-2021/cnn1.yaml", 2048),
    "googlenet": ("paper-2021/googlenet.yaml", 512),
    "resnet": ("best/resnet.yaml", 1024),
    "mien-m": ("best/mien-m.yaml", 1024),
}
LOOPS = {
    "a": "plain loop, parses the pixel string at each access, 2 workers",
    "b": "plain loop, decoded tensors, default collate",
}
_EPOCHS = 3
_SIDE = 1024  # of the matrices whose product is the ceiling
Found = dict[tuple[str, str, str], list[dict[str, float]]]


def main() -> None:
    """Measure every way in rounds, print the tables, write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--way", nargs=4, metavar=("NETWORK", "WAY", "PRECISION", "HOME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        network, way, precision, home = arguments.way
        rate = measure(network, way, precision, Path(home))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"rate": rate, "peak_gb": peak}))
        return
    from mien.environment import precision as resolve

    precisions = list(dict.fromkeys(["float32", resolve("auto", "cpu")]))
    wanted = [("cnn1", "a", "float32"), ("cnn1", "b", "float32")]
    wanted += [(network, way, one) for network in NETWORKS for one in precisions for way in "cd"]
    wanted += [("", "product", one) for one in precisions]
    found: Found = {one: [] for one in wanted}
    with tempfile.TemporaryDirectory() as home:
        draw(Path(home))
        for number in range(arguments.rounds):
            for one in wanted:
                command = [sys.executable, __file__, "--way", *one, home]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[one].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"round {number + 1} {' '.join(one)}: {found[one][-1]['rate']:,.0f}", flush=True)
    report(found, {network: macs(network) for network in NETWORKS}, precisions, arguments.write)


def draw(home: Path) -> None:
    """A drawn data set for each network, of which eight tenths are trained on; CNN 1's rows as pixel strings too."""
    from mien.data.dataset import open_dataset
    from mien.data.synthetic.dataset import write_faces
    from mien.images import decode
    from mien.workspace import Workspace

    for network, (_, images) in NETWORKS.items():
        write_faces(Workspace(home), network, n=images * 10 // 8, size=48, color="gray", seed=0)
    dataset = open_dataset(Workspace(home), "cnn1")
    with (home / "rows.csv").open("w") as file:
        for label, data in zip(dataset.labels("train"), dataset.images("train"), strict=True):
            file.write(f"{label},{' '.join(map(str, decode(data, 'gray').ravel()))}\n")


def measure(network: str, way: str, precision: str, home: Path) -> float:
    """Images a second of one way; of "product", multiply-adds."""
    if way == "c":
        return by_mien(network, precision, home)
    import torch

    torch.manual_seed(0)
    if way == "product":
        return product(precision)
    return fixed_batch(network, precision, home) if way == "d" else plain_loop(way, home)


def experiment_of(network: str, *overrides: str) -> Any:
    """A network's experiment on its drawn faces, which have no raters' votes."""
    from mien.experiment.schema import load_experiment

    file = Path(__file__).parent.parent / "experiments" / NETWORKS[network][0]
    return load_experiment(file, [f"dataset.name={network}", "train.votes=null", "train.device=cpu", *overrides])


def by_mien(network: str, precision: str, home: Path) -> float:
    """(c): the median of the epochs' training steps, as the run's environment has it."""
    from mien.runs.run import new_run
    from mien.training.fit import train
    from mien.workspace import Workspace

    experiment = experiment_of(network, f"train.epochs={_EPOCHS}", f"train.precision={precision}")
    run = new_run(Workspace(home), experiment)
    train(Workspace(home), run, sys.argv)
    return float(run.environment["images_per_second"])


def fixed_batch(network: str, precision: str, home: Path) -> float:
    """(d): the median of as many epochs' steps as (c) has."""
    import numpy as np
    import torch

    from mien.data.dataset import open_dataset
    from mien.experiment.building import (
        build_loss,
        build_model,
        build_optimizer,
        build_pipeline,
        build_roles,
        build_samples,
        scheme_for,
    )
    from mien.workspace import Workspace

    # Before any other thread is there: each takes the setting of the one that starts it.
    torch.set_flush_denormal(True)
    experiment = experiment_of(network)
    dataset = open_dataset(Workspace(home), network)
    names = scheme_for(experiment, dataset)
    model = build_model(experiment, names)
    loss, optimizer = build_loss(experiment, [1] * len(names)), build_optimizer(experiment, model)
    size = experiment.train.batch_size
    samples = build_samples(experiment, dataset, build_roles(experiment, dataset), "fit", names)
    batch = samples.batch(np.arange(size))
    pixels = batch.images.to(torch.float32, memory_format=torch.channels_last)
    images = build_pipeline(experiment.preprocess)(pixels)[0].contiguous(memory_format=torch.channels_last)
    steps = NETWORKS[network][1] // size
    rates: list[float] = []
    for _ in range(_EPOCHS):
        started = time.monotonic()
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits = model(images)
            loss(logits.float(), batch.labels).backward()
            optimizer.step()
        rates.append(steps * size / (time.monotonic() - started))
    return statistics.median(rates)


def product(precision: str) -> float:
    """Multiply-adds a second of a product of two square matrices, the best of some: the ceiling of convolutions."""
    import torch

    one, other = torch.randn(2, _SIDE, _SIDE, dtype=getattr(torch, precision))
    seconds = []
    for _ in range(20):
        started = time.monotonic()
        one @ other
        seconds.append(time.monotonic() - started)
    return float(_SIDE**3 / min(seconds))


def macs(network: str) -> int:
    """The multiply-adds of a network for one image."""
    from mien.data.labels import scheme_named
    from mien.experiment.building import build_model, input_shape
    from mien.models.summary import summarize

    experiment = experiment_of(network)
    return summarize(build_model(experiment, scheme_named("fer2013-7")), *input_shape(experiment)).macs


def plain_loop(way: str, home: Path) -> float:
    """(a) and (b): what a script of one page does."""
    import numpy as np
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, Dataset

    from mien.models.cnn import CNN
    from mien.optimizers import adam

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
    model: Any = CNN(3, 48, 7, kernel_size=5, fc=(120, 250))
    optimizer = adam(model.parameters(), lr=1e-4)
    rates = []
    for _ in range(2):
        started = time.monotonic()
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels).backward()
            optimizer.step()
        rates.append(len(lines) / (time.monotonic() - started))
    return max(rates)


def report(found: Found, costs: Mapping[str, int], precisions: list[str], folder: Path | None) -> None:
    """The tables as Markdown, and all rounds as JSON."""
    from mien import environment
    from mien.comparison.tables import markdown_lines

    here = environment.describe()

    def median(network: str, way: str, precision: str) -> float:
        return statistics.median(one["rate"] for one in found[network, way, precision])

    def ratio(one: tuple[str, str, str], other: tuple[str, str, str]) -> str:
        """The median of the rounds' ratios, and the smallest and largest."""
        rounds = [a["rate"] / b["rate"] for a, b in zip(found[one], found[other], strict=True)]
        return f"{statistics.median(rounds):.2f} ({min(rounds):.2f} to {max(rounds):.2f})"

    rows = []
    for network in NETWORKS:
        for one in precisions:
            bare = median(network, "d", one)
            # Forward, and backward to the weights and to what came in.
            share = 3 * costs[network] * bare / median("", "product", one)
            rows.append(
                [
                    network,
                    f"{costs[network] / 1e6:.1f}",
                    one,
                    f"{median(network, 'c', one):,.0f}",
                    f"{bare:,.0f}",
                    ratio((network, "c", one), (network, "d", one)),
                    f"{share:.0%}",
                ]
            )
    columns = ("network", "M multiply-adds", "precision", "(c) images a second", "(d)", "c / d", "(d) of the ceiling")
    loops = [
        [f"({way}) {LOOPS[way]}", f"{median('cnn1', way, 'float32'):,.0f}", ratio(best, ("cnn1", way, "float32"))]
        for best in [("cnn1", "c", precisions[-1])]
        for way in "ab"
    ]
    ceiling = ", ".join(f"{median('', 'product', one) / 1e9:,.0f} ({one})" for one in precisions)
    peak = max(one["peak_gb"] for (_, way, _), rounds in found.items() if way == "c" for one in rounds)
    text = "\n".join(
        [
            "# Speed of training",
            "",
            "Written by `python benchmarks/training.py --write results`, commit "
            f"{here['commit'] or 'unknown'}. Training steps alone, on drawn faces of 48 × 48; (c) is `mien train` with "
            "all that the experiment asks for (augmentation, moving averages), (d) "
            "forward, backward and optimiser step on one fixed batch of faces, the same network, loss and optimiser, "
            "denormal numbers taken for 0. The ceiling is a product of two matrices of "
            f"{_SIDE} × {_SIDE}: {ceiling} G multiply-adds a second; a training step has three times the forward "
            f"pass's. {here['cpu']}, {here['cores']} cores, torch {here['packages']['torch']}, {here['threads']} "
            f"threads. Medians of {len(found['cnn1', 'a', 'float32'])} rounds that took turns, in brackets the "
            "smallest and largest ratio of a round: the machine is shared.",
            "",
            *markdown_lines(columns, rows, right=3),
            "",
            f"Wanted: c / d of at least .95 for CNN 1. A process of (c) had at most {peak:.2f} GB. CNN 1 by plain "
            "loops in float32, batches of 64:",
            "",
            *markdown_lines(("way", "images a second", f"mien train in {precisions[-1]} / it"), loops, right=1),
            "",
        ]
    )
    print(text)
    if folder:
        folder.mkdir(exist_ok=True)
        (folder / "speed.md").write_text(text, encoding="utf-8")
        rounds = {" ".join(one).strip(): values for one, values in found.items()}
        (folder / "speed.json").write_text(
            json.dumps({"environment": here, "macs": costs, "rounds": rounds}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
