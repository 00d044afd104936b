"""AffectNet as it is handed out: `train_set/images/0.jpg` with `train_set/annotations/0_exp.npy`, `_val` and `_aro`.

Numbers are 0 to 7: neutral, happiness, sadness, surprise, fear, disgust, anger, contempt. Valence and arousal become
columns. Points (`0_lnd.npy`) aren't read. Source: A. Mollahosseini et al. (2017), AffectNet, IEEE Transactions on
Affective Computing 10.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mien.data.dataset import split_rank
from mien.data.importers import layouts, listed
from mien.data.importers.disk import SUFFIXES, visible
from mien.data.importers.listed import Listed
from mien.data.importers.source import BadRow, Source
from mien.data.labels import AFFECTNET
from mien.errors import MienError
from mien.reading import read_array
from mien.registry import register

_NUMBERS = {"valence": "_val.npy", "arousal": "_aro.npy"}
_MAX_BYTES = 4096


@register("importer", "affectnet")
def affectnet(source: Path) -> Source | None:
    """AffectNet's folders `train_set` and `val_set`, or one of them."""
    if not source.is_dir():
        return None
    parts = [source] if _is_part(source) else [path for path in visible(source) if _is_part(path)]
    if not parts:
        return None
    splits = {part: None if part == source else part.name.removesuffix("_set") for part in parts}
    parts.sort(key=lambda part: split_rank(splits[part] or ""))
    images = {part: _images(part / "images") for part in parts}
    stray = [
        BadRow(f"{file.parent.parent.name}/annotations/{file.name}", "image", "there is no image of it")
        for part in parts
        for file in visible(part / "annotations")
        if file.name.endswith("_exp.npy") and file.name.removesuffix("_exp.npy") not in images[part]
    ]
    return Source(
        rows=listed.rows(source, _listed(source, splits, images), stray),
        classes=tuple(str(number) for number in range(len(AFFECTNET))),
        total=sum(map(len, images.values())) + len(stray),
        columns=dict.fromkeys(_NUMBERS, pa.float32()),
        drawn=parts == [source],
        scheme=AFFECTNET.name,
        label_column="expression",
        details={"terms": layouts.AFFECTNET.terms},
        notes=["labels, valence and arousal from annotations/*.npy; its points aren't read", layouts.AFFECTNET.terms],
    )


def _is_part(folder: Path) -> bool:
    annotations = folder / "annotations"
    if not (folder / "images").is_dir() or not annotations.is_dir() or folder.is_symlink():
        return False
    return any(file.name.endswith("_exp.npy") for file in visible(annotations))


def _images(folder: Path) -> dict[str, Path]:
    """The images of a part by the stems of their names."""
    found: dict[str, Path] = {}
    for path in sorted(visible(folder), key=lambda path: (len(path.name), path.name)):
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            if path.stem in found:
                raise MienError(f"two images are called '{path.stem}'", file=str(folder), expected="one")
            found[path.stem] = path
    return found


def _listed(source: Path, splits: dict[Path, str | None], images: dict[Path, dict[str, Path]]) -> Iterator[Listed]:
    for part, of_part in images.items():
        for stem, path in of_part.items():
            name = path.relative_to(source).as_posix()
            column = "expression"
            try:
                expression = _number(part / "annotations" / f"{stem}_exp.npy")
                if expression != int(expression):
                    raise MienError(f"'{expression}' is no label")
                extra = {}
                for column, suffix in _NUMBERS.items():
                    file = part / "annotations" / f"{stem}{suffix}"
                    extra[column] = _number(file) if file.exists() else None
            except MienError as error:
                at = Path(error.file).relative_to(source).as_posix() if error.file else None
                yield Listed("", None, None, problem=BadRow(name, column, error.message, error.expected, None, at))
            else:
                yield Listed(name, str(int(expression)), splits[part], extra=extra)


def _number(file: Path) -> float:
    """The one number of a file, which AffectNet stores as text."""
    if not file.is_file():
        raise MienError("there is no such file", file=str(file))
    array = read_array(file, most=_MAX_BYTES)
    try:
        if array.size != 1:
            raise ValueError
        number = float(array.reshape(-1)[0])
        if not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError):
        shown = f"{array.size} values" if array.size != 1 else f"'{array.reshape(-1)[0]}'"
        raise MienError(f"{shown[:40]} is no number", file=str(file), expected="one number") from None
    return number
