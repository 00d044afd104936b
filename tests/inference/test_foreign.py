"""Other people's models: the YAML that says how an ONNX file is used, its errors, and peers on FER2013."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_architecture import loaded

from mien.errors import MienError
from mien.inference import load

YAML = """
input: {name: pixels, size: 8, color: bgr, layout: nhwc, range: [0, 1], mean: [0.1, 0.2, 0.3], sd: [0.5]}
output: {name: told, gives: logits}
classes: [happy, sad, neutral]
limits: no commercial use
"""


def write_sums(folder: Path, channels: int = 3, kind: int = TensorProto.FLOAT, softmax: bool = False) -> Path:
    """A model of (n, 8, 8, channels) that gives the mean of each channel; its second output is the input itself."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["means"], keepdims=0),
        helper.make_node("Softmax" if softmax else "Identity", ["means"], ["told"]),
        helper.make_node("Identity", ["pixels"], ["same"]),
    ]
    axes = numpy_helper.from_array(np.array([1, 2]), "axes")
    shape = ["n", 8, 8, channels]
    inputs = [helper.make_tensor_value_info("pixels", kind, shape)]
    outputs = [helper.make_tensor_value_info("told", TensorProto.FLOAT, ["n", channels])]
    outputs.append(helper.make_tensor_value_info("same", kind, shape))
    graph = helper.make_graph(nodes, "g", inputs, outputs, [axes])
    file = folder / "peer.onnx"
    file.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    )
    file.with_suffix(".yaml").write_text(YAML)
    return file


def images(n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), np.uint8)


def test_a_file_is_used_as_its_yaml_says(tmp_path: Path) -> None:
    file = write_sums(tmp_path)
    for reference in (file, file.with_suffix(".yaml")):
        model = load(reference)
        assert (model.name, model.task, model.size, model.color) == ("peer", "expression", 8, "rgb")
        assert (model.scheme.name, model.scheme.classes) == ("peer", ("happy", "sad", "neutral"))
        assert (model.limits, model.temperature) == ("no commercial use", None)
        means = (images()[..., ::-1] / 255 - [0.1, 0.2, 0.3]) / 0.5
        np.testing.assert_allclose(model.logits(images()), means.mean(axis=(1, 2)), atol=1e-5)
    with pytest.raises(MienError, match="an ONNX file takes each image once"):
        model.logits(images(), tta="flip")


def test_probabilities_become_logits(tmp_path: Path) -> None:
    file = write_sums(tmp_path, softmax=True)
    described = file.with_suffix(".yaml")
    described.write_text(YAML.replace("gives: logits", "gives: probabilities").replace("bgr", "rgb"))
    model = load(file)
    np.testing.assert_allclose(np.exp(model.logits(images())).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.probabilities(images()), np.exp(model.logits(images())), atol=1e-6)
    write_sums(tmp_path)
    described.write_text(YAML.replace("gives: logits", "gives: probabilities"))
    with pytest.raises(MienError) as error:
        load(file).logits(images())
    assert str(error.value).startswith(f"{described}: output.gives: the outputs are no probabilities")


def test_whole_numbers_are_given_to_a_model_that_takes_them(tmp_path: Path) -> None:
    file = write_sums(tmp_path, kind=TensorProto.UINT8)
    plain = "input: {size: 8, color: rgb, layout: nhwc}\noutput: {name: told, gives: logits}\nclasses: [a, b, c]\n"
    file.with_suffix(".yaml").write_text(plain)
    np.testing.assert_allclose(load(file).logits(images()), images().mean(axis=(1, 2)), rtol=1e-5)


def test_classes_of_a_known_scheme_in_its_order_are_that_scheme(tmp_path: Path) -> None:
    described = write_sums(tmp_path).with_suffix(".yaml")
    names = "angry, disgust, fear, happy, sad, surprise, neutral"
    described.write_text(YAML.replace("happy, sad, neutral", names))
    assert load(described).scheme.name == "fer2013-7"
    described.write_text(YAML.replace("happy, sad, neutral", ", ".join(reversed(names.split(", ")))))
    assert load(described).scheme.name == "peer"


