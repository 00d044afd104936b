"""A task of a user's own, in one file beside the experiment: trained, measured, reported and compared by the verbs."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TINY, write_tiny
from safetensors import safe_open
from scipy.stats import pearsonr
from verbs import Result, call

from mien.data.dataset import write_dataset
from mien.data.labels import FER2013
from mien.data.synthetic.anatomy import UNITS
from mien.data.synthetic.drawing import draw
from mien.data.synthetic.parameters import Face, sample
from mien.images import encode_png
from mien.registry import load_plugins, names
from mien.runs.run import Run
from mien.tasks import OWN, headline, task_of
from mien.workspace import Workspace

# How open the mouth is and how raised the brows are, as two numbers from 0 up.
PLUGIN = '''
from torch import nn
from torch.nn import functional as F

from mien.registry import register
from mien.tasks import Score, Task, regression


@register("task", "opening")
def opening() -> Task:
    """How open the mouth is, and how raised the brows."""
    return regression(Score("mae", "MAE"), ("mouth", "brows"), errors)


def errors(outputs, targets, labels):
    off = (outputs - targets).abs()
    return {"mae": off.mean(dim=1), "mouth": off[:, 0], "brows": off[:, 1]}


@register("loss", "huber")
class Huber(nn.Module):
    """The Huber loss of numbers."""

    targets = "values"

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs, targets):
        return F.huber_loss(outputs, targets)
'''

FILE = """
name: opening
task: opening
plugins: [opening.py]
dataset: {name: drawn, size: 32}
preprocess: [{op: normalize}]
augment: [{op: brightness}]
model: {name: cnn, channels: [8, 16], kernel_size: 3, fc: [32]}
loss: huber
optimizer: {name: adam, lr: 3e-3}
train: {epochs: 10, batch_size: 16, seed: 1, precision: float32, device: cpu}
"""


def numbers(face: Face) -> dict[str, float]:
    """What the task is to tell of a face, of the strengths of the muscles that it was drawn with."""
    strength = dict(zip(UNITS, np.mean(face.units, axis=1).tolist(), strict=True))
    return {
        "mouth": strength["jaw_drop"] + strength["lips_part"] / 2,
        "brows": strength["inner_brow_raise"] + strength["outer_brow_raise"],
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with drawn faces and what is true of them, in which two runs are trained and measured."""
    root = tmp_path_factory.mktemp("home")
    workspace = Workspace(root)
    columns = {"mouth": pa.float32(), "brows": pa.float32()}
    with write_dataset(workspace, "drawn", FER2013, source="drawn", format="test", columns=columns) as writer:
        for index in range(400):
            face = sample(0, index)
            split = ("train", "train", "train", "validation", "test")[index % 5]
            image, _ = draw(face, 32, "gray")
            writer.add(split, str(index), encode_png(image), face.expression, size=(32, 32), **numbers(face))
    write_tiny(workspace)
    (root / "opening.py").write_text(PLUGIN)
    (root / "opening.yaml").write_text(FILE)
    (root / "tiny.yaml").write_text(TINY)
    for overrides in (["train.epochs=1", "optimizer.lr=1e-5"], []):
        assert mien(workspace, "train", root / "opening.yaml", *overrides).code == 0
    assert mien(workspace, "train", root / "tiny.yaml", "train.epochs=1").code == 0
    for run in ("opening/1", "opening/2", "tiny/1"):
        assert mien(workspace, "evaluate", run).code == 0
    return workspace


def mien(home: Workspace, *arguments: object) -> Result:
    # Each verb begins without what an earlier one registered, as a command line does.
    load_plugins([])
    return call(*arguments, "--workspace", home.root)


def run_of(home: Workspace, number: int) -> Run:
    return Run(home.runs / "opening" / str(number))


def stored(home: Workspace, number: int) -> pa.Table:
    return pq.read_table(run_of(home, number).predictions("report"))


