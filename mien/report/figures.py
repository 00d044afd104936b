"""The figures of a run, drawn from plain data. Each says in its heading what was measured on which rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from mien.intervals import Counts, Values, wilson, with_interval
from mien.metrics.calibration import BINS, Bins
from mien.report.style import BLUE, DEEP, FAINT, GREEN, INK, ORANGE, VERMILION, WIDTH, Caption, figure, styled
from mien.tasks import ACCURACY, LOSS, Score

History = Mapping[str, Values]
PANELS = (LOSS, ACCURACY)


def best_epoch(history: History, score: Score) -> int | None:
    """The first epoch whose value on the choose role is best: the lowest loss or NME, the highest accuracy."""
    values = history[f"choose_{score.key}"]
    if not np.isfinite(values).any():
        return None
    place = np.nanargmax(values) if score.higher else np.nanargmin(values)
    return int(history["epoch"][place])


def curves(history: History, caption: Caption, panels: Sequence[Score] = PANELS, rows: int | None = None) -> Figure:
    """Loss and a score by epoch on the fit and choose roles, side by side, the best epoch on choose marked.

    `history` has the column epoch, and for each of `panels` fit_… and choose_…, one value an epoch, NaN where it wasn't
    measured; an NME is drawn in per cent. `rows` is the choose role's n, for the best accuracy's interval (Wilson).
    """
    with styled():
        heading = "Training: " + " and ".join(panel.name for panel in panels)
        made, axes = figure(heading, caption, 2.8, len(panels), WIDTH if len(panels) == 1 else 7.2)
        for ax, panel in zip(axes, panels, strict=True):
            _curve(ax, history, panel, rows)
        return made


def _curve(ax: Axes, history: History, panel: Score, rows: int | None) -> None:
    epochs, scale = history["epoch"], 100 if panel.percent else 1
    dots = "o" if len(epochs) <= 15 else None
    for role, color, line in (("fit", VERMILION, "--"), ("choose", BLUE, "-")):
        values = scale * history[f"{role}_{panel.key}"]
        known = np.isfinite(values)
        ax.plot(epochs[known], values[known], line, color=color, marker=dots, markersize=3, label=role)
    best = best_epoch(history, panel)
    if best is not None:
        value = float(history[f"choose_{panel.key}"][epochs == best][0])
        if rows and panel.share:
            label = f"best: {with_interval(value, wilson(round(value * rows), rows))} at {best}"
        else:
            label = f"{'best' if panel.higher else 'lowest'}: {panel.told(value)}, epoch {best}"
        ax.axvline(best, color=FAINT, linewidth=0.8, linestyle=":")
        ax.plot(
            best, scale * value, "o", color=BLUE, markerfacecolor="none", markersize=8, markeredgewidth=1.5, label=label
        )
    ax.set_xlabel("epoch")
    ax.set_ylabel(panel.name + (", %" if scale == 100 else ""))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True))
    margin = max(0.03 * (epochs[-1] - epochs[0]), 0.1)
    ax.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    ax.grid(axis="y")
    # Above the axes no line can run through it; in one row it would be wider than they are.
    ax.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderaxespad=0.2, columnspacing=1.2, handlelength=1.6
    )


def confusion_matrix(matrix: Counts, classes: Sequence[str], caption: Caption) -> Figure:
    """The confusion matrix: of each true class (down) the share of rows predicted as each class (across), and counts.

    `matrix` is (k, k) counts. A class without rows has an empty line.
    """
    k = len(classes)
    support = matrix.sum(axis=1)
    shares = matrix / np.maximum(support, 1)[:, None]
    # Cells of half an inch hold both numbers; more classes make the figure larger instead of the letters smaller.
    side = max(WIDTH, 0.7 + 0.49 * k)
    with styled():
        made, (ax,) = figure("Confusion matrix", caption, side * 0.98 + 0.12, width=side)
        for i, j in np.ndindex(k, k):
            if not support[i]:
                continue
            share = float(shares[i, j])
            # Transparency instead of a mix with white: the page may be dark.
            color = "white" if share > 0.66 else INK
            centered: dict[str, Any] = {"ha": "center", "va": "center", "color": color, "textcoords": "offset points"}
            inside = (
                ax.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, facecolor=to_rgba(DEEP, 0.04 + 0.96 * share))),
                ax.annotate(f"{100 * share:.0f}", (j, i), (0, 4), fontsize=9, **centered),
                ax.annotate(f"{matrix[i, j]}", (j, i), (0, -8.5), fontsize=7, **centered),
            )
            for artist in inside:
                artist.set_in_layout(False)  # Measuring them all would take longer than drawing them.
        ax.set_xlim(-0.5, k - 0.5)
        ax.set_ylim(k - 0.5, -0.5)
        ax.set_aspect("equal", anchor="N")
        ax.set_xticks(range(k), classes, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(k), classes)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("predicted: % of the true class, and count")
        ax.set_ylabel("true")
        return made


def per_class(scores: Mapping[str, Mapping[str, Any]], caption: Caption) -> Figure:
    """Precision, recall and F1 of each class as bars; recall with its 95 % interval (Wilson, or that of whole groups).

    `scores` is `per_class` of `metrics.measure`.
    """
    places = np.arange(len(scores), dtype=float)
    with styled():
        made, (ax,) = figure("By class", caption, 0.7 + 0.52 * len(scores))
        for shift, (name, label, color) in zip(
            (-0.27, 0.0, 0.27),
            (("precision", "precision", BLUE), ("recall", "recall, 95 %", ORANGE), ("f1", "F1", GREEN)),
            strict=True,
        ):
            values = [row[name] for row in scores.values()]
            ax.barh(places + shift, values, 0.25, color=color, label=label)
        for place, row in zip(places, scores.values(), strict=True):
            if row["support"]:
                known = row.get("interval", {}).get("recall")
                ends = known or wilson(round(row["recall"] * row["support"]), row["support"])
                ax.plot(ends, [place, place], color=INK, linewidth=1, marker="|", markersize=4)
        ax.set_yticks(places, [f"{name}\nn = {row['support']:,}" for name, row in scores.items()])
        ax.set_ylim(len(scores) - 0.45, -0.55)
        ax.set_xlim(0, 1)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        made.legend(loc="outside lower center", ncols=3)
        return made


def reliability(bins: Mapping[str, Bins], caption: Caption) -> Figure:
    """The accuracy of each confidence bin with Wilson's 95 % interval, and below it the bins' n.

    `bins` gives the bins of equal width (`calibration.bin_rows`) by their name in the legend, at most two of them:
    before and after the temperature.
    """
    looks = ((VERMILION, "o", "--", -1), (BLUE, "s", "-", 1))
    with styled():
        made, (ax, below) = figure("Reliability", caption, 4.4, rows=(3.4, 1))
        ax.plot([0, 1], [0, 1], ":", color=INK, linewidth=1, label="ideal")
        for (label, of), (color, marker, line, side) in zip(bins.items(), looks, strict=False):
            ends = np.array([wilson(round(right * n), int(n)) for right, n in zip(of.accuracy, of.n, strict=True)])
            ax.vlines(of.confidence, ends[:, 0], ends[:, 1], color=color, linewidth=0.9, alpha=0.7)
            ax.plot(of.confidence, of.accuracy, line, color=color, marker=marker, markersize=3.5, label=label)
            # The bin is open below: a confidence of exactly 1/15 is in the first.
            place = np.ceil(of.confidence * BINS - 1e-9) - 0.5 + 0.2 * side
            below.bar(place / BINS, of.n, 0.36 / BINS, color=color)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.set_ylabel("share that is right")
        ax.tick_params(labelbottom=False)
        ax.grid()
        ax.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0.2, columnspacing=1.2, handlelength=1.8
        )
        below.set_xlim(0, 1)
        below.set_xlabel("confidence: probability of the answer")
        below.set_ylabel("n")
        below.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        below.grid(axis="y")
        return made


def risk_coverage(coverage: Values, risk: Values, caption: Caption) -> Figure:
    """The share of wrong answers when only the surest rows are answered, with Wilson's 95 % interval.

    `coverage` and `risk` are those of `calibration.risk_coverage`, (n,).
    """
    n = len(risk)
    # More points than a screen shows are only bytes.
    shown = np.unique(np.linspace(0, n - 1, 100).round().astype(int))
    ends = np.array([wilson(round(risk[i] * (i + 1)), int(i) + 1) for i in shown])
    with styled():
        made, (ax,) = figure("Risk by coverage", caption, 2.9)
        ax.fill_between(coverage[shown], ends[:, 0], ends[:, 1], color=BLUE, alpha=0.2, linewidth=0, label="95 %")
        ax.plot(coverage[shown], risk[shown], color=BLUE, label="the surest first")
        ax.axhline(risk[-1], color=INK, linewidth=1, linestyle=":", label="in any order")
        ax.set_xlim(0, 1)
        ax.set_ylim(0, max(min(1.0, 1.25 * float(risk[n // 10 :].max())), 0.05))
        ax.set_xlabel("coverage: share of rows that are answered")
        ax.set_ylabel("risk: share of answers that are wrong")
        ax.grid()
        ax.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0.2, columnspacing=1.2, handlelength=1.6
        )
        return made
