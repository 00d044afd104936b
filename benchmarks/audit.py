"""What the audit finds, how often it is wrong, and how long it takes, on real images.

    python benchmarks/audit.py fer2013 --frames youtube_68pt.parquet [--write results]

`fer2013` is a data set in the workspace (MIEN_HOME). Recall: each change is made to real images of it, and the changed
ones are looked for among all of these and the originals. False pairs: frames of different persons that the method calls
copies: as they are, cut to the face, and aligned by their points; and drawn portraits, all frontal and under one light.
Time and memory: the audit of the whole set, each step in a process of its own, beside numpy and pandas.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.stats import beta

from mien.audit import audit
from mien.audit.copies import BLANK_BELOW, copies
from mien.audit.near import NEAR, near_pairs
from mien.audit.scan import SIDE, scan, shrink
from mien.data.dataset import Dataset, open_dataset
from mien.data.synthetic import draw, sample
from mien.images import decode
from mien.intervals import wilson
from mien.workspace import find_workspace

Gray = npt.NDArray[np.uint8]
Change = Callable[[Gray], Gray]

PORTRAITS = "drawn portraits, one pose and light"
WANTED_RECALL, WANTED_FALSE = 0.95, 1.0
WANTED_EXACT_S, WANTED_NEAR_S, WANTED_MB = 5, 60, 1024


def jpeg(quality: int, image: Gray) -> Gray:
    """Encoded as JPEG and decoded."""
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0), np.uint8)


def levels(contrast: float, brightness: float, image: Gray) -> Gray:
    """Gray levels around 128 times `contrast`, plus `brightness`, cut off at 0 and 255."""
    return np.clip((image.astype(np.float64) - 128) * contrast + 128 + brightness, 0, 255).round().astype(np.uint8)


def shift(dx: int, dy: int, border: int, image: Gray) -> Gray:
    """Moved by whole pixels; what comes in is black, repeats the edge, or comes round from the other side."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return np.asarray(cv2.warpAffine(image, matrix, image.shape[::-1], borderMode=border, borderValue=0), np.uint8)


def mirror(image: Gray) -> Gray:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


def resize(size: int, method: int, image: Gray) -> Gray:
    """Stretched to size × size."""
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.uint8)


def gamma(power: float, image: Gray) -> Gray:
    """Gray levels as parts of 255 to a power."""
    return (255 * (image / 255.0) ** power).round().astype(np.uint8)


