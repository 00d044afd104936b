"""The verbs: what they print, where, with which exit code; stopped, and without space."""

import json
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import typer
from conftest import TINY, write_tiny
from verbs import Result, apart, call, mien

from mien import __version__
from mien.cli import app
from mien.data.dataset import Dataset, open_dataset
from mien.data.synthetic.dataset import write_faces
from mien.experiment.schema import load_experiment
from mien.inference.model import SHIPPED
from mien.runs.run import Run, find_run, new_run
from mien.training.fit import train
from mien.workspace import Workspace

ROOT = typer.main.get_command(app)
VERBS = [[name] for name in ROOT.commands if name not in ("data", "sweep")]  # type: ignore[attr-defined]
VERBS += [[group, name] for group in ("data", "runs", "sweep") for name in ROOT.commands[group].commands]  # type: ignore[attr-defined]


@pytest.fixture
def home(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace that every command finds."""
    workspace.root.mkdir(exist_ok=True)
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    return workspace


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, Result]:
    """A workspace with the stripes, what `mien train --json` said of a run, and `mien evaluate` without --json."""
    root = tmp_path_factory.mktemp("home")
    write_tiny(Workspace(root))
    (root / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_HOME", str(root))
        return root, call("train", root / "tiny.yaml", "--json"), call("evaluate", "tiny")


@pytest.fixture
def finished(measured: tuple[Path, Result, Result], monkeypatch: pytest.MonkeyPatch) -> Path:
    """That workspace, found by every command."""
    monkeypatch.setenv("MIEN_HOME", str(measured[0]))
    return measured[0]


def test_verbs_stand_in_the_order_of_the_road_and_one_that_no_order_names_last() -> None:
    code = (
        "from mien.cli.shared import app\n"
        "app.command('novel')(lambda: None)\n"
        "import typer, mien.cli\n"
        "print(*typer.main.get_command(app).commands)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    groups = ("data", "models", "runs", "sweep")
    verbs = [name for name in shown if name not in groups]
    assert verbs == [*(name for [name, *more] in VERBS if not more and name not in groups), "novel"]
    assert [name for name in shown if name in groups] == list(groups)
    assert [name for name in verbs if name in ("report", "train", "evaluate")] == ["train", "evaluate", "report"]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: list[str]) -> None:
    shown = call(*verb, "--help")
    assert (shown.code, shown.err) == (0, "")
    # A sweep's file needs no verb before it.
    assert f"Example: mien {' '.join(verb).removesuffix(' run')}" in shown.out
    command = ROOT
    for name in verb:
        command = command.commands[name]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    # What mien ships is the same in every workspace; a server tells nothing in the end.
    assert {"--json", "--workspace"} <= options or verb in (["schema"], ["models"], ["serve"])
    assert call(*verb, "-h") == shown


def test_help_and_version() -> None:
    shown = call("--help")
    assert shown.code == 0
    for verb in ("demo", "data", "check", "schema", "doctor", "train", "evaluate", "report", "runs"):
        assert f" {verb} " in shown.out
    alone = call()
    assert (alone.code, alone.out.strip(), alone.err) == (0, shown.out.strip(), "")
    assert call("--version") == (0, f"mien {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["train", "--fast"], "No such option: --fast (Possible options: --folds, --trust)"),
        (["check"], "Missing argument 'file'"),
        (["train"], "there is no experiment file; expected mien train FILE, or mien train --resume RUN"),
        (["data", "synth", "--as", "x", "--n", "3"],
         "Invalid value for '--n': Input should be greater than or equal to 10"),
        (["data", "synth", "--as", "x", "--color", "red"], "--color: no colour is called 'red'; expected gray or rgb"),
        (["data", "synth", "--as", "a/b"], "'a/b' can't be the name of a data set; expected 1 to 100 letters, digits, "
         "'.', '_' or '-', the first a letter or digit"),
        (["data", "show", "x"], "no data set is called 'x'; expected a data set in HOME/datasets, or a new one by "
         "mien data import SOURCE --as x"),
        (["evaluate", "x"], "there is no run 'x'; expected a run in HOME/runs"),
        (["report", "x"], "there is no run 'x'; expected a run in HOME/runs"),
        (["train", "--resume", "x"], "there is no run 'x'; expected a run in HOME/runs"),
        (["check", "x.yaml"], "x.yaml: no such file; expected an experiment file"),
        (["schema", "--plugin", "x.py"], "x.py: there is no Python file 'x.py'"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_code_2(home: Workspace, arguments: list[str], message: str) -> None:
    told = call(*arguments)
    assert told == (2, "", f"mien: {message.replace('HOME', str(home.root))}\n")
    if arguments[0] != "schema":
        as_json = call(*arguments, "--json")
        assert (as_json.code, as_json.err) == (2, told.err)
        assert f"mien: {as_json.error}\n" == told.err
    assert list(home.root.iterdir()) == []


def test_the_workspace_may_be_given(tmp_path: Path, home: Workspace) -> None:
    write_tiny(Workspace(tmp_path / "other"), n=35)
    assert call("data", "list", "--json").json == {"datasets": []}
    listed = call("data", "list", "--workspace", tmp_path / "other", "--json").json["datasets"]
    assert [one["name"] for one in listed] == ["tiny"]
    (tmp_path / "file").write_text("")
    assert call("runs", "--workspace", tmp_path / "file").err == (
        f"mien: {tmp_path / 'file'}: the workspace is a file; expected a folder\n"
    )


def test_check_shows_model_and_rows(tiny: Dataset, home: Workspace, tiny_file: Path) -> None:
    shown = call("check", tiny_file)
    assert (shown.code, shown.err) == (0, "")
    assert "features.conv1" in shown.out
    assert "4×20×20" in shown.out
    assert "rows: fit 210, choose 35, report 35" in shown.out
    assert "classes: angry, disgust, fear, happy, sad, surprise, neutral (fer2013-7)" in shown.out
    checked = call("check", tiny_file, "--json").json
    assert checked["ok"] is True
    assert checked["rows"] == {"fit": 210, "choose": 35, "report": 35}
    assert checked["layers"][0] == {
        "name": "features.conv1",
        "kind": "Conv2d",
        "output": [4, 20, 20],
        "parameters": 104,
        "macs": 40000,
    }
    assert checked["parameters"] == sum(layer["parameters"] for layer in checked["layers"])
    assert checked["macs"] == sum(layer["macs"] for layer in checked["layers"])


def test_without_the_data_set_check_shows_the_model_and_then_the_error(home: Workspace, tiny_file: Path) -> None:
    shown = call("check", tiny_file)
    assert shown.code == 2
    assert "features.conv1" in shown.out
    assert shown.err == (
        f"mien: {tiny_file}:3: dataset.name: no data set is called 'tiny'; "
        f"expected a data set in {home.root}/datasets, or a new one by mien data import SOURCE --as tiny\n"
    )
    checked = call("check", tiny_file, "--json").json
    assert (checked["ok"], checked["rows"], checked["parameters"]) == (False, None, 18_735)
    assert checked["error"]["key"] == "dataset.name"


def test_a_training_prints_one_object_and_no_reporting_row(measured: tuple[Path, Result, Result]) -> None:
    root, trained, _ = measured
    assert trained.code == 0
    result = trained.json
    assert (result["run"], result["folder"]) == ("tiny/1", str(root / "runs/tiny/1"))
    assert (result["role"], result["split"], result["n"]) == ("choose", "validation", 35)
    assert Path(result["report"]).is_file()
    lines = trained.err.splitlines()
    assert [line.partition("  loss")[0] for line in lines] == [f"tiny/1 epoch {epoch}/3" for epoch in (1, 2, 3)]
    assert all(" images/s" in line and "choose acc " in line for line in lines)


def test_an_evaluation_prints_a_table(measured: tuple[Path, Result, Result]) -> None:
    root, _, evaluated = measured
    assert evaluated.code == 0
    assert "tiny/1, seed 1, protocol official, report role: tiny, test, n = 35" in evaluated.out
    metrics = json.loads((root / "runs/tiny/1/metrics.json").read_text())
    low, high = metrics["interval"]["accuracy"]
    # Stripes have no exact copies, and none stands out as a near one, since all are alike.
    assert metrics["near_clean"] == metrics["clean"]
    assert "without near copies" in evaluated.out
    for name in ("all rows", "without exact copies"):
        (line,) = [line for line in evaluated.out.splitlines() if line.strip().startswith(f"{name}  ")]
        assert f" 35   {metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}] " in line
    assert "in brackets: 95 % intervals. Intervals are over the choice of rows, as if" in evaluated.out
    assert f"report: {root}/runs/tiny/1/report.html" in evaluated.out
    assert "contaminated" not in evaluated.out


def test_evaluate_as_json_is_metrics_json(finished: Path) -> None:
    result = call("evaluate", "tiny/1", "--json").json
    stored = json.loads((finished / "runs/tiny/1/metrics.json").read_text())
    assert {key: value for key, value in result.items() if key != "report"} == stored
    keys = {"protocol", "role", "split", "n", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "per_class"}
    assert keys | {"interval", "contaminated"} <= set(stored)
    assert list(stored["per_class"]["happy"]) == ["precision", "recall", "f1", "support"]


def test_runs_are_listed(finished: Path) -> None:
    (one,) = call("runs", "--json").json["runs"]
    assert (one["run"], one["state"], one["epochs"], one["epochs_done"]) == ("tiny/1", "finished", 3, 3)
    shown = call("runs")
    (line,) = [line for line in shown.out.splitlines() if "tiny/1" in line]
    accuracy, (low, high) = one["report"]["accuracy"], one["report"]["interval"]["accuracy"]
    assert f"{accuracy:.3f} [{low:.3f}, {high:.3f}] test n 35" in line
    assert call("runs", "--workspace", finished / "empty", "--json").json == {"runs": []}


def test_a_finished_run_is_not_resumed(finished: Path) -> None:
    assert call("train", "--resume", "tiny").err == (
        f"mien: {finished}/runs/tiny/1: run tiny/1 is finished; expected a new run that starts from its weights: "
        f"mien train {finished}/runs/tiny/1/experiment.yaml model.pretrained=runs/tiny/1\n"
    )


def test_a_run_is_told_by_its_stored_experiment(finished: Path) -> None:
    environment = Run(finished / "runs/tiny/1").environment
    assert environment["seed"] == 1
    assert environment["device"] == "cpu"
    assert environment["dataset"]["name"] == "tiny"
    assert environment["dataset"]["fingerprint"] == open_dataset(Workspace(finished), "tiny").card.fingerprint
    assert environment["duration_s"] > 0
    assert set(environment) >= {
        "mien",
        "commit",
        "python",
        "packages",
        "cpu",
        "cores",
        "threads",
        "command",
        "sessions",
    }


def test_data_sets_are_drawn_listed_and_shown(home: Workspace) -> None:
    drawn = call("data", "synth", "--as", "drawn", "--n", "20", "--size", "32", "--json")
    assert drawn.code == 0
    assert drawn.json["splits"].keys() == {"train", "validation", "test"}
    rows = [" ".join(line.split()) for line in call("data", "list").out.splitlines()]
    assert "drawn fer2013-7 20 train, validation, test" in rows
    shown = call("data", "show", "drawn")
    assert f"fingerprint: {drawn.json['fingerprint']}" in shown.out
    sheet = home.datasets / "drawn/contact-sheet.png"
    assert f"contact sheet: {sheet}" in shown.out
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    again = call("data", "synth", "--as", "drawn", "--n", "20")
    assert again.code == 2
    assert len(again.err.splitlines()) == 1


def test_data_show_augment_draws_what_an_experiment_does(tiny: Dataset, home: Workspace, tiny_file: Path) -> None:
    shown = call("data", "show", "tiny", "--augment", tiny_file, "--json")
    assert (shown.code, shown.err) == (0, "")
    assert Path(shown.json["sheet"]).read_bytes()[:4] == b"\x89PNG"
    assert shown.json["sheet"] == str(tiny.folder / "augmented-tiny.png")


def test_doctor_says_what_trainings_run_on(home: Workspace) -> None:
    found = call("doctor", "--json").json
    assert found["device"] in ("cpu", "cuda")
    assert found["precision"] in ("float32", "bfloat16")
    assert found["workspace"] == str(home.root)
    assert found["disk_free_gb"] > 0


# A CNN that sends its process what Ctrl-C sends, in the second step of the second epoch.
STOPPER = """
import os, signal
from mien.models.cnn import CNN
from mien.registry import register

steps = 0

@register("model", "stopper")
class Stopper(CNN):
    '''A CNN.'''

    def __init__(self, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__(in_channels, image_size, num_classes, channels=(4,), fc=(16,), dropout=0.2)

    def forward(self, images):
        global steps
        steps += self.training and len(images) > 1
        if steps == 9 and "STOP" in os.environ:
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(images)
"""


def ask_to_stop() -> None:
    """For the process of its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["STOP"] = "1"


def test_ctrl_c_stops_a_training_that_can_go_on(tiny: Dataset, home: Workspace, tmp_path: Path) -> None:
    (tmp_path / "stopper.py").write_text(STOPPER)
    file = tmp_path / "tiny.yaml"
    model = "{name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}"
    file.write_text(TINY.replace(model, "stopper") + "plugins: [stopper.py]\n")

    stopped = apart(tmp_path, mien, home.root, ["train", str(file), "--json"], ask_to_stop)
    message = "stopped; go on with: mien train --resume tiny/1"
    assert stopped.code == 1
    assert stopped.json == {"error": {"message": message}}
    assert stopped.err.splitlines()[-1] == f"mien: {message}"
    assert "Traceback" not in stopped.err
    run = find_run(home, "tiny/1")
    assert run.state == "stopped"
    assert run.history.read_text().count("\n") == 2
    assert call("evaluate", "tiny").err == (
        f"mien: {run.folder}: run tiny/1 is stopped and has no weights; "
        "expected a finished run: mien train --resume tiny/1\n"
    )

    whole = new_run(home, load_experiment(file))
    train(home, whole, ["test"])
    train(home, run, ["test"])
    assert run.state == "finished"
    assert run.weights.read_bytes() == whole.weights.read_bytes()
    assert run.history.read_text() == whole.history.read_text()


def stop_at_first_partial(number: int) -> None:
    """For the process of its own: it gets a signal when it begins to make something."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sent: list[int] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.mkdir" and not sent and str(arguments[0]).endswith(".partial"):
            sent.append(number)
            os.kill(os.getpid(), number)

    sys.addaudithook(hook)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize(
    "verb", ["data synth --as new --n 20", "data audit tiny --json", "data import tiny.csv --as new", "data show tiny"]
)
def test_what_is_stopped_outside_of_training_says_so(
    tiny: Dataset, home: Workspace, tmp_path: Path, number: int, verb: str
) -> None:
    (tmp_path / "tiny.csv").write_text("pixels,emotion,Usage\n" + f"{'7 ' * 2304},3,Training\n" * 20)
    arguments = verb.replace("tiny.csv", str(tmp_path / "tiny.csv")).split()
    told = apart(tmp_path, mien, home.root, arguments, partial(stop_at_first_partial, number))
    message = "stopped; what was half made is gone"
    assert (told.code, told.err) == (1, f"mien: {message}\n")
    assert told.out == (json.dumps({"error": {"message": message}}) + "\n" if "--json" in arguments else "")
    assert list(home.root.rglob("*.partial")) == []
    assert not (home.datasets / "new").exists()


def test_the_handler_of_signals_is_as_it_was(home: Workspace) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert call("doctor", "--json").code == 0
    assert signal.getsignal(signal.SIGTERM) is before


LONG = "a" * 300


@pytest.mark.parametrize("arguments", [["evaluate", LONG], ["report", "tiny", "--to", LONG], ["train", f"{LONG}.yaml"]])
def test_a_too_long_name_is_one_sentence(finished: Path, arguments: list[str]) -> None:
    told = call(*arguments)
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "this name is too long; expected at most 255 bytes for each part of a path" in told.err


def no_files_larger_than(size: int) -> None:
    """For the process of its own; Python ignores the signal, so that writing more is an error like a full disk's."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("size", "epochs", "what"),
    [
        (100_000, 0, "datasets/tiny/cache/train-24-gray-FINGERPRINT.npy"),
        (140_000, 1, "runs/tiny/1/checkpoint.ckpt"),
    ],
    ids=["in the cache", "in a checkpoint"],
)
def test_a_full_disk_is_one_line(
    tiny: Dataset, home: Workspace, tiny_file: Path, tmp_path: Path, size: int, epochs: int, what: str
) -> None:
    told = apart(tmp_path, mien, home.root, ["train", str(tiny_file)], partial(no_files_larger_than, size))
    file = home.root / what.replace("FINGERPRINT", tiny.card.fingerprint[:16])
    assert (told.code, told.out) == (1, "")
    assert told.err.splitlines()[epochs:] == [
        f"mien: {file}: there is no space left on the disk; go on with: mien train --resume tiny/1"
    ]
    run = find_run(home, "tiny/1")
    assert run.state == "failed"
    assert list(home.root.rglob("*.partial")) == []
    train(home, run, ["test"])
    assert run.state == "finished"
    assert run.history.read_text().count("\n") == 4


def test_a_folder_that_cannot_be_written_is_one_line(tiny: Dataset, home: Workspace, tiny_file: Path) -> None:
    # Nobody, root included, makes folders there.
    home.runs.symlink_to("/sys/kernel")
    told = call("train", tiny_file)
    assert told == (1, "", f"mien: {home.runs}/tiny: this can't be written or read (no permission)\n")


def test_a_report_for_a_paper_and_its_page_in_order(finished: Path) -> None:
    told = call("report", "tiny", "--format", "pdf")
    assert (told.code, told.err) == (0, "")
    figures = finished / "runs/tiny/1/figures"
    names = {path.stem for path in figures.glob("*.pdf")}
    drawn = ("confusion", "per-class", "reliability", "risk-coverage")
    assert names >= {"curves", *(f"{name}-report" for name in drawn)}
    assert names == {path.stem for path in figures.glob("*.txt")}
    assert (figures / "curves.txt").read_text().startswith("Training: loss and accuracy\ntiny/1 · protocol official")
    page = (finished / "runs/tiny/1/report.html").read_text()
    places = [page.index(f"<h2>{heading}") for heading in ("Report: test", "Training", "Calibration: report, test")]
    assert places == sorted(places)
    assert "no glyph" not in told.out + page
    assert call("report", "tiny").code == 0
    assert list(figures.glob("*.pdf")) == []
    wrong = call("report", "tiny", "--format", "eps")
    assert wrong.code == 2
    assert "'eps'" in wrong.err


def test_a_model_that_mien_ships_is_measured_by_its_name(home: Workspace) -> None:
    write_faces(home, "drawn", n=60, size=64, color="gray", seed=0)
    told = call("evaluate", "landmarks-small", "--dataset", "drawn", "--json")
    assert (told.code, told.err) == (0, "")
    by_file = call("evaluate", SHIPPED["landmarks-small"], "--dataset", "drawn", "--json").json
    # All rows of another data set; what the model was trained on isn't here to be looked into.
    assert (told.json["dataset"], told.json["split"], told.json["overlap"]) == (
        "drawn",
        "train + validation + test",
        None,
    )
    assert told.json["sizes"] == by_file["sizes"]
    assert told.json["n"] == 60
    assert Path(told.json["folder"]).parent == home.root / "models"
    nearly = call("evaluate", "landmark-small", "--dataset", "drawn")
    assert (nearly.code, nearly.err) == (
        2,
        f"mien: there is no run 'landmark-small'; expected a run in {home.runs}, or a model that mien ships. "
        "Did you mean 'landmarks-small'?\n",
    )


def test_what_is_published_is_not_called_interrupted(finished: Path, tmp_path: Path) -> None:
    assert call("report", "tiny", "--to", tmp_path / "tiny").code == 0
    assert find_run(Workspace(finished), str(tmp_path / "tiny")).state == "finished"
    told = call("evaluate", tmp_path / "tiny")
    assert (told.code, told.err) == (
        2,
        f"mien: {tmp_path / 'tiny'}: what is published of tiny are its numbers and pages, without weights; "
        "expected the run itself\n",
    )
    assert not (tmp_path / "tiny/manifest.json").exists()
