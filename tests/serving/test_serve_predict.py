"""What the API says of photos: the answers of `mien predict --json`, and one exact sentence for whatever is wrong."""

import asyncio
import base64
import io
import json
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from servers import Server, blocked, png, portrait, serving, settings
from verbs import call

from mien.errors import FailedError
from mien.serving.app import app_of
from mien.serving.schema import Answer, Models, Refusal
from mien.serving.service import Service
from mien.serving.settings import Limits

TOKEN = "a-token-of-many-letters"
LIMITS = Limits(megabytes=2, megapixels=1, images=3, faces=2, seconds=600)
UNKNOWN = "this is no image of a known format"
FORMATS = "PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM"
FORM, JSON = "multipart/form-data", "application/json"
WHOLE = "multipart/form-data with a file for each image"
BODY = '{"images": [{"data": "<base64>"}]}'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with two models and narrow limits."""
    with serving(settings(models=("mien-m", "mien-s"), limits=LIMITS, sessions=2)) as found:
        yield found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the verb says of the portrait, with points."""
    folder = tmp_path_factory.mktemp("portrait")
    (folder / "portrait.png").write_bytes(portrait())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = call("predict", "portrait.png", "--json", "--detector", "cascade", "--points")
    assert done.code == 0
    found: dict[str, Any] = done.json
    return found


def near(one: Any, other: Any) -> bool:
    """Whether two answers are the same, their numbers to 1e-6."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return bool(one == (pytest.approx(other, abs=1e-6) if isinstance(one, float) else other))


def error(answer: httpx.Response) -> tuple[int, dict[str, str]]:
    Refusal.model_validate(answer.json())
    found: dict[str, str] = answer.json()["error"]
    return answer.status_code, found


def header(width: int, height: int) -> bytes:
    """A PNG of this size by its header, and no pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 2**20) + b"IDAT"


def test_a_form_is_answered_as_the_verb_does(server: Server, told: dict[str, Any]) -> None:
    answer = server.client.post(
        "/v1/predict", params={"points": "true"}, files={"images": ("portrait.png", portrait())}
    )
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert near(answer.json(), told)
    assert len(answer.json()["faces"][0]["points"]) == 68
    assert answer.json()["faces"][0]["answer"] == "happy"


def test_json_is_answered_as_the_verb_does(server: Server, told: dict[str, Any]) -> None:
    images = [{"name": "portrait.png", "data": base64.b64encode(portrait()).decode()}]
    answer = server.client.post("/v1/predict?points=true", json={"images": images})
    assert near(answer.json(), told)


def test_answers_are_of_the_types_of_the_schema(server: Server, told: dict[str, Any]) -> None:
    found = Answer.model_validate(told)
    answer = server.client.post("/v1/predict?points=true", files={"images": ("portrait.png", portrait())})
    assert Answer.model_validate(answer.json()) == found
    assert (found.images, found.n, found.faces[0].answer) == (1, 1, "happy")


def test_several_images_are_told_in_their_order(server: Server) -> None:
    blank = png(np.zeros((40, 30, 3), np.uint8))
    files = [("images", ("a.png", portrait())), ("other", ("b.png", blank)), ("images", ("a.png", portrait()))]
    answer = server.client.post("/v1/predict", files=files).json()
    assert [(row["path"], row["answer"]) for row in answer["faces"]] == [
        ("a.png", "happy"),
        ("b.png", "no face"),
        ("a.png", "happy"),
    ]
    assert {key: answer[key] for key in ("images", "n", "without", "uncertain", "failed")} == {
        "images": 3,
        "n": 2,
        "without": 1,
        "uncertain": 0,
        "failed": 0,
    }


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ({"model": "mien-s"}, ["--model", "mien-s"]),
        ({"min_confidence": 0.99}, ["--min-confidence", "0.99"]),
        ({"classes": "sad, neutral"}, ["--classes", "sad, neutral"]),
        ({"min_size": 200, "min_score": 1, "largest": "true"}, ["--min-size", "200", "--min-score", "1", "--largest"]),
    ],
)
def test_options_are_the_verbs(
    server: Server, question: dict[str, Any], options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("portrait.png").write_bytes(portrait())
    answer = server.client.post("/v1/predict", params=question, files={"images": ("portrait.png", portrait())})
    assert near(answer.json(), call("predict", "portrait.png", "--json", "--detector", "cascade", *options).json)


def test_models_come_with_their_cards(server: Server) -> None:
    answer = Models.model_validate(server.client.get("/v1/models").json())
    assert answer.points == "trained on research-only annotations"
    found = answer.models
    assert [one.name for one in found] == ["mien-m", "mien-s"]
    for one in found:
        assert one.card is not None
        assert one.card.startswith(f"# {one.name}\n")
        assert one.sha256 in one.card
        assert one.classes == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]


