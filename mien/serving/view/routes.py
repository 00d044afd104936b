"""The routes of the workspace view: who may ask, and what is answered. Nothing is written but the list of choices."""

import functools
import ipaddress
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import ValidationError

from mien.errors import MienError
from mien.reading import reading
from mien.serving.refusals import TOO_LARGE, UNPROCESSABLE, UNSUPPORTED, RefusedError, refusals
from mien.serving.settings import Settings
from mien.serving.view.datasets import card_of, dataset_lines, dataset_of, picture_of, sheet_of
from mien.serving.view.marks import keep, listed, suspects_of
from mien.serving.view.pairs import compare_two
from mien.serving.view.reading import MissingError, of_system
from mien.serving.view.runs import cell_of, confusion_of, detail_of, explanation_picture, run_lines
from mien.serving.view.schema import (
    Cell,
    CellOf,
    Choice,
    Compared,
    Confusion,
    DatasetCard,
    Kept,
    Name,
    Overview,
    Pair,
    RoleOf,
    RowOf,
    RunDetail,
    Suspects,
)
from mien.workspace import Workspace

T = TypeVar("T")

FORBIDDEN, MISSING = 403, 404
# A choice has two names of at most 1,000 letters and a class.
_MOST_BYTES = 16 * 2**10
_HEADERS = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}}}
}

DatasetName = Annotated[Name, Path()]
Number = Annotated[int, Path(ge=1, le=10**9 - 1)]


def workspace_routes(settings: Settings) -> APIRouter:
    """The routes that show the workspace of a server."""
    home = Workspace(settings.workspace.resolve())
    asked = (401,) if settings.token is not None else ()
    routes = APIRouter(
        prefix="/v1/workspace",
        dependencies=[Depends(functools.partial(_check, settings)), Depends(_private)],
        responses=refusals(*asked, FORBIDDEN, MISSING, UNPROCESSABLE),
        tags=["workspace"],
    )

    def told(work: Callable[[], T]) -> T:
        return _told(home, work)

    @routes.get("")
    def overview() -> Overview:
        """The data sets and runs that there are; what is damaged is a line that says so."""
        return told(lambda: Overview(root=str(home.root), datasets=dataset_lines(home), runs=run_lines(home)))

    @routes.get("/datasets/{dataset}")
    def card(dataset: DatasetName) -> DatasetCard:
        """A data set: rows by split and class, and what an audit has found."""
        return told(lambda: card_of(home, dataset, listed(home, dataset).is_file()))

    @routes.get("/datasets/{dataset}/sheet", response_class=Response, responses=_PNG)
    def sheet(dataset: DatasetName) -> Response:
        """The data set's contact sheet."""
        return _png(told(lambda: sheet_of(dataset_of(home, dataset))))

    @routes.get("/datasets/{dataset}/image", response_class=Response, responses=_PNG)
    def image(dataset: DatasetName, row: Annotated[RowOf, Query()]) -> Response:
        """The pixels of a row."""
        return _png(told(lambda: picture_of(dataset_of(home, dataset), row.split, row.id)))

    @routes.get("/datasets/{dataset}/suspects")
    def suspects(dataset: DatasetName) -> Suspects:
        """The likely label errors that `mien suspects` has found, with what was chosen of them."""
        return told(lambda: suspects_of(home, dataset_of(home, dataset)))

    @routes.post(
        "/datasets/{dataset}/choices",
        responses=refusals(TOO_LARGE, UNSUPPORTED),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": Choice.model_json_schema()}},
            }
        },
    )
    async def choose(dataset: DatasetName, request: Request) -> Kept:
        """Keep which class a row shows, or take it back, in the CSV that `mien data import --relabel` takes."""
        choice = await _choice(request)
        return await run_sync(lambda: told(lambda: keep(home, dataset_of(home, dataset), choice)))

    @routes.get("/runs/{name}/{number}")
    def run(name: DatasetName, number: Number) -> RunDetail:
        """A run: its curve, also while it trains, its scores and explanations."""
        return told(lambda: detail_of(home, f"{name}/{number}"))

    @routes.get("/runs/{name}/{number}/confusion")
    def confusion(name: DatasetName, number: Number, of: Annotated[RoleOf, Query()]) -> Confusion:
        """The confusion matrix of a role."""
        return told(lambda: confusion_of(home, f"{name}/{number}", of.role))

    @routes.get("/runs/{name}/{number}/cell")
    def cell(name: DatasetName, number: Number, of: Annotated[CellOf, Query()]) -> Cell:
        """The rows of a cell of the confusion matrix."""
        return told(lambda: cell_of(home, f"{name}/{number}", of))

    @routes.get("/runs/{name}/{number}/explain/{file}", response_class=Response, responses=_PNG)
    def explanation(name: DatasetName, number: Number, file: str) -> Response:
        """A picture of a run's explanations."""
        return _png(told(lambda: explanation_picture(home, f"{name}/{number}", file)))

    @routes.get("/compare")
    def compare(of: Annotated[Pair, Query()]) -> Compared:
        """Which of two measured runs is better."""
        return told(lambda: compare_two(home, of.a, of.b))

    return routes


def _told(home: Workspace, work: Callable[[], T]) -> T:
    """What some work gives; RefusedError, with one sentence, for whatever of the workspace can't be read."""
    try:
        with reading(home.root, "what stands here", MienError):
            return work()
    except MienError as error:
        raise RefusedError(MISSING if isinstance(error, MissingError) else UNPROCESSABLE, error) from error
    except OSError as error:
        known = of_system(error)
        raise RefusedError(MISSING if isinstance(known, MissingError) else UNPROCESSABLE, known) from error


def _png(data: bytes) -> Response:
    return Response(data, media_type="image/png", headers=_HEADERS)


async def _private(response: Response) -> None:
    response.headers.update(_HEADERS)


async def _check(settings: Settings, request: Request) -> None:
    """Refuse what other pages ask for through their visitor's browser, and names that lead here from elsewhere."""
    host = request.headers.get("host", "")
    if settings.token is None and not is_loopback(host):
        error = MienError(
            f"the workspace isn't shown at '{host[:200]}'", key="Host", expected="--token-file, or localhost"
        )
        raise RefusedError(FORBIDDEN, error)
    if not _is_own(settings, request):
        raise RefusedError(FORBIDDEN, MienError("another page asks for this", expected="the page of this server"))


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine itself; a name that someone else may give it doesn't.

    >>> [is_loopback(host) for host in ("127.0.0.1:8000", "[::1]:8000", "localhost", "127.example.org")]
    [True, True, True, False]
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_own(settings: Settings, request: Request) -> bool:
    """Whether a request is no page's, or that of the server's own page; reading may also one that `--cors` names."""
    origin = request.headers.get("origin")
    if request.method == "GET" and origin is not None and origin in settings.origins:
        return True
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _choice(request: Request) -> Choice:
    """The choice that a request's body makes; read by hand, since nothing is to be read before the token."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(UNSUPPORTED, MienError("this body isn't JSON", expected="application/json"))
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            error = MienError("the body is too large", expected=f"at most {_MOST_BYTES >> 10} kB")
            raise RefusedError(TOO_LARGE, error, {"Connection": "close"})
    try:
        return Choice.model_validate_json(bytes(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or None
        raise RefusedError(UNPROCESSABLE, MienError(first["msg"][:1].lower() + first["msg"][1:], key=key)) from error
