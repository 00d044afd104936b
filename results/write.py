"""Writes what results/ shows of published runs: results/README.md, the README's table, the experiments' first lines.

    mien report cnn1 --to results/cnn1      publishes a run; small/1-5 --to results/small, a group of seeds
    mien reproduce paper-2021 --to results/paper-2021     publishes a reproduction
    make results                            runs this

Every number comes from the published `metrics.json`, `group.json`, `history.csv`, `environment.json` and
`reproduction.json`; none is typed by hand but what the 2021 report claims.
"""

import json
import re
from pathlib import Path
from typing import Any

from mien.intervals import percent
from mien.report.wording import OLDER, left_out, processor, scored, start_weights, view, warning, why_high
from mien.tasks import EXPRESSION, LANDMARKS, task_name, task_of

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
START, END = "<!-- results: written by `make results` -->", "<!-- /results -->"


def main() -> None:
    """Write all three."""
    (RESULTS / "README.md").write_text(page(), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), "results/"), encoding="utf-8")
    for file in sorted((ROOT / "experiments").rglob("*.yaml")):
        before = file.read_text(encoding="utf-8")
        named = re.search(r"^name: (\S+)", before, flags=re.M)
        after = with_header(before, named[1] if named else file.stem)
        if after != before:
            file.write_text(after, encoding="utf-8")


def published(results: Path = RESULTS) -> list[Path]:
    """The folders of published runs on expressions, by name."""
    return _with_metrics(results, EXPRESSION)


def published_points(results: Path = RESULTS) -> list[Path]:
    """The folders of published landmark runs, by name."""
    return _with_metrics(results, LANDMARKS)


def _with_metrics(results: Path, task: str) -> list[Path]:
    folders = sorted(path.parent for path in results.glob("*/metrics.json"))
    return [folder for folder in folders if task_name(read(folder, "metrics.json")) == task]


def published_groups(results: Path = RESULTS) -> list[Path]:
    """The folders of published groups of seeds or folds, by name."""
    return sorted(path.parent for path in results.glob("*/group.json"))


COLUMNS = ("run", "protocol", "measured on", "accuracy", "without exact copies", "balanced accuracy", "macro F1")


def table(prefix: str, results: Path = RESULTS) -> str:
    """One line a run or group: scores with their 95 % intervals, split and n; links begin with `prefix`."""
    lines = [_run_line(folder, prefix) for folder in published(results)]
    lines += [_group_line(folder, prefix) for folder in published_groups(results)]
    return _table((*COLUMNS, "seeds", "trained"), lines)


POINT_COLUMNS = ("run", "measured on", "NME at 128 px", "NME at 48 px", "beyond 8 % at 48 px", "mean shape", "seeds")


def point_table(prefix: str, results: Path = RESULTS) -> str:
    """One line a landmark run: errors with their 95 % intervals, split and n, and what they are shares of; else ""."""
    lines = []
    for folder in published_points(results):
        metrics, made = read(folder, "metrics.json"), read(folder, "environment.json")
        sizes = metrics["sizes"]
        lines.append(
            [
                f"[{folder.name}]({prefix}{folder.name}/report.html)",
                _where(metrics)[1],
                _error(sizes["128"]),
                _error(sizes["48"]),
                _error(sizes["48"], "failure_rate_8"),
                _error(metrics["mean_shape"]),
                ", ".join(map(str, metrics["seeds"])),
                _trained(folder, made),
            ]
        )
    if not lines:
        return ""
    limits = {read(folder, "metrics.json")["limits"] for folder in published_points(results)} - {""}
    return (
        "68 points, errors in % of the distance of the outer eye corners, faces in a detector's squares"
        + "".join(f"; weights {one}" for one in sorted(limits))
        + ":\n\n"
        + _table((*POINT_COLUMNS, "trained"), lines)
    )


def report_table(prefix: str, results: Path = RESULTS) -> str:
    """What a published reproduction found: claimed, as its report measured, honest, and its conclusions; else ""."""
    text = ""
    for folder in _reproductions(results):
        found = read(folder, "reproduction.json")
        parts = [part for part in found["parts"] if part["claimed"] is not None and part["runs"]]
        claimed = [_part_line(part) for part in parts]
        verdicts = [f"- {one['text']}: **{one['verdict']}**\n" for one in found["conclusions"]]
        of = parts[0]["runs"][0]
        text += (
            f"The 2021 report's accuracies, claimed and obtained ([{folder.name}]({prefix}{folder.name}/README.md)). "
            f"As it measured: {of['paper']['split']}, n = {of['paper']['n']:,}, "
            f"{percent(of['paper']['contaminated'], 1)} of them trained on; {of['official']['split']}: "
            f"n = {of['official']['n']:,}:\n\n"
            + _table(("model", "claimed", "as it measured, **contaminated**", *_HONEST), claimed)
            + "\nIts conclusions, each tested on images that no run was trained on:\n\n"
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
        f"{part['claimed']:.2f}",
        scored(first["paper"]),
        _mean(seeds["accuracy"]),
        f"{_mean(clean['accuracy'])}, n = {clean['n']:,}" if clean else "–",
        ", ".join(map(str, seeds["seeds"])),
        first["start"],
        f"{first['epochs']} epochs, {first['precision']} on {first['device']}",
    ]


