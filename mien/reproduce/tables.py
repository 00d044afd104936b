"""The report's tables: its claims, scores measured as it did, and scores on images that no run was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

from mien.comparison.tables import p_value
from mien.intervals import percent, with_interval
from mien.metrics.classification import SCORES, brief_scores
from mien.report.tables import heading
from mien.report.wording import duration
from mien.reproduce.formats import Cell, PaperTable, ScoreCell
from mien.reproduce.paper import REPORT

NONE = "–"
# What all tables of scores have to say.
_BRACKETS = (
    "Brackets are 95 % intervals over the choice of images; of several seeds, over images and seeds. ± is the standard "
    "deviation over seeds."
)


def tables(parts: Sequence[Mapping[str, Any]], conclusions: Sequence[Mapping[str, Any]]) -> list[PaperTable]:
    """All tables, from what `scores.gather` and `conclusions` give; rows of missing runs say what is missing."""
    by_name = {part["name"]: part for part in parts}
    googlenets = [part for part in parts if part["kind"] == "googlenet"]
    return [
        overview(parts),
        *(cnn_table(number, by_name[f"cnn{number}"]) for number in range(1, 5)),
        _rows_of(
            "table-5-googlenet",
            "Table 5. GoogLeNet on the full image, the face and the mouth",
            googlenets,
            "The report's began from ImageNet's weights; what each of these began from stands in its row. They are "
            "trained for 10 epochs as in the report, “long” ones until accuracy on PublicTest no longer improves.",
        ),
        *(class_table(part) for part in googlenets if part["runs"]),
        _rows_of(
            "pretraining",
            "What ImageNet's weights are worth: MobileNetV2 (not in the report)",
            [part for part in parts if part["kind"] == "pretraining"],
            "48 px is the size of FER2013's images; at 96 px the same images are enlarged.",
        ),
        points_table(by_name["xception"]),
        made_table(parts),
        verdict_table(conclusions),
        *(difference_table(number, one) for number, one in enumerate(conclusions, 1) if one["differences"]),
    ]


_COLUMNS = ("as the report measured (contaminated)", "PrivateTest", "without exact copies", "PrivateTest, over seeds")


def overview(parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """One row for each claim: accuracy claimed, measured as the report did, and on images not trained on."""
    claims = [part for part in parts if part["claimed"] is not None]
    rows = [(part["title"], _start(part), _claimed(part), *_cells(part, "accuracy")) for part in claims]
    note = "The report's GoogLeNet began from ImageNet's weights; what each of these began from stands in its row."
    columns = ("model", "start weights", "claimed", *_COLUMNS)
    return PaperTable("overview", "Accuracy: claimed, and obtained here", columns, rows, (note, *_notes(claims)), 2)


def _rows_of(key: str, title: str, parts: Sequence[Mapping[str, Any]], note: str) -> PaperTable:
    """A row for each part: its accuracies, and its other scores on PrivateTest."""
    claims = any(part["claimed"] is not None for part in parts)
    rows = []
    others = {key: score.name for key, score in brief_scores().items() if key != "accuracy"}
    for part in parts:
        run = next(iter(part["runs"]), None)
        claimed = (_claimed(part),) if claims else ()
        more = tuple(_score(run and run["official"], key) for key in others)
        rows.append((part["title"], _start(part), _epochs(run), *claimed, *_cells(part, "accuracy"), *more))
    columns = ("model", "start weights", "epochs", *(("claimed",) if claims else ()), *_COLUMNS)
    beside = f"{heading(' and '.join(others.values()))} are on PrivateTest, all rows."
    return PaperTable(key, title, (*columns, *others.values()), rows, (note, beside, *_notes(parts)), 2)


def _start(part: Mapping[str, Any]) -> str:
    run = next(iter(part["runs"]), None)
    return str(run["start"]) if run else NONE


def _epochs(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return NONE
    return f"{run['epochs']}" + (", best kept" if run["keep"] == "best" else "")


def missing(part: Mapping[str, Any]) -> str:
    """Why a part has no run yet, in a few words."""
    one = next(iter(part["missing"]), None)
    if one is None:
        return NONE
    begun = f"{one['epochs_done']} epochs done"
    told = {
        "finished": "not measured yet",
        "running": f"being trained, {begun}",
        "begun": f"begun, {begun}",
        "new": "not run yet",
        "waits": one["why"],
        "left out": f"left out: {one['why']}",
    }[one["state"]]
    # What stands in the way of a new run is seen to by the command itself.
    failed = one["failed"] or (one["state"] == "begun" and one["why"])
    return f"{told}; {one['why']}" if failed else str(told)


def _claimed(part: Mapping[str, Any]) -> Cell:
    return NONE if part["claimed"] is None else f"{part['claimed']:.2f}"


def _cells(part: Mapping[str, Any], key: str) -> tuple[Cell, ...]:
    run = next(iter(part["runs"]), None)
    if run is None:
        return (missing(part) if key == "accuracy" else NONE, NONE, NONE, NONE)
    of_all: Cell = NONE
    seeds = part["seeds"]
    if seeds and key in seeds and len(seeds["seeds"]) > 1:
        of_all = ScoreCell(seeds[key]["mean"], seeds[key]["interval"], seeds[key]["sd"])
    elif seeds:
        of_all = "1 seed"
    return (*(_score(of, key) for of in (run["paper"], run["official"], run["official"]["clean"])), of_all)


def _score(of: Mapping[str, Any] | None, key: str) -> Cell:
    return NONE if of is None or of.get(key) is None else ScoreCell(of[key], of["interval"][key])


def _notes(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What the columns of scores are measured on."""
    runs = [run for part in parts for run in part["runs"]]
    if not runs:
        return ("None of these is trained and measured yet.",)
    paper, official = runs[0]["paper"], runs[0]["official"]
    clean = sorted({run["official"]["clean"]["n"] for run in runs if run["official"]["clean"]})
    copies = f"; n = {' to '.join(f'{n:,}' for n in dict.fromkeys((clean[0], clean[-1])))}" if clean else ""
    return (
        f"As the report measured: {paper['split']}, n = {paper['n']:,}, contaminated: "
        f"{percent(paper['contaminated'], 1)} of these images were trained on.",
        f"{official['split']}: n = {official['n']:,}, none was trained on.",
        f"Without exact copies: the same without images whose pixels stand among those trained or chosen on{copies}.",
        f"These three are of the first seed, {runs[0]['seed']}.",
        _BRACKETS,
    )


