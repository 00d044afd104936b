"""Public sets' own layouts, with the rows that stand in them: builders, as in `sources`."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faults.sources import BUILDERS as BUILDERS
from faults.sources import EXPRESSIONS, SIDE, Built, Dice, Known, builder, counts, picture, pixels_of, write

from mien.data.labels import SCHEMES
from mien.images import encode_png


@builder("RAF-DB")
def raf_db(folder: Path, dice: Dice) -> Built:
    built = Built("RAF-DB", folder / "data", {}, strays="bad")
    aligned = dice.random() < 0.7
    lines = []
    number = dice.randrange(1000)
    for split in ("train", "test"):
        for label in counts(dice, SCHEMES["raf-db"].classes, 2):
            name = f"{split}_{number:05}"
            row = f"Image/aligned/{name}_aligned.jpg" if aligned else f"Image/original/{name}.jpg"
            built.rows[row] = Known(picture(number, ".jpg"), label, split)
            built.files[row] = write(built.source / row, picture(number, ".jpg"))
            lines.append(f"{name}.jpg {SCHEMES['raf-db'].classes.index(label) + 1}")
            number += 1
    if dice.random() < 0.1:
        place = dice.randrange(len(lines))
        lines[place] = dice.choice([lines[place][:-1] + "9", lines[place][:-2], lines[place] + " 3", lines[place - 1]])
        built.note("a wrong line", "fatal")
    write(built.source / "EmoLabel" / "list_patition_label.txt", dice.choice(["\n", "\r\n"]).join(lines) + "\n")
    return built


def _npy(value: Any) -> bytes:
    data = io.BytesIO()
    np.save(data, np.array(value), allow_pickle=isinstance(value, list))
    return data.getvalue()


@builder("AffectNet")
def affectnet(folder: Path, dice: Dice) -> Built:
    built = Built("AffectNet", folder / "data", {}, strays="bad")
    number = dice.randrange(1000)
    for split in ("train", "val"):
        for label in counts(dice, SCHEMES["affectnet-8"].classes, 2):
            part = f"{split}_set"
            row = f"{part}/images/{number}.jpg"
            built.rows[row] = Known(picture(number, ".jpg"), label, split, {"valence": "0.5"})
            built.files[row] = write(built.source / row, picture(number, ".jpg"))
            at = built.source / part / "annotations"
            write(at / f"{number}_exp.npy", _npy(str(SCHEMES["affectnet-8"].classes.index(label))))
            write(at / f"{number}_val.npy", _npy("0.5"))
            number += 1
    if dice.random() < 0.2:
        file = dice.choice(sorted(built.source.glob("*/annotations/*_exp.npy")))
        what = dice.choice(["removed", "10", "2.5", "two", "objects", "cut"])
        if what == "removed":
            file.unlink()
        elif what == "cut":
            file.write_bytes(file.read_bytes()[:40])
        else:
            value = {"two": [1, 2], "objects": [None, {}]}.get(what, what)
            file.write_bytes(_npy(value))
        built.note(f"an annotation: {what}", "fatal")
    return built


@builder("CK+")
def ck_plus(folder: Path, dice: Dice) -> Built:
    built = Built("CK+", folder / "data", {})
    number = dice.randrange(1000)
    for person in range(5, 5 + dice.randint(3, 8)):
        for sequence in range(1, 3):
            label = dice.choice(SCHEMES["ck-plus-8"].classes)
            last = dice.randint(2, 4)
            for frame in range(1, last + 1):
                name = f"S{person:03}_{sequence:03}_{frame:08}"
                row = f"cohn-kanade-images/S{person:03}/{sequence:03}/{name}.png"
                file = write(built.source / row, picture(number))
                if frame == last:
                    known = Known(picture(number), label, None, {"subject": f"S{person:03}"}, f"S{person:03}")
                    built.rows[row], built.files[row] = known, file
                    place = f"Emotion/S{person:03}/{sequence:03}/{name}_emotion.txt"
                    write(built.source / place, f"   {SCHEMES['ck-plus-8'].classes.index(label)}.0000000e+00\n")
                number += 1
    if dice.random() < 0.2:
        file = dice.choice(sorted(built.source.glob("Emotion/*/*/*.txt")))
        file.write_text(dice.choice(["", "9", "1.5", "happy", "nan", "1 2"]))
        built.note("a wrong emotion", "fatal")
    return built


@builder("JAFFE")
def jaffe(folder: Path, dice: Dice) -> Built:
    built = Built("JAFFE", folder / "data", {}, strays="bad")
    codes = {
        "AN": "angry",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happy",
        "NE": "neutral",
        "SA": "sad",
        "SU": "surprise",
    }
    number = dice.randrange(1000)
    below = dice.choice(["", "", "jaffe/"])
    for person in dice.sample(["KA", "KL", "KM", "KR", "MK", "NA"], dice.randint(3, 6)):
        for code, label in codes.items():
            row = f"{below}{person}.{code}{dice.randint(1, 3)}.{number}.tiff"
            data = picture(number, ".tif")
            built.rows[row] = Known(data, label, None, {"subject": person}, person)
            built.files[row] = write(built.source / row, data)
            number += 1
    if below:
        built.harmless = False
    return built


@builder("SFEW and AFEW")
def sfew(folder: Path, dice: Dice) -> Built:
    built = Built("SFEW and AFEW", folder / "data", {}, strays="row")
    clips = dice.random() < 0.5
    number = dice.randrange(1000)
    for split in ("Train", "Val"):
        for label in ("Angry", "Happy", "Neutral", "Sad"):
            for _ in range(dice.randint(1, 3)):
                if clips:
                    place = f"{split}/{label}/{number:09}"
                    for frame in range(dice.randint(1, 3)):
                        row = f"{place}/{frame:03}.jpg"
                        data = picture(1000 * number + frame, ".jpg")
                        built.rows[row] = Known(data, label, split, {"clip": place})
                        built.files[row] = write(built.source / row, data)
                else:
                    film = dice.choice(["Film", "It_s_Complicated"])
                    row = f"{split}/{label}/{film}_{number:09}_00000000.png"
                    built.rows[row] = Known(picture(number), label, split, {"film": film})
                    built.files[row] = write(built.source / row, picture(number))
                number += 1
    return built


@builder("ExpW")
def expw(folder: Path, dice: Dice) -> Built:
    built = Built("ExpW", folder / "data", {}, strays="bad")
    lines = []
    for photo in range(dice.randint(6, 12)):
        name = f"p{photo}.png"
        row = f"image/{name}"
        file = write(built.source / row, picture(photo))
        for face in range(dice.randint(1, 2)):
            label = dice.randrange(7)
            top, left = dice.randint(0, 2), dice.randint(0, 2)
            bottom, right = dice.randint(top + 2, SIDE), dice.randint(left + 2, SIDE)
            lines.append(f"{name} {face} {top} {left} {right} {bottom} {dice.randint(0, 100)} {label}")
            cut = encode_png(np.ascontiguousarray(pixels_of(photo)[top:bottom, left:right]))
            built.rows[f"{row}#{face}"] = Known(cut, EXPRESSIONS[label], None, {"photo": name}, name)
            built.files[f"{row}#{face}"] = file
    if dice.random() < 0.2:
        place = dice.randrange(len(lines))
        fields = lines[place].split()
        way = dice.choice(["label 9", "no box", "a value less", "a face twice", "a box outside"])
        changed = {"label 9": [*fields[:7], "9"], "no box": [*fields[:2], "x", *fields[3:]],
                   "a value less": fields[:-1],
                   "a face twice": lines[place - 1].split(),
                   "a box outside": [*fields[:2], "90", "90", "95", "95", *fields[6:]]}  # fmt: skip
        lines[place] = " ".join(changed[way])
        built.note(way, "fatal")
    write(built.source / dice.choice(["label.lst", "label/label.lst"]), "\n".join(lines))
    return built


def _points(dice: Dice, count: int = 68) -> list[tuple[float, float]]:
    return [(round(dice.uniform(0, SIDE - 1), 2), round(dice.uniform(0, SIDE - 1), 2)) for _ in range(count)]


def _flat(points: Sequence[tuple[float, float]]) -> list[float]:
    return [number for point in points for number in point]


@builder("images with .pts")
def pts(folder: Path, dice: Dice) -> Built:
    built = Built("images with .pts", folder / "data", {})
    folders: Sequence[str] = dice.choice(
        [[""], ["train", "test"], ["train/happy", "train/sad", "val/happy", "val/sad"], ["Happy", "sad"]]
    )
    number = dice.randrange(1000)
    hurt = dice.random() < 0.2
    files = []
    for at in folders:
        parts = at.split("/") if at else []
        label = parts[-1] if parts and parts[-1].lower() in EXPRESSIONS else "face"
        split = parts[0] if parts and parts[0] in ("train", "test", "val") else None
        for _ in range(dice.randint(2, 5)):
            row = f"{at}/{number}.png".removeprefix("/")
            points = _points(dice)
            built.rows[row] = Known(picture(number), label, split, {"landmarks": _flat(points)})
            built.files[row] = write(built.source / row, picture(number))
            lines = [f"{x + 1:.2f} {y + 1:.2f}" for x, y in points]
            text = "\n".join(dice.choice([["version: 1", "n_points: 68", "{", *lines, "}"], lines])) + "\n"
            files.append(write((built.source / row).with_suffix(".pts"), text))
            number += 1
    if hurt:
        file = dice.choice(files)
        lines = file.read_text().split("\n")
        way = dice.choice(["unseen", "a point less", "a word", "far away", "no .pts"])
        place = 5
        if way == "unseen":
            lines[place] = "-1 -1"
        elif way == "a point less":
            del lines[place]
        elif way == "a word":
            lines[place] = "x y"
        elif way == "far away":
            lines[place] = "9000 1"
        file.write_text("\n".join(lines))
        if way == "no .pts":
            file.unlink()
        built.note(way, "fatal")
    return built


@builder("dlib's XML")
def dlib_xml(folder: Path, dice: Dice) -> Built:
    built = Built("dlib's XML", folder / "data", {})
    number = dice.randrange(1000)
    names = dice.choice([("labels.xml",), ("labels_train.xml", "labels_test.xml")])
    hurt = dice.random() < 0.2
    for name in names:
        images = []
        for _ in range(dice.randint(3, 6)):
            row = f"pictures/{number}.png"
            points = _points(dice)
            split = None if len(names) == 1 else name[7:-4]
            built.rows[row] = Known(picture(number), "face", split, {"landmarks": _flat(points)})
            built.files[row] = write(built.source / row, picture(number))
            parts = [f"<part name='{place:02}' x='{x}' y='{y}'/>" for place, (x, y) in enumerate(points)]
            if hurt:
                parts.pop(dice.randrange(68))
                built.note("a point less", "fatal")
                hurt = False
            box = f"<box top='0' left='0' width='{SIDE}' height='{SIDE}'>{''.join(parts)}</box>"
            images.append(f"<image file='{row}'>{box}</image>")
            number += 1
        write(built.source / name, f"<?xml version='1.0'?><dataset><images>{''.join(images)}</images></dataset>")
    if len(names) == 1 and dice.random() < 0.5:
        built.source = built.source / names[0]
    return built


@builder("WFLW")
def wflw(folder: Path, dice: Dice) -> Built:
    from mien.data.importers.wflw import PLACES

    built = Built("WFLW", folder / "data", {}, strays="bad")
    number = dice.randrange(1000)
    for split in ("train", "test"):
        lines = []
        for _ in range(dice.randint(3, 6)):
            path = f"0--Parade/{number}.png"
            row = f"WFLW_images/{path}"
            built.files[f"{row}#1"] = write(built.source / row, picture(number))
            points = _points(dice, 98)
            known = Known(picture(number), "face", split, {"landmarks": _flat([points[place] for place in PLACES])})
            built.rows[f"{row}#1"] = known
            lines.append(" ".join(map(str, [*_flat(points), 0, 0, SIDE, SIDE, 0, 0, 1, 0, 0, 0, path])))
            number += 1
        if dice.random() < 0.1:
            place = dice.randrange(len(lines))
            lines[place] = lines[place].replace(" ", " x ", 1)
            built.note("a value more", "fatal")
        at = "WFLW_annotations/list_98pt_rect_attr_train_test"
        write(built.source / at / f"list_98pt_rect_attr_{split}.txt", "\n".join(lines) + "\n")
    return built