def _error(of: dict[str, Any], key: str = "nme_outer_eyes") -> str:
    low, high = of["interval"][key]
    return f"{100 * of[key]:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _trained(folder: Path, made: dict[str, Any]) -> str:
    epochs = (folder / "history.csv").read_text(encoding="utf-8").count("\n") - 1
    how = f"{epochs} epochs, {made['duration_s'] / 60:.0f} min, {made['precision']} on {processor(made)}"
    return how + _begun(made)


def _begun(made: dict[str, Any]) -> str:
    """Which weights a training began with, where its environment says so."""
    return f", start weights: {start_weights(made['start_weights'])}" if made.get("start_weights") else ""


def _table(columns: tuple[str, ...], lines: list[list[str]]) -> str:
    rows = [columns, ("---",) * len(columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _run_line(folder: Path, prefix: str) -> list[str]:
    metrics, made = read(folder, "metrics.json"), read(folder, "environment.json")
    return [
        f"[{folder.name}]({prefix}{folder.name}/report.html)",
        *_where(metrics),
        _views(metrics, "accuracy"),
        _clean(metrics),
        _views(metrics, "balanced_accuracy"),
        _views(metrics, "macro_f1"),
        ", ".join(map(str, metrics["seeds"])),
        _trained(folder, made),
    ]


def _group_line(folder: Path, prefix: str) -> list[str]:
    group, made = read(folder, "group.json"), read(folder, "environment.json")
    clean = group.get("clean")
    return [
        f"[{folder.name}]({prefix}{folder.name}/group.json), {len(group['runs'])} {_kind(group)}",
        *_where(group),
        _mean(group["accuracy"]),
        f"{_mean(clean['accuracy'])}, n = {clean['n']:,}" if clean else "–",
        *(_mean(group[key]) if key in group else "–" for key in ("balanced_accuracy", "macro_f1")),
        ", ".join(map(str, group["seeds"])),
        f"{made['precision']} on {processor(made)}{_begun(made)}",
    ]


def _kind(group: dict[str, Any]) -> str:
    return str(group.get("kind", "seeds"))


def _where(of: dict[str, Any]) -> tuple[str, str]:
    """The protocol and what was measured on, with the word that mustn't be overlooked."""
    mark = f", **contaminated** ({percent(of['contaminated'], 1)} of the rows trained on)" if of["contaminated"] else ""
    return of["protocol"] + mark, f"{of['dataset']}, {of['split']}, n = {of['n']:,}"


def _views(metrics: dict[str, Any], key: str) -> str:
    """A score of the image alone and, below it, of test-time views."""
    tta = metrics.get("tta")
    return scored(metrics, key) + (f"<br>{view(tta)}: {scored(tta, key)}" if isinstance(tta, dict) else "")


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


def _mean(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    spread = "" if score["sd"] is None else f", sd {score['sd']:.4f}"
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]{spread}"


def page(results: Path = RESULTS) -> str:
    """results/README.md."""
    return (
        "# Results\n\nWritten by `make results` from published runs. Brackets are 95 % intervals over the choice of "
        "rows; those of one run don't tell how far another seed would move a number, those of a group of seeds do. "
        "Rows without exact copies are those whose pixels stand nowhere among the rows that the model was trained or "
        "chosen on.\n\n"
        + table("", results)
        + "".join(f"\n{points}" for points in (point_table("", results),) if points)
        + "".join(f"\n{one}" for one in (report_table("", results),) if one)
        + _further(results)
        + "".join(f"\n{_run_part(folder)}" for folder in published(results))
        + "".join(f"\n{_group_part(folder)}" for folder in published_groups(results))
        + "".join(f"\n{_run_part(folder)}" for folder in published_points(results))
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


def _run_part(folder: Path) -> str:
    files = ("report.html", "metrics.json", "environment.json", "experiment.yaml")
    links = ", ".join(f"[{name.partition('.')[0]}]({folder.name}/{name})" for name in files)
    shown = {
        "curves": "Curves",
        "confusion-report": "Confusion matrix",
        "reliability-report": "Reliability diagram",
        "risk-coverage-report": "Risk by coverage",
        "error-curve-report": "Cumulative error",
        "error-by-group-report": "Error by group of points",
        "drawn-faces": "Points on drawn faces",
    }
    images = "".join(
        f"![{text} of {folder.name}]({folder.name}/figures/{name}.png)\n\n"
        for name, text in shown.items()
        if (folder / "figures" / f"{name}.png").exists()
    )
    side_by_side = _side_by_side(folder) if task_of(read(folder, "metrics.json")).classes else ""
    return f"## {folder.name}\n\n{links}.\n\n{side_by_side}{images}".rstrip() + "\n"


def _side_by_side(folder: Path) -> str:
    """The same weights under their own protocol, other protocols and on other data sets, and why some are so high."""
    own = read(folder, "metrics.json")
    others = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("evaluations/*/metrics.json"))]
    if not others:
        return ""
    fit = read(folder, "environment.json").get("dataset", {}).get("roles", {}).get("fit")
    lines = []
    for one in (own, *others):
        protocol, where = _where(one)
        dropped = left_out(one["dropped"]) if "dropped" in one else ""
        accuracy, clean = _views(one, "accuracy"), _clean(one)
        lines.append(
            [
                protocol,
                where + (f"; left out: {dropped}" if dropped else ""),
                accuracy,
                clean,
                _clean(one, "near_clean"),
            ]
        )
    reasons = "".join(f"**Why so high?** {why_high(one, fit)}\n\n" for one in (own, *others) if warning(one))
    columns = ("protocol", "measured on", "accuracy, all rows", "without exact copies", "without near copies")
    return (
        f"The same weights, measured under each protocol and on each data set:\n\n{_table(columns, lines)}\n{reasons}"
    )


def _group_part(folder: Path) -> str:
    group = read(folder, "group.json")
    names = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}
    names["weighted_f1"] = "weighted F1"
    lines = [
        [
            name,
            _mean({**group[key], "sd": None}),
            _sd(group[key]),
            ", ".join(f"{one:.3f}" for one in group[key]["each"]),
        ]
        for key, name in names.items()
        if key in group
    ]
    folds = _kind(group) == "folds"
    what = "all folds together" if folds else "mean of the seeds"
    protocol, where = _where(group)
    return (
        f"## {folder.name}\n\n[group]({folder.name}/group.json), [environment]({folder.name}/environment.json), "
        f"[experiment]({folder.name}/experiment.yaml).\n\n{len(group['runs'])} {_kind(group)} of one experiment "
        f"({', '.join(group['runs'])}; seeds {', '.join(map(str, group['seeds']))}), protocol {protocol}, {where}.\n\n"
        + _table(("measure", f"{what}, 95 % interval", "sd", "each"), lines)
    )


