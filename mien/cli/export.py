"""The verbs on models in use: export, models."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mien.cli.shared import Home, Json, RunName, Trust, app, open_home, print_result, print_table, say


@app.command()
def export(
    run: RunName,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where it goes, else NAME-NUMBER[-PRECISION].onnx here.")
    ] = None,
    precision: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="float16 halves the file, int8 is smaller still; see docs/export.md."),
    ] = "float32",
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Write a finished run as one ONNX file with its preprocessing inside, checked against PyTorch.

    Example: mien export cnn1 --precision int8
    """
    from mien.inference.onnx_files import require_onnx
    from mien.runs.run import find_run

    require_onnx()
    from mien.inference.export import export_run

    done = export_run(find_run(open_home(workspace, trust), run), to, precision)
    parity: dict[str, Any] = done["parity"]

    def show() -> None:
        say(f"{done['file']}: {done['bytes']:,} bytes, SHA-256 {done['sha256']}")
        say(
            f"beside PyTorch on {parity['split']}, n = {parity['n']:,}: {parity['score']} {parity['onnx']:.4f} and "
            f"{parity['torch']:.4f}, answers differ by {parity['largest_difference']:.2g} at most"
        )

    print_result(as_json, done, show)


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
