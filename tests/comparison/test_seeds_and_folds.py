"""Groups: seeds and folds trained by one command, measured and told as one."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, write_tiny
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score
from verbs import call

from mien.comparison.seeds_and_folds import describe
from mien.data.dataset import open_dataset
from mien.errors import MienError
from mien.experiment.schema import load_experiment
from mien.runs.predictions import read_predictions
from mien.runs.run import Run, new_group
from mien.workspace import Workspace

pytestmark = pytest.mark.large

SHORT = TINY.replace("epochs: 3", "epochs: 1")
FOLDS = SHORT.replace("name: tiny\n", "name: folds\n") + "protocol: {name: k-fold, folds: 2}\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace with two seeds and two folds of the stripes, all measured."""
    root = tmp_path_factory.mktemp("groups")
    workspace = Workspace(root)
    write_tiny(workspace)
    (root / "tiny.yaml").write_text(SHORT)
    (root / "folds.yaml").write_text(FOLDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_HOME", str(root))
        seeds = call("train", root / "tiny.yaml", "--seeds", 2, "train.seed=5", "--json").json
        assert [one["run"] for one in seeds["runs"]] == ["tiny/1", "tiny/2"]
        folds = call("train", root / "folds.yaml", "--folds")
        assert folds.out.splitlines()[-1] == "to measure all of them on the reporting role: mien evaluate folds/1-2"
        assert call("evaluate", "tiny/1-2", "--json").json["group"] == describe(workspace, "tiny/1-2")
        assert "all folds together" in call("evaluate", "folds/1-2").out
        yield workspace


def test_seeds_differ_in_nothing_else(home: Workspace) -> None:
    first, second = (Run(home.runs / f"tiny/{number}") for number in (1, 2))
    assert (first.experiment.train.seed, second.experiment.train.seed) == (5, 6)
    one, other = (run.experiment_file.read_text() for run in (first, second))
    assert one.replace("seed: 5", "seed: 6") == other


def test_seeds_come_to_a_mean_with_its_spread(home: Workspace) -> None:
    found = describe(home, "tiny/1-2")
    each = [json.loads((home.runs / f"tiny/{number}/metrics.json").read_text())["accuracy"] for number in (1, 2)]
    assert (found["kind"], found["seeds"], found["n"], found["split"]) == ("seeds", [5, 6], 35, "test")
    assert found["accuracy"]["each"] == pytest.approx(each)
    assert found["accuracy"]["mean"] == pytest.approx(np.mean(each))
    assert found["accuracy"]["sd"] == pytest.approx(np.std(each, ddof=1))
    low, high = found["accuracy"]["interval"]
    assert low < np.mean(each) < high
    # Stripes are all alike, and so none of them stands out as a copy of another.
    assert found["near_clean"] == found["clean"] == {key: found[key] for key in found["clean"]}
    assert (found["contaminated"], found["overlap"]) == (0.0, {"rows": 0.0, "exact": 0.0, "near": 0.0})


def test_folds_come_to_one_measurement_of_all_rows(home: Workspace) -> None:
    found = describe(home, "folds/1-2")
    parts = [read_predictions(home.runs / f"folds/{number}/predictions/report.parquet") for number in (1, 2)]
    dataset = open_dataset(home, "tiny")
    everyone = {(split, id_) for split in dataset.card.splits for id_ in dataset.ids(split)}
    assert sorted(row for part in parts for row in part.rows) == sorted(everyone)
    labels, predicted = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "predicted"))
    assert (found["kind"], found["n"], found["protocol"]) == ("folds", 280, "k-fold")
    assert found["accuracy"]["mean"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["accuracy"]["each"] == pytest.approx([(part.labels == part.predicted).mean() for part in parts])
    assert found["clean"] == {key: found[key] for key in found["clean"]}


def test_a_group_is_published_without_its_rows(home: Workspace, tmp_path: Path) -> None:
    told = call("report", "tiny/1-2", "--to", tmp_path / "out", "--json").json
    assert told == describe(home, "tiny/1-2") == json.loads((tmp_path / "out" / "group.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "environment.json",
        "experiment.yaml",
        "group.json",
        "published.json",
    ]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    assert call("report", "tiny/1-2", "--to", tmp_path / "other").err == (
        f"mien: {tmp_path}/other: this folder holds something else; expected a new folder, or one "
        "with the published.json of an earlier call\n"
    )


def test_a_group_that_was_stopped_goes_on_with_what_is_left(home: Workspace) -> None:
    experiments = [load_experiment(home.root / "tiny.yaml", ["name=again", f"train.seed={seed}"]) for seed in (5, 6)]
    first, second = new_group(home, experiments)
    first.set_state("finished")
    told = call("train", "--resume", "again/1-2", "--json").json
    assert told["run"] == "again/2"
    assert not first.weights.exists()
    tensors, expected = load_file(second.weights), load_file(home.runs / "tiny/2/weights.safetensors")
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert call("train", "--resume", "again/1-2").err == (
        f"mien: {home.runs}/again/1: runs again/1-2 are finished; expected a run that was stopped\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny.yaml", "--seeds", "2", "--folds"], "--seeds and --folds exclude each other; expected one of them"),
        (["tiny.yaml", "--folds"], "ROOT/tiny.yaml: protocol: protocol 'official' has no folds; expected k-fold or "
         "leave-one-subject-out"),
        (["--resume", "tiny/1-2", "--seeds", "2"], "a stopped group goes on as it began; expected mien train --resume "
         "tiny/1-2 alone"),
        (["--resume", "tiny/1-9"], "there is no run 'tiny/3'; expected a run's folder, its name, or name/number. "
         "Did you mean 'tiny/2'?"),
    ],
)  # fmt: skip
def test_groups_that_cannot_be(home: Workspace, arguments: list[str], message: str) -> None:
    given = [str(home.root / one) if one.endswith(".yaml") else one for one in arguments]
    before = sorted(path.name for path in home.runs.glob("*/*"))
    told = call("train", *given)
    assert (told.code, told.err) == (2, f"mien: {message.replace('ROOT', str(home.root))}\n")
    assert sorted(path.name for path in home.runs.glob("*/*")) == before


def test_a_group_needs_its_members_measured(home: Workspace) -> None:
    (home.runs / "folds/2/metrics.json").rename(home.runs / "folds/2/kept.json")
    with pytest.raises(MienError) as error:
        describe(home, "folds/1-2")
    (home.runs / "folds/2/kept.json").rename(home.runs / "folds/2/metrics.json")
    assert str(error.value) == (
        f"{home.runs / 'folds/2'}: run folds/2 has not been measured on its reporting role; "
        "expected mien evaluate folds/2 first"
    )
