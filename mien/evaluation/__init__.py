"""Evaluation: what a run makes of a role's rows, and the numbers of it. The one place that opens the report role."""

from collections.abc import Sequence
from typing import Any

from mien.errors import MienError
from mien.protocols import Role
from mien.registry import Component
from mien.runs.model_file import ModelFile
from mien.runs.run import Run
from mien.tasks import OWN, resolve
from mien.workspace import Workspace


def evaluate(
    workspace: Workspace,
    run: Run,
    role: Role = "report",
    *,
    protocol: Component | None = None,
    dataset: str | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure a finished run on a role; writes the predictions and the metrics into the run.

    The rows are those of the run's own protocol and data set, or the report rows of another protocol or another data
    set; what the model has seen of them is always told by what this run was fit and chosen on. Asking for the report
    role is written into the ledger before anything is measured. Returns what `metrics.json` holds. Raises MienError for
    a run without weights or a data set that has changed.
    """
    result: dict[str, Any] = resolve(run.experiment.task.evaluate)(workspace, run, role, protocol, dataset, command)
    return result


def evaluate_file(
    file: ModelFile, *, protocol: Component | None = None, dataset: str | None = None, command: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure the file of a model on the report rows of a data set; see `mien.evaluation.request` for which.

    The ledger keeps who asked, as for runs; predictions and metrics go into the file's folder in the workspace. Raises
    MienError for a file that can't be used, or whose task only a plugin has.
    """
    from mien.inference.model import load_file

    task = load_file(file.path).task
    if task not in OWN:
        raise MienError(f"the task '{task}' of {file.name} is a plugin's", file=str(file.path), expected="its run")
    result: dict[str, Any] = resolve(OWN[task].evaluate)(file.workspace, file, "report", protocol, dataset, command)
    return result
