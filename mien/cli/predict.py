"""The verb that tells the expressions in photos, videos and before a camera: predict."""

import csv
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mien.cli.predict_by_ray import predict_by_ray, tell_notes
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
from mien.extras import require

if TYPE_CHECKING:
    from mien.inference.predictor import Predictor
    from mien.prediction.footage import Footage
    from mien.prediction.inputs import Photo
    from mien.prediction.shards import Part

_SHOWN = 50  # rows on a screen
# Expressions last half a second and longer.
_FPS = "5"


@app.command()
def predict(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Photos, videos, folders of photos, patterns, @list.txt, or - for a list on standard input.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|RUN|FILE", help="The model, else mien-m.", show_default=False)
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where the answers go: .csv, .json, .jsonl or .parquet; with --shard a folder.",
        ),
    ] = None,
    engine: Annotated[
        Literal["ray"] | None,
        typer.Option(help="Tell photos by a Ray cluster, into Parquet; also in Parquet and in object stores."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N", help="Tell part K of N of the list alone, into the folder --out.", show_default=False
        ),
    ] = None,
    merge: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Put the parts in a folder together, into the file --out.", show_default=False
        ),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", file_okay=False, help="Pictures and videos with the answers, and timelines."),
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
    fps: Annotated[
        str, typer.Option(metavar="N|all", help="So many frames of a second of video are told, or all.")
    ] = _FPS,
    smooth: Annotated[
        float, typer.Option(min=0, max=0.99, help="The weight of a face's earlier frames in a video's answers.")
    ] = 0.5,
    camera: Annotated[
        str | None,
        typer.Option(metavar="N|FILE", help="A camera by its number, usually 0, in real time.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what --out has already.")] = False,
    trust: Trust = False,
    workspace: Home = None,
    as_json: Json = False,
) -> None:
    """Find the faces in photos and videos and tell each one's expression, with a calibrated probability for each class.

    Example: mien predict photo.jpg

    Example: mien predict photos --out faces.csv --draw drawn

    Example: mien predict clip.mp4 --fps 2 --out faces.csv --draw drawn

    Example: mien predict @list.txt --shard 3/64 --out parts --resume

    Example: mien predict --merge parts --out faces.parquet

    Example: mien predict s3://bucket/photos --engine ray --out s3://bucket/faces
    """
    from mien.prediction.inputs import find_photos
    from mien.prediction.output import check_output
    from mien.prediction.places import is_address

    if engine is not None:
        require("--engine ray", "ray", "pyarrow")
        if not paths or to is None or any(one is not None for one in (shard, merge, draw, camera)):
            raise MienError(
                "Ray tells photos, into Parquet",
                key="--engine",
                expected="PATH... and --out, without --shard, --merge, --draw and --camera",
            )
    elif to is not None and is_address(to):
        raise MienError("an object store is written by Ray alone", file=to, key="--out", expected="--engine ray")
    out = Path(to) if to is not None else None

    if merge is not None:
        if out is None or paths or shard is not None or camera is not None or resume:
            raise MienError("parts are put together as they are", key="--merge", expected="--out FILE, and no more")
        check_output(out)
        _merge(merge, out, as_json)
        return
    if shard is not None and (out is None or camera is not None):
        raise MienError("a part needs a place", key="--shard", expected="--out FOLDER, and no camera")
    if out is not None and shard is None and engine is None:
        check_output(out)
    if resume and (out is None or camera is not None):
        raise MienError("there is nothing to go on with", key="--resume", expected="--out FILE, and no camera")
    if (camera is None) == (not paths):
        raise MienError("there is nothing to look at, or too much", expected="PATH..., or --camera")
    from mien.prediction.recipe import Recipe

    wanted = tuple(name.strip() for name in classes.split(",") if name.strip())
    limits = (min_size, min_score, largest, min_confidence)
    recipe = Recipe(model, detector, detector_weights, wanted, *limits, with_points)
    if engine is not None and to is not None:
        predict_by_ray(paths or [], recipe, to, resume, open_home(workspace, trust), as_json)
        return
    photos = find_photos(paths or [], sys.stdin)
    if not photos and camera is None:
        raise MienError("there is no photo in the list", expected="a path a line")

    from mien.inference.rows import columns
    from mien.parallel import THREADS
    from mien.prediction.footage import Footage
    from mien.prediction.photos import check_names
    from mien.prediction.shards import Part, parse_shard
    from mien.prediction.video import is_video, load_av

    wanted_part = parse_shard(shard) if shard is not None else None
    how = Footage(_rate(fps), smooth, draw)
    videos = {photo.file for photo in photos if is_video(photo.file)}
    if videos or (camera is not None and draw is not None):
        load_av()
    home = open_home(workspace, trust)
    threads = 1 if videos or len(photos) >= THREADS else None
    opened = recipe.open(home, threads)
    predictor = opened.predictor
    names = columns(predictor.names, with_points, with_frames=bool(videos) or camera is not None)
    told = opened.about
    if videos or camera is not None:
        told |= how.marks()
    tell_notes(opened)
    part = None
    if wanted_part is not None and out is not None:
        if draw is not None:
            check_names(photos, draw)  # Of other parts too.
        asked = {
            **recipe.marks(opened),
            **({"fps": fps, "smooth": smooth} if videos else {}),
        }
        part = Part(out, wanted_part, [photo.name for photo in photos], told, asked)
        photos, out = photos[part.first : part.end], part.file
        videos &= {photo.file for photo in photos}
    if camera is not None:
        _camera(camera, predictor, how, names, told, out, as_json)
    else:
        _paths(photos, videos, predictor, how, names, told, out, resume, as_json, part)


