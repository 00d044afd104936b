"""A model in use: numpy in, numpy out, and what it says of itself."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, write_tiny
from test_architecture import loaded

from mien.data.dataset import open_dataset
from mien.errors import MienError
from mien.evaluation import evaluate
from mien.experiment.building import build_model
from mien.experiment.schema import load_experiment
from mien.images import decode
from mien.inference import Model, load
from mien.inference.model import SHIPPED
from mien.inference.network import TorchBackend
from mien.inference.weights import save_weights
from mien.registry import load_plugins
from mien.runs.predictions import read_predictions
from mien.runs.run import Run, new_run
from mien.workspace import Workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with the weights that its seed draws, measured on choose and report, in a workspace of its own."""
    home = Workspace(tmp_path_factory.mktemp("home"))
    return measured(home, TINY + "tta: flip-shifts\n")


def measured(home: Workspace, text: str) -> Run:
    dataset = write_tiny(home)
    (home.root / "made.yaml").write_text(text)
    made = new_run(home, load_experiment(home.root / "made.yaml"))
    names, fingerprint = dataset.card.scheme, dataset.card.fingerprint
    save_weights(made.weights, build_model(made.experiment, names).state_dict(), made.experiment, names, fingerprint)
    made.write_environment({"dataset": {"name": "tiny", "fingerprint": fingerprint}})
    made.set_state("finished")
    evaluate(home, made, "report")
    return made


@pytest.fixture(scope="module")
def home(run: Run) -> Workspace:
    return Workspace(run.folder.parents[2])


@pytest.fixture(scope="module")
def model(home: Workspace) -> Model:
    return load("tiny", home)


@pytest.fixture(scope="module")
def images(home: Workspace) -> np.ndarray:
    """The report rows' images, uint8 (n, 24, 24, 1)."""
    return np.stack([decode(data, "gray", 24) for data in open_dataset(home, "tiny").images("test")])


def refused(model: Model, images: object) -> str:
    with pytest.raises(MienError) as error:
        model.logits(images)  # type: ignore[arg-type]
    return str(error.value)


def test_a_model_says_what_it_is(model: Model, run: Run) -> None:
    assert (model.name, model.task, model.size, model.color) == ("tiny/1", "expression", 24, "gray")
    assert (model.scheme.name, len(model.scheme.classes)) == ("fer2013-7", 7)
    assert (model.tta, model.limits) == ("flip-shifts", "")
    assert model.temperature is not None
    assert model.digest == hashlib.sha256(run.weights.read_bytes()).hexdigest()


def test_logits_are_those_that_evaluation_stored(model: Model, run: Run, images: np.ndarray) -> None:
    stored = read_predictions(run.predictions("report"))
    found = model.logits(images)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, stored.logits)
    averaged = read_predictions(run.folder / "predictions" / "report-tta.parquet")
    np.testing.assert_array_equal(model.logits(images, tta="flip-shifts"), averaged.logits)


def test_more_images_than_fit_at_once_have_the_same_logits(model: Model, images: np.ndarray) -> None:
    many = np.resize(images, (600, 24, 24, 1))
    np.testing.assert_allclose(model.logits(many), np.resize(model.logits(images), (600, 7)), atol=1e-5)
    assert model.logits(images[:0]).shape == (0, 7)


def test_probabilities_are_the_softmax_by_the_temperature(model: Model, images: np.ndarray) -> None:
    wanted = torch.softmax(torch.from_numpy(model.logits(images)).double() / model.temperature, dim=1)
    np.testing.assert_allclose(model.probabilities(images), wanted, rtol=1e-12)


def test_gray_images_need_no_channel(model: Model, images: np.ndarray) -> None:
    np.testing.assert_array_equal(model.logits(images[..., 0]), model.logits(images))
    # Nor do they have to lie one after the other, or be free to write into.
    turned = images[:, :, ::-1]
    turned.flags.writeable = False
    np.testing.assert_array_equal(model.logits(turned), model.logits(turned.copy()))


def test_other_images_are_refused_in_one_sentence(model: Model, images: np.ndarray) -> None:
    assert refused(model, images / 255) == "these images are float64; expected a numpy array of uint8, values 0 to 255"
    assert refused(model, [images]) == "these images are list; expected a numpy array of uint8, values 0 to 255"
    shapes = "(n, height, width), or (n, height, width, channels) with 1 or 3 channels"
    assert refused(model, images[0, :, :, 0]) == f"these images are an array of shape (24, 24); expected {shapes}"
    assert refused(model, images.transpose(0, 3, 1, 2)).startswith("these images are an array of shape (35, 1, 24, 24)")
    wanted = "; expected height × width × channels of 24 × 24 × 1"
    assert refused(model, images[:, 1:]) == f"these images are 23 × 24 × 1{wanted}"
    assert refused(model, images.repeat(3, axis=3)) == f"these images are 24 × 24 × 3{wanted}"
    with pytest.raises(MienError, match="tiny/1 gives no points; expected a model whose task is landmarks"):
        model.points(images)
    with pytest.raises(MienError, match="landmarks-small gives no logits; expected a model whose task is expression"):
        load("landmarks-small", Workspace(Path("none"))).logits(images)


