"""The figures of a run: drawn, saved as files of their own, and as drawings inside its page."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from mien.intervals import Counts, percent, share_interval
from mien.metrics.calibration import bin_rows, risk_coverage
from mien.metrics.probabilities import probabilities
from mien.report import figures
from mien.report.figures import History
from mien.report.reading import read_metrics
from mien.report.style import ALARM, DEEP, INK, Caption, glyph_note, save, svg
from mien.report.wording import scored, seeds, span, warning
from mien.runs.model_file import FileEvaluation
from mien.runs.predictions import Predictions
from mien.runs.run import Run
from mien.tasks import Score


def caption(run: Run | FileEvaluation, metrics: Mapping[str, Any]) -> Caption:
    """The caption of a role's figures: run, protocol, rows, seeds, accuracy with and without exact copies."""
    of = f"{metrics['dataset']} " if metrics["dataset"] else ""
    lines = [
        f"{run.name} · protocol {metrics['protocol']} · {metrics['role']}: {of}{metrics['split']} · {seeds(metrics)}",
        f"n = {metrics['n']:,} · accuracy {scored(metrics)}",
    ]
    if metrics["clean"]:
        lines.append(f"without exact copies: n = {metrics['clean']['n']:,} · accuracy {scored(metrics['clean'])}")
    return Caption(tuple(lines), warning(metrics))


def title(run: Run | FileEvaluation, metrics: Mapping[str, Any]) -> str:
    """The same in one line, for tables that stand alone."""
    said = caption(run, metrics)
    return " · ".join([*said.lines, *([said.warning] if said.warning else [])])


def score_pictures(
    run: Run | FileEvaluation, metrics: Mapping[str, Any], matrix: Counts, classes: Sequence[str], told: str
) -> list[Markup]:
    """The confusion matrix and the bars of its classes; `told` says the commonest mistakes in words."""
    role, said = metrics["role"], caption(run, metrics)
    rows = f"{role}, {metrics['split']}, n = {metrics['n']:,}"
    return [
        drawn(
            run,
            f"confusion-{role}",
            figures.confusion_matrix(matrix, classes, said),
            f"Confusion matrix of {rows}. {told}",
        ),
        drawn(
            run,
            f"per-class-{role}",
            figures.per_class({name: row for name, row in metrics["per_class"].items() if name in classes}, said),
            f"Bars of precision, recall and F1 by class on {rows}; the table of classes has the numbers.",
        ),
    ]


def calibration_pictures(
    run: Run | FileEvaluation, metrics: Mapping[str, Any], rows: Predictions
) -> tuple[list[Markup], str]:
    """The reliability diagram and the risk–coverage curve; and a sentence with the risk at half the coverage."""
    role, said, temperature = metrics["role"], caption(run, metrics), metrics["calibration"]["temperature"]
    correct = rows.predicted == rows.labels
    # Which class a row is taken for is the same at every temperature.
    before, after = (
        probabilities(rows.logits, scale)[np.arange(len(rows)), rows.predicted] for scale in (1.0, temperature)
    )
    bins = {"as trained": bin_rows(before, correct), f"temperature {temperature:.2f}": bin_rows(after, correct)}
    coverage, risk = risk_coverage(after, correct)
    half = max(len(rows) // 2, 1)
    surest = np.argsort(-after, kind="stable")[:half]
    groups = rows.groups
    of_half = share_interval(~correct[surest], None if groups is None else groups[surest])
    told = (
        f"When only the surer half of the rows is answered, {percent(risk[half - 1], 1)} of these answers are wrong "
        f"(95 % interval {span(of_half)}, n = {half:,}); when all are, "
        f"{percent(risk[-1], 1)} (95 % interval {span(share_interval(~correct, groups))}, n = {len(rows):,})."
    )
    where = f"on {role}, {metrics['split']}, n = {len(rows):,}"
    return [
        drawn(
            run,
            f"reliability-{role}",
            figures.reliability(bins, said),
            f"Reliability diagram {where}: accuracy by confidence in 15 bins, before and after the temperature.",
        ),
        drawn(
            run,
            f"risk-coverage-{role}",
            figures.risk_coverage(coverage, risk, said),
            f"Risk by coverage {where}. {told}",
        ),
    ], told


def curve_caption(
    run: Run, environment: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]
) -> tuple[Caption, int | None]:
    """The caption of the curves, and the choose role's n; `measured` are metrics by role."""
    roles = environment.get("dataset", {}).get("roles", {})
    known = {role: roles[role] for role in ("fit", "choose") if role in roles}
    known |= {role: of for role, of in measured.items() if role == "choose"}
    where = " · ".join(f"{role}: {of['split']}, n = {of['n']:,}" for role, of in known.items())
    of = next(iter(measured.values()), None)
    first = f"{run.name} · protocol {of['protocol']} · {seeds(of)}" if of else run.name
    return Caption((first, where) if where else (first,)), known.get("choose", {}).get("n")


def curve_pictures(
    run: Run, history: History, said: Caption, rows: int | None, panels: Sequence[Score] = figures.PANELS
) -> list[Markup]:
    """Loss and score by epoch: one file for both, one drawing each; `rows` is the choose role's n."""
    save(figures.curves(history, said, panels, rows), run.folder / "figures" / "curves")
    pictures = []
    for panel in panels:
        best = figures.best_epoch(history, panel)
        last = (
            f"{panel.told(history[f'fit_{panel.key}'][-1])} on fit and "
            f"{panel.told(history[f'choose_{panel.key}'][-1])} on choose"
        )
        text = f"The {panel.name} by epoch: after epoch {history['epoch'][-1]:.0f} it is {last}"
        if best is not None:
            value = history[f"choose_{panel.key}"][history["epoch"] == best][0]
            text += f"; best on choose {panel.told(value)} at epoch {best}"
        drawing = svg(figures.curves(history, said, [panel], rows))
        pictures.append(Markup(inline_svg(drawing, f"curve-{panel.key}", f"{text}. {said.lines[-1]}")))
    return pictures


def unprintable(run: Run | FileEvaluation) -> str:
    """A sentence on the letters of class names that PNG and PDF files show as boxes; "" where there are none."""
    files = [file for role in ("report", "choose") if (file := run.metrics_file(role)).is_file()]
    return glyph_note(name for file in files for name in read_metrics(file).get("per_class", ()))


def drawn(run: Run | FileEvaluation, name: str, made: Figure, text: str) -> Markup:
    """A figure for the page, saved as files of this name as well; `text` says it in words."""
    return Markup(inline_svg(save(made, run.folder / "figures" / name), name, text))


def inline_svg(text: str, name: str, label: str) -> str:
    """A figure's SVG for a page: the page's ink on no paper, ids of its own, as wide as its place."""
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<path [^>]*?style=")fill: #ffffff"', r'\1fill: none"', body)
    body = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", body).replace("xlink:href", "href")
    body = re.sub(r">\s+<", "><", body)
    for color, of_page in ((INK, "currentColor"), (DEEP, "var(--cell)"), (ALARM, "var(--alarm)")):
        body = body.replace(color.lower(), of_page)
    body = body.replace("'DejaVu Sans', Verdana, sans-serif", "inherit")
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    head = Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1], label)
    return f"{head}{body.strip()}"
