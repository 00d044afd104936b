"""How faces that a detector finds are to be framed for a model of FER2013, and how well they are then told.

    python benchmarks/framing.py fer2013.parquet MODEL --detector face_detection_yunet_2023mar.onnx [--report]

Faces of FER2013 are pasted into scenes at several sizes, upright and turned, found by the detector, framed by every
setting, and told by the model; a face that isn't found counts as wrong. It is chosen on PublicTest; with --report
`FER2013` of mien/faces/framing.py alone is measured, on PrivateTest, and results/framing.md and .json are written.
Next to it stands the accuracy on the images themselves, at 48 pixels. The scenes are scikit-image's, without people.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from skimage import data as photos

from mien.faces.detector import Detector, Face, open_detector
from mien.faces.framing import FER2013, Framing, framed, tilt
from mien.files import replacing, write_json
from mien.images import Pixels, decode, luma, stretch
from mien.inference import Model, load
from mien.intervals import percentile_interval, resampled_means, wilson, with_interval

RESULTS = Path(__file__).parent.parent / "results"
# Of the accuracy on the images themselves.
WANTED = 0.95
SIZES = (40, 60, 90, 130, 200)  # px
TURNS = (0, 20)
SCENES = ("coffee", "rocket", "chelsea", "gravel", "grass")
SCALES, DOWNS = (0.85, 0.95, 1.05, 1.15, 1.25), (-0.03, 0.0, 0.03)
GRID = [Framing(scale, down, turned) for turned in (False, True) for scale in SCALES for down in DOWNS]


def read(file: Path, usage: str, most: int) -> tuple[list[Pixels], npt.NDArray[np.int64]]:
    """So many images of a split, drawn with a fixed seed, and their labels."""
    table = pq.read_table(file, columns=["usage", "emotion", "image"], filters=[("usage", "=", usage)])
    rows = np.random.default_rng(0).permutation(len(table))[:most]
    taken = table.take(np.sort(rows)).to_pylist()
    return [decode(row["image"], "rgb") for row in taken], np.array([row["emotion"] for row in taken])


def scenes() -> list[Pixels]:
    """Pictures of 640 × 480 without people."""
    pictures = [getattr(photos, name)() for name in SCENES]
    colour = [cv2.cvtColor(one, cv2.COLOR_GRAY2RGB) if one.ndim == 2 else one for one in pictures]
    return [np.asarray(cv2.resize(one, (640, 480), interpolation=cv2.INTER_AREA), np.uint8) for one in colour]


def pasted(image: Pixels, scene: Pixels, side: int, turn: float, random: np.random.Generator) -> tuple[Pixels, Any]:
    """A copy of a scene with an image at `side` pixels somewhere in it, turned by some degrees; and its middle."""
    half = side * 0.75
    x, y = random.uniform(half, 640 - half), random.uniform(half, 480 - half)
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), -turn, side / 48)
    matrix[:, 2] += np.array([x - 23.5, y - 23.5])
    flags = cv2.INTER_AREA if side < 48 else cv2.INTER_CUBIC
    there = cv2.warpAffine(np.full((48, 48), 255, np.uint8), matrix, (640, 480), flags=cv2.INTER_LINEAR)[:, :, None]
    over = cv2.warpAffine(image, matrix, (640, 480), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.where(there > 127, over, scene), (x, y)


def found(images: list[Pixels], detector: Detector, side: int, turn: float) -> Iterator[tuple[Pixels, Face | None]]:
    """Each image in a scene, and the face that the detector finds there; None where it finds none."""
    random, backgrounds = np.random.default_rng((side, int(turn))), scenes()
    for number, image in enumerate(images):
        scene, (x, y) = pasted(image, backgrounds[number % len(backgrounds)], side, turn, random)
        near = [
            face
            for face in detector.faces(scene)
            if abs(face.box.left + face.box.width / 2 - x) < side / 2
            and abs(face.box.top + face.box.height / 2 - y) < side / 2
        ]
        yield scene, max(near, key=lambda face: face.score or 0) if near else None


def right(model: Model, images: list[Pixels], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which images a model tells rightly, by their labels."""
    pixels = np.stack([luma(one) if model.color == "gray" else one for one in images])
    return np.asarray(model.logits(pixels).argmax(axis=1) == labels)


def measure(
    model: Model,
    images: list[Pixels],
    labels: npt.NDArray[np.int64],
    detector: Detector,
    settings: list[Framing],
    sizes: list[int],
) -> dict[str, Any]:
    """Which images are told rightly as they are, and by size, turn and framing which are found in scenes and told."""
    bare = right(model, [stretch(image, model.size, "rgb") for image in images], labels)
    rows = []
    for turn in TURNS:
        for side in sizes:
            pairs = list(found(images, detector, side, turn))
            hits = np.array([face is not None for _, face in pairs])
            leans = [np.degrees(tilt(face)) for _, face in pairs if face is not None]
            for setting in settings:
                # What isn't found is wrong, whatever an empty picture is taken for.
                cuts = [
                    np.zeros((model.size, model.size, 3), np.uint8)
                    if face is None
                    else framed(scene, face, model.size, setting)
                    for scene, face in pairs
                ]
                told = right(model, cuts, labels) & hits
                row = {"turn": turn, "side": side, **setting._asdict(), "found": hits, "right": told}
                rows.append({**row, "lean": float(np.median(leans)) if leans else 0.0})
            print(f"turned by {turn}, {side} px", file=sys.stderr)
    return {"bare": bare, "rows": rows}


