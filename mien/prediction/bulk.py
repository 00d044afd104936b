"""Photos told in many small parts, each a Parquet file that says what it is, so that work can stop anywhere.

A folder of answers is whole when it has its manifest; its parts, read as one table, are the rows of one call.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from mien.errors import MienError
from mien.files import as_json, replacing
from mien.inference.predictor import Predictor
from mien.inference.rows import ERROR, Row, error_row, rows_of
from mien.prediction.output import ROWS, schema_of
from mien.prediction.photos import Counts
from mien.prediction.places import Place, check_bucket, reaching
from mien.prediction.shards import MOST as MOST_PARTS
from mien.prediction.shards import Facts, Shard, check_same, digest_of
from mien.prediction.sources import MOST, Source
from mien.reading import Count, Digest, check, parse_json, reading

# What says that a folder is whole. Readers of a folder of Parquet skip files that begin so.
MANIFEST = "_manifest.json"
# A part is small enough to be lost with its worker, and large enough that beginning it costs nothing.
_LEAST, _PARTS = 16, 4096
_KEY = b"mien"


class PartFacts(Facts):
    """What a part says of itself: which of so many it is, and of what."""

    part: Annotated[int, Field(ge=1, le=MOST_PARTS)]


class Told(PartFacts):
    """A part that is whole: how many photos and faces it has, and the SHA-256 of its file."""

    counts: dict[str, Count]
    sha256: Digest


@dataclass(frozen=True)
class Bulk:
    """Answers that are made: where their parts go, of how many inputs they are, and how they are told."""

    folder: Place
    of: int
    inputs: int
    inputs_sha256: str
    about: dict[str, Any]
    asked: dict[str, Any]
    columns: tuple[str, ...]

    @property
    def list(self) -> tuple[int, int, str]:
        """The number of parts, that of the inputs, and what tells their list from another."""
        return self.of, self.inputs, self.inputs_sha256

    def place(self, part: int) -> Place:
        """The file of a part."""
        return self.folder.below(f"{Shard(part, self.of).stem}{_ENDING}")

    def facts(self, part: int) -> dict[str, Any]:
        """What a part says of itself."""
        own = {key: value for key, value in asdict(self).items() if key not in ("folder", "columns")}
        return {"part": part, **own}


_ENDING = ".parquet"


def parts_of(sources: Sequence[Source]) -> list[Source]:
    """Sources split into parts, the same ones whoever tells them."""
    n = sum(map(len, sources))
    size = min(max(n // _PARTS, _LEAST), MOST)
    parts = [part for source in sources for part in source.split(size)]
    if len(parts) > MOST_PARTS:
        raise MienError(f"the list has {n:,} photos", expected=f"at most {MOST * MOST_PARTS:,} photos in one call")
    return parts


def bulk_of(
    folder: Place,
    sources: Sequence[Source],
    parts: Sequence[Source],
    about: dict[str, Any],
    asked: dict[str, Any],
    columns: Sequence[str],
) -> Bulk:
    """What is to be made of these sources in this folder."""
    digest = digest_of(text for source in sources for text in source.digests())
    return Bulk(folder, len(parts), sum(map(len, sources)), digest, about, asked, tuple(columns))


def tell(bulk: Bulk, part: int, source: Source, predictor: Predictor) -> Told:
    """Tell a part, and write it; one that is there already is left as it is, but for photos that couldn't be read.

    Raises MienError where a part of something else stands in its place.
    """
    place = bulk.place(part)
    before = _read(bulk, part, len(source))
    if before is not None and not before[1].counts["failed"]:
        return before[1]
    told: list[list[Row]] = before[0] if before is not None else [[] for _ in range(len(source))]
    for number, name, picture in source.read(lambda number: not told[number] or told[number][0]["answer"] == ERROR):
        if isinstance(picture, MienError):
            told[number] = [error_row(name, picture)]
        else:
            (answers,) = predictor.answers([picture])
            told[number] = rows_of(name, answers)
    rows = [{name: row[name] for name in bulk.columns} for own in told for row in own]
    facts = bulk.facts(part)
    table = pa.Table.from_pylist(rows, schema_of(bulk.columns, {_KEY: json.dumps(facts)}))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    with reaching(place):
        place.write(buffer.getvalue())
    return _told(facts, told, buffer.getvalue())


def _told(facts: dict[str, Any], told: Sequence[Sequence[Row]], content: bytes) -> Told:
    counts = sum((Counts.of(rows) for rows in told), Counts())
    return Told(**facts, counts=asdict(counts), sha256=hashlib.sha256(content).hexdigest())


def _read(bulk: Bulk, part: int, n: int) -> tuple[list[list[Row]], Told] | None:
    """The rows of each input of a part that is there, and what they come to; None where there is none that is whole."""
    place = bulk.place(part)
    try:
        content = place.read()
        table = pq.read_table(io.BytesIO(content))
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    facts = _facts_in(table.schema, place)
    if facts is not None:
        check_same(facts, place, bulk.list, bulk.about, bulk.asked)
    rows: list[Row] = table.to_pylist()
    told: list[list[Row]] = []
    for row in rows:
        if row.get("face") in (None, 1):
            told.append([])
        told[-1].append(row)
    if facts is None or facts.part != part or len(told) != n or table.schema.names != list(bulk.columns):
        return None
    return told, _told(bulk.facts(part), told, content)


def _facts_in(schema: pa.Schema, place: Place) -> PartFacts | None:
    text = (schema.metadata or {}).get(_KEY)
    if text is None:
        return None
    with reading(Path(place.path), "what this part says of itself", MienError):
        facts: PartFacts = check(parse_json(text.decode()), PartFacts, Path(place.path), "this part", MienError)
        return facts


@dataclass(frozen=True)
class Target:
    """Where a user wants answers: a folder of parts, or one file that is put together of them."""

    place: Place

    @property
    def is_file(self) -> bool:
        """Whether it is one file."""
        return self.place.suffix == _ENDING

    @property
    def folder(self) -> Place:
        """Where the parts go."""
        return self.place._replace(path=f"{self.place.path}.parts") if self.is_file else self.place

    def check(self, resume: bool) -> Place | None:
        """A part that is there already, if any; MienError where answers, or something else, would be written over."""
        from pyarrow.fs import FileSelector, FileType

        place, folder = self.place, self.folder
        if place.store:
            check_bucket(place)
        if not self.is_file and place.suffix in (".csv", ".json", ".jsonl"):
            raise MienError("Ray writes Parquet", file=str(place), key="--out", expected="a folder, or FILE.parquet")
        with reaching(place):
            kind = place.files.get_file_info(place.path).type
            if self.is_file and kind != FileType.NotFound:
                raise MienError("answers stand here already", file=str(place), key="--out", expected="another name")
            if kind == FileType.File:
                raise MienError("this is a file", file=str(place), key="--out", expected="a folder, or FILE.parquet")
            found = folder.files.get_file_info(FileSelector(folder.path, allow_not_found=True))
        names = sorted(one.base_name for one in found if not one.base_name.startswith("."))
        parts = [name for name in names if name.startswith("part-") and name.endswith(_ENDING)]
        if set(names) - {*parts, MANIFEST}:
            raise MienError("this folder holds something else", file=str(folder), key="--out", expected="a new folder")
        if names and not resume:
            what = "answers stand here already" if MANIFEST in names else "some of the answers stand here already"
            raise MienError(
                what, file=str(folder), key="--out", expected="another name, or --resume to go on with them"
            )
        return folder.below(parts[0]) if parts else None


def begin(bulk: Bulk, first: Place | None) -> None:
    """Say that the folder isn't whole, from now until `finish`; MienError where a part of it is of something else."""
    with reaching(bulk.folder):
        if first is not None:
            try:
                facts = _facts_in(pq.read_schema(io.BytesIO(first.read())), first)
            except pa.ArrowInvalid:
                facts = None
            if facts is None:
                raise MienError("this is no part that mien wrote", file=str(first), expected="another folder")
            check_same(facts, first, bulk.list, bulk.about, bulk.asked)
        bulk.folder.below(MANIFEST).remove()


