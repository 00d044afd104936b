"""YuNet's weights: kept in the user's cache, fetched once from OpenCV's model zoo. MIT, no part of mien."""

import hashlib
from pathlib import Path

from mien.downloads import cache_folder, download

ADDRESS = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
DIGEST = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
BYTES = 232_589
# A photo doesn't wait longer than that for a network that swallows packets.
_TIMEOUT = 10


def path() -> Path:
    """Where the weights are kept once they are fetched."""
    return cache_folder() / ADDRESS.rpartition("/")[2]


def is_stored() -> bool:
    """Whether they are there, and are those that were promised."""
    file = path()
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == DIGEST


def fetch() -> bool:
    """Fetch the weights unless they are there; says whether it did. Raises FailedError where that fails."""
    if is_stored():
        return False
    download(ADDRESS, path(), DIGEST, "YuNet", timeout=_TIMEOUT)
    return True
