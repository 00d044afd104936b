"""A scan of every image of a split: a hash of its pixels, its size, its contrast, and a small gray copy."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.files import replacing
from mien.images import Pixels, decode
from mien.parallel import ordered_map
from mien.progress import progress

SIDE = 48
# One row of a scan. The hash is empty where the image doesn't decode; then all else is 0.
ROW = np.dtype(
    [
        ("hash", "S32"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("deviation", "<f4"),
        ("gray", "u1", (SIDE, SIDE)),
    ]
)
Hashes = npt.NDArray[np.bytes_]
_CHUNK = 256
_CHUNK_BYTES = 2**20


def pixel_hashes(dataset: Dataset, split: str) -> Hashes:
    """A hash of the decoded pixels of each row of a split, as 32 hexadecimal digits; empty for what doesn't decode.

    Equal for equal pixels of equal size, in whatever file format, and comparable between data sets. A colour image
    whose channels are all alike counts as gray.
    """
    return np.ascontiguousarray(scan(dataset, split)["hash"])


def scan(dataset: Dataset, split: str) -> npt.NDArray[Any]:
    """The scan of a split, one `ROW` for each image, as a read-only memory map in the data set's order.

    `deviation` is the standard deviation of the gray levels, `gray` the image stretched to 48 × 48. The first call
    makes it, beside the data set; a data set of the same name with another fingerprint gets its own.
    """
    path = dataset.folder / "cache" / f"{split}-scan-{dataset.card.fingerprint[:16]}.npy"
    if not path.exists():
        with replacing(path) as temporary:
            rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=ROW, shape=(dataset.rows(split),))
            # A full disk raises an error here; while rows are written, it would end the process.
            with temporary.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
            _fill(rows, dataset, split)
            rows.flush()
            del rows
    return np.asarray(np.load(path, mmap_mode="r"))


def _fill(rows: npt.NDArray[Any], dataset: Dataset, split: str) -> None:
    start = 0
    with progress(f"decode {split}", len(rows)) as advance:
        for chunk in ordered_map(_look, _chunks(dataset.images(split))):
            rows[start : start + len(chunk)] = chunk
            start += len(chunk)
            advance(len(chunk))


def _chunks(files: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Lists of up to `_CHUNK` files, or of few when they are large: several lists are in memory at a time."""
    chunk: list[bytes] = []
    size = 0
    for data in files:
        chunk.append(data)
        size += len(data)
        if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _look(files: list[bytes]) -> npt.NDArray[Any]:
    rows = np.zeros(len(files), ROW)
    for row, data in zip(rows, files, strict=True):
        try:
            pixels = decode(data, "rgb")
        except MienError:
            continue
        if np.array_equal(pixels[:, :, 0], pixels[:, :, 1]) and np.array_equal(pixels[:, :, 0], pixels[:, :, 2]):
            pixels = pixels[:, :, :1]
        gray: Pixels = pixels[:, :, 0]
        if pixels.shape[2] == 3:
            gray = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        row["hash"] = _hash(pixels)
        row["height"], row["width"] = pixels.shape[:2]
        row["deviation"] = gray.std()
        row["gray"] = shrink(gray)
    return rows


def shrink(gray: Pixels) -> Pixels:
    """A gray image, uint8 (height, width), stretched to 48 × 48: by the mean of areas where that makes it smaller."""
    if gray.shape == (SIDE, SIDE):
        return gray
    smaller = min(gray.shape) >= SIDE
    stretched = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(stretched, dtype=np.uint8)


def _hash(pixels: Pixels) -> bytes:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest().encode()
