"""The verb predict with `--engine ray`: photos told by a cluster, out of Parquet and object stores, and into them."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mien.cli.shared import counted, print_result, say, tell_unread
from mien.errors import MienError
from mien.workspace import Workspace

if TYPE_CHECKING:
    from mien.prediction.recipe import Opened, Recipe


def tell_notes(opened: "Opened") -> None:
    """Say what a user is to know of the models before they are used."""
    predictor = opened.predictor
    of = len(predictor.model.scheme)
    only = f"of {of} classes only {', '.join(predictor.names)}" if predictor.classes else ""
    for note in (opened.note, opened.about["limits"], only):
        if note:
            print(f"mien: {note}", file=sys.stderr)


def predict_by_ray(
    paths: Sequence[str], recipe: "Recipe", to: str, resume: bool, home: Workspace, as_json: bool
) -> None:
    """Tell photos by Ray, and say what came of it."""
    from mien.inference.rows import columns
    from mien.prediction.bulk import Target, begin, bulk_of, finish, parts_of
    from mien.prediction.by_ray import tell_by_ray
    from mien.prediction.places import place_of
    from mien.prediction.recipe import pack
    from mien.prediction.sources import find_sources
    from mien.progress import progress

    target = Target(place_of(to))
    first = target.check(resume)
    sources = find_sources(paths, sys.stdin)
    if not sources:
        raise MienError("there is no photo in the list", expected="a path a line")
    opened = recipe.open(home, 1)
    tell_notes(opened)
    parts = parts_of(sources)
    names = columns(opened.predictor.names, recipe.points)
    bulk = bulk_of(target.folder, sources, parts, opened.about, recipe.marks(opened), names)
    begin(bulk, first)
    told = []
    with progress("predict", bulk.inputs) as advance:
        for one in tell_by_ray(bulk, parts, pack(recipe, opened, home)):
            told.append(one)
            advance(one.counts["images"])
    counts = finish(bulk, target, told)

    def show() -> None:
        say(
            f"{counted(counts['images'], 'photo')}, {counted(counts['n'], 'face')} "
            f"({counts['uncertain']:,} uncertain), {counts['without']:,} without a face, "
            f"{counts['failed']:,} can't be read "
            f"(model {bulk.about['model']}, detector {opened.predictor.detector.name})"
        )
        say(f"answers: {target.place}")

    print_result(as_json, {**bulk.about, **counts, "parts": bulk.of, "out": str(target.place)}, show)
    tell_unread(counts["failed"], counts["images"])
