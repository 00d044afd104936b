"""The models' sizes, their forward passes and what `summarize` counts."""

import pkgutil

import pytest
import torch
from torch import nn

import mien.models
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.models import resnet, xception
from mien.models.cnn import CNN
from mien.models.compact import Compact, DropPath
from mien.models.googlenet import GoogLeNet
from mien.models.landmarks import LandmarksSmall, mean_places
from mien.models.mobilenet import InvertedResidual, MobileNetV2
from mien.models.resnet import ResNet
from mien.models.summary import summarize
from mien.models.xception import Separable, Xception
from mien.registry import build, entry, names

FER = {"in_channels": 3, "image_size": 48, "num_classes": 7}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def images(n: int = 4, channels: int = 3, size: int = 48, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_importing_the_package_registers_the_models():
    files = {module.name for module in pkgutil.iter_modules(mien.models.__path__)}
    assert mien.models.__all__ == sorted(files - {"layers", "published", "summary"})
    assert {"cnn", "compact", "googlenet", "landmarks-small", "mobilenet_v2", "resnet", "xception"} <= set(
        names("model")
    )


class TestCNN:
    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"kernel_size": 5, "fc": (120, 250)}, 2_812_307),
            ({"fc": (250, 120, 120, 120)}, 5_846_037),
            ({"fc": (250, 120, 120, 120, 50, 50)}, 5_854_147),
            ({"kernel_size": 3, "fc": (120, 250)}, 3_499_827),
        ],
        ids=["CNN 1", "CNN 2", "CNN 3", "CNN 4"],
    )
    def test_the_reports_four_have_their_parameter_counts(self, parameters, expected):
        assert count(CNN(**FER, **parameters)) == expected

    def test_its_forward_pass_is_the_functions_one_after_the_other(self):
        torch.manual_seed(0)
        model, x = CNN(**FER), images()
        state, f = model.state_dict(), nn.functional
        expected = x
        for number in (1, 2):
            name = f"features.conv{number}"
            expected = f.relu(f.conv2d(expected, state[f"{name}.weight"], state[f"{name}.bias"]))
            expected = f.max_pool2d(expected, kernel_size=4, stride=1)
        expected = expected.reshape(4, 20 * 34 * 34)
        for name in ("classifier.fc1", "classifier.fc2"):
            expected = f.relu(f.linear(expected, state[f"{name}.weight"], state[f"{name}.bias"]))
        expected = f.linear(expected, state["classifier.logits.weight"], state["classifier.logits.bias"])
        torch.testing.assert_close(model(x), expected)

    def test_all_parameters_together(self):
        model = CNN(
            1, 32, 5, channels=(4, 6, 8), kernel_size=3, pool_size=2, pool_stride=2, fc=(), dropout=0.5, batch_norm=True
        )
        assert [name for name, _ in model.features.named_children()] == [
            f"{kind}{number}" for number in (1, 2, 3) for kind in ("conv", "norm", "relu", "pool")
        ]
        # 32 → 30 → 15 → 13 → 6 → 4 → 2 px; a convolution before batch norm has no bias.
        assert count(model) == (9 * 4 + 8) + (9 * 4 * 6 + 12) + (9 * 6 * 8 + 16) + (8 * 2 * 2 * 5 + 5)
        assert model(images(2, 1, 32)).shape == (2, 5)

    def test_dropout_stands_behind_each_hidden_layer(self):
        model = CNN(**FER, dropout=0.5)
        assert [name for name, _ in model.classifier.named_children()] == [
            *("flatten", "fc1", "relu1", "dropout1", "fc2", "relu2", "dropout2", "logits")
        ]

    def test_images_too_small_for_the_kernels_are_an_error(self):
        assert CNN(3, 15, 7)(images(2, 3, 15)).shape == (2, 7)
        with pytest.raises(MienError) as error:
            CNN(3, 14, 7)
        assert str(error.value) == (
            "model: images of 14 px are too small for the cnn: "
            "nothing is left after convolution 2 of 5×5 and its pooling of 4×4"
            "; expected larger images, fewer channels or a smaller kernel_size or pool_size"
        )

    def test_a_pooling_larger_than_its_input_is_an_error_even_with_a_long_stride(self):
        with pytest.raises(MienError, match="too small for the cnn"):
            CNN(3, 10, 7, channels=(10,), kernel_size=5, pool_size=8, pool_stride=4)


