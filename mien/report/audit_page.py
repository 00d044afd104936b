"""The audit of a data set as one HTML file: findings by split, and copies side by side as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.audit import FLAGS, last_audit, read_flags
from mien.audit.findings import mixed
from mien.audit.groups import ALONE
from mien.audit.scan import scan
from mien.data.dataset import Dataset
from mien.errors import FailedError
from mien.files import write_text
from mien.images import Pixels
from mien.intervals import percent, wilson
from mien.report.rendering import data_uri, render
from mien.report.wording import span

# So many groups, or single pictures, of a kind are shown, and so many pictures of a group.
_GROUPS, _SINGLE, _PICTURES = 24, 36, 6
_QUALITY = 85

Rows = npt.NDArray[np.int64]
Share = tuple[str, str]


@dataclass(frozen=True)
class RowPicture:
    """A picture as a data URI, and what stands under it."""

    source: str
    split: str
    id: str
    label: str


@dataclass(frozen=True)
class Gallery:
    """Some groups of pictures of one kind, and how many more there are."""

    name: str
    meaning: str
    groups: list[list[RowPicture]]
    more: list[int]
    total: int
    what: str


def write_audit_page(dataset: Dataset) -> Path:
    """Write `audit/audit.html` of a data set from its audit; returns the page's path.

    Raises FailedError when the data set has no audit of its own.
    """
    content, table = last_audit(dataset), read_flags(dataset)
    if content is None or table is None:
        raise FailedError(
            f"data set '{dataset.card.name}' has no audit", expected=f"mien data audit {dataset.card.name}"
        )
    page = dataset.folder / "audit" / "audit.html"
    write_text(
        page,
        render(
            "audit.html.j2",
            {
                "audit": content,
                "splits": content["splits"],
                "findings": finding_rows(content),
                "worst": worst(content),
                "exclude": suggested(content),
                "shared": {column: pairs for column, pairs in content["shared"].items() if _is_shared(pairs)},
                "apart": [column for column, pairs in content["shared"].items() if not _is_shared(pairs)],
                "across": across_rows(content),
                "agreement": agreement_rows(content),
                "classes": class_rows(content),
                "galleries": _galleries(dataset, table),
            },
        ),
    )
    return page


def finding_rows(content: dict[str, Any]) -> list[tuple[str, str, list[Share]]]:
    """For each flag that applies: name, meaning, and the number of rows with their share, by split and in all.

    Flags without rows come last.
    """
    n = [*content["splits"].values(), content["n"]]
    rows = []
    for name, meaning in FLAGS.items():
        if not _applies(content, name):
            continue
        counts = list(content["flags"][name].values())
        counts.append(sum(counts))
        rows.append((name, meaning, [share(count, of) for count, of in zip(counts, n, strict=True)]))
    return sorted(rows, key=lambda row: row[2][-1][0] == "0")


def _is_shared(pairs: dict[str, dict[str, int]]) -> bool:
    return any(of["values"] for of in pairs.values())


# What an experiment may leave out, the worst first; a near copy is one whether it is exact or not.
_TO_EXCLUDE = ("near_leaked", "leaked", "conflict", "undecodable", "blank", "not_a_face")


def suggested(content: dict[str, Any]) -> list[str]:
    """The flags that an experiment might leave out by `exclude`, of those that have rows."""
    there = [flag for flag in _TO_EXCLUDE if any(content["flags"].get(flag, {}).values())]
    return [flag for flag in there if flag != "leaked" or "near_leaked" not in there]


def worst(content: dict[str, Any]) -> tuple[str, str]:
    """The worst finding as a number and what it counts; ("", a sentence) where nothing was found.

    What makes a test set easier comes first: persons, then copies, in two splits. Then what teaches wrongly.
    """
    found = []
    for column, pairs in content["shared"].items():
        pair = max(pairs, key=lambda name: pairs[name]["values"])
        a, b = pair.split("/")
        number = pairs[pair]["values"]
        what = "value stands" if number == 1 else "values stand"
        found.append((number, f"{what} in both {a} and {b} by column {column}: a person, or a source, of both splits"))
    rows = {name: sum(of.values()) for name, of in content["flags"].items()}
    for flag, of in (
        ("leaked", "the same pixels as a row of another split"),
        ("near_leaked", "a near copy in another split"),
        ("conflict", "the same pixels as a row with another label"),
        ("undecodable", "an image that doesn't decode"),
        ("duplicate", "the same pixels as another row"),
        ("near_duplicate", "a near copy in the data set"),
        ("blank", "an image that shows nothing"),
    ):
        found.append((rows[flag], f"{'row has' if rows[flag] == 1 else 'rows have'} {of}"))
    for number, what in found:
        if number:
            return f"{number:,}", f"{what}."
    looked = "copies" if content["near"] is not None else "exact copies"
    return "", f"No row has {looked}, shows nothing or doesn't decode, and no two splits are known to share a person."


def _applies(content: dict[str, Any], flag: str) -> bool:
    if flag.startswith("near_"):
        return content["near"] is not None
    if flag in ("not_a_face", "vote_conflict"):
        return content["votes"] is not None or any(content["flags"][flag].values())
    return flag != "fallback" or any(content["flags"][flag].values())


def share(count: int, n: int) -> Share:
    """A number of rows, and its share in per cent ("" for 0).

    >>> share(12, 300), share(0, 300)
    (('12', '4.0 %'), ('0', ''))
    """
    return f"{count:,}", percent(count / n, 1) if count else ""


def across_rows(content: dict[str, Any]) -> list[tuple[str, str, str, Share, Share]]:
    """For each pair of splits: the two, n of the first, how many of its rows have an exact and a near copy there."""
    rows = []
    for pair, exact in content["across"].items():
        there, here = pair.split("/")
        n = content["splits"][here]
        near = content["near_across"]
        rows.append((here, there, f"{n:,}", share(exact, n), share(near[pair], n) if near else ("–", "")))
    return rows


def agreement_rows(content: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """By class (all of them last) and split: the share of rows whose label is the raters' majority, interval, n."""
    if content["votes"] is None:
        return []
    by_split = [
        {**classes, "all": {key: sum(of[key] for of in classes.values()) for key in ("majority", "agrees")}}
        for classes in content["votes"].values()
    ]
    return [(name, [_agrees(of[name]) for of in by_split]) for name in by_split[0]]


