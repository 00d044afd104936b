"""What can be told of somebody else's predictions alone: a page and slices."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from verbs import call

from mien.data.dataset import write_dataset
from mien.data.labels import FER2013
from mien.images import encode_png
from mien.workspace import Workspace

ROWS = 80


@pytest.fixture
def peer(workspace: Workspace, tmp_path: Path) -> Path:
    """Predictions for 80 rows of `wild`, happy and sad in turn, the second half dark; those in the light are right."""
    random = np.random.default_rng(0)
    happy, sad = (FER2013.classes.index(name) for name in ("happy", "sad"))
    told: dict[str, list[object]] = {"split": [], "id": [], **{name: [] for name in FER2013.classes}}
    columns = {"light": pa.string()}
    with write_dataset(workspace, "wild", FER2013, source="", format="test", columns=columns) as writer:
        for row in range(ROWS):
            label, dark = (happy, sad)[row % 2], row >= ROWS // 2
            image = encode_png(random.integers(0, 256, (24, 24), np.uint8))
            writer.add("test", str(row), image, label, size=(24, 24), light="dark" if dark else "day")
            answer = happy if dark else label
            told["split"].append("test")
            told["id"].append(str(row))
            for place, name in enumerate(FER2013.classes):
                told[name].append(0.7 if place == answer else 0.05)
    pq.write_table(pa.table(told), tmp_path / "peer.parquet")
    file = tmp_path / "peer.yaml"
    file.write_text(f"# <b>theirs</b>\npredictions: peer.parquet\nclasses: [{', '.join(FER2013.classes)}]\n")
    return file


def test_a_page_and_slices_by_predictions_alone(workspace: Workspace, peer: Path) -> None:
    home = ("--workspace", workspace.root)
    before = call("report", peer, *home)
    assert before.code == 2
    assert before.err == (
        f"mien: {peer}: peer.yaml has not been measured; expected mien evaluate peer.yaml --dataset NAME first\n"
    )
    assert call("evaluate", peer, "--dataset", "wild", *home).code == 0
    done = call("report", peer, "--json", *home)
    assert done.code == 0, done.err
    page = Path(done.json["report"])
    assert page.parent.is_relative_to(workspace.root / "models")
    text = page.read_text()
    assert "<b>0.750<small>" in text
    assert f"accuracy on {ROWS} rows of <strong>test</strong>" in text
    assert "The report role of this file was opened once" in text
    assert "Which of them the model has seen isn&#39;t known." in text
    assert "the model was trained on none of these rows" not in text
    assert "&lt;b&gt;theirs&lt;/b&gt;" in text
    assert "<b>theirs" not in text
    assert "<h2>Training</h2>" not in text
    assert "<h2>Description</h2>" in text
    drawn = {path.name for path in (page.parent / "figures").iterdir()}
    assert {"confusion-report.png", "per-class-report.png", "reliability-report.png"} <= drawn
    cut = call("slices", peer, "--by", "light", "--json", *home)
    assert cut.code == 0, cut.err
    parts = {part["slice"]: (part["n"], part["accuracy"]) for part in cut.json["slices"]}
    assert parts == {"day": (40, 1.0), "dark": (40, 0.5)}


def test_a_file_is_not_published(workspace: Workspace, peer: Path, tmp_path: Path) -> None:
    done = call("report", peer, "--to", tmp_path / "out", "--workspace", workspace.root)
    assert (done.code, done.err) == (
        2,
        "mien: a file of a model has a page alone; expected neither --to nor --card\n",
    )
    assert not (tmp_path / "out").exists()
