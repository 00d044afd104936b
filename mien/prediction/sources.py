"""The inputs of bulk work: photos by their places, and Parquet files of encoded images, split for many to read."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import MienError
from mien.images import MAX_BYTES, SUFFIXES, decode_photo, read_photo
from mien.images import Photo as Picture
from mien.parallel import ordered_map
from mien.prediction.inputs import images_below, named_paths, photos_of
from mien.prediction.places import Place, check_bucket, is_address, place_of, reaching
from mien.prediction.video import VIDEO_SUFFIXES, is_video

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = ".parquet"
# A store takes a request's time for each object, so a worker fetches while it tells: 80 MB of photos of 12 megapixels.
_FETCHING, _FETCHED = 8, 16
# Rows that are unpacked at once, and the most of a row group that one worker tells.
_ROWS = 64
MOST = 4096

# The place of an input among those of its source, its name, and its picture or why there is none.
Input = tuple[int, str, Picture | MienError]
Wanted = Callable[[int], bool]


@dataclass(frozen=True)
class Photos:
    """Photos that follow each other in a list, each a name and a place."""

    photos: tuple[tuple[str, Place], ...]

    def __len__(self) -> int:
        return len(self.photos)

    def digests(self) -> Iterator[str]:
        """What tells the list from another one."""
        return (name for name, _ in self.photos)

    def split(self, size: int) -> "Iterator[Photos]":
        """Sources of at most `size` photos."""
        return (Photos(self.photos[start : start + size]) for start in range(0, len(self.photos), size))

    def read(self, wanted: Wanted) -> Iterator[Input]:
        """Those whose places in the source are wanted."""
        some = ((number, *photo) for number, photo in enumerate(self.photos) if wanted(number))
        for number, name, place, content in ordered_map(_fetched, some, threads=_FETCHING, ahead=_FETCHED):
            if content is None:
                yield number, name, _decoded(partial(read_photo, Path(place.path)))
            else:
                yield (
                    number,
                    name,
                    content if isinstance(content, MienError) else _decoded(partial(decode_photo, content)),
                )


def _fetched(photo: tuple[int, str, Place]) -> tuple[int, str, Place, bytes | MienError | None]:
    """A photo with the bytes that a store has of it; None for one on a disk, which is read when it is decoded."""
    place = photo[2]
    return *photo, _content(place) if place.store else None


def _content(place: Place) -> bytes | MienError:
    try:
        return place.read(MAX_BYTES)
    except FileNotFoundError:
        return MienError("there is no such image")
    except OSError as error:
        return MienError(f"the image can't be read ({str(error).splitlines()[0]})")
    except MienError as error:
        return error


def _decoded(read: Callable[[], Picture]) -> Picture | MienError:
    try:
        return read()
    except MienError as error:
        return error


@dataclass(frozen=True)
class Table:
    """Rows `first` to `end` of a Parquet file with a column of images; `column` has their names, if any has.

    `groups` are the rows of its row groups, `size` its bytes without compression.
    """

    place: Place
    name: str
    image: str
    column: str | None
    groups: tuple[int, ...]
    size: int
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first

    def digests(self) -> Iterator[str]:
        """What tells the file from another one."""
        yield f"{self.name}#{len(self)}#{self.size}"

    def split(self, size: int) -> "Iterator[Table]":
        """Parts of about `size` rows: whole row groups, but for those of more than `MOST`."""
        first = end = 0
        for rows in self.groups:
            group = end
            end += rows
            if end - first < size:
                continue
            # What is left of the groups before goes along.
            for _ in range((end - group - 1) // MOST):
                yield replace(self, first=first, end=min(first + MOST, end))
                first = min(first + MOST, end)
            if first < end:
                yield replace(self, first=first, end=end)
            first = end
        if first < end:
            yield replace(self, first=first, end=end)

    def read(self, wanted: Wanted) -> Iterator[Input]:
        """The rows whose places in the source are wanted."""
        from mien.parquet import open_parquet, pieces

        starts = [0, *itertools.accumulate(self.groups)]
        groups = [
            number
            for number, (start, stop) in enumerate(itertools.pairwise(starts))
            if start < self.end and stop > self.first
        ]
        columns = [self.image, *([self.column] if self.column is not None else [])]
        row = starts[groups[0]] - self.first
        path = Path(self.place.path)
        with _naming(self.place), open_parquet(path, "this Parquet", MienError, stream=_stream(self.place)) as file:
            for batch in pieces(file, path, columns, most=_ROWS, groups=groups):
                for values in batch.to_pylist():
                    if 0 <= row < len(self) and wanted(row):
                        yield row, *self._picture(values, row)
                    row += 1

    def _picture(self, values: dict[str, Any], row: int) -> tuple[str, Picture | MienError]:
        value = values[self.image]
        content, path = (value["bytes"], value.get("path")) if isinstance(value, dict) else (value, None)
        named = values[self.column] if self.column is not None else path
        name = f"{self.name}#{self.first + row}" if named is None else str(named)
        if content is None:
            return name, MienError("this row has no image", expected="bytes")
        if len(content) > MAX_BYTES:
            return name, MienError(f"the file has {len(content) >> 20:,} MB", expected=f"at most {MAX_BYTES >> 20} MB")
        return name, _decoded(partial(decode_photo, content))


Source = Photos | Table


def find_sources(given: Sequence[str], listed: Iterable[str] = ()) -> list[Source]:
    """What paths and addresses mean, in their order, each photo and each Parquet file once.

    Paths are those of `mien.prediction.inputs.find_photos`; one of a Parquet file, or of a folder that has such files
    and no images, stands for their rows. The same holds of addresses, where patterns have no meaning, and where what
    ends as an image does is taken for one without asking the store. Raises MienError where there is nothing, no such
    bucket, a video, or a Parquet file without a column of images.
    """
    sources: list[Source] = []
    photos: dict[Place, str] = {}
    tables: set[Place] = set()
    known: set[Place] = set()

    def end_photos() -> None:
        if photos:
            sources.append(Photos(tuple((name, place) for place, name in photos.items())))
            photos.clear()

    for text in named_paths(given, listed):
        for name, place in _addressed(text) if is_address(text) else _local(text):
            if place.suffix != TABLE:
                _refuse_video(name, place)
                if place not in known:
                    known.add(place)
                    photos[place] = name
            elif place not in tables:
                tables.add(place)
                end_photos()
                table = _table(name, place)
                if len(table):
                    sources.append(table)
    end_photos()
    return sources


def _local(text: str) -> Iterator[tuple[str, Place]]:
    path = Path(text)
    if "\0" not in text and path.is_dir() and not images_below(path):
        tables = sorted(path.rglob(f"[!.]*{TABLE}"))
        if tables:
            yield from ((str(table), place_of(str(table))) for table in tables)
            return
    for photo in photos_of(text):
        # Names of bytes that aren't UTF-8 can't be an address, nor travel as text.
        yield photo.name, Place("", os.path.abspath(photo.file))  # noqa: PTH100


def _addressed(text: str) -> Iterator[tuple[str, Place]]:
    place = place_of(text)
    check_bucket(place)
    if place.suffix in SUFFIXES:
        yield str(place), place
        return
    from pyarrow.fs import FileSelector, FileType

    with reaching(place):
        kind = place.files.get_file_info(place.path).type
        found = (
            place.files.get_file_info(FileSelector(place.path, recursive=True)) if kind == FileType.Directory else []
        )
    if kind == FileType.File:
        yield str(place), place
        return
    if kind == FileType.NotFound:
        raise MienError("there is nothing at this address", file=str(place), expected="an image, Parquet, or a prefix")
    start = len(place.path) + 1
    paths = [one.path for one in found if one.type == FileType.File and _is_shown(one.path[start:])]
    for suffixes in (SUFFIXES, (TABLE,)):
        some = [Place(place.store, path) for path in paths if Place("", path).suffix in suffixes]
        if some:
            yield from ((str(one), one) for one in sorted(some, key=_as_walked))
            return
    expected = "files such as .jpg or .png, or Parquet"
    raise MienError("no image lies below this address", file=str(place), expected=expected)


def _is_shown(path: str) -> bool:
    return not any(part.startswith(".") for part in path.split("/"))


def _as_walked(place: Place) -> list[tuple[bool, str]]:
    """The order of `images_below`: what lies in a folder comes before what lies in its folders."""
    *folders, name = place.path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _refuse_video(name: str, place: Place) -> None:
    if place.suffix in VIDEO_SUFFIXES or (
        not place.store and place.suffix not in SUFFIXES and is_video(Path(place.path))
    ):
        raise MienError("Ray tells photos alone, and this is a video", file=name, expected="videos by --shard K/N")


def _stream(place: Place) -> Any:
    return place.files.open_input_file(place.path) if place.store else None


@contextlib.contextmanager
def _naming(place: Place) -> Iterator[None]:
    """Errors tell of a place as a user named it."""
    try:
        yield
    except MienError as error:
        error.file = str(place)
        raise


def _table(name: str, place: Place) -> Table:
    """A Parquet file with all of its rows; MienError for one without a column of images."""
    from mien.parquet import open_parquet

    with reaching(place), _naming(place):
        with open_parquet(Path(place.path), "this Parquet", MienError, stream=_stream(place)) as file:
            schema, groups = (
                file.schema_arrow,
                [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)],
            )
        rows = tuple(int(group.num_rows) for group in groups)
        size = sum(int(group.total_byte_size) for group in groups)
        return Table(place, name, *_columns(schema), rows, size, 0, sum(rows))


def _columns(schema: "pa.Schema") -> tuple[str, str | None]:
    """The column of images, and the one of their names if there is one."""
    from mien.data.importers.parquet import IDS, IMAGES, PATHS
    from mien.data.importers.tables import column_called, is_image, is_text

    fitting = [field.name for field in schema if is_image(field.type)]
    usual = column_called(schema, IMAGES)
    if usual not in fitting and len(fitting) != 1:
        raise MienError(
            f"there is no column of images among {', '.join(map(repr, schema.names[:20]))}",
            expected="'image', of bytes or of {bytes, path}",
        )
    image = usual if usual is not None and usual in fitting else str(fitting[0])
    path = column_called(schema, PATHS)
    if path is not None and is_text(schema.field(path).type):
        return image, path
    inner = schema.field(image).type
    if hasattr(inner, "get_field_index") and inner.get_field_index("path") >= 0:
        return image, None
    return image, column_called(schema, IDS)
