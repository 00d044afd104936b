"""A long list of photos told in parts, by as many processes or machines as there are, and put together again.

A part is a file of answers and, once that is whole, a manifest beside it: of which list and by which model it is, how
many photos and faces, what can't be read, and the file's SHA-256.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from mien.errors import MienError
from mien.files import write_json
from mien.inference.rows import Row
from mien.prediction.output import Output, read_rows
from mien.prediction.photos import Counts
from mien.prediction.places import Place
from mien.reading import Count, Digest, Stored, read_object

MOST = 100_000  # parts
_NAMED = 5  # of what is missing


class Shard(NamedTuple):
    """One part of so many, counted from 1."""

    part: int
    of: int

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"

    @property
    def stem(self) -> str:
        """What its files are called but for their endings; by name they are in order."""
        digits = len(str(self.of))
        return f"part-{self.part:0{digits}}-of-{self.of}"

    def bounds(self, n: int) -> tuple[int, int]:
        """Where its photos stand in a list of n: from, to.

        >>> [Shard(part, 3).bounds(8) for part in (1, 2, 3)]
        [(0, 2), (2, 5), (5, 8)]
        """
        return (self.part - 1) * n // self.of, self.part * n // self.of


def parse_shard(text: str) -> Shard:
    """The shard that `3/64` means.

    >>> parse_shard("3/64").stem
    'part-03-of-64'
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.part <= shard.of <= MOST:
        raise MienError(
            f"'{text}' is no shard", key="--shard", expected=f"a part of up to {MOST:,}, as 3/64 for the third of 64"
        )
    return shard


class Unread(Stored):
    """A file that can't be read, and why."""

    path: str
    error: str


class Facts(Stored):
    """What all parts of a list have in common."""

    of: Annotated[int, Field(ge=1, le=MOST)]
    inputs: Count
    inputs_sha256: Digest
    about: dict[str, Any]
    asked: dict[str, Any]


class Manifest(Facts):
    """What is written beside a part when it is whole."""

    part: Annotated[int, Field(ge=1, le=MOST)]
    first: Count
    end: Count
    columns: list[str]
    images: Count
    faces: Count
    without: Count
    uncertain: Count
    unread: list[Unread]
    sha256: Digest

    @property
    def shard(self) -> Shard:
        """Which part it is."""
        return Shard(self.part, self.of)


def digest_of(names: Iterable[str]) -> str:
    """The SHA-256 of a list of inputs."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8") + b"\0")
    return digest.hexdigest()


class Part:
    """One part in a folder: where its answers go, and the manifest that says that they are whole."""

    def __init__(self, folder: Path, shard: Shard, names: Sequence[str], about: dict[str, Any], asked: dict[str, Any]):
        """`names` are all inputs of the list; raises MienError where the folder has parts of something else."""
        self.shard, self.names, self.about, self.asked = shard, names, about, asked
        self.first, self.end = shard.bounds(len(names))
        self.file = folder / f"{shard.stem}.jsonl"
        self.manifest = folder / f"{shard.stem}.json"
        if folder.exists() and not folder.is_dir():
            raise MienError("this is a file", file=str(folder), key="--out", expected="a folder for the parts")
        self._inputs = digest_of(names)
        for path in sorted(folder.glob("part-*-of-*.json")):
            if path != self.manifest:
                check_same(_read(path), path, (shard.of, len(names), self._inputs), about, asked)
                break

    def begin(self) -> None:
        """Say that the part isn't whole, from now until `finish`."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.manifest.unlink(missing_ok=True)

    def finish(self, columns: Sequence[str], counts: Counts, unread: Sequence[dict[str, str]]) -> None:
        """Say that it is whole."""
        with self.file.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        content = {
            "part": self.shard.part,
            "of": self.shard.of,
            "inputs": len(self.names),
            "inputs_sha256": self._inputs,
            "first": self.first,
            "end": self.end,
            "about": self.about,
            "asked": self.asked,
            "columns": list(columns),
            "images": self.end - self.first,
            "faces": counts.n,
            "without": counts.without,
            "uncertain": counts.uncertain,
            "unread": list(unread),
            "sha256": sha256,
        }
        write_json(self.manifest, content)


def count_rows(rows: Iterable[Row]) -> tuple[Counts, list[dict[str, str]]]:
    """What the rows of photos come to, those of each photo together, and what can't be read."""
    counts, unread = Counts(), []
    for path, group in itertools.groupby(rows, key=lambda row: row["path"]):
        counts.images += 1
        faces = 0
        for row in group:
            faces += row["face"] is not None
            counts.uncertain += bool(row["uncertain"])
            if row["error"]:
                unread.append({"path": path, "error": row["error"]})
        counts.n += faces
        counts.without += not faces and (not unread or unread[-1]["path"] != path)
    counts.failed = len(unread)
    return counts, unread


