"""What a verb prints of a run's metrics: lines of text, and tables."""

from collections.abc import Mapping
from typing import Any

from mien.comparison.tables import Table
from mien.intervals import with_interval
from mien.metrics.classification import SCORES
from mien.report.wording import constant, in_percent, over, scored, seeds, warning, which_rows, wide
from mien.tasks import Score

Lines = list[str | Table]


def values(metrics: Mapping[str, Any]) -> Lines:
    """What each row of a run is measured by, in the mean, and again without exact copies."""
    score = Score(**metrics["score"])
    parts = {"all rows": metrics, "without exact copies": metrics["clean"]}
    names = list(metrics["interval"])
    rows = [
        (what, f"{of['n']:,}", *(score.bracketed(of[name], of["interval"][name]) for name in names))
        for what, of in parts.items()
        if of
    ]
    labels = [score.label if name == score.key else name for name in names]
    return [Table(title(metrics), ("measured on", "n", *labels), rows, 1), *_limits(metrics), *which_rows(metrics)]


def points(metrics: Mapping[str, Any]) -> Lines:
    """The errors of a landmark run by the size of the faces, beside those of the mean shape."""
    parts = {f"{size} px": of for size, of in metrics["sizes"].items()}
    parts["mean shape"] = metrics["mean_shape"]
    rows = []
    for name, of in parts.items():
        twins = {"": of, ", without exact copies": of["clean"] if metrics["role"] == "report" else None}
        rows += [
            (f"{name}{what}", f"{one['n']:,}", *(_error(one, key) for key in _ERRORS.values()))
            for what, one in twins.items()
            if one is not None
        ]
    first, *mark = title(metrics).split("\n")
    how = f"NME in % of the {metrics['normaliser']}, by pupils where said; faces in a detector's squares"
    table = Table("\n".join([first, how, *mark]), ("faces of", "n", *_ERRORS), rows, 1)
    return [table, *_limits(metrics), *which_rows(metrics)]


_ERRORS = {
    "NME": "nme_outer_eyes",
    "median": "median",
    "NME by pupils": "nme_inter_pupil",
    "% beyond 8 %": "failure_rate_8",
    "AUC to 8 %": "auc_8",
}


def _error(of: Mapping[str, Any], key: str) -> str:
    return scored(of, key) if key == "auc_8" else in_percent(of, key)


def _limits(metrics: Mapping[str, Any]) -> list[str]:
    return [f"these weights: {metrics['limits']}"] if metrics["limits"] else []


def classes(metrics: Mapping[str, Any]) -> Lines:
    """The scores of a run on classes, its twins without copies, its calibration, and what was left out."""
    report = metrics["role"] == "report"
    parts = [("all rows", metrics)]
    if report:
        parts += [("without exact copies", metrics["clean"]), ("without near copies", metrics["near_clean"])]
        if tta := metrics["tta"]:
            told = f"{tta['name']}, {tta['views']} views"
            parts += [(told, tta), (f"{told}, without exact copies", tta["clean"])]
            parts.append((f"{told}, without near copies", tta["near_clean"]))
    rows = [
        (what, f"{of['n']:,}", *(scored(of, key, score.form) for key, score in SCORES.items()))
        for what, of in parts
        if of is not None
    ]
    after = metrics["calibration"]["after"]
    nll, ece = (scored(after, key) for key in ("nll", "ece_corrected"))
    lines: Lines = [
        Table(title(metrics), ("measured on", "n", *(score.name for score in SCORES.values())), rows, 1),
        f"all rows, at temperature {after['temperature']:.3f}: NLL {nll}, ECE without what chance adds {ece}",
    ]
    lines += [constant(metrics), *wide(metrics)]
    if metrics["dropped"]["rows"]:
        told = ", ".join(f"{name} {number:,}" for name, number in metrics["dropped"]["classes"].items())
        lines.append(f"left out: {metrics['dropped']['rows']:,} rows that have no class of the model ({told})")
    if report and metrics["overlap"] and metrics["overlap"]["near"] is None:
        lines.append("near copies of what the model has seen weren't looked for")
    return [*lines, *which_rows(metrics)]


def title(metrics: Mapping[str, Any]) -> str:
    """Which run was measured on which rows, and whether it had seen them."""
    told = (
        f"{metrics['run']}, {seeds(metrics)}, protocol {metrics['protocol']}, {metrics['role']} role: "
        f"{metrics['dataset']}, {metrics['split']}, n = {metrics['n']:,}"
    )
    return f"{told}\n{warning(metrics)}" if metrics["contaminated"] else told


def group(scores: Mapping[str, Any]) -> Lines:
    """The scores of several runs of one experiment: the mean of seeds, or all folds together."""
    what = "mean of the seeds" if scores["kind"] == "seeds" else "all folds together"
    parts = {"all rows": scores, "without exact copies": scores["clean"], "without near copies": scores["near_clean"]}
    rows = []
    for measured_on, part in parts.items():
        for key, of in SCORES.items():
            if part and (score := part.get(key)):
                each = "  ".join(f"{value:{of.form}}" for value in score["each"])
                mean = with_interval(score["mean"], score["interval"], of.form)
                sd = "–" if score["sd"] is None else f"{score['sd']:.4f}"
                rows.append((of.name, measured_on, f"{part['n']:,}", mean, sd, each))
    columns = ("measure", "measured on", "n", what, "sd", "each")
    return [Table(title({**scores, "run": scores["name"], "role": "report"}), columns, rows, 2), over(scores)]
