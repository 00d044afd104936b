"""The cache of a split's decoded pixels: all cores make it once, at one size and colour; readers memory-map it."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.files import replacing, sweep
from mien.images import Color, Pixels, decode
from mien.parallel import chunks, ordered_map
from mien.progress import progress

_CHUNK = 256
_CHUNK_BYTES = 2**20
# What a machine surely keeps in memory once it is read; FER2013 at 48 px has 83 MB.
_KEPT = 2**30

# A map's number, and places in it.
Ask = Callable[[int, npt.NDArray[np.int64]], None]


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
    shape = (size, size, 1 if color == "gray" else 3)
    what = f"decode {split} at {size} px"
    return stored_rows(dataset, split, f"{name}-{color}", what, np.dtype(np.uint8), shape, pixels_of)


def stored_rows(
    dataset: Dataset,
    split: str,
    name: str,
    what: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    make: Callable[[int, bytes], npt.NDArray[Any]],
) -> npt.NDArray[Any]:
    """A read-only memory map (rows, *shape) of what `make` gives for each row's number and file.

    The first call makes it, by all cores, beside the data set; `what` is said of that work.
    """
    path = dataset.folder / "cache" / f"{split}-{name}-{dataset.card.fingerprint[:16]}.npy"
    wanted = (dataset.rows(split), *shape)
    sweep(path.parent)  # Where the map is whole, nothing is written that would do it.
    if not _is_whole(path, dtype, wanted):
        with replacing(path) as temporary:
            # Mode "w+" truncates the file that mkstemp made, as it should here.
            rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=wanted)
            # A full disk raises an error here; while rows are written, it would end the process.
            with temporary.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
            _fill(rows, dataset, split, what, make)
            rows.flush()
            del rows
    return np.asarray(np.load(path, mmap_mode="r"))


@contextlib.contextmanager
def asked_ahead(maps: Sequence[npt.NDArray[Any]]) -> Iterator[Ask]:
    """What asks the system for rows of memory maps before they are read: the disk then brings many at once.

    Read in random order, rows that aren't in memory come one after the other otherwise, each with a stretch of the file
    that nobody wants. Maps of at most a gigabyte are left to the system.
    """
    with contextlib.ExitStack() as stack:
        files = {}
        for number, rows in enumerate(maps):
            if rows.nbytes > _KEPT and isinstance(whole := rows.base, np.memmap) and whole.filename is not None:
                file = stack.enter_context(Path(whole.filename).open("rb"))
                files[number] = (file.fileno(), whole.offset, rows.strides[0])

        def ask(number: int, places: npt.NDArray[np.int64]) -> None:
            if number in files:
                file, start, size = files[number]
                for place in places.tolist():
                    os.posix_fadvise(file, start + place * size, size, os.POSIX_FADV_WILLNEED)

        yield ask


def _is_whole(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether a cache is there, of that type and shape; a damaged one is made anew."""
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return False
            found, fortran, kind = np.lib.format.read_array_header_1_0(file)
            whole = file.tell() + math.prod(shape) * dtype.itemsize
            return (found, fortran, kind) == (shape, False, dtype) and path.stat().st_size == whole
    except (OSError, ValueError):
        return False


def _fill(
    rows: npt.NDArray[Any], dataset: Dataset, split: str, what: str, make: Callable[[int, bytes], npt.NDArray[Any]]
) -> None:
    def fill(chunk: list[tuple[int, bytes]]) -> int:
        for row, data in chunk:
            try:
                rows[row] = make(row, data)
            except MienError as error:
                raise MienError(f"data set '{dataset.card.name}', split '{split}', row {row}: {error}") from error
        return len(chunk)

    files = chunks(enumerate(dataset.images(split)), _CHUNK, lambda file: len(file[1]), _CHUNK_BYTES)
    with progress(what, len(rows)) as advance:
        for done in ordered_map(fill, files, lambda chunk: sum(len(file) for _, file in chunk)):
            advance(done)
