"""Which label scheme a new data set has, and which of its classes each label of the source is."""

import re
from collections.abc import Collection
from pathlib import Path

from mien.data.importers.source import Asked, Source
from mien.data.labels import FACE, FIRST_NUMBERS, SCHEMES, LabelScheme, canonical, scheme_named, scheme_of
from mien.errors import MienError

_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*")


def asked_scheme(labels: str | None, name: str) -> LabelScheme | None:
    """The scheme that `--labels` asks for: a built-in one, or the classes "a,b,c" as a scheme of the data set's name.

    >>> asked_scheme("cat, dog", "pets")
    LabelScheme(name='pets', classes=('cat', 'dog'))
    """
    if labels is None or labels in SCHEMES:
        return None if labels is None else SCHEMES[labels]
    classes = tuple(label.strip() for label in labels.split(","))
    if "" in classes:
        raise MienError(f"'{labels}' has a class without a name", key="--labels", expected="names between commas")
    if len(set(map(canonical, classes))) < len(classes):
        raise MienError(f"'{labels}' names a class twice", key="--labels", expected="each once")
    for known in SCHEMES.values():
        if tuple(map(canonical, known.classes)) == tuple(map(canonical, classes)):
            return known
    return LabelScheme(name, classes)


def scheme_for(content: Source, source: Path, asked: Asked, name: str) -> tuple[LabelScheme, dict[int | str, int]]:
    """The label scheme of the new data set, and the index in it of each label of the source."""
    chosen = asked.labels or (SCHEMES[content.scheme] if content.scheme else None)
    own = {canonical(label) for label in content.classes or ()}
    if chosen is not None and chosen.name not in SCHEMES and len(chosen) == 1 and own != {canonical(chosen.classes[0])}:
        # One name without a comma that isn't the only class of the source: a scheme's name with a slip in it.
        scheme_named(chosen.classes[0])
    if chosen == FACE:
        return FACE, _all_faces(content)
    if content.classes is None or (content.classes and all(_is_number(label) for label in content.classes)):
        if chosen is None:
            raise MienError(
                "the labels are numbers, and nothing says which class each stands for",
                file=str(source),
                key=content.label_column,
                expected="--labels with one of "
                + ", ".join(name for name in SCHEMES if len(SCHEMES[name]) > 1)
                + ", or with the names of the classes in order, as --labels happy,sad",
            )
        return chosen, _by_number(content, chosen, source)
    if chosen is None and (number := next(filter(_NUMBER.fullmatch, content.classes), None)) is not None:
        raise MienError(
            f"among the names of classes stands a number, '{number}'",
            file=str(source),
            key=content.label_column,
            expected="names alone, or --labels with the classes",
        )
    first_spelling = {canonical(label): label for label in reversed(content.classes)}
    classes = [label for label in content.classes if first_spelling[canonical(label)] == label]
    scheme = chosen or scheme_of(classes, otherwise=name)
    if scheme.name in SCHEMES and scheme != SCHEMES[scheme.name]:
        raise MienError(f"a data set with other classes than the label scheme '{name}' can't have its name")
    place = {canonical(label): i for i, label in enumerate(scheme.classes)}
    indexes: dict[int | str, int] = {
        label: place[canonical(label)] for label in content.classes if canonical(label) in place
    }
    indexes |= {i: indexes[label] for i, label in enumerate(content.classes) if label in indexes}
    return scheme, indexes


def _all_faces(content: Source) -> dict[int | str, int]:
    """Whatever the labels are, each is a face."""
    labels: dict[int | str, int] = dict.fromkeys(content.classes or (), 0)
    return labels | dict.fromkeys(range(len(content.classes or FACE)), 0) | {FACE.classes[0]: 0}


def _is_number(label: str) -> bool:
    return label.strip().isascii() and label.strip().isdecimal() and len(label.strip()) <= 18


def _by_number(content: Source, scheme: LabelScheme, source: Path) -> dict[int | str, int]:
    """The index of each number, as it stands in the source and as an integer."""
    numbers = {int(label) for label in content.classes or ()}
    if scheme.name in SCHEMES:
        first = FIRST_NUMBERS.get(scheme.name, 0)
        places = {first + place: place for place in range(len(scheme))}
    else:
        places = _in_order(numbers, scheme, source, content.label_column)
    indexes: dict[int | str, int] = {number: place for number, place in places.items()}  # noqa: C416
    return indexes | {label: places[int(label)] for label in content.classes or () if int(label) in places}


def _in_order(numbers: Collection[int], scheme: LabelScheme, source: Path, column: str) -> dict[int, int]:
    """The index of each number under a scheme of the user's own, whose first class is 0 or 1, or the lowest of all."""
    count = len(scheme)
    if len(numbers) == count:
        return {number: place for place, number in enumerate(sorted(numbers))}
    for first in (0, 1):
        # The end on the other side shows which of the two it is.
        if set(numbers) <= set(range(first, first + count)) and (0 if first == 0 else count) in numbers:
            return {first + place: place for place in range(count)}
    shown = ", ".join(map(str, sorted(numbers)[:12])) + (", …" if len(numbers) > 12 else "")
    raise MienError(
        f"the labels are the numbers {shown}, and --labels has {count} names",
        file=str(source),
        key=column,
        expected="a name for each number, in order",
    )
