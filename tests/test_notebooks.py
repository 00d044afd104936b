"""Notebooks: each runs in a kernel of this Python, in a folder of its own, and its kept outputs are those of a run."""

import sys
from pathlib import Path

import nbformat
import pytest
from conftest import REPOSITORY
from nbclient import NotebookClient

NOTEBOOKS = sorted((REPOSITORY / "docs/notebooks").glob("*.ipynb"))


def kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each cell of code gives, by kind of output."""
    return [
        [kind for output in cell.outputs for kind in sorted(output.get("data", {output.get("name", "error"): ""}))]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.large
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("MIEN_HOME", raising=False)
    notebook = nbformat.read(file, 4)
    kept, n = kinds(notebook), file.stat().st_size
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.create_kernel_manager().kernel_spec.argv[0] = sys.executable
    client.execute()
    assert kinds(notebook) == kept
    # What someone left in by accident: another machine's paths, warnings, megabytes.
    text = file.read_text(encoding="utf-8")
    assert n < 400_000
    assert "Warning" not in text
    assert not any(part in text for part in ("/tmp/", "/home/", f"{REPOSITORY}/", str(Path.home())))
    assert "image/png" in {kind for cell in kept for kind in cell}


def test_there_are_two() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["first-steps", "photo"]
