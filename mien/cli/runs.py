"""The verbs on runs: demo, train, evaluate, report, runs."""

import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.shared import (
    Figures,
    Home,
    Json,
    Trust,
    app,
    broken,
    command_line,
    from_system,
    open_home,
    print_result,
    print_table,
    say,
)
from mien.errors import FailedError, MienError
from mien.extras import require
from mien.progress import console
from mien.workspace import find_workspace

if TYPE_CHECKING:
    from mien.runs.model_file import ModelFile
    from mien.runs.run import Run


@app.command()
def demo(workspace: Home = None, as_json: Json = False) -> None:
    """The whole road on drawn faces, in a minute or two: data, training, evaluation, report.

    Example: mien demo
    """
    require("the demo", "torch")
    from mien.workflow import run_demo

    run, measured, page = run_demo(find_workspace(workspace), command_line())
    where = [] if workspace is None else ["--workspace", str(workspace)]
    line = shlex.join([_program(), "serve", run.name, "--show-workspace", *where])

    def show() -> None:
        _show_measured(measured, run, page)
        say(f"a page in your browser, with this model and all that was measured: {line}")

    print_result(as_json, {"run": run.name, "report": str(page), "serve": line, **measured}, show)


def _program() -> str:
    """How mien is called from this terminal: by its name, unless it stands where no search finds it."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "mien" and shutil.which("mien") is None else "mien"


@app.command()
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE... [KEY=VALUE]...", help="Experiment files, and overrides for all of them."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Train N runs that differ in the seed, as one group.")
    ] = None,
    folds: Annotated[bool, typer.Option("--folds", help="Train one run for each fold of the protocol.")] = False,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Train a list of runs, N at once; those that are there already go on."),
    ] = None,
    stop_after: Annotated[
        float | None, typer.Option(min=0, metavar="MINUTES", help="Stop between epochs before so many minutes.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run, or a group, that was stopped; takes only epochs, devices and nodes of train.",
        ),
    ] = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Train an experiment, or a list of them; the reporting role stays closed.

    Example: mien train experiments/paper-2021/cnn1.yaml train.epochs=5 name=short

    Example: mien train experiments/paper-2021/cnn1.yaml --seeds 5

    Example: mien train experiments/best/ablation/*.yaml --seeds 3 --at-once 2 --stop-after 60

    Example: mien train --resume cnn1/3

    Example: torchrun --standalone --nproc-per-node 4 -m mien train experiments/best/mien-m.yaml train.devices=4
    """
    require("training", "torch")
    from mien.runs.run import group_name
    from mien.training.devices import enter
    from mien.training.fit import follow
    from mien.training.recorder import TimeUpError
    from mien.workflow import listed_runs, new_runs, train_to_end, unfinished

    world = enter()
    if world is not None and world.place.rank > 0:
        follow(world)
        return
    home = open_home(workspace, trust)
    given = arguments or []
    files = [Path(one) for one in given[:1]]
    files += [Path(one) for one in given[1:] if one.endswith((".yaml", ".yml")) and "=" not in one]
    overrides = [one for one in given[1:] if Path(one) not in files]
    changes: dict[str, int] = {}
    if resume is not None:
        if seeds or folds or at_once:
            raise MienError("a stopped group goes on as it began", expected=f"mien train --resume {resume} alone")
        runs, changes = unfinished(home, resume, given)
    elif not files:
        raise MienError("there is no experiment file", expected="mien train FILE, or mien train --resume RUN")
    elif len(files) > 1 or at_once:
        if folds:
            raise MienError("--folds goes with one file alone", expected="neither more files nor --at-once")
        if world is not None:
            raise MienError("a list of trainings starts its processes itself", expected="no torchrun or srun")
        _train_list(listed_runs(home, files, overrides, seeds=seeds), at_once or 1, stop_after, as_json)
        return
    else:
        runs = new_runs(home, files[0], overrides, seeds=seeds, folds=folds)
    results, begun = [], time.monotonic()
    for run in runs:
        left = None if stop_after is None else max(0.0, stop_after - (time.monotonic() - begun) / 60)
        again = f"; go on with: mien train --resume {group_name(runs)}"
        try:
            _, measured, page = train_to_end(run, command_line(), on_epoch=None, stop_after=left, **changes)
        except TimeUpError as up:
            print_result(as_json, {"run": run.name, "folder": str(run.folder), "state": "stopped"}, lambda: None)
            console.print(f"{up.message}{again}", markup=False, highlight=False)
            return
        except (KeyboardInterrupt, SystemExit, OSError) as error:
            if run.state == "finished":
                raise
            stopped = from_system(error) if isinstance(error, OSError) else FailedError("stopped")
            stopped.message += again
            raise stopped from error
        results.append({"run": run.name, "folder": str(run.folder), "report": str(page), **measured})
        if not as_json:
            _show_measured(measured, run, page)
    if len(runs) > 1 and not as_json:
        say(f"to measure all of them on the reporting role: mien evaluate {group_name(runs)}")
    print_result(as_json, results[0] if len(runs) == 1 else {"runs": results}, lambda: None)


