"""A scan of every image of a split: a hash of its pixels, its size, its contrast, and a small gray copy."""

import hashlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.data.cache import stored_rows
from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.images import Pixels, decode

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
    return stored_rows(dataset, split, "scan", f"decode {split}", ROW, (), _look)


def _look(number: int, data: bytes) -> npt.NDArray[Any]:
    row = np.zeros((), ROW)
    try:
        pixels = decode(data, "rgb")
    except MienError:
        return row
    if np.array_equal(pixels[:, :, 0], pixels[:, :, 1]) and np.array_equal(pixels[:, :, 0], pixels[:, :, 2]):
        pixels = pixels[:, :, :1]
    gray: Pixels = pixels[:, :, 0]
    if pixels.shape[2] == 3:
        gray = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    row["hash"] = _hash(pixels)
    row["height"], row["width"] = pixels.shape[:2]
    row["deviation"] = gray.std()
    row["gray"] = shrink(gray)
    return row


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
