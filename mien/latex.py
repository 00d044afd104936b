"""Text and tables as LaTeX sets them: its special characters, and the signs that our tables have."""

from collections.abc import Iterable, Sequence

_MARKS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "±": r"$\pm$",
    "→": r"$\to$",
    "≥": r"$\ge$",
    "−": r"$-$",
    "×": r"$\times$",
    "²": r"$^2$",
    "<": r"$<$",
    ">": r"$>$",
    **{mark: f"\\{mark}" for mark in "&%$#_"},
}


def escape(text: str) -> str:
    """`text` with every mark that LaTeX takes for itself, or doesn't know, written so that it shows.

    >>> print(escape("88.9 % – cnn_1 ± 0.02"))
    88.9 \\% -- cnn\\_1 $\\pm$ 0.02
    """
    return "".join(_MARKS.get(mark, mark) for mark in text)


def table(caption: str, columns: Sequence[str], parts: Iterable[Iterable[Sequence[str]]], words: int = 1) -> str:
    """A table (booktabs) of text, with a rule between its parts; all but the first `words` columns are set right."""
    lines = [_row(columns)]
    for part in parts:
        lines += [r"    \midrule", *map(_row, part)]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escape(caption)}}}",
            rf"  \begin{{tabular}}{{{'l' * words}{'r' * (len(columns) - words)}}}",
            r"    \toprule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return rf"    {' & '.join(map(escape, cells))} \\"
