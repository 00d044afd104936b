"""From the experiment to its parts, and what is found out on the way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TINY
from torch import nn

from mien.audit import audit
from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.labels import FER2013, FERPLUS, LabelScheme
from mien.errors import MienError
from mien.experiment.building import (
    build_model,
    build_roles,
    build_samples,
    build_schedule,
    check,
    class_counts,
    excluded,
    input_shape,
    located,
    scheme_for,
)
from mien.experiment.schema import load_experiment
from mien.images import encode_png
from mien.protocols import Part
from mien.protocols.named import stratified
from mien.workspace import Workspace

PAPER = REPOSITORY / "experiments/paper-2021"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("cnn1", 2_812_307), ("cnn2", 5_846_037), ("cnn3", 5_854_147), ("cnn4", 3_499_827), ("googlenet", 5_607_079)],
)
def test_the_paper_s_models_have_its_parameters(name: str, parameters: int) -> None:
    checked = check(load_experiment(PAPER / f"{name}.yaml"), None)
    assert checked.summary.parameters == parameters
    assert (checked.summary.output_shape, checked.scheme, checked.rows) == ((7,), FER2013, None)


def test_the_first_model_s_cost() -> None:
    assert check(load_experiment(PAPER / "cnn1.yaml"), None).summary.macs == 11_103_150


@pytest.mark.parametrize(
    ("file", "parameters", "shape"),
    [("paper-2021/xception", 21_085_040, (1, 128)), ("landmarks/small", 762_412, (1, 64))],
)
def test_models_of_points_have_136_outputs(file: str, parameters: int, shape: tuple[int, int]) -> None:
    experiment = load_experiment(REPOSITORY / f"experiments/{file}.yaml")
    checked = check(experiment, None)
    assert (checked.summary.parameters, checked.summary.output_shape) == (parameters, (136,))
    assert input_shape(experiment) == shape


def test_a_check_counts_the_rows_that_a_training_gets(tiny: Dataset, tiny_file: Path) -> None:
    assert check(load_experiment(tiny_file), tiny).rows == {"fit": 210, "choose": 35, "report": 35}
    assert check(load_experiment(tiny_file, ["dataset.labels=ferplus-8"]), tiny).summary.output_shape == (8,)
    assert not (tiny.folder / "cache").exists()


def test_weights_are_drawn_by_the_seed(tiny_file: Path) -> None:
    def weights(*overrides: str) -> list[torch.Tensor]:
        torch.manual_seed(np.random.default_rng().integers(2**31).item())
        return list(build_model(load_experiment(tiny_file, overrides), FER2013).parameters())

    first, second, other = weights(), weights(), weights("train.seed=2")
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].is_contiguous(memory_format=torch.channels_last)


def test_what_reaches_the_model(tiny_file: Path) -> None:
    assert input_shape(load_experiment(tiny_file)) == (1, 24)
    assert input_shape(load_experiment(tiny_file, ["dataset.color=rgb", "dataset.size=30"])) == (3, 30)
    ops = "preprocess=[{op: repeat_channels, n: 3}, {op: resize, size: 40}, {op: normalize}]"
    assert input_shape(load_experiment(tiny_file, [ops])) == (3, 40)


def test_the_label_scheme(tiny: Dataset, tiny_file: Path) -> None:
    plain, plus = load_experiment(tiny_file), load_experiment(tiny_file, ["dataset.labels=ferplus-8"])
    own = LabelScheme("own", ("glad", "sad"))
    mine = tiny.card.model_copy(update={"labels": own.name, "classes": own.classes})
    assert scheme_for(plain, None) == FER2013
    assert scheme_for(plain, tiny) == FER2013
    assert scheme_for(plus, tiny) == scheme_for(plus, None) == FERPLUS
    tiny.card = mine
    assert scheme_for(plain, tiny) == own
    assert scheme_for(load_experiment(tiny_file, ["dataset.labels=own"]), tiny) == own


def test_counts_of_classes(tiny: Dataset) -> None:
    index = stratified(tiny.labels("train"), 0.4, seed=1)
    parts = (Part("validation"), Part("train", index))
    for scheme in (FER2013, FERPLUS, LabelScheme("few", ("happiness", "other"))):
        naive = dict.fromkeys(range(len(scheme)), 0)
        to = FER2013.to(scheme)
        for part in parts:
            rows = range(tiny.rows(part.split)) if part.index is None else part.index
            for row in rows:
                place = to[tiny.labels(part.split)[row]]
                if place is not None:
                    naive[place] += 1
        assert class_counts(tiny, parts, scheme) == list(naive.values())


def test_counting_opens_no_whole_split(tiny: Dataset, tiny_file: Path) -> None:
    for shard in tiny.folder.glob("*.parquet"):
        shard.unlink()
    assert check(load_experiment(tiny_file), tiny).rows == {"fit": 210, "choose": 35, "report": 35}


def test_classes_that_the_scheme_lacks_are_left_out(workspace: Workspace, tiny_file: Path) -> None:
    pixel = encode_png(np.zeros((24, 24), np.uint8))
    with write_dataset(workspace, "plus", FERPLUS, source="", format="test") as writer:
        for split in ("train", "validation", "test"):
            for label in range(8):
                writer.add(split, f"{split}{label}", pixel, label, size=(24, 24))
    dataset = open_dataset(workspace, "plus")
    experiment = load_experiment(tiny_file, ["dataset.labels=fer2013-7"])
    assert check(experiment, dataset).rows == {"fit": 7, "choose": 7, "report": 7}
    samples = build_samples(experiment, dataset, build_roles(experiment, dataset), "fit", FER2013)
    assert len(samples) == 7


def test_rows_with_a_flag_are_neither_fit_nor_chosen_on(workspace: Workspace, tiny_file: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (12, 24, 24), np.uint8)
    held = {"train": [0, 1, 2, 3, 3, 4], "validation": [5, 6, 0], "test": [1, 7, 8]}
    with write_dataset(workspace, "tiny", FER2013, source="", format="test") as writer:
        for split, numbers in held.items():
            for index, number in enumerate(numbers):
                writer.add(split, f"{split}{index}", encode_png(faces[number]), index % 7, size=(24, 24))
    dataset = open_dataset(workspace, "tiny")
    audit(dataset)
    experiment = load_experiment(tiny_file, ["exclude=[leaked]", "protocol.exclude=[duplicate]"])
    assert check(experiment, dataset).rows == {"fit": 2, "choose": 2, "report": 3}
    roles = build_roles(experiment, dataset)
    samples = build_samples(experiment, dataset, roles, "fit", FER2013)
    assert samples.ids.tolist() == ["train2", "train5"]
    assert excluded(experiment, dataset) == {
        "fit": {"leaked": 2, "duplicate": 4, "rows": 4},
        "choose": {"leaked": 1, "duplicate": 1, "rows": 1},
    }
    plain = load_experiment(tiny_file)
    assert check(plain, dataset).rows == {"fit": 6, "choose": 3, "report": 3}
    assert excluded(plain, dataset) == {}


def test_the_schedule_knows_the_steps(tiny_file: Path) -> None:
    factor = build_schedule(load_experiment(tiny_file, ["train.epochs=4"]), 10)
    assert [round(factor(step), 6) for step in (0, 20, 40)] == [1, 0.5, 0]


def test_a_warm_up_is_not_refused_for_want_of_the_data_set(tiny_file: Path) -> None:
    overrides = ["train.epochs=40", "schedule.warmup_epochs=39.9"]
    assert check(load_experiment(tiny_file, overrides), None).rows is None


PLUGIN = """
import torch
from torch import nn
from mien.registry import register

