"""What goes in and out, as types: the API's schema is made of them, and answers are those of `mien predict --json`."""

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

# Letters of an image's name.
LONGEST_NAME = 255

PORTRAIT: dict[str, Any] = {
    "path": "photo.jpg",
    "frame": None,
    "time": None,
    "face": 1,
    "track": None,
    "answer": "happy",
    "uncertain": None,
    "error": None,
    "top": "happy",
    "probabilities": {
        "angry": 0.004,
        "disgust": 0.001,
        "fear": 0.006,
        "happy": 0.956,
        "sad": 0.004,
        "surprise": 0.01,
        "neutral": 0.019,
    },
    "entropy": 0.255,
    "box": [172.4, 58.9, 98.1, 121.7],
    "score": 0.92,
    "eyes": [203.1, 101.2, 246.0, 103.4],
    "size": 109.3,
    "sharpness": 0.21,
    "model": "mien-m bd114e298602",
}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


Share = Annotated[float, Field(ge=0, le=1)]


class Face(_Shape):
    """A face and its answer, or one row for an image without a face; docs/predict.md tells of each key.

    Pixels are those of the image, upright, from its upper left corner. `answer` is a class, "uncertain", "no face" or,
    for a video that breaks off, "error".
    """

    path: str
    frame: int | None
    time: float | None
    face: int | None
    track: int | None
    answer: str
    uncertain: str | None
    error: str | None
    top: str | None
    probabilities: dict[str, Share] | None
    smoothed: dict[str, Share] | None = None
    entropy: float | None
    box: Annotated[list[float], Field(min_length=4, max_length=4)] | None
    score: float | None
    eyes: Annotated[list[float], Field(min_length=4, max_length=4)] | None
    size: float | None
    sharpness: float | None
    model: str | None
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None


class Answer(_Shape):
    """The faces of all images of a request, in their order, each image's from left to right."""

    model: str
    detector: str
    classes: list[str]
    limits: str
    images: int
    n: int
    without: int
    uncertain: int
    failed: int
    faces: list[Face]


class Card(_Shape):
    """A model that is served: its name, its file's SHA-256, what it tells, and its card as Markdown, if it has one."""

    name: str
    sha256: str
    classes: list[str]
    size: int
    color: Literal["gray", "rgb"]
    temperature: float | None
    limits: str
    card: str | None


class Models(_Shape):
    """The models that a request may name; the first answers where it names none.

    `points` is what binds the use of the 68 points, null where there is no model of them; `workspace` says whether the
    workspace is shown.
    """

    models: list[Card]
    points: str | None
    workspace: bool = False


class State(_Shape):
    """Whether a server is there, or ready."""

    status: Literal["ok", "busy"]


class Problem(_Shape):
    """What is wrong, where, and what was expected, as `mien --json` tells it; what doesn't apply is left out."""

    message: str
    file: str | None = None
    key: str | None = None
    expected: str | None = None
    nearest: str | None = None


class Frame(_Shape):
    """The answer to a frame of a camera: its number from 0 among those sent, and how many were dropped so far."""

    frame: int
    dropped: int
    faces: list[Face]
    error: Problem | None = None


class Refusal(_Shape):
    """The body of every answer that isn't one."""

    error: Problem


class Question(_Shape):
    """How images are to be told: the options of `mien predict`, in the address of a request.

    `classes` are separated by commas.
    """

    model: str = ""
    min_size: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    min_score: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    largest: bool = False
    min_confidence: Share = 0.0
    classes: str = ""
    points: bool = False


class Moving(Question):
    """How a video or a camera is to be told; `smooth` is the weight of a face's earlier frames."""

    smooth: Annotated[float, Field(ge=0, le=0.99)] = 0.5


class Filmed(Moving):
    """How a video is to be told: so many frames of a second, or all."""

    fps: Annotated[float, Field(gt=0, le=1000)] | Literal["all"] = 5.0


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("an image is a text in base64")
    try:
        if len(value) % 4:
            raise ValueError
        # Python's and pydantic's own readers skip what is no base64.
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("this is no base64") from error


Base64 = Annotated[
    bytes,
    PlainValidator(_decoded),
    PlainSerializer(lambda data: base64.b64encode(data).decode()),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


class Image(_Shape):
    """An image file, and what its answers call it."""

    data: Base64
    name: Annotated[str, Field(max_length=LONGEST_NAME)] = ""


class Images(_Shape):
    """The images of a request in JSON."""

    images: Annotated[list[Image], Field(min_length=1)]
