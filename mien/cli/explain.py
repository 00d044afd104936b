"""The verb that shows what a trained model looks at: explain."""

from typing import Annotated, Literal

import typer

from mien.cli.shared import Home, Json, RunName, Trust, app, command_line, open_home, print_result, say
from mien.extras import require


@app.command()
def explain(
    run: RunName,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="filters, activations, gradcam, occlusion, regions, neighbours, cases "
            "(without: what the experiment's key explain names, else all).",
        ),
    ] = None,
    role: Annotated[
        Literal["choose", "report"], typer.Option(help="Whose rows; looking at report rows is written into the ledger.")
    ] = "choose",
    image: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="A row to look at, by its id or SPLIT/ID; again for more.")
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="A layer for filters and activations, by its name; again for more."),
    ] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The landmark run for regions, or 'stored' for the data set's own points."),
    ] = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Show what a trained model looks at: filters, maps, parts of the face, errors, nearest training rows.

    Pictures go into the run's folder, explain/, and into its report.

    Example: mien explain cnn1

    Example: mien explain cnn1 activations --image 30769 --layer features.conv2
    """
    require("explaining a run", "torch")
    from mien.explanation import check_names
    from mien.runs.run import find_run
    from mien.workflow import explain_run

    check_names(names or [])
    found = find_run(open_home(workspace, trust), run)
    made = explain_run(
        found,
        names or [],
        command_line(),
        role=role,
        images=image or [],
        layers=layer or [],
        landmarks=landmarks,
    )

    def show() -> None:
        say(f"{made['run']}, {made['role']} role: {made['split']}, n = {made['n']:,}")
        for name, of in made["said"].items():
            for sentence in of:
                say(f"{name}: {sentence}")
        for name, reason in made["left_out"].items():
            say(f"{name} is left out: {reason}")
        say(f"pictures: {found.folder / 'explain'}\nreport: {made['report']}")

    print_result(as_json, {key: value for key, value in made.items() if key != "said"}, show)
