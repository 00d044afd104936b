"""One training on several devices: the same rows, the same numbers as one; kills; what doesn't fit together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, Mien
from safetensors.torch import load_file
from trained import fit, history
from verbs import call

from mien.experiment.schema import load_experiment
from mien.runs.run import Run, find_run
from mien.workspace import Workspace

pytestmark = pytest.mark.usefixtures("tiny")

# Two rows are left for the last step, and the others are of 17 and 16.
PLAIN = ("model.dropout=0", "train.batch_size=33", "optimizer={name: sgd, lr: 0.05, momentum: 0.9}")

# A net that keeps what it sees, and sends a signal to its own process at a step; on which device the environment says.
PLUGIN = """
import os, signal
from pathlib import Path
from mien.registry import register
from mien.models.cnn import CNN

rank = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
steps = 0

@register("model", "telling")
class Telling(CNN):
    '''A small CNN.'''

    def __init__(self, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__(in_channels, image_size, num_classes, channels=(4,), fc=(16,), dropout=0.2)

    def forward(self, images):
        global steps
        if self.training and len(images) > 1:
            steps += 1
            if "SEEN" in os.environ:
                with Path(os.environ["SEEN"] + rank).open("a") as file:
                    file.write(" ".join(f"{value:.6f}" for value in images.mean(dim=(1, 2, 3)).tolist()) + "\\n")
            if steps == int(os.environ.get("AT_STEP", -1)) and rank in os.environ["AT_RANK"]:
                os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        return super().forward(images)
"""


@pytest.fixture(autouse=True)
def _home(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture
def telling(tiny_file: Path) -> Path:
    """The experiment with the plugin's net."""
    (tiny_file.parent / "telling.py").write_text(PLUGIN)
    text = tiny_file.read_text().replace(
        "{name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}", "telling"
    )
    tiny_file.write_text(text + "plugins: [telling.py]\n")
    return tiny_file


def near(first: Run, second: Run) -> None:
    """Two runs came to the same but for rounding."""
    for one, two in zip(history(first), history(second), strict=True):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-5)
    ours, theirs = load_file(first.weights), load_file(second.weights)
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-5, msg=name)


def same(first: Run, second: Run) -> None:
    """Two runs came to the same bit for bit."""
    ours, theirs = load_file(first.weights), load_file(second.weights)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert first.history.read_bytes() == second.history.read_bytes()


