"""What verbs, notebooks, a server and sweeps have in common: new runs, trained to their end, measured, explained.

Every function takes the command that it is called by, as the run's record and the ledger keep it.
"""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mien.data.dataset import list_datasets, open_dataset
from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.evaluation import evaluate, evaluate_file
from mien.experiment.building import check, located, scheme_for
from mien.experiment.schema import Experiment, load_experiment, read_protocol
from mien.experiment.yamlfile import parse_value
from mien.explanation.execute import explain
from mien.files import sweep
from mien.inference.model import own_weights
from mien.protocols import folds as number_of_folds
from mien.report.explain_page import sentences
from mien.report.page import write_report
from mien.runs.epochs import Epoch
from mien.runs.manifest import is_sealed, sealing
from mien.runs.model_file import ModelFile
from mien.runs.run import Run, find_runs, list_runs, new_group, new_run
from mien.runs.stored import read_metrics
from mien.training.devices import check_started
from mien.training.fit import check_epochs, train
from mien.training.start_weights import check as check_start
from mien.training.teachers import find_teachers
from mien.workspace import Workspace

_DRAWN: dict[str, Any] = {"n": 4000, "size": 48, "color": "gray", "seed": 0}
# What a run that goes on may have another of: its weights depend on the first alone.
_CHANGED_ON_THE_WAY = ("train.epochs", "train.devices", "train.nodes")


class Outcome(NamedTuple):
    """A run that was just measured: what `metrics.json` holds of the role, and the report page."""

    run: Run
    metrics: dict[str, Any]
    page: Path


def new_runs(
    workspace: Workspace, file: Path, overrides: Sequence[str] = (), *, seeds: int | None = None, folds: bool = False
) -> list[Run]:
    """New runs of an experiment, every part of it checked: one, or one for each of `seeds`, or for each fold.

    Raises MienError, with the file and line of the key, for what can't be trained; then there is no new run.
    """
    group = checked(workspace, file, overrides, seeds=seeds, folds=folds)
    return new_group(workspace, group) if seeds or folds else [new_run(workspace, group[0])]


def checked(
    workspace: Workspace, file: Path, overrides: Sequence[str], *, seeds: int | None = None, folds: bool = False
) -> list[Experiment]:
    """The experiments that `new_runs` makes runs of."""
    if seeds and folds:
        raise MienError("--seeds and --folds exclude each other", expected="one of them")
    experiment = load_experiment(file, overrides)
    try:
        dataset = open_dataset(workspace, experiment.dataset.name)
    except MienError as error:
        error.key = error.key or "dataset.name"
        raise located(error, file, overrides) from error
    changes: list[str] = []
    try:
        if seeds:
            first = experiment.train.seed
            changes = [f"train.seed={seed}" for seed in range(first, first + seeds)]
        elif folds:
            changes = [f"protocol.fold={fold}" for fold in range(number_of_folds(experiment.protocol, dataset))]
        group = [load_experiment(file, [*_without(overrides, change), change]) for change in changes] or [experiment]
        for one in group:
            check(one, dataset)
        check_started(experiment.train)
        check_start(experiment, scheme_for(experiment, dataset), workspace)
        find_teachers(experiment, dataset, workspace)
    except MienError as error:
        raise located(error, file, overrides) from error
    return group


def _without(overrides: Sequence[str], change: str) -> list[str]:
    """The overrides without one of the key that a change sets."""
    key = change.partition("=")[0]
    return [override for override in overrides if override.partition("=")[0] != key]


def listed_runs(
    workspace: Workspace, files: Sequence[Path], overrides: Sequence[str] = (), *, seeds: int | None = None
) -> list[Run]:
    """A run for each experiment of a list and each of its seeds: one that is there, finished or not, else a new one.

    It is there where a run on the same data that hasn't failed holds just the same experiment. Raises MienError as
    `new_runs`, before there is any new run.
    """
    kept = [run for run in list_runs(workspace) if run.state != "failed"]
    kept.sort(key=lambda run: run.state != "finished")
    listed = [one for file in files for one in checked(workspace, file, overrides, seeds=seeds)]
    there = [next((run for run in kept if _holds(run, workspace, one)), None) for one in listed]
    missing = [one for one, run in zip(listed, there, strict=True) if run is None]
    made = iter(new_group(workspace, missing))
    return [run or next(made) for run in there]


def _holds(run: Run, workspace: Workspace, experiment: Experiment) -> bool:
    """Whether a run is of just this experiment, on the data set as it is now, or hasn't begun."""
    if run.folder.parent.name != experiment.name or run.experiment_file.read_text() != experiment.to_yaml():
        return False
    fingerprint = open_dataset(workspace, experiment.dataset.name).card.fingerprint
    return not (run.folder / "environment.json").is_file() or run.environment["dataset"]["fingerprint"] == fingerprint


def unfinished(workspace: Workspace, reference: str, overrides: Sequence[str] = ()) -> tuple[list[Run], dict[str, int]]:
    """The runs of a reference that lack something, and what of `train` is to be another: epochs, devices, nodes.

    They have epochs to go, or a kill or a full disk came before the choose role's numbers or the page. Of `overrides`
    there may be `train.epochs=N`, `train.devices=N` and `train.nodes=N` alone, and that for a single run; with the
    first a run that had stopped early goes on.
    """
    runs = find_runs(workspace, reference)
    for run in runs:
        sweep(run.folder)  # Of a finished one nothing is written that would do it.
    left = [run for run in runs if not is_complete(run)]
    if len(runs) == 1 and overrides and runs[0].stopped_early:
        if runs[0].metrics_file("report").exists() or (runs[0].folder / "evaluations").exists():
            raise MienError(
                f"run {runs[0].name} has been measured on its reporting role, and would no more be what was measured",
                file=str(runs[0].folder),
                expected=_from_weights(workspace, runs[0]),
            )
        left = runs
    if not left:
        raise _finished(workspace, reference, runs)
    changes: dict[str, int] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        if len(runs) > 1:
            raise MienError(f"'{override}' can't be changed on the way", key=key, expected="the stored experiments")
        if key not in _CHANGED_ON_THE_WAY:
            raise MienError(
                f"'{override}' can't be changed on the way",
                key=key,
                expected="the stored experiment; only train.epochs=N, train.devices=N, train.nodes=N can be given "
                "to --resume",
            )
        if left[0].state == "finished" and not left[0].stopped_early:
            raise MienError(f"run {left[0].name} has no epochs to go", key=key, expected="--resume without it")
        number = parse_value(value)
        if key == "train.epochs":
            check_epochs(left[0], number)
        elif not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise MienError(f"{value} can't stand here", key=key, expected="a number, at least 1")
        changes[key.removeprefix("train.")] = number
    return left, changes


def _finished(workspace: Workspace, reference: str, runs: Sequence[Run]) -> MienError:
    """That there is nothing to go on with, and how more epochs are had."""
    if len(runs) > 1:
        return MienError(f"runs {reference} are finished", file=str(runs[0].folder), expected="a run that was stopped")
    (run,) = runs
    if not run.stopped_early:
        return MienError(f"run {run.name} is finished", file=str(run.folder), expected=_from_weights(workspace, run))
    epochs = run.listed["train"]["epochs"]
    return MienError(
        f"run {run.name} is finished: it stopped early, after epoch {run.epochs_done} of {epochs}",
        file=str(run.folder),
        expected=f"mien train --resume {run.name} train.epochs={epochs}, and its patience is counted anew",
    )


def _from_weights(workspace: Workspace, run: Run) -> str:
    """What to type for a new run that starts from a finished one's weights."""
    here = run.folder.parent.parent == workspace.runs
    source = f"runs/{run.name}" if here else str(run.folder)
    command = shlex.join(["mien", "train", str(run.experiment_file), f"model.pretrained={source}"])
    return f"a new run that starts from its weights: {command}"


