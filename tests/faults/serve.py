"""Hostile requests to a running server: each is answered as the schema promises, and the next good one rightly.

Everything is drawn from a seed. No status 500, no traceback, no memory beyond a limit; the process ends well.
"""

import base64
import contextlib
import json
import random
import re
import signal
import socket
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from clips import write_clip
from faults.damage import (
    HOSTILE,
    HUGE,
    MEMORY_MB,
    emptied,
    encoded,
    flipped,
    head_flipped,
    nested,
    rewritten,
    truncated,
)
from servers import Process, mien_serve, small
from skimage.data import astronaut
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

BYTES = (flipped, head_flipped, truncated, emptied, encoded, nested)
PREDICT, STREAM, LIVE = "/v1/predict", "/v1/predict/stream", "/v1/live"
# Of a body that is more than twice as large the server closes the connection at once.
LIMITS = ("--max-mb", 8, "--max-seconds", 20, "--sessions", 2)
# Bytes in place of a request that no parser of HTTP may choke on.
_WIRES = (
    b"",
    b"\x00" * 100,
    b"GET",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
    b"GET /page/..%2f..%2fsettings.py HTTP/1.1\r\nHost: x\r\n\r\n",
)


class Sent(NamedTuple):
    """A case: its kind, what was sent in words, the status (0: the connection was closed), and what is wrong."""

    number: int
    kind: str
    what: str
    status: int
    wrong: str


class Target(NamedTuple):
    """A running server, the statuses that its schema promises, what is sent to it whole, and the right answer."""

    server: Process
    promised: dict[tuple[str, str], set[int]]
    image: bytes
    clip: bytes
    answer: list[dict[str, Any]]


@contextlib.contextmanager
def target(folder: Path) -> Iterator[Target]:
    """A server as `mien serve` starts it."""
    face = astronaut()[40:200, 140:300]
    folder.mkdir(parents=True, exist_ok=True)
    clip = write_clip(folder / "clip.mp4", [np.asarray(face)] * 10).read_bytes()
    with mien_serve("mien-s", *LIMITS) as server:
        schema = server.client.get("/openapi.json").json()["paths"]
        promised = {
            (method.upper(), path): set(map(int, one["responses"]))
            for path, methods in schema.items()
            for method, one in methods.items()
        }
        answer = server.client.post(PREDICT, files={"images": ("a.png", small())}).json()["faces"]
        yield Target(server, promised, small(), clip, answer)


def form(name: str, data: bytes, dice: random.Random) -> tuple[bytes, str]:
    """A form with one file, of which now and then the headers are others, and its type."""
    mark = "an-edge"
    file = dice.choice(["a.png", *HOSTILE[:11]]).encode("utf-8", "surrogatepass").replace(b"\n", b"%0A")
    head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="'.encode()
    body = head + file + b'"\r\nContent-Type: image/png\r\n\r\n' + data + f"\r\n--{mark}--\r\n".encode()
    return body, f"multipart/form-data; boundary={mark}"


def _damaged(data: bytes, dice: random.Random) -> tuple[bytes, str]:
    way = dice.choice(BYTES)
    return way(data, dice), way.__name__


def send_image(at: Target, dice: random.Random) -> tuple[str, httpx.Response]:
    """A damaged image in a form that is whole."""
    data, what = _damaged(at.image, dice)
    body, kind = form("images", data, dice)
    return what, at.server.client.post(PREDICT, content=body, headers={"Content-Type": kind})


def send_form(at: Target, dice: random.Random) -> tuple[str, httpx.Response]:
    """A damaged form."""
    body, kind = form("images", at.image, dice)
    data, what = _damaged(body, dice)
    return what, at.server.client.post(PREDICT, content=data, headers={"Content-Type": kind})


