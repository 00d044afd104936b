"""The verbs on experiment files and on this machine: check, schema, doctor."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.shared import Home, Json, Plugins, Trust, app, open_home, print_result, print_table, say
from mien.errors import MienError
from mien.workspace import find_workspace


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
    from mien.data.dataset import open_dataset
    from mien.experiment.building import check as check_parts
    from mien.experiment.building import located
    from mien.experiment.schema import load_experiment
    from mien.report.wording import start_weights
    from mien.training.start_weights import RANDOM, find
    from mien.training.start_weights import check as check_start

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
    summary = checked.summary

    def show() -> None:
        rows = [
            (layer.name, layer.kind, "×".join(map(str, layer.output_shape)), f"{layer.parameters:,}", f"{layer.macs:,}")
            for layer in summary.layers
        ]
        print_table(experiment.name, ("layer", "kind", "output", "parameters", "multiply-adds"), rows, right=2)
        say(f"parameters: {summary.parameters:,}   multiply-adds for one image: {summary.macs:,}")
        if start is not None:
            say(f"start weights: {start_weights(start)}")
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
        "start_weights": start,
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
    from mien.experiment.json_schema import json_schema
    from mien.experiment.schema import import_components
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
    print_result(as_json, found, lambda: print_table("this machine", ("what", "found"), rows, right=9))
