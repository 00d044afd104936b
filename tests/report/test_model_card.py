"""A model's card holds the numbers of its run's metrics, each with its rows, and says what the model is not for."""

import json
import re
from pathlib import Path

import pytest
from conftest import write_tiny

from mien.errors import MienError
from mien.intervals import wilson
from mien.report.model_card import model_card
from mien.runs.run import Run
from mien.workflow import measure, new_runs, train_to_end
from mien.workspace import Workspace


@pytest.fixture
def run(workspace: Workspace, tiny_file: Path) -> Run:
    write_tiny(workspace)
    (made,) = new_runs(workspace, tiny_file, ["train.votes=1"])
    train_to_end(made, ["mien", "train"])
    return made


def test_a_card_of_a_run_that_is_not_measured_is_refused(run: Run) -> None:
    with pytest.raises(MienError, match="has not been measured on its reporting role"):
        model_card(run, "ours")


def test_every_number_is_of_the_run(run: Run, mien, tmp_path: Path) -> None:
    measure(run, ["mien", "evaluate"])
    done = mien("report", run.name, "--card", tmp_path / "card.md")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "card.md").read_text()
    assert written == model_card(run, "tiny/1")
    card = model_card(run, "ours", [("ours.onnx", "1,234", ".5", ".4", "abab")])
    assert card.startswith("# ours\n\nTells angry, disgust, fear, happy, sad, surprise, neutral from a face of 24 × 24")

    metrics = json.loads(run.metrics_file("report").read_text())
    low, high = metrics["interval"]["accuracy"]
    headline = f"{metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}]"
    assert f"{headline} of {metrics['split']} of tiny, n = {metrics['n']:,}" in card
    assert re.search(rf"\| {metrics['split']} \| {metrics['n']:,} \| {re.escape(headline)} \|", card)
    clean = metrics["clean"]
    assert f"| without exact copies of what it has seen | {clean['n']:,} | {clean['accuracy']:.3f} [" in card
    happy = metrics["per_class"]["happy"]
    low, high = wilson(round(happy["recall"] * happy["support"]), happy["support"])
    recall = f"{happy['recall']:.3f} [{low:.3f}, {high:.3f}]"
    assert f"| happy | {happy['support']} | {happy['precision']:.3f} | {recall} | {happy['f1']:.3f} |" in card
    assert f"| as shipped | {metrics['calibration']['temperature']:.2f} |" in card
    assert "A second head learnt the raters' votes of the same rows." in card
    assert "is not a person who is sad" in card
    assert "In the European Union the AI Act forbids" in card
    assert card.endswith("| ours.onnx | 1,234 | .5 | .4 | abab |\n")

    made = run.environment
    run.write_environment({**made, "dataset": {**made["dataset"], "notes": ["for research alone"]}})
    assert "\n\nOf the data set: for research alone.\n\n## How good it is" in model_card(run, "ours")
