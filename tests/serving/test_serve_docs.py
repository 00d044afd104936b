"""docs/serving.md and deploy/ say what there is."""

import inspect
import json
import re
from dataclasses import fields

import typer.main
from conftest import REPOSITORY
from servers import serving, settings, small

from mien.cli.serve import serve
from mien.cli.shared import app
from mien.serving.schema import Answer, Filmed, Moving, Question
from mien.serving.settings import Limits, Settings

PAGE = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
OPTIONS = {
    option: one.default
    for one in typer.main.get_command(app).commands["serve"].params  # type: ignore[attr-defined]
    for option in one.opts
}


def test_limits_are_those_of_the_verb() -> None:
    told = {name: float(number) for name, number in re.findall(r"\(?`(--[a-z-]+)`,? \(?(\d+)\)", PAGE)}
    assert told == {name: OPTIONS[name] for name in told}
    assert told.keys() == {
        *("--max-mb", "--max-megapixels", "--max-images", "--max-faces", "--queue", "--max-seconds"),
    }
    verb = inspect.signature(serve).parameters
    names = {"megabytes": "max_mb"} | {name: f"max_{name}" for name in ("megapixels", "images", "faces", "seconds")}
    assert {one.name: one.default for one in fields(Limits)} == {
        name: verb[option].default for name, option in names.items()
    }
    assert Settings().queue == OPTIONS["--queue"]


def test_every_option_and_address_is_there() -> None:
    for option in set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--model", "--json", "--camera"}:
        assert option in OPTIONS, option
    options = re.search(r"are those of the verb: (.*?);", PAGE, flags=re.S)
    assert options is not None
    assert set(re.findall(r"`(\w+)`", options[1])) == set(Question.model_fields)
    assert set(Filmed.model_fields) - set(Moving.model_fields) == {"fps"}
    with serving(settings()) as server:
        for method, path in re.findall(r"`(GET|POST) (/\S*)`", PAGE):
            answer = server.client.request(method, path)
            assert answer.status_code == (200 if method == "GET" else 415), path
        files = {"images": small()}
        answer = server.client.post("/v1/predict?min_confidence=0.5", files=files).json()
        assert Answer.model_validate(answer).faces[0].answer == "happy"


def test_what_is_deployed_starts_with_options_that_there_are() -> None:
    docker = (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    entry = re.search(r"^ENTRYPOINT (.*)$", docker, flags=re.M)
    unit = re.search(r"^ExecStart=(.*)$", (REPOSITORY / "deploy" / "mien.service").read_text("utf-8"), flags=re.M)
    assert entry is not None
    assert unit is not None
    for words in (json.loads(entry[1]), unit[1].split()):
        assert words[0].endswith("/bin/mien")
        assert words[1] == "serve"
        assert {word for word in words if word.startswith("--")} <= OPTIONS.keys()
    assert re.findall(r"^USER (\d+)$", docker, flags=re.M) == ["10001"]
    # All that a build needs, and nothing else, goes to it.
    sent = (REPOSITORY / "deploy" / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert sent[0] == "*"
    assert all((REPOSITORY / name.removeprefix("!")).exists() for name in sent[1:])
