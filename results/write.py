"""Writes the pages of published runs: `mien.report.results` says which; those of reproductions anew as well."""

from pathlib import Path

from mien.report.results import write_results
from mien.reproduce import write_again

if __name__ == "__main__":
    root = Path(__file__).parent.parent
    for file in sorted((root / "results").glob("*/reproduction.json")):
        write_again(file.parent)
    write_results(root)
