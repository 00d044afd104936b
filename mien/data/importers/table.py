"""A table with a path and a label for each image: CSV, JSON lines or Parquet, beside the images or named by --metadata.

Hugging Face's `imagefolder` is one: `metadata.csv`, `.jsonl` or `.parquet` with `file_name`, at the root or in the
folder of each split. All other columns come along, as numbers where all their values are numbers.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mien.data.dataset import split_rank
from mien.data.importers import layouts, listed, tables
from mien.data.importers.disk import relative, visible
from mien.data.importers.listed import Listed
from mien.data.importers.source import Asked, BadRow, Source
from mien.data.importers.tree import File, Tree, commonest_depth, tree_of
from mien.errors import MienError, unknown
from mien.parquet import MAX_TEXT
from mien.reading import parse_json, read_csv, read_lines
from mien.registry import register

PATHS = (
    "file_name", "filename", "file_path", "filepath", "image_path", "img_path", "image_name", "path", "file", "image",
    "img", "pth", "subdirectory_filepath", "image_file", "image_id", "name",
)  # fmt: skip
LABELS = ("label", "labels", "emotion", "expression", "class")
SPLITS = ("split", "usage", "subset")
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_TEXTS = (".csv", ".tsv", ".txt", ".gz")
_MAX_ROWS = 2_000_000
_MAX_COLUMNS = 1000


@dataclass
class _Table:
    """A table as it was read: where it stands, its columns, its rows with the lines that they end on."""

    file: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, Any]]]

    def called(self, names: Sequence[str]) -> str | None:
        """The first column with one of these names, in any case."""
        plain = {column.strip().lower(): column for column in reversed(self.columns)}
        return next((plain[name] for name in names if name in plain), None)


@register("importer", "table")
def table(source: Path, asked: Asked) -> Source | None:
    """A table of paths and labels: the source itself, in its folder, or `--metadata` for the images of a folder."""
    if asked.metadata is not None:
        if not source.is_dir():
            raise MienError("--metadata is for the images of a folder", file=str(source), expected="their folder")
        if not asked.metadata.is_file():
            raise MienError("there is no such table", file=str(asked.metadata), key="--metadata")
        return _source(source, [asked.metadata], asked, tree_of(source))
    if source.is_file():
        named = source.name.lower()
        if not named.endswith((".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".jsonl")) and not _is_table(source):
            return None
        return _source(source, [source], asked, None)
    tree = tree_of(source)
    files = _metadata_files(tree) or _beside(source, tree)
    return _source(source, files, asked, tree) if files else None


def _is_table(file: Path) -> bool:
    """Whether a file's first line is the header of a table of paths."""
    try:
        header = next(read_csv(file), None)
    except MienError:
        return False
    return header is not None and len(header[1]) > 1 and any(name.strip().lower() in PATHS for name in header[1])


def _metadata_files(tree: Tree) -> list[Path]:
    """Hugging Face's metadata: at the root, or in folders of splits."""
    return [
        file.path
        for file in tree.files
        if file.path.name.lower() in _METADATA
        and all(layouts.is_split(name) or name == "data" for name in file.folders)
    ]


def _beside(source: Path, tree: Tree) -> list[Path]:
    """Tables beside images that lie in no class folders: the one there is, or those that are called by their splits."""
    if not tree.images:
        return []
    depth = commonest_depth(tree.images)
    tops = {file.folders[0] for file in tree.images if len(file.folders) == depth} if depth else set()
    if depth > 1 or not (len(tops) < 2 or all(layouts.is_split(top) for top in tops)):
        return []
    stems = {file.stem for file in tree.images}
    named = [path for path in visible(source) if path.suffix.lower() in (*_TEXTS, ".jsonl") and _names(path, stems)]
    splits = [path for path in named if layouts.is_split(_stem(path))]
    if len(named) > 1 and len(splits) < len(named):
        names = ", ".join(path.name for path in named)
        raise MienError(
            f"there are {len(named)} tables of images: {names}", file=str(source), expected="--metadata FILE"
        )
    return sorted(named, key=lambda path: (split_rank(_stem(path)), path.name))