def torchrun(number: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = ["--standalone", "--nproc-per-node", str(number), "-m", "mien", *map(str, arguments)]
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.devices
@pytest.mark.parametrize(
    "levers",
    [
        [],
        ["loss={name: cross_entropy, class_weights: balanced, label_smoothing: 0.1}", "train.gradient_clip=0.1"],
        ["train.ema=0.9", "train.mixup=0.2", "train.cutmix=1.0", "train.votes=0.5"],
        ["model.batch_norm=true", "train.keep=last"],
    ],
    ids=["plain", "weighted and clipped", "averaged, mixed and with a second head", "batch norm"],
)
def test_two_devices_come_to_what_one_comes_to(workspace: Workspace, tiny_file: Path, levers: list[str]) -> None:
    one = fit(workspace, tiny_file, *PLAIN, *levers)
    two = fit(workspace, tiny_file, *PLAIN, *levers, "train.devices=2")
    near(two, one)
    assert [(run.environment["devices"], run.environment["nodes"]) for run in (one, two)] == [(1, 1), (2, 1)]
    assert sorted(path.name for path in two.folder.iterdir()) == sorted(path.name for path in one.folder.iterdir())


@pytest.mark.devices
def test_muon_on_two_devices(workspace: Workspace, tiny_file: Path) -> None:
    # Its products in bfloat16 turn a last digit into the third: a few steps stay near.
    levers = [*PLAIN[:2], "optimizer=muon", "model.channels=[4, 8]", "model.kernel_size=3", "train.epochs=1"]
    one, two = fit(workspace, tiny_file, *levers), fit(workspace, tiny_file, *levers, "train.devices=2")
    assert history(two)[0]["fit_loss"] == pytest.approx(history(one)[0]["fit_loss"], rel=1e-3)


@pytest.mark.devices
def test_a_teacher_sees_what_the_devices_see(workspace: Workspace, tiny_file: Path) -> None:
    fit(workspace, tiny_file, *PLAIN, "name=teacher", "train.epochs=1")
    levers = [*PLAIN, "loss={name: distill, teacher: [teacher/1]}", "train.epochs=1"]
    near(fit(workspace, tiny_file, *levers, "train.devices=2"), fit(workspace, tiny_file, *levers))


@pytest.mark.devices
def test_the_rows_of_a_step_are_divided(workspace: Workspace, telling: Path, mien: Mien, tmp_path: Path) -> None:
    once = ["augment=[]", "train.epochs=2", "train.batch_size=33"]
    for number in ("1", "2"):
        done = mien("train", telling, *once, f"train.devices={number}", env={"SEEN": str(tmp_path / f"{number}-")})
        assert done.returncode == 0, done.stderr
    whole, first, second = (
        [line.split() for line in (tmp_path / name).read_text().splitlines()] for name in ("1-0", "2-0", "2-1")
    )
    assert [len(step) for step in whole] == [33, 33, 33, 33, 33, 33, 12] * 2
    assert [(len(one), len(two)) for one, two in zip(first, second, strict=True)] == [*[(17, 16)] * 6, (6, 6)] * 2
    assert [one + two for one, two in zip(first, second, strict=True)] == whole


@pytest.mark.devices
@pytest.mark.parametrize(
    ("signal", "rank", "code", "state", "told"),
    [
        ("9", "0", -9, "interrupted", None),
        ("9", "1", 1, "failed", "one of the devices has gone; expected mien train --resume RUN, which goes on"),
        ("9", "01", -9, "interrupted", None),
        ("15", "0", 1, "stopped", "stopped; go on with: mien train --resume tiny/2"),
    ],
    ids=["the first is killed", "the second is killed", "both are killed", "it is told to stop"],
)
def test_what_was_killed_goes_on_to_the_same_weights(
    workspace: Workspace, telling: Path, mien: Mien, signal: str, rank: str, code: int, state: str, told: str | None
) -> None:
    whole = mien("train", telling, "train.devices=2")
    assert whole.returncode == 0, whole.stderr
    # It returns when nobody holds its streams any more: the other device has ended too.
    killed = mien("train", telling, "train.devices=2", env={"AT_STEP": "12", "AT_RANK": rank, "SIGNAL": signal})
    assert killed.returncode == code
    if told is not None:
        assert killed.stderr.splitlines()[-1] == f"mien: {told}"
    run = find_run(workspace, "tiny/2")
    assert (run.state, run.epochs_done) == (state, 1)
    resumed = mien("train", "--resume", "tiny/2")
    assert resumed.returncode == 0, resumed.stderr
    same(find_run(workspace, "tiny/1"), find_run(workspace, "tiny/2"))


@pytest.mark.devices
def test_a_run_goes_on_on_another_number_of_devices(workspace: Workspace, tiny_file: Path) -> None:
    whole = fit(workspace, tiny_file, *PLAIN)
    stopped = call("train", tiny_file, *PLAIN, "train.devices=2", "--stop-after", "0")
    assert stopped.err.endswith("the time was up after epoch 1 of 3; go on with: mien train --resume tiny/2\n")
    assert call("train", "--resume", "tiny/2", "train.devices=0").err == (
        "mien: train.devices: 0 can't stand here; expected a number, at least 1\n"
    )
    resumed = call("train", "--resume", "tiny/2", "train.devices=1")
    assert resumed.code == 0, resumed.err
    run = find_run(workspace, "tiny/2")
    near(run, whole)
    assert [(one["devices"], one["nodes"], one.get("note")) for one in run.environment["sessions"]] == [
        (2, 1, None),
        (
            1,
            1,
            "on another number of devices: the same rows in the same order, changed alike; sums are rounded otherwise, "
            "and dropout draws other numbers",
        ),
    ]
    assert run.experiment.train.devices == 1


@pytest.mark.devices
def test_torchrun_and_srun_start_what_mien_starts_itself(workspace: Workspace, telling: Path) -> None:
    for seed in ("1", "2"):
        fit(workspace, telling, "train.devices=2", f"train.seed={seed}")
    done = torchrun(2, "train", telling, "train.devices=2", "--seeds", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert [one["run"] for one in json.loads(done.stdout)["runs"]] == ["tiny/3", "tiny/4"]
    job = {"SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    job |= {"SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "localhost"}
    command = [sys.executable, "-m", "mien", "train", str(telling), "train.devices=2"]
    processes = [
        subprocess.Popen(command, env={**os.environ, **job, "SLURM_LOCALID": str(place)}) for place in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    runs = [find_run(workspace, f"tiny/{number}") for number in range(1, 6)]
    assert len(list(workspace.runs.glob("tiny/*"))) == 5
    for first, second in ((0, 2), (1, 3), (0, 4)):
        same(runs[first], runs[second])


@pytest.mark.devices
def test_a_loss_that_is_no_number_is_told_once(workspace: Workspace, tiny_file: Path, mien: Mien) -> None:
    failed = mien("train", tiny_file, "train.devices=2", "optimizer.lr=1e30", "schedule=constant")
    assert failed.returncode == 1
    assert [line[:39] for line in failed.stderr.splitlines()] == ["mien: optimizer.lr: the loss is nan at e"[:39]]


@pytest.mark.devices
def test_weights_without_effect_are_refused(workspace: Workspace, tiny_file: Path, mien: Mien) -> None:
    (tiny_file.parent / "idle.py").write_text(
        PLUGIN.replace("dropout=0.2)", "dropout=0.2)\n        self.idle = type(self.classifier.logits)(2, 2)")
    )
    text = tiny_file.read_text().replace(
        "{name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}", "telling"
    )
    tiny_file.write_text(text + "plugins: [idle.py]\n")
    refused = mien("train", tiny_file, "train.devices=2")
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        1,
        "mien: train.devices: the model has weights without effect on its outputs; expected 1",
    )


CORES = os.cpu_count() or 1


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            [f"train.devices={CORES + 1}", "train.batch_size=1000"],
            f"the command line: train.devices: this machine has {CORES} cores, and the training is on {CORES + 1}; "
            f"expected at most {CORES}",
        ),
        (
            ["train.nodes=40"],
            "FILE:9: train.batch_size: 40 devices can't share a batch of 32 rows; "
            "expected at least 40; batch_size is that of all devices together",
        ),
        (
            ["train.nodes=2"],
            "the command line: train.nodes: on several machines mien doesn't start by itself; expected on each "
            "machine: torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m mien "
            "train …; or srun",
        ),
    ],
    ids=["devices that aren't there", "fewer rows than devices", "no launcher"],
)
def test_a_number_that_does_not_fit_is_refused(
    workspace: Workspace, tiny_file: Path, overrides: list[str], told: str
) -> None:
    refused = call("train", tiny_file, *overrides)
    assert (refused.code, refused.err) == (2, f"mien: {told.replace('FILE', str(tiny_file))}\n")
    assert not workspace.runs.exists()


