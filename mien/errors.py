"""The one exception that a user sees: what is wrong, where, what was expected, the nearest valid name."""

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Any

# A name of a stranger's file may have any length.
_LONGEST = 4000


class MienError(Exception):
    """A mistake in the user's input, as one sentence (exit code 2).

    `message` says what is wrong and ends without a full stop. The other fields say where it is and what was expected;
    those that don't apply are None. `more` holds further problems of the same input, so that all are shown at once.

    >>> str(MienError("unknown key", file="cnn1.yaml", line=3, key="trian", nearest="train"))
    "cnn1.yaml:3: trian: unknown key. Did you mean 'train'?"
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        expected: str | None = None,
        nearest: str | None = None,
        more: Iterable["MienError"] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected
        self.nearest = nearest
        self.more = tuple(more)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f". Did you mean '{self.nearest}'?"
        return shown(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")

    def as_dict(self) -> dict[str, object]:
        """The error for `--json`: only the keys that apply."""
        names = ("message", "file", "line", "key", "expected", "nearest")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class FailedError(MienError):
    """The input was right, but the work failed: a NaN loss, a full disk (exit code 1)."""

    exit_code = 1


def shown(text: str) -> str:
    """A text on one line of a terminal: what would break the line, or steer the terminal, is escaped.

    >>> shown("café \\x1b[31m\\n")
    'café \\\\x1b[31m\\\\n'
    """
    if text.isprintable():
        return text
    # Blanks of all kinds aren't printable to Python, nor are what joins emojis and letters.
    return "".join(
        letter
        if letter.isprintable() or letter in "\u200c\u200d" or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def reason(error: BaseException) -> str:
    """An exception of any kind as part of a sentence.

    >>> reason(ValueError("no such width\\nand more"))
    'ValueError: no such width'
    """
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    lines = text.strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The valid name that is most like `name`, or None when none is close.

    >>> nearest("epocs", ["epochs", "seed"])
    'epochs'
    """
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(message: str, name: str, names: Iterable[str], **place: Any) -> MienError:
    """The error of a name that isn't one of `names`: it lists them, and says which is nearest.

    `place` are further fields of the error, as `file`, `line` and `key`.

    >>> str(unknown("no region is called 'moth'", "moth", ["eyes", "mouth"], key="--region"))
    "--region: no region is called 'moth'; expected one of eyes, mouth. Did you mean 'mouth'?"
    """
    names = list(names)
    return MienError(message, expected="one of " + ", ".join(names), nearest=nearest(name, names), **place)
