"""The plan of a reproduction: every part with its seeds, which runs exist already, and what stands in their way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mien.data.dataset import Dataset, list_datasets, open_dataset
from mien.errors import MienError
from mien.experiment.schema import Experiment, load_experiment
from mien.experiment.yamlfile import read_yaml
from mien.landmarks.predict import PACKAGED
from mien.reading import read_json
from mien.reproduce.paper import CUTS, DATA, PARTS, Part, experiment_file
from mien.runs.run import Run, list_runs
from mien.training import start_weights as pretrained
from mien.workspace import Workspace

# finished; trained by another process now; begun, to go on with; not begun; data set missing; not to be had here.
State = Literal["finished", "running", "begun", "new", "waits", "left out"]

# What doesn't change what is trained, only how it is called, computed, shown or measured besides.
_FREE = ("name", "explain", "tta", "plugins")
_FREE_OF_TRAINING = ("device", "devices", "nodes", "precision", "tensorboard")


@dataclass(frozen=True)
class Planned:
    """One run of a part: its seed and state; `why` says what stands in its way.

    `experiment` is None where its file can't be read. `failed` says that this command tried to train it; `why` is then
    the reason.
    """

    part: Part
    seed: int
    state: State
    experiment: Experiment | None = None
    run: Run | None = None
    why: str = ""
    epochs_done: int = 0
    failed: bool = False

    @property
    def name(self) -> str:
        """The run's name where there is a run, else the part's and the seed."""
        return self.run.name if self.run else f"{self.part.name}, seed {self.seed}"


def make_plan(workspace: Workspace, *, epochs: int | None = None, seeds: int | None = None) -> list[Planned]:
    """All runs of the report, in the order in which they are trained.

    `epochs` takes the place of the files' own; `seeds` of each part are wanted, else as many as the part says and
    whatever further ones are finished. A run counts as one of these when its resolved experiment and the fingerprint
    of its data set are equal, whatever it is called and however precisely it was computed.
    """
    there = _runs(workspace)
    plan: list[Planned] = []
    for part in PARTS:
        file = experiment_file(part)
        if file is None:
            plan.append(Planned(part, 42, "left out", why=f"there is no experiment file {part.name}.yaml"))
            continue
        changes = [] if epochs is None else [f"train.epochs={epochs}"]
        try:
            first = load_experiment(file, changes)
        except MienError as error:
            plan.append(Planned(part, 42, "left out", why=error.message))
            continue
        wanted = [
            first.train.seed + number for number in range(part.seeds if part.kind == "step" else seeds or part.seeds)
        ]
        if seeds is None:
            wanted += _further(first, wanted, there)
        plan += [_planned(workspace, part, _with_seed(first, seed), there) for seed in wanted]
    return plan


def look_again(workspace: Workspace, planned: Planned) -> Planned:
    """A planned run with its present state: another process may have trained it or cut its data set meanwhile."""
    if planned.experiment is None:
        return planned
    return _planned(workspace, planned.part, planned.experiment, _runs(workspace))


def _with_seed(experiment: Experiment, seed: int) -> Experiment:
    return experiment.model_copy(update={"train": experiment.train.model_copy(update={"seed": seed})})


def _further(first: Experiment, wanted: Sequence[int], there: Sequence[tuple[Run, Experiment]]) -> list[int]:
    """Further seeds that somebody has trained to the end."""
    found = {
        one.train.seed
        for run, one in there
        if one.train.seed not in wanted and same(_with_seed(first, one.train.seed), one) and run.state == "finished"
    }
    return sorted(found)


def _planned(
    workspace: Workspace, part: Part, experiment: Experiment, there: Sequence[tuple[Run, Experiment]]
) -> Planned:
    planned = Planned(part, experiment.train.seed, "new", experiment)
    dataset = dataset_of(workspace, experiment.dataset.name)
    mine = [run for run, one in there if same(experiment, one) and _on(run, dataset)]
    # The latest; of several that are finished one as precise as the file says, of others the one that went furthest.
    found: tuple[tuple[State, list[Run]], ...] = (
        ("finished", sorted((r for r in mine if r.state == "finished"), key=lambda r: _exact(r, experiment))),
        ("running", [run for run in mine if run.state == "running"]),
        ("begun", sorted((r for r in mine if r.state not in ("finished", "running")), key=done)),
    )
    for state, runs in found:
        if runs:
            run = runs[-1]
            why = "another process trains it" if state == "running" else _reason(run) if state == "begun" else ""
            return replace(planned, state=state, run=run, why=why, epochs_done=done(run))
    if dataset is None:
        name = experiment.dataset.name
        if name in CUTS and can_cut(workspace, CUTS[name][0]):
            return replace(planned, why=f"the data set {name} is cut first")
        return replace(planned, state="waits", why=f"no data set {name}: {DATA.get(name, f'import it as {name}')}")
    try:
        start = pretrained.find(experiment, workspace)
    except MienError as error:
        begun = str(getattr(experiment.model, "pretrained", ""))
        if begun.startswith("runs/"):
            return replace(planned, state="waits", why=f"it starts from run {begun.removeprefix('runs/')}")
        return replace(planned, state="left out", why=error.message.replace(f"{workspace.root}/", ""))
    if start is not None and start.path is None:
        return replace(planned, why="its start weights are downloaded first")
    return planned


def _runs(workspace: Workspace) -> list[tuple[Run, Experiment]]:
    """The runs of a workspace that can be read and use no plugin, with their experiments."""
    found = []
    for run in list_runs(workspace):
        try:
            if not read_yaml(run.experiment_file)[0].get("plugins"):
                found.append((run, run.experiment))
        except (MienError, OSError):
            continue
    return found


def same(one: Experiment, other: Experiment) -> bool:
    """Whether two experiments train the same weights; names, explanations, TTA, device and precision may differ."""
    return one.model.called == other.model.called and _plain(one) == _plain(other)


def _plain(experiment: Experiment) -> dict[str, Any]:
    content = experiment.model_dump(mode="json", exclude=set(_FREE))
    for key in _FREE_OF_TRAINING:
        content["train"].pop(key, None)
    if start := content["model"].get("pretrained"):
        content["model"]["pretrained"] = Path(start).name  # Wherever the file lies.
    return content


def _on(run: Run, dataset: Dataset | None) -> bool:
    """Whether a run's data set is this one, unchanged; true for a run that hasn't begun."""
    try:
        made = run.environment["dataset"]["fingerprint"]
    except (OSError, ValueError, KeyError):
        return run.state != "finished"
    return dataset is None or made == dataset.card.fingerprint


def _exact(run: Run, experiment: Experiment) -> bool:
    return run.experiment.train.precision == experiment.train.precision


def done(run: Run) -> int:
    """How many epochs of a run are done."""
    return run.epochs_done


def _reason(run: Run) -> str:
    if run.state != "failed":
        return ""
    told = read_json(run.folder / "status.json").get("reason")
    return f"it failed: {told}" if told else "it failed"


def dataset_of(workspace: Workspace, name: str) -> Dataset | None:
    """The data set of that name, None where there is none."""
    return open_dataset(workspace, name) if name in list_datasets(workspace) else None


def can_cut(workspace: Workspace, name: str) -> bool:
    """Whether a data set can be cut by region here: it has points of its own, or mien its landmark model."""
    dataset = dataset_of(workspace, name)
    return dataset is not None and (dataset.has_points or PACKAGED.is_file())
