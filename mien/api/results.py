"""What the API answers: scores with their intervals, tables, figures, comparisons, explanations."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from mien.errors import unknown
from mien.html_table import html_table, text

T = TypeVar("T")


class Table(Sequence[T], Generic[T]):
    """Things in order, shown as a table; runs and data sets are found by their names as well.

    >>> mien.open_workspace().runs["first/2"].name
    'first/2'
    """

    def __init__(
        self,
        title: str,
        items: Sequence[T],
        row: Callable[[T], Mapping[str, object]],
        find: Callable[[str], T] | None = None,
    ) -> None:
        self._title, self._items, self._row, self._find = title, items, row, find

    @overload
    def __getitem__(self, key: int | str) -> T: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[T]: ...
    def __getitem__(self, key: int | str | slice) -> T | Sequence[T]:
        if not isinstance(key, str):
            return self._items[key]
        if self._find is None:
            raise TypeError(f"{self._title}: found by place, not by name")
        return self._find(key)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        rows = [self._row(item) for item in self._items]
        lines = [list(rows[0]), *([text(cell) for cell in row.values()] for row in rows)] if rows else []
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([self._title, *told])

    def _repr_html_(self) -> str:
        return html_table(self._title, [self._row(item) for item in self._items])


@dataclass(frozen=True, repr=False)
class Score:
    """A number with its 95 % interval.

    >>> Score(0.4763, (0.46, 0.4926))
    0.476 [0.460, 0.493]
    """

    value: float
    interval: tuple[float, float]

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return "{:.3f} [{:.3f}, {:.3f}]".format(self.value, *self.interval)


@dataclass(frozen=True)
class Metrics:
    """What was measured of a run on the n rows of one role.

    `scores` are by their names in `metrics.json`: accuracy, balanced_accuracy, … (shares of rows, 0 … 1), of points
    nme_outer_eyes, … at the size of a photo's face. `contaminated` is the share of the rows that the run was fit on.
    `content` holds the whole file.

    >>> metrics = mien.open_workspace().runs["first/1"].metrics
    >>> metrics.role, metrics.split, metrics.n, metrics.contaminated
    ('report', 'test', 20, 0.0)
    >>> list(metrics.scores)
    ['accuracy', 'balanced_accuracy', 'macro_f1', 'weighted_f1']
    """

    run: str
    dataset: str
    protocol: str
    role: str
    split: str
    n: int
    contaminated: float
    scores: Mapping[str, Score]
    content: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Metrics":
        """What a metrics file says; of what was measured at several sizes, the first."""
        part = content if "interval" in content else next(iter(content["sizes"].values()))
        scores = {
            name: Score(part[name], tuple(ends))
            for name, ends in part["interval"].items()
            if isinstance(part.get(name), float)
        }
        about = {one.name: content.get(one.name, "") for one in fields(cls)[:-2]}
        return cls(**about, scores=scores, content=content)

    @property
    def accuracy(self) -> Score:
        """The share of rows that are right."""
        return self["accuracy"]

    def __getitem__(self, name: str) -> Score:
        if name in self.scores:
            return self.scores[name]
        raise unknown(f"{self.run} has no {name}", name, self.scores)

    def _repr_html_(self) -> str:
        title = f"{self.run}, protocol {self.protocol}, {self.role} role: {self.dataset}, {self.split}, n = {self.n:,}"
        if self.contaminated:
            title += f"; contaminated: {100 * self.contaminated:.1f} % of these rows were trained on"
        rows = [{"score": name.replace("_", " "), "with 95 % interval": of} for name, of in self.scores.items()]
        return html_table(title, rows)


@dataclass(frozen=True, repr=False)
class Figure:
    """A picture that a notebook shows; `file` is its PNG.

    >>> mien.open_workspace().runs["first/1"].figure("confusion")
    Figure('confusion-report.png')
    """

    file: Path

    def __repr__(self) -> str:
        return f"Figure({self.file.name!r})"

    def _repr_png_(self) -> bytes:
        return self.file.read_bytes()


@dataclass(frozen=True)
class Pair:
    """Two of what was compared: the first one's score less the second's, and whether that can be chance.

    `p` is of this pair alone, `p_holm` corrected for all pairs of the comparison; `size` is that of the faces, in
    pixels, where runs are compared at several.
    """

    a: str
    b: str
    n: int
    difference: Score
    p: float
    p_holm: float
    verdict: str
    size: int | None = None


@dataclass(frozen=True)
class Comparison:
    """All pairs of what was compared; `content` is what `mien compare --json` prints of them.

    >>> comparison = mien.compare("first/1", "first/2")
    >>> [(pair.a, pair.b, pair.n) for pair in comparison.pairs]
    [('first/1', 'first/2', 20)]
    """

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    content: Mapping[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        title = "; ".join([f"differences on {self.content['split']}", *self.notes])
        return html_table(title, [vars(pair) for pair in self.pairs])


@dataclass(frozen=True)
class Explanation:
    """What a model looks at: sentences by the name of each explanation, why others are left out, and pictures."""

    run: str
    role: str
    split: str
    n: int
    sentences: Mapping[str, Sequence[str]]
    left_out: Mapping[str, str]
    figures: tuple[Figure, ...]

    def _repr_html_(self) -> str:
        said = [{"": name, "what it shows": words} for name, of in self.sentences.items() for words in of]
        said += [{"": name, "what it shows": f"left out: {reason}"} for name, reason in self.left_out.items()]
        pictures = [b64encode(figure._repr_png_()).decode() for figure in self.figures]
        table = html_table(f"{self.run}, {self.role} role: {self.split}, n = {self.n:,}", said)
        return table + "".join(f'<p><img src="data:image/png;base64,{picture}"></p>' for picture in pictures)
