"""The verbs on runs: demo, train, evaluate, report, runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.shared import Home, Json, app, from_system, print_result, print_table
from mien.errors import FailedError, MienError
from mien.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from mien.runs.run import Run


@app.command()
def demo(workspace: Home = None, as_json: Json = False) -> None:
    """The whole road on drawn faces, in a minute or two: data, training, evaluation, report.

    Example: mien demo
    """
    from mien.workflow import run_demo

    run, measured, page = run_demo(find_workspace(workspace))
    print_result(
        as_json, {"run": run.name, "report": str(page), **measured}, lambda: _show_measured(measured, run, page)
    )


@app.command()
def train(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="FILE [KEY=VALUE]...", help="An experiment file and overrides.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Train N runs that differ in the seed, as one group.")
    ] = None,
    folds: Annotated[bool, typer.Option("--folds", help="Train one run for each fold of the protocol.")] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on with a run, or a group, that was stopped; takes only train.epochs=N."),
    ] = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Train an experiment; the reporting role stays closed.

    Example: mien train experiments/paper-2021/cnn1.yaml train.epochs=5 name=short

    Example: mien train experiments/paper-2021/cnn1.yaml --seeds 5

    Example: mien train --resume cnn1/3
    """
    home = find_workspace(workspace)
    given = arguments or []
    epochs: int | None = None
    if resume is not None:
        if seeds or folds:
            raise MienError("a stopped group goes on as it began", expected=f"mien train --resume {resume} alone")
        runs, epochs = _to_resume(home, resume, given)
    elif given:
        runs = _new(home, Path(given[0]), given[1:], seeds, folds)
    else:
        raise MienError("there is no experiment file", expected="mien train FILE, or mien train --resume RUN")
    results = []
    for run in runs:
        measured, page = _run_to_end(home, run, epochs, runs)
        results.append({"run": run.name, "folder": str(run.folder), "report": str(page), **measured})
        if not as_json:
            _show_measured(measured, run, page)
    if len(runs) > 1 and not as_json:
        print(f"to measure all of them on the reporting role: mien evaluate {_called(runs)}")
    print_result(as_json, results[0] if len(runs) == 1 else {"runs": results}, lambda: None)


def _called(runs: Sequence["Run"]) -> str:
    from mien.runs.run import group_name

    return group_name(runs)


def _new(home: Workspace, file: Path, overrides: list[str], seeds: int | None, folds: bool) -> list["Run"]:
    """New runs of an experiment: one, or one for each seed, or for each fold."""
    from mien.data.dataset import open_dataset
    from mien.experiment.building import check as check_parts
    from mien.experiment.building import located, scheme_for
    from mien.experiment.schema import load_experiment
    from mien.protocols import folds as number_of_folds
    from mien.runs.run import new_group, new_run
    from mien.training.start_weights import check as check_start

    if seeds and folds:
        raise MienError("--seeds and --folds exclude each other", expected="one of them")
    experiment = load_experiment(file, overrides)
    try:
        dataset = open_dataset(home, experiment.dataset.name)
    except MienError as error:
        error.key = error.key or "dataset.name"
        raise located(error, file, overrides) from error
    changes: list[str] = []
    try:
        if seeds:
            first = experiment.train.seed
            changes = [f"train.seed={seed}" for seed in range(first, first + seeds)]
        elif folds:
            changes = [f"protocol.fold={fold}" for fold in range(number_of_folds(experiment.protocol, dataset))]
        group = [load_experiment(file, [*_without(overrides, change), change]) for change in changes]
        for one in group or [experiment]:
            check_parts(one, dataset)
        check_start(experiment, scheme_for(experiment, dataset), home)
    except MienError as error:
        raise located(error, file, overrides) from error
    return new_group(home, group) if group else [new_run(home, experiment)]


def _without(overrides: list[str], change: str) -> list[str]:
    """The overrides without one of the key that a change sets."""
    key = change.partition("=")[0]
    return [override for override in overrides if override.partition("=")[0] != key]


def _to_resume(home: Workspace, reference: str, overrides: list[str]) -> tuple[list["Run"], int | None]:
    """The runs that still have epochs to go, and the number of epochs if it is to be another."""
    from mien.experiment.yamlfile import parse_value
    from mien.runs.run import find_runs
    from mien.training.fit import check_epochs

    runs = find_runs(home, reference)
    left = [run for run in runs if run.state != "finished"]
    if not left:
        which = f"run {runs[0].name} is" if len(runs) == 1 else f"runs {reference} are"
        raise MienError(f"{which} finished", file=str(runs[0].folder), expected="a run that was stopped")
    epochs: int | None = None
    for override in overrides:
        key, _, value = override.partition("=")
        if len(runs) > 1:
            raise MienError(f"'{override}' can't be changed on the way", key=key, expected="the stored experiments")
        if key != "train.epochs":
            raise MienError(
                f"'{override}' can't be changed on the way",
                key=key,
                expected="the stored experiment; only train.epochs=N can be given to --resume",
            )
        epochs = check_epochs(left[0], parse_value(value))
    return left, epochs


def _run_to_end(home: Workspace, run: "Run", epochs: int | None, group: list["Run"]) -> tuple[dict[str, Any], Path]:
    from mien.evaluation import evaluate as measure
    from mien.report.page import write_report
    from mien.training.fit import train as fit

    again = f"go on with: mien train --resume {_called(group)}"
    try:
        fit(home, run, ["mien", *sys.argv[1:]], epochs=epochs)
    except (KeyboardInterrupt, SystemExit) as stop:
        raise FailedError(f"stopped; {again}") from stop
    except OSError as error:
        failed = from_system(error)
        failed.message += f"; {again}"
        raise failed from error
    measured = measure(home, run, "choose")
    page = write_report(run.folder)
    if run.experiment.explain:
        from mien.cli.explain import explain_run

        explain_run(home, run, [])
    return measured, page


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or a group of seeds or folds as name/1-5.")],
    protocol: Annotated[
        str | None, typer.Option(metavar="P", help="Report rows of another protocol: its name or a YAML file.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Measure on another data set, classes matched by name.")
    ] = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Measure a finished run on the reporting role of its protocol, and write its report.

    Example: mien evaluate cnn1

    Example: mien evaluate cnn1 --protocol paper-2021

    Example: mien evaluate cnn1/1-5
    """
    from mien.evaluation import evaluate as measure
    from mien.experiment.schema import read_protocol
    from mien.report.page import write_report
    from mien.runs.run import find_runs

    home = find_workspace(workspace)
    found = find_runs(home, run)
    other = read_protocol(protocol)[0] if protocol is not None else None
    results = []
    for one in found:
        measured = measure(home, one, protocol=other, dataset=dataset, command=["mien", *sys.argv[1:]])
        page = write_report(one.folder)
        results.append({**measured, "report": str(page)})
        if not as_json:
            _show_measured(measured, one, page)
    if len(found) == 1:
        print_result(as_json, results[0], lambda: None)
        return
    if other is not None or dataset is not None:
        print_result(as_json, {"runs": results}, lambda: None)
        return
    if (describe := found[0].experiment.task.describe_group) is None:
        print_result(as_json, {"runs": results}, lambda: None)
        return
    from mien.report.console import group as group_lines
    from mien.tasks import resolve

    group = resolve(describe)(home, run)
    print_result(as_json, {"group": group, "runs": results}, lambda: _show(group_lines(group)))


def _show_measured(measured: dict[str, Any], run: "Run", page: Path) -> None:
    from mien.tasks import resolve

    _show(resolve(run.experiment.task.show)(measured))
    print("in brackets: 95 % intervals over the choice of rows")
    print(f"report: {page}")
    if measured["role"] != "report":
        print(f"to measure it on the reporting role: mien evaluate {run.name}")


def _show(lines: Sequence[Any]) -> None:
    """Print lines of text and tables."""
    for line in lines:
        if isinstance(line, str):
            print(line)
        else:
            print_table(*line)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or with --to a group of seeds or folds.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also copy what can be shown to everyone into this folder.")
    ] = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Write a run's figures and HTML page anew.

    Example: mien report cnn1 --to results/cnn1

    Example: mien report small/1-5 --to results/small
    """
    from mien.report.page import write_report
    from mien.report.reading import read_ledger
    from mien.report.wording import opened
    from mien.runs.run import find_run, is_group

    home = find_workspace(workspace)
    if is_group(run):
        from mien.comparison.seeds_and_folds import publish_group
        from mien.report.console import group as group_lines

        if to is None:
            raise MienError("a group has no page of its own", expected="--to FOLDER, or one of its runs")
        group = publish_group(home, run, to)
        print_result(as_json, group, lambda: _show(group_lines(group)))
        return
    found = find_run(home, run)
    page = write_report(found.folder)
    if to is not None:
        from mien.report.publishing import publish

        publish(found, to)
    lines = read_ledger(found.folder)

    def show() -> None:
        print(f"the report role of {found.name} was opened {opened(lines) or 'never'}")
        print(page)

    print_result(as_json, {"run": found.name, "report": str(page), "opened": len(lines)}, show)


@app.command()
def runs(workspace: Home = None, as_json: Json = False) -> None:
    """The workspace's runs: state, protocol, epochs, accuracy with its split, n and interval.

    Example: mien runs
    """
    from mien.runs.run import list_runs, overview
    from mien.tasks import headline

    found = [overview(run) for run in list_runs(find_workspace(workspace))]

    def score(measured: dict[str, Any] | None) -> str:
        return "–" if measured is None else headline(measured)

    rows = [
        (
            one["run"],
            one["state"],
            one["dataset"],
            one["protocol"],
            f"{one['epochs_done']}/{one['epochs']}",
            score(one["choose"]),
            score(one["report"]),
        )
        for one in found
    ]
    columns = ("run", "state", "data set", "protocol", "epochs", "score to choose by", "score to report")
    print_result(as_json, {"runs": found}, lambda: print_table("runs", columns, rows, right=9))
