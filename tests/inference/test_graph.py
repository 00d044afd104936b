"""A network as an ONNX graph: the same answers as PyTorch, for images of any size and colour."""

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from mien.augment import Normalize, Op, Pipeline, RepeatChannels, Resize
from mien.errors import FailedError
from mien.images import decode, encode_png
from mien.inference.graph import Parts, Precision, classes_graph, classes_parts, network_of, points_graph
from mien.inference.model import SHIPPED, Model, load
from mien.inference.network import Network, TorchBackend
from mien.models.resnet import ResNet

TEMPERATURE = 1.7


def network(*ops: Op, channels: int = 1, width: int = 8) -> Network:
    torch.manual_seed(0)
    model = ResNet(channels, 24, 7, width=width, blocks=(1, 1))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):  # As training leaves it, so that folding it into weights is tested.
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 2)
    return Network(model, Pipeline([*ops, Normalize()])).eval()


def run(data: bytes, images: npt.NDArray[np.uint8], *names: str) -> list[npt.NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return list(session.run(names or None, {"images": images}))


def noise(n: int, *shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, *shape), np.uint8)


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_probabilities_and_logits_are_those_of_pytorch(color: str) -> None:
    channels = 1 if color == "gray" else 3
    net = network(channels=channels)
    data = classes_graph(net, 24, color == "gray", TEMPERATURE).joined("float32", {})
    for n in (1, 5):
        images = noise(n, 24, 24, channels)
        expected = TorchBackend(net, "cpu").outputs(images)
        probabilities, logits = run(data, images)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        softmax = torch.softmax(torch.from_numpy(expected) / TEMPERATURE, dim=1)
        np.testing.assert_allclose(probabilities, softmax, atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 24, 3), (31, 17, 1), (17, 31, 3), (100, 24, 1), (90, 120, 3)])
def test_images_of_any_size_and_colour_become_what_a_data_set_would_hold(shape: tuple[int, int, int]) -> None:
    net = network()
    data = classes_graph(net, 24, True, 1.0).joined("float32", {})
    parts = classes_graph(net, 24, True, 1.0)
    (image,) = noise(1, *shape)
    stored = decode(encode_png(image), "gray", 24)
    ready = parts.inputs(image[None])[0, 0]
    assert np.abs(ready - stored[:, :, 0]).max() <= 1
    assert (ready != stored[:, :, 0]).mean() < 0.3
    probabilities, _ = run(data, image[None])
    expected, _ = run(data, ready[None, :, :, None].astype(np.uint8))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_a_gray_image_is_repeated_for_a_model_of_colour() -> None:
    parts = classes_graph(network(channels=3), 24, False, 1.0)
    gray = noise(2, 24, 24, 1)
    np.testing.assert_array_equal(parts.inputs(gray), np.repeat(gray.transpose(0, 3, 1, 2), 3, axis=1))


@pytest.mark.parametrize("size", [16, 40])
def test_ops_of_preprocess_stand_in_the_graph(size: int) -> None:
    net = network(Resize(size=size), RepeatChannels(n=3), channels=3)
    parts = classes_graph(net, 24, True, 1.0)
    images = noise(3, 24, 24, 1)
    expected = TorchBackend(net, "cpu").outputs(images)
    (logits,) = run(parts.joined("float32", {}), images, "logits")
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    # Its products of pixels aren't the model's, so int8 leaves them alone.
    quantised = onnx.load_model_from_string(parts.joined("int8", {}, parts.inputs(images)))
    products = [one for one in quantised.graph.node if one.output[0].startswith("/MatMul")]
    assert len(products) == 2
    scaled = {name for one in quantised.graph.node if one.op_type == "DequantizeLinear" for name in one.output}
    assert not scaled & {name for one in products for name in one.input}


@pytest.fixture(scope="module")
def points() -> tuple[Model, Parts]:
    model = load(SHIPPED["landmarks-small"].with_suffix(".safetensors"))
    assert isinstance(model.backend, TorchBackend)
    return model, points_graph(model.backend.network, model.size, True, 1.0)