class TestGoogLeNet:
    def test_it_has_torchvisions_parameters(self):
        model = GoogLeNet(**FER)
        assert count(model) == 5_607_079
        # torchvision's model of 1000 classes without its auxiliary heads.
        assert count(GoogLeNet(3, 224, 1000)) == 6_624_904

        state = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        # 57 convolutions with batch norm (weight; weight, bias, mean, variance, batches) and fc.
        assert len(state) == 57 * 6 + 2
        assert {name.split(".")[0] for name in state} == {
            *("conv1", "conv2", "conv3", "inception3a", "inception3b", "inception4a", "inception4b", "inception4c"),
            *("inception4d", "inception4e", "inception5a", "inception5b", "fc"),
        }
        assert [name for name in state if name.startswith("inception3a") and name.endswith("conv.weight")] == [
            "inception3a.branch1.conv.weight",
            "inception3a.branch2.0.conv.weight",
            "inception3a.branch2.1.conv.weight",
            "inception3a.branch3.0.conv.weight",
            "inception3a.branch3.1.conv.weight",
            "inception3a.branch4.1.conv.weight",
        ]
        assert [name for name in state if name.startswith("conv1")] == [
            "conv1.conv.weight",
            *(f"conv1.bn.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        ]
        assert state["conv1.conv.weight"] == (64, 3, 7, 7)
        assert state["inception3a.branch3.1.conv.weight"] == (32, 16, 3, 3)
        assert state["inception4d.branch2.1.conv.weight"] == (288, 144, 3, 3)
        assert state["inception5b.branch4.1.conv.weight"] == (128, 832, 1, 1)
        assert state["fc.weight"] == (7, 1024)

    def test_its_layers_have_the_papers_sizes(self):
        layers = {layer.name: layer for layer in summarize(GoogLeNet(3, 224, 1000), 3, 224).layers}
        assert layers["conv1.conv"].output_shape == (64, 112, 112)
        assert layers["maxpool1"].output_shape == (64, 56, 56)
        assert layers["maxpool2"].output_shape == (192, 28, 28)
        assert layers["maxpool3"].output_shape == (480, 14, 14)
        assert layers["maxpool4"].output_shape == (832, 7, 7)
        assert layers["avgpool"].output_shape == (1024, 1, 1)

    def test_it_starts_as_torchvision_does(self):
        torch.manual_seed(0)
        model = GoogLeNet(**FER)
        for weight in (model.conv3.conv.weight, model.fc.weight):
            assert weight.mean().item() == pytest.approx(0, abs=5e-4)
            assert weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert model.conv1.bn.eps == 0.001
        assert model.dropout.p == 0.2

    def test_it_runs_from_15_px_on(self):
        model = GoogLeNet(1, 15, 7).eval()
        assert model(images(1, 1, 15)).shape == (1, 7)
        with pytest.raises(
            MienError, match="model: images of 14 px are too small for googlenet; expected at least 15 px"
        ):
            GoogLeNet(1, 14, 7)


class TestMobileNetV2:
    def test_it_has_torchvisions_parameters(self):
        # torchvision's model of 1000 classes has 3,504,872.
        assert count(MobileNetV2(3, 224, 1000)) == 3_504_872
        assert count(MobileNetV2(**FER)) == 3_504_872 - 993 * 1281
        state = {name: tuple(value.shape) for name, value in MobileNetV2(**FER).state_dict().items()}
        # 52 convolutions with batch norm (weight; weight, bias, mean, variance, batches) and the classifier.
        assert len(state) == 52 * 6 + 2
        assert [name for name in state if name.startswith("features.1.") and name.endswith("weight")] == [
            *("features.1.conv.0.0.weight", "features.1.conv.0.1.weight"),
            *("features.1.conv.1.weight", "features.1.conv.2.weight"),
        ]
        assert [name for name in state if name.startswith("features.17.") and state[name][1:]] == [
            f"features.17.conv.{part}.weight" for part in ("0.0", "1.0", "2")
        ]
        assert state["features.0.0.weight"] == (32, 3, 3, 3)
        assert state["features.17.conv.1.0.weight"] == (960, 1, 3, 3)
        assert state["features.18.0.weight"] == (1280, 320, 1, 1)
        assert state["classifier.1.weight"] == (7, 1280)

    def test_its_maps_have_the_papers_sizes(self):
        shapes = {layer.name: layer.output_shape for layer in summarize(MobileNetV2(3, 224, 1000), 3, 224).layers}
        last = {1: "conv.2", **dict.fromkeys(range(2, 18), "conv.3")}
        # Table 2: channels, size and blocks.
        rows = [(16, 112, 1), (24, 56, 2), (32, 28, 3), (64, 14, 4), (96, 14, 3), (160, 7, 3), (320, 7, 1)]
        expected = [(channels, size, size) for channels, size, blocks in rows for _ in range(blocks)]
        assert [shapes[f"features.{block}.{last[block]}"] for block in range(1, 18)] == expected
        assert shapes["features.0.0"] == (32, 112, 112)
        assert shapes["features.18.0"] == (1280, 7, 7)

    def test_it_has_the_papers_multiply_adds(self):
        # Table 4: 300 M for 224 px.
        assert summarize(MobileNetV2(3, 224, 1000), 3, 224).macs == 300_774_272

    def test_a_block_is_added_to_its_input_where_nothing_changes(self):
        blocks = [one for one in MobileNetV2(**FER).modules() if isinstance(one, InvertedResidual)]
        added = [number for number, block in enumerate(blocks, start=1) if block.adds]
        assert added == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
        torch.manual_seed(0)
        block, f = blocks[2].eval(), nn.functional
        x, scale = images(2, 24, 12), (1 + 1e-5) ** -0.5
        inner = f.relu6(f.conv2d(x, block.conv[0][0].weight) * scale)
        inner = f.relu6(f.conv2d(inner, block.conv[1][0].weight, padding=1, groups=144) * scale)
        torch.testing.assert_close(block(x), x + f.conv2d(inner, block.conv[2].weight) * scale)

    def test_it_starts_as_torchvision_does(self):
        torch.manual_seed(0)
        model = MobileNetV2(**FER)
        weight = model.features[18][0].weight
        assert weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.01)
        # Of a convolution on each channel alone torch takes all channels for its fan out.
        assert model.features[17].conv[1][0].weight.std().item() == pytest.approx((2 / (960 * 9)) ** 0.5, rel=0.03)
        assert model.classifier[1].weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert model.classifier[1].bias.abs().sum().item() == 0


class TestResNet:
    def test_at_width_64_it_is_resnet_18_with_a_small_stem(self):
        # ResNet-18 has 11,689,512 parameters; its 7×7 stem is 3×3 here.
        assert count(ResNet(3, 48, 1000, width=64)) == 11_689_512 - 64 * 3 * (49 - 9)

    def test_each_stage_halves_the_image_and_doubles_the_width(self):
        model = ResNet(1, 48, 7, width=8, blocks=(1, 2, 1))
        x, shapes = model.conv1(images(1, 1)), []
        for stage in model.stages:
            x = stage(x)
            shapes.append(tuple(x.shape[1:]))
        assert shapes == [(8, 48, 48), (16, 24, 24), (32, 12, 12)]
        assert [len(stage) for stage in model.stages] == [1, 2, 1]

    def test_its_convolutions_start_by_the_fan_out(self):
        torch.manual_seed(0)
        weight = ResNet(1, 48, 7, width=32, blocks=(1, 1)).stages[1][0].conv1.weight
        assert weight.shape == (64, 32, 3, 3)
        assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)

    def test_a_block_starts_as_the_identity(self):
        block = ResNet(1, 48, 7, width=8, blocks=(1,)).stages[0][0]
        x = images(2, 8, 12)
        assert torch.equal(block(x), x)

    def test_a_block_adds_two_convolutions_to_its_input(self):
        torch.manual_seed(0)
        block = ResNet(1, 48, 7, width=8, blocks=(1,)).stages[0][0].eval()
        nn.init.ones_(block.bn2.weight)
        x, scale = images(2, 8, 12), (1 + 1e-5) ** -0.5
        inner = torch.relu(nn.functional.conv2d(x, block.conv1.weight, padding=1) * scale)
        inner = nn.functional.conv2d(inner, block.conv2.weight, padding=1) * scale
        torch.testing.assert_close(block(x), torch.relu(inner + x))

    def test_more_stages_than_the_image_can_be_halved_are_an_error(self):
        assert ResNet(1, 8, 7, width=2, blocks=(1, 1, 1, 1)).eval()(images(1, 1, 8)).shape == (1, 7)
        with pytest.raises(
            MienError, match="model: images of 8 px are too small for a resnet of 5 stages; expected at least 16"
        ):
            ResNet(1, 8, 7, width=2, blocks=(1, 1, 1, 1, 1))


