"""The app: routes, who may call them, and what is said of errors. FastAPI makes the OpenAPI schema of it."""

from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from mien import __version__
from mien.errors import MienError, nearest
from mien.serving import metrics
from mien.serving.body import FORM, JSON, read_file, read_uploads
from mien.serving.film import lines
from mien.serving.live import bearer, live, same
from mien.serving.page import page_files
from mien.serving.refusals import FAILED, UNPROCESSABLE, RefusedError, refusal, refusals, status_of
from mien.serving.schema import (
    PORTRAIT,
    Answer,
    Face,
    Filmed,
    Images,
    Models,
    Moving,
    Question,
    State,
)
from mien.serving.service import Service
from mien.serving.session import Session, Upload, tell
from mien.serving.settings import Settings

_ABOUT = """What people would call the expression of each face in a photo, with a calibrated probability for each class.

A face that looks sad is not a person who is sad: no model can tell what somebody feels, thinks or is like. Pictures are
told in memory; none is stored or logged."""
_MANY = {
    "images": {
        "type": "array",
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
        "minItems": 1,
        "description": "JPEG, PNG, WebP, BMP, TIFF, GIF or PPM.",
    }
}
_ONE = {"video": {"type": "string", "contentMediaType": "application/octet-stream"}}
_TOLD = {
    "model": "mien-m bd114e298602",
    "detector": "yunet 8f2383e4dd3c",
    "classes": list(PORTRAIT["probabilities"]),
    "limits": "",
    "images": 1,
    "n": 1,
    "without": 0,
    "uncertain": 0,
    "failed": 0,
    "faces": [PORTRAIT],
}


class _Lines(StreamingResponse):
    """The lines of a video; another may take its place when it ends, also where the client leaves before the first."""

    def __init__(self, told: Generator[bytes], service: Service) -> None:
        super().__init__(told, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})
        self.told, self.service = told, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.service.films -= 1
            await run_sync(self.told.close)


def create_app(settings: Settings) -> FastAPI:
    """The app of a server, its models open; raises MienError for models that can't be served."""
    return app_of(Service(settings))


def app_of(service: Service) -> FastAPI:
    """The app by which a service is reached; the service ends with it."""
    settings = service.settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_sync(service.close)

    app = FastAPI(
        title="mien",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        root_path=settings.root_path,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # An address is answered or there is none; a redirect would go where the Host header says.
        redirect_slashes=False,
    )
    app.state.service = service
    _tell_errors(app)
    app.include_router(_probes(service))
    app.include_router(_api(service), dependencies=_dependencies(settings))
    app.include_router(_camera(service))
    if settings.show_workspace:
        # Only now: it needs more packages than answers do.
        from mien.serving.view.routes import workspace_routes

        app.include_router(workspace_routes(settings), dependencies=_dependencies(settings))
    app.include_router(_page())
    _give_examples(app)
    paths = {*app.openapi()["paths"], "/"}
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(metrics.Counted, metrics=service.metrics, known=paths.__contains__)
    return app


def _dependencies(settings: Settings) -> list[Any]:
    """What is asked of every request to the API."""
    token = settings.token
    if token is None:
        return []

    async def check(request: Request) -> None:
        if not same(bearer(request.headers), token):
            error = MienError("this server asks for a token", key="Authorization", expected="Bearer and the token")
            raise RefusedError(401, error, {"WWW-Authenticate": "Bearer"})

    return [Depends(HTTPBearer(auto_error=False)), Depends(check)]


def _probes(service: Service) -> APIRouter:
    routes = APIRouter(tags=["probes"])

    @routes.get("/health")
    async def health() -> State:
        """Whether the server is there."""
        return State(status="ok")

    @routes.get("/ready", responses={503: {"model": State, "description": "The queue is full, or the server ends."}})
    async def ready(response: Response) -> State:
        """Whether a request would be taken."""
        response.status_code = 200 if service.is_ready else 503
        return State(status="ok" if service.is_ready else "busy")

    return routes


