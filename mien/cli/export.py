"""The verbs on models in use: export, models."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mien.cli.shared import (
    DetectorWeights,
    Home,
    Json,
    Trust,
    app,
    open_home,
    print_result,
    print_table,
    say,
)
from mien.errors import MienError
from mien.extras import require


@app.command()
def export(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run; with --page also a shipped model or a file.", show_default=False),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where it goes, else NAME-NUMBER[-PRECISION].onnx here.")
    ] = None,
    precision: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="float16 halves the file, int8 is smaller still; see docs/export.md."),
    ] = "float32",
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Instead of the file a page for any web host, which needs no server.",
            show_default=False,
        ),
    ] = None,
    detector_weights: DetectorWeights = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Write a finished run as one ONNX file, checked against PyTorch, or a model as a page that answers in the browser.

    Example: mien export cnn1 --precision int8

    Example: mien export mien-s --page page
    """
    if page is not None:
        if to is not None:
            raise MienError("a page goes into a folder", key="--to", expected="--page DIR alone")
        from mien.inference.named import named_model
        from mien.serving.alone import DEFAULT, export_page

        home = open_home(workspace, trust)
        made = export_page(named_model(home, run or DEFAULT), page, home, detector_weights, precision)
        print_result(as_json, made, lambda: _show_page(made))
        return
    if run is None:
        raise MienError("no run is named", key="RUN", expected="a run, or --page DIR for the page of mien-s")
    if detector_weights is not None:
        raise MienError("a file holds no detector", key="--detector-weights", expected="--page DIR")
    require("exporting a run", "torch")
    from mien.inference.export import export_run
    from mien.runs.run import find_run

    done = export_run(find_run(open_home(workspace, trust), run), to, precision)
    parity: dict[str, Any] = done["parity"]

    def show() -> None:
        say(f"{done['file']}: {done['bytes']:,} bytes, SHA-256 {done['sha256']}")
        say(
            f"beside PyTorch on {parity['split']}, n = {parity['n']:,}: {parity['score']} {parity['onnx']:.4f} and "
            f"{parity['torch']:.4f}, answers differ by {parity['largest_difference']:.2g} at most"
        )

    print_result(as_json, done, show)


def _show_page(made: dict[str, Any]) -> None:
    say(f"{made['folder']}: {made['files']} files, {made['bytes']:,} bytes; {made['model']}, {made['detector']}")
    say(f"look at it: python -m http.server --directory {shlex.quote(made['folder'])}")


models = typer.Typer()
app.add_typer(models, name="models")


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context, as_json: Json = False) -> None:
    """List the models that ship with mien.

    Example: mien models
    """
    if context.invoked_subcommand is not None:
        return
    from mien.inference.model import list_shipped

    found = list_shipped()
    rows = [(one["name"], one["task"], f"{one['bytes']:,}", one["sha256"][:16], one["card"]) for one in found]
    print_result(
        as_json, {"models": found}, lambda: print_table("models", ("name", "task", "bytes", "SHA-256", "card"), rows)
    )


@models.command()
def fetch(
    name: Annotated[Literal["yunet"], typer.Argument(help="What is fetched: yunet, OpenCV's face detector.")],
    as_json: Json = False,
) -> None:
    """Fetch the face detector from its public address and keep it in the user's cache, unless it is there.

    Example: mien models fetch yunet
    """
    from mien.faces import yunet

    fetched = yunet.fetch()
    result = {"file": str(yunet.path()), "bytes": yunet.BYTES, "sha256": yunet.DIGEST, "fetched": fetched}
    came = f"fetched from {yunet.ADDRESS}" if fetched else "there already"
    print_result(as_json, result, lambda: print(f"{yunet.path()}: {yunet.BYTES:,} bytes, {came}"))
