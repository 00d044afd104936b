"""Weights with what is needed to use them."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mien.data.labels import FACE, FER2013, FERPLUS, LabelScheme
from mien.errors import MienError
from mien.experiment.building import build_model, build_pipeline
from mien.experiment.schema import Experiment, load_experiment
from mien.inference import load
from mien.inference.network import load_network
from mien.inference.weights import read_header, save_weights, store_temperature


@pytest.fixture
def experiment(tiny_file: Path) -> Experiment:
    """The stripes' experiment."""
    return load_experiment(tiny_file)


def test_the_header_says_what_the_weights_are_for(experiment: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    model = build_model(experiment, FER2013)
    save_weights(file, model.state_dict(), experiment, FER2013, "abc")
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["mien"])
    version = header.pop("mien")
    assert version.count(".") == 2
    assert header == {
        "experiment": "tiny",
        "task": "expression",
        "limits": "",
        "labels": "fer2013-7",
        "classes": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
        "input": {"size": 24, "color": "gray", "range": [0, 255]},
        "preprocess": [experiment.preprocess[0].model_dump(mode="json")],
        "model": experiment.model.model_dump(mode="json"),
        "protocol": {"name": "official"},
        "dataset": {"name": "tiny", "fingerprint": "abc"},
        "epochs": 3,
        "seed": 1,
        "start_weights": None,
    }
    assert header["preprocess"][0]["op"] == "normalize"


def test_loaded_weights_give_the_model_s_logits(experiment: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    model = build_model(experiment, FER2013)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_weights(file, model.state_dict(), experiment, FER2013, "abc")
    network = load_network(file, "cpu", experiment)
    images = torch.randint(0, 256, (5, 1, 24, 24), dtype=torch.uint8)
    ready, _ = build_pipeline(experiment.preprocess)(images.float())
    expected = model.eval()(ready)
    torch.testing.assert_close(network(images), expected)
    # Dropout rests.
    assert torch.equal(network(images), network(images.float()))
    assert network(images).dtype == torch.float32
    assert network.model.state_dict().keys() == load_file(file).keys()


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_points_are_the_same_of_images_of_any_size(tiny_file: Path, tmp_path: Path, color: str) -> None:
    overrides = [
        *(
            "task=landmarks",
            "dataset.name=faces",
            "dataset.size=16",
            f"dataset.color={color}",
            "train.monitor=choose_nme",
        ),
        *("model=landmarks-small", "model.width=8", "loss=wing", "augment=[{op: frame}]"),
    ]
    experiment, file = load_experiment(tiny_file, overrides), tmp_path / "weights.safetensors"
    model = build_model(experiment, FACE)
    save_weights(file, model.state_dict(), experiment, FACE, "abc", "for the tests alone")
    trained, network = load(file), load_network(file, "cpu", experiment)
    channels = 1 if color == "gray" else 3
    assert (trained.size, trained.color, trained.limits) == (16, color, "for the tests alone")
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    ready, _ = build_pipeline(experiment.preprocess)(images.float().expand(-1, channels, -1, -1))
    torch.testing.assert_close(network(images), model.eval()(ready))
    assert trained.points(images.permute(0, 2, 3, 1).numpy()).shape == (3, 68, 2)
    for side in (10, 40):
        others = torch.randint(0, 256, (1, 1, side, side), dtype=torch.uint8)
        plane = Image.fromarray(others[0, 0].numpy().astype(np.float32)).resize((16, 16), Image.Resampling.BILINEAR)
        fitting = torch.from_numpy(np.asarray(plane).copy())[None, None].expand(-1, channels, -1, -1)
        torch.testing.assert_close(network(others), network(fitting), rtol=1e-3, atol=1e-5)


def test_classes_come_from_the_file(experiment: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    own = LabelScheme("own", ("glad", "sad", "neither"))
    save_weights(file, build_model(experiment, own).state_dict(), experiment, own, "abc")
    assert load(file).scheme == own
    assert load(file).logits(np.zeros((2, 24, 24), np.uint8)).shape == (2, 3)


def test_a_temperature_is_stored_beside_the_same_tensors(experiment: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_weights(file, build_model(experiment, FER2013).state_dict(), experiment, FER2013, "abc")
    before, header = load_file(file), read_header(file)
    assert load(file).temperature is None
    for temperature in (1.25, 0.123456789):
        store_temperature(file, temperature)
        assert load(file).temperature == temperature
        after = load_file(file)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    # Tensors begin at a multiple of 8 bytes, as the format wants them.
    assert int.from_bytes(file.read_bytes()[:8], "little") % 8 == 0
    assert read_header(file) | {"temperature": None} == header | {"temperature": None}


def test_files_that_are_no_weights(experiment: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"

    def problem() -> str:
        with pytest.raises(MienError) as error:
            load_network(file, "cpu", experiment)
        assert error.value.file == str(file)
        return error.value.message

    assert problem() == "there are no weights; the run isn't finished"
    file.write_bytes(b"")
    assert problem().startswith(("these aren't weights that mien wrote", "the weights can't be read ("))
    file.write_bytes(b"\x80\x04no safetensors")
    assert problem().startswith(("these aren't weights that mien wrote", "the weights can't be read ("))
    save_file({"a": torch.zeros(1)}, file)
    assert problem().startswith(("these aren't weights that mien wrote", "the weights can't be read ("))
    save_file({"a": torch.zeros(1)}, file, metadata={"mien": "{"})
    assert problem().startswith(("these aren't weights that mien wrote", "the weights can't be read ("))
    model = build_model(experiment, FER2013)
    save_weights(file, {"other": torch.zeros(1)}, experiment, FER2013, "abc")
    assert problem().startswith("the weights don't fit the experiment's model (")
    save_weights(file, model.state_dict(), experiment, FERPLUS, "abc")
    assert problem().startswith("the weights don't fit the experiment's model (")


def test_weights_are_replaced_whole(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.safetensors"
    state = build_model(experiment, FER2013).state_dict()
    save_weights(file, state, experiment, FER2013, "abc")
    before = file.read_bytes()

    def failing(path: Path, content: bytes) -> None:
        with path.open("wb") as opened:
            opened.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(OSError, match="No space left") as error:
        save_weights(file, state, experiment, FER2013, "abc")
    assert error.value.filename == str(file)
    assert file.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []
