"""What is counted, as Prometheus reads it: requests, errors, time, the queue, images and faces."""

import os
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counts of one server; several processes of it count together."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "mien_requests", "Requests that were answered.", ["path", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "mien_request_seconds",
            "From a request's first byte to its answer's last.",
            ["path"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.under_way = Gauge(
            "mien_requests_under_way", "Requests under way.", registry=registry, multiprocess_mode="livesum"
        )
        self.waiting = Gauge(
            "mien_queue_waiting", "Jobs that wait for a thread.", registry=registry, multiprocess_mode="livesum"
        )
        self.capacity = Gauge(
            "mien_queue_capacity", "Jobs that may wait.", registry=registry, multiprocess_mode="livesum"
        )
        self.images = Counter("mien_images", "Images and frames that were told.", registry=registry)
        self.faces = Counter("mien_faces", "Faces that were told.", registry=registry)
        self.dropped = Counter("mien_frames_dropped", "Frames of cameras that came too fast.", registry=registry)

    def text(self) -> bytes:
        """All counts in Prometheus's text format."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            together = CollectorRegistry()
            MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self.registry)


class Counted:
    """An app whose requests are counted, and whose answers no browser takes for another type than they say."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: Callable[[str], bool]) -> None:
        self.app, self.metrics, self.known = app, metrics, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0
        began = time.perf_counter()
        # A stranger may ask for any path and by any method, and each would be counted by itself.
        path = scope["path"] if self.known(scope["path"]) else "other"
        method = scope["method"] if scope["method"] in ("GET", "POST", "OPTIONS") else "other"

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            await send(message)

        self.metrics.under_way.inc()
        try:
            await self.app(scope, receive, answer)
        finally:
            self.metrics.under_way.dec()
            self.metrics.requests.labels(path, method, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - began)
