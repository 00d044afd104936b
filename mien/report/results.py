"""Writes the pages of published runs: results/README.md, the README's tables, the experiments' first lines.

    mien report cnn1 --to results/cnn1      publishes a run; small/1-5 --to results/small, a group of seeds
    mien reproduce paper-2021 --to results/paper-2021     publishes a reproduction
    make results                            runs `write_results`, and writes the page of each reproduction anew

Every number comes from the published `metrics.json`, `group.json`, `history.csv`, `environment.json` and
`reproduction.json`; none is typed by hand but what the 2021 report claims.
"""

import re
from pathlib import Path
from typing import Any

from mien.comparison.tables import markdown_lines
from mien.files import write_text
from mien.intervals import percent, with_interval
from mien.metrics.classification import SCORES, MatrixScore, brief_scores
from mien.reading import read_json
from mien.report.best_models import best_caption, best_table
from mien.report.landmark_tables import NME
from mien.report.wording import OLDER, in_percent, left_out, processor, scored, start_weights, view, warning, why_high
from mien.tasks import EXPRESSION, LANDMARKS, task_name

START, END = "<!-- results: written by `make results` -->", "<!-- /results -->"


def write_results(root: Path) -> None:
    """Write all three into a checkout, from what its folder `results` holds."""
    results, readme = root / "results", root / "README.md"
    write_text(results / "README.md", page(results))
    write_text(readme, with_table(readme.read_text(encoding="utf-8"), "results/", results))
    for file in sorted((root / "experiments").rglob("*.yaml")):
        before = file.read_text(encoding="utf-8")
        name = re.search(r"^name: (\S+)", before, flags=re.M)
        after = with_header(before, name[1] if name else file.stem, results)
        if after != before:
            write_text(file, after)


def _published(results: Path, task: str) -> list[Path]:
    """The folders of a task's published runs, by name."""
    folders = sorted(path.parent for path in results.glob("*/metrics.json"))
    return [folder for folder in folders if task_name(read_json(folder / "metrics.json")) == task]


def _groups(results: Path) -> list[Path]:
    """The folders of published groups of seeds or folds, by name."""
    return sorted(path.parent for path in results.glob("*/group.json"))


def table(prefix: str, results: Path) -> str:
    """One line a run or group: scores with their 95 % intervals, split and n; links begin with `prefix`."""
    lines = [_run_line(folder, prefix) for folder in _published(results, EXPRESSION)]
    lines += [_group_line(folder, prefix) for folder in _groups(results)]
    names = [score.name for score in _beside_accuracy().values()]
    columns = ("run", "protocol", "measured on", "accuracy", "without exact copies", *names, "seeds", "trained")
    return _table(columns, lines)


def _beside_accuracy() -> dict[str, MatrixScore]:
    return {key: score for key, score in brief_scores().items() if key != "accuracy"}


POINT_COLUMNS = ("run", "measured on", "NME at 128 px", "NME at 48 px", "beyond 8 % at 48 px", "mean shape", "seeds")


def point_table(prefix: str, results: Path) -> str:
    """One line a landmark run: errors with their 95 % intervals, split and n, and what they are shares of; else ""."""
    lines = []
    limits = set()
    for folder in _published(results, LANDMARKS):
        metrics, environment = read_json(folder / "metrics.json"), read_json(folder / "environment.json")
        sizes = metrics["sizes"]
        limits.add(metrics["limits"])
        lines.append(
            [
                f"[{folder.name}]({prefix}{folder.name}/report.html)",
                _where(metrics)[1],
                in_percent(sizes["128"], NME),
                in_percent(sizes["48"], NME),
                in_percent(sizes["48"], "failure_rate_8"),
                in_percent(metrics["mean_shape"], NME),
                ", ".join(map(str, metrics["seeds"])),
                _trained(folder, environment),
            ]
        )
    if not lines:
        return ""
    return (
        "68 points, errors in % of the distance of the outer eye corners, faces in a detector's squares"
        + "".join(f"; weights {limit}" for limit in sorted(limits - {""}))
        + ":\n\n"
        + _table((*POINT_COLUMNS, "trained"), lines)
    )


