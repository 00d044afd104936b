"""The rows on which two contenders disagree with the highest probabilities, as data and as pictures."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.comparison.contenders import Contender, aligned
from mien.comparison.pairing import pairing
from mien.data.contact_sheets import contact_sheet, pictures_of
from mien.data.dataset import Dataset, open_dataset
from mien.errors import MienError
from mien.files import write_bytes
from mien.intervals import percent
from mien.runs.predictions import told
from mien.workspace import Workspace

_KINDS = ("only {a} is right", "only {b} is right", "both are wrong")
_SHOWN = 6


@dataclass(frozen=True)
class Disagreement:
    """A row on which two contenders answer differently: its kind, and the answer and probability of each."""

    row: tuple[str, str]
    label: int
    kind: str
    said: tuple[int, int]
    surely: tuple[float, float]


def disagreements(a: Contender, b: Contender, most: int = _SHOWN) -> list[Disagreement]:
    """The rows that two contenders answer differently with the highest probabilities: `most` of each kind.

    The kinds are: only a is right, only b is, both are wrong. Rows are ordered by the smaller of the two
    probabilities; a seed group has its mean.
    """
    a, b = aligned([a, b])
    first = a.runs[0]
    given = a.probabilities, b.probabilities
    said = given[0].argmax(axis=1), given[1].argmax(axis=1)
    tops = given[0].max(axis=1), given[1].max(axis=1)
    surely = np.minimum(*tops)
    kinds = (said[0] == first.labels), (said[1] == first.labels), (said[0] != first.labels) & (said[1] != first.labels)
    found = []
    for kind, text in zip(kinds, _KINDS, strict=True):
        rows = np.flatnonzero(kind & (said[0] != said[1]))
        for row in rows[np.argsort(-surely[rows], kind="stable")][:most].tolist():
            found.append(
                Disagreement(
                    first.rows[row],
                    int(first.labels[row]),
                    text.format(a=a.name, b=b.name),
                    (int(said[0][row]), int(said[1][row])),
                    (float(tops[0][row]), float(tops[1][row])),
                )
            )
    return found


def write_galleries(
    workspace: Workspace, contenders: Sequence[Contender], baseline: str | None = None
) -> dict[tuple[str, str], Path]:
    """Write `comparisons/<a>-and-<b>.png` for each pair: the rows on which they disagree most surely, as pictures.

    The paths by pair of names; without pairs that never disagree, and {} where the data set is gone or has changed.
    """
    opened = _opened(workspace, contenders)
    if opened is None:
        return {}
    places = pairing([one.name for one in contenders], baseline)
    pairs = [(contenders[i], contenders[j]) for i, j in places]
    found = {(a.name, b.name): (a, b, disagreements(a, b)) for a, b in pairs}
    pictures = pictures_of(opened, {one.row for _, _, shown in found.values() for one in shown})
    written = {}
    for pair, (a, b, shown) in found.items():
        if not shown:
            continue
        classes = a.runs[0].classes
        captions = [
            "\n".join(
                [
                    f"{classes[one.label]}: {one.kind}",
                    f"{a.name}: {classes[one.said[0]]}, {100 * one.surely[0]:.1f} %",
                    f"{b.name}: {classes[one.said[1]]}, {100 * one.surely[1]:.1f} %",
                    f"row {told(one.row)}",
                ]
            )
            for one in shown
        ]
        share = max(a.contaminated or 0.0, b.contaminated or 0.0)
        title = f"{a.name} and {b.name} disagree" + (f" · contaminated: {percent(share)}" if share else "")
        path = workspace.root / "comparisons" / f"{_plain(a.name)}-and-{_plain(b.name)}.png"
        write_bytes(path, contact_sheet([[pictures[one.row]] for one in shown], captions, title))
        written[pair] = path
    return written


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._,-]+", "-", name)


def _opened(workspace: Workspace, contenders: Iterable[Contender]) -> Dataset | None:
    """The first contender's data set that is still what it was measured on."""
    for one in contenders:
        if one.dataset is not None:
            try:
                found = open_dataset(workspace, one.dataset[0])
            except MienError:
                continue
            if found.card.fingerprint == one.dataset[1]:
                return found
    return None
