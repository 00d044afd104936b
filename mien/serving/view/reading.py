"""What all of the workspace view shares: what is found by name, and one sentence for whatever can't be read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mien.comparison.tables import Table as Printed
from mien.errors import MienError, nearest
from mien.reading import reading
from mien.runs.run import Run, list_runs
from mien.serving.schema import Problem
from mien.serving.view.schema import Table
from mien.workspace import NAME, Workspace

T = TypeVar("T")


class MissingError(MienError):
    """What a request names isn't there."""


def run_of(home: Workspace, name: str) -> Run:
    """The run of a workspace that is called so, as `cnn1/3`; MissingError where there is none."""
    folder = home.runs / name
    if re.fullmatch(f"{NAME}/[1-9][0-9]{{0,8}}", name) and (folder / "experiment.yaml").is_file():
        return Run(folder, home)
    known = [run.name for run in runs_of(home)]
    raise MissingError(f"there is no run '{name}'", nearest=nearest(name, known))


def runs_of(home: Workspace) -> list[Run]:
    """The runs of a workspace that can be named in an address."""
    return [Run(run.folder, home) for run in list_runs(home) if re.fullmatch(NAME, run.folder.parent.name)]


def problem_of(error: MienError) -> Problem:
    """An error as an answer tells it."""
    return Problem.model_validate({key: value for key, value in error.as_dict().items() if key != "line"})


def tried(work: Callable[[], T], file: Path, problems: list[Problem]) -> T | None:
    """What some work gives; None, and one more problem, where what it reads is damaged or gone."""
    try:
        with reading(file, "this", MienError):
            return work()
    except MienError as error:
        problems.append(problem_of(error))
    except OSError as error:
        problems.append(problem_of(of_system(error)))
    return None


def of_system(error: OSError) -> MienError:
    """An error of the system in mien's words."""
    kind = MissingError if isinstance(error, FileNotFoundError) else MienError
    named = str(error.filename) if error.filename else None
    return kind(f"this can't be read or written ({error.strerror or error})", file=named)


def table_of(printed: Printed) -> Table:
    """A table that a verb prints."""
    rows = [list(map(str, row)) for row in printed.rows]
    right = min(printed.right, len(printed.columns))
    return Table(title=printed.title, columns=list(printed.columns), rows=rows, right=right)
