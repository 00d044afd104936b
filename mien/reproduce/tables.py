"""The report's tables: its claims, scores measured as it did, and scores on images that no run was trained on."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mien.comparison.tables import p_value
from mien.intervals import percent
from mien.metrics.classification import SCORES, brief_scores
from mien.report.tables import heading
from mien.report.wording import duration
from mien.reproduce.conclusions import ended_early
from mien.reproduce.formats import Cell, PaperTable, ScoreCell
from mien.reproduce.paper import BY_CLASS, CLAIMED, CLAIMED_BY_CLASS, PRINTED_INPUT, PRINTED_LAYERS, REPORT

NONE = "–"
# What all tables of scores have to say.
_BRACKETS = "Brackets, or the numbers below a number, are 95 % intervals over the choice of images."
_OVER_SEEDS = "Those over seeds hold the chance of images and of seeds; ± is the standard deviation over seeds."


def tables(
    parts: Sequence[Mapping[str, Any]],
    conclusions: Sequence[Mapping[str, Any]],
    architectures: Sequence[Mapping[str, Any]],
) -> list[PaperTable]:
    """All tables, from what `scores.gather`, `conclusions` and `scores.architectures` give.

    Rows of missing runs say what is missing.
    """
    by_name = {part["name"]: part for part in parts}
    return [
        overview(parts),
        score_table("table-1", "Table 1. Scores of CNN 1, 2 and 3", [by_name[f"cnn{number}"] for number in (1, 2, 3)]),
        layer_table(architectures),
        score_table("table-3", "Table 3. Scores of CNN 1 and 4", [by_name[f"cnn{number}"] for number in (1, 4)]),
        *(
            class_table(number, images, claim, [part for part in parts if part["claim"] == claim])
            for number, images, claim in CLASS_TABLES
        ),
        pretraining_table([part for part in parts if part["kind"] == "pretraining"]),
        points_table([part for part in parts if part["kind"] == "points"]),
        made_table(parts),
        verdict_table(conclusions),
        *(difference_table(number, one) for number, one in enumerate(conclusions, 1) if one["differences"]),
    ]


# The report's tables by class: their number, on which images, and the claim.
CLASS_TABLES = (
    (4, "full images", "googlenet"),
    (5, "the face set", "googlenet-face"),
    (6, "the mouth set", "googlenet-mouth"),
)
_CONTAMINATED = "as the report measured (contaminated)"
_COLUMNS = (_CONTAMINATED, "PrivateTest", "PrivateTest without exact copies", "PrivateTest, over seeds")


def overview(parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """One row for each claim: accuracy claimed, measured as the report did, and on images not trained on."""
    claims = [part for part in parts if part["claimed"] is not None]
    rows = [(part["title"], _start(part), _claimed(part, "accuracy"), *_cells(part, "accuracy")) for part in claims]
    note = "The report's GoogLeNet began from ImageNet's weights; what each of these began from stands in its row."
    columns = ("model", "start weights", "claimed", *_COLUMNS)
    notes = (note, _long(claims), *_absent(claims), *_notes(claims))
    return PaperTable("overview", "Accuracy: claimed, and obtained here", columns, rows, notes, 2)


def _long(parts: Sequence[Mapping[str, Any]]) -> str:
    """What “long” means, and which of these ended early."""
    text = (
        "“Long” GoogLeNets are trained until accuracy on PublicTest no longer improves, the others for the report's 10 "
        "epochs."
    )
    by_name = {part["name"]: part for part in parts}
    early = [f"{part['title']}, {ended}" for part in parts if (ended := ended_early(part["name"], by_name))]
    return f"{text} {'; '.join(early)}." if early else text


def score_table(key: str, title: str, parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """All scores of some CNNs, claimed and obtained."""
    rows = [
        (part["title"], score.name, _claimed(part, score_key), *_cells(part, score_key))
        for part in parts
        for score_key, score in SCORES.items()
    ]
    notes = (
        "The report prints one F1 and doesn't say how it averages over classes; it stands with the weighted one, which "
        "is as near to the accuracy as the report's is.",
        *([] if all("balanced_accuracy" in part["claimed"] for part in parts) else [_UNPRINTED]),
        *_seeds(parts),
        *_notes(parts),
    )
    return PaperTable(key, title, ("model", "score", "claimed", *_COLUMNS), rows, notes, 2)


_UNPRINTED = "“–” as a claim: the report's tables don't print this score of this model."


def _seeds(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    told = [f"{part['title']}: {', '.join(str(run['seed']) for run in part['runs'])}" for part in parts if part["runs"]]
    return (f"Seeds measured: {'; '.join(told)}.",) if told else ()


def layer_table(architectures: Sequence[Mapping[str, Any]]) -> PaperTable:
    """Table 2: what the CNNs are built of, printed and as it follows from the sizes."""
    side, channels = PRINTED_INPUT
    rows: list[tuple[Cell, ...]] = []
    for of in architectures:
        printed = PRINTED_LAYERS.get(of["name"])
        rows.append(
            (
                of["title"],
                f"{of['kernel_size']}×{of['kernel_size']}",
                f"{side}² × {channels}" if printed else NONE,
                f"{of['map']}² × {of['channels']} = {of['map'] ** 2 * of['channels']:,}",
                ", ".join(map(str, printed)) if printed else NONE,
                ", ".join(map(str, of["layers"])),
                f"{of['parameters']:,}",
            )
        )
    size = architectures[0]["size"] if architectures else 48
    return PaperTable(
        "table-2",
        "Table 2. What CNN 1 to 4 are built of",
        (
            "model",
            "kernels",
            "into the first fully connected layer, printed",
            "into it, built here",
            "outputs of the fully connected layers, printed",
            "outputs, built here",
            "parameters",
        ),
        rows,
        (
            f"Side² × channels of the maps. Both convolutions, of 10 and 20 channels, have no padding, and each is "
            f"followed by a max-pool of 4×4 with stride 1: {size} px become "
            + "; ".join(
                dict.fromkeys(
                    f"{of['map']} with kernels of {of['kernel_size']}×{of['kernel_size']}" for of in architectures
                )
            )
            + f". So the {side}² × {channels} that the report prints is what CNN 1, 2 and 3 have. Of CNN 4 it prints "
            "none. The last output is that of the seven classes.",
        ),
        6,
    )


def pretraining_table(parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """What start weights are worth: accuracies, and the other scores on PrivateTest."""
    rows = []
    others = {key: score.name for key, score in brief_scores().items() if key != "accuracy"}
    for part in parts:
        run = next(iter(part["runs"]), None)
        more = tuple(_score(run and run["official"], key) for key in others)
        start = _short(run["start"]) if run else NONE
        rows.append((part["title"], start, _epochs(run), *_cells(part, "accuracy"), *more))
    columns = ("model", "start weights", "epochs", *_COLUMNS, *others.values())
    notes = (
        "48 px is the size of FER2013's images; at 96 px the same images are enlarged.",
        f"{heading(' and '.join(others.values()))} are on PrivateTest, all rows.",
        *_absent(parts),
        *_notes(parts),
    )
    title = "What ImageNet's weights are worth: MobileNetV2 (not in the report)"
    return PaperTable("pretraining", title, columns, rows, notes, 2)


def _start(part: Mapping[str, Any]) -> str:
    run = next(iter(part["runs"]), None)
    return str(run["start"]) if run else NONE


def _epochs(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return NONE
    return f"{run['epochs']}" + (", best kept" if run["keep"] == "best" else "")


def state(part: Mapping[str, Any]) -> str:
    """How far the first missing run of a part is, in two or three words; `missing` says why."""
    one = next(iter(part["missing"]), None)
    if one is None:
        return NONE
    return {
        "finished": "not measured yet",
        "running": "being trained",
        "begun": "begun",
        "new": "not run yet",
        "waits": "waits",
        "left out": "left out",
    }[one["state"]]


def missing(part: Mapping[str, Any]) -> str:
    """How far the first missing run of a part is, and what stands in its way."""
    one = next(iter(part["missing"]), None)
    if one is None:
        return NONE
    told = state(part)
    if one["state"] in ("running", "begun"):
        told = f"{told}, {one['epochs_done']} epochs done"
    if one["state"] in ("waits", "left out"):
        return f"{told}: {_plainly(one['why'])}"
    # What stands in the way of a new run is seen to by the command itself.
    failed = one["failed"] or (one["state"] == "begun" and one["why"])
    return f"{told}; {_plainly(one['why'])}" if failed else str(told)


def _plainly(why: str) -> str:
    """A reason without what a system said of it, which helps no reader of a page; reproduction.json keeps it.

    >>> _plainly("start weights can't be downloaded (HTTP Error 404: Not Found)")
    "start weights can't be downloaded"
    >>> _plainly("it failed: OutOfMemoryError: CUDA out of memory")
    'it failed'
    """
    return re.sub(r": \w*(Error|Exception|Interrupt)\b.*| \(.*\)$", "", why)


# Under which name the report claims a score.
_CLAIMED_AS = {"weighted_f1": "f1"}


def _claimed(part: Mapping[str, Any], key: str) -> Cell:
    value = part["claimed"].get(_CLAIMED_AS.get(key, key))
    return NONE if value is None else f"{value:.2f}"


def _absent(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What is missing of the parts without any run, and why."""
    return tuple(f"{part['title']}: {missing(part)}." for part in parts if not part["runs"])


