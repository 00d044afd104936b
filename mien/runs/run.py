"""A run: one folder that holds an experiment, how it was run, and what came out of it."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mien import trust
from mien.errors import FailedError, MienError, nearest
from mien.experiment.schema import Experiment, load_experiment
from mien.experiment.yamlfile import read_yaml
from mien.files import PUBLISHED, TakenError, locked, new_folder, write_json, write_text
from mien.reading import check, read_object, read_text
from mien.runs.stored import Environment, Listed, Plan, State, Status, read_metrics
from mien.tasks import EXPRESSION, OWN, Task
from mien.workspace import Workspace, check_name

# `name/1-5` or `name/1,2,5`: several runs of one name.
_GROUP = re.compile(r"(?P<name>[^/,]+)/(?P<numbers>[0-9]{1,9}(?:-[0-9]{1,9})?(?:,[0-9]{1,9}(?:-[0-9]{1,9})?)*)")
_MAX_GROUP = 1000
# Beside the runs of a name: the highest number of one that was removed, which isn't given again.
LAST = ".last"


class Run:
    """A run's folder, `runs/<experiment name>/<number>`, and the names of what stands in it."""

    def __init__(self, folder: Path, workspace: Workspace | None = None) -> None:
        self.folder = folder
        self._workspace = workspace

    @property
    def name(self) -> str:
        """The experiment's name and the run's number, as `cnn1/3`."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def workspace(self) -> Workspace:
        """The workspace whose data sets the run is on: the one that the user named, else that in which it stands."""
        return self._workspace or Workspace(self.folder.parent.parent.parent)

    @property
    def experiment_file(self) -> Path:
        """The resolved experiment."""
        return self.folder / "experiment.yaml"

    @property
    def weights(self) -> Path:
        """The trained weights, with what is needed to use them in the header."""
        return self.folder / "weights.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The state after the last whole epoch, to go on from; gone when the run has trained all its epochs."""
        return self.folder / "checkpoint.ckpt"

    @property
    def history(self) -> Path:
        """One line an epoch."""
        return self.folder / "history.csv"

    @property
    def epochs_done(self) -> int:
        """How many epochs the history tells of."""
        return max(read_text(self.history, "the history").count("\n") - 1, 0) if self.history.exists() else 0

    @property
    def stopped_early(self) -> bool:
        """Whether it is finished before its last epoch, and can go on from its checkpoint."""
        return (
            self.state == "finished"
            and self.checkpoint.exists()
            and self.epochs_done < int(self.listed["train"]["epochs"])
        )

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    def predictions(self, role: str) -> Path:
        """Row id, split, label and a logit a class of every row of a role."""
        return self.folder / "predictions" / f"{role}.parquet"

    @property
    def roles(self) -> Path:
        """Split, id and role of the rows that the run's protocol took out of whole splits; see `protocols.role_ids`."""
        return self.folder / "roles.parquet"

    def evaluation(self, protocol: str, dataset: str | None) -> Path:
        """The folder of what was measured under another protocol, or on another data set."""
        return self.folder / "evaluations" / (protocol if dataset is None else f"{protocol}@{dataset}")

    def metrics_file(self, role: str) -> Path:
        """`metrics.json` is the report role's; others have their role in the name."""
        return self.folder / ("metrics.json" if role == "report" else f"metrics-{role}.json")

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment that is stored here; imports every component, so torch, and runs its plugins."""
        return load_experiment(self.experiment_file, named=False)

    @property
    def task(self) -> Task:
        """The run's task; runs plugins only where it isn't one of mien's own."""
        return OWN.get(self.content.get("task", EXPRESSION)) or self.experiment.task

    @property
    def content(self) -> dict[str, Any]:
        """The stored experiment as plain data, for all that needs no component."""
        content: dict[str, Any] = read_yaml(self.experiment_file)[0]
        check(content, Plan, self.experiment_file, "the run's experiment")
        return content

    @property
    def listed(self) -> dict[str, Any]:
        """The same, which surely has its data set's name, its protocol's and its number of epochs."""
        content = self.content
        check(content, Listed, self.experiment_file, "the run's experiment")
        return content

    def measured(self) -> dict[str, Any]:
        """What `mien evaluate` measured on the reporting role; MienError where it hasn't."""
        if not (self.metrics_file("report").is_file() and self.predictions("report").is_file()):
            raise MienError(
                f"run {self.name} has not been measured on its reporting role",
                file=str(self.folder),
                expected=f"mien evaluate {self.name} first",
            )
        return read_metrics(self.metrics_file("report"))

    @property
    def environment(self) -> dict[str, Any]:
        """What is known of how the run was made."""
        return read_object(self.folder / "environment.json", Environment, "the run's environment")

    def write_environment(self, content: dict[str, Any]) -> None:
        """Replace `environment.json`."""
        write_json(self.folder / "environment.json", content)

    @property
    def published(self) -> bool:
        """Whether this is what everyone may see of a run elsewhere: numbers and pages, no weights."""
        return (self.folder / PUBLISHED).is_file() and not (self.folder / "status.json").is_file()

    @property
    def state(self) -> State:
        """How far the run is; "waiting" for others of its group, "interrupted" when its process died without a word."""
        try:
            state: State = read_object(self.folder / "status.json", Status)["state"]
        except (OSError, FailedError):
            return "finished" if self.published else "interrupted"
        if state == "running":
            lock = self.folder / ".lock"
            if not lock.exists():  # Looking makes no file.
                return "interrupted"
            with locked(lock) as alone:
                return "interrupted" if alone else "running"
        return state

    def set_state(self, state: State, reason: str | None = None) -> None:
        """Write the state, and why it came to it."""
        write_json(self.folder / "status.json", {"state": state, **({"reason": reason} if reason else {})})

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run while working on it; a second process that wants to is refused."""
        with locked(self.folder / ".lock") as alone:
            if not alone:
                raise MienError(f"another process is working on run {self.name}", file=str(self.folder))
            yield


def new_group(workspace: Workspace, experiments: Sequence[Experiment]) -> list[Run]:
    """New runs of one name that wait to be trained; all of them or, after an error, none."""
    made: list[Run] = []
    try:
        for experiment in experiments:
            made.append(new_run(workspace, experiment))
            made[-1].set_state("waiting")
    except BaseException:
        for run in made:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return made


def group_name(runs: Sequence[Run]) -> str:
    """How several runs of one name are called together, as `name/1-5` or `name/1,3`; one by its own name."""
    numbers = [int(run.folder.name) for run in runs]
    if len(runs) == 1:
        return runs[0].name
    in_row = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    told = f"{numbers[0]}-{numbers[-1]}" if in_row else ",".join(map(str, numbers))
    return f"{runs[0].folder.parent.name}/{told}"


def new_run(workspace: Workspace, experiment: Experiment) -> Run:
    """A new folder under the experiment's name, with the next number, the resolved experiment and its plugins."""
    parent = workspace.runs / check_name(experiment.name, "an experiment")
    number = max([last_removed(parent), *_numbers(parent)]) + 1
    while True:
        try:
            with new_folder(parent / str(number)) as folder:
                _fill(folder, experiment)
                trust.use(workspace)
                trust.remember(workspace, (folder / "plugins").glob("*.py"))
            return Run(parent / str(number))
        except TakenError:  # Another process took the number.
            number += 1