def errors(file: Path) -> list[str]:
    with pytest.raises(MienError) as error:
        load(file)
    return [str(one).removeprefix(f"{file}:") for one in (error.value, *error.value.more)]


def test_mistakes_are_told_with_line_key_and_the_nearest_name(tmp_path: Path) -> None:
    file = write_sums(tmp_path).with_suffix(".yaml")
    cases = {
        "classes: [a, b]\ninput: {siz: 3, sd: [0]}\noutputs: 3": [
            "2: input.sd.0: 0 can't stand here; expected more than 0",
            "2: input.siz: unknown key; expected one of size, color, layout, range, mean, sd. Did you mean 'size'?",
            "3: outputs: unknown key; expected one of model, predictions, classes, limits, input, output."
            " Did you mean 'output'?",
        ],
        "classes: [a, b]": [
            " input: this key is missing; expected for example 'input: {name: gray, size: 48}'",
            " output: this key is missing; expected for example 'output: {gives: probabilities}'",
        ],
        "classes: [happy, joy]\npredictions: x.parquet\nmodel: y": [
            "3: model: predictions need no model; expected either of them",
            "1: classes: class 'happy' stands here twice",
        ],
        YAML.replace("bgr", "gray"): ["2: input.mean: this is for other colours than gray; expected one number"],
        YAML.replace("name: pixels", "name: pixel"): [
            " input.name: the model has no input 'pixel'; expected one of pixels. Did you mean 'pixels'?"
        ],
        YAML.replace("name: told, ", ""): [" output.name: the model has 2 outputs; expected one of told, same"],
    }
    for text, expected in cases.items():
        file.write_text(text)
        assert errors(file) == expected


def test_classes_are_counted_when_the_model_runs(tmp_path: Path) -> None:
    file = write_sums(tmp_path).with_suffix(".yaml")
    file.write_text(YAML.replace("happy, sad, neutral", "happy, sad"))
    with pytest.raises(MienError) as error:
        load(file).logits(images())
    assert str(error.value) == (
        f"{file}: classes: the model gives outputs of shape (2, 3) for 2 images; expected (2, 2), one for each class"
    )


def test_a_file_without_a_yaml_is_told_where_one_belongs(tmp_path: Path) -> None:
    file = write_sums(tmp_path)
    file.with_suffix(".yaml").unlink()
    assert errors(file) == [
        " mien didn't export this file; expected peer.yaml beside it, which says how it is used: docs/export.md"
    ]


def test_of_predictions_alone_nothing_else_is_known(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"anything")
    (tmp_path / "p.yaml").write_text("predictions: p.parquet\nclasses: [happy, sad]\n")
    model = load(tmp_path / "p.yaml")
    with pytest.raises(MienError, match="there are only predictions of this model"):
        model.logits(np.zeros((1, 48, 48), np.uint8))


def test_it_runs_without_torch(tmp_path: Path) -> None:
    file = write_sums(tmp_path)
    code = (
        f"import numpy, mien; model = mien.load({str(file)!r}, threads=1)\n"
        "    assert model.probabilities(numpy.zeros((1, 8, 8, 3), numpy.uint8)).shape == (1, 3)"
    )
    assert "torch" not in loaded(code)


def test_a_peer_gives_its_probabilities(real_data: Path, tmp_path: Path) -> None:
    peer = real_data.parent / "peers" / "big_xception.onnx"
    text = "input: {name: gray, size: 64}\noutput: {name: prob, gives: probabilities}\n"
    names = "[angry, disgust, fear, happy, sad, surprise, neutral]"
    (tmp_path / "big.yaml").write_text(f"model: {peer}\n{text}classes: {names}\n")
    model = load(tmp_path / "big.yaml")
    assert model.scheme.name == "fer2013-7"
    np.testing.assert_allclose(model.probabilities(np.zeros((2, 64, 64), np.uint8)).sum(axis=1), 1, atol=1e-6)
