"""Training: the same bit for bit, also after a kill; what it opens; how it stops."""

import datetime
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Mien, write_tiny
from safetensors.torch import load_file
from torch.nn import functional as F
from trained import fit, history
from verbs import call

from mien import environment
from mien.data.dataset import Dataset
from mien.errors import FailedError, MienError
from mien.evaluation import evaluate
from mien.experiment.building import build_model, build_roles, build_samples
from mien.experiment.schema import load_experiment
from mien.files import write_text
from mien.inference.weights import read_header
from mien.protocols.batches import epoch_order, step_seed
from mien.reading import read_json
from mien.runs.manifest import sealing
from mien.runs.run import Run, find_run, new_run
from mien.training.fit import check_epochs, train
from mien.training.mixing import mix
from mien.training.votes_head import VotesHead
from mien.workspace import Workspace

pytestmark = pytest.mark.usefixtures("tiny")

KILLER = """
import os, signal
from pathlib import Path
import torch
from mien.registry import register
from mien.models.cnn import CNN

steps = 0

@register("model", "killer")
class Killer(CNN):
    '''A CNN that kills the process at training step KILL_STEP, or while it saves the KILL_SAVE-th checkpoint.'''

    def __init__(self, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__(in_channels, image_size, num_classes, channels=(4,), fc=(16,), dropout=0.2)

    def forward(self, images):
        global steps
        steps += self.training and len(images) > 1
        if steps == int(os.environ.get("KILL_STEP", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

saves = 0
replace = Path.replace

def killing(path, target):
    global saves
    if Path(target).name == "checkpoint.ckpt":
        saves += 1
        if saves == int(os.environ.get("KILL_SAVE", 0)):
            path.write_bytes(path.read_bytes()[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

Path.replace = killing
"""


