"""Columns that a user finds in the names of files: `--column subject='(S\\d+)_'`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa

from mien.data.importers.source import BadRow, Row, Source
from mien.errors import MienError

_NAME = re.compile(r"[A-Za-z_]\w{0,99}")
_TAKEN = ("id", "image", "label", "split", "size", "path", "self")


def compiled(column: str, pattern: str) -> re.Pattern[str]:
    """The pattern of a column; MienError for what is none, or can't name a column."""
    key = f"--column {column}"
    if not _NAME.fullmatch(column) or column in _TAKEN:
        raise MienError(
            f"'{column}' can't be the name of a column",
            key=key,
            expected="letters, digits or '_', and none of " + ", ".join(_TAKEN[:-1]),
        )
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise MienError(f"'{pattern}' is no pattern ({error})", key=key, expected="a regular expression") from error
    if found.groups > 1:
        raise MienError(
            f"'{pattern}' has {found.groups} groups", key=key, expected="one, around the value: '(S[0-9]+)_'"
        )
    return found


def kinds(patterns: Mapping[str, re.Pattern[str]], content: Source) -> dict[str, pa.DataType]:
    """The types of the columns; MienError for one that the source has itself."""
    for column in patterns:
        if column in content.columns:
            raise MienError(
                f"the source has a column '{column}' itself", key=f"--column {column}", expected="a new name"
            )
    return dict.fromkeys(patterns, pa.string())


def rows(content: Source, patterns: Mapping[str, re.Pattern[str]]) -> Iterable[Row | BadRow]:
    """The rows of a source with the values of the patterns; a row whose names don't match one is a bad row."""
    return _found(content.rows, patterns) if patterns else content.rows


def _found(rows: Iterable[Row | BadRow], patterns: Mapping[str, re.Pattern[str]]) -> Iterator[Row | BadRow]:
    for row in rows:
        yield row if isinstance(row, BadRow) else _with(row, patterns)


def _with(row: Row, patterns: Mapping[str, re.Pattern[str]]) -> Row | BadRow:
    values = {}
    for column, pattern in patterns.items():
        match = pattern.search(row.id) or (pattern.search(row.path) if row.path else None)
        value = match and match[pattern.groups]
        if not value:
            shown = row.id if not row.path or row.path in row.id else f"{row.id}, {row.path}"
            return BadRow(row.id, column, f"the name '{shown}' doesn't match", f"'{pattern.pattern}'")
        values[column] = value
    return replace(row, extra={**row.extra, **values})
