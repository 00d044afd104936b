"""The expression models that mien ships: their cards are of their files, and their numbers come out again."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut
from verbs import call

from mien.data.dataset import open_dataset
from mien.images import decode, encode_png
from mien.inference.model import SHIPPED, list_shipped, load
from mien.metrics.probabilities import probabilities
from mien.runs.model_file import ModelFile
from mien.runs.predictions import read_predictions
from mien.workflow import measure_file
from mien.workspace import Workspace

NAMES = ("mien-m", "mien-m-int8", "mien-s", "mien-s-int8")
# File, bytes, accuracy with its interval and n, the same without exact copies, digest.
ROW = (
    r"\| {} \| ([\d,]+) \| ([\d.]+) \[[^|]*\(n = ([\d,]+)\) \| ([\d.]+) \[[^|]*\(n = ([\d,]+)\) \| ([0-9a-f]{{64}}) \|"
)


def row(name: str) -> tuple[str, ...]:
    card = SHIPPED[name].with_name(name.removesuffix("-int8") + ".md").read_text(encoding="utf-8")
    (found,) = re.findall(ROW.format(re.escape(SHIPPED[name].name)), card)
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
        "mien-s": "expression",
        "mien-s-int8": "expression",
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


@pytest.mark.large
@pytest.mark.parametrize("name", NAMES)
def test_its_numbers_come_out_again(name: str, fer2013: Workspace, tmp_path: Path) -> None:
    file = ModelFile(SHIPPED[name], fer2013)
    measured = measure_file(file, ["test"], dataset="fer2013")
    _, accuracy, n, clean, clean_n, _ = row(name)
    # Processors round differently: of 3,589 answers a few may turn.
    assert measured["accuracy"] == pytest.approx(float(accuracy), abs=0.0015)
    assert measured["clean"]["accuracy"] == pytest.approx(float(clean), abs=0.0015)
    assert (f"{measured['n']:,}", f"{measured['clean']['n']:,}") == (n, clean_n)
    check_predict(name, file, fer2013, tmp_path)


def check_predict(name: str, file: ModelFile, fer2013: Workspace, folder: Path) -> None:
    """`mien predict` gives every tenth image of PrivateTest evaluate's probabilities."""
    dataset, stored = open_dataset(fer2013, "fer2013"), read_predictions(file.predictions("report"))
    images = dict(zip(dataset.ids("PrivateTest"), dataset.images("PrivateTest"), strict=True))
    places = range(0, len(stored), 10)
    for place in places:
        pixels = decode(images[stored.ids[place]], "gray")
        (folder / f"{place}.png").write_bytes(encode_png(pixels))
    done = call("predict", folder, "--model", name, "--detector", "none", "--workspace", fer2013.root, "--json")
    assert (done.code, done.json["n"], done.json["failed"]) == (0, 359, 0)
    told = {Path(face["path"]).stem: list(face["probabilities"].values()) for face in done.json["faces"]}
    expected = probabilities(stored.logits[places], load(name, fer2013).temperature or 1.0)
    assert np.abs(np.array([told[str(place)] for place in places]) - expected).max() < 1e-5
