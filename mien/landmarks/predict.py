"""The landmark model that is used on photos and data sets: the one that mien ships, or a run's."""

from mien.inference.model import SHIPPED, Model, load_run, load_shipped
from mien.runs.run import find_run
from mien.tasks import LANDMARKS, require
from mien.workspace import Workspace

NAME = "landmarks-small"
# Its licence and card stand beside it.
PACKAGED = SHIPPED[NAME]


def open_landmarker(workspace: Workspace, reference: str | None = None, *, threads: int | None = None) -> Model:
    """The landmark model that a reference of a run means, or without one the one that mien ships, on so many threads.

    Raises MienError for a run that isn't there, isn't finished, or is on expressions.
    """
    if reference is None:
        return load_shipped(NAME, threads)
    run = find_run(workspace, reference)
    require(run.task, LANDMARKS, run.name, str(run.folder))
    return load_run(run)