def _agrees(of: dict[str, int]) -> tuple[str, str, str]:
    n = of["majority"]
    if not n:
        return "–", "", "n = 0"
    return f"{of['agrees'] / n:.3f}", span(wilson(of["agrees"], n)), f"n = {n:,}"


def class_rows(content: dict[str, Any]) -> list[tuple[str | Share, ...]]:
    """For each class its rows by split, with their share."""
    names = next(iter(content["classes"].values()))
    return [
        (name, *(share(classes[name], content["splits"][split]) for split, classes in content["classes"].items()))
        for name in names
    ]


class _Shelf:
    """The pictures of a data set by row, all splits one after the other."""

    def __init__(self, dataset: Dataset, table: Any) -> None:
        splits = list(dataset.card.splits)
        count = [dataset.rows(split) for split in splits]
        self.split_of = np.repeat(np.arange(len(splits)), count)
        self.labels = np.concatenate([dataset.labels(split) for split in splits])
        self._splits, self._classes, self._ids = splits, dataset.card.classes, table["id"]
        self._start = np.cumsum([0, *count])
        self._scans = [scan(dataset, split) for split in splits]

    def picture(self, row: int) -> RowPicture:
        number = int(self.split_of[row])
        gray = self._scans[number][row - self._start[number]]["gray"]
        return RowPicture(_jpeg(gray), self._splits[number], self._ids[row].as_py(), self._classes[self.labels[row]])


def _galleries(dataset: Dataset, table: Any) -> list[Gallery]:
    shelf = _Shelf(dataset, table)
    exact, near = (np.asarray(table[name], dtype=np.int64) for name in ("exact_group", "near_group"))
    # What a group of near copies shows beyond exact ones: at least two different pictures.
    own = np.where(exact == ALONE, -2 - np.arange(len(exact)), exact)
    different = mixed(near, own)
    there = {
        "leaked": mixed(exact, shelf.split_of),
        "conflict": mixed(exact, shelf.labels),
        "near_leaked": mixed(near, shelf.split_of) & different,
        "near_conflict": mixed(near, shelf.labels) & different,
    }
    there["duplicate"] = (exact != ALONE) & ~there["leaked"] & ~there["conflict"]
    there["near_duplicate"] = different & ~there["near_leaked"] & ~there["near_conflict"]
    kinds = [
        ("leaked", "Exact copies in two or more splits", "The same pixels are trained on and measured on.", exact),
        ("conflict", "Exact copies with different labels", "The same pixels have two labels.", exact),
        ("duplicate", "Other exact copies", "Within one split, with the same label.", exact),
        ("near_leaked", "Near copies in two or more splits", "The same photo, changed a little.", near),
        ("near_conflict", "Near copies with different labels", "The same photo, labelled in two ways.", near),
        ("near_duplicate", "Other near copies", "Within one split, with the same label.", near),
    ]
    found = [_groups(shelf, name, meaning, groups, there[key], own) for key, name, meaning, groups in kinds]
    for flag in ("blank", "tiny", "not_a_face", "fallback"):
        rows = np.flatnonzero(np.asarray(table[flag]))
        found.append(_single(shelf, flag.replace("_", " ").capitalize(), FLAGS[flag], rows))
    return [gallery for gallery in found if gallery.total]


def _groups(shelf: _Shelf, name: str, meaning: str, groups: Rows, rows: Any, own: Rows) -> Gallery:
    chosen, first = np.unique(groups[rows], return_index=True)
    shown, more = [], []
    for group in chosen[np.argsort(first)][:_GROUPS]:
        members = np.flatnonzero(groups == group)
        # Different pictures, splits and labels first: what a reader wants to compare.
        kinds = np.stack([own[members], shelf.split_of[members], shelf.labels[members]], axis=1)
        order = np.argsort(_rank(kinds), kind="stable")[:_PICTURES]
        shown.append([shelf.picture(int(row)) for row in np.sort(members[order])])
        more.append(len(members) - len(order))
    return Gallery(name, meaning, shown, more, len(chosen), "groups")


def _rank(kinds: Rows) -> Rows:
    """How little a row adds to the rows before it: a new split or label counts twice as much as other pixels."""
    known: list[set[int]] = [set() for _ in range(kinds.shape[1])]
    ranks = []
    for values in kinds.tolist():
        ranks.append(sum(w * (value in seen) for w, value, seen in zip((1, 2, 2), values, known, strict=True)))
        for value, seen in zip(values, known, strict=True):
            seen.add(value)
    return np.array(ranks, np.int64)


def _single(shelf: _Shelf, name: str, meaning: str, rows: Sequence[int] | Rows) -> Gallery:
    shown = [[shelf.picture(int(row))] for row in rows[:_SINGLE]]
    return Gallery(name, f"{meaning[0].upper()}{meaning[1:]}.", shown, [0] * len(shown), len(rows), "pictures")


def _jpeg(gray: Pixels) -> str:
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(gray), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return data_uri(data.tobytes(), "jpeg")
