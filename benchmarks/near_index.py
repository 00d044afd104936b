"""What the search for near copies would take among a million images, by all pairs and by an index of FAISS.

    python benchmarks/near_index.py fer2013             prints the section
    python benchmarks/near_index.py fer2013 --report    and writes results/scale.md

`fer2013` is a data set in the workspace (MIEN_HOME); `pip install faiss-cpu` (MIT) beside mien's own packages brings
the index. mien compares all pairs: parts of the set are timed, and n² tells the rest. The index (IVF, flat) compares
a row with those of the nearest cells alone; how many of the near copies of all pairs it still proposes is counted on
the whole set, and its time on a million descriptors: those of the set with noise, so that they lie as real ones do.
"""

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from scale_page import write_part

from mien import environment
from mien.audit.near import CANDIDATE, _bases, _described, near_pairs
from mien.audit.scan import scan
from mien.data.dataset import open_dataset
from mien.intervals import wilson, with_interval
from mien.workspace import find_workspace

MILLION = 1_000_000
PARTS = (4, 2, 1)  # a quarter, a half, all
PROBES = (1, 4, 16, 64)
# Rows that ask the index at a million; the time grows with their number.
_ASKED = 5_000
_NEIGHBOURS = 20

Floats = npt.NDArray[np.float32]


def described(gray: npt.NDArray[np.uint8]) -> tuple[Floats, list[Floats]]:
    """Descriptors of images, and of the same ones as they may look elsewhere: shifted, each also mirrored."""
    bases, even = _bases()
    views = []
    for basis in bases:
        view = _described(gray, basis)
        mirrored = view.copy()
        # A mirror turns the sign of odd cosines.
        mirrored[:, even:] *= -1
        views += [view, mirrored]
    return views[0], views


def index_of(rows: Floats) -> Any:
    """An index of descriptors of length 1 by their products, with about as many cells as FAISS advises."""
    cells = round(4 * np.sqrt(len(rows)))
    index = faiss.index_factory(rows.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(rows[np.random.default_rng(0).permutation(len(rows))[: 40 * cells]])
    index.add(rows)
    return index


def proposed(index: Any, views: list[Floats]) -> set[tuple[int, int]]:
    """The pairs of rows that the index calls candidates, as `near_pairs` does by comparing all."""
    found = set()
    for view in views:
        likeness, other = index.search(view, _NEIGHBOURS)
        for row, place in zip(*np.nonzero(likeness > CANDIDATE), strict=True):
            pair = (int(row), int(other[row, place]))
            if pair[0] != pair[1]:
                found.add((min(pair), max(pair)))
    return found


def measure(name: str) -> dict[str, Any]:
    """Everything, as plain data."""
    dataset = open_dataset(find_workspace(), name)
    gray = np.concatenate([scan(dataset, split)["gray"] for split in dataset.card.splits])
    gray = gray[np.random.default_rng(0).permutation(len(gray))]
    found: dict[str, Any] = {"name": name, "rows": len(gray), "all": [], "index": []}
    for part in PARTS:
        some, start = gray[: len(gray) // part], time.perf_counter()
        pairs = near_pairs(some)
        found["all"].append({"rows": len(some), "seconds": time.perf_counter() - start, "pairs": len(pairs.first)})
    true = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    own, views = described(gray)
    index = index_of(own)
    repeated = -(-MILLION // len(own))
    random = np.random.default_rng(0)
    many = np.concatenate([own + random.normal(0, 0.05, own.shape).astype(np.float32) for _ in range(repeated)])
    many = np.ascontiguousarray(many[:MILLION] / np.linalg.norm(many[:MILLION], axis=1, keepdims=True))
    start = time.perf_counter()
    large = index_of(many)
    found["built"] = time.perf_counter() - start
    for probes in PROBES:
        index.nprobe = large.nprobe = probes
        kept = len(true & proposed(index, views))
        start = time.perf_counter()
        large.search(many[:_ASKED], _NEIGHBOURS)
        seconds = (time.perf_counter() - start) * len(views) * MILLION / _ASKED
        found["index"].append({"probes": probes, "kept": kept, "of": len(true), "seconds": seconds})
    return found


def section(found: dict[str, Any], about: dict[str, Any]) -> Iterator[str]:
    """What was measured as Markdown."""
    whole = found["all"][-1]
    expected = whole["seconds"] * (MILLION / whole["rows"]) ** 2
    yield (
        f"Written by `python benchmarks/near_index.py {found['name']} --report`; {about['cpu']}, "
        f"{os.cpu_count()} cores; faiss-cpu {faiss.__version__}; commit {(about['commit'] or 'unknown')[:12]}.\n\n"
        "| rows | all pairs, s | near copies | s / (rows / 10,000)² |\n| ---: | ---: | ---: | ---: |\n"
    )
    for one in found["all"]:
        each = one["seconds"] / (one["rows"] / 1e4) ** 2
        yield f"| {one['rows']:,} | {one['seconds']:.1f} | {one['pairs']:,} | {each:.2f} |\n"
    yield (
        f"\nBy the last line a million rows take {expected / 3600:,.1f} hours on these cores. The same candidates by "
        f"an index (IVF, flat, {_NEIGHBOURS} neighbours of each of a row's ten views; built in {found['built']:,.0f} s "
        f"from a million descriptors; the time for all rows is {MILLION // _ASKED:,} times that of {_ASKED:,}):\n\n"
        "| cells looked at | near copies still proposed | a million rows, hours | of all pairs |\n"
        "| ---: | ---: | ---: | ---: |\n"
    )
    for one in found["index"]:
        share = with_interval(one["kept"] / one["of"], wilson(one["kept"], one["of"]))
        yield (
            f"| {one['probes']} | {share}, n = {one['of']:,} | {one['seconds'] / 3600:,.2f} | "
            f"{one['seconds'] / expected:.2f} |\n"
        )


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="FER2013, in the workspace")
    parser.add_argument("--report", action="store_true", help="write results/scale/near.json and results/scale.md")
    given = parser.parse_args()
    found = measure(given.dataset)
    about = environment.describe()
    text = "".join(section(found, about))
    print(text)
    if given.report:
        write_part("near", "Near copies among a million", text, {"environment": about, **found})


if __name__ == "__main__":
    main()
