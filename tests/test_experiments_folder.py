"""Every file in experiments/, and the demo's: it trains for two steps and is measured, and says how to run it."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import REPOSITORY
from safetensors.torch import save_file

from mien.audit import audit
from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.labels import FACE, FER2013, LabelScheme
from mien.data.synthetic import faces
from mien.evaluation import evaluate
from mien.experiment.building import build_model
from mien.experiment.schema import Experiment, load_experiment
from mien.experiment.yamlfile import read_yaml
from mien.faces.ibug import POINTS
from mien.images import encode_png
from mien.runs.run import Run, new_run
from mien.training.fit import train
from mien.workspace import Workspace

FOLDER = REPOSITORY / "experiments"
NAMED = sorted(file for file in FOLDER.rglob("*.yaml") if "name" in read_yaml(file)[0])
# What a file without a name holds is only there to be extended.
SHARED = sorted(set(FOLDER.rglob("*.yaml")) - set(NAMED))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a few drawn faces under FER2013's splits, with points under HELEN's, and with persons."""
    workspace = Workspace(tmp_path_factory.mktemp("home"))
    votes = np.eye(10, dtype=int)[[4, 5, 6, 1, 3, 2, 0]] * 10
    columns = {"votes": pa.list_(pa.int16(), 10)}
    with write_dataset(workspace, "drawn", FER2013, source="", format="test", columns=columns) as writer:
        for index, (image, label, _) in enumerate(faces(28, size=48, color="gray", seed=0)):
            split = ("Training", "Training", "PublicTest", "PrivateTest")[index // 7]
            writer.add(split, str(index), encode_png(image), label, size=(48, 48), votes=votes[label].tolist())
    columns = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}
    with write_dataset(workspace, "points", FACE, source="", format="test", columns=columns) as writer:
        for index, (image, _, points) in enumerate(faces(15, size=64, color="rgb", seed=0)):
            split = "helen_train" if index < 8 else "helen_test"
            writer.add(split, str(index), encode_png(image), 0, size=(64, 64), landmarks=points.ravel().tolist())
    columns["person"] = pa.string()
    for seed, name in enumerate(("figures", "persons"), 1):
        with write_dataset(workspace, name, FACE, source="", format="test", columns=columns) as writer:
            for index, (image, _, points) in enumerate(faces(21, size=64, color="gray", seed=seed)):
                split = ("train", "validation", "test")[index // 7]
                values = {"landmarks": points.ravel().tolist(), "person": str(index)}
                writer.add(split, str(index), encode_png(image), 0, size=(64, 64), **values)
    audit(open_dataset(workspace, "drawn"), near=False)
    return workspace


def stand_in(drawn: Workspace, experiment: Experiment) -> list[str]:
    """What replaces that which is made first, which may not be here: start weights, teachers, a list of rows.

    Start weights that others trained are the model's own random ones, for other classes.
    """
    if experiment.loss.called == "distill":
        return [f"loss.teacher=[{trained(drawn, FOLDER / 'best/ablation/base.yaml').name}]"]
    given = getattr(experiment.model, "pretrained", None)
    if given is None:
        return []
    if given.startswith("runs/"):
        called = Path(given).parent.name
        (file,) = (file for file in NAMED if load_experiment(file).name == called)
        return [f"model.pretrained=runs/{trained(drawn, file).name}"]
    state = build_model(experiment, LabelScheme("others", ("one", "other", "third"))).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, drawn.root / "stand-in.safetensors")
    return ["model.pretrained=stand-in.safetensors"]


def of_drawn(experiment: Experiment) -> str:
    """Which of the drawn data sets an experiment can have."""
    if experiment.task.name != "landmarks":
        return "drawn"
    return {"helen": "points", "drawn": "figures", "drawn-200k": "figures", "youtube": "persons"}[
        experiment.dataset.name
    ]


def trained(drawn: Workspace, file: Path) -> Run:
    """A run of an experiment file on the drawn faces, of two steps."""
    experiment = load_experiment(file)
    # What it begins with itself doesn't matter here.
    begun = ["model.pretrained=null"] if getattr(experiment.model, "pretrained", None) else []
    overrides = [f"dataset.name={of_drawn(experiment)}", "train.epochs=2", *begun]
    run = new_run(drawn, load_experiment(file, overrides))
    train(drawn, run, ["test"])
    return run


