"""The layers of a model by name: the last one, and those that don't learn."""

import pytest
import torch
from torch import nn

from mien.errors import MienError
from mien.experiment.schema import import_components
from mien.models.layers import freeze, last_layer, under
from mien.registry import entry

import_components()


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("cnn", "classifier.logits"),
        ("compact", "logits"),
        ("resnet", "fc"),
        ("googlenet", "fc"),
        ("mobilenet_v2", "classifier.1"),
        ("xception", "fc"),
    ],
)
def test_the_last_layer_gives_the_outputs(name: str, last: str) -> None:
    build = entry("model", name).build
    given = {"in_channels": 1, "image_size": 48, "num_classes": 7}
    model = build(**{key: value for key, value in given.items() if key in build.__init__.__annotations__})
    assert last_layer(model) == last
    layer = model.get_submodule(last)
    assert isinstance(layer, nn.Linear)
    # Nothing but what it gives reaches the outputs.
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.arange(len(layer.bias)))
        outputs = model.eval()(torch.rand(1, 1, 48, 48))
    assert torch.equal(outputs.flatten(), torch.arange(outputs.numel(), dtype=torch.float32))


def test_a_model_without_a_linear_layer_ends_in_its_last_layer() -> None:
    assert last_layer(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten())) == "2"
    with pytest.raises(MienError, match="the model has no parameters"):
        last_layer(nn.Sequential(nn.ReLU()))


def test_names_are_told_apart_at_dots() -> None:
    names = ["a.1.weight", "a.10.weight", "a.1", "ab.weight", "b.a.1.bias"]
    assert [name for name in names if under(name, ["a.1", "b.a"])] == ["a.1.weight", "a.1", "b.a.1.bias"]


def test_what_is_frozen_learns_no_more() -> None:
    model = entry("model", "mobilenet_v2").build(in_channels=1, image_size=48, num_classes=7)
    norms = freeze(model, ["features.0", "features.18.1"])
    learns = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    frozen = {name for name, _ in model.named_parameters()} - learns
    assert frozen == {
        f"features.{name}" for name in ("0.0.weight", "0.1.weight", "0.1.bias", "18.1.weight", "18.1.bias")
    }
    assert norms == [model.features[0][1], model.features[18][1]]


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        (
            ["feature"],
            "no parameter's name begins with 'feature'; expected for example features, features.9, features.8",
        ),
        (["0"], "no parameter's name begins with '0'; expected for example features, classifier"),
        (["features", "classifier"], "every parameter is frozen; expected at least the last layer left to learn"),
    ],
)
def test_what_cannot_be_frozen(prefixes: list[str], message: str) -> None:
    model = entry("model", "mobilenet_v2").build(in_channels=1, image_size=48, num_classes=7)
    with pytest.raises(MienError) as error:
        freeze(model, prefixes)
    assert str(error.value) == message