def send_json(at: Target, dice: random.Random) -> tuple[str, httpx.Response]:
    """JSON in which a value is another, or that is damaged as bytes are."""
    content = {"images": [{"name": "a.png", "data": base64.b64encode(at.image).decode()}] * dice.randint(1, 3)}
    way = dice.choice([rewritten, rewritten, rewritten, *BYTES])
    data = way(json.dumps(content).encode(), dice)
    return way.__name__, at.server.client.post(PREDICT, content=data, headers={"Content-Type": "application/json"})


def send_options(at: Target, dice: random.Random) -> tuple[str, httpx.Response]:
    """A good photo with options that are hostile, huge or unknown."""
    names = ("model", "min_size", "min_score", "largest", "min_confidence", "classes", "points", "smooth", "x" * 50)
    given = {dice.choice(names): str(dice.choice([*HOSTILE[:12], *HUGE])) for _ in range(dice.randint(1, 3))}
    query = urllib.parse.urlencode({key: value.encode("utf-8", "surrogatepass") for key, value in given.items()})
    return str(given)[:80], at.server.client.post(f"{PREDICT}?{query}", files={"images": ("a.png", at.image)})


def send_path(at: Target, dice: random.Random) -> tuple[str, httpx.Response]:
    """Another path or method."""
    paths = [path for _, path in at.promised] + ["/", "/page/main.js", "/docs"]
    path = dice.choice(paths) + dice.choice(["", "/", "/..", "/%2e%2e/x", "%00", "?" + "a" * 5000, "/x" * 500])
    method = dice.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "X"])
    return f"{method} {path}"[:80], at.server.client.request(method, path)


def send_video(at: Target, dice: random.Random) -> tuple[str, httpx.Response]:
    """A damaged video."""
    data, what = _damaged(at.clip, dice)
    return what, at.server.client.post(STREAM, files={"video": ("clip.mp4", data)})


