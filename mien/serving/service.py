"""What all routes share: the threads, the limits and the counts."""

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import cv2

from mien.errors import MienError
from mien.serving.body import Bodies
from mien.serving.metrics import Metrics
from mien.serving.pool import FullError, Pool
from mien.serving.refusals import FULL, TOO_LATE, TOO_SLOW, RefusedError, status_of
from mien.serving.session import Session, models, open_session
from mien.serving.settings import Settings

T = TypeVar("T")


class Service:
    """A server's threads with their models, its limits and its counts; raises MienError for models that aren't there.

    >>> service = Service(Settings(detector="none"))
    >>> service.pool.submit(lambda session: list(session.models)).result()
    ['mien-m']
    >>> service.pool.close()
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.limits = settings, settings.limits
        self.pool: Pool[Session] = Pool(lambda: open_session(settings), settings.sessions, settings.queue)
        self.models = models(self.pool.first).model_copy(update={"workspace": settings.show_workspace})
        self.bodies, self.metrics = Bodies(settings.limits), Metrics()
        self.metrics.capacity.set(settings.queue)
        self.metrics.waiting.set_function(lambda: self.pool.waiting)
        self.stopping = False
        self.films = 0  # that are told now
        # It tells of bytes that came.
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        # Each session is a thread already, so those of the libraries would only be in the way.
        cv2.setNumThreads(settings.threads)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(settings.threads)

    @property
    def is_ready(self) -> bool:
        """Whether a request would be taken."""
        return not self.stopping and self.pool.is_ready

    def deadline(self) -> float:
        """When a request that begins now is to be answered, by the event loop's clock."""
        return asyncio.get_running_loop().time() + self.limits.seconds

    async def within(self, deadline: float, work: Callable[[], Any]) -> Any:
        """What is awaited of a client until the deadline; raises RefusedError, 408, after it."""
        try:
            async with asyncio.timeout_at(deadline):
                return await work()
        except TimeoutError as error:
            late = MienError("the body took too long to come", expected=self._seconds())
            raise RefusedError(TOO_SLOW, late, {"Connection": "close"}) from error

    async def done(self, job: Callable[[Session], T], deadline: float) -> T:
        """A job's result; raises RefusedError: 503 where the queue is full, 504 after the deadline."""
        try:
            future = self.pool.submit(job)
        except FullError as error:
            raise self.full() from error
        try:
            async with asyncio.timeout_at(deadline):
                # What is cancelled before its turn is skipped.
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            late = MienError("there was no time to answer", expected=self._seconds())
            raise RefusedError(TOO_LATE, late) from error
        except MienError as error:
            raise RefusedError(status_of(error), error) from error

    def full(self) -> RefusedError:
        """The answer where the queue is full."""
        error = MienError("the server is busy", expected="the request to be sent again later")
        return RefusedError(FULL, error, {"Retry-After": str(self.pool.retry_after)})

    def count(self, images: int, faces: int) -> None:
        """Count what was told."""
        self.metrics.images.inc(images)
        self.metrics.faces.inc(faces)

    def close(self) -> None:
        """Do what waits, and end the threads."""
        if not self.stopping:
            self.stopping = True
            self.pool.close()

    def _seconds(self) -> str:
        return f"at most {self.limits.seconds:g} seconds"
