"""Text as LaTeX sets it: its special characters, and the signs that our tables have."""

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
    **{mark: f"\\{mark}" for mark in "&%$#_"},
}


def escape(text: str) -> str:
    """`text` with every mark that LaTeX takes for itself, or doesn't know, written so that it shows.

    >>> print(escape("88.9 % – cnn_1 ± 0.02"))
    88.9 \\% -- cnn\\_1 $\\pm$ 0.02
    """
    return "".join(_MARKS.get(mark, mark) for mark in text)
