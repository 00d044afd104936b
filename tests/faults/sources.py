"""Sources of data as people have them, with the rows that stand in them: what `imports` imports.

A builder writes a source of one kind into a folder, in one of the many ways in which it may be written, and knows each
of its rows. Everything is drawn from the dice that it gets.
"""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mien.data.labels import SCHEMES

SIDE = 6
EXPRESSIONS = SCHEMES["fer2013-7"].classes
SPELLINGS = {"happy": "Happiness", "sad": "SADNESS", "angry": "anger", "surprise": "Surprised", "fear": "Fearful"}
OWN = ("cat", "dög", "a b", "犬", "x1", "Zebra", "it's")
SPLITS = (
    ("train", "test"),
    ("Train", "Val", "Test"),
    ("training", "validation"),
    ("train_set", "val_set"),
    ("TRAIN", "DEV"),
    ("fold1", "fold2", "fold3"),
)
ENCODINGS = {
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".pgm": "PPM",
    ".webp": "WEBP",
    ".jpg": "JPEG",
}
ODD_NAMES = (
    "a b", "é", "e\u0301", "犬", "😀", "it's", '"q"', "-x", "a,b", "a;b", "#1", "100%", "x" * 200, "a.b.c", "(1)",
    "IMG~1", "[x]", "$(x)", "a&b",
)  # fmt: skip


@dataclass
class Known:
    """A row as it was built: its image file, its class, its split if the source names one, further columns as text.

    Rows with one `group` must share a split that mien draws.
    """

    image: bytes
    label: str
    split: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    group: str | None = None


@dataclass
class Built:
    """A source with its rows by id.

    `files` are the images on the disk by row. `strays` says what an image is that nothing names: "row" where every
    file is one, "bad" where it is refused, "" where nobody looks. `fatal`: reading it would be wrong; `harmless`:
    refusing it would be.
    """

    kind: str
    source: Path
    rows: dict[str, Known]
    files: dict[str, Path] = field(default_factory=dict)
    strays: str = ""
    arguments: list[str] = field(default_factory=list)
    fatal: bool = False
    harmless: bool = True
    told: list[str] = field(default_factory=list)

    def note(self, what: str, level: str = "harmless") -> None:
        """Write down what is odd about it: harmless, doubtful (read rightly or refused) or fatal (to be refused)."""
        self.told.append(what)
        self.fatal = self.fatal or level == "fatal"
        self.harmless = self.harmless and level == "harmless"


Dice = random.Random
Builder = Callable[[Path, Dice], Built]
BUILDERS: dict[str, Builder] = {}


def builder(kind: str) -> Callable[[Builder], Builder]:
    def register(function: Builder) -> Builder:
        BUILDERS[kind] = function
        return function

    return register


# Pictures and names


def pixels_of(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), np.uint8)


def picture(number: int, suffix: str = ".png") -> bytes:
    """A picture of noise as a file; no two numbers give the same pixels."""
    data = io.BytesIO()
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95} if suffix == ".jpg" else {}
    Image.fromarray(pixels_of(number)).save(data, ENCODINGS[suffix], **options)
    return data.getvalue()


