"""A server run by uvicorn until it is asked to stop: in this process, or in several that share an address."""

import contextlib
import functools
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from mien.errors import MienError
from mien.serving.session import open_session
from mien.serving.settings import Settings

# As prometheus_client calls the folder in which processes put their counts together; it is read when that is imported.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_BACKLOG = 2048


def run(settings: Settings, host: str, port: int, workers: int, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, answer what is under way, and return.

    `tell` gets the address once it can be called. Raises MienError for an address that can't be listened on and for
    models that can't be served.
    """
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listening(host, port))
        address = listening.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        url = f"http://{shown}:{address[1]}{settings.root_path}"
        if workers > 1:
            # Names a mistake once, before there are processes.
            open_session(settings)
            os.environ[FOLDER] = stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-metrics-"))
            stack.callback(os.environ.pop, FOLDER)
            tell(url)
            Multiprocess(_config(settings, functools.partial(_app, settings), workers), [listening]).run()
            return
        app = _app(settings)
        stack.callback(app.state.service.close)
        # uvicorn ends well, and then raises the signal again.
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        tell(url)
        uvicorn.Server(_config(settings, app, workers)).run([listening])


def _app(settings: Settings) -> Any:
    # Only now, when it is known where processes count together.
    from mien.serving.app import create_app

    return create_app(settings)


def _config(settings: Settings, app: Any, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        lifespan="on",
        log_level="warning",
        # A line for each request would tell who asked when; what is counted stands at /metrics.
        access_log=False,
        server_header=False,
        ws_max_size=settings.limits.bytes,
        timeout_graceful_shutdown=int(settings.limits.seconds) + 5,
    )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound to an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without delay only where TCP is named: else an answer waits 40 ms for the receipt of its beginning.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, port))
            # From now on a client waits instead of being refused.
            opened.listen(_BACKLOG)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise MienError(f"{host}:{port} can't be listened on ({why})", key="--host, --port") from error
        opened.set_inheritable(True)
        yield opened


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    return host in ("localhost", "::1") or host.startswith("127.")
