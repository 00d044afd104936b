"""Tables on a terminal: none is wider than it, and no number is cut."""

import contextlib
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.cli.shared import print_table, stacked

COLUMNS = ("run", "state", "data set", "protocol", "epochs", "score to choose by", "score to report")
ROW = (
    "first-experiment/1",
    "finished",
    "fer2013",
    "official",
    "40/40",
    "0.476 [0.460, 0.493] PublicTest n 3,589",
    "0.482 [0.466, 0.499] PrivateTest n 3,589",
)


def shown(width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal of this width shows of a list of runs."""
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    with contextlib.redirect_stdout(out):
        print_table("runs", COLUMNS, [ROW], right=9)
    return out.getvalue()


def test_a_list_of_runs_fits_80_columns_and_cuts_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(80, monkeypatch).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [
        "runs",
        "",
        "first-experiment/1",
        "  state               finished",
        "  data set            fer2013",
        "  protocol            official",
        "  epochs              40/40",
        "  score to choose by  0.476 [0.460, 0.493] PublicTest n 3,589",
        "  score to report     0.482 [0.466, 0.499] PrivateTest n 3,589",
    ]
    assert any(line.split() == " ".join(ROW).split() for line in shown(250, monkeypatch).splitlines())


@settings(max_examples=50, deadline=None)
@given(st.integers(40, 120), st.lists(st.floats(0, 1), min_size=3, max_size=12))
def test_lines_are_broken_between_numbers_alone(width: int, values: list[float]) -> None:
    numbers = [f"{value:.3f}" for value in values]
    lines = stacked(("run", "each"), [("a/1", " ".join(numbers))], width)
    assert all(len(line) <= width for line in lines)
    assert re.findall(r"[\d.]+", " ".join(lines[2:])) == numbers