def _train_list(runs: "Sequence[Run]", at_once: int, stop_after: float | None, as_json: bool) -> None:
    """Train what of a list isn't finished, and show how far each is; exit 1 where one failed."""
    from mien.runs.run import overview
    from mien.side_by_side import train_at_once
    from mien.tasks import headline
    from mien.workflow import is_complete

    left = [run for run in runs if not is_complete(run)]
    ended = {one.run.name: one for one in train_at_once(left, at_once, stop_after)}
    failed = [one for one in ended.values() if one.error]
    rows = []
    for run in runs:
        known = overview(run)
        score = "–" if known["choose"] is None else headline(known["choose"])
        error = ended[run.name].error if run.name in ended else ""
        rows.append((run.name, known["state"], f"{known['epochs_done']}/{known['epochs']}", score, error))
    columns = ("run", "state", "epochs", "score to choose by", "error")
    result = {"runs": [dict(zip(columns, row, strict=True)) for row in rows]}
    print_result(as_json, result, lambda: print_table("runs", columns, rows, right=9))
    if failed:
        raise FailedError(f"{len(failed)} of {len(runs)} runs failed", expected="the same command again, once mended")
    if any(run.state != "finished" for run in runs):
        console.print("the same command again goes on")


@app.command()
def evaluate(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, a group as name/1-5, a shipped model, an ONNX file.")
    ],
    protocol: Annotated[
        str | None, typer.Option(metavar="P", help="Report rows of another protocol: its name or a YAML file.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Measure on another data set: all rows not trained or chosen on.")
    ] = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Measure a finished run on the reporting role of its protocol, and write its report.

    Example: mien evaluate cnn1

    Example: mien evaluate cnn1 --protocol paper-2021

    Example: mien evaluate cnn1/1-5

    Example: mien evaluate peer.onnx --dataset fer2013

    Example: mien evaluate landmarks-small --dataset helen
    """
    require("measuring a model", "torch")
    from mien.inference.named import named_model
    from mien.runs.model_file import ModelFile, is_model_file
    from mien.runs.run import find_runs
    from mien.workflow import measure

    home = open_home(workspace, trust)
    run = named_model(home, run)
    if is_model_file(run):
        _evaluate_file(ModelFile(Path(run), home), protocol, dataset, as_json)
        return
    found = find_runs(home, run)
    results = []
    for one in found:
        _, measured, page = measure(one, command_line(), protocol=protocol, dataset=dataset)
        results.append({**measured, "report": str(page)})
        if not as_json:
            _show_measured(measured, one, page)
    if len(found) == 1:
        print_result(as_json, results[0], lambda: None)
        return
    describe = found[0].experiment.task.describe_group
    if protocol is not None or dataset is not None or describe is None:
        print_result(as_json, {"runs": results}, lambda: None)
        return
    from mien.report.console import group as group_lines
    from mien.tasks import resolve

    group = resolve(describe)(home, run)
    print_result(as_json, {"group": group, "runs": results}, lambda: _show(group_lines(group)))


def _evaluate_file(file: "ModelFile", protocol: str | None, dataset: str | None, as_json: bool) -> None:
    from mien.report.wording import over
    from mien.tasks import resolve
    from mien.workflow import measure_file

    measured = measure_file(file, command_line(), protocol=protocol, dataset=dataset)

    def show() -> None:
        _show(resolve(file.task.show)(measured))
        say(f"in brackets: 95 % intervals. {over(measured)}")
        say(f"written: {file.folder}")

    print_result(as_json, {**measured, "folder": str(file.folder)}, show)


def _show_measured(measured: dict[str, Any], run: "Run", page: Path) -> None:
    from mien.report.wording import over
    from mien.tasks import resolve

    _show(resolve(run.experiment.task.show)(measured))
    say(f"in brackets: 95 % intervals. {over(measured)}")
    say(f"report: {page}")
    if measured["role"] != "report":
        say(f"to measure it on the reporting role: mien evaluate {run.name}")


def _show(lines: Sequence[Any]) -> None:
    """Print lines of text and tables."""
    for line in lines:
        if isinstance(line, str):
            say(line)
        else:
            print_table(*line)


@app.command()
def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, a measured file, or with --to a group of seeds or folds.")
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also copy what can be shown to everyone into this folder.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a model card of a measured run, as Markdown.")
    ] = None,
    figures: Figures = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Write a run's figures and HTML page anew.

    Example: mien report cnn1 --to results/cnn1

    Example: mien report small/1-5 --to results/small

    Example: mien report peer.yaml

    Example: mien report cnn1 --format pdf
    """
    require("a report", "pyarrow")
    from mien.inference.named import named_model
    from mien.report.page import write_file_report, write_report
    from mien.report.reading import read_ledger
    from mien.report.style import printing
    from mien.report.wording import opened
    from mien.runs.manifest import sealing
    from mien.runs.model_file import ModelFile, is_model_file
    from mien.runs.run import find_run, is_group

    home = open_home(workspace, trust)
    run = named_model(home, run)
    if is_model_file(run):
        if to is not None or card is not None:
            raise MienError("a file of a model has a page alone", expected="neither --to nor --card")
        with printing(figures is not None):
            written = write_file_report(ModelFile(Path(run), home))
        print_result(as_json, {"file": run, "report": str(written)}, lambda: say(written))
        return
    if is_group(run):
        if card is not None:
            raise MienError("a card is of one model", key="--card", expected="one of the group's runs")
        from mien.comparison.seeds_and_folds import publish_group
        from mien.report.console import group as group_lines

        if to is None:
            raise MienError("a group has no page of its own", expected="--to FOLDER, or one of its runs")
        group = publish_group(home, run, to)
        print_result(as_json, group, lambda: _show(group_lines(group)))
        return
    found = find_run(home, run)
    if to is not None:
        found.workspace.check_public(to)
    with sealing(found), printing(figures is not None):
        page = write_report(found.folder)
    if to is not None:
        from mien.report.publishing import publish

        with printing(figures is not None):
            publish(found, to)
    if card is not None:
        from mien.files import write_text
        from mien.report.model_card import model_card

        write_text(card, model_card(found, found.name))
    lines = read_ledger(found.folder)

    from mien.report.pictures import unprintable

    def show() -> None:
        if note := unprintable(found):
            say(note)
        say(f"the report role of {found.name} was opened {opened(lines) or 'never'}")
        say(page)

    print_result(as_json, {"run": found.name, "report": str(page), "opened": len(lines)}, show)


