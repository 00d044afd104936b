"""The figures of a landmark run: drawn, saved as files of their own, and as drawings inside its page."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from mien.faces.ibug import GROUPS
from mien.report.landmark_figures import error_curve, group_bars
from mien.report.landmark_tables import bracketed, results
from mien.report.pictures import drawn
from mien.report.style import Caption
from mien.report.wording import seeds, warning
from mien.runs.run import Run


def caption(run: Run, metrics: Mapping[str, Any]) -> Caption:
    """The caption of a role's figures: run, protocol, rows, seeds, NME with and without exact copies."""
    of = f"{metrics['dataset']} " if metrics["dataset"] else ""
    found = {name: one for name, one in results(metrics).items() if name != "mean shape"}
    lines = [
        f"{run.name} · protocol {metrics['protocol']} · {metrics['role']}: {of}{metrics['split']} · {seeds(metrics)}",
        f"n = {metrics['n']:,} · NME by outer eye corners: " + _nme_by_size(found),
    ]
    clean = {name: one["clean"] for name, one in found.items() if one.get("clean") and one["clean"]["n"] < one["n"]}
    if clean:
        n = next(iter(clean.values()))["n"]
        lines.append(f"without exact copies: n = {n:,} · " + _nme_by_size(clean))
    return Caption(tuple(lines), warning(metrics))


def _nme_by_size(found: Mapping[str, Mapping[str, Any]]) -> str:
    return " · ".join(f"{name} {bracketed(of)}" for name, of in found.items())


def error_pictures(run: Run, metrics: Mapping[str, Any]) -> list[Markup]:
    """The curves of errors and the bars by group: the run at each size, and the mean shape."""
    role, said, found = metrics["role"], caption(run, metrics), results(metrics)
    where = f"on {role}, {metrics['split']}, n = {metrics['n']:,}, by outer eye corners"
    curve = ", ".join(
        f"{name} AUC to 8 % {of['auc_8']:.3f}, failures {100 * of['failure_rate_8']:.1f} %"
        for name, of in found.items()
    )
    bars = "; ".join(
        f"{name}: " + ", ".join(f"{group} {100 * of['by_group'][group]:.1f} %" for group in GROUPS)
        for name, of in found.items()
    )
    return [
        drawn(
            run,
            f"error-curve-{role}",
            error_curve(found, said),
            f"Share of the faces by largest error {where}: {curve}.",
        ),
        drawn(
            run, f"error-by-group-{role}", group_bars(found, said), f"Mean error by group of points {where}. {bars}."
        ),
    ]