# The body as a form's file, what is told of it, and by which status.
@pytest.mark.parametrize(
    ("data", "status", "message", "expected"),
    [
        (b"", 415, "the file is empty", "an image"),
        (b"hello", 415, UNKNOWN, FORMATS),
        (b"%PDF-1.7", 415, UNKNOWN, FORMATS),
        (b"GIF89a", 415, UNKNOWN, FORMATS),
        (portrait()[:2000], 422, "the image doesn't decode (image file is truncated)", None),
        (header(20_000, 20_000), 413, "the image has far too many pixels", "at most 1 million"),
        (header(2000, 1000), 413, "the image has 2000 × 1000 pixels", "at most 1 million"),
        (png(np.zeros((5000, 2000, 3), np.uint8)), 413, "the image has 2000 × 5000 pixels", "at most 1 million"),
        (png(np.zeros((1001, 1000, 3), np.uint8)), 413, "the image has 1000 × 1001 pixels", "at most 1 million"),
    ],
)
def test_bad_images_are_told_by_name(
    server: Server, data: bytes, status: int, message: str, expected: str | None
) -> None:
    files = [("images", ("good.png", portrait())), ("images", ("bad.png", data))]
    wanted = {"message": message, "file": "bad.png"} | ({"expected": expected} if expected else {})
    assert error(server.client.post("/v1/predict", files=files)) == (status, wanted)
    if data:
        images = [{"data": base64.b64encode(data).decode()}]
        assert error(server.client.post("/v1/predict", json={"images": images})) == (
            status,
            wanted | {"file": "image 1"},
        )


def test_too_many_faces_are_refused(server: Server) -> None:
    face = portrait()
    wide = np.concatenate([np.asarray(Image.open(io.BytesIO(face)))[:256, 100:356]] * 3, axis=1)
    told = error(server.client.post("/v1/predict", files={"images": ("three.png", png(wide))}))
    assert told == (422, {"message": "the image has 3 faces", "file": "three.png", "expected": "at most 2"})
    largest = server.client.post("/v1/predict?largest=true", files={"images": ("three.png", png(wide))})
    assert largest.json()["n"] == 1


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (
            "model=mien-mm",
            {
                "message": "no model 'mien-mm' is served",
                "key": "model",
                "expected": "one of mien-m, mien-s",
                "nearest": "mien-m",
            },
        ),
        ("min_confidence=2", {"message": "input should be less than or equal to 1", "key": "min_confidence"}),
        ("min_size=nan", {"message": "input should be a finite number", "key": "min_size"}),
        ("largst=1", {"message": "there is no such option here", "key": "largst", "nearest": "largest"}),
        ("classes=happy", {"message": "the classes are happy", "key": "classes", "expected": "two or more, once"}),
    ],
)
def test_bad_options_are_told(server: Server, question: str, told: dict[str, str]) -> None:
    answer = server.client.post(f"/v1/predict?{question}", files={"images": ("a.png", portrait())})
    assert error(answer) == (422, told)


@pytest.mark.parametrize(
    ("kind", "body", "status", "told"),
    [
        (None, b"x", 415, ("the body's type isn't told", "Content-Type", f"{FORM} or {JSON}")),
        ("image/png", portrait(), 415, ("the body is image/png", "Content-Type", f"{FORM} or {JSON}")),
        (FORM, b"x", 422, ("the body is no form (Missing boundary in multipart)", None, WHOLE)),
        (f"{FORM}; boundary=x", b"", 422, ("the body is no form (it isn't whole)", None, WHOLE)),
        (f"{FORM}; boundary=x", b"garbage", 422, ("the body is no form (Invalid multipart data)", None, WHOLE)),
        (
            f"{FORM}; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nabc',
            422,
            ("the body is no form (it isn't whole)", None, WHOLE),
        ),
        (
            f"{FORM}; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="min_size"\r\n\r\n4\r\n--x--\r\n',
            422,
            ("the field 'min_size' is no file", None, "files; options go into the address"),
        ),
        (JSON, b"{", 422, ("invalid JSON: EOF while parsing an object at line 1 column 1", None, BODY)),
        (JSON, b"[" * 2**20, 422, ("invalid JSON: recursion limit exceeded at line 1 column 202", None, BODY)),
        (JSON, b'{"images": []}', 422, ("list should have at least 1 item after validation, not 0", "images", BODY)),
        (JSON, b'{"images": [{"data": "@@@"}]}', 422, ("this is no base64", "images.0.data", BODY)),
        (JSON, b'{"images": [{"data": 5}]}', 422, ("an image is a text in base64", "images.0.data", BODY)),
        (JSON, b'{"images": [{"data": "", "x": 1}]}', 422, ("extra inputs are not permitted", "images.0.x", BODY)),
        (JSON, b'"' + b"x" * (2**21 - 1), 413, ("the body is too large", None, "at most 2 MB")),
    ],
)
def test_bad_bodies_are_told(
    server: Server, kind: str | None, body: bytes, status: int, told: tuple[str, str | None, str]
) -> None:
    # Of 2^21 bytes exactly it would only be bad JSON.
    content = body + b"y" if status == 413 else body
    answer = server.client.post("/v1/predict", content=content, headers={"Content-Type": kind} if kind else {})
    wanted = {key: value for key, value in zip(("message", "key", "expected"), told, strict=True) if value}
    assert error(answer) == (status, wanted)