def cnn_table(number: int, part: Mapping[str, Any]) -> PaperTable:
    """Table 1 to 4: the scores of a CNN."""
    rows: list[tuple[Cell, ...]] = [
        (heading(score.name), _claimed(part) if key == "accuracy" else NONE, *_cells(part, key))
        for key, score in SCORES.items()
    ]
    seeds = ", ".join(str(run["seed"]) for run in part["runs"])
    state = (f"Seeds measured: {seeds}. Start weights: {_start(part)}.",) if part["runs"] else ()
    return PaperTable(
        f"table-{number}-cnn{number}",
        f"Table {number}. {part['title']}",
        ("score", "claimed", *_COLUMNS),
        rows,
        (*state, *_notes([part])),
    )


def class_table(part: Mapping[str, Any]) -> PaperTable:
    """Table 6: precision, recall and F1 by class of a GoogLeNet, on PrivateTest and as the report measured."""
    run = part["runs"][0]
    rows = []
    for honest, paper in zip(run["classes"]["official"], run["classes"]["paper"], strict=True):
        one: list[Cell] = [honest["name"], honest["support"]]
        for of in (honest, paper):
            one += [f"{value} [{span}]" if span not in ("", NONE) else value for value, span in map(of.get, _BY_CLASS)]
        rows.append(tuple(one))
    split = run["official"]["split"]
    return PaperTable(
        f"table-6-{part['name']}",
        f"Table 6. By class: {part['title']}",
        (
            "class",
            f"n, {split}",
            *(f"{name}, {split}" for name in _BY_CLASS.values()),
            *(f"{name}, as the report measured (contaminated)" for name in _BY_CLASS.values()),
        ),
        rows,
        (
            f"Start weights: {run['start']}.",
            *_notes([part]),
            "Of the report's values by class this project knows none.",
        ),
    )