runs = typer.Typer()
app.add_typer(runs, name="runs")


@runs.callback(invoke_without_command=True)
def list_runs(context: typer.Context, workspace: Home = None, as_json: Json = False) -> None:
    """The workspace's runs: state, protocol, epochs, accuracy with its split, n and interval.

    Example: mien runs
    """
    if context.invoked_subcommand is not None:
        return
    require("a list of runs", "scipy")
    from mien.runs.run import list_runs as runs_of
    from mien.runs.run import overview
    from mien.tasks import headline

    found = [overview(run) for run in runs_of(find_workspace(workspace))]

    rows = [
        (one["run"], one["state"], *[""] * 4, broken(one["error"]))
        if "error" in one
        else (
            one["run"],
            one["state"],
            one["dataset"],
            one["protocol"],
            f"{one['epochs_done']}/{one['epochs']}",
            *("–" if one[role] is None else headline(one[role]) for role in ("choose", "report")),
        )
        for one in found
    ]
    columns = ("run", "state", "data set", "protocol", "epochs", "score to choose by", "score to report")
    print_result(as_json, {"runs": found}, lambda: print_table("runs", columns, rows, right=9))


@runs.command()
def remove(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs by name/number, or groups as name/1-5.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask back.")] = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Remove runs of this workspace, after asking back; the ledger keeps who asked for their reporting rows.

    Example: mien runs remove cnn1/3 small/1-5
    """
    require("removing runs", "pyarrow")
    from mien.runs.ledger import entries
    from mien.runs.removal import removable, size
    from mien.runs.removal import remove as remove_runs

    found = removable(find_workspace(workspace), names)
    rows = [
        (run.name, run.state, str(len(entries(run.folder))), f"{size(run) / 1e6:,.1f} MB", str(run.folder))
        for run in found
    ]
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise MienError("nobody is asked here", key="--yes", expected="--yes, once it is sure")
        print_table("to be removed", ("run", "state", "opened", "size", "folder"), rows, right=2)
        if not typer.confirm("Remove them for good?"):
            say("nothing was removed")
            return
    gone = [{"run": run.name, "folder": str(run.folder)} for run in remove_runs(found)]
    print_result(as_json, {"removed": gone}, lambda: say(f"removed: {', '.join(one['run'] for one in gone)}"))