def _sd(score: dict[str, Any]) -> str:
    return "–" if score["sd"] is None else f"{score['sd']:.4f}"


def with_table(text: str, prefix: str, results: Path = RESULTS) -> str:
    """A text with the table between its marks."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    made = (report_table(prefix, results), table(prefix, results), point_table(prefix, results))
    tables = "\n".join(part for part in made if part)
    return f"{before}{START}\n{tables}{END}{after}"


def with_header(text: str, name: str, results: Path = RESULTS) -> str:
    """An experiment file whose lines with a command also tell the scores.

    They are those of the published run of that name and of its group of seeds or folds; where there is none, those of
    a reproduction, which leave what the line says of 2 cores.
    """
    if (results / name / "metrics.json").is_file():
        text = _told(text, r"", _run_header(results / name))
    elif (part := _reproduced(name, results)) is not None:
        own = "cores" in part["runs"][0]["device"]
        text = _told(text, r"", _part_header(part), kept="" if own else r"    2 cores: [^:]*?(?=    |$)")
    for folder in published_groups(results):
        group = read(folder, "group.json")
        if group.get("experiment", folder.name) == name:
            text = _told(text, r" --(?:seeds \d+|folds)", _group_header(group))
    return text


def _told(text: str, options: str, told: str, kept: str = "") -> str:
    # What is told begins after four blanks, so that the command can be told from it.
    return re.sub(
        rf"^(# mien train \S+{options}(?:{kept})?)(?:    .*)?$",
        lambda found: f"{found[1]}    {told}",
        text,
        count=1,
        flags=re.M,
    )


def _reproduced(name: str, results: Path) -> dict[str, Any] | None:
    """The measured part of a published reproduction that is of this experiment, and on classes."""
    parts = [part for folder in _reproductions(results) for part in read(folder, "reproduction.json")["parts"]]
    return next((part for part in parts if part["name"] == name and part["seeds"]), None)


def _part_header(part: dict[str, Any]) -> str:
    first, seeds = part["runs"][0], part["seeds"]
    return (
        f"{first['device'].partition(' (')[0]}: {first['minutes']:.0f} min    "
        f"{seeds['split']} {_mean(seeds['accuracy'])}, n = {seeds['n']:,}, seeds: {len(seeds['seeds'])}"
    )


def _run_header(folder: Path) -> str:
    metrics, made = read(folder, "metrics.json"), read(folder, "environment.json")
    if task_of(metrics).classes:
        scores = scored(metrics)
    else:
        scores = ", ".join(f"NME {_error(of)} % at {size} px" for size, of in metrics["sizes"].items())
    return (
        f"{processor(made).partition(' (')[0]}: {made['duration_s'] / 60:.0f} min    "
        f"{metrics['split']} {scores}, n = {metrics['n']:,}, seeds: {len(metrics['seeds'])}"
    )


def _group_header(group: dict[str, Any]) -> str:
    return f"{group['split']} {_mean(group['accuracy'])}, n = {group['n']:,}, {_kind(group)}: {len(group['runs'])}"


def read(folder: Path, name: str) -> Any:
    """A published JSON file."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
