"""The verbs: parse, call, print. Everything heavy is imported inside the verb that needs it."""

import errno
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mien import __version__
from mien.errors import FailedError, MienError
from mien.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from mien.run import Run

app = typer.Typer(
    name="mien",
    help="A workbench for facial-expression models: one file is one experiment, measured honestly.",
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Data sets: import, draw, list and look at them.", no_args_is_help=True)
app.add_typer(data, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Home = Annotated[
    Path | None,
    typer.Option("--workspace", help="The folder of datasets/ and runs/ (else MIEN_HOME, else this folder)."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, its name, or name/number.")]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file that registers more.")]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit with 0, 1 (the work failed) or 2 (the input was wrong)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except MienError as error:
        _tell(error, as_json="--json" in given)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        if message := error.format_message().strip():
            _tell(MienError(message.rstrip(".")), as_json="--json" in given)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        _tell(FailedError("stopped"), as_json="--json" in given)
        sys.exit(1)
    except OSError as error:
        _tell(_from_system(error), as_json="--json" in given)
        sys.exit(1)


def _tell(error: MienError, *, as_json: bool) -> None:
    for one in (error, *error.more):
        print(f"mien: {one}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": error.as_dict()}, ensure_ascii=False))


def _from_system(error: OSError) -> MienError:
    file = str(error.filename) if error.filename else None
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FailedError("there is no space left on the disk", file=file)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FailedError("this can't be written or read (no permission)", file=file)
    return FailedError(error.strerror or str(error), file=file)


def _print(as_json: bool, result: dict[str, Any], show: Callable[[], None]) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        show()


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> None:
    """A table on standard output; columns from number `right` on hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number >= right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # A pipe has no width of its own; a log shouldn't fold its lines.
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False)
    # A table's own title is folded at the table's width.
    console.print(title)
    console.print(table)


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


@app.command()
def demo(workspace: Home = None, as_json: Json = False) -> None:
    """The whole road on drawn faces, in a minute or two: data, training, evaluation, report.

    Example: mien demo
    """
    from mien.demo import run_demo

    run, measured, page = run_demo(find_workspace(workspace))
    _print(as_json, {"run": run.name, "report": str(page), **measured}, lambda: _show_measured(measured, run, page))


@data.command("import")
def data_import(
    source: Annotated[Path, typer.Argument(help="A CSV file, a folder of images, a Parquet file or folder.")],
    name: Annotated[str, typer.Option("--as", help="The new data set's name.")],
    votes: Annotated[Path | None, typer.Option(help="FER+ votes (fer2013new.csv), joined by row.")] = None,
    labels: Annotated[str | None, typer.Option(help="The label scheme, where the source has only numbers.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and list them.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="For splits that have to be made.")] = 0,
    plugin: Plugins = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Bring a data set into the workspace; its format is found by looking.

    Example: mien data import fer2013.csv --as fer2013 --votes fer2013new.csv
    """
    from mien.importers import import_dataset
    from mien.registry import load_plugins

    load_plugins(plugin or [])
    made = import_dataset(
        find_workspace(workspace), source, name, votes=votes, labels=labels, skip_bad=skip_bad, seed=seed
    )
    _print(as_json, made.card.model_dump(mode="json"), lambda: _show_card(made.card))


