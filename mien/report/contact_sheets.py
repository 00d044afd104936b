"""Contact sheets of a data set: its faces by class, and what an experiment's augmentation does to them."""

from pathlib import Path

import numpy as np

from mien.data.contact_sheets import contact_sheet
from mien.data.dataset import Dataset
from mien.experiment.schema import Experiment
from mien.files import replacing
from mien.images import Pixels, decode

_COLUMNS = 10
_FACES = 8


def sheet_of_classes(dataset: Dataset) -> Path:
    """Write `contact-sheet.png` into the data set: the first images of each class of its first split; its path."""
    split = next(iter(dataset.card.splits))
    images: list[list[Pixels]] = [[] for _ in dataset.card.classes]
    wanted = [min(_COLUMNS, count) for count in dataset.card.splits[split]]
    for label, data in zip(dataset.labels(split), dataset.images(split), strict=True):
        if len(images[label]) < _COLUMNS:
            images[label].append(decode(data, "rgb"))
        if [len(row) for row in images] == wanted:
            break
    counts = dataset.card.splits[split]
    captions = [f"{name}\nn = {count:,}" for name, count in zip(dataset.card.classes, counts, strict=True)]
    return _write(dataset.folder / "contact-sheet.png", images, captions, f"{dataset.card.name}, split {split}")


def sheet_of_augmented(dataset: Dataset, experiment: Experiment) -> Path:
    """Write `augmented-<experiment>.png`: faces as they are (first column) and as nine epochs would show them."""
    # A data set is looked at without torch, but for this.
    import torch

    from mien.experiment.building import build_pipeline
    from mien.protocols.batches import step_seed

    section = experiment.dataset
    split = next(iter(dataset.card.splits))
    augment = build_pipeline(experiment.augment)
    faces = [
        decode(data, section.color, section.size) for data, _ in zip(dataset.images(split), range(_FACES), strict=False)
    ]
    plain = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float()
    rows = [[face] for face in faces]
    for epoch in range(_COLUMNS - 1):
        torch.manual_seed(step_seed(experiment.train.seed, epoch, 0))
        changed, _ = augment(plain)
        pixels = changed.clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy()
        for row, face in zip(rows, pixels, strict=True):
            row.append(face)
    captions = [f"row {number}" for number in range(len(rows))]
    return _write(
        dataset.folder / f"augmented-{experiment.name}.png",
        rows,
        captions,
        f"{dataset.card.name}, split {split}, augmented by {experiment.name}",
        columns=("as it is", *(f"epoch {epoch + 1}" for epoch in range(_COLUMNS - 1))),
    )


def _write(
    path: Path, rows: list[list[Pixels]], captions: list[str], title: str, columns: tuple[str, ...] = ()
) -> Path:
    with replacing(path) as temporary:
        temporary.write_bytes(contact_sheet(rows, captions, title, columns=columns))
    return path
