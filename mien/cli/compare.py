"""The verbs that set numbers side by side: compare, slices."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.shared import Home, Json, RunName, Trust, app, open_home, print_result, print_table, say
from mien.errors import MienError


@app.command()
def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, or groups of seeds as name/1-5 or name/1,3,4.")
    ],
    predictions: Annotated[
        list[Path] | None,
        typer.Option("--predictions", metavar="FILE", help="A Parquet of someone else's predictions on the same rows."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write comparison.json and comparison.md there.")
    ] = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Say which of two or more models is better on the same rows, or that they can't be told apart.

    Example: mien compare cnn1 resnet/1-5 --predictions peer.parquet --to results/peer
    """
    from mien.comparison import same_task, write_comparison
    from mien.runs.model_file import find_measured, is_model_file
    from mien.tasks import resolve

    home = open_home(workspace, trust)
    # Files are told without their folders: what is published tells nothing of the machine.
    called = [Path(name).name if is_model_file(name) else name for name in names]
    command = " ".join(["mien compare", *called, *(f"--predictions {file.name}" for file in predictions or [])])
    task = same_task([run for name in names for run in find_measured(home, name)])
    compared, tables, galleries = resolve(task.compare)(home, names, predictions or [])
    if to is not None:
        write_comparison(to, compared, tables, command)

    def show() -> None:
        for table in tables:
            print_table(table.title, table.columns, table.rows, right=table.right)
        for note in compared["notes"]:
            say(f"note: {note}")
        for (a, b), path in galleries.items():
            say(f"where {a} and {b} disagree: {path}")
        if to is not None:
            say(f"written: {to / 'comparison.md'}")

    shown = [{"a": a, "b": b, "file": str(path)} for (a, b), path in galleries.items()]
    print_result(as_json, {**compared, "galleries": shown}, show)


@app.command()
def slices(
    run: RunName,
    by: Annotated[str, typer.Option(metavar="COLUMN", help="class, agreement, contrast, a column, an audit's flag.")],
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Measure a run on parts of its reporting rows: by class, by how far the raters agreed, by any column.

    Example: mien slices cnn1 --by agreement
    """
    from mien.evaluation.slices import MINIMUM, by_class, read_column
    from mien.evaluation.slices import slices as measure
    from mien.report.wording import warning
    from mien.runs.predictions import read_predictions
    from mien.runs.rows import own_dataset
    from mien.runs.run import find_run, is_group

    if is_group(run):
        raise MienError("a group has no slices of its own", expected="one of its runs")
    found = find_run(open_home(workspace, trust), run)
    measured = found.measured()
    rows = read_predictions(found.predictions("report"))
    if by == "class":
        parts = by_class(rows.labels, rows.logits, rows.classes)
    else:
        parts = measure(rows.labels, rows.logits, rows.classes, read_column(own_dataset(found), by, rows.rows))
    kept = {key: measured[key] for key in ("run", "dataset", "protocol", "role", "split", "n", "contaminated")}
    result = {**kept, "by": by, "minimum": MINIMUM, "slices": parts}
    print_result(as_json, result, lambda: _show_slices(result, warning(measured)))


def _show_slices(result: dict[str, Any], warning: str) -> None:
    from mien.report.wording import scored

    rows = [
        (part["slice"], f"{part['n']:,}", scored(part), scored(part, "balanced_accuracy")) for part in result["slices"]
    ]
    title = (
        f"{result['run']} by {result['by']}, protocol {result['protocol']}, {result['role']} role: {result['split']}, "
        f"n = {result['n']:,}"
    )
    if warning:
        title += f"\n{warning}"
    print_table(title, (result["by"], "n", "accuracy [95 %]", "balanced accuracy [95 %]"), rows)
    if any(part["accuracy"] is None for part in result["slices"]):
        say(f"a part with fewer than {result['minimum']} rows shows no number")
