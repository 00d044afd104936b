"""The report's tables, as it claimed them, as it measured, and as honestly measured: one list of rows, three formats."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mien.report.tables import SCORES
from mien.report.wording import duration
from mien.reproduce.paper import REPORT
from mien.statistics import percent


class Score(NamedTuple):
    """A number with its 95 % interval, None where it has none; `sd` over seeds where there are several."""

    value: float
    interval: Sequence[float] | None
    sd: float | None = None
    digits: int = 3

    def __str__(self) -> str:
        text = f"{self.value:.{self.digits}f}"
        if self.sd is not None:
            text += f" ± {self.sd:.{self.digits}f}"
        if self.interval is None or self.interval[0] == self.interval[1]:
            return text
        return f"{text} [{self.interval[0]:.{self.digits}f}, {self.interval[1]:.{self.digits}f}]"


Cell = str | Score


class Table(NamedTuple):
    """A table with the file's name `key`; `notes` say what the columns are of. The first `words` columns hold words."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    notes: tuple[str, ...] = ()
    words: int = 1

    @property
    def where(self) -> str:
        """The notes as one text."""
        return " ".join(self.notes)


NONE = "–"
# What all tables of scores have to say.
_BRACKETS = (
    "Brackets are 95 % intervals over the choice of rows; of several seeds, over rows and seeds. ± is the standard "
    "deviation over seeds."
)


def tables(parts: Sequence[Mapping[str, Any]]) -> list[Table]:
    """All tables of what `numbers.gather` found; one whose runs are missing says so in its rows."""
    by_name = {part["name"]: part for part in parts}
    numbered = [cnn_table(number, by_name[f"cnn{number}"]) for number in range(1, 5)]
    googlenets = [part for part in parts if part["kind"] == "googlenet"]
    by_class = [class_table(part) for part in googlenets if part["runs"]]
    return [
        overview(parts),
        *numbered,
        _rows_of("table-5-googlenet", "Table 5. GoogLeNet on the full image, the face and the mouth", googlenets),
        *by_class,
        _rows_of(
            "pretraining",
            "What ImageNet weights are worth: MobileNetV2 from random and from ImageNet weights (not in the report)",
            [part for part in parts if part["kind"] == "pretraining"],
        ),
        points_table(by_name["xception"]),
        made_table(parts),
    ]


_COLUMNS = ("claimed", "as the report measured", "PrivateTest", "without exact copies", "over seeds")


def overview(parts: Sequence[Mapping[str, Any]]) -> Table:
    """All claims in one table: accuracy claimed, as the report measured, and on rows that weren't trained on."""
    claims = [part for part in parts if part["claimed"] is not None]
    rows = [(part["title"], _start(part), *_accuracies(part)) for part in claims]
    return Table(
        "overview",
        "Accuracy: claimed, and obtained here",
        ("model", "start weights", *_COLUMNS),
        rows,
        (_what(claims), _BRACKETS),
        2,
    )