LAUNCHED = {
    "torchrun": {
        "WORLD_SIZE": "3",
        "LOCAL_WORLD_SIZE": "3",
        "GROUP_RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    },
    "srun": {
        "SLURM_JOB_ID": "123457",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_STEP_NODELIST": "localhost",
    },
}


@pytest.mark.parametrize("launcher", LAUNCHED)
def test_another_number_of_processes_is_refused(
    workspace: Workspace, tiny_file: Path, mien: Mien, launcher: str
) -> None:
    told = "torchrun or srun has started 3 on 1 machine, and the training is for 2 on 1 machine"
    refused = mien("train", tiny_file, "train.devices=2", env=LAUNCHED[launcher])
    assert (refused.returncode, refused.stderr) == (
        2,
        f"mien: the command line: train.devices: {told}; "
        "expected as many processes, or train.devices=3 train.nodes=1\n",
    )
    assert not workspace.runs.exists()


def test_check_tells_of_the_devices(tiny_file: Path) -> None:
    told = call("check", tiny_file, "train.devices=2", "train.batch_size=33")
    assert "devices: 2 on 1 machine, each has up to 17 rows of a batch of 33\n" in told.out
    found = call("check", tiny_file, "train.devices=2", "--json").json
    assert (found["devices"], found["nodes"]) == (2, 1)
    assert "devices:" not in call("check", tiny_file).out


def test_a_file_shows_devices_where_there_are_several(tiny_file: Path) -> None:
    assert "devices" not in load_experiment(tiny_file).to_yaml()
    assert "devices: 2" in load_experiment(tiny_file, ["train.devices=2"]).to_yaml()
