"""FER+: the votes of ten raters for each row of the challenge's CSV, as `fer2013new.csv` gives them."""

import csv
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mien.data.labels import FERPLUS_VOTES
from mien.errors import MienError

COLUMN = "votes"
KIND = pa.list_(pa.int16(), len(FERPLUS_VOTES))
_HEADER = ("Usage", *("NF" if name == "not a face" else name for name in FERPLUS_VOTES))
_MAX_VOTES = 1000
_MAX_ROWS = 1_000_000


@dataclass(frozen=True)
class Votes:
    """The split that each row names, and its votes, int16 (rows, 10) in the order of `FERPLUS_VOTES`."""

    file: Path
    usage: tuple[str, ...]
    counts: npt.NDArray[np.int16]

    def of(self, row: int, split: str) -> list[int]:
        """The votes of a row of that split; MienError if the row has none, or names another split."""
        if row >= len(self.usage):
            raise MienError(f"row {row} has no votes: there are {len(self.usage):,} rows of votes", file=str(self.file))
        if self.usage[row] != split:
            raise MienError(
                f"row {row} is in {self.usage[row]} here and in {split} in the data set",
                file=str(self.file),
                line=row + 2,
                key="Usage",
                expected="votes for the same rows in the same order",
            )
        votes: list[int] = self.counts[row].tolist()
        return votes

    def check_rows(self, rows: int) -> None:
        """Raise MienError unless there are votes for exactly that many rows."""
        if rows != len(self.usage):
            raise MienError(
                f"there are {len(self.usage):,} rows of votes, but {rows:,} rows of images; row {rows} has no image",
                file=str(self.file),
            )


def read_votes(path: Path) -> Votes:
    """The votes of `fer2013new.csv`: the columns Usage, neutral … contempt, unknown, NF, in any order."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(islice(csv.reader(file), _MAX_ROWS))
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise MienError(f"the votes can't be read ({reason})", file=str(path)) from error
    names = [name.strip().lower() for name in lines[0]] if lines else []
    missing = [name for name in _HEADER if name.lower() not in names]
    if missing:
        raise MienError(
            f"the votes have no column '{missing[0]}'",
            file=str(path),
            line=1,
            expected="the columns " + ", ".join(_HEADER),
        )
    places = [names.index(name.lower()) for name in _HEADER]
    usage: list[str] = []
    counts = np.empty((len(lines) - 1, len(FERPLUS_VOTES)), np.int16)
    for row, fields in enumerate(lines[1:]):
        if len(fields) != len(names):
            raise MienError(
                f"row {row} has {len(fields)} columns", file=str(path), line=row + 2, expected=str(len(names))
            )
        usage.append(fields[places[0]].strip())
        for i, place in enumerate(places[1:]):
            value = fields[place].strip()
            if not (value.isascii() and value.isdigit() and len(value) <= 4 and int(value) <= _MAX_VOTES):
                raise MienError(
                    f"'{value[:20]}' is no number of votes",
                    file=str(path),
                    line=row + 2,
                    key=f"row {row}, {_HEADER[i + 1]}",
                    expected=f"0 to {_MAX_VOTES}",
                )
            counts[row, i] = int(value)
    return Votes(path, tuple(usage), counts)
