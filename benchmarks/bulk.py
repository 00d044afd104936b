"""What a photo costs `mien predict` here, by one process, by shards and by Ray, and what very many would take.

    python benchmarks/bulk.py --detector face_detection_yunet_2023mar.onnx             prints the section
    python benchmarks/bulk.py --detector face_detection_yunet_2023mar.onnx --report    and writes results/scale.md

Each way is timed as a user calls it, a process of its own from beginning to end, with many photos and with one: the
difference is the photos' cost, the time with one is what each call costs before. Photos and clips are those of
benchmarks/speed_use.py, on a local disk and warm. Everything beyond is arithmetic on these numbers, and says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from scale_page import write_part
from speed_use import CLIP, CORES, SIZES, draw_clip, draw_photos

from mien import environment
from mien.inference.model import DEFAULT
from mien.prediction.bulk import parts_of
from mien.prediction.inputs import find_photos
from mien.prediction.sources import find_sources

IMAGES, HOURS = 100_000_000, 10_000
# The machines of the plan, and how long it may take.
MACHINE_CORES, MACHINE_MEMORY, MACHINE_NETWORK, DAY = 64, 256e9, 25e9, 86_400
# What S3 promises for one prefix, by its manual.
REQUESTS = 5_500
SHARDS = 1_024
FPS = "2"
WAYS = ("process", "shards", "ray")
_WORDS = {"process": "one process", "shards": f"{CORES} shards at once", "ray": "Ray"}


def timed(commands: Sequence[Sequence[str]], code: int = 0) -> float:
    """The seconds that `mien` takes for command lines that begin at once, and that end with a code."""
    start = time.perf_counter()
    # A cluster of its own, also where another runs on this machine.
    own = {**os.environ, "RAY_ADDRESS": "local"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "mien", *words],
            env=own,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in commands
    ]
    errors = [process.communicate()[1] for process in running]
    seconds = time.perf_counter() - start
    if any(process.returncode != code for process in running):
        raise SystemExit("".join(errors))
    return seconds


def predict(way: str, photos: Path, out: Path, detector: str) -> list[list[str]]:
    """The command lines of one way."""
    words = ["predict", str(photos), "--detector-weights", detector]
    if way == "process":
        return [[*words, "--out", str(out / "faces.parquet")]]
    if way == "ray":
        return [[*words, "--engine", "ray", "--out", str(out / "faces")]]
    return [[*words, "--out", str(out / "parts"), "--shard", f"{part}/{CORES}"] for part in range(1, CORES + 1)]


class Lists(NamedTuple):
    """What a list costs before any photo is read, by input: seconds, and bytes of memory."""

    seconds: float
    bytes: float


def listed(how: str, list_: Path) -> Lists:
    """What the paths in a list cost, in this process."""
    before, start = memory(), time.perf_counter()
    given = [f"@{list_}"]
    # The commands hold it until they end.
    held: Any = find_photos(given) if how == "process" else parts_of(find_sources(given))
    seconds, taken = time.perf_counter() - start, memory() - before
    del held
    n = sum(1 for line in list_.open())
    return Lists(seconds / n, taken / n)


def memory() -> int:
    """The bytes that this process holds; getrusage's peak begins with that of the process which started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, as plain data: seconds are medians of the turns."""
    found: dict[str, Any] = {"photos": {}}
    for size, shape in SIZES.items():
        many, one = folder / f"{size}-many", folder / f"{size}-one"
        draw_photos(many, given.photos, shape)
        draw_photos(one, 1, shape)
        turns: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for turn in range(given.turns):
            for way in WAYS:
                out = folder / f"{size}-{way}-{turn}"
                seconds = timed(predict(way, many, out, given.detector))
                start = timed(
                    predict("process" if way == "shards" else way, one, folder / f"{out.name}-one", given.detector)
                )
                turns[way].append({"seconds": seconds, "start": start})
        out = folder / f"{size}-process-0"
        found["photos"][size] = {
            "n": given.photos,
            "bytes": sum(file.stat().st_size for file in many.iterdir()) / given.photos,
            "answers_bytes": (out / "faces.parquet").stat().st_size / given.photos,
            "ways": {way: cost(of, given.photos) for way, of in turns.items()},
        }
    clips = {"many": folder / "clip.mp4", "one": folder / "short.mp4"}
    draw_clip(clips["many"], given.seconds, CLIP)
    draw_clip(clips["one"], 1, CLIP)
    words = ("--detector-weights", given.detector, "--fps", FPS, "--out", str(folder / "clip.csv"))
    told = [
        {
            "seconds": timed([["predict", str(clips["many"]), *words]]),
            "start": timed([["predict", str(clips["one"]), *words]]),
        }
        for _ in range(given.turns)
    ]
    found["video"] = {
        "seconds": given.seconds,
        "bytes": clips["many"].stat().st_size / given.seconds,
        **cost(told, given.seconds - 1),
    }
    names = folder / "names.txt"
    names.write_text("".join(f"/data/photos/{number // 1000:06}/{number:09}.jpg\n" for number in range(given.names)))
    found["list"] = {"n": given.names}
    found["merge"] = merging(names, given.names // 10, folder)
    for how in ("process", "ray"):
        command = [sys.executable, __file__, "--detector", given.detector, "--list", how, str(names)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found["list"][how] = json.loads(done.stdout)
    return found


def merging(names: Path, n: int, folder: Path) -> dict[str, Any]:
    """What `--merge` costs: of photos that aren't there, whose rows are short."""
    seconds = {}
    for count in (n, 1):
        list_, parts = folder / f"{count}.txt", folder / f"{count}-parts"
        list_.write_text("".join(names.read_text().splitlines(keepends=True)[:count]))
        words = ["predict", f"@{list_}", "--detector", "none", "--shard", "1/1", "--out", str(parts)]
        timed([words], code=2)
        seconds[count] = timed([["predict", "--merge", str(parts), "--out", str(folder / f"{count}.parquet")]])
    return cost([{"seconds": seconds[n], "start": seconds[1]}], n - 1)


def cost(turns: Sequence[dict[str, float]], n: int) -> dict[str, Any]:
    """What n photos, or seconds, cost beyond the first: so many a second by all cores."""
    seconds, start = (statistics.median(turn[key] for turn in turns) for key in ("seconds", "start"))
    return {"total": seconds, "start": start, "rate": n / max(seconds - start, 1e-9), "turns": list(turns)}


def section(found: dict[str, Any], about: dict[str, Any], given: argparse.Namespace) -> str:
    """What was measured, and the plan, as Markdown."""
    return "".join([*_head(about, given), *_measured(found), *_plan(found), *_breaks(found)])


def _head(about: dict[str, Any], given: argparse.Namespace) -> Iterator[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "pillow", "ray"))
    yield f"""Written by `python benchmarks/bulk.py --detector FILE --report`: model `{DEFAULT}`,
detector YuNet; {about["cpu"]}, {CORES} cores; Python {about["python"]}, {versions},
commit {(about["commit"] or "unknown")[:12]}. Medians of {given.turns} turns. The files
lay on a local disk and were warm; each is read once, whole.

### Measured here

"""


def _measured(found: dict[str, Any]) -> Iterator[str]:
    yield "| photos | by | photos a second, all cores | of one process | before the first, s | MB read a photo |\n"
    yield "| --- | --- | ---: | ---: | ---: | ---: |\n"
    for size, one in found["photos"].items():
        for way, of in one["ways"].items():
            ratio = of["rate"] / one["ways"]["process"]["rate"]
            rates = f"{of['rate']:.1f} | {ratio:.2f}"
            yield f"| {size} | {_WORDS[way]} | {rates} | {of['start']:.1f} | {one['bytes'] / 1e6:.2f} |\n"
    video, lists = found["video"], found["list"]
    yield f"""
Video of {CLIP[0]} × {CLIP[1]}, {FPS} frames of a second told: {video["rate"]:.1f} seconds of it a second by one
process, {video["start"]:.1f} s before the first, {video["bytes"] / 1e6:.2f} MB a second of video (a drawn clip; films
have more). A name in a list costs {lists["process"]["seconds"] * 1e6:.1f} µs and {lists["process"]["bytes"]:.0f} bytes
of memory, with Ray {lists["ray"]["seconds"] * 1e6:.1f} µs and {lists["ray"]["bytes"]:.0f} bytes ({lists["n"]:,} names).
Answers in Parquet take {min(one["answers_bytes"] for one in found["photos"].values()):.0f} bytes a photo and more.
"""


class Work(NamedTuple):
    """What is to be told: how much of it one core tells a second, and how many bytes and objects that is."""

    name: str
    units: float
    per_core: float
    bytes: float
    objects: float

    @property
    def hours(self) -> float:
        """Of one core."""
        return self.units / self.per_core / 3600


def works(found: dict[str, Any]) -> list[Work]:
    """The plan's work."""
    photos = [
        Work(
            f"{IMAGES:,} photos of {size}", IMAGES, of["ways"]["process"]["rate"] / CORES, IMAGES * of["bytes"], IMAGES
        )
        for size, of in found["photos"].items()
    ]
    video, seconds = found["video"], HOURS * 3600
    films = Work(f"{HOURS:,} hours of video", seconds, video["rate"] / CORES, seconds * video["bytes"], HOURS)
    return [*photos, films]


def _plan(found: dict[str, Any]) -> Iterator[str]:
    yield f"""
### What follows from it

Not measured: arithmetic on the table above, as if {MACHINE_CORES} cores did {MACHINE_CORES / CORES:.0f} times what
these {CORES} do. One process uses 8 cores at most, so a machine of {MACHINE_CORES} runs {MACHINE_CORES // 8} shards at
once, or Ray. "A day" is on as many machines as end within one.

| what | hours of one core | machines of {MACHINE_CORES} cores for a day | TB read | Gbit/s each | objects a second |
| --- | ---: | ---: | ---: | ---: | ---: |
"""
    for work in works(found):
        machines = machines_of(work)
        yield (
            f"| {work.name} | {work.hours:,.0f} | {machines:,} | {work.bytes / 1e12:,.1f} "
            f"| {network(work) / 1e9:.2f} | {work.objects / DAY:,.0f} |\n"
        )


def machines_of(work: Work) -> int:
    """Machines that do the work within a day."""
    return max(1, -int(-work.hours * 3600 // (MACHINE_CORES * DAY)))


def network(work: Work) -> float:
    """Bits a second that each of them reads."""
    return 8 * work.bytes / machines_of(work) / DAY


def limits(found: dict[str, Any]) -> list[tuple[str, str, str, float]]:
    """What is needed of what has a limit, and the limit: the nearest to breaking, or the furthest beyond, first."""
    lists, small, large = found["list"], *works(found)[:2][::-1]
    merge = IMAGES / found["merge"]["rate"]
    listing, all_work = SHARDS * lists["process"]["seconds"] * IMAGES / 3600, small.hours
    memory = {how: lists[how]["bytes"] * IMAGES for how in ("process", "ray")}
    rows: list[tuple[str, str, str, float]] = [
        (
            f"names in the memory of each machine, {MACHINE_CORES // 8} shards on it",
            f"{memory['process'] * MACHINE_CORES / 8 / 1e9:,.0f} GB",
            f"{MACHINE_MEMORY / 1e9:.0f} GB",
            memory["process"] * MACHINE_CORES / 8 / MACHINE_MEMORY,
        ),
        (
            "names in the memory of the command that asks Ray",
            f"{memory['ray'] / 1e9:,.0f} GB",
            f"{MACHINE_MEMORY / 1e9:.0f} GB",
            memory["ray"] / MACHINE_MEMORY,
        ),
        (
            f"reading the list, in each of {SHARDS:,} shards",
            f"{listing:,.0f} core-hours",
            f"a tenth of {all_work:,.0f} core-hours",
            10 * listing / all_work,
        ),
        (
            "`--merge`, one process, photos without faces",
            f"{merge / 3600:,.1f} h",
            "24 h",
            merge / DAY,
        ),
        (
            "objects a second, a photo each",
            f"{IMAGES / DAY:,.0f}",
            f"{REQUESTS:,}, S3's for a prefix (two requests a photo)",
            2 * IMAGES / DAY / REQUESTS,
        ),
        *(
            (
                f"network of each machine, {work.name}",
                f"{network(work) / 1e9:.2f} Gbit/s",
                f"{MACHINE_NETWORK / 1e9:.0f} Gbit/s",
                network(work) / MACHINE_NETWORK,
            )
            for work in (small, large)
        ),
    ]
    return sorted(rows, key=lambda row: -row[3])


def _breaks(found: dict[str, Any]) -> Iterator[str]:
    rows = limits(found)
    yield f"""
### Where it would break first

{IMAGES:,} photos as files or objects of their own, on the machines above ({MACHINE_MEMORY / 1e9:.0f} GB of memory,
{MACHINE_NETWORK / 1e9:.0f} Gbit/s), the largest need first. What is above 1 doesn't go so.

| what | needed | there is | share |
| --- | ---: | ---: | ---: |
"""
    yield from (f"| {what} | {need} | {there} | {share:.2f} |\n" for what, need, there, share in rows)
    yield """
Images in Parquet have neither names in a list nor a request each: a part is a file and some row groups. So from some
ten million photos on they belong into Parquet, some hundred a row group, told by `--engine ray` into a folder, which
isn't put together; or each shard gets a list of its own.
"""


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", required=True, help="YuNet's weights")
    parser.add_argument("--photos", type=int, default=1000, help="of each size")
    parser.add_argument("--seconds", type=int, default=300, help="of the clip")
    parser.add_argument("--names", type=int, default=1_000_000, help="of the list")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="write results/scale/bulk.json and results/scale.md")
    parser.add_argument("--list", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.list:
        how, path = given.list
        print(json.dumps(listed(how, Path(path))._asdict()))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given, Path(folder))
    about = environment.describe()
    text = section(found, about, given)
    print(text)
    if given.report:
        write_part("bulk", "Photos and videos in bulk", text, {"environment": about, **found})


if __name__ == "__main__":
    main()
