"""A small part of the harness of damaged files; `python -m tests.faults damage 1000` runs all of it."""

import json
import sys
from pathlib import Path

import pytest
from verbs import apart

sys.path.insert(0, str(Path(__file__).parent))
from damage import KINDS, run_cases


def some(folder: Path) -> None:
    """Print what three files of each kind came to, as JSON."""
    cases = run_cases(folder, 3 * len(KINDS), 7, slow=0.0, tell=lambda _: None)
    wrong = [str(case) for case in cases if case.wrong]
    print(json.dumps([wrong, sorted({case.kind for case in cases}), sorted({case.code for case in cases})]))


@pytest.mark.large
def test_damaged_files_are_said_in_a_sentence(tmp_path: Path) -> None:
    # In a process of its own, whose memory is that of the cases alone.
    told = apart(tmp_path, some, tmp_path / "cases")
    assert told.code == 0, told.err
    assert json.loads(told.out) == [[], sorted(KINDS), [0, 1, 2]]
