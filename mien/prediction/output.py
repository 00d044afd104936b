"""A file of answers: CSV, JSON, JSON lines or Parquet, whole or not at all; what was done before a stop is kept beside.

Photos are written as they come to `NAME.partial`, one a line, and become the file at the end.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mien.errors import MienError
from mien.files import replacing
from mien.inference.rows import ERROR, TEXTS, Row, flat, nested

FORMATS = (".csv", ".json", ".jsonl", ".parquet")
_WHOLE = ("face", "frame")
_ROWS = 4096  # of Parquet, at once


class Output:
    """Where rows go; a context, in which `add` takes those of a photo, and at whose end the file is there.

    With `resume`, `done` are the photos that the file, or what is left of a stopped run, has already; those that
    couldn't be read are tried again. Raises MienError for another ending than `FORMATS`, and where other columns or
    models stand.
    """

    def __init__(self, path: Path, columns: Sequence[str], about: dict[str, Any], *, resume: bool = False) -> None:
        if path.suffix.lower() not in FORMATS:
            raise MienError("a file of answers ends otherwise", file=str(path), expected=", ".join(FORMATS))
        if path.is_dir():
            raise MienError("this is a folder", file=str(path), expected="a file")
        self.path, self.columns, self.about = path, list(columns), about
        self.partial = path.with_name(f"{path.name}.partial")
        kept = list(self._before()) if resume else []
        self.done = {rows[0]["path"] for rows in kept}
        self._kept = kept

    def __enter__(self) -> "Output":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.partial) as temporary:
            temporary.write_text("".join(map(self._line, self._kept)), encoding="utf-8")
        self._kept = []
        self._file = self.partial.open("a", encoding="utf-8")
        return self

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of one photo."""
        self._file.write(self._line(rows))
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
        for rows in _stored(self.partial):
            yield from ({name: row[name] for name in self.columns} for row in rows)

    def _line(self, rows: Sequence[Row]) -> str:
        return json.dumps([{name: row[name] for name in self.columns} for row in rows], ensure_ascii=False) + "\n"

    def _before(self) -> Iterator[list[Row]]:
        """The rows of each photo that was told before, but for those that couldn't be read."""
        photos: dict[str, list[Row]] = {}
        earlier = self.partial if self.partial.is_file() else self.path
        if not earlier.is_file():
            return
        try:
            rows = _stored(earlier) if earlier == self.partial else ([row] for row in _read(earlier))
            for row in (row for some in rows for row in some):
                photos.setdefault(dict(row)["path"], []).append(row)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise MienError(
                "what stands here can't be gone on with", file=str(earlier), expected="answers that mien wrote"
            ) from error
        for rows_ in photos.values():
            self._check(rows_, earlier)
            if rows_[0]["answer"] != ERROR:
                yield rows_

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


def _stored(partial: Path) -> Iterator[list[Row]]:
    """The photos of a partial file; a last line that is cut off isn't one."""
    with partial.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.endswith("\n"):
                yield [flat(row) for row in json.loads(line)]


def _read(file: Path) -> Iterator[Row]:
    """The rows of a finished file, flat."""
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
    return int(text) if name in _WHOLE else float(text)


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


def _write_parquet(file: Path, output: Output) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {**dict.fromkeys(TEXTS, pa.string()), **dict.fromkeys(_WHOLE, pa.int32())}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in output.columns])
    with pq.ParquetWriter(file, schema) as writer:
        for rows in _batches(output.rows()):
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            yield batch
            batch = []
    yield batch


_WRITERS = {".csv": _write_csv, ".json": _write_json, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
