"""What the figures of all explanations share: a caption that names their rows, and what they are drawn from.

`explain_figures` and `saliency_figures` each have `FIGURES`, the functions that draw an explanation by its name. They
take its result and arrays, as a run's folder holds them, and whether the figures are public: then they show no row of
the data set.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from mien.explanation.storage import Arrays
from mien.report.style import Caption
from mien.report.wording import seeds, warning

Result = Mapping[str, Any]


class Drawing(NamedTuple):
    """A figure, the file's stem, and what it shows in words."""

    name: str
    figure: Figure
    text: str


Draw = Callable[[Result, Arrays, bool], Iterator[Drawing]]


def caption(result: Result, *more: str) -> Caption:
    """What every picture of an explanation says: run, protocol, role, split, seed and n, then what else there is."""
    where = f"{result['run']} · protocol {result['protocol']} · {rows_of(result)} · {seeds(result)}"
    return Caption((where, *more), warning(result))


def rows_of(result: Result) -> str:
    """The rows of an explanation in a few words.

    >>> rows_of({"role": "choose", "dataset": "fer2013", "split": "PublicTest", "n": 3589})
    'choose: fer2013 PublicTest, n = 3,589'
    """
    return f"{result['role']}: {result['dataset']} {result['split']}, n = {result['n']:,}"