def _cells(part: Mapping[str, Any], key: str) -> tuple[Cell, ...]:
    run = next(iter(part["runs"]), None)
    if run is None:
        return (state(part), NONE, NONE, NONE)
    of_all: Cell = NONE
    seeds = part["seeds"]
    if seeds and key in seeds and len(seeds["seeds"]) > 1:
        of_all = ScoreCell(seeds[key]["mean"], seeds[key]["interval"], seeds[key]["sd"])
    elif seeds:
        of_all = "1 seed"
    return (*(_score(of, key) for of in (run["paper"], run["official"], run["official"]["clean"])), of_all)


def _score(of: Mapping[str, Any] | None, key: str) -> Cell:
    return NONE if of is None or of.get(key) is None else ScoreCell(of[key], of["interval"][key])


def _notes(parts: Sequence[Mapping[str, Any]], *, seeds: bool = True, copies: bool = True) -> tuple[str, ...]:
    """What the columns of scores are measured on; of columns over `seeds` and without `copies` where there are some."""
    runs = [run for part in parts for run in part["runs"]]
    if not runs:
        return ("None of these is trained and measured yet.",)
    paper, official = runs[0]["paper"], runs[0]["official"]
    clean = sorted({run["official"]["clean"]["n"] for run in runs if run["official"]["clean"]})
    n = f"; n = {' to '.join(f'{n:,}' for n in dict.fromkeys((clean[0], clean[-1])))}" if clean else ""
    left = f"Without exact copies: the same without images whose pixels stand among those trained or chosen on{n}."
    return (
        f"As the report measured: {paper['split']}, n = {paper['n']:,}, contaminated: "
        f"{percent(paper['contaminated'], 1)} of these images were trained on.",
        f"{official['split']}: n = {official['n']:,}, none was trained on.",
        *((left,) if copies else ()),
        f"These are of the first seed, {runs[0]['seed']}.",
        f"{_BRACKETS} {_OVER_SEEDS}" if seeds else f"{_BRACKETS}",
    )


