"""How many requests a second `mien serve` answers, and how soon, beside other servers; and that none is lost or mixed.

    python benchmarks/serving.py                          prints the tables
    python benchmarks/serving.py --report results         and writes results/serving.md
    python benchmarks/serving.py --litserve VENV/bin/python    also LitServe, installed in a venv of its own

All servers run the same model and detector on the same photo, one after the other at each number of clients, on this
machine, where the clients run, too. `benchmarks/peers` has the others: "plain" is the FastAPI app that
anyone writes first, with one session and one lock.
"""

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from skimage.data import astronaut

from mien.environment import describe
from mien.serving.schema import Question
from mien.serving.session import Upload, open_session, tell
from mien.serving.settings import Limits, Settings

PEERS = Path(__file__).with_name("peers")
LEVELS = (1, 8, 32, 128)
BOUNDARY = "an-image-and-no-more"
LONG_CLIENTS = 32
BAD = 0.1


class Sent(NamedTuple):
    """A request's body, and the status and the probabilities that it is to be answered with."""

    body: bytes
    status: int
    wanted: Any


class Level(NamedTuple):
    """What a server did for so many clients: answers a second, and milliseconds until they came."""

    rate: float
    p50: float
    p95: float
    p99: float


def form(data: bytes, name: str = "photo.jpg") -> bytes:
    """A form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n'
    return head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def photo(light: int = 0, format: str = "JPEG") -> bytes:
    """scikit-image's portrait as a file, so much lighter."""
    pixels = np.clip(astronaut().astype(np.int16) + light, 0, 255).astype(np.uint8)  # type: ignore[no-untyped-call]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def ask(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, Any]:
    """The status and the content of an answer."""
    connection.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@contextlib.contextmanager