def send_wire(at: Target, dice: random.Random) -> tuple[str, int]:
    """Bytes that are no request, or half of one, after which the connection is closed."""
    body, kind = form("images", at.image, dice)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    data = dice.choice([*_WIRES, whole[: dice.randrange(len(whole))], flipped(head.encode(), dice) + body])
    parts = urllib.parse.urlsplit(at.server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as wire:
        with contextlib.suppress(OSError):  # The server may close before all is sent.
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
        try:
            answer = wire.recv(100)
        except OSError:
            answer = b""
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return repr(data[:60]), int(found[1]) if found else 0


def send_live(at: Target, dice: random.Random) -> tuple[str, int]:
    """Frames of a camera that are damaged, text among them, and options that may be hostile."""
    query = "" if dice.random() < 0.7 else f"?smooth={urllib.parse.quote(str(dice.choice(HUGE)))}"
    data, what = _damaged(at.image, dice)
    try:
        with connect(at.server.url.replace("http", "ws") + LIVE + query, max_size=None, close_timeout=60) as live:
            live.send(dice.choice([data, data, "text", b""]))
            live.send(at.image)
            live.recv(timeout=60)
    except (WebSocketException, OSError):
        return f"{what} {query}", 0
    return f"{what} {query}", 200


SENT: dict[str, Callable[[Target, random.Random], tuple[str, httpx.Response] | tuple[str, int]]] = {
    "image": send_image,
    "form": send_form,
    "JSON": send_json,
    "options": send_options,
    "path or method": send_path,
    "video": send_video,
    "no HTTP": send_wire,
    "camera": send_live,
}


def wrong_with(at: Target, answer: httpx.Response) -> str:
    """What is wrong with an answer; "" for nothing."""
    key = (answer.request.method, answer.request.url.path)
    allowed = at.promised.get(key, set()) | {404, 405} if key not in at.promised else at.promised[key]
    if key not in at.promised and key[0] in ("GET", "HEAD", "OPTIONS"):
        allowed |= {200}  # The page's files.
    if answer.status_code == 500 or "Traceback" in answer.text:
        return f"status 500: {answer.text[:100]}"
    if answer.status_code not in allowed:
        return f"status {answer.status_code} isn't promised for {' '.join(key)}"
    if answer.status_code >= 400 and answer.request.method != "HEAD" and key in at.promised:
        message = answer.json().get("error", {}).get("message", "")
        if not message or re.search(r"[\x00-\x1f\x7f]", message):
            return f"no sentence: {answer.text[:100]}"
    return ""


def memory_mb(process: int) -> float:
    """The most memory that a process held."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024  # type: ignore[index]


def run_cases(at: Target, count: int, seed: int) -> list[Sent]:
    """So many requests, kinds in turn, and after each a good one."""
    dice, cases = random.Random(seed), []
    for number in range(count):
        kind = list(SENT)[number % len(SENT)]
        what, answer = SENT[kind](at, dice)
        status = answer if isinstance(answer, int) else answer.status_code
        wrong = "" if isinstance(answer, int) else wrong_with(at, answer)
        if status == 500:
            wrong = wrong or "status 500"
        after = at.server.client.post(PREDICT, files={"images": ("a.png", at.image)})
        if after.status_code != 200 or after.json()["faces"] != at.answer:
            wrong = wrong or f"the next answer is another: {after.status_code} {after.text[:100]}"
        if (peak := memory_mb(at.server.process.pid)) > MEMORY_MB:
            wrong = wrong or f"{peak:.0f} MB"
        cases.append(Sent(seed + number, kind, what, status, wrong))
        if wrong:
            print(f"seed {seed}, case {number}: {cases[-1]}", flush=True)
    return cases


def wrong_at_the_end(at: Target) -> str:
    """What is wrong with a server's end, when it is told to stop, or with its log; "" for nothing."""
    at.server.process.send_signal(signal.SIGTERM)
    code, log = at.server.ended()
    if code != 0:
        return f"it ends with {code}"
    errors = [line for line in log if line.startswith(("ERROR", "Traceback"))]
    return f"{len(errors)} errors in the log: {errors[0]}" if errors else ""


def run(folder: Path, seed: int, n: int) -> Iterator[dict[str, Any]]:
    """The section of `results/faults.md`, after every hundred requests and at the end."""
    cases: list[Sent] = []
    with target(folder) as at:
        for start in range(0, n, 100):
            cases += run_cases(at, min(100, n - start), seed + start)
            yield section(cases, n, memory_mb(at.server.process.pid))
        if wrong := wrong_at_the_end(at):
            cases.append(Sent(n, "the end", "SIGTERM", 0, wrong))
            yield section(cases, n, 0)


def section(cases: list[Sent], n: int, peak: float) -> dict[str, Any]:
    """How many requests of each kind were sent, how they were answered, and what went wrong."""
    rows = []
    for kind in (*SENT, "all"):
        own = [case for case in cases if kind in (case.kind, "all")]
        groups = Counter(case.status // 100 for case in own)
        wrong = [sum(word in case.wrong for case in own) for word in ("500", "promised", "sentence", "next", " MB")]
        rows.append([kind, len(own), groups[2] + groups[3], groups[4] + groups[5], groups[0], *wrong])
    columns = ["kind", "requests", "answered", "refused", "closed", "status 500", "unpromised", "no sentence"]
    return {
        "title": "Requests to a server",
        "text": f"{len(cases):,} of {n:,} requests to `mien serve`: damaged images, forms, JSON and videos, hostile "
        "options and paths, bytes that are no HTTP, cameras that send anything. Each is answered by a status that the "
        "schema promises, with a sentence where it is refused, and the good request after it gets the same answer as "
        f"the first; the process took at most {peak:,.0f} MB (allowed: {MEMORY_MB:,}), ends well, and its log has no "
        "error.",
        "columns": [*columns, "next answer wrong", "over memory"],
        "rows": [[str(cell) for cell in row] for row in rows],
        "failed": sum(bool(case.wrong) for case in cases),
        "wrong": [case._asdict() for case in cases if case.wrong],
    }