def test_it_is_trained_by_its_own_score(home: Workspace) -> None:
    run = run_of(home, 2)
    with run.history.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "lr", "fit_loss", "fit_mae", "choose_loss", "choose_mae"]
    chosen = [float(row["choose_mae"]) for row in rows]
    fitted = [float(row["fit_mae"]) for row in rows]
    # On three processors: 0.64 and 0.90.
    assert fitted[-1] < 0.75 * fitted[0]
    assert min(chosen) < 0.95 * chosen[0]
    # What is kept is the epoch with the least error, and that is what it has when it is measured.
    measured = json.loads(run.metrics_file("choose").read_text())
    assert measured["mae"] == pytest.approx(min(chosen), rel=1e-5)
    assert run.experiment.train.monitor == "choose_mae"
    with safe_open(run.weights, framework="pt") as file:
        assert json.loads(file.metadata()["mien"])["task"] == "opening"


def test_the_numbers_are_those_of_the_stored_rows(home: Workspace) -> None:
    measured, table = json.loads(run_of(home, 2).metrics_file("report").read_text()), stored(home, 2)
    assert table.column_names == ["split", "id", "true", "predicted", "mae", "mouth", "brows"]
    true, predicted = (np.array(table[name].to_pylist()) for name in ("true", "predicted"))
    faces = [numbers(sample(0, int(id_))) for id_ in table["id"].to_pylist()]
    np.testing.assert_allclose(true, [[face["mouth"], face["brows"]] for face in faces], rtol=1e-6)
    off = np.abs(predicted - true)
    np.testing.assert_allclose(table["mae"], off.mean(axis=1), rtol=1e-5)
    assert (measured["task"], measured["n"], measured["split"]) == ("opening", 80, "test")
    assert [measured[key] for key in ("mae", "mouth", "brows")] == pytest.approx([off.mean(), *off.mean(axis=0)])
    low, high = measured["interval"]["mae"]
    error = off.mean(axis=1).std() / np.sqrt(80)
    assert (low, high) == pytest.approx((off.mean() - 1.96 * error, off.mean() + 1.96 * error), rel=0.05)
    assert measured["overlap"] == {"rows": 0, "exact": 0, "near": 0}
    assert measured["clean"]["mae"] == measured["mae"]
    # It has learned to see something.
    assert pearsonr(true[:, 0], predicted[:, 0]).statistic > 0.4


def test_the_verbs_show_its_score(home: Workspace) -> None:
    measured = json.loads(run_of(home, 2).metrics_file("report").read_text())
    told = "{:.3f} [{:.3f}, {:.3f}]".format(measured["mae"], *measured["interval"]["mae"])
    result = mien(home, "evaluate", "opening/2")
    assert "opening/2, seed 1, protocol official, report role: drawn, test, n = 80" in result.out
    assert "measured on" in result.out
    assert told in result.out
    assert f"MAE {told} test n 80" in mien(home, "runs").out
    rows = {one["run"]: one["task"] for one in mien(home, "runs", "--json").json["runs"]}
    assert rows == {"opening/1": "opening", "opening/2": "opening", "tiny/1": "expression"}
    group = mien(home, "evaluate", "opening/1-2", "--json").json
    assert [one["mae"] for one in group["runs"]][1] == measured["mae"]


def test_its_page_has_its_numbers_and_curves(home: Workspace) -> None:
    run = run_of(home, 2)
    (run.folder / "report.html").unlink()
    result = mien(home, "report", "opening/2")
    assert result.code == 0
    page = (run.folder / "report.html").read_text()
    measured = json.loads(run.metrics_file("report").read_text())
    for key in ("mae", "mouth", "brows"):
        told = "{:.3f}\N{NO-BREAK SPACE}[{:.3f},".format(measured[key], measured["interval"][key][0])
        assert told.replace("\N{NO-BREAK SPACE}", " ") in page
    assert 'aria-label="The MAE by epoch: after epoch 10 it is' in page
    assert "the best by choose MAE." in page
    assert (run.folder / "figures" / "curves.svg").is_file()
    to = home.root / "published"
    assert mien(home, "report", "opening/2", "--to", to).code == 0
    assert (to / "report.html").read_text() == page


