"""Sources as people have them, valid and odd: each case builds one whose rows are known, and imports it.

The promise: a source is read, with just its rows, their pictures, labels, splits and columns, or it is refused in a
sentence. What is plain is read, what is wrong is refused, nothing stays behind, and the source stays as it is.
"""

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from faults.damage import MEMORY_MB, call, peak_mb, wrong_with
from faults.oddities import ODDITIES
from faults.public_sources import BUILDERS
from faults.sources import Built, Known

from mien.data.dataset import Dataset, open_dataset
from mien.data.labels import canonical
from mien.errors import MienError
from mien.images import decode
from mien.workspace import Workspace

DRAWN = {"train", "validation", "test"}


class Case(NamedTuple):
    """One source: its kind, what is odd about it, how the import ended, and what is wrong with that."""

    number: int
    kind: str
    told: str
    code: int
    said: str
    wrong: str


def built(number: int, folder: Path, seed: int) -> Built:
    """The source of a case: its kind by the number, all else by seed and number."""
    dice = random.Random(f"{seed} {number}")
    kind = list(BUILDERS)[number % len(BUILDERS)]
    source = BUILDERS[kind](folder, dice)
    if not source.fatal:
        for _ in range(dice.choice([0, 0, 1, 1, 2])):
            oddity = dice.choice(ODDITIES)
            applied = oddity(source, dice)
            if not applied:
                dice.choice(ODDITIES)(source, dice)
    return source


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What stands below a folder, links and pipes too, with mode, size and time."""
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        found[str(path)] = (facts.st_mode, facts.st_size, facts.st_mtime_ns)
    return found


def import_case(number: int, sandbox: Path, seed: int) -> Case:
    """Build a source and import it; where it is refused, now and then again with --skip-bad."""
    folder, home = sandbox / "sources", sandbox / "home"
    for path in (folder, home):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    source = built(number, folder, seed)
    before = state_of(folder)
    peak_mb(anew=True)
    arguments = ["data", "import", str(source.source), "--as", "new", *source.arguments, "--workspace", str(home)]
    code, said, raised = call(arguments)
    wrong = wrong_with(code, said, raised, peak_mb()) or difference(source, code, said, home)
    if not wrong and code and number % 2:
        code_2, said_2, raised = call([*arguments, "--skip-bad"])
        wrong = wrong_with(code_2, said_2, raised, peak_mb()) or skipped_wrongly(source, code_2, home)
    if not wrong and state_of(folder) != before:
        wrong = "the source was changed"
    return Case(number, source.kind, ", ".join(source.told), code, said.strip(), wrong)


def difference(source: Built, code: int, said: str, home: Path) -> str:
    """What is wrong with how an import ended; "" for nothing."""
    left = sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())
    if code == 2:
        if left:
            return f"left behind: {left[:3]}"
        return f"refused: {said.strip()[:300]}" if source.harmless and not source.fatal else ""
    if code != 0:
        return f"exit code {code}: {said.strip()[:200]}"
    if other := [name for name in left if not name.startswith("datasets/new/")]:
        return f"left behind: {other[:3]}"
    if source.fatal:
        return "read, and should be refused"
    try:
        return _rows_differ(source, open_dataset(Workspace(home), "new"), whole=True)
    except MienError as error:
        return f"the data set can't be opened: {error}"


def skipped_wrongly(source: Built, code: int, home: Path) -> str:
    """What is wrong with what --skip-bad left: rows that were built so, and each of the others listed."""
    if code == 2:
        return ""
    if code != 0:
        return f"exit code {code} with --skip-bad"
    dataset = open_dataset(Workspace(home), "new")
    if not dataset.card.skipped:
        return ""  # It was refused for what --skip-bad doesn't change.
    wrong = _rows_differ(source, dataset, whole=False)
    return f"with --skip-bad: {wrong}" if wrong else ""


def _rows_differ(source: Built, dataset: Dataset, *, whole: bool) -> str:
    """How the rows of a data set differ from those that were built; `whole`: all of them must be there."""
    found: dict[str, dict[str, Any]] = {}
    splits: dict[str, set[str]] = {}
    for split in dataset.card.splits:
        for row in dataset.table(split, list(dataset.card.columns)).to_pylist():
            if row["id"] in found:
                return f"row {row['id']} is there twice"
            found[row["id"]] = row
            known = source.rows.get(row["id"])
            if known is None:
                return f"there is a row {row['id']!r} that nobody built"
            if wrong := _row_differs(row, split, source.rows, dataset):
                return f"row {row['id']!r}: {wrong}"
            if known.split is None:
                for key in {str(known.image), known.group}:
                    splits.setdefault(f"{key}", set()).add(split)
    missing = sorted(source.rows.keys() - found.keys())
    if whole and missing:
        return f"{len(missing)} rows are missing: {missing[:3]}"
    if len(found) + len(dataset.card.skipped) < len(source.rows):
        return f"{len(source.rows) - len(found)} rows are missing, and {len(dataset.card.skipped)} are listed"
    apart = [key for key, of in splits.items() if len(of) > 1 and key != "None"]
    return f"{apart[0][:40]} stands in several splits" if apart else ""


def _row_differs(row: dict[str, Any], split: str, rows: dict[str, Known], dataset: Dataset) -> str:
    known = rows[row["id"]]
    if not np.array_equal(decode(row["image"]["bytes"], "rgb"), decode(known.image, "rgb")):
        return "other pixels"
    label = dataset.card.classes[row["label"]]
    if canonical(label) != canonical(known.label):
        return f"'{label}', not '{known.label}'"
    if split != known.split if known.split else split not in DRAWN:
        return f"in {split}, not in {known.split}"
    for name, value in known.extra.items():
        if name not in row:
            if all(other.extra.get(name, "") == "" for other in rows.values()):
                continue  # A column in which nothing stands.
            return f"no column {name}"
        if not _same(row[name], value):
            return f"{name} is {row[name]!r}, not {value!r}"
    return ""


def _same(value: Any, text: Any) -> bool:
    """Whether a stored value is what stood there: numbers may be written otherwise, names of digits may not."""
    if isinstance(text, list):
        return np.allclose(value, text, atol=1e-3)
    if text == "":
        return value is None
    if isinstance(value, int | float):
        exact = re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d{1,9})?", text)
        return exact is not None and float(text) == value
    return bool(value == text)


def run_cases(
    sandbox: Path, count: int, seed: int, *, start: int = 0, tell: Callable[[str], None] = print
) -> list[Case]:
    """`count` sources, kinds in turn, from the number `start`."""
    cases = []
    for number in range(start, start + count):
        cases.append(import_case(number, sandbox, seed))
        if cases[-1].wrong:
            tell(f"seed {seed}, case {number}: {cases[-1]}")
    return cases


def run(folder: Path, seed: int, n: int) -> Iterator[dict[str, Any]]:
    """The section of `results/faults.md`, after every hundred sources and at the end."""
    cases: list[Case] = []
    for start in range(0, n, 100):
        cases += run_cases(folder, min(100, n - start), seed, start=start)
        yield section(cases, n)


def section(cases: list[Case], n: int) -> dict[str, Any]:
    """How many sources of each kind were read or refused, and what went wrong."""
    rows = []
    for kind in (*BUILDERS, "all"):
        own = [case for case in cases if kind in (case.kind, "all")]
        codes = Counter(case.code for case in own if not case.wrong)
        traces = sum("traceback" in case.wrong for case in own)
        rows.append([kind, len(own), codes[0], codes[2], traces, sum(bool(case.wrong) for case in own) - traces])
    return {
        "title": "Sources of data as people have them",
        "text": f"{len(cases):,} of {n:,} imports of sources whose rows are known: folders, tables, Parquet, Arrow, "
        "public sets' own layouts, written in many ways, and odd: stray and hidden files, links, broken images, labels "
        "that are none, rows cut short. Each ends with exactly these rows, their pictures, labels, splits and columns, "
        "or is refused in one sentence, with nothing left behind, the source unchanged and at most "
        f"{MEMORY_MB:,} MB. What is plain has to be read, what is wrong refused; all else counts as wrong.",
        "columns": ["source", "cases", "read", "refused", "tracebacks", "wrong"],
        "rows": [[str(cell) for cell in row] for row in rows],
        "failed": sum(bool(case.wrong) for case in cases),
        "wrong": [case._asdict() for case in cases if case.wrong],
    }
