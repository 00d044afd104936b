"""Many faces in a row, drawn on all cores."""

import os
from collections.abc import Iterator
from typing import Literal

import cv2
from joblib import Parallel, delayed

from mien.data.synthetic.anatomy import Array
from mien.data.synthetic.drawing import Image, draw
from mien.data.synthetic.parameters import sample

_CHUNK = 64  # faces that a process draws at a time
_ALONE = 512  # for fewer faces, starting processes costs more than it saves

Color = Literal["gray", "rgb"]
Drawn = tuple[Image, int, Array]


def faces(
    n: int, *, size: int = 48, color: Color = "gray", seed: int = 0, start: int = 0, workers: int | None = None
) -> Iterator[Drawn]:
    """Faces `start` … `start + n - 1` of a seed, in order: image, label (index into CLASSES), landmarks; see `draw`.

    A face depends on its seed and index alone, not on `n`, `start` or `workers`. `workers` is the number of processes;
    None takes one per core if there are faces enough. (Drawing is mostly Python, so threads would wait for each other.)

    >>> image, label, landmarks = next(faces(1, seed=3))
    >>> image.shape, label, landmarks.shape
    ((48, 48), 4, (68, 2))
    """
    stop = start + n
    if workers is None:
        workers = max(1, min(os.cpu_count() or 1, n // _ALONE))
    if workers == 1:
        for index in range(start, stop):
            yield _face(seed, index, size, color)
        return
    chunks = (
        delayed(_faces)(seed, first, min(first + _CHUNK, stop), size, color) for first in range(start, stop, _CHUNK)
    )
    for chunk in Parallel(workers, return_as="generator", pre_dispatch=2 * workers)(chunks):
        yield from chunk


def _face(seed: int, index: int, size: int, color: Color) -> Drawn:
    face = sample(seed, index)
    image, landmarks = draw(face, size, color)
    return image, face.expression, landmarks


def _faces(seed: int, start: int, stop: int, size: int, color: Color) -> list[Drawn]:
    cv2.setNumThreads(1)  # the other processes have the other cores
    return [_face(seed, index, size, color) for index in range(start, stop)]