def started(command: list[str], port: int, env: dict[str, str]) -> Iterator[None]:
    """A server as a process, once it listens."""
    process = subprocess.Popen(command, env={**os.environ, **env})
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit(f"this server ended by itself: {' '.join(command)}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port: int = opened.getsockname()[1]
        return port


def load_level(port: int, path: str, clients: int, seconds: float, body: bytes) -> Level:
    """Let so many clients ask again and again for so long."""
    lasted: list[list[float]] = [[] for _ in range(clients)]
    start = time.perf_counter()

    def client(own: list[float]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while (began := time.perf_counter()) < start + seconds:
            status, _ = ask(connection, path, body)
            if status != 200:
                raise RuntimeError(f"{path} answers {status}")
            own.append(time.perf_counter() - began)

    in_threads(client, lasted)
    whole = time.perf_counter() - start
    all_of = sorted(1000 * one for own in lasted for one in own)
    cuts = statistics.quantiles(all_of, n=100, method="inclusive") if len(all_of) > 1 else all_of * 99
    return Level(len(all_of) / whole, cuts[49], cuts[94], cuts[98])


def in_threads(work: Callable[[Any], None], items: list[Any]) -> None:
    """Work on each item in a thread of its own; the first error is raised."""
    errors: list[BaseException] = []

    def run(item: Any) -> None:
        try:
            work(item)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[item]) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def probabilities(content: Any) -> Any:
    """Those of all faces of an answer of `mien serve`."""
    return [face["probabilities"] for face in content["faces"]]


def requests(detector: str) -> list[Sent]:
    """Nine good requests with another answer each, and of each ten one bad, of six kinds."""
    session = open_session(Settings(workspace=Path("none"), detector=detector))
    good = []
    for light in range(-40, 50, 10):
        data = photo(light)
        good.append(Sent(form(data), 200, probabilities(tell(session, [Upload("", data)], Question(), Limits()))))
    if len({json.dumps(one.wanted) for one in good}) != len(good):
        raise SystemExit("two photos have the same answer, so mixed ones couldn't be told apart")
    huge = photo(0, "PNG")[:16] + (20_000).to_bytes(4, "big") * 2 + photo(0, "PNG")[24:]
    bad = [
        Sent(form(b"no image"), 415, None),
        Sent(form(b""), 415, None),
        Sent(form(photo()[:5000]), 422, None),
        Sent(form(huge), 415, None),  # Its header's checksum is wrong, too.
        Sent(form(photo())[:-20], 422, None),
        Sent(b"\0" * 1000, 422, None),
    ]
    return good + bad


def long_run(port: int, sent: list[Sent], n: int) -> dict[str, Any]:
    """Ask n times, 10 % of them badly, and count what isn't answered as it is to be; memory in MB."""
    good = [one for one in sent if one.status == 200]
    bad = [one for one in sent if one.status != 200]
    counts: Counter[str] = Counter()
    lock, numbers = threading.Lock(), itertools.count()
    memory: list[float] = []

    def client(seed: int) -> None:
        choose = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while (number := next(numbers)) < n:
            one = choose.choice(bad if choose.random() < BAD else good)
            try:
                status, content = ask(connection, "/v1/predict", one.body)
            except (OSError, http.client.HTTPException, ValueError):
                kind = "lost"
                connection.close()
            else:
                right = status == one.status and (one.wanted is None or probabilities(content) == one.wanted)
                kind = ("good" if one.wanted else "refused") if right else "mixed" if status == 200 else str(status)
            with lock:
                counts[kind] += 1
                if number in (n // 10, n - 1):
                    memory.append(resident(port))

    in_threads(client, list(range(LONG_CLIENTS)))
    return {"n": n, **counts, "memory": memory}


def resident(port: int) -> float:
    """The memory of a server in MB, as its metrics tell it."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    found = re.search(rb"^process_resident_memory_bytes (\S+)$", connection.getresponse().read(), flags=re.M)
    return float(found[1]) / 2**20 if found else 0.0


def table(levels: dict[int, dict[str, Level]], long: dict[str, Any], detector: str, seconds: float) -> str:
    """What was measured, as Markdown."""
    made = describe()
    lines = []
    for clients, found in levels.items():
        for name, one in found.items():
            ratio = found["mien serve"].rate / one.rate
            lines.append(
                f"| {clients} | {name} | {one.rate:.1f} | {one.p50:.0f} | {one.p95:.0f} | {one.p99:.0f} | {ratio:.2f} |"
            )
    wrong = {key: long[key] for key in long.keys() - {"n", "good", "refused", "lost", "mixed", "500", "memory"}}
    first, last = long["memory"][0], long["memory"][-1]
    paragraphs = [
        "# Requests a second",
        f"Written by `python benchmarks/serving.py --report results`, commit {made['commit'] or 'unknown'}: "
        f"{seconds:g} s a line, one photo of 512 × 512 pixels a request, detector {detector}, servers and clients "
        f"on the same {made['cores']} cores "
        f"({made['cpu']}). "
        "*ratio* is `mien serve`'s answers a second over the server's.",
        "\n".join(
            [
                "| clients | server | answers a second | p50, ms | p95, ms | p99, ms | ratio |",
                "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
                *lines,
            ]
        ),
        f"{long['n']:,} requests by {LONG_CLIENTS} clients, {BAD:.0%} of them bad: {long.get('good', 0):,} answered "
        f"right, "
        f"{long.get('refused', 0):,} bad ones refused as they are to be, {long.get('lost', 0):,} lost, "
        f"{long.get('mixed', 0):,} with another's answer, {long.get('500', 0):,} of status 500, others "
        f"{wrong or 'none'}. The server's memory after a tenth of them: {first:.0f} MB, at the end: {last:.0f} MB.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def main() -> None:
    """Measure, print, and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of clients and server")
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS, help="numbers of clients")
    parser.add_argument("--n", type=int, default=20_000, help="requests of the long run")
    parser.add_argument("--detector", default="auto", help="as of mien serve; or a file with YuNet's weights")
    parser.add_argument("--litserve", metavar="PYTHON", help="of the venv that peers/lit.py wants")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="also write serving.md there")
    given = parser.parse_args()

    mien = [sys.executable, "-m", "mien", "serve", "--queue", "1000", "--max-seconds", "600"]
    commands: dict[str, Callable[[int], list[str]]] = {
        "mien serve": lambda port: [*mien, "--port", str(port), "--detector", given.detector],
        "plain": lambda port: [sys.executable, str(PEERS / "plain.py"), str(port), "mien-m", given.detector],
    }
    if given.litserve:
        peer = [given.litserve, str(PEERS / "lit.py")]
        commands["LitServe"] = lambda port: [*peer, str(port), "mien-m", given.detector]
    paths = {"mien serve": "/v1/predict", "plain": "/predict", "LitServe": "/predict"}
    env = {"PYTHONPATH": str(Path(__file__).parents[1])}
    levels: dict[int, dict[str, Level]] = {}
    body = form(photo())
    with contextlib.ExitStack() as stack:
        ports = {name: free_port() for name in commands}
        for name, command in commands.items():
            stack.enter_context(started(command(ports[name]), ports[name], env))
            load_level(ports[name], paths[name], 2, 1.0, body)
        for clients in given.levels:
            levels[clients] = {
                name: load_level(ports[name], paths[name], clients, given.seconds, body) for name in commands
            }
            print(clients, levels[clients], file=sys.stderr)
        long = long_run(ports["mien serve"], requests(given.detector), given.n)
    text = table(levels, long, given.detector if "/" not in given.detector else "yunet", given.seconds)
    print(text)
    if given.report:
        (given.report / "serving.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
