"""The verb that puts models behind an API and a page: serve."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.shared import DetectorName, DetectorWeights, Home, Trust, app, open_home
from mien.extras import require


@app.command()
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Models, runs or files; the first answers unless another is asked for.",
            show_default="mien-m",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the token that every request is to have.")
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="A web page elsewhere that may call the API.")
    ] = None,
    root_path: Annotated[str, typer.Option(metavar="PATH", help="What a proxy puts before all paths.")] = "",
    show_workspace: Annotated[
        bool,
        typer.Option("--show-workspace", help="Also show the workspace: data sets, runs, likely label errors."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 1,
    sessions: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Threads with models of their own in a process.", show_default="cores"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads of each model.")] = 1,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Requests that may wait in a process.")] = 64,
    max_mb: Annotated[int, typer.Option(min=1, max=1024, help="MB of a request.")] = 32,
    max_megapixels: Annotated[int, typer.Option(min=1, max=64, help="Million pixels of an image.")] = 32,
    max_images: Annotated[int, typer.Option(min=1, max=1000, help="Images of a request.")] = 32,
    max_faces: Annotated[int, typer.Option(min=1, max=5000, help="Faces of an image.")] = 100,
    max_seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds until a request is answered.")] = 30.0,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    trust: Trust = False,
    workspace: Home = None,
) -> None:
    """Answer photos, videos and cameras over HTTP, with a page to try it on. No picture is stored or logged.

    Example: mien serve

    Example: mien serve mien-m mien-s --host 0.0.0.0 --token-file token.txt

    Example: mien serve --workspace . --show-workspace
    """
    require("a server", "fastapi", "uvicorn", "python_multipart", "websockets", "prometheus_client")
    from mien.errors import MienError
    from mien.faces.detector import open_detector
    from mien.inference.model import DEFAULT
    from mien.serving.running import is_local, run
    from mien.serving.settings import Limits, Settings, cores, read_token

    if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
        raise MienError(f"the path is '{root_path}'", key="--root-path", expected="such as /mien")
    for origin in cors or ():
        if origin.rstrip("/") != origin or "://" not in origin:
            raise MienError(f"the origin is '{origin}'", key="--cors", expected="such as https://example.org")
    if show_workspace:
        require("showing the workspace", "pyarrow", "scipy", "sklearn", "matplotlib", "jinja2")
        if token_file is None and not is_local(host):
            raise MienError(
                f"{host} would show the workspace to all who reach this machine",
                key="--show-workspace",
                expected="--token-file FILE as well, or no --host",
            )
    home = open_home(workspace, trust)
    settings = Settings(
        tuple(models or (DEFAULT,)),
        home.root,
        detector,
        detector_weights,
        sessions or max(1, cores() // workers),
        threads,
        queue,
        Limits(max_mb, max_megapixels, max_images, max_faces, max_seconds),
        read_token(token_file) if token_file is not None else None,
        tuple(cors or ()),
        root_path,
        show_workspace,
    )
    for note in (
        open_detector(detector, detector_weights).note,
        f"{host} is open to all who reach this machine, and no token is asked for; --token-file FILE asks for one"
        * (not is_local(host) and settings.token is None),
    ):
        if note:
            print(f"mien: {note}", file=sys.stderr)

    def tell(url: str) -> None:
        print(f"mien: serving {', '.join(settings.models)} at {url} (Ctrl-C stops)", file=sys.stderr, flush=True)

    run(settings, host, port, workers, tell)
