"""Photos and videos told in the order in which they were named."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mien.errors import MienError
from mien.inference.predictor import Predictor
from mien.prediction.footage import Footage, Take, predict_video
from mien.prediction.inputs import Photo
from mien.prediction.output import Told
from mien.prediction.photos import Counts, check_names, predict_photos


@dataclass
class Everything:
    """What photos came to, a summary of each video, and which videos break off, and why."""

    counts: Counts = field(default_factory=Counts)
    videos: list[dict[str, Any]] = field(default_factory=list)
    broken: dict[str, MienError] = field(default_factory=dict)


def predict_paths(
    photos: Sequence[Photo],
    is_video: Callable[[Photo], bool],
    predictor: Predictor,
    take: Take,
    how: Footage,
    earlier: Mapping[str, Told] | None = None,
) -> Everything:
    """Tell photos and videos; `take` gets the rows of each photo and of each segment of a video.

    A file that can't be read has a row that says why and is counted as failed; a video that breaks off has such a row
    after the others. `earlier` is what is told of videos already. Raises MienError where two would be drawn as one.
    """
    found, earlier = Everything(), earlier or {}
    if how.draw is not None:
        check_names(photos, how.draw)
    for video, group in itertools.groupby(photos, is_video):
        if not video:
            counts = predict_photos(list(group), predictor, lambda rows: take(rows, None), how.draw)
            found.counts += counts
            continue
        for photo in group:
            summary, error = predict_video(photo, predictor, how, take, earlier.get(photo.name))
            if error is not None and not summary["frames"]:
                found.counts.failed += 1
            else:
                found.videos.append(summary)
            if error is not None and summary["frames"]:
                found.broken[photo.name] = error
    return found
