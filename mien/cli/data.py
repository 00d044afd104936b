"""The verbs on data sets: import, draw, list, look at and remove them."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.shared import Home, Json, Plugins, broken, data, print_result, print_table, say
from mien.errors import FailedError, MienError, shown
from mien.extras import require
from mien.workspace import find_workspace


@data.command("import")
def data_import(
    source: Annotated[
        Path,
        typer.Argument(help="CSV, Parquet, a folder of images, .pts or dlib's XML; a data set for --relabel."),
    ],
    name: Annotated[str, typer.Option("--as", help="The new data set's name.")],
    votes: Annotated[Path | None, typer.Option(help="FER+ votes (fer2013new.csv), joined by row.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="SCHEME|LIST", help="What numbers mean, or classes are: a label scheme, or names a,b,c."),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="The column of images, or of their paths.")] = None,
    label_column: Annotated[str | None, typer.Option(help="The column of labels.")] = None,
    metadata: Annotated[Path | None, typer.Option(help="A table with the labels of a folder's images.")] = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Rows that share its value, as a person, stay in one split.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATTERN", help="A column from file names, as subject='(S[0-9]+)_'."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and list them.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="For splits that have to be drawn.")] = 0,
    relabel: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Change labels of a data set that is there, as this CSV says.")
    ] = None,
    plugin: Plugins = None,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Bring a data set into the workspace; its format is found by looking.

    Example: mien data import fer2013.csv --as fer2013 --votes fer2013new.csv

    Example: mien data import photos --as photos --metadata labels.csv --group subject

    Example: mien data import fer2013 --as fer2013-2 --relabel suspects/fer2013/suspects.csv
    """
    require("importing a data set", "pyarrow")
    from mien.data.importers import import_dataset
    from mien.data.importers.relabel import relabel as change_labels
    from mien.registry import load_plugins

    home = find_workspace(workspace)
    if relabel is not None:
        others = (votes, labels, skip_bad, plugin, image_column, label_column, metadata, group, column)
        if any(others):
            raise MienError("--relabel goes with --as alone", expected="mien data import NAME --as NEW --relabel FILE")
        made = change_labels(home, str(source), relabel, name)
    else:
        load_plugins(plugin or [])
        made = import_dataset(
            home,
            source,
            name,
            votes=votes,
            labels=labels,
            skip_bad=skip_bad,
            seed=seed,
            image_column=image_column,
            label_column=label_column,
            metadata=metadata,
            group=group,
            columns=_columns(column or []),
        )
    print_result(as_json, made.card.model_dump(mode="json"), lambda: _show_card(made.card))


def _columns(given: list[str]) -> dict[str, str]:
    """The patterns of `--column NAME=PATTERN` by name."""
    patterns: dict[str, str] = {}
    for text in given:
        name, equals, pattern = text.partition("=")
        if not equals or not pattern or name in patterns:
            twice = "is there twice" if name in patterns else "isn't NAME=PATTERN"
            raise MienError(f"'{text}' {twice}", key="--column", expected="as subject='(S[0-9]+)_', each name once")
        patterns[name] = pattern
    return patterns


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
    require("drawing a data set", "pyarrow")
    from mien.data.synthetic.dataset import write_faces

    if color not in ("gray", "rgb"):
        raise MienError(f"no colour is called '{color}'", key="--color", expected="gray or rgb")
    made = write_faces(find_workspace(workspace), name, n=n, size=size, color=color, seed=seed)  # type: ignore[arg-type]
    print_result(as_json, made.card.model_dump(mode="json"), lambda: _show_card(made.card))


