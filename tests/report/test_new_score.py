"""A score that is added to `metrics.classification.SCORES` is shown everywhere, and metrics of before still open."""

import json

import numpy as np
import pytest

from mien.metrics.classification import SCORES, MatrixScore, measure
from mien.report import results, tables
from mien.report.reading import read_metrics
from mien.reproduce.tables import _cells, _score


def kappa(matrix):
    """Cohen's kappa of confusion matrices (..., k, k)."""
    n = matrix.sum(axis=(-2, -1))
    chance = (matrix.sum(axis=-1) * matrix.sum(axis=-2)).sum(axis=-1) / n**2
    return (np.trace(matrix, axis1=-2, axis2=-1) / n - chance) / (1 - chance)


def scores_of(rows):
    labels = np.arange(60) % 3
    logits = np.eye(3)[np.where(np.arange(60) < rows, labels, 0)]
    return measure(labels, logits, ["sad", "happy", "neutral"])


def test_a_new_score_is_measured_and_shown_and_older_metrics_show_none(monkeypatch, tmp_path):
    older = {
        "run": "net/1",
        "dataset": "drawn",
        "protocol": "official",
        "role": "report",
        "split": "test",
        "seeds": [1],
        **scores_of(45),
        "contaminated": 0.0,
        "overlap": {"rows": 0.0, "exact": 0.0, "near": None},
        "clean": None,
    }
    monkeypatch.setitem(SCORES, "kappa", MatrixScore("Cohen's kappa", "agreement beyond chance", kappa, ".4f"))
    new = {**older, **scores_of(45)}
    # 45 of 60 right by themselves, 5 more by chance; a third is right by chance: (5/6 − 1/3) / (1 − 1/3).
    assert new["kappa"] == pytest.approx(0.75)
    low, high = new["interval"]["kappa"]
    assert low < 0.75 < high

    for name, content in (("older", older), ("newer", new)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps(content))
        (folder / "history.csv").write_text("epoch\n1\n")
        made = {"device": "cpu", "cores": 2, "threads": 2, "cpu": "x", "duration_s": 60, "precision": "float32"}
        (folder / "environment.json").write_text(json.dumps(made))
    shown = {name: tables.score_table(read_metrics(tmp_path / name / "metrics.json")) for name in ("older", "newer")}
    row = {name: next(row for row in of.rows if row[0] == "Cohen's kappa") for name, of in shown.items()}
    assert row["older"][2] == [("–",)]
    assert row["newer"][2] == [("0.7500", f"{low:.4f}–{high:.4f}")]

    head, _, newer, before = results.table("", tmp_path).splitlines()
    place = head.split(" | ").index("Cohen's kappa")
    assert newer.split(" | ")[place] == f"0.7500 [{low:.4f}, {high:.4f}]"
    assert before.split(" | ")[place] == "–"

    part = {"runs": [{"paper": new, "official": {**new, "clean": older}}], "seeds": None}
    assert [str(cell) for cell in _cells(part, "kappa")[1:3]] == [f"0.750 [{low:.3f}, {high:.3f}]", "–"]
    assert _score(None, "kappa") == "–"
