"""The verbs on runs: demo, train, evaluate, report, runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.shared import Home, Json, app, command_line, from_system, print_result, print_table
from mien.errors import FailedError, MienError
from mien.workspace import find_workspace

if TYPE_CHECKING:
    from mien.runs.run import Run


@app.command()
def demo(workspace: Home = None, as_json: Json = False) -> None:
    """The whole road on drawn faces, in a minute or two: data, training, evaluation, report.

    Example: mien demo
    """
    from mien.workflow import run_demo

    run, measured, page = run_demo(find_workspace(workspace), command_line())
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
    from mien.runs.run import group_name
    from mien.workflow import new_runs, train_to_end, unfinished

    home = find_workspace(workspace)
    given = arguments or []
    epochs: int | None = None
    if resume is not None:
        if seeds or folds:
            raise MienError("a stopped group goes on as it began", expected=f"mien train --resume {resume} alone")
        runs, epochs = unfinished(home, resume, given)
    elif given:
        runs = new_runs(home, Path(given[0]), given[1:], seeds=seeds, folds=folds)
    else:
        raise MienError("there is no experiment file", expected="mien train FILE, or mien train --resume RUN")
    results = []
    for run in runs:
        try:
            _, measured, page = train_to_end(run, command_line(), epochs=epochs)
        except (KeyboardInterrupt, SystemExit, OSError) as error:
            if run.state == "finished":
                raise
            stopped = from_system(error) if isinstance(error, OSError) else FailedError("stopped")
            stopped.message += f"; go on with: mien train --resume {group_name(runs)}"
            raise stopped from error
        results.append({"run": run.name, "folder": str(run.folder), "report": str(page), **measured})
        if not as_json:
            _show_measured(measured, run, page)
    if len(runs) > 1 and not as_json:
        print(f"to measure all of them on the reporting role: mien evaluate {group_name(runs)}")
    print_result(as_json, results[0] if len(runs) == 1 else {"runs": results}, lambda: None)


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
    from mien.runs.run import find_runs
    from mien.workflow import measure

    home = find_workspace(workspace)
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
    if protocol is not None or dataset is not None:
        print_result(as_json, {"runs": results}, lambda: None)
        return
    from mien.comparison.seeds_and_folds import describe

    group = describe(home, run)
    print_result(as_json, {"group": group, "runs": results}, lambda: _show_group(group))


_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
}


def _show_measured(measured: dict[str, Any], run: "Run", page: Path) -> None:
    if measured.get("task") == "landmarks":
        _show_points(measured)
    else:
        _show_classes(measured, run)
    print("in brackets: 95 % intervals over the choice of rows")
    print(f"report: {page}")
    if measured["role"] != "report":
        print(f"to measure it on the reporting role: mien evaluate {run.name}")


def _show_points(measured: dict[str, Any]) -> None:
    """The errors of a landmark run by the size of the faces, beside those of the mean shape."""
    from mien.report.wording import seeds, warning

    parts = {f"{size} px": of for size, of in measured["sizes"].items()}
    parts["mean shape"] = measured["mean_shape"]
    rows = []
    for name, of in parts.items():
        twins = {"": of, ", without exact copies": of["clean"] if measured["role"] == "report" else None}
        rows += [
            (f"{name}{what}", f"{one['n']:,}", *(told(one) for told in _POINT_MEASURES.values()))
            for what, one in twins.items()
            if one is not None
        ]
    title = (
        f"{measured['run']}, {seeds(measured)}, protocol {measured['protocol']}, {measured['role']} role: "
        f"{measured['dataset']}, {measured['split']}, n = {measured['n']:,}\n"
        f"NME in % of the {measured['normaliser']}, by pupils where said; faces in a detector's squares"
    )
    if measured["contaminated"]:
        title += f"\n{warning(measured)}"
    print_table(title, ("faces of", "n", *_POINT_MEASURES), rows)
    if measured["limits"]:
        print(f"these weights: {measured['limits']}")


def _in_percent(of: dict[str, Any], key: str) -> str:
    low, high = of["interval"][key]
    return f"{100 * of[key]:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


_POINT_MEASURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "NME": lambda of: _in_percent(of, "nme_outer_eyes"),
    "median": lambda of: _in_percent(of, "median"),
    "NME by pupils": lambda of: _in_percent(of, "nme_inter_pupil"),
    "% beyond 8 %": lambda of: _in_percent(of, "failure_rate_8"),
    "AUC to 8 %": lambda of: "{:.3f} [{:.3f}, {:.3f}]".format(of["auc_8"], *of["interval"]["auc_8"]),
}


def _show_classes(measured: dict[str, Any], run: "Run") -> None:
    parts = [("all rows", measured)]
    if measured["role"] == "report":
        parts += [("without exact copies", measured["clean"]), ("without near copies", measured["near_clean"])]
        if tta := measured["tta"]:
            told = f"{tta['name']}, {tta['views']} views"
            parts += [(told, tta), (f"{told}, without exact copies", tta["clean"])]
            parts.append((f"{told}, without near copies", tta["near_clean"]))
    rows = [
        (
            what,
            f"{part['n']:,}",
            *(f"{part[key]:.3f} [{{:.3f}}, {{:.3f}}]".format(*part["interval"][key]) for key in _NAMES),
        )
        for what, part in parts
        if part is not None
    ]
    print_table(_title(measured, run.name), ("measured on", "n", *_NAMES.values()), rows)
    after = measured["calibration"]["after"]
    nll, ece = (
        "{:.3f} [{:.3f}, {:.3f}]".format(after[key], *after["interval"][key]) for key in ("nll", "ece_corrected")
    )
    print(f"all rows, at temperature {after['temperature']:.3f}: NLL {nll}, ECE without what chance adds {ece}")
    if measured["dropped"]["rows"]:
        classes = ", ".join(f"{name} {number:,}" for name, number in measured["dropped"]["classes"].items())
        print(f"left out: {measured['dropped']['rows']:,} rows that have no class of the model ({classes})")
    if measured["role"] == "report" and measured["overlap"]["near"] is None:
        print("near copies of what the model has seen weren't looked for")


def _title(measured: dict[str, Any], name: str) -> str:
    from mien.report.wording import seeds, warning

    title = (
        f"{name}, {seeds(measured)}, protocol {measured['protocol']}, {measured['role']} role: {measured['dataset']}, "
        f"{measured['split']}, n = {measured['n']:,}"
    )
    return f"{title}\n{warning(measured)}" if measured["contaminated"] else title


def _show_group(group: dict[str, Any]) -> None:
    what = "mean of the seeds" if group["kind"] == "seeds" else "all folds together"
    parts = {"all rows": group, "without exact copies": group["clean"], "without near copies": group["near_clean"]}
    rows = []
    for measured_on, part in parts.items():
        for key, name in _NAMES.items():
            if part and (score := part.get(key)):
                low, high = score["interval"]
                each = "  ".join(f"{value:.3f}" for value in score["each"])
                told = f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"
                sd = "–" if score["sd"] is None else f"{score['sd']:.4f}"
                rows.append((name, measured_on, f"{part['n']:,}", told, sd, each))
    columns = ("measure", "measured on", "n", what, "sd", "each")
    print_table(_title({**group, "role": "report"}, group["name"]), columns, rows, right=2)


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

        if to is None:
            raise MienError("a group has no page of its own", expected="--to FOLDER, or one of its runs")
        group = publish_group(home, run, to)
        print_result(as_json, group, lambda: _show_group(group))
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
    from mien.intervals import percent
    from mien.runs.run import list_runs, overview

    found = [overview(run) for run in list_runs(find_workspace(workspace))]

    def score(measured: dict[str, Any] | None) -> str:
        if measured is None:
            return "–"
        if measured.get("task") == "landmarks":
            size, of = next(iter(measured["sizes"].items()))
            told = _in_percent(of, "nme_outer_eyes")
            return f"NME {told} % at {size} px, {measured['split']} n {measured['n']:,}"
        low, high = measured["interval"]["accuracy"]
        mark = f" contaminated {percent(measured['contaminated'])}" if measured["contaminated"] else ""
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
    columns = ("run", "state", "data set", "protocol", "epochs", "score to choose by", "score to report")
    print_result(as_json, {"runs": found}, lambda: print_table("runs", columns, rows, right=9))
