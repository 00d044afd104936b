"""Where the 68 points stand in a face detector's box, and how often the face is found.

    python benchmarks/detectors.py helen_68pt.parquet --yunet face_detection_yunet_2023mar.onnx

The file holds HELEN's photos with iBUG's points; only `helen_train` is read. The medians are the constants of
mien/faces/detector.py. The square is what a landmark model would be given with these constants, beside the one that
the true points give: how far its middle is off, in sides of the latter, and how their sides compare.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mien.faces.detector import Detector, Face, open_detector
from mien.faces.ibug import POINTS
from mien.faces.squares import WIDEN
from mien.images import Pixels, decode
from mien.intervals import wilson, with_interval

Points = npt.NDArray[np.float32]
SUBSET = "helen_train"


def read(file: Path) -> tuple[list[Pixels], Points]:
    """The photos, and their points as (n, 68, 2) pixel centres from 0."""
    table = pq.read_table(file, columns=["subset", "image", "landmarks"]).to_pylist()
    rows = [row for row in table if row["subset"] == SUBSET]
    points = np.array([row["landmarks"] for row in rows], np.float32).reshape(-1, POINTS, 2)
    return [decode(row["image"], "rgb") for row in rows], points


def measure(detector: Detector, images: list[Pixels], points: Points) -> dict[str, Any]:
    """What a detector finds: n, found, others, and for each found face where the points' box and the square are."""
    fits, squares, scores, others = [], [], [], 0
    for image, own in zip(images, points, strict=True):
        # Pixel centres from 0 lie half a pixel into their pixels.
        low, high = own.min(axis=0) + 0.5, own.max(axis=0) + 0.5
        middle, side = (low + high) / 2, float((high - low).max())
        found = detector.faces(image)
        mine = [face for face in found if matches(face, middle, side)]
        others += len(found) - len(mine[:1])
        if mine:
            best = max(mine, key=lambda face: face.score or 0.0)
            box, square = best.box, best.square
            off = middle - (box.left + box.width / 2, box.top + box.height / 2)
            fits.append((side / box.side, *(off / box.side)))
            there = np.array([square.left, square.top]) + square.side / 2
            wanted = WIDEN * side
            inside = (own + 0.5 >= (square.left, square.top)) & (own + 0.5 <= np.array(square[:2]) + square.side)
            squares.append((square.side / wanted, *np.abs(there - middle) / wanted, inside.all(axis=1).mean()))
            scores.append(best.score or 0.0)
    return {
        "digest": detector.digest,
        "n": len(images),
        "found": len(fits),
        "others": others,
        "fits": np.array(fits),
        "squares": np.array(squares),
        "scores": np.array(scores),
    }


def matches(face: Face, middle: Points, side: float) -> bool:
    """Whether a found face is the one with the points: about there, and about as large."""
    there = np.array([face.box.left + face.box.width / 2, face.box.top + face.box.height / 2])
    return bool((np.abs(there - middle) < 0.3 * side).all() and 0.5 < face.box.side / side < 2)


def show(name: str, found: dict[str, Any]) -> None:
    """Print what was measured."""
    n, hits = found["n"], found["found"]
    share = with_interval(hits / n, wilson(hits, n))
    print(f"{name} ({found['digest'][:8]}) on {SUBSET}: {hits} of {n} faces found, {share}")
    print(f"  boxes elsewhere (other people or mistakes): {found['others']} in {n} photos")
    print("  score, 1 %, 5 %, median: {:.2f} {:.2f} {:.2f}".format(*np.percentile(found["scores"], (1, 5, 50))))
    for key, values in zip(("scale", "right", "down"), found["fits"].T, strict=True):
        few, median, many = np.percentile(values, (5, 50, 95))
        print(f"  {key}: median {median:.3f}, 5 % to 95 % [{few:.3f}, {many:.3f}] of the box's side")
    for key, values in zip(("side", "right", "down"), found["squares"].T, strict=False):
        few, median, many = np.percentile(values, (5, 50, 95))
        what = "square's side" if key == "side" else f"square's middle off, {key}"
        print(f"  {what}: median {median:.3f}, 5 % to 95 % [{few:.3f}, {many:.3f}] of the true square's")
    print(f"  points inside the square: {found['squares'][:, 3].mean():.4f}")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="helen_68pt.parquet")
    parser.add_argument("--yunet", help="YuNet's weights; without them only the cascade is measured")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    images, points = read(given.file)
    for name in ([given.yunet] if given.yunet else []) + ["cascade"]:
        detector = open_detector(name)
        show(detector.name, measure(detector, images, points))


if __name__ == "__main__":
    main()
