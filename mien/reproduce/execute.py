"""Making what a plan lacks, one by one: data sets are cut, runs trained, each measured once under two protocols."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mien.cropping import crop_dataset
from mien.data.dataset import open_dataset
from mien.errors import MienError
from mien.explanation.execute import explain
from mien.explanation.storage import read
from mien.landmarks.predict import open_landmarker
from mien.progress import console
from mien.report.page import write_report
from mien.reproduce.paper import CUTS, EXPLAINED, REPORT, SHOWN
from mien.reproduce.plan import Planned, dataset_of, done, look_again
from mien.reproduce.scores import measured
from mien.runs.manifest import is_sealed, sealing
from mien.runs.run import Run, new_run
from mien.workflow import is_complete, measure, train_to_end
from mien.workspace import Workspace


def make(
    workspace: Workspace,
    plan: Sequence[Planned],
    only: Iterable[str],
    command: Sequence[str],
    *,
    training: bool = True,
) -> list[Planned]:
    """Train and measure what a plan lacks of the parts `only`; the plan as it is then.

    What fails is told, stays in the plan with its reason, and the others go on. Without `training` only finished runs
    are measured. What is measured already isn't measured again.
    """
    wanted = set(only)
    made, explained = [], False
    for planned in plan:
        if planned.part.name in wanted:
            try:
                if training:
                    planned = _trained(workspace, look_again(workspace, planned), command)
                if planned.state == "finished" and planned.run is not None and planned.part.kind != "step":
                    _measured(planned, planned.run, command)
                    if planned.part.name == EXPLAINED and not explained:
                        explained = True
                        _explained(workspace, planned.run, command)
            except MienError as error:
                console.print(f"{planned.name}: {error}")
                if planned.part.optional and planned.state == "new":
                    planned = replace(planned, state="left out", why=error.message)
                else:
                    planned = replace(planned, failed=True, why=error.message)
        made.append(planned)
    return made


def _trained(workspace: Workspace, planned: Planned, command: Sequence[str]) -> Planned:
    if planned.state == "finished" and planned.run is not None and not is_complete(planned.run):
        train_to_end(planned.run, command)  # A kill came before its page.
    if planned.state not in ("new", "begun") or planned.experiment is None:
        return planned
    name = planned.experiment.dataset.name
    if dataset_of(workspace, name) is None:
        cut(workspace, name)
    run = planned.run or new_run(workspace, planned.experiment)
    try:
        train_to_end(run, command)
    except MienError:
        # It never came to anything.
        if planned.run is None and run.state != "finished" and not run.checkpoint.exists():
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return replace(planned, state="finished", run=run, why="", epochs_done=done(run))


def cut(workspace: Workspace, name: str) -> None:
    """Cut a data set of CUTS by the points of its parent, where it has them, else by those of mien's own model."""
    parent, region = CUTS[name]
    whole = open_dataset(workspace, parent)
    crop_dataset(workspace, parent, region, name, "stored" if whole.has_points else open_landmarker(workspace))


def _measured(planned: Planned, run: Run, command: Sequence[str]) -> None:
    """Measure a run as far as it isn't yet."""
    if not run.metrics_file("report").is_file():
        measure(run, command)
    if not measured(planned):
        measure(run, command, protocol=REPORT)
    last = run.evaluation(REPORT, None) / "metrics.json"
    if not is_sealed(run, run.metrics_file("report"), *([last] if last.is_file() else [])):
        with sealing(run):  # A kill came between a measurement and its page.
            write_report(run.folder)


def _explained(workspace: Workspace, run: Run, command: Sequence[str]) -> None:
    """What the report shows and says of a net's inside, as `mien explain` makes it; what is stored isn't made again.

    Regions of an older mien, which didn't ask the first layers, are.
    """
    stored = {name: read(run, name) for name in SHOWN}
    wanted = [name for name, of in stored.items() if of is None or (name == "regions" and "layers" not in of[0])]
    if wanted:
        with sealing(run):
            explain(workspace, run, wanted, command=command)
