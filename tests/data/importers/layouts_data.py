"""Drawn faces in the layouts that people have, for the tests of importers."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.data import synthetic
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.errors import MienError
from mien.images import decode, encode_png
from mien.workspace import Workspace

SIDE = 24


@cache
def _drawn() -> list[tuple[bytes, Any]]:
    return [(encode_png(image), points) for image, _, points in synthetic.faces(8, size=SIDE, color="gray", seed=0)]


@cache
def face(number: int) -> bytes:
    """A drawn face as PNG; no two numbers give the same pixels."""
    pixels = decode(_drawn()[number % 8][0], "gray")[:, :, 0].copy()
    pixels[0, :3] = number % 251, number // 251, 7
    return encode_png(pixels)


def points(number: int) -> Any:
    """The 68 points of that face, from 0."""
    return _drawn()[number % 8][1]


def write(folder: Path, files: Mapping[str, int | bytes | str]) -> Path:
    """Files by path: a face by its number, bytes, or text."""
    for name, what in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = face(what) if isinstance(what, int) else what.encode() if isinstance(what, str) else what
        (folder / name).write_bytes(content)
    return folder


def rows(dataset: Dataset) -> dict[str, dict[str, str]]:
    """For each split the class of each row, by id."""
    classes = dataset.card.classes
    return {
        split: {
            row: classes[label] for row, label in zip(dataset.ids(split), dataset.labels(split).tolist(), strict=True)
        }
        for split in dataset.card.splits
    }


def labels(dataset: Dataset) -> dict[str, str]:
    """The class of each row by id, whatever its split."""
    return {row: label for of in rows(dataset).values() for row, label in of.items()}


def column(dataset: Dataset, name: str) -> dict[str, Any]:
    """The values of a column by id."""
    return {
        row["id"]: row[name] for split in dataset.card.splits for row in dataset.table(split, ["id", name]).to_pylist()
    }


def splits_of(dataset: Dataset, values: Mapping[str, Any]) -> dict[Any, set[str]]:
    """The splits in which each value stands, by value."""
    found: dict[Any, set[str]] = {}
    for split in dataset.card.splits:
        for row in dataset.ids(split):
            found.setdefault(values[row], set()).add(split)
    return found


def images_match(dataset: Dataset, wanted: Mapping[str, int]) -> bool:
    """Whether each row, by id, has the pixels of the face of that number."""
    found = {
        row: data
        for split in dataset.card.splits
        for row, data in zip(dataset.ids(split), dataset.images(split), strict=True)
    }
    return found.keys() == wanted.keys() and all(
        np.array_equal(decode(found[row], "gray"), decode(face(number), "gray")) for row, number in wanted.items()
    )


def refused(workspace: Workspace, source: Path, **options: Any) -> list[str]:
    """The messages with which an import is refused; nothing may stay behind."""
    before = sorted(workspace.datasets.iterdir()) if workspace.datasets.exists() else []
    with pytest.raises(MienError) as error:
        import_dataset(workspace, source, "new", **options)
    assert not workspace.datasets.exists() or sorted(workspace.datasets.iterdir()) == before
    assert error.value.exit_code == 2
    return [str(one).replace(str(source), "SOURCE") for one in (error.value, *error.value.more)]


def numbered(pattern: str, count: int, start: int = 0) -> dict[str, Any]:
    """Faces by path: `happy/{}.png` with the numbers from `start`."""
    return {pattern.format(i): start + i for i in range(count)}


def merged(parts: Iterable[Mapping[str, int | bytes | str]]) -> dict[str, int | bytes | str]:
    """Files of several layouts in one."""
    return {name: what for part in parts for name, what in part.items()}