def test_the_largest_body_is_read_and_one_that_is_streamed_isn_t_read_beyond(server: Server) -> None:
    whole = server.client.post("/v1/predict", content=b" " * 2**21, headers={"Content-Type": JSON})
    assert whole.status_code == 422
    # Without a length that could be looked at before.
    chunks = (b" " * 2**16 for _ in range(33))
    answer = server.client.post("/v1/predict", content=chunks, headers={"Content-Type": JSON})
    assert error(answer) == (413, {"message": "the body is too large", "expected": "at most 2 MB"})
    assert server.service.bodies.held == 0


def test_too_many_images_and_packed_bodies_are_refused(server: Server) -> None:
    files = [("images", ("a.png", portrait()))] * 4
    many = (413, {"message": "the body has too many images", "expected": "at most 3"})
    assert error(server.client.post("/v1/predict", files=files)) == many
    images = [{"data": ""}] * 4
    assert error(server.client.post("/v1/predict", json={"images": images})) == many
    packed = server.client.post(
        "/v1/predict",
        content=zlib.compress(b" " * 2**20, 9),
        headers={"Content-Type": JSON, "Content-Encoding": "gzip"},
    )
    assert error(packed) == (415, {"message": "the body is packed", "expected": "no Content-Encoding"})


def test_unknown_paths_and_methods_are_told(server: Server) -> None:
    assert error(server.client.get("/v1/predict")) == (405, {"message": "there is no GET /v1/predict"})
    assert error(server.client.get("/page/../app.py")) == (404, {"message": "there is no GET /app.py"})
    assert error(server.client.get("/page/%2e%2e%2fapp.py")) == (404, {"message": "there is no GET /page/../app.py"})


opened: list[str] | None = None


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note each file that is opened to be written, while somebody listens; a hook stays for ever."""
    if opened is not None and event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        opened.append(str(arguments[0]))
    if opened is not None and event.startswith("tempfile."):
        opened.append(event)


def test_no_picture_touches_the_disk_whatever_its_name(server: Server) -> None:
    global opened
    sys.addaudithook(watch)
    large = portrait() + b"\0" * 2**20  # beyond what a form keeps in memory by itself
    names = ["../../etc/passwd", "/etc/passwd", "a\\b.png", "C:\\b.png", "é‮gnp.exe", "<img src=x>.png"]
    opened = []
    try:
        answers = [server.client.post("/v1/predict", files={"images": (name, large)}) for name in names]
    finally:
        seen, opened = opened, None
    # The reader of forms takes the last part of what an old browser sent as a whole path.
    names[3] = "b.png"
    assert [answer.json()["faces"][0]["path"] for answer in answers] == names
    assert seen == []
    longest = server.client.post("/v1/predict", files={"images": ("a" * 256, large)})
    assert error(longest) == (422, {"message": "a file's name has 256 letters", "expected": "at most 255"})


def test_a_full_queue_is_told_with_when_to_come_back() -> None:
    with serving(settings(queue=1)) as server, blocked(server.service):
        assert server.client.get("/ready").json() == {"status": "ok"}
        waits = server.service.pool.submit(lambda session: None)
        answer = server.client.post("/v1/predict", files={"images": ("a.png", portrait())})
        wanted = {"message": "the server is busy", "expected": "the request to be sent again later"}
        assert error(answer) == (503, wanted)
        assert answer.headers["Retry-After"] == "1"
        ready = server.client.get("/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "busy"})
        assert server.client.get("/health").json() == {"status": "ok"}
        metrics = server.client.get("/metrics").text
        assert "mien_queue_waiting 1.0\nmien" not in metrics
        assert "\nmien_queue_waiting 1.0\n" in metrics
        assert "\nmien_queue_capacity 1.0\n" in metrics
        assert '\nmien_requests_total{method="POST",path="/v1/predict",status="503"} 1.0\n' in metrics
        assert not waits.done()


def test_after_its_time_a_request_is_given_up_and_its_work_never_done() -> None:
    with serving(settings(limits=Limits(seconds=0.1))) as server, blocked(server.service):
        answer = server.client.post("/v1/predict", files={"images": ("a.png", portrait())})
        wanted = {"message": "there was no time to answer", "expected": "at most 0.1 seconds"}
        assert error(answer) == (504, wanted)
    assert server.service.metrics.text().count(b"mien_images_total 0.0") == 1


def test_a_body_that_never_comes_is_given_up() -> None:
    service = Service(settings(limits=Limits(seconds=0.1)))

    async def never() -> AsyncIterator[bytes]:
        yield b" "
        await asyncio.Event().wait()

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(service)), base_url="http://x") as client:
            return await client.post("/v1/predict", content=never(), headers={"Content-Type": JSON})

    told = error(asyncio.run(ask()))
    service.close()
    assert told == (408, {"message": "the body took too long to come", "expected": "at most 0.1 seconds"})


def test_bodies_together_have_an_end() -> None:
    service = Service(settings(limits=Limits(megabytes=1)))
    service.bodies.held = 16 * 2**20

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(service)), base_url="http://x") as client:
            return await client.post("/v1/predict", content=b"{}", headers={"Content-Type": JSON})

    answer = asyncio.run(ask())
    service.close()
    wanted = {"message": "the server has no room for this body now", "expected": "it to be sent again later"}
    assert error(answer) == (503, wanted)
    assert answer.headers["Retry-After"] == "1"
    assert service.bodies.held == 16 * 2**20


def test_a_model_that_breaks_is_the_server_s_fault() -> None:
    with serving(settings()) as server:
        model = server.service.pool.first.models["mien-m"]

        class Broken:
            """A network whose weights are damaged."""

            def outputs(self, images: Any, tta: str = "none") -> Any:
                return np.full((len(images), 7), np.nan, np.float32)

        object.__setattr__(model, "backend", Broken())
        answer = server.client.post("/v1/predict", files={"images": ("a.png", portrait())})
        assert answer.status_code == FailedError.exit_code * 500
        assert answer.json()["error"]["message"] == "mien-m gives numbers that aren't finite"
        assert server.client.get("/ready").status_code == 200


def test_a_token_is_asked_for() -> None:
    wanted = {"message": "this server asks for a token", "key": "Authorization", "expected": "Bearer and the token"}
    with serving(settings(token=TOKEN)) as server:
        client, files = server.client, {"images": ("a.png", portrait())}
        for given in (None, TOKEN, f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", "Bearer \xe9"):
            headers = {} if given is None else {"Authorization": given.encode("latin-1")}
            answer = client.post("/v1/predict", files=files, headers=headers)
            assert error(answer) == (401, wanted), given
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            for path in ("/v1/models", "/metrics"):
                assert error(client.get(path, headers=headers)) == (401, wanted)
            assert error(client.post("/v1/predict/stream", headers=headers)) == (401, wanted)
        for kind in ("Bearer", "bearer"):
            headers = {"Authorization": f"{kind} {TOKEN}"}
            assert client.post("/v1/predict", files=files, headers=headers).json()["n"] == 1
        assert [client.get(path).status_code for path in ("/", "/health", "/ready", "/openapi.json")] == [200] * 4
        schema = client.get("/openapi.json").json()
        assert TOKEN not in json.dumps(schema)
        assert schema["paths"]["/v1/predict"]["post"]["security"] == [{"HTTPBearer": []}]


def test_other_pages_may_call_only_where_they_are_named() -> None:
    asks = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    with serving(settings()) as server:
        assert server.client.options("/v1/predict", headers=asks).status_code == 405
        assert "Access-Control-Allow-Origin" not in server.client.get("/health", headers=asks).headers
    with serving(settings(origins=("https://example.org",))) as server:
        assert server.client.options("/v1/predict", headers=asks).status_code == 200
        answer = server.client.get("/health", headers=asks)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
        other = server.client.get("/health", headers={"Origin": "https://example.com"})
        assert "Access-Control-Allow-Origin" not in other.headers
