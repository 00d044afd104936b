"""Writes results/README.md, the README's tables and the experiments' first lines: see `mien.report.results`."""

from pathlib import Path

from mien.report.results import write_results

if __name__ == "__main__":
    write_results(Path(__file__).parent.parent)
