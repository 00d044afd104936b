"""The page of a reproduction, as README.md and as one file of HTML: claims, verdicts, tables and figures."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mien.comparison.tables import markdown_lines
from mien.intervals import percent
from mien.report.rendering import render
from mien.report.wording import spoken
from mien.reproduce.conclusions import RULE
from mien.reproduce.figures import PaperFigure, published_exam
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


# The level of a table right below the heading that says what it is of.
UNTITLED = 0


class Block(NamedTuple):
    """A piece of the page: `kind` is heading, text, note, list, table, picture, details, code, words or one of these:

    contents, of headings; verdicts, of conclusions; verdict, the heading of one with its number.
    """

    kind: str
    content: Any
    level: int = 2

    @property
    def place(self) -> str:
        """What a link to this heading names, as code hosts make it of the words."""
        return place(self.content)


def place(heading: str) -> str:
    """The name of a heading's place.

    >>> place("Why .87 becomes .5")
    'why-87-becomes-5'
    """
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


# The mark of each verdict, so that it isn't told by colour alone.
MARKS = {"holds": "✓", "does not hold": "✗", "can't be told": "?"}


def titled(number: int, one: Mapping[str, Any]) -> str:
    """The heading of a conclusion.

    >>> titled(2, {"text": "It is better", "verdict": "holds"})
    '2. It is better: holds'
    """
    return f"{number}. {one['text']}: {one['verdict']}"


# What a reader may not know, in the order of the page.
WORDS = (
    (
        "CNN 1 to 4",
        "the report's own small convolutional networks, which look at an image by layers of small filters (their side "
        "is the kernel size) and answer by fully connected layers; table 2 says of what size.",
    ),
    (
        "GoogLeNet, MobileNetV2",
        "two larger published networks. The report has the first; the second is here since its ImageNet weights were "
        "at hand.",
    ),
    (
        "start weights: random, ImageNet's",
        "where a training begins: from nothing, or from a network that has learned to tell the things on the photos of "
        "ImageNet, a large public set (“pre-trained”).",
    ),
    (
        "full image, face set, mouth set",
        "FER2013's images as they are; cut to the face; cut to the lips. “GoogLeNet on faces” is trained and measured "
        "on the second.",
    ),
    ("epoch", "one pass of the training over all the images that it learns from."),
    ("Training, PublicTest, PrivateTest", "the three parts of FER2013: 28,709, 3,589 and 3,589 images."),
    (
        "fit, choose, report",
        "what images are for: a model is fitted to the first (Training), choices such as the best epoch are made by "
        "the second (PublicTest), and the third (PrivateTest) is opened at the end, to report how good it is.",
    ),
    ("contaminated", "measured on images of which some were trained on: too good to say anything about new ones."),
    (
        "without exact copies",
        "FER2013 has some photos several times. Images whose pixels also stand among those trained or chosen on are "
        "left out.",
    ),
    ("accuracy", "the share of images that are told right."),
    (
        "precision, recall, F1",
        "of the images taken for a class the share that is of it; of the images of a class the share that is found; "
        "and the harmonic mean of both.",
    ),
    (
        "macro, weighted, balanced accuracy",
        "the mean over the seven classes, each counting alike; their mean by number of images; the macro recall.",
    ),
    (
        "95 % interval",
        "the range that holds the true value in 95 of 100 such measurements on other images like these; in brackets or "
        "small below a number.",
    ),
    (
        "seed",
        "the number that random weights are drawn by. The same training with another seed scores otherwise; sd says "
        "by how much.",
    ),
    (
        "p",
        "how often a difference at least as large would be found if there were none. Below 0.05 counts as shown.",
    ),
    (
        "p by Holm",
        "the same, made larger since several differences are tested for one conclusion: among many one is soon found "
        "by chance. The verdict goes by it.",
    ),
    (
        "holds, does not hold, can't be told",
        "the numbers show what the report concludes; they show that it isn't so; they are too unsure for either. The "
        "last is no finding against the report.",
    ),
    (
        "long",
        "GoogLeNets that are trained until 5 epochs bring no better accuracy on PublicTest, not for a fixed 10 epochs. "
        "Where it improves early and then no more, that is fewer than 10. The weights of the best epoch are kept.",
    ),
    (
        "random patch",
        "a spot of the same size somewhere else in the same face. To blur anything costs a network something; what "
        "counts is what it costs more.",
    ),
    ("NME", "the mean distance of 68 points from where they should be, in % of the distance of the outer eye corners."),
)


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
    elif block.kind == "contents":
        yield from (f"- [{heading}](#{place(heading)})" for heading in content)
    elif block.kind == "verdicts":
        for number, one in enumerate(content, start=1):
            link = f"[{one['text']}](#{place(titled(number, one))})"
            yield f"{number}. {link}: {MARKS[one['verdict']]} **{one['verdict']}**; {one['because']}."
    elif block.kind == "verdict":
        yield f"### {titled(*content)}"
    elif block.kind == "words":
        yield from (f"- **{word}**: {meaning}" for word, meaning in content)
    elif block.kind == "code":
        yield from (f"    {line}" for line in content)
    elif block.kind == "note":
        yield f"> {content}"
    elif block.kind == "table":
        title = "" if block.level == UNTITLED else f"**{content.title}** "
        yield from (f"{title}([CSV](tables/{content.key}.csv), [LaTeX](tables/{content.key}.tex))", "")
        yield from markdown_lines(content.columns, content.rows, content.words)
        yield from ("", f"<sub>{content.where}</sub>")
    elif block.kind == "picture":
        alt = content.text.replace("[", "(").replace("]", ")")
        if content.key.startswith("curves"):
            yield from (f"{content.heading}:", "")
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
    helpers = {"place": place, "titled": titled, "marks": MARKS}
    return render("reproduction.html.j2", {"blocks": list(blocks(page)), **helpers}, Path(__file__).parent)


def blocks(page: Page) -> Iterator[Block]:
    """The page, piece by piece."""
    rest = [block for part in (_why, _conclusions, _tables, _figures, _ending) for block in part(page)]
    yield from _opening(page)
    yield Block("contents", [block.content for block in rest if block.kind == "heading" and block.level == 2])
    yield from rest


def _opening(page: Page) -> Iterator[Block]:
    yield Block(
        "text",
        "In 2021 a university report trained neural networks to tell the expression of a face (angry, disgust, fear, "
        "happy, sad, surprise, neutral) on FER2013, a set of 35,887 small gray photos. It claimed to get up to 89 % of "
        "them right. This page trains the same networks again from its description and asks two things: what do they "
        "score, and which of the report's conclusions hold?",
    )
    yield Block("text", _answer(page))
    finished = sum(len(part["runs"]) for part in page.parts)
    absent = sum(len(part["missing"]) for part in page.parts)
    if absent:
        yield Block(
            "note",
            f"Not complete: {finished} of {finished + absent} runs are trained and measured. What is missing is named "
            "where it would stand; nothing is filled in for it.",
        )


def _answer(page: Page) -> str:
    """What the page finds, in two sentences."""
    claims = [part for part in page.parts if part["runs"] and part["claimed"] is not None]
    given = Counter(one["verdict"] for one in page.conclusions)
    holds, fails, open_ = (given[name] for name in MARKS)
    counts = (
        f"Of its {len(page.conclusions)} conclusions, {holds} {'holds' if holds == 1 else 'hold'}, {fails} "
        f"{'does' if fails == 1 else 'do'} not, and of {open_} it can't be told."
    )
    if not claims:
        return f"In short: nothing is measured yet. {counts}"
    ours = [part["runs"][0]["official"]["accuracy"] for part in claims]
    theirs = [part["claimed"]["accuracy"] for part in claims]
    return (
        f"In short: where the report claims {_range(theirs)} right answers, networks of the same kinds give "
        f"{_range(ours)} on photos that none of them was trained on (PrivateTest). {counts}"
    )


def _range(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(percent(end) for end in (min(values), max(values))))


def _why(page: Page) -> Iterator[Block]:
    exam = published_exam()
    yield Block("heading", "Why .87 becomes .5")
    if "why" in page.figures:
        yield Block("picture", page.figures["why"])
    yield Block(
        "text",
        "Imagine an exam of nine questions, eight of which stood in the homework, with their answers. Who remembers "
        "the homework gets a good mark, and may still be lost at the ninth, the only one that shows what was learned. "
        f"The report measured on {VALIDATION:,} images that it called validation. {TRAINED_ON:,} of these, eight of "
        "nine, are the very images that its networks were trained on. On the others, FER2013's PrivateTest, the "
        f"answers that its authors stored are right for about half: GoogLeNet's for {exam.new:.2f}. The report claims "
        f"{exam.both:.2f} of all together; so of those trained on it must have been {exam.seen:.2f}.",
    )
    yield Block("table", page.tables["overview"])
    ours = next((part for part in page.parts if part["runs"] and part["claimed"] is not None), None)
    if ours:
        run = ours["runs"][0]
        text = (
            f"An example: {ours['title']} was claimed at {ours['claimed']['accuracy']:.2f}. Trained again (seed "
            f"{run['seed']}) and measured as the report did, on images of which "
            f"{percent(run['paper']['contaminated'], 1)} were trained on, it scores {spoken(run['paper'])}. On "
            f"PrivateTest, of which none was trained on, it scores {spoken(run['official'])}"
        )
        clean = run["official"]["clean"]
        # FER2013 has some of its photos several times, in training and in test.
        copies = f", and without photos that also stand among those trained or chosen on, {spoken(clean)}"
        yield Block("text", f"{text}{copies if clean else ''}.")


def _conclusions(page: Page) -> Iterator[Block]:
    yield Block("heading", "Which of its conclusions hold?")
    yield Block("verdicts", page.conclusions)
    yield Block(
        "text",
        "Numbers are differences of accuracy on PrivateTest (in 4 on PublicTest; in 7, there too, of the true class's "
        "probability or of what a layer gives), with 95 % intervals. “A − B” above 0 means that A is better. Where "
        "several differences are tested for one conclusion, an interval may leave out 0 by chance; so the verdict goes "
        "by “p by Holm”, which counts them all.",
    )
    yield Block("details", ("How a verdict is reached", [Block("text", RULE)]))
    for number, one in enumerate(page.conclusions, start=1):
        yield Block("verdict", (number, one), 3)
        yield Block("text", f"{one['said']} {sentence(one['because'])}")
        if one["differences"]:
            yield Block("table", page.tables[f"conclusion-{number}-{one['key']}"], UNTITLED)
        if one["missing"]:
            yield Block("list", one["missing"])


def sentence(text: str) -> str:
    """Words as a sentence of their own.

    >>> sentence("it holds")
    'It holds.'
    """
    return f"{text[:1].upper()}{text[1:]}."


def _tables(page: Page) -> Iterator[Block]:
    yield Block("heading", "The report's tables")
    yield Block(
        "text",
        f"“Claimed” are the numbers of {SOURCE.partition(';')[0]}, all measured on images of which most were trained "
        "on. “As the report measured (contaminated)” measures new runs in the same way: such a number says little "
        "about new faces. All others are of images that no run was trained on.",
    )
    for key, table in page.tables.items():
        if key.startswith("table-"):
            yield Block("table", table)
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
        "“fit” (dashed) are the images trained on, “choose” those of PublicTest, which no run trains on. The report's "
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
        yield Block("text", f"No curves of {'; '.join(without)}.")
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
        yield Block("text", "What is written down of how the data sets were made:")
        yield Block("list", list(notes))
    yield Block("heading", "What the words mean")
    yield Block("words", WORDS)
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
