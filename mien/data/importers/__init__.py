"""From source files to a data set: mien recognises the format, checks every row, and stores all or nothing.

An importer for another format is a function in a plugin; `mien.data.importers.source` has the contract and an example.
"""

import contextlib
import itertools
import re
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.data.dataset import Dataset, Writer, open_dataset, write_dataset
from mien.data.importers import (  # noqa: F401  (they register themselves)
    dlib,
    fer2013_csv,
    ferplus,
    folder,
    known,
    landmark_parquet,
    parquet,
    pts,
)
from mien.data.importers.source import MAX_SPLITS, BadRow, Row, Source
from mien.data.importers.splits import SHARES, make_splits
from mien.data.labels import SCHEMES, LabelScheme, canonical, scheme_named, scheme_of
from mien.errors import MienError, shown
from mien.images import decode
from mien.parallel import chunks, ordered_map
from mien.parquet import MAX_TEXT
from mien.progress import console, progress
from mien.registry import entry, names
from mien.workspace import Workspace, check_name

__all__ = ["BadRow", "Row", "Source", "import_dataset"]

# Tried in this order, after those of plugins.
_BUILT_IN = ("landmark-parquet", "parquet", "fer2013-csv", "dlib-xml", "pts", "folder")
_LOOKED_FOR = (
    "a CSV with the columns emotion, pixels and Usage; Parquet with an image and a label or landmarks; "
    "a folder of <split>/<class>/images or <class>/images, or of images with .pts files; or dlib's XML"
)
_MAX_SHOWN = 20
_CHUNK_ROWS = 64
_CHUNK_BYTES = 8 * 2**20
_LARGE_IMAGE = 2**14
_SPLIT = re.compile(r"\w{1,100}")


