"""Compares models on the same rows: differences with their intervals and tests.

A contender is one run, or a seed group: several runs of one experiment that differ in nothing but the seed. Two single
models are compared by the rows that only one of them has right. A group is compared by its mean over seeds, and its
interval holds the chance of both seeds and rows.
"""

from mien.comparison.clean import without_copies
from mien.comparison.contenders import Contender, as_one, find_contender, foreign, group
from mien.comparison.disagreements import disagreements, write_galleries
from mien.comparison.landmarks import compare_points, point_tables
from mien.comparison.pairs import UNDECIDED, compare, describe_group
from mien.comparison.rows import same_task
from mien.comparison.tables import markdown, tables, write_comparison

__all__ = [
    "UNDECIDED",
    "Contender",
    "as_one",
    "compare",
    "compare_points",
    "describe_group",
    "disagreements",
    "find_contender",
    "foreign",
    "group",
    "markdown",
    "point_tables",
    "same_task",
    "tables",
    "without_copies",
    "write_comparison",
    "write_galleries",
]