def report_table(prefix: str, results: Path) -> str:
    """Published reproductions: accuracies as claimed, measured as the report did, and honest; verdicts. "" for none."""
    text = ""
    for folder in _reproductions(results):
        found = read_json(folder / "reproduction.json")
        parts = [part for part in found["parts"] if part["claimed"] is not None and part["runs"]]
        claimed = [_part_line(part) for part in parts]
        verdicts = [f"- {one['text']}: **{one['verdict']}**; {one['because']}.\n" for one in found["conclusions"]]
        of = parts[0]["runs"][0]
        text += (
            f"The 2021 report's accuracies, claimed and obtained ([{folder.name}]({prefix}{folder.name}/README.md)). "
            f"As it measured: {of['paper']['split']}, n = {of['paper']['n']:,}, "
            f"{percent(of['paper']['contaminated'], 1)} of them trained on; {of['official']['split']}: "
            f"n = {of['official']['n']:,}:\n\n"
            + _table(("model", "claimed", "as it measured, **contaminated**", *_HONEST), claimed)
            + "\nIts conclusions, each tested on images that no run was trained on; differences are of accuracy (in "
            "the last of the true class's probability, or of what a layer gives), with 95 % intervals:\n\n"
            + "".join(verdicts)
        )
    return text


_HONEST = ("PrivateTest", "PrivateTest without exact copies", "seeds", "start weights", "trained")


def _reproductions(results: Path) -> list[Path]:
    return sorted(path.parent for path in results.glob("*/reproduction.json"))


def _part_line(part: dict[str, Any]) -> list[str]:
    """A part of a reproduction: its first seed as the report measured; honest, the mean of all seeds."""
    first, seeds = part["runs"][0], part["seeds"]
    clean = seeds["clean"]
    return [
        part["title"],
        f"{part['claimed']['accuracy']:.2f}",
        scored(first["paper"]),
        _mean(seeds["accuracy"]),
        f"{_mean(clean['accuracy'])}, n = {clean['n']:,}" if clean else "–",
        ", ".join(map(str, seeds["seeds"])),
        first["start"],
        f"{first['epochs']} epochs, {first['precision']} on {first['device']}",
    ]


def _trained(folder: Path, environment: dict[str, Any]) -> str:
    epochs = (folder / "history.csv").read_text(encoding="utf-8").count("\n") - 1
    minutes, precision = environment["duration_s"] / 60, environment["precision"]
    return f"{epochs} epochs, {minutes:.0f} min, {precision} on {processor(environment)}{_begun(environment)}"


def _begun(environment: dict[str, Any]) -> str:
    """Which weights a training began with, where its environment says so."""
    begun = environment.get("start_weights")
    return f", start weights: {start_weights(begun)}" if begun else ""


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    return "".join(f"{line}\n" for line in markdown_lines(columns, rows))


def _run_line(folder: Path, prefix: str) -> list[str]:
    metrics, environment = read_json(folder / "metrics.json"), read_json(folder / "environment.json")
    return [
        f"[{folder.name}]({prefix}{folder.name}/report.html)",
        *_where(metrics),
        _views(metrics, "accuracy"),
        _clean(metrics),
        *(_views(metrics, key, score.form) for key, score in _beside_accuracy().items()),
        ", ".join(map(str, metrics["seeds"])),
        _trained(folder, environment),
    ]


def _group_line(folder: Path, prefix: str) -> list[str]:
    group, environment = read_json(folder / "group.json"), read_json(folder / "environment.json")
    clean = group.get("clean")
    return [
        f"[{folder.name}]({prefix}{folder.name}/group.json), {len(group['runs'])} {_kind(group)}",
        *_where(group),
        _mean(group["accuracy"]),
        f"{_mean(clean['accuracy'])}, n = {clean['n']:,}" if clean else "–",
        *(_mean(group[key], score.form) if key in group else "–" for key, score in _beside_accuracy().items()),
        ", ".join(map(str, group["seeds"])),
        f"{environment['precision']} on {processor(environment)}{_begun(environment)}",
    ]


def _kind(group: dict[str, Any]) -> str:
    return str(group.get("kind", "seeds"))


def _where(of: dict[str, Any]) -> tuple[str, str]:
    """The protocol, marked where it is contaminated, and the measured rows."""
    mark = f", **contaminated** ({percent(of['contaminated'], 1)} of the rows trained on)" if of["contaminated"] else ""
    return of["protocol"] + mark, f"{of['dataset']}, {of['split']}, n = {of['n']:,}"


def _views(metrics: dict[str, Any], key: str, form: str = ".3f") -> str:
    """The score of the image alone, and below it that of test-time views."""
    tta = metrics.get("tta")
    own = scored(metrics, key, form)
    return f"{own}<br>{view(tta)}: {scored(tta, key, form)}" if isinstance(tta, dict) else own


