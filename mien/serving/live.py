"""A camera over a WebSocket: frames in, answers out; a frame that comes while another is told waits, or is dropped."""

import asyncio
import base64
import binascii
import contextlib
import functools
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.images import decode_photo
from mien.inference.predictor import FaceAnswer
from mien.inference.rows import columns, frame_rows, nested
from mien.prediction.tracks import Tracks
from mien.serving.refusals import FULL, RefusedError, problem
from mien.serving.schema import Moving
from mien.serving.service import Service
from mien.serving.session import Session, tell_photo

# What a browser, which can't send headers, names beside the token in base64url.
PROTOCOL = "mien.live"
_BEARER = "bearer."

_UNSUPPORTED, _FORBIDDEN, _TOO_LARGE = 1003, 1008, 1009

# What Starlette raises, by its version and the moment, when something is sent to a client that has gone.
_GONE = (WebSocketDisconnect, RuntimeError, OSError)


class Latest:
    """The newest frame that nobody has taken, with its number and the time when it came; older ones are dropped."""

    def __init__(self) -> None:
        self.number, self.dropped = -1, 0
        self._frame: tuple[int, float, bytes] | None = None
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, data: bytes) -> bool:
        """Leave a frame; whether another was dropped for it."""
        late = self._frame is not None
        self.dropped += late
        self.number += 1
        self._frame = (self.number, time.monotonic(), data)
        self._changed.set()
        return late

    def end(self) -> None:
        """Say that none will come."""
        self._ended, self._frame = True, None
        self._changed.set()

    async def take(self) -> tuple[int, float, bytes] | None:
        """The newest frame, waited for; None at the end."""
        while self._frame is None and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        frame, self._frame = self._frame, None
        return frame


def is_allowed(headers: Mapping[str, str], protocols: list[str], service: Service) -> bool:
    """Whether a WebSocket may be opened: by its token, and by a page of this server or of one that was named.

    Browsers let any page open a WebSocket anywhere.
    """
    token = service.settings.token
    if token is not None and not any(same(given, token) for given in _tokens(headers, protocols)):
        return False
    origin = headers.get("origin")
    return origin is None or origin in service.settings.origins or urlsplit(origin).netloc == headers.get("host")


def bearer(headers: Mapping[str, str]) -> str:
    """The token of an Authorization header, "" without one."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else ""


def same(given: str, token: str) -> bool:
    """Whether a token is the right one; how long that takes tells nothing about it."""
    return secrets.compare_digest(given.encode(), token.encode())


def _tokens(headers: Mapping[str, str], protocols: list[str]) -> list[str]:
    found = [bearer(headers)]
    for one in protocols:
        if one.startswith(_BEARER):
            text = one.removeprefix(_BEARER)
            try:
                found.append(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
            except (binascii.Error, ValueError):
                continue
    return found


async def live(socket: WebSocket, question: Moving, service: Service) -> None:
    """Tell the frames of a camera until the client closes; each is an image file in a binary message."""
    protocols = socket.scope.get("subprotocols", [])
    if not is_allowed(socket.headers, protocols, service):
        await socket.close(_FORBIDDEN)
        return
    await socket.accept(PROTOCOL if PROTOCOL in protocols else None)
    latest = Latest()
    receiving = asyncio.create_task(_receive(socket, latest, service))
    try:
        await _answer(socket, latest, question, service)
    finally:
        receiving.cancel()


async def _receive(socket: WebSocket, latest: Latest, service: Service) -> None:
    try:
        while (message := await socket.receive())["type"] == "websocket.receive":
            data = message.get("bytes")
            if data is None:
                await _close(socket, _UNSUPPORTED, "expected image files in binary messages")
                return
            if len(data) > service.limits.bytes:
                await _close(socket, _TOO_LARGE, f"expected at most {service.limits.megabytes} MB")
                return
            if latest.put(data):
                service.metrics.dropped.inc()
    finally:
        latest.end()


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(*_GONE):
        await socket.close(code, reason)


async def _answer(socket: WebSocket, latest: Latest, question: Moving, service: Service) -> None:
    tracks = Tracks(question.smooth)
    began: float | None = None
    while (taken := await latest.take()) is not None:
        number, came, data = taken
        began = came if began is None else began
        told: dict[str, Any] = {"frame": number, "dropped": latest.dropped, "faces": []}
        try:
            names, answers = await service.done(
                functools.partial(_tell, data=data, question=question, service=service), service.deadline()
            )
        except RefusedError as refused:
            if refused.status == FULL:
                latest.dropped += 1
                service.metrics.dropped.inc()
                continue
            told |= problem(refused.error)
        else:
            service.count(1, len(answers))
            followed = tracks.follow(came - began, answers)
            rows = frame_rows("camera", number, came - began, answers, followed, question.min_confidence)
            told["faces"] = [nested({name: row[name] for name in names}) for row in rows]
        try:
            await socket.send_json(told)
        except _GONE:
            return


def _tell(session: Session, *, data: bytes, question: Moving, service: Service) -> tuple[list[str], list[FaceAnswer]]:
    photo = decode_photo(data, service.limits.pixels)
    names = session.predictor(question, service.limits).names
    return columns(names, question.points, with_frames=True), tell_photo(session, photo, question, service.limits)
