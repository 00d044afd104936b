"""The verbs of a search through an experiment's keys: sweep FILE, sweep status, sweep best, sweep report."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mien.cli.shared import (
    Home,
    Json,
    Trust,
    app,
    command_line,
    counted,
    open_home,
    print_result,
    print_table,
    say,
)
from mien.errors import FailedError, reason
from mien.extras import require
from mien.workspace import find_workspace


class _FileFirst(TyperGroup):
    """`mien sweep FILE` is `mien sweep run FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb before what is none."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


sweep = typer.Typer(
    cls=_FileFirst,
    help="Search an experiment's keys by Optuna: mien sweep FILE begins, or goes on with, what a file names.",
    no_args_is_help=True,
)
app.add_typer(sweep, name="sweep")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The sweep's name.")]


@sweep.command("run")
def run_sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep's file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides for its experiment.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="So many processes, each a trial at a time.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE",
            help="postgresql://USER@HOST/DATABASE, or a journal on a disk that machines share.",
        ),
    ] = None,
    only_work: Annotated[bool, typer.Option("--only-work", hidden=True)] = False,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Begin a sweep, or go on with it: trials are runs, chosen by the choose role; the reporting role stays closed.

    Example: mien sweep rates.yaml --workers 2

    Example: mien sweep rates.yaml --workers 8 --storage postgresql://mien@db.example.org/sweeps
    """
    require("a sweep", "torch", "optuna")
    from mien.sweep.file import read_sweep
    from mien.sweep.work import begin, work, work_in_processes

    home = open_home(workspace, trust)
    asked = read_sweep(file, overrides or [])
    with _storage():
        study = begin(home, asked, storage)
        if workers == 1:
            work(study, home, asked, command_line())
        else:
            words = ["sweep", "run", str(file), *(overrides or []), "--only-work", "--workspace", str(home.root)]
            work_in_processes(study, workers, words if storage is None else [*words, "--storage", storage])
        if not only_work:
            _report(study, as_json)


@sweep.command()
def status(name: Name, workspace: Home = None, as_json: Json = False) -> None:
    """Each trial of a sweep: its state, its run, its score on the choose role, its values.

    Example: mien sweep status rates
    """
    with _opened(name, workspace) as study:
        from mien.sweep.summary import summary

        told = summary(study)
        print_result(as_json, told, lambda: _show(told))


@sweep.command()
def best(name: Name, workspace: Home = None, as_json: Json = False) -> None:
    """The best trial of a sweep, what its score is worth, and its values as overrides.

    Example: mien sweep best rates
    """
    with _opened(name, workspace) as study:
        from mien.sweep.summary import honest_line, score_of, summary

        told = summary(study)
        said = honest_line(told, score_of(study))
        if told["best"] is None:
            raise FailedError(f"no trial of '{name}' is finished", expected="the sweep to go on")
        found = {**told["best"], "best_interval": told["best_interval"], "said": said}
        print_result(as_json, found, lambda: _show_best(told, said))


@sweep.command()
def report(name: Name, workspace: Home = None, as_json: Json = False) -> None:
    """Write a sweep's page, report.html, and report.json anew.

    Example: mien sweep report rates
    """
    with _opened(name, workspace) as study:
        _report(study, as_json)


@contextmanager
def _opened(name: str, workspace: Path | None) -> Iterator[Any]:
    require("a sweep", "torch", "optuna")
    from mien.sweep.study import open_study

    with _storage():
        yield open_study(find_workspace(workspace), name)


@contextmanager
def _storage() -> Iterator[None]:
    """A storage that goes away while it is used becomes one sentence, and so does Ctrl-C."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except KeyboardInterrupt as stop:
        raise FailedError("stopped", expected="the same command again, which goes on") from stop
    except StorageInternalError as error:
        raise FailedError(
            f"the storage can't be reached any more ({reason(error.__cause__ or error)})",
            expected="the same command again, which goes on",
        ) from error


def _report(study: Any, as_json: bool) -> None:
    from mien.sweep.page import write_page

    page, told = write_page(study)

    def show() -> None:
        _show(told)
        _show_best(told, told["said"])
        say(f"report: {page}")

    failed = told["states"]["failed"]
    if told["best"] is None and failed:
        error = next(trial["error"] for trial in told["trials"] if trial["state"] == "failed")
        raise FailedError(f"all of {counted(failed, 'trial')} failed, the first: {error}", file=str(study.folder))
    print_result(as_json, {**told, "report": str(page)}, show)


def _show(told: dict[str, Any]) -> None:
    from mien.sweep.summary import told_value
    from mien.tasks import Score

    score = Score(**told["plan"]["score"])
    lines = []
    for trial in told["trials"]:
        if trial["state"] == "waiting":
            continue
        came = trial["error"] or ""
        if trial["score"] is not None:
            came = f"{score.bracketed(trial['score'], trial['interval'])} {trial['split']} n {trial['n']:,}"
        values = ", ".join(f"{key} {told_value(value)}" for key, value in trial["values"].items())
        lines.append((str(trial["trial"]), trial["run"] or "–", trial["state"], str(trial["epochs"]), came, values))
    columns = ("trial", "run", "state", "epochs", f"choose {score.label}", "values")
    print_table(f"trials of {told['sweep']}", columns, lines, right=9)
    say(", ".join(f"{n:,} {state}" for state, n in told["states"].items() if n))


def _show_best(told: dict[str, Any], said: str) -> None:
    if told["best"] is None:
        return
    say(said)
    say("its values: " + " ".join(f"{key}={value}" for key, value in told["best"]["values"].items()))
