"""ONNX files that anyone may have made: what is let in, and what one sentence says of the rest."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mien.errors import MienError
from mien.inference import onnx_files
from mien.inference.onnx_files import open_session


def model(op: str = "Mul", domain: str = "") -> onnx.ModelProto:
    """Twice the input."""
    two = numpy_helper.from_array(np.full(1, 2, np.float32), "two")
    node = helper.make_node(op, ["x", "two"], ["y"], domain=domain)
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"}
    graph = helper.make_graph([node], "g", [value["x"]], [value["y"]], [two])
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def refused(file: Path) -> str:
    with pytest.raises(MienError) as error:
        open_session(file)
    text = str(error.value)
    assert text.startswith(f"{file}: ")
    assert "\n" not in text
    return text.removeprefix(f"{file}: ")


def saved(folder: Path, made: onnx.ModelProto) -> Path:
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return folder / "m.onnx"


def test_a_valid_file_runs(tmp_path: Path) -> None:
    file = saved(tmp_path, model())
    session, digest = open_session(file, threads=1)
    assert session.run(None, {"x": np.ones(3, np.float32)})[0].tolist() == [2, 2, 2]
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert session.get_session_options().intra_op_num_threads == 1


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.onnx") == "there is no such file"
    for content in (b"", b"hello", b"\x00" * 100, bytes(range(256))):
        (tmp_path / "m.onnx").write_bytes(content)
        assert refused(tmp_path / "m.onnx") == "this isn't an ONNX file"
    whole = saved(tmp_path, model()).read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "m.onnx")


def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    made = model("Softmax")
    del made.graph.node[0].input[1], made.graph.initializer[:]
    made.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    made.producer_name = "somebody"
    whole = saved(tmp_path, made).read_bytes()
    ran, told = 0, []
    for place in range(len(whole)):
        broken = bytearray(whole)
        # Letters get a byte that no UTF-8 has there.
        broken[place] ^= 0x80
        (tmp_path / "m.onnx").write_bytes(broken)
        try:
            open_session(tmp_path / "m.onnx")
            ran += 1
        except MienError as error:
            told.append(str(error))
    assert all(text.startswith(f"{tmp_path / 'm.onnx'}: ") for text in told)
    assert len(told) > ran


def test_operators_of_others_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    expected = "operator 'Run' is of com.example; expected operators of ONNX alone"
    assert refused(saved(tmp_path, model("Run", "com.example"))) == expected
    inner = helper.make_graph([helper.make_node("Run", [], ["z"], domain="com.example")], "inner", [], [])
    made = model()
    made.graph.node[0].attribute.append(helper.make_attribute("body", inner))
    assert refused(saved(tmp_path, made)) == expected


def test_data_in_another_file_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\x00\x00\x80\x3f")
    made = model()
    onnx.external_data_helper.set_external_data(made.graph.initializer[0], "secret")
    made.graph.initializer[0].ClearField("raw_data")
    expected = "'two' stands in a file of its own; expected one file with everything"
    assert refused(saved(tmp_path, made)) == expected


def test_the_checker_and_the_runtime_have_their_say(tmp_path: Path) -> None:
    assert refused(saved(tmp_path, model("Nonsense"))).startswith(
        "this is no valid ONNX (No Op registered for Nonsense"
    )
    made = model()
    made.opset_import[0].version = 99
    assert refused(saved(tmp_path, made)).startswith(("this is no valid ONNX (", "ONNX Runtime can't run this ("))
    made = model("MatMul")
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((2, 3, 4), np.int64), "two"))
    assert refused(saved(tmp_path, made)).startswith("ONNX Runtime can't run this (")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, model())
    monkeypatch.setattr(onnx_files, "MAX_BYTES", 2**20)
    with file.open("ab") as opened:
        opened.truncate(3 * 2**20)
    assert refused(file) == "the file has 3 MB; expected at most 1 MB"
