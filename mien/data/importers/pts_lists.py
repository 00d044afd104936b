"""300-W's lists beside its pictures: a text file for each split, with the path of an image or of its points a line."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from mien.data.importers.disk import visible
from mien.data.importers.source import BadRow
from mien.errors import MienError
from mien.reading import read_lines

_SUFFIXES = (".txt", ".lst", ".list")
_LOOKED_AT = 50


def splits_of_lists(source: Path, ids: Iterable[str]) -> tuple[dict[str, str], list[BadRow]]:
    """The split of each image that a list names, by ids; lines that name none, and images in no list, as bad rows.

    A list that holds no more than all others together, as `full.txt` beside `common.txt` and `challenging.txt`, is
    passed over. Without lists both are empty.
    """
    known = {_bare(row): row for row in ids}
    lists = {path: found for path in visible(source) if (found := _read(path, known)) is not None}
    named = {path: {_find(name, known) for name in lines} for path, lines in lists.items()}
    for whole, of_whole in named.items():
        others = [of for path, of in named.items() if path != whole]
        if len(others) > 1 and set().union(*others) == of_whole and all(of < of_whole for of in others):
            del lists[whole]
            break
    splits: dict[str, str] = {}
    bad: list[BadRow] = []
    for path, lines in lists.items():
        split = re.sub(r"\W+", "_", path.stem)
        for name, line in lines.items():
            row = _find(name, known)
            if row is None:
                bad.append(BadRow(name[:200], "image", "there is no such image with points", None, line, path.name))
            elif row in splits:
                reason = f"the image is listed twice, in {splits[row]} too"
                bad.append(BadRow(row, "", reason, None, line, path.name))
            else:
                splits[row] = split
    if lists:
        names = " and ".join(path.name for path in lists)
        bad += [BadRow(row, "image", f"{names} doesn't name it") for row in known.values() if row not in splits]
    return splits, bad


def _bare(path: str) -> str:
    return re.sub(r"\.\w+$", "", path.strip().replace("\\", "/")).removeprefix("./")


def _find(name: str, known: dict[str, str]) -> str | None:
    """The image of a path, which may begin above the source."""
    while name not in known and "/" in name:
        name = name.partition("/")[2]
    return known.get(name)


def _read(path: Path, known: dict[str, str]) -> dict[str, int] | None:
    """The paths of a list with their lines; None for a file that isn't one."""
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return None
    try:
        head = [_bare(text.split()[0]) for _, text in islice(read_lines(path), _LOOKED_AT) if text.strip()]
        hits = Counter(_find(name, known) is not None for name in head)
        if hits[True] <= hits[False]:
            return None
        return {_bare(text.split()[0]): line for line, text in read_lines(path) if text.strip()}
    except MienError:
        return None
