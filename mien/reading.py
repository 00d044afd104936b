"""What is read from disk: bounded and checked, and one sentence, with the file, for whatever is wrong with it.

Files may be damaged, or come from strangers. So each kind of file has one reader, and a reader goes through this module
or, for Parquet, through `mien.parquet`.
"""

import contextlib
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.errors import FailedError, MienError, reason
from mien.workspace import NAME

if TYPE_CHECKING:
    import numpy.typing as npt

# The metrics of 1,000 classes have a tenth of this.
MAX_BYTES = 64 * 2**20
MAX_DEPTH = 100
MAX_ARRAYS = 512 * 2**20

# Parts of paths, and what else is only ever used whole: checked by their types where a file is read.
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Split = Annotated[str, Field(pattern=r"^\w{1,100}$")]
Count = Annotated[int, Field(ge=0, le=2**53, strict=True)]
# Shares and scores: never NaN or infinite.
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]


class Stored(BaseModel):
    """What a JSON file must say so that it can be used; what else it says stays as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")


@contextlib.contextmanager
def reading(file: Path, what: str = "this file", error: type[MienError] = FailedError) -> Iterator[None]:
    """Whatever goes wrong inside becomes one error that names the file; that there is no file stays as it is."""
    try:
        yield
    except MienError as known:
        known.file = known.file or str(file)
        raise
    except Exception as broken:  # Each library raises what the bytes led it to, some of them anything.
        if isinstance(broken, FileNotFoundError) or (isinstance(broken, OSError) and broken.filename is not None):
            raise
        raise error(f"{what} can't be read ({reason(broken)})", file=str(file)) from broken


def read_text(file: Path, what: str = "this file") -> str:
    """The text of a UTF-8 file of at most `MAX_BYTES`."""
    with reading(file, what):
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise FailedError("the file is too large", file=str(file), expected=f"at most {MAX_BYTES >> 20} MB")
        return data.decode("utf-8")


def read_json(file: Path, what: str = "this file") -> Any:
    """The content of a JSON file; FailedError for one that isn't JSON, too large or nested too deep."""
    text = read_text(file, what)
    with reading(file, what):
        return parse_json(text)


def read_object(file: Path, kind: type[BaseModel], what: str = "this file") -> dict[str, Any]:
    """The object that a JSON file holds, as plain data that says what `kind` asks for; FailedError otherwise."""
    content = read_json(file, what)
    check(content, kind, file, what)
    return dict(content)


def check(
    content: Any, kind: type[BaseModel], file: Path, what: str = "this file", error: type[MienError] = FailedError
) -> Any:
    """`content` as a `kind`; `error`, with the file and the key, for what isn't one."""
    try:
        return kind.model_validate(content)
    except MienError as known:  # Of a value that checks itself.
        known.file = known.file or str(file)
        raise
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        key = ".".join(map(str, first["loc"])) or None
        raise error(f"{what} can't be read ({message})", file=str(file), key=key) from broken


def parse_json(text: str) -> Any:
    """What JSON from anywhere says; ValueError for NaN, numbers beyond floats, deep nesting and half characters.

    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    try:
        content = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str) and not value.isascii():
                value.encode("utf-8")
        if not inner:
            return content
        level = inner
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def read_arrays(file: Path, what: str = "this file") -> "dict[str, npt.NDArray[Any]]":
    """The arrays of an `.npz` file by name, of at most `MAX_ARRAYS` bytes; FailedError for one that isn't whole."""
    import numpy as np

    with reading(file, what), zipfile.ZipFile(file) as packed:
        if sum(part.file_size for part in packed.infolist()) > MAX_ARRAYS:
            raise FailedError("the arrays are too large", file=str(file), expected=f"at most {MAX_ARRAYS >> 20} MB")
    with reading(file, what), np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
