"""Pages: one file of HTML each, of the templates beside this module, with one look."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mien import __version__


def render(template: str, content: Mapping[str, Any]) -> str:
    """The HTML of a template, with `content` under its names; text is escaped, Markup is not.

    A template extends `base.html.j2` (blocks `title`, `style`, `header`, `main`) and imports from `macros.html.j2`.
    Filters beside Jinja's: `firm` keeps numbers and their signs on one line, `thousands` writes 3589 as 3,589.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["firm"] = firm
    templates.filters["thousands"] = "{:,}".format
    return templates.get_template(template).render({**content, "version": __version__})


def firm(text: str) -> str:
    """The text with a number and its sign, or `n` and its number, never on two lines.

    >>> firm("n = 12, 5 %").count(chr(160))
    3
    """
    return re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?== )|(?<==) (?=\d)", "\N{NO-BREAK SPACE}", text)


def percent(share: float) -> str:
    """A share in whole per cent that never calls something nothing, or not all of it all.

    >>> percent(0.8889), percent(0.0001), percent(0.9999)
    ('89 %', 'less than 1 %', 'more than 99 %')
    """
    if 0 < share < 0.005:
        return "less than 1 %"
    if 0.995 <= share < 1:
        return "more than 99 %"
    return f"{100 * share:.0f} %"
