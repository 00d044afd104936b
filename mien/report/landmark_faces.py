"""Faces with a landmark run's points: the measured ones for its own folder, drawn ones for public pages."""

from typing import Any, NamedTuple

import numpy as np

from mien.data.dataset import open_dataset
from mien.data.framing import faces
from mien.data.synthetic import faces as draw_faces
from mien.errors import FailedError, MienError
from mien.faces.squares import cut, detector_squares, into
from mien.images import Pixels
from mien.inference.model import load_run
from mien.metrics.nme import Points, image_errors, measure_points
from mien.report.landmark_figures import overlays
from mien.report.landmark_tables import bracketed
from mien.report.style import Caption, png
from mien.report.wording import seeds, warning
from mien.runs.predictions import read_points
from mien.runs.run import Run

SIZE = 128
_WORST, _FIRST, _DRAWN = 12, 8, 8
# Drawn larger than they are shown, so that cutting them is as for photos.
_CANVAS, _SEED = 256, 68
_NAME = 26  # letters of a row's id that a face has room for


class Gallery(NamedTuple):
    """A picture of faces as PNG, its heading, and what it shows in words."""

    heading: str
    picture: bytes
    text: str


class Galleries(NamedTuple):
    """The pictures of faces on a page, and a sentence that says whose faces they are, or why there are none."""

    shown: list[Gallery]
    told: str


def measured_faces(run: Run, metrics: dict[str, Any]) -> Galleries:
    """The faces of a role with the largest errors, and its first ones, with the points that its evaluation stored.

    They show the data set's pictures, which must not leave the run's folder. There are none where the data set is gone
    or has changed; the sentence says why.
    """
    file = run.predictions(metrics["role"])
    try:
        rows, true, predicted = read_points(file, SIZE)
        fingerprint = run.environment["dataset"]["fingerprint"]
        dataset = open_dataset(run.workspace, metrics["dataset"])
        if dataset.card.fingerprint != fingerprint:
            raise MienError(f"data set '{dataset.card.name}' isn't the one that was measured on")
        splits = dict.fromkeys(split for split, _ in rows)
        places = {(split, id_): place for split in splits for place, id_ in enumerate(dataset.ids(split))}
        squares = {split: faces(dataset, split, SIZE, "gray", "detector")[0] for split in splits}
        errors = image_errors(predicted, true)
        order = np.argsort(-errors, kind="stable")
        found = []
        for name, heading, chosen in (
            ("largest errors", f"The {min(_WORST, len(rows))} largest errors", order[:_WORST]),
            ("first rows", f"The first {min(_FIRST, len(rows))} rows, in order", np.arange(len(rows))[:_FIRST]),
        ):
            images = [np.asarray(squares[rows[at][0]][places[rows[at]]]) for at in chosen]
            captions = [f"{_short(rows[at][1])}\nNME {100 * errors[at]:.2f} %" for at in chosen]
            lines = (
                f"{run.name} · protocol {metrics['protocol']} · {metrics['role']}: {metrics['dataset']} "
                f"{metrics['split']} · {seeds(metrics)}",
                f"n = {len(rows):,} · {SIZE} px · NME by outer eye corners: {bracketed(metrics['sizes'][str(SIZE)])}",
            )
            made = overlays(
                images,
                _pixels(predicted[chosen]),
                _pixels(true[chosen]),
                captions,
                heading=heading,
                caption=Caption(lines, warning(metrics)),
            )
            worst = ", ".join(f"{100 * errors[at]:.1f} %" for at in chosen)
            found.append(Gallery(heading, png(made), f"Faces with predicted and true points, the {name}: NME {worst}."))
    except (MienError, FailedError, FileNotFoundError) as error:
        reason = error.message if isinstance(error, MienError) else f"{file.name} is missing"
        return Galleries([], f"No faces are shown: {reason}.")
    return Galleries(
        found,
        f"Faces of {metrics['dataset']}, cut at {SIZE} px. They stand in this file alone: what is published of a run "
        "shows none of them.",
    )


def drawn_faces(run: Run) -> Galleries:
    """Drawn faces, whose points are known exactly, framed as measured ones are, with the run's predicted points."""
    drawn = list(draw_faces(_DRAWN, size=_CANVAS, seed=_SEED, workers=1))
    points = np.stack([of for _, _, of in drawn]).astype(np.float32)
    frames = detector_squares(points, [f"drawn {number}" for number in range(_DRAWN)])
    images: list[Pixels] = [
        cut(image.reshape(_CANVAS, _CANVAS, 1), square, SIZE)
        for (image, _, _), square in zip(drawn, frames, strict=True)
    ]
    true = into(points, frames, SIZE)
    predicted = load_run(run).points(images)
    errors = image_errors(predicted, true)
    heading = f"{_DRAWN} drawn faces, no photographs"
    lines = (
        f"{run.name} · faces drawn by mien, whose points are known exactly · seed {_SEED}",
        f"n = {_DRAWN} · {SIZE} px · NME by outer eye corners: {bracketed(measure_points(predicted, true))}",
    )
    captions = [f"drawn {number}\nNME {100 * error:.2f} %" for number, error in enumerate(errors)]
    made = overlays(images, predicted, true, captions, heading=heading, caption=Caption(lines))
    text = f"Drawn faces with predicted and true points: NME {', '.join(f'{100 * error:.1f} %' for error in errors)}."
    return Galleries(
        [Gallery(heading, png(made), text)],
        "Drawn faces, which no one's picture is needed for. The faces that the run was measured on aren't published: "
        "they are in the report of the run's own folder.",
    )


def _pixels(shares: Points) -> Points:
    return np.asarray((shares + 0.5) * SIZE - 0.5)


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"