def last_removed(parent: Path) -> int:
    """The highest number of a run of one name that was removed, 0 where none was."""
    file = parent / LAST
    text = read_text(file).strip() if file.exists() else ""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0


def _fill(folder: Path, experiment: Experiment) -> None:
    copies = []
    for number, plugin in enumerate(experiment.plugins):
        copy = folder / "plugins" / Path(plugin).name
        if copy.exists():
            copy = copy.with_name(f"{number}_{copy.name}")
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(plugin, copy)
        copies.append(str(copy.relative_to(folder)))
    run = Run(folder)
    write_text(run.experiment_file, experiment.model_copy(update={"plugins": tuple(copies)}).to_yaml())
    run.set_state("running")


def find_run(workspace: Workspace, reference: str) -> Run:
    """The run that a path, a name (its latest finished run, else its latest) or `name/3` means."""
    trust.use(workspace)
    if (Path(reference) / "experiment.yaml").is_file():
        return Run(Path(reference).resolve(), workspace if workspace.named else None)
    name, _, number = reference.strip("/").partition("/")
    parent = workspace.runs / name
    if re.fullmatch(r"[1-9][0-9]*", number) and (parent / number / "experiment.yaml").is_file():
        return Run(parent / number)
    if not number and parent.is_dir():
        runs = [Run(parent / str(one)) for one in _numbers(parent)]
        finished = [run for run in runs if run.state == "finished"]
        if runs:
            return (finished or runs)[-1]
    known = [run.name for run in list_runs(workspace)]
    known += sorted({one.partition("/")[0] for one in known})
    raise MienError(
        f"there is no run '{reference}'",
        expected="a run's folder, its name, or name/number" if known else f"a run in {workspace.runs}",
        nearest=nearest(reference, [one for one in known if ("/" in one) == ("/" in reference)]),
    )