def _merge(folder: Path, out: Path, as_json: bool) -> None:
    from mien.prediction.shards import merge

    done = merge(folder, out)

    def show() -> None:
        say(
            f"{counted(done['parts'], 'part')}, {counted(done['images'], 'photo')}, {counted(done['n'], 'face')} "
            f"({done['uncertain']:,} uncertain), {done['without']:,} without a face, {done['failed']:,} can't be read "
            f"(model {done['model']}, detector {done['detector']})"
        )
        say(f"answers: {out}")

    print_result(as_json, done, show)


def _rate(given: str) -> float | None:
    """The frames a second that `--fps` asks for, None for all."""
    if given == "all":
        return None
    try:
        rate = float(given)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise MienError(f"the rate is '{given}'", key="--fps", expected="a number above 0 and up to 1000, or all")
    return rate


def _paths(
    photos: "list[Photo]",
    videos: set[Path],
    predictor: "Predictor",
    how: "Footage",
    names: list[str],
    about: dict[str, Any],
    out: Path | None,
    resume: bool,
    as_json: bool,
    part: "Part | None" = None,
) -> None:
    """Tell photos and videos, and say what came of it."""
    from mien.inference.rows import nested
    from mien.prediction.output import Output, read_rows
    from mien.prediction.paths import predict_paths
    from mien.prediction.shards import count_rows

    shown: list[dict[str, Any]] = []
    unread: list[dict[str, Any]] = []

    def keep(rows: list[dict[str, Any]], further: object) -> None:
        # An hour of video has too many for a screen, and for a memory that nobody asked to fill.
        shown.extend(row for row in rows if as_json or row["frame"] is None)

    def is_video(photo: "Photo") -> bool:
        return photo.file in videos

    if out is None:
        found = predict_paths(photos, is_video, predictor, keep, how)
    else:
        try:
            order = [photo.name for photo in photos] if part is not None else None
            output = Output(out, names, about, resume=resume, names=order)
            if part is not None:
                part.begin()
            with output:
                # Of videos that are done there is still a summary to be made.
                left = [one for one in photos if one.name not in output.done or one.name in output.videos]

                def add(rows: list[dict[str, Any]], further: dict[str, Any] | None) -> None:
                    output.add(rows, further)
                    unread.extend(row for row in rows if row["error"] and not unread)

                found = predict_paths(left, is_video, predictor, add, how, output.videos)
                about |= {"videos": found.videos} if videos else {}
            if part is not None:
                part.finish(names, *count_rows(read_rows(out)))
        except KeyboardInterrupt as stop:
            raise FailedError("stopped; --resume goes on with what is done", file=str(output.partial)) from stop
    counts, n = found.counts, len(photos) - len(videos)
    result: dict[str, Any] = {**about, **asdict(counts)}
    if out is None:
        result |= {"videos": found.videos} if videos else {}
        result["faces"] = [nested({name: row[name] for name in names}) for row in shown]
    else:
        result["out"] = str(out)

    def show() -> None:
        if shown:
            _table(shown, about["model"])
        _videos(found.videos, how)
        if n:
            skipped = f", {n - counts.images:,} done before" if counts.images < n else ""
            say(
                f"{counted(counts.images, 'photo')}, {counted(counts.n, 'face')} ({counts.uncertain:,} uncertain), "
                f"{counts.without:,} without a face, {counts.failed:,} can't be read{skipped} "
                f"(model {about['model']}, detector {predictor.detector.name})"
            )
        for row in unread:
            say(f"{row['path']}: {row['error']}" + (f"; others: column error of {out}" if counts.failed > 1 else ""))
        _places(out, how)

    print_result(as_json, result, show)
    for name, error in found.broken.items():
        print(f"mien: {MienError(error.message, file=name)}", file=sys.stderr)
    tell_unread(counts.failed, len(photos), "file" if videos else "photo")
    if found.broken:
        raise typer.Exit(1)


