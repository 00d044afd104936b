"""The 2021 report by one command: its runs, its tables and figures, and which of its conclusions hold."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mien.errors import MienError
from mien.files import write_json, write_text
from mien.reproduce import figures
from mien.reproduce.conclusions import conclusions
from mien.reproduce.figures import Picture
from mien.reproduce.numbers import gather
from mien.reproduce.page import Page, html, readme
from mien.reproduce.paper import REPORT
from mien.reproduce.plan import Planned, make_plan
from mien.reproduce.tables import as_csv, as_latex, tables
from mien.workspace import Workspace

__all__ = ["Planned", "make_plan", "write_all"]


def write_all(workspace: Workspace, plan: Sequence[Planned], to: Path | None, command: str) -> dict[str, Any]:
    """Write the page with all tables and figures of what a plan has; what it has not is named there.

    It stands in `reproductions/paper-2021` of the workspace, with pictures of the data set's rows, and, where `to` is
    given, there without any: faces are drawn. Returns what `reproduction.json` holds. Raises MienError where `to` holds
    something else.
    """
    if to is not None and to.exists() and not (to / _NUMBERS).exists() and any(to.iterdir()):
        raise MienError(
            "this folder holds something else", file=str(to), expected="a new folder, or one written before"
        )
    parts = gather(workspace, plan)
    judged = conclusions(workspace, plan)
    content = {"report": REPORT, "command": command, "parts": parts, "conclusions": judged}
    for folder, public in ((workspace.root / "reproductions" / REPORT, False), (to, True)):
        if folder is None:
            continue
        shown, lacking = _figures(workspace, plan, parts, public=public)
        page = Page(parts, {table.key: table for table in tables(parts)}, judged, shown, lacking, public, command)
        for table in page.tables.values():
            write_text(folder / "tables" / f"{table.key}.csv", as_csv(table))
            write_text(folder / "tables" / f"{table.key}.tex", as_latex(table))
        for picture in shown.values():
            picture.save(folder / "figures")
        write_text(folder / "README.md", readme(page))
        write_text(folder / "report.html", html(page))
        write_json(folder / _NUMBERS, content)
    return content


_NUMBERS = "reproduction.json"


def _figures(
    workspace: Workspace, plan: Sequence[Planned], parts: Sequence[dict[str, Any]], *, public: bool
) -> tuple[dict[str, Picture], dict[str, str]]:
    """The figures by their names, and of those that can't be made why."""
    found: list[Picture] = []
    lacking: dict[str, str] = {}

    def attempt(name: str, make: Callable[[], Iterator[Picture]]) -> None:
        try:
            found.extend(make())
        except MienError as error:
            lacking[name] = error.message

    by_name = {part["name"]: part for part in parts}
    own = [exam for name in ("googlenet", "cnn1") if (exam := figures.own_exam(by_name[name])) is not None]
    found.append(figures.why([figures.published_exam(), *own[:1]], _WHY))
    found += [picture for planned in plan if (picture := figures.curves(planned)) is not None]
    for name, prefix in (("xception", "points"), ("cnn1", "activations")):
        run = next((one.run for one in plan if one.part.name == name and one.state == "finished"), None)
        if run is None:
            lacking[prefix] = f"{name} isn't trained yet"
        elif prefix == "points":
            attempt(prefix, lambda run=run: iter([figures.points(run, public=public)]))  # type: ignore[misc]
        else:
            attempt(prefix, lambda run=run: figures.explained(run, public=public))  # type: ignore[misc]
    attempt("samples", lambda: iter([figures.samples(workspace, public=public)]))
    return {picture.key: picture for picture in found}, lacking


_WHY = ("Each block is as wide as its share of the images and as tall as the share of answers that are right.",)
