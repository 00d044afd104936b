"""What the JSON files of a run must say so that they can be used, as types that their readers check them by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mien.data.labels import check_classes
from mien.errors import FailedError
from mien.reading import Count, Digest, Name, Number, Stored, read_object
from mien.tasks import task_of

State = Literal["waiting", "running", "stopped", "failed", "interrupted", "finished"]
Interval = tuple[Number, Number]
# A temperature divides logits.
Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class Status(Stored):
    """`status.json`."""

    state: State
    reason: str | None = None


class Rows(Stored):
    """The rows of a role: their split and number."""

    split: str
    n: Count


class TrainedOn(Stored):
    """The data set that a run was trained on."""

    name: Name
    fingerprint: Digest
    notes: list[str] = []
    roles: dict[str, Rows] = {}
    excluded: dict[str, dict[str, Count]] = {}


class Session(Stored):
    """One sitting of a training."""

    started: str
    command: list[str] = []
    duration_s: Number = 0.0
    devices: Count = 1
    nodes: Count = 1
    note: str = ""


class Environment(Stored):
    """`environment.json`."""

    dataset: TrainedOn
    command: list[str] | str = []
    sessions: Annotated[list[Session], Field(min_length=1)] | None = None
    duration_s: Number = 0.0
    seed: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    devices: Count = 1
    nodes: Count = 1
    precision: str = "float32"
    images_per_second: Number | None = None
    start_weights: dict[str, Any] | None = None


class Called(Stored):
    """A component as a stored experiment names it."""

    name: str


class Op(Stored):
    """An op as a stored experiment names it."""

    op: str


class Trained(Stored):
    """The section `train` of a stored experiment."""

    epochs: Annotated[int, Field(ge=1, strict=True)]


class OnData(Stored):
    """The section `dataset` of a stored experiment."""

    name: Name


class Plan(Stored):
    """A stored experiment, without its components: whatever it says is of its type."""

    name: str = ""
    task: str = ""
    dataset: OnData | None = None
    protocol: Called | None = None
    model: Called | None = None
    train: Trained | None = None
    plugins: list[str] = []
    exclude: list[str] = []


class Listed(Plan):
    """A stored experiment that says what a list of runs shows."""

    dataset: OnData
    protocol: Called
    train: Trained


class Pixels(Stored):
    """The images that a model was trained on."""

    size: Annotated[int, Field(ge=8, le=1024, strict=True)]
    color: Literal["gray", "rgb"]


class Header(Stored):
    """What a file of weights, or an exported one, says of itself."""

    experiment: str = ""
    task: str = ""
    limits: str = ""
    labels: str
    classes: Annotated[list[str], Field(min_length=1)]
    input: Pixels
    dataset: OnData | None = None
    protocol: Called | None = None
    seed: int = 0
    exclude: list[str] = []
    temperature: Temperature | None = None

    @model_validator(mode="after")
    def _named(self) -> "Header":
        check_classes(self.classes, self.labels)
        return self


class WeightsHeader(Header):
    """What a file of weights says of itself: also of which model, and what goes before it."""

    model: Called
    preprocess: list[Op]


class OnnxHeader(Header):
    """What an exported file says of itself: also which output is the network's."""

    raw_output: str


class OfClass(Stored):
    """The scores of one class."""

    precision: Number
    recall: Number
    f1: Number
    support: Count


class Seen(Stored):
    """Which share of the rows a model has seen; None where nobody looked."""

    rows: Number
    exact: Number
    near: Number | None


class Calibrated(Stored):
    """How far probabilities can be believed, before and after the temperature."""

    temperature: Temperature
    before: dict[str, Any]
    after: dict[str, Any]


class Slice(Stored):
    """The rows that have one value of a column."""

    slice: str
    n: Count


class Dropped(Stored):
    """The rows that have no class of the model."""

    rows: Count
    classes: dict[str, Count]


class Scores(Stored):
    """The scores of some rows."""

    n: Count
    accuracy: Number | None = None
    # Of points also those of each part of the face.
    interval: dict[str, Interval | dict[str, Interval]] = {}
    per_class: dict[str, OfClass] = {}


class Measured(Scores):
    """`metrics.json`, of whichever task; what a task needs beyond this is its own."""

    run: str = ""
    task: str = ""
    dataset: str = ""
    protocol: str
    role: str = ""
    split: str
    seeds: list[int] = []
    contaminated: Number
    parameters: dict[str, Any] = {}
    clean: Scores | None = None
    near_clean: Scores | None = None
    overlap: Seen | None = None
    # It was text once.
    tta: Scores | str | None = None
    calibration: Calibrated | None = None
    votes: dict[str, Any] | None = None
    slices: dict[str, list[Slice]] = {}
    dropped: Dropped | None = None
    excluded: dict[str, dict[str, Count]] = {}
    sizes: Annotated[dict[str, Scores], Field(min_length=1)] | None = None
    mean_shape: Scores | None = None
    score: dict[str, Any] | None = None


def read_metrics(file: Path) -> dict[str, Any]:
    """What was measured, as `mien evaluate` wrote it; FailedError for a file that isn't whole, naming the key.

    Raises FileNotFoundError where nothing was measured.
    """
    content = read_object(file, Measured, "what was measured")
    try:
        needed = task_of(content).needed
    except TypeError as error:
        raise FailedError("what was measured can't be read (its score)", file=str(file), key="score") from error
    if missing := needed - content.keys():
        raise FailedError(f"the metrics lack {', '.join(sorted(missing))}", file=str(file))
    _check_scores(content, file)
    return content


def _check_scores(content: Mapping[str, Any], file: Path) -> None:
    """Every interval is of a score, a number; that of points stands by size."""
    parts = [content, *(content.get("sizes") or {}).values(), content.get("mean_shape"), content.get("clean")]
    for part in filter(None, parts):
        for name, ends in part.get("interval", {}).items():
            values = list(part[name].values()) if isinstance(part.get(name), dict) else [part.get(name)]
            if isinstance(part.get(name), dict) != isinstance(ends, dict) or not all(
                isinstance(value, int | float) for value in values
            ):
                raise FailedError(f"there is an interval of '{name}' and no number", file=str(file), key="interval")