def _camera(
    source: str,
    predictor: "Predictor",
    how: "Footage",
    names: list[str],
    about: dict[str, Any],
    out: Path | None,
    as_json: bool,
) -> None:
    """Tell what stands before a camera until Ctrl-C; rows go to standard output as they come, or into a file."""
    from mien.prediction.camera import camera_frames, camera_name, open_camera, stopping
    from mien.prediction.footage import predict_camera
    from mien.prediction.output import Output

    with ExitStack() as stack:
        stopped = stack.enter_context(stopping())
        camera = stack.enter_context(open_camera(source))
        take = _printing(names, as_json) if out is None else stack.enter_context(Output(out, names, about)).add
        print(f"mien: {camera_name(source)}: Ctrl-C stops", file=sys.stderr)
        frames = camera_frames(camera, how.fps, stopped)
        summary, error = predict_camera(camera_name(source), frames, predictor, how, take)
        about |= {"videos": [summary]}

    def show() -> None:
        _videos([summary], how)
        _places(out, how)

    if out is None:
        with redirect_stdout(sys.stderr):
            show()
    else:
        print_result(as_json, {**about, "out": str(out)}, show)
    if error is not None:
        raise error


def _printing(names: list[str], as_json: bool) -> Callable[[list[dict[str, Any]]], None]:
    """What prints rows as they come: CSV with a header, or an object a line."""
    from mien.inference.rows import nested

    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    if not as_json:
        writer.writeheader()

    def take(rows: list[dict[str, Any]]) -> None:
        for row in ({name: row[name] for name in names} for row in rows):
            if as_json:
                print(json.dumps(nested(row), ensure_ascii=False))
            else:
                writer.writerow(row)
        sys.stdout.flush()

    return take


def _places(out: Path | None, how: "Footage") -> None:
    for what, where in (("answers", out), ("pictures", how.draw)):
        # Where nothing could be read, nothing is drawn.
        if where is not None and where.exists():
            say(f"{what}: {where}")


def _videos(summaries: list[dict[str, Any]], how: "Footage") -> None:
    """A table of the tracks of each video, and what of its time the answers are."""
    from mien.prediction.timeline import clock

    rate = "every frame" if how.fps is None else f"{how.fps:g} frames a second"
    for one in summaries:
        lines = [
            (
                str(track["track"]),
                clock(track["from"], tenths=True),
                clock(track["to"], tenths=True),
                f"{track['faces']:,}",
                _shares(track["time"], 3),
            )
            for track in one["tracks"][:_SHOWN]
        ]
        if lines:
            print_table(one["path"], ("track", "from", "to", "faces", "of its time"), lines, right=0)
        if len(one["tracks"]) > _SHOWN:
            say(f"… and {len(one['tracks']) - _SHOWN:,} more")
        say(
            f"{one['path']}: {counted(one['frames'], 'frame')} told ({rate}), {counted(one['faces'], 'face')} "
            f"({one['uncertain']:,} uncertain) in {counted(len(one['tracks']), 'track')}, "
            f"{_percent(one['without_share'] or 0)} of the frames without a face"
        )
        if one["faces"]:
            say(f"of the faces' time: {_shares(one['time'], 8)}")
    if summaries:
        say(summaries[0]["limits"])


def _shares(shares: dict[str, float], most: int) -> str:
    largest = sorted(shares.items(), key=lambda pair: -pair[1])[:most]
    return ", ".join(f"{name} {_percent(share)}" for name, share in largest if share)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


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