@pytest.mark.parametrize("file", [*NAMED, REPOSITORY / "mien/demo.yaml"], ids=lambda file: file.stem)
def test_it_runs(drawn: Workspace, file: Path) -> None:
    experiment = load_experiment(file)
    name = of_drawn(experiment)
    dataset: Dataset = open_dataset(drawn, name)
    other = stand_in(drawn, experiment)
    # Two epochs of a step each leave no room for a warm-up of two.
    warm = ["schedule.warmup_epochs=1"] if experiment.schedule.parameters.get("warmup_epochs", 0) > 1 else []
    run = new_run(drawn, load_experiment(file, [f"dataset.name={name}", "train.epochs=2", *other, *warm]))
    train(drawn, run, ["test"])
    begun = [one.partition("=")[2].removeprefix("runs/") for one in other if one.startswith("model.pretrained")]
    assert run.environment["start_weights"]["name"] == (begun or ["random"])[0]
    assert run.environment["dataset"]["excluded"].get("fit", {"rows": 0})["rows"] == 0
    measured = evaluate(drawn, run, "report")
    assert run.state == "finished"
    assert run.history.read_text().count("\n") == 3
    # A tenth of 21 persons.
    assert measured["n"] == (21 if measured["contaminated"] else 3 if measured["protocol"] == "k-fold" else 7)
    assert measured["dataset"] == dataset.card.name


@pytest.mark.parametrize("file", NAMED, ids=lambda file: file.stem)
def test_its_first_lines_say_how_to_run_it(file: Path) -> None:
    first = file.read_text(encoding="utf-8").split("\n")[:4]
    path = file.relative_to(REPOSITORY)
    assert first[0].startswith("# ")
    commands = [line.removeprefix("# ").split("  ")[0] for line in first if line.startswith("# mien ")]
    assert f"mien train {path}" in [re.sub(r" --seeds \d$", "", command) for command in commands]
    # What stands before it makes the data set.
    assert all(command.startswith(("mien data", "mien train")) for command in commands)


@pytest.mark.parametrize("file", NAMED, ids=lambda file: file.stem)
def test_its_runs_are_called_as_the_file_is(file: Path) -> None:
    # Where two files of other folders are called the same, the folder's name stands before it.
    folders = (file.parent.name, file.parent.parent.name)
    assert load_experiment(file).name in (file.stem, *(f"{folder}-{file.stem}" for folder in folders))


def test_no_two_files_share_their_runs_names() -> None:
    names = [load_experiment(file).name for file in NAMED]
    assert len(set(names)) == len(names)


def test_what_is_shared_is_used() -> None:
    used = {
        (file.parent / read_yaml(file)[0]["extends"]).resolve() for file in NAMED if "extends" in read_yaml(file)[0]
    }
    assert {file.resolve() for file in SHARED} <= used


def test_what_degrade_is_worth_is_shown_by_nothing_else() -> None:
    small, plain = (load_experiment(FOLDER / f"landmarks/{name}.yaml") for name in ("small", "small-plain"))
    left = tuple(op for op in small.augment if op.called != "degrade")
    assert len(left) == len(small.augment) - 1
    assert plain.augment == left
    assert plain.model_copy(update={"name": small.name, "augment": small.augment}) == small


def test_what_pretraining_is_worth_is_shown_by_nothing_else() -> None:
    first, *others = (
        load_experiment(FOLDER / f"paper-2021/mobilenet-{begun}-{size}.yaml")
        for size in (48, 96)
        for begun in ("scratch", "imagenet")
    )
    changes = [["model.pretrained"], ["dataset.size"], ["dataset.size", "model.pretrained"]]
    assert [differences(first, other) for other in others] == changes


def test_each_lever_of_the_ablation_changes_what_its_name_says() -> None:
    folder = FOLDER / "best/ablation"
    base = load_experiment(folder / "base.yaml")
    for name, changes in {
        "alternate-flip": ["augment"],
        "prepared/no-flagged": ["exclude"],
        "prepared/drawn-start": ["model.pretrained"],
        "prepared/drawn": ["dataset.name", "model.pretrained", "train.epochs", "train.votes"],
        "distill": ["loss.label_smoothing", "loss.name", "loss.teacher", "loss.temperature", "train.votes"],
    }.items():
        assert differences(base, load_experiment(folder / f"{name}.yaml")) == changes, name


def test_googlenets_differ_in_what_their_names_say() -> None:
    first = load_experiment(FOLDER / "paper-2021/googlenet.yaml")
    kept = ["train.early_stopping", "train.epochs", "train.keep"]
    for name, changes in {
        "long": kept,
        "face": ["dataset.name"],
        "mouth": ["dataset.name"],
        "face-long": ["dataset.name", *kept],
        "mouth-long": ["dataset.name", *kept],
        "imagenet": ["model.pretrained", "preprocess"],
    }.items():
        assert differences(first, load_experiment(FOLDER / f"paper-2021/googlenet-{name}.yaml")) == changes, name


def differences(one: Experiment, other: Experiment) -> list[str]:
    """The dotted keys in which two experiments differ, but for their names."""
    left, right = one.model_dump(mode="json"), other.model_dump(mode="json")
    found = []
    for section in left.keys() - {"name"}:
        if isinstance(left[section], dict):
            keys = left[section].keys() | right[section].keys()
            found += [f"{section}.{key}" for key in keys if left[section].get(key) != right[section].get(key)]
        elif left[section] != right[section]:
            found.append(section)
    return sorted(found)
