"""Evaluation: what a run makes of a role's rows, and the numbers of it. The one place that opens the report role."""

from collections.abc import Sequence
from typing import Any

from mien.protocols import Role
from mien.registry import Component
from mien.runs.run import Run
from mien.tasks import resolve
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
