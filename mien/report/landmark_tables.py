"""The tables of a landmark run's page, as plain data: every error with its normaliser, its interval and n."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mien.report.tables import Cell, contamination
from mien.report.wording import copies, in_percent, which_rows

NME = "nme_outer_eyes"
# What is measured, and by which distance; the last says whether it is shown in per cent.
MEASURES = {
    NME: ("NME", "outer eye corners", True),
    "nme_inter_pupil": ("NME", "inter-pupil", True),
    "median": ("Median error", "outer eye corners", True),
    "auc_8": ("AUC to 8 %", "1 is best, outer eye corners", False),
    "failure_rate_8": ("Failures", "faces beyond 8 %, outer eye corners", True),
}


def results(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The measured results by their names in figures and tables: each size, the largest first, then the mean shape.

    >>> list(results({"sizes": {"48": {}, "128": {}}, "mean_shape": {}}))
    ['128 px', '48 px', 'mean shape']
    """
    sizes = sorted(metrics["sizes"], key=int, reverse=True)
    return {**{f"{size} px": metrics["sizes"][size] for size in sizes}, "mean shape": metrics["mean_shape"]}


def number(of: Mapping[str, Any], key: str) -> Cell:
    """A measure and its 95 % interval.

    >>> number({"auc_8": 0.41, "median": 0.0412, "interval": {"auc_8": [0.4, 0.42], "median": [0.04, 0.05]}}, "median")
    ('4.12 %', '4.00–5.00 %')
    """
    low, high = of["interval"][key]
    if MEASURES[key][2]:
        return f"{100 * of[key]:.2f} %", f"{100 * low:.2f}–{100 * high:.2f} %"
    return f"{of[key]:.3f}", f"{low:.3f}–{high:.3f}"


def bracketed(of: Mapping[str, Any]) -> str:
    """The NME with its interval, as captions have it.

    >>> bracketed({"nme_outer_eyes": 0.0472, "interval": {"nme_outer_eyes": [0.0454, 0.0492]}})
    '4.72 % [4.54, 4.92]'
    """
    return in_percent(of, NME, unit=" %")


def size_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, list[Cell]]]:
    """A row for each size and for the mean shape, with and without exact copies: name, meaning, n, all measures."""
    return [
        (name, meaning, f"{of['n']:,}", [number(of, key) for key in MEASURES])
        for name, meaning, of in _with_twins(metrics)
    ]


def _with_twins(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, of in results(metrics).items():
        yield name, "of the fit rows, for every face" if name == "mean shape" else "the square's side", of
        # Where no row has a copy, those without are the same again.
        if of.get("clean") and of["clean"]["n"] < of["n"]:
            yield name, "no exact copies", of["clean"]


def twins(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences: how many faces have copies among the fit and choose rows, and the NME without these faces."""
    if not metrics["overlap"]:
        return []
    clean = {name: of["clean"] for name, of in results(metrics).items() if name != "mean shape" and of.get("clean")}
    if not clean:
        return copies(metrics["overlap"], "without them no row is left.")
    told = ", ".join(f"{bracketed(of)} at {name}" for name, of in clean.items())
    n = next(iter(clean.values()))["n"]
    return copies(metrics["overlap"], f"without them NME (outer eye corners) is {told}, n = {n:,}.")


def other_rows(measured: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """One line for each protocol and data set that a run was measured under; its own comes first."""
    rows = []
    for one in ([own] if own else []) + list(measured):
        found = results(one)
        cells = [(*number(of, NME), f"n = {of['n']:,}") for of in found.values()]
        told = {"protocol": one["protocol"], "own": one is own, "dataset": one["dataset"], "split": one["split"]}
        told["which"] = " ".join(which_rows(one))
        rows.append({**told, "names": list(found), "cells": cells, "contaminated": contamination(one)})
    return rows
