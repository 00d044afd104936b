"""The experiment file: its defaults, every kind of mistake in it, its schema, and that it survives being written."""

from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from conftest import REPOSITORY, TINY, write_tiny
from ruamel.yaml import YAML
from verbs import call

from mien.audit import FLAGS
from mien.data.dataset import Dataset, write_dataset
from mien.data.labels import FACE, FER2013
from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.experiment.json_schema import json_schema
from mien.experiment.schema import Experiment, TrainSection, import_components, load_experiment, read_protocol
from mien.experiment.yamlfile import read_yaml
from mien.images import encode_png
from mien.registry import names
from mien.workspace import Workspace

FILES = sorted([*(REPOSITORY / "experiments").rglob("*.yaml"), REPOSITORY / "mien/demo.yaml"])
# The others are there to be extended.
WHOLE = [file for file in FILES if "name" in read_yaml(file)[0]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the stripes, and another data set that nobody has voted on."""
    root = tmp_path_factory.mktemp("home")
    write_tiny(Workspace(root), n=70)
    return root


@pytest.fixture(autouse=True)
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in an empty folder, with the workspace elsewhere."""
    monkeypatch.setenv("MIEN_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(*changes: tuple[str, str]) -> str:
    text = TINY.lstrip("\n")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def refused(home: Path, text: str, *overrides: str) -> list[str]:
    """What `mien train` says of a file; checks that each way of saying it is the same, and that nothing is left."""
    Path("x.yaml").write_text(text)
    before = sorted(home.rglob("*"))
    told = call("train", "x.yaml", *overrides, "--json")
    assert (told.code, sorted(home.rglob("*"))) == (2, before)
    lines = told.err.splitlines()
    assert list(told.json) == ["error"]
    assert f"mien: {told.error}" == lines[0]
    checked = call("check", "x.yaml", *overrides)
    assert (checked.code, checked.err) == (2, told.err)
    return [line.removeprefix("mien: ") for line in lines]


MODELS = "cnn, compact, googlenet, landmarks-small, mobilenet_v2, resnet, xception"
LOSSES = "cross_entropy, distill, l1, mse, soft_cross_entropy, wing"
OPS = ", ".join(names("op")) if import_components() is None else ""
TRAIN = (
    "epochs, batch_size, shuffle, seed, precision, device, devices, nodes, keep, monitor, early_stopping, "
    "gradient_clip, ema, mixup, cutmix, votes, tensorboard"
)
NAME = "1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit"
MODEL = "model: {name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}"

# What stands in the file (line numbers are those of TINY without its first, empty one), what takes its place, and
# what is said of it.
MISTAKES: dict[str, tuple[tuple[str, str], str]] = {
    "unknown section": (("train: {", "trian: {"), "x.yaml:8: trian: unknown key. Did you mean 'train'?"),
    "unknown key of a section": (
        ("seed: 1", "sead: 1"),
        f"x.yaml:8: train.sead: unknown key; expected one of {TRAIN}. Did you mean 'seed'?",
    ),
    "misspelt key that must be there": (
        ("epochs: 3", "epocs: 3"),
        f"x.yaml:8: train.epocs: unknown key; expected one of {TRAIN}. Did you mean 'epochs'?",
    ),
    "key of another section": (
        ("name: tiny\n", "name: tiny\nbatch_size: 3\n"),
        "x.yaml:2: batch_size: unknown key. Did you mean 'train.batch_size'?",
    ),
    "unknown key of the data set": (
        ("size: 24", "size: 24, colour: gray"),
        "x.yaml:2: dataset.colour: unknown key; expected one of size, color, labels. Did you mean 'color'?",
    ),
    "parameter that the model doesn't take": (
        ("kernel_size: 5", "kernal_size: 5"),
        "x.yaml:3: model.kernal_size: unknown key; expected one of channels, kernel_size, pool_size, pool_stride, fc, "
        "dropout, batch_norm, pretrained, freeze. Did you mean 'kernel_size'?",
    ),
    "parameter that mien supplies": (
        ("kernel_size: 5", "num_classes: 5"),
        "x.yaml:3: model.num_classes: unknown key; expected one of channels, kernel_size, pool_size, pool_stride, fc, "
        "dropout, batch_norm, pretrained, freeze",
    ),
    "parameter of something that takes none": (
        ("schedule: {name: cosine}", "schedule: {name: constant, warmup_epochs: 3}"),
        "x.yaml:7: schedule.warmup_epochs: unknown key; expected no key",
    ),
    "unknown model": (
        ("name: cnn", "name: cnnn"),
        f"x.yaml:3: model.name: no model is called 'cnnn'; expected 'name' as one of {MODELS}. Did you mean 'cnn'?",
    ),
    "unknown op": (
        ("op: noise", "op: noize"),
        f"x.yaml:5: augment.1.op: no op is called 'noize'; expected 'op' as one of {OPS}. Did you mean 'noise'?",
    ),
    "unknown loss": (
        ("name: tiny\n", "name: tiny\nloss: cross_entrpy\n"),
        f"x.yaml:2: loss.name: no loss is called 'cross_entrpy'; expected 'name' as one of {LOSSES}. "
        "Did you mean 'cross_entropy'?",
    ),
    "unknown protocol": (
        ("name: tiny\n", "name: tiny\nprotocol: {name: offical}\n"),
        "x.yaml:2: protocol.name: no protocol is called 'offical'; expected 'name' as one of folder, k-fold, "
        "leave-one-subject-out, official, paper-2021, splits. Did you mean 'official'?",
    ),
    "unknown optimiser": (
        ("name: sgd", "name: rmsprop"),
        "x.yaml:6: optimizer.name: no optimizer is called 'rmsprop'; expected 'name' as one of adam, adamw, muon, sgd",
    ),
    "unknown schedule": (
        ("name: cosine", "name: cosin"),
        "x.yaml:7: schedule.name: no schedule is called 'cosin'; expected 'name' as one of constant, cosine, step. "
        "Did you mean 'cosine'?",
    ),
    "model without a name": (
        ("name: cnn, ", ""),
        f"x.yaml:3: model: this names no model; expected 'name' as one of {MODELS}",
    ),
    "model that is a list": (
        (MODEL, "model: [cnn]"),
        f"x.yaml:3: model: this names no model; expected 'name' as one of {MODELS}",
    ),
    "op without a name": (
        ("{op: noise, sd: 4}", "{name: noise}"),
        f"x.yaml:5: augment.1: this names no op; expected 'op' as one of {OPS}",
    ),
    "ops that are no list": (
        ("preprocess: [{op: normalize}]", "preprocess: {op: normalize}"),
        "x.yaml:4: preprocess: this is no list; expected a list of ops",
    ),
    "no name": (("name: tiny\n", ""), "x.yaml: name: this key is missing; expected for example 'name: cnn1'"),
    "no data set": (
        ("dataset: {name: tiny, size: 24}", ""),
        "x.yaml: dataset: this key is missing; expected for example 'dataset: fer2013'",
    ),
    "no model": ((MODEL, ""), "x.yaml: model: this key is missing; expected for example 'model: cnn'"),
    "no optimiser": (
        ("optimizer: {name: sgd, lr: 0.05}", ""),
        "x.yaml: optimizer: this key is missing; expected for example 'optimizer: {name: adam, lr: 1e-4}'",
    ),
    "no epochs": (("epochs: 3, ", ""), "x.yaml:8: train.epochs: this key is missing"),
    "empty section": (
        ("dataset: {name: tiny, size: 24}", "dataset:"),
        "x.yaml:2: dataset: null can't stand here; expected keys with values",
    ),
    "section that is text": (
        ("train: {epochs: 3, batch_size: 32, seed: 1, precision: float32, device: cpu}", "train: fast"),
        'x.yaml:8: train: "fast" can\'t stand here; expected keys with values',
    ),
    "number too small": (("epochs: 3", "epochs: 0"), "x.yaml:8: train.epochs: 0 can't stand here; expected at least 1"),
    "number too large": (
        ("size: 24", "size: 2000"),
        "x.yaml:2: dataset.size: 2000 can't stand here; expected at most 1024",
    ),
    "very large number": (
        ("seed: 1", f"seed: {'9' * 30}"),
        f"x.yaml:8: train.seed: {'9' * 30} can't stand here; expected less than 2147483648",
    ),
    "rate of nothing": (("lr: 0.05", "lr: 0"), "x.yaml:6: optimizer.lr: 0 can't stand here; expected more than 0"),
    "no number": (("lr: 0.05", "lr: .nan"), "x.yaml:6: optimizer.lr: NaN can't stand here; expected a finite number"),
    "infinity": (
        ("lr: 0.05", "lr: 1e999"),
        "x.yaml:6: optimizer.lr: Infinity can't stand here; expected a finite number",
    ),
    "truth value for a number": (
        ("epochs: 3", "epochs: true"),
        "x.yaml:8: train.epochs: true can't stand here; expected a whole number",
    ),
    "truth value for a rate": (
        ("lr: 0.05", "lr: true"),
        "x.yaml:6: optimizer.lr: true can't stand here; expected a number",
    ),
    "text for a number": (
        ("epochs: 3", 'epochs: "3"'),
        'x.yaml:8: train.epochs: "3" can\'t stand here; expected a whole number',
    ),
    "half a number": (
        ("epochs: 3", "epochs: 3.5"),
        "x.yaml:8: train.epochs: 3.5 can't stand here; expected a whole number",
    ),
    "nothing for a number": (
        ("epochs: 3", "epochs: "),
        "x.yaml:8: train.epochs: null can't stand here; expected a whole number",
    ),
    "number for a truth value": (
        ("seed: 1", "shuffle: 1"),
        "x.yaml:8: train.shuffle: 1 can't stand here; expected true or false",
    ),
    "YAML 1.1's truth value": (
        ("seed: 1", "shuffle: on"),
        'x.yaml:8: train.shuffle: "on" can\'t stand here; expected true or false',
    ),
    "number for text": (
        ("name: tiny, size", "name: 3, size"),
        "x.yaml:2: dataset.name: 3 can't stand here; expected text",
    ),
    "number for a list": (("fc: [16]", "fc: 16"), "x.yaml:3: model.fc: 16 can't stand here; expected a list"),
    "list for a number": (
        ("kernel_size: 5", "kernel_size: [5, 5]"),
        "x.yaml:3: model.kernel_size: [5, 5] can't stand here; expected a whole number",
    ),
    "wrong item": (
        ("fc: [16]", "fc: [16, x]"),
        'x.yaml:3: model.fc.1: "x" can\'t stand here; expected a whole number',
    ),
    "empty list": (
        ("channels: [4]", "channels: []"),
        "x.yaml:3: model.channels: [] can't stand here; expected at least 1 of them",
    ),
    "none of the choices": (
        ("precision: float32", "precision: fp16"),
        "x.yaml:8: train.precision: \"fp16\" can't stand here; expected 'auto', 'float32' or 'bfloat16'",
    ),
    "neither a choice nor a list": (
        ("name: tiny\n", "name: tiny\nloss: {class_weights: even}\n"),
        "x.yaml:2: loss.class_weights: \"even\" can't stand here; expected 'balanced' or a list",
    ),
    "name that is a path": (
        ("name: tiny\n", "name: ../tiny\n"),
        f"x.yaml:1: name: '../tiny' can't be the name of an experiment; expected {NAME}",
    ),
    "name that is a number": (("name: tiny\n", "name: 3\n"), "x.yaml:1: name: 3 can't stand here; expected text"),
    "random op in preprocess": (
        ("op: normalize", "op: flip"),
        "x.yaml:4: preprocess.0: op 'flip' is random; expected it in augment",
    ),
    "op in augment that isn't random": (
        ("{op: noise, sd: 4}", "{op: resize, size: 32}"),
        "x.yaml:5: augment.1: op 'resize' isn't random; expected it in preprocess",
    ),
    "no such plugin": (
        ("name: tiny\n", "name: tiny\nplugins: [mine.py]\n"),
        "x.yaml:2: plugins.0: there is no Python file 'mine.py'",
    ),
    "plugins that are no list": (
        ("name: tiny\n", "name: tiny\nplugins: mine.py\n"),
        'x.yaml:2: plugins: "mine.py" can\'t stand here; expected a list',
    ),
    "no such data set": (
        ("name: tiny, size", "name: tinny, size"),
        "x.yaml:2: dataset.name: no data set is called 'tinny'; expected one of tiny in HOME/datasets, "
        "or a new one by mien data import SOURCE --as tinny. Did you mean 'tiny'?",
    ),
    "no such labels": (
        ("size: 24", "size: 24, labels: fer2013"),
        "x.yaml:2: dataset.labels: no label scheme is called 'fer2013'; expected one of fer2013-7, ferplus-8, "
        "affectnet-8, affectnet-7, raf-db, ck-plus-8, face. "
        "Did you mean 'fer2013-7'?",
    ),
    "model too large for the image": (
        ("kernel_size: 5", "kernel_size: 25"),
        "x.yaml:3: model: images of 24 px are too small for the cnn: nothing is left after convolution 1 of 25×25 and "
        "its pooling of 4×4; expected larger images, fewer channels or a smaller kernel_size or pool_size",
    ),
    "op after normalize": (
        ("{op: normalize}]", "{op: normalize}, {op: resize, size: 32}]"),
        "x.yaml:4: preprocess: an op stands after normalize; expected normalize as the last op",
    ),
    "op that doesn't take the image": (
        ("{op: normalize}]", "{op: repeat_channels, n: 3}, {op: repeat_channels, n: 3}]"),
        "x.yaml:4: preprocess: repeat_channels got images of 3 channels; expected gray images of 1 channel",
    ),
    "protocol of another data set": (
        ("name: tiny\n", "name: tiny\nprotocol: paper-2021\n"),
        "x.yaml:2: protocol: data set 'tiny' has no split 'Training'; expected one of train, validation, test. "
        "Did you mean 'train'?",
    ),
    "no such split": (
        ("name: tiny\n", "name: tiny\nprotocol: {name: splits, fit: [train], choose: [valdation], report: [test]}\n"),
        "x.yaml:2: protocol.choose.0: data set 'tiny' has no split 'valdation'; expected one of train, "
        "validation, test. Did you mean 'validation'?",
    ),
    "unknown key of a protocol": (
        ("name: tiny\n", "name: tiny\nprotocol: {name: folder, exlude: [blank]}\n"),
        "x.yaml:2: protocol.exlude: unknown key; expected one of share, seed, exclude. Did you mean 'exclude'?",
    ),
    "fold that isn't there": (
        ("name: tiny\n", "name: tiny\nprotocol: {name: k-fold, fold: 5}\n"),
        "x.yaml:2: protocol.fold: there is no fold 5 of 5; expected 0 to 4, the first is 0",
    ),
    "unknown flag": (
        ("name: tiny\n", "name: tiny\nexclude: [blank, leakd]\n"),
        f"x.yaml:2: exclude.1: no flag is called 'leakd'; expected one of {', '.join(FLAGS)}. Did you mean 'leaked'?",
    ),
    "unknown flag in a protocol": (
        ("name: tiny\n", "name: tiny\nprotocol: {name: official, exclude: [conflicts]}\n"),
        f"x.yaml:2: protocol.exclude.0: no flag is called 'conflicts'; expected one of {', '.join(FLAGS)}. "
        "Did you mean 'conflict'?",
    ),
    "flag that is a number": (
        ("name: tiny\n", "name: tiny\nexclude: [3]\n"),
        f"x.yaml:2: exclude.0: no flag is called 3; expected one of {', '.join(FLAGS)}",
    ),
    "flags that are no list": (
        ("name: tiny\n", "name: tiny\nexclude: leaked\n"),
        "x.yaml:2: exclude: this is no list; expected a list of flags, as [leaked, blank]",
    ),
    "flags without an audit": (
        ("name: tiny\n", "name: tiny\nexclude: [leaked]\n"),
        "x.yaml:2: exclude: data set 'tiny' has no audit; expected mien data audit tiny",
    ),
    "flags of a protocol without an audit": (
        ("name: tiny\n", "name: tiny\nprotocol:\n  name: official\n  exclude: [leaked]\n"),
        "x.yaml:4: protocol.exclude: data set 'tiny' has no audit; expected mien data audit tiny",
    ),
    "warm-up longer than the training": (
        ("name: cosine", "name: cosine, warmup_epochs: 4"),
        "x.yaml:7: schedule.warmup_epochs: the warm-up of 8 steps is longer than the training of 6; "
        "expected fewer than 3 epochs",
    ),
    "too few class weights": (
        ("name: tiny\n", "name: tiny\nloss: {class_weights: [1, 2]}\n"),
        "x.yaml:2: loss.class_weights: 2 weights for 7 classes; expected 7 weights",
    ),
}


@pytest.mark.parametrize("change", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_sentence_with_its_place(home: Path, change: tuple[tuple[str, str], str]) -> None:
    (old, new), message = change
    assert refused(home, changed((old, new))) == [message.replace("HOME", str(home))]


def test_all_mistakes_are_told_at_once(home: Path) -> None:
    text = changed(("epochs: 3", "epochs: 0"), ("op: noise", "op: noize"), ("name: cnn, ", "name: cnn, wide: 3, "))
    assert [message.split(";")[0] for message in refused(home, text)] == [
        "x.yaml:3: model.wide: unknown key",
        "x.yaml:5: augment.1.op: no op is called 'noize'",
        "x.yaml:8: train.epochs: 0 can't stand here",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nmodel: {name\n", "x.yaml:3: this isn't YAML: expected ',' or '}', but got its end"),
        ("- name: a\n", "x.yaml:1: the file holds no keys; expected lines such as 'name: cnn1'"),
        ("name: a\nname: b\n", "x.yaml:2: the key 'name' is here twice"),
        ("extends: x.yaml\n", "x.yaml:1: extends: the file extends itself (x.yaml → x.yaml)"),
        ("#" * 2_000_000, "x.yaml: the file is too large for an experiment; expected at most 32 KB"),
    ],
)
def test_a_file_that_is_no_experiment(home: Path, text: str, message: str) -> None:
    assert refused(home, text) == [message]


def test_an_empty_file_is_told_what_it_lacks(home: Path) -> None:
    missing = ["name", "dataset", "model", "optimizer", "train"]
    assert [line.split(":")[1].strip() for line in refused(home, "# nothing\n")] == missing


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epochs"], "'epochs' isn't an override; expected key=value, as train.epochs=5"),
        (["train.epocs=3"], f"train.epocs: unknown key; expected one of {TRAIN}. Did you mean 'epochs'?"),
        (["epochs=3"], "epochs: unknown key. Did you mean 'train.epochs'?"),
        (["lr=3"], "lr: unknown key. Did you mean 'optimizer.lr'?"),
        (["train.epochs=five"], 'train.epochs: "five" can\'t stand here; expected a whole number'),
        (["train.epochs="], "train.epochs: null can't stand here; expected a whole number"),
        (["name.x=3"], 'name: {"x": 3} can\'t stand here; expected text'),
        (["augment.0.p=1"], "augment: this is no list; expected a list of ops"),
        (["model=resnet", "model.width=0"], "model.width: 0 can't stand here; expected at least 1"),
        (
            ["model=resnet", "model.fc=[3]"],
            "model.fc: unknown key; expected one of width, blocks, dropout, pretrained, freeze",
        ),
        (["optimizer=adam", "optimizer.betas=[0.9]"], "optimizer.betas.1: this item is missing"),
        (["train.device=cuda"], "train.device: this machine has no CUDA device; expected cpu or auto"),
    ],
)
def test_a_mistake_on_the_command_line(home: Path, overrides: list[str], message: str) -> None:
    import torch

    if "train.device=cuda" in overrides and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert refused(home, TINY, *overrides) == [f"the command line: {message}"]


