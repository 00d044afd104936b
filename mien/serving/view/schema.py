"""What the workspace view answers, as types: the API's schema is made of them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mien.runs.stored import State
from mien.serving.schema import Problem, Share
from mien.workspace import NAME

Name = Annotated[str, Field(pattern=f"^{NAME}$")]
# A run by name and number, as `cnn1/3`: never a path.
RunName = Annotated[str, Field(pattern=f"^{NAME}/[1-9][0-9]{{0,8}}$")]
Text = Annotated[str, Field(max_length=1000)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Table(_Shape):
    """A table as a verb prints it: columns from number `right` on hold numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    right: int


class DatasetLine(_Shape):
    """A data set in the list; of one that is damaged only its name and what is wrong with it."""

    name: str
    labels: str = ""
    splits: dict[str, int] = {}
    error: Problem | None = None


class RunLine(_Shape):
    """A run in the list: how far it is, and each role's score with interval, split and n, as `mien runs` has it.

    Of one that is damaged only its name, its state and what is wrong with it.
    """

    run: str
    state: State
    task: str = ""
    dataset: str = ""
    protocol: str = ""
    epochs: int | None = None
    epochs_done: int | None = None
    choose: str | None = None
    report: str | None = None
    error: Problem | None = None


class Overview(_Shape):
    """A workspace's folder, data sets and runs."""

    root: str
    datasets: list[DatasetLine]
    runs: list[RunLine]


class DatasetCard(_Shape):
    """A data set: rows by split and class, what an audit has found, and how many likely label errors are listed."""

    name: str
    labels: str
    classes: list[str]
    splits: dict[str, list[int]]
    sizes: dict[str, int]
    columns: list[str]
    source: str
    parent: str | None
    notes: list[str]
    audit: list[Table] | None
    suspects: bool
    problems: list[Problem]


class Suspect(_Shape):
    """A row whose label is likely wrong, and the class that somebody chose who looked at it; None before that."""

    rank: int
    split: str
    id: str
    given: str
    suggested: str
    p_given: Share | None
    p_suggested: Share | None
    chosen: str | None


class Suspects(_Shape):
    """The likely label errors of a data set, and the file that keeps what was chosen."""

    dataset: str
    classes: list[str]
    rows: list[Suspect]
    looked: int
    file: str
    command: str


class Choice(_Shape):
    """The class that a row shows, to whoever looked at it; None takes that back."""

    split: Text
    id: Text
    label: Text | None


class Kept(_Shape):
    """How many rows were looked at, and the file that says so."""

    looked: int
    file: str


class Epoch(_Shape):
    """What a training came to by the end of an epoch; null where it wasn't measured."""

    number: int
    fit_loss: float | None
    fit_score: float | None
    choose_loss: float | None
    choose_score: float | None


class Curve(_Shape):
    """What a training is watched by, and its epochs; `percent` says that the score is shown in per cent."""

    score: str
    percent: bool
    higher: bool
    epochs: list[Epoch]


class Measured(_Shape):
    """What was measured on one role: tables and sentences as `mien evaluate` prints them."""

    role: str
    split: str
    n: int
    warning: str
    tables: list[Table]
    sentences: list[str]
    confusion: bool


class Explanation(_Shape):
    """An explanation of a run: whose rows, what is said of it, and the names of its pictures."""

    title: str
    rows: str
    warning: str
    sentences: list[str]
    pictures: list[str]


class RunDetail(_Shape):
    """A run: how far it is, its curve, scores and explanations, and what of it is missing or damaged."""

    run: str
    state: State
    reason: str
    folder: str
    task: str
    dataset: str
    protocol: str
    epochs: int | None
    epochs_done: int
    curve: Curve | None
    measured: list[Measured]
    explanations: list[Explanation]
    problems: list[Problem]


class Confusion(_Shape):
    """Counts by true class (down) and told class (across).

    Of many classes those with the most wrong rows, and the rest as one last class: `merged` says how many that are.
    """

    run: str
    role: str
    dataset: str
    split: str
    n: int
    classes: list[str]
    merged: int
    matrix: list[list[int]]
    told: str
    warning: str


class Row(_Shape):
    """A row that a run was measured on: the probability of the class that it told, and of the true one."""

    split: str
    id: str
    p_told: Share
    p_true: Share


class Cell(_Shape):
    """The rows of a cell of a confusion matrix, the surest first: how many there are, and some of them."""

    n: int
    rows: list[Row]


class Disagreement(_Shape):
    """A row on which two runs disagree: its label, and what each says how surely."""

    split: str
    id: str
    label: str
    kind: str
    said: list[str]
    surely: list[Share]


class Compared(_Shape):
    """Which of two runs is better, in words, as `mien compare` finds it, and rows on which they disagree."""

    verdicts: list[str]
    tables: list[Table]
    notes: list[str]
    dataset: str
    disagreements: list[Disagreement]


class RowOf(_Shape):
    """A row, in the address of a request."""

    split: Text
    id: Text


class CellOf(_Shape):
    """A cell of a confusion matrix, in the address of a request; its rows from number `first` on."""

    role: Annotated[str, Field(pattern="^(choose|report)$")]
    true: Text
    told: Text
    first: Annotated[int, Field(ge=0, le=10**9)] = 0
    most: Annotated[int, Field(ge=1, le=200)] = 48


class RoleOf(_Shape):
    """A role, in the address of a request."""

    role: Annotated[str, Field(pattern="^(choose|report)$")]


class Pair(_Shape):
    """Two runs, in the address of a request."""

    a: RunName
    b: RunName