def turn(degrees: float, scale: float, image: Gray) -> Gray:
    """Turned around the middle and enlarged; the edge is repeated."""
    matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), degrees, scale)
    return np.asarray(cv2.warpAffine(image, matrix, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)


def corner(image: Gray) -> Gray:
    """A black square of 10 pixels in a corner."""
    changed = image.copy()
    changed[:10, :10] = 0
    return changed


def watermark(image: Gray) -> Gray:
    """A word in white across the lower edge."""
    return np.asarray(
        cv2.putText(image.copy(), "stock", (12, 44), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 255, 1, cv2.LINE_AA), np.uint8
    )


def together(*changes: Change) -> Change:
    """Several changes, one after the other."""
    return lambda image: reduce(lambda done, change: change(done), changes, image)


BORDERS = {"black": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE, "round": cv2.BORDER_WRAP}
METHODS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
DIRECTIONS = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if (x, y) != (0, 0)]
CHANGES: dict[str, Change] = {
    **{f"JPEG, quality {quality}": partial(jpeg, quality) for quality in (95, 75, 50, 30, 20)},
    **{f"brightness {by:+d}": partial(levels, 1, by) for by in (-60, -30, 30, 60)},
    **{f"contrast × {by:g}": partial(levels, by, 0) for by in (0.5, 0.75, 1.25, 1.5)},
    **{
        f"shift by {px} px ({x * px:+d}, {y * px:+d}), {name}": partial(shift, x * px, y * px, border)
        for px in (1, 2)
        for x, y in DIRECTIONS
        for name, border in BORDERS.items()
    },
    "mirror": mirror,
    **{
        f"resize to {size} px, {name}": partial(resize, size, METHODS[name])
        for size, name in ((24, "area"), (32, "linear"), (40, "cubic"), (64, "linear"), (96, "cubic"), (224, "cubic"))
    },
}
BEYOND: dict[str, Change] = {
    "mirror, shift (−2, +1), contrast × 0.7, brightness +30, JPEG 40": together(
        mirror, partial(shift, -2, 1, cv2.BORDER_REPLICATE), partial(levels, 0.7, 30), partial(jpeg, 40)
    ),
    "mirror, shift (+2, +2), contrast × 1.3, resize to 32 px, JPEG 60": together(
        mirror,
        partial(shift, 2, 2, cv2.BORDER_REPLICATE),
        partial(levels, 1.3, -20),
        partial(resize, 32, cv2.INTER_AREA),
        partial(jpeg, 60),
    ),
    "shift (+1, −2), JPEG 30, brightness −40": together(
        partial(shift, 1, -2, cv2.BORDER_REPLICATE), partial(jpeg, 30), partial(levels, 1, -40)
    ),
    "a black corner of 10 px": corner,
    "a watermark of one word": watermark,
    "JPEG, quality 10": partial(jpeg, 10),
    "gamma 0.5": partial(gamma, 0.5),
    "gamma 2": partial(gamma, 2.0),
    "contrast × 2": partial(levels, 2, 0),
    "resize to 16 px, area": partial(resize, 16, cv2.INTER_AREA),
    "resize to 24 px, nearest": partial(resize, 24, cv2.INTER_NEAREST),
    "shift by 3 px (+3, 0), edge": partial(shift, 3, 0, cv2.BORDER_REPLICATE),
    "shift by 4 px (+4, 0), edge": partial(shift, 4, 0, cv2.BORDER_REPLICATE),
    "turn by 3°": partial(turn, 3, 1),
    "turn by 6°": partial(turn, 6, 1),
    "enlarge by 5 %": partial(turn, 0, 1.05),
    "enlarge by 10 %": partial(turn, 0, 1.1),
}


def distinct(dataset: Dataset, n: int, seed: int = 0) -> Gray:
    """Images of a data set that are no exact copies of each other and not blank, uint8 (n, 48, 48)."""
    found = [scan(dataset, split) for split in dataset.card.splits]
    hashes = np.concatenate([of["hash"] for of in found])
    good = np.concatenate([of["deviation"] for of in found]) >= BLANK_BELOW
    _, first = np.unique(hashes, return_index=True)
    rows = np.random.default_rng(seed).permutation(first[good[first]])[:n]
    return np.asarray(np.concatenate([of["gray"] for of in found])[rows], np.uint8)


def recall(originals: Gray, change: Change) -> tuple[int, int]:
    """How many changed images are called copies of their originals, and of how many."""
    changed = np.stack([shrink(change(image)) for image in originals])
    # Unchanged, or nothing left of it: no near copy to be found.
    counted = np.array(
        [a.std() >= BLANK_BELOW and not np.array_equal(a, b) for a, b in zip(changed, originals, strict=True)]
    )
    n = len(originals)
    pairs = near_pairs(np.concatenate([originals, changed]))
    own = pairs.second - pairs.first == n
    return int(counted[pairs.first[own]].sum()), int(counted.sum())


