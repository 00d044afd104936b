"""Errors as answers: a status, and the one sentence that `mien --json` would tell of it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from mien.errors import FailedError, MienError, shown
from mien.images import TooManyPixelsError, UnknownFormatError
from mien.serving.schema import Refusal

TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE.value
UNSUPPORTED = HTTPStatus.UNSUPPORTED_MEDIA_TYPE.value
UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY.value
FAILED = HTTPStatus.INTERNAL_SERVER_ERROR.value
FULL = HTTPStatus.SERVICE_UNAVAILABLE.value
TOO_LATE = HTTPStatus.GATEWAY_TIMEOUT.value
TOO_SLOW = HTTPStatus.REQUEST_TIMEOUT.value

# What the schema says of each status, with an example.
_PROBLEMS: Mapping[int, tuple[str, dict[str, str]]] = {
    401: ("No token, or a wrong one.", {"message": "this server asks for a token", "key": "Authorization"}),
    403: ("Another page, or another name, than the server's own.", {"message": "another page asks for this"}),
    404: ("There is no such thing.", {"message": "there is no run 'cnn1/9'", "nearest": "cnn1/3"}),
    408: ("The body came too slowly.", {"message": "the body took too long to come"}),
    413: ("Too many bytes, pixels or images.", {"message": "the body is too large", "expected": "at most 32 MB"}),
    415: ("Not an image, or another body.", {"message": "this is no image of a known format", "file": "notes.txt"}),
    422: ("An image that doesn't decode, too many faces, an unknown option.", {"message": "the image doesn't decode"}),
    500: ("The server failed; its log says why.", {"message": "the server failed"}),
    503: ("Busy; Retry-After says for how long.", {"message": "the server is busy"}),
    504: ("No time to answer.", {"message": "there was no time to answer", "expected": "at most 30 seconds"}),
}

# What a MienError is answered with; all others are mistakes in what was sent.
_STATUS: Mapping[type[MienError], int] = {
    TooManyPixelsError: TOO_LARGE,
    UnknownFormatError: UNSUPPORTED,
    FailedError: FAILED,
}


class RefusedError(Exception):
    """A request that isn't done: its status, why, and further headers."""

    def __init__(self, status: int, error: MienError, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(error))
        self.status, self.error, self.headers = status, error, dict(headers or {})


def status_of(error: MienError) -> int:
    """The status that an error is answered with.

    >>> status_of(UnknownFormatError("the file is empty")), status_of(MienError("the image doesn't decode"))
    (415, 422)
    """
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), UNPROCESSABLE)


def problem(error: MienError) -> dict[str, Any]:
    """The body of an answer that tells an error: `Refusal` of the schema; the message is one line in any log."""
    told = {key: value for key, value in error.as_dict().items() if key != "line"}
    return {"error": {**told, "message": shown(error.message)}}


def refusal(status: int, error: MienError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that tells an error."""
    return JSONResponse(problem(error), status, headers)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the schema says of the errors of a route."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        description, example = _PROBLEMS[status]
        content = {"application/json": {"example": {"error": example}}}
        found[status] = {"model": Refusal, "description": description, "content": content}
        if status == 503:
            found[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found