def _rows_of(key: str, title: str, parts: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for part in parts:
        run = next(iter(part["runs"]), None)
        more: tuple[Cell, ...] = (NONE, NONE)
        if run is not None:
            official = run["official"]
            more = tuple(
                Score(official[key_], official["interval"][key_]) for key_ in ("balanced_accuracy", "macro_f1")
            )
        rows.append((part["title"], _start(part), _epochs(run), *_accuracies(part), *more))
    return Table(
        key,
        title,
        ("model", "start weights", "epochs", *_COLUMNS, "balanced accuracy, PrivateTest", "macro F1, PrivateTest"),
        rows,
        (_what(parts), _BRACKETS),
        2,
    )


def _start(part: Mapping[str, Any]) -> str:
    run = next(iter(part["runs"]), None)
    return run["start"] if run else missing(part)


def _epochs(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return NONE
    return f"{run['epochs']}" + (", best kept" if run["keep"] == "best" else "")


def missing(part: Mapping[str, Any]) -> str:
    """Why a part has no run yet, in a few words."""
    one = next(iter(part["missing"]), None)
    if one is None:
        return NONE
    if one["state"] == "left out":
        return "left out: " + one["why"]
    told = {
        "finished": "not measured yet",
        "running": f"being trained, {one['epochs_done']} epochs done",
        "begun": f"begun, {one['epochs_done']} epochs done",
        "new": "not run yet",
        "waits": one["why"],
    }
    return told[one["state"]]


def _accuracies(part: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The cells of `_COLUMNS`: those of the first seed, and the mean over all."""
    return (_claimed(part), *_cells(part, "accuracy"))


def _claimed(part: Mapping[str, Any]) -> Cell:
    return NONE if part["claimed"] is None else f"{part['claimed']:.2f}"


def _cells(part: Mapping[str, Any], key: str) -> tuple[Cell, ...]:
    run = next(iter(part["runs"]), None)
    if run is None:
        return (NONE,) * 4
    clean = run["official"]["clean"]
    of_all: Cell = NONE
    seeds = part["seeds"]
    if seeds and key in seeds and len(seeds["seeds"]) > 1:
        of_all = Score(seeds[key]["mean"], seeds[key]["interval"], seeds[key]["sd"])
    elif seeds:
        of_all = "1 seed"
    return (
        Score(run["paper"][key], run["paper"]["interval"][key]),
        Score(run["official"][key], run["official"]["interval"][key]),
        Score(clean[key], clean["interval"][key]) if clean else NONE,
        of_all,
    )


def _what(parts: Sequence[Mapping[str, Any]]) -> str:
    """What the columns of scores are measured on."""
    run = next((run for part in parts for run in part["runs"]), None)
    if run is None:
        return "No run of these is finished yet."
    paper, official = run["paper"], run["official"]
    clean = official["clean"]
    copies = f"; without exact copies n = {clean['n']:,}" if clean else ""
    cut = (
        ""
        if run["dataset"] == "fer2013"
        and all(one["dataset"] == run["dataset"] for part in parts for one in part["runs"])
        else " Of the face and mouth sets the copies, and so this n, differ a little."
    )
    return (
        f"As the report measured: {paper['split']}, n = {paper['n']:,}, contaminated: {percent(paper['contaminated'], 1)} "
        f"of these rows were trained on. {official['split']}: n = {official['n']:,}, none was trained on{copies} (rows "
        f"whose pixels stand among those trained or chosen on are left out).{cut} These three are of the first seed, "
        f"{run['seed']}; over seeds: {official['split']}."
    )


def cnn_table(number: int, part: Mapping[str, Any]) -> Table:
    """Table 1 to 4: the scores of a CNN."""
    rows: list[tuple[Cell, ...]] = [
        (SCORES[key][0], _claimed(part) if key == "accuracy" else NONE, *_cells(part, key)) for key in SCORES
    ]
    seeds = ", ".join(str(run["seed"]) for run in part["runs"])
    state = f"Seeds measured: {seeds}; start weights: {_start(part)}." if part["runs"] else f"{missing(part)}."
    return Table(
        f"table-{number}-cnn{number}",
        f"Table {number}. {part['title']}",
        ("score", *_COLUMNS),
        rows,
        (state, _what([part]), _BRACKETS),
    )


def class_table(part: Mapping[str, Any]) -> Table:
    """Table 6: precision, recall and F1 by class of a GoogLeNet, on PrivateTest and as the report measured."""
    run = part["runs"][0]
    rows = []
    for honest, paper in zip(run["classes"]["official"], run["classes"]["paper"], strict=True):
        one: list[Cell] = [honest["name"], honest["support"]]
        for of in (honest, paper):
            one += [f"{value} [{span}]" if span not in ("", NONE) else value for value, span in map(of.get, _BY_CLASS)]
        rows.append(tuple(one))
    split = run["official"]["split"]
    return Table(
        f"table-6-{part['name']}",
        f"Table 6. By class: {part['title']}",
        (
            "class",
            f"n, {split}",
            *(f"{key if key != 'f1' else 'F1'}, {split}" for key in _BY_CLASS),
            *(f"{key if key != 'f1' else 'F1'}, as the report measured" for key in _BY_CLASS),
        ),
        rows,
        (
            f"Start weights: {run['start']}. {_what([part])}",
            "The report's own values by class aren't known to this project; it gives the accuracy alone.",
            _BRACKETS,
        ),
    )


_BY_CLASS = ("precision", "recall", "f1")


def points_table(part: Mapping[str, Any]) -> Table:
    """The 68 points: the errors by the size of the face, beside those of the mean shape."""
    rows: list[tuple[Cell, ...]] = []
    note = missing(part) + "." if not part["runs"] else ""
    for run in part["runs"]:
        of = run["points"]
        sizes = {f"{size} px": one for size, one in of["sizes"].items()}
        for name, one in {**sizes, "mean shape, for comparison": of["mean_shape"]}.items():
            rows.append(
                (
                    name,
                    f"{one['n']:,}",
                    *(
                        Score(100 * one[key], [100 * end for end in one["interval"][key]], digits=2)
                        for key in ("nme_outer_eyes", "nme_inter_pupil", "failure_rate_8")
                    ),
                )
            )
        note = (
            f"Errors in % of the distance of the outer eye corners (or of the pupils) on {of['split']} of "
            f"{of['dataset']}, n = {of['n']:,}, {run['epochs']} epochs, seed {run['seed']}. Brackets are 95 % intervals "
            "over the choice of faces."
        )
        if of["limits"]:
            note += f" These weights: {of['limits']}."
    return Table(
        "points",
        "68 points of a face by the Xception-like net (the report gives no number for it)",
        ("faces of", "n", "NME, %", "NME by pupils, %", "beyond 8 %, %"),
        rows,
        (note,),
    )


def made_table(parts: Sequence[Mapping[str, Any]]) -> Table:
    """How each run was made, and what there is none of yet."""
    rows: list[tuple[Cell, ...]] = []
    for part in parts:
        for run in part["runs"]:
            rows.append(
                (
                    part["name"],
                    str(run["seed"]),
                    "measured",
                    _epochs(run),
                    run["start"],
                    f"{run['precision']} on {run['device']}",
                    duration(60 * run["minutes"]),
                    f"{run['dataset']} {run['fingerprint'][:8]}",
                    run["commit"] or "unknown",
                )
            )
        for one in part["missing"]:
            rows.append((part["name"], str(one["seed"]), missing({"missing": [one]}), *(NONE,) * 6))
    return Table(
        "runs",
        "Every run: how it was made, and what is missing",
        ("experiment", "seed", "state", "epochs", "start weights", "computed", "time", "data set", "commit"),
        rows,
        (f"Each experiment is experiments/{REPORT}/<name>.yaml; the time is that of training.",),
        9,
    )


def as_csv(table: Table) -> str:
    """The table as CSV; a score has four columns, of its value, the ends of its interval, and sd."""
    scores = [any(isinstance(row[place], Score) for row in table.rows) for place in range(len(table.columns))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head: list[str] = []
    for name, score in zip(table.columns, scores, strict=True):
        head += [name, f"{name}, low", f"{name}, high", f"{name}, sd"] if score else [name]
    writer.writerow([*head, "measured on"])
    for row in table.rows:
        line: list[Any] = []
        for cell, score in zip(row, scores, strict=True):
            line += _spread(cell) if score else [cell]
        writer.writerow([*line, table.where])
    return text.getvalue()


def _spread(cell: Cell) -> list[Any]:
    if not isinstance(cell, Score):
        return [cell, "", "", ""]
    low, high = cell.interval or ("", "")
    return [cell.value, low, high, "" if cell.sd is None else cell.sd]


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "±": r"$\pm$",
    "→": r"$\to$",
    "≥": r"$\ge$",
    "−": r"$-$",
    **{mark: f"\\{mark}" for mark in "&%$#_"},
}


def as_latex(table: Table) -> str:
    """The table as LaTeX (booktabs), with what it is of in its caption."""
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escape(table.title)}. {_escape(table.where)}}}",
        rf"  \begin{{tabular}}{{{'l' * table.words}{'r' * (len(table.columns) - table.words)}}}",
        r"    \toprule",
        rf"    {' & '.join(map(_escape, table.columns))} \\",
        r"    \midrule",
        *(rf"    {' & '.join(_escape(str(cell)) for cell in row)} \\" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(mark, mark) for mark in text)


def markdown_lines(table: Table) -> Iterator[str]:
    """The table's rows as Markdown."""
    marks = ["---" if place < table.words else "---:" for place in range(len(table.columns))]
    for row in (table.columns, marks, *table.rows):
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
