"""Folders of images: `<split>/<class>/images`, or `<class>/images`, for which mien draws the splits.

FER2013's folder version puts PublicTest and PrivateTest together as `test`; the names of its files
(`PublicTest_123.jpg`) give the official splits back. Names of CK+'s and JAFFE's pictures tell the person, those of SFEW
the film, and AFEW's frames have a folder for each clip: columns that keep rows together. A folder that is laid out
otherwise is refused, with what was seen.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from mien.data.dataset import split_rank
from mien.data.importers import layouts
from mien.data.importers.disk import LEADS_OUT, NOT_UTF_8, leads_out, read
from mien.data.importers.source import MAX_IMAGE_BYTES, Asked, BadRow, Row, Source
from mien.data.importers.tree import File, Tree, commonest_depth, lists_in, seen, tree_of, videos_in
from mien.data.labels import FACE, is_expression
from mien.errors import MienError
from mien.registry import register

_OFFICIAL = re.compile(r"(Training|PublicTest|PrivateTest)_(\d{1,18})\.\w+")
_WAYS = "<split>/<class>/images or <class>/images, or a list of labels (--metadata FILE)"


@dataclass(frozen=True)
class _Image:
    """A file of a class folder; `problem` says why it isn't even opened."""

    file: File
    split: str | None
    label: str
    number: int = 0
    extra: Mapping[str, str | None] = field(default_factory=dict)
    problem: str | None = None


@register("importer", "folder")
def folder(source: Path, asked: Asked) -> Source | None:
    """Images in class folders, with or without folders of splits above them."""
    if not source.is_dir():
        return None
    tree = tree_of(source)
    if not tree.images:
        if videos := videos_in(tree):
            raise MienError(
                f"there are videos, {len(videos):,} of them, and no images",
                file=str(source),
                expected="frames as images, as ffmpeg makes them: ffmpeg -i clip.avi clip/%04d.png",
            )
        return None
    if asked.labels == FACE:
        return _without_labels(source, tree)
    images, stray, columns = _sorted_out(source, tree, asked)
    named = [_OFFICIAL.fullmatch(image.file.path.name) for image in images]
    if 2 * sum(name is not None for name in named) > len(images):
        images = [_official(image, name) for image, name in zip(images, named, strict=True)]
    images.sort(key=lambda image: (split_rank(image.split or ""), image.number, image.file.id))
    drawn = all(image.split is None for image in images)
    return Source(
        rows=_rows(source, images, stray),
        classes=tuple(sorted({image.label for image in images})),
        total=len(images) + len(stray),
        columns=dict.fromkeys(columns, pa.string()),
        drawn=drawn,
        groups=columns,
        label_column="class folder",
        notes=_notes(tree, images, asked),
    )


