"""`mien serve` as a process: its answers are each client's own, and it ends well."""

import itertools
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import mien_serve, portrait, settings, small
from verbs import call

from mien.serving.running import _listening
from mien.serving.schema import Question
from mien.serving.session import Upload, open_session, tell
from mien.serving.settings import Limits

TOKEN = "a-token-of-many-letters"
CLIENTS, EACH = 16, 13


def count(text: str, name: str) -> float:
    """The sum of a metric over its labels."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, flags=re.M))


def test_each_client_gets_its_own_answer_and_a_stop_answers_all() -> None:
    lights = [-40, -20, 0, 20, 40]
    session = open_session(settings())
    wanted = {
        light: tell(session, [Upload(f"{light}.png", small(light))], Question(), Limits())["faces"] for light in lights
    }
    # Otherwise mixed answers couldn't be told apart.
    assert len({str(faces[0]["probabilities"]) for faces in wanted.values()}) == len(lights)

    with mien_serve("--queue", 200, "--max-seconds", 600) as server:
        assert re.fullmatch(r"mien: serving mien-m at http://127\.0\.0\.1:\d+ \(Ctrl-C stops\)", server.said[-1])

        def ask(number: int) -> list[tuple[int, Any]]:
            found = []
            with httpx.Client(base_url=server.url, timeout=None) as client:
                for light in itertools.islice(itertools.cycle(lights), number, number + EACH):
                    files = {"images": (f"{light}.png", small(light))}
                    answer = client.post("/v1/predict", files=files)
                    assert answer.status_code == 200, answer.text
                    found.append((light, answer.json()["faces"]))
            return found

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = [one for own in pool.map(ask, range(CLIENTS)) for one in own]
        assert len(answers) == CLIENTS * EACH == 208
        for light, faces in answers:
            assert faces == wanted[light]
        text = server.client.get("/metrics").text
        assert count(text, "mien_images_total") == count(text, "mien_faces_total") == 208

        # Asked to stop when six requests are known to be under way.
        late = [threading.Thread(target=lambda: stopped.append(post(server.url))) for _ in range(6)]
        stopped: list[tuple[int, int]] = []
        for thread in late:
            thread.start()
        # The one that asks is under way, too.
        while count(server.client.get("/metrics").text, "mien_requests_under_way") < 7 and not stopped:
            pass
        server.process.send_signal(signal.SIGTERM)
        for thread in late:
            thread.join()
        assert stopped == [(200, 10)] * 6
        assert server.ended() == (0, [])


def post(url: str) -> tuple[int, int]:
    """The status and the number of faces of a request that takes a while."""
    answer = httpx.post(f"{url}/v1/predict", files=[("images", ("a.png", portrait()))] * 10, timeout=None)
    return answer.status_code, answer.json()["n"]


def test_several_processes_share_an_address_and_count_together(tmp_path: Path) -> None:
    file = tmp_path / "token.txt"
    file.write_text(f"{TOKEN}\n")
    arguments = ("--workers", 2, "--sessions", 1, "--host", "0.0.0.0", "--token-file", file, "--root-path", "/mien")
    with mien_serve(*arguments) as server:
        assert len(server.said) == 1  # With a token, no warning.
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = server.url.removesuffix("/mien")

        def ask(number: int) -> int:
            # Each on a connection of its own, so that both processes get some.
            answer = httpx.post(f"{url}/v1/predict", files={"images": portrait()}, headers=headers, timeout=None)
            return answer.status_code

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, range(12))) == [200] * 12
        text = httpx.get(f"{url}/metrics", headers=headers, timeout=None).text
        assert count(text, "mien_images_total") == 12
        assert httpx.get(f"{url}/openapi.json", timeout=None).json()["servers"] == [{"url": "/mien"}]
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait() == 0


def test_answers_are_sent_without_delay() -> None:
    with _listening("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            # What asyncio asks before it sets TCP_NODELAY.
            assert accepted.proto == socket.IPPROTO_TCP


def test_all_interfaces_without_a_token_are_warned_of() -> None:
    with mien_serve("--host", "0.0.0.0") as server:
        open_to = "mien: 0.0.0.0 is open to all who reach this machine, and no token is asked for"
        assert server.said[:-1] == [f"{open_to}; --token-file FILE asks for one"]
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mien-x"], "there is no model 'mien-x'; expected a weights or ONNX file, a run of "),
        (["landmarks-small"], "landmarks-small tells no expressions; expected a model whose task is expression"),
        (["mien-m", "mien-m"], "two models are called mien-m; expected each model once, by a name of its own"),
        (["--root-path", "mien/"], "--root-path: the path is 'mien/'; expected such as /mien"),
        (["--cors", "example.org"], "--cors: the origin is 'example.org'; expected such as https://example.org"),
        (["--port", "70000"], "Invalid value for '--port': Input should be less than or equal to 65535"),
        (
            ["--host", "203.0.113.1"],
            "--host, --port: 203.0.113.1:8000 can't be listened on (Cannot assign requested address)",
        ),
        (["--token-file", "none.txt"], "none.txt: --token-file: there is no such file; expected a file with a token"),
        (
            ["--token-file", "short.txt"],
            "short.txt: --token-file: the token has 6 letters; expected at least 16 letters, "
            "as `openssl rand -hex 32` makes them",
        ),
        (
            ["--token-file", "two.txt"],
            "two.txt: --token-file: this file holds no token; expected one word on one line",
        ),
        (["--token-file", "binary.txt"], "binary.txt: the token can't be read (UnicodeDecodeError: "),
    ],
)
def test_mistakes_are_told(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.txt").write_text("secret")
    Path("two.txt").write_text(f"{TOKEN} {TOKEN}")
    Path("binary.txt").write_bytes(b"\xff" * 20)
    done = call("serve", "--detector", "cascade", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith(f"mien: {said}"), done.err


def test_a_port_that_is_taken_is_told() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("serve", "--detector", "cascade", "--port", port)
    why = "Address already in use"
    assert (done.code, done.err) == (2, f"mien: --host, --port: 127.0.0.1:{port} can't be listened on ({why})\n")
