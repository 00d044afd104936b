"""Fine-tuning: frozen layers, a slower body, and new runs that start from the weights of old ones."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import write_tiny
from safetensors.torch import load_file, save_file
from torch import Tensor
from trained import fit
from verbs import call

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.experiment.building import build_model, build_optimizer
from mien.experiment.schema import load_experiment
from mien.inference.weights import read_header
from mien.report import facts
from mien.runs.run import Run, new_run
from mien.workspace import Workspace

pytestmark = pytest.mark.usefixtures("tiny")

NET = ["model={name: cnn, channels: [4, 8], kernel_size: 3, fc: [16], batch_norm: true}", "train.epochs=1"]
SOURCE = "pretrained: runs/base/1"


def begun(file: Path, overrides: list[str], tiny: Dataset) -> dict[str, Tensor]:
    """The state of an experiment's model before its first step."""
    return build_model(load_experiment(file, overrides), tiny.card.scheme).state_dict()


@pytest.mark.parametrize("levers", [[], ["train.ema=0.9", "train.votes=1", "optimizer=muon"]], ids=["plain", "levers"])
def test_frozen_layers_stay_as_they_were_with_their_statistics(
    workspace: Workspace, tiny: Dataset, tiny_file: Path, levers: list[str]
) -> None:
    options = [*NET, "model.freeze=[features]", "train.keep=last", *levers]
    before = begun(tiny_file, options, tiny)
    after = load_file(fit(workspace, tiny_file, *options).weights)
    shown = call("check", tiny_file, *options, "--workspace", workspace.root)
    # Kernels 3 × 3 of 1 → 4 and 4 → 8 channels, and batch norms of 4 and 8.
    assert f"frozen: {9 * 4 + 9 * 32 + 2 * 4 + 2 * 8} of these parameters" in shown.out.splitlines()
    frozen = {name for name in before if name.startswith("features.")}
    assert {"features.conv1.weight", "features.norm2.running_var", "features.norm1.num_batches_tracked"} <= frozen
    assert {name for name in before if torch.equal(before[name], after[name])} == frozen
    # Without it each of them moves.
    free = load_file(fit(workspace, tiny_file, *NET, "train.keep=last", *levers).weights)
    assert not [name for name in before if torch.equal(before[name], free[name])]


def test_a_slower_body_makes_a_tenth_of_the_step(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    # One step of plain SGD at a power of two, so that only the last digit of a sum can differ.
    once = [*NET, "augment=[]", "train.batch_size=1000", "train.keep=last", "schedule=constant"]
    once += ["optimizer={name: sgd, lr: 0.5, momentum: 0, nesterov: false}"]
    before = begun(tiny_file, once, tiny)
    plain, slow = (load_file(fit(workspace, tiny_file, *once, *more).weights) for more in ([], ["optimizer.body=0.1"]))
    run = Run(workspace.runs / "tiny/2")
    assert run.history.read_text().splitlines()[1].split(",")[1] == "0.5"
    moved = [name for name in before if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    for name in moved:
        whole, part = plain[name] - before[name], slow[name] - before[name]
        share = 1.0 if name.startswith("classifier.logits") else 0.1
        torch.testing.assert_close(part, share * whole, rtol=1e-4, atol=2e-7)
    assert (plain["features.conv1.weight"] - before["features.conv1.weight"]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [
        ("sgd", {"head": {0.1}, "body": {0.01}}),
        ("adam", {"head": {1e-3}, "body": {1e-4}}),
        ("adamw", {"head": {1e-3}, "body": {1e-4}}),
        # Kernels by muon's rate, all else by AdamW's.
        ("muon", {"head": {3e-3}, "body": {0.02 * 0.1, 3e-4}}),
    ],
)
def test_schedules_scale_both_rates_of_every_optimiser(
    tiny: Dataset, tiny_file: Path, optimizer: str, rates: dict[str, set[float]]
) -> None:
    rate = ["optimizer.lr=0.1"] if optimizer == "sgd" else []
    experiment = load_experiment(tiny_file, [*NET, f"optimizer={optimizer}", *rate, "optimizer.body=0.1"])
    model = build_model(experiment, tiny.card.scheme)
    head = torch.nn.Linear(16, 7)
    made = build_optimizer(experiment, model, head)
    schedule = torch.optim.lr_scheduler.LambdaLR(made, lambda step: 1 / (1 + step))
    quick = {id(one) for layer in (model.classifier.logits, head) for one in layer.parameters()}  # type: ignore[union-attr]
    for factor in (1.0, 0.5):
        found: dict[str, set[float]] = {"head": set(), "body": set()}
        for group in made.param_groups:
            for parameter in group["params"]:
                found["head" if id(parameter) in quick else "body"].add(round(group["lr"], 12))
        assert found == {part: {round(factor * one, 12) for one in of} for part, of in rates.items()}
        made.step()
        schedule.step()
    given = sorted(id(parameter) for group in made.param_groups for parameter in group["params"])
    assert given == sorted(id(one) for module in (model, head) for one in module.parameters())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.freeze=[feature]"],
            "model.freeze: no parameter's name begins with 'feature'; "
            "expected for example features, features.norm2, features.norm1",
        ),
        (
            ["model.freeze=[features, classifier]"],
            "model.freeze: every parameter is frozen; expected at least the last layer left to learn",
        ),
        (["model.freeze=features"], 'model.freeze: "features" can\'t stand here; expected a list'),
        (["optimizer.body=0"], "optimizer.body: 0 can't stand here; expected more than 0"),
        (["optimizer.body=10"], "optimizer.body: 10 can't stand here; expected at most 1"),
        (
            ["model.pretrained=runs/bas/1"],
            "model.pretrained: there is no run '{home}/runs/bas/1'. Did you mean 'runs/base/1'?",
        ),
        (
            ["model.pretrained=runs/base"],
            "model.pretrained: the folder '{home}/runs/base' is no run; expected one of its runs, as runs/base/1",
        ),
        (
            ["model.pretrained=runs/base/1"],
            "model.pretrained: run base/1 isn't finished, but interrupted; expected a finished run",
        ),
    ],
)
def test_what_cannot_be_is_told_before_there_is_a_run(
    workspace: Workspace, tiny_file: Path, overrides: list[str], message: str
) -> None:
    new_run(workspace, load_experiment(tiny_file, ["name=base"]))
    for verb in ("check", "train"):
        told = call(verb, tiny_file, NET[0], *overrides, "--workspace", workspace.root)
        assert told.code == 2
        assert told.err == f"mien: the command line: {message.format(home=workspace.root)}\n"
    assert not (workspace.runs / "tiny").exists()


