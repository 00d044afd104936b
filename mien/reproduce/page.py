"""The page of a reproduction, as README.md and as one file of HTML: claims, verdicts, tables and figures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mien.comparison.tables import markdown_lines
from mien.intervals import percent
from mien.report.rendering import render
from mien.report.wording import spoken
from mien.reproduce.conclusions import RULE
from mien.reproduce.figures import PaperFigure
from mien.reproduce.formats import PaperTable
from mien.reproduce.paper import REPORT, SOURCE, TRAINED_ON, VALIDATION
from mien.reproduce.tables import missing

# Figures beside the curves, by how their names begin.
FACES = {
    "points": "Points on faces",
    "samples": "Samples of the face set and the mouth set",
    "activations": "What the first two convolutions of CNN 1 answer to",
    "filters": "What CNN 1 has learned: its filters",
    "regions": "What CNN 1 looks at, by region",
}


class Page(NamedTuple):
    """All that the page says, in its order."""

    parts: Sequence[Mapping[str, Any]]
    tables: Mapping[str, PaperTable]
    conclusions: Sequence[Mapping[str, Any]]
    figures: Mapping[str, PaperFigure]
    lacking: Mapping[str, str]
    public: bool
    command: str


class Block(NamedTuple):
    """A piece of the page: `kind` is heading, text, note, list, table, picture, details or code."""

    kind: str
    content: Any
    level: int = 2


def readme(page: Page) -> str:
    """The page as Markdown for a code host; pictures are beside it."""
    lines = ["# The 2021 report, reproduced", ""]
    for block in blocks(page):
        lines += [*_markdown(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(block: Block) -> Iterator[str]:
    content = block.content
    if block.kind == "heading":
        yield f"{'#' * block.level} {content}"
    elif block.kind == "list":
        yield from (f"- {item}" for item in content)
    elif block.kind == "code":
        yield from (f"    {line}" for line in content)
    elif block.kind == "note":
        yield f"> {content}"
    elif block.kind == "table":
        yield from (f"**{content.title}** ([CSV](tables/{content.key}.csv), [LaTeX](tables/{content.key}.tex))", "")
        yield from markdown_lines(content.columns, content.rows, content.words)
        yield from ("", f"<sub>{content.where}</sub>")
    elif block.kind == "picture":
        alt = content.text.replace("[", "(").replace("]", ")")
        yield f"![{alt}](figures/{content.key}.png)"
    elif block.kind == "details":
        heading, inside = content
        yield from ("<details>", f"<summary>{heading}</summary>", "")
        for one in inside:
            yield from (*_markdown(one), "")
        yield "</details>"
    else:
        yield content


def html(page: Page) -> str:
    """The page as one file of HTML that loads nothing."""
    return render("reproduction.html.j2", {"blocks": list(blocks(page))}, Path(__file__).parent)


def blocks(page: Page) -> Iterator[Block]:
    """The page, piece by piece."""
    yield from _opening(page)
    yield from _conclusions(page)
    yield from _tables(page)
    yield from _figures(page)
    yield from _ending(page)


def _opening(page: Page) -> Iterator[Block]:
    yield Block(
        "text",
        "In 2021 a university report trained neural networks to tell the expression of a face (angry, disgust, fear, "
        "happy, sad, surprise, neutral) on FER2013, a set of 35,887 small gray photos. It claimed to get up to 89 % of "
        "them right. This page trains the same networks again from its description and asks two things: what do they "
        "score, and which of the report's conclusions hold?",
    )
    finished = sum(len(part["runs"]) for part in page.parts)
    absent = sum(len(part["missing"]) for part in page.parts)
    if absent:
        yield Block(
            "note",
            f"Not complete: {finished} of {finished + absent} runs are trained and measured. What is missing is named "
            "where it would stand; nothing is filled in for it.",
        )
    yield Block("heading", "Why .87 becomes .5")
    if "why" in page.figures:
        yield Block("picture", page.figures["why"])
    yield Block(
        "text",
        "Imagine an exam of nine questions, eight of which stood in the homework, with their answers. Who remembers "
        "the homework gets a good mark, and may still be lost at the ninth, the only one that shows what was learned. "
        f"The report measured on {VALIDATION:,} images that it called validation. {TRAINED_ON:,} of these, eight of "
        "nine, are the very images that its networks were trained on. On the others, FER2013's PrivateTest, the "
        "answers that its authors stored are right for about half.",
    )
    yield Block("table", page.tables["overview"])
    ours = next((part for part in page.parts if part["runs"] and part["claimed"] is not None), None)
    if ours:
        run = ours["runs"][0]
        text = (
            f"An example: {ours['title']} was claimed at {ours['claimed']:.2f}. Trained again (seed {run['seed']}) and "
            f"measured as the report did, on images of which {percent(run['paper']['contaminated'], 1)} were trained "
            f"on, it scores {spoken(run['paper'])}. On PrivateTest, of which none was trained on, it scores "
            f"{spoken(run['official'])}"
        )
        clean = run["official"]["clean"]
        # FER2013 has some of its photos several times, in training and in test.
        copies = f", and without photos that also stand among those trained or chosen on, {spoken(clean)}"
        yield Block("text", f"{text}{copies if clean else ''}.")


def _conclusions(page: Page) -> Iterator[Block]:
    yield Block("heading", "Which of its conclusions hold?")
    yield Block("table", page.tables["conclusions"])
    yield Block("text", f"How that is decided. {RULE}")
    for number, one in enumerate(page.conclusions, start=1):
        yield Block("heading", f"{number}. {one['text']}: {one['verdict']}", 3)
        yield Block("text", one["said"])
        if one["differences"]:
            yield Block("table", page.tables[f"conclusion-{number}-{one['key']}"])
        if one["missing"]:
            yield Block("list", one["missing"])


def _tables(page: Page) -> Iterator[Block]:
    yield Block("heading", "The report's tables")
    yield Block(
        "text",
        f"Claimed are the numbers of {SOURCE.partition(';')[0]}; of its tables this project knows the accuracy alone. "
        "“As the report measured” and “contaminated” say that most of these images were trained on: such a number "
        "says little about new faces. All others are of images that no run was trained on.",
    )
    for key, table in page.tables.items():
        if key.startswith("table-") and not key.startswith("table-6"):
            yield Block("table", table)
    by_class = [table for key, table in page.tables.items() if key.startswith("table-6")]
    if not by_class:
        yield Block("note", "Table 6, precision, recall and F1 by class of GoogLeNet: no GoogLeNet is measured yet.")
    for table in by_class:
        yield Block("details", (table.title, [Block("table", table)]))
    yield Block("heading", "Beside the report's tables", 3)
    yield Block("table", page.tables["pretraining"])
    yield Block("table", page.tables["points"])


def _figures(page: Page) -> Iterator[Block]:
    yield Block("heading", "The report's figures")
    if page.public:
        yield Block(
            "text",
            "FER2013's and HELEN's photos can't be passed on, so faces that are shown here are drawn by mien. The same "
            "command makes the same figures of the real images, in the folder reproductions of the workspace.",
        )
    yield Block("heading", "Training curves", 3)
    yield Block(
        "text",
        "“fit” are the images trained on, “choose” those of PublicTest, which no run trains on. The report's "
        "“validation” images were mostly trained on, so a curve of them follows the training curve.",
    )
    shown: list[str] = []
    for part in page.parts:
        keys = [key for key in page.figures if key.startswith(f"curves-{part['name']}-seed")]
        if not keys:
            continue
        shown.append(part["name"])
        yield Block("picture", page.figures[keys[0]])
        if keys[1:]:
            yield Block(
                "details", (f"{part['title']}: further seeds", [Block("picture", page.figures[k]) for k in keys[1:]])
            )
    without = [f"{part['title']}: {missing(part)}" for part in page.parts if part["name"] not in shown]
    if without:
        yield Block("details", (f"No curves yet of {len(without)} experiments", [Block("list", without)]))
    for prefix, heading in FACES.items():
        yield Block("heading", heading, 3)
        yield from (Block("picture", picture) for key, picture in page.figures.items() if key.startswith(prefix))
        if prefix in page.lacking:
            yield Block("note", f"Not here: {page.lacking[prefix]}.")


def _ending(page: Page) -> Iterator[Block]:
    yield Block("heading", "What was run")
    yield Block("table", page.tables["runs"])
    notes = dict.fromkeys(note for part in page.parts for run in part["runs"] for note in run["notes"])
    if notes:
        yield Block("list", list(notes))
    yield Block("heading", "Make it again")
    yield Block("text", "With FER2013 at hand (and HELEN's points for the landmark model), from a clone of mien:")
    yield Block(
        "code",
        [
            "mien data import fer2013.csv --as fer2013",
            "mien data import helen_68pt.parquet --as helen",
            f"mien reproduce {REPORT} --dry-run        # what is to be run, and how long it takes here",
            page.command,
        ],
    )
    yield Block(
        "text",
        "Runs that are finished aren't trained again, and a command that was stopped goes on where it was. All numbers "
        "stand in reproduction.json and come from runs by this command; only the report's claims were typed by hand.",
    )
