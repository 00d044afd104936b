"""Near copies: the same picture after JPEG, with other brightness or contrast, shifted, mirrored or resized.

Every image is 48 × 48 gray here. The search compares the descriptors of all images with each other, and then checks
each candidate pair pixel by pixel. `docs/audit.md` says what that finds, and how often it is wrong.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mien.audit.scan import SIDE
from mien.parallel import ordered_map

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Gray = npt.NDArray[np.uint8]

# Two images are candidates if their descriptors correlate by `CANDIDATE` or more, and near copies if their details
# correlate by `NEAR` or more. `benchmarks/audit.py` measures what these choices find and where they are wrong.
CANDIDATE = 0.75
NEAR = 0.86

# Faces cut and lit alike resemble each other without being copies. So the details of `_DRAWN` pairs, drawn from a set
# of `_FEW` pictures or more, are compared first. By Fisher's z, whose upper half is taken for a normal one, `NEAR`
# should lie `_USUAL` standard deviations above the median or more. Where it doesn't, the details of one of the bands
# `_NARROW` must correlate as well, by `_OUTSTANDING`. Quartiles don't mind that some pairs are copies.
_FEW, _DRAWN = 100, 2000
_USUAL, _OUTSTANDING = 6.0, 6.5

# Copies with a logo or a covered corner differ in one place. They correlate by `LOCAL` or more where the pixels of the
# largest differences, as far around as `_AROUND`, are left out, and by `_WITH_ALL` or more with these.
LOCAL = 0.99
_LEFT_OUT, _AROUND = 0.15, 2.0
_WITH_ALL = 0.7

# The descriptor: cosines with 2 to 15 half waves in both directions together, weighted by their frequency, since the
# large areas of light and dark are alike in all faces. The window keeps what a shift brings in from counting.
_FREQUENCIES = 16
_LOWEST = 2
_TAPER = 8
# A shift by up to 2 pixels is at most 1 away from one of these, in each direction.
_SHIFTS = ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))

# The details: what a blur by 1 pixel leaves and one by 4 takes away, compared at all shifts of up to 3 pixels.
_FINE, _COARSE = 1.0, 4.0
_DETAILS = (_FINE, _COARSE)
# Narrower bands, in which persons differ more: the first survives shifts, the second what takes the finest grain away.
_NARROW = ((1.0, 2.5), (1.5, 3.0))
_REACH = 3
# Details whose gray levels vary by less than this are noise.
_FLAT = 0.5

# Where a picture and its mirror image are similar to within this, both are checked.
_UNSURE = 0.1

# A row that is like very many others is checked against only this many, the most similar.
_MOST = 100
# Blocks that stay in a core's cache.
_ROWS, _COLUMNS = 256, 2048


class Pairs(NamedTuple):
    """Pairs of near copies, each (m,): `first` < `second` (rows), correlation of details, whether one is mirrored."""

    first: Indices
    second: Indices
    similarity: Floats
    mirrored: npt.NDArray[np.bool_]


def near_pairs(gray: Gray, advance: Callable[[int], None] = lambda rows: None) -> Pairs:
    """All pairs of near copies among images uint8 (n, 48, 48), each once, in ascending order.

    Images without detail are like none; of many that are alike anyhow, copies must be the likelier: see `enough`.
    `advance` is called with the number of rows just compared with all others. Time grows with n², memory with n (half a
    KB a row).

    >>> image = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    >>> near_pairs(np.stack([image, image.T, image[:, ::-1] // 2 + 9])).second
    array([2])
    """
    bases, _ = _bases()
    described = np.empty((len(gray), bases[0].shape[1]), np.float32)
    blocks = range(0, len(gray), _ROWS)
    for at in blocks:
        described[at : at + _ROWS] = _described(gray[at : at + _ROWS], bases[0])
    none = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.bool_))
    parts, narrow = [none], enough(gray)
    # Each core works on a block of its own; matrix products that use several cores too would wait for each other.
    with threadpool_limits(1):
        for start, pairs in zip(blocks, ordered_map(partial(_block, gray, described, narrow), blocks), strict=True):
            parts.append(pairs)
            advance(min(_ROWS, len(gray) - start))
    first, second, similarity, mirrored = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], similarity[order], mirrored[order])


def enough(gray: Gray) -> tuple[float, ...] | None:
    """By how much the details of two images must correlate to be copies in each of the bands `_NARROW`.

    None where that is no matter: where a set's images aren't alike anyhow, as pairs say that a fixed seed draws.
    """
    if len(gray) < _FEW:
        return None
    random = np.random.default_rng(0)
    first = random.integers(0, len(gray), _DRAWN)
    second = (first + random.integers(1, len(gray), _DRAWN)) % len(gray)

    def outstanding(band: tuple[float, float], by: float) -> float:
        found = [
            _either_way(details(gray[i], band), details(gray[j], band)) for i, j in zip(first, second, strict=True)
        ]
        middle, upper = np.arctanh(np.minimum(np.quantile(found, [0.5, 0.75]), 0.999))
        return min(float(np.tanh(middle + by * (upper - middle) / norm.ppf(0.75))), LOCAL)

    if outstanding(_DETAILS, _USUAL) <= NEAR:
        return None
    return tuple(outstanding(band, _OUTSTANDING) for band in _NARROW)


def _either_way(a: Floats, b: Floats) -> float:
    return max(likeness(a, b), likeness(np.ascontiguousarray(a[:, ::-1]), b))


def _block(gray: Gray, described: Floats, narrow: tuple[float, ...] | None, start: int) -> Pairs:
    """The near copies of a block of rows among itself and all later rows."""
    block = gray[start : start + _ROWS]
    bases, even = _bases()
    queries = [_described(block, basis) for basis in bases]
    best = _Best(len(block))
    for column in range(start, len(gray), _COLUMNS):
        others = described[column : column + _COLUMNS]
        likest = np.full((len(block), len(others)), -1, np.float32)
        for query in queries:
            # A mirror turns the sign of odd cosines: the larger of even + odd and even − odd is even + |odd|.
            odd = query[:, even:] @ others[:, even:].T
            np.abs(odd, out=odd)
            odd += query[:, :even] @ others[:, :even].T
            np.maximum(likest, odd, out=likest)
        rows, columns = np.nonzero(likest > CANDIDATE)
        later = columns + column > rows + start
        rows, columns = rows[later], columns[later]
        best.add(rows, columns + column, likest[rows, columns])
    return _verified(gray, best.rows + start, best.others, _lean(queries, described, best), narrow)


def _lean(queries: list[Floats], described: Floats, best: "_Best") -> Floats:
    """For each candidate, the similarity of the descriptors upright minus that mirrored, −2 … 2."""
    _, even = _bases()
    upright = np.full(len(best.rows), -1, np.float32)
    mirror = upright.copy()
    for query in queries:
        product = query[best.rows] * described[best.others]
        same, turned = product[:, :even].sum(axis=1), product[:, even:].sum(axis=1)
        np.maximum(upright, same + turned, out=upright)
        np.maximum(mirror, same - turned, out=mirror)
    return np.asarray(upright - mirror)


class _Best:
    """The most similar other rows of each row of a block."""

    def __init__(self, rows: int) -> None:
        self._block = rows
        self.rows = np.empty(0, np.int64)
        self.others = np.empty(0, np.int64)
        self._likeness = np.empty(0, np.float32)

    def add(self, rows: Indices, others: Indices, likeness: Floats) -> None:
        """Add candidates, and keep at most `_MOST` for each row."""
        rows = np.concatenate([self.rows, rows])
        others = np.concatenate([self.others, others])
        likeness = np.concatenate([self._likeness, likeness])
        order = np.lexsort((-likeness, rows))
        starts = np.searchsorted(rows[order], np.arange(self._block))
        rank = np.arange(len(rows)) - starts[rows[order]]
        kept = order[rank < _MOST]
        self.rows, self.others, self._likeness = rows[kept], others[kept], likeness[kept]


def _verified(gray: Gray, first: Indices, second: Indices, lean: Floats, narrow: tuple[float, ...] | None) -> Pairs:
    """The candidates whose details correlate, or do but for one place; `first` is ascending.

    Where `narrow` is given, those of one of the bands `_NARROW` must correlate by more than this.
    """
    similarity = np.zeros(len(first), np.float32)
    mirrored = np.zeros(len(first), np.bool_)
    known = -1
    for number, (i, j) in enumerate(zip(first, second, strict=True)):
        if i != known:
            plain = details(gray[i])
            flipped = np.ascontiguousarray(plain[:, ::-1])
            known = i
        other = details(gray[j])
        upright = likeness(plain, other) if lean[number] > -_UNSURE else 0.0
        mirror = likeness(flipped, other) if lean[number] < _UNSURE else 0.0
        found = max(upright, mirror)
        mirrored[number] = mirror > upright
        if found <= _WITH_ALL:
            continue
        if narrow is not None:
            image = np.ascontiguousarray(gray[i][:, ::-1]) if mirrored[number] else gray[i]
            pairs = [(details(image, band), details(gray[j], band)) for band in _NARROW]
            stands_out = any(likeness(*pair) > least for pair, least in zip(pairs, narrow, strict=True))
            found = found if stands_out else 0.0
            elsewhere = likeness_elsewhere(*pairs[0]) if found <= NEAR else 0.0
        else:
            elsewhere = likeness_elsewhere(flipped if mirrored[number] else plain, other) if found <= NEAR else 0.0
        found = elsewhere if elsewhere > LOCAL else found
        similarity[number] = found
    near = similarity > NEAR
    return Pairs(first[near], second[near], similarity[near], mirrored[near])


def details(image: Gray, band: tuple[float, float] = _DETAILS) -> Floats:
    """What a blur by the first of `band`, in pixels, leaves of an image and one by the second doesn't, (48, 48)."""
    pixels = image.astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(pixels, (0, 0), by) for by in band)
    return np.asarray(fine - coarse)


def likeness(a: Floats, b: Floats) -> float:
    """The highest correlation of two images' details over shifts of up to 3 pixels, −1 … 1; 0 where one is flat."""
    inner = a[_REACH:-_REACH, _REACH:-_REACH]
    # OpenCV's deviation takes a tenth of the time of numpy's.
    if min(cv2.meanStdDev(part)[1][0, 0] for part in (inner, b[_REACH:-_REACH, _REACH:-_REACH])) < _FLAT:
        return 0.0
    return float(cv2.matchTemplate(b, inner, cv2.TM_CCOEFF_NORMED).max())


def likeness_elsewhere(a: Floats, b: Floats) -> float:
    """The correlation of two images' details at their likest shift, −1 … 1, without where they differ most."""
    inner = a[_REACH:-_REACH, _REACH:-_REACH]
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(b, inner, cv2.TM_CCOEFF_NORMED))
    one, other = _standard(inner), _standard(b[y : y + inner.shape[0], x : x + inner.shape[1]])
    apart = cv2.GaussianBlur((one - other) ** 2, (0, 0), _AROUND)
    left = apart <= np.quantile(apart, 1 - _LEFT_OUT)
    return float((_standard(one[left]) * _standard(other[left])).mean())


def _standard(values: Floats) -> Floats:
    """Values with a mean of 0 and a standard deviation of 1."""
    return np.asarray((values - values.mean()) / max(float(values.std()), _FLAT), np.float32)


def _described(gray: Gray, basis: Floats) -> Floats:
    """Descriptors of images, float32 (n, d) of length 1, or 0 where there is nothing to describe."""
    descriptors = gray.reshape(len(gray), -1).astype(np.float32) @ basis
    length = np.linalg.norm(descriptors, axis=1, keepdims=True)
    return np.asarray(descriptors / np.maximum(length, 1e-3))


@cache
def _bases() -> tuple[list[Floats], int]:
    """What pixels are multiplied by to describe an image and its four shifts, (2304, d) each; how many are even.

    Columns are windowed cosines from which the window's mean is taken, those even in x first.
    """
    place = (np.arange(SIDE) + 0.5) / SIDE
    waves = np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * place)
    ramp = np.sin(np.pi / 2 * np.minimum(1, np.minimum(place, 1 - place) * SIDE / _TAPER)) ** 2
    window = np.outer(ramp, ramp)
    chosen = [
        (v, u)
        for odd in (0, 1)
        for v in range(_FREQUENCIES)
        for u in range(odd, _FREQUENCIES, 2)
        if _LOWEST <= u + v < _FREQUENCIES
    ]
    columns = []
    for v, u in chosen:
        # The first cosine of each direction has twice the others' square.
        scale = (1 + np.hypot(u, v)) / np.sqrt((1 + (u == 0)) * (1 + (v == 0)))
        wave = window * np.outer(waves[v], waves[u]) * scale
        columns.append(wave - window * wave.sum() / window.sum())
    basis = np.stack(columns, axis=2)
    even = sum(u % 2 == 0 for _, u in chosen)
    # Nearly nothing stands at the border, so it does no harm that it comes round at the other side.
    return [np.roll(basis, shift, (0, 1)).reshape(SIDE * SIDE, -1).astype(np.float32) for shift in _SHIFTS], even
