"""A small part of the harness of damaged files; `python -m tests.faults damage 1000` runs all of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from damage import KINDS, run_cases


@pytest.mark.large
def test_damaged_files_are_said_in_a_sentence(tmp_path: Path) -> None:
    cases = run_cases(tmp_path, 3 * len(KINDS), 7, slow=0.0)
    assert [case for case in cases if case.wrong] == []
    assert {case.kind for case in cases} == set(KINDS)
    assert {case.code for case in cases} == {0, 1, 2}
