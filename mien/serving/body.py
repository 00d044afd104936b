"""A request's body, held in memory and within limits: image files as parts of a form or as base64 in JSON."""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mien.errors import MienError
from mien.serving.refusals import FULL, TOO_LARGE, UNPROCESSABLE, UNSUPPORTED, RefusedError
from mien.serving.schema import LONGEST_NAME, Images
from mien.serving.session import Upload
from mien.serving.settings import Limits

FORM, JSON = "multipart/form-data", "application/json"
_KINDS = f"{FORM} or {JSON}"
# Bodies of all requests together may take so many times the room of the largest one.
ROOM = 16
# A body that is too large is read up to so many times the limit before the connection is closed.
LEFT = 2


class _Form(MultiPartParser):
    """A form whose files never touch the disk, and of which is known whether it came to its end."""

    spool_max_size = sys.maxsize
    complete = False

    def on_end(self) -> None:
        self.complete = True

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files_to_close_on_error:
            file.close()


class Bodies:
    """All bodies that are in memory, together bounded."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0

    @asynccontextmanager
    async def chunks(self, request: Request, retry_after: Callable[[], int]) -> AsyncIterator[AsyncGenerator[bytes]]:
        """The pieces of a body as they come, counted until the context ends.

        Raises RefusedError: 413 for a body that is too large, also one that only says so, 503 where all bodies together
        are, and 415 for a packed one.
        """
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(UNSUPPORTED, MienError("the body is packed", expected="no Content-Encoding"))
        promised = request.headers.get("content-length", "")
        if promised.isdecimal() and int(promised) > LEFT * self.limits.bytes:
            raise self._too_large()
        own = 0

        async def counted() -> AsyncGenerator[bytes]:
            nonlocal own
            stream = request.stream()
            async for chunk in stream:
                if own + len(chunk) > self.limits.bytes:
                    await self._leave(stream)
                own += len(chunk)
                self.held += len(chunk)
                if self.held > ROOM * self.limits.bytes:
                    error = MienError("the server has no room for this body now", expected="it to be sent again later")
                    raise RefusedError(FULL, error, {"Retry-After": str(retry_after())})
                yield chunk

        try:
            yield counted()
        except ClientDisconnect as gone:
            raise RefusedError(UNPROCESSABLE, MienError("the body was cut off")) from gone
        finally:
            self.held -= own

    async def _leave(self, stream: AsyncIterator[bytes]) -> NoReturn:
        """Read on without keeping anything: many clients only look for an answer when they have sent all."""
        left = 0
        async for chunk in stream:
            left += len(chunk)
            if left > (LEFT - 1) * self.limits.bytes:
                break
        raise self._too_large()

    def _too_large(self) -> RefusedError:
        error = MienError("the body is too large", expected=f"at most {self.limits.megabytes} MB")
        return RefusedError(TOO_LARGE, error, {"Connection": "close"})


async def read_uploads(request: Request, chunks: AsyncGenerator[bytes], limits: Limits) -> Callable[[], list[Upload]]:
    """What gives the images of a request's body; JSON is only read when it is called, since that takes time.

    Raises RefusedError: 415 for another type, 422 for a form that is none or isn't whole, 413 for too many images.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        form = _checked(await _read_form(request, chunks, limits.images + 1), limits)
        return lambda: form
    if kind == JSON:
        data = b"".join([chunk async for chunk in chunks])
        return lambda: _checked(_of_json(data), limits)
    what = f"the body is {kind[:100]}" if kind else "the body's type isn't told"
    raise RefusedError(UNSUPPORTED, MienError(what, key="Content-Type", expected=_KINDS))


async def read_file(request: Request, chunks: AsyncGenerator[bytes]) -> Upload:
    """The one file of a form; raises RefusedError as `read_uploads` does."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        what = f"the body is {kind[:100]}" if kind else "the body's type isn't told"
        raise RefusedError(UNSUPPORTED, MienError(what, key="Content-Type", expected=FORM))
    found = await _read_form(request, chunks, 2)
    if len(found) != 1:
        raise RefusedError(UNPROCESSABLE, MienError(f"the form has {len(found)} files", expected="one video"))
    return found[0]


async def _read_form(request: Request, chunks: AsyncGenerator[bytes], most: int) -> list[Upload]:
    parser = _Form(request.headers, chunks, max_files=most, max_fields=most)
    try:
        form = await parser.parse()
    except (MultiPartException, LookupError, ValueError) as error:
        said = str(getattr(error, "message", "")).rstrip(".")
        if said.startswith("Too many"):
            raise RefusedError(TOO_LARGE, _too_many(most - 1)) from error
        raise _no_form(said) from error
    try:
        if not parser.complete:
            raise _no_form("it isn't whole")
        return [await _upload(field, value) for field, value in form.multi_items()]
    finally:
        parser.close()


async def _upload(field: str, value: UploadFile | str) -> Upload:
    if not isinstance(value, UploadFile):
        wrong = MienError(f"the field '{field[:100]}' is no file", expected="files; options go into the address")
        raise RefusedError(UNPROCESSABLE, wrong)
    name = value.filename or ""
    if len(name) > LONGEST_NAME:
        wrong = MienError(f"a file's name has {len(name)} letters", expected=f"at most {LONGEST_NAME}")
        raise RefusedError(UNPROCESSABLE, wrong)
    return Upload(name, await value.read())


def _no_form(why: str) -> RefusedError:
    error = MienError(
        "the body is no form" + (f" ({why})" if why else ""), expected=f"{FORM} with a file for each image"
    )
    return RefusedError(UNPROCESSABLE, error)


def _of_json(data: bytes) -> list[Upload]:
    try:
        images = Images.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise RefusedError(
            UNPROCESSABLE,
            MienError(
                what[:1].lower() + what[1:], key=where[:200] or None, expected='{"images": [{"data": "<base64>"}]}'
            ),
        ) from error
    return [Upload(image.name, image.data) for image in images.images]


def _checked(uploads: list[Upload], limits: Limits) -> list[Upload]:
    if len(uploads) > limits.images:
        raise RefusedError(TOO_LARGE, _too_many(limits.images))
    if not uploads:
        raise RefusedError(UNPROCESSABLE, MienError("there is no image in the body", expected="a file for each image"))
    return uploads


def _too_many(most: int) -> MienError:
    return MienError("the body has too many images", expected=f"at most {most}")
