"""A table's rows in three formats: Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mien.latex import escape


class Score(NamedTuple):
    """A number with its 95 % interval, None where it has none; `sd` over seeds where there are several."""

    value: float
    interval: Sequence[float] | None
    sd: float | None = None
    digits: int = 3

    def __str__(self) -> str:
        text = f"{self.value:.{self.digits}f}"
        if self.sd is not None:
            text += f" ± {self.sd:.{self.digits}f}"
        if self.interval is None or self.interval[0] == self.interval[1]:
            return text
        return f"{text} [{self.interval[0]:.{self.digits}f}, {self.interval[1]:.{self.digits}f}]"


Cell = str | Score


class Table(NamedTuple):
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


def as_csv(table: Table) -> str:
    """The table as CSV; a score has four columns, of its value, the ends of its interval, and sd."""
    scores = [any(isinstance(row[place], Score) for row in table.rows) for place in range(len(table.columns))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head: list[str] = []
    for name, score in zip(table.columns, scores, strict=True):
        head += [name, f"{name}, low", f"{name}, high", f"{name}, sd"] if score else [name]
    writer.writerow([*head, "measured on"])
    for row in table.rows:
        line: list[Any] = []
        for cell, score in zip(row, scores, strict=True):
            line += _spread(cell) if score else [cell]
        writer.writerow([*line, table.where])
    return text.getvalue()


def _spread(cell: Cell) -> list[Any]:
    if not isinstance(cell, Score):
        return [cell, "", "", ""]
    low, high = cell.interval or ("", "")
    return [cell.value, low, high, "" if cell.sd is None else cell.sd]


def as_latex(table: Table) -> str:
    """The table as LaTeX (booktabs), with what it is of in its caption."""
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape(table.title)}. {escape(table.where)}}}",
        rf"  \begin{{tabular}}{{{'l' * table.words}{'r' * (len(table.columns) - table.words)}}}",
        r"    \toprule",
        rf"    {' & '.join(map(escape, table.columns))} \\",
        r"    \midrule",
        *(rf"    {' & '.join(escape(str(cell)) for cell in row)} \\" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def markdown_lines(table: Table) -> Iterator[str]:
    """The table's rows as Markdown."""
    marks = ["---" if place < table.words else "---:" for place in range(len(table.columns))]
    for row in (table.columns, marks, *table.rows):
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
