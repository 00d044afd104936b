"""Answers as rows of plain values: one a face, one for a picture without any, one for a file that can't be read.

docs/predict.md documents the columns; they stay. CSV, Parquet and tables have them flat; JSON has `box`, `eyes`,
`probabilities`, `smoothed` and `points` as lists and objects.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.inference.predictor import UNCERTAIN, FaceAnswer

Row = dict[str, Any]

NO_FACE, ERROR = "no face", "error"
TEXTS = ("path", "answer", "uncertain", "error", "top", "model")
BOX = ("x", "y", "width", "height")
EYES = ("left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y")
WHOLE = ("frame", "face", "track")
_P, _S = "p_", "s_"
_SHARES = {_P: "probabilities", _S: "smoothed"}
_DIGITS = 6


def columns(classes: Sequence[str], with_points: bool = False, with_frames: bool = False) -> list[str]:
    """The columns of a table of answers, in order.

    >>> columns(["happy", "sad"])[9:12]
    ['p_happy', 'p_sad', 'entropy']
    >>> columns(["happy", "sad"], with_frames=True)[9:13]
    ['p_happy', 'p_sad', 's_happy', 's_sad']
    """
    shares = [f"{kind}{name}" for kind in ((_P, _S) if with_frames else (_P,)) for name in classes]
    coordinates = [f"{axis}{number}" for number in range(1, POINTS + 1) for axis in "xy"] if with_points else []
    first = ("path", "frame", "time", "face", "track", "answer", "uncertain", "error", "top")
    return [*first, *shares, "entropy", *BOX, "score", *EYES, "size", "sharpness", "model", *coordinates]


def rows_of(path: str, answers: Sequence[FaceAnswer]) -> list[Row]:
    """The rows of a photo; what a row lacks, as a frame's time, is None."""
    if not answers:
        return [_row(path, {"answer": NO_FACE})]
    return [_row(path, _values(number, one)) for number, one in enumerate(answers, start=1)]


def frame_rows(
    path: str,
    frame: int,
    time: float,
    answers: Sequence[FaceAnswer],
    followed: Sequence[tuple[int, Mapping[str, float]]],
    min_confidence: float = 0.0,
) -> list[Row]:
    """The rows of a video's frame, at a time in seconds; `followed` has each face's track and smoothed probabilities.

    The answers are those of the smoothed probabilities, and uncertain where these are below `min_confidence`.
    """
    rows = rows_of(path, answers)
    for row, (track, smoothed) in zip(rows, followed, strict=False):
        top = max(smoothed, key=lambda name: smoothed[name])
        low = f"confidence {smoothed[top]:.2f}" if smoothed[top] < min_confidence else ""
        uncertain = "; ".join(filter(None, (row["uncertain"], low)))
        shares = {f"{_S}{name}": round(value, _DIGITS) for name, value in smoothed.items()}
        row.update(track=track, answer=UNCERTAIN if uncertain else top, uncertain=uncertain, top=top, **shares)
    for row in rows:
        row.update(frame=frame, time=round(time, _DIGITS))
    return rows


def smoothed_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The smoothed probabilities by class of a row of a video's face."""
    return {key.removeprefix(_S): value for key, value in row.items() if key.startswith(_S) and value is not None}


def error_row(path: str, error: MienError) -> Row:
    """The row of a file that can't be read."""
    said = error.message + (f"; expected {error.expected}" if error.expected else "")
    return _row(path, {"answer": ERROR, "error": said})


class _Blank(dict[str, Any]):
    """A row whose missing values are "" for texts and None for numbers."""

    def __missing__(self, key: str) -> Any:
        return "" if key in TEXTS else None


def _row(path: str, values: Mapping[str, Any]) -> Row:
    rounded = {key: round(value, _DIGITS) if isinstance(value, float) else value for key, value in values.items()}
    return _Blank({"path": path, **rounded})


def _values(number: int, one: FaceAnswer) -> Row:
    eyes = () if one.marks is None else [value for mark in one.marks[:2] for value in mark]
    points = () if one.points is None else enumerate(one.points.tolist(), start=1)
    return {
        "face": number,
        "answer": one.answer,
        "uncertain": one.uncertain,
        "top": one.top,
        **{f"{_P}{name}": value for name, value in one.probabilities.items()},
        "entropy": one.entropy,
        **dict(zip(BOX, one.box, strict=True)),
        "score": one.score,
        **dict(zip(EYES, eyes, strict=False)),
        "size": one.size,
        "sharpness": one.sharpness,
        "model": one.model,
        **{f"{axis}{at}": value for at, point in points for axis, value in zip("xy", point, strict=True)},
    }


def nested(row: Mapping[str, Any]) -> Row:
    """A row of all columns as JSON has it: null where there is nothing.

    >>> nested({"path": "a.jpg", "answer": "no face", "error": "", "p_sad": None, "x": None})
    {'path': 'a.jpg', 'answer': 'no face', 'error': None, 'probabilities': None, 'box': None}
    """
    result: Row = {}
    groups = {**dict.fromkeys(BOX, "box"), **dict.fromkeys(EYES, "eyes")}
    for key, value in row.items():
        if key[:2] in _SHARES:
            _object(result, _SHARES[key[:2]], key[2:], value)
        elif key in groups or key[1:].isdigit():
            _list(result, groups.get(key, "points"), value)
        else:
            result[key] = None if value == "" else value
    if result.get("points"):
        flat = result["points"]
        result["points"] = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
    return result


def _object(result: Row, key: str, name: str, value: Any) -> None:
    if value is None:
        result[key] = None
    else:
        result.setdefault(key, {})[name] = value


def _list(result: Row, key: str, value: Any) -> None:
    if value is None:
        result[key] = None
    else:
        result.setdefault(key, []).append(value)


def flat(content: Mapping[str, Any]) -> Row:
    """A row as `nested` gave it, flat again."""
    result: Row = {}
    for key, value in content.items():
        if key in _SHARES.values():
            kind = _P if key == _SHARES[_P] else _S
            result.update({f"{kind}{name}": share for name, share in (value or {}).items()})
        elif key in ("box", "eyes"):
            result.update(zip(BOX if key == "box" else EYES, value or (), strict=False))
        elif key == "points":
            for number, (x, y) in enumerate(value or (), start=1):
                result.update({f"x{number}": x, f"y{number}": y})
        else:
            result[key] = value
    return _Blank({key: value for key, value in result.items() if value is not None})