class TestCompact:
    def test_its_stem_and_each_later_stage_halve_the_image(self):
        model = Compact(1, 48, 7, width=8, blocks=(1, 2, 1))
        x, shapes = model.conv1(images(1, 1)), []
        for stage in model.stages:
            x = stage(x)
            shapes.append(tuple(x.shape[1:]))
        assert shapes == [(8, 24, 24), (16, 12, 12), (32, 6, 6)]
        assert [len(stage) for stage in model.stages] == [1, 2, 1]
        rates = [block.drop_path.rate for stage in Compact(1, 48, 7, width=8, drop_path=0.2).stages for block in stage]
        assert rates == pytest.approx([0.2 * number / 6 for number in range(1, 7)])

    def test_squeeze_and_excitation_weighs_the_channels_by_their_means(self):
        torch.manual_seed(0)
        block = Compact(1, 48, 7, width=8, blocks=(1,)).stages[0][0].eval()
        nn.init.ones_(block.bn2.weight)
        x, f, state = images(2, 8, 12), nn.functional, block.state_dict()
        assert state["se.fc1.weight"].shape == (2, 8, 1, 1)
        inner = block.bn2(f.conv2d(torch.relu(block.bn1(block.conv1(x))), state["conv2.weight"], padding=1))
        hidden = torch.relu(f.linear(inner.mean((2, 3)), state["se.fc1.weight"].flatten(1)))
        weights = torch.sigmoid(f.linear(hidden, state["se.fc2.weight"].flatten(1)))
        torch.testing.assert_close(block(x), torch.relu(inner * weights[..., None, None] + x))

    def test_without_squeeze_and_excitation_it_is_a_resnet_with_another_stem(self):
        plain = count(ResNet(1, 48, 7, width=8, blocks=(1, 2)))
        assert count(Compact(1, 48, 7, width=8, blocks=(1, 2), se=0)) == plain + 8 * (25 - 9)

    def test_stochastic_depth_zeroes_images_and_keeps_the_mean(self):
        torch.manual_seed(0)
        found = DropPath(0.25)(torch.ones(4000, 2, 1, 1)).flatten(1)
        assert torch.equal(found[:, 0], found[:, 1])
        assert found.unique().tolist() == pytest.approx([0, 4 / 3])
        assert found.mean().item() == pytest.approx(1, abs=0.03)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_as_onnx_it_takes_any_batch(self, tmp_path):
        onnxruntime = pytest.importorskip("onnxruntime")
        torch.manual_seed(0)
        model = Compact(1, 48, 7, width=4, blocks=(1, 1), drop_path=0.5, dropout=0.5).eval()
        nn.init.ones_(model.stages[1][0].bn2.weight)
        file = str(tmp_path / "compact.onnx")
        torch.onnx.export(
            model, (images(2, 1),), file, input_names=["images"], dynamic_axes={"images": {0: "n"}}, dynamo=False
        )
        (logits,) = onnxruntime.InferenceSession(file).run(None, {"images": images(5, 1).numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(images(5, 1)).detach(), rtol=1e-4, atol=1e-5)

    def test_more_stages_than_the_image_can_be_halved_are_an_error(self):
        assert Compact(1, 8, 7, width=2, blocks=(1, 1, 1)).eval()(images(1, 1, 8)).shape == (1, 7)
        with pytest.raises(
            MienError, match="model: images of 8 px are too small for a compact of 4 stages; expected at least 16"
        ):
            Compact(1, 8, 7, width=2)


class TestXception:
    def test_it_has_chollets_36_layers_in_14_modules(self):
        model = Xception(1, 128, 136)
        assert (len(model.entry), len(model.middle), len(model.exit)) == (4, 8, 2)
        modules = [*model.entry, *model.middle, *model.exit]
        assert len(modules) == 14

        def layers(module):
            found = list(module.modules())
            separable = [one for one in found if isinstance(one, Separable)]
            within = {id(inner) for one in separable for inner in one.modules()}
            plain = [one for one in found if isinstance(one, nn.Conv2d) and id(one) not in within]
            return separable, plain

        separable = [len(layers(module)[0]) for module in modules]
        assert separable == [0, 2, 2, 2, *[3] * 8, 2, 2]
        assert sum(separable) == 34
        # Linear residual connections around all but the first and the last; where the size halves, by a convolution.
        assert [hasattr(module, "shortcut") for module in modules] == [False, *[True] * 12, False]
        shortcuts = [module.shortcut for module in modules[1:13]]
        assert [type(one) for one in shortcuts] == [*[nn.Sequential] * 3, *[nn.Identity] * 8, nn.Sequential]
        counted = {id(one) for shortcut in shortcuts for one in layers(shortcut)[1]}
        assert len(counted) == 4
        plain = [one for module in modules for one in layers(module)[1] if id(one) not in counted]
        assert [(one.in_channels, one.out_channels, one.kernel_size, one.stride) for one in plain] == [
            (1, 32, (3, 3), (2, 2)),
            (32, 64, (3, 3), (1, 1)),
        ]
        assert len(plain) + sum(separable) == 36

    def test_a_separable_layer_is_depthwise_then_pointwise(self):
        for layer in (one for one in Xception(1, 64, 7).modules() if isinstance(one, Separable)):
            assert layer.depthwise.groups == layer.depthwise.in_channels == layer.depthwise.out_channels
            assert (layer.depthwise.kernel_size, layer.pointwise.kernel_size) == ((3, 3), (1, 1))

    def test_it_has_the_published_parameters(self):
        # Keras' model for ImageNet: 22,910,480 of which 54,528, the running means and variances, aren't trained.
        model = Xception(3, 299, 1000)
        assert count(model) == 22_855_952
        running = [value.numel() for name, value in model.named_buffers() if "running" in name]
        assert sum(running) == 54_528
        # One channel and 68 points: two thirds of the first convolution's weights less, and a smaller last layer.
        assert count(Xception(1, 128, 136)) == 22_855_952 - 2 * 9 * 32 - (1000 - 136) * 2049 == 21_085_040

    def test_its_maps_have_the_papers_sizes(self):
        shapes = {layer.name: layer.output_shape for layer in summarize(Xception(3, 299, 1000), 3, 299).layers}
        assert shapes["entry.0.5"] == (64, 147, 147)
        assert shapes["entry.3.shortcut.0"] == (728, 19, 19)
        assert shapes["middle.7.layers.5.bn"] == (728, 19, 19)
        assert shapes["exit.0.shortcut.0"] == (1024, 10, 10)
        assert shapes["avgpool"] == (2048, 1, 1)

    def test_its_relus_stand_where_the_figure_has_them(self):
        model = Xception(1, 64, 7)

        def kinds(module):
            return " ".join({"Separable": "sep", "MaxPool2d": "pool"}.get(type(one).__name__, "relu") for one in module)

        assert kinds(model.entry[1].layers) == "sep relu sep pool"
        assert kinds(model.entry[2].layers) == kinds(model.exit[0].layers) == "relu sep relu sep pool"
        assert kinds(model.middle[3].layers) == "relu sep relu sep relu sep"
        assert kinds(model.exit[1]) == "sep relu sep relu"

    def test_a_module_adds_its_layers_to_its_input(self):
        torch.manual_seed(0)
        module, f = xception.Residual((3, 4), halve=True).eval(), nn.functional
        x, scale = images(2, 3, 9) - 0.5, (1 + 1e-5) ** -0.5
        layer = module.layers[1]
        inner = f.conv2d(torch.relu(x), layer.depthwise.weight, padding=1, groups=3)
        inner = f.max_pool2d(f.conv2d(inner, layer.pointwise.weight) * scale, 3, 2, padding=1)
        outer = f.conv2d(x, module.shortcut[0].weight, stride=2) * scale
        assert inner.shape == (2, 4, 5, 5)
        torch.testing.assert_close(module(x), inner + outer)

    def test_it_starts_by_he_and_glorot(self):
        torch.manual_seed(0)
        model = Xception(1, 128, 136)
        layer = model.middle[0].layers[1]
        assert layer.depthwise.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.03)
        assert layer.pointwise.weight.std().item() == pytest.approx((2 / (728 + 728)) ** 0.5, rel=0.01)
        assert layer.pointwise.weight.abs().max().item() == pytest.approx((6 / (728 + 728)) ** 0.5, rel=0.01)
        assert model.entry[0][3].weight.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.02)
        assert model.fc.weight.std().item() == pytest.approx((2 / (2048 + 136)) ** 0.5, rel=0.01)
        assert model.fc.bias.abs().sum().item() == 0

    def test_it_runs_from_7_px_on(self):
        assert Xception(1, 7, 136).eval()(images(1, 1, 7)).shape == (1, 136)
        with pytest.raises(MienError, match="model: images of 6 px are too small for xception; expected at least 7 px"):
            Xception(1, 6, 136)