def test_a_mistake_in_what_is_extended_is_told_at_its_own_line(home: Path) -> None:
    Path("base.yaml").write_text(changed(("epochs: 3", "epochs: 3, sead: 2")))
    assert refused(home, "extends: base.yaml\ntrain: {keep: all}\n") == [
        "x.yaml:2: train.keep: \"all\" can't stand here; expected 'last' or 'best'",
        f"base.yaml:8: train.sead: unknown key; expected one of {TRAIN}. Did you mean 'seed'?",
    ]


def test_a_loss_on_votes_needs_votes(home: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    card = write_tiny(workspace, n=70).folder / "card.json"
    card.write_text(card.read_text().replace('"votes"', '"others"'))
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    assert refused(workspace.root, TINY + "loss: soft_cross_entropy\n") == [
        "x.yaml:10: loss: data set 'tiny' has no rater votes; "
        "expected a loss on labels, or a data set imported with --votes"
    ]


def test_a_role_without_rows_is_told(home: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    # No rater has told the validation rows anything, so that none of them has a label under the raters' scheme.
    columns = {"votes": pa.list_(pa.int16(), 10)}
    with write_dataset(workspace, "tiny", FER2013, source="", format="test", columns=columns) as writer:
        for index, split in enumerate(("train", "validation", "test")):
            votes = [0] * 10 if split == "validation" else [10, *[0] * 9]
            writer.add(split, str(index), encode_png(np.zeros((24, 24, 1), np.uint8)), 0, size=(24, 24), votes=votes)
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    text = TINY.replace("name: tiny, size: 24", "name: tiny, size: 24, labels: ferplus-8")
    (message,) = refused(workspace.root, text + "protocol: official\n")
    assert message == "x.yaml:10: protocol: the choose role has no rows"


def test_defaults(tmp_path: Path) -> None:
    file = tmp_path / "least.yaml"
    file.write_text(
        "name: least\ndataset: fer2013\nmodel: cnn\noptimizer: {name: adam, lr: 1e-4}\ntrain: {epochs: 2}\n"
    )
    experiment = load_experiment(file)
    assert experiment.model_dump() == {
        "name": "least",
        "task": "expression",
        "plugins": (),
        "dataset": {"name": "fer2013", "size": 48, "color": "gray", "labels": None},
        "protocol": {"name": "official"},
        "preprocess": (),
        "augment": (),
        "model": {
            "name": "cnn",
            "channels": (10, 20),
            "kernel_size": 5,
            "pool_size": 4,
            "pool_stride": 1,
            "fc": (120, 250),
            "dropout": 0.0,
            "batch_norm": False,
        },
        "loss": {"name": "cross_entropy", "label_smoothing": 0.0, "class_weights": None},
        "optimizer": {"name": "adam", "lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
        "schedule": {"name": "constant"},
        "train": {
            "epochs": 2,
            "batch_size": 64,
            "shuffle": True,
            "seed": 42,
            "precision": "auto",
            "device": "auto",
            "devices": 1,
            "nodes": 1,
            "keep": "best",
            "monitor": "choose_accuracy",
            "early_stopping": None,
            "gradient_clip": None,
            "ema": None,
            "mixup": None,
            "cutmix": None,
            "votes": None,
            "tensorboard": False,
        },
        "exclude": (),
        "tta": "none",
        "explain": (),
    }
    with pytest.raises(ValueError, match="frozen"):
        experiment.train.epochs = 3  # type: ignore[misc]
    # A default's parameters can be set without its name.
    smoothed = load_experiment(file, ["loss.label_smoothing=0.1"])
    assert smoothed.loss.model_dump() == {"name": "cross_entropy", "label_smoothing": 0.1, "class_weights": None}


@pytest.mark.parametrize("file", WHOLE, ids=lambda file: file.stem)
def test_the_resolved_file_is_the_same_experiment(file: Path, tmp_path: Path) -> None:
    experiment = load_experiment(file)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(experiment.to_yaml())
    again = load_experiment(resolved)
    assert again == experiment
    assert again.to_yaml() == experiment.to_yaml()
    content, _ = read_yaml(resolved)
    # Nothing to be explained, averaged or mixed is not told, so that runs of before there were these keys still make
    # one group.
    assert list(content) == [key for key in Experiment.model_fields if key != "explain" or experiment.explain]
    later = {"ema": None, "mixup": None, "cutmix": None, "votes": None, "devices": 1, "nodes": 1}
    unused = {key for key, default in later.items() if getattr(experiment.train, key) == default}
    assert list(content["train"]) == [key for key in TrainSection.model_fields if key not in unused]


def test_a_later_override_is_in_the_resolved_file(tiny_file: Path) -> None:
    experiment = load_experiment(tiny_file, ["train.epochs=7", "model=resnet", "model.blocks=[1, 1]", "name=short"])
    assert (experiment.train.epochs, experiment.name) == (7, "short")
    assert experiment.model.model_dump() == {"name": "resnet", "width": 32, "blocks": (1, 1), "dropout": 0.0}
    assert "model:\n  name: resnet\n  width: 32\n  blocks: [1, 1]\n" in experiment.to_yaml()


def plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema's validator."""
    import_components()
    content = json_schema()
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_schema_takes_every_experiment(schema: Any, file: Path) -> None:
    schema.validate(plain(file.read_text()))
    if file in WHOLE:
        schema.validate(plain(load_experiment(file).to_yaml()))


ONLY_ON_THE_WHOLE = {
    # What needs the data set, the model, or the order of the ops is beyond a schema.
    *("random op in preprocess", "no such plugin", "no such data set", "no such labels", "name that is a path"),
    *("model too large for the image", "op after normalize", "op that doesn't take the image"),
    *("op in augment that isn't random", "protocol of another data set", "no such split", "too few class weights"),
    *("warm-up longer than the training", "fold that isn't there"),
    *("flags without an audit", "flags of a protocol without an audit"),
    # A file that extends another holds only differences.
    *("no name", "no data set", "no model", "no optimiser", "no epochs", "model without a name"),
    # JSON has no such number.
    *("no number", "infinity"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_schema_finds_what_an_editor_can(schema: Any, name: str) -> None:
    content = plain(changed(MISTAKES[name][0]))
    assert schema.is_valid(content) is (name in ONLY_ON_THE_WHOLE)


def test_the_schema_describes_what_can_be_named(schema: Any) -> None:
    model = schema.schema["$defs"]["model_cnn"]
    assert model["description"].startswith("Convolutions without padding")
    assert model["properties"]["kernel_size"]["minimum"] == 1
    assert schema.schema["properties"]["model"]["anyOf"][0] == {"enum": MODELS.split(", ")}
    assert schema.is_valid({"extends": "base.yaml"})
    assert schema.is_valid({"model": {"kernel_size": 3}, "optimizer": "sgd", "dataset": "fer2013"})


# What a protocol 'splits' has beside its splits, for when it names none to choose by.
DRAWN = {"share": 0.1, "seed": 0, "group": None}
OURS = "# Ours.\nname: splits\nfit: [train]\nchoose: [validation]\nreport: [test]\nexclude: [leaked, blank]\n"


def test_a_protocol_of_one_s_own(tmp_path: Path) -> None:
    Path("sub").mkdir()
    Path("sub/ours.yaml").write_text(OURS)
    Path("sub/base.yaml").write_text("protocol: ours.yaml\nexclude: [blank, tiny]\n" + TINY)
    Path("top.yaml").write_text("extends: sub/base.yaml\nname: top\nprotocol: {report: [validation, test]}\n")
    for file, report in (("sub/base.yaml", ("test",)), ("top.yaml", ("validation", "test"))):
        experiment = load_experiment(Path(file))
        named = {"fit": ["train"], "choose": ["validation"], "report": [*report]}
        assert experiment.protocol.parameters == {**named, **DRAWN}
        assert experiment.exclude == ("blank", "tiny", "leaked")
        # A run's own file needs no other.
        resolved = tmp_path / "resolved.yaml"
        resolved.write_text(experiment.to_yaml())
        content, _ = read_yaml(resolved)
        assert content["protocol"] == {"name": "splits", **experiment.protocol.parameters}
        assert content["exclude"] == ["blank", "tiny", "leaked"]
        assert load_experiment(resolved) == experiment
    plain = load_experiment(Path("top.yaml"), ["protocol=official", "exclude=[]"])
    assert (plain.protocol.model_dump(), plain.exclude) == ({"name": "official"}, ())
    other = load_experiment(Path("top.yaml"), ["protocol=sub/ours.yaml", "protocol.fit=[test]"])
    assert other.protocol.parameters == {"fit": ["test"], "choose": ["validation"], "report": ["test"], **DRAWN}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("name: splits", "name: split"),
            "ours.yaml:2: name: no protocol is called 'split'; expected 'name' as one of folder, k-fold, "
            "leave-one-subject-out, official, paper-2021, splits. Did you mean 'splits'?",
        ),
        (
            ("choose: [", "chose: ["),
            "ours.yaml:4: chose: unknown key; expected one of fit, choose, report, share, seed, group, exclude. "
            "Did you mean 'choose'?",
        ),
        (("report: [test]\n", ""), "ours.yaml:2: report: this key is missing"),
        (
            ("[validation]", "[valid]"),
            "ours.yaml:4: choose.0: data set 'tiny' has no split 'valid'; expected one of train, validation, test. "
            "Did you mean 'validation'?",
        ),
        (
            ("blank]", "blanc]"),
            f"ours.yaml:6: exclude.1: no flag is called 'blanc'; expected one of {', '.join(FLAGS)}. "
            "Did you mean 'blank'?",
        ),
        (
            ("exclude: [", "exclude: [ "),
            "ours.yaml:6: exclude: data set 'tiny' has no audit; expected mien data audit tiny",
        ),
        (("[train]", "[train"), "ours.yaml:4: this isn't YAML: expected ',' or ']', but got ':'"),
        (
            ("name: splits\n", ""),
            "ours.yaml: this names no protocol; expected 'name: splits' with fit, choose and report, "
            "or another protocol by its name",
        ),
    ],
)
def test_a_mistake_in_a_protocol_s_file_is_told_at_its_own_line(
    home: Path, change: tuple[str, str], message: str
) -> None:
    assert OURS.count(change[0]) == 1
    Path("ours.yaml").write_text(OURS.replace(*change))
    assert refused(home, changed(("name: tiny\n", "name: tiny\nprotocol: ours.yaml\n"))) == [message]
    # Also where the command line names the file; what only the data set knows comes later.
    if "'tiny'" in message:
        read_protocol("ours.yaml")
    else:
        with pytest.raises(MienError) as error:
            read_protocol("ours.yaml")
        assert str(error.value) == message


def test_a_protocol_s_file_that_is_not_there(home: Path) -> None:
    Path("ours.yaml").write_text(OURS)
    text = changed(("name: tiny\n", "name: tiny\nprotocol: our.yaml\n"))
    assert refused(home, text) == [
        "x.yaml:2: protocol: there is no file 'our.yaml' beside this one. Did you mean 'ours.yaml'?"
    ]
    assert refused(home, changed(), "protocol=our.yml") == [
        "the command line: protocol: there is no file 'our.yml'. Did you mean 'ours.yaml'?"
    ]
    assert refused(home, changed(("name: tiny\n", "name: tiny\nprotocol: sub/other.yml\n"))) == [
        "x.yaml:2: protocol: there is no file 'sub/other.yml' beside this one"
    ]


def test_a_protocol_is_read_from_the_command_line(here: Path) -> None:
    Path("ours.yaml").write_text(OURS)
    ours, flags = read_protocol("ours.yaml")
    assert (ours.called, flags) == ("splits", ("leaked", "blank"))
    assert ours.parameters == {"fit": ["train"], "choose": ["validation"], "report": ["test"], **DRAWN}
    assert read_protocol(str(here / "ours.yaml")) == (ours, flags)
    folds, none = read_protocol("k-fold")
    assert (folds.parameters["folds"], none) == (5, ())
    assert read_protocol("{name: folder, share: 0.2, exclude: [blank]}")[0].parameters == {"share": 0.2, "seed": 0}
    for text, message in {
        "offical": "the command line: protocol.name: no protocol is called 'offical'; expected 'name' as one of "
        "folder, k-fold, leave-one-subject-out, official, paper-2021, splits. Did you mean 'official'?",
        "{name: folder, share: 2}": "the command line: protocol.share: 2 can't stand here; expected less than 1",
        "{name: official, exclude: blank}": "the command line: protocol.exclude: this is no list; "
        "expected a list of flags, as [leaked, blank]",
        "3": "the command line: protocol: this names no protocol; expected 'name' as one of folder, k-fold, "
        "leave-one-subject-out, official, paper-2021, splits",
        "splits": "the command line: protocol.fit: this key is missing",
    }.items():
        with pytest.raises(MienError) as error:
            read_protocol(text)
        assert str(error.value) == message
    assert [one.key for one in error.value.more] == ["protocol.report"]


def test_the_schema_knows_protocols(schema: Any) -> None:
    for protocol in (
        "k-fold",
        "ours.yaml",
        {"name": "ours.yml", "fold": 2},
        {"name": "k-fold", "folds": 10, "group": "subject", "exclude": ["leaked"]},
        {"name": "leave-one-subject-out", "fold": 3},
    ):
        assert schema.is_valid({"protocol": protocol, "exclude": ["blank"]}), protocol
    for wrong in ("ours.txt", {"name": "k-fold", "folds": 1}, {"name": "official", "exclude": ["blanc"]}):
        assert not schema.is_valid({"protocol": wrong}), wrong


def test_the_first_error_is_the_one_raised(tiny: Dataset, tiny_file: Path) -> None:
    with pytest.raises(MienError) as error:
        load_experiment(tiny_file, ["train.epochs=0", "train.seed=-1"])
    assert (error.value.key, [one.key for one in error.value.more]) == ("train.epochs", ["train.seed"])


FACES = """\
name: dots
task: landmarks
dataset: {name: faces, size: 32}
augment: [{op: frame}, {op: brightness}]
model: {name: landmarks-small, width: 8}
loss: wing
optimizer: {name: adam, lr: 0.01}
train: {epochs: 1, device: cpu}
"""

# As MISTAKES, of an experiment on points.
MISFITS: dict[str, tuple[tuple[str, str], str]] = {
    "loss on labels": (
        ("loss: wing", "loss: cross_entropy"),
        "x.yaml:6: loss: loss 'cross_entropy' is on labels and the task is landmarks; "
        "expected a loss on points, as {name: wing}",
    ),
    "loss on votes": (
        ("loss: wing", "loss: soft_cross_entropy"),
        "x.yaml:6: loss: loss 'soft_cross_entropy' is on votes and the task is landmarks; "
        "expected a loss on points, as {name: wing}",
    ),
    "no loss": (
        ("loss: wing\n", ""),
        "x.yaml: loss: loss 'cross_entropy' is on labels and the task is landmarks; "
        "expected a loss on points, as {name: wing}",
    ),
    "accuracy monitored": (
        ("epochs: 1", "epochs: 1, monitor: choose_accuracy"),
        "x.yaml:8: train.monitor: 'choose_accuracy' isn't measured when the task is landmarks; "
        "expected choose_nme or choose_loss",
    ),
    "images mixed": (
        ("epochs: 1", "epochs: 1, cutmix: 1"),
        "x.yaml:8: train.cutmix: points can't be mixed; expected no such key",
    ),
    "frame not first": (
        ("[{op: frame}, {op: brightness}]", "[{op: frame}, {op: brightness}, {op: frame}]"),
        "x.yaml:4: augment.2: op 'frame' can't stand here; expected it first in augment",
    ),
    "no frame": (
        ("[{op: frame}, {op: brightness}]", "[{op: brightness}]"),
        "x.yaml:4: augment: faces are framed anew each time that they are trained on; expected op 'frame' first",
    ),
    "nothing augmented": (
        ("[{op: frame}, {op: brightness}]", "[]"),
        "x.yaml:4: augment: faces are framed anew each time that they are trained on; expected op 'frame' first",
    ),
    "no augment": (
        ("augment: [{op: frame}, {op: brightness}]\n", ""),
        "x.yaml: augment: this key is missing; expected at least 'augment: [{op: frame}]'",
    ),
    "averaged views": (
        ("loss: wing", "loss: wing\ntta: flip"),
        "x.yaml:7: tta: points have no test-time augmentation; expected none",
    ),
    "labels": (
        ("size: 32", "size: 32, labels: fer2013-7"),
        "x.yaml:3: dataset.labels: points have no label scheme; expected no such key",
    ),
    "no such task": (
        ("task: landmarks", "task: landmark"),
        "x.yaml:2: task: \"landmark\" can't stand here; expected 'expression' or 'landmarks'",
    ),
    "side that doesn't halve": (
        ("size: 32", "size: 36"),
        "x.yaml:5: model: images of 36 px don't halve three times; expected a side that divides by 8, as 48, 64 or 96",
    ),
    "model that gives classes": (
        ("{name: landmarks-small, width: 8}", "ten\nplugins: [ten.py]"),
        "x.yaml:5: model: the model gives outputs of shape (10,); expected (136,), x and y of 68 points",
    ),
    "set without points": (
        ("name: faces", "name: tiny"),
        "x.yaml:3: dataset.name: data set 'tiny' has no points; "
        "expected a column 'landmarks', as landmark data sets and drawn faces have it",
    ),
}

TEN = """
from torch import nn
from mien.registry import register

@register("model", "ten")
class Ten(nn.Sequential):
    '''Ten numbers, however many are asked for.'''

    def __init__(self, in_channels: int, image_size: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(in_channels * image_size**2, 10))
"""


@pytest.fixture(scope="module")
def with_faces(home: Path) -> Path:
    """The workspace, with drawn faces too, and such without expressions."""
    workspace = Workspace(home)
    write_faces(workspace, "faces", n=10, size=32, color="gray", seed=0)
    with write_dataset(workspace, "one", FACE, source="", format="test") as writer:
        for split in ("train", "validation", "test"):
            writer.add(split, split, encode_png(np.zeros((8, 8), np.uint8)), 0, size=(8, 8))
    return home


@pytest.mark.parametrize("change", MISFITS.values(), ids=MISFITS)
def test_what_does_not_go_with_points_is_told(with_faces: Path, change: tuple[tuple[str, str], str]) -> None:
    Path("ten.py").write_text(TEN)
    (old, new), message = change
    assert FACES.count(old) == 1
    assert refused(with_faces, FACES.replace(old, new)) == [message]


@pytest.mark.parametrize(
    ("overrides", "messages"),
    [
        (
            ["loss=mse"],
            [
                "loss: loss 'mse' is on points and the task is expression; "
                "expected a loss on labels, votes or teachers, as cross_entropy"
            ],
        ),
        (
            ["train.monitor=choose_nme"],
            [
                "train.monitor: 'choose_nme' isn't measured when the task is expression; "
                "expected choose_accuracy or choose_loss"
            ],
        ),
        (
            ["augment=[{op: frame}]"],
            ["augment.0: op 'frame' can't stand here; expected task: landmarks, or crop and affine instead"],
        ),
        (
            ["dataset.name=one"],
            [
                "dataset.name: data set 'one' has a single class, face; "
                "expected a data set of expressions, or task: landmarks"
            ],
        ),
    ],
)
def test_what_goes_with_points_alone_is_told(with_faces: Path, overrides: list[str], messages: list[str]) -> None:
    assert refused(with_faces, TINY, *overrides) == [f"the command line: {message}" for message in messages]


def test_all_misfits_are_told_at_once(with_faces: Path) -> None:
    told = refused(with_faces, TINY.lstrip("\n"), "task=landmarks", "tta=flip")
    assert [line.split("; expected")[0] for line in told] == [
        "x.yaml: loss: loss 'cross_entropy' is on labels and the task is landmarks",
        "x.yaml:5: augment: faces are framed anew each time that they are trained on",
        "the command line: tta: points have no test-time augmentation",
    ]


def test_an_experiment_on_points_is_chosen_by_its_nme(with_faces: Path, tmp_path: Path) -> None:
    file = tmp_path / "dots.yaml"
    file.write_text(FACES)
    experiment = load_experiment(file)
    assert (experiment.task.name, experiment.train.monitor) == ("landmarks", "choose_nme")
    assert load_experiment(file, ["train.monitor=choose_loss"]).train.monitor == "choose_loss"
    again = tmp_path / "again.yaml"
    again.write_text(experiment.to_yaml())
    assert load_experiment(again) == experiment
    assert call("check", file).code == 0
