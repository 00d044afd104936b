"""A model learns from teachers what they say of its own augmented images, and needs them no more afterwards."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file
from verbs import call

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.evaluation import evaluate
from mien.experiment.building import build_model, build_roles, build_samples
from mien.experiment.schema import load_experiment
from mien.inference.export import export_run
from mien.inference.network import load_network
from mien.inference.weights import read_header
from mien.protocols.batches import epoch_order
from mien.report.model_card import model_card
from mien.runs.run import Run, new_run
from mien.training.fit import train
from mien.training.votes_head import VotesHead
from mien.workflow import new_runs
from mien.workspace import Workspace

STILL = ["model.dropout=0", "augment=[]", "train.epochs=1", "optimizer.lr=1e-30", "train.batch_size=1000"]


def trained(workspace: Workspace, file: Path, *overrides: str) -> Run:
    (run,) = new_runs(workspace, file, overrides)
    train(workspace, run, ["mien", "train"])
    return run


def fit_loss(run: Run) -> float:
    return float(run.history.read_text().splitlines()[1].split(",")[2])


@pytest.fixture
def teachers(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> list[Run]:
    return [trained(workspace, tiny_file, f"train.seed={seed}", "name=teacher") for seed in (1, 2)]


def test_the_loss_is_of_what_all_teachers_say_of_the_same_images(
    workspace: Workspace, tiny: Dataset, tiny_file: Path, teachers: list[Run]
) -> None:
    over = [*STILL, "loss={name: distill, teacher: [teacher/1-2], temperature: 2}", "name=student"]
    shown = call("check", tiny_file, *over, "--workspace", workspace.root)
    assert "teachers: teacher/1, teacher/2" in shown.out.splitlines()
    run = trained(workspace, tiny_file, *over)

    experiment = load_experiment(tiny_file, over)
    samples = build_samples(experiment, tiny, build_roles(experiment, tiny), "fit", tiny.card.scheme)
    images = samples.batch(epoch_order(len(samples), shuffle=True, seed=1, epoch=0)).images.float()
    with torch.no_grad():
        said = [torch.softmax(load_network(one.weights, "cpu")(images) / 2, dim=1) for one in teachers]
        told = torch.log_softmax(build_model(experiment, tiny.card.scheme)((images / 255 - 0.5) / 0.5) / 2, dim=1)
    wanted = sum(said) / 2
    assert fit_loss(run) == pytest.approx((4 * (wanted * (wanted.log() - told)).sum(1).mean()).item(), rel=1e-4)
    record = run.environment["teachers"]
    assert [one["name"] for one in record] == ["teacher/1", "teacher/2"]
    assert all(len(one["sha256"]) == 64 for one in record)

    # The student is a model like any other.
    shutil.rmtree(workspace.runs / "teacher")
    assert evaluate(workspace, run, "choose")["n"] > 0


def test_a_student_learns_what_its_teacher_knows(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    teacher = trained(workspace, tiny_file, "train.epochs=6", "name=teacher")
    student = trained(
        workspace,
        tiny_file,
        "train.epochs=6",
        "loss={name: distill, teacher: [teacher]}",
        "train.mixup=0.2",
        "name=student",
    )
    assert evaluate(workspace, teacher, "choose")["accuracy"] > 0.6
    assert evaluate(workspace, student, "choose")["accuracy"] > 0.6


def test_what_binds_a_teacher_binds_its_student(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    teacher = trained(workspace, tiny_file, "train.epochs=1", "name=teacher")
    header, tensors = read_header(teacher.weights), load_file(teacher.weights)
    save_file(tensors, teacher.weights, metadata={"mien": json.dumps({**header, "limits": "for tests alone"})})
    student = trained(workspace, tiny_file, *STILL, "loss={name: distill, teacher: [teacher]}", "name=student")
    assert read_header(student.weights)["limits"] == "for tests alone"


def test_an_exported_file_teaches_as_its_run_does(workspace: Workspace, tiny_file: Path, teachers: list[Run]) -> None:
    sha256 = export_run(teachers[0], workspace.root / "teacher.onnx")["sha256"]
    losses = []
    for given in ("teacher/1", "teacher.onnx"):
        over = [*STILL, f"loss={{name: distill, teacher: [{given}, teacher/2]}}", "name=student"]
        run = trained(workspace, tiny_file, *over)
        losses.append(fit_loss(run))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert run.environment["teachers"][0] == {"name": "teacher.onnx", "sha256": sha256}
    evaluate(workspace, run, "report")
    assert "It learnt from teacher.onnx, teacher/2." in model_card(run, "student")


def test_other_files_do_not_teach(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 7]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (workspace.root / "other.onnx").write_bytes(model.SerializeToString())
    told = {}
    for name in ("mien-s", "landmarks-small", "mien-l", "none.onnx", "other.onnx"):
        with pytest.raises(MienError) as error:
            new_runs(workspace, tiny_file, [f"loss={{name: distill, teacher: [{name}]}}"])
        told[name] = (
            str(error.value).removeprefix("the command line: loss.teacher: ").replace(str(workspace.root), "HOME")
        )
    assert told == {
        "mien-s": "mien-s can't teach: it was fit on other data; expected a model fit on data set 'tiny' as it is",
        "landmarks-small": "landmarks-small can't teach: it is on points; expected a model on expressions",
        "mien-l": "there is no run 'mien-l'; expected a run in HOME/runs, or a model that mien ships. Did you mean "
        "'mien-s'?",
        "none.onnx": "there is no file 'HOME/none.onnx'; expected a path from the workspace on, or a run",
        "other.onnx": "other.onnx can't teach: mien didn't export it, so nobody knows which rows it has seen; expected "
        "a run, or mien's ONNX",
    }


def test_a_run_goes_on_with_the_same_teachers_alone(workspace: Workspace, tiny_file: Path, teachers: list[Run]) -> None:
    (run,) = new_runs(workspace, tiny_file, ["loss={name: distill, teacher: [teacher/1-2]}", "name=student"])

    def stop(epoch: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(workspace, run, ["mien", "train"], on_epoch=stop)
    was = run.environment["teachers"][1]["sha256"]
    shutil.copy(teachers[0].weights, teachers[1].weights)
    with pytest.raises(MienError) as error:
        train(workspace, run, ["mien", "train"])
    now = run.environment["teachers"][0]["sha256"]
    assert str(error.value) == (
        f"loss.teacher: teacher teacher/2 has changed since run student/1 began; expected SHA-256 {was[:16]}, "
        f"but it is {now[:16]}"
    )


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["dataset.size=32"], "it sees 24 px, gray; expected 32 px, gray"),
        (
            ["dataset.labels=ferplus-8"],
            "it tells angry, disgust, fear, happy, sad, surprise, neutral; expected ",
        ),
        (
            ["protocol=folder"],
            'its protocol is {"name": "official"}; expected {"name": "folder", "share": 0.1, "seed": 0}',
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    workspace: Workspace, tiny_file: Path, teachers: list[Run], overrides: list[str], told: str
) -> None:
    with pytest.raises(MienError) as error:
        new_runs(workspace, tiny_file, ["loss={name: distill, teacher: [teacher/1]}", *overrides])
    assert f"teacher/1 can't teach: {told}" in str(error.value)


def test_a_teacher_is_finished_and_there(workspace: Workspace, tiny: Dataset, tiny_file: Path) -> None:
    new_run(workspace, load_experiment(tiny_file, ["name=begun"]))
    with pytest.raises(MienError, match="begun/1 can't teach: it isn't finished; expected a finished run"):
        new_runs(workspace, tiny_file, ["loss={name: distill, teacher: [begun]}"])
    with pytest.raises(MienError, match="there is no run 'begum'"):
        new_runs(workspace, tiny_file, ["loss={name: distill, teacher: [begum]}"])


def test_a_second_head_needs_a_linear_layer() -> None:
    with pytest.raises(MienError) as error:
        VotesHead(torch.nn.Conv2d(1, 7, 48), 7)
    assert str(error.value) == "train.votes: the model has no linear layer; expected one that ends in nn.Linear"


def test_the_divergence_is_nothing_where_both_say_the_same() -> None:
    from mien.losses import Distillation

    torch.manual_seed(0)
    logits = torch.randn(5, 7)
    for temperature in (1.0, 3.0):
        loss = Distillation(teacher=("large/1",), temperature=temperature)
        assert loss(logits, torch.softmax(logits / temperature, dim=1)).item() == pytest.approx(0, abs=1e-6)
        assert loss(logits, torch.full((5, 7), 1 / 7)).item() == pytest.approx(
            temperature**2 * (-torch.log_softmax(logits / temperature, 1).mean() - torch.log(torch.tensor(7.0))).item(),
            rel=1e-5,
        )
