"""Rows as a notebook shows them."""

from collections.abc import Mapping, Sequence
from html import escape


def html_table(title: str, rows: Sequence[Mapping[str, object]]) -> str:
    """Rows by column as HTML, with a title above; all text is escaped.

    >>> html_table("<2", [{"n": 1234}])
    '<p>&lt;2</p><table><tr><th>n</th></tr><tr><td>1,234</td></tr></table>'
    """
    lines = (
        [f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ())],
        *([f"<td>{escape(text(cell))}</td>" for cell in row.values()] for row in rows),
    )
    return f"<p>{escape(title)}</p><table>" + "".join(f"<tr>{''.join(line)}</tr>" for line in lines) + "</table>"


def text(value: object) -> str:
    """A value in a cell."""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
