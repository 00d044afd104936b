"""The verbs on runs: demo, train, evaluate, report, runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.shared import Home, Json, RunName, app, from_system, print_result, print_table
from mien.errors import FailedError, MienError
from mien.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from mien.run import Run


@app.command()
def demo(workspace: Home = None, as_json: Json = False) -> None:
    """The whole road on drawn faces, in a minute or two: data, training, evaluation, report.

    Example: mien demo
    """
    from mien.demo import run_demo

    run, measured, page = run_demo(find_workspace(workspace))
    print_result(
        as_json, {"run": run.name, "report": str(page), **measured}, lambda: _show_measured(measured, run, page)
    )


@app.command()
def train(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="FILE [KEY=VALUE]...", help="An experiment file and overrides.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped; takes only train.epochs=N.")
    ] = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Train an experiment; the reporting role stays closed.

    Example: mien train experiments/paper-2021/cnn1.yaml train.epochs=5 name=short

    Example: mien train --resume cnn1/3
    """
    home = find_workspace(workspace)
    given = arguments or []
    if resume is not None:
        run, measured, page = _resume(home, resume, given)
    elif given:
        run, measured, page = _train(home, Path(given[0]), given[1:])
    else:
        raise MienError("there is no experiment file", expected="mien train FILE, or mien train --resume RUN")
    result = {"run": run.name, "folder": str(run.folder), "report": str(page), **measured}
    print_result(as_json, result, lambda: _show_measured(measured, run, page))


def _train(home: Workspace, file: Path, overrides: list[str]) -> tuple["Run", dict[str, Any], Path]:
    from mien.building import check as check_parts
    from mien.building import located
    from mien.dataset import open_dataset
    from mien.experiment import load_experiment
    from mien.run import new_run

    experiment = load_experiment(file, overrides)
    try:
        dataset = open_dataset(home, experiment.dataset.name)
    except MienError as error:
        error.key = error.key or "dataset.name"
        raise located(error, file, overrides) from error
    try:
        check_parts(experiment, dataset)
    except MienError as error:
        raise located(error, file, overrides) from error
    return _run_to_end(home, new_run(home, experiment), None)


def _resume(home: Workspace, reference: str, overrides: list[str]) -> tuple["Run", dict[str, Any], Path]:
    from mien.run import find_run
    from mien.training import check_epochs
    from mien.yamlfile import parse_value

    run = find_run(home, reference)
    epochs: int | None = None
    for override in overrides:
        key, _, value = override.partition("=")
        if key != "train.epochs":
            raise MienError(
                f"'{override}' can't be changed on the way",
                key=key,
                expected="the stored experiment; only train.epochs=N can be given to --resume",
            )
        epochs = check_epochs(run, parse_value(value))
    if run.state == "finished":
        raise MienError(f"run {run.name} is finished", file=str(run.folder), expected="a run that was stopped")
    return _run_to_end(home, run, epochs)


def _run_to_end(home: Workspace, run: "Run", epochs: int | None) -> tuple["Run", dict[str, Any], Path]:
    from mien.evaluation import evaluate as measure
    from mien.report.page import write_report
    from mien.training import train as fit

    try:
        fit(home, run, ["mien", *sys.argv[1:]], epochs=epochs)
    except (KeyboardInterrupt, SystemExit) as stop:
        raise FailedError(f"stopped; go on with: mien train --resume {run.name}") from stop
    except OSError as error:
        failed = from_system(error)
        failed.message += f"; go on with: mien train --resume {run.name}"
        raise failed from error
    measured = measure(home, run, "choose")
    return run, measured, write_report(run.folder)


@app.command()
def evaluate(run: RunName, workspace: Home = None, as_json: Json = False) -> None:
    """Measure a finished run on the reporting role of its protocol, and write its report.

    Example: mien evaluate cnn1
    """
    from mien.evaluation import evaluate as measure
    from mien.report.page import write_report
    from mien.run import find_run

    home = find_workspace(workspace)
    found = find_run(home, run)
    measured = measure(home, found, "report")
    page = write_report(found.folder)
    print_result(as_json, {**measured, "report": str(page)}, lambda: _show_measured(measured, found, page))


def _show_measured(measured: dict[str, Any], run: "Run", page: Path) -> None:
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "weighted_f1": "weighted F1",
    }
    rows = [
        (name, f"{measured[key]:.3f}", "{:.3f} to {:.3f}".format(*measured["interval"][key]))
        for key, name in names.items()
    ]
    contaminated = measured["contaminated"]
    title = (
        f"{run.name}, protocol {measured['protocol']}, {measured['role']} role: {measured['split']}, "
        f"n = {measured['n']:,}"
        + (f"\ncontaminated: {contaminated:.0%} of these rows were trained on" if contaminated else "")
    )
    print_table(title, ("measure", "value", "95 % interval"), rows)
    print(f"report: {page}")
    if measured["role"] != "report":
        print(f"to measure it on the reporting role: mien evaluate {run.name}")


@app.command()
def report(
    run: RunName,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also copy what can be shown to everyone into this folder.")
    ] = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Write a run's figures and HTML page anew.

    Example: mien report cnn1 --to results/cnn1
    """
    from mien.report.page import write_report
    from mien.run import find_run

    found = find_run(find_workspace(workspace), run)
    page = write_report(found.folder)
    if to is not None:
        from mien.report.publishing import publish

        publish(found, to)
    print_result(as_json, {"run": found.name, "report": str(page)}, lambda: print(page))


@app.command()
def runs(workspace: Home = None, as_json: Json = False) -> None:
    """The workspace's runs: state, protocol, epochs, accuracy with its split, n and interval.

    Example: mien runs
    """
    from mien.run import list_runs, overview

    found = [overview(run) for run in list_runs(find_workspace(workspace))]

    def score(measured: dict[str, Any] | None) -> str:
        if measured is None:
            return "–"
        low, high = measured["interval"]["accuracy"]
        mark = " contaminated" if measured["contaminated"] else ""
        return f"{measured['accuracy']:.3f} [{low:.3f}, {high:.3f}] {measured['split']} n {measured['n']:,}{mark}"

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
    columns = ("run", "state", "data set", "protocol", "epochs", "accuracy to choose by", "accuracy to report")
    print_result(as_json, {"runs": found}, lambda: print_table("runs", columns, rows, right=9))