@data.command()
def synth(
    name: Annotated[str, typer.Option("--as", help="The new data set's name.")],
    n: Annotated[int, typer.Option("--n", min=10, help="How many faces.")] = 4000,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Pixels a side.")] = 48,
    color: Annotated[str, typer.Option(help="gray or rgb.")] = "gray",
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same faces.")] = 0,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Draw a data set: faces with the seven expressions and their exact 68 points.

    Example: mien data synth --as drawn --n 4000
    """
    from mien.synthetic.dataset import write_faces

    if color not in ("gray", "rgb"):
        raise MienError(f"no colour is called '{color}'", key="--color", expected="gray or rgb")
    made = write_faces(find_workspace(workspace), name, n=n, size=size, color=color, seed=seed)  # type: ignore[arg-type]
    _print(as_json, made.card.model_dump(mode="json"), lambda: _show_card(made.card))


@data.command("list")
def data_list(workspace: Home = None, as_json: Json = False) -> None:
    """The workspace's data sets.

    Example: mien data list
    """
    from mien.dataset import list_datasets, open_dataset

    home = find_workspace(workspace)
    cards = [open_dataset(home, name).card for name in list_datasets(home)]
    rows = [
        (card.name, card.labels, f"{sum(map(sum, card.splits.values())):,}", ", ".join(card.splits)) for card in cards
    ]
    _print(
        as_json,
        {"datasets": [card.model_dump(mode="json") for card in cards]},
        lambda: _table(str(home.datasets), ("data set", "labels", "rows", "splits"), rows, right=9),
    )


@data.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="The data set's name.")],
    augment: Annotated[
        Path | None, typer.Option("--augment", metavar="FILE", help="Show what this experiment does to its faces.")
    ] = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Counts by split and class, sizes, source, fingerprint, and a contact sheet as PNG.

    Example: mien data show fer2013 --augment experiments/best/resnet.yaml
    """
    from mien.dataset import open_dataset
    from mien.showing import sheet_of_augmented, sheet_of_classes

    opened = open_dataset(find_workspace(workspace), name)
    if augment is None:
        sheet = sheet_of_classes(opened)
    else:
        from mien.experiment import load_experiment

        sheet = sheet_of_augmented(opened, load_experiment(augment))

    def show() -> None:
        _show_card(opened.card)
        print(f"contact sheet: {sheet}")

    _print(as_json, {**opened.card.model_dump(mode="json"), "sheet": str(sheet)}, show)


def _show_card(card: Any) -> None:
    rows = [(split, *(f"{count:,}" for count in counts), f"{sum(counts):,}") for split, counts in card.splits.items()]
    _table(f"{card.name}: {card.labels}", ("split", *card.classes, "all"), rows)
    sizes = ", ".join(f"{size} ({count:,})" for size, count in card.image_sizes.items())
    print(f"images: {sizes}\nsource: {card.source} ({card.format})\nfingerprint: {card.fingerprint}")
    for note in card.notes:
        print(f"note: {note}")
    for skipped in card.skipped[:20]:
        print(f"skipped: {skipped}")
    if len(card.skipped) > 20:
        print(f"skipped: {len(card.skipped) - 20} more, in the card")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="An experiment file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with an experiment file, else show its model and the rows of each role.

    Example: mien check experiments/paper-2021/cnn1.yaml
    """
    from mien.building import check as check_parts
    from mien.building import located
    from mien.dataset import open_dataset
    from mien.experiment import load_experiment

    given = overrides or []
    experiment = load_experiment(file, given)
    missing: MienError | None = None
    dataset = None
    try:
        dataset = open_dataset(find_workspace(workspace), experiment.dataset.name)
    except MienError as error:
        error.key = error.key or "dataset.name"
        missing = located(error, file, given)
    try:
        checked = check_parts(experiment, dataset)
    except MienError as error:
        raise located(error, file, given) from error
    summary = checked.summary

    def show() -> None:
        rows = [
            (layer.name, layer.kind, "×".join(map(str, layer.output_shape)), f"{layer.parameters:,}", f"{layer.macs:,}")
            for layer in summary.layers
        ]
        _table(experiment.name, ("layer", "kind", "output", "parameters", "multiply-adds"), rows, right=2)
        print(f"parameters: {summary.parameters:,}   multiply-adds for one image: {summary.macs:,}")
        print(f"classes: {', '.join(checked.scheme.classes)} ({checked.scheme.name})")
        if checked.rows is not None:
            print("rows: " + ", ".join(f"{role} {number:,}" for role, number in checked.rows.items()))

    result: dict[str, Any] = {
        "ok": missing is None,
        "parameters": summary.parameters,
        "macs": summary.macs,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "output": list(layer.output_shape),
                "parameters": layer.parameters,
                "macs": layer.macs,
            }
            for layer in summary.layers
        ],
        "labels": checked.scheme.name,
        "rows": checked.rows,
    }
    if missing is not None:
        result["error"] = missing.as_dict()
    _print(as_json, result, show)
    if missing is not None:
        print(f"mien: {missing}", file=sys.stderr)
        raise typer.Exit(2)


@app.command()
def schema(plugin: Plugins = None) -> None:
    """Print the JSON schema of experiment files, for editors.

    Example: mien schema > mien.schema.json
    """
    from mien.experiment import import_components, json_schema
    from mien.registry import load_plugins

    import_components()
    load_plugins(plugin or [])
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def doctor(workspace: Home = None, as_json: Json = False) -> None:
    """What this machine has, and what trainings would run on.

    Example: mien doctor
    """
    import shutil

    from mien import environment

    home = find_workspace(workspace)
    there = home.root if home.root.exists() else Path()
    device = environment.device("auto")
    found = environment.describe()
    found |= {
        "device": device,
        "precision": environment.precision("auto", device),
        "workspace": str(home.root.resolve()),
        "disk_free_gb": round(shutil.disk_usage(there).free / 2**30, 1),
    }
    rows = [
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value))
        for key, value in found.items()
    ]
    _print(as_json, found, lambda: _table("this machine", ("what", "found"), rows, right=9))


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
    _print(as_json, result, lambda: _show_measured(measured, run, page))


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
        failed = _from_system(error)
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
    _print(as_json, {**measured, "report": str(page)}, lambda: _show_measured(measured, found, page))


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
    _table(title, ("measure", "value", "95 % interval"), rows)
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
    _print(as_json, {"run": found.name, "report": str(page)}, lambda: print(page))


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
    _print(as_json, {"runs": found}, lambda: _table("runs", columns, rows, right=9))
