"""The names of models that mien ships, where verbs and Python take a run or a file."""

from pathlib import Path

from mien.errors import MienError, nearest
from mien.inference.model import SHIPPED
from mien.workspace import Workspace


def named_model(home: Workspace, reference: str) -> str:
    """The file of the model that mien ships by this name, unless the workspace has runs of the name; else the name.

    Raises MienError for a name that is nearly such a model's, and no run's.
    """
    if reference in SHIPPED and not (home.runs / reference).is_dir():
        return str(SHIPPED[reference])
    names, meant = [path.name for path in home.runs.glob("*")], nearest(reference, SHIPPED)
    if meant and not nearest(reference.partition("/")[0], names) and not Path(reference).exists():
        raise MienError(
            f"there is no run '{reference}'",
            expected=f"a run in {home.runs}, or a model that mien ships",
            nearest=meant,
        )
    return reference
