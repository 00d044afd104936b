"""The tables of a comparison, for the screen and as a page of Markdown."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mien import latex
from mien.files import write_json, write_text
from mien.intervals import choice_of, number, percent, with_interval
from mien.tasks import Score

_NUMBERS = ("difference", "95 % interval", "p", "p by Holm", "n")


class Table(NamedTuple):
    """A title, the names of the columns, and the cells; columns from number `right` on hold numbers."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: int


class Compared(NamedTuple):
    """What a comparison found: plain data, its tables, and for pairs of names pictures of where they disagree."""

    result: dict[str, Any]
    tables: Sequence[Table]
    galleries: Mapping[tuple[str, str], Path] = {}


def pair_cells(pair: dict[str, Any], score: Score) -> tuple[str, ...]:
    """A pair's difference, interval, p values and verdict, in the units of a score."""
    scale, digits = (100, 2) if score.percent else (1, 3)
    form = f"+.{digits}f"
    difference, low, high = (number(scale * value, form) for value in (pair["difference"], *pair["interval"]))
    return difference, f"{low} to {high}", p_value(pair["p"]), p_value(pair["p_holm"]), pair["verdict"]


def tables(compared: dict[str, Any]) -> list[Table]:
    """The results of `compare` as tables: contenders, pairs, pairs without copies, and pairs by class."""
    where = _where(compared)
    contenders = [
        (
            one["name"],
            one["protocol"] or "not known",
            _contamination(one["contaminated"]),
            with_interval(one["accuracy"], one["interval"]),
            "–" if one["sd"] is None else f"{one['sd']:.4f}",
            str(len(one["each"])),
            " ".join(f"{value:.3f}" for value in one["each"]),
        )
        for one in compared["contenders"]
    ]
    by_class = [
        (f"{pair['a']} − {pair['b']}", name, *_numbers(one), f"{one['n']:,}", one["verdict"])
        for pair in compared["pairs"]
        for name, one in pair["per_class"].items()
    ]
    clean = compared.get("clean")
    twin = [_pairs(clean, f"the same without exact copies, {_where(clean)}")] if clean else []
    return [
        Table(
            f"accuracy, {where}",
            ("contender", "protocol", "seen these rows", "accuracy [95 %]", "sd", "seeds", "each"),
            contenders,
            3,
        ),
        _pairs(compared, f"differences of accuracy, {where}"),
        *twin,
        Table(
            f"differences of recall by class, {compared['split']}; p by Holm over all classes of all pairs",
            ("pair", "class", *_NUMBERS, "verdict"),
            by_class,
            10,
        ),
    ]


def _where(compared: dict[str, Any]) -> str:
    return f"{compared['split']}, n = {compared['n']:,}{over_groups(compared)}"


def over_groups(found: Mapping[str, Any]) -> str:
    """What intervals are over, where it isn't rows, for the end of a title; "" for rows.

    >>> over_groups({"groups": 118, "grouped_by": "subject"}), over_groups({"groups": None})
    ('; intervals over the choice of persons (118 groups by subject)', '')
    """
    return f"; intervals {choice_of(found)}" if found.get("groups") else ""


def _pairs(compared: dict[str, Any], title: str) -> Table:
    rows = [
        (
            f"{pair['a']} − {pair['b']}",
            *_numbers(pair),
            f"{pair['n']:,}",
            pair["verdict"],
            pair["test"],
            pair["protocol"] or "not known",
            _contamination(pair["contaminated"]),
        )
        for pair in compared["pairs"]
    ]
    return Table(title, ("pair", *_NUMBERS, "verdict", "test", "protocol", "seen these rows"), rows, 10)


def _numbers(pair: dict[str, Any]) -> tuple[str, str, str, str]:
    if pair["difference"] is None:
        return "–", "–", "–", "–"
    difference, low, high = (number(value, "+.3f") for value in (pair["difference"], *pair["interval"]))
    return difference, f"{low} to {high}", p_value(pair["p"]), p_value(pair["p_holm"])


def p_value(value: float) -> str:
    """A p value as tables show it.

    >>> p_value(0.0123), p_value(0.00001)
    ('0.012', '< 0.001')
    """
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _contamination(share: float | None) -> str:
    if share is None:
        return "not known"
    return f"contaminated: {percent(share)}" if share else "no"


def markdown_lines(columns: Sequence[str], rows: Iterable[Sequence[object]], right: int = 99) -> Iterator[str]:
    """A table in Markdown, line by line; the columns from number `right` on are set to the right.

    >>> list(markdown_lines(("run", "n"), [("cnn1", 9)], right=1))
    ['| run | n |', '| --- | ---: |', '| cnn1 | 9 |']
    """
    marks = ["---:" if place >= right else "---" for place in range(len(columns))]
    for row in (columns, marks, *rows):
        yield f"| {' | '.join(without_tags(str(cell)).replace('|', '/') for cell in row)} |"


def without_tags(text: str) -> str:
    """A text for Markdown in which nothing but a line break is a tag of HTML: names of classes are anyone's.

    >>> without_tags("<img src=x>, p < .05<br>")
    '&lt;img src=x>, p < .05<br>'
    """
    return re.sub(r"<(?=[A-Za-z/!?])(?!br>)", "&lt;", text)


def markdown(compared: dict[str, Any], shown: Sequence[Table], command: str) -> str:
    """The tables of a comparison as a page of Markdown; `command` is what made it."""
    names = " and ".join(dict.fromkeys(one["name"] for one in compared["contenders"]))
    lines = [f"# {names}", "", f"Written by `{command}`. What each number is stands in docs/statistics.md.", ""]
    for table in shown:
        rows = markdown_lines(table.columns, table.rows, table.right)
        lines += [f"## {without_tags(table.title[0].upper() + table.title[1:])}", "", *rows, ""]
    lines += [f"- {without_tags(note)}" for note in compared["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def write_comparison(folder: Path, compared: dict[str, Any], shown: Sequence[Table], command: str) -> None:
    """Write `comparison.json`, `.md` and, of its tables, `.tex` into a folder; numbers and names, never a face."""
    write_json(folder / "comparison.json", compared)
    write_text(folder / "comparison.md", markdown(compared, shown, command))
    write_text(folder / "comparison.tex", as_latex(shown, command))


def as_latex(shown: Sequence[Table], command: str) -> str:
    """The tables of a comparison as LaTeX (booktabs); `command` is what made it.

    >>> print(as_latex([Table("seen, n = 9", ("pair", "p"), [("b − a", "< 0.001")], 1)], "mien compare a b"))
    % Written by mien compare a b
    <BLANKLINE>
    % \\usepackage{booktabs}
    \\begin{table}
      \\centering
      \\caption{Seen, n = 9}
      \\begin{tabular}{lr}
        \\toprule
        pair & p \\\\
        \\midrule
        b $-$ a & $<$ 0.001 \\\\
        \\bottomrule
      \\end{tabular}
    \\end{table}
    <BLANKLINE>
    """
    parts = [f"% Written by {command}\n"]
    for one in shown:
        parts.append(latex.table(one.title[:1].upper() + one.title[1:], one.columns, [one.rows], one.right))
    return "\n".join(parts)
