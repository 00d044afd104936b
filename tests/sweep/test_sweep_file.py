"""The file of a sweep: what it says, and each mistake with its line and the nearest valid name."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY, TINY

from mien.errors import MienError
from mien.experiment.schema import load_experiment
from mien.sweep.file import Axis, Pruner, read_sweep

SPACE = """
name: rates
experiment: tiny.yaml
trials: 6
space:
  optimizer.lr: {log: [1e-3, 1e-1]}
  model.name: {choices: [cnn, resnet]}
  model.width: {int: [4, 8], when: {model.name: resnet}}
  model.fc: {choices: [[16], [8, 8]], when: {model.name: cnn}}
  model.dropout: {range: [0, 0.5]}
pruner: {name: median, trials: 2}
seed: 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    written = tmp_path / "rates.yaml"
    written.write_text(SPACE.lstrip())
    return written


def test_it_is_read(file: Path) -> None:
    sweep = read_sweep(file, ["train.epochs=2"])
    assert sweep.axes == (
        Axis("optimizer.lr", "log", (0.001, 0.1), {}),
        Axis("model.name", "choices", ("cnn", "resnet"), {}),
        Axis("model.width", "int", (4, 8), {"model.name": "resnet"}),
        Axis("model.fc", "choices", ([16], [8, 8]), {"model.name": "cnn"}),
        Axis("model.dropout", "range", (0.0, 0.5), {}),
    )
    assert (sweep.name, sweep.trials, sweep.sampler, sweep.seed) == ("rates", 6, "tpe", 3)
    assert sweep.pruner == Pruner("median", {"trials": 2, "epochs": 1})
    assert sweep.experiment.train.epochs == 2


def test_a_trial_is_an_experiment(file: Path) -> None:
    sweep = read_sweep(file)
    # The model's name comes first, whatever the order: else its parameters would be the other model's.
    changes = sweep.changes({"model.width": 5, "optimizer.lr": 0.01, "model.name": "resnet"})
    experiment = load_experiment(sweep.base, changes)
    assert (experiment.name, experiment.model.called, experiment.model.parameters["width"]) == ("rates", "resnet", 5)
    assert experiment.optimizer.parameters["lr"] == 0.01


def test_every_end_is_tried_where_its_key_is_searched(file: Path) -> None:
    tried = [(axis.key, path[-1], given["model.name"]) for axis, path, given in read_sweep(file).ends()]
    assert tried == [
        *(("optimizer.lr", end, "cnn") for end in (0, 1)),
        ("model.name", 0, "cnn"),
        ("model.name", 1, "resnet"),
        *(("model.width", end, "resnet") for end in (0, 1)),
        *(("model.fc", end, "cnn") for end in (0, 1)),
        *(("model.dropout", end, "cnn") for end in (0, 1)),
    ]


def test_the_file_in_the_documentation_is_one(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "experiments" / "paper-2021", tmp_path / "here")
    (text, *_) = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "scale.md").read_text(), flags=re.S)
    (tmp_path / "here" / "rates.yaml").write_text(text)
    sweep = read_sweep(tmp_path / "here" / "rates.yaml")
    assert [axis.kind for axis in sweep.axes] == ["log", "choices", "choices", "range", "int"]
    assert (sweep.trials, sweep.pruner) == (30, Pruner("median", {"trials": 5, "epochs": 3}))


