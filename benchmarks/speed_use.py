"""How fast `mien predict` tells photos and videos, against plain loops with the same models, and in how much memory.

    python benchmarks/speed_use.py --detector face_detection_yunet_2023mar.onnx             prints the page
    python benchmarks/speed_use.py --detector face_detection_yunet_2023mar.onnx --report    and writes it into results/

Photos are scenes of scikit-image's with its portrait pasted in, with a camera's noise, as JPEG. A plain loop takes one
photo, or frame, after the other, and leaves all cores to the threads of OpenCV and ONNX Runtime; it finds, frames and
tells faces by the same functions and models. Sides take turns, each turn a process of its own; models are loaded, and
one picture told, before the clock starts. With --parts some parts alone are measured.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data as pictures

from mien import environment
from mien.faces.detector import Detector, open_detector
from mien.faces.framing import framed
from mien.files import replacing, write_json
from mien.images import Pixels, luma, read_photo
from mien.inference import Model, load
from mien.inference.model import DEFAULT
from mien.inference.predictor import Predictor
from mien.inference.rows import Row, columns
from mien.prediction.footage import Footage, predict_video
from mien.prediction.inputs import Photo, find_photos
from mien.prediction.output import Output
from mien.prediction.photos import predict_photos

RESULTS = Path(__file__).parent.parent / "results"
SIZES = {"12 megapixels": (4000, 3000), "640 × 480": (640, 480)}
WANTED = {"12 megapixels": 1.5, "640 × 480": 1.1}
RATES = {"2 frames a second": 2.0, "every frame": None}
CLIP, LONG_CLIP = (1280, 720), (320, 240)
FRAMES_A_SECOND = 25
BATCHES = (1, 4, 8, 16, 64)
CORES = os.cpu_count() or 1
# Photos that differ; beyond these the same files have further names.
_DIFFERENT = 100
_BACKGROUNDS = ("coffee", "rocket", "chelsea", "gravel", "grass")
_SECONDS = 2.0  # of each cell of the sweep
_SAMPLES = 20

Told = list[str]


def head() -> Pixels:
    """A head of scikit-image's portrait."""
    portrait: Pixels = getattr(pictures, "astronaut")()  # noqa: B009
    return np.ascontiguousarray(portrait[0:260, 100:350])


def background(number: int, size: tuple[int, int]) -> Pixels:
    """A picture without people."""
    picture = getattr(pictures, _BACKGROUNDS[number % len(_BACKGROUNDS)])()
    colour = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture
    return np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def paste(scene: Pixels, left: float, top: float, height: float) -> None:
    """The head, at a height in pixels, into a scene."""
    small = cv2.resize(head(), (round(height * 250 / 260), round(height)), interpolation=cv2.INTER_AREA)
    x, y = round(left), round(top)
    scene[y : y + small.shape[0], x : x + small.shape[1]] = small


def draw_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """So many JPEGs with one to three heads, a fifth to two fifths of the photo's height each."""
    folder.mkdir()
    width, height = size
    random = np.random.default_rng(0)
    noise = random.normal(0, 4, (height, width, 1)).astype(np.float32)
    for number in range(min(count, _DIFFERENT)):
        scene = background(number, size)
        for place in range(number % 3 + 1):
            side = height * random.uniform(0.2, 0.4)
            column = width / 3 * place + random.uniform(0, width / 3 - side)
            paste(scene, max(0, column), random.uniform(0, height - side - 1), side)
        noisy = np.clip(scene + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), noisy[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    for number in range(_DIFFERENT, count):
        os.link(folder / f"{number % _DIFFERENT:05}.jpg", folder / f"{number:05}.jpg")


def draw_clip(file: Path, seconds: int, size: tuple[int, int]) -> None:
    """A clip with two heads that go to and fro."""
    import av

    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FRAMES_A_SECOND)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast"}
        still = background(0, size)
        for number in range(seconds * FRAMES_A_SECOND):
            scene, side = still.copy(), size[1] / 3
            swing = (1 + np.sin(number / 40)) / 2
            paste(scene, swing * (size[0] / 2 - side), size[1] * 0.1, side)
            paste(scene, size[0] / 2 + swing * (size[0] / 2 - side - 1), size[1] * 0.5, side)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene, format="rgb24")))
        container.mux(stream.encode(None))


