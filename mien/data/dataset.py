"""A data set: a folder with Parquet shards and a card, written once as a whole and then only read.

Shards are `<split>-NNNNN.parquet` with the `huggingface` schema metadata, and `README.md` holds the card's YAML, so
that `datasets.load_dataset(folder)` opens it with its splits, pictures and class names. `card.json` is mien's own.
"""

import contextlib
import datetime
import hashlib
import html
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mien import __version__
from mien.data.labels import LabelScheme, check_classes
from mien.errors import FailedError, MienError, nearest, unknown
from mien.files import TakenError, new_folder, sweep, write_json
from mien.parquet import open_parquet, pieces
from mien.reading import Count, Digest, Name, Split, check, read_json, reading
from mien.workspace import NAME, Workspace, check_name, other_roots

_SHARD_BYTES = 256 * 2**20
_GROUP_ROWS = 1000
_GROUP_BYTES = 32 * 2**20
_SPLIT = re.compile(r"\w+")

# Usual names of splits, in the order in which they are listed: training splits first, test splits last.
_SPLIT_ORDER = (
    "training",
    "train",
    "publictest",
    "privatetest",
    "validation",
    "valid",
    "val",
    "dev",
    "testing",
    "test",
)
SPLIT_NAMES = frozenset(_SPLIT_ORDER)

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# The columns that every shard has.
_OWN = {"id": pa.string(), "image": IMAGE, "label": pa.int64()}
# Where a set has the 68 points of each face, x and y in turn.
POINTS_COLUMN = "landmarks"


class Shard(BaseModel):
    """One Parquet file of a data set: its split, number of rows, bytes and SHA-256."""

    model_config = ConfigDict(frozen=True)
    file: Annotated[str, Field(pattern=r"^\w{1,100}-[0-9]{5}\.parquet$")]
    split: Split
    rows: Count
    bytes: Count
    sha256: Digest


class Parent(BaseModel):
    """The data set that another was cut or relabelled from: its name, and its fingerprint at that time."""

    model_config = ConfigDict(frozen=True)
    name: Name
    fingerprint: Digest


def _details(details: dict[str, Any]) -> dict[str, Any]:
    for key in ("landmarks", "crop"):
        if not isinstance(details.get(key, {}), dict):
            raise ValueError(f"'{key}' of the details is no object")
    return details


class Card(BaseModel):
    """What a data set is and where it came from.

    `labels` and `classes` are the label scheme. `splits` gives the number of rows by class, in the scheme's order.
    `image_sizes` counts the commonest width × height.
    `fingerprint` is the SHA-256 of the classes and of all shards' digests: it changes when any byte does.
    `notes` are warnings that a reader must see; `skipped` are the bad rows that `--skip-bad` left out.
    `parent` is the set that this one was cut or relabelled from; rows keep their ids.
    """

    model_config = ConfigDict(frozen=True)
    name: Name
    labels: str
    classes: tuple[str, ...]
    splits: Annotated[dict[Split, tuple[Count, ...]], Field(min_length=1)]
    columns: tuple[str, ...]
    shards: Annotated[tuple[Shard, ...], Field(min_length=1)]
    fingerprint: Digest
    source: str
    format: str
    made: str
    mien: str
    image_sizes: dict[str, int]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    details: Annotated[dict[str, Any], AfterValidator(_details)] = {}
    parent: Parent | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        """Refuse a card that contradicts itself: its counts are taken for those of the rows."""
        check_classes(self.classes, self.labels)
        for split, counts in self.splits.items():
            if len(counts) != len(self.classes):
                raise ValueError(f"split '{split}' has {len(counts):,} counts for {len(self.classes):,} classes")
            if (rows := sum(shard.rows for shard in self.shards if shard.split == split)) != sum(counts):
                raise ValueError(f"split '{split}' has {sum(counts):,} rows, and its shards have {rows:,}")
        if (of := {shard.split for shard in self.shards}) != set(self.splits):
            raise ValueError(
                f"there are shards of {', '.join(sorted(of))}, and the splits are {', '.join(self.splits)}"
            )
        if self.fingerprint != _fingerprint(self.scheme, self.shards):
            raise ValueError("the fingerprint isn't that of the classes and shards")
        return self

    @property
    def scheme(self) -> LabelScheme:
        """The label scheme of the data set."""
        return LabelScheme(self.labels, self.classes)


