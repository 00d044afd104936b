"""The large harness: `python -m tests.faults PART N [SEED]` writes results/faults/PART.json and results/faults.md.

A part is a module of this folder with `run(folder, seed, n)`, which yields a section after each case: `title`, `text`,
`columns`, `rows` and `failed`, the number of cases that went wrong.
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent.parent
RESULTS = TESTS.parent / "results"


def page() -> str:
    """All sections as Markdown."""
    from mien.comparison.tables import markdown_lines
    from mien.reading import read_json

    lines = ["# Faults", "", "Written by `python -m tests.faults`: what mien does when it is disturbed."]
    for file in sorted((RESULTS / "faults").glob("*.json")):
        section = read_json(file)
        lines += ["", f"## {section['title']}", "", section["text"], "", f"`{section['command']}`", ""]
        lines += markdown_lines(section["columns"], section["rows"], right=1)
    return "\n".join(lines) + "\n"


def main(part: str, n: str, seed: str = "0") -> int:
    """Run a part, and write its section and the page."""
    from mien.files import write_json, write_text

    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for section in importlib.import_module(f"faults.{part}").run(Path(folder), int(seed), int(n)):
            failed = section["failed"]
            write_json(
                RESULTS / "faults" / f"{part}.json", {**section, "command": f"python -m tests.faults {part} {n} {seed}"}
            )
            write_text(RESULTS / "faults.md", page())
    return int(failed > 0)


if __name__ == "__main__":
    # As pytest has it, also for the processes that are started.
    sys.path.insert(0, str(TESTS))
    os.environ.update(PYTHONPATH=os.pathsep.join([str(TESTS), str(TESTS.parent)]), OMP_NUM_THREADS="1")
    sys.exit(main(*sys.argv[1:]))
