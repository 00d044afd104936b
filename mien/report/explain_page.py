"""The explanations on a run's page: sentences, pictures and tables, read from the run's folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mien.explanation.storage import folder, read
from mien.files import write_bytes
from mien.intervals import number, percent
from mien.report import explain_figures
from mien.report.explain_pictures import Draw, Result, rows_of
from mien.report.style import png
from mien.report.tables import Cell
from mien.report.wording import seeds, span, warning
from mien.runs.run import Run


class Picture(NamedTuple):
    """A PNG of an explanation: the file's stem, and what it shows in words."""

    name: str
    png: bytes
    text: str


@dataclass(frozen=True)
class CellTable:
    """A table whose cells have a value and small print; the first cell of a row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Section:
    """An explanation on the page: its title, whose rows, a warning ("" for none), sentences, pictures and tables."""

    name: str
    title: str
    rows: str
    warning: str
    words: list[str]
    pictures: list[Picture]
    tables: list[CellTable]


def sections(run: Run, public: bool = False) -> list[Section]:
    """The explanations that a run's folder holds, in their order; public ones show no row of the data set.

    Raises FailedError for a file that is broken.
    """
    found = []
    for name, title in TITLES.items():
        stored = read(run, name)
        if stored is not None:
            result = stored[0]
            pictures = [Picture(stem, png(figure), text) for stem, figure, text in _draw(name)(*stored, public)]
            rows = f"{rows_of(result)}, protocol {result['protocol']}, {seeds(result)}"
            words, tables = _SAID[name](result)
            found.append(Section(name, title, rows, warning(result), words, pictures, tables))
    return found


def sentences(run: Run) -> dict[str, list[str]]:
    """The sentences about each explanation that a run's folder holds, by its name."""
    found = ((name, read(run, name)) for name in TITLES)
    return {name: _SAID[name](stored[0])[0] for name, stored in found if stored is not None}


def _draw(name: str) -> Draw:
    if name in explain_figures.FIGURES:
        return explain_figures.FIGURES[name]
    # It needs torch, which pages of other runs do without.
    from mien.report.saliency_figures import FIGURES

    return FIGURES[name]


def write_pictures(run: Run, found: Sequence[Section]) -> None:
    """Write the pictures of all explanations as `explain/*.png`, in place of older ones."""
    made = {f"{picture.name}.png": picture.png for section in found for picture in section.pictures}
    for old in folder(run).glob("*.png"):
        if old.name not in made:
            old.unlink()
    for name, content in made.items():
        write_bytes(folder(run) / name, content)


TITLES = {
    "filters": "Learned filters",
    "activations": "Activations",
    "gradcam": "Where it looks: Grad-CAM",
    "occlusion": "Where it looks: occlusion",
    "regions": "What it needs: parts of the face",
    "neighbours": "Nearest fit rows",
    "cases": "Errors and doubts",
}

Said = tuple[list[str], list[CellTable]]


def _filters(result: Result) -> Said:
    names = ", ".join(layer["name"] for layer in result["layers"])
    return [f"The weights of {names} as training left them."], []


def _activations(result: Result) -> Said:
    names = ", ".join(layer["name"] for layer in result["layers"])
    return [f"What {names} give for single images, before any activation function."], []


def _saliency(result: Result) -> Said:
    whole = result["classes"][0]
    of = f" of {result['of']:,}, drawn evenly from the classes" if "of" in result else ""
    what = (
        f"Mean maps of {whole['n']:,} rows{of}, each beside the same map of random weights. A map that looks alike for "
        "both shows the image or the architecture, and not what was learned."
    )
    told = f"Alike is the rank correlation (Spearman) of the two mean maps, 1 for the same order: {_alike(whole)}."
    rows: list[list[Cell]] = [
        [(entry["class"],), (f"{entry['n']:,}",), _estimate(entry["alike"], entry["interval"])]
        for entry in result["classes"]
    ]
    return [what, told], [CellTable("How alike the model's mean map and that of random weights are", _ALIKE, rows)]


_ALIKE = ("class", "n", "alike")


def _alike(entry: Result) -> str:
    if entry["alike"] is None:
        return "unknown, since one of them is the same everywhere"
    return f"{entry['alike']:.2f} (95 % interval {span(entry['interval'])}, n = {entry['n']:,})"


