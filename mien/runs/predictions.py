"""A model's logits on labelled rows: what a run's `predictions/<role>.parquet` holds, or a file of someone else's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from mien.data.labels import canonical, check_classes
from mien.errors import FailedError, MienError, nearest
from mien.faces.ibug import POINTS
from mien.intervals import clusters
from mien.parquet import read_table
from mien.reading import reading
from mien.tasks import EXPRESSION

Labels = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Shares = npt.NDArray[np.float32]

# Sides, in pixels, of the squares that every landmark model is measured on: a face of a photo, and one as FER2013 has
# it. Both are gray at 48.
SIZES = (128, 48)

# Columns that are no class.
_KNOWN = ("id", "split", "label", "prob")
# What the predictions of others are to be.
FORMAT = "Parquet or CSV with a column id, split where ids alone aren't unique, and one of numbers for each class"
# How far probabilities may sum from 1: someone may have stored them with three digits.
_SLACK = 2e-3


# What tells a column of groups from those of the classes.
_GROUPED = b"mien.grouped_by"


@dataclass(frozen=True)
class People:
    """Whom each row shows, by a column of the data set: rows with one name, as of one person, belong together."""

    column: str
    names: tuple[str | None, ...]

    @cached_property
    def groups(self) -> Labels | None:
        """Which rows belong together, as `intervals.clusters` numbers them, int64 (n,)."""
        return clusters(self.names)

    def take(self, order: Iterable[int]) -> "People":
        """Those of the rows at these places, in this order."""
        return replace(self, names=tuple(self.names[i] for i in order))


def with_people(table: pa.Table, people: People | None) -> pa.Table:
    """A table of predictions with the column `group` at its end, which `read_people` finds again."""
    if people is None:
        return table
    names = pa.array([None if name is None else str(name) for name in people.names], pa.string())
    return table.append_column("group", names).replace_schema_metadata({_GROUPED: people.column.encode()})


def read_people(table: pa.Table) -> tuple[pa.Table, People | None]:
    """A stored table without its groups, and these; None where it has none."""
    column = (table.schema.metadata or {}).get(_GROUPED)
    if column is None:
        return table, None
    last = table.num_columns - 1
    if table.schema.field(last).type != pa.string():
        raise FailedError("these aren't predictions that mien wrote", expected="names in the column of groups")
    return table.remove_column(last), People(column.decode(errors="replace"), tuple(table.column(last).to_pylist()))


@dataclass(frozen=True)
class Predictions:
    """Labels int64 (n,) and logits float (n, k) of rows that have an id and a split; `file` is where they stand.

    `people` says which rows belong together, where the data set does.
    """

    file: Path
    ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: Labels
    logits: npt.NDArray[np.floating[Any]]
    classes: tuple[str, ...]
    people: "People | None" = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Split and id of each row; the two together are unique."""
        return list(zip(self.splits, self.ids, strict=True))

    @cached_property
    def groups(self) -> Labels | None:
        """Which rows belong together, as `intervals.clusters` numbers them, int64 (n,)."""
        return None if self.people is None else self.people.groups

    @cached_property
    def predicted(self) -> Labels:
        """The class with the highest logit for each row, int64 (n,); of equal ones the first."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    def take(self, order: Sequence[int]) -> "Predictions":
        """The rows at these places, in this order."""
        index = np.asarray(order, dtype=np.int64)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            splits=tuple(self.splits[i] for i in index),
            labels=self.labels[index],
            logits=self.logits[index],
            people=self.people and self.people.take(index),
        )


def read_predictions(file: Path) -> Predictions:
    """What a run stored: columns id, split, label and a logit a class.

    Raises MienError for the points of a landmark run, FailedError for anything else.
    """
    with reading(file, "the predictions"):
        table, people = read_people(read_table(file, what="the predictions"))
    if "predicted" in table.column_names:
        gives = "points" if "size" in table.column_names else "numbers"
        raise MienError(f"these are {gives}, not classes", file=str(file), expected=f"a run whose task is {EXPRESSION}")
    classes = tuple(table.column_names[3:])
    if table.column_names[:3] != ["id", "split", "label"] or not classes:
        raise FailedError(
            "these aren't predictions that mien wrote", file=str(file), expected="id, split, label, a column a class"
        )
    with reading(file, "the predictions"):
        check_classes(classes, "predictions")
        kinds = [pa.string(), pa.string(), pa.int64(), *[pa.float32()] * len(classes)]
        if table.schema.types != kinds or any(column.null_count for column in table.columns):
            raise FailedError("these aren't predictions that mien wrote", expected="a value of its type in every cell")
        labels = np.asarray(table["label"].to_numpy(), dtype=np.int64)
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
            raise FailedError(f"there are labels of {labels.min()} to {labels.max()} for {len(classes)} classes")
        logits = np.stack([table[name].to_numpy() for name in classes], axis=1)
        if not np.isfinite(logits).all():
            raise FailedError("some logits aren't finite numbers")
        ids, splits = (tuple(table[name].to_pylist()) for name in ("id", "split"))
    return Predictions(file, ids, splits, labels, logits, classes, people)


def read_points(file: Path, size: int) -> tuple[list[tuple[str, str]], Shares, Shares]:
    """Split and id of each face, and its true and predicted points, of what was stored at one size."""
    table = read_table(file, ["split", "id", "size", "true", "predicted"], "the predictions")
    with reading(file, "the predictions"):
        return _points_at(table.filter(pc.equal(table["size"], size)))


def read_groups(file: Path, size: int | None = None) -> Labels | None:
    """Which rows of a stored evaluation belong together, of points at one size, as `intervals.clusters` gives it."""
    with reading(file, "the predictions"):
        table, people = read_people(read_table(file, what="the predictions"))
        if people is None:
            return None
        names = people.names
        if size is not None:
            names = tuple(name for name, of in zip(names, table["size"].to_pylist(), strict=True) if of == size)
        return clusters(names)


def _points_at(table: pa.Table) -> tuple[list[tuple[str, str]], Shares, Shares]:
    def points(column: str) -> Shares:
        flat = table[column].combine_chunks().flatten()
        return np.asarray(flat, dtype=np.float32).reshape(len(table), POINTS, 2)

    rows = list(zip(table["split"].to_pylist(), table["id"].to_pylist(), strict=True))
    return rows, points("true"), points("predicted")


def read_foreign(file: Path, like: Predictions) -> tuple[Predictions, int]:
    """Someone else's predictions on the rows of `like`, in its order, and how many further rows the file has.

    The file is Parquet, or CSV in UTF-8 with a line of names. It has a column `id` (and `split`, where ids alone aren't
    unique) and either one column a class, holding probabilities or logits, or, in Parquet, one column `prob` with a
    list of probabilities in the order of `like.classes`.
    Numbers of which most rows lie in 0 … 1 and sum to 1 are probabilities; their logarithms become the logits.
    A column `label`, if there is one, must say what `like` does. Raises MienError, naming the row or column, for a
    row that is missing or stands there twice, a column that is no class, and numbers that are none, infinite or, as
    probabilities, don't sum to 1.
    """
    table = _read_table_of_others(file)
    columns = _columns(table, like.classes, file)
    ids = _texts(table, "id", file)
    splits = _texts(table, "split", file) if "split" in table.column_names else None
    if splits is None and len(set(like.ids)) < len(like):
        raise MienError("ids alone don't tell the rows apart", file=str(file), expected="a column 'split' as well")
    keys: list[Any] = ids if splits is None else list(zip(splits, ids, strict=True))
    order = _order(keys, list(like.ids) if splits is None else like.rows, file)
    numbers = _numbers(table, columns, like, ids, file)
    logits = _as_logits(numbers, ids, file, always="prob" in table.column_names)
    found = replace(like, file=file, logits=logits[order])
    if "label" in table.column_names:
        _check_labels(table["label"].take(pa.array(order)).to_pylist(), like, file)
    return found, len(keys) - len(like)


def _read_table_of_others(file: Path) -> pa.Table:
    try:
        if file.suffix.lower() != ".csv":
            return read_table(file, what="this Parquet", error=MienError)
        types = {"id": pa.string(), "split": pa.string()}
        table = csv.read_csv(file, convert_options=csv.ConvertOptions(column_types=types))
    except FileNotFoundError as error:
        raise MienError("there is no such file", file=str(file)) from error
    except MienError as error:
        error.expected = error.expected or FORMAT
        raise
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise MienError(f"this CSV can't be read ({reason})", file=str(file), expected=FORMAT) from error
    twice = next((name for place, name in enumerate(table.column_names) if name in table.column_names[:place]), None)
    if twice is not None:
        raise MienError(f"column '{twice}' stands there twice", file=str(file), key=twice)
    return table


def _columns(table: pa.Table, classes: tuple[str, ...], file: Path) -> list[str]:
    """The columns of the classes, in their order; none where `prob` holds them all."""
    names = table.column_names
    if "id" not in names:
        raise MienError("there is no column 'id'", file=str(file), expected=FORMAT)
    place = {canonical(name): i for i, name in enumerate(classes)}
    columns: list[str | None] = [None] * len(classes)
    for name in names:
        if name in _KNOWN:
            continue
        if canonical(name) not in place:
            raise MienError(
                f"column '{name}' is no class",
                file=str(file),
                key=name,
                expected=f"id and the classes {', '.join(classes)}",
                nearest=nearest(name, classes),
            )
        other = columns[place[canonical(name)]]
        if other is not None or "prob" in names:
            raise MienError(
                f"class '{name}' stands there twice, as '{other or 'prob'}' and as '{name}'", file=str(file), key=name
            )
        columns[place[canonical(name)]] = name
    if "prob" in names:
        return []
    missing = [name for name, column in zip(classes, columns, strict=True) if column is None]
    if missing:
        raise MienError(
            f"there is no column for class '{missing[0]}'",
            file=str(file),
            expected=f"a column for each of {', '.join(classes)}, or 'prob'",
        )
    return [column for column in columns if column is not None]


def _texts(table: pa.Table, name: str, file: Path) -> list[str]:
    kind = table[name].type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise MienError(f"column '{name}' holds {kind}", file=str(file), key=name, expected="text or whole numbers")
    values = table[name].to_pylist()
    if None in values:
        raise MienError(f"row number {values.index(None)} has no {name}", file=str(file), key=name)
    return [str(value) for value in values]


def _order(keys: list[Any], wanted: list[Any], file: Path) -> list[int]:
    """The place of each wanted row in the file."""
    place = {key: i for i, key in enumerate(keys)}
    if len(place) < len(keys):
        twice = next(key for i, key in enumerate(keys) if place[key] != i)
        raise MienError(f"row {told(twice)} stands there twice", file=str(file))
    missing = [key for key in wanted if key not in place]
    if missing:
        raise MienError(
            f"row {told(missing[0])} is missing",
            file=str(file),
            expected=f"all {len(wanted):,} rows; {len(missing):,} aren't there",
        )
    return [place[key] for key in wanted]


def told(row: Any) -> str:
    """A row as a sentence names it: its id, and its split where that is known.

    >>> told("17"), told(("test", "17"))
    ("'17'", "'17' of test")
    """
    return f"'{row[1]}' of {row[0]}" if isinstance(row, tuple) else f"'{row}'"


def _numbers(table: pa.Table, columns: list[str], like: Predictions, ids: list[str], file: Path) -> Values:
    """The numbers of all rows, float64 (rows, k), every one finite."""
    k = len(like.classes)
    if not columns:
        kind = table["prob"].type
        numeric = pa.types.is_nested(kind) and _is_number(getattr(kind, "value_type", pa.null()))
        lists = table["prob"].to_pylist() if numeric else [None] * len(ids)
        for i, row in enumerate(lists):
            if not isinstance(row, list) or len(row) != k:
                raise MienError(
                    f"'prob' of row '{ids[i]}' isn't a list of {k} numbers",
                    file=str(file),
                    key="prob",
                    expected=f"one each for {', '.join(like.classes)}",
                )
        names, values = ["prob"] * k, np.array(lists, dtype=np.float64).reshape(len(ids), k)
    else:
        for name in columns:
            kind = table[name].type
            if not _is_number(kind):
                raise MienError(f"column '{name}' holds {kind}", file=str(file), key=name, expected="numbers")
        names = columns
        values = np.stack([table[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in columns], axis=1)
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        row, column = broken[0]
        raise MienError(
            f"'{names[column]}' of row '{ids[row]}' isn't a finite number"
            + (f", nor are {len(broken) - 1:,} others" if len(broken) > 1 else ""),
            file=str(file),
            key=names[column],
        )
    return np.asarray(values, dtype=np.float64)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _as_logits(values: Values, ids: list[str], file: Path, *, always: bool) -> Values:
    sums = values.sum(axis=1)
    # A float32 softmax may round to more than 1.
    inside = np.all((values >= 0) & (values <= 1 + 1e-6), axis=1)
    right: npt.NDArray[np.bool_] = inside & (abs(sums - 1) <= _SLACK)
    if not (always or inside.all() or right.mean() > 0.5):
        return values
    if not right.all():
        row = int(np.argmin(right))
        what = f"sum to {sums[row]:.4g}" if inside[row] else "don't lie in 0 … 1"
        raise MienError(
            f"the probabilities of row '{ids[row]}' {what}"
            + (f"; {(~right).sum():,} rows are like that" if (~right).sum() > 1 else ""),
            file=str(file),
            expected="probabilities that sum to 1, or logits",
        )
    return np.log(np.maximum(values, np.finfo(np.float32).tiny))


def _check_labels(found: list[Any], like: Predictions, file: Path) -> None:
    index = {canonical(name): i for i, name in enumerate(like.classes)}
    for row, label, right in zip(like.rows, found, like.labels.tolist(), strict=True):
        meant = index.get(canonical(label)) if isinstance(label, str) else label
        if meant != right:
            raise MienError(
                f"row {told(row)} has label '{label}'",
                file=str(file),
                key="label",
                expected=f"'{like.classes[right]}' ({right}), as in {like.file}",
            )