def _sorted_out(source: Path, tree: Tree, asked: Asked) -> tuple[list[_Image], list[BadRow], tuple[str, ...]]:
    """The images of the class folders, what lies outside of them, and what file names tell: clips, films, persons."""
    depth = commonest_depth(tree.images)
    of_depth = [file for file in tree.images if len(file.folders) == depth]
    tops = sorted({file.folders[0] for file in of_depth}) if depth else []
    split_tops = [top for top in tops if layouts.is_split(top)]
    official = 2 * sum(bool(_OFFICIAL.fullmatch(file.path.name)) for file in of_depth) > len(of_depth)
    clips = depth == 3 and all(is_expression(file.folders[1]) for file in of_depth) and len(split_tops) == len(tops)
    problem = None
    if depth == 0:
        problem = "images lie side by side, and nothing gives their labels"
    elif depth == 1 and len(split_tops) == len(tops):
        problem = f"images lie in folders that are called like splits ({_few(tops)}), and nothing gives their classes"
    elif depth == 1 and split_tops and asked.labels is None:
        others = [top for top in tops if top not in split_tops]
        problem = (
            f"folders that are called like splits ({_few(split_tops)}) lie beside others ({_few(others)}); "
            "if all are classes, --labels with their names reads them so"
        )
    elif depth == 2 and 0 < len(split_tops) < len(tops) and not official:
        others = [top for top in tops if top not in split_tops]
        problem = f"of the upper folders some aren't called like splits ({_few(others)})"
    elif depth == 2 and not split_tops and not official and not asked.patterns:
        if len(tops) > 1:
            problem = (
                f"images lie two folders deep, and the upper folders aren't called like splits ({_few(tops)}); "
                "if they are persons, --column subject='^([^/]+)/' reads them so"
            )
        else:
            problem = f"the class folders lie one level too deep; {layouts.importing(source / tops[0])} reads them"
    elif depth == 3 and not clips and len(tops) == 1:
        problem = f"images lie three folders deep; {layouts.importing(source / tops[0])} may read them"
    elif depth >= 3 and not clips:
        problem = f"images lie {depth} folders deep"
    level = 1 if depth > 1 else 0
    likeness = layouts.resembles(tree)
    classes = {file.folders[level] for file in of_depth} if problem is None else set()
    plain = asked.labels is not None or all(is_expression(name) or name.isdecimal() for name in classes)
    if likeness is not None and problem is not None and len(tops) == 1:
        problem = f"the images of '{tops[0]}' alone don't say what they show"
    if problem is not None or (likeness is not None and not plain):
        raise layouts.not_understood(
            source, tree, problem or "this layout isn't read as class folders", likeness, _WAYS
        )
    with_splits = depth > 1 and (split_tops or official)
    _check_lists(source, tree, of_depth, asked)
    known = layouts.set_of(of_depth)
    columns = ((layouts.CLIP,) if clips else ()) + ((known.column,) if known and known.column else ())
    images: list[_Image] = []
    stray = list(tree.linked)
    root = source.resolve()
    for file in tree.files:
        if len(file.folders) == depth:
            problem = LEADS_OUT if leads_out(file.path, root) else NOT_UTF_8 if "\ufffd" in file.id else None
            split = file.folders[0] if with_splits else None
            match = known and known.tells.fullmatch(file.id)
            values = ("/".join(file.folders),) * clips + ((match[1] if match else None),)
            extra = dict(zip(columns, values, strict=False))
            images.append(_Image(file, split, file.folders[level], extra=extra, problem=problem))
        elif leads_out(file.path, root):
            stray.append(BadRow(file.id, "image", LEADS_OUT))
        elif file.is_image:
            where = "in a folder below a class folder" if len(file.folders) > depth else "not in a class folder"
            stray.append(BadRow(file.id, "image", where))
    return images, stray, columns


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _check_lists(source: Path, tree: Tree, images: list[File], asked: Asked) -> None:
    """Raise MienError for a list of labels that nobody would read, unless `--labels` says what the folders are."""
    found = _lists(tree, images)
    if found and asked.labels is None:
        raise MienError(
            f"'{found[0].id}' may list labels, and with class folders it isn't read",
            file=str(source),
            expected=f"--metadata '{source / found[0].id}' to take the labels from it, or --labels with the classes "
            "to take them from the folders",
        )


def _lists(tree: Tree, images: list[File]) -> list[File]:
    depth = len(images[0].folders)
    return lists_in((file for file in tree.files if len(file.folders) != depth), images)


def _notes(tree: Tree, images: list[_Image], asked: Asked) -> list[str]:
    notes = layouts.terms_of([image.file for image in images])
    unread = _lists(tree, [image.file for image in images])
    if unread:
        notes.append(f"not read, since --labels says what the folders are: {_few([file.id for file in unread])}")
    return notes


def _without_labels(source: Path, tree: Tree) -> Source:
    """All images as faces without labels; upper folders that are called like splits are."""
    images = tree.images
    tops = {file.folders[0] if file.folders else "" for file in images}
    splits = all(layouts.is_split(top) for top in tops)
    root = source.resolve()
    found = [
        _Image(file, file.folders[0] if splits else None, FACE.classes[0],
               problem=LEADS_OUT if leads_out(file.path, root) else NOT_UTF_8 if "\ufffd" in file.id else None)
        for file in images
    ]  # fmt: skip
    found.sort(key=lambda image: (split_rank(image.split or ""), image.file.id))
    return Source(
        rows=_rows(source, found, tree.linked),
        classes=FACE.classes,
        total=len(found) + len(tree.linked),
        drawn=not splits,
        label_column="class folder",
        notes=[f"faces without labels, as --labels face asked; seen: {seen(tree)}"],
    )


def _official(image: _Image, name: re.Match[str] | None) -> _Image:
    """The image with the official split that its name gives, or with a problem if it gives none or contradicts."""
    if name is None:
        return replace(image, problem="the name gives no official split, as most of the others do")
    split = name[1]
    problem = image.problem
    if image.split is not None and (split == "Training") != image.split.lower().startswith("train"):
        problem = f"the name says {split}, but the folder is '{image.split}'"
    return replace(image, split=split, number=int(name[2]), problem=problem)


def _rows(source: Path, images: list[_Image], stray: list[BadRow]) -> Iterator[Row | BadRow]:
    for image in images:
        try:
            if image.problem:
                raise MienError(image.problem)
            data = read(image.file.path, MAX_IMAGE_BYTES)
        except MienError as error:
            yield BadRow(image.file.id, "image", error.message)
        else:
            yield Row(image.split, image.file.id, data, image.label, path=image.file.path.name, extra=image.extra)
    yield from stray
