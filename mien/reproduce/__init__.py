"""Reproduces the 2021 report by one command: its runs, tables and figures, and which of its conclusions hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.errors import MienError
from mien.files import publishing, write_json, write_text
from mien.reading import read_json
from mien.reproduce import figures
from mien.reproduce.conclusions import conclusions, told
from mien.reproduce.figures import PaperFigure
from mien.reproduce.formats import as_csv, as_latex
from mien.reproduce.page import FACES, Page, html, readme
from mien.reproduce.paper import EXPLAINED, REPORT, part_named
from mien.reproduce.plan import Planned, make_plan
from mien.reproduce.scores import architectures, gather
from mien.reproduce.tables import tables
from mien.workspace import Workspace

__all__ = ["Planned", "make_plan", "write_again", "write_all"]


def write_all(
    workspace: Workspace, plan: Sequence[Planned], folders: Mapping[Path, bool], command: str
) -> dict[str, Any]:
    """Write the page with the tables and figures of all finished runs of a plan; it names the runs that are missing.

    `folders` tells for each folder whether it is public; a public page shows drawn faces in place of the data set's.
    Inside of `style.printing` figures are written for a paper as well. Returns what `reproduction.json` holds, but for
    `figures`, `lacking` and `public`. Raises MienError for a public folder that `Workspace.publishing` refuses.
    """
    parts = gather(workspace, plan)
    content: dict[str, Any] = {
        "report": REPORT,
        "command": command,
        "parts": parts,
        "conclusions": told(conclusions(workspace, plan), parts),
        "architectures": architectures(),
    }
    drawings = [_why(content["parts"]), *(one for planned in plan if (one := figures.curves(planned)) is not None)]
    for folder, public in folders.items():
        with workspace.publishing(folder) if public else publishing(folder, own=True) as new:
            pictures, lacking = _pictures(workspace, plan, public=public)
            _write(new, content, [*drawings, *pictures], lacking, public)
    return content


def write_again(folder: Path) -> None:
    """Write a published page anew, from its `reproduction.json` and its pictures; the runs aren't needed.

    Tables, texts and the first figure are made anew, the other figures stay as they are. Raises MienError for a folder
    without a published page.
    """
    content = read_json(folder / "reproduction.json")
    about, lacking, public = (content.pop(key) for key in ("figures", "lacking", "public"))
    pictures = {one["key"]: figures.stored(folder / "figures", one) for one in about}
    pictures["why"] = _why(content["parts"])
    content["conclusions"] = told(content["conclusions"], content["parts"])
    with publishing(folder) as new:
        _write(new, content, list(pictures.values()), lacking, public)


def _write(
    folder: Path, content: dict[str, Any], pictures: Sequence[PaperFigure], lacking: Mapping[str, str], public: bool
) -> None:
    made = {table.key: table for table in tables(content["parts"], content["conclusions"], content["architectures"])}
    shown = {picture.key: picture for picture in pictures}
    page = Page(content["parts"], made, content["conclusions"], shown, lacking, public, content["command"])
    for table in made.values():
        write_text(folder / "tables" / f"{table.key}.csv", as_csv(table))
        write_text(folder / "tables" / f"{table.key}.tex", as_latex(table))
    for picture in pictures:
        picture.save(folder / "figures")
    write_text(folder / "README.md", readme(page))
    write_text(folder / "report.html", html(page))
    about = [picture.about for picture in pictures]
    write_json(folder / "reproduction.json", {**content, "figures": about, "lacking": lacking, "public": public})


def _why(parts: Sequence[dict[str, Any]]) -> PaperFigure:
    """The figure that shows why .87 becomes .5: by the report's own numbers, and by those of a new run."""
    by_name = {part["name"]: part for part in parts}
    # GoogLeNet from random weights isn't the report's: it learns less by heart. CNN 1 is.
    wanted = ("googlenet-imagenet", "cnn1", "googlenet")
    own = [exam for name in wanted if (exam := figures.own_exam(by_name[name])) is not None]
    lines = ("Each block is as wide as its share of the images and as tall as the share of answers that are right.",)
    return figures.why([figures.published_exam(), *own[:1]], lines)


def _pictures(
    workspace: Workspace, plan: Sequence[Planned], *, public: bool
) -> tuple[list[PaperFigure], dict[str, str]]:
    """The figures of faces and of a net's inside, and for each that can't be made the reason."""
    runs = {one.part.name: one.run for one in reversed(plan) if one.state == "finished" and one.run is not None}
    found: list[PaperFigure] = []
    lacking: dict[str, str] = {}
    for prefix in FACES:
        nets = ("xception-full", "xception") if prefix == "points" else (EXPLAINED,)
        part = next((name for name in nets if name in runs), nets[-1])
        try:
            if prefix == "samples":
                found.append(figures.samples(workspace, public=public))
            elif part not in runs:
                lacking[prefix] = f"{part_named(part).title}, not trained yet"
            elif prefix == "points":
                found.append(figures.points(runs[part], public=public))
            else:
                found += figures.explained(runs[part], prefix, public=public)
        except MienError as error:
            lacking[prefix] = error.message
    return found, lacking
