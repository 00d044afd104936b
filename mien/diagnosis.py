"""What is missing or damaged in a run or a workspace, and what can be made again: what `mien doctor` tells."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mien.data.dataset import list_datasets, open_dataset
from mien.errors import FailedError, MienError
from mien.explanation import storage
from mien.extras import is_installed
from mien.inference.weights import read_header
from mien.parquet import read_table
from mien.reading import read_object, read_text
from mien.report.reading import read_history
from mien.runs.ledger import entries
from mien.runs.manifest import changes
from mien.runs.predictions import read_predictions
from mien.runs.rows import own_dataset
from mien.runs.run import Run, list_runs
from mien.runs.stored import Status, read_metrics
from mien.workspace import Workspace


class Finding(NamedTuple):
    """A file of a run, below its folder, what is wrong with it, and what makes it again; "" where nothing does."""

    file: str
    problem: str
    mend: str


_NEEDS = {"the data set": "environment.json", "history.csv": "experiment.yaml", "predictions": "experiment.yaml"}


def examine(run: Run, *, thorough: bool = True) -> list[Finding]:
    """What is missing or damaged in a run's folder, each file once, in the order of its making.

    A `thorough` look also compares the digests of all files, and those of the data set's shards.
    """
    found: dict[str, Finding] = {}
    for name, look in _looks(run, thorough):
        # What can't be known without another file isn't said to be wrong.
        if _NEEDS.get(name.partition("/")[0]) in found:
            continue
        try:
            look()
        except FileNotFoundError:
            found[name] = Finding(name, "missing", _mend(run, name))
        except (MienError, OSError) as error:
            told = error.message if isinstance(error, MienError) else error.strerror or str(error)
            key = f"{error.key}: " if isinstance(error, MienError) and error.key else ""
            found[name] = Finding(name, key + told, _mend(run, name))
    try:
        differing = changes(run) if thorough else {}
    except MienError as error:
        found["manifest.json"] = Finding(
            "manifest.json", error.message, f"mien report {run.name}, once all else is mended"
        )
        differing = {}
    for name, problem in differing.items():
        if name not in found:
            told = "missing" if problem == "missing" else "it isn't as it was written"
            found[name] = Finding(name, told, _mend(run, name))
    return list(found.values())


def _looks(run: Run, thorough: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each file that a run should have, and what reads it."""
    finished = run.state == "finished"
    yield "experiment.yaml", lambda: run.listed
    yield "status.json", lambda: read_object(run.folder / "status.json", Status, "the state")
    yield "environment.json", lambda: run.environment
    yield "the data set", lambda: own_dataset(run).verify() if thorough else own_dataset(run)
    if finished or run.history.exists():
        yield "history.csv", lambda: _history(run)
    if run.roles.exists():
        yield "roles.parquet", lambda: read_table(run.roles, ["split", "id", "role"], "the rows of the roles")
    # Only a training goes on from it, and needs what can read it.
    if run.checkpoint.exists() and is_installed("torch"):
        from mien.training.fit import epochs_done

        yield "checkpoint.ckpt", lambda: epochs_done(run)
    if finished or run.weights.exists():
        yield "weights.safetensors", lambda: read_header(run.weights)
    for role in ("choose", "report"):
        metrics, predictions = run.metrics_file(role), run.predictions(role)
        if metrics.exists() or predictions.exists() or (role == "choose" and finished):
            yield metrics.name, lambda file=metrics: read_metrics(file)  # type: ignore[misc]
            yield f"predictions/{role}.parquet", lambda file=predictions: _predictions(run, file)  # type: ignore[misc]
    if (run.folder / "evaluations.jsonl").exists():
        yield "evaluations.jsonl", lambda: entries(run.folder)
    for file in sorted(storage.folder(run).glob("*.json")):
        yield f"explain/{file.name}", lambda name=file.stem: storage.read(run, name)  # type: ignore[misc]
    if finished:
        yield "report.html", lambda: read_text(run.folder / "report.html", "the page")


def _history(run: Run) -> None:
    if read_history(run.history, run.task.score.key) is None:
        if not run.history.is_file():
            raise FileNotFoundError
        raise FailedError("it tells of no epoch")


def _predictions(run: Run, file: Any) -> None:
    if run.task.classes:
        read_predictions(file)
    else:
        read_table(file, what="the predictions")


def _mend(run: Run, name: str) -> str:
    """The command that makes a file again; "" for what only another training makes."""
    resume = f"mien train --resume {run.name}"
    if name in ("experiment.yaml", "environment.json", "weights.safetensors", "roles.parquet", "evaluations.jsonl"):
        return ""
    if name == "the data set":
        return "import it again, from the same source"
    if name == "checkpoint.ckpt":
        return f"remove it, then {resume} begins anew"
    if name == "status.json":
        return resume
    if name.startswith("plugins/") or name == "history.csv":
        return ""
    if name.startswith("explain/"):
        return f"mien explain {run.name}"
    if "-choose" in name or name == "predictions/choose.parquet":
        return f"mien report {run.name}" if name.startswith("figures/") else resume
    if name in ("metrics.json", "predictions/report.parquet", "predictions/report-tta.parquet"):
        return f"mien evaluate {run.name}"
    if name.startswith("evaluations/"):
        return f"mien evaluate {run.name}, with the same --protocol and --dataset"
    return f"mien report {run.name}"


def broken(workspace: Workspace) -> list[tuple[str, str]]:
    """The runs and data sets of a workspace that have a file missing or damaged, and what is said of them in short."""
    found = []
    for name in list_datasets(workspace):
        try:
            open_dataset(workspace, name)
        except MienError as error:
            found.append((f"data set {name}", str(error)))
    for run in list_runs(workspace):
        if findings := examine(run, thorough=False):
            found.append((f"run {run.name}", f"{findings[0].file}: {findings[0].problem}; mien doctor {run.name}"))
    return found