def _clean(metrics: dict[str, Any], key: str = "clean") -> str:
    """The accuracy of the rows without copies, or why there is none."""
    if "overlap" not in metrics:
        return f"– ({OLDER})"
    if not metrics[key]:
        looked = metrics["overlap"]["exact" if key == "clean" else "near"] is not None
        return "– (no row is left)" if looked else "– (not looked for)"
    tta = (metrics["tta"] or {}).get(key)
    views = f"<br>{view(metrics['tta'])}: {scored(tta)}" if tta else ""
    return f"{scored(metrics[key])}, n = {metrics[key]['n']:,}{views}"


def _mean(score: dict[str, Any], form: str = ".3f") -> str:
    spread = "" if score["sd"] is None else f", sd {score['sd']:.4f}"
    return with_interval(score["mean"], score["interval"], form) + spread


def page(results: Path) -> str:
    """results/README.md."""
    return (
        "# Results\n\nWritten by `make results` from published runs. Brackets are 95 % intervals over the choice of "
        "rows; those of one run don't tell how far another seed would move a number, those of a group of seeds do. "
        "Rows without exact copies are those whose pixels stand nowhere among the rows that the model was trained or "
        "chosen on.\n\n"
        + (f"{best}\n" if (best := peers_table("", results)) else "")
        + table("", results)
        + "".join(f"\n{text}" for of in (point_table, report_table) if (text := of("", results)))
        + _further(results)
        + "".join(f"\n{_run_part(folder)}" for folder in _published(results, EXPRESSION))
        + "".join(f"\n{_group_part(folder)}" for folder in _groups(results))
        + "".join(f"\n{_run_part(folder)}" for folder in _published(results, LANDMARKS))
    )


def _further(results: Path) -> str:
    """Links to the comparisons and to the other pages that stand here, by their headings."""
    pages = sorted(results.glob("comparisons/*/comparison.md")) + sorted(results.glob("*.md"))
    lines = [
        f"- [{_heading(path)}]({path.relative_to(results).as_posix()})\n" for path in pages if path.name != "README.md"
    ]
    return f"\n{''.join(lines)}" if lines else ""


