"""What bulk work reads: which photos and tables paths mean, and how they are split; no row is lost or doubled."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import MienError
from mien.images import Photo as Picture
from mien.images import encode_png
from mien.prediction.inputs import find_photos
from mien.prediction.places import Place, place_of
from mien.prediction.sources import MOST, Photos, Table, find_sources

PNG = encode_png(np.full((8, 6, 3), 90, np.uint8))


def table(groups: tuple[int, ...]) -> Table:
    return Table(Place("", "/a.parquet"), "a.parquet", "image", None, groups, 0, 0, sum(groups))


@given(st.lists(st.integers(1, 3 * MOST), max_size=12), st.integers(1, MOST))
def test_rows_are_split_at_row_groups(groups: list[int], size: int) -> None:
    parts = list(table(tuple(groups)).split(size))
    bounds = [0, *(part.end for part in parts)]
    assert [part.first for part in parts] == bounds[:-1]
    assert bounds[-1] == sum(groups)
    # A part is no larger than what was asked for and one group, or than what one worker tells and what was left before.
    assert all(0 < len(part) < size + MOST + 1 for part in parts)


@given(st.integers(0, 500), st.integers(1, 40))
def test_photos_are_split(n: int, size: int) -> None:
    photos = Photos(tuple((f"{number}.png", Place("", f"/{number}.png")) for number in range(n)))
    parts = list(photos.split(size))
    assert tuple(photo for part in parts for photo in part.photos) == photos.photos
    assert {len(part) for part in parts[:-1]} <= {size}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos, one of them below, and two of tables."""
    for name in ("photos/b.png", "photos/a.png", "photos/deep/0.png", "photos/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "tables").mkdir()
    for number in range(2):
        rows = pa.table({"image": [PNG] * 5, "id": [f"{number}-{row}" for row in range(5)]})
        pq.write_table(rows, tmp_path / f"tables/{number}.parquet", row_group_size=2)
    (tmp_path / "list.txt").write_text("photos/b.png\ntables/1.parquet\nphotos\nmissing.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(given: list[str]) -> list[list[str]]:
    return [[name for _, name, _ in source.read(lambda number: True)] for source in find_sources(given)]


def test_photos_are_those_of_one_process(here: Path) -> None:
    assert names(["photos"]) == [[photo.name for photo in find_photos(["photos"])]]
    assert names(["photos/*.png"]) == [["photos/a.png", "photos/b.png"]]


def test_tables_and_photos_stand_in_their_order_each_once(here: Path) -> None:
    rows = [[f"{number}-{row}" for row in range(5)] for number in range(2)]
    assert names(["tables"]) == rows
    assert names(["@list.txt", "tables"]) == [
        ["photos/b.png"],
        rows[1],
        ["photos/a.png", "photos/deep/0.png", "missing.png"],
        rows[0],
    ]


def test_pictures_and_why_there_is_none(here: Path) -> None:
    (here / "photos/b.png").write_bytes(PNG[:40])
    (source,) = find_sources(["photos/a.png", "photos/b.png", "missing.png"])
    read = {name: picture for _, name, picture in source.read(lambda number: True)}
    good = read["photos/a.png"]
    assert isinstance(good, Picture)
    assert (good.width, good.height, good.pixels.tolist()) == (6, 8, [[[90] * 3] * 6] * 8)
    assert str(read["missing.png"]) == f"{here}/missing.png: there is no such image"
    assert isinstance(read["photos/b.png"], MienError)
    assert [number for number, _, _ in source.read(lambda number: number == 1)] == [1]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"image": [PNG]}, "t.parquet#0"),
        ({"image": [PNG], "path": ["faces/a.png"]}, "faces/a.png"),
        ({"jpg": [PNG], "id": [7]}, "7"),
        ({"image": [{"bytes": PNG, "path": "b.png"}], "id": [7]}, "b.png"),
        ({"image": [{"bytes": PNG, "path": None}]}, "t.parquet#0"),
        ({"thumbnail": [b"x"], "img": [PNG]}, "t.parquet#0"),
    ],
)
def test_columns(here: Path, columns: dict[str, list[object]], found: str) -> None:
    pq.write_table(pa.table(columns), "t.parquet")
    (source,) = find_sources(["t.parquet"])
    ((number, name, picture),) = source.read(lambda number: True)
    assert (number, name) == (0, found)
    assert isinstance(picture, Picture)


def test_parts_of_a_table_read_their_own_rows(here: Path) -> None:
    (source,) = find_sources(["tables/0.parquet"])
    parts = list(source.split(3))
    assert [[name for _, name, _ in part.read(lambda number: True)] for part in parts] == [
        ["0-0", "0-1", "0-2", "0-3"],
        ["0-4"],
    ]
    assert [name for _, name, _ in parts[0].read(lambda number: number in (1, 3))] == ["0-1", "0-3"]


def test_a_row_without_bytes_is_an_error_of_its_own(here: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = pa.array([{"bytes": PNG, "path": "a.png"}, {"bytes": None, "path": "b.png"}], kind)
    pq.write_table(pa.table({"image": values}), "t.parquet")
    (source,) = find_sources(["t.parquet"])
    read = list(source.read(lambda number: True))
    assert [(name, str(picture)) for _, name, picture in read[1:]] == [
        ("b.png", "this row has no image; expected bytes")
    ]


@pytest.mark.parametrize(
    ("columns", "listed"),
    [({"label": [1], "path": ["a.png"]}, "'label', 'path'"), ({"left": [PNG], "right": [PNG]}, "'left', 'right'")],
)
def test_a_table_without_one_column_of_images(here: Path, columns: dict[str, list[object]], listed: str) -> None:
    pq.write_table(pa.table(columns), "t.parquet")
    with pytest.raises(MienError) as error:
        find_sources(["t.parquet"])
    assert str(error.value) == (
        f"{here}/t.parquet: there is no column of images among {listed}; "
        "expected 'image', of bytes or of {bytes, path}"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("clip.mp4", "clip.mp4: Ray tells photos alone, and this is a video; expected videos by --shard K/N"),
        (
            "ftp://a/b.png",
            "ftp://a/b.png: nothing is known of ftp://; expected one of s3://, gs://",
        ),
        ("s3:///b.png", "s3:///b.png: this address has no bucket; expected s3://BUCKET/…"),
        ("empty", "empty: no image lies in this folder; expected files such as .jpg or .png; videos are named each"),
    ],
)
def test_what_is_no_source(here: Path, given: str, message: str) -> None:
    (here / "empty").mkdir()
    with pytest.raises(MienError) as error:
        find_sources([given])
    assert str(error.value) == message


def test_an_endpoint_of_the_environment_is_part_of_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:9000")
    place = place_of("s3://faces/a b#1.png")
    assert place == ("s3://faces?endpoint_override=localhost:9000&scheme=http", "faces/a b#1.png")
    assert str(place) == "s3://faces/a b#1.png"
    assert place_of("gs://faces/a.png").store == "gs://faces"
