"""CK+ as it is handed out: `cohn-kanade-images/S005/001/…_00000011.png` and `Emotion/S005/001/…_00000011_emotion.txt`.

An emotion's file names the peak frame of its sequence, and that is the row; other frames have no label. Numbers are
0 to 7: neutral, anger, contempt, disgust, fear, happiness, sadness, surprise. Source: P. Lucey et al. (2010), The
extended Cohn-Kanade dataset, CVPR Workshops.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mien.data.importers import layouts, listed
from mien.data.importers.disk import read
from mien.data.importers.listed import Listed
from mien.data.importers.source import BadRow, Source
from mien.data.importers.tree import File, tree_of
from mien.data.labels import CK_PLUS
from mien.errors import MienError
from mien.registry import register

_SUFFIX = "_emotion.txt"
_MAX_BYTES = 1000


@register("importer", "ck-plus")
def ck_plus(source: Path) -> Source | None:
    """Sequences of CK+ with the files of their emotions."""
    if not source.is_dir():
        return None
    tree = tree_of(source)
    emotions = [file for file in tree.files if file.id.endswith(_SUFFIX) and layouts.CK_PLUS.tells.fullmatch(file.id)]
    images = {file.stem: file for file in tree.images if layouts.CK_PLUS.tells.fullmatch(file.id)}
    if not emotions or not images:
        return None
    named = sum(_stem(file) in images for file in emotions)
    return Source(
        rows=listed.rows(source, _listed(emotions, images), tree.linked),
        classes=tuple(map(str, range(len(CK_PLUS)))),
        total=len(emotions) + len(tree.linked),
        columns={"subject": pa.string()},
        drawn=True,
        groups=("subject",),
        scheme=CK_PLUS.name,
        label_column="emotion",
        details={"terms": layouts.CK_PLUS.terms},
        notes=[
            f"peak frames with the label of their sequence; frames without one, left out: {len(images) - named:,}",
            layouts.CK_PLUS.terms,
        ],
    )


def _stem(emotion: File) -> str:
    return emotion.id.rpartition("/")[2].removesuffix(_SUFFIX)


def _listed(emotions: list[File], images: dict[str, File]) -> Iterator[Listed]:
    for emotion in emotions:
        image = images.get(_stem(emotion))
        row = emotion.id if image is None else image.id
        try:
            if image is None:
                raise MienError("there is no image of it")
            text = read(emotion.path, _MAX_BYTES).decode("utf-8", "replace").strip()
            number = float(text)
            if not math.isfinite(number) or number != int(number):
                raise ValueError
        except MienError as error:
            yield Listed("", None, None, problem=BadRow(row, "image" if image is None else "emotion", error.message))
        except ValueError:
            problem = BadRow(row, "emotion", f"'{text[:20]}' is no label", "0 to 7", 1, emotion.id)
            yield Listed("", None, None, problem=problem)
        else:
            yield Listed(image.id, str(int(number)), None, extra={"subject": image.stem[:4].upper()})
