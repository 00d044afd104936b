"""The expression model that mien ships: its card is of its files, and its numbers come out again."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from mien.data.importers import import_dataset
from mien.inference.model import SHIPPED, list_shipped, load
from mien.runs.model_file import ModelFile
from mien.workflow import measure_file
from mien.workspace import Workspace

NAMES = ("mien-m", "mien-m-int8")
CARD = SHIPPED["mien-m"].with_suffix(".md").read_text(encoding="utf-8")
# File, bytes, accuracy with its interval and n, the same without exact copies, digest.
ROW = (
    r"\| {} \| ([\d,]+) \| ([\d.]+) \[[^|]*\(n = ([\d,]+)\) \| ([\d.]+) \[[^|]*\(n = ([\d,]+)\) \| ([0-9a-f]{{64}}) \|"
)


def row(name: str) -> tuple[str, ...]:
    (found,) = re.findall(ROW.format(re.escape(SHIPPED[name].name)), CARD)
    return tuple(found)


@pytest.mark.parametrize("name", NAMES)
def test_its_card_is_of_the_file(name: str) -> None:
    data = SHIPPED[name].read_bytes()
    size, *_, digest = row(name)
    assert (size, digest) == (f"{len(data):,}", hashlib.sha256(data).hexdigest())


def test_what_ships_is_small_and_listed() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.values()) <= 20_000_000
    found = {one["name"]: one for one in list_shipped()}
    assert {name: one["task"] for name, one in found.items()} == {
        "mien-m": "expression",
        "mien-m-int8": "expression",
        "landmarks-small": "landmarks",
    }
    assert all(Path(one["card"]).is_file() for one in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_a_smile(name: str, workspace: Workspace) -> None:
    model = load(name, workspace, threads=1)
    assert (model.name, model.size, model.color) == (name, 48, "gray")
    (answer,) = model.predict_faces(np.ascontiguousarray(astronaut()[40:220, 130:310]))
    assert (answer.top, answer.uncertain) == ("happy", "")
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_its_numbers_come_out_again(name: str, workspace: Workspace, real_data: Path) -> None:
    import_dataset(workspace, real_data / "fer2013" / "fer2013.parquet", "fer2013")
    measured = measure_file(ModelFile(SHIPPED[name], workspace), ["test"], dataset="fer2013")
    _, accuracy, n, clean, clean_n, _ = row(name)
    # Processors round differently: of 3,589 answers a few may turn.
    assert measured["accuracy"] == pytest.approx(float(accuracy), abs=0.0015)
    assert measured["clean"]["accuracy"] == pytest.approx(float(clean), abs=0.0015)
    assert (f"{measured['n']:,}", f"{measured['clean']['n']:,}") == (n, clean_n)