def _regions(result: Result) -> Said:
    words = [
        "How much of the true class's probability goes when a part of each face is blurred out, beside random patches "
        f"of the same area inside the face (mean of {result['patches']} for each row). What counts is the difference: "
        "above 0, the model needs that part more than any other skin.",
        f"The blur's standard deviation is {result['sd']:.1f} px. Points by {result['landmarks']['name']}; "
        f"{result['fallback']:,} rows whose points can't be a face's are counted apart, by the mean shape.",
    ]
    if limits := result["landmarks"].get("limits"):
        words.append(f"The landmark model: {limits}.")
    tables = [
        CellTable(
            f"Loss of probability by part, {what}, with 95 % intervals", _PARTS, [_part(entry) for entry in entries]
        )
        for what, entries in (
            ("all classes", [entry for entry in result["parts"] if entry["class"] == "all"]),
            ("by class", [entry for entry in result["parts"] if entry["class"] != "all"]),
            ("rows with the mean shape's points", result.get("fallback_parts", [])),
        )
        if entries
    ]
    layers = result.get("layers", [])  # A run of an older mien has none.
    if any(layer["parts"] for layer in layers):
        words.append(
            "What the first convolutions answer to is told by how far their maps change with the same blurs, as a "
            "share of their length. Any filter answers to edges, and eyes and mouth have many: beside them stands the "
            "same model with the random weights of its seed. The last column is what training added to these."
        )
    tables += [
        CellTable(
            f"Change of what {layer['name']} gives by part, all classes, with 95 % intervals",
            _CHANGES,
            [_changed(entry) for entry in layer["parts"]],
        )
        for layer in layers
        if layer["parts"]
    ]
    return words, tables


_CHANGES = (
    "part",
    "n",
    "changed",
    "by random patches",
    "difference",
    "difference with random weights",
    "more than with these",
)


def _changed(entry: Result) -> list[Cell]:
    columns = ("change", "random", "difference", "untrained", "beyond")
    return [
        (entry["part"],),
        (f"{entry['n']:,}",),
        *(_estimate(entry[name], entry[f"{name}_interval"]) for name in columns),
    ]


_PARTS = ("part", "n", "area", "lost", "lost by random patches", "difference")


def _part(entry: Result) -> list[Cell]:
    name = entry["part"] if entry["class"] == "all" else f"{entry['part']}, {entry['class']}"
    random = entry["random"]
    return [
        (name,),
        (f"{entry['n']:,}",),
        (percent(entry["area"]),),
        _estimate(entry["drop"], entry["interval"]),
        _estimate(random["drop"], random["interval"]),
        _estimate(entry["difference"], entry["difference_interval"]),
    ]


def _neighbours(result: Result) -> Said:
    fit, n = result["fit"], result["n"]
    found = f"; for {result['found']:,} of them it is the nearest fit row." if result["copies"] else "."
    words = [
        f"Of {n:,} rows {result['copies']:,} have an exact copy in the {fit['n']:,} fit rows ({fit['split']}){found}",
        f"The nearest fit row has the row's label for {_share(result['same_label'])} of the rows, and the label that "
        f"the model answers for {_share(result['as_predicted'])}.",
        f"Near is by the cosine of features, which are what {result['features']} takes. A row that was itself fit on "
        "isn't its own neighbour.",
    ]
    rows: list[list[Cell]] = [
        [
            (f"{row['split']} {row['id']}", row["why"]),
            _answer(row),
            *(
                (
                    f"{other['split']} {other['id']}",
                    f"{other['label']}, {other['similarity']:.3f}",
                    other["copy"] or "",
                )
                for other in row["nearest"]
            ),
        ]
        for row in result["rows"]
    ]
    most = max((len(row["nearest"]) for row in result["rows"]), default=0)
    columns = ("row", "label → answer", *(f"nearest {place}" for place in range(1, 1 + most)))
    return words, [CellTable("Rows and their nearest fit rows: id, label, cosine", columns, rows)]


def _cases(result: Result) -> Said:
    low, high = result["interval"]
    share = result["wrong"] / result["n"]
    words = [
        f"{result['wrong']:,} of {result['n']:,} rows are wrong ({percent(share, 1)}, 95 % interval "
        f"{percent(low, 1)} to {percent(high, 1)})"
        + ("; probabilities are by the fitted temperature." if result["temperature"] else ".")
    ]
    tables = []
    for name, what in (("errors", "The most confident errors"), ("uncertain", "The rows it is least sure of")):
        rows: list[list[Cell]] = [
            [
                (f"{row['split']} {row['id']}",),
                (row["label"], f"{row['p_label']:.3f}"),
                (row["predicted"], f"{row['p_predicted']:.3f}"),
                (row["raters"] or "–",),
            ]
            for row in result[name]
        ]
        if rows:
            tables.append(CellTable(what, ("row", "label, probability", "answer, probability", "most raters"), rows))
    return words, tables


def _answer(row: Result) -> Cell:
    return f"{row['label']} → {row['predicted']}", f"{row['p_predicted']:.3f}"


def _share(of: Result) -> str:
    low, high = of["interval"]
    return f"{percent(of['value'], 1)} (95 % interval {percent(low, 1)} to {percent(high, 1)}, n = {of['n']:,})"


def _estimate(value: float | None, ends: Any) -> Cell:
    if value is None:
        return ("–",)
    told = [number(one, "+.3f") for one in (value, *(ends or ()))]
    return told[0], " to ".join(told[1:])


_SAID: dict[str, Callable[[Result], Said]] = {
    "filters": _filters,
    "activations": _activations,
    "gradcam": _saliency,
    "occlusion": _saliency,
    "regions": _regions,
    "neighbours": _neighbours,
    "cases": _cases,
}
