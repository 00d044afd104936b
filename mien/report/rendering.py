"""Pages: one file of HTML each, of the templates beside this module, with one look."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mien import __version__


def render(template: str, content: Mapping[str, Any], *folders: Path) -> str:
    """The HTML of a template here or in further `folders`, with `content` by name; text is escaped, Markup is not.

    A template extends `base.html.j2` (blocks `title`, `style`, `header`, `main`) and imports from `macros.html.j2`.
    Filters beside Jinja's: `firm` keeps numbers and their signs on one line, `thousands` writes 3589 as 3,589,
    `data_uri` puts a picture into the page.
    """
    templates = Environment(
        loader=FileSystemLoader([Path(__file__).parent, *folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["firm"] = firm
    templates.filters["data_uri"] = data_uri
    templates.filters["thousands"] = "{:,}".format
    return templates.get_template(template).render({**content, "version": __version__})


def firm(text: str) -> str:
    """The text with a number and its sign, `n` and its number, or an interval, never on two lines.

    >>> firm("n = 12, 5 %").count(chr(160))
    3
    """
    text = re.sub(r"(?<=\d)–(?=\d)", "\N{WORD JOINER}–\N{WORD JOINER}", text)
    return re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?== )|(?<==) (?=\d)", "\N{NO-BREAK SPACE}", text)


def data_uri(picture: bytes, kind: str = "png") -> str:
    """A picture as a data URI, which a page can hold.

    >>> data_uri(b"PNG")
    'data:image/png;base64,UE5H'
    """
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
