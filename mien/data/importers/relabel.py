"""Relabelling: a new data set with the labels that a person has corrected in a CSV of suspected label errors.

The CSV has a header and the columns `split`, `id`, `given` and `suggested`, in any order; `given` is the label that the
data set has now, `suggested` the new one, both by class name. A row with no `suggested` label, or with "no" in the
column `apply`, changes nothing. Other columns are ignored, so `suspects.csv` can be used as it is.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.labels import LabelScheme, canonical
from mien.data.lineage import inherited
from mien.errors import MienError, unknown
from mien.files import cell_value
from mien.images import decode
from mien.progress import progress
from mien.workspace import Workspace

COLUMNS = ("split", "id", "given", "suggested")
_OWN = ("id", "image", "label")


@dataclass(frozen=True)
class Change:
    """One line of the CSV, at `line`: the row that it changes, its label now, and the new label or None."""

    line: int
    split: str
    id: str
    given: int
    new: int | None


def relabel(workspace: Workspace, source: str, file: Path, name: str) -> Dataset:
    """The data set `source` of the workspace with the labels that a CSV gives, as the data set `name`.

    Rows, ids, images, order and further columns stay as they are; the card says how many labels changed, from what to
    what, by which file (SHA-256), and names `source` as parent. Raises MienError, with file and line, for a row or a
    class that isn't there, a row named twice, a wrong `given` label, and a file that changes nothing.
    """
    old = open_dataset(workspace, source)
    content = read_bytes(file)
    changes = {(change.split, change.id): change for change in read_changes(content, old.card.scheme, file)}
    check_rows(old, changes.values(), file)
    new = {key: change.new for key, change in changes.items() if change.new is not None and change.new != change.given}
    if not new:
        raise MienError("no label is changed by this", file=str(file), expected="rows with another 'suggested' label")
    classes = old.card.classes
    digest = hashlib.sha256(content).hexdigest()
    by_class = Counter(f"{classes[changes[key].given]} → {classes[label]}" for key, label in new.items())
    schema = old.schema()
    columns = {column.name: column.type for column in schema if column.name not in _OWN}
    note = (
        f"{len(new):,} label{'s' if len(new) > 1 else ''} changed by {file.name} (SHA-256 {digest[:16]}): "
        + ", ".join(f"{what} {number:,}" for what, number in by_class.most_common())
    )
    details = {
        **inherited(old.card, {column: column for column in columns}),
        "relabelled": {
            "file": file.name,
            "sha256": digest,
            "changed": len(new),
            "by_class": dict(by_class.most_common()),
        },
    }
    with (
        write_dataset(
            workspace,
            name,
            old.card.scheme,
            source=source,
            format="relabelled",
            columns=columns,
            notes=[*old.card.notes, note],
            skipped=list(old.card.skipped),
            details=details,
            parent=old.card,
        ) as writer,
        progress(f"writing {name}", sum(shard.rows for shard in old.card.shards)) as done,
    ):
        for shard in old.card.shards:
            for batch in old.batches(shard):
                for row in batch.to_pylist():
                    label = new.get((shard.split, row["id"]), row["label"])
                    image = row["image"]
                    height, width, _ = decode(image["bytes"], "gray").shape
                    extra = {column: row[column] for column in columns}
                    size = (width, height)
                    writer.add(shard.split, row["id"], image["bytes"], label, size=size, path=image["path"], **extra)
                done(len(batch))
    return open_dataset(workspace, name)


def read_bytes(file: Path) -> bytes:
    """The content of a file; MienError where it can't be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise MienError(f"this can't be read ({error.strerror or error})", file=str(file)) from error


def read_changes(content: bytes, scheme: LabelScheme, file: Path) -> list[Change]:
    """The rows of a CSV of changes, in its order; errors name `file`."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        lines = [(reader.line_num, fields) for fields in reader if fields]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MienError(f"this is no CSV ({error})", file=str(file)) from error
    names = [field.strip().lower() for field in lines[0][1]] if lines else []
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise MienError(
            f"there is no column '{missing[0]}'",
            file=str(file),
            line=1,
            expected="the columns " + ", ".join(COLUMNS) + ", and perhaps apply",
        )
    changes: list[Change] = []
    seen: dict[tuple[str, str], int] = {}
    for line, fields in lines[1:]:
        if len(fields) != len(names):
            raise MienError(f"{len(fields)} columns", file=str(file), line=line, expected=str(len(names)))
        row = {name: cell_value(field.strip()) for name, field in zip(names, fields, strict=True)}
        key = (row["split"], row["id"])
        if key in seen:
            raise MienError(
                f"row '{key[1]}' of {key[0]} stands there twice",
                file=str(file),
                line=line,
                expected=f"line {seen[key]} only",
            )
        seen[key] = line
        given = _class(row["given"], scheme, "given", file, line)
        new = _class(row["suggested"], scheme, "suggested", file, line) if row["suggested"] else None
        if not _applies(row.get("apply", ""), file, line):
            new = None
        changes.append(Change(line, *key, given, new))
    return changes


def _class(text: str, scheme: LabelScheme, column: str, file: Path, line: int) -> int:
    for index, name in enumerate(scheme.classes):
        if canonical(name) == canonical(text):
            return index
    raise unknown(f"'{text}' is no class", text, scheme.classes, file=str(file), line=line, key=column)


def _applies(text: str, file: Path, line: int) -> bool:
    if text.lower() not in ("", "yes", "no"):
        raise MienError(f"'{text}' doesn't say whether", file=str(file), line=line, key="apply", expected="yes or no")
    return text.lower() != "no"


def check_rows(dataset: Dataset, changes: Iterable[Change], file: Path) -> None:
    """Raise MienError for the first row that the data set doesn't have exactly once, with the given label."""
    ids = {split: dataset.ids(split) for split in dataset.card.splits}
    labels = {
        (split, id_): label
        for split in ids
        for id_, label in zip(ids[split], dataset.labels(split).tolist(), strict=True)
    }
    if len(labels) < sum(map(len, ids.values())):
        raise MienError(f"data set '{dataset.card.name}' has rows of one split with the same id", file=str(file))
    for change in changes:
        key = (change.split, change.id)
        if change.split not in ids:
            message = f"data set '{dataset.card.name}' has no split '{change.split}'"
            raise unknown(message, change.split, ids, file=str(file), line=change.line, key="split")
        if key not in labels:
            raise MienError(
                f"data set '{dataset.card.name}' has no row '{change.id}' in {change.split}",
                file=str(file),
                line=change.line,
                key="id",
            )
        if labels[key] != change.given:
            raise MienError(
                f"row '{change.id}' of {change.split} has the label '{dataset.card.classes[labels[key]]}'",
                file=str(file),
                line=change.line,
                key="given",
                expected=f"a file made for this data set; here it is '{dataset.card.classes[change.given]}'",
            )
