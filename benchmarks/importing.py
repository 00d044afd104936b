"""Importing FER2013's 300 MB CSV, against reading it with pandas and numpy: seconds and peak memory, in one run.

    python benchmarks/importing.py [fer2013.csv] [--rounds 3] [--write results]

Both sides start from the same file, each round in a process of its own. pandas' side ends with the pixels in memory;
mien's with a data set on disk: parsed, checked, stored as PNG, hashed. Without a file, one of the same size is drawn.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 35_887


def with_pandas(csv: Path) -> int:
    """Read the CSV by `pandas.read_csv` and parse its pixels by numpy, the fastest of numpy's ways."""
    import numpy as np
    import pandas as pd

    table = pd.read_csv(csv)
    table.columns = table.columns.str.strip()
    pixels = np.stack([np.fromstring(text, np.uint8, sep=" ") for text in table["pixels"]])
    return int(pixels.reshape(-1, 48, 48).shape[0])


def with_mien(csv: Path) -> int:
    """Import the CSV into a workspace that is thrown away."""
    from mien.data.importers import import_dataset
    from mien.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        dataset = import_dataset(Workspace(Path(folder)), csv, "fer2013")
        return sum(map(dataset.rows, dataset.card.splits))


SIDES = {"pandas": with_pandas, "mien": with_mien}


def draw(csv: Path) -> None:
    """Write a CSV as large as the challenge's: noise around a gray level of each row's own."""
    import numpy as np

    random = np.random.default_rng(0)
    with csv.open("w") as file:
        file.write("emotion,pixels,Usage\n")
        for row in range(ROWS):
            pixels = np.clip(random.normal(random.integers(60, 200), 30, 48 * 48), 0, 255).astype(int)
            file.write(
                f"{row % 7},{' '.join(map(str, pixels.tolist()))},{'Training' if row < 28_709 else 'PublicTest'}\n"
            )


def measure(side: str, csv: Path) -> tuple[float, float]:
    """Seconds and peak MB of one side in a process of its own, imports and all."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, str(csv), "--side", side], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{side} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Measure both sides in turn and print a table and, last, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="also write importing.md there")
    given = parser.parse_args()
    if given.side:
        SIDES[given.side](given.csv)
        return
    with tempfile.TemporaryDirectory() as folder:
        csv = given.csv or Path(folder) / "drawn.csv"
        if given.csv is None:
            draw(csv)
        rounds = [{side: measure(side, csv) for side in SIDES} for _ in range(given.rounds)]
    # The quickest round: whatever else the machine does can only slow a side down.
    seconds = {side: min(of[side][0] for of in rounds) for side in SIDES}
    memory = {side: max(of[side][1] for of in rounds) for side in SIDES}
    ratio = seconds["mien"] / seconds["pandas"]
    rows = "\n".join(
        f"| {side} | {seconds[side]:.1f} | {', '.join(f'{of[side][0]:.1f}' for of in rounds)} | {memory[side]:.0f} |"
        for side in SIDES
    )
    text = f"""# Importing FER2013's CSV of 300 MB

Written by `python benchmarks/importing.py fer2013.csv --write results`, each round in a process of its own, both sides
in turn, on {os.cpu_count()} cores. pandas (and numpy) end with pixels in memory, mien with a checked data set on disk.

| side | seconds, best round | rounds | peak memory, MB |
| --- | ---: | --- | ---: |
{rows}

mien takes {ratio:.2f} of the time of pandas and numpy (wanted: at most 1), in {memory["mien"]:.0f} MB (at most 500).
"""
    print(text)
    if given.write:
        (given.write / "importing.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
