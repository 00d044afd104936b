"""What `import mien` gives: the verbs as functions, and what they answer as small typed things that a notebook shows.

To look at runs, scores and predictions takes no torch. The examples run in a workspace with a drawn data set `drawn`
and two measured runs, `first/1` and `first/2`.
"""

from mien.api.folders import Dataset, Run, Workspace
from mien.api.results import Comparison, Explanation, Figure, Metrics, Pair, Score, Table
from mien.api.verbs import (
    compare,
    draw_dataset,
    evaluate,
    explain,
    import_dataset,
    load,
    open_workspace,
    resume,
    train,
)
from mien.errors import MienError
from mien.runs.epochs import Epoch

__all__ = [
    "Comparison",
    "Dataset",
    "Epoch",
    "Explanation",
    "Figure",
    "Metrics",
    "MienError",
    "Pair",
    "Run",
    "Score",
    "Table",
    "Workspace",
    "compare",
    "draw_dataset",
    "evaluate",
    "explain",
    "import_dataset",
    "load",
    "open_workspace",
    "resume",
    "train",
]