def maps(n: int = 2, height: int = 12, width: int = 12, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(n, POINTS, height, width, generator=torch.Generator().manual_seed(seed))


class TestLandmarksSmall:
    def test_it_is_as_small_as_its_name_says(self):
        model = LandmarksSmall(1, 64)
        assert count(model) == 762_412 <= 1_500_000
        assert count(LandmarksSmall(3, 48)) == 762_412 + 2 * 32 * 25
        # As float32, with batch norm's means and variances, well under 6 MB.
        assert sum(value.numel() for value in model.state_dict().values()) * 4 < 3.1e6

    @pytest.mark.parametrize("size", [8, 48, 64, 128])
    def test_its_points_are_inside_of_the_image_before_it_has_learned(self, size):
        torch.manual_seed(0)
        model = LandmarksSmall(1, size, width=8).eval()
        with torch.no_grad():
            points = model(images(3, 1, size))
        assert points.shape == (3, 2 * POINTS)
        assert points.abs().max() < 0.5

    def test_it_runs_on_other_sizes_than_its_own(self):
        model = LandmarksSmall(1, 64, width=8).eval()
        assert model(images(1, 1, 96)).shape == (1, 2 * POINTS)

    @pytest.mark.parametrize("size", [12, 36, 50, 97])
    def test_sides_that_do_not_halve_are_an_error(self, size):
        with pytest.raises(MienError) as error:
            LandmarksSmall(1, size)
        assert str(error.value) == (
            f"model: images of {size} px don't halve three times; expected a side that divides by 8, as 48, 64 or 96"
        )

    def test_its_seed_fixes_its_weights_and_every_parameter_learns(self):
        made = []
        for _ in range(2):
            torch.manual_seed(1)
            made.append(LandmarksSmall(1, 32, width=8))
        one, other = made
        assert all(torch.equal(one.state_dict()[key], value) for key, value in other.state_dict().items())
        # At zero, a block's last batch norm holds back the gradients of its convolutions.
        for module in one.modules():
            if isinstance(module, resnet.BasicBlock):
                nn.init.ones_(module.bn2.weight)
        one(images(4, 1, 32)).square().sum().backward()
        for key, parameter in one.named_parameters():
            assert parameter.grad is not None, key
            # A bias that is the same all over a heat map changes nothing of its softmax.
            assert parameter.grad.abs().sum() > 0 or key == "heat.bias", key

    def test_its_offset_moves_points_out_of_the_image(self):
        model = LandmarksSmall(1, 32, width=8).eval()
        x = images(2, 1, 32)
        with torch.no_grad():
            before = model(x)
            model.offset.bias[5] = -0.75
            after = model(x)
        expected = torch.zeros(2, 2 * POINTS)
        expected[:, 5] = -0.75
        torch.testing.assert_close(after - before, expected)
        assert (after[:, 5] < -0.25).all()

    def test_memory_format_and_batch_size_do_not_change_the_points(self):
        torch.manual_seed(0)
        model, x = LandmarksSmall(3, 48, width=8).eval(), images(3)
        with torch.no_grad():
            points = model(x)
            one_by_one = torch.cat([model(image[None]) for image in x])
            last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(one_by_one, points, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(last, points, rtol=1e-4, atol=1e-5)

    def test_it_is_registered_and_takes_a_width(self):
        spec = entry("model", "landmarks-small").spec
        assert spec().parameters == {"width": 32}
        model = build("model", spec(width=8), in_channels=1, image_size=32, num_classes=136)
        assert summarize(model, 1, 32).output_shape == (136,)

    def test_mean_places_are_sums_over_the_cells(self):
        heat = maps(2, 6, 9)
        places = mean_places(heat).reshape(2, POINTS, 2)
        for image, point in ((0, 0), (0, 67), (1, 30)):
            share = heat[image, point].double().exp()
            share = share / share.sum()
            x = sum(share[row, column] * ((column + 0.5) / 9 - 0.5) for row in range(6) for column in range(9))
            y = sum(share[row, column] * ((row + 0.5) / 6 - 0.5) for row in range(6) for column in range(9))
            torch.testing.assert_close(places[image, point].double(), torch.stack([x, y]), rtol=1e-4, atol=1e-6)

    def test_mean_places_follow_a_mirror_and_forget_a_constant(self):
        heat = maps()
        places = mean_places(heat).reshape(2, POINTS, 2)
        mirrored = mean_places(heat.flip(3)).reshape(2, POINTS, 2)
        torch.testing.assert_close(mirrored, places * torch.tensor([-1.0, 1.0]), rtol=1e-4, atol=1e-6)
        turned = mean_places(heat.transpose(2, 3)).reshape(2, POINTS, 2)
        torch.testing.assert_close(turned, places.flip(2), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(mean_places(heat + 7), mean_places(heat), rtol=1e-4, atol=1e-6)
        assert mean_places(torch.zeros(1, POINTS, 4, 4)).abs().max() < 1e-7


@pytest.mark.parametrize("name", ["cnn", "compact", "googlenet", "mobilenet_v2", "resnet", "xception"])
class TestEvery:
    def test_memory_format_and_batch_size_do_not_change_the_logits(self, name):
        torch.manual_seed(0)
        model, x = build("model", entry("model", name).spec(), **FER).eval(), images(3)
        with torch.no_grad():
            logits = model(x)
            one_by_one = torch.cat([model(image[None]) for image in x])
            last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        assert logits.shape == (3, 7)
        torch.testing.assert_close(one_by_one, logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(last, logits, rtol=1e-4, atol=1e-5)

    def test_its_seed_fixes_its_weights_and_every_parameter_learns(self, name):
        torch.manual_seed(1)
        model = build("model", entry("model", name).spec(), **FER)
        torch.manual_seed(1)
        again = build("model", entry("model", name).spec(), **FER)
        for (key, one), (_, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
            assert torch.equal(one, other), key
        if name in (
            "compact",
            "resnet",
        ):  # at zero, a block's last batch norm holds back the gradients of its convolutions
            for module in model.modules():
                if isinstance(module, resnet.BasicBlock):
                    nn.init.ones_(module.bn2.weight)
        nn.functional.cross_entropy(model(images(4)), torch.tensor([0, 1, 2, 3])).backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key

    def test_dropout_makes_training_random_and_nothing_else_does(self, name):
        x, spec = images(4), entry("model", name).spec
        model = build("model", spec(dropout=0.0), **FER)
        assert torch.equal(model(x), model(x))
        model = build("model", spec(dropout=0.5), **FER)
        assert not torch.equal(model(x), model(x))
        model.eval()
        assert torch.equal(model(x), model(x))

    def test_hooks_on_any_layer_see_gradients(self, name):
        """What Grad-CAM and guided backpropagation need: no activation is overwritten in place."""
        model, seen = build("model", entry("model", name).spec(), **FER).eval(), set()
        for key, module in model.named_modules():
            if not list(module.children()):
                module.register_full_backward_hook(lambda module, inputs, outputs, key=key: seen.add(key))
        model(images(1).requires_grad_())[0, 0].backward()
        leaves = {key for key, module in model.named_modules() if not list(module.children())}
        assert seen == leaves


class TestSummary:
    def test_of_cnn_1(self):
        found = summarize(CNN(**FER), 3, 48)
        assert found.parameters == 2_812_307
        assert found.macs == 11_103_150
        assert found.output_shape == (7,)
        assert [
            (layer.name, layer.kind, layer.output_shape, layer.parameters, layer.macs) for layer in found.layers
        ] == [
            ("features.conv1", "Conv2d", (10, 44, 44), 760, 1_452_000),
            ("features.relu1", "ReLU", (10, 44, 44), 0, 0),
            ("features.pool1", "MaxPool2d", (10, 41, 41), 0, 0),
            ("features.conv2", "Conv2d", (20, 37, 37), 5_020, 6_845_000),
            ("features.relu2", "ReLU", (20, 37, 37), 0, 0),
            ("features.pool2", "MaxPool2d", (20, 34, 34), 0, 0),
            ("classifier.flatten", "Flatten", (23_120,), 0, 0),
            ("classifier.fc1", "Linear", (120,), 2_774_520, 2_774_400),
            ("classifier.relu1", "ReLU", (120,), 0, 0),
            ("classifier.fc2", "Linear", (250,), 30_250, 30_000),
            ("classifier.relu2", "ReLU", (250,), 0, 0),
            ("classifier.logits", "Linear", (7,), 1_757, 1_750),
        ]

    @pytest.mark.parametrize("name", ["cnn", "compact", "googlenet", "mobilenet_v2", "resnet", "xception"])
    def test_agrees_with_torchs_own_counter(self, name):
        from torch.utils.flop_counter import FlopCounterMode

        model = build("model", entry("model", name).spec(), **FER).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.zeros(1, 3, 48, 48))
        found = summarize(model, 3, 48)
        assert found.macs * 2 == counter.get_total_flops()
        assert sum(layer.parameters for layer in found.layers) == found.parameters == count(model)

    def test_counts_grouped_strided_and_transposed_convolutions(self):
        model = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False), nn.ConvTranspose2d(8, 2, 2, stride=2)
        )
        found = summarize(model, 4, 10)
        assert [layer.macs for layer in found.layers] == [8 * 5 * 5 * (2 * 9), 8 * 5 * 5 * (2 * 4)]
        assert [layer.output_shape for layer in found.layers] == [(8, 5, 5), (2, 10, 10)]

    def test_a_shared_layer_counts_each_call_and_its_parameters_once(self):
        shared = nn.Conv2d(3, 3, 1)
        found = summarize(nn.Sequential(shared, nn.ReLU(), shared), 3, 4)
        assert [(layer.name, layer.parameters, layer.macs) for layer in found.layers] == [
            ("0", 12, 144),
            ("1", 0, 0),
            ("0", 0, 144),
        ]
        assert (found.parameters, found.macs) == (12, 288)

    def test_tied_weights_and_own_parameters_count_once(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(3))
                self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
                self.two.weight = self.one.weight

            def forward(self, x):
                return {"logits": self.two(self.one(x * self.scale[:, None, None]))}

        found = summarize(Tied(), 3, 4)
        assert [(layer.name, layer.parameters) for layer in found.layers] == [("one", 20), ("two", 4), ("", 3)]
        assert found.parameters == 27
        assert found.output_shape == (3, 4, 4)

    def test_leaves_the_model_as_it_was(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        model[1].eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        summarize(model, 3, 8)
        assert [module.training for module in model.modules()] == [True, True, False, True]
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(module._forward_hooks for module in model.modules())

    def test_a_model_that_fails_is_an_error_and_left_as_it_was(self):
        model = nn.Sequential(nn.Conv2d(1, 4, 3))
        with pytest.raises(
            MienError, match=r"model: the model fails on one image of 3×8×8: RuntimeError: .*expected input"
        ):
            summarize(model, 3, 8)
        assert model.training
        assert not model[0]._forward_hooks

    def test_takes_the_models_own_dtype_and_a_model_without_parameters(self):
        assert summarize(nn.Sequential(nn.Conv2d(3, 4, 3)).double(), 3, 8).macs == 4 * 27 * 36
        assert summarize(nn.Sequential(nn.Flatten()), 3, 8).output_shape == (192,)
