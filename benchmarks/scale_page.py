"""Writes results/scale.md from the parts in results/scale: what several benchmarks found of sizes beyond this machine.

    python benchmarks/scale_page.py

A part is a JSON file with `title` and `text`, a section in Markdown, beside the numbers that the text is made of.
Sections stand in the order of their files' names.
"""

from pathlib import Path
from typing import Any

from mien.files import write_json, write_text
from mien.reading import read_json

RESULTS = Path(__file__).parent.parent / "results"


def write_part(name: str, title: str, text: str, found: dict[str, Any], results: Path = RESULTS) -> None:
    """Store a part, and write the page anew."""
    write_json(results / "scale" / f"{name}.json", {"title": title, "text": text, **found})
    write_page(results)


def write_page(results: Path = RESULTS) -> None:
    """Write the page from all parts that are there."""
    parts = [read_json(file) for file in sorted((results / "scale").glob("*.json"))]
    sections = "".join(f"\n## {part['title']}\n\n{part['text'].strip()}\n" for part in parts)
    write_text(results / "scale.md", f"# Beyond one machine: what was measured, and what follows from it\n{sections}")


if __name__ == "__main__":
    write_page()
