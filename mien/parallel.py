"""Work on a stream by all cores, in order and by the chunk, without holding the stream in memory."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

THREADS = min(8, os.cpu_count() or 1)


# Bytes of items that are taken ahead of the consumer, unless a single one is larger.
_AHEAD = 64 * 2**20


def ordered_map(
    work: Callable[[A], B],
    items: Iterable[A],
    size: Callable[[A], int] = lambda item: 0,
    *,
    threads: int = THREADS,
    ahead: int = 8 * THREADS,
) -> Generator[B]:
    """`map(work, items)` by threads, in order; at most `ahead` items are taken before the consumer asks.

    `size` gives the bytes of an item, of which only so many are taken ahead.

    >>> list(ordered_map(abs, [-2, 1, -3]))
    [2, 1, 3]
    """
    waiting: deque[tuple[Future[B], int]] = deque()
    taken = 0
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((pool.submit(work, item), size(item)))
                taken += waiting[-1][1]
                while len(waiting) > ahead or (taken > _AHEAD and waiting):
                    future, freed = waiting.popleft()
                    yield future.result()
                    taken -= freed
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()


def chunks(items: Iterable[A], most: int, size: Callable[[A], int], most_size: int) -> Iterator[list[A]]:
    """Lists of up to `most` items, or of fewer once their sizes add up to `most_size`.

    >>> list(chunks(["a", "b", "c", "long", "d"], most=2, size=len, most_size=4))
    [['a', 'b'], ['c', 'long'], ['d']]
    """
    chunk: list[A] = []
    total = 0
    for item in items:
        chunk.append(item)
        total += size(item)
        if len(chunk) == most or total >= most_size:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk
