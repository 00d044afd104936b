"""Parquet or Arrow with a column of images and one of labels: mien's own data sets, Hugging Face's, or any.

An image is bytes, {bytes, path}, or a path below the file's folder. Columns have usual names, or those of
`--image-column` and `--label-column`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from mien.data.importers import face_points, tables
from mien.data.importers.source import OFFICIAL_SPLITS, Asked, BadRow, Row, Source
from mien.data.labels import FER2013, MAX_CLASSES
from mien.errors import MienError
from mien.registry import register

IMAGES = ("image", "img", "image_bytes", "img_bytes", "picture", "photo")
LABELS = ("label", "labels", "emotion", "expression", "class")
PATHS = ("file_name", "filename", "file_path", "image_path", "img_path", "path")
_SPLITS = ("split", "usage")
IDS = ("id", "row")
_OFFICIAL = {name.lower(): name for name in OFFICIAL_SPLITS}
# Points are of the image as decoded: turned as its EXIF orientation says.
CONVENTION = "Parquet, pixel centres from 0"


@register("importer", "parquet")
def parquet(source: Path, asked: Asked) -> Source | None:
    """A Parquet file, or a folder of Parquet files or of what `save_to_disk` wrote."""
    paths = tables.paths_of(source)
    if not paths:
        return None
    files = [tables.open_source(path) for path in paths]
    schema = files[0].schema_arrow
    for path, file in zip(paths, files, strict=True):
        if not file.schema_arrow.equals(schema):
            raise MienError(f"its columns differ from those of {paths[0].name}", file=str(path))
    total = tables.rows_in(files, source)
    image, label = _image_column(schema, source, asked), _label_column(schema, source, asked)
    others = pa.schema([field for field in schema if field.name not in (image, label)])
    split, key = (tables.column_called(others, names) for names in (_SPLITS, IDS))
    splits = [tables.split_of(path, source) for path in paths]
    if split is None and None in splits and any(splits):
        raise MienError("some files are called by their split and others aren't", file=str(source))

    classes, usages = _classes(schema, label), None
    if classes is None and tables.is_text(schema.field(label).type):
        classes = tuple(sorted({value for value in tables.values_of(paths, label) if value is not None}))
    elif not pa.types.is_integer(schema.field(label).type):
        kind = schema.field(label).type
        raise MienError(f"the labels have the type {kind}", file=str(source), key=label, expected="integers or text")
    elif classes is None and asked.labels is not None:
        numbers = {value for value in tables.values_of(paths, label) if value is not None and value >= 0}
        if len(numbers) <= MAX_CLASSES:
            classes = tuple(map(str, sorted(numbers)))
    elif classes is None and split is not None and (label.lower(), split.lower()) == ("emotion", "usage"):
        # The challenge itself has these two columns, with these values.
        classes = FER2013.classes
    if split is not None and split.lower() == "usage":
        told = [str(value).lower() for value in tables.values_of(paths, split)]
        usages = _OFFICIAL if 3 * sum(usage in _OFFICIAL for usage in told) >= len(told) else None

    ids = tables.values_of(paths, key) if key is not None else []
    if not tables.are_ids(ids, total):
        key = None
    extra, left_out = tables.extra_columns(schema, {image, label, split, key})
    details: dict[str, Any] = {"left_out": left_out} if left_out else {}
    notes: list[str] = []
    if dict(extra.values()).get(face_points.COLUMN) == face_points.KIND:
        restricted = face_points.restricted(source, [*splits, *(tables.values_of(paths, split) if split else [])])
        details |= face_points.details(CONVENTION, restricted)
        notes = face_points.notes(CONVENTION, restricted)
    return Source(
        rows=_rows(list(zip(splits, paths, strict=True)), _Columns(image, label, split, key, usages, extra)),
        classes=classes,
        total=total,
        columns=dict(extra.values()),
        drawn=split is None and None in splits,
        label_column=label,
        numbered=len(files) == 1 if key is None else {str(value) for value in ids} == set(map(str, range(total))),
        details=details,
        notes=notes,
    )


@dataclass(frozen=True)
class _Columns:
    """The columns that make a row; `extra` gives new names and types.

    `usages` are the only allowed splits, by their names in small letters.
    """

    image: str
    label: str
    split: str | None
    id: str | None
    usages: dict[str, str] | None
    extra: dict[str, tuple[str, pa.DataType]]

    @property
    def points(self) -> bool:
        """Whether the column `landmarks` is one of mien's own data sets."""
        return self.extra.get(face_points.COLUMN) == (face_points.COLUMN, face_points.KIND)

    @property
    def names(self) -> list[str]:
        """All columns to read."""
        return [name for name in (self.image, self.label, self.split, self.id, *self.extra) if name is not None]


def _image_column(schema: pa.Schema, source: Path, asked: Asked) -> str:
    """The column of images: of a usual name with bytes, else with paths."""
    if asked.image_column is not None:
        column = tables.column_asked(schema, asked.image_column, "--image-column", source)
        kind = schema.field(column).type
        if not tables.is_image(kind) and not tables.is_text(kind):
            raise MienError(
                f"the column '{column}' has the type {kind}",
                file=str(source),
                key="--image-column",
                expected="bytes, {bytes, path} or paths",
            )
        return column
    named = [found for name in (*IMAGES, *PATHS) if (found := tables.column_called(schema, (name,))) is not None]
    for fits in (tables.is_image, tables.is_text):
        for column in named:
            if fits(schema.field(column).type):
                return column
    raise MienError(
        f"there is no column of images among {', '.join(map(repr, schema.names[:20]))}",
        file=str(source),
        expected="--image-column with one of them, of bytes, {bytes, path} or paths",
    )


def _label_column(schema: pa.Schema, source: Path, asked: Asked) -> str:
    if asked.label_column is not None:
        return tables.column_asked(schema, asked.label_column, "--label-column", source)
    found = tables.column_called(schema, LABELS)
    if found is None:
        raise MienError(
            f"there is no column of labels among {', '.join(map(repr, schema.names[:20]))}",
            file=str(source),
            expected="--label-column with one of them",
        )
    return found


def _classes(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The class names of the label column from the `huggingface` metadata, or None."""
    feature = tables.features_of(schema).get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _rows(files: list[tuple[str | None, Path]], columns: _Columns) -> Iterator[Row | BadRow]:
    number = count()
    for split, path in files:
        for values in tables.rows_of(path, columns.names):
            yield _row(values, split, next(number), columns, path.parent)


def _row(values: dict[str, Any], split: str | None, number: int, columns: _Columns, folder: Path) -> Row | BadRow:
    row = str(number if columns.id is None else values[columns.id])
    if columns.split is not None:
        split = values[columns.split]
        if columns.usages is not None and str(split).lower() not in columns.usages:
            return BadRow(row, columns.split, f"'{split}' is no usage", ", ".join(columns.usages.values()))
        if columns.usages is not None:
            split = columns.usages[split.lower()]
        if not isinstance(split, str):
            return BadRow(row, columns.split, "no split")
    image = tables.image_of(values[columns.image], row, columns.image, folder)
    if isinstance(image, BadRow):
        return image
    extra = {new: values[name] for name, (new, _) in columns.extra.items()}
    if columns.points and values[face_points.COLUMN] is not None:
        placed = face_points.listed_points(row, face_points.COLUMN, image[0], values[face_points.COLUMN])
        if isinstance(placed, BadRow):
            return placed
    return Row(split, row, image[0], values[columns.label], path=image[1], extra=extra)
