"""Drawn faces with known expression and landmarks: the data of the demo and the tests."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from mien.synthetic.anatomy import Array
from mien.synthetic.drawing import Image, draw
from mien.synthetic.parameters import CLASSES, Face, sample

__all__ = ["CLASSES", "Face", "draw", "faces", "sample"]

_CHUNK = 32  # faces that a thread draws in one go

Drawn = tuple[Image, int, Array]


def faces(
    n: int,
    *,
    size: int = 48,
    color: Literal["gray", "rgb"] = "gray",
    seed: int = 0,
    start: int = 0,
    threads: int | None = None,
) -> Iterator[Drawn]:
    """Faces `start` … `start + n - 1` of a seed, in order: image, label (index into CLASSES), landmarks; see `draw`.

    A face depends on its seed and index alone, not on `n`, `start` or the number of threads (all cores if None).

    >>> image, label, landmarks = next(faces(1, seed=3))
    >>> image.shape, CLASSES[label], landmarks.shape
    ((48, 48), 'happy', (68, 2))
    """

    def chunk(first: int) -> list[Drawn]:
        drawn = []
        for index in range(first, min(first + _CHUNK, start + n)):
            face = sample(seed, index)
            drawn.append((*draw(face, size, color), face.expression))
        return [(image, label, points) for image, points, label in drawn]

    workers = threads or len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(workers)
    try:
        ahead = deque(
            pool.submit(chunk, first) for first in range(start, min(start + 2 * workers * _CHUNK, start + n), _CHUNK)
        )
        following = start + len(ahead) * _CHUNK
        while ahead:
            yield from ahead.popleft().result()
            if following < start + n:
                ahead.append(pool.submit(chunk, following))
                following += _CHUNK
    finally:
        pool.shutdown(cancel_futures=True)
