"""JAFFE by its file names, `KA.AN1.39.tiff`: the person, the expression and its number, in one folder.

Source: M. Lyons et al. (1998), Coding facial expressions with Gabor wavelets, FG.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mien.data.importers import layouts, listed
from mien.data.importers.listed import Listed
from mien.data.importers.source import BadRow, Source
from mien.data.importers.tree import Tree, tree_of
from mien.data.labels import is_expression
from mien.registry import register

_CODES = {
    "AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise"
}  # fmt: skip
_CODE = re.compile(r"(?:.*/)?[A-Z]{2}[.-]([A-Z]{2})", re.IGNORECASE)


@register("importer", "jaffe")
def jaffe(source: Path) -> Source | None:
    """A folder of JAFFE's pictures; in folders of classes they are class folders."""
    if not source.is_dir():
        return None
    tree = tree_of(source)
    in_classes = any(is_expression(file.folders[-1]) for file in tree.images if file.folders)
    if layouts.set_of(tree.images) != layouts.JAFFE or in_classes:
        return None
    return Source(
        rows=listed.rows(source, _listed(tree), tree.linked),
        classes=tuple(_CODES.values()),
        total=len(tree.images) + len(tree.linked),
        columns={"subject": pa.string()},
        drawn=True,
        groups=("subject",),
        details={"terms": layouts.JAFFE.terms},
        notes=["labels and persons from JAFFE's file names", layouts.JAFFE.terms],
    )


def _listed(tree: Tree) -> Iterator[Listed]:
    for file in tree.images:
        match, code = layouts.JAFFE.tells.fullmatch(file.id), _CODE.match(file.id)
        if match is None or code is None:
            problem = BadRow(file.id, "label", "the name is none of JAFFE's", "as KA.AN1.39.tiff")
            yield Listed("", None, None, problem=problem)
        else:
            yield Listed(file.id, _CODES[code[1].upper()], None, extra={"subject": match[1].upper()})
