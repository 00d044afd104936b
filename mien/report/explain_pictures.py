"""What the pictures of all explanations share: a caption that names their rows, and how they are stored.

`explain_figures` and `saliency_figures` each give `pictures(run, public)`: those of the explanations that a run's
folder holds. Public ones show no row of the data set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from mien.report.rendering import data_uri
from mien.report.style import Caption, png
from mien.report.wording import seeds, warning


@dataclass(frozen=True)
class Picture:
    """A PNG of an explanation: the file's stem, the explanation that it belongs to, and what it shows in words."""

    name: str
    explanation: str
    png: bytes
    text: str

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return data_uri(self.png)


class Drawing(NamedTuple):
    """A figure, the file's stem, and what it shows in words."""

    name: str
    figure: Figure
    text: str

    def picture(self, explanation: str) -> Picture:
        """The figure as a PNG."""
        return Picture(self.name, explanation, png(self.figure), self.text)


def caption(result: Mapping[str, Any], *more: str) -> Caption:
    """What every picture of an explanation says: run, protocol, role, split, seed and n, then what else there is."""
    where = f"{result['run']} · protocol {result['protocol']} · {rows_of(result)} · {seeds(result)}"
    return Caption((where, *more), warning(result))


def rows_of(result: Mapping[str, Any]) -> str:
    """The rows of an explanation in a few words.

    >>> rows_of({"role": "choose", "dataset": "fer2013", "split": "PublicTest", "n": 3589})
    'choose: fer2013 PublicTest, n = 3,589'
    """
    return f"{result['role']}: {result['dataset']} {result['split']}, n = {result['n']:,}"
