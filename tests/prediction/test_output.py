"""Files of answers: every format gives the rows back, and a stopped one goes on where it was."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mien.errors import MienError
from mien.faces.detector import Box
from mien.inference.predictor import FaceAnswer
from mien.inference.rows import Row, columns, error_row, nested, rows_of
from mien.prediction.output import FORMATS, Output

NAMES = columns(["happy", "sad"], with_points=True)
ABOUT = {"model": "net 0123", "detector": "yunet", "classes": ["happy", "sad"], "limits": ""}
MARKS = ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0))


def answer(**changes: Any) -> FaceAnswer:
    values: dict[str, Any] = {
        "box": Box(1.25, 2.0, 30.0, 40.0),
        "score": 0.9,
        "marks": MARKS,
        "size": 34.64,
        "sharpness": 0.5,
        "probabilities": {"happy": 0.75, "sad": 0.25},
        "entropy": 0.5623351446188083,
        "uncertain": "",
        "model": "net 0123",
        "points": np.arange(136, dtype=np.float32).reshape(68, 2),
    }
    return FaceAnswer(**{**values, **changes})


PHOTOS = [
    rows_of('a "b",\n.jpg', [answer(), answer(score=None, marks=None, points=None, uncertain="small: 9 px")]),
    rows_of("empty.jpg", []),
    [error_row("bad.jpg", MienError("the file is empty", expected="an image"))],
]


def write(path: Path, photos: list[list[Row]], *, resume: bool = False) -> set[str]:
    with Output(path, NAMES, ABOUT, resume=resume) as output:
        for rows in photos:
            if rows[0]["path"] not in output.done:
                output.add(rows)
    return output.done


def full(row: Row) -> Row:
    return {name: row[name] for name in NAMES}


ROWS = [full(row) for rows in PHOTOS for row in rows]


def test_a_face_has_all_columns() -> None:
    assert NAMES[:8] == ["path", "frame", "time", "face", "track", "answer", "uncertain", "error"]
    assert NAMES[8:12] == ["top", "p_happy", "p_sad", "entropy"]
    first, second, empty, bad = ROWS
    assert [first[name] for name in ("face", "answer", "top", "p_happy", "x", "width", "left_eye_x", "x68", "y68")] == [
        *(1, "happy", "happy", 0.75, 1.25, 30.0, 1.0, 134.0, 135.0)
    ]
    assert (first["entropy"], first["frame"], first["uncertain"]) == (0.562335, None, "")
    assert (second["face"], second["answer"], second["top"], second["left_eye_x"]) == (2, "uncertain", "happy", None)
    assert (empty["answer"], empty["face"], empty["model"]) == ("no face", None, "")
    assert (bad["answer"], bad["error"]) == ("error", "the file is empty; expected an image")


def test_json_has_lists_and_objects() -> None:
    first, second, empty, _ = map(nested, ROWS)
    assert first["box"] == [1.25, 2.0, 30.0, 40.0]
    assert first["eyes"] == [1.0, 2.0, 3.0, 4.0]
    assert first["probabilities"] == {"happy": 0.75, "sad": 0.25}
    assert first["points"][67] == [134.0, 135.0]
    assert (second["eyes"], second["points"], second["uncertain"]) == (None, None, "small: 9 px")
    assert (empty["probabilities"], empty["box"], empty["error"]) == (None, None, None)


def test_the_formats_hold_the_same(tmp_path: Path) -> None:
    for suffix in FORMATS:
        write(tmp_path / f"x{suffix}", PHOTOS)
    with (tmp_path / "x.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [{name: str(value) if value is not None else "" for name, value in row.items()} for row in ROWS] == lines
    whole = json.loads((tmp_path / "x.json").read_text())
    assert {key: whole[key] for key in ABOUT} == ABOUT
    assert whole["faces"] == [nested(row) for row in ROWS]
    assert [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()] == whole["faces"]
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == ROWS
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"x{suffix}" for suffix in FORMATS)


@pytest.mark.parametrize("suffix", FORMATS)
def test_resume_keeps_what_is_there_and_tries_again_what_failed(tmp_path: Path, suffix: str) -> None:
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"x{suffix}"
    mended = rows_of("bad.jpg", [answer()])
    write(whole, [*PHOTOS[:2], mended])
    write(path, [PHOTOS[0], PHOTOS[2]])
    assert write(path, [*PHOTOS[1:2], mended], resume=True) == {PHOTOS[0][0]["path"]}
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_stopped_one_goes_on_without_a_line_that_is_cut_off(tmp_path: Path, cut: int) -> None:
    whole, path = tmp_path / "whole.csv", tmp_path / "x.csv"
    write(whole, PHOTOS)
    with contextlib.suppress(KeyboardInterrupt), Output(path, NAMES, ABOUT) as output:
        for rows in PHOTOS[:2]:
            output.add(rows)
        raise KeyboardInterrupt
    assert not path.exists()
    partial = tmp_path / "x.csv.partial"
    partial.write_bytes(partial.read_bytes()[: -cut or None])
    done = write(path, PHOTOS, resume=True)
    assert done == {rows[0]["path"] for rows in PHOTOS[: 1 if cut else 2]}
    assert path.read_bytes() == whole.read_bytes()


def test_other_answers_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write(path, PHOTOS)
    with pytest.raises(MienError) as error:
        Output(path, NAMES, {**ABOUT, "model": "other 4567"}, resume=True)
    assert str(error.value) == (
        f"{path}: --resume: these answers have other columns, or another model (net 0123); expected those of other "
        "4567, with the same options; or another file"
    )
    with pytest.raises(MienError, match="these answers have other columns"):
        Output(path, columns(["happy", "sad", "fear"]), ABOUT, resume=True)
    path.write_text("hello\n1\n")
    with pytest.raises(MienError, match="what stands here can't be gone on with; expected answers that mien wrote"):
        Output(path, NAMES, ABOUT, resume=True)
    with pytest.raises(MienError, match=r"ends otherwise; expected .csv, .json, .jsonl, .parquet"):
        Output(tmp_path / "x.txt", NAMES, ABOUT)
