"""Files here or in an object store (s3://, gs://), read and written alike by pyarrow's file systems."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

from mien.errors import FailedError, MienError, reason, unknown
from mien.files import write_bytes

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

STORES = ("s3", "gs")
# As AWS's own tools have it; pyarrow reads neither.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class Place(NamedTuple):
    """A file or folder, plain text that another machine understands.

    `store` is "" for disks, else the address of a bucket with what is to be known of its server; `path` is absolute, in
    a store it begins with the bucket.
    """

    store: str
    path: str

    def __str__(self) -> str:
        return f"{self.store.partition('://')[0]}://{self.path}" if self.store else self.path

    @property
    def suffix(self) -> str:
        """The ending in small letters, as ".jpg"."""
        return os.path.splitext(self.path)[1].lower()  # noqa: PTH122

    @property
    def files(self) -> "FileSystem":
        """The file system in which `path` stands."""
        return _file_system(self.store)

    def below(self, name: str) -> "Place":
        """A file in this folder."""
        return Place(self.store, f"{self.path.rstrip('/')}/{name}")

    def read(self, most: int | None = None) -> bytes:
        """The bytes; FileNotFoundError where there is no such file, MienError for one of more than `most`."""
        with self.files.open_input_file(self.path) as opened:
            size = opened.size()
            if most is not None and size > most:
                raise MienError(f"the file has {size >> 20:,} MB", expected=f"at most {most >> 20} MB")
            return bytes(opened.read())

    def write(self, content: bytes) -> None:
        """Replace the file in one step: a store shows an object once all of it is there."""
        if not self.store:
            write_bytes(Path(self.path), content)
            return
        with self.files.open_output_stream(self.path) as opened:
            opened.write(content)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.files.delete_file(self.path)


def is_address(text: str) -> bool:
    """Whether a text is an address and no local path.

    >>> is_address("s3://bucket/photos"), is_address("photos/a.jpg")
    (True, False)
    """
    head, mark, _ = text.partition("://")
    return bool(mark) and head.isascii() and head.isalnum()


def place_of(text: str) -> Place:
    """The place that a user names; raises MienError for an address of no store that mien knows.

    >>> place_of("s3://bucket/photos/a%20b.jpg?endpoint_override=localhost:9000")
    Place(store='s3://bucket?endpoint_override=localhost:9000', path='bucket/photos/a%20b.jpg')
    """
    if not is_address(text):
        return Place("", str(Path(text).absolute()))
    scheme, _, rest = text.partition("://")
    if scheme not in STORES:
        raise unknown(f"nothing is known of {scheme}://", f"{scheme}://", [f"{one}://" for one in STORES], file=text)
    path, _, query = rest.partition("?")
    bucket = path.partition("/")[0]
    if not bucket:
        raise MienError("this address has no bucket", file=text, expected=f"{scheme}://BUCKET/…")
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    if scheme == "s3" and endpoint and "endpoint_override" not in query:
        server = urlsplit(endpoint)
        named = urlencode({"endpoint_override": server.netloc, "scheme": server.scheme}, safe=":")
        query = f"{query}&{named}" if query else named
    return Place(f"{scheme}://{bucket}" + (f"?{query}" if query else ""), path.rstrip("/"))


@functools.cache
def _file_system(store: str) -> "FileSystem":
    from pyarrow import fs

    return fs.FileSystem.from_uri(store)[0] if store else fs.LocalFileSystem()


@contextlib.contextmanager
def reaching(place: Place) -> Iterator[None]:
    """What goes wrong between here and a store, or a disk, becomes one error that names the place."""
    try:
        yield
    except MienError as known:
        known.file = known.file or str(place)
        raise
    except OSError as error:
        if not place.store:
            raise
        raise FailedError(f"the store doesn't give this ({reason(error)})", file=str(place)) from error


def check_bucket(place: Place) -> None:
    """Raise MienError where there is no such bucket, FailedError where the store can't be reached."""
    _check_bucket(place.store)


@functools.cache
def _check_bucket(store: str) -> None:
    from pyarrow.fs import FileType

    scheme, _, rest = store.partition("://")
    bucket = rest.partition("?")[0]
    with reaching(Place(store, bucket)):
        if Place(store, bucket).files.get_file_info(bucket).type == FileType.NotFound:
            raise MienError("there is no such bucket", file=f"{scheme}://{bucket}", expected="one that is there")