def _read(path: Path) -> Manifest:
    return Manifest(**read_object(path, Manifest, "the manifest of a part"))


def check_same(
    manifest: Facts, path: Path | Place, inputs: tuple[int, int, str], about: dict[str, Any], asked: dict[str, Any]
) -> None:
    """Raise MienError where a part is of another list, number of parts, model or options than the others."""
    of, n, digest = inputs
    if manifest.of != of:
        raise MienError(f"this is a part of {manifest.of:,}", file=str(path), expected=f"parts of {of:,} alone")
    if (manifest.inputs, manifest.inputs_sha256) != (n, digest):
        raise MienError(
            f"this part is of another list of inputs ({manifest.inputs:,} of them)",
            file=str(path),
            expected=f"parts of one list ({n:,} inputs), in a folder of their own",
        )
    for key in ("model", "detector"):
        if manifest.about.get(key) != about[key]:
            raise MienError(
                f"this part was told by another {key}, {manifest.about.get(key)}",
                file=str(path),
                expected=f"{about[key]}, as the others",
            )
    for key in asked:
        if manifest.asked.get(key) != asked[key]:
            raise MienError(
                f"this part was told with {key} {manifest.asked.get(key)}",
                file=str(path),
                expected=f"{key} {asked[key]}, as the others",
            )


def merge(folder: Path, out: Path) -> dict[str, Any]:
    """Put the parts of a folder together into one file, as it would be without parts; what they come to.

    Raises MienError, and writes nothing, where a part is missing, there twice, damaged, or of another list, model or
    options than the first.
    """
    manifests = _manifests(folder)
    first = manifests[0]
    videos = [summary for one in manifests for summary in one.about.get("videos", [])]
    about = {**first.about, **({"videos": videos} if "videos" in first.about else {})}
    names: list[str] = []
    with Output(out, first.columns, about) as output:
        for manifest in manifests:
            file = folder / f"{manifest.shard.stem}.jsonl"
            for path, rows in itertools.groupby(read_rows(file), key=lambda row: row["path"]):
                names.append(path)
                output.add(list(rows))
        if len(names) != first.inputs or digest_of(names) != first.inputs_sha256:
            raise MienError(
                f"the parts hold {len(names):,} inputs that aren't those of the list",
                file=str(folder),
                expected=f"its {first.inputs:,}, each once and in order",
            )
    return {
        **about,
        "out": str(out),
        "parts": first.of,
        "images": sum(one.images for one in manifests),
        "n": sum(one.faces for one in manifests),
        "without": sum(one.without for one in manifests),
        "uncertain": sum(one.uncertain for one in manifests),
        "failed": sum(len(one.unread) for one in manifests),
    }


def _manifests(folder: Path) -> list[Manifest]:
    """The manifests of a folder in order, each of them and its file as it should be."""
    paths = sorted(folder.glob("part-*-of-*.json"))
    if not paths:
        raise MienError("there is no whole part here", file=str(folder), expected="a folder that --shard wrote into")
    found: dict[int, tuple[Path, Manifest]] = {}
    for path in paths:
        manifest = _read(path)
        if manifest.part in found:
            other = found[manifest.part][0]
            raise MienError(f"this is part {manifest.shard}, as {other.name} is", file=str(path), expected="each once")
        found[manifest.part] = path, manifest
    _, first = next(iter(found.values()))
    for path, manifest in found.values():
        check_same(manifest, path, (first.of, first.inputs, first.inputs_sha256), first.about, first.asked)
        file = folder / f"{manifest.shard.stem}.jsonl"
        if path.stem != manifest.shard.stem or (manifest.first, manifest.end) != manifest.shard.bounds(first.inputs):
            raise MienError(f"this says that it is part {manifest.shard}", file=str(path), expected="as its name says")
        if not file.is_file():
            raise MienError("the answers of this part are missing", file=str(file), expected=_again(manifest.shard))
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        if sha256 != manifest.sha256:
            raise MienError(
                "this part has changed: its SHA-256 is another",
                file=str(file),
                expected=_again(manifest.shard),
            )
    missing = [part for part in range(1, first.of + 1) if part not in found]
    if missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (", …" if missing[_NAMED:] else "")
        raise MienError(
            f"{len(missing):,} of {first.of:,} parts aren't whole: {named}",
            file=str(folder),
            expected=_again(Shard(missing[0], first.of)),
        )
    return [found[part][1] for part in sorted(found)]


def _again(shard: Shard) -> str:
    return f"it told again, by --shard {shard}"