def tops(rows: Sequence[Row]) -> Told:
    """The answers of a photo's or frame's faces."""
    return [row["top"] for row in rows if row["face"] is not None]


def plainly(image: Pixels, model: Model, detector: Detector) -> Told:
    """The answers of an image's faces, as a script would tell them."""
    faces = detector.faces(image)
    if not faces:
        return []
    cuts = np.stack([luma(framed(image, face, model.size)) for face in faces])
    return [model.scheme.classes[place] for place in model.probabilities(cuts).argmax(axis=1)]


def mien_photos(folder: Path, detector: Detector) -> tuple[float, Told]:
    """`mien predict` on a folder: seconds and answers."""
    photos, told = find_photos([str(folder)]), []
    predictor = Predictor(load(DEFAULT, threads=1), detector)
    predictor.answers([read_photo(photos[0].file)])
    start = time.perf_counter()
    predict_photos(photos, predictor, lambda rows: told.extend(tops(rows)))
    return time.perf_counter() - start, told


def plain_photos(folder: Path, detector: Detector, reduced: bool) -> tuple[float, Told]:
    """A loop over a folder; photos of 12 megapixels are halved while they are decoded, or not at all."""
    model, files, told = load(DEFAULT), sorted(folder.iterdir()), []

    def tell(file: Path) -> Told:
        image = cv2.imread(str(file), cv2.IMREAD_REDUCED_COLOR_2 if reduced else cv2.IMREAD_COLOR)
        assert image is not None
        return plainly(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), model, detector)

    tell(files[0])
    start = time.perf_counter()
    for file in files:
        told += tell(file)
    return time.perf_counter() - start, told


def mien_video(file: Path, detector: Detector, fps: float | None) -> tuple[float, Told]:
    """`mien predict` on a clip: seconds and answers."""
    told: Told = []
    predictor = Predictor(load(DEFAULT, threads=1), detector)
    predictor.answers([read_photo(file.with_suffix(".jpg"))])
    start = time.perf_counter()
    how = Footage(fps, 0.0)
    predict_video(Photo(file, Path(file.name)), predictor, how, lambda rows, further: told.extend(tops(rows)))
    return time.perf_counter() - start, told


def plain_video(file: Path, detector: Detector, fps: float | None) -> tuple[float, Told]:
    """A loop over a clip's frames, or over the first of each interval."""
    import av

    model, told, cell = load(DEFAULT), [], -1
    plainly(read_photo(file.with_suffix(".jpg")).pixels, model, detector)
    start = time.perf_counter()
    with av.open(str(file)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            own = int(frame.time * fps + 1e-6) if fps else number
            if own > cell:
                cell = own
                told += plainly(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), model, detector)
    return time.perf_counter() - start, told


class Memory:
    """What `take` is told, with the memory after each `step` photos or frames: the peak so far, in MB."""

    def __init__(self, step: int) -> None:
        self.step, self.count, self.samples = step, 0, list[tuple[int, float]]()

    def add(self, pictures_told: int) -> None:
        """Count."""
        before, self.count = self.count, self.count + pictures_told
        if before // self.step < self.count // self.step:
            # The peak that getrusage tells is that of the process which started this one, where that is larger.
            peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
            self.samples.append((self.count, int(peak) / 1024))