def _names(path: Path, stems: set[str]) -> bool:
    """Whether one of the first rows of a table names an image."""
    try:
        if path.suffix.lower() == ".jsonl":
            return any('"file_name"' in text for _, (_, text) in zip(range(20), read_lines(path), strict=False))
        rows = [values for _, (_, values) in zip(range(20), read_csv(path), strict=False)]
    except MienError:
        return False
    columns = [place for place, name in enumerate(rows[0]) if name.strip().lower() in PATHS] if rows else []
    named = [
        row[place].strip().replace("\\", "/").rpartition("/")[2]
        for row in rows[1:]
        for place in columns
        if place < len(row)
    ]
    return any(name in stems or name.rpartition(".")[0] in stems for name in named)


def _stem(path: Path) -> str:
    return re.sub(r"(\.(csv|tsv|txt|jsonl|parquet|gz))+$", "", path.name, flags=re.IGNORECASE)


def _source(source: Path, files: list[Path], asked: Asked, tree: Tree | None) -> Source:
    read = [_read(file) for file in files]
    columns = read[0].columns
    for one in read[1:]:
        if set(one.columns) != set(columns):
            raise MienError(f"its columns differ from those of {files[0].name}", file=str(one.file))
    path = _column(read[0], asked.image_column, PATHS, "--image-column", "paths of images")
    folders = None
    if asked.label_column is None and read[0].called([name for name in LABELS if name != path]) is None and tree:
        folders = _class_folders(tree)
    label = None
    if folders is None:
        label = _column(read[0], asked.label_column, LABELS, "--label-column", "labels")
    split = next((name for name in columns if name.strip().lower() in SPLITS and name not in (path, label)), None)
    root = source if tree is not None else source.parent
    places = _Places(root, tree)
    drafts = [
        replace(draft, split=draft.split if split is None else _text(row.get(split)))
        for one in read
        for draft, row in _drafts(one, source, path, label, folders, places, len(read) > 1)
    ]
    if split is None:
        drafts = _splits(drafts)
    kinds = _kinds([row for one in read for _, row in one.rows], [c for c in columns if c not in (path, label, split)])
    extra, left_out = tables.named(kinds)
    stray: list[BadRow] = []
    if tree is not None:
        found = {draft.image for draft in drafts}
        lists = " and ".join(relative(file, source) if file.is_relative_to(source) else file.name for file in files)
        stray = [*listed.unlisted(tree.images, found, lists), *tree.linked]
    rows = [row for one in read for _, row in one.rows]
    classes = {draft.label for draft in drafts if isinstance(draft.label, str)}
    terms = layouts.terms_of(tree.images if tree else [])
    return Source(
        rows=listed.rows(root, _filled(drafts, rows, extra, kinds), stray),
        classes=tuple(sorted(classes)),
        total=len(drafts) + len(stray),
        columns=dict(extra.values()),
        drawn=all(draft.split is None for draft in drafts) and split is None,
        label_column=label or "class folder",
        details={"left_out": left_out} if left_out else {},
        notes=terms,
    )


def _column(table: _Table, asked: str | None, names: Sequence[str], option: str, what: str) -> str:
    """The column that was asked for, or one with a usual name."""
    if asked is not None:
        if asked not in table.columns:
            raise unknown(f"there is no column '{asked}'", asked, table.columns, file=str(table.file), key=option)
        return asked
    found = table.called(names)
    if found is None:
        raise MienError(
            f"there is no column of {what} among {', '.join(map(repr, table.columns[:20]))}",
            file=str(table.file),
            expected=f"{option} with one of them",
        )
    return found