def shares(bare: npt.NDArray[np.bool_], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is found and rightly told in rows of the same faces, over what is told of the images themselves.

    Faces are drawn anew for the intervals, each with all its sizes. What is missing is of two kinds: the faces that
    aren't found, as far as they are told rightly as they are, and the rest, which are framed worse.
    """
    hits, told = (np.mean([row[key] for row in rows], axis=0) for key in ("found", "right"))
    table = np.stack([bare.astype(np.float64), hits, told, bare * (1 - hits)], axis=1)
    value, drawn = table.mean(axis=0), resampled_means(table)

    def of(place: int, over: int | None = None) -> tuple[float, list[float]]:
        own = value[place] / (value[over] if over is not None else 1)
        samples = drawn[:, place] / (drawn[:, over] if over is not None else 1)
        return float(own), list(percentile_interval(samples, float(own)))

    kept, interval = of(2, 0)
    unseen = of(3, 0)[0]
    return {
        "found": of(1),
        "accuracy": of(2),
        "kept": (kept, interval),
        "lost_unfound": unseen,
        "lost_framing": 1 - kept - unseen,
    }


def report(result: dict[str, Any], model: Model, detector: Detector, split: str) -> tuple[str, dict[str, Any]]:
    """The page, and the same as plain data."""
    bare, rows = result["bare"], result["rows"]
    n, sizes = len(bare), sorted({row["side"] for row in rows})
    about: dict[str, Any] = {
        "model": f"{model.name} {model.digest[:12]}",
        "detector": f"{detector.name} {detector.digest[:12]}",
        "split": split,
        "n": n,
        "bare": (float(bare.mean()), list(wilson(int(bare.sum()), n))),
        "framing": FER2013._asdict(),
        "wanted": WANTED,
    }
    lines, parts = [], []
    for turn in TURNS:
        for size in [*sizes, None]:
            own = [row for row in rows if row["turn"] == turn and size in (None, row["side"])]
            part = {"turn": turn, "side": size, **shares(bare, own)}
            parts.append(part)
            cells = [with_interval(*part[key]) for key in ("found", "accuracy", "kept")]
            cells += [f"{part[key]:.3f}" for key in ("lost_unfound", "lost_framing")]
            what = "upright" if turn == 0 else f"leaning by {turn}°"
            lines.append(f"| {what} | {'all' if size is None else f'{size} px'} | {' | '.join(cells)} |\n")
    text = f"""# Accuracy through detector and framing

Written by `python benchmarks/framing.py fer2013.parquet {model.name} --detector FILE --report`: {n:,} faces of
FER2013's {split}, drawn with a fixed seed, pasted into scenes of 640 × 480 without people, found by
{about["detector"]}, framed as `mien predict` does and told by {about["model"]}.
A face that isn't found counts as wrong. Brackets are 95 % intervals over the choice of faces. On the images
themselves, at 48 pixels, the accuracy is {with_interval(*about["bare"])}; wanted is a share of
{WANTED} of it in scenes.

| faces | pasted at | found | accuracy in scenes | over that on the images | lost: not found | lost: framed worse |
| --- | --- | --- | --- | --- | ---: | ---: |
{"".join(lines)}
FER2013's images have 48 pixels, so faces pasted at more are blurred: that is no measure of large sharp faces. They
are cut tight, so that a scene begins where hair and chin would go on, which makes them harder to find than faces of
photos; some of the images show no whole face, or none.
"""
    return text, {**about, "parts": parts}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="fer2013.parquet")
    parser.add_argument("model", help="a shipped model, a run's folder, or a file")
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--n", type=int, help="faces; 500, or 1,000 with --report")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--report", action="store_true", help="measure the setting in use on PrivateTest, and write it")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    split = "PrivateTest" if given.report else "PublicTest"
    images, labels = read(given.file, split, given.n or (1000 if given.report else 500))
    settings = [FER2013] if given.report else GRID
    detector, model = open_detector(given.detector), load(given.model)
    result = measure(model, images, labels, detector, settings, given.sizes)
    if given.report:
        text, content = report(result, model, detector, split)
        print(text)
        with replacing(RESULTS / "framing.md") as file:
            file.write_text(text, encoding="utf-8")
        write_json(RESULTS / "framing.json", content)
        return
    n, bare = len(labels), int(result["bare"].sum())
    print(f"the images themselves: {with_interval(bare / n, wilson(bare, n))}, n = {n}; detector {detector.name}")
    for setting in settings:
        for turn in TURNS:
            rows = [
                row
                for row in result["rows"]
                if row["turn"] == turn and all(row[k] == v for k, v in setting._asdict().items())
            ]
            kept = shares(result["bare"], rows)["kept"]
            sizes = "  ".join(f"{row['side']}: {row['right'].mean():.3f} of {row['found'].mean():.3f}" for row in rows)
            print(f"{json.dumps(setting._asdict())} turned by {turn}: {with_interval(*kept)} of it")
            print(f"    {sizes}")


if __name__ == "__main__":
    main()
