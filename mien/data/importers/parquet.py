"""Parquet with a column `image` (bytes, or {bytes, path}) and a label: mien's own data sets, Hugging Face's, or any."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from mien.data.importers import face_points, tables
from mien.data.importers.source import OFFICIAL_SPLITS, BadRow, Row, Source
from mien.data.labels import FER2013
from mien.errors import MienError
from mien.registry import register

LABELS = ("label", "emotion", "expression")
_SPLITS = ("split", "usage")
IDS = ("id", "row")
# Points are of the image as decoded: turned as its EXIF orientation says.
CONVENTION = "Parquet, pixel centres from 0"


@register("importer", "parquet")
def parquet(source: Path) -> Source | None:
    """A Parquet file, or a folder of `<split>-*.parquet`."""
    paths = tables.paths_of(source)
    if not paths:
        return None
    files = [tables.open_source(path) for path in paths]
    schema = files[0].schema_arrow
    for path, file in zip(paths, files, strict=True):
        if not file.schema_arrow.equals(schema):
            raise MienError(f"its columns differ from those of {paths[0].name}", file=str(path))
    total = tables.rows_in(files, source)
    image, label, split, key = (tables.column_called(schema, names) for names in (("image",), LABELS, _SPLITS, IDS))
    if image is None or not tables.is_image(schema.field(image).type):
        raise MienError("there is no column of images", file=str(source), expected="'image' as bytes or {bytes, path}")
    if label is None:
        raise MienError("there is no column of labels", file=str(source), expected="one of " + ", ".join(LABELS))
    splits = [tables.split_of(path) for path in paths]
    if split is None and None in splits and any(splits):
        raise MienError("some files are called by their split and others aren't", file=str(source))

    classes, usages = _classes(schema, label), None
    if classes is None and tables.is_text(schema.field(label).type):
        classes = tuple(sorted({value for value in tables.values_of(paths, label) if value is not None}))
    elif not pa.types.is_integer(schema.field(label).type):
        kind = schema.field(label).type
        raise MienError(f"the labels have the type {kind}", file=str(source), key=label, expected="integers or text")
    elif classes is None and split is not None and (label.lower(), split.lower()) == ("emotion", "usage"):
        # The challenge itself has these two columns, with these values.
        classes, usages = FER2013.classes, OFFICIAL_SPLITS

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
        labels=tables.values_of(paths, label) if split is None and None in splits else None,
        label_column=label,
        numbered=len(files) == 1 if key is None else {str(value) for value in ids} == set(map(str, range(total))),
        details=details,
        notes=notes,
    )


@dataclass(frozen=True)
class _Columns:
    """The columns that make a row; `usages` are the only allowed splits; `extra` gives new names and types."""

    image: str
    label: str
    split: str | None
    id: str | None
    usages: tuple[str, ...] | None
    extra: dict[str, tuple[str, pa.DataType]]

    @property
    def points(self) -> bool:
        """Whether the column `landmarks` is one of mien's own data sets."""
        return self.extra.get(face_points.COLUMN) == (face_points.COLUMN, face_points.KIND)

    @property
    def names(self) -> list[str]:
        """All columns to read."""
        return [name for name in (self.image, self.label, self.split, self.id, *self.extra) if name is not None]


def _classes(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The class names of the label column from the `huggingface` metadata, or None."""
    feature = tables.features_of(schema).get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _rows(files: list[tuple[str | None, Path]], columns: _Columns) -> Iterator[Row | BadRow]:
    number = count()
    for split, path in files:
        for values in tables.rows_of(path, columns.names):
            yield _row(values, split, next(number), columns)


def _row(values: dict[str, Any], split: str | None, number: int, columns: _Columns) -> Row | BadRow:
    row = str(number if columns.id is None else values[columns.id])
    if columns.split is not None:
        split = values[columns.split]
        if columns.usages is not None and split not in columns.usages:
            return BadRow(row, columns.split, f"'{split}' is no usage", ", ".join(columns.usages))
        if not isinstance(split, str):
            return BadRow(row, columns.split, "no split")
    image = tables.image_of(values[columns.image], row, columns.image)
    if isinstance(image, BadRow):
        return image
    extra = {new: values[name] for name, (new, _) in columns.extra.items()}
    if columns.points and values[face_points.COLUMN] is not None:
        placed = face_points.listed_points(row, face_points.COLUMN, image[0], values[face_points.COLUMN])
        if isinstance(placed, BadRow):
            return placed
    return Row(split, row, image[0], values[columns.label], path=image[1], extra=extra)
