"""Servers for the tests: in a thread of this process, where a test reaches their queue, or as `mien serve`."""

import contextlib
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import uvicorn
from conftest import REPOSITORY
from PIL import Image
from skimage.data import astronaut

from mien.serving.app import app_of
from mien.serving.service import Service
from mien.serving.session import Session
from mien.serving.settings import Settings

MISSING = Path("/nonexistent/home")


def settings(**given: Any) -> Settings:
    """Settings that need nothing but the package."""
    return Settings(workspace=MISSING, **{"detector": "cascade", **given})


class Server(NamedTuple):
    """A server's parts, its address, and a client of it."""

    service: Service
    url: str
    client: httpx.Client


@contextlib.contextmanager
def serving(given: Settings) -> Iterator[Server]:
    """A server in a thread of this process, on a free port."""
    service = Service(given)
    config = uvicorn.Config(app_of(service), lifespan="on", log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=[[listening]])
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=None) as client:
                yield Server(service, url, client)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def blocked(service: Service) -> Iterator[None]:
    """All threads of a server at work, until the end of the context."""
    begun, release = threading.Semaphore(0), threading.Event()

    def wait(session: Session) -> None:
        begun.release()
        release.wait()

    jobs = [service.pool.submit(wait) for _ in range(service.settings.sessions)]
    for _ in jobs:
        begun.acquire()
    try:
        yield
    finally:
        release.set()
        for job in jobs:
            job.result()


class Process(NamedTuple):
    """`mien serve` as a process, what it said up to its address and after it, and a client of it."""

    process: "subprocess.Popen[str]"
    said: list[str]
    log: list[str]
    listening: threading.Thread
    url: str
    client: httpx.Client

    def ended(self) -> tuple[int, list[str]]:
        """The exit code of a server that was told to stop, and all that it said after its address."""
        code = self.process.wait(300)
        self.listening.join()
        return code, self.log


@contextlib.contextmanager
def mien_serve(*arguments: object, env: dict[str, str] | None = None) -> Iterator[Process]:
    """`mien serve` with further arguments, on a free port, until it is told to stop."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0", "--detector", "cascade", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "MIEN_HOME": str(MISSING), **(env or {})},
    )
    assert process.stderr is not None
    said: list[str] = []
    log: list[str] = []
    # A pipe that nobody reads holds 64 kB, and then the server waits.
    listening = threading.Thread(target=lambda: log.extend(process.stderr or ()))
    try:
        for line in process.stderr:
            said.append(line.rstrip("\n"))
            if " at http://" in line:
                break
        listening.start()
        assert " at http://" in said[-1], said
        url = said[-1].partition(" at ")[2].partition(" ")[0].replace("0.0.0.0", "127.0.0.1")
        # Longer than any answer takes: who waits for one that never comes should hear of it.
        with httpx.Client(base_url=url, timeout=300) as client:
            yield Process(process, said, log, listening, url, client)
    finally:
        process.kill()
        process.wait()
        listening.join()
        process.stderr.close()


def png(pixels: Any) -> bytes:
    """Pixels as a file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


@cache
def portrait() -> bytes:
    """scikit-image's portrait as a file."""
    return png(astronaut())


@cache
def small(light: int = 0) -> bytes:
    """Its face with little about it, so much lighter."""
    return png(np.clip(astronaut()[40:200, 140:300].astype(np.int16) + light, 0, 255).astype(np.uint8))
