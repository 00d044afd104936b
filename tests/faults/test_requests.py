"""A small part of the harness of hostile requests; `python -m tests.faults serve 1000` runs all of it."""

from pathlib import Path

from faults.serve import SENT, run_cases, target, wrong_at_the_end


def test_hostile_requests_are_refused_and_the_next_is_answered(tmp_path: Path) -> None:
    with target(tmp_path) as at:
        cases = run_cases(at, 4 * len(SENT), 5)
        assert [case for case in cases if case.wrong] == []
        assert {case.kind for case in cases} == set(SENT)
        assert wrong_at_the_end(at) == ""
