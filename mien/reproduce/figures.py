"""The figures of the reproduction: curves of every run, faces with points, samples of the sets, activations of CNN 1.

Pictures of a data set's rows stay in the workspace. Public ones show faces that mien draws, and say so.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from mien.cropping import cut_images
from mien.cropping.cutting import LANDMARKS
from mien.data.contact_sheets import contact_sheet, pictures_of
from mien.data.synthetic import CLASSES, faces
from mien.errors import MienError
from mien.explanation.storage import read
from mien.faces.regions import region_named
from mien.files import write_bytes, write_text
from mien.images import Pixels
from mien.report import explain_figures, figures, saliency_figures
from mien.report.landmark_faces import drawn_faces, measured_faces
from mien.report.pictures import curve_caption, inline_svg
from mien.report.reading import read_history, read_metrics
from mien.report.rendering import data_uri
from mien.report.style import BLUE, INK, ORANGE, Caption, figure, png, printed, styled, svg
from mien.reproduce.paper import CLAIMED, CUTS, STORED, TRAINED_ON, VALIDATION
from mien.reproduce.plan import Planned, dataset_of
from mien.runs.run import Run
from mien.tasks import LOSS
from mien.workspace import Workspace


@dataclass(frozen=True)
class PaperFigure:
    """A figure as PNG and SVG. `key` names its files, `text` describes it; with `photos` it is made of pixels alone.

    `further` are its files for a paper, by their ending, where `style.printing` asks for them; pixels have none.
    """

    key: str
    heading: str
    text: str
    png: bytes
    svg: str
    photos: bool = False
    further: Mapping[str, bytes] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write `<key>.png`, `<key>.svg` and the further files."""
        write_bytes(folder / f"{self.key}.png", self.png)
        write_text(folder / f"{self.key}.svg", self.svg)
        for ending, content in self.further.items():
            write_bytes(folder / f"{self.key}{ending}", content)

    @property
    def about(self) -> dict[str, Any]:
        """What `stored` needs beside the files, as plain data."""
        return {"key": self.key, "heading": self.heading, "text": self.text, "photos": self.photos}

    @property
    def markup(self) -> Markup:
        """The figure inside a page."""
        if not self.photos:
            return Markup(inline_svg(self.svg, self.key, self.text))
        return Markup('<img src="{}" alt="{}">').format(data_uri(self.png), self.text)


def _drawn(key: str, heading: str, text: str, made: Figure) -> PaperFigure:
    return PaperFigure(key, heading, text, png(made), svg(made), further=printed(made))


def stored(folder: Path, about: Mapping[str, Any]) -> PaperFigure:
    """A figure as it was written into a folder, by what `PaperFigure.about` gave."""
    files = folder / f"{about['key']}.png", folder / f"{about['key']}.svg"
    return PaperFigure(png=files[0].read_bytes(), svg=files[1].read_text(encoding="utf-8"), **about)


def photo(key: str, heading: str, text: str, data: bytes) -> PaperFigure:
    """A figure made of pixels, which its SVG holds as a PNG."""
    width, height = Image.open(io.BytesIO(data)).size
    wrapped = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>{Markup.escape(text)}</title>"
        f'<image width="{width}" height="{height}" href="{data_uri(data)}"/></svg>\n'
    )
    return PaperFigure(key, heading, text, data, wrapped, photos=True)


def curves(planned: Planned) -> PaperFigure | None:
    """The loss and accuracy (for points: error) of a run by epoch; None before its first epoch is done."""
    run = planned.run
    if run is None or planned.experiment is None:
        return None
    score = planned.experiment.task.score
    history = read_history(run.history, score.key)
    if history is None:
        return None
    measured = {
        role: read_metrics(run.metrics_file(role)) for role in ("report", "choose") if run.metrics_file(role).is_file()
    }
    said, rows = curve_caption(run, run.environment, measured)
    heading = f"{planned.part.title}, seed {planned.seed}"
    if planned.state != "finished":
        heading += f" (not finished: {len(history['epoch'])} of {planned.experiment.train.epochs} epochs)"
    text = (
        f"{heading}: training (fit) and validation (choose) by epoch. After epoch {history['epoch'][-1]:.0f} "
        f"{score.name} is {score.told(history[f'fit_{score.key}'][-1])} in training and "
        f"{score.told(history[f'choose_{score.key}'][-1])} in validation."
    )
    made = figures.curves(history, said, (LOSS, score), rows)
    return _drawn(f"curves-{planned.part.name}-seed{planned.seed}", heading, text, made)


