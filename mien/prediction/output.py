"""A file of answers: CSV, JSON, JSON lines or Parquet, whole or not at all; what was done before a stop is kept beside.

Photos are written as they come to `NAME.partial`, one a line, and become the file at the end. Of a video there is a
line for each segment, which says where the next one begins.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from mien.errors import MienError
from mien.extras import require
from mien.files import replacing
from mien.inference.rows import ERROR, TEXTS, WHOLE, Row, flat, nested

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".csv", ".json", ".jsonl", ".parquet")
ROWS = 4096  # of Parquet, at once


def check_output(path: Path) -> None:
    """Raise MienError for another ending than `FORMATS`, a folder, and Parquet where pyarrow isn't installed."""
    if path.suffix.lower() not in FORMATS:
        raise MienError("a file of answers ends otherwise", file=str(path), expected=", ".join(FORMATS))
    if path.is_dir():
        raise MienError("this is a folder", file=str(path), expected="a file")
    if path.suffix.lower() == ".parquet":
        require("a Parquet file", "pyarrow")


class Told(NamedTuple):
    """The rows of a photo or of a video's segments, and how the video goes on; None at its end, and for photos."""

    rows: list[Row]
    further: dict[str, Any] | None = None


class Output:
    """Where rows go; a context, in which `add` takes those of a photo, and at whose end the file is there.

    With `resume`, `done` are the photos and videos that the file, or what is left of a stopped run, has already, and
    `videos` what it has of videos, all or the first segments; those that couldn't be read are tried again. Raises
    MienError as `check_output` does, and where other columns or models stand. With `names` the file has the rows of
    these photos alone and in their order, whichever were told first.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        about: dict[str, Any],
        *,
        resume: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        check_output(path)
        self.names = names
        self.path, self.columns, self.about = path, list(columns), about
        self.partial = path.with_name(f"{path.name}.partial")
        kept = list(self._before()) if resume else []
        self.done = {told.rows[0]["path"] for told in kept if told.further is None}
        self.videos = {told.rows[0]["path"]: told for told in kept if told.rows[0]["frame"] is not None}
        self._kept = kept
        if names is not None and (others := self.done - set(names)):
            raise MienError(
                f"here are answers on other photos, as {min(others)}",
                file=str(path),
                key="--resume",
                expected="those of the same list; or another folder",
            )

    def __enter__(self) -> "Output":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.partial) as temporary:
            temporary.write_text("".join(self._line(*told) for told in self._kept), encoding="utf-8")
        self._kept = []
        self._file = self.partial.open("a", encoding="utf-8")
        return self

    def add(self, rows: Sequence[Row], further: dict[str, Any] | None = None) -> None:
        """Take the rows of one photo, or of a segment of a video, of which `further` tells how it goes on."""
        self._file.write(self._line(rows, further))
        self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            with replacing(self.path) as temporary:
                _WRITERS[self.path.suffix.lower()](temporary, self)
            self.partial.unlink()

    def rows(self) -> Iterator[Row]:
        """All rows so far, with all columns."""
        for told in _stored(self.partial) if self.names is None else _sorted(self.partial, self.names):
            yield from ({name: row[name] for name in self.columns} for row in told.rows)

    def _line(self, rows: Sequence[Row], further: dict[str, Any] | None) -> str:
        content: Any = [{name: row[name] for name in self.columns} for row in rows]
        if further is not None:
            content = {"rows": content, "further": further}
        return json.dumps(content, ensure_ascii=False) + "\n"

    def _before(self) -> Iterator[Told]:
        """What was told before of each photo and video, but for those that couldn't be read."""
        photos: dict[str, Told] = {}
        earlier = self.partial if self.partial.is_file() else self.path
        if not earlier.is_file():
            return
        try:
            parts = _stored(earlier) if earlier == self.partial else (Told([row]) for row in read_rows(earlier))
            for part in parts:
                path = dict(part.rows[0])["path"]
                before = photos[path].rows if path in photos else []
                before += part.rows
                photos[path] = Told(before, part.further)
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise MienError(
                "what stands here can't be gone on with", file=str(earlier), expected="answers that mien wrote"
            ) from error
        for told in photos.values():
            self._check(told.rows, earlier)
            if all(row["answer"] != ERROR for row in told.rows):
                yield told

    def _check(self, rows: Sequence[Row], file: Path) -> None:
        for row in rows:
            others = [name for name in row if name not in self.columns]
            lacks = [
                name for name in self.columns if name.startswith("p_") and row.get("face") and row.get(name) is None
            ]
            if (row.get("model") or self.about["model"]) != self.about["model"] or others or lacks:
                raise MienError(
                    f"these answers have other columns, or another model ({row.get('model') or 'none'})",
                    file=str(file),
                    key="--resume",
                    expected=f"those of {self.about['model']}, with the same options; or another file",
                )


