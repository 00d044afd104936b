"""YAML 1.2 as plain data, with the line of every key: what an experiment file is read by."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from mien.errors import MienError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000


def read_yaml(file: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """A file's mapping as plain data, and the line (from 1) of each key and list item by its path.

    Only data comes out: no tag runs code, aliases (which can grow without bound) are refused, and so are files of
    more than a megabyte. Raises MienError with the line.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise MienError("the file is too large for an experiment", file=str(file), expected="at most 1 MB")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MienError("no such file", file=str(file), expected="an experiment file") from error
    except IsADirectoryError as error:
        raise MienError("this is a folder", file=str(file), expected="an experiment file") from error
    except UnicodeDecodeError as error:
        raise MienError("the file isn't text (UTF-8)", file=str(file), expected="an experiment file") from error
    return parse_yaml(text, str(file))


def parse_yaml(text: str, file: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """What `read_yaml` does, for a text; `file` is what errors call it.

    >>> parse_yaml("train:\\n  lr: 1e-4", "a.yaml")
    ({'train': {'lr': 0.0001}}, {('train',): 1, ('train', 'lr'): 2})
    """
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            if isinstance(event, AliasEvent):
                raise MienError(
                    "aliases (*name) aren't taken",
                    file=file,
                    line=event.start_mark.line + 1,
                    expected="'extends:' for what several files share",
                )
        content = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problem = (error.problem or error.context or "broken").splitlines()[0]
        raise MienError(f"this isn't YAML: {problem}", file=file, line=line) from error
    except YAMLError as error:
        raise MienError(f"this isn't YAML: {str(error).splitlines()[0]}", file=file) from error
    except RecursionError as error:
        raise MienError("this YAML is nested too deep", file=file) from error
    if content is None:
        content = CommentedMap()
    if not isinstance(content, CommentedMap):
        raise MienError("the file holds no keys", file=file, line=1, expected="lines such as 'name: cnn1'")
    lines: dict[KeyPath, int] = {}
    _collect(content, (), lines)
    return json.loads(json.dumps(content, default=str)), lines


def parse_value(text: str) -> Any:
    """The value of `key=value` on the command line: YAML, and plain text where that isn't.

    >>> parse_value("[120, 250]"), parse_value("1e-4"), parse_value("cnn")
    ([120, 250], 0.0001, 'cnn')
    """
    try:
        return parse_yaml(f"value: {text}", "the command line")[0]["value"]
    except MienError:
        return text


def _collect(content: Any, path: KeyPath, lines: dict[KeyPath, int]) -> None:
    if isinstance(content, CommentedMap):
        for key, value in content.items():
            lines[(*path, str(key))] = content.lc.key(key)[0] + 1
            _collect(value, (*path, str(key)), lines)
    elif isinstance(content, CommentedSeq):
        for index, value in enumerate(content):
            lines[(*path, index)] = content.lc.item(index)[0] + 1
            _collect(value, (*path, index), lines)


def dump_yaml(content: dict[str, Any]) -> str:
    """Plain data as YAML text; lists of plain values stand on one line."""
    out = StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(_flow(content), out)
    return out.getvalue()


def _flow(content: Any) -> Any:
    if isinstance(content, dict):
        return CommentedMap({key: _flow(value) for key, value in content.items()})
    if isinstance(content, list):
        items = CommentedSeq([_flow(value) for value in content])
        if not any(isinstance(value, dict | list) for value in content):
            items.fa.set_flow_style()
        return items
    return content