def photos_memory(folder: Path, detector: Detector) -> list[tuple[int, float]]:
    """The peak memory of `mien predict --out` while it tells the photos of a folder."""
    photos = find_photos([str(folder)])
    memory, predictor = Memory(max(1, len(photos) // _SAMPLES)), Predictor(load(DEFAULT, threads=1), detector)
    with Output(folder.with_suffix(".csv"), columns(predictor.names), {"model": predictor.title}) as output:

        def take(rows: list[Row]) -> None:
            output.add(rows)
            memory.add(1)

        predict_photos(photos, predictor, take)
    return memory.samples


def video_memory(file: Path, detector: Detector, frames: int) -> list[tuple[int, float]]:
    """The same of every frame of a clip; segments are taken whole."""
    memory, predictor = Memory(max(1, frames // _SAMPLES)), Predictor(load(DEFAULT, threads=1), detector)
    names = columns(predictor.names, with_frames=True)
    with Output(file.with_suffix(".csv"), names, {"model": predictor.title}) as output:

        def take(rows: list[Row], further: dict[str, Any] | None) -> None:
            output.add(rows, further)
            memory.add(len({row["frame"] for row in rows}))

        predict_video(Photo(file, Path(file.name)), predictor, Footage(None, 0.5), take)
    return memory.samples


def classification(threads: int, callers: int, shared: bool) -> dict[int, float]:
    """Faces a second by batch, where so many callers, of one session or each of its own, have so many threads each."""
    models = [load(DEFAULT, threads=threads) for _ in range(1 if shared else callers)]
    found = {}
    for batch in BATCHES:
        images: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (batch, 48, 48, 1), np.uint8)
        found[batch] = _rate([models[number % len(models)] for number in range(callers)], images)
    return found


def _rate(models: Sequence[Model], images: npt.NDArray[np.uint8]) -> float:
    begin = threading.Barrier(len(models))

    def call(model: Model) -> tuple[int, float]:
        model.outputs(images)
        begin.wait()
        start, times = time.perf_counter(), 0
        while (now := time.perf_counter()) - start < _SECONDS:
            model.outputs(images)
            times += 1
        return times, now - start

    with ThreadPoolExecutor(len(models)) as pool:
        return sum(times * len(images) / seconds for times, seconds in pool.map(call, models))


def side(name: str, path: str, detector: Detector) -> Any:
    """What one side measures, in a process of its own."""
    what, _, how = name.partition("/")
    place = Path(path)
    if what == "memory":
        return photos_memory(place, detector) if place.is_dir() else video_memory(place, detector, int(how))
    if what == "classification":
        threads, callers, shared = map(int, how.split(","))
        return classification(threads, callers, bool(shared))
    if what == "photos":
        if how == "mien":
            return mien_photos(place, detector)
        # As large as it is, in one pass.
        finder = replace(detector, sides=(10**6,)) if how == "full" else detector
        return plain_photos(place, finder, reduced=how == "halved")
    whose, _, rate = how.partition(",")
    return (mien_video if whose == "mien" else plain_video)(place, detector, float(rate) if rate else None)


Ask = Callable[[str, Path], Any]


def alternated(ask: Ask, names: Sequence[str], path: Path, turns: int) -> dict[str, Any]:
    """Faces a second of each side, the median of its turns, and the share of answers that are the first side's."""
    rates: dict[str, list[float]] = {name: [] for name in names}
    answers: dict[str, Told] = {}
    for _ in range(turns):
        for name in names:
            seconds, answers[name] = ask(name, path)
            rates[name].append(len(answers[name]) / seconds)
    own = answers[names[0]]
    return {
        name: {
            "faces": len(answers[name]),
            "rate": statistics.median(rates[name]),
            "turns": rates[name],
            "same": sum(a == b for a, b in zip(own, answers[name], strict=False)) / max(len(own), len(answers[name])),
        }
        for name in names
    }


def measure(ask: Ask, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, as plain data."""
    found: dict[str, Any] = {}
    if "photos" in given.parts:
        found["photos"] = {}
        for what, size in SIZES.items():
            draw_photos(folder / what, given.photos, size)
            large = size[0] > 2560
            sides = ["photos/mien", "photos/halved" if large else "photos/plain"]
            found["photos"][what] = alternated(ask, sides, folder / what, given.turns)
            if large:
                # At more than a second a photo, a tenth of them tells the rate.
                draw_photos(folder / "some", given.photos // 10, size)
                found["photos"][what] |= alternated(ask, ["photos/full"], folder / "some", given.turns)
    if "video" in given.parts:
        clip = folder / "clip.mp4"
        draw_clip(clip, given.seconds, CLIP)
        draw_photos(folder / "first", 1, CLIP)
        (folder / "first" / "00000.jpg").rename(clip.with_suffix(".jpg"))
        found["video"] = {}
        for what, fps in RATES.items():
            sides = [f"video/{whose}{'' if fps is None else f',{fps}'}" for whose in ("mien", "plain")]
            found["video"][what] = alternated(ask, sides, clip, given.turns)
    if "classification" in given.parts:
        ways = {"1 thread": (1, 1, 1), f"{CORES} threads": (CORES, 1, 1)}
        ways |= {f"{CORES} sessions of 1 thread": (1, CORES, 0), f"1 thread, {CORES} callers (mien)": (1, CORES, 1)}
        found["classification"] = {
            what: ask(f"classification/{','.join(map(str, how))}", folder) for what, how in ways.items()
        }
    if "memory" in given.parts:
        draw_photos(folder / "many", given.images, SIZES["640 × 480"])
        long, seconds = folder / "long.mp4", 10 * given.seconds
        draw_clip(long, seconds, LONG_CLIP)
        found["memory"] = {
            f"{given.images:,} photos of 640 × 480": ask("memory", folder / "many"),
            f"a clip of {seconds:,} s, every frame": ask(f"memory/{seconds * FRAMES_A_SECOND}", long),
        }
    return found


_SIDES = {
    "photos/mien": "`mien predict`",
    "photos/halved": "plain loop, photos halved while they are decoded",
    "photos/full": "plain loop, at full size (a tenth of the photos)",
    "photos/plain": "plain loop",
}


def merged(found: dict[str, Any], stored: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """What was measured, with the other parts of what is `stored` already, and about each the commit that it is of.

    These are kept as long as they are of the same processor and as many photos and turns.
    """
    environment_now = environment.describe()
    about = {"environment": environment_now, "photos": given.photos, "turns": given.turns}
    old = stored.get("about", {})
    alike = old.get("environment", {}).get("cpu") == environment_now["cpu"]
    kept = stored if alike and all(old[key] == about[key] for key in ("photos", "turns")) else {}
    commits = {part: old["commits"][part] for part in _PARTS if part in kept}
    commits |= dict.fromkeys(found, environment_now["commit"] or "unknown")
    parts = {part: found.get(part, kept.get(part)) for part in _PARTS if part in commits}
    return {"about": {**about, "commits": {part: commits[part] for part in parts}}, **parts}


def page(content: dict[str, Any], given: argparse.Namespace) -> str:
    """What was measured as Markdown."""
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("onnxruntime", "opencv-python-headless", "pillow", "av")
    )
    about, commits = content["about"]["environment"], content["about"]["commits"]
    text = f"""# Speed and memory of `mien predict`

Written by `python benchmarks/speed_use.py --detector FILE --report`: model `{DEFAULT}`, detector YuNet;
{about["cpu"]}, {CORES} cores; Python {about["python"]}, {versions},
commits: {", ".join(f"{part} {commit[:12]}" for part, commit in commits.items())}.
A plain loop takes one picture after the other and leaves all cores to the threads of OpenCV and ONNX Runtime; it finds,
frames and tells faces by the same functions and models. Sides took turns; rates are medians of {given.turns} turns,
each turn a process of its own.
"""
    return text + "".join(part for kind in commits for part in _PARTS[kind](content[kind], given))


def _photos(found: dict[str, Any], given: argparse.Namespace) -> Iterator[str]:
    yield f"\n## Photos\n\n{given.photos:,} JPEGs of each size, with one to three faces.\n\n"
    yield "| photos | side | faces | faces a second | turns | mien's ratio to it | wanted | same answers |\n"
    yield "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |\n"
    for what, sides in found.items():
        for name, one in sides.items():
            wanted = "≥ 1" if name.endswith("full") else f"≥ {WANTED[what]}"
            yield _line(what, _SIDES[name], one, sides["photos/mien"], "" if name == "photos/mien" else wanted)


def _line(what: str, side_name: str, one: dict[str, Any], own: dict[str, Any], wanted: str) -> str:
    turns = ", ".join(f"{rate:.1f}" for rate in one["turns"])
    ratio = "" if one is own else f"{own['rate'] / one['rate']:.2f}"
    same = "" if one is own or "full size" in side_name else f"{one['same']:.3f}"
    return f"| {what} | {side_name} | {one['faces']:,} | {one['rate']:.1f} | {turns} | {ratio} | {wanted} | {same} |\n"


def _video(found: dict[str, Any], given: argparse.Namespace) -> Iterator[str]:
    shape = f"{CLIP[0]} × {CLIP[1]}, {FRAMES_A_SECOND} frames a second"
    yield f"\n## Video\n\nA clip of {given.seconds} seconds, {shape}, with two faces.\n\n"
    yield "| frames | side | faces | faces a second | turns | mien's ratio to it | wanted | same answers |\n"
    yield "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |\n"
    for what, sides in found.items():
        own, plain = sides.values()
        yield _line(what, "`mien predict`", own, own, "")
        yield _line(what, "plain loop by PyAV", plain, own, "≥ 1")


def _memory(found: dict[str, Any], given: argparse.Namespace) -> Iterator[str]:
    yield "\n## Memory\n\nThe peak of the process so far, answers written to CSV.\n\n"
    yield "| what | after | MB | at the end | MB | growth since |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    for what, samples in found.items():
        # The first samples are those of a process that hasn't met its largest picture yet.
        (early, before), (late, after) = samples[len(samples) // 10], samples[-1]
        yield f"| {what} | {early:,} | {before:.0f} | {late:,} | {after:.0f} | {after - before:.0f} MB |\n"


def _classification(found: dict[str, Any], given: argparse.Namespace) -> Iterator[str]:
    yield "\n## Classification alone\n\nFaces a second by batch; the best of each column is bold. `mien predict` tells "
    yield "the faces of a photo as one batch, and as many photos at once as there are cores.\n\n"
    yield f"| sessions and threads | {' | '.join(map(str, BATCHES))} |\n| --- |{' ---: |' * len(BATCHES)}\n"
    best = {batch: max(rates[str(batch)] for rates in found.values()) for batch in BATCHES}
    for what, rates in found.items():
        cells = (f"{rate:,.0f}" if rate < best[b] else f"**{rate:,.0f}**" for b in BATCHES for rate in [rates[str(b)]])
        yield f"| {what} | {' | '.join(cells)} |\n"


_PARTS = {"photos": _photos, "video": _video, "classification": _classification, "memory": _memory}


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", required=True, help="YuNet's weights")
    parser.add_argument("--photos", type=int, default=500, help="of each size")
    parser.add_argument("--images", type=int, default=10_000, help="for the memory")
    parser.add_argument("--seconds", type=int, default=60, help="of the clip; the long one has ten times as many")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--report", action="store_true", help="write results/speed-use.md and speed-use.json")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        name, path = given.side
        print(json.dumps(side(name, path, open_detector(given.detector))))
        return

    def ask(name: str, path: Path) -> Any:
        command = [sys.executable, __file__, "--detector", given.detector, "--side", name, str(path)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    with tempfile.TemporaryDirectory() as folder:
        found = measure(ask, given, Path(folder))
    stored = RESULTS / "speed-use.json"
    # A part that is measured by itself is published beside the others.
    others = json.loads(stored.read_text("utf-8")) if given.report and stored.is_file() else {}
    content = merged(found, others, given)
    text = page(content, given)
    print(text)
    if given.report:
        with replacing(RESULTS / "speed-use.md") as file:
            file.write_text(text, encoding="utf-8")
        write_json(stored, content)


if __name__ == "__main__":
    main()
