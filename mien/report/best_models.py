"""The table of the models that ship, beside what people use today: from the numbers of `benchmarks/best.py`."""

from collections.abc import Mapping
from typing import Any

from mien.intervals import with_interval
from mien.report.wording import scored


def best_caption(measured: Mapping[str, Any]) -> str:
    """What the table of `best_table` is of."""
    first = measured["rows"][0]
    return (
        f"{measured['split']} of {measured['dataset']}, n = {first['all']['n']:,}, without exact copies of Training "
        f"n = {first['clean']['n']:,}; no detector, one view. Brackets are 95 % intervals; of several seeds the mean "
        f"is told. Less {measured['best_peer']}: paired, in points. Faces a second: one thread, one at a time, "
        f"{measured['machine']['cpu']}."
    )


def best_table(measured: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Columns and rows of the models that ship, beside others on the same rows; see `benchmarks/best.py`."""
    by = {of["name"]: of["faces_per_second"] for of in measured["speeds"] if of["threads"] == of["batch"] == 1}
    best = measured["best_peer"]

    def less(of: Mapping[str, Any]) -> str:
        found = of.get("less_best")
        return with_interval(found["value"], found["interval"], "+.1f", scale=100) if found else "–"

    columns = ("model", "kB", "seeds", "accuracy", f"less {best}", "without copies", f"less {best}", "faces a second")
    rows = [
        [
            one["name"],
            f"{one['bytes'] / 1000:,.0f}",
            ", ".join(map(str, one["seeds"] or ())) or "–",
            scored(one["all"]),
            less(one["all"]),
            scored(one["clean"]),
            less(one["clean"]),
            f"{by[one['name']]:,.0f}",
        ]
        for one in measured["rows"]
    ]
    return columns, rows