_BY_CLASS = {"precision": "precision", "recall": "recall", "f1": "F1"}


def points_table(part: Mapping[str, Any]) -> PaperTable:
    """The 68 points: the errors by the size of the face, beside those of the mean shape."""
    rows: list[tuple[Cell, ...]] = [] if part["runs"] else [(missing(part), *(NONE,) * 4)]
    note = ""
    for run in part["runs"]:
        of = run["points"]
        sizes = {f"{size} px": one for size, one in of["sizes"].items()}
        for name, one in {**sizes, "mean shape, for comparison": of["mean_shape"]}.items():
            rows.append(
                (
                    name,
                    f"{one['n']:,}",
                    *(
                        ScoreCell(100 * one[key], [100 * end for end in one["interval"][key]], digits=2)
                        for key in ("nme_outer_eyes", "nme_inter_pupil", "failure_rate_8")
                    ),
                )
            )
        note = (
            f"Errors in % of the distance of the outer eye corners (or of the pupils) on {of['split']} of "
            f"{of['dataset']}, n = {of['n']:,}; {run['epochs']} epochs, seed {run['seed']}. “Beyond 8 %” are the faces "
            "with a larger error than that. Brackets are 95 % intervals over the choice of faces."
        )
        if of["limits"]:
            note += f" These weights: {of['limits']}."
    return PaperTable(
        "points",
        "68 points of a face by the Xception-like net (no claim of the report's is known)",
        ("faces of", "n", "NME, %", "NME by pupils, %", "beyond 8 %, %"),
        rows,
        (note,) if note else (),
    )


def made_table(parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """How each run was trained; runs that are missing have a row as well."""
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
    return PaperTable(
        "runs",
        "Every run: how it was made, and what is missing",
        ("experiment", "seed", "state", "epochs", "start weights", "computed", "time", "data set", "commit"),
        rows,
        (
            f"Each experiment is experiments/{REPORT}/NAME.yaml. The time is that of training, beside "
            "whatever else ran on that machine.",
        ),
        9,
    )


def verdict_table(conclusions: Sequence[Mapping[str, Any]]) -> PaperTable:
    """The conclusions with their verdicts."""
    rows: list[tuple[Cell, ...]] = []
    for number, one in enumerate(conclusions, start=1):
        told = "; ".join(f"{of['what']}: {_signed(of)}" for of in one["differences"]) or "nothing to go by yet"
        rows.append((f"{number}. {one['text']}", one["verdict"], told))
    return PaperTable(
        "conclusions",
        "The report's conclusions",
        ("conclusion", "verdict", "differences of accuracy (7: of probability), with 95 % interval"),
        rows,
        ("What was compared, on which images, and p stand with each conclusion.",),
        3,
    )


def difference_table(number: int, one: Mapping[str, Any]) -> PaperTable:
    """The differences that a conclusion rests on."""
    rows: list[tuple[Cell, ...]] = [
        (
            of["what"],
            {"better": "above 0", "same": "none"}[of["way"]],
            of["verdict"],
            _signed(of),
            _p(of["p"]),
            _p(of["p_holm"]),
            f"{of['n']:,}",
            " and ".join(map(str, of["seeds"])) if of["seeds"] else NONE,
        )
        for of in one["differences"]
    ]
    return PaperTable(
        f"conclusion-{number}-{one['key']}",
        f"Conclusion {number}. {one['text']}",
        ("difference", "claimed", "verdict", "found [95 %]", "p", "p by Holm", "n", "seeds of each"),
        rows,
        tuple(dict.fromkeys(f"Measured on {of['on']}." for of in one["differences"])),
        3,
    )


def _signed(of: Mapping[str, Any]) -> str:
    return with_interval(of["difference"], of["interval"], "+.3f")


def _p(value: float | None) -> str:
    return NONE if value is None else p_value(value)
