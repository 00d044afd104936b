"""The cache of a split's decoded pixels: all cores make it once, at one size and colour; readers memory-map it."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.files import replacing
from mien.images import Color, Pixels, decode
from mien.progress import progress

_CHUNK = 256


def pixels(dataset: Dataset, split: str, size: int, color: Color) -> npt.NDArray[np.uint8]:
    """A split's images as a read-only memory map, uint8 (rows, size, size, channels), in the data set's order.

    The first call makes it, beside the data set; a data set of the same name with another fingerprint gets its own.
    """
    return cached(dataset, split, str(size), size, color, lambda row, data: decode(data, color, size))


def cached(
    dataset: Dataset, split: str, name: str, size: int, color: Color, pixels_of: Callable[[int, bytes], Pixels]
) -> npt.NDArray[np.uint8]:
    """A memory map as `pixels` gives it, of what `pixels_of` makes of each row's number and file.

    `pixels_of` gives uint8 (size, size, channels). `name` tells this map from the others of the same split.
    """
    path = dataset.folder / "cache" / f"{split}-{name}-{color}-{dataset.card.fingerprint[:16]}.npy"
    if not path.exists():
        shape = (dataset.rows(split), size, size, 1 if color == "gray" else 3)
        with replacing(path) as temporary:
            # Mode "w+" truncates the file that mkstemp made, as it should here.
            decoded = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            # A full disk raises an error here; while pixels are written, it would end the process.
            with temporary.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
            _fill(decoded, dataset, split, f"decode {split} at {size} px", pixels_of)
            decoded.flush()
            del decoded
    return np.asarray(np.load(path, mmap_mode="r"))


def _fill(
    decoded: npt.NDArray[np.uint8], dataset: Dataset, split: str, what: str, pixels_of: Callable[[int, bytes], Pixels]
) -> None:
    def chunk(start: int, files: list[bytes]) -> int:
        for row, data in enumerate(files, start):
            try:
                decoded[row] = pixels_of(row, data)
            except MienError as error:
                raise MienError(f"data set '{dataset.card.name}', split '{split}', row {row}: {error}") from error
        return len(files)

    workers = os.cpu_count() or 1
    with (
        progress(what, len(decoded)) as advance,
        ThreadPoolExecutor(workers) as pool,
    ):
        chunks = _chunks(dataset.images(split))
        # A few chunks at a time, so that the files of a large split are never all in memory.
        while wave := list(islice(chunks, 2 * workers)):
            for done in pool.map(chunk, *zip(*wave, strict=True)):
                advance(done)


def _chunks(files: Iterator[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    start = 0
    while chunk := list(islice(files, _CHUNK)):
        yield start, chunk
        start += len(chunk)