def frames(file: Path) -> dict[str, tuple[Gray, npt.NDArray[Any]]]:
    """Frames with a person's name, whole and cut to the face, each 48 × 48, and the names."""
    table = pq.read_table(file, columns=["image", "landmarks", "person"])
    whole, cut, same, names = [], [], [], []
    for data, points, name in zip(*(table[column].to_pylist() for column in table.column_names), strict=True):
        if name:
            image = decode(data["bytes"] if isinstance(data, dict) else data, "gray")[:, :, 0]
            whole.append(shrink(image))
            placed = np.asarray(points, np.float64).reshape(68, 2)
            cut.append(face(image, placed))
            same.append(aligned(image, placed))
            names.append(name)
    kinds = {"whole pictures": whole, "cut to the face": cut, "aligned by eyes and mouth": same}
    return {kind: (np.stack(images), np.array(names)) for kind, images in kinds.items()}


# Where eyes and mouth come to lie in an aligned face, as shares of its side.
PLACES = np.array([[0.32, 0.36], [0.68, 0.36], [0.5, 0.76]])


def aligned(image: Gray, points: npt.NDArray[np.float64]) -> Gray:
    """A face turned, moved and scaled so that eyes and mouth lie where all others have them, 48 × 48."""
    found = np.stack([points[part].mean(0) for part in (slice(36, 42), slice(42, 48), slice(48, 60))])
    matrix, _ = cv2.estimateAffinePartial2D(found, PLACES * 2 * SIDE, method=cv2.LMEDS)
    scale = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    smooth = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 1 else image
    large = cv2.warpAffine(smooth, matrix, (2 * SIDE, 2 * SIDE), borderMode=cv2.BORDER_REPLICATE)
    return shrink(np.asarray(large, np.uint8))


def portraits(persons: int = 200, each: int = 5, seed: int = 0) -> tuple[Gray, npt.NDArray[Any]]:
    """Drawn faces, frontal, under one light, on gray: `each` expressions of every person, and whose they are."""
    images = []
    for person in range(persons):
        own = replace(
            sample(seed, person), yaw=0, pitch=0, roll=0, distance=1200, zoom=1, shift=(0, 0), light=(0, -0.2),
            ambient=0.5, contrast=1, gaze=(0, 0), background=(128, 128, 128), clutter=0, blur=0, noise=2,
        )  # fmt: skip
        for number in range(each):
            other = sample(seed + 1, each * person + number)
            texture = own.texture + number
            shown = replace(
                own, expression=other.expression, intensity=other.intensity, units=other.units, texture=texture
            )
            images.append(shrink(draw(shown, 2 * SIDE)[0]))
    return np.stack(images), np.repeat(np.arange(persons), each)