def class_table(number: int, images: str, claim: str, parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """Table 4, 5 or 6: precision, recall and F1 by class of the GoogLeNets on the same images, claimed and obtained."""
    claimed = CLAIMED_BY_CLASS[claim]
    runs = [(part, part["runs"][0]) for part in parts if part["runs"]]
    rows: list[tuple[Cell, ...]] = []
    first = runs[0][1]["classes"] if runs else None
    for place, name in enumerate(claimed):
        n = f"{first['official'][place]['n']:,}" if first else NONE
        for score, value in zip(BY_CLASS, claimed[name], strict=True):
            cells = [_found(run["classes"][of][place][score]) for _, run in runs for of in ("paper", "official")]
            rows.append((name, "F1" if score == "f1" else score, n, _printed(value), *cells))
    accuracy = [_score(run[of], "accuracy") for _, run in runs for of in ("paper", "official")]
    n = f"{runs[0][1]['official']['n']:,}" if runs else NONE
    rows.append(("all classes", "accuracy", n, f"{CLAIMED[claim]['accuracy']:.2f}", *accuracy))
    columns = tuple(
        f"{run['epochs']} epochs{' (long)' if run['keep'] == 'best' else ''}, {_short(run['start'])} weights: {where}"
        for _, run in runs
        for where in (_CONTAMINATED, "PrivateTest")
    )
    bare = any(isinstance(cell, ScoreCell) and cell.interval is None for row in rows for cell in row)
    return PaperTable(
        f"table-{number}-{claim}",
        f"Table {number}. By class: GoogLeNet on {images}",
        ("class", "score", "n, PrivateTest", "claimed", *columns),
        rows,
        (
            "The report's GoogLeNet began from ImageNet's weights and was trained for 10 epochs. “macro” is the mean "
            "of the classes, “weighted” their mean by rows; the weighted recall is the accuracy, the macro recall the "
            "balanced accuracy.",
            *_absent(parts),
            *_notes([part for part, _ in runs], seeds=False, copies=False),
            *([_BARE] if bare else []),
            *(
                [_NEVER]
                if any(row["precision"] is None for _, run in runs for of in run["classes"].values() for row in of)
                else []
            ),
        ),
        2,
    )


_BARE = (
    "A number without brackets is the mean of the classes' numbers above; its interval would need the answers to "
    "single images, which aren't published."
)


_NEVER = "“–” as a precision: no image was taken for this class; it counts as 0 in the means."


def _found(of: Sequence[float | None] | None) -> Cell:
    """A cell of a value and the ends of its interval, which may be None."""
    if of is None:
        return NONE
    value, low, high = of
    assert value is not None
    return ScoreCell(value, None if low is None or high is None else (low, high))


def _printed(value: float) -> str:
    """A claim with the digits that the report prints: two, or three."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:.3f}"


def _short(start: str) -> str:
    return "random" if start == "random" else "ImageNet's"


def points_table(parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """The 68 points: each net's errors by the size of the face, beside those of the mean shape."""
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    compared: Mapping[str, Any] | None = None
    for part in parts:
        if not part["runs"]:
            rows.append((part["name"], state(part), *(NONE,) * 4))
            notes.append(f"{part['title']}: {missing(part)}.")
        for run in part["runs"]:
            compared = run["points"]
            rows += [_points_row(part["name"], f"{size} px", one) for size, one in compared["sizes"].items()]
            note = f"{part['name']}: {run['epochs']} epochs, seed {run['seed']}, start weights: {run['start']}."
            note += _against_mean_shape(compared)
            notes.append(note + (f" These weights: {compared['limits']}." if compared["limits"] else ""))
    if compared is not None:
        rows.append(_points_row("mean shape, for comparison", NONE, compared["mean_shape"]))
        notes.insert(
            0,
            f"Errors in % of the distance of the outer eye corners (or of the pupils) on {compared['split']} of "
            f"{compared['dataset']}, n = {compared['n']:,}. “Beyond 8 %” are the faces with a larger error than that. "
            "Brackets are 95 % intervals over the choice of faces.",
        )
    return PaperTable(
        "points",
        "68 points of a face by the Xception-like net (no claim of the report's is known)",
        ("net", "faces of", "n", "NME, %", "NME by pupils, %", "beyond 8 %, %"),
        rows,
        tuple(notes),
        2,
    )


def _points_row(name: str, size: str, of: Mapping[str, Any]) -> tuple[Cell, ...]:
    scores = (
        ScoreCell(100 * of[key], [100 * end for end in of["interval"][key]], digits=2)
        for key in ("nme_outer_eyes", "nme_inter_pupil", "failure_rate_8")
    )
    return (name, size, f"{of['n']:,}", *scores)


def _against_mean_shape(of: Mapping[str, Any]) -> str:
    """Whether the points are any good: at which sizes they are nearer than the mean shape, which sees no image."""
    low, high = of["mean_shape"]["interval"]["nme_outer_eyes"]
    found: dict[str, list[str]] = {}
    for size, one in of["sizes"].items():
        nearest, farthest = one["interval"]["nme_outer_eyes"]
        word = "nearer" if farthest < low else "farther off" if nearest > high else "not told apart from it"
        found.setdefault(word, []).append(f"{size} px")
    told = ", and ".join(f"{word} at {' and '.join(sizes)}" for word, sizes in found.items())
    return f" Beside the mean shape, which is the same for every face and sees no image, this net is {told}."


def made_table(parts: Sequence[Mapping[str, Any]]) -> PaperTable:
    """How each run was trained; runs that are missing have a row as well, and the notes say why."""
    rows: list[tuple[Cell, ...]] = []
    why: list[str] = []
    for part in parts:
        for run in part["runs"]:
            rows.append(
                (
                    part["name"],
                    str(run["seed"]),
                    _epochs(run),
                    run["start"],
                    f"{run['precision']} on {run['device']}",
                    duration(60 * run["minutes"]),
                    f"{run['dataset']} {run['fingerprint'][:8]}",
                    run["commit"] or "unknown",
                )
            )
        for one in part["missing"]:
            rows.append((part["name"], str(one["seed"]), state({"missing": [one]}), *(NONE,) * 5))
            why.append(f"{part['name']}, seed {one['seed']}: {missing({'missing': [one]})}.")
    return PaperTable(
        "runs",
        "Every run: how it was made, and what is missing",
        ("experiment", "seed", "epochs", "start weights", "computed", "time", "data set", "commit"),
        rows,
        (
            f"Each experiment is experiments/{REPORT}/NAME.yaml. “Best kept”: of all epochs the weights that were best "
            "on PublicTest are measured, else the last. The time is that of training, beside whatever else ran on that "
            "machine.",
            *why,
        ),
        8,
    )


def verdict_table(conclusions: Sequence[Mapping[str, Any]]) -> PaperTable:
    """The conclusions with their verdicts."""
    rows: list[tuple[Cell, ...]] = [
        (f"{number}. {one['text']}", one["verdict"], one["because"]) for number, one in enumerate(conclusions, start=1)
    ]
    return PaperTable(
        "conclusions",
        "The report's conclusions",
        ("conclusion", "verdict", "because"),
        rows,
        (
            "Differences of accuracy (in 7: of the true class's probability, or of what a layer gives), with 95 % "
            "intervals; what was compared, on which images, and p stand with each conclusion.",
        ),
        3,
    )


def difference_table(number: int, one: Mapping[str, Any]) -> PaperTable:
    """The differences that a conclusion rests on."""
    rows: list[tuple[Cell, ...]] = [
        (
            of["what"],
            {"better": "above 0", "same": "no difference"}[of["way"]],
            of["verdict"],
            ScoreCell(of["difference"], of["interval"], signed=True),
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
        ("difference", "claimed", "verdict", "found", "p", "p by Holm", "n", "seeds of each"),
        rows,
        tuple(dict.fromkeys(f"Measured on {of['on']}." for of in one["differences"])),
        3,
    )


def _p(value: float | None) -> str:
    return NONE if value is None else p_value(value)
