"""How training reads a data set that fits neither into memory nor into the system's cache of files, beside a small one.

    python benchmarks/large_sets.py             prints the section
    python benchmarks/large_sets.py --report    and writes results/scale.md

Drawn faces as PNG, the same ones many times over, in a data set of a temporary workspace; a process that decodes them
into the cache, and another that opens it and takes shuffled batches, as `mien train` does. Both are held to a part of
the memory by a cgroup, the kernel's cache of files included, so the large set is read from the disk; this needs root,
and without it the page says that nothing was held. It takes 25 GB of disk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scale_page import write_part

from mien import environment
from mien.data.cache import pixels
from mien.data.dataset import open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.data.synthetic import faces
from mien.images import encode_png
from mien.protocols import Part
from mien.protocols.batches import Batches, epoch_order, load
from mien.workspace import Workspace

SIDE, BATCH, SPLIT = 48, 128, "train"
# Faces that differ.
_DRAWN = 5_000
_SECONDS = 30.0  # of batches
_GROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))


def write(workspace: Workspace, name: str, rows: int) -> None:
    """A data set of so many rows."""
    drawn = [(encode_png(image), label) for image, label, _ in faces(min(rows, _DRAWN), size=SIDE, color="gray")]
    with write_dataset(workspace, name, FER2013, source="drawn", format="synthetic") as writer:
        for row in range(rows):
            data, label = drawn[row % len(drawn)]
            writer.add(SPLIT, str(row), data, label, size=(SIDE, SIDE))


def decode(root: Path, name: str) -> dict[str, float]:
    """The seconds that the cache takes to be made, and the memory of it."""
    start = time.perf_counter()
    dataset = open_dataset(Workspace(root), name)
    rows = len(pixels(dataset, SPLIT, SIDE, "gray"))
    return {"seconds": time.perf_counter() - start, "rows": rows, **memory()}


def read(root: Path, name: str) -> dict[str, float]:
    """The seconds until the first batch is there, images a second after it, and the memory of it."""
    start = time.perf_counter()
    dataset = open_dataset(Workspace(root), name)
    samples = load(dataset, [Part(SPLIT)], SIDE, "gray", dataset.card.scheme)
    batches = iter(Batches(samples, BATCH, epoch_order(len(samples), True, 0, 0)))
    total = int(next(batches).images.sum())
    first, seen, since = time.perf_counter() - start, 0, time.perf_counter()
    while time.perf_counter() - since < _SECONDS:
        for batch in batches:
            total += int(batch.images.sum())
            seen += len(batch.labels)
            if time.perf_counter() - since >= _SECONDS:
                break
        else:  # A small set is gone through again and again.
            batches = iter(Batches(samples, BATCH, epoch_order(len(samples), True, 0, seen)))
    return {"first": first, "rate": seen / (time.perf_counter() - since), "sum": total, **memory()}


def memory() -> dict[str, float]:
    """What the process itself takes now, without mapped files, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {"anonymous": next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))}


@contextmanager
def held(limit: int) -> Iterator[Path | None]:
    """A cgroup with so much memory, for processes that write their id into it; None where none can be made."""
    for root in _GROUPS:
        group = root / f"mien-{os.getpid()}"
        name = "memory.limit_in_bytes" if root.name == "memory" else "memory.max"
        try:
            group.mkdir()
            (group / name).write_text(str(limit))
        except OSError:
            continue
        try:
            yield group / "cgroup.procs"
        finally:
            group.rmdir()
        return
    yield None


def ask(what: str, root: Path, name: str, group: Path | None) -> dict[str, Any]:
    """What a function of this file finds, in a process of its own, from a disk whose files aren't in memory."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError:
        pass
    command = [sys.executable, __file__, "--ask", what, str(root), name]
    # The shell is in the group before Python begins, so all of the process's memory counts.
    words = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group), *command] if group else command
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def section(found: dict[str, Any], about: dict[str, Any]) -> str:
    """What was measured as Markdown."""
    held_to = f"held to {found['limit'] / 2**30:.0f} GiB of memory" if found["held"] else "**not** held to any memory"
    lines = [
        f"Written by `python benchmarks/large_sets.py --report`: drawn faces of {SIDE} px as PNG, {BATCH} a batch in "
        f"shuffled order; each process {held_to}, and no file in memory before; {about['cpu']}, {os.cpu_count()} "
        f"cores; commit {(about['commit'] or 'unknown')[:12]}.\n\n",
        "| rows | cache, GB | decoded a second | its memory, MB | first batch after, s | images a second | "
        "its memory, MB |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    ]
    for rows, one in found["sets"].items():
        made, used = one["decode"], one["read"]
        lines.append(
            f"| {int(rows):,} | {int(rows) * SIDE**2 / 1e9:.2f} | {made['rows'] / made['seconds']:,.0f} | "
            f"{made['anonymous'] / 1e6:,.0f} | {used['first']:.1f} | {used['rate']:,.0f} | "
            f"{used['anonymous'] / 1e6:,.0f} |\n"
        )
    small, *_, large = found["sets"].values()
    share = large["read"]["rate"] / small["read"]["rate"]
    lines.append(
        f"\nMemory is the process's own; mapped files come on top and go when others need the room. The largest set "
        f"gives {share:.2f} times the images a second of the smallest, out of the disk in place of memory; what a net "
        "takes of them stands under *One training on two devices*. What grows with the rows: their ids and labels in "
        "memory, and the time until they are read.\n"
    )
    return "".join(lines)


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 5_000_000])
    parser.add_argument("--limit-gb", type=float, default=4)
    parser.add_argument("--report", action="store_true", help="write results/scale/large.json and results/scale.md")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        what, root, name = given.ask
        print(json.dumps({"decode": decode, "read": read}[what](Path(root), name)))
        return
    found: dict[str, Any] = {"limit": int(given.limit_gb * 2**30), "sets": {}}
    with tempfile.TemporaryDirectory() as folder, held(found["limit"]) as group:
        found["held"] = group is not None
        for rows in sorted(given.rows):
            name = f"rows-{rows}"
            write(Workspace(Path(folder)), name, rows)
            found["sets"][rows] = {what: ask(what, Path(folder), name, group) for what in ("decode", "read")}
            print(rows, found["sets"][rows], file=sys.stderr)
    about = environment.describe()
    text = section(found, about)
    print(text)
    if given.report:
        write_part("large", "A training set larger than memory", text, {"environment": about, **found})


if __name__ == "__main__":
    main()