@data.command("list")
def data_list(workspace: Home = None, as_json: Json = False) -> None:
    """The workspace's data sets.

    Example: mien data list
    """
    require("a list of data sets", "pyarrow")
    from mien.data.dataset import list_datasets, open_dataset

    home = find_workspace(workspace)
    listed: list[dict[str, Any]] = []
    rows = []
    for name in list_datasets(home):
        try:
            card = open_dataset(home, name).card
        except MienError as error:
            listed.append({"name": name, "error": error.as_dict()})
            rows.append((name, "", "", broken(error.as_dict())))
        else:
            listed.append(card.model_dump(mode="json"))
            rows.append((name, card.labels, f"{sum(map(sum, card.splits.values())):,}", ", ".join(card.splits)))
    print_result(
        as_json,
        {"datasets": listed},
        lambda: print_table(str(home.datasets), ("data set", "labels", "rows", "splits"), rows, right=9),
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
    require("looking at a data set", "pyarrow")
    if augment is not None:
        require("showing what an experiment does to faces", "torch")
    from mien.audit import last_audit
    from mien.data.contact_sheets import sheet_of_augmented, sheet_of_classes
    from mien.data.dataset import open_dataset

    opened = open_dataset(find_workspace(workspace), name)
    if augment is None:
        sheet = sheet_of_classes(opened)
    else:
        from mien.experiment.building import build_augment
        from mien.experiment.schema import load_experiment

        experiment = load_experiment(augment)
        section = experiment.dataset
        sheet = sheet_of_augmented(opened, experiment.name, section.size, section.color, build_augment(experiment))

    audited = last_audit(opened)

    def show() -> None:
        _show_card(opened.card)
        say(f"contact sheet: {sheet}")
        say(_told(audited) if audited else f"audit: none; mien data audit {name} makes one")

    print_result(as_json, {**opened.card.model_dump(mode="json"), "sheet": str(sheet), "audit": audited}, show)


@data.command("remove")
def data_remove(
    name: Annotated[str, typer.Argument(help="The data set's name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Remove a data set: what mien made of it. Its source, runs and the ledger stay.

    Example: mien data remove fer2013
    """
    require("removing a data set", "pyarrow")
    from mien.data.dataset import folder_of
    from mien.data.removal import remove_dataset

    home = find_workspace(workspace)
    folder = folder_of(home, name)
    if not yes:
        print(f"Remove the data set in {shown(str(folder))}? [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if not answer:
            raise MienError("nobody answered whether to remove it", file=str(folder), expected="--yes")
        if answer.strip().lower() not in ("y", "yes"):
            raise FailedError("nothing is removed", file=str(folder))
    kept = remove_dataset(home, name)

    def show() -> None:
        say(f"removed: {folder}")
        for one in kept:
            say(f"not mien's, and still there: {one}")

    print_result(as_json, {"removed": name, "kept": kept}, show)


@data.command("audit")
def data_audit(
    name: Annotated[str, typer.Argument(help="The data set's name.")],
    near: Annotated[bool, typer.Option(help="Look for near copies: a time that grows with the square of n.")] = True,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Find copies within and across splits, unusable pictures and doubtful labels; nothing is deleted.

    Example: mien data audit fer2013
    """
    require("auditing a data set", "pyarrow")
    from mien.audit import audit
    from mien.data.dataset import open_dataset
    from mien.report.audit_page import write_audit_page

    opened = open_dataset(find_workspace(workspace), name)
    content = audit(opened, near=near)
    page = write_audit_page(opened)
    print_result(as_json, {**content, "report": str(page)}, lambda: _show_audit(content, page))


def _told(audited: dict[str, Any]) -> str:
    near = audited["near"]
    copies = f"exact copies of earlier rows: {audited['exact']['extra']:,}"
    copies += f"; with near ones: {near['extra']:,}" if near else "; near ones not looked for"
    leaked = sum(audited["flags"]["near_leaked" if near else "leaked"].values())
    return f"audit of {audited['made'][:10]}: {copies}; rows with a copy in another split: {leaked:,}"


def _show_audit(content: dict[str, Any], page: Path) -> None:
    from mien.report.audit_page import across_rows, agreement_rows, finding_rows, worst

    splits = content["splits"]

    def beside(share: tuple[str, str]) -> str:
        return f"{share[0]} ({share[1]})" if share[1] else share[0]

    say(" ".join(filter(None, worst(content))))
    for column, pairs in content["shared"].items():
        shared = [(*reversed(pair.split("/")), f"{of['values']:,}", f"{of['rows']:,}") for pair, of in pairs.items()]
        print_table(f"shared by column {column}", ("split", "also in", "values in both", "rows"), shared, right=2)
    rows = [(name, meaning, *map(beside, values)) for name, meaning, values in finding_rows(content)]
    title = f"{content['dataset']}: rows by finding, n = {content['n']:,} ("
    title += ", ".join(f"{split} {n:,}" for split, n in splits.items()) + ")"
    print_table(title, ("flag", "meaning", *splits, "all"), rows, right=2)
    for kind in ("exact", "near"):
        if found := content[kind]:
            say(
                f"{'exact copies' if kind == 'exact' else 'near copies, exact ones among them'}: groups "
                f"{found['groups']:,}, rows {found['rows']:,}, beyond the first of each group {found['extra']:,}"
            )
    near = content["near_conflicting"]
    with_near = "" if near is None else f", with near copies {near:,}"
    say(f"groups whose labels disagree: {content['conflicting']:,}{with_near}")
    if content["across"]:
        columns = ("split", "also in", "n", "exact copies", "near copies")
        across = [(*pair, beside(exact), beside(near)) for *pair, exact, near in across_rows(content)]
        print_table("\nrows of a split that also stand in another", columns, across, right=2)
    if agreement := agreement_rows(content):
        told = [(name, *(f"{share} [{ends}] {n}" for share, ends, n in cells)) for name, cells in agreement]
        print_table("share of rows whose label is the raters' majority, 95 % intervals", ("class", *splits), told)
    say(f"audit: {page}")


def _show_card(card: Any) -> None:
    rows = [(split, *(f"{count:,}" for count in counts), f"{sum(counts):,}") for split, counts in card.splits.items()]
    print_table(f"{card.name}: {card.labels}", ("split", *card.classes, "all"), rows)
    sizes = ", ".join(f"{size} ({count:,})" for size, count in card.image_sizes.items())
    say(f"images: {sizes}\nsource: {card.source} ({card.format})\nfingerprint: {card.fingerprint}")
    for note in card.notes:
        say(f"note: {note}")
    for skipped in card.skipped[:20]:
        say(f"skipped: {skipped}")
    if len(card.skipped) > 20:
        say(f"skipped: {len(card.skipped) - 20} more, in the card")
