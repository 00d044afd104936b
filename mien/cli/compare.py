"""The verbs that set numbers side by side: compare, slices."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.shared import Home, Json, Trust, app, open_home, print_result, print_table, say
from mien.errors import MienError
from mien.extras import require

if TYPE_CHECKING:
    from mien.runs.run import Run


@app.command()
def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, or groups of seeds as name/1-5 or name/1,3,4.")
    ],
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions", metavar="FILE", help="Someone else's predictions on the same rows: Parquet or CSV."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="RUN", help="Compare each with this one alone, not all pairs.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", file_okay=False, help="Also write comparison.json, .md and .tex there."),
    ] = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Say which of two or more models is better on the same rows, or that they can't be told apart.

    Example: mien compare cnn1 resnet/1-5 --predictions peer.parquet --to results/peer

    Example: mien compare ablation-se/1-3 ablation-sgd/1-3 --baseline ablation-base/1-3
    """
    require("comparing runs", "pyarrow")
    from mien.comparison import same_task, write_comparison
    from mien.inference.named import named_model
    from mien.runs.model_file import find_measured, is_model_file
    from mien.tasks import resolve

    home = open_home(workspace, trust)
    names = [named_model(home, name) for name in names]
    if baseline is not None:
        baseline = named_model(home, baseline)
        names = names if baseline in names else [baseline, *names]
    # Files are told without their folders: what is published tells nothing of the machine.
    called = [Path(name).name if is_model_file(name) else name for name in names]
    against = {} if baseline is None else {"baseline": baseline}
    options = [f"--baseline {Path(baseline).name if is_model_file(baseline) else baseline}"] if baseline else []
    options += [f"--predictions {file.name}" for file in predictions or []]
    command = " ".join(["mien compare", *called, *options])
    task = same_task([run for name in names for run in find_measured(home, name)])
    compared, tables, galleries = resolve(task.compare)(home, names, predictions or [], **against)
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
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or the file of a model that was measured.")],
    by: Annotated[str, typer.Option(metavar="COLUMN", help="class, agreement, contrast, a column, an audit's flag.")],
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Measure a run on parts of its reporting rows: by class, by how far the raters agreed, by any column.

    Example: mien slices cnn1 --by agreement
    """
    require("measuring by parts", "pyarrow")
    from mien.evaluation.slices import MINIMUM, by_class, read_column
    from mien.evaluation.slices import slices as measure
    from mien.inference.named import named_model
    from mien.report.wording import warning
    from mien.runs.model_file import ModelFile, is_model_file
    from mien.runs.predictions import read_predictions
    from mien.runs.rows import measured_dataset
    from mien.runs.run import find_run, is_group

    home = open_home(workspace, trust)
    found: Run | ModelFile
    run = named_model(home, run)
    if is_model_file(run):
        found = ModelFile(Path(run), home)
    elif is_group(run):
        raise MienError("a group has no slices of its own", expected="one of its runs")
    else:
        found = find_run(home, run)
    measured = found.measured()
    rows = read_predictions(found.predictions("report"))
    if by == "class":
        parts = by_class(rows.labels, rows.logits, rows.classes, groups=rows.groups)
    else:
        values = read_column(measured_dataset(found), by, rows.rows)
        parts = measure(rows.labels, rows.logits, rows.classes, values, groups=rows.groups)
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