def write(file: Path, content: bytes | str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    return file


def classes_of(dice: Dice, least: int = 2) -> list[str]:
    """Some classes: expressions in any spelling, or other names."""
    if dice.random() < 0.2:
        return dice.sample(OWN, dice.randint(least, len(OWN)))
    names = dice.sample(EXPRESSIONS, dice.randint(least, 7))
    way = dice.choice([str, str, str.title, str.upper, lambda name: SPELLINGS.get(name, name)])
    return [way(name) for name in names]


def numbers_of(dice: Dice, built: Built, count: int = 7) -> dict[str, str]:
    """Numbers as labels, by the class that each stands for, with the `--labels` that says so."""
    scheme = dice.choice(["fer2013-7", "ferplus-8", "affectnet-7", "raf-db", "own"])
    if scheme == "own":
        names = list(OWN[:count])
        first = dice.randint(0, 1)
        built.arguments += ["--labels", ",".join(names)]
        return {str(first + place): name for place, name in enumerate(names)}
    built.arguments += ["--labels", scheme]
    first = 1 if scheme == "raf-db" else 0
    return {str(first + place): name for place, name in enumerate(SCHEMES[scheme].classes)}


def counts(dice: Dice, names: Sequence[str], most: int = 5) -> list[str]:
    """Labels of the rows: each name at least once."""
    return [name for name in names for _ in range(dice.randint(1, most))]


# Class folders


def _class_tree(
    built: Built, dice: Dice, folders: Sequence[tuple[str, str | None, str]], pattern: str = "{}", suffix: str = ""
) -> None:
    """Images in folders, each (path, split, class)."""
    number = dice.randrange(10_000)
    odd = dice.random() < 0.15
    for folder, split, label in folders:
        for place in range(dice.randint(1, 4)):
            kind = suffix or dice.choice([".png"] * 6 + list(ENCODINGS))
            stem = pattern.format(number)
            if odd and dice.random() < 0.4:
                stem = f"{dice.choice(ODD_NAMES)}{place}"
            data = picture(number, kind)
            row = f"{folder}/{stem}{kind}"
            built.files[row] = write(built.source / row, data)
            built.rows[row] = Known(data, label, split)
            number += 1
    if odd:
        built.told.append("odd names")


@builder("class folders")
def class_folders(folder: Path, dice: Dice) -> Built:
    built = Built("class folders", folder / "data", {}, strays="row")
    names = classes_of(dice)
    if dice.random() < 0.05:
        names = names[:1]
        built.note("one class", "fatal")
    elif dice.random() < 0.15 and "happy" in map(str.lower, names):
        names.append("Happiness")  # One class in two folders.
    _class_tree(built, dice, [(name, None, name) for name in dict.fromkeys(names)])
    return built


@builder("split and class folders")
def split_folders(folder: Path, dice: Dice) -> Built:
    built = Built("split and class folders", folder / "data", {}, strays="row")
    names, splits = classes_of(dice), dice.choice(SPLITS)
    _class_tree(built, dice, [(f"{split}/{name}", split, name) for split in splits for name in names])
    return built


@builder("numbered folders")
def numbered_folders(folder: Path, dice: Dice) -> Built:
    built = Built("numbered folders", folder / "data", {}, strays="row")
    names = numbers_of(dice, built)
    splits = dice.choice([None, *SPLITS])
    places = [(f"{split}/{n}" if split else n, split, of) for split in splits or [None] for n, of in names.items()]
    _class_tree(built, dice, places)
    if dice.random() < 0.2:
        built.arguments.clear()
        built.note("nothing says what numbers mean", "fatal")
    return built


@builder("FER2013 as folders")
def fer2013_folders(folder: Path, dice: Dice) -> Built:
    built = Built("FER2013 as folders", folder / "data", {}, strays="row")
    number = dice.randrange(1000)
    for split, usages in (("train", ["Training"]), ("test", ["PublicTest", "PrivateTest"])):
        for name in EXPRESSIONS:
            for usage in usages * dice.randint(1, 2):
                row = f"{split}/{name}/{usage}_{number}.png"
                built.rows[row] = Known(picture(number), name, usage)
                built.files[row] = write(built.source / row, picture(number))
                number += 1
    return built


@builder("persons' folders")
def persons_folders(folder: Path, dice: Dice) -> Built:
    built = Built("persons' folders", folder / "data", {}, strays="row")
    names = classes_of(dice)
    persons = [f"S{i:02}" for i in range(dice.randint(2, 6))]
    _class_tree(built, dice, [(f"{person}/{name}", None, name) for person in persons for name in names])
    for row, known in built.rows.items():
        known.group = known.extra["subject"] = row.split("/")[0]
    built.arguments += ["--column", "subject=^([^/]+)/"]
    if dice.random() < 0.2:
        built.arguments = []
        built.note("nothing says that folders are persons", "fatal")
    return built


# Tables as text


def _packed(file: Path, text: str, dice: Dice, built: Built) -> Path:
    """The text of a table as a file: with a byte order mark, other line ends, blank lines, packed, or none of it."""
    plain = "two\nlines" not in text  # Else a line's end may stand in a value.
    if plain and dice.random() < 0.2:
        lines = text.split("\n")
        for _ in range(dice.randint(1, 4)):
            lines.insert(dice.randint(1, len(lines)), dice.choice(["", "", "  "]))
        text = "\n".join(lines)
        built.told.append("blank lines")
    if plain and dice.random() < 0.2:
        text = text.replace("\n", "\r\n")
        built.told.append("CRLF")
    if dice.random() < 0.1:
        text = text.rstrip("\r\n")
    data = text.encode()
    if dice.random() < 0.2:
        data = b"\xef\xbb\xbf" + data
        built.told.append("BOM")
    if dice.random() < 0.03:
        data = text.encode("utf-16")
        built.note("UTF-16", "doubtful")
    if plain and dice.random() < 0.02:
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r")
        built.note("CR", "doubtful")
    if dice.random() < 0.15:
        file = file.with_name(file.name + ".gz")
        data = gzip.compress(data)
        built.told.append("packed")
    return write(file, data)


def _table(header: list[str], rows: list[list[str]], dice: Dice, built: Built) -> str:
    """A table as text: columns in any order, any delimiter, quoted or not."""
    order = list(range(len(header)))
    if dice.random() < 0.3:
        dice.shuffle(order)
        built.told.append("columns in another order")
    between = dice.choice([",", ",", ",", ";", "\t"])
    quoting = dice.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    built.told.append({",": "commas", ";": "semicolons", "\t": "tabs"}[between])
    out = io.StringIO()
    writer = csv.writer(out, delimiter=between, quoting=quoting, lineterminator="\n")
    lines = [[line[place] for place in order if place < len(line)] for line in [header, *rows]]
    for line, of in zip(lines, [header, *rows], strict=True):
        writer.writerow(line + of[len(header) :])
    return out.getvalue()


def _hurt_table(header: list[str], rows: list[list[str]], dice: Dice, built: Built) -> None:
    """Make one row of a table wrong, now and then."""
    if dice.random() < 0.85:
        return
    row = dice.choice(rows)
    way = dice.choice(["a column less", "a column more", "no label", "no header", "a column twice"])
    if way == "a column less":
        row.pop()
    elif way == "a column more":
        row.append("x")
    elif way == "no label":
        row[1] = ""
    elif way == "no header":
        header[:] = rows.pop(0)
    else:
        header.append(header[1])
        for each in rows:
            each.append(each[1] if each is not row else "other")
    built.note(way, "fatal")


@builder("CSV of pixels")
def csv_of_pixels(folder: Path, dice: Dice) -> Built:
    built = Built("CSV of pixels", folder / "fer.csv", {})
    number = dice.randrange(10_000)
    way = dice.choice(["challenge", "challenge", "names", "numbers"])
    if way == "numbers":
        meaning = numbers_of(dice, built)
    elif way == "names":
        meaning = {name: name for name in classes_of(dice)}
    else:
        meaning = {str(place): name for place, name in enumerate(EXPRESSIONS)}
    usages: Sequence[str] | None = dice.choice(
        [("Training", "PublicTest", "PrivateTest"), ("train", "val", "test"), ("Train", "Test"), None]
    )
    case = dice.choice([str, str.lower, str.upper])
    persons = dice.random() < 0.3
    header = ["pixels", "emotion"] + ["Usage"] * (usages is not None) + ["subject"] * persons
    rows = []
    for row, label in enumerate(dice.sample(labels := counts(dice, list(meaning)), len(labels))):
        usage = dice.choice(usages) if usages else ""
        person = f"S{dice.randrange(6)}"
        values = (
            [" ".join(map(str, pixels_of(number).ravel())), label] + [case(usage)] * bool(usages) + [person] * persons
        )
        split = (usage if usage in ("Training", "PublicTest", "PrivateTest") else usage.lower()) or None
        known = Known(picture(number), meaning[label], split)
        if persons:
            known.extra["subject"] = person
            known.group = person
        built.rows[str(row)] = known
        rows.append(values)
        number += 1
    if dice.random() < 0.2:
        bad = dice.choice(rows)
        pixels = bad[0].split(" ")
        what, value = dice.choice(
            [("a pixel less", pixels[:-1]), ("a pixel more", [*pixels, "7"]), ("pixel 256", ["256", *pixels[1:]]),
             ("pixel -1", ["-1", *pixels[1:]]), ("no pixels", []), ("a word as pixel", ["x", *pixels[1:]]),
             ("pixel 7.5", ["7.5", *pixels[1:]])]
        )  # fmt: skip
        bad[0] = " ".join(value)
        built.note(what, "fatal")
    if dice.random() < 0.1:
        row = dice.randrange(len(rows))
        rows[row][1] = other = dice.choice(["99", "-1", "2.5", "unsure", "1 2"])
        if way == "names" and other in ("unsure", "1 2"):  # Among names, one more.
            built.rows[str(row)].label = other
            built.note(f"the label {other}", "doubtful")
        else:
            built.note(f"the label {other}", "fatal")
    if usages and dice.random() < 0.1:
        dice.choice(rows)[2] = dice.choice(["", "Trainig", "7"])
        built.note("another usage", "fatal")
    _hurt_table(header, rows, dice, built)
    if dice.random() < 0.3:
        way = dice.choice([str.upper, str.title, lambda name: f" {name}"])
        header = [name if name == "subject" else way(name) for name in header]
    built.source = _packed(built.source, _table(header, rows, dice, built), dice, built)
    return built


def _extras(dice: Dice) -> list[tuple[str, Callable[[int], str]]]:
    """Further columns by name, each with what stands there in a row."""
    return dice.sample(
        [
            ("subject", lambda row: f"S{row // 3}"),
            ("person_id", lambda row: f"{row // 3:03}"),
            ("age", lambda row: str(20 + row)),
            ("valence", lambda row: str(row / 8)),
            ("note", lambda row: dice.choice(["", "a, b", 'say "x"', "é", "two\nlines", "NA", "1e5"])),
            ("long", lambda row: str(10**19 + row)),
            ("glasses", lambda row: dice.choice(["True", "False", ""])),
            ("half", lambda row: dice.choice(["", str(row)])),
            ("code", lambda row: dice.choice(["07", "7", "1e3", "1_000"])),
        ],
        dice.randint(0, 3),
    )


def _listed_images(
    built: Built, dice: Dice, root: Path, below: Sequence[str], splits: dict[str, str | None] | None = None
) -> list[tuple[str, str]]:
    """Images in folders below a root, each with a label; gives the path and the label of each."""
    names = classes_of(dice)
    number = dice.randrange(10_000)
    found = []
    for folder in below:
        for label in counts(dice, names, 3):
            suffix = dice.choice([".png", ".png", ".jpg"])
            stem = str(number) if dice.random() < 0.95 else f"{dice.choice(ODD_NAMES)}{number}"
            path = f"{folder}/{stem}{suffix}".removeprefix("/")
            data = picture(number, suffix)
            built.files[path] = write(root / path, data)
            built.rows[path] = Known(data, label, (splits or {}).get(folder))
            found.append((path, label))
            number += 1
    return found


def _paths_table(
    built: Built, dice: Dice, found: list[tuple[str, str]], *, bare: bool, split: str | None, path_column: str
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table of paths."""
    extras = _extras(dice)
    label_column = dice.choice(["label", "Label", "emotion", "Expression", "class"])
    header = [path_column, label_column, *(name for name, _ in extras)] + [split] * bool(split)
    slashes = dice.choice(["/", "/", "/", "\\", "./"])
    rows = []
    for place, (path, label) in enumerate(found):
        known = built.rows[path]
        values = {name: of(place) for name, of in extras}
        written = path.rpartition("/")[2] if bare else path
        written = f"./{written}" if slashes == "./" else written.replace("/", slashes)
        known.extra = {f"source_{n}" if n in ("path", "size") else n: value.strip() for n, value in values.items()}
        if not split and known.split is None:
            known.group = values.get("subject") or values.get("person_id")
        rows.append([written, label, *values.values()] + [known.split or ""] * bool(split))
    return header, rows


def _hurt_paths(built: Built, dice: Dice, rows: list[list[str]]) -> None:
    if dice.random() < 0.85:
        return
    way = dice.choice(["no such image", "a path out of the folder", "an image twice", "an address", "no path"])
    row = dice.choice(rows)
    if way == "an image twice":
        rows.append(list(row))
    else:
        row[0] = {"no such image": "nothing.png", "a path out of the folder": "../../../etc/hosts", "no path": ""}.get(
            way, "https://example.org/1.png"
        )
    built.note(way, "fatal")


@builder("CSV of paths")
def csv_of_paths(folder: Path, dice: Dice) -> Built:
    built = Built("CSV of paths", folder / "data" / "list.csv", {})
    found = _listed_images(built, dice, folder / "data", dice.choice([["faces"], [""], ["a", "b"]]))
    split = dice.choice([None, "split", "Usage", "subset"])
    if split:
        for known in built.rows.values():
            known.split = dice.choice(["train", "val", "test"])
    column = dice.choice(["path", "Image", "file_name", "image_path", "filename", "pth"])
    header, rows = _paths_table(built, dice, found, bare=False, split=split, path_column=column)
    _hurt_paths(built, dice, rows)
    _hurt_table(header, rows, dice, built)
    text = _table(header, rows, dice, built)
    if dice.random() < 0.2:
        built.source = built.source.with_suffix(".tsv" if "\t" in text.partition("\n")[0] else ".txt")
    built.source = _packed(built.source, text, dice, built)
    return built


@builder("list beside a flat folder")
def list_beside(folder: Path, dice: Dice) -> Built:
    built = Built("list beside a flat folder", folder / "data", {}, strays="bad")
    below = dice.choice(["", "images"])
    found = _listed_images(built, dice, built.source, [below])
    header, rows = _paths_table(built, dice, found, bare=dice.random() < 0.5, split=None, path_column="file_name")
    _hurt_paths(built, dice, rows)
    _hurt_table(header, rows, dice, built)
    _packed(built.source / dice.choice(["labels.csv", "list.txt"]), _table(header, rows, dice, built), dice, built)
    return built


@builder("--metadata beside a folder")
def metadata_beside(folder: Path, dice: Dice) -> Built:
    built = Built("--metadata beside a folder", folder / "data", {}, strays="bad")
    found = _listed_images(built, dice, built.source, dice.choice([[""], ["a", "b/c"], ["wild"]]))
    header, rows = _paths_table(built, dice, found, bare=dice.random() < 0.5, split=None, path_column="name")
    _hurt_paths(built, dice, rows)
    _hurt_table(header, rows, dice, built)
    file = _packed(folder / "meta.csv", _table(header, rows, dice, built), dice, built)
    built.arguments += ["--metadata", str(file)]
    return built


@builder("imagefolder")
def imagefolder(folder: Path, dice: Dice) -> Built:
    """Hugging Face's: metadata at the root or in the folder of each split, as CSV, JSON lines or Parquet."""
    built = Built("imagefolder", folder / "data", {}, strays="bad")
    splits = dice.choice([("train", "test"), ("train", "validation", "test")])
    found = _listed_images(built, dice, built.source, splits, {split: split for split in splits})
    header, rows = _paths_table(built, dice, found, bare=False, split=None, path_column="file_name")
    for row in rows:
        row[0] = row[0].replace("\\", "/")
    _hurt_paths(built, dice, rows)
    each = dice.random() < 0.5
    kind = dice.choice(["csv", "jsonl", "parquet"])
    for split in splits if each else [""]:
        of_split = [
            [row[0].replace(f"{split}/", "", 1) if each else row[0], *row[1:]]
            for row, (path, _) in zip(rows, [*found, *found], strict=False)
            if not each or path.startswith(f"{split}/")
        ]
        file = built.source / split / f"metadata.{kind}"
        if kind == "csv":
            write(file, _table(header, of_split, dice, built))
        elif kind == "jsonl":
            write(file, "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in of_split))
        else:
            columns = {name: [row[place] for row in of_split] for place, name in enumerate(header)}
            pq.write_table(pa.table(columns), file)
    if each and "an image twice" in built.told:
        built.harmless, built.fatal = False, False
    return built


# Parquet and Arrow


def _arrow(built: Built, dice: Dice, table: list[tuple[Known, int]], folder: Path, names: Sequence[str]) -> pa.Table:
    """Rows, each with the number of its class, as a table of one of many types."""
    images: list[Any] = [known.image for known, _ in table]
    column = dice.choice(["image", "img", "image_bytes", "Image", "img_bytes"])
    kind = dice.choice(["binary", "large_binary", "struct", "path", "fixed", "list", "view"] + ["struct"] * 3)
    if kind == "path":
        paths = [f"pictures/{place}{dice.randrange(10**6)}.png" for place in range(len(images))]
        for path, data in zip(paths, images, strict=True):
            write(folder / path, data)
        values = pa.array(paths)
    elif kind == "struct":
        values = pa.array([{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(images)],
                          pa.struct([("bytes", pa.binary()), ("path", pa.string())]))  # fmt: skip
    elif kind in ("fixed", "list", "view"):
        built.note(f"images as {kind}", "doubtful")
        longest = max(map(len, images))
        padded = [data.ljust(longest, b"\0") for data in images]
        values = {
            "fixed": lambda: pa.array(padded, pa.binary(longest)),
            "list": lambda: pa.array([list(data) for data in images], pa.list_(pa.uint8())),
            "view": lambda: pa.array(images, pa.binary_view()),
        }[kind]()
    else:
        values = pa.array(images, pa.large_binary() if kind == "large_binary" else pa.binary())
    numbers = [number for _, number in table]
    way = dice.choice(["text", "text", "dictionary", "large", "features", "features", "features", "float", "codes"])
    metadata = None
    label_column = dice.choice(["label", "labels", "emotion", "Expression", "class"])
    if way in ("text", "large"):
        labels = pa.array([names[n] for n in numbers], pa.string() if way == "text" else pa.large_string())
    elif way == "dictionary":
        labels = pa.array([names[n] for n in numbers]).dictionary_encode()
    elif way == "float":
        labels = pa.array([float(n) for n in numbers])
        built.note("labels as floats", "doubtful")
        built.arguments += ["--labels", ",".join(names)]
    elif way == "codes":
        labels = pa.array(numbers, pa.int8())
        built.note("numbers without names", "fatal")
    else:
        labels = pa.array(numbers, dice.choice([pa.int8(), pa.int32(), pa.int64(), pa.uint8()]))
        features = {label_column: {"names": list(names), "_type": "ClassLabel"}}
        metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    if dice.random() < 0.1:
        place = dice.randrange(len(numbers))
        values_or_labels = labels.to_pylist()
        values_or_labels[place] = None
        labels = pa.array(values_or_labels, labels.type)
        built.note("a label is null", "fatal")
    if dice.random() < 0.05:
        of = values.to_pylist()
        of[dice.randrange(len(of))] = None
        values = pa.array(of, values.type)
        built.note("an image is null", "fatal")
    if metadata is not None and dice.random() < 0.1:
        of = labels.to_pylist()
        of[dice.randrange(len(of))] = -1 if str(labels.type) != "uint8" and dice.random() < 0.5 else 100
        labels = pa.array(of, labels.type)
        built.note("a number of no class", "fatal")
    columns = {column: values, label_column: labels}
    for name, array in (
        ("person", pa.array([f"p{place // 3}" for place in range(len(table))]).dictionary_encode()),
        ("age", pa.array(range(len(table)), pa.int16())),
        ("when", pa.array([0] * len(table), pa.timestamp("s"))),
    ):
        if dice.random() < 0.3:
            columns[name] = array
            for (known, _), value in zip(table, array.to_pylist(), strict=True):
                if name != "when":
                    known.extra[name] = str(value)
                if name == "person" and known.split is None:
                    known.group = value
    order = list(columns)
    dice.shuffle(order)
    return pa.table({name: columns[name] for name in order}).replace_schema_metadata(metadata)


def _rows_for_arrow(
    built: Built, dice: Dice, splits: Sequence[str | None]
) -> tuple[list[tuple[Known, int]], list[str]]:
    names = classes_of(dice)
    number = dice.randrange(10_000)
    table = []
    for split in splits:
        for label in counts(dice, names, 3):
            table.append((Known(picture(number), label, split), names.index(label)))
            number += 1
    built.rows = {str(row): known for row, (known, _) in enumerate(table)}
    return table, names


def _write_parquet(table: pa.Table, file: Path, dice: Dice) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table,
        file,
        row_group_size=dice.choice([1, 3, 1000]),
        compression=dice.choice(["snappy", "zstd", "gzip", "none"]),
        use_dictionary=dice.random() < 0.7,
    )


@builder("Parquet")
def one_parquet(folder: Path, dice: Dice) -> Built:
    built = Built("Parquet", folder / "faces.parquet", {})
    table, names = _rows_for_arrow(built, dice, [None])
    content = _arrow(built, dice, table, folder, names)
    if dice.random() < 0.3:
        told = [dice.choice(["train", "val", "test"]) for _ in table]
        for (known, _), split in zip(table, told, strict=True):
            known.split, known.group = split, None
        content = content.append_column(dice.choice(["split", "Usage"]), pa.array(told))
    if dice.random() < 0.2:
        ids = [f"row{place}" for place in range(len(table))]
        content = content.append_column("id", pa.array(ids))
        built.rows = dict(zip(ids, built.rows.values(), strict=True))
    if dice.random() < 0.1:
        built.source = folder / dice.choice(["FACES.PARQUET", "faces.parq", "faces"])
    _write_parquet(content, built.source, dice)
    return built


@builder("Parquet by split")
def parquet_by_split(folder: Path, dice: Dice) -> Built:
    """Shards as hubs have them, a file or two a split."""
    built = Built("Parquet by split", folder / "data", {})
    splits = dice.choice([("train", "test"), ("train", "validation", "test"), ("training", "test")])
    layout = dice.choice(
        ["{split}.parquet", "{split}-{n:05}-of-{of:05}.parquet", "data/{split}-{n:05}.parquet",
         "default/{split}/{n:04}.parquet", "{split}/{n:04}.parquet"]
    )  # fmt: skip
    table, names = _rows_for_arrow(built, dice, splits)
    content = _arrow(built, dice, table, built.source, names)
    odd = dice.choice(["", "", "", "", "", "types", "empty", "columns"])
    if "pictures" in str(content.slice(0, 1).to_pydict()):
        built.harmless = False  # Paths are looked for beside each file.
    start = 0
    for split in splits:
        n = sum(known.split == split for known, _ in table)
        pieces = [content.slice(start, n)]
        if "{n" in layout and n > 1 and dice.random() < 0.5:
            pieces = [content.slice(start, n // 2), content.slice(start + n // 2, n - n // 2)]
        for number, piece in enumerate(pieces):
            if odd == "types" and split == splits[-1] and (place := piece.schema.get_field_index("age")) >= 0:
                piece = piece.set_column(place, "age", piece.column("age").cast(pa.int64()))
                built.note("types differ", "doubtful")
            elif odd == "columns" and split == splits[-1]:
                piece = piece.append_column("more", pa.array([1] * len(piece)))
                built.note("columns differ", "doubtful")
            _write_parquet(piece, built.source / layout.format(split=split, n=number, of=len(pieces)), dice)
        start += n
    if odd == "empty" and "{n" in layout and "{of" not in layout:
        _write_parquet(content.slice(0, 0), built.source / layout.format(split=splits[0], n=9), dice)
        built.note("a file without rows", "doubtful")
    return built


@builder("save_to_disk")
def saved(folder: Path, dice: Dice) -> Built:
    built = Built("save_to_disk", folder / "data", {})
    splits = dice.choice([(None,), ("train", "test")])
    table, names = _rows_for_arrow(built, dice, splits)
    content = _arrow(built, dice, table, built.source, names)
    if "pictures" in str(content.slice(0, 1).to_pydict()):
        built.harmless = False
    start = 0
    for split in splits:
        n = sum(known.split == split for known, _ in table)
        place = built.source / split if split else built.source
        place.mkdir(parents=True, exist_ok=True)
        parts = (
            [content.slice(start, n)]
            if dice.random() < 0.5
            else [content.slice(start, 1), content.slice(start + 1, n - 1)]
        )
        for number, part in enumerate(parts):
            file = place / f"data-{number:05}-of-{len(parts):05}.arrow"
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, content.schema) as writer:
                writer.write_table(part, max_chunksize=dice.choice([1, 1000]))
        names_of = [f"data-{number:05}-of-{len(parts):05}.arrow" for number in range(len(parts))]
        write(place / "state.json", json.dumps({"_data_files": [{"filename": name} for name in names_of]}))
        write(place / "dataset_info.json", "{}")
        start += n
    if splits != (None,):
        write(built.source / "dataset_dict.json", json.dumps({"splits": list(splits)}))
    return built