def is_group(reference: str) -> bool:
    """Whether a reference is of several runs, as `name/1-5` or `name/1,2,5`."""
    found = _GROUP.fullmatch(reference)
    return found is not None and bool(set(",-") & set(found["numbers"]))


def find_runs(workspace: Workspace, reference: str) -> list[Run]:
    """The runs of a group, `name/1-5` or `name/1,2,5`, or the one that `find_run` finds; each is there and once."""
    found = _GROUP.fullmatch(reference)
    if found is None or not is_group(reference):
        return [find_run(workspace, reference)]
    numbers: list[int] = []
    for part in found["numbers"].split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise MienError(f"'{part}' counts backwards", key=reference, expected=f"{last}-{first}")
        numbers += range(int(first), min(int(last or first), int(first) + _MAX_GROUP) + 1)
        if len(numbers) > _MAX_GROUP:
            raise MienError(f"'{reference}' names too many runs", expected=f"at most {_MAX_GROUP:,}")
    twice = next((number for place, number in enumerate(numbers) if number in numbers[:place]), None)
    if twice is not None:
        raise MienError(f"run {found['name']}/{twice} is named twice", key=reference)
    return [find_run(workspace, f"{found['name']}/{number}") for number in numbers]


def list_runs(workspace: Workspace) -> list[Run]:
    """All runs of the workspace, by name and number."""
    trust.use(workspace)
    parents = sorted(path for path in workspace.runs.glob("*") if path.is_dir())
    return [Run(parent / str(number)) for parent in parents for number in _numbers(parent)]


def _numbers(parent: Path) -> list[int]:
    found = [path.name for path in parent.glob("*") if re.fullmatch(r"[1-9][0-9]*", path.name)]
    return sorted(int(name) for name in found if (parent / name / "experiment.yaml").is_file())


def overview(run: Run) -> dict[str, Any]:
    """What `mien runs` lists of a run, as plain data; runs no plugin.

    Of a run with a damaged file only `run`, `state` and `error`, the file and what is wrong with it.
    """
    try:
        return _overview(run)
    except MienError as error:
        return {"run": run.name, "state": run.state, "error": error.as_dict()}


def _overview(run: Run) -> dict[str, Any]:
    content = run.listed
    return {
        "run": run.name,
        "state": run.state,
        "task": content.get("task", EXPRESSION),
        "dataset": content["dataset"]["name"],
        "protocol": content["protocol"]["name"],
        "epochs": content["train"]["epochs"],
        "epochs_done": run.epochs_done,
        **{
            role: read_metrics(run.metrics_file(role)) if run.metrics_file(role).exists() else None
            for role in ("choose", "report")
        },
    }
