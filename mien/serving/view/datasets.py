"""The data sets of a workspace: what is in them, their pictures, and what an audit has found."""

import functools
import re
from pathlib import Path

import numpy as np
from PIL import Image

from mien.audit import last_audit
from mien.data.contact_sheets import classes_sheet
from mien.data.dataset import Dataset, Shard, list_datasets, open_dataset
from mien.errors import FailedError, MienError, nearest
from mien.images import Pixels, decode, encode_png
from mien.parquet import open_parquet
from mien.report.audit_page import across_rows, finding_rows, worst
from mien.serving.schema import Problem
from mien.serving.view.reading import MissingError, tried
from mien.serving.view.schema import DatasetCard, DatasetLine, Table
from mien.workspace import NAME, Workspace

# Pixels of a picture's longer side: enough for a face on a screen.
LARGEST = 256
# Rows that are held at once on the way to one of them.
_PIECE = 64


def dataset_of(home: Workspace, name: str) -> Dataset:
    """The data set of a workspace; MissingError where there is none, MienError for one that is damaged."""
    if not (re.fullmatch(NAME, name) and (home.datasets / name / "card.json").is_file()):
        raise MissingError(f"there is no data set '{name}'", nearest=nearest(name, list_datasets(home)))
    return open_dataset(home, name)


def dataset_lines(home: Workspace) -> list[DatasetLine]:
    """All data sets of a workspace, a line each."""
    lines = []
    for name in list_datasets(home):
        problems: list[Problem] = []
        opened = tried(functools.partial(dataset_of, home, name), home.datasets / name, problems)
        if opened is None:
            lines.append(DatasetLine(name=name, error=problems[0]))
        else:
            splits = {split: sum(counts) for split, counts in opened.card.splits.items()}
            lines.append(DatasetLine(name=name, labels=opened.card.labels, splits=splits))
    return lines


def card_of(home: Workspace, name: str, has_suspects: bool) -> DatasetCard:
    """What a data set is, and what an audit has found."""
    opened = dataset_of(home, name)
    card = opened.card
    problems: list[Problem] = []
    return DatasetCard(
        name=name,
        labels=card.labels,
        classes=list(card.classes),
        splits={split: list(counts) for split, counts in card.splits.items()},
        sizes=card.image_sizes,
        columns=list(card.columns),
        source=card.source,
        parent=card.parent.name if card.parent else None,
        notes=[*card.notes, *card.skipped],
        audit=tried(lambda: _audit(opened), opened.folder / "audit", problems),
        suspects=has_suspects,
        problems=problems,
    )


def _audit(opened: Dataset) -> list[Table] | None:
    """The findings of a data set's audit by split, and its copies across splits; None where it has none."""
    content = last_audit(opened)
    if content is None:
        return None

    def cell(share: tuple[str, str]) -> str:
        return f"{share[0]} ({share[1]})" if share[1] else share[0]

    number, what = worst(content)
    return [
        Table(
            title=f"Rows with a finding. The worst: {number} {what}" if number else what,
            columns=["finding", "what it is", *content["splits"], "all"],
            rows=[[name, meaning, *map(cell, shares)] for name, meaning, shares in finding_rows(content)],
            right=2,
        ),
        Table(
            title="Rows with a copy in another split",
            columns=["rows of", "with a copy in", "n", "exact", "near"],
            rows=[[here, there, n, cell(exact), cell(near)] for here, there, n, exact, near in across_rows(content)],
            right=2,
        ),
    ]


def sheet_of(opened: Dataset) -> bytes:
    """A data set's contact sheet, as `mien data show` draws it, as PNG; nothing is written."""
    return _sheet(opened.folder, opened.card.fingerprint)


@functools.lru_cache(maxsize=8)
def _sheet(folder: Path, fingerprint: str) -> bytes:
    return classes_sheet(Dataset(folder))


def picture_of(opened: Dataset, split: str, id_: str) -> bytes:
    """The pixels of a row as PNG, at most `LARGEST` a side; MissingError where there is no such row."""
    return _picture(opened.folder, opened.card.fingerprint, split, id_)


@functools.lru_cache(maxsize=512)
def _picture(folder: Path, fingerprint: str, split: str, id_: str) -> bytes:
    opened = Dataset(folder)
    place = _places(folder, fingerprint, split).get(id_) if split in opened.card.splits else None
    if place is None:
        raise MissingError(f"data set '{opened.card.name}' has no row '{id_}' in {split}")
    return encode_png(_small(decode(_bytes_at(opened, *place), "rgb")))


def _small(pixels: Pixels) -> Pixels:
    """Pixels of at most `LARGEST` a side, gray ones with one channel."""
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    small = np.asarray(image)
    return small if (small != small[:, :, :1]).any() else small[:, :, :1]


@functools.lru_cache(maxsize=8)
def _places(folder: Path, fingerprint: str, split: str) -> dict[str, tuple[Shard, int]]:
    """The shard of each row of a split by its id, and the row's number there."""
    opened = Dataset(folder)
    places = {}
    for shard in opened.card.shards:
        if shard.split != split:
            continue
        ids = [id_ for batch in opened.batches(shard, ["id"]) for id_ in batch.column("id").to_pylist()]
        places.update({id_: (shard, number) for number, id_ in enumerate(ids)})
    return places


def _bytes_at(opened: Dataset, shard: Shard, row: int) -> bytes:
    """The image file of a row; of its shard only the row's group is read."""
    path = opened.folder / shard.file
    with open_parquet(path, "this shard") as file:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row >= rows:
                row -= rows
                continue
            for batch in file.iter_batches(_PIECE, row_groups=[group], columns=["image"], use_threads=False):
                if row < len(batch):
                    data: bytes | None = batch.column("image").field("bytes")[row].as_py()
                    if data is None:
                        raise MienError("a row has no image", file=str(path))
                    return data
                row -= len(batch)
    raise FailedError("this shard isn't the one that the card describes; import again", file=str(path))
