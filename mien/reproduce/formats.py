"""The tables of a reproduced report, as CSV and LaTeX."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mien import latex
from mien.files import csv_text
from mien.intervals import number, with_interval


class ScoreCell(NamedTuple):
    """A number with its 95 % interval, None where it has none; `sd` over seeds where there are several.

    A difference is `signed`.
    """

    value: float
    interval: Sequence[float] | None
    sd: float | None = None
    digits: int = 3
    signed: bool = False

    def __str__(self) -> str:
        if self.interval is None or self.interval[0] == self.interval[1]:
            return self.middle
        return with_interval(self.value, self.interval, self.form, unit=self.spread)

    @property
    def form(self) -> str:
        """The format of the value and of the ends of its interval."""
        return f"{'+' if self.signed else ''}.{self.digits}f"

    @property
    def spread(self) -> str:
        """The standard deviation after its sign, "" where there is none."""
        return "" if self.sd is None else f" ± {self.sd:.{self.digits}f}"

    @property
    def middle(self) -> str:
        """The value and its spread, without the interval."""
        return f"{number(self.value, self.form)}{self.spread}"

    @property
    def ends(self) -> str:
        """The interval as it stands below a value; "" where there is none."""
        if self.interval is None:
            return ""
        low, high = (number(end, self.form) for end in self.interval)
        return f"{low} to {high}" if self.signed else f"{low}–{high}"


Cell = str | ScoreCell


class PaperTable(NamedTuple):
    """A table with the file's name `key`; `notes` say what the columns are of. The first `words` columns hold words."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    notes: tuple[str, ...] = ()
    words: int = 1

    @property
    def where(self) -> str:
        """The notes as one text."""
        return " ".join(self.notes)


def as_csv(table: PaperTable) -> str:
    """The table as CSV; a score has four columns, of its value, the ends of its interval, and sd."""
    scores = [any(isinstance(row[place], ScoreCell) for row in table.rows) for place in range(len(table.columns))]
    head: list[str] = []
    for name, score in zip(table.columns, scores, strict=True):
        head += [name, f"{name}, low", f"{name}, high", f"{name}, sd"] if score else [name]
    lines: list[list[Any]] = [[*head, "measured on"]]
    for row in table.rows:
        line: list[Any] = []
        for cell, score in zip(row, scores, strict=True):
            line += _spread(cell) if score else [cell]
        lines.append([*line, table.where])
    return csv_text(lines)


def _spread(cell: Cell) -> list[Any]:
    if not isinstance(cell, ScoreCell):
        return [cell, "", "", ""]
    low, high = cell.interval or ("", "")
    return [cell.value, low, high, "" if cell.sd is None else cell.sd]


def as_latex(table: PaperTable) -> str:
    """The table as LaTeX (booktabs), with what it is of in its caption."""
    rows = [[str(cell) for cell in row] for row in table.rows]
    return latex.table(f"{table.title}. {table.where}", table.columns, [rows], table.words)
