"""What is read from disk: bounded and checked, and one sentence, with the file, for whatever is wrong with it.

Files may be damaged, or come from strangers. So each kind of file has one reader, and a reader goes through this module
or, for Parquet, through `mien.parquet`.
"""

import contextlib
import csv
import gzip
import io
import itertools
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.errors import FailedError, MienError, reason
from mien.workspace import NAME

if TYPE_CHECKING:
    import numpy.typing as npt

# The metrics of 1,000 classes have a tenth of this.
MAX_BYTES = 64 * 2**20
MAX_DEPTH = 100
MAX_ARRAYS = 512 * 2**20
# Of a text with lines, one line: as many bytes as an image of 1,000 × 1,000 has as numbers.
MAX_LINE = 2**22
# What a packed text may unpack to: ten times FER2013.
MAX_UNPACKED = 4 * 2**30

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


def read_array(file: Path, what: str = "this array", *, most: int = MAX_ARRAYS) -> "npt.NDArray[Any]":
    """The array of an `.npy` file of at most `most` bytes, which is never unpickled; MienError for anything else."""
    import numpy as np

    with reading(file, what, MienError):
        if file.stat().st_size > most:
            raise MienError(f"{what} is too large", file=str(file), expected=f"at most {most:,} bytes")
        with file.open("rb") as opened:
            version = np.lib.format.read_magic(opened)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = header(opened)
            # A header may claim what no memory would hold.
            if math.prod(shape) * kind.itemsize > most:
                raise MienError(f"{what} is too large", file=str(file), expected=f"at most {most:,} bytes")
            opened.seek(0)
            array: npt.NDArray[Any] = np.lib.format.read_array(opened, allow_pickle=False)
        return array


def read_arrays(file: Path, what: str = "this file") -> "dict[str, npt.NDArray[Any]]":
    """The arrays of an `.npz` file by name, of at most `MAX_ARRAYS` bytes; FailedError for one that isn't whole."""
    import numpy as np

    with reading(file, what), zipfile.ZipFile(file) as packed:
        if sum(part.file_size for part in packed.infolist()) > MAX_ARRAYS:
            raise FailedError("the arrays are too large", file=str(file), expected=f"at most {MAX_ARRAYS >> 20} MB")
    with reading(file, what), np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def open_text(file: Path) -> BinaryIO:
    """A text file as a stream of bytes, unpacked while it is read if gzip packed it."""
    with file.open("rb") as opened:
        packed = opened.read(2) == b"\x1f\x8b"
    # A buffered reader of its own: gzip's lines are slow.
    return cast("BinaryIO", io.BufferedReader(gzip.open(file), 2**20)) if packed else file.open("rb", buffering=2**20)


def read_lines(file: Path, what: str = "this list") -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 text, packed by gzip or not, with their numbers from 1 and their ends.

    Raises MienError for text that isn't UTF-8, a line of more than `MAX_LINE` and an unpacked text of `MAX_UNPACKED`.
    """
    with reading(file, what, MienError), open_text(file) as opened:
        number = size = 0
        while line := opened.readline(MAX_LINE + 1):
            number += 1
            size += len(line)
            if len(line) > MAX_LINE or size > MAX_UNPACKED:
                raise MienError(
                    "the line is too long" if len(line) > MAX_LINE else "the text is too long",
                    file=str(file),
                    line=number,
                    expected=f"at most {MAX_LINE >> 20} MB a line, {MAX_UNPACKED >> 30} GB in all",
                )
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise MienError(
                    "this isn't UTF-8", file=str(file), line=number, expected="a text that is saved as UTF-8"
                ) from error
            yield number, text


def read_csv(file: Path, what: str = "this table") -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV that aren't empty, with the number of the line on which each ends; the first is the header.

    Values stand between commas, semicolons or tabs, whichever the header has most of. Raises MienError as `read_lines`.
    """
    lines = read_lines(file, what)
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for place, line in lines:
            number = place
            yield line

    text = texts()
    with reading(file, what, MienError):
        first = next(text, None)
        if first is None:
            return
        for values in csv.reader(itertools.chain([first], text), delimiter=delimiter_of(first)):
            if any(value.strip() for value in values):
                yield number, values


def delimiter_of(header: str) -> str:
    """What stands between the values of a table with this header.

    >>> delimiter_of("emotion;pixels;Usage")
    ';'
    """
    return max(",;\t", key=header.count)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
