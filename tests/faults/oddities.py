"""Oddities of sources: each changes one that is there, or finds that it doesn't fit, and writes down what it did."""

import os
from collections.abc import Callable
from pathlib import Path

from faults.sources import Built, Dice, Known, picture, write

from mien.images import decode

Oddity = Callable[[Built, Dice], bool]
ODDITIES: list[Oddity] = []


def oddity(function: Oddity) -> Oddity:
    ODDITIES.append(function)
    return function


def _folders(built: Built) -> list[Path]:
    """The folders in which images stand."""
    return sorted({file.parent for file in built.files.values()})


def _there(built: Built) -> list[str]:
    """The rows whose images no oddity has taken away."""
    return [row for row, file in sorted(built.files.items()) if file.is_file() and not file.is_symlink()]


def _is_folder(built: Built) -> bool:
    return built.source.is_dir() and bool(built.files)


@oddity
def hidden_files(built: Built, dice: Dice) -> bool:
    if not _is_folder(built):
        return False
    at = dice.choice([built.source, *_folders(built)])
    name = dice.choice(
        [".DS_Store", "Thumbs.db", "desktop.ini", "._1.png", ".git/1.png", "__MACOSX/1.png", ".x/y/1.png"]
    )
    write(at / name, picture(99_999) if name.endswith("png") else b"\0\1")
    built.note(f"hidden: {name}")
    return True


@oddity
def empty_folder(built: Built, dice: Dice) -> bool:
    if not built.source.is_dir():
        return False
    at = dice.choice([built.source, *_folders(built)])
    name = dice.choice(["fear", "new", "test", "0", "x.png", "val"])
    (at / name).mkdir(exist_ok=True)
    built.note(f"an empty folder {name}")
    return True


@oddity
def readme(built: Built, dice: Dice) -> bool:
    if not built.source.is_dir():
        return False
    name = dice.choice(["README.md", "LICENSE", "citation.bib", "readme.txt", "classes.txt"])
    write(built.source / name, "pets of mine\nhappy\nsad\n")
    built.note(name)
    return True


