"""RAF-DB's basic set: `Image/aligned/train_00001_aligned.jpg` with `EmoLabel/list_patition_label.txt`.

A line of the list is "train_00001.jpg 5".
Numbers are 1 to 7: surprise, fear, disgust, happiness, sadness, anger, neutral. The name of a picture says its split.
Aligned faces are read where they are there, else the original pictures. Source: the set's own readme.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mien.data.importers import layouts, listed
from mien.data.importers.listed import Listed
from mien.data.importers.source import BadRow, Source
from mien.data.importers.tree import File, Tree, tree_of
from mien.data.labels import RAF_DB
from mien.errors import MienError
from mien.reading import read_lines
from mien.registry import register

_LIST = re.compile(r"list_par?tition_label\.txt", re.IGNORECASE)
_NAME = re.compile(r"(train|test)_\d+")


@register("importer", "raf-db")
def raf_db(source: Path) -> Source | None:
    """RAF-DB's basic set as it is handed out: pictures, and one list of labels."""
    if not source.is_dir():
        return None
    lists = [path for folder in (source, source / "EmoLabel") for path in _lists(folder)]
    if not lists:
        return None
    if len(lists) > 1:
        raise MienError("there are several lists of labels", file=str(source), expected="one list_patition_label.txt")
    tree = tree_of(source)
    images, aligned = _images(tree)
    if not images:
        likeness = layouts.RAF_DB
        raise layouts.not_understood(
            source, tree, "there is a list of labels, and none of its images", likeness, likeness.layout
        )
    name = lists[0].relative_to(source).as_posix()
    # Read once, so that an error in the list comes before any work.
    named = {one.image for one in _listed(lists[0], name, images, aligned)}
    folders = {file.folders for file in images.values()}
    stray = listed.unlisted((file for file in tree.images if file.folders in folders), named, name)
    return Source(
        rows=listed.rows(source, _listed(lists[0], name, images, aligned), stray),
        classes=tuple(str(number) for number in range(1, 8)),
        total=len(named) + len(stray),
        scheme=RAF_DB.name,
        label_column="label",
        details={"terms": layouts.RAF_DB.terms, "faces": "aligned" if aligned else "original"},
        notes=[f"labels from {name}, {'aligned' if aligned else 'original'} pictures", layouts.RAF_DB.terms],
    )


def _lists(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _LIST.fullmatch(path.name)] if folder.is_dir() else []


def _images(tree: Tree) -> tuple[dict[str, File], bool]:
    """The pictures by the name that the list has for them, and whether they are the aligned ones."""
    named = {file.stem: file for file in tree.images if _NAME.match(file.stem)}
    aligned = {stem.removesuffix("_aligned"): file for stem, file in named.items() if stem.endswith("_aligned")}
    return (aligned, True) if aligned else (named, False)


def _listed(file: Path, name: str, images: dict[str, File], aligned: bool) -> Iterator[Listed]:
    for line, text in read_lines(file):
        fields = text.split()
        if not fields:
            continue
        match = _NAME.match(fields[0])
        if len(fields) != 2 or match is None:
            problem = BadRow(fields[0], "", f"'{text.strip()[:40]}' is no label", "as 'train_00001.jpg 5'", line, name)
            yield Listed("", None, None, problem=problem)
            continue
        stem = fields[0].rpartition(".")[0]
        image = images.get(stem)
        if image is None:
            kind = "aligned picture" if aligned else "picture"
            yield Listed(
                "", None, None, problem=BadRow(fields[0], "image", f"there is no {kind} of it", None, line, name)
            )
        else:
            yield Listed(image.id, fields[1], match[1], line, name)