def test_same_file_and_seed_give_the_same_weights(workspace: Workspace, tiny_file: Path) -> None:
    first, second = fit(workspace, tiny_file), fit(workspace, tiny_file)
    other = fit(workspace, tiny_file, "train.seed=2")
    assert first.name == "tiny/1"
    assert second.name == "tiny/2"
    a, b, c = (load_file(run.weights) for run in (first, second, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["classifier.logits.weight"], c["classifier.logits.weight"])
    assert first.history.read_bytes() == second.history.read_bytes()


def test_an_epoch_is_what_a_plain_loop_does(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    overrides = ["augment=[]", "model.dropout=0", "train.epochs=2", "schedule=constant", "train.keep=last"]
    run = fit(workspace, tiny_file, *overrides)

    experiment = load_experiment(tiny_file, overrides)
    samples = build_samples(experiment, tiny, build_roles(experiment, tiny), "fit", tiny.card.scheme)
    model = build_model(experiment, tiny.card.scheme)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    for epoch in range(2):
        total = 0.0
        order = epoch_order(len(samples), shuffle=True, seed=1, epoch=epoch)
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            images = (torch.from_numpy(samples.images(rows)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            loss = F.cross_entropy(model(images), torch.from_numpy(samples.labels[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(samples))
    assert [row["fit_loss"] for row in history(run)] == pytest.approx(losses, rel=1e-4)
    trained = load_file(run.weights)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, rtol=1e-3, atol=1e-5)


def test_averaged_weights_are_those_chosen_by_and_kept(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    overrides = ["augment=[]", "model.dropout=0", "train.epochs=1", "schedule=constant", "train.keep=last"]
    run = fit(workspace, tiny_file, *overrides, "train.ema=0.3")

    experiment = load_experiment(tiny_file, overrides)
    samples = build_samples(experiment, tiny, build_roles(experiment, tiny), "fit", tiny.card.scheme)
    model = build_model(experiment, tiny.card.scheme)
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    order = epoch_order(len(samples), shuffle=True, seed=1, epoch=0)
    for step, start in enumerate(range(0, len(order), 32)):
        rows = order[start : start + 32]
        images = (torch.from_numpy(samples.images(rows)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        optimizer.zero_grad()
        F.cross_entropy(model(images), torch.from_numpy(samples.labels[rows])).backward()
        optimizer.step()
        decay = min(0.3, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * tensor
    kept = load_file(run.weights)
    for name, tensor in average.items():
        torch.testing.assert_close(kept[name], tensor, rtol=1e-3, atol=1e-5)
    assert evaluate(workspace, run, "choose")["accuracy"] == pytest.approx(history(run)[-1]["choose_accuracy"])


def test_mixed_images_are_fit_by_the_shares_of_both(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    # A single step whose weights stay as they are, so that the history tells the loss of the start.
    still = ["augment=[]", "model.dropout=0", "train.epochs=1", "optimizer.lr=1e-30", "train.batch_size=1000"]
    run = fit(workspace, tiny_file, *still, "train.mixup=1")

    experiment = load_experiment(tiny_file, still)
    samples = build_samples(experiment, tiny, build_roles(experiment, tiny), "fit", tiny.card.scheme)
    model = build_model(experiment, tiny.card.scheme)
    batch = samples.batch(epoch_order(len(samples), shuffle=True, seed=1, epoch=0))
    torch.manual_seed(step_seed(1, 0, 0))
    images, others, share = mix(batch.images.float(), 1.0, None)
    logits = model((images / 255 - 0.5) / 0.5)
    loss = share * F.cross_entropy(logits, batch.labels)
    loss += (1 - share) * F.cross_entropy(logits, batch.labels[others])
    right = logits.argmax(1) == (batch.labels if share >= 0.5 else batch.labels[others])
    assert 0.01 < share < 0.99
    assert history(run)[0]["fit_loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert history(run)[0]["fit_accuracy"] == pytest.approx(right.float().mean().item())


def test_batch_norm_never_sees_a_single_last_row(workspace: Workspace, tiny_file: Path) -> None:
    # At 24 px its last maps are 1 × 1, of which batch norm takes no single row.
    net = ["model=mobilenet_v2", "train.epochs=1", "dataset.size=24"]
    run = fit(workspace, tiny_file, *net, "train.batch_size=209")
    assert run.state == "finished"
    assert run.environment["last_batch"] == "210 rows: a single row joined the 209 before it"
    assert int(load_file(run.weights)["features.0.1.num_batches_tracked"]) == 1
    assert "last_batch" not in fit(workspace, tiny_file, "train.epochs=1", "train.batch_size=208").environment
    for verb in ("check", "train"):
        told = call(verb, tiny_file, *net, "train.batch_size=1", "--workspace", workspace.root)
        assert (told.code, told.err) == (
            2,
            "mien: the command line: train.batch_size: each batch has one row, and this model can't learn from a "
            "single one (ValueError: Expected more than 1 value per channel when training, got input size "
            "torch.Size([1, 576, 1, 1])); expected at least 2 rows, since batch norm needs more than one value of "
            "each channel\n",
        )
    assert len(list(workspace.runs.glob("*/*"))) == 2


def test_it_learns_and_keeps_the_best_epoch(workspace: Workspace, tiny_file: Path) -> None:
    run = fit(workspace, tiny_file, "train.epochs=6", "train.keep=best")
    accuracies = [row["choose_accuracy"] for row in history(run)]
    assert max(accuracies) > 0.6
    assert evaluate(workspace, run, "choose")["accuracy"] == pytest.approx(max(accuracies))


def test_votes_are_soft_targets(workspace: Workspace, tiny_file: Path) -> None:
    run = fit(workspace, tiny_file, "loss=soft_cross_entropy", "train.epochs=2")
    assert history(run)[-1]["fit_loss"] < np.log(7)


def test_a_second_head_learns_votes_and_is_left_behind(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    # A single step; plain SGD without momentum moves the shared layers by the gradient of both losses.
    once = ["augment=[]", "model.dropout=0", "train.epochs=1", "train.batch_size=1000", "train.keep=last"]
    once += ["optimizer={name: sgd, lr: 0.01, momentum: 0, nesterov: false}"]
    plain, run = fit(workspace, tiny_file, *once), fit(workspace, tiny_file, *once, "train.votes=3")

    experiment = load_experiment(tiny_file, [*once, "train.votes=3"])
    samples = build_samples(experiment, tiny, build_roles(experiment, tiny), "fit", tiny.card.scheme)
    model = build_model(experiment, tiny.card.scheme)
    head = VotesHead(model, 7)
    batch = samples.batch(epoch_order(len(samples), shuffle=True, seed=1, epoch=0))
    logits = model((batch.images.float() / 255 - 0.5) / 0.5)
    (F.cross_entropy(logits, batch.labels) + 3 * head.loss(batch.votes)).backward()
    kept, without = load_file(run.weights), load_file(plain.weights)
    assert set(kept) == set(without) == set(model.state_dict())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(kept[name], (parameter - 0.01 * parameter.grad).detach(), rtol=1e-3, atol=1e-6)
    first = next(iter(kept))
    assert not torch.allclose(kept[first], without[first], atol=1e-7)
    # What the history tells is the labels' loss alone.
    assert history(run)[0]["fit_loss"] == history(plain)[0]["fit_loss"]


def test_early_stopping_ends_after_so_many_epochs_without_a_better_one(workspace: Workspace, tiny_file: Path) -> None:
    still = ["optimizer.lr=1e-30", "train.epochs=9", "train.early_stopping=2"]
    run = fit(workspace, tiny_file, *still)
    assert len(history(run)) == 3
    assert (run.state, run.stopped_early) == ("finished", True)


def test_a_run_that_stopped_early_goes_on_as_if_it_had_not(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    # Steps too small to change an answer, so that no epoch is better than the first; the weights move all the same.
    small = ["optimizer.lr=1e-6", "schedule=constant", "train.keep=last", "train.epochs=5"]
    whole, run = fit(workspace, tiny_file, *small), fit(workspace, tiny_file, *small, "train.early_stopping=2")
    assert (len(history(run)), run.stopped_early, whole.stopped_early) == (3, True, False)
    with sealing(run):
        evaluate(workspace, run, "choose")
        write_text(run.page, "a report")
    assert call("train", "--resume", "tiny/2").err == (
        f"mien: {run.folder}: run tiny/2 is finished: it stopped early, after epoch 3 of 5; "
        "expected mien train --resume tiny/2 train.epochs=5, and its patience is counted anew\n"
    )
    assert call("train", "--resume", "tiny/2", "train.epochs=3").err == (
        "mien: train.epochs: 3 can't stand here; expected a number of epochs, at least 4\n"
    )
    assert call("train", "--resume", "tiny/2", "optimizer.lr=1").err == (
        "mien: optimizer.lr: 'optimizer.lr=1' can't be changed on the way; "
        "expected the stored experiment; only train.epochs=N, train.devices=N, train.nodes=N can be given to --resume\n"
    )
    (run.folder / "explain").mkdir()
    write_text(run.folder / "manifest.json", "{}")
    train(workspace, run, ["test"], epochs=5)
    assert run.history.read_bytes() == whole.history.read_bytes()
    ours, theirs = load_file(run.weights), load_file(whole.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (run.stopped_early, run.checkpoint.exists(), len(run.environment["sessions"])) == (False, False, 2)
    # What was made of the other weights is gone.
    made = (run.page, run.metrics_file("choose"), run.folder / "explain", run.folder / "manifest.json")
    assert not [path for path in made if path.exists()]


def test_patience_is_counted_from_where_a_run_goes_on(workspace: Workspace, tiny_file: Path) -> None:
    small = ["optimizer.lr=1e-6", "schedule=constant", "train.epochs=4", "train.early_stopping=2"]
    run = fit(workspace, tiny_file, *small)
    assert len(history(run)) == 3
    train(workspace, run, ["test"], epochs=9)
    assert (len(history(run)), run.stopped_early) == (5, True)
    assert Run(run.folder).experiment.train.epochs == 9


def test_a_run_that_was_measured_does_not_go_on(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    run = fit(workspace, tiny_file, "optimizer.lr=1e-30", "train.epochs=9", "train.early_stopping=1")
    evaluate(workspace, run)
    write_text(run.page, "a report")
    before = run.weights.read_bytes()
    for _ in range(2):
        assert call("train", "--resume", "tiny/1", "train.epochs=9") == (
            2,
            "",
            f"mien: {run.folder}: run tiny/1 has been measured on its reporting role, and would no more be what was "
            "measured; expected a new run that starts from its weights: "
            f"mien train {run.experiment_file} model.pretrained=runs/tiny/1\n",
        )
        assert (run.weights.read_bytes(), run.state) == (before, "finished")
        with sealing(run):  # Nor once its manifest is there.
            pass


def test_a_manifest_that_is_missing_is_made(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    assert call("train", tiny_file, "train.epochs=1").code == 0
    manifest = workspace.runs / "tiny" / "1" / "manifest.json"
    before = manifest.read_bytes()
    assert call("train", "--resume", "tiny/1").code == 2
    manifest.unlink()
    assert call("train", "--resume", "tiny/1").code == 0
    assert json.loads(manifest.read_bytes())["files"].keys() == json.loads(before)["files"].keys()


def test_weights_that_are_lost_in_the_last_step_fail_the_run(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    # One finite loss, and then a step that no weight survives.
    told = call("train", tiny_file, "optimizer.lr=1e300", "train.epochs=1", "train.batch_size=1000")
    assert told.code == 1
    assert told.err.splitlines()[-1] == (
        "mien: optimizer.lr: 'features.conv1.weight' holds what is no number after epoch 1; "
        "expected a smaller learning rate, normalised input or gradient clipping"
    )
    run = find_run(workspace, "tiny")
    assert run.state == "failed"
    there = [".lock", "environment.json", "experiment.yaml", "status.json"]
    assert sorted(path.name for path in run.folder.iterdir()) == there


@pytest.mark.parametrize(
    ("kill", "levers"),
    [
        ({"KILL_STEP": "12"}, ""),
        pytest.param({"KILL_SAVE": "2"}, "", marks=pytest.mark.large),
        pytest.param({"KILL_STEP": "12"}, "ema: 0.9, keep: last, ", marks=pytest.mark.large),
        pytest.param({"KILL_STEP": "12"}, "ema: 0.9, mixup: 0.2, cutmix: 1.0, votes: 0.5, ", marks=pytest.mark.large),
    ],
    ids=["in an epoch", "in a save", "averaged", "averaged, mixed and with a second head"],
)
def test_a_killed_run_goes_on_to_the_same_weights(
    workspace: Workspace, tiny_file: Path, mien: Mien, tmp_path: Path, kill: dict[str, str], levers: str
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    text = tiny_file.read_text().replace("{name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}", "killer")
    text = text.replace("train: {", "train: {" + levers)
    tiny_file.write_text(text + "plugins: [killer.py]\n")

    whole = mien("train", tiny_file, "--json")
    assert whole.returncode == 0, whole.stderr
    killed = mien("train", tiny_file, env=kill)
    assert killed.returncode == -9
    assert find_run(workspace, "tiny/2").state == "interrupted"

    refused = mien("train", "--resume", "tiny/2", "optimizer.lr=1", "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"] == {
        "message": "'optimizer.lr=1' can't be changed on the way",
        "key": "optimizer.lr",
        "expected": "the stored experiment; only train.epochs=N, train.devices=N, train.nodes=N can be given "
        "to --resume",
    }
    saved = find_run(workspace, "tiny/2").checkpoint.stat().st_mtime
    resumed = mien("train", "--resume", "tiny/2", "--json")
    assert resumed.returncode == 0, resumed.stderr

    first, second = find_run(workspace, "tiny/1"), find_run(workspace, "tiny/2")
    assert second.weights.read_bytes() == first.weights.read_bytes()
    assert second.history.read_bytes() == first.history.read_bytes()
    assert [len(run.environment["sessions"]) for run in (first, second)] == [1, 2]
    # A killed part of a training counts as far as its last whole epoch.
    before, after = second.environment["sessions"]
    begun = datetime.datetime.fromisoformat(before["started"]).timestamp()
    assert before["duration_s"] == round(saved - begun, 1)
    assert second.environment["duration_s"] == pytest.approx(before["duration_s"] + after["duration_s"])
    assert not list(second.folder.rglob("*.partial"))

    again = mien("train", "--resume", "tiny/2")
    assert again.returncode == 2
    assert "run tiny/2 is finished" in again.stderr


def test_training_opens_no_report_row(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    (shard,) = tiny.folder.glob("test-*.parquet")
    shard.write_bytes(bytes(shard.stat().st_size))
    run = fit(workspace, tiny_file, "train.epochs=1")
    assert run.state == "finished"
    assert not list((tiny.folder / "cache").glob("test-*"))
    with pytest.raises(Exception, match="Parquet"):
        evaluate(workspace, run, "report")


def test_a_loss_that_is_no_number_ends_the_run(workspace: Workspace, tiny_file: Path) -> None:
    with pytest.raises(FailedError) as error:
        fit(workspace, tiny_file, "optimizer.lr=1e30", "schedule=constant")
    assert error.value.message.startswith("the loss is ")
    assert error.value.message.endswith("learning rate 1e+30")
    assert " at epoch 1, step " in error.value.message
    assert find_run(workspace, "tiny").state == "failed"


def test_a_data_set_that_changed_is_refused(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    run = fit(workspace, tiny_file, "train.epochs=1")
    old = tiny.card.fingerprint[:16]
    shutil.rmtree(tiny.folder)
    new = write_tiny(workspace, seed=1).card.fingerprint[:16]
    with pytest.raises(MienError) as error:
        train(workspace, run, ["test"])
    assert error.value.message == "data set 'tiny' has changed since run tiny/1 began"
    assert error.value.expected == f"fingerprint {old}, but it is {new}"
    with pytest.raises(MienError, match="isn't the one that run tiny/1 was trained on"):
        evaluate(workspace, run)


def test_a_second_process_is_refused(workspace: Workspace, tiny_file: Path) -> None:
    run = new_run(workspace, load_experiment(tiny_file))
    with run.working():
        assert run.state == "running"
        with pytest.raises(MienError, match="another process is working on run tiny/1"):
            train(workspace, run, ["test"])
    assert run.state == "interrupted"


class NoSpace:
    """In place of a function: the disk is full when it is called."""

    def __call__(self, *arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no space", "FILE")


STEPS = ("mien.workflow.evaluate", "mien.evaluation.expression.store_temperature", "mien.workflow.write_report")


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.rpartition(".")[2])
def test_what_a_full_disk_leaves_out_is_made_by_resume(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    assert call("train", tiny_file).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(step, NoSpace())
        failed = call("train", tiny_file)
    first, second = find_run(workspace, "tiny/1"), find_run(workspace, "tiny/2")
    measured = step == STEPS[2]
    assert second.state == ("finished" if measured else "failed")
    assert (failed.code, failed.err.splitlines()[-1]) == (
        1,
        "mien: FILE: there is no space left on the disk"
        + ("" if measured else "; go on with: mien train --resume tiny/2"),
    )
    # The temperature comes after what it is told in.
    assert (read_header(second.weights).get("temperature") is not None) == measured
    assert second.metrics_file("choose").is_file() == (step != STEPS[0])
    assert call("train", "--resume", "tiny/2").code == 0
    same(first, second)
    assert call("train", "--resume", "tiny/2").err == (
        f"mien: {second.folder}: run tiny/2 is finished; expected a new run that starts from its weights: "
        f"mien train {second.experiment_file} model.pretrained=runs/tiny/2\n"
    )


def same(first: Run, second: Run) -> None:
    """Two runs of one experiment came to the same, and to all of it."""
    for name in ("weights.safetensors", "history.csv", "predictions/choose.parquet"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name
    metrics = [read_json(run.metrics_file("choose")) for run in (first, second)]
    assert {**metrics[0], "run": ""} == {**metrics[1], "run": ""}
    assert [(run.state, run.page.is_file(), run.checkpoint.exists()) for run in (first, second)] == [
        ("finished", True, False)
    ] * 2


@pytest.mark.parametrize("lost", ["metrics-choose.json", "predictions/choose.parquet", "report.html"])
def test_what_a_finished_run_of_an_older_mien_lacks_is_made_by_resume(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    assert (call("train", tiny_file).code, call("train", tiny_file).code) == (0, 0)
    first, second = find_run(workspace, "tiny/1"), find_run(workspace, "tiny/2")
    (second.folder / lost).unlink()
    refused = call("train", "--resume", "tiny/2", "train.epochs=5")
    assert refused == (2, "", "mien: train.epochs: run tiny/2 has no epochs to go; expected --resume without it\n")
    assert call("train", "--resume", "tiny/2").code == 0
    same(first, second)
    assert len(second.environment["sessions"]) == 1


def test_a_run_with_a_temperature_and_no_numbers_is_measured_by_evaluate(workspace: Workspace, tiny_file: Path) -> None:
    run = fit(workspace, tiny_file)
    evaluate(workspace, run)
    whole = read_json(run.metrics_file("choose"))
    run.metrics_file("choose").unlink()
    evaluate(workspace, run)
    assert read_json(run.metrics_file("choose")) == whole


DAMAGE = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "another file": lambda data: b"epochs: 3",
    "one byte": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("arguments", [[], ["train.epochs=4"]], ids=["as it was", "with other epochs"])
def test_a_damaged_checkpoint_is_one_sentence(
    workspace: Workspace, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, damage: str, arguments: list[str]
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    run = new_run(workspace, load_experiment(tiny_file, ["train.epochs=2"]))

    def stop(epoch: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(workspace, run, ["test"], on_epoch=stop)
    before = run.environment
    run.checkpoint.write_bytes(DAMAGE[damage](run.checkpoint.read_bytes()))
    told = call("train", "--resume", "tiny/1", *arguments)
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith(f"mien: {run.checkpoint}: the state to go on from is damaged (")
    assert told.err.endswith(
        "; expected that file removed: then mien train --resume tiny/1 begins anew, to the same weights\n"
    )
    assert run.environment == before
    run.checkpoint.unlink()
    assert call("train", "--resume", "tiny/1").code == 0


def test_tensorboard_reads_the_history(workspace: Workspace, tiny_file: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit(workspace, tiny_file, "train.tensorboard=true", "optimizer.lr=1e-6", "train.early_stopping=1")
    assert run.stopped_early
    train(workspace, run, ["test"], epochs=3)
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    rows = history(run)
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"epoch"}
    for name in events.Tags()["scalars"]:
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in rows], name


@pytest.mark.parametrize("epochs", [0, "x", True, 1.5])
def test_epochs_of_a_resumed_run_are_checked(workspace: Workspace, tiny_file: Path, epochs: object) -> None:
    run = new_run(workspace, load_experiment(tiny_file))
    with pytest.raises(MienError, match="a number of epochs, at least 1"):
        check_epochs(run, epochs)
    assert check_epochs(run, 7) == 7


def test_seeds_of_steps_differ() -> None:
    seeds = {step_seed(seed, epoch, step) for seed in range(5) for epoch in range(5) for step in range(5)}
    assert len(seeds) == 125
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_float32_is_float32_in_a_gpu_s_convolutions_too() -> None:
    torch.backends.cudnn.allow_tf32 = True
    assert environment.device("cpu") == "cpu"
    assert not torch.backends.cudnn.allow_tf32
