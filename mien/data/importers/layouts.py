"""What is known of public data sets' layouts: what they are recognised by, and the terms of their data."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.data.importers.tree import File, Tree, seen, tree_of
from mien.errors import MienError

# The column that names the clip, or the film, that a frame was taken from.
CLIP = "clip"

# What a folder of a split is called: the usual words, alone or beside others, as in `train_set` and `Val_AFEW`.
_SPLIT = re.compile(
    r"(.*[^a-z])?(train(ing)?|valid(ation)?|val|dev|test(ing)?|publictest|privatetest|eval|holdout|fold|split)"
    r"([^a-z].*)?",
    re.IGNORECASE,
)

_RESEARCH = "for research only, no commercial products; weights that are trained on it carry that limit"


@dataclass(frozen=True)
class Layout:
    """A public data set: its name, how it is laid out, the paths that tell it, and the terms of its data.

    `column` is what the group of `tells` says of a picture: the person, or the film.
    """

    name: str
    layout: str
    tells: re.Pattern[str]
    terms: str
    column: str | None = None


def _layout(name: str, layout: str, tells: str, column: str | None = None) -> Layout:
    return Layout(name, layout, re.compile(tells, re.IGNORECASE), f"{name}'s data are {_RESEARCH}", column)


RAF_DB = _layout(
    "RAF-DB",
    "Image/aligned/train_00001_aligned.jpg with EmoLabel/list_patition_label.txt",
    r"(.*/)?list_par?tition_label\.txt|(.*/)?(train|test)_\d{4,5}_aligned\.jpg",
)
AFFECTNET = _layout(
    "AffectNet",
    "train_set/images/0.jpg with train_set/annotations/0_exp.npy",
    r"(.*/)?\d+_(exp|val|aro|lnd)\.npy",
)
EXPW = _layout("ExpW", "image/*.jpg with label/label.lst", r"(.*/)?label\.lst")
CK_PLUS = _layout(
    "CK+",
    "cohn-kanade-images/S005/001/S005_001_00000001.png with Emotion/S005/001/S005_001_00000011_emotion.txt",
    r"(?:.*/)?(S\d{3})_\d{3}_\d{8}(?:\.(?:png|jpe?g|tiff?|bmp)|_emotion\.txt|_landmarks\.txt)",
    "subject",
)
JAFFE = _layout(
    "JAFFE",
    "KA.AN1.39.tiff",
    r"(?:.*/)?([A-Z]{2})[.-](?:AN|DI|FE|HA|NE|SA|SU)\d[.-]\d+\.(?:tiff?|png|jpe?g|bmp)",
    "subject",
)
SFEW = _layout(
    "SFEW and AFEW",
    "Train/Angry/FILM_000128160_00000000.png",
    r"(?:.*/)?([^/]+)_\d{9}_\d{8}\.(?:png|jpe?g)",
    "film",
)
WFLW = _layout(
    "WFLW",
    "WFLW_images/0--Parade/*.jpg with list_98pt_rect_attr_train.txt",
    r"(.*/)?list_98pt_(rect_attr_)?(train|test)\.txt|(.*/)?WFLW_images/.*",
)
IMAGE_FOLDER = Layout(
    "Hugging Face's imagefolder",
    "train/metadata.csv with the columns file_name and label",
    re.compile(r"(.*/)?metadata\.(csv|jsonl|parquet)", re.IGNORECASE),
    "",
)
# Sets whose own layout has a reader, which has refused what comes here or found no images.
READ = (RAF_DB, AFFECTNET, EXPW, CK_PLUS, JAFFE, WFLW, IMAGE_FOLDER)

# How a file begins that holds others, its kind, and what unpacks it; the last for one that isn't a tar inside.
_ARCHIVES = (
    (b"PK\x03\x04", "zip", "unzip {0} -d {1}", None),
    (b"PK\x05\x06", "zip", "unzip {0} -d {1}", None),
    (b"\x1f\x8b", "gzip", "mkdir {1}; tar -xzf {0} -C {1}", "gunzip -c {0} > {1}"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x {0} -o{1}", None),
    (b"Rar!", "rar", "unrar x {0} {1}/", None),
    (b"\xfd7zXZ", "xz", "mkdir {1}; tar -xJf {0} -C {1}", "unxz -c {0} > {1}"),
    (b"BZh", "bzip2", "mkdir {1}; tar -xjf {0} -C {1}", "bunzip2 -c {0} > {1}"),
)
_TAR = re.compile(r"\.(tar(\.\w+)?|tgz|txz|tbz2?)$", re.IGNORECASE)
# Zips that aren't archives to their users.
_OFFICE = (".xlsx", ".xlsm", ".ods", ".docx", ".pptx", ".npz")
# What a folder may hold that is a source of its own.
_SOURCES = re.compile(r".+\.(csv|tsv|jsonl)(\.gz)?|.+\.(parquet|zip|7z|rar|tar|tgz|tar\.\w+)", re.IGNORECASE)


def is_split(name: str) -> bool:
    """Whether a folder is called like a split.

    >>> is_split("train_set"), is_split("Val"), is_split("contest")
    (True, True, False)
    """
    return _SPLIT.fullmatch(name) is not None


def resembles(tree: Tree) -> Layout | None:
    """The public set whose layout a folder has in part."""
    for known in READ:
        if any(known.tells.fullmatch(file.id) for file in tree.files):
            return known
    return None


def set_of(files: Sequence[File]) -> Layout | None:
    """The public set whose files most of these are by their names, wherever they lie."""
    for known in (SFEW, RAF_DB, CK_PLUS, JAFFE):
        if files and 2 * sum(bool(known.tells.fullmatch(file.id)) for file in files) > len(files):
            return known
    return None


def terms_of(files: Sequence[File]) -> list[str]:
    """The terms of that set as a note, or none."""
    known = set_of(files)
    return [known.terms] if known else []


def not_understood(source: Path, tree: Tree, problem: str, likeness: Layout | None, ways: str) -> MienError:
    """The refusal of a folder: what was seen, what it resembles, and what is read."""
    text = f"{problem}; seen: {seen(tree)}"
    if likeness is not None:
        text += f"; this resembles {likeness.name}, which is read as {likeness.layout}"
    return MienError(text, file=str(source), expected=ways)


def unknown(source: Path, looked_for: str) -> MienError:
    """The error of a source that no importer takes; for an archive, what unpacks it."""
    if source.is_file():
        with source.open("rb") as file:
            head = file.read(512)
        if source.suffix.lower() in _OFFICE:
            return MienError(f"{source.suffix} isn't read", file=str(source), expected="a table as CSV, or images")
        for magic, kind, command, single in (*_ARCHIVES, (None, "tar", "mkdir {1}; tar -xf {0} -C {1}", None)):
            if head.startswith(magic) if magic else head[257:262] == b"ustar":
                packed = single if single and not _TAR.search(source.name) else command
                return _packed(source, kind, packed, folder=packed != single)
        return MienError("this is of no known format", file=str(source), expected=looked_for)
    tree = tree_of(source)
    inside = [file.path for file in tree.files if _SOURCES.fullmatch(file.path.name)]
    if inside and not tree.images:
        more = f", or another of its {len(inside)} tables and archives" if len(inside) > 1 else ""
        looked_for = importing(inside[0]) + more
    return not_understood(source, tree, "this is of no known format", resembles(tree), looked_for)


def importing(source: Path) -> str:
    """The command that imports another source, safe to be pasted whatever its name is.

    >>> importing(Path("my faces"))
    "mien data import 'my faces' --as NAME"
    """
    return f"mien data import {_quoted(str(source))} --as NAME"


def _quoted(name: str) -> str:
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _packed(source: Path, kind: str, command: str, *, folder: bool) -> MienError:
    """The error of a packed file: the command that unpacks it into what isn't there yet, and the next one."""
    stem = _TAR.sub("", source.name) if _TAR.search(source.name) else source.stem
    new = stem.strip(". ") or "unpacked"
    while Path(new).exists() or new == source.name:
        new = f"unpacked-{new}"
    unpack = command.format(_quoted(str(source)), _quoted(new))
    what = "this is an archive" if folder else "this is a packed file"
    inside = "what is in it" if folder else "the file in it"
    return MienError(f"{what} ({kind})", file=str(source), expected=f"{inside}: {unpack}; then {importing(Path(new))}")
