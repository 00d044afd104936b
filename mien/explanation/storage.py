"""Explanations in a run's folder: `explain/<name>.json`, what is said, and `explain/<name>.npz`, arrays beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import FailedError
from mien.files import as_json, replacing
from mien.reading import Stored, read_arrays, read_object
from mien.runs.run import Run

Arrays = dict[str, npt.NDArray[Any]]

# What every result says of its rows; see `Context.about`.
ABOUT = ("run", "seeds", "dataset", "protocol", "split", "role", "n", "contaminated")


def folder(run: Run) -> Path:
    """Where a run's explanations stand."""
    return run.folder / "explain"


def store(run: Run, name: str, result: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
    """Replace an explanation's files: plain data that says what `ABOUT` names, and arrays by name (no objects)."""
    missing = [key for key in ABOUT if key not in result]
    if missing:
        raise ValueError(f"the result of {name} doesn't say {', '.join(missing)}")
    path = folder(run) / f"{name}.json"
    array_file = path.with_suffix(".npz")
    # Both are written before either is replaced, and the JSON file is the first to go and the last to come: a full disk
    # leaves the old ones, and where the JSON file stands, what it tells of stands too.
    with replacing(path) as temporary:
        temporary.write_text(as_json(result), encoding="utf-8")
        if arrays:
            with replacing(array_file) as other:
                with other.open("wb") as file:
                    # A keyword may be any text, but not "file".
                    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
                path.unlink(missing_ok=True)
        else:
            path.unlink(missing_ok=True)
            array_file.unlink(missing_ok=True)


def read(run: Run, name: str) -> tuple[dict[str, Any], Arrays] | None:
    """An explanation's result and arrays; None where there is none, FailedError for files that are broken."""
    path = folder(run) / f"{name}.json"
    if not path.is_file():
        return None
    result = read_object(path, Stored, "the explanation")
    if missing := [key for key in ABOUT if key not in result]:
        raise FailedError(f"the explanation doesn't say {', '.join(missing)}", file=str(path))
    arrays: Arrays = {}
    if path.with_suffix(".npz").is_file():
        arrays = read_arrays(path.with_suffix(".npz"))
    return result, arrays