def import_dataset(
    workspace: Workspace,
    source: Path,
    name: str,
    *,
    votes: Path | None = None,
    labels: str | None = None,
    skip_bad: bool = False,
    seed: int = 0,
) -> Dataset:
    """Import a file or folder of any known format as the data set `name`, whole or not at all.

    `votes` is FER+'s `fer2013new.csv`, joined by row as the column `votes`. `labels` names the scheme that integer
    labels index, or that class names are matched to. A row that can't be imported is an error that shows up to 20 of
    them, unless `skip_bad`: then the card lists them all. `seed` is for splits, where the source has none.
    Warnings go to standard error and into the card.
    """
    check_name(name, "a data set")
    if not source.exists():
        raise MienError("there is no such file or folder", file=str(source), expected=_LOOKED_FOR)
    kind, content = _open(source)
    scheme, indexes = _scheme(content, source, labels, name)
    raters = None if votes is None else _read_votes(votes, content, kind)
    columns, details = dict(content.columns), dict(content.details)
    if raters is not None:
        columns[ferplus.COLUMN] = ferplus.KIND
        details["votes"] = str(votes)
    splits = None if content.labels is None else make_splits(content.labels, seed, content.groups)
    if splits is not None:
        details["made_splits"] = {"seed": seed, "shares": SHARES, "stratified": True}
        if content.groups is not None:
            details["made_splits"]["grouped"] = True

    notes = list(content.notes)
    warnings: list[str] = []
    skipped: list[str] = []
    facts: dict[str, Any] = {"columns": columns, "notes": notes, "skipped": skipped, "details": details}
    with (
        write_dataset(workspace, name, scheme, source=str(source), format=kind, **facts) as writer,
        progress(f"importing {name}", content.total) as done,
        contextlib.closing(_checked(content)) as checked,
    ):
        bad: list[BadRow] = []
        number = 0
        for chunk in checked:
            for row in chunk:
                if isinstance(row, Row) and splits is not None:
                    row = replace(row, split=splits[number])
                problem = row if isinstance(row, BadRow) else _add(writer, row, indexes, content, raters)
                if problem is not None:
                    bad.append(problem)
                number += 1
            done(len(chunk))
            if len(bad) >= _MAX_SHOWN and not skip_bad:
                break
        if bad and not skip_bad:
            raise _error(bad, source)
        if raters is not None:
            raters.check_rows(number)
        skipped.extend(map(str, bad))
        difference = known.difference(scheme, writer.counts)
        if difference is not None:
            notes.append(difference)
            warnings.append(difference)
    for note in warnings:
        told = "\n".join(map(shown, note.split("\n")))
        console.print(f"warning: {told}", style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    return open_dataset(workspace, name)


def _open(source: Path) -> tuple[str, Source]:
    """The name of the first importer that takes the source, and the rows that it gives."""
    try:
        if source.is_file() and source.stat().st_size == 0:
            raise MienError("the file is empty", file=str(source), expected=_LOOKED_FOR)
        plugins = [name for name in names("importer") if name not in _BUILT_IN]
        for name in (*plugins, *_BUILT_IN):
            content: Source | None = entry("importer", name).build(source=source)
            if content is not None:
                return name, content
    except OSError as error:
        raise MienError(f"the source can't be read ({error.strerror or error})", file=str(source)) from error
    raise MienError("this is of no known format", file=str(source), expected=_LOOKED_FOR)


def _scheme(content: Source, source: Path, labels: str | None, name: str) -> tuple[LabelScheme, dict[int | str, int]]:
    """The label scheme of the new data set, and the index in it of each label of the source."""
    chosen = None if labels is None else scheme_named(labels)
    if content.classes is None or (content.classes and all(label.strip().isdecimal() for label in content.classes)):
        if chosen is None:
            raise MienError(
                "the labels are numbers, and nothing says which class each stands for",
                file=str(source),
                key=content.label_column,
                expected="--labels with one of " + ", ".join(name for name in SCHEMES if len(SCHEMES[name]) > 1),
            )
        numbers: dict[int | str, int] = {i: i for i in range(len(chosen))}
        return chosen, numbers | {label: int(label) for label in content.classes or () if int(label) < len(chosen)}
    first_spelling = {canonical(label): label for label in reversed(content.classes)}
    classes = [label for label in content.classes if first_spelling[canonical(label)] == label]
    scheme = chosen or scheme_of(classes, otherwise=name)
    if scheme.name in SCHEMES and scheme != SCHEMES[scheme.name]:
        raise MienError(f"a data set with other classes than the label scheme '{name}' can't have its name")
    place = {canonical(label): i for i, label in enumerate(scheme.classes)}
    indexes: dict[int | str, int] = {
        label: place[canonical(label)] for label in content.classes if canonical(label) in place
    }
    indexes |= {i: indexes[label] for i, label in enumerate(content.classes) if label in indexes}
    return scheme, indexes


def _read_votes(votes: Path, content: Source, kind: str) -> ferplus.Votes:
    if not content.numbered:
        raise MienError(
            f"votes are joined by row number, and the rows of this source ({kind}) have none",
            file=str(votes),
            expected="--votes with fer2013.csv or icml_face_data.csv",
        )
    if ferplus.COLUMN in content.columns:
        raise MienError("the source has votes already", file=str(votes))
    return ferplus.read_votes(votes)


def _checked(content: Source) -> Generator[list[Row | BadRow]]:
    """Chunks of rows with the sizes of their images; a row whose image doesn't decode becomes a bad row."""
    of_rows = chunks(content.rows, _CHUNK_ROWS, _bytes_of, _CHUNK_BYTES)
    if content.checked:
        yield from of_rows
        return
    first = next(of_rows, [])
    size = sum(map(_bytes_of, first))
    # Pillow lets other threads run only while it decodes, so with small images threads slow each other down.
    rows = itertools.chain([first], of_rows)
    if size >= _LARGE_IMAGE * len(first):
        yield from ordered_map(_check, rows, lambda chunk: sum(map(_bytes_of, chunk)))
    else:
        yield from map(_check, rows)


def _bytes_of(row: Row | BadRow) -> int:
    return len(row.image) if isinstance(row, Row) else 0


def _check(chunk: list[Row | BadRow]) -> list[Row | BadRow]:
    return [_sized(row) if isinstance(row, Row) else row for row in chunk]


def _sized(row: Row) -> Row | BadRow:
    if not row.image:
        return BadRow(row.id, "image", "the file is empty")
    try:
        height, width, _ = decode(row.image, "gray").shape
    except MienError as error:
        return BadRow(row.id, "image", error.message, error.expected)
    return replace(row, size=(width, height))


def _add(
    writer: Writer,
    row: Row,
    indexes: dict[int | str, int],
    content: Source,
    raters: ferplus.Votes | None,
) -> BadRow | None:
    """Write a row, or say why not."""
    if row.label is None:
        return BadRow(row.id, content.label_column, "no label")
    if len(row.id.encode()) > MAX_TEXT:
        return BadRow(row.id[:40] + "…", "id", f"{len(row.id):,} letters", f"at most {MAX_TEXT:,} bytes")
    if row.label not in indexes:
        expected = ", ".join(str(label) for label in indexes if isinstance(label, type(row.label)))
        return BadRow(row.id, content.label_column, f"'{row.label}' is no label", expected)
    split = row.split
    if split is None or not _SPLIT.fullmatch(split):
        return BadRow(row.id, "split", f"'{split}' can't be the name of a split", "letters, digits or '_'")
    if split not in writer.counts and len(writer.counts) == MAX_SPLITS:
        raise MienError(f"there are more than {MAX_SPLITS} splits", key="split", expected="names like train or test")
    assert row.size is not None
    extra = dict(row.extra)
    if raters is not None:
        extra[ferplus.COLUMN] = raters.of(int(row.id), split)
    writer.add(split, row.id, row.image, indexes[row.label], size=row.size, path=row.path, **extra)
    return None


def _error(bad: list[BadRow], source: Path) -> MienError:
    """An error of the first bad row, with up to 19 others and the hint at --skip-bad."""
    first, *others = (row.error(str(source)) for row in bad[:_MAX_SHOWN])
    count = (
        f"{len(bad)} bad row{'s' if len(bad) > 1 else ''}"
        if len(bad) < _MAX_SHOWN
        else f"{_MAX_SHOWN} bad rows or more"
    )
    hint = MienError(f"{count}, and so nothing is imported; --skip-bad goes on without them", file=str(source))
    return MienError(
        first.message, file=first.file, line=first.line, key=first.key, expected=first.expected, more=[*others, hint]
    )
