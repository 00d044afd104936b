"""What an importer gives: rows, good and bad, and facts about all of them.

An importer is a function that takes a path and returns a `Source`, or None for a path that isn't of its format:

    @register("importer", "one-class-folder")
    def one_class_folder(source: Path) -> Source | None:
        if not source.is_dir():
            return None
        files = sorted(source.glob("*.png"))
        rows = (Row("train", file.name, file.read_bytes(), "happy") for file in files)
        return Source(rows, classes=("happy", "sad"), total=len(files))

It only reads. mien checks images and labels, makes splits, handles bad rows, joins votes and writes the data set.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mien.errors import MienError


@dataclass(frozen=True, slots=True)
class Row:
    """One image with its label.

    `split` is None if mien shall make the splits; `image` holds an image file's bytes; `label` is an index into the
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
    and doesn't say what they mean. `columns` are the extra columns by name. If no row has a split, mien makes the
    splits: then `labels` gives the label of every row, good or bad, in order, and `groups`, if any, a group for each;
    rows of one group share a split. `label_column` is the source's name for its labels. `numbered` means that ids are
    the row numbers of the challenge's CSV, by which votes can be joined. `checked` means that each row has its image's
    size, and that its image decodes. `details` and `notes`, sentences that a reader must see, go into the card.
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


# A larger image file is refused without reading it: no picture of a face needs so many bytes.
MAX_IMAGE_BYTES = 64 * 2**20
MAX_SPLITS = 20

OFFICIAL_SPLITS = ("Training", "PublicTest", "PrivateTest")