@pytest.fixture
def base(workspace: Workspace, tiny_file: Path) -> Run:
    """A finished run."""
    return fit(workspace, tiny_file, *NET, "name=base")


def test_a_new_run_starts_from_an_old_one_s_weights(
    workspace: Workspace, tiny: Dataset, tiny_file: Path, base: Run
) -> None:
    still = ["optimizer.lr=1e-30", "train.keep=last", "model.pretrained=runs/base/1"]
    run = fit(workspace, tiny_file, *NET, *still)
    taken, now = load_file(base.weights), load_file(run.weights)
    weights = [name for name in taken if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(taken[name], now[name]) for name in weights)
    record = {
        "sha256": hashlib.sha256(base.weights.read_bytes()).hexdigest(),
        "name": "base/1",
        "run": "base/1",
        "file": "weights.safetensors",
        "source": "runs/base/1",
        "trained_on": {
            "name": "tiny",
            "fingerprint": tiny.card.fingerprint,
            "protocol": {"name": "official"},
        },
        "last_layer": "taken",
        "optimizer": "new",
        "limits": "",
        "input": {"used": True},
    }
    assert run.environment["start_weights"] == record == read_header(run.weights)["start_weights"]
    told = f"run base/1's (SHA-256 {record['sha256'][:8]}), the optimiser's state new"
    assert facts.about(run, run.environment).endswith(f" · start weights {told}")
    shown = call("check", tiny_file, *NET, *still, "--workspace", workspace.root)
    assert f"start weights: {told}" in shown.out.splitlines()
    # It can be trained again from its own file.
    again = load_experiment(run.experiment_file)
    assert again.model.shared("pretrained") == "runs/base/1"


def test_other_classes_and_other_pixels_are_recorded(workspace: Workspace, tiny_file: Path, base: Run) -> None:
    write_tiny(workspace, "other", seed=3)
    options = ["dataset={name: other, size: 24, labels: ferplus-8}", "model.pretrained=runs/base/1", "preprocess=[]"]
    run = fit(workspace, tiny_file, *NET, *options, "optimizer.lr=1e-30", "train.keep=last")
    record = run.environment["start_weights"]
    assert (record["last_layer"], record["input"], record["trained_on"]["name"]) == ("new", {"used": False}, "tiny")
    taken, now = load_file(base.weights), load_file(run.weights)
    assert torch.equal(taken["classifier.fc1.weight"], now["classifier.fc1.weight"])
    assert (len(taken["classifier.logits.weight"]), len(now["classifier.logits.weight"])) == (7, 8)
    assert facts.about(run, run.environment).endswith(
        "the last layer and the optimiser's state new, input not normalised as theirs was"
    )


def refused(workspace: Workspace, file: Path, *overrides: str) -> MienError:
    told = call("train", file, *overrides, "--workspace", workspace.root, "--json")
    assert told.code == 2
    assert not (workspace.runs / "tiny").exists()
    return told.error


def test_a_run_that_has_seen_other_rows_is_refused(workspace: Workspace, tiny_file: Path, base: Run) -> None:
    protocol: dict[str, Any] = {"name": "k-fold", "folds": 5}
    error = refused(workspace, tiny_file, NET[0], "model.pretrained=runs/base/1", f"protocol={json.dumps(protocol)}")
    assert error.key == "model.pretrained"
    assert error.message == 'run base/1 was fit under the protocol {"name": "official"}'
    assert error.expected is not None
    assert error.expected.startswith('a run under {"name": "k-fold", ')
    assert error.expected.endswith("so that it has seen the same rows of 'tiny'")


def test_a_run_of_another_model_does_not_fit(workspace: Workspace, tiny_file: Path, base: Run) -> None:
    other = f"model={{name: cnn, channels: [4, 6], kernel_size: 3, fc: [16], batch_norm: true, {SOURCE}}}"
    error = refused(workspace, tiny_file, other)
    assert error.message == (
        "the weights file of run base/1 doesn't fit the model; tensors: 6 of another shape "
        "(features.conv2.weight (8, 4, 3, 3) for (6, 4, 3, 3), features.norm2.weight (8,) for (6,), "
        "features.norm2.bias (8,) for (6,), …)"
    )


def test_a_file_needs_a_model_that_says_how_it_fits(workspace: Workspace, tiny_file: Path, base: Run) -> None:
    save_file(load_file(base.weights), workspace.root / "own.safetensors")
    error = refused(workspace, tiny_file, NET[0], "model.pretrained=own.safetensors")
    assert error.message == "the model 'cnn' doesn't say how weights fit it"
    assert error.expected == "a run, as runs/base/1, or a model with the attribute `published`"