def face(image: Gray, points: npt.NDArray[np.float64]) -> Gray:
    """The square around 68 points, 1.15 times their extent, stretched to 48 × 48."""
    low, high = points.min(0), points.max(0)
    half = 1.15 * (high - low).max() / 2
    scale = SIDE / (2 * half)
    (left, top) = (low + high) / 2 - half
    smooth = cv2.GaussianBlur(image, (0, 0), max(1 / scale / 2.5, 0.01))
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float32)
    return np.asarray(cv2.warpAffine(smooth, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def false_pairs(images: Gray, names: npt.NDArray[Any]) -> dict[str, Any]:
    """Pairs of different persons that are called copies, of how many, per million, with 95 % Clopper–Pearson."""
    seen = images.reshape(len(images), -1).std(1) >= BLANK_BELOW
    images, names = images[seen], names[seen]
    pairs = near_pairs(images)
    differ = names[pairs.first] != names[pairs.second]
    _, each = np.unique(names, return_counts=True)
    n = (len(names) ** 2 - int((each.astype(np.int64) ** 2).sum())) // 2
    wrong = int(differ.sum())
    low = beta.ppf(0.025, wrong, n - wrong + 1) if wrong else 0.0
    high = beta.ppf(0.975, wrong + 1, n - wrong)
    return {
        "frames": len(names),
        "persons": len(each),
        "pairs": n,
        "false": wrong,
        "per_million": 1e6 * wrong / n,
        "interval": [1e6 * float(low), 1e6 * float(high)],
        "same_person_pairs": int((~differ).sum()),
        "likest": sorted(map(float, pairs.similarity[differ]), reverse=True)[:5],
    }


def step_decode(dataset: Dataset) -> int:
    """The first look at every image."""
    return sum(len(scan(dataset, split)) for split in dataset.card.splits)


def step_exact(dataset: Dataset) -> int:
    """Exact copies, after the first look."""
    found = copies(dataset, near=False)
    return sum(int((found.exact(split) >= 0).sum()) for split in dataset.card.splits)


def step_near(dataset: Dataset) -> int:
    """Near copies, after the first look."""
    found = copies(dataset, near=True)
    return sum(int((groups >= 0).sum()) for split in dataset.card.splits if (groups := found.near(split)) is not None)


def _pixels(dataset: Dataset) -> Gray:
    return np.concatenate([scan(dataset, split)["gray"] for split in dataset.card.splits])


def step_pandas(dataset: Dataset) -> int:
    """Exact copies by pandas, of pixels that are decoded already: each image's bytes, `duplicated`."""
    import pandas as pd

    return int(pd.Series([image.tobytes() for image in _pixels(dataset)]).duplicated(keep=False).sum())


def step_numpy(dataset: Dataset) -> int:
    """Exact copies by `numpy.unique` over rows of pixels that are decoded already."""
    pixels = _pixels(dataset).reshape(-1, SIDE * SIDE)
    _, number, count = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    return int((count[number] > 1).sum())


def step_correlation(dataset: Dataset) -> int:
    """The plain correlation of all pairs by numpy, at no shift: an eighth of the rows with all."""
    pixels = _pixels(dataset).reshape(-1, SIDE * SIDE).astype(np.float32)
    pixels -= pixels.mean(1, keepdims=True)
    pixels /= np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1)
    blocks = range(0, len(pixels) // EIGHTH // 2, 512)  # Half of all pairs is each pair once.
    return sum(int((pixels[at : at + 512] @ pixels.T > NEAR).sum()) for at in blocks)


EIGHTH = 8
STEPS = {
    "decode": step_decode,
    "exact": step_exact,
    "near": step_near,
    "pandas": step_pandas,
    "numpy": step_numpy,
    "correlation": step_correlation,
}


def timed(folder: Path, step: str) -> dict[str, Any]:
    """Wall and CPU seconds of one step and the peak memory of its process (a Python and its imports included)."""
    with tempfile.TemporaryFile("w+") as out:
        if subprocess.run([sys.executable, __file__, str(folder), "--step", step], stdout=out).returncode != 0:
            raise SystemExit(f"{step} failed")
        out.seek(0)
        return dict(json.loads(out.read().splitlines()[-1]))


def run_step(folder: Path, step: str) -> None:
    """For a process of its own: do a step and print its result and seconds."""
    dataset = Dataset(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    result = STEPS[step](dataset)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    # getrusage's peak begins with that of the process that started this one.
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"result": result, "wall": wall, "cpu": cpu, "mb": peak}))


