"""Peers on FER2013, measured by mien's own verb: the published numbers, with and without copies."""

from pathlib import Path

import pytest

from mien.data.importers import import_dataset
from mien.evaluation import evaluate_file
from mien.runs.ledger import entries
from mien.runs.model_file import ModelFile
from mien.workspace import Workspace

YAML = """
model: {file}
input: {{name: gray, size: 64}}
output: {{name: prob, gives: probabilities}}
classes: [angry, disgust, fear, happy, sad, surprise, neutral]
limits: MIT
"""


def test_a_peer_has_its_known_scores(real_data: Path, workspace: Workspace, tmp_path: Path) -> None:
    import_dataset(workspace, real_data / "fer2013" / "fer2013.parquet", "fer2013")
    (tmp_path / "big.yaml").write_text(YAML.format(file=real_data.parent / "peers" / "big_xception.onnx"))
    measured = evaluate_file(ModelFile(tmp_path / "big.yaml", workspace), dataset="fer2013")
    assert (measured["split"], measured["n"], measured["protocol"]) == ("PrivateTest", 3589, "official")
    # Single rows may move by how 48 pixels become 64.
    assert measured["accuracy"] == pytest.approx(0.6684, abs=5e-4)
    assert measured["clean"]["n"] == 3275
    assert measured["clean"]["accuracy"] == pytest.approx(0.6464, abs=5e-4)
    (line,) = entries(workspace.root)
    assert (line["run"], line["split"], line["n"]) == ("big.yaml", "PrivateTest", 3589)
    assert sorted(path.name for path in (real_data.parent / "peers").iterdir() if "big" in path.name) == [
        "big_xception.onnx"
    ]
