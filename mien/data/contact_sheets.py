"""Contact sheets, as one PNG: rows of pictures with a caption each, or a gallery in which each picture has its own.

Two are of a data set: its faces by class, and what augmentation does to them.
"""

import io
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.data.dataset import Dataset
from mien.files import write_bytes
from mien.images import Color, Pixels, decode

# Pictures are shown between these sizes; small ones are enlarged by a whole number, so that each pixel stays a square.
_SMALLEST, _LARGEST = 80, 160
_GAP = 4
_MARGIN = 12
_LETTERS = 14
_LINE = 18
_INK, _SOFT, _PAPER = 36, 100, 255
_BOLD, _PLAIN = "DejaVuSans-Bold.ttf", "DejaVuSans.ttf"
# Of a data set so many faces of a class are shown; so many faces, each as it is and in one epoch less than columns.
_COLUMNS, _FACES = 10, 8


def contact_sheet(
    rows: Sequence[Sequence[Pixels]], captions: Sequence[str], title: str = "", *, columns: Sequence[str] = ()
) -> bytes:
    """A PNG of rows of pictures, each row with its caption at the left.

    Each picture is uint8 (height, width, 1 or 3), of any size; rows may differ in length. `captions` has one text a
    row, whose first line is bold; `title` stands on top; `columns` may name the columns. The sheet is gray when all
    pictures are.

    >>> contact_sheet([[np.zeros((48, 48, 1), np.uint8)]], ["happy"])[1:4]
    b'PNG'
    """
    if len(rows) != len(captions):
        raise ValueError(f"{len(rows)} rows of pictures and {len(captions)} captions")
    shown = [[_scaled(_picture(pixels)) for pixels in row] for row in rows]
    every = [picture for row in shown for picture in row]
    texts = [caption.split("\n") for caption in captions]
    label = _widest(texts)
    names = [_width(_PLAIN, name) for name in columns]
    cell = max([picture.width for picture in every] + names, default=0)
    heights = [
        max([picture.height for picture in row] + [_LINE * len(text)]) for row, text in zip(shown, texts, strict=True)
    ]
    left = _MARGIN + (label + _MARGIN if label else 0)
    top = _MARGIN + (_LINE + 8 if title else 0) + (_LINE if columns else 0)
    count = max([len(row) for row in shown] + [len(columns)], default=0)
    size = (
        max(left + count * (cell + _GAP) - _GAP, _MARGIN + _width(_BOLD, title)) + _MARGIN,
        top + sum(heights) + _GAP * max(len(heights) - 1, 0) + _MARGIN,
    )

    sheet, draw = _empty(every, size, title)
    for number, name in enumerate(columns):
        draw.text((left + number * (cell + _GAP), top - _LINE), name, _shade(_SOFT, sheet.mode), _font(_PLAIN))
    y = top
    for row, text, height in zip(shown, texts, heights, strict=True):
        _write(draw, _MARGIN, y + (height - _LINE * len(text)) // 2, text)
        for number, picture in enumerate(row):
            sheet.paste(picture, (left + number * (cell + _GAP), y))
        y += height + _GAP
    return _png(sheet)


def gallery(
    pictures: Sequence[Pixels],
    captions: Sequence[str],
    title: str = "",
    *,
    columns: int = 8,
    largest: int = _LARGEST,
    colors: int | None = None,
) -> bytes:
    """A PNG of pictures from left to right and from top to bottom, each with its caption under it.

    Pictures and captions are as `contact_sheet` takes them, `columns` pictures to a line; pictures whose longer side
    exceeds `largest` are made smaller. `colors`, up to 256, limits a colour sheet's colours, for a third of the bytes.

    >>> gallery([np.zeros((48, 48, 1), np.uint8)] * 9, ["happy"] * 9)[1:4]
    b'PNG'
    """
    if len(pictures) != len(captions):
        raise ValueError(f"{len(pictures)} pictures and {len(captions)} captions")
    shown = [_scaled(_picture(pixels), largest) for pixels in pictures]
    texts = [caption.split("\n") for caption in captions]
    cell = max([picture.width for picture in shown] + [_widest(texts)]) + 2 * _GAP
    tallest = max((picture.height for picture in shown), default=0)
    height = tallest + _LINE * max(map(len, texts), default=0) + 2 * _GAP
    top = _MARGIN + (_LINE + 8 if title else 0)
    across = min(columns, len(shown))
    lines = -(-len(shown) // columns)
    size = (max(across * cell, _width(_BOLD, title)) + 2 * _MARGIN, top + lines * height + _MARGIN)
    sheet, draw = _empty(shown, size, title)
    for number, (picture, text) in enumerate(zip(shown, texts, strict=True)):
        x, y = _MARGIN + number % columns * cell, top + number // columns * height
        sheet.paste(picture, (x, y + tallest - picture.height))
        _write(draw, x, y + tallest, text)
    if colors is not None and sheet.mode == "RGB":
        sheet = sheet.quantize(colors, Image.Quantize.FASTOCTREE)
    return _png(sheet)


def pictures_of(dataset: Dataset, rows: Collection[tuple[str, str]]) -> dict[tuple[str, str], Pixels]:
    """The pictures of some rows by split and id, uint8 (height, width, 3), or (height, width, 1) for gray ones."""
    pictures = {}
    for split in sorted({split for split, _ in rows}):
        for id_, data in zip(dataset.ids(split), dataset.images(split), strict=True):
            if (split, id_) in rows:
                pixels = decode(data, "rgb")
                pictures[split, id_] = pixels if (pixels != pixels[:, :, :1]).any() else pixels[:, :, :1]
    return pictures


def classes_sheet(dataset: Dataset) -> bytes:
    """A PNG of the first images of each class of a data set's first split."""
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
    return contact_sheet(images, captions, f"{dataset.card.name}, split {split}")


def sheet_of_classes(dataset: Dataset) -> Path:
    """Write `contact-sheet.png` into the data set: the first images of each class of its first split; its path."""
    path = dataset.folder / "contact-sheet.png"
    write_bytes(path, classes_sheet(dataset))
    return path


def sheet_of_augmented(
    dataset: Dataset, name: str, size: int, color: Color, augment: Callable[[Pixels, int], Pixels]
) -> Path:
    """Write `augmented-<name>.png`: faces as they are (first column) and as `augment` shows them in nine epochs.

    `augment` takes faces, uint8 (n, size, size, channels), and an epoch from 0, and gives as many pictures.
    """
    split = next(iter(dataset.card.splits))
    faces = [decode(data, color, size) for data, _ in zip(dataset.images(split), range(_FACES), strict=False)]
    columns = [faces, *(list(augment(np.stack(faces), epoch)) for epoch in range(_COLUMNS - 1))]
    sheet = contact_sheet(
        list(zip(*columns, strict=True)),
        [f"row {number}" for number in range(len(faces))],
        f"{dataset.card.name}, split {split}, augmented by {name}",
        columns=("as it is", *(f"epoch {epoch + 1}" for epoch in range(_COLUMNS - 1))),
    )
    path = dataset.folder / f"augmented-{name}.png"
    write_bytes(path, sheet)
    return path


def _picture(pixels: Pixels) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"a picture of {pixels.dtype} {pixels.shape}, not uint8 (height, width, 1 or 3)")
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _scaled(picture: Image.Image, largest: int = _LARGEST) -> Image.Image:
    longest = max(picture.size)
    if longest > largest:
        size = [max(round(side * largest / longest), 1) for side in picture.size]
        return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    times = -(-_SMALLEST // longest)
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def _empty(
    pictures: Sequence[Image.Image], size: tuple[int, int], title: str
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A sheet for these pictures with its title, gray if they all are, and what draws on it."""
    mode = "RGB" if any(picture.mode == "RGB" for picture in pictures) else "L"
    sheet = Image.new(mode, size, _shade(_PAPER, mode))
    draw = ImageDraw.Draw(sheet)
    _write(draw, _MARGIN, _MARGIN, [title])
    return sheet, draw


def _write(draw: ImageDraw.ImageDraw, x: int, y: int, text: list[str]) -> None:
    """Lines of text, the first one bold."""
    for number, line in enumerate(text):
        shade, font = (_SOFT, _PLAIN) if number else (_INK, _BOLD)
        draw.text((x, y + _LINE * number), line, _shade(shade, draw.mode), _font(font))


def _png(sheet: Image.Image) -> bytes:
    packed = io.BytesIO()
    sheet.save(packed, "png", optimize=True)
    return packed.getvalue()


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    # matplotlib ships this font, so a sheet looks the same on every machine.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, _LETTERS)


def _width(font: str, text: str) -> int:
    return int(np.ceil(_font(font).getlength(text)))


def _widest(texts: list[list[str]]) -> int:
    widths = [_width(_PLAIN if number else _BOLD, line) for text in texts for number, line in enumerate(text)]
    return max(widths, default=0)


def _shade(gray: int, mode: str) -> int | tuple[int, int, int]:
    return gray if mode == "L" else (gray, gray, gray)