class Dataset:
    """An opened data set: its card, and its rows by split."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        card = folder / "card.json"
        self.card: Card = check(read_json(card, "the card"), Card, card, "the card")

    @property
    def has_points(self) -> bool:
        """Whether its rows have the 68 points of a face."""
        return POINTS_COLUMN in self.card.columns

    def rows(self, split: str) -> int:
        """The number of rows of a split."""
        return sum(self.card.splits[self._known(split)])

    def table(self, split: str, columns: Sequence[str]) -> pa.Table:
        """Columns of a split as an Arrow table, in the data set's order."""
        return pa.Table.from_batches(
            [batch for shard in self._shards(split) for batch in self.batches(shard, columns)]
        ).select(list(columns))

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """The labels of a split, int64 (rows,)."""
        return np.asarray(self.table(split, ["label"])["label"], dtype=np.int64)

    def ids(self, split: str) -> list[str]:
        """The row ids of a split."""
        ids: list[str] = self.table(split, ["id"])["id"].to_pylist()
        return ids

    def schema(self) -> pa.Schema:
        """The columns of the shards with their types."""
        with self._open(self.card.shards[0]) as file:
            return file.schema_arrow

    def images(self, split: str) -> Iterator[bytes]:
        """The image files' bytes of a split, row by row, without holding the split in memory."""
        for shard in self._shards(split):
            for batch in self.batches(shard, ["image"]):
                for value in batch.column("image").field("bytes"):
                    yield value.as_py()

    def batches(self, shard: Shard, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a shard in pieces that memory holds; FailedError for one that isn't as the card says."""
        path = self.folder / shard.file
        with self._open(shard) as file, reading(path, "this shard"):
            missing = [name for name in columns or () if name not in file.schema_arrow.names]
            if missing:
                raise FailedError(f"the shard has no column '{missing[0]}'", file=str(path))
            for batch in pieces(file, path, columns, most=_GROUP_ROWS):
                self._check_values(batch, path)
                yield batch

    def _check_values(self, batch: pa.RecordBatch, path: Path) -> None:
        """What every reader relies on: each row has an id, an image, and a label that is a class."""
        for name in {"id", "label", "image"} & set(batch.schema.names):
            column = batch.column(name)
            if column.null_count or (name == "image" and column.field("bytes").null_count):
                raise FailedError(f"a row has no {name}", file=str(path))
        if "label" in batch.schema.names and len(batch):
            labels = pc.min_max(batch.column("label")).as_py()
            if not 0 <= labels["min"] <= labels["max"] < len(self.card.classes):
                raise FailedError(
                    f"a row has a label of {labels['min']} to {labels['max']}",
                    file=str(path),
                    expected=f"0 to {len(self.card.classes) - 1}",
                )

    def verify(self) -> None:
        """Raise FailedError for a shard that isn't, byte for byte, the one that the card describes."""
        for shard in self.card.shards:
            self._open(shard).close()
            if _sha256(self.folder / shard.file) != shard.sha256:
                raise FailedError(
                    "this shard isn't the one that the card describes; import again", file=str(self.folder / shard.file)
                )

    def _known(self, split: str) -> str:
        if split not in self.card.splits:
            raise unknown(f"data set '{self.card.name}' has no split '{split}'", split, self.card.splits)
        return split

    def _shards(self, split: str) -> list[Shard]:
        return [shard for shard in self.card.shards if shard.split == self._known(split)]

    def _open(self, shard: Shard) -> pq.ParquetFile:
        path = self.folder / shard.file
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise FailedError("this shard isn't the one that the card describes; import again", file=str(path))
        file = open_parquet(path, "this shard")
        kinds = {name: kind for name, kind in _OWN.items() if name in file.schema_arrow.names}
        if (
            file.metadata.num_rows != shard.rows
            or len(kinds) < len(_OWN)
            or any(file.schema_arrow.field(name).type != kind for name, kind in kinds.items())
        ):
            raise FailedError("this shard isn't the one that the card describes; import again", file=str(path))
        return file


def open_dataset(workspace: Workspace, name: str) -> Dataset:
    """The data set of that name in the workspace; an unknown name is an error with the nearest one."""
    return Dataset(folder_of(workspace, name))


def folder_of(workspace: Workspace, name: str) -> Path:
    """The folder of the data set of that name; MienError, with places where there is one, for an unknown name."""
    folder = workspace.datasets / name
    if re.fullmatch(NAME, name) and (folder / "card.json").is_file():
        return folder
    known = list_datasets(workspace)
    ways = [f"one of {', '.join(known)} in {workspace.datasets}" if known else f"a data set in {workspace.datasets}"]
    if re.fullmatch(NAME, name):
        others = (root for root in other_roots(workspace) if (root / "datasets" / name / "card.json").is_file())
        ways += [f"--workspace {shlex.quote(str(other))}, which has it" for other in islice(others, 1)]
        ways.append(f"a new one by mien data import SOURCE --as {name}")
    raise MienError(f"no data set is called '{name}'", expected=", or ".join(ways), nearest=nearest(name, known))


def list_datasets(workspace: Workspace) -> list[str]:
    """The names of the workspace's data sets, sorted."""
    return sorted(
        card.parent.name for card in workspace.datasets.glob("*/card.json") if re.fullmatch(NAME, card.parent.name)
    )


def split_rank(split: str) -> tuple[int, str]:
    """A sorting key for names of splits.

    >>> sorted(["test", "other", "val", "train"], key=split_rank)
    ['train', 'val', 'test', 'other']
    """
    known = split.lower() in SPLIT_NAMES
    return (_SPLIT_ORDER.index(split.lower()) if known else len(_SPLIT_ORDER), split)


class Writer:
    """Takes the rows of a new data set one by one; `write_dataset` makes it."""

    def __init__(self, folder: Path, scheme: LabelScheme, columns: Mapping[str, pa.DataType]) -> None:
        self._folder = folder
        self._scheme = scheme
        self._schema = _schema(scheme, columns)
        self._extra = dict(columns)
        self._rows: dict[str, list[tuple[str, bytes, str | None, int, Mapping[str, Any]]]] = {}
        self._bytes: Counter[str] = Counter()
        self._writers: dict[str, tuple[pq.ParquetWriter, Path]] = {}
        self._files: list[tuple[str, str]] = []
        self.classes = scheme.classes
        self.counts: dict[str, list[int]] = {}
        self.sizes: Counter[str] = Counter()

    def add(
        self,
        split: str,
        id: str,
        image: bytes,
        label: int,
        *,
        size: tuple[int, int],
        path: str | None = None,
        **extra: Any,
    ) -> None:
        """Append one row: the image file's bytes as they came, the label as an index into the scheme, width × height.

        `path` is the image's file name where it had one; `extra` are the values of the extra columns.
        """
        if split not in self.counts:
            if not _SPLIT.fullmatch(split):
                raise MienError(f"'{split}' can't be the name of a split", expected="letters, digits or '_'")
            self.counts[split] = [0] * len(self._scheme)
            self._rows[split] = []
        self.counts[split][label] += 1
        self.sizes[f"{size[0]}×{size[1]}"] += 1
        self._rows[split].append((id, image, path, label, extra))
        self._bytes[split] += len(image)
        if len(self._rows[split]) >= _GROUP_ROWS or self._bytes[split] >= _GROUP_BYTES:
            self._flush(split)

    def _flush(self, split: str) -> None:
        if not self._rows[split]:
            return
        ids, images, paths, labels, extras = zip(*self._rows[split], strict=True)
        columns = [
            _texts(ids),
            pa.StructArray.from_arrays([_bytes(images, pa.binary()), _texts(paths)], fields=list(IMAGE)),
            pa.Array.from_buffers(pa.int64(), len(labels), [None, pa.py_buffer(np.array(labels, np.int64))]),
            *(pa.array([extra.get(name) for extra in extras], kind) for name, kind in self._extra.items()),
        ]
        if split not in self._writers:
            number = sum(of == split for of, _ in self._files)
            name = f"{split}-{number:05d}.parquet"
            self._files.append((split, name))
            path = self._folder / name
            # Pictures either are compressed already or are stored for Parquet to compress; other columns are small.
            self._writers[split] = (pq.ParquetWriter(path, self._schema, compression="zstd"), path)
        writer, path = self._writers[split]
        writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows[split] = []
        self._bytes[split] = 0
        if path.stat().st_size >= _SHARD_BYTES:
            writer.close()
            del self._writers[split]

    def abandon(self) -> None:
        """Close the files in whatever state they are: their folder is removed next."""
        for writer, _ in self._writers.values():
            with contextlib.suppress(Exception):
                writer.close()

    def close(self) -> tuple[Shard, ...]:
        """Write the remaining rows; gives the shards in the order of splits and, within a split, of rows."""
        for split in self._rows:
            self._flush(split)
        for writer, _ in self._writers.values():
            writer.close()
        self._writers = {}
        return tuple(
            Shard(
                file=name,
                split=split,
                rows=pq.read_metadata(self._folder / name).num_rows,
                bytes=(self._folder / name).stat().st_size,
                sha256=_sha256(self._folder / name),
            )
            for split, name in sorted(self._files, key=lambda file: (split_rank(file[0]), file[1]))
        )


@contextlib.contextmanager
def write_dataset(
    workspace: Workspace,
    name: str,
    scheme: LabelScheme,
    *,
    source: str,
    format: str,
    columns: Mapping[str, pa.DataType] | None = None,
    notes: list[str] | None = None,
    skipped: list[str] | None = None,
    details: dict[str, Any] | None = None,
    parent: Card | None = None,
    finish: Callable[[Dataset], object] | None = None,
) -> Iterator[Writer]:
    """A writer for a new data set, which appears as a whole if the block ends without an error, else not at all.

    `columns` are extra columns by name; `notes`, `skipped` and `details` may be filled while writing. `parent` is the
    card of the set whose rows, with their ids, the new set cuts or relabels. `finish` is called with the new set when
    all else of it is there, to put more into its folder.
    Raises MienError when the name is taken or no row was written.
    """
    target = free_name(workspace, name)
    with _taken_as_an_error(target), new_folder(target) as folder:
        writer = Writer(folder, scheme, columns or {})
        try:
            yield writer
            shards = writer.close()
        except BaseException:
            writer.abandon()
            raise
        if not shards:
            raise MienError("there are no rows", file=source)
        card = Card(
            name=name,
            labels=scheme.name,
            classes=scheme.classes,
            splits={split: tuple(writer.counts[split]) for split in sorted(writer.counts, key=split_rank)},
            columns=tuple(writer._schema.names),
            shards=shards,
            fingerprint=_fingerprint(scheme, shards),
            source=source,
            format=format,
            made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            mien=__version__,
            image_sizes=dict(writer.sizes.most_common(20)),
            notes=tuple(notes or ()),
            skipped=tuple(skipped or ()),
            details=details or {},
            parent=Parent(name=parent.name, fingerprint=parent.fingerprint) if parent else None,
        )
        write_json(folder / "card.json", card.model_dump(mode="json"))
        (folder / "README.md").write_text(_readme(card), encoding="utf-8")
        if finish is not None:
            finish(Dataset(folder))


def free_name(workspace: Workspace, name: str) -> Path:
    """The folder of a new data set; MienError for a name that is taken, or can't be one."""
    target = workspace.datasets / check_name(name, "a data set")
    sweep(workspace.datasets)
    if target.exists():
        raise _taken(target)
    return target


def _taken(target: Path) -> MienError:
    return MienError(
        f"there is a data set '{target.name}' already",
        file=str(target),
        expected=f"another name, or mien data remove {target.name}",
    )


@contextlib.contextmanager
def _taken_as_an_error(target: Path) -> Iterator[None]:
    """For a name that another process took while this one was writing."""
    try:
        yield
    except TakenError as error:
        raise _taken(target) from error


def _fingerprint(scheme: LabelScheme, shards: Iterable[Shard]) -> str:
    text = "\n".join([scheme.name, *scheme.classes, *(shard.sha256 for shard in shards)])
    return hashlib.sha256(text.encode()).hexdigest()


def _schema(scheme: LabelScheme, columns: Mapping[str, pa.DataType]) -> pa.Schema:
    fields = {**_OWN, **columns}
    features: dict[str, Any] = {name: _feature(kind) for name, kind in fields.items()}
    features["image"] = {"_type": "Image"}
    features["label"] = {"names": list(scheme.classes), "_type": "ClassLabel"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(fields.items()), metadata=metadata)


def _texts(values: Iterable[str | None]) -> pa.Array:
    return _bytes([None if value is None else value.encode() for value in values], pa.string())


def _bytes(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    """`pa.array(values, kind)` without importing pandas, which takes longer than writing a small data set."""
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value or b"") for value in values], out=offsets[1:])
    there = np.packbits([value is not None for value in values], bitorder="little")
    content = b"".join(value or b"" for value in values)
    return pa.Array.from_buffers(kind, len(values), [pa.py_buffer(part) for part in (there, offsets, content)])


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32", "double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _readme(card: Card) -> str:
    files = "\n".join(f"  - split: {split}\n    path: {split}-*.parquet" for split in card.splits)
    rows = "\n".join(f"| {split} | {sum(counts):,} |" for split, counts in card.splits.items())
    classes = _plain(", ".join(card.classes))
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}\n---\n"
        f"# {card.name}\n\nLabels: `{card.labels}` ({classes}). Written by mien {card.mien}.\n\n"
        f"| split | rows |\n| --- | ---: |\n{rows}\n"
    )


def _plain(text: str) -> str:
    """A text that Markdown and HTML show as it is."""
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(text, quote=False))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
