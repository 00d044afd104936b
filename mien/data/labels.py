"""Label schemes: named, ordered lists of classes, and which class of one scheme is which of another."""

from collections.abc import Sequence
from dataclasses import dataclass

from mien.errors import MienError, shown, unknown

# More would make confusion matrices that no one reads and few machines hold.
MAX_CLASSES = 1000
# The longest name of a class or a scheme, in letters.
MAX_NAME = 100


@dataclass(frozen=True)
class LabelScheme:
    """A named, ordered list of classes: label i of a data set under this scheme is `classes[i]`."""

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse names that can't be shown on a line, wherever they come from."""
        _check_names(self.classes, self.name)

    def __len__(self) -> int:
        return len(self.classes)

    def to(self, other: "LabelScheme") -> tuple[int | None, ...]:
        """For each class of this scheme, its index in the other, or None where the other has no such class.

        >>> SCHEMES["ferplus-8"].to(SCHEMES["fer2013-7"])
        (6, 3, 5, 4, 0, 1, 2, None)
        """
        index = {canonical(name): i for i, name in enumerate(other.classes)}
        return tuple(index.get(canonical(name)) for name in self.classes)


def check_classes(classes: Sequence[str], scheme: str) -> None:
    """Raise MienError for classes from a file that can't be used: none, two of one name, names that can't be shown."""
    _check_names(classes, scheme)
    if not classes:
        raise MienError("there are no classes")
    if len(set(classes)) < len(classes):
        twice = next(one for place, one in enumerate(classes) if one in classes[:place])
        raise MienError(f"two classes are called '{twice}'")


def _check_names(classes: Sequence[str], scheme: str) -> None:
    if len(classes) > MAX_CLASSES:
        raise MienError(f"there are {len(classes):,} classes", expected=f"at most {MAX_CLASSES:,}")
    for one in (scheme, *classes):
        if len(one) > MAX_NAME or shown(one) != one:
            raise MienError(
                f"'{one[:MAX_NAME]}' can't be the name of a class",
                expected=f"at most {MAX_NAME} letters, without line breaks and control characters",
            )


FER2013 = LabelScheme("fer2013-7", ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
FERPLUS = LabelScheme(
    "ferplus-8",
    ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
)
# The order of AffectNet's numbers; its 8, 9 and 10 (none, uncertain, no face) are no classes.
AFFECTNET = LabelScheme(
    "affectnet-8",
    ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
)
AFFECTNET_7 = LabelScheme("affectnet-7", AFFECTNET.classes[:7])
# Its numbers begin with 1.
RAF_DB = LabelScheme("raf-db", ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"))
# The order of CK+'s numbers.
CK_PLUS = LabelScheme(
    "ck-plus-8",
    ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
)
# For sets without expressions, mostly landmark sets: every label is 0.
FACE = LabelScheme("face", ("face",))
SCHEMES = {scheme.name: scheme for scheme in (FER2013, FERPLUS, AFFECTNET, AFFECTNET_7, RAF_DB, CK_PLUS, FACE)}
# The number of a scheme's first class, in data that numbers its classes; 0 for all others.
FIRST_NUMBERS = {RAF_DB.name: 1}

# The columns of fer2013new.csv, in order: ten raters' votes. The last two aren't classes.
FERPLUS_VOTES = (*FERPLUS.classes, "unknown", "not a face")

_SYNONYMS = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "natural": "neutral",
}


def canonical(name: str) -> str:
    """The one spelling by which classes of different schemes are matched: 'Happiness' is 'happy'."""
    plain = name.strip().lower()
    return _SYNONYMS.get(plain, plain)


def is_expression(name: str) -> bool:
    """Whether a name is that of a class of a built-in scheme, in any spelling.

    >>> is_expression("Happy"), is_expression("trainset")
    (True, False)
    """
    return canonical(name) in _EXPRESSIONS


def scheme_named(name: str) -> LabelScheme:
    """The built-in scheme of that name."""
    if name not in SCHEMES:
        raise unknown(f"no label scheme is called '{name}'", name, sorted(SCHEMES))
    return SCHEMES[name]


def scheme_of(classes: Sequence[str], otherwise: str) -> LabelScheme:
    """The built-in scheme with exactly these classes, in any order and spelling; else a new one called `otherwise`.

    >>> scheme_of(["anger", "disgust", "fear", "happy", "neutral", "sad", "surprise"], "mine").name
    'fer2013-7'
    """
    wanted = sorted(map(canonical, classes))
    for known in SCHEMES.values():
        if sorted(map(canonical, known.classes)) == wanted:
            return known
    return LabelScheme(otherwise, tuple(classes))


_EXPRESSIONS = frozenset(canonical(name) for scheme in SCHEMES.values() if scheme != FACE for name in scheme.classes)
