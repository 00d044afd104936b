"""A run: one folder that holds an experiment, how it was run, and what came out of it."""

import contextlib
import fcntl
import re
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mien.errors import MienError, nearest
from mien.experiment import Experiment, load_experiment
from mien.files import read_json, write_json, write_text
from mien.workspace import Workspace, check_name
from mien.yamlfile import read_yaml

State = Literal["running", "stopped", "failed", "interrupted", "finished"]


class Run:
    """A run's folder, `runs/<experiment name>/<number>`, and the names of what stands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The experiment's name and the run's number, as `cnn1/3`."""
        return f"{self.folder.parent.name}/{self.folder.name}"

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
        """The state after the last whole epoch, to go on from; gone when the run is finished."""
        return self.folder / "checkpoint.ckpt"

    @property
    def history(self) -> Path:
        """One line an epoch."""
        return self.folder / "history.csv"

    def predictions(self, role: str) -> Path:
        """Row id, split, label and a logit a class of every row of a role."""
        return self.folder / "predictions" / f"{role}.parquet"

    def metrics_file(self, role: str) -> Path:
        """`metrics.json` is the report role's; others have their role in the name."""
        return self.folder / ("metrics.json" if role == "report" else f"metrics-{role}.json")

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment that is stored here; runs its plugins."""
        return load_experiment(self.experiment_file)

    @property
    def environment(self) -> dict[str, Any]:
        """What is known of how the run was made."""
        content: dict[str, Any] = read_json(self.folder / "environment.json")
        return content

    def write_environment(self, content: dict[str, Any]) -> None:
        """Replace `environment.json`."""
        write_json(self.folder / "environment.json", content)

    @property
    def state(self) -> State:
        """How far the run is; "interrupted" says that its process died without a word."""
        try:
            state: State = read_json(self.folder / "status.json")["state"]
        except (OSError, ValueError, KeyError):
            return "interrupted"
        if state == "running":
            with self._lock() as alone:
                return "interrupted" if alone else "running"
        return state

    def set_state(self, state: State, reason: str | None = None) -> None:
        """Write the state, and why it came to it."""
        write_json(self.folder / "status.json", {"state": state, **({"reason": reason} if reason else {})})

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run while working on it; a second process that wants to is refused."""
        with self._lock() as alone:
            if not alone:
                raise MienError(f"another process is working on run {self.name}", file=str(self.folder))
            yield

    @contextlib.contextmanager
    def _lock(self) -> Iterator[bool]:
        # The system lets go of the lock when its process dies, however it dies.
        with (self.folder / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def new_run(workspace: Workspace, experiment: Experiment) -> Run:
    """A new folder under the experiment's name, with the next number, the resolved experiment and its plugins."""
    parent = workspace.runs / check_name(experiment.name, "an experiment")
    parent.mkdir(parents=True, exist_ok=True)
    number = max(_numbers(parent), default=0) + 1
    while True:
        folder = parent / str(number)
        try:
            folder.mkdir()
            break
        except FileExistsError:  # Another process took the number.
            number += 1
    try:
        return _filled(folder, experiment)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _filled(folder: Path, experiment: Experiment) -> Run:
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
    return run


def find_run(workspace: Workspace, reference: str) -> Run:
    """The run that a path, a name (its latest finished run, else its latest) or `name/3` means."""
    if (Path(reference) / "experiment.yaml").is_file():
        return Run(Path(reference).resolve())
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


def list_runs(workspace: Workspace) -> list[Run]:
    """All runs of the workspace, by name and number."""
    parents = sorted(path for path in workspace.runs.glob("*") if path.is_dir())
    return [Run(parent / str(number)) for parent in parents for number in _numbers(parent)]


def _numbers(parent: Path) -> list[int]:
    found = [path.name for path in parent.iterdir() if re.fullmatch(r"[1-9][0-9]*", path.name)]
    return sorted(int(name) for name in found if (parent / name / "experiment.yaml").is_file())


def overview(run: Run) -> dict[str, Any]:
    """What `mien runs` lists of a run, as plain data; runs no plugin."""
    content, _ = read_yaml(run.experiment_file)
    done = run.history.read_text(encoding="utf-8").count("\n") - 1 if run.history.exists() else 0
    return {
        "run": run.name,
        "state": run.state,
        "dataset": content["dataset"]["name"],
        "protocol": content["protocol"]["name"],
        "epochs": content["train"]["epochs"],
        "epochs_done": done,
        **{
            role: read_json(run.metrics_file(role)) if run.metrics_file(role).exists() else None
            for role in ("choose", "report")
        },
    }