@dataclass(frozen=True)
class Exam:
    """The accuracy of a net on images that it was trained on, on new ones, and on both; `share` of the first."""

    title: str
    seen: float
    new: float
    both: float
    share: float


def published_exam() -> Exam:
    """The report's GoogLeNet: `both` is claimed, `new` is by its stored predictions, `seen` follows from these.

    >>> round(published_exam().seen, 3)
    0.912
    """
    share = TRAINED_ON / VALIDATION
    both, new = CLAIMED["googlenet"]["accuracy"], STORED["googlenet"]
    return Exam("the report's GoogLeNet", (both - (1 - share) * new) / share, new, both, share)


def own_exam(part: Mapping[str, Any]) -> Exam | None:
    """The same for the first run of a part that `scores.gather` gives; None where there is no such run."""
    run = next(iter(part["runs"]), None)
    if run is None or not run["paper"]["contaminated"]:
        return None
    share = run["seen"]["n"] / run["paper"]["n"]
    title = f"{part['title']}, trained anew"
    return Exam(title, run["seen"]["accuracy"], run["official"]["accuracy"], run["paper"]["accuracy"], share)


def why(exams: Sequence[Exam], lines: Sequence[str]) -> PaperFigure:
    """Draws why .87 becomes .5: each block is as wide as its share of the images, and as tall as its accuracy."""
    with styled():
        made, axes = figure(
            "Right answers: on images trained on, and on new ones",
            Caption(tuple(lines)),
            3.3,
            len(exams),
            7.2 if len(exams) > 1 else 4.4,
        )
        for ax, exam in zip(axes, exams, strict=True):
            _blocks(ax, exam)
        axes[0].set_ylabel("share of answers that are right")
    told = "; ".join(
        f"{exam.title}: {exam.seen:.2f} right on images it was trained on, {exam.new:.2f} on new ones, "
        f"{exam.both:.2f} on all together"
        for exam in exams
    )
    return _drawn("why", "Why .87 becomes .5", f"{told}.", made)


# A page may be dark, and its ink light; the block is the same on all.
_ON_ORANGE = "#1A1A1A"


def _blocks(ax: Axes, exam: Exam) -> None:
    ax.add_patch(Rectangle((0, 0), exam.share, exam.seen, facecolor=ORANGE, edgecolor="none"))
    ax.add_patch(Rectangle((exam.share, 0), 1 - exam.share, exam.new, facecolor=BLUE, edgecolor="none"))
    ninths = abs(exam.share - 8 / 9) < 0.002
    if ninths:
        for number in range(1, 8):
            ax.plot([number / 9] * 2, [0, exam.seen], color="white", linewidth=0.8)
    seen, new = ("8 of 9 images:", "1 of 9:") if ninths else ("most images:", "the others:")
    ax.text(
        exam.share / 2,
        exam.seen / 2,
        f"{seen}\ntrained on, with\nthe right answer\n{exam.seen:.2f} right",
        ha="center",
        va="center",
        color=_ON_ORANGE,
        bbox={"facecolor": ORANGE, "edgecolor": "none", "pad": 3},
    )
    beside: dict[str, Any] = {"va": "center", "fontweight": "bold"}
    ax.text(1.02, exam.new / 2, f"{new}\nnew\n{exam.new:.2f}\nright", **beside)
    # Beside the block the line has the page's ink, which may be light.
    ends = [0, exam.share] if exam.both <= exam.seen else [0, 0]
    ax.plot(ends, [exam.both] * 2, "--", color=_ON_ORANGE, linewidth=1.4)
    ax.plot([ends[1], 1.0], [exam.both] * 2, "--", color=INK, linewidth=1.4)
    ax.text(1.02, exam.both, f"together\n{exam.both:.2f}", **beside)
    ax.set_title(exam.title)
    ax.set_xlim(0, 1.24)
    ax.set_ylim(0, 1)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])