def _stored(partial: Path) -> Iterator[Told]:
    """The photos and segments of a partial file; a last line that is cut off isn't one."""
    with partial.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.endswith("\n"):
                yield _told(line)


def _told(line: str) -> Told:
    content = json.loads(line)
    rows, further = (content["rows"], content["further"]) if isinstance(content, dict) else (content, None)
    return Told([flat(row) for row in rows], further)


def _sorted(partial: Path, names: Sequence[str]) -> Iterator[Told]:
    """The photos and segments of a partial file by the order of names; memory holds where each stands."""
    places: dict[str, list[int]] = {name: [] for name in names}
    with partial.open("rb") as file:
        at = 0
        for line in file:
            if line.endswith(b"\n"):
                places[_told(line.decode("utf-8")).rows[0]["path"]].append(at)
            at += len(line)
        for name in names:
            for place in places[name]:
                file.seek(place)
                yield _told(file.readline().decode("utf-8"))


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a finished file of answers, flat."""
    suffix = file.suffix.lower()
    if suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                yield flat({name: _value(name, text) for name, text in row.items()})
    elif suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(file).iter_batches():
            yield from map(flat, batch.to_pylist())
    elif suffix == ".jsonl":
        with file.open(encoding="utf-8") as opened:
            yield from (flat(json.loads(line)) for line in opened)
    else:
        yield from map(flat, json.loads(file.read_text(encoding="utf-8"))["faces"])


def _value(name: str, text: str) -> Any:
    if name in TEXTS or not text:
        return text or None
    return int(text) if name in WHOLE else float(text)


def _write_csv(file: Path, output: Output) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, output.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(output.rows())


def _write_jsonl(file: Path, output: Output) -> None:
    with file.open("w", encoding="utf-8") as opened:
        opened.writelines(json.dumps(nested(row), ensure_ascii=False) + "\n" for row in output.rows())


def _write_json(file: Path, output: Output) -> None:
    with file.open("w", encoding="utf-8") as opened:
        opened.write(json.dumps(output.about, ensure_ascii=False)[:-1] + ', "faces": [')
        for number, row in enumerate(output.rows()):
            opened.write((",\n" if number else "\n") + json.dumps(nested(row), ensure_ascii=False))
        opened.write("\n]}\n")


def schema_of(columns: Sequence[str], metadata: dict[bytes, str] | None = None) -> "pa.Schema":
    """The schema of a Parquet file of answers."""
    import pyarrow as pa

    kinds = {**dict.fromkeys(TEXTS, pa.string()), **dict.fromkeys(WHOLE, pa.int32())}
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in columns], metadata)


def _write_parquet(file: Path, output: Output) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = schema_of(output.columns)
    with pq.ParquetWriter(file, schema) as writer:
        for rows in _batches(output.rows()):
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS:
            yield batch
            batch = []
    yield batch


_WRITERS = {".csv": _write_csv, ".json": _write_json, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
