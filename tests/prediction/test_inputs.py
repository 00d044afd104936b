"""Which photos paths mean: each once, in order, and nothing that isn't meant."""

import os
from pathlib import Path

import pytest

from mien.errors import MienError
from mien.prediction.inputs import find_photos


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos, other files, hidden ones and folders."""
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "deep/er/c.webp", ".git/d.jpg", "odd[1].jpg"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (tmp_path / "list.txt").write_text("b.jpg\n\ndeep\nmissing.jpg\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["."], ["a.PNG", "b.jpg", "odd[1].jpg", "deep/er/c.webp"]),
        (["b.jpg", "a.PNG", "b.jpg"], ["b.jpg", "a.PNG"]),
        (["notes.txt"], ["notes.txt"]),
        (["*.jpg"], ["b.jpg", "odd[1].jpg"]),
        (["**/*.webp"], ["deep/er/c.webp"]),
        (["odd[1].jpg"], ["odd[1].jpg"]),
        (["@list.txt"], ["b.jpg", "deep/er/c.webp", "missing.jpg"]),
        (["a.PNG", "-"], ["a.PNG", "b.jpg", "nothing.jpg"]),
    ],
)
def test_paths(here: Path, given: list[str], expected: list[str]) -> None:
    assert [str(photo.file) for photo in find_photos(given, ["b.jpg\n", "\n", "nothing.jpg"])] == expected


def test_pictures_are_called_by_their_path_below_the_folder(here: Path) -> None:
    assert [str(photo.below) for photo in find_photos([str(here / "deep"), "deep/er/c.webp", "b.jpg"])] == [
        "er/c.webp",
        "c.webp",
        "b.jpg",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("*.bmp", "*.bmp: nothing matches this pattern; expected such as photos/*.jpg"),
        ("empty", "empty: no image lies in this folder; expected files such as .jpg or .png; videos are named each"),
        ("@nothing.txt", "nothing.txt: this list of photos can't be read; expected a path a line"),
    ],
)
def test_what_means_nothing(here: Path, given: str, message: str) -> None:
    (here / "empty").mkdir()
    with pytest.raises(MienError) as error:
        find_photos([given])
    assert str(error.value) == message


def test_a_name_that_is_not_utf_8_can_be_told(here: Path) -> None:
    (Path(os.fsdecode(b"bad\xff.jpg"))).write_bytes(b"")
    (photo,) = find_photos(["bad*"])
    assert photo.name == "bad\ufffd.jpg"
