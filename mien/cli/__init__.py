"""The verbs: parse, call, print. Everything heavy is imported inside the verb that needs it."""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Annotated, NoReturn

import typer
from typer.models import CommandInfo

from mien import __version__
from mien.cli import (
    compare,
    crop,
    data,
    explain,
    export,
    files,
    label_errors,
    landmarks,
    predict,
    reproduce,
    runs,
    serve,
    sweep,
)
from mien.cli.shared import app, from_system
from mien.errors import FailedError, MienError
from mien.extras import missing

# Importing these registers their verbs.
__all__ = [
    "app",
    "compare",
    "crop",
    "data",
    "explain",
    "export",
    "files",
    "label_errors",
    "landmarks",
    "main",
    "predict",
    "reproduce",
    "runs",
    "serve",
    "sweep",
]

# As the road goes, a verb that isn't named here last; `data` stands by itself.
_ORDER = (
    *("demo", "check", "schema", "doctor", "train", "evaluate", "report", "runs"),
    *("compare", "explain", "slices", "suspects", "landmarks", "reproduce", "export", "predict", "serve"),
)


def _place(command: CommandInfo) -> int:
    name = command.name or getattr(command.callback, "__name__", "")
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


app.registered_commands.sort(key=_place)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit with 0, 1 (the work failed) or 2 (the input was wrong)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _terminating_as_ctrl_c():
            code = app(args=given, standalone_mode=False)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except MienError as error:
        problem = error
    except typer.TyperException as error:
        if not (message := error.format_message().strip()):
            sys.exit(2)
        problem = MienError(message.rstrip("."))
    except (KeyboardInterrupt, typer.Abort):
        problem = FailedError("stopped; what was half made is gone")
    except OSError as error:
        problem = from_system(error)
    except ImportError as error:
        if (lacking := missing(error)) is None:
            raise
        problem = lacking
    _tell(problem, as_json="--json" in given)
    sys.exit(problem.exit_code)


# What typer gives back where Ctrl-C has stopped a verb.
_INTERRUPTED = 130


@contextlib.contextmanager
def _terminating_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, so that what is half made is cleared away and a sentence says so."""
    if threading.current_thread() is not threading.main_thread():  # Only there can signals be handled.
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(error: MienError, *, as_json: bool) -> None:
    for one in (error, *error.more):
        print(f"mien: {one}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": error.as_dict()}, ensure_ascii=False))


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A workbench for facial-expression models: one file is one experiment, measured honestly."""
    if show:
        print(f"mien {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