def _class_folders(tree: Tree) -> bool | None:
    """Whether images lie in folders that can be classes, all of them equally deep; else None."""
    depths = {len(file.folders) for file in tree.images}
    if len(depths) != 1 or 0 in depths:
        return None
    parents = {file.folders[-1] for file in tree.images}
    return True if len(parents) > 1 and not any(layouts.is_split(name) for name in parents) else None


class _Places:
    """Where the image is that a table names: at that path, or the only one below the folder that is called so."""

    def __init__(self, root: Path, tree: Tree | None) -> None:
        self._root = root
        self._whole = f"{root.resolve().as_posix()}/"
        self._ids = {file.id for file in tree.images} if tree else set()
        self._named: dict[str, list[File]] = {}
        for file in tree.images if tree else ():
            for name in {file.path.name, file.path.stem}:
                self._named.setdefault(name, []).append(file)

    def of(self, value: str, folder: str) -> str | MienError:
        """The path below the root, or what is wrong; `folder` is the table's own, below the root."""
        plain = value.strip().replace("\\", "/").removeprefix("./").removeprefix(self._whole)
        for path in (f"{folder}/{plain}" if folder else plain, plain):
            if path in self._ids or (not self._ids and (self._root / path).is_file()):
                return path
        if not plain:
            return MienError("no path")
        found = self._named.get(plain.rpartition("/")[2], []) if self._ids else []
        if folder:
            found = [file for file in found if file.id.startswith(f"{folder}/")]
        if "/" in plain:
            found = [file for file in found if file.id.endswith(f"/{plain}")]
        if len(found) == 1:
            return found[0].id
        if len(found) > 1:
            return MienError(f"there are {len(found)} images called '{plain}'", expected="its path")
        if folder and not plain.startswith(f"{folder}/"):
            plain = f"{folder}/{plain}"
        return plain


def _drafts(
    table: _Table, source: Path, path: str, label: str | None, folders: bool | None, places: _Places, several: bool
) -> Iterator[tuple[Listed, dict[str, Any]]]:
    """The rows of a table as they are listed, without extra columns; the split is what the table's name says."""
    at = (
        None
        if table.file == source
        else relative(table.file, source)
        if table.file.is_relative_to(source)
        else (str(table.file))
    )
    inside = source.is_dir() and table.file.is_relative_to(source)
    folder = relative(table.file.parent, source) if inside and table.file.parent != source else ""
    split = _stem(table.file) if several and layouts.is_split(_stem(table.file)) else None
    for number, (line, row) in enumerate(table.rows):
        value = _text(row.get(path))
        image = places.of(value, folder) if value else MienError("no path")
        if isinstance(image, MienError):
            name = value or f"{number}"
            problem = BadRow(name, path, image.message, image.expected, line, at)
            yield Listed("", None, None, problem=problem), row
            continue
        if len(image.encode()) > MAX_TEXT:
            problem = BadRow(image[:40] + "…", path, f"{len(image):,} letters", f"at most {MAX_TEXT:,} bytes", line, at)
            yield Listed("", None, None, problem=problem), row
            continue
        given = image.split("/")[-2] if folders and "/" in image else None
        yield Listed(image, given if label is None else _label(row.get(label)), split, line, at), row


def _splits(drafts: list[Listed]) -> list[Listed]:
    """Splits by the first folder of the paths, where most are called like splits; others then have none."""
    good = [draft for draft in drafts if draft.problem is None]
    if any(draft.split is not None for draft in good):
        return drafts
    tops = [_top(draft.image) for draft in drafts]
    named = sum(top is not None and draft.problem is None for draft, top in zip(drafts, tops, strict=True))
    if 2 * named <= len(good):
        return drafts
    return [draft if draft.problem else replace(draft, split=top) for draft, top in zip(drafts, tops, strict=True)]


def _top(path: str) -> str | None:
    """The first folder of a path, if it is called like a split."""
    top, slash, _ = path.removeprefix("data/").partition("/")
    return top if slash and layouts.is_split(top) else None


