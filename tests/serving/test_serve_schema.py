"""The schema: what it promises holds for whatever is sent. MIEN_API_EXAMPLES sets how much is tried."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st
from pydantic import ValidationError
from servers import Server, serving, settings, small

from mien.serving.refusals import UNPROCESSABLE
from mien.serving.schema import Answer, Face, Filmed, Images, Question, Refusal
from mien.serving.settings import Limits

EXAMPLES = os.environ.get("MIEN_API_EXAMPLES", "3")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(settings(limits=Limits(megabytes=1, seconds=600), sessions=2)) as found:
        yield found


# A text that is no image is of the right type, and refused.
EXCEPT = "positive_data_acceptance"
# Beside schemathesis's own: a body with more parts than may be is too large, whatever they are called.
REFUSED = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""


def test_every_answer_is_one_that_the_schema_promises(server: Server, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(REFUSED)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    options = ["--max-examples", EXAMPLES, "--exclude-checks", EXCEPT, "--seed", "1", "--no-color"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = httpx.get(f"{server.url}/metrics").text
    assert 'path="/v1/predict",status="422"' in text
    assert 'status="500"' not in text


def test_the_examples_are_of_the_schema_s_types(server: Server) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    assert sorted(paths) == [
        "/health",
        "/metrics",
        "/ready",
        "/v1/models",
        "/v1/predict",
        "/v1/predict/stream",
    ]
    told = paths["/v1/predict"]["post"]
    answer = Answer.model_validate(told["responses"]["200"]["content"]["application/json"]["example"])
    assert sum((answer.faces[0].probabilities or {}).values()) == pytest.approx(1)
    bodies = told["requestBody"]["content"]
    assert bodies.keys() == {"multipart/form-data", "application/json"}
    Images.model_validate(bodies["application/json"]["example"])
    codes = {"408", "413", "415", "422", "500", "503", "504"}
    assert told["responses"].keys() == {"200", *codes}
    for code in codes:
        Refusal.model_validate(told["responses"][code]["content"]["application/json"]["example"])
    assert {one["name"] for one in told["parameters"]} == set(Question.model_fields)
    assert {one["name"] for one in paths["/v1/predict/stream"]["post"]["parameters"]} == set(Filmed.model_fields)


@hypothesis.given(st.binary(max_size=300))
@hypothesis.settings(max_examples=100, deadline=None)
def test_base64_is_read_whole_or_not_at_all(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    (image,) = Images.model_validate({"images": [{"data": text}]}).images
    assert image.data == data
    assert image.model_dump(mode="json") == {"data": text, "name": ""}
    for bad in (f"{text}!", f" {text}", f"{text}\n", f"{text}="):
        with pytest.raises(ValidationError, match="this is no base64"):
            Images.model_validate({"images": [{"data": bad}]})


@hypothesis.given(st.binary(max_size=2000), st.text(max_size=20))
@hypothesis.settings(
    max_examples=30, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_refused_in_a_sentence(server: Server, data: bytes, kind: str) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = server.client.post("/v1/predict", content=b"--x\r\n" + data, headers=form)
    assert answer.status_code == UNPROCESSABLE
    Refusal.model_validate(answer.json())
    damaged = bytearray(small())
    for place, byte in enumerate(data[:50]):
        damaged[(place * 977 + byte) % len(damaged)] = byte
    told = server.client.post("/v1/predict", files={"images": ("a.png", bytes(damaged))})
    assert told.status_code in (200, 413, 415, 422)
    if told.status_code == 200:
        assert all(isinstance(one, Face) for one in Answer.model_validate(told.json()).faces)
