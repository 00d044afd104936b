"""A user's own model: one file with one decorated class, from the experiment file to the finished run."""

import json
from pathlib import Path

import jsonschema
import pytest
from conftest import TINY
from ruamel.yaml import YAML
from safetensors.torch import load_file
from verbs import call

from mien.data.dataset import Dataset
from mien.evaluation import evaluate
from mien.experiment.schema import load_experiment
from mien.registry import names
from mien.runs.run import Run, find_run, new_run
from mien.training.fit import train
from mien.workspace import Workspace

pytestmark = pytest.mark.usefixtures("tiny")

MYNET = """
from typing import Annotated

from pydantic import Field
from torch import nn

from mien.registry import register


@register("model", "mynet")
class MyNet(nn.Module):
    '''One convolution and the mean over the image.'''

    def __init__(
        self, in_channels: int, num_classes: int, *, width: Annotated[int, Field(ge=1)] = 16, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 5)
        self.logits = nn.Linear(width, num_classes, bias=bias)

    def forward(self, images):
        return self.logits(self.conv(images).relu().mean(dim=(2, 3)))
"""

FILE = TINY.replace(
    "model: {name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}", "model: {name: mynet, width: 32}"
).replace("epochs: 3", "epochs: 2")


@pytest.fixture
def file(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment with the plugin beside it; stands in another folder."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/mynet.py").write_text(MYNET)
    file = tmp_path / "mine/mine.yaml"
    file.write_text(FILE + "plugins: [mynet.py]\n")
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    monkeypatch.chdir(workspace.root)
    return file


def told(file: Path, *overrides: str) -> str:
    result = call("check", file, *overrides)
    assert result.code == 2
    return result.err.replace(f"{file}:", "")


def test_its_parameters_are_checked_as_any_model_s(file: Path) -> None:
    checked = call("check", file, "--json").json
    assert checked["ok"] is True
    assert checked["parameters"] == 32 * 25 + 32 + 32 * 7 + 7
    assert checked["macs"] == 32 * 25 * 20 * 20 + 32 * 7
    assert told(file, "model.width=0") == (
        "mien: the command line: model.width: 0 can't stand here; expected at least 1\n"
    )
    assert told(file, "model.wdith=3") == (
        "mien: the command line: model.wdith: unknown key; expected one of width, bias, pretrained, freeze. "
        "Did you mean 'width'?\n"
    )
    assert told(file, "model.bias=1") == (
        "mien: the command line: model.bias: 1 can't stand here; expected true or false\n"
    )
    assert told(file, "model.num_classes=7").startswith("mien: the command line: model.num_classes: unknown key; ")


def test_without_its_file_the_model_is_unknown(file: Path) -> None:
    assert call("check", file).code == 0
    file.write_text(FILE)
    assert told(file) == (
        "mien: 4: model.name: no model is called 'mynet'; expected 'name' as one of cnn, compact, "
        "googlenet, landmarks-small, mobilenet_v2, resnet, xception\n"
    )


def test_the_schema_shows_it(file: Path) -> None:
    shown = call("schema", "--plugin", file.with_name("mynet.py"))
    assert shown.code == 0
    assert shown.err == ""
    schema = json.loads(shown.out)
    own = schema["$defs"]["model_mynet"]
    assert own["description"] == "One convolution and the mean over the image."
    assert own["properties"]["width"] == {"default": 16, "minimum": 1, "title": "Width", "type": "integer"}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(YAML(typ="safe", pure=True).load(file.read_text()))
    assert not validator.is_valid({"model": {"name": "mynet", "wdith": 3}})
    assert "model_mynet" not in json.loads(call("schema").out)["$defs"]


def test_a_run_has_its_own_copy(workspace: Workspace, file: Path) -> None:
    run = new_run(workspace, load_experiment(file))
    original = file.with_name("mynet.py")
    # What is written after the run began is none of the run's business.
    original.write_text(MYNET.replace("relu()", "sigmoid()"))
    train(workspace, run, ["test"])
    measured = evaluate(workspace, run, "report")

    original.write_text(MYNET)
    again = new_run(workspace, load_experiment(file))
    train(workspace, again, ["test"])
    assert {name: tensor.tolist() for name, tensor in load_file(run.weights).items()} == {
        name: tensor.tolist() for name, tensor in load_file(again.weights).items()
    }

    for left in (original, file):
        left.unlink()
    assert (run.folder / "plugins/mynet.py").read_text() == MYNET
    assert evaluate(workspace, Run(run.folder), "report") == measured
    assert find_run(workspace, "tiny/1").experiment.model.model_dump() == {"name": "mynet", "width": 32, "bias": True}


def test_plugins_of_one_run_do_not_reach_another(workspace: Workspace, tiny: Dataset, file: Path) -> None:
    first = new_run(workspace, load_experiment(file)).experiment
    file.with_name("mynet.py").write_text(MYNET.replace("width, 5)", "width, 3)"))
    second = new_run(workspace, load_experiment(file)).experiment
    kernels = [one.model.entry.build(in_channels=1, num_classes=7).conv.kernel_size for one in (first, second)]
    assert kernels == [(5, 5), (3, 3)]
    file.write_text(TINY)
    load_experiment(file)
    assert "mynet" not in names("model")


def test_no_other_code_is_loaded(file: Path) -> None:
    file.with_name("other.py").write_text("raise RuntimeError\n")
    file.with_name("torch.py").write_text("raise RuntimeError\n")
    assert call("check", file).code == 0
