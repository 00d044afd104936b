"""The page of a sweep: `report.html`, and the same as `report.json`."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from mien.files import write_json, write_text
from mien.report.rendering import render
from mien.report.style import svg
from mien.sweep.figures import history, parallel
from mien.sweep.study import Study
from mien.sweep.summary import honest_line, score_of, summary, told_value
from mien.tasks import Score


def write_page(study: Study) -> tuple[Path, dict[str, Any]]:
    """Write `report.html` and `report.json` into the sweep's folder; the page's path, and what the JSON holds."""
    told = summary(study)
    score = score_of(study)
    told["said"] = honest_line(told, score)
    drawn = {}
    if told["best"] is not None:
        drawn = {
            "history": Markup(svg(history(told["trials"], score))),
            "parallel": Markup(svg(parallel(told["plan"]["space"], told["trials"], score))),
        }
    content = {
        "told": told,
        "score": score,
        "keys": [axis["key"] for axis in told["plan"]["space"]],
        "best": told["best"] and score.bracketed(told["best"]["score"], told["best"]["interval"]),
        "drawn": drawn,
        "rows": [_row(trial, score) for trial in told["trials"] if trial["state"] != "waiting"],
        "space": [_axis(axis) for axis in told["plan"]["space"]],
        "importance": [(key, "–" if share is None else f"{share:.2f}") for key, share in told["importance"].items()],
        "pruner": _words(told["plan"]["pruner"]),
    }
    page = study.folder / "report.html"
    write_text(page, render("sweep.html.j2", content, Path(__file__).parent))
    write_json(study.folder / "report.json", told)
    return page, told


def _row(trial: dict[str, Any], score: Score) -> dict[str, Any]:
    came = trial["error"] or ""
    if trial["score"] is not None:
        came = score.bracketed(trial["score"], trial["interval"])
    return {**trial, "came": came, "values": {key: told_value(value) for key, value in trial["values"].items()}}


def _axis(axis: dict[str, Any]) -> tuple[str, str, str]:
    kind = next(kind for kind in ("log", "range", "int", "choices") if kind in axis)
    ends = [told_value(value) for value in axis[kind]]
    where = {
        "log": f"{ends[0]} to {ends[-1]}, logarithmic",
        "range": f"{ends[0]} to {ends[-1]}",
        "int": f"{ends[0]} to {ends[-1]}, whole numbers",
        "choices": "one of " + ", ".join(ends),
    }[kind]
    return axis["key"], where, ", ".join(f"{key} is {told_value(value)}" for key, value in axis.get("when", {}).items())


def _words(pruner: dict[str, Any]) -> str:
    numbers = ", ".join(f"{key} {value}" for key, value in pruner.items() if key != "name")
    return f"{pruner['name']}, {numbers}" if numbers else str(pruner["name"])
