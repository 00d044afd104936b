"""The verb that lists likely label errors: suspects."""

from typing import Annotated, Any

import typer

from mien.cli.shared import Home, Json, Trust, app, open_home, print_result, print_table, say
from mien.extras import require

_SAID = ("suggested", "given")


@app.command()
def suspects(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="The runs of all folds, as name/1-5.")],
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """List likely label errors, by the predictions of runs that weren't trained on the rows they predict.

    Look through the CSV, write "no" where the label is right, and make a new data set: mien data import --relabel.

    Example: mien suspects folds/1-5
    """
    require("a list of likely label errors", "pyarrow")
    from mien.evaluation.label_errors import find_label_errors
    from mien.intervals import with_interval

    found = find_label_errors(open_home(workspace, trust), group)

    def share(part: dict[str, Any], key: str) -> str:
        return "–" if part[key] is None else with_interval(part[key], part["interval"])

    def show() -> None:
        rows = []
        for name, part in found["per_class"].items():
            rather = ", ".join(f"{number:,} {other}" for other, number in list(part["rather"].items())[:3])
            rows.append((name, f"{part['n']:,}", f"{part['suspects']:,}", share(part, "share"), rather))
        rows.append(("all", f"{found['n']:,}", f"{found['suspects']:,}", share(found, "share"), ""))
        title = (
            f"suspects of {found['dataset']}: {found['split']}, n = {found['n']:,} of {found['rows']:,} rows, "
            f"out-of-fold predictions of {len(found['runs'])} run{'s' if len(found['runs']) > 1 else ''}"
        )
        print_table(title, ("label", "n", "suspects", "share (95 %)", "most often rather"), rows)
        raters = found["raters"]
        if raters is not None:
            say(
                f"{raters['n']:,} suspects have a raters' majority ({raters['dropped']:,} have none); it is "
                f"the suggested label in {share(raters['suggested'], 'value')}, "
                f"the given one in {share(raters['given'], 'value')}, "
                f"neither in {share(raters['neither'], 'value')}; "
                f"of the other rows (n = {raters['others']['n']:,}) it is the given one in "
                f"{share(raters['others'], 'value')}"
            )
            first = [
                (f"{part['rows']:,}", f"{part['suggested']['n']:,}", *(share(part[key], "value") for key in _SAID))
                for part in raters["first"]
            ]
            if first:
                title = "what the raters' majority is among the most suspicious rows"
                print_table(title, ("rows", "n", *(f"{key} (95 %)" for key in _SAID)), first, right=0)
        for note in found["notes"]:
            say(f"warning: {note}")
        say(f"list: {found['csv']}\npictures: {found['gallery']}")

    print_result(as_json, found, show)
