"""A small part of the harness of sources; `python -m tests.faults imports 2000` runs all of it."""

import random
from pathlib import Path

from faults.imports import run_cases
from faults.oddities import ODDITIES
from faults.public_sources import BUILDERS


def test_a_source_is_read_as_it_is_or_refused(tmp_path: Path) -> None:
    cases = run_cases(tmp_path, 60, 7)
    assert [case for case in cases if case.wrong] == []
    assert {case.kind for case in cases} == set(BUILDERS)
    assert {case.code for case in cases} == {0, 2}


def test_every_oddity_has_a_source_that_it_fits(tmp_path: Path) -> None:
    """Else it would be one that is never tried."""
    fitting = set()
    for kind, seed in (
        ("class folders", 3),
        ("class folders", 4),
        ("RAF-DB", 3),
        ("save_to_disk", 5),
        ("Parquet by split", 1),
    ):
        for oddity in ODDITIES:
            built = BUILDERS[kind](tmp_path / f"{kind} {seed}" / oddity.__name__, random.Random(seed))
            if any(oddity(built, random.Random(number)) for number in range(3)):
                fitting.add(oddity)
                assert built.told
    assert fitting == set(ODDITIES)
