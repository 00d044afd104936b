"""Data sets with known class counts, so that an import notices a copy that differs."""

from collections.abc import Mapping, Sequence

from mien.data.importers.source import OFFICIAL_SPLITS
from mien.data.labels import FER2013, SCHEMES, LabelScheme

# The challenge's fer2013.csv: images by class, in the order of the scheme.
FER2013_COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}


def difference(scheme: LabelScheme, counts: Mapping[str, Sequence[int]]) -> str | None:
    """A note for readers if a data set looks like FER2013 but has other counts by class; else None.

    It looks like FER2013 if it has its classes, and no splits but the official ones.
    """
    if scheme != FER2013 or not set(counts) <= set(OFFICIAL_SPLITS):
        return None
    if {split: tuple(numbers) for split, numbers in counts.items()} == FER2013_COUNTS:
        return None
    here = {split: tuple(counts.get(split, (0,) * len(scheme))) for split in FER2013_COUNTS}
    return (
        "The images by class are not those of FER2013: this is another, a changed or a broken copy.\n\n"
        f"{_table('here', scheme, here)}\n\n{_table('FER2013', scheme, FER2013_COUNTS)}"
    )


def renamed(scheme: LabelScheme, counts: Mapping[str, Sequence[int]]) -> bool:
    """Whether rows under another built-in scheme are FER2013's, whose numbers mean other classes."""
    if scheme == FER2013 or scheme.name not in SCHEMES:
        return False
    n = len(FER2013)
    return any(tuple(of[:n]) in FER2013_COUNTS.values() and not any(of[n:]) for of in counts.values())


def _table(title: str, scheme: LabelScheme, counts: Mapping[str, Sequence[int]]) -> str:
    lines = [(title, *scheme.classes, "all")]
    lines += [(split, *(f"{n:,}" for n in (*numbers, sum(numbers)))) for split, numbers in counts.items()]
    return "\n".join(f"{line[0]:<12}" + "".join(f"{cell:>9}" for cell in line[1:]) for line in lines)
