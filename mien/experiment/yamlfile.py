"""YAML 1.2 as plain data with the line of every key; reads and writes experiment files."""

import functools
import json
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent, ScalarEvent
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from mien.errors import MienError, nearest

KeyPath = tuple[str | int, ...]

# Larger files would take seconds to read with the line of every key; an experiment needs a tenth of this.
MAX_BYTES = 32_000
MAX_DEPTH = 20


def read_yaml(file: Path, what: str = "an experiment file") -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """A file's mapping as plain data, and the line (from 1) of each key and list item by its path.

    Only plain data is allowed: tags, aliases (which can grow without bound), files of more than 32 KB and nesting of
    more than 20 levels are refused. `what` is said to be expected where there is no such file of text. Raises MienError
    with the line.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise MienError("the file is too large for an experiment", file=str(file), expected="at most 32 KB")
        text = content.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MienError("no such file", file=str(file), expected=what, nearest=_beside(file)) from error
    except IsADirectoryError as error:
        raise MienError("this is a folder", file=str(file), expected=what) from error
    except UnicodeDecodeError as error:
        raise MienError("the file isn't text (UTF-8)", file=str(file), expected=what) from error
    return parse_yaml(text, str(file))


def _beside(file: Path) -> str | None:
    """The file of the same kind in the same folder whose name is nearest to one that isn't there."""
    there = {one.stem: str(one) for one in file.parent.glob("*") if one.suffix == file.suffix and one.is_file()}
    close = nearest(file.stem, there)
    return there[close] if close is not None else None


def parse_yaml(text: str, file: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Like `read_yaml`, from a text; errors call it `file`.

    >>> parse_yaml("train:\\n  lr: 1e-4", "a.yaml")
    ({'train': {'lr': 0.0001}}, {('train',): 1, ('train', 'lr'): 2})
    """
    plain, lines = _parsed(text, file)
    return json.loads(plain), dict(lines)


# An experiment's file is read by every step that needs one of its keys.
@functools.lru_cache(maxsize=64)
def _parsed(text: str, file: str) -> tuple[str, dict[KeyPath, int]]:
    """A text's mapping as JSON, and its lines."""
    try:
        _check_events(text, file)
        content = _loader().load(text)
        if content is None:
            content = CommentedMap()
        if not isinstance(content, CommentedMap):
            raise MienError("the file holds no keys", file=file, line=1, expected="lines such as 'name: cnn1'")
        lines: dict[KeyPath, int] = {}
        _collect(content, (), file, lines)
        return json.dumps(content), lines
    except DuplicateKeyError as error:
        key = str(error.problem).partition('"')[2].partition('"')[0]
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise MienError(f"the key '{key}' is here twice", file=file, line=line) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problem = (error.problem or error.context or "broken").splitlines()[0].replace("'<stream end>'", "its end")
        blanks = "blanks instead of tabs" if "'\\t'" in problem else None
        raise MienError(f"this isn't YAML: {problem}", file=file, line=line, expected=blanks) from error
    except YAMLError as error:
        raise MienError(f"this isn't YAML: {str(error).splitlines()[0]}", file=file) from error
    except ValueError as error:  # Python's limit on the digits of a whole number.
        raise MienError("a number is too long", file=file, expected="at most 4,300 digits") from error


def _check_events(text: str, file: str) -> None:
    """Refuse tags, aliases and deep nesting before anything is built."""
    depth = documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        wrong: tuple[str, str | None] | None = None
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        documents += isinstance(event, DocumentStartEvent)
        if depth > MAX_DEPTH:
            wrong = ("this is nested too deep", f"at most {MAX_DEPTH} levels")
        elif documents > 1:
            wrong = ("a second document begins here", "one experiment a file")
        elif isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            wrong = ("anchors and aliases (&name, *name) aren't taken", "'extends:' for what several files share")
        elif isinstance(event, ScalarEvent) and event.value == "<<" and event.implicit[0]:
            wrong = ("merge keys (<<) aren't taken", "'extends:' for what several files share")
        elif getattr(event, "tag", None):
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            wrong = (f"tags ({tag}) aren't taken", "plain values")
        if wrong:
            raise MienError(wrong[0], file=file, line=event.start_mark.line + 1, expected=wrong[1])


class _Resolver(VersionedResolver):
    """YAML 1.2's types: unlike YAML 1.1, it has no dates."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a value."""
        tag = super().resolve(kind, value, implicit)
        return self.DEFAULT_SCALAR_TAG if str(tag) == "tag:yaml.org,2002:timestamp" else tag


def _loader() -> YAML:
    loader = YAML(typ="rt", pure=True)
    loader.Resolver = _Resolver
    return loader


def parse_value(text: str) -> Any:
    """The value of `key=value` on the command line, read as YAML, or as plain text if it isn't YAML.

    >>> parse_value("[120, 250]"), parse_value("1e-4"), parse_value("cnn")
    ([120, 250], 0.0001, 'cnn')
    """
    try:
        content, _ = parse_yaml(f"value: {text}", "the command line")
    except MienError:
        return text
    return content["value"] if list(content) == ["value"] else text


def _collect(content: Any, path: KeyPath, file: str, lines: dict[KeyPath, int]) -> None:
    if isinstance(content, CommentedMap):
        for key, value in content.items():
            line = content.lc.data[key][0] + 1
            if not isinstance(key, str):
                shown = json.dumps(key, default=str)
                raise MienError(f"{shown} can't be a key", file=file, line=line, expected="text")
            lines[(*path, key)] = line
            _collect(value, (*path, key), file, lines)
    elif isinstance(content, CommentedSeq):
        for index, value in enumerate(content):
            lines[(*path, index)] = content.lc.item(index)[0] + 1
            _collect(value, (*path, index), file, lines)


def dump_yaml(content: dict[str, Any]) -> str:
    """Plain data as YAML text; lists of plain values stand on one line."""
    text = StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(_flow(content), text)
    return text.getvalue()


def _flow(content: Any) -> Any:
    if isinstance(content, dict):
        return CommentedMap({_flow(key): _flow(value) for key, value in content.items()})
    if isinstance(content, list):
        items = CommentedSeq([_flow(value) for value in content])
        if not any(isinstance(value, dict | list) for value in content):
            items.fa.set_flow_style()
        return items
    if isinstance(content, str) and (content.startswith(("?", ":")) or "\x85" in content):
        # ruamel.yaml leaves such text bare: in a list on one line these marks begin a key and a value, and the third is
        # read as the end of a line.
        return DoubleQuotedScalarString(content)
    return content
