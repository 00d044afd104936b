"""A model that is a file and no run: an ONNX file, or the YAML of someone else's, and what was measured of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mien.errors import MienError
from mien.experiment.yamlfile import read_yaml
from mien.files import replacing
from mien.runs.run import Run, find_runs
from mien.runs.stored import read_metrics
from mien.tasks import OWN, Task, task_name
from mien.workspace import Workspace

# The endings of such files.
ENDINGS = (".onnx", ".yaml")


@dataclass(frozen=True)
class FileEvaluation:
    """What was measured of a file under one protocol on one data set, where a page looks for it in a run."""

    name: str
    folder: Path

    def metrics_file(self, role: str) -> Path:
        """The scores of its only role, report."""
        return self.folder / "metrics.json"

    def predictions(self, role: str) -> Path:
        """The rows with what the model said of them."""
        return self.folder / "predictions.parquet"


@dataclass(frozen=True)
class ModelFile:
    """A file's path, and its own folder in a workspace: `models/<name>-<digest>`; beside the file nothing is written.

    It has what evaluation and comparison ask of a run. Its folder is named by the content, so that another model of the
    same name has another.
    """

    path: Path
    workspace: Workspace

    @property
    def name(self) -> str:
        """The file's name, with its ending."""
        return self.path.name

    @cached_property
    def folder(self) -> Path:
        """Where what is measured of the file goes; raises MienError for a file that isn't there."""
        digest = hashlib.sha256()
        for file in self.files():
            if not file.is_file():
                raise MienError("there is no such file", file=str(file))
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return self.workspace.root / "models" / f"{self.path.stem}-{digest.hexdigest()[:8]}"

    def files(self) -> list[Path]:
        """The file, or the YAML beside it and what that names."""
        described = self.path.with_suffix(".yaml")
        if not described.is_file():
            return [self.path]
        content, _ = read_yaml(described)
        named = content.get("predictions") or content.get("model") or f"{self.path.stem}.onnx"
        return [described, self.path.parent / str(named)]

    def evaluation(self, protocol: str, dataset: str | None) -> Path:
        """The folder of what was measured under a protocol on a data set."""
        return self.folder / "evaluations" / f"{protocol}@{dataset}"

    def _latest(self) -> Path:
        """The folder of what was measured last."""
        found = sorted(self.folder.glob("evaluations/*/metrics.json"), key=lambda file: file.stat().st_mtime_ns)
        if not found:
            raise MienError(
                f"{self.name} has not been measured",
                file=str(self.path),
                expected=f"mien evaluate {self.name} --dataset NAME first",
            )
        return found[-1].parent

    def evaluated(self) -> FileEvaluation:
        """What `mien evaluate` measured last; MienError where it never did."""
        return FileEvaluation(self.name, self._latest())

    def measured(self) -> dict[str, Any]:
        """What `mien evaluate` measured last; MienError where it never did."""
        return read_metrics(self._latest() / "metrics.json")

    def predictions(self, role: str) -> Path:
        """The rows of the same evaluation with what the model said of them."""
        return self._latest() / "predictions.parquet"

    @property
    def environment(self) -> dict[str, Any]:
        """Nothing is known of how the model was made."""
        return {}

    @property
    def task(self) -> Task:
        """The task of what was measured."""
        return OWN[task_name(self.measured())]


def is_model_file(reference: str) -> bool:
    """Whether a reference is of a file and not of a run."""
    return Path(reference).suffix in ENDINGS


def find_measured(workspace: Workspace, reference: str) -> Sequence[Run | ModelFile]:
    """The runs that a reference means, or the file of a model."""
    return [ModelFile(Path(reference), workspace)] if is_model_file(reference) else find_runs(workspace, reference)


def write_seen(predictions: Path, rows: Sequence[tuple[str, str]]) -> None:
    """Store beside a file's predictions which rows, split and id, have an exact copy among what it has seen."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    splits, ids = ([row[place] for row in rows] for place in (0, 1))
    with replacing(predictions.with_name("seen.parquet")) as temporary:
        pq.write_table(pa.table({"split": pa.array(splits, pa.string()), "id": pa.array(ids, pa.string())}), temporary)


def read_seen(predictions: Path) -> list[tuple[str, str]] | None:
    """The rows that `write_seen` stored; None beside the predictions of a run."""
    from mien.parquet import read_table

    file = predictions.with_name("seen.parquet")
    if not file.is_file():
        return None
    table = read_table(file, ["split", "id"], "the rows that the model has seen")
    return list(zip(table["split"].to_pylist(), table["id"].to_pylist(), strict=True))
