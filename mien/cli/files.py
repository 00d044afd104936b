"""The verbs on experiment files and on this machine: check, schema, doctor."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.shared import Home, Json, Plugins, Trust, app, counted, open_home, print_result, print_table, say
from mien.errors import MienError
from mien.extras import require
from mien.workspace import Workspace


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="An experiment file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with an experiment file, else show its model, its start weights and the rows of each role.

    Example: mien check experiments/paper-2021/cnn1.yaml
    """
    require("checking an experiment", "torch")
    from mien.data.dataset import open_dataset
    from mien.experiment.building import check as check_parts
    from mien.experiment.building import located
    from mien.experiment.schema import load_experiment
    from mien.report.wording import start_weights
    from mien.training.start_weights import RANDOM, find
    from mien.training.start_weights import check as check_start
    from mien.training.teachers import find_teachers

    given = overrides or []
    home = open_home(workspace, trust)
    experiment = load_experiment(file, given)
    missing: MienError | None = None
    dataset = None
    try:
        dataset = open_dataset(home, experiment.dataset.name)
    except MienError as error:
        error.key = error.key or "dataset.name"
        missing = located(error, file, given)
    try:
        checked = check_parts(experiment, dataset)
    except MienError as error:
        raise located(error, file, given) from error
    start: dict[str, Any] | None = None
    try:
        source = find(experiment, home)
        if source is not None and source.path is None:
            # Nothing is downloaded only to look at a file.
            start = {"name": source.name, "source": source.address}
        else:
            start = check_start(experiment, checked.scheme, home) if source else RANDOM
    except MienError as error:
        missing = missing or located(error, file, given)
    teachers: list[str] = []
    try:
        teachers = [one.name for one in find_teachers(experiment, dataset, home)] if dataset else []
    except MienError as error:
        missing = missing or located(error, file, given)
    summary = checked.summary
    section = experiment.train
    rows_each = counted(-(-section.batch_size // (section.devices * section.nodes)), "row")

    def show() -> None:
        rows = [
            (layer.name, layer.kind, "×".join(map(str, layer.output_shape)), f"{layer.parameters:,}", f"{layer.macs:,}")
            for layer in summary.layers
        ]
        print_table(experiment.name, ("layer", "kind", "output", "parameters", "multiply-adds"), rows, right=2)
        say(f"parameters: {summary.parameters:,}   multiply-adds for one image: {summary.macs:,}")
        if checked.frozen:
            say(f"frozen: {checked.frozen:,} of these parameters")
        if section.devices * section.nodes > 1:
            on = f"{section.devices} on {'1 machine' if section.nodes == 1 else f'each of {section.nodes} machines'}"
            say(f"devices: {on}, each has up to {rows_each} of a batch of {section.batch_size}")
        if start is not None:
            say(f"start weights: {start_weights(start)}")
        if teachers:
            say(f"teachers: {', '.join(teachers)}")
        say(f"classes: {', '.join(checked.scheme.classes)} ({checked.scheme.name})")
        if checked.rows is not None:
            say("rows: " + ", ".join(f"{role} {number:,}" for role, number in checked.rows.items()))
        for role, reasons in (checked.left_out or {}).items():
            if reasons:
                told = ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
                say(f"left out of {role}, without a label under {checked.scheme.name}: {told}")

    result: dict[str, Any] = {
        "ok": missing is None,
        "parameters": summary.parameters,
        "frozen": checked.frozen,
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
        "devices": section.devices,
        "nodes": section.nodes,
        "start_weights": start,
        "teachers": teachers,
        "labels": checked.scheme.name,
        "rows": checked.rows,
        "left_out": checked.left_out,
    }
    if missing is not None:
        result["error"] = missing.as_dict()
    print_result(as_json, result, show)
    if missing is not None:
        print(f"mien: {missing}", file=sys.stderr)
        raise typer.Exit(2)


@app.command()
def schema(plugin: Plugins = None) -> None:
    """Print the JSON schema of experiment files, for editors.

    Example: mien schema > mien.schema.json
    """
    require("the schema of experiment files", "torch")
    from mien.experiment.json_schema import json_schema
    from mien.experiment.schema import import_components
    from mien.registry import load_plugins

    import_components()
    load_plugins(plugin or [])
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def doctor(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run, of which to say what is missing or damaged.")
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what processes that were killed left half made in the workspace.")
    ] = False,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """What this machine has and what is damaged here; of a run, what is damaged and what can be made again.

    Example: mien doctor

    Example: mien doctor cnn1/3
    """
    import shutil

    from mien import environment, extras
    from mien.files import leftovers

    home = open_home(workspace, trust)
    if run is not None:
        _examine(home, run, as_json)
        return
    there = home.root if home.root.exists() else Path()
    found = environment.describe()
    if extras.is_installed("torch"):
        device = environment.device("auto")
        found |= {"device": device, "precision": environment.precision("auto", device)}
    found |= {
        "extras": extras.installed(),
        "workspace": str(home.root.resolve()),
        "disk_free_gb": round(shutil.disk_usage(there).free / 2**30, 1),
    }
    rows = [
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else _told(value))
        for key, value in found.items()
    ]
    damaged = _damaged(home)
    left = leftovers(home.root) if home.root.exists() else []
    if clean:
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def show() -> None:
        print_table("this machine", ("what", "found"), rows, right=9)
        for name, problem in damaged:
            say(f"{name}: {problem}")
        for path in left:
            say(f"{'removed' if clean else 'left half made, and removed by --clean'}: {path}")

    found["broken"] = [{"name": name, "problem": told} for name, told in damaged]
    found["leftovers"] = [str(path) for path in left]
    print_result(as_json, found, show)


def _told(value: object) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)


def _damaged(home: Workspace) -> list[tuple[str, str]]:
    """What is damaged in the workspace, or why nobody can look."""
    if not (home.datasets.exists() or home.runs.exists()):
        return []
    try:
        require("looking through them", "pyarrow")
    except MienError as error:
        return [("data sets and runs", str(error))]
    from mien.diagnosis import broken

    return broken(home)


def _examine(home: Workspace, reference: str, as_json: bool) -> None:
    """Say what is missing or damaged in a run; exit code 1 where anything is."""
    require("looking through a run", "pyarrow")
    from mien.diagnosis import examine
    from mien.runs.run import Run, find_run

    folder = home.runs / reference
    # Without its experiment a folder is no run to others.
    lost = len(Path(reference).parts) == 2 and folder.is_dir() and folder.parent.parent == home.runs
    found = Run(folder) if lost else find_run(home, reference)
    findings = examine(found)
    rows = [(one.file, one.problem, one.mend or "nothing makes it again but another training") for one in findings]

    def show() -> None:
        if rows:
            print_table(f"run {found.name}", ("file", "what is wrong", "what makes it again"), rows, right=9)
        else:
            say(f"run {found.name} is {found.state}, and whole")

    result = {"run": found.name, "state": found.state, "findings": [one._asdict() for one in findings]}
    print_result(as_json, result, show)
    if findings:
        raise typer.Exit(1)