def _api(service: Service) -> APIRouter:
    routes, limits = APIRouter(), service.limits
    protected = (401,) if service.settings.token is not None else ()

    @routes.get("/v1/models", responses=refusals(*protected), tags=["models"])
    async def models() -> Models:
        """The models that are served, with their cards."""
        return service.models

    @routes.post(
        "/v1/predict",
        response_model=Answer,
        response_model_exclude_unset=True,
        responses={
            **refusals(*protected, 408, 413, 415, 422, 500, 503, 504),
        },
        openapi_extra={"requestBody": _body(Images, _MANY, ["images"])},
        tags=["answers"],
    )
    async def predict(request: Request, question: Annotated[Question, Query()]) -> Any:
        """The faces of one or several images. A bad image refuses the whole request, and is named."""
        deadline = service.deadline()
        async with service.bodies.chunks(request, lambda: service.pool.retry_after) as chunks:
            uploads = await service.within(deadline, lambda: read_uploads(request, chunks, limits))

            def job(session: Session) -> dict[str, Any]:
                return tell(session, uploads(), question, limits)

            told = await service.done(job, deadline)
        service.count(told["images"], told["n"])
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    @routes.post(
        "/v1/predict/stream",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "A line of JSON for each face of each frame that is told, as they come.",
                "content": {"application/x-ndjson": {"schema": Face.model_json_schema()}},
            },
            **refusals(*protected, 408, 413, 415, 422, 503),
        },
        openapi_extra={"requestBody": _body(None, _ONE, ["video"])},
        tags=["answers"],
    )
    async def stream(request: Request, question: Annotated[Filmed, Query()]) -> Any:
        """The faces of a video, followed over its frames, a line each."""
        if service.films >= service.settings.sessions:
            raise service.full()
        service.films += 1
        try:
            deadline = service.deadline()
            async with service.bodies.chunks(request, lambda: service.pool.retry_after) as chunks:
                upload: Upload = await service.within(deadline, lambda: read_file(request, chunks))
            told = await run_sync(lines, upload, question, service)
        except BaseException as error:
            service.films -= 1
            if isinstance(error, MienError):
                raise RefusedError(status_of(error), error) from error
            raise
        return _Lines(told, service)

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(*protected)},
        tags=["probes"],
    )
    async def counts() -> Response:
        """What was counted, as Prometheus reads it."""
        return Response(service.metrics.text(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return routes


def _camera(service: Service) -> APIRouter:
    """By itself: a browser sends no headers here, so that `live` looks for the token elsewhere, too."""
    routes = APIRouter()

    @routes.websocket("/v1/live")
    async def camera(socket: WebSocket, question: Annotated[Moving, Query()]) -> None:
        await live(socket, question, service)

    return routes


def _body(json: Any, files: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """What the schema says of a body that is read by hand."""
    content: dict[str, Any] = {
        FORM: {"schema": {"type": "object", "properties": files, "required": required, "additionalProperties": False}}
    }
    if json is not None:
        # In place: FastAPI only knows the shapes of bodies that it reads itself.
        schema = json.model_json_schema()
        image = schema.pop("$defs")["Image"]
        schema["properties"]["images"]["items"] = image
        content[JSON] = {"schema": schema, "example": {"images": [{"name": "photo.jpg", "data": "/9j/4AAQSkZJRg=="}]}}
    return {"required": True, "content": content}


def _page() -> APIRouter:
    routes, files = APIRouter(include_in_schema=False), page_files()

    @routes.get("/")
    async def page() -> Response:
        return files["index.html"]

    @routes.get("/page/{name}")
    async def part(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name]

    return routes


def _give_examples(app: FastAPI) -> None:
    """Put examples into the schema by hand: FastAPI leaves out what is null in its own."""
    schema = app.openapi()
    answers = schema["paths"]["/v1/predict"]["post"]["responses"]
    answers["200"]["content"][JSON]["example"] = _TOLD
    schema["components"]["schemas"]["Face"]["example"] = PORTRAIT


def _tell_errors(app: FastAPI) -> None:
    """Answer every error by one sentence in one shape."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return refusal(error.status, error.error, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        key = str(first["loc"][1]) if len(first["loc"]) > 1 else None
        known = [name for name in Filmed.model_fields if name != key]
        if first["type"] == "extra_forbidden":
            told = MienError("there is no such option here", key=key, nearest=nearest(str(key), known))
        else:
            what = str(first["msg"]).removeprefix("Value error, ")
            told = MienError(what[:1].lower() + what[1:], key=key)
        return refusal(UNPROCESSABLE, told)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        method = f"{request.method} {request.url.path}"[:200]
        said = {404: f"there is no {method}", 405: f"there is no {method}"}.get(error.status_code, str(error.detail))
        return refusal(error.status_code, MienError(said), error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return refusal(FAILED, MienError("the server failed", expected="its log to say why"))
