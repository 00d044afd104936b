"""The verb that makes a published report again: reproduce."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.shared import Figures, Home, Json, Trust, app, open_home, print_result, print_table, say
from mien.errors import FailedError, MienError, nearest
from mien.extras import require
from mien.workspace import Workspace

if TYPE_CHECKING:
    from mien.reproduce.plan import Planned


@app.command()
def reproduce(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="Which report: paper-2021.")],
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Train only this experiment; may be given again.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="So many epochs instead of each file's.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="So many seeds of each (else 3 of the CNNs, 1 of the others)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is to be run, and how long it takes.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Or write the page of what is trained already.")
    ] = True,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", file_okay=False, help="Also write the page there for everyone: faces are drawn."
        ),
    ] = None,
    figures: Figures = None,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Make every table and figure of the 2021 report, and say which of its conclusions hold.

    Runs that are finished aren't trained again; stopped and started again, it goes on where it was.

    Example: mien reproduce paper-2021 --dry-run

    Example: mien reproduce paper-2021 --to results/paper-2021

    Example: mien reproduce paper-2021 --no-train --format pdf
    """
    require("reproducing a report", "torch")
    from mien.reproduce.paper import REPORT, part_named

    if report != REPORT:
        raise MienError(f"no report is called '{report}'", expected=REPORT, nearest=nearest(report, [REPORT]))
    home = open_home(workspace, trust)
    if to is not None:
        home.check_public(to)  # Not after hours of training.
    wanted = [part_named(name).name for name in only or []]
    from mien.reproduce.plan import make_plan

    plan = make_plan(home, epochs=epochs, seeds=seeds)
    if dry_run:
        _dry(home, [one for one in plan if not wanted or one.part.name in wanted], as_json)
        return
    from mien.report.style import printing
    from mien.reproduce import write_all
    from mien.reproduce.execute import make
    from mien.reproduce.paper import PARTS

    # Told without the workspace's and the folder's place: what is published tells nothing of the machine.
    given = [f"--only {name}" for name in wanted]
    given += [f"--{key} {value}" for key, value in (("epochs", epochs), ("seeds", seeds)) if value]
    command = " ".join([f"mien reproduce {REPORT}", *given])
    try:
        all_parts = [part.name for part in PARTS]
        plan = make(home, plan, wanted or all_parts, shlex.split(command), training=train)
    except (KeyboardInterrupt, SystemExit) as stop:
        raise FailedError("stopped; the same command goes on") from stop
    folder = home.root / "reproductions" / REPORT
    with printing(figures is not None):
        content = write_all(home, plan, {folder: False} | ({to: True} if to else {}), command)
    failed = [{"run": one.name, "why": one.why} for one in plan if one.failed]
    result = {"page": str(folder / "report.html"), "to": str(to) if to else None, "failed": failed, **content}

    def show() -> None:
        rows = [(one["text"], one["verdict"]) for one in content["conclusions"]]
        print_table("The report's conclusions", ("conclusion", "verdict"), rows, right=2)
        for part in content["parts"]:
            for one in part["missing"]:
                say(f"missing: {one['run']}: {one['state']}{': ' if one['why'] else ''}{one['why']}")
        for path in (folder, to):
            if path is not None:
                say(f"written: {path / 'report.html'} and README.md beside it")

    print_result(as_json, result, show)
    if failed and as_json:
        raise typer.Exit(1)  # The one object on standard output is printed already, and names them.
    if failed:
        raise FailedError(f"{len(failed)} of the runs failed: {', '.join(one['run'] for one in failed)}")


def _dry(home: Workspace, plan: "list[Planned]", as_json: bool) -> None:
    """The plan with the minutes that it takes."""
    from mien.reproduce.timing import estimates

    minutes = estimates(home, plan)
    rows: list[dict[str, Any]] = []
    for one in plan:
        estimate = minutes.get(one.name)
        rows.append(
            {
                "experiment": one.part.name,
                "seed": one.seed,
                "state": one.state,
                "run": one.run.name if one.run else None,
                "epochs_done": one.epochs_done,
                "epochs": one.experiment.train.epochs if one.experiment else None,
                "minutes": round(estimate.value, 1) if estimate else None,
                "by": estimate.by if estimate else None,
                "why": one.why,
            }
        )
    total = sum(row["minutes"] or 0 for row in rows)

    def show() -> None:
        table = [
            (
                row["experiment"],
                str(row["seed"]),
                row["state"],
                f"{row['epochs_done']}/{row['epochs'] or '–'}",
                "–" if row["minutes"] is None else f"{row['minutes']:,.0f}",
                row["by"] or "",
                row["run"] or "",
                row["why"],
            )
            for row in rows
        ]
        columns = ("experiment", "seed", "state", "epochs", "minutes", "by", "run", "note")
        print_table(f"what is to be run, about {total / 60:.1f} hours on this machine", columns, table, right=9)
        say("minutes of training alone, at most: early stopping may end a run sooner")

    print_result(as_json, {"runs": rows, "minutes": round(total, 1)}, show)
