"""What an importer gives: rows, good and bad, and facts about all of them.

An importer is a function that takes a path and returns a `Source`, or None for a path that isn't of its format:

    @register("importer", "one-class-folder")
    def one_class_folder(source: Path) -> Source | None:
        if not source.is_dir():
            return None
        files = sorted(source.glob("*.png"))
        rows = (Row("train", file.name, file.read_bytes(), "happy") for file in files)
        return Source(rows, classes=("happy", "sad"), total=len(files))

It only reads. mien checks images and labels, draws splits, handles bad rows, joins votes and writes the data set.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mien.data.labels import LabelScheme
from mien.errors import MienError


@dataclass(frozen=True, slots=True)
class Row:
    """One image with its label.

    `split` is None if mien shall draw the splits; `image` holds an image file's bytes; `label` is an index into the
    source's classes or one of their names; `size` is (width, height), or None if mien shall decode the image to
    check it and to learn its size; `path` is the image's file name if it has one; `extra` holds the values of the
    source's extra columns.
    """

    split: str | None
    id: str
    image: bytes
    label: int | str | None
    size: tuple[int, int] | None = None
    path: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be imported: its id, the column at fault ("" for the whole row), the reason.

    `line` is the line of a text file, from 1; `file` is that file, below the source, unless it is the source itself.

    >>> str(BadRow("17", "pixels", "2303 values", "2304 (48 × 48)"))
    'row 17, pixels: 2303 values; expected 2304 (48 × 48)'
    >>> str(BadRow("a.jpg", "landmarks", "67 points", "68", 71, "a.pts"))
    'a.pts:71: row a.jpg, landmarks: 67 points; expected 68'
    """

    row: str
    column: str
    reason: str
    expected: str | None = None
    line: int | None = None
    file: str | None = None

    def error(self, source: str | None) -> MienError:
        """The bad row as an error of that source."""
        file = "/".join(part for part in (source, self.file) if part) or None
        key = f"row {self.row}, {self.column}" if self.column else f"row {self.row}"
        return MienError(self.reason, file=file, line=self.line, key=key, expected=self.expected)

    def __str__(self) -> str:
        line = self.line if self.file else None
        return str(BadRow(self.row, self.column, self.reason, self.expected, line, self.file).error(None))


@dataclass(frozen=True)
class Source:
    """The rows of a source, which are read lazily, and facts about all of them.

    `classes` are the names that integer labels index, or all names that labels may be; None if the source has integers
    and doesn't say what they mean. `columns` are the extra columns by name; rows that share a value of one of `groups`
    stay in one split where mien draws splits. It does so where no row has a split, which `drawn` says: then the
    importer is called twice, and must give the same rows. `label_column` is the source's name for its labels. `scheme`
    is the built-in label scheme that the source is known to have. `numbered` means that ids are the row numbers of the
    challenge's CSV, by which votes can be joined. `checked` means that each row has its image's size, and that its
    image decodes. `details` and `notes`, sentences that a reader must see, go into the card.
    """

    rows: Iterable[Row | BadRow]
    classes: tuple[str, ...] | None
    total: int | None = None
    columns: Mapping[str, pa.DataType] = field(default_factory=dict)
    drawn: bool = False
    groups: tuple[str, ...] = ()
    label_column: str = "label"
    scheme: str | None = None
    numbered: bool = False
    checked: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Asked:
    """What a user says of a source: an importer that has a parameter `asked` gets it.

    `labels` is the scheme of its labels, or one of the user's own; `image_column` and `label_column` name columns;
    `metadata` is a table with the labels of the images of a folder; `patterns` find further columns, by name, in the
    names of files.
    """

    labels: LabelScheme | None = None
    image_column: str | None = None
    label_column: str | None = None
    metadata: Path | None = None
    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)


# A larger image file is refused without reading it: no picture of a face needs so many bytes.
MAX_IMAGE_BYTES = 64 * 2**20
MAX_SPLITS = 20

OFFICIAL_SPLITS = ("Training", "PublicTest", "PrivateTest")