WRONG = {
    ("name: rates", "nme: rates"): [
        "1: nme: unknown key; expected one of name, experiment, space, trials, sampler, pruner, seed. "
        "Did you mean 'name'?"
    ],
    ("name: rates", "name: ../rates"): [
        "1: name: '../rates' can't be the name of a sweep; expected 1 to 100 letters, digits, '.', '_' or '-', the "
        "first a letter or digit"
    ],
    ("tiny.yaml", "tin.yaml"): [
        "2: experiment: there is no file 'tin.yaml' beside this one; expected the file of an experiment. "
        "Did you mean 'tiny.yaml'?"
    ],
    ("trials: 6", "trials: 0"): ["3: trials: 0 can't stand here; expected a whole number, 1 to 2,000"],
    ("trials: 6", "sampler: tpp"): [
        " trials: this key is missing; expected for example 'trials: 30'",
        "3: sampler: no sampler is called 'tpp'; expected one of tpe, random. Did you mean 'tpe'?",
    ],
    ("trials: 2}", "trial: 2}"): [
        "10: pruner.trial: unknown key; expected one of trials, epochs. Did you mean 'trials'?"
    ],
    ("name: median, trials: 2", "name: halving, factor: 1"): [
        "10: pruner.factor: 1 can't stand here; expected a whole number, at least 2"
    ],
    ("optimizer.lr:", "optimiser.lr:"): [
        "5: space.optimiser.lr: no key of the experiment is called 'optimiser.lr'. Did you mean 'optimizer.lr'?"
    ],
    ("model.dropout:", "model.dropot:"): [
        "9: space.model.dropot: no key of the experiment is called 'model.dropot'. Did you mean 'model.dropout'?"
    ],
    ("model.dropout: {range: [0, 0.5]}", "train.seed: {int: [0, 5]}"): [
        "9: space.train.seed: this key can't be searched: a seed is chance, and the best of many is only the luckiest"
    ],
    ("model.dropout: {range: [0, 0.5]}", "protocol: {choices: [official, folder]}"): [
        "9: space.protocol: this key can't be searched: trials would be measured on other rows, and couldn't be "
        "compared"
    ],
    ("[1e-3, 1e-1]", "[0, 1e-1]"): [
        "5: space.optimizer.lr.log: [0, 0.1] can't stand here; expected two finite numbers above 0, the lower first"
    ],
    ("{log: [1e-3, 1e-1]}", "{range: [-1, 1]}"): ["5: space.optimizer.lr: -1.0 can't stand here; expected more than 0"],
    ("range: [0, 0.5]", "range: [0, 1.5]"): ["9: space.model.dropout: 1.5 can't stand here; expected less than 1"],
    ("[cnn, resnet]", "[cnn, resnt]"): [
        '7: space.model.width.when.model.name: "resnet" is none of its choices; expected one of "cnn", "resnt". '
        "Did you mean '\"resnt\"'?"
    ],
    ("{log: [1e-3, 1e-1]}", "{log: [1e-3, 1e-1], int: [1, 2]}"): [
        "5: space.optimizer.lr: log and int exclude each other; expected one of log: [1e-4, 1e-2], range: [0, 1], "
        "int: [1, 8], choices: [a, b]"
    ],
    ("when: {model.name: cnn}", "when: {optimizer.lr: 1}"): [
        "8: space.model.fc.when.optimizer.lr: no key above this one has choices and this name; expected one of "
        "model.name"
    ],
    ("[[16], [8, 8]]", "[[16], [16]]"): [
        "8: space.model.fc.choices: [[16], [16]] can't stand here; expected a list of at least two different values"
    ],
    # What goes with one model alone is a condition that is missing.
    (", when: {model.name: cnn}", ""): [
        "8: space.model.fc: unknown key; expected one of width, blocks, dropout, pretrained, freeze"
    ],
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change[1] or "no condition")
def test_a_mistake_is_told_with_its_line(file: Path, change: tuple[str, str]) -> None:
    assert change[0] in SPACE
    file.write_text(SPACE.lstrip().replace(*change))
    with pytest.raises(MienError) as error:
        read_sweep(file)
    told = [str(one).removeprefix(f"{file}:") for one in (error.value, *error.value.more)]
    assert sorted(told) == sorted(WRONG[change])


def test_the_command_line_sets_nothing_that_is_searched(file: Path) -> None:
    with pytest.raises(MienError, match=r"rates\.yaml:5: space\.optimizer\.lr: the command line sets this key"):
        read_sweep(file, ["optimizer.lr=0.1"])
