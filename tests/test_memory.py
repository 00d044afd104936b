"""Files that are small, or of few rows, and would fill the memory if they were believed."""

import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from verbs import apart, mien

from mien.data.dataset import open_dataset, write_dataset
from mien.data.labels import LabelScheme
from mien.images import encode_png
from mien.runs.stored import read_metrics
from mien.workspace import Workspace

MANY = """
name: many
dataset: {name: many, size: 8, color: gray}
model: {name: cnn, channels: [4], kernel_size: 3, pool_size: 2, fc: [8]}
optimizer: {name: adam, lr: 1e-3}
train: {epochs: 1, batch_size: 64, device: cpu}
"""


def told_peak(home: Path, arguments: list[str]) -> None:
    """For `apart`: a command line, then the most memory that this process ever held, in megabytes."""
    try:
        mien(home, arguments)
    finally:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def peak(home: Path, *arguments: object) -> int:
    told = apart(home.parent, told_peak, home, [str(one) for one in arguments])
    assert told.code == 0, told.err
    return int(told.out.splitlines()[-1])


def test_images_that_are_mostly_zeros_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    image = encode_png(np.full((48, 48), 7, np.uint8))
    image += bytes(60_000_000 - len(image))
    table = pa.table({"image": [{"bytes": image, "path": None}] * 8, "label": [i % 2 for i in range(8)]})
    pq.write_table(table, tmp_path / "zeros.parquet", compression="zstd")
    assert (tmp_path / "zeros.parquet").stat().st_size < 4000
    del table, image
    (tmp_path / "home").mkdir()
    home = tmp_path / "home"
    assert peak(home, "data", "import", tmp_path / "zeros.parquet", "--as", "zeros", "--labels", "fer2013-7") < 1536
    card = open_dataset(Workspace(home), "zeros").card
    assert sum(sum(counts) for counts in card.splits.values()) == 8


@pytest.mark.large
def test_1000_classes_of_10000_rows_are_measured_within_a_gigabyte(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    scheme = LabelScheme("thousand", tuple(f"class {i}" for i in range(1000)))
    image = encode_png(np.arange(64, dtype=np.uint8).reshape(8, 8))
    with write_dataset(Workspace(home), "many", scheme, source="", format="test") as writer:
        for split, rows in (("train", 100), ("validation", 1000), ("test", 10_000)):
            for i in range(rows):
                writer.add(split, f"{split}-{i}", image, i % 1000, size=(8, 8))
    (tmp_path / "many.yaml").write_text(MANY)
    assert peak(home, "train", tmp_path / "many.yaml") < 1024
    assert peak(home, "evaluate", "many") < 1024
    metrics = read_metrics(home / "runs/many/1/metrics.json")
    assert (metrics["n"], len(metrics["per_class"]), metrics["accuracy"]) == (10_000, 1000, 0.001)
    page = (home / "runs/many/1/report.html").read_text()
    assert ">976 others</th>" in page
    assert len(page) < 3_000_000
