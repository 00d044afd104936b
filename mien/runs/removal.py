"""Removing runs: folders that mien made, in this workspace, and nothing else; the workspace's ledger stays."""

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.errors import MienError
from mien.files import write_text
from mien.runs.run import LAST, Run, find_runs, group_name, last_removed, list_runs
from mien.workspace import Workspace

# What mien writes into a run's folder.
_OWN = re.compile(
    r"experiment\.yaml|(environment|status|manifest)\.json|\.lock|history\.csv|weights\.safetensors|checkpoint\.ckpt"
    r"|roles\.parquet|report\.html|evaluations\.jsonl|training\.log|metrics(-[a-z]+)?\.json"
    r"|classification_report\.[a-z]+|predictions|evaluations|figures|explain|plugins|tensorboard|\..*\.partial"
)


def removable(workspace: Workspace, references: Sequence[str]) -> list[Run]:
    """The runs that some references mean, each once, if all of them can be removed; else an error that says why not.

    Refused are a name without number, a run elsewhere, one on which a process works now, and one whose folder holds
    what mien didn't make.
    """
    found: dict[Path, Run] = {}
    for reference in references:
        runs = find_runs(workspace, reference)
        if "/" not in reference.strip("/"):
            every = [run for run in list_runs(workspace) if run.folder.parent.name == runs[0].folder.parent.name]
            raise MienError(f"'{reference}' doesn't say which run", expected=f"its number, as {group_name(every)}")
        found.update({run.folder.resolve(): run for run in runs})
    for folder, run in found.items():
        if folder != workspace.runs.resolve() / run.folder.parent.name / run.folder.name or run.folder.is_symlink():
            raise MienError(
                f"run {run.name} isn't in this workspace",
                file=str(run.folder),
                expected=f"one in {workspace.runs}, or another --workspace",
            )
        other = sorted(path.name for path in folder.iterdir() if not _OWN.fullmatch(path.name))
        if other:
            raise MienError(
                f"the folder of run {run.name} holds what mien didn't make: {', '.join(other)}",
                file=str(run.folder),
                expected="those files moved elsewhere",
            )
        with run.working():
            pass
    return list(found.values())


def remove(runs: Sequence[Run]) -> Iterator[Run]:
    """Remove runs that `removable` gave, each when it is asked for; no later run gets its number.

    The workspace's ledger keeps who asked for reporting rows, and still means the run that is gone.
    """
    for run in runs:
        with run.working():
            parent = run.folder.parent
            write_text(parent / LAST, f"{max(int(run.folder.name), last_removed(parent))}\n")
            gone = run.folder.with_name(f".{run.folder.name}.partial")
            run.folder.rename(gone)
            shutil.rmtree(gone)
        yield run


def size(run: Run) -> int:
    """How many bytes a run's folder takes."""
    return sum(path.lstat().st_size for path in run.folder.rglob("*") if path.is_file())
