"""Videos and cameras: lines as the verb writes them, late frames dropped and counted."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import write_clip
from servers import Server, blocked, png, serving, settings, small
from skimage.data import astronaut
from verbs import call
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mien.serving.live import Latest
from mien.serving.schema import Face, Frame
from mien.serving.settings import Limits

TOKEN = "a-token-of-many-letters"
FACE = astronaut()[40:200, 140:300]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(settings(sessions=2, limits=Limits(megabytes=1, seconds=600))) as found:
        yield found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of the portrait, and a gray one."""
    gray = np.full_like(FACE, 120)
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", [FACE] * 10 + [gray] * 10)


def lines(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        Face.model_validate(one)
    return found


@pytest.mark.parametrize(("question", "options"), [("", []), ("?fps=all&smooth=0", ["--fps", "all", "--smooth", "0"])])
def test_a_video_is_told_as_the_verb_writes_it(
    server: Server, clip: Path, question: str, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip.parent)
    answer = server.client.post(f"/v1/predict/stream{question}", files={"video": ("clip.mp4", clip.read_bytes())})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    done = call("predict", "clip.mp4", "--detector", "cascade", "--out", "told.jsonl", *options)
    assert done.code == 0
    found = lines(answer.text)
    assert found == lines((clip.parent / "told.jsonl").read_text())
    frames = 20 if options else 10
    assert [row["answer"] for row in found] == ["happy"] * (frames // 2) + ["no face"] * (frames // 2)
    assert server.service.films == 0


def test_a_video_that_is_cut_off_ends_by_saying_so(server: Server, clip: Path, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "clip.mkv", [FACE] * 60, gop=5).read_bytes()
    answer = server.client.post("/v1/predict/stream", files={"video": ("cut.mkv", whole[: len(whole) // 2])})
    *rows, last = lines(answer.text)
    assert {row["answer"] for row in rows} == {"happy"}
    assert last["answer"] == "error"
    assert last["error"].startswith("the video breaks off after ")


@pytest.mark.parametrize(
    ("files", "status", "told"),
    [
        (
            {"video": ("a.mp4", b"nothing")},
            422,
            {
                "message": "this can't be opened as a video (Invalid data found when processing input)",
                "file": "a.mp4",
                "expected": "a video",
            },
        ),
        ([("a", b"1"), ("b", b"2")], 422, {"message": "the form has 2 files", "expected": "one video"}),
        ([("a", b"1")] * 3, 413, {"message": "the body has too many images", "expected": "at most 1"}),
    ],
)
def test_what_is_no_video_is_told(server: Server, files: Any, status: int, told: dict[str, str]) -> None:
    answer = server.client.post("/v1/predict/stream", files=files)
    assert (answer.status_code, answer.json()) == (status, {"error": told})
    answer = server.client.post("/v1/predict/stream", json={})
    wanted = {"message": "the body is application/json", "key": "Content-Type", "expected": "multipart/form-data"}
    assert (answer.status_code, answer.json()) == (415, {"error": wanted})
    assert server.service.films == 0


def test_so_many_videos_are_told_at_once_as_there_are_sessions(server: Server, clip: Path) -> None:
    server.service.films = 2
    try:
        answer = server.client.post("/v1/predict/stream", files={"video": ("clip.mp4", clip.read_bytes())})
    finally:
        server.service.films = 0
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_client_that_leaves_makes_room_for_another(server: Server, clip: Path) -> None:
    files = {"video": ("clip.mp4", clip.read_bytes())}
    with server.client.stream("POST", "/v1/predict/stream?fps=all", files=files) as answer:
        assert next(answer.iter_lines()).startswith('{"path": "clip.mp4", "frame": 0, ')
        assert server.service.films == 1
    while server.service.films:
        server.client.get("/health")
    assert server.service.pool.is_ready


def socket(server: Server, question: str = "", **options: Any) -> Any:
    return connect(f"{server.url.replace('http', 'ws', 1)}/v1/live{question}", open_timeout=None, **options)


def ask(opened: Any, data: bytes) -> Frame:
    opened.send(data)
    return Frame.model_validate_json(opened.recv())


def test_a_camera_is_told_frame_by_frame_and_followed(server: Server) -> None:
    photo = server.client.post("/v1/predict", files={"images": ("camera", small())}).json()["faces"][0]
    with socket(server, "?smooth=0.5") as opened:
        first, second = ask(opened, small()), ask(opened, small(40))
        blank = ask(opened, png(np.zeros((50, 50, 3), np.uint8)))
        bad = ask(opened, b"hello")
        again = ask(opened, small())
    (face,) = first.faces
    assert {**face.model_dump(exclude_unset=True), "frame": None, "time": None, "track": None} == {
        **photo,
        "smoothed": photo["probabilities"],
    }
    assert (face.frame, face.time, face.track) == (0, 0.0, 1)
    (other,) = second.faces
    assert other.track == 1
    assert face.probabilities is not None
    assert other.probabilities is not None
    mean = {name: (face.probabilities[name] + value) / 2 for name, value in other.probabilities.items()}
    assert other.smoothed == pytest.approx(mean, abs=1e-6)
    assert [one.answer for one in blank.faces] == ["no face"]
    assert bad.error is not None
    assert (bad.frame, bad.faces, bad.error.message) == (3, [], "this is no image of a known format")
    assert (again.frame, again.dropped) == (4, 0)


def test_frames_that_come_too_fast_are_dropped_and_counted(server: Server) -> None:
    before = server.service.metrics.dropped._value.get()
    with socket(server) as opened:
        with blocked(server.service):
            for light in range(20):
                opened.send(small(light))
            # Answered in turn, so that the frames before have come.
            opened.ping().wait()
        told = [Frame.model_validate_json(opened.recv())]
        while told[-1].frame < 19:
            told.append(Frame.model_validate_json(opened.recv()))
    assert told[-1].dropped == 20 - len(told) >= 15
    assert server.service.metrics.dropped._value.get() - before == told[-1].dropped


def test_the_newest_frame_takes_the_place_of_one_that_waits() -> None:
    async def work() -> None:
        latest = Latest()
        assert [latest.put(b"a"), latest.put(b"b"), latest.put(b"c")] == [False, True, True]
        taken = await latest.take()
        assert taken is not None
        assert (taken[0], taken[2], latest.dropped) == (2, b"c", 2)
        waiting = asyncio.create_task(latest.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        latest.put(b"d")
        assert (await waiting or ())[0] == 3
        latest.end()
        assert await latest.take() is None

    asyncio.run(work())


@pytest.mark.parametrize(
    ("message", "code", "why"),
    [("a text", 1003, "expected image files in binary messages"), (b"0" * (2**20 + 1), 1009, "expected at most 1 MB")],
)
def test_other_messages_end_a_camera(server: Server, message: str | bytes, code: int, why: str) -> None:
    with socket(server) as opened:
        opened.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            opened.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, why)


def test_a_camera_is_for_this_server_s_pages_and_for_those_that_have_the_token(server: Server) -> None:
    with socket(server, origin=server.url) as opened:
        assert ask(opened, small()).faces[0].answer == "happy"
    for question, origin in (("", "https://example.org"), ("?smooth=2", None), ("?fps=5", None)):
        with pytest.raises(InvalidStatus, match="HTTP 403"):
            socket(server, question, origin=origin)
    text = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    with serving(settings(token=TOKEN)) as other:
        for bad in ([], ["mien.live"], ["mien.live", "bearer.%"], ["mien.live", f"bearer.{text[:-1]}"]):
            with pytest.raises(InvalidStatus, match="HTTP 403"):
                socket(other, subprotocols=bad or None)
        with socket(other, subprotocols=["mien.live", f"bearer.{text}"]) as opened:
            assert opened.subprotocol == "mien.live"
            assert ask(opened, small()).faces[0].answer == "happy"
        with socket(other, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as opened:
            assert ask(opened, small()).faces[0].answer == "happy"
