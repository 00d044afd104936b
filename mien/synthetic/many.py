"""Many faces in a row, drawn on all cores."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Literal

import cv2
import numpy as np

from mien.errors import FailedError
from mien.synthetic.anatomy import Array
from mien.synthetic.drawing import Image, draw
from mien.synthetic.parameters import sample

_CHUNK = 32  # faces that a process draws before it is the next one's turn
_ALONE = 512  # for fewer faces than these a process is not worth its start

Color = Literal["gray", "rgb"]


def faces(
    n: int, *, size: int = 48, color: Color = "gray", seed: int = 0, start: int = 0, workers: int | None = None
) -> Iterator[tuple[Image, int, Array]]:
    """Faces `start` … `start + n - 1` of a seed, in order: image, label (index into CLASSES), landmarks; see `draw`.

    A face depends on its seed and index alone, not on `n`, `start` or `workers`: how many processes draw, None for as
    many as there are cores and enough faces for. (Most of a drawing is Python, so threads would wait for each other.)
    Raises FailedError when such a process dies; all end with the iterator.

    >>> image, label, landmarks = next(faces(1, seed=3))
    >>> image.shape, label, landmarks.shape
    ((48, 48), 3, (68, 2))
    """
    if workers is None:
        workers = min(os.cpu_count() or 1, n // _ALONE)
    if workers < 2:
        for index in range(start, start + n):
            face = sample(seed, index)
            image, landmarks = draw(face, size, color)
            yield image, face.expression, landmarks
        return
    record = _record(size, color)
    with ExitStack() as stack:
        # One reader for each process; left in the other order: first the processes end, then what reads from them.
        readers = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(workers)]
        pipes = []
        for k in range(workers):
            task = (seed, start + k * _CHUNK, start + n, workers * _CHUNK, size, color)
            process = subprocess.Popen(
                [sys.executable, "-c", "from mien.synthetic.many import work; work()", *map(str, task)],
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            pipes.append(process.stdout)
        ahead: deque[tuple[int, Future[bytes]]] = deque()

        def drawn() -> Iterator[tuple[Image, int, Array]]:
            count, chunk = ahead.popleft()
            rows = np.frombuffer(chunk.result(), record)
            if len(rows) < count:
                raise FailedError("a process that draws faces ended early")
            for row in rows:
                yield row["image"].copy(), int(row["label"]), row["landmarks"].copy()

        for turn, first in enumerate(range(0, n, _CHUNK)):
            count = min(_CHUNK, n - first)
            k = turn % workers
            ahead.append((count, readers[k].submit(pipes[k].read, count * record.itemsize)))
            if len(ahead) == 2 * workers:
                yield from drawn()
        while ahead:
            yield from drawn()


def _record(size: int, color: str) -> np.dtype[Any]:
    """How a face travels from one process to the other."""
    shape = (size, size) if color == "gray" else (size, size, 3)
    return np.dtype([("landmarks", np.float32, (68, 2)), ("image", np.uint8, shape), ("label", np.uint8)], align=True)


def work() -> None:
    """Draw every other chunk of faces, as the command line says, and write them to standard output."""
    seed, start, stop, step, size = map(int, sys.argv[1:6])
    color: Color = "gray" if sys.argv[6] == "gray" else "rgb"
    cv2.setNumThreads(1)  # the other processes have the other cores
    for first in range(start, stop, step):
        rows = np.zeros(min(_CHUNK, stop - first), _record(size, color))
        for k, row in enumerate(rows):
            face = sample(seed, first + k)
            row["image"], row["landmarks"] = draw(face, size, color)
            row["label"] = face.expression
        sys.stdout.buffer.write(rows.tobytes())
        sys.stdout.buffer.flush()