def _measured(run: Run) -> bool:
    return run.metrics_file("choose").is_file() and run.predictions("choose").is_file()


def is_complete(run: Run) -> bool:
    """Whether a run is finished and lacks nothing that can be made of its weights."""
    if run.state != "finished":
        return False
    return not run.weights.is_file() or (_measured(run) and run.page.is_file() and is_sealed(run, run.page))


def train_to_end(
    run: Run,
    command: Sequence[str],
    *,
    epochs: int | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    stop_after: float | None = None,
) -> Outcome:
    """Train a run from where it stands, measure its choose role, explain what its experiment names, write its page.

    Of a finished run only what is missing is made; the page comes last, so where it stands all is there. `epochs`,
    `devices` and `nodes` replace the experiment's. `on_epoch` is called after each epoch, when its state is saved; what
    it raises stops the training, which can go on later; so does `stop_after`, in minutes, by a TimeUpError. The
    reporting role stays closed.
    """

    def measure_choose() -> dict[str, Any]:
        return evaluate(run.workspace, run, "choose")

    with sealing(run):
        if run.state != "finished" or (epochs is not None and run.stopped_early):
            train(
                run.workspace,
                run,
                command,
                epochs=epochs,
                devices=devices,
                nodes=nodes,
                on_epoch=on_epoch,
                stop_after=stop_after,
                measure=measure_choose,
            )
        else:
            if not run.stopped_early:
                run.checkpoint.unlink(missing_ok=True)  # A kill came before that.
            if not _measured(run):
                measure_choose()
        if run.experiment.explain:
            explain(run.workspace, run)
        return Outcome(run, read_metrics(run.metrics_file("choose")), write_report(run.folder))


def measure(run: Run, command: Sequence[str], *, protocol: str | None = None, dataset: str | None = None) -> Outcome:
    """Measure a finished run on its reporting role and write its page; the ledger keeps who asked.

    With `protocol` (a name, a YAML file or its keys) the report rows of another one, with `dataset` those of another
    data set, classes matched by name.
    """
    other = read_protocol(protocol)[0] if protocol is not None else None
    if run.published:
        own_weights(run)  # Said before anything that its data set may lack.
    with sealing(run):
        metrics = evaluate(run.workspace, run, protocol=other, dataset=dataset, command=command)
        return Outcome(run, metrics, write_report(run.folder))


def measure_file(
    file: ModelFile, command: Sequence[str], *, protocol: str | None = None, dataset: str | None = None
) -> dict[str, Any]:
    """Measure the file of a model that is no run on the report rows of a data set; the ledger keeps who asked."""
    other = read_protocol(protocol)[0] if protocol is not None else None
    return evaluate_file(file, protocol=other, dataset=dataset, command=command)


def explain_run(run: Run, names: Sequence[str], command: Sequence[str], **wanted: Any) -> dict[str, Any]:
    """What `mien.explanation.execute.explain` gives, the run's page written with it; `said` are sentences by name."""
    with sealing(run):
        made = explain(run.workspace, run, names, command=command, **wanted)
        page = write_report(run.folder)
    said = {name: words for name, words in sentences(run).items() if name in made["explanations"]}
    pictures = sorted(map(str, (run.folder / "explain").glob("*.png")))
    return {**made, "pictures": pictures, "report": str(page), "said": said}


def run_demo(workspace: Workspace, command: Sequence[str]) -> Outcome:
    """The whole road on drawn faces: draw the data set `demo` unless it is there, train CNN 1 on it, measure it."""
    if "demo" not in list_datasets(workspace):
        write_faces(workspace, "demo", **_DRAWN)
    elif open_dataset(workspace, "demo").card.details.get("drawn") != _DRAWN:
        raise MienError(
            "there is another data set called 'demo' here",
            file=str(workspace.datasets / "demo"),
            expected="another --workspace for the demo",
        )
    (run,) = new_runs(workspace, Path(__file__).with_name("demo.yaml"))
    train_to_end(run, command)
    return measure(run, command)
