"""One bounded queue, emptied by threads that have a session each."""

import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

# The weight of the latest job in the mean time of a job.
_LATEST = 0.1


class FullError(Exception):
    """The queue has no room."""


class Pool(Generic[S]):
    """Threads that do jobs with a session of their own each, the one that has waited longest first.

    `open_session` is called once for each of `sessions` threads, before the first job; what it raises is raised here.
    At most `waiting` jobs wait. A job whose future is cancelled before its turn is skipped.
    """

    def __init__(self, open_session: Callable[[], S], sessions: int, waiting: int) -> None:
        self.capacity = waiting
        self._jobs: queue.Queue[tuple[Future[Any], Callable[[S], Any]] | None] = queue.Queue(waiting)
        self._seconds = 0.0
        opened = [open_session() for _ in range(sessions)]
        self.first = opened[0]
        self._threads = [threading.Thread(target=self._work, args=[one], daemon=True) for one in opened]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return self._jobs.qsize()

    @property
    def is_ready(self) -> bool:
        """Whether all threads are there, and a job would be taken."""
        return all(thread.is_alive() for thread in self._threads) and not self._jobs.full()

    @property
    def retry_after(self) -> int:
        """In how many seconds the jobs that wait will be done, as far as those before tell; at least 1."""
        return max(1, math.ceil(self.waiting * self._seconds / len(self._threads)))

    def submit(self, job: Callable[[S], T], patience: float | None = None) -> "Future[T]":
        """Have a job done; raises FullError where there is no room, or for `patience` seconds none."""
        future: Future[T] = Future()
        try:
            self._jobs.put((future, job), block=patience is not None, timeout=patience)
        except queue.Full as error:
            raise FullError from error
        return future

    def close(self) -> None:
        """Do the jobs that wait, and end."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, session: S) -> None:
        while (taken := self._jobs.get()) is not None:
            future, job = taken
            if not future.set_running_or_notify_cancel():
                continue
            began = time.monotonic()
            try:
                result = job(session)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            lasted = time.monotonic() - began
            self._seconds += _LATEST * (lasted - self._seconds)