def finish(bulk: Bulk, target: Target, told: Sequence[Told]) -> dict[str, Any]:
    """Say that the folder is whole, or put its parts together into the file and remove them; what they come to."""
    ordered = sorted(told, key=lambda one: one.part)
    counts = sum((Counts(**one.counts) for one in ordered), Counts())
    if [one.part for one in ordered] != list(range(1, bulk.of + 1)) or counts.images != bulk.inputs:
        raise MienError(f"{len(ordered):,} of {bulk.of:,} parts were told", expected="all of them, by --resume")
    with reaching(target.place):
        if target.is_file:
            _put_together(bulk, target.place)
            bulk.folder.files.delete_dir(bulk.folder.path)
        else:
            parts = [
                {"file": f"{Shard(one.part, one.of).stem}{_ENDING}", **one.counts, "sha256": one.sha256}
                for one in ordered
            ]
            content = {**bulk.facts(0), "columns": list(bulk.columns), **asdict(counts), "parts": parts}
            content.pop("part")
            bulk.folder.below(MANIFEST).write(as_json(content).encode())
    return asdict(counts)


def _put_together(bulk: Bulk, place: Place) -> None:
    """One file of all parts, byte by byte that of one call."""
    if not place.store:
        with replacing(Path(place.path)) as temporary:
            _write_rows(bulk, str(temporary), None)
        return
    try:
        _write_rows(bulk, place.path, place.files)
    except BaseException:
        # A stream that is closed too early becomes an object all the same.
        place.remove()
        raise


def _write_rows(bulk: Bulk, path: str, files: Any) -> None:
    schema = schema_of(bulk.columns)
    with pq.ParquetWriter(path, schema, filesystem=files) as writer:
        for table in _tables(bulk, schema):
            writer.write_table(table)


def _tables(bulk: Bulk, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of all parts, so many at once as one call writes."""
    left = schema.empty_table()
    for part in range(1, bulk.of + 1):
        more = pq.read_table(io.BytesIO(bulk.place(part).read())).replace_schema_metadata(None)
        left = pa.concat_tables([left, more])
        while len(left) >= ROWS:
            yield left.slice(0, ROWS).combine_chunks()
            left = left.slice(ROWS)
    yield left.combine_chunks()