def _filled(
    drafts: list[Listed], rows: list[dict[str, Any]], extra: dict[str, tuple[str, pa.DataType]],
    kinds: dict[str, pa.DataType | None],
) -> list[Listed]:  # fmt: skip
    """The rows with the values of their extra columns."""
    readers = {name: tables.READERS[kind] for name, (_, kind) in extra.items()}
    return [
        draft
        if draft.problem
        else replace(draft, extra={extra[name][0]: read(row.get(name)) for name, read in readers.items()})
        for draft, row in zip(drafts, rows, strict=True)
    ]


def _kinds(rows: list[dict[str, Any]], columns: Iterable[str]) -> dict[str, pa.DataType | None]:
    """The type of each column; None for one that can't be kept."""
    return {name: tables.kind_of(row.get(name) for row in rows) for name in columns}


def _text(value: Any) -> str | None:
    text = None if tables.is_missing(value) or isinstance(value, dict | list) else str(value).strip()
    return text or None


def _label(value: Any) -> str | None:
    """A label as text; 3.0 is 3, as it becomes where another row of a table has none."""
    text = _text(value)
    return text and re.sub(r"^(\d+)\.0+$", r"\1", text)


def _read(file: Path) -> _Table:
    """A table of any kind; MienError for one without rows, or with too many."""
    suffix = file.suffix.lower()
    if suffix == ".jsonl":
        found = _from_jsonl(file)
    elif suffix == ".parquet":
        found = _from_parquet(file)
    else:
        found = _from_csv(file)
    if not found.rows:
        raise MienError("there are no rows", file=str(file))
    return found


def _check_count(rows: list[Any], file: Path) -> None:
    if len(rows) > _MAX_ROWS:
        raise MienError(f"there are more than {_MAX_ROWS:,} rows", file=str(file))


def _from_csv(file: Path) -> _Table:
    lines = read_csv(file)
    _, header = next(lines, (1, []))
    columns = [name.strip() for name in header]
    if len(columns) > _MAX_COLUMNS:
        raise MienError(
            f"there are {len(columns):,} columns", file=str(file), line=1, expected=f"at most {_MAX_COLUMNS}"
        )
    twice = next((name for name, n in Counter(columns).items() if n > 1), None)
    if twice is not None:
        raise MienError(f"two columns are called '{twice}'", file=str(file), line=1)
    rows: list[tuple[int, dict[str, Any]]] = []
    for line, values in lines:
        if len(values) != len(columns):
            raise MienError(f"{len(values)} columns", file=str(file), line=line, expected=str(len(columns)))
        rows.append((line, dict(zip(columns, values, strict=True))))
        _check_count(rows, file)
    return _Table(file, columns, rows)


def _from_jsonl(file: Path) -> _Table:
    rows: list[tuple[int, dict[str, Any]]] = []
    columns: dict[str, None] = {}
    for line, text in read_lines(file):
        if not text.strip():
            continue
        try:
            row = parse_json(text)
        except ValueError as error:
            raise MienError(f"this is no JSON ({error})", file=str(file), line=line) from error
        if not isinstance(row, dict):
            raise MienError("this is no object", file=str(file), line=line, expected='as {"file_name": "0.png", …}')
        columns |= dict.fromkeys(row)
        if len(columns) > _MAX_COLUMNS:
            raise MienError(f"there are more than {_MAX_COLUMNS} columns", file=str(file), line=line)
        rows.append((line, row))
        _check_count(rows, file)
    return _Table(file, list(columns), rows)


def _from_parquet(file: Path) -> _Table:
    opened = tables.open_source(file)
    tables.rows_in([opened], file)
    names = [field.name for field in opened.schema_arrow if tables.plain(field.type) is not None]
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, row in enumerate(tables.rows_of(file, names)):
        rows.append((number, row))
        _check_count(rows, file)
    return _Table(file, names, rows)
