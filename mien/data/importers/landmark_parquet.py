"""Parquet with a column `image` and the 68 points of each face, but no expressions: HELEN's and others' points.

Points are 136 numbers, x and y in turn, or 68 pairs: pixel centres from 0 of the image as it is decoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.data.importers import face_points, tables
from mien.data.importers.parquet import CONVENTION, IDS, IMAGES, LABELS
from mien.data.importers.source import Asked, BadRow, Row, Source
from mien.data.labels import FACE
from mien.errors import MienError
from mien.parquet import ArrowStream
from mien.registry import register

_SPLITS = ("split", "usage", "subset")
_IDS = (*IDS, "name")


@dataclass(frozen=True)
class _File:
    """A file, the names of its columns of images, points and splits, and the split that its name gives."""

    path: Path
    opened: pq.ParquetFile | ArrowStream
    image: str
    points: str
    split_column: str | None
    split: str | None


@register("importer", "landmark-parquet")
def landmark_parquet(source: Path, asked: Asked) -> Source | None:
    """A Parquet file, or a folder of Parquet files, with images and landmarks and without labels.

    Files of one folder need not have the same columns; the data set has those that all files share.
    """
    if asked.image_column is not None or asked.label_column is not None:
        return None
    files = [_file(path, source) for path in tables.paths_of(source)]
    if not files or None in files:
        return None
    known = [file for file in files if file is not None]
    paths = [file.path for file in known]
    total = tables.rows_in((file.opened for file in known), source)
    named = [file.split_column is not None or file.split is not None for file in known]
    if any(named) and not all(named):
        path = known[named.index(False)].path
        expected = f"a column {', '.join(_SPLITS)} in each file, or in none"
        raise MienError("nothing says of which split its rows are", file=str(path), expected=expected)

    schema, left_out = _shared(known)
    key = tables.column_called(schema, _IDS)
    if key is not None and not tables.are_ids(tables.values_of(paths, key), total):
        key = None
    extra, of_no_type = tables.extra_columns(schema, {key})
    left_out += of_no_type
    splits = [
        value for file in known if file.split_column for value in tables.values_of([file.path], file.split_column)
    ]
    limited = face_points.restricted(source, {*splits, *(file.path.stem for file in known)})
    notes = face_points.notes(CONVENTION, limited)
    if len(known) > 1 and left_out:
        notes.append("columns left out, since not every file has them: " + ", ".join(left_out))
    return Source(
        rows=_rows(known, key, extra),
        classes=FACE.classes,
        total=total,
        columns={face_points.COLUMN: face_points.KIND, **dict(extra.values())},
        drawn=not all(named),
        details=face_points.details(CONVENTION, limited) | ({"left_out": left_out} if left_out else {}),
        notes=notes,
    )


def _file(path: Path, source: Path) -> _File | None:
    """A file of landmarks; None for one that has labels or no points."""
    opened = tables.open_source(path)
    schema = opened.schema_arrow
    image, label, split = (tables.column_called(schema, names) for names in (IMAGES, LABELS, _SPLITS))
    points = tables.column_called(schema, (face_points.COLUMN,))
    if label is not None or points is None or image is None or not tables.is_image(schema.field(image).type):
        return None
    return _File(path, opened, image, points, split, None if split else tables.split_of(path, source))


def _shared(files: list[_File]) -> tuple[pa.Schema, list[str]]:
    """The extra columns that every file has, with types that hold all values; and the names of the others."""
    fields, left_out = [], []
    for name in dict.fromkeys(name for file in files for name in file.opened.schema_arrow.names):
        having = [file for file in files if name in file.opened.schema_arrow.names]
        if any(name in (file.image, file.points, file.split_column) for file in having):
            continue
        schemas = [pa.schema([file.opened.schema_arrow.field(name)]) for file in having]
        try:
            unified = pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowException:
            unified = None
        if unified is None or len(having) < len(files):
            left_out.append(name)
        else:
            fields.append(unified.field(name))
    return pa.schema(fields), left_out


def _rows(files: list[_File], key: str | None, extra: dict[str, tuple[str, pa.DataType]]) -> Iterator[Row | BadRow]:
    number = count()
    for file in files:
        wanted = [name for name in (file.image, file.points, file.split_column, key, *extra) if name is not None]
        for values in tables.rows_of(file.path, wanted):
            yield _row(values, str(next(number) if key is None else values[key]), file, extra)


def _row(values: dict[str, Any], row: str, file: _File, extra: dict[str, tuple[str, pa.DataType]]) -> Row | BadRow:
    split = file.split
    if file.split_column is not None:
        split = values[file.split_column]
        if not isinstance(split, str):
            return BadRow(row, file.split_column, "no split")
    image = tables.image_of(values[file.image], row, file.image, file.path.parent)
    if isinstance(image, BadRow):
        return image
    if not isinstance(values[file.points], list):
        return BadRow(row, file.points, "no points")
    placed = face_points.listed_points(row, file.points, image[0], values[file.points])
    if isinstance(placed, BadRow):
        return placed
    others = {new: values[name] for name, (new, _) in extra.items()}
    return Row(split, row, image[0], FACE.classes[0], path=image[1], extra={**others, face_points.COLUMN: placed})
