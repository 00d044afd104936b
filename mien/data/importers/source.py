"""What an importer hands over: rows, good and bad, and what is known about all of them.

An importer is a function that takes a path and answers None when that is none of its format, else a `Source`:

    @register("importer", "one-class-folder")
    def one_class_folder(source: Path) -> Source | None:
        if not source.is_dir():
            return None
        files = sorted(source.glob("*.png"))
        rows = (Row("train", file.name, file.read_bytes(), "happy") for file in files)
        return Source(rows, classes=("happy", "sad"), total=len(files))

It only looks and reads. Checking that images decode, labels, splits, bad rows, votes and writing is mien's work.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mien.errors import MienError


@dataclass(frozen=True, slots=True)
class Row:
    """One image with its label.

    `split` is None where splits are to be made; `image` are an image file's bytes; `label` is an index into the
    source's classes or one of their names; `size` is (width, height), or None when mien shall decode the image to
    check it and to learn its size; `path` is the image's file name where it had one; `extra` are the values of the
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
    """A row that can't be imported: its id, the column at fault ("" for the row itself), the reason.

    `line` is the line of a text file, counted from 1; `file` is that file, below the source, where it isn't the source
    itself.

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
    """The rows of a source, read as they are asked for, and what is known about all of them.

    `classes` are the names that integer labels index, or all names that labels may be; None when the source has
    integers and doesn't say what they mean. `columns` are the extra columns by name. `labels` is the label of every
    row, good or bad, in order, where no row has a split and so mien has to make them; rows with the same of `groups`,
    one for each label, then share their split. `label_column` is how the source calls its labels. `numbered` says that
    ids are the row numbers of the challenge's CSV, by which votes can be joined. `checked` says that each row has its
    image's size, and an image that is known to decode. `details` go into the card, and so do `notes`: sentences that a
    reader must see.
    """

    rows: Iterable[Row | BadRow]
    classes: tuple[str, ...] | None
    total: int | None = None
    columns: Mapping[str, pa.DataType] = field(default_factory=dict)
    labels: Sequence[int | str | None] | None = None
    groups: Sequence[str] | None = None
    label_column: str = "label"
    numbered: bool = False
    checked: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


# A larger image file is refused unread: no picture of a face needs it.
MAX_IMAGE_BYTES = 64 * 2**20
MAX_SPLITS = 20

OFFICIAL_SPLITS = ("Training", "PublicTest", "PrivateTest")
