"""What is read from disk: bounded and checked, and one sentence with file and key for whatever is wrong."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import FailedError, MienError
from mien.reading import Count, Digest, Name, Number, Stored, read_arrays, read_json, read_object, reading


class Kind(Stored):
    """One field of each type."""

    name: Name
    digest: Digest = "0" * 64
    rows: Count = 0
    score: Number = 0.0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "JSONDecodeError: Expecting value"),
        (b"{", "JSONDecodeError: Expecting property name"),
        (b'{"a": NaN}', "ValueError: NaN is no number of JSON"),
        (b'{"a": -Infinity}', "ValueError: -Infinity is no number of JSON"),
        (b'{"a": 1e999}', "ValueError: 1e999 is too large a number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "ValueError: Exceeds the limit"),
        (b"[" * 200_000, "ValueError: nested deeper than 100 levels"),
        (b"[" * 101 + b"]" * 101, "ValueError: nested deeper than 100 levels"),
        (b'{"a": "\\ud800"}', "UnicodeEncodeError"),
        (b'{"\\ud800": 1}', "UnicodeEncodeError"),
        ("é".encode("latin-1"), "UnicodeDecodeError"),
        (json.dumps({"a": 1}).encode("utf-16"), "UnicodeDecodeError"),
    ],
)
def test_what_is_no_json_is_said(tmp_path: Path, data: bytes, expected: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(data)
    with pytest.raises(FailedError) as error:
        read_json(file, "the card")
    assert str(error.value).startswith(f"{file}: the card can't be read ({expected}")
    assert "\n" not in str(error.value)


def test_json_of_any_plain_kind_comes_back(tmp_path: Path) -> None:
    content: dict[str, Any] = {"é": [1, 2.5, None, True, "\u2028"], "b": {"c": []}}
    for level in range(98):
        content = {str(level): content} if level < 97 else content
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "a.json") == content


def test_a_file_that_is_too_large_isnt_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FailedError, match="the file is too large; expected at most 64 MB"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "the card can't be read (input should be a valid dictionary or instance of Kind)"),
        ({}, "name: the card can't be read (field required)"),
        *(
            ({"name": name}, "name: the card can't be read (string should match pattern")
            for name in ("..", "../x", "/x", "a/b", "a\nb", "a\n", "", "a" * 101, "\u2028", ".hidden")
        ),
        ({"name": 3}, "name: the card can't be read (input should be a valid string)"),
        ({"name": "a", "digest": "a/.."}, "digest: the card can't be read (string should match pattern"),
        ({"name": "a", "rows": -1}, "rows: the card can't be read (input should be greater than or equal to 0)"),
        ({"name": "a", "rows": 1.5}, "rows: the card can't be read (input should be a valid integer)"),
        ({"name": "a", "rows": 10**30}, "rows: the card can't be read (input should be less than or equal to"),
        ({"name": "a", "score": "x"}, "score: the card can't be read (input should be a valid number"),
    ],
)
def test_an_object_is_checked_with_its_key(tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content))
    with pytest.raises(FailedError) as error:
        read_object(file, Kind, "the card")
    assert str(error.value).startswith(f"{file}: {message}")


def test_what_an_object_says_beside_stays(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "a-1.b_2", "more": [1]}')
    assert read_object(tmp_path / "a.json", Kind) == {"name": "a-1.b_2", "more": [1]}


def test_errors_of_libraries_become_one_sentence_and_missing_files_stay(tmp_path: Path) -> None:
    broken = tmp_path / "a.bin"
    with pytest.raises(MienError) as error, reading(broken, "the file"):
        raise KeyError("x")
    assert str(error.value) == f"{broken}: the file can't be read (KeyError: 'x')"
    with pytest.raises(FileNotFoundError), reading(broken, "the file"):
        broken.read_bytes()
    with pytest.raises(MienError) as error, reading(broken):
        raise MienError("mine")
    assert str(error.value) == f"{broken}: mine"


def test_arrays_that_unpack_to_more_than_memory_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", a=np.arange(3))
    assert read_arrays(tmp_path / "good.npz")["a"].tolist() == [0, 1, 2]
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as packed, packed.open("a.npy", "w") as part:
        for _ in range(33):
            part.write(bytes(16 * 2**20))
    with pytest.raises(FailedError, match="the arrays are too large; expected at most 512 MB"):
        read_arrays(tmp_path / "bomb.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(FailedError, match="can't be read"):
        read_arrays(tmp_path / "objects.npz")
