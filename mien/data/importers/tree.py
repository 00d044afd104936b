"""All files of a folder, and what they look like from afar: how deep images lie, and which files list them."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mien.data.importers.disk import LEADS_OUT, SUFFIXES, leads_out, relative, visible
from mien.data.importers.source import BadRow
from mien.errors import MienError

_MAX_FILES = 20_000_000
_MAX_DEPTH = 20
_PEEK = 2**16
_VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg", ".webm")
_TEXT_LISTS = (".csv", ".tsv", ".txt", ".lst", ".list", ".json", ".jsonl")
_OTHER_LISTS = (".npy", ".npz", ".mat", ".xlsx", ".xls", ".parquet", ".arrow", ".pkl", ".pickle", ".pts", ".xml")
_IMAGE_NAME = re.compile(rb"([^\s,;\"'/\\]+)\.(?:png|jpe?g|webp|bmp|tiff?|gif|p[gp]m|hei[cf])", re.IGNORECASE)


@dataclass(frozen=True)
class File:
    """A file below the source: its path there, as the id of a row has it, and the names of the folders above it."""

    path: Path
    id: str
    folders: tuple[str, ...]

    @property
    def is_image(self) -> bool:
        """Whether its name is that of an image."""
        return self.path.suffix.lower() in SUFFIXES

    @property
    def stem(self) -> str:
        """Its name without suffix, as text."""
        return self.id.rpartition("/")[2].rpartition(".")[0]


@dataclass
class Tree:
    """The files below a folder, sorted, and the links that aren't followed, as bad rows."""

    source: Path
    files: list[File] = field(default_factory=list)
    linked: list[BadRow] = field(default_factory=list)

    @property
    def images(self) -> list[File]:
        """The files that are called like images."""
        return [file for file in self.files if file.is_image]


def tree_of(source: Path) -> Tree:
    """All files below a folder but hidden ones; links to folders aren't followed."""
    root = source.resolve()
    tree = Tree(source)
    waiting: list[tuple[Path, tuple[str, ...]]] = [(source, ())]
    while waiting:
        folder, names = waiting.pop()
        for path in visible(folder):
            name = relative(path, source)
            if path.is_dir():
                if path.is_symlink():
                    reason = LEADS_OUT if leads_out(path, root) else "a link to a folder, which isn't followed"
                    tree.linked.append(BadRow(name, "image", reason))
                elif len(names) == _MAX_DEPTH:
                    raise MienError(f"folders stand more than {_MAX_DEPTH} deep in each other", file=str(source))
                else:
                    waiting.append((path, (*names, name.rpartition("/")[2])))
            else:
                tree.files.append(File(path, name, names))
        if len(tree.files) > _MAX_FILES:
            raise MienError(f"there are more than {_MAX_FILES:,} files", file=str(source))
    tree.files.sort(key=lambda file: file.id)
    tree.linked.sort(key=lambda bad: bad.row)
    return tree


def commonest_depth(files: Iterable[File]) -> int:
    """How many folders stand above most of the files; of two the fewer."""
    depths = Counter(len(file.folders) for file in files)
    return max(depths, key=lambda depth: (depths[depth], -depth))


def lists_in(files: Iterable[File], images: Sequence[File]) -> list[File]:
    """The files that may hold labels of the images: those that name some of them, or hold data of other kinds."""
    stems = {file.stem for file in images}
    return [file for file in files if _lists(file, stems)]


def _lists(file: File, stems: set[str]) -> bool:
    suffix = file.path.suffix.lower()
    if suffix in _OTHER_LISTS:
        return True
    if suffix not in _TEXT_LISTS or not file.path.is_file():
        return False
    with contextlib.suppress(OSError), file.path.open("rb") as opened:
        head = opened.read(_PEEK)
        return any(found[1].decode("utf-8", "replace") in stems for found in _IMAGE_NAME.finditer(head))
    return False


def seen(tree: Tree) -> str:
    """What lies in a folder, in a few words.

    >>> seen(Tree(Path("x"), [File(Path("x/a/0.PNG"), "a/0.PNG", ("a",)), File(Path("x/n.txt"), "n.txt", ())]))
    '1 .png in a/, 1 .txt'
    """
    kinds = Counter((file.path.suffix.lower() or "no suffix", "/".join(file.folders)) for file in tree.files)
    parts = [f"{n:,} {kind}" + (f" in {folder}/" if folder else "") for (kind, folder), n in kinds.most_common(4)]
    more = len(kinds) - len(parts)
    return (", ".join(parts) + (f" and {more} kinds and folders more" if more else "")) or "no files"


def videos_in(tree: Tree) -> list[File]:
    """The files that are called like videos."""
    return [file for file in tree.files if file.path.suffix.lower() in _VIDEOS]