def test_two_runs_are_compared_row_by_row(home: Workspace) -> None:
    compared = mien(home, "compare", "opening/1", "opening/2", "--json").json
    (pair,) = compared["pairs"]
    off = [stored(home, number)["mae"].to_numpy() for number in (1, 2)]
    assert pair["difference"] == pytest.approx((off[0] - off[1]).mean())
    low, high = pair["interval"]
    assert 0 < low < pair["difference"] < high
    assert pair["verdict"] == "opening/2 is better"
    assert [one["mae"] for one in compared["contenders"]] == pytest.approx([off[0].mean(), off[1].mean()])
    assert f"{pair['difference']:+.3f}" in mien(home, "compare", "opening/1", "opening/2").out
    (turned,) = mien(home, "compare", "opening/2", "--baseline", "opening/1", "--json").json["pairs"]
    assert (turned["a"], turned["difference"]) == ("opening/2", pytest.approx(-pair["difference"]))
    assert mien(home, "compare", "opening/1-2", "--baseline", "opening/1-2").err == (
        "mien: --baseline: 'opening/1-2' is several runs; expected one, as opening/1\n"
    )


def test_what_is_of_other_tasks_is_refused(home: Workspace) -> None:
    assert mien(home, "compare", "opening/1", "tiny/1").err == (
        f"mien: {home.runs / 'tiny/1'}: run tiny/1 is on expressions; "
        "expected runs of the same task, as the others are\n"
    )
    assert (
        "finds numbers and no classes; expected a run whose task is expression"
        in mien(home, "explain", "opening/2").err
    )
    assert (
        "these are numbers, not classes; expected a run whose task is expression"
        in mien(home, "slices", "opening/2", "--by", "class").err
    )
    for change, message in (
        (
            "loss=cross_entropy",
            "loss: loss 'cross_entropy' is on labels and the task is opening; expected a loss on values",
        ),
        (
            "train.monitor=choose_nme",
            "train.monitor: 'choose_nme' isn't measured when the task is opening; expected choose_mae or choose_loss",
        ),
        ("tta=flip", "tta: numbers have no test-time augmentation; expected none"),
        ("dataset.name=tiny", "dataset.name: data set 'tiny' has no column 'mouth'; expected the columns mouth, brows"),
        (
            "task=openings",
            "task: \"openings\" can't stand here; expected 'expression', 'landmarks' or 'opening'",
        ),
    ):
        assert mien(home, "check", home.root / "opening.yaml", change).err == f"mien: the command line: {message}\n"


def test_reading_runs_no_plugin(home: Workspace, tmp_path: Path) -> None:
    run = run_of(home, 2)
    measured = json.loads(run.metrics_file("report").read_text())
    before = headline(measured)
    plugin = run.folder / "plugins" / "opening.py"
    kept = plugin.read_text()
    plugin.write_text("raise RuntimeError")
    try:
        assert f" {before} " in mien(home, "runs").out
        assert "opening" not in names("task")
        assert (task_of(measured).name, task_of(measured).score.label) == ("opening", "MAE")
    finally:
        plugin.write_text(kept)


def test_the_schema_lists_it(home: Workspace) -> None:
    shown = json.loads(call("schema", "--plugin", home.root / "opening.py").out)
    assert shown["properties"]["task"]["enum"] == ["expression", "landmarks", "opening"]
    assert "choose_mae" in shown["$defs"]["TrainSection"]["properties"]["monitor"]["enum"]
    load_plugins([])
    assert json.loads(call("schema").out)["properties"]["task"]["enum"] == sorted(OWN)
