"""What a model says of photos in Python: the faces as a sequence, a table, a picture."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from PIL import Image

from mien.errors import MienError
from mien.extras import require
from mien.faces.drawing import overlay
from mien.html_table import html_table
from mien.images import Photo, photo_of, read_photo, to_uint8
from mien.inference.predictor import FaceAnswer
from mien.inference.rows import columns, rows_of

if TYPE_CHECKING:
    import pandas as pd

Channels = Literal["rgb", "bgr"]


@dataclass(frozen=True, repr=False)
class Faces(Sequence[FaceAnswer]):
    """The faces of one or several images, in their order, and in each from left to right.

    `places` are the number of each face's image, `paths` the images' names ("" for pixels), `photos` their pixels,
    `classes` those that the answers may be.
    """

    answers: tuple[FaceAnswer, ...]
    places: tuple[int, ...]
    paths: tuple[str, ...]
    photos: tuple[Photo, ...]
    classes: tuple[str, ...]

    @overload
    def __getitem__(self, key: int) -> FaceAnswer: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[FaceAnswer]: ...
    def __getitem__(self, key: int | slice) -> FaceAnswer | Sequence[FaceAnswer]:
        return self.answers[key]

    def __len__(self) -> int:
        return len(self.answers)

    def __repr__(self) -> str:
        told = ", ".join(label(one) for one in self.answers[:10])
        return f"Faces({len(self.answers)} in {len(self.photos)}: {told}{', …' if len(self.answers) > 10 else ''})"

    def rows(self) -> list[dict[str, Any]]:
        """A row a face, and one "no face" for an image without any; the columns are those of `mien predict`."""
        rows = []
        for place, path in enumerate(self.paths):
            own = [one for one, at in zip(self.answers, self.places, strict=True) if at == place]
            rows += rows_of(path, own)
        return [{name: row[name] for name in columns(self.classes)} for row in rows]

    def to_pandas(self) -> "pd.DataFrame":
        """A row a face, as `mien predict` writes them; an image without any has a row, too."""
        require("a table of faces", "pandas")
        import pandas as pd

        return pd.DataFrame(self.rows())

    def draw(self, image: int = 0) -> Image.Image:
        """A picture of an image, by its number, with a box and an answer for each face."""
        answers = [one for one, place in zip(self.answers, self.places, strict=True) if place == image]
        return Image.fromarray(drawn(self.photos[image], answers))

    def _repr_html_(self) -> str:
        pictures = []
        for place in range(min(len(self.photos), 4)):
            file = io.BytesIO()
            self.draw(place).save(file, "JPEG", quality=85)
            pictures.append(f'<img src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">')
        shown = ("path", "face", "answer", "uncertain", "size", "score")
        rows = [{key: _blank(row.get(key)) for key in shown} for row in self.rows()]
        return html_table(f"{len(self.answers)} faces in {len(self.photos)} images", rows) + "".join(pictures)


def _blank(value: Any) -> Any:
    return "" if value is None else value


def label(answer: FaceAnswer) -> str:
    """An answer in a few letters, as it stands in pictures: "happy 92 %", "uncertain (sad 41 %)"."""
    told = f"{answer.top} {answer.confidence:.0%}".replace("%", " %")
    return f"uncertain ({told})" if answer.uncertain else told


def drawn(photo: Photo, answers: Sequence[FaceAnswer]) -> Any:
    """The picture of a photo with the boxes, answers and perhaps points of its faces, uint8 (height, width, 3) RGB."""
    boxes = [one.box.scaled(photo.scale) for one in answers]
    none = np.empty((0, 2), np.float32)
    points = [none if one.points is None else (one.points + 0.5) * photo.scale - 0.5 for one in answers]
    return overlay(photo.pixels, boxes, points, [label(one) for one in answers])


def photos_of(given: Any, channels: Channels = "rgb") -> tuple[list[str], list[Photo]]:
    """The names and pixels of what a user may give: a path, an array, a picture of Pillow, or several of them.

    An array is (h, w), (h, w, 1) or (h, w, 3), or several of one size, (n, h, w) or (n, h, w, 1 or 3). Raises MienError
    for anything else, and for numbers of which nobody knows what is black and white.
    """
    if isinstance(given, str | Path):
        return [str(given)], [read_photo(Path(given))]
    if isinstance(given, Image.Image):
        return [getattr(given, "filename", "")], [photo_of(given)]
    if isinstance(given, np.ndarray):
        if given.ndim == 4 or (given.ndim == 3 and given.shape[2] not in (1, 3)):
            return photos_of(list(given), channels)
        return [""], [_from_array(given, channels)]
    if isinstance(given, Sequence) and not isinstance(given, bytes):
        pairs = [photos_of(one, channels) for one in given]
        return [name for names, _ in pairs for name in names], [photo for _, photos in pairs for photo in photos]
    raise MienError(f"these images are a {type(given).__name__}", expected=_IMAGES)


_IMAGES = "a path, an array (h, w) or (h, w, 3), a picture of Pillow, or a list of these"


def _from_array(values: Any, channels: Channels) -> Photo:
    if channels not in ("rgb", "bgr"):
        raise MienError(f"the channels are '{channels}'", key="channels", expected="rgb or bgr")
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3)) or not values.size:
        raise MienError(f"this image is an array of shape {values.shape}", expected=_IMAGES)
    pixels = to_uint8(values)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    colour = colour[:, :, ::-1] if channels == "bgr" else colour
    return Photo(np.ascontiguousarray(colour), values.shape[1], values.shape[0])