def _heading(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").strip() or path.parent.name


_FIGURES = {
    "curves": "Curves",
    "confusion-report": "Confusion matrix",
    "reliability-report": "Reliability diagram",
    "risk-coverage-report": "Risk by coverage",
    "error-curve-report": "Cumulative error",
    "error-by-group-report": "Error by group of points",
    "drawn-faces": "Points on drawn faces",
}


def _run_part(folder: Path) -> str:
    files = ("report.html", "metrics.json", "environment.json", "experiment.yaml")
    links = ", ".join(f"[{name.partition('.')[0]}]({folder.name}/{name})" for name in files)
    images = "".join(
        f"![{text} of {folder.name}]({folder.name}/figures/{name}.png)\n\n"
        for name, text in _FIGURES.items()
        if (folder / "figures" / f"{name}.png").exists()
    )
    side_by_side = "" if task_name(read_json(folder / "metrics.json")) != EXPRESSION else _side_by_side(folder)
    return f"## {folder.name}\n\n{links}.\n\n{side_by_side}{images}".rstrip() + "\n"


def _side_by_side(folder: Path) -> str:
    """The same weights under their own protocol, other protocols and on other data sets, and why some are so high."""
    own = read_json(folder / "metrics.json")
    others = [read_json(path) for path in sorted(folder.glob("evaluations/*/metrics.json"))]
    if not others:
        return ""
    fit = read_json(folder / "environment.json").get("dataset", {}).get("roles", {}).get("fit")
    lines = []
    for one in (own, *others):
        protocol, where = _where(one)
        dropped = left_out(one["dropped"]) if "dropped" in one else ""
        where += f"; left out: {dropped}" if dropped else ""
        lines.append([protocol, where, _views(one, "accuracy"), _clean(one), _clean(one, "near_clean")])
    reasons = "".join(f"**Why so high?** {why_high(one, fit)}\n\n" for one in (own, *others) if warning(one))
    columns = ("protocol", "measured on", "accuracy, all rows", "without exact copies", "without near copies")
    return (
        f"The same weights, measured under each protocol and on each data set:\n\n{_table(columns, lines)}\n{reasons}"
    )


def _group_part(folder: Path) -> str:
    group = read_json(folder / "group.json")
    lines = [
        [
            score.name,
            _mean({**group[key], "sd": None}, score.form),
            "–" if group[key]["sd"] is None else f"{group[key]['sd']:.4f}",
            ", ".join(f"{value:{score.form}}" for value in group[key]["each"]),
        ]
        for key, score in SCORES.items()
        if key in group
    ]
    what = "all folds together" if _kind(group) == "folds" else "mean of the seeds"
    protocol, where = _where(group)
    return (
        f"## {folder.name}\n\n[group]({folder.name}/group.json), [environment]({folder.name}/environment.json), "
        f"[experiment]({folder.name}/experiment.yaml).\n\n{len(group['runs'])} {_kind(group)} of one experiment "
        f"({', '.join(group['runs'])}; seeds {', '.join(map(str, group['seeds']))}), protocol {protocol}, {where}.\n\n"
        + _table(("measure", f"{what}, 95 % interval", "sd", "each"), lines)
    )


def peers_table(prefix: str, results: Path) -> str:
    """The models that ship beside what people use today; "" where `results/best` isn't there."""
    if not (results / "best" / "best.json").is_file():
        return ""
    measured = read_json(results / "best" / "best.json")
    columns, rows = best_table(measured)
    return f"[What ships, beside what people use]({prefix}best/README.md): {best_caption(measured)}\n\n" + _table(
        columns, rows
    )


def with_table(text: str, prefix: str, results: Path) -> str:
    """A text with the table between its marks."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    tables = "\n".join(filter(None, (of(prefix, results) for of in (peers_table, report_table, table, point_table))))
    return f"{before}{START}\n{tables}{END}{after}"


def with_header(text: str, name: str, results: Path) -> str:
    """An experiment file with its scores after the commands in its first lines.

    The scores are those of the published run of that name and of its group of seeds or folds; where there is none,
    those of a reproduction, which keep what the line says about 2 cores.
    """
    if (results / name / "metrics.json").is_file():
        text = _with_scores(text, r"", _run_header(results / name))
    elif (part := _reproduced(name, results)) is not None:
        own = "cores" in part["runs"][0]["device"]
        text = _with_scores(text, r"", _part_header(part), kept="" if own else r"    2 cores: [^:]*?(?=    |$)")
    for folder in _groups(results):
        group = read_json(folder / "group.json")
        if group.get("experiment", folder.name) == name:
            text = _with_scores(text, r" --(?:seeds \d+|folds)", _group_header(group))
    return text


def _with_scores(text: str, options: str, scores: str, kept: str = "") -> str:
    # Four blanks part the scores from the command.
    return re.sub(
        rf"^(# mien train \S+{options}(?:{kept})?)(?:    .*)?$",
        lambda found: f"{found[1]}    {scores}",
        text,
        count=1,
        flags=re.M,
    )


def _reproduced(name: str, results: Path) -> dict[str, Any] | None:
    """The part of a published reproduction that measured this experiment, if it is one on classes."""
    parts = [part for folder in _reproductions(results) for part in read_json(folder / "reproduction.json")["parts"]]
    return next((part for part in parts if part["name"] == name and part["seeds"]), None)


def _part_header(part: dict[str, Any]) -> str:
    first, seeds = part["runs"][0], part["seeds"]
    return (
        f"{first['device'].partition(' (')[0]}: {first['minutes']:.0f} min    "
        f"{seeds['split']} {_mean(seeds['accuracy'])}, n = {seeds['n']:,}, seeds: {len(seeds['seeds'])}"
    )


def _run_header(folder: Path) -> str:
    metrics, environment = read_json(folder / "metrics.json"), read_json(folder / "environment.json")
    if task_name(metrics) == LANDMARKS:
        scores = ", ".join(f"NME {in_percent(of, NME)} % at {size} px" for size, of in metrics["sizes"].items())
    else:
        scores = scored(metrics)
    return (
        f"{processor(environment).partition(' (')[0]}: {environment['duration_s'] / 60:.0f} min    "
        f"{metrics['split']} {scores}, n = {metrics['n']:,}, seeds: {len(metrics['seeds'])}"
    )


def _group_header(group: dict[str, Any]) -> str:
    return f"{group['split']} {_mean(group['accuracy'])}, n = {group['n']:,}, {_kind(group)}: {len(group['runs'])}"