@oddity
def unreadable(built: Built, dice: Dice) -> bool:
    if not _there(built):
        return False
    file = built.files[dice.choice(_there(built))]
    whole = file.read_bytes()
    what, data = dice.choice(
        [("empty", b""), ("text", b"404 not found"), ("cut", whole[: len(whole) // 2]), ("zeros", bytes(len(whole))),
         ("a web page", b"<!DOCTYPE html><html></html>"), ("a link to a file of git's", b"version https://git-lfs...")]
    )  # fmt: skip
    try:
        decode(data, "gray")
    except Exception:
        file.write_bytes(data)
        built.note(f"an image is {what}", "fatal")
        return True
    return False


@oddity
def gone(built: Built, dice: Dice) -> bool:
    if not _there(built) or built.strays == "row" or built.kind == "JAFFE":
        return False
    built.files[dice.choice(_there(built))].unlink()
    built.note("an image is gone", "fatal")
    return True


@oddity
def link_out(built: Built, dice: Dice) -> bool:
    if not _there(built) or not built.source.is_dir():
        return False
    file = built.files[dice.choice(_there(built))]
    outside = write(built.source.parent / "outside" / file.name, file.read_bytes())
    file.unlink()
    file.symlink_to(outside)
    built.note("a link that leads out", "fatal")
    return True


@oddity
def link_to_a_folder(built: Built, dice: Dice) -> bool:
    if built.strays != "row":
        return False
    (built.source.parent / "elsewhere").mkdir(exist_ok=True)
    write(built.source.parent / "elsewhere" / "1.png", picture(88_888))
    (dice.choice([built.source, *_folders(built)]) / "linked").symlink_to(built.source.parent / "elsewhere")
    built.note("a link to a folder", "fatal")
    return True


def _another(built: Built, dice: Dice, name: str, level: str, *, link: bool = False) -> bool:
    """One more file beside an image: a row of its class where files are rows."""
    if not built.strays:
        return False
    row = dice.choice(sorted(built.files))
    file = built.files[row].with_name(name)
    if file.exists() or not built.files[row].exists():
        return False
    if link:
        file.symlink_to(built.files[row].name)
    else:
        write(file, built.files[row].read_bytes())
    if built.strays == "row" and row in built.rows:
        known = built.rows[row]
        new = f"{row.rpartition('/')[0]}/{name}".removeprefix("/")
        # The film stands in the name.
        extra = {key: value for key, value in known.extra.items() if key != "film"}
        built.rows[new] = Known(known.image, known.label, known.split, extra, known.group)
    built.note(
        f"another file, {name if name.isprintable() else ascii(name)}", level if built.strays == "row" else "fatal"
    )
    return True


@oddity
def copy(built: Built, dice: Dice) -> bool:
    level = "doubtful" if built.kind in ("FER2013 as folders", "SFEW and AFEW") else "harmless"
    return _another(built, dice, dice.choice(["copy.png", "COPY.PNG", "Copy (1).JPG", "x.jpeg"]), level)


@oddity
def other_suffix(built: Built, dice: Dice) -> bool:
    """A file with a suffix that isn't that of an image is a row of class folders, and nothing to others."""
    if built.strays != "row":
        return False
    level = "doubtful" if built.kind in ("FER2013 as folders", "SFEW and AFEW") else "harmless"
    return _another(built, dice, dice.choice(["x.jfif", "noend", "x.png.bak", "x.jpe"]), level)


@oddity
def odd_name(built: Built, dice: Dice) -> bool:
    if built.strays == "bad" and built.source.is_file():
        return False
    return _another(
        built, dice, dice.choice(["two\nlines.png", "tab\t.png", "\x1b[31m.png", "x" * 250 + ".png"]), "doubtful"
    )


@oddity
def link_inside(built: Built, dice: Dice) -> bool:
    return _another(built, dice, "linked.png", "doubtful", link=True)


@oddity
def no_utf_8(built: Built, dice: Dice) -> bool:
    if built.strays != "row":
        return False
    at = dice.choice(_folders(built))
    (at / os.fsdecode(b"caf\xe9.png")).write_bytes(picture(77_777))
    built.note("a name that isn't UTF-8", "fatal")
    return True


@oddity
def pipe(built: Built, dice: Dice) -> bool:
    if built.strays != "row":
        return False
    os.mkfifo(dice.choice(_folders(built)) / "pipe.png")
    built.note("a pipe", "fatal")
    return True


@oddity
def text_in_a_class(built: Built, dice: Dice) -> bool:
    if built.strays != "row":
        return False
    write(dice.choice(_folders(built)) / dice.choice(["notes.txt", "labels.csv", "x.json"]), "nothing of use")
    built.note("a text in a class folder", "doubtful")
    return True


@oddity
def augmented(built: Built, dice: Dice) -> bool:
    """A folder in a class folder: its images are of that class, or refused."""
    if built.strays != "row" or built.kind == "SFEW and AFEW":
        return False
    row = dice.choice(sorted(built.rows))
    known = built.rows[row]
    for number in range(dice.choice([1, 2, 30])):
        new = f"{row.rpartition('/')[0]}/augmented/{number}.png"
        data = picture(60_000 + number)
        write(built.source / new, data)
        built.rows[new] = Known(data, known.label, known.split, known.extra, known.group)
    built.note("a folder in a class folder", "doubtful")
    return True


@oddity
def without_class(built: Built, dice: Dice) -> bool:
    if built.strays != "row":
        return False
    at = dice.choice(["", "unlabelled/", "test/", "new/deeper/still/"])
    for number in range(dice.choice([1, 40])):
        write(built.source / f"{at}none{number}.png", picture(50_000 + number))
    if at in ("unlabelled/", "new/deeper/still/"):
        # A folder of its own may be one of the classes, or a split: then there are more rows.
        built.note(f"images in {at}", "doubtful")
        for file in sorted((built.source / at).glob("none*.png")):
            row = file.relative_to(built.source).as_posix()
            built.rows[row] = Known(file.read_bytes(), row.split("/")[-2], None)
    else:
        built.note(f"images in {at or 'the folder itself'}", "fatal")
    return True


@oddity
def list_of_other_labels(built: Built, dice: Dice) -> bool:
    """A list beside class folders that says something else: nobody can know which of both is right."""
    if built.strays != "row" or "--labels" in built.arguments or built.kind == "SFEW and AFEW":
        return False
    lines = [f"{row.rpartition('/')[2]},happy" for row in built.rows if "," not in row and row.endswith(".png")]
    if len(lines) < 2:
        return False
    write(
        built.source / dice.choice(["labels.csv", "list.txt", "annotations.json"]), "image,label\n" + "\n".join(lines)
    )
    built.note("a list of other labels", "fatal")
    return True


@oddity
def one_deeper(built: Built, dice: Dice) -> bool:
    """The whole source in a folder of its own, as archives unpack: the same rows below that folder, or refused."""
    if not built.source.is_dir() or not built.files or "--metadata" in built.arguments:
        return False
    inner = built.source.with_name("moved")
    built.source.rename(inner)
    built.source.mkdir()
    inner.rename(built.source / "inner")
    built.rows = {f"inner/{row}": known for row, known in built.rows.items()}
    built.files = {
        f"inner/{row}": built.source / "inner" / file.relative_to(built.source) for row, file in built.files.items()
    }
    built.note("one folder deeper", "doubtful")
    return True


@oddity
def shard_gone(built: Built, dice: Dice) -> bool:
    """One of several numbered files isn't there, as when a download was stopped."""
    if not built.source.is_dir():
        return False
    shards = [file for file in sorted(built.source.rglob("*-of-*")) if "of-00001" not in file.name]
    if not shards:
        return False
    dice.choice(shards).unlink()
    built.note("a shard is gone", "fatal")
    return True


@oddity
def cache_of_datasets(built: Built, dice: Dice) -> bool:
    """What `datasets` leaves beside a data set that was saved: rows of something else."""
    files = sorted(built.source.rglob("*.arrow")) if built.source.is_dir() else []
    if not files:
        return False
    file = dice.choice(files)
    file.with_name("cache-0123456789abcdef.arrow").write_bytes(file.read_bytes())
    built.note("a cache beside it")
    return True


@oddity
def parquet_elsewhere(built: Built, dice: Dice) -> bool:
    files = sorted(built.source.rglob("*.parquet")) if built.source.is_dir() else []
    if not files or built.kind != "Parquet by split":
        return False
    file = dice.choice(files)
    new = dice.choice([built.source / "more" / "deep" / "x.parquet", file.parent / "old" / "x.parquet"])
    write(new, file.read_bytes())
    built.note("Parquet elsewhere", "fatal")
    return True