def test_a_model_is_found_by_run_folder_file_and_name(model: Model, home: Workspace, run: Run) -> None:
    for reference in ("tiny/1", str(run.folder), run.folder, run.weights, str(run.weights)):
        found = load(reference, home)
        assert (found.digest, found.scheme, found.temperature) == (model.digest, model.scheme, model.temperature)
    assert (load(run.weights).name, load(run.weights).tta) == ("tiny", "none")
    shipped = load("landmarks-small", home)
    assert (shipped.name, shipped.task, shipped.limits) == (
        *("landmarks-small", "landmarks"),
        "trained on research-only annotations",
    )


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tinny", "there is no model 'tinny'; expected a weights or ONNX file, a run of {home}, or a shipped model: "),
        ("landmark-small", "there is no model 'landmark-small'; "),
        ("none.safetensors", "none.safetensors: there is no such weights file"),
        ("made.yaml", "made.yaml:4: model: "),
    ],
)
def test_what_is_no_model(home: Workspace, monkeypatch: pytest.MonkeyPatch, reference: str, message: str) -> None:
    monkeypatch.chdir(home.root)
    with pytest.raises(MienError) as error:
        load(reference)
    assert str(error.value).startswith(message.format(home=home.root))
    assert error.value.nearest == {"tinny": "tiny", "landmark-small": "landmarks-small"}.get(reference)


def test_a_run_comes_before_a_shipped_model_of_its_name(tmp_path: Path) -> None:
    home = Workspace(tmp_path)
    measured(home, TINY.replace("name: tiny", "name: landmarks-small", 1))
    assert load("landmarks-small", home).name == "landmarks-small/1"


def test_a_run_that_isnt_finished_has_no_model(workspace: Workspace, tiny_file: Path) -> None:
    run = new_run(workspace, load_experiment(tiny_file))
    run.set_state("stopped")
    with pytest.raises(MienError, match="run tiny/1 is stopped and has no weights") as error:
        load("tiny", workspace)
    assert error.value.expected == "a finished run: mien train --resume tiny/1"


def test_weights_of_a_plugins_model_need_their_run(tmp_path: Path) -> None:
    home, plugin = Workspace(tmp_path), tmp_path / "mine.py"
    plugin.write_text(
        "from torch import nn\nfrom mien.registry import register\n\n"
        "@register('model', 'mine')\n"
        "def mine(in_channels: int, image_size: int, num_classes: int) -> nn.Module:\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))\n"
    )
    lines = [line for line in TINY.splitlines() if not line.startswith("model:")]
    run = measured(home, "\n".join([*lines, f"plugins: [{plugin}]", "model: mine", ""]))
    assert load(run.folder, home).logits(np.zeros((1, 24, 24), np.uint8)).shape == (1, 7)
    load_plugins([])
    with pytest.raises(MienError) as error:
        load(run.weights)
    assert str(error.value) == (
        f"{run.weights}: mien itself has no model 'mine', and a weights file doesn't hold the plugin that has it; "
        "expected the run that it is of, whose folder has its plugins"
    )


def test_logits_are_the_backends_whatever_it_runs_on(model: Model, images: np.ndarray) -> None:
    assert isinstance(model.backend, TorchBackend)
    network, device = model.backend.network, model.backend.device
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
    with torch.inference_mode():
        wanted = network.model(network.preprocess(pixels.float())[0]).cpu()
    np.testing.assert_allclose(model.logits(images), wanted, atol=1e-5)


def test_importing_it_loads_no_torch_and_a_model_loads_no_trainer() -> None:
    heavy = {"torch", "pytorch_lightning", "matplotlib", "sklearn", "kornia", "scipy"}
    assert loaded("import mien.inference") & heavy == set()
    assert loaded("import mien.inference; mien.inference.load('landmarks-small')") & heavy == set()
    weights = str(SHIPPED["landmarks-small"].with_suffix(".safetensors"))
    with_model = loaded(f"import mien.inference; mien.inference.load({weights!r})")
    assert with_model & {"torch", "pytorch_lightning", "matplotlib"} == {"torch"}
