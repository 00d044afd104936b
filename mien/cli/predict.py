"""The verb that tells the expressions in photos: predict."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.shared import (
    DetectorName,
    DetectorWeights,
    Home,
    Json,
    Trust,
    app,
    counted,
    open_home,
    print_result,
    print_table,
    say,
    tell_unread,
)
from mien.errors import FailedError, MienError

_SHOWN = 50  # rows on a screen


@app.command()
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Photos, folders, patterns, @list.txt, or - for a list on standard input."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME|RUN|FILE", help="The model, else mien-m.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the answers go: .csv, .json, .jsonl or .parquet.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Pictures of the photos with their answers.")
    ] = None,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    min_size: Annotated[float, typer.Option(min=0, help="Leave out faces smaller than so many pixels.")] = 0.0,
    min_score: Annotated[float, typer.Option(min=0, help="Leave out faces that the detector is less sure of.")] = 0.0,
    largest: Annotated[bool, typer.Option("--largest", help="Only the largest face of each photo.")] = False,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Answers with a lower probability are uncertain.")
    ] = 0.0,
    classes: Annotated[
        str, typer.Option(metavar="A,B,…", help="Only these answers; their probabilities are made to sum to 1.")
    ] = "",
    with_points: Annotated[bool, typer.Option("--points", help="Add the 68 points, by mien's landmark model.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip the photos that --out has already.")] = False,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Find the faces in photos and tell each one's expression, with a calibrated probability for each class.

    Example: mien predict photo.jpg

    Example: mien predict photos --out faces.csv --draw drawn
    """
    from mien.prediction.inputs import find_photos

    if resume and out is None:
        raise MienError("there is nothing to go on with", key="--resume", expected="--out FILE")
    photos = find_photos(paths, sys.stdin)
    if not photos:
        raise MienError("there is no photo in the list", expected="a path a line")

    from mien.faces.detector import open_detector
    from mien.inference.model import DEFAULT, load
    from mien.inference.predictor import Predictor
    from mien.inference.rows import Row, columns, nested
    from mien.parallel import THREADS
    from mien.prediction.output import Output
    from mien.prediction.photos import predict_photos
    from mien.tasks import EXPRESSION

    home = open_home(workspace, trust)
    teller = load(model or DEFAULT, home, threads=1 if len(photos) >= THREADS else None)
    if teller.task != EXPRESSION:
        raise MienError(
            f"{teller.name} tells no expressions", key="--model", expected=f"a model whose task is {EXPRESSION}"
        )
    finder = open_detector(detector, detector_weights)
    pointer = None
    if with_points:
        from mien.landmarks.predict import open_landmarker

        pointer = open_landmarker(home)
    wanted = tuple(name.strip() for name in classes.split(",") if name.strip())
    predictor = Predictor(teller, finder, wanted, min_size, min_score, largest, min_confidence, pointer)
    names = columns(predictor.names, with_points)
    limits = "; ".join(f"{one.name}: {one.limits}" for one in (teller, pointer) if one is not None and one.limits)
    about: dict[str, Any] = {
        "model": predictor.title,
        "detector": f"{finder.name} {finder.digest[:12]}".strip(),
        "classes": list(predictor.names),
        "limits": limits,
    }
    for note in (
        finder.note,
        limits,
        f"of {len(predictor.model.scheme)} classes only {', '.join(predictor.names)}" * bool(wanted),
    ):
        if note:
            print(f"mien: {note}", file=sys.stderr)
    shown: list[Row] = []
    if out is None:
        counts = predict_photos(photos, predictor, lambda rows: shown.extend(rows), draw)
    else:
        try:
            with Output(out, names, about, resume=resume) as output:
                left = [photo for photo in photos if photo.name not in output.done]
                counts = predict_photos(left, predictor, output.add, draw)
        except KeyboardInterrupt as stop:
            raise FailedError("stopped; --resume goes on with what is done", file=str(output.partial)) from stop
    result: dict[str, Any] = {**about, **asdict(counts)}
    if out is None:
        result["faces"] = [nested({name: row[name] for name in names}) for row in shown]
    else:
        result["out"] = str(out)

    def show() -> None:
        if out is None:
            _table(shown, about["model"])
        skipped = f", {len(photos) - counts.images:,} done before" if counts.images < len(photos) else ""
        say(
            f"{counted(counts.images, 'photo')}, {counted(counts.n, 'face')} ({counts.uncertain:,} uncertain), "
            f"{counts.without:,} without a face, {counts.failed:,} can't be read{skipped} "
            f"(model {about['model']}, detector {finder.name})"
        )
        for what, where in (("answers", out), ("pictures", draw)):
            if where is not None:
                say(f"{what}: {where}")

    print_result(as_json, result, show)
    tell_unread(counts.failed, len(photos))


def _table(rows: list[dict[str, Any]], model: str) -> None:
    lines = []
    for row in rows[:_SHOWN]:
        chance = max((value for key, value in row.items() if key.startswith("p_")), default=None)
        numbers = (row["size"], row["score"])
        lines.append(
            (
                row["path"],
                row["answer"],
                "" if chance is None else f"{chance:.2f}",
                *(
                    "" if value is None else f"{value:.{digits}f}"
                    for value, digits in zip(numbers, (0, 2), strict=True)
                ),
                row["error"] or (f"{row['top']}? {row['uncertain']}" if row["uncertain"] else ""),
            )
        )
    print_table(f"answers of {model}", ("photo", "answer", "p", "px", "score", ""), lines, right=2)
    if len(rows) > _SHOWN:
        print(f"… and {len(rows) - _SHOWN:,} more; --out FILE writes all")