@register("op", "crush")
class Crush:
    random = True
    def __call__(self, images, points=None):
        return images[:, :, ::2], points

@register("op", "broken")
class Broken:
    random = False
    def __call__(self, images, points=None):
        return images @ torch.zeros(3, 3), points

@register("model", "wide")
class Wide(nn.Module):
    def __init__(self, in_channels: int, image_size: int, *, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_channels * image_size ** 2, outputs)
    def forward(self, images):
        return self.layer(images.flatten(1))

@register("model", "nothing")
def nothing(in_channels: int) -> int:
    return in_channels

@register("model", "halfway")
class Halfway(nn.Module):
    def __init__(self, in_channels: int) -> None:
        pass
"""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["augment=[{op: crush}]"],
            "the command line: augment: augment makes gray images of 24 × 12 of gray images of 24 × 24; "
            "expected what changes shapes in preprocess",
        ),
        (
            ["preprocess=[{op: broken}]"],
            "the command line: preprocess: an op fails on gray images of 24 × 24 (RuntimeError: ",
        ),
        (
            ["model={name: wide, outputs: 5}"],
            "the command line: model: the model gives outputs of shape (5,); "
            "expected (7,), one logit for each class of fer2013-7",
        ),
        (
            ["model=nothing"],
            "the command line: model: the model 'nothing' is no torch.nn.Module, "
            "or its __init__ doesn't call super().__init__()",
        ),
        (
            ["model=halfway"],
            "the command line: model: the model 'halfway' is no torch.nn.Module, "
            "or its __init__ doesn't call super().__init__()",
        ),
        (
            ["model.fc=[1000000000000]"],
            "the command line: model: the model 'cnn' can't be built (RuntimeError: ",
        ),
    ],
)
def test_parts_that_do_not_fit(tiny_file: Path, overrides: list[str], message: str) -> None:
    tiny_file.with_name("mine.py").write_text(PLUGIN)
    tiny_file.write_text(TINY + "plugins: [mine.py]\n")
    experiment = load_experiment(tiny_file, overrides)
    with pytest.raises(MienError) as error:
        check(experiment, None)
    told = str(located(error.value, tiny_file, overrides))
    assert told == message or (message.endswith("RuntimeError: ") and told.startswith(message))
    assert "\n" not in told


def test_a_model_from_a_plugin_is_summed_up(tiny_file: Path) -> None:
    tiny_file.with_name("mine.py").write_text(PLUGIN)
    tiny_file.write_text(TINY + "plugins: [mine.py]\n")
    experiment = load_experiment(tiny_file, ["model={name: wide, outputs: 7}"])
    summary = check(experiment, None).summary
    assert (summary.parameters, summary.macs) == (7 * 24 * 24 + 7, 7 * 24 * 24)
    assert isinstance(build_model(experiment, FER2013), nn.Module)
