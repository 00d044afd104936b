"""From source files to a data set: mien recognises the format, checks every row, and stores all or nothing.

An importer for another format is a function in a plugin; `mien.data.importers.source` has the contract and an example.
"""

import contextlib
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from mien.data.dataset import Dataset, Writer, open_dataset, write_dataset
from mien.data.importers import (  # noqa: F401  (they register themselves)
    affectnet,
    ck_plus,
    dlib,
    drawing,
    expw,
    fer2013_csv,
    ferplus,
    folder,
    jaffe,
    known,
    landmark_parquet,
    layouts,
    parquet,
    patterned,
    pts,
    raf_db,
    table,
    wflw,
)
from mien.data.importers.checks import bytes_of, checked
from mien.data.importers.schemes import asked_scheme, scheme_for
from mien.data.importers.source import MAX_SPLITS, Asked, BadRow, Row, Source
from mien.data.labels import FACE, SCHEMES, LabelScheme
from mien.data.people import PERSONS
from mien.errors import MienError, shown, unknown
from mien.parallel import chunks
from mien.parquet import MAX_TEXT
from mien.progress import console, progress
from mien.registry import call, names
from mien.workspace import Workspace, check_name

__all__ = ["BadRow", "Row", "Source", "import_dataset"]

# Tried in this order, after those of plugins.
_BUILT_IN = (
    "landmark-parquet",
    "parquet",
    "fer2013-csv",
    "dlib-xml",
    "raf-db",
    "affectnet",
    "expw",
    "ck-plus",
    "jaffe",
    "wflw",
    "table",
    "pts",
    "folder",
)
# The formats that look at an option.
_TAKE = {
    "--image-column": ("parquet", "table"),
    "--label-column": ("parquet", "table"),
    "--metadata": ("table",),
}
_LOOKED_FOR = (
    "a CSV with the columns emotion and pixels, or with paths of images and labels; Parquet with an image and a label "
    "or landmarks; a folder of <split>/<class>/images or <class>/images, of images with .pts files, or of a public set "
    "that docs/data.md lists; or dlib's XML"
)
_MAX_SHOWN = 20
_CHUNK_ROWS = 64
_CHUNK_BYTES = 8 * 2**20
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
    image_column: str | None = None,
    label_column: str | None = None,
    metadata: Path | None = None,
    group: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Import a file or folder of any known format as the data set `name`, whole or not at all.

    `votes` is FER+'s `fer2013new.csv`, joined by row as the column `votes`. `labels` names the scheme that integer
    labels index, or that class names are matched to, or the classes themselves in order, "a,b,c". A row that can't be
    imported is an error that shows up to 20 of them, unless `skip_bad`: then the card lists them all. `image_column`
    and `label_column` name columns of a table, and `metadata` is the table of a folder's labels. `columns` are further
    columns by name, each a pattern that is searched in the paths of images: what its group matches is the value.

    Where the source has no splits, mien draws them by `seed`: equal images stay in one split, and so do rows with one
    value in the column `group`, or without it in any of `columns` and in columns that are called like a person.
    Warnings go to standard error and into the card. A set of one class is an error unless `labels` asks for it.
    """
    check_name(name, "a data set")
    if not source.exists():
        raise MienError("there is no such file or folder", file=str(source), expected=_LOOKED_FOR)
    patterns = {column: patterned.compiled(column, pattern) for column, pattern in (columns or {}).items()}
    asked = Asked(asked_scheme(labels, name), image_column, label_column, metadata, patterns)
    kind, content = _open(source, asked)
    scheme, indexes = scheme_for(content, source, asked, name)
    raters = None if votes is None else _read_votes(votes, content, kind)
    stored, details = {**content.columns, **patterned.kinds(patterns, content)}, dict(content.details)
    if raters is not None:
        stored[ferplus.COLUMN] = ferplus.KIND
        details["votes"] = str(votes)
    notes, warnings = list(content.notes), []
    plan = None
    together = _together(content, patterns, group, stored)
    if content.drawn:
        plan = drawing.plan(
            patterned.rows(content, patterns), content, indexes, together, seed, name, skip_bad=skip_bad
        )
        details["made_splits"] = plan.details
        notes.append(plan.note)
        content = _open(source, asked)[1]
    elif group is not None:
        details["group"] = group

    skipped: list[str] = []
    facts: dict[str, Any] = {"columns": stored, "notes": notes, "skipped": skipped, "details": details}
    with (
        write_dataset(workspace, name, scheme, source=str(source), format=kind, **facts) as writer,
        progress(f"importing {name}", content.total) as done,
        contextlib.closing(_rows(content, patterns, plan)) as checked,
    ):
        bad: list[BadRow] = []
        number = 0
        for chunk in checked:
            for row in chunk:
                problem = row if isinstance(row, BadRow) else _add(writer, row, indexes, content, raters)
                if problem is not None:
                    bad.append(problem)
                number += 1
            done(len(chunk))
            if len(bad) >= _MAX_SHOWN and not skip_bad:
                break
        if bad and not skip_bad:
            raise _error(bad, number, source)
        if raters is not None:
            raters.check_rows(number)
        skipped.extend(map(str, bad))
        if 2 * len(bad) > number:
            warnings.append(f"{len(bad):,} of {number:,} rows are bad and were left out: is this the right source?")
        _check_classes(writer, scheme, source, labels, content.label_column)
        if content.numbered and known.renamed(scheme, writer.counts):
            raise MienError(
                f"these are FER2013's rows, whose numbers don't mean the classes of {scheme.name}",
                file=str(source),
                key="--labels",
                expected="no --labels; an experiment's 'labels: ferplus-8' takes the raters' majority",
            )
        difference = known.difference(scheme, writer.counts)
        if difference is not None:
            warnings.append(difference)
        notes += warnings
    for note in warnings:
        told = "\n".join(map(shown, note.split("\n")))
        console.print(f"warning: {told}", style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    return open_dataset(workspace, name)


def _open(source: Path, asked: Asked) -> tuple[str, Source]:
    """The name of the first importer that takes the source, and the rows that it gives."""
    try:
        if source.is_file() and source.stat().st_size == 0:
            raise MienError("the file is empty", file=str(source), expected=_LOOKED_FOR)
        plugins = [name for name in names("importer") if name not in _BUILT_IN]
        built_in = _BUILT_IN if asked.metadata is None else ("table",)
        for name in (*plugins, *built_in):
            content: Source | None = call("importer", name, source=source, asked=asked)
            if content is not None:
                _check_asked(name, source, asked)
                return name, content
    except OSError as error:
        raise MienError(f"the source can't be read ({error.strerror or error})", file=str(source)) from error
    raise layouts.unknown(source, _LOOKED_FOR)


def _check_asked(name: str, source: Path, asked: Asked) -> None:
    """Raise MienError for an option that the importer wouldn't look at."""
    given = {"--image-column": asked.image_column, "--label-column": asked.label_column, "--metadata": asked.metadata}
    for option, value in given.items():
        if value is not None and name in _BUILT_IN and name not in _TAKE[option]:
            raise MienError(
                f"{option} has no meaning for a source of the format {name}",
                file=str(source),
                expected="one of the formats " + ", ".join(_TAKE[option]),
            )


def _together(
    content: Source, patterns: Mapping[str, Any], group: str | None, columns: Mapping[str, Any]
) -> tuple[str, ...]:
    """The columns whose values keep rows in one split."""
    if group is not None:
        if group not in columns:
            raise (
                unknown(f"there is no column '{group}' to group by", group, columns, key="--group")
                if columns
                else (
                    MienError(
                        f"there is no column '{group}' to group by",
                        key="--group",
                        expected="--column NAME=PATTERN to find one in the names of files",
                    )
                )
            )
        return tuple(dict.fromkeys((*content.groups, group)))
    persons = [column for column in content.columns if column.strip().lower() in PERSONS]
    return tuple(dict.fromkeys((*content.groups, *patterns, *persons)))


def _check_classes(writer: Writer, scheme: LabelScheme, source: Path, labels: str | None, column: str) -> None:
    """Raise MienError for rows of one class that nobody asked for: mostly, what was taken for the class is none."""
    used = [name for place, name in enumerate(scheme.classes) if any(of[place] for of in writer.counts.values())]
    if len(used) != 1 or scheme == FACE or labels is not None:
        return
    total = sum(map(sum, writer.counts.values()))
    asking = scheme.name if scheme.name in SCHEMES else ",".join(scheme.classes)
    raise MienError(
        f"all {total:,} rows are of one class, '{used[0]}'" if total > 1 else f"the only row is of class '{used[0]}'",
        file=str(source),
        key=column,
        expected=f"two classes or more; --labels {asking} if this is right, --labels face for faces without labels",
    )


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


def _rows(content: Source, patterns: Mapping[str, Any], plan: drawing.Plan | None) -> Generator[list[Row | BadRow]]:
    """Chunks of checked rows with all their columns, and with the splits of a plan."""
    rows = patterned.rows(content, patterns)
    if plan is None:
        yield from checked(rows, content.checked)
    else:
        yield from chunks(drawing.planned(rows, plan), _CHUNK_ROWS, bytes_of, _CHUNK_BYTES)


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
        known = [str(label) for label in indexes if isinstance(label, type(row.label))]
        expected = ", ".join(known or writer.classes)
        return BadRow(row.id, content.label_column, f"'{row.label}' is no label", expected)
    split = row.split
    if split is None:
        return BadRow(row.id, "split", "no split", "one, as other rows have")
    if not _SPLIT.fullmatch(split):
        return BadRow(row.id, "split", f"'{split}' can't be the name of a split", "letters, digits or '_'")
    if split not in writer.counts and len(writer.counts) == MAX_SPLITS:
        raise MienError(f"there are more than {MAX_SPLITS} splits", key="split", expected="names like train or test")
    assert row.size is not None
    extra = dict(row.extra)
    if raters is not None:
        extra[ferplus.COLUMN] = raters.of(int(row.id), split)
    writer.add(split, row.id, row.image, indexes[row.label], size=row.size, path=row.path, **extra)
    return None


def _error(bad: list[BadRow], rows: int, source: Path) -> MienError:
    """An error of the first bad row, with up to 19 others; the hint at --skip-bad only where most rows are good."""
    first, *others = (row.error(str(source)) for row in bad[:_MAX_SHOWN])
    count = (
        f"{len(bad)} bad row{'s' if len(bad) > 1 else ''}"
        if len(bad) < _MAX_SHOWN
        else f"{_MAX_SHOWN} bad rows or more"
    )
    if 2 * len(bad) < rows:
        hint = MienError(f"{count}, and so nothing is imported; --skip-bad goes on without them", file=str(source))
    else:
        hint = MienError(
            f"of {rows:,} row{'s' if rows > 1 else ''} read, {len(bad):,} bad, and so nothing is imported",
            file=str(source),
            expected="a source of which most rows are good",
        )
    return MienError(
        first.message, file=first.file, line=first.line, key=first.key, expected=first.expected, more=[*others, hint]
    )
