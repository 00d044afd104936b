"""Likely label errors, looked through by a person: what was chosen stands in a CSV that `--relabel` takes.

Only rows that somebody has looked at stand there, so nothing is changed that nobody has seen.
"""

import contextlib
import csv
import fcntl
import io
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from mien.data.dataset import Dataset
from mien.data.importers.relabel import read_bytes, read_changes
from mien.errors import MienError, unknown
from mien.evaluation.label_errors import COLUMNS
from mien.files import cell_value, csv_text, write_text
from mien.reading import Stored, read_object
from mien.serving.view.reading import MissingError
from mien.serving.view.schema import Choice, Kept, Suspect, Suspects
from mien.workspace import Workspace

LISTED, LOOKED = "suspects.csv", "looked-through.csv"

Line = dict[str, str]
Lines = dict[tuple[str, str], Line]


def listed(home: Workspace, name: str) -> Path:
    """The list that `mien suspects` makes of a data set."""
    return home.root / "suspects" / name / LISTED


def suspects_of(home: Workspace, opened: Dataset) -> Suspects:
    """The likely label errors of a data set, the most suspicious first, with what was chosen so far."""
    name = opened.card.name
    found, chosen = _suspects(home, opened), _chosen(home, opened)
    file = listed(home, name).with_name(LOOKED)
    options = ["--as", f"{name}-2", "--relabel", str(file), "--workspace", str(home.root)]
    command = shlex.join(["mien", "data", "import", name, *options])
    rows = [
        Suspect(
            rank=int(line["rank"]),
            split=line["split"],
            id=line["id"],
            given=line["given"],
            suggested=line["suggested"],
            p_given=float(line["p_given"]) if line["p_given"] else None,
            p_suggested=float(line["p_suggested"]) if line["p_suggested"] else None,
            chosen=_choice(chosen[key]) if key in chosen else None,
        )
        for key, line in found.items()
    ]
    classes = list(opened.card.classes)
    return Suspects(dataset=name, classes=classes, rows=rows, looked=len(chosen), file=str(file), command=command)


def keep(home: Workspace, opened: Dataset, choice: Choice) -> Kept:
    """Write what was chosen of a row, or take it back; the file is replaced as a whole, one writer after the other."""
    file = listed(home, opened.card.name).with_name(LOOKED)
    key = choice.split, choice.id
    line = _suspects(home, opened).get(key)
    if line is None:
        raise MissingError(f"row '{choice.id}' of {choice.split} isn't among the suspects", key="id")
    if choice.label is not None and choice.label not in opened.card.classes:
        raise unknown(f"'{choice.label}' is no class", choice.label, opened.card.classes, key="label")
    with _alone(file.parent):
        chosen = _chosen(home, opened)
        chosen.pop(key, None)
        if choice.label is not None:
            chosen[key] = _marked(line, choice.label)
        ordered = sorted(chosen.values(), key=lambda one: int(one["rank"]))
        write_text(file, csv_text([COLUMNS, *([one[column] for column in COLUMNS] for one in ordered)]))
    return Kept(looked=len(chosen), file=str(file))


def _marked(line: Mapping[str, str], label: str) -> Line:
    if label == line["given"]:
        return {**line, "apply": "no"}
    p_suggested = line["p_suggested"] if label == line["suggested"] else ""
    return {**line, "suggested": label, "p_suggested": p_suggested, "apply": "yes"}


def _choice(line: Mapping[str, str]) -> str:
    return line["given"] if line["apply"] == "no" else line["suggested"]


def _suspects(home: Workspace, opened: Dataset) -> Lines:
    """The lines of the list; MissingError where there is none, MienError for one of another data set."""
    file = listed(home, opened.card.name)
    if not file.is_file():
        raise MissingError(
            f"data set '{opened.card.name}' has no list of suspects",
            file=str(file),
            expected="mien suspects with the runs of all folds",
        )
    about = file.with_suffix(".json")
    if about.is_file() and read_object(about, Stored, "the list").get("fingerprint") != opened.card.fingerprint:
        raise MienError(
            f"these suspects aren't of the data set '{opened.card.name}' as it is now",
            file=str(file),
            expected="mien suspects anew",
        )
    return _lines(file, opened)


def _chosen(home: Workspace, opened: Dataset) -> Lines:
    file = listed(home, opened.card.name).with_name(LOOKED)
    return _lines(file, opened) if file.is_file() else {}


def _lines(file: Path, opened: Dataset) -> Lines:
    """The lines of a CSV as `mien suspects` writes it, by split and id; MienError, with the line, for another one."""
    content = read_bytes(file)
    # It names what `--relabel` wouldn't take.
    read_changes(content, opened.card.scheme, file)
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise MienError("this isn't as mien writes it", file=str(file), line=1, expected=f"columns {','.join(COLUMNS)}")
    lines: Lines = {}
    for number, row in enumerate(reader, start=2):
        line = {name: cell_value(row[name]) for name in COLUMNS}
        numbers = line["p_given"], line["p_suggested"]
        if not line["rank"].isdecimal() or not all(_is_share(text) for text in numbers):
            raise MienError("rank or probabilities are no numbers", file=str(file), line=number)
        lines[line["split"], line["id"]] = line
    return lines


def _is_share(text: str) -> bool:
    try:
        return not text or 0 <= float(text) <= 1
    except ValueError:
        return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder, so that others who want to wait for their turn, also those of other processes."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
