"""What a training comes to by the end of each epoch: a line of `history.csv`."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.runs.run import Run


@dataclass(frozen=True)
class Epoch:
    """One epoch of so many: means over the rows of the fit and choose roles.

    `score` names what `fit_score` and `choose_score` are (accuracy 0 … 1; nme as a share of the outer eyes' distance);
    `images_per_second` is None where the epoch is read from a run's folder.
    """

    number: int
    epochs: int
    lr: float
    fit_loss: float
    fit_score: float
    choose_loss: float
    choose_score: float
    score: str
    images_per_second: float | None = None


def as_epoch(row: Mapping[str, Any], epochs: int, images_per_second: float | None = None) -> Epoch:
    """A line of the history as an epoch.

    >>> as_epoch({"epoch": 1, "lr": 0.1, "fit_loss": 2, "fit_nme": 1, "choose_loss": 2, "choose_nme": 1}, 3).score
    'nme'
    """
    number, lr, fit_loss, fit_score, choose_loss, choose_score = (float(value or "nan") for value in row.values())
    score = list(row)[3].removeprefix("fit_")
    return Epoch(int(number), epochs, lr, fit_loss, fit_score, choose_loss, choose_score, score, images_per_second)


def read_epochs(run: "Run") -> list[Epoch]:
    """The epochs that a run has done; FailedError for a history that can't be read."""
    if not run.history.is_file():
        return []
    from mien.reading import reading

    epochs = run.listed["train"]["epochs"]
    rows = read_rows(run.history)
    with reading(run.history, "the history"):
        return [as_epoch(row, epochs) for row in rows]


def read_rows(file: Path) -> list[dict[str, str]]:
    """The lines of a history by column; FailedError for a file that is no CSV."""
    # Who asks for the type alone needs no pydantic.
    from mien.reading import read_text, reading

    text = read_text(file, "the history")
    with reading(file, "the history"):
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