_SAMPLES = 7
_SEED = 2021


def samples(workspace: Workspace, *, public: bool) -> PaperFigure:
    """One image a class, with its cuts from the face set and the mouth set.

    Raises MienError where the sets aren't there.
    """
    captions = ["full image", "face set", "mouth set"]
    if public:
        images, names = _drawn_samples()
        title = "Samples of the sets: drawn faces, no photographs"
        text = "Drawn faces, one a class, and cut from each by its 68 points the face and the mouth."
    else:
        images, names, split = _real_samples(workspace)
        title = f"fer2013, {split}: the first row of each class whose points passed the checks"
        text = f"One image of {split} a class, and cut from each by its 68 points the face and the mouth."
    sheet = contact_sheet(images, captions, title, columns=names)
    return photo("samples", "Samples of the face set and the mouth set", text, sheet)


def _drawn_samples() -> tuple[list[list[Pixels]], list[str]]:
    one: dict[int, tuple[Pixels, Any]] = {}
    for image, label, points in faces(10 * _SAMPLES, size=48, seed=_SEED, workers=1):
        one.setdefault(label, (image.reshape(48, 48, 1), points))
    labels = sorted(one)
    whole = [one[label][0] for label in labels]
    points = np.stack([one[label][1] for label in labels]).astype(np.float32)
    rows = [whole]
    for name in ("face", "mouth"):
        region = region_named(name)
        rows.append(cut_images(whole, points, None, region, region.margin, 48).images)
    return rows, [CLASSES[label] for label in labels]


def _real_samples(workspace: Workspace) -> tuple[list[list[Pixels]], list[str], str]:
    sets = {name: dataset_of(workspace, name) for name in ("fer2013", *CUTS)}
    for name, dataset in sets.items():
        if dataset is None:
            raise MienError(f"there is no data set {name} yet")
    whole, *cut = (dataset for dataset in sets.values() if dataset is not None)
    split = "PublicTest"
    whole.rows(split)
    good = set(whole.ids(split))
    for dataset in cut:
        table = dataset.table(split, ["id", "source"]).to_pydict()
        good &= {id_ for id_, source in zip(table["id"], table["source"], strict=True) if source == LANDMARKS}
    first: dict[int, str] = {}
    for id_, label in zip(whole.ids(split), whole.labels(split).tolist(), strict=True):
        if id_ in good:
            first.setdefault(label, id_)
    keys = [(split, first[label]) for label in sorted(first)]
    rows = []
    for dataset in (whole, *cut):
        found = pictures_of(dataset, set(keys))
        rows.append([found[key] for key in keys])
    return rows, [whole.card.classes[label] for label in sorted(first)], split


def points(run: Run, *, public: bool) -> PaperFigure:
    """Faces with the points that a landmark run predicts: measured rows, or drawn faces for a public page.

    Raises MienError where the rows aren't there any more.
    """
    if public:
        galleries = drawn_faces(run)
    else:
        galleries = measured_faces(run, {"role": "report", **read_metrics(run.metrics_file("report"))})
    if not galleries.shown:
        raise MienError(galleries.told)
    gallery = galleries.shown[-1]
    return photo("points", f"68 points by {run.name}", gallery.text, gallery.picture)


def explained(run: Run, name: str, *, public: bool) -> Iterator[PaperFigure]:
    """The figures of one explanation that `mien explain` stored of a run: activations, filters or regions."""
    stored = read(run, name)
    if stored is None:
        raise MienError(f"nobody has looked yet: mien explain {run.name} {name}")
    draw = {**explain_figures.FIGURES, **saliency_figures.FIGURES}[name]
    for stem, made, text in draw(*stored, public):
        yield _drawn(stem, stem, text, made)
