"""What a server is told: which models it serves, on how many threads, to whom, and where its limits are. Plain data."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from mien.errors import MienError
from mien.reading import reading

# Shorter ones can be guessed.
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    `megabytes` (2^20 bytes) of its body, `megapixels` (10^6) of an image, `images` a request, `faces` an image,
    `seconds` from its first byte to the answer, and of a video.
    """

    megabytes: int = 32
    megapixels: int = 32
    images: int = 32
    faces: int = 100
    seconds: float = 30.0

    @property
    def bytes(self) -> int:
        """`megabytes` as bytes."""
        return self.megabytes * 2**20

    @property
    def pixels(self) -> int:
        """`megapixels` as pixels."""
        return self.megapixels * 1_000_000


@dataclass(frozen=True)
class Settings:
    """A server's settings; a process of its own can be given them.

    `models` are named as `mien predict --model` names them; the first answers where a request names none. A process has
    `sessions` threads, each with models of its own on `threads` threads, and at most `queue` requests wait for them.
    `origins` are the web pages elsewhere that may call the API; `root_path` is what a proxy puts before all paths.
    `show_workspace` puts the workspace's data sets and runs behind the same address.
    """

    models: tuple[str, ...] = ("mien-m",)
    workspace: Path = Path()
    detector: str = "auto"
    detector_weights: Path | None = None
    sessions: int = 1
    threads: int = 1
    queue: int = 64
    limits: Limits = Limits()
    token: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    root_path: str = ""
    show_workspace: bool = False


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_token(file: Path) -> str:
    """The token in a file: its only line. Raises MienError for a file without one, and for one that can be guessed."""
    if not file.is_file():
        raise MienError("there is no such file", file=str(file), key="--token-file", expected="a file with a token")
    with reading(file, "the token", MienError):
        lines = file.read_text(encoding="ascii").split()
    if len(lines) != 1:
        raise MienError("this file holds no token", file=str(file), key="--token-file", expected="one word on one line")
    if len(lines[0]) < SHORTEST_TOKEN:
        expected = f"at least {SHORTEST_TOKEN} letters, as `openssl rand -hex 32` makes them"
        raise MienError(f"the token has {len(lines[0])} letters", file=str(file), key="--token-file", expected=expected)
    return lines[0]
