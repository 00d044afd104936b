"""Problems in an experiment file, as errors with the file, the line and the key."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mien.errors import MienError, nearest
from mien.experiment.merging import Source, read_layers
from mien.experiment.yamlfile import KeyPath


def validation_problems(
    error: ValidationError, path: KeyPath, source: Source, file: str, keys: list[str]
) -> list[MienError]:
    """pydantic's errors in mien's words, one for each key."""
    errors: dict[KeyPath, list[Any]] = {}
    for details in error.errors(include_url=False):
        # In the path of a union pydantic also names the member that it tried; only steps that the file has count.
        here: KeyPath = path
        for step in details["loc"]:
            missing = details["type"] in ("missing", "extra_forbidden") and step == details["loc"][-1]
            if (*here, step) in source.places or missing or (here == path and step in keys):
                here = (*here, step)
        errors.setdefault(here, []).append(details)
    unknown = [here for here, (first, *_) in errors.items() if first["type"] == "extra_forbidden"]
    meant = {nearest(str(here[-1]), keys) for here in unknown}
    problems = []
    for here, (first, *others) in errors.items():
        if here in unknown:
            choices = [key for key in keys if key not in ("name", "op")]
            expected = "one of " + ", ".join(choices) if choices else "no key"
            close = nearest(str(here[-1]), keys)
            problems.append(key_problem("unknown key", here, source, file, expected=expected, nearest=close))
        elif first["type"] == "missing":
            # A misspelt key is reported once, as unknown, and not as missing too.
            if here[-1] not in meant:
                what = "item" if isinstance(here[-1], int) else "key"
                problems.append(key_problem(f"this {what} is missing", here, source, file))
        elif not any(here == other[: len(here)] and here != other for other in errors):
            # Of a union's members, the one that pydantic got furthest into says more: it has the longest path.
            expected = " or ".join(dict.fromkeys(map(_expected, (first, *others))))
            shown = json.dumps(first["input"], default=str, ensure_ascii=False)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            problems.append(key_problem(f"{shown} can't stand here", here, source, file, expected=expected))
    return problems


# What each of pydantic's types of errors expects, in a reader's words.
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "none_required": "nothing",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "literal_error": "{expected}",
}


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] in _EXPECTED:
        values = error.get("ctx", {}).items()
        plain = {key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in values}
        return _EXPECTED[error["type"]].format_map(plain)
    text: str = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def key_problem(
    message: str, path: KeyPath, source: Source, file: str, *, expected: str | None = None, nearest: str | None = None
) -> MienError:
    """An error at a key: its file and line, or those of the nearest section around it that a file has."""
    place: tuple[str, int | None] = (file or next((at[0] for at in source.places.values()), ""), None)
    for length in range(len(path), 0, -1):
        if path[:length] in source.places:
            place = source.places[path[:length]]
            break
    # In a file that holds a section alone, keys stand without the section's name.
    alone = bool(path) and source.files.get(str(path[0])) == place[0]
    key = ".".join(map(str, path[alone:])) or None
    return MienError(message, file=place[0] or None, line=place[1], key=key, expected=expected, nearest=nearest)


def problem_at(experiment_file: Path, overrides: Sequence[str], key: str, error: MienError) -> MienError:
    """An error at a dotted `key` with its file and line; for problems that only the data set or the model shows."""
    source = read_layers(experiment_file, overrides)
    # A list's items have numbers in their paths.
    path: KeyPath = tuple(int(step) if step.isdigit() else step for step in key.split("."))
    if path not in source.places and ("protocol", *path) in source.places:  # `exclude` stands here or there.
        path = ("protocol", *path)
    placed = key_problem(error.message, path, source, str(experiment_file))
    placed.expected, placed.nearest, placed.more = error.expected, error.nearest, error.more
    return placed
