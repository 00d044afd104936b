"""Contact sheets, read back pixel by pixel."""

import io

import numpy as np
import pytest
from PIL import Image

from mien.data.contact_sheets import contact_sheet, gallery, pictures_of
from mien.data.dataset import open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.images import encode_png


def pictures(number, size=48, channels=1, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (number, size, size, channels), dtype=np.uint8))


def opened(png):
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image


def find(sheet, picture):
    """The place (x, y) at which a picture stands in a sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    places = [
        (x, y)
        for y, x in zip(*np.nonzero(sheet[: 1 - height, : 1 - width] == picture[0, 0]), strict=True)
        if (sheet[y : y + height, x : x + width] == picture).all()
    ]
    assert len(places) == 1
    return places[0]


def test_each_picture_stands_in_its_row_and_column_twice_its_size():
    rows = [pictures(3, seed=1), pictures(2, seed=2)]
    image = opened(contact_sheet(rows, ["happy\n7,215", "sad"], title="fer2013"))
    assert image.mode == "L"
    sheet = np.asarray(image)
    places = [[find(sheet, one[:, :, 0].repeat(2, 0).repeat(2, 1)) for one in row] for row in rows]
    left, top = places[0][0]
    assert places == [[(left + 100 * column, top + 100 * row) for column in range(len(rows[row]))] for row in range(2)]
    assert image.size == (left + 3 * 100 - 4 + 12, top + 2 * 100 - 4 + 12)


def test_captions_columns_and_title_are_written_and_take_room():
    rows = [pictures(2)]
    bare = opened(contact_sheet(rows, [""]))
    assert bare.size == (12 + 100 + 96 + 12, 12 + 96 + 12)
    full = opened(contact_sheet(rows, ["happy"], columns=["original", "1"], title="fer2013"))
    assert full.height == bare.height + 26 + 18
    sheet = np.asarray(full)
    assert sheet[: 12 + 18].min() < 60, "title"
    assert sheet[12 + 26 : 12 + 26 + 18].min() < 120, "columns"
    caption = sheet[12 + 26 + 18 : -12, : full.width - bare.width + 12]
    assert caption.min() < 60
    assert caption.shape[1] > 40


def test_one_color_picture_makes_a_color_sheet():
    color = np.zeros((48, 48, 3), np.uint8) + np.array([200, 30, 60], np.uint8)
    image = opened(contact_sheet([[color, pictures(1)[0]]], ["a"]))
    assert image.mode == "RGB"
    assert (np.asarray(image) == (200, 30, 60)).all(axis=2).sum() == 96 * 96


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((48, 48), 96), ((24, 24), 96), ((100, 100), 100), ((160, 160), 160), ((1000, 500), 80), ((500, 1000), 160)],
)
def test_small_pictures_grow_by_whole_numbers_and_large_ones_shrink(shape, shown):
    image = opened(contact_sheet([[np.zeros((*shape, 1), np.uint8)]], [""]))
    dark = np.flatnonzero((np.asarray(image) == 0).any(axis=0))
    assert len(dark) == shown


def test_a_sheet_of_seventy_faces_is_light_and_the_same_each_time():
    # Noise is the worst that there is to pack.
    rows = [pictures(10, seed=row) for row in range(7)]
    sheet = contact_sheet(rows, ["a"] * 7)
    assert len(sheet) < 400_000
    assert sheet == contact_sheet(rows, ["a"] * 7)


def test_rows_without_pictures_keep_their_captions():
    image = opened(contact_sheet([[], pictures(1)], ["contempt\n0", "happy"]))
    assert image.height == 12 + 36 + 4 + 96 + 12
    assert opened(contact_sheet([], [])).size == (24, 24)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="1 rows of pictures and 2 captions"):
        contact_sheet([[]], ["a", "b"])
    with pytest.raises(ValueError, match=r"a picture of float32 \(48, 48, 1\), not uint8"):
        contact_sheet([[np.zeros((48, 48, 1), np.float32)]], ["a"])
    with pytest.raises(ValueError, match=r"a picture of uint8 \(48, 48\), not uint8 \(height, width, 1 or 3\)"):
        contact_sheet([[np.zeros((48, 48), np.uint8)]], ["a"])


def test_a_gallery_has_its_pictures_in_lines_each_over_its_caption():
    shown = pictures(5)
    image = opened(gallery(shown, ["happy\n17"] * 5, title="suspects", columns=3))
    assert image.mode == "L"
    sheet = np.asarray(image)
    places = [find(sheet, one[:, :, 0].repeat(2, 0).repeat(2, 1)) for one in shown]
    left, top = places[0]
    across, down = places[1][0] - left, places[3][1] - top
    assert places == [(left + number % 3 * across, top + number // 3 * down) for number in range(5)]
    assert (left, top) == (12, 12 + 18 + 8)
    assert image.size == (3 * across + 24, top + 2 * down + 12)
    for x, y in places:
        assert sheet[y + 96 : y + 96 + 18, x : x + across].min() < 60, "first line"
        assert sheet[y + 96 + 18 : y + 96 + 36, x : x + across].min() < 140, "second line"
    assert sheet[top + down + 96 :, left + 2 * across :].min() == 255


def test_a_gallery_of_color_and_of_nothing():
    color = np.zeros((20, 10, 3), np.uint8) + np.array([200, 30, 60], np.uint8)
    image = opened(gallery([pictures(1)[0], color], ["a", "b"]))
    assert image.mode == "RGB"
    # Five pixels of the picture to one, at the foot of the tallest.
    assert image.getpixel((12 + (image.width - 24) // 2, 12 + 95)) == (200, 30, 60)
    assert opened(gallery([], [], "no suspects")).height == 12 + 26 + 12
    with pytest.raises(ValueError, match="1 pictures and 2 captions"):
        gallery(pictures(1), ["a", "b"])


def test_pictures_of_rows_by_split_and_id(workspace):
    gray, color = pictures(1)[0], pictures(1, channels=3)[0]
    with write_dataset(workspace, "two", FER2013, source="", format="test") as writer:
        for split, id_, image in (("train", "0", gray), ("test", "0", color), ("test", "1", gray)):
            writer.add(split, id_, encode_png(image), 0, size=(48, 48))
    found = pictures_of(open_dataset(workspace, "two"), [("train", "0"), ("test", "0")])
    assert sorted(found) == [("test", "0"), ("train", "0")]
    assert np.array_equal(found["train", "0"], gray)
    assert np.array_equal(found["test", "0"], color)
