"""A network as one ONNX graph: pixels in, resized and normalised inside, and out what a user is told.

The file takes `images`, uint8 (n, height, width, channels) with 1 or 3 channels, of any size. The first nodes make of
them what the network was trained on; `Network` is traced after that; the last nodes make answers of its outputs.
"""

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from torch import Tensor
from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

from mien.errors import FailedError, reason
from mien.faces.ibug import POINTS
from mien.inference.network import Network

Precision = Literal["float32", "float16", "int8"]

# What onnxruntime has in every release since 1.18, and what other runtimes have had for years.
OPSET, IR_VERSION = 18, 8
_HEADER = f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>'
_QUANTISED = ("Conv", "Gemm", "MatMul")
# What the name of a weight that is stored in float16 ends with.
_HALF = ".float16"


class Parts:
    """What stands before the network in the file, the network itself, and what stands after it.

    `raw` is the name of the output that holds the network's own outputs, `answer` of the one that a user is told.
    """

    def __init__(self, first: str, network: ModelProto, last: str, answer: str, raw: str) -> None:
        self.first, self.network, self.last = parser.parse_model(first), network, parser.parse_model(last)
        self.answer, self.raw = answer, raw

    def inputs(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What the network takes of images (n, h, w, c), float32 (n, channels, side, side)."""
        session = onnxruntime.InferenceSession(self.first.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(["pixels"], {"images": images})[0], np.float32)

    def joined(
        self, precision: Precision, about: Mapping[str, str], calibration: npt.NDArray[np.float32] | None = None
    ) -> bytes:
        """The whole file in a precision, with texts by key as its metadata.

        `calibration` are inputs of the network, float32 (n, c, side, side), by whose activations int8 is scaled.
        """
        network = self.network
        if precision == "float16":
            network = _halved(network)
        if precision == "int8":
            if calibration is None:
                raise ValueError("int8 needs images to calibrate with")
            network = _quantised(network, calibration)
        graph = helper.make_graph(
            [*self.first.graph.node, *network.graph.node, *self.last.graph.node],
            "mien",
            list(self.first.graph.input),
            list(self.last.graph.output),
            list(network.graph.initializer),
        )
        model = helper.make_model(
            graph, producer_name="mien", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        if precision == "int8":
            # Tensors have names that say as much; those of a small net's nodes are a hundredth of its file. Files in
            # other precisions keep them: int8 is made of those by the names of nodes.
            for node in model.graph.node:
                node.ClearField("name")
        helper.set_model_props(model, dict(about))
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def classes_graph(network: Network, size: int, gray: bool, temperature: float) -> Parts:
    """The parts of a model of classes, see `classes_parts`."""
    return classes_parts(_traced(network, 1 if gray else 3, size), size, gray, temperature)


def classes_parts(network: ModelProto, size: int, gray: bool, temperature: float) -> Parts:
    """The parts of a model of classes about its network: outputs `probabilities` and `logits`, float32 (n, classes).

    Images are made gray and resized to the same whole numbers that `mien.images.decode` gives, one level at most aside.
    """
    last = f"""{_HEADER}
        last (float[n, k] outputs) => (float[n, k] probabilities, float[n, k] logits) {{
            logits = Identity (outputs)
            temperature = Constant <value = float {{{temperature!r}}}> ()
            scaled = Div (outputs, temperature)
            probabilities = Softmax <axis = 1> (scaled)
        }}"""
    return Parts(_first(size, gray, whole=True), network, last, "probabilities", "logits")


def points_graph(network: Network, size: int, gray: bool, temperature: float) -> Parts:
    """The parts of a model of points: `points`, float32 (n, 68, 2), pixel centres from 0 of the images, and `shares`.

    `shares` are the network's own outputs, (n, 136): shares of the image's sides from its middle.
    """
    last = f"""{_HEADER}
        last (float[n, k] outputs, float[2] extent) => (float[n, {POINTS}, 2] points, float[n, k] shares) {{
            shares = Identity (outputs)
            shape = Constant <value_ints = [-1, {POINTS}, 2]> ()
            pairs = Reshape (outputs, shape)
            middle = Constant <value_float = 0.5> ()
            from_edge = Add (pairs, middle)
            on_image = Mul (from_edge, extent)
            points = Sub (on_image, middle)
        }}"""
    # The network makes colour images gray itself.
    return Parts(_first(size, True, whole=False), _traced(network, 1, size), last, "shares", "shares")


def values_graph(network: Network, size: int, gray: bool, temperature: float) -> Parts:
    """The parts of a model of numbers: the output `values`, float32 (n, numbers)."""
    last = f"""{_HEADER}
        last (float[n, k] outputs) => (float[n, k] values) {{
            values = Identity (outputs)
        }}"""
    return Parts(_first(size, gray, whole=True), _traced(network, 1 if gray else 3, size), last, "values", "values")


def _first(size: int, gray: bool, whole: bool) -> str:
    """From images to the network's input: gray or RGB, resized with antialiasing; with `whole` rounded as Pillow does.

    ONNX has an operator for that, Resize with antialias, but onnxruntime 1.32's is up to 20 levels off where an image
    shrinks, so the weights of each pixel are written out: a triangle as wide as what an output pixel covers.
    """
    rounded = "Floor" if whole else "Identity"
    # Pillow rounds after each direction, halves upwards; which direction is first depends on its release.
    raise_by = 0.5 if whole else 0.0
    if gray and whole:
        # Pillow's way to luma, in whole numbers.
        to_plane = """
            numbers = Cast <to = 6> (colors)
            luma = Constant <value = int32[3, 1] {19595, 38470, 7471}> ()
            half = Constant <value = int32 {32768}> ()
            unit = Constant <value = int32 {65536}> ()
            sums = MatMul (numbers, luma)
            raised = Add (sums, half)
            grays = Div (raised, unit)
            values = Cast <to = 1> (grays)"""
    elif gray:
        to_plane = """
            numbers = Cast <to = 1> (colors)
            luma = Constant <value = float[3, 1] {0.299, 0.587, 0.114}> ()
            values = MatMul (numbers, luma)"""
    else:
        to_plane = """
            values = Cast <to = 1> (colors)"""
    weights = "".join(
        f"""
                    {s}_place = Constant <value = int64 {{{place}}}> ()
                    {s}_length = Gather (lengths, {s}_place)
                    {s}_scale = Div ({s}_length, side)
                    {s}_support = Max ({s}_scale, one)
                    {s}_end = Add ({s}_length, half_a_pixel)
                    {s}_pixels = Range (half_a_pixel, {s}_end, one)
                    {s}_centers = Mul (centers, {s}_scale)
                    {s}_apart = Sub ({s}_pixels, {s}_centers)
                    {s}_distance = Abs ({s}_apart)
                    {s}_share = Div ({s}_distance, {s}_support)
                    {s}_rest = Sub (one, {s}_share)
                    {s}_inside = Relu ({s}_rest)
                    {s}_sum = ReduceSum <keepdims = 1> ({s}_inside, along)
                    {s}_weights = Div ({s}_inside, {s}_sum)"""
        for place, s in enumerate(("down", "across"))
    )
    channels = 1 if gray else 3
    middles = ", ".join(f"{number + 0.5}" for number in range(size))
    return f"""{_HEADER}
        first (uint8[n, height, width, channels] images)
            => (float[n, {channels}, {size}, {size}] pixels, float[2] extent) {{
            rgb = Constant <value_ints = [0, 1, 2]> ()
            single = Constant <value_int = 1> ()
            channels_there = Shape <start = 3, end = 4> (images)
            highest = Sub (channels_there, single)
            places = Min (rgb, highest)
            colors = Gather <axis = 3> (images, places){to_plane}
            planes = Transpose <perm = [0, 3, 1, 2]> (values)
            sides = Shape <start = 1, end = 3> (images)
            lengths = Cast <to = 1> (sides)
            width_first = Constant <value_ints = [1, 0]> ()
            extent = Gather (lengths, width_first)
            wanted = Constant <value_ints = [{size}, {size}]> ()
            differences = Sub (sides, wanted)
            sizes_off = Abs (differences)
            off = ReduceSum <keepdims = 0> (sizes_off)
            nothing = Constant <value_int = 0> ()
            fits = Equal (off, nothing)
            pixels = If (fits) <
                then_branch = as_they_are () => (float[n, {channels}, {size}, {size}] same) {{
                    same = Identity (planes)
                }},
                else_branch = resized () => (float[n, {channels}, {size}, {size}] other) {{
                    side = Constant <value_float = {float(size)}> ()
                    one = Constant <value_float = 1.0> ()
                    to_round = Constant <value_float = {raise_by}> ()
                    half_a_pixel = Constant <value_float = 0.5> ()
                    along = Constant <value_ints = [1]> ()
                    centers = Constant <value = float[{size}, 1] {{{middles}}}> (){weights}
                    columns = Transpose <perm = [1, 0]> (across_weights)
                    narrow = MatMul (planes, columns)
                    narrow_raised = Add (narrow, to_round)
                    narrow_levels = {rounded} (narrow_raised)
                    small = MatMul (down_weights, narrow_levels)
                    small_raised = Add (small, to_round)
                    other = {rounded} (small_raised)
                }}
            >
        }}"""


def _traced(network: Network, channels: int, size: int) -> ModelProto:
    """The network with `pixels` (n, channels, size, size) as input and `outputs` as output; n is open."""
    written = io.BytesIO()
    example = torch.zeros(2, channels, size, size)
    try:
        with warnings.catch_warnings(), _silence(), _resizing():
            # The newer exporter of torch needs a package more, for nets that all are made of convolutions.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network.cpu().eval(),
                (example,),
                written,  # type: ignore[arg-type]  # A stream is taken, too.
                dynamo=False,
                opset_version=OPSET,
                input_names=["pixels"],
                output_names=["outputs"],
                dynamic_axes={"pixels": {0: "n"}, "outputs": {0: "n"}},
            )
    except Exception as error:  # An operator that ONNX lacks, or whatever a plugin's model does when it is traced.
        raise FailedError(f"this model has no form in ONNX ({reason(error)})") from error
    return onnx.load_model_from_string(written.getvalue())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what torch's exporter prints of a model that it can't trace, from C++, off standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def _resizing() -> Iterator[None]:
    """Teach torch's exporter the op `resize`, whose images here have one size: two products with fixed weights."""

    def resize(graph: Any, images: Any, size: Any, *_: Any) -> Any:
        height, width = images.type().varyingSizes()[2:]
        down, across = (
            _weights(length, wanted)
            for length, wanted in zip((height, width), size.node().t("value").tolist(), strict=True)
        )
        narrow = graph.op("MatMul", images, graph.op("Constant", value_t=across.T.contiguous()))
        return graph.op("MatMul", graph.op("Constant", value_t=down), narrow)

    name = "aten::_upsample_bilinear2d_aa"
    register_custom_op_symbolic(name, resize, OPSET)
    try:
        yield
    finally:
        unregister_custom_op_symbolic(name, OPSET)


def _weights(length: int, size: int) -> Tensor:
    """The share of each of `length` pixels in each of `size`, (size, length): what the first nodes compute."""
    scale = length / size
    centers = (torch.arange(size, dtype=torch.float64)[:, None] + 0.5) * scale
    apart = (torch.arange(length, dtype=torch.float64) + 0.5 - centers).abs()
    shares = (1 - apart / max(scale, 1)).clamp(min=0)
    return (shares / shares.sum(dim=1, keepdim=True)).float()


def _halved(model: ModelProto) -> ModelProto:
    """The model with its weights stored in float16 and widened when it is opened: arithmetic stays float32.

    Processors have no float16 arithmetic worth the name; what halves is the file.
    """
    halved = ModelProto()
    halved.CopyFrom(model)
    del halved.graph.initializer[:], halved.graph.node[:]
    widened = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.ndim > 1:
            stored = tensor.name + _HALF
            halved.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
            widened.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        else:
            halved.graph.initializer.append(tensor)
    halved.graph.node.extend([*widened, *model.graph.node])
    return halved


def network_of(file: ModelProto) -> ModelProto:
    """The network in a file of a model of classes, its weights in float32; of a file in float32 or float16."""
    nodes = list(file.graph.node)
    first, last = (next(at for at, node in enumerate(nodes) if name in node.output) for name in ("pixels", "outputs"))
    inner = nodes[first + 1 : last + 1]
    # Weights are widened where a cast gives them; their names are those of the casts' outputs.
    casts = {node.input[0]: node.output[0] for node in inner if node.output[0] + _HALF in node.input}
    weights = []
    for tensor in file.graph.initializer:
        if tensor.name in casts:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor = numpy_helper.from_array(wide, casts[tensor.name])
        weights.append(tensor)
    graph = helper.make_graph(
        [node for node in inner if node.output[0] not in casts.values()],
        "network",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", "channels", "height", "width"])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", "k"])],
        weights,
    )
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])


def _quantised(model: ModelProto, calibration: npt.NDArray[np.float32]) -> ModelProto:
    """The model with convolutions and matrix products in int8, per channel, between QuantizeLinear and its inverse.

    Other operators stay in float32: quantised too, they cost most of a net's accuracy and gain no time. Weights have
    7 bits: with 8, processors without VNNI, which add two products of 8 bits in 16, saturate and give other answers
    (onnxruntime's documentation, "Quantize ONNX Models", on U8S8).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self, images: npt.NDArray[np.float32]) -> None:
            self._batches = iter([images[start : start + 64] for start in range(0, len(images), 64)])

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"pixels": batch}

    # What the experiment's preprocessing does to pixels stands outside the model's scope.
    within = [one.name for one in model.graph.node if one.op_type in _QUANTISED and one.name.startswith("/model/")]
    with tempfile.TemporaryDirectory() as folder:
        given, file = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, given)
        logging.disable(logging.WARNING)  # It recommends what torch's exporter has already done.
        try:
            quantize_static(
                given,
                file,
                Reader(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTISED),
                nodes_to_quantize=within,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=True,
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(file)
