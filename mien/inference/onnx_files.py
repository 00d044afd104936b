"""ONNX files in use: what is let in, and a session of ONNX Runtime behind numpy arrays. Needs no torch."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mien.errors import MienError
from mien.reading import check, parse_json, reading
from mien.runs.stored import OnnxHeader
from mien.tasks import EXPRESSION

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto
    from onnxruntime import InferenceSession

# A net for faces needs a hundredth of this.
MAX_BYTES = 512 * 2**20
# Operators of these domains are ONNX's own. Those of others run code that only some runtime has.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def open_session(path: Path, threads: int | None = None) -> "tuple[InferenceSession, str]":
    """A session on a file that anyone may have made, and the file's SHA-256; on `threads` threads, or on all cores.

    Raises MienError for a file that is too large, no valid ONNX, in several files, or has operators that aren't ONNX's.
    """
    import onnxruntime

    data = _read(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        # From bytes, not from a path: then no name in the file leads to another file.
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # Its errors share no class of their own.
        raise MienError(f"ONNX Runtime can't run this ({_short(error)})", file=str(path)) from error
    return session, hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    """The bytes of a file, checked."""
    import onnx

    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise MienError("there is no such file", file=str(path)) from error
    if size > MAX_BYTES:
        raise MienError(
            f"the file has {size / 2**20:,.0f} MB", file=str(path), expected=f"at most {MAX_BYTES >> 20} MB"
        )
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # Of protobuf, which has no types to check against.
        raise MienError("this isn't an ONNX file", file=str(path)) from error
    # What isn't a protobuf of a model often reads as an empty one.
    if not model.graph.node:
        raise MienError("this isn't an ONNX file", file=str(path))
    with reading(path, "this ONNX file", MienError):  # protobuf decodes texts when they are asked for.
        _check_parts(model, path)
        try:
            onnx.checker.check_model(data)
        except onnx.checker.ValidationError as error:
            raise MienError(f"this is no valid ONNX ({_short(error)})", file=str(path)) from error
    return data


def _check_parts(model: "ModelProto", path: Path) -> None:
    from onnx.external_data_helper import uses_external_data

    graphs = [*_graphs(model.graph), *(inner for function in model.functions for inner in _graphs(function))]
    for graph in graphs:
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise MienError(
                    f"operator '{node.op_type}' is of {node.domain}",
                    file=str(path),
                    expected="operators of ONNX alone",
                )
        for tensor in _tensors(graph):
            if uses_external_data(tensor):
                raise MienError(
                    f"'{tensor.name}' stands in a file of its own", file=str(path), expected="one file with everything"
                )


def _graphs(graph: Any) -> "Iterator[GraphProto]":
    """A graph, or a function's body, and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph: Any) -> "Iterator[TensorProto]":
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _short(error: Exception) -> str:
    """The part of an error's first line that says what is wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].rsplit(" : ", 1)[-1].strip(" .")[:200] if lines else type(error).__name__


def read_about(session: "InferenceSession", path: Path) -> dict[str, Any] | None:
    """What a file that mien exported says of itself, its key `mien`; None for the file of another."""
    with reading(path, "what this file says of itself", MienError):
        text = session.get_modelmeta().custom_metadata_map.get("mien")
        if text is None:
            return None
        about: dict[str, Any] = parse_json(text)
    check(about, OnnxHeader, path, "what this file says of itself", MienError)
    return {"task": EXPRESSION, **about}


class OnnxBackend:
    """A file that mien exported, by numpy arrays; see `mien.inference.model.Backend`."""

    def __init__(self, session: "InferenceSession", output: str) -> None:
        self.session, self.output = session, output

    def outputs(self, images: npt.NDArray[np.uint8], tta: str = "none") -> npt.NDArray[np.float32]:
        """Outputs of images (n, h, w, c); raises MienError for test-time augmentation, which needs the run."""
        refuse_views(tta)
        return np.asarray(self.session.run([self.output], {"images": np.ascontiguousarray(images)})[0], np.float32)


def refuse_views(tta: str) -> None:
    """Raise MienError for test-time augmentation."""
    if tta != "none":
        raise MienError("an ONNX file takes each image once", key="tta", expected="the run, for test-time augmentation")
