"""What the tests share: a workspace with a tiny data set, and `mien` as a process of its own."""

import json
import os

# Two test processes share two cores: one thread each, set before torch reads it.
os.environ["OMP_NUM_THREADS"] = "1"

# Nothing is fetched, and nobody's cache changes what a test sees; those of fetching say otherwise.
os.environ["MIEN_OFFLINE"] = "1"
os.environ["MIEN_CACHE"] = "/nonexistent/mien"

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import chromium

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.importers import import_dataset
from mien.data.labels import FER2013
from mien.images import encode_png
from mien.workspace import Workspace

REPOSITORY = Path(__file__).parent.parent

TINY = """
name: tiny
dataset: {name: tiny, size: 24}
model: {name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}
preprocess: [{op: normalize}]
augment: [{op: brightness}, {op: noise, sd: 4}]
optimizer: {name: sgd, lr: 0.05}
schedule: {name: cosine}
train: {epochs: 3, batch_size: 32, seed: 1, precision: float32, device: cpu}
"""


def write_tiny(workspace: Workspace, name: str = "tiny", n: int = 280, seed: int = 0) -> Dataset:
    """Stripes whose slope tells the class, with noise: learnable in a second, split 5 : 1 : 1, votes of ten raters."""
    import pyarrow as pa

    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:24, 0:24]
    columns = {"votes": pa.list_(pa.int16(), 10)}
    # FER+ counts by name: the place in its order of each class of FER2013's scheme.
    place = [4, 5, 6, 1, 3, 2, 0]
    with write_dataset(workspace, name, FER2013, source="stripes", format="test", columns=columns) as writer:
        for index in range(n):
            label = index % 7
            angle = np.pi * label / 7
            wave = np.sin(1.2 * (x * np.cos(angle) + y * np.sin(angle)) + random.uniform(0, 6))
            image = np.clip(128 + 60 * wave + random.normal(0, 30, (24, 24)), 0, 255).astype(np.uint8)
            split = ("train", "train", "train", "train", "train", "validation", "test")[(index // 7) % 7]
            votes = [0] * 10
            votes[place[label]] = 8
            votes[7] = 2
            writer.add(split, str(index), encode_png(image), label, size=(24, 24), votes=votes)
    return open_dataset(workspace, name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser with a camera; a module may have another of its own."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "home")


@pytest.fixture
def tiny(workspace: Workspace) -> Dataset:
    """The stripes in the workspace."""
    return write_tiny(workspace)


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """An experiment file for the stripes."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


Mien = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def mien(workspace: Workspace) -> Mien:
    """Runs `mien` as a process in the workspace; gives exit code, standard output and standard error."""

    def run(*arguments: Any, env: dict[str, str] | None = None, cwd: Path = REPOSITORY) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "mien", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env={**os.environ, "MIEN_HOME": str(workspace.root), **(env or {})},
        )

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data, where MIEN_TEST_DATA names one."""
    folder = os.environ.get("MIEN_TEST_DATA")
    if not folder:
        pytest.skip("MIEN_TEST_DATA names no folder with the real data")
    return Path(folder)


@pytest.fixture(scope="session")
def fer2013(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the real FER2013, for tests that leave it as it is: what is measured there may stay."""
    home = Workspace(tmp_path_factory.mktemp("fer2013"))
    import_dataset(home, real_data / "fer2013" / "fer2013.parquet", "fer2013")
    return home


def read_json(text: str) -> Any:
    """The one JSON object of a `--json` output."""
    return json.loads(text)