def all_times(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Every step on a copy of the data set without anything that was found before."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / dataset.card.name
        shutil.copytree(dataset.folder, copy, ignore=shutil.ignore_patterns("cache", "audit"))
        return {step: timed(copy, step) for step in STEPS}


def all_recalls(originals: Gray) -> dict[str, dict[str, Any]]:
    """Found, n and Wilson's interval for each change."""
    found = {}
    for name, change in {**CHANGES, **BEYOND}.items():
        hits, n = recall(originals, change)
        found[name] = {"found": hits, "n": n, "recall": hits / n, "interval": list(wilson(hits, n))}
    return found


def line(name: str, of: dict[str, Any]) -> str:
    """A line of a table of recalls."""
    low, high = of["interval"]
    return f"| {name} | {of['recall']:.3f} | {low:.3f} to {high:.3f} | {of['n']:,} |"


def told_recalls(found: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """The wanted changes, of shifts the worst border in each direction, and those beyond."""
    wanted: dict[str, dict[str, Any]] = {}
    for name in CHANGES:
        place = name.rpartition(", ")[0] + " (worst of three borders)" if name.startswith("shift") else name
        if place not in wanted or found[name]["recall"] < wanted[place]["recall"]:
            wanted[place] = found[name]
    return "\n".join(line(*item) for item in wanted.items()), "\n".join(line(name, found[name]) for name in BEYOND)


def told_findings(name: str, found: dict[str, Any]) -> str:
    """What the audit says of the data set; every row was looked at, so counts have no interval."""
    splits = found["splits"]
    flags = "\n".join(
        f"| `{flag}` | "
        + " | ".join(f"{counts[split]:,} ({counts[split] / splits[split]:.1%})" for split in splits)
        + " |"
        for flag, counts in found["flags"].items()
        if any(counts.values())
    )
    across = "\n".join(
        f"| {of} | {other} | {number:,} ({number / splits[of]:.1%}) | {found['near_across'][f'{other}/{of}']:,} |"
        for (other, of), number in ((pair.split("/"), number) for pair, number in found["across"].items())
    )
    exact, near = found["exact"], found["near"]
    return f"""## What it says of {name}

n = {found["n"]:,}. {exact["extra"]:,} rows are left over when one row of each of the {exact["groups"]:,} groups of
equal images is kept ({exact["rows"]:,} rows are in such a group); with near copies {near["extra"]:,} of
{near["rows"]:,} rows in {near["groups"]:,} groups. {found["conflicting"]} groups of equal images have more than one
label, and {found["near_conflicting"]} groups of near ones. {found["blank"]} images are blank, {found["constant"]} of
them of a single gray.

| flag | {" | ".join(f"{split}, n = {n:,}" for split, n in splits.items())} |
| --- |{" ---: |" * len(splits)}
{flags}

| rows of | that also stand in | exact copies | near copies too |
| --- | --- | ---: | ---: |
{across}
"""


def told(name: str, content: dict[str, Any]) -> str:
    """The page in results/."""
    recalls, false, times = content["recall"], content["false"], content["times"]
    wanted, beyond = told_recalls(recalls)
    alike_wanted, alike_beyond = told_recalls(content["portraits"])
    worst = min(CHANGES, key=lambda change: recalls[change]["recall"])
    head = "| change | recall | 95 % interval | n |\n| --- | ---: | --- | ---: |\n"
    pairs = "\n".join(
        f"| {kind} | {of['frames']:,} | {of['persons']} | {of['pairs']:,} | {of['false']} | {of['per_million']:.2f} | "
        f"{of['interval'][0]:.2f} to {of['interval'][1]:.2f} | {of['same_person_pairs']:,} |"
        for kind, of in false.items()
    )
    seconds = "\n".join(
        f"| {STEPS[step].__doc__} | {of['wall']:.1f} | {of['cpu']:.1f} | {of['mb']:.0f} |" for step, of in times.items()
    )
    exact, near, plain = times["exact"], times["near"], EIGHTH * times["correlation"]["cpu"]
    same = {times[step]["result"] for step in ("exact", "pandas", "numpy")}
    agree = f"all three find {exact['result']:,} rows" if len(same) == 1 else f"**they differ: {sorted(same)}**"
    most = max(of["persons"] for of in false.values())
    persons = most * (most - 1) // 2
    memory = max(times[step]["mb"] for step in ("decode", "exact", "near"))
    return f"""# What the audit finds, how often it is wrong, and how long it takes

Written by `python benchmarks/audit.py {name} --frames youtube_68pt.parquet --write results`.
How copies are found stands in [docs/audit.md](../docs/audit.md).

{told_findings(name, content["findings"])}
## Recall

{content["originals"]:,} images drawn from all splits of {name}, no two equal and none blank; each change is made to all
of them, and the changed ones are looked for among the changed and the unchanged. Found is what is called a near copy
of its own original. n is smaller where a change leaves some images as they are, or nothing of them. Intervals are
Wilson's. Wanted: at least {WANTED_RECALL} for each of these.
The least of all {len(CHANGES)} changes: {recalls[worst]["recall"]:.3f} ({worst}).

{head}{wanted}

Beyond what is wanted; what is low here is not claimed:

{head}{beyond}

### Of portraits that are alike

The same changes to drawn faces of 200 persons, all frontal and under one light: more alike than real ones are. There
details of narrower bands must stand out among those of the set, or different persons would be taken for copies; so less
is found. What is below {WANTED_RECALL} isn't claimed of such sets:

{head}{alike_wanted}
{alike_beyond}

## False pairs

Frames of different persons (YouTube Faces), and drawn faces of different persons, that are called near copies; wanted:
at most {WANTED_FALSE:g} in a million.
Intervals are Clopper and Pearson's, as if pairs were independent; they are not quite, since each frame is in many.
The persons make {persons:,} pairs of persons. The last column counts pairs of frames of one person that are called
near copies; they come from the same video.

| pictures | frames | persons | pairs of different persons | false | per million | 95 % interval | of one person |
| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |
{pairs}

## Time and memory

{name} whole ({content["rows"]:,} images) on {content["cores"]} cores, each step in a process of its own, in one run.
The load of the machine was {content["busy"]:.1f} before it began: where that is not near 0, seconds say less than CPU
seconds and ratios do.

| step | seconds | CPU seconds | peak memory, MB |
| --- | ---: | ---: | ---: |
{seconds}

Exact copies: {exact["wall"]:.2f} s (wanted: at most {WANTED_EXACT_S}), {exact["wall"] / times["pandas"]["wall"]:.2f}
of pandas' time and {exact["wall"] / times["numpy"]["wall"]:.2f} of numpy's; {agree}.
With the first decode, which the others are spared: {times["decode"]["wall"] + exact["wall"]:.1f} s.

Near copies: {near["wall"]:.0f} s (wanted: at most {WANTED_NEAR_S} on 2 cores) and {near["cpu"]:.0f} CPU seconds, which
are {near["cpu"] / 2:.0f} s of two cores that do nothing else. That is {near["cpu"] / plain:.2f} of the CPU time of
numpy's plain correlation of all pairs (measured on an eighth of them), which sees no shift and no mirror image.
Peak memory of the audit: {memory:.0f} MB (wanted: at most {WANTED_MB:,}).
"""


def main() -> None:
    """Measure, print the page and, last, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a data set in the workspace")
    parser.add_argument("--frames", type=Path, help="youtube_68pt.parquet")
    parser.add_argument("--images", type=int, default=1000, help="how many images are changed")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="also write audit.md and audit.json there")
    given = parser.parse_args()
    if given.step:
        run_step(Path(given.dataset), given.step)
        return
    if given.frames is None:
        parser.error("--frames is needed")
    dataset = open_dataset(find_workspace(), given.dataset)
    content: dict[str, Any] = {
        "dataset": dataset.card.name,
        "fingerprint": dataset.card.fingerprint,
        "rows": sum(map(dataset.rows, dataset.card.splits)),
        "cores": os.cpu_count(),
        "busy": os.getloadavg()[0],
        "threshold": NEAR,
        "times": all_times(dataset),
        "findings": audit(dataset),
        "originals": given.images,
        "recall": all_recalls(distinct(dataset, given.images)),
        "portraits": all_recalls(portraits()[0][:: 1000 // min(given.images, 1000)]),
        "false": {kind: false_pairs(*of) for kind, of in {**frames(given.frames), PORTRAITS: portraits()}.items()},
    }
    text = told(dataset.card.name, content)
    print(text)
    if given.write:
        (given.write / "audit.md").write_text(text, encoding="utf-8")
        (given.write / "audit.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: of["recall"] for name, of in content["recall"].items()}))


if __name__ == "__main__":
    main()