@pytest.mark.parametrize("shape", [(64, 64, 1), (64, 64, 3), (31, 47, 1), (200, 90, 3)])
def test_points_are_those_of_pytorch_on_images_of_any_size(points: tuple[Model, Parts], shape: tuple[int, ...]) -> None:
    model, parts = points
    images = noise(2, *shape)
    found, shares = run(parts.joined("float32", {}), images)
    assert found.shape == (2, 68, 2)
    np.testing.assert_allclose(found, model.points(images), atol=1e-3)
    np.testing.assert_allclose(shares, model.outputs(images), atol=2e-6)


def test_float16_halves_the_weights_and_hardly_moves_an_answer() -> None:
    net = network()
    parts = classes_graph(net, 24, True, 1.0)
    whole, half = parts.joined("float32", {}), parts.joined("float16", {})
    weights = sum(4 * one.numel() for one in net.parameters() if one.ndim > 1)
    assert len(whole) - len(half) == pytest.approx(weights / 2, abs=4000)
    images = noise(64, 24, 24, 1)
    expected, found = (run(data, images, "probabilities")[0] for data in (whole, half))
    assert 0 < np.abs(found - expected).max() < 2e-3


def test_int8_quantises_convolutions_and_products_alone() -> None:
    parts = classes_graph(network(width=32), 24, True, 1.0)
    images = noise(64, 24, 24, 1)
    data = parts.joined("int8", {}, parts.inputs(images))
    nodes = onnx.load_model_from_string(data).graph.node
    scaled = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    quantised = {node.op_type for node in nodes if node.input and set(node.input[:2]) <= scaled}
    assert quantised >= {"Conv", "Gemm"}
    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            assert set(node.input[:2]) <= scaled, node.output[0]
    # Per channel: as many scales as a convolution has filters.
    weights = [node for node in nodes if node.op_type == "DequantizeLinear" and node.attribute]
    assert len(weights) >= sum(node.op_type in ("Conv", "Gemm") for node in nodes)
    assert len(data) < 0.6 * len(parts.joined("float32", {}))
    # In 7 bits: two products of 8 bits would saturate in 16 where a processor adds them so.
    stored = [numpy_helper.to_array(one) for one in onnx.load_model_from_string(data).graph.initializer]
    assert max(np.abs(one.astype(int)).max() for one in stored if one.dtype == np.int8) == 64
    expected, found = (run(one, images, "probabilities")[0] for one in (parts.joined("float32", {}), data))
    assert np.abs(found - expected).max() < 0.05


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_network_comes_out_of_a_file_again(precision: Precision) -> None:
    parts = classes_graph(network(), 24, True, 2.0)
    file = onnx.load_model_from_string(parts.joined(precision, {}))
    again = classes_parts(network_of(file), 24, True, 2.0)
    images = noise(8, 30, 24, 1)
    expected = run(file.SerializeToString(), images, "probabilities", "logits")
    found = run(again.joined("float32", {}), images, "probabilities", "logits")
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.joined(precision, {}) == parts.joined(precision, {})
    made = (one.joined("int8", {}, one.inputs(images)) for one in (parts, again))
    ops, others = ([node.op_type for node in onnx.load_model_from_string(data).graph.node] for data in made)
    assert others == ops


def test_the_same_network_gives_the_same_bytes_without_a_path_of_this_machine() -> None:
    def made() -> bytes:
        parts = classes_graph(network(), 24, True, 1.0)
        return parts.joined("int8", {"mien": "{}"}, parts.inputs(noise(8, 24, 24, 1)))

    assert made() == made()
    for folder in (b"/mien/", b"site-packages", b"/tmp"):
        assert folder not in made()


def test_a_model_without_a_form_in_onnx_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(images.flatten(1)[:, :7])

    with pytest.raises(FailedError) as error:
        classes_graph(Network(Odd(), Pipeline([])), 24, True, 1.0)
    assert str(error.value).startswith("this model has no form in ONNX (")
    assert "\n" not in str(error.value)
    assert capfd.readouterr().out == ""
