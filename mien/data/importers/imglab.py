"""Reads imglab's XML in pieces: a file of any size takes little memory, and entities are refused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np

from mien.data.importers.face_points import Points, parse_number
from mien.errors import MienError
from mien.faces.ibug import POINTS

_CHUNK = 2**16
# Limits that no list of faces reaches, and that keep a file from filling the memory.
_MAX_TOKEN = 2**20
_MAX_DEPTH = 20
_MAX_BOXES = 1000
_MAX_PARTS = 1000
_MAX_ROWS = 2_000_000
_EXPECTED = "dlib's <dataset><images><image file='…'><box><part name='00' x='…' y='…'/>…"


@dataclass
class Box:
    """One face: the image's path as it is written, its number where the image has several, its line, its parts.

    `parts` are name, x and y of each, as they are written, and the line.
    """

    file: str
    line: int
    number: int | None = None
    parts: list[tuple[str, str, str, int]] = field(default_factory=list)
    ignored: bool = False

    def points(self) -> tuple[Points, list[int]]:
        """The 68 points, float64 (68, 2) as they are written, and the line of each; MienError with its line."""
        coordinates = np.full((POINTS, 2), np.nan)
        lines = [0] * POINTS
        if len(self.parts) != POINTS:
            raise MienError(f"{len(self.parts)} points", expected=str(POINTS), line=self.line)
        for name, x, y, line in self.parts:
            index = int(name) if re.fullmatch(r"[0-9]{1,3}", name) else POINTS
            if index >= POINTS or lines[index]:
                wrong = "is there twice" if index < POINTS else "is no point"
                raise MienError(f"part '{name[:20]}' {wrong}", expected="00 to 67, each once", line=line)
            lines[index] = line
            try:
                coordinates[index] = parse_number(x), parse_number(y)
            except MienError as error:
                raise MienError(f"part '{name}': {error.message}", expected=error.expected, line=line) from error
        return coordinates, lines


class _OtherXmlError(Exception):
    """The root isn't <dataset>: some other XML."""


class _Reader:
    """Collects the boxes of an image until its element ends; `done` holds those of finished images."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[Box] = []
        self.rooted = False
        self._stack: list[str] = []
        self._image: str | None = None
        self._boxes: list[Box] = []
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse

    def feed(self, chunk: bytes) -> None:
        """Parse more bytes; an empty chunk ends the file."""
        try:
            self._parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            raise self.problem(f"this is no well-formed XML ({expat.ErrorString(error.code)})", error.lineno) from error
        except (LookupError, ValueError, UnicodeError) as error:
            raise self.problem("the XML's encoding isn't known", 1, "UTF-8 or ISO-8859-1") from error

    def waiting(self, fed: int) -> None:
        """Raise an error when the bytes that couldn't be parsed yet grow without end."""
        if fed - self._parser.CurrentByteIndex > _MAX_TOKEN + _CHUNK:
            raise self.problem(f"something there is longer than {_MAX_TOKEN // 2**20} MB")

    def problem(self, message: str, line: int | None = None, expected: str = _EXPECTED) -> MienError:
        """An error at the parser's line, or at another line of the file."""
        return MienError(message, file=str(self.path), line=line or self._parser.CurrentLineNumber, expected=expected)

    def _refuse(self, *_: object) -> None:
        raise self.problem("the XML declares a document type or an entity, which are refused: such files can be bombs")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.rooted:
            if name != "dataset":
                raise _OtherXmlError
            self.rooted = True
        self._stack.append(name)
        if len(self._stack) > _MAX_DEPTH:
            raise self.problem(f"elements stand more than {_MAX_DEPTH} deep in each other")
        line = self._parser.CurrentLineNumber
        if name == "image":
            if self._image is not None or "file" not in attributes:
                raise self.problem("an <image> stands in another" if "file" in attributes else "an <image> has no file")
            self._image = attributes["file"]
        elif name == "box" and self._image is not None:
            if len(self._boxes) == _MAX_BOXES:
                raise self.problem(f"image '{self._image[:200]}' has more than {_MAX_BOXES} boxes")
            self._boxes.append(Box(self._image, line, ignored=attributes.get("ignore") == "1"))
        elif name == "part" and self._boxes and self._stack[-2:-1] == ["box"]:
            if len(self._boxes[-1].parts) == _MAX_PARTS:
                raise self.problem(f"a box of image '{self._boxes[-1].file[:200]}' has more than {_MAX_PARTS} parts")
            part, x, y = (attributes.get(key, "") for key in ("name", "x", "y"))
            self._boxes[-1].parts.append((part, x, y, line))

    def _end(self, name: str) -> None:
        self._stack.pop()
        if name == "image":
            boxes = [box for box in self._boxes if not box.ignored]
            if len(boxes) > 1:
                for number, box in enumerate(boxes, 1):
                    box.number = number
            self.done += boxes
            self._image, self._boxes = None, []


def is_imglab(path: Path) -> bool:
    """Whether a file is XML whose root is <dataset>; MienError for XML that is broken or a bomb before its root."""
    with path.open("rb") as file:
        head = file.read(_CHUNK)
        if path.suffix.lower() != ".xml" and not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<?xml"):
            return False
        reader, fed = _Reader(path), 0
        try:
            while head and not reader.rooted:
                reader.feed(head)
                fed += len(head)
                reader.waiting(fed)
                head = file.read(_CHUNK)
        except _OtherXmlError:
            return False
    return reader.rooted


def boxes(path: Path) -> Iterator[Box]:
    """The faces of imglab's XML in order, those marked `ignore` aside, without holding the file in memory.

    Raises MienError, with the line, for XML that isn't well-formed, declares entities, or holds what would fill memory.
    """
    reader, fed, rows = _Reader(path), 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            reader.feed(chunk)
            fed += len(chunk)
            reader.waiting(fed)
            found, reader.done = reader.done, []
            rows += len(found)
            if rows > _MAX_ROWS:
                raise reader.problem(f"there are more than {_MAX_ROWS:,} boxes")
            yield from found
    reader.feed(b"")
    yield from reader.done
