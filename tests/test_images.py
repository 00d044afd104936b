"""Bytes become pixels and pixels bytes: exactly, whatever the format, and not at any price."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.errors import MienError
from mien.images import (
    FORMATS,
    MAX_PIXELS,
    Color,
    Pixels,
    decode,
    decode_photo,
    encode_png,
    luma,
    stored_pngs,
    stretch,
)

Encoder = Callable[[Pixels], bytes]
COLORS: tuple[Color, ...] = ("gray", "rgb")


def one_stored_png(pixels: Pixels) -> bytes:
    return stored_pngs(pixels[None])[0]


def file_of(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("encode", [encode_png, one_stored_png])
@settings(max_examples=50, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]), st.integers(0, 99))
def test_png_keeps_every_pixel(encode: Encoder, height: int, width: int, channels: int, seed: int) -> None:
    pixels = noise(height, width, channels, seed=seed)
    data = encode(pixels)
    assert np.array_equal(decode(data, "gray" if channels == 1 else "rgb"), pixels)
    # OpenCV reads the same, in its order of channels.
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(other.reshape(height, width, channels)[:, :, ::-1], pixels)


def test_a_large_stored_png() -> None:
    pixels = noise(700, 500, 3)
    assert np.array_equal(decode(one_stored_png(pixels), "rgb"), pixels)


def test_stored_pngs_of_many_images() -> None:
    images = noise(5, 48, 48)
    files = stored_pngs(images)
    assert [len(file) for file in files] == [2425] * 5
    assert all(np.array_equal(decode(file, "gray")[:, :, 0], image) for file, image in zip(files, images, strict=True))


def test_gray_of_colour_is_luma_and_colour_of_gray_repeats() -> None:
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    assert decode(encode_png(red), "gray").tolist() == [[[76], [76]], [[76], [76]]]  # .299 × 255
    gray = noise(3, 4)
    assert np.array_equal(decode(encode_png(gray), "rgb"), np.repeat(gray[:, :, None], 3, 2))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format(format: str) -> None:
    # A flat image survives the lossy formats too.
    image = Image.new("L", (6, 4), 128)
    assert decode(file_of(image, format), "gray").tolist() == np.full((4, 6, 1), 128).tolist()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(np.full((2, 2), 0x8040, np.uint16)), 0x80),
        (Image.new("1", (2, 2), 1), 255),
        (Image.new("P", (2, 2), 0), 0),
        # What is transparent lies over white.
        (Image.new("LA", (2, 2), (90, 255)), 90),
        (Image.new("LA", (2, 2), (90, 0)), 255),
        (Image.new("RGBA", (2, 2), (7, 7, 7, 0)), 255),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 127)), 128),
    ],
    ids=["16 bit", "1 bit", "palette", "gray and alpha", "gray unseen", "colour unseen", "colour half seen"],
)
def test_every_kind_of_pixel_becomes_8_bit(image: Image.Image, expected: int) -> None:
    assert decode(file_of(image, "PNG"), "gray")[:, :, 0].tolist() == [[expected] * 2] * 2
    assert decode(file_of(image, "PNG"), "rgb").tolist() == [[[expected] * 3] * 2] * 2


WIDE = np.array([[0, 257, 32896, 65535]], np.uint16)


@pytest.mark.parametrize(
    "data",
    [
        file_of(Image.fromarray(WIDE), "PNG"),
        file_of(Image.fromarray(WIDE), "TIFF"),
        b"P5 4 1 65535\n" + WIDE.astype(">u2").tobytes(),
        file_of(Image.fromarray((WIDE / 65535).astype(np.float32)), "TIFF"),
        b"Pf\n4 1\n-1.0\n" + (WIDE / 65535).astype("<f4").tobytes(),
    ],
    ids=["PNG of 16 bits", "TIFF of 16 bits", "PGM of 16 bits", "TIFF of floats", "PFM"],
)
def test_wide_numbers_become_pixels_by_the_full_range(data: bytes) -> None:
    assert decode(data, "gray").ravel().tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 128]], np.float32), "these pixels are floats of 0 to 128"),
        (np.array([[-0.5, 1]], np.float32), "these pixels are floats of -0.5 to 1"),
        (np.array([[np.nan, 1]], np.float32), "these pixels are floats of nan to nan"),
        (np.array([[0, 128]], np.int32), "these pixels are int32 numbers"),
    ],
)
def test_numbers_without_a_known_black_and_white_are_refused(values: Any, message: str) -> None:
    with pytest.raises(MienError) as error:
        decode(file_of(Image.fromarray(values), "TIFF"), "rgb")
    assert str(error.value) == f"{message}; expected 8 or 16 bits, or floats of 0 to 1"


def test_of_an_animation_the_first_picture_counts() -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, "rgb")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_photos_are_halved_while_their_longer_side_stays_1280(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = decode_photo(file_of(Image.new("RGB", (2600, 400), (90, 90, 90)), format, exif=exif))
    assert (photo.pixels.shape, photo.width, photo.height, photo.scale) == ((1300, 200, 3), 400, 2600, 0.5)
    assert photo.orientation == 6
    assert np.abs(photo.pixels.astype(int) - 90).max() <= 1
    assert decode_photo(file_of(Image.new("L", (2558, 40)), format)).scale == 1


def test_a_large_jpeg_is_reduced_while_it_is_decoded_and_a_progressive_one_refused() -> None:
    image = Image.new("L", (20000, 4000), 80)
    assert decode_photo(file_of(image, "JPEG", quality=30)).pixels.shape == (500, 2500, 3)
    for data in (file_of(image, "JPEG", quality=30, progressive=True), file_of(image, "PNG")):
        with pytest.raises(MienError, match="the image has 20000 × 4000 pixels; expected at most 64 million"):
            decode_photo(data)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 50), st.sampled_from([1, 3]))
@settings(max_examples=30, deadline=None)
def test_pixels_are_stretched_as_files_are(height: int, width: int, size: int, channels: int) -> None:
    pixels = noise(height, width, channels)
    for color in COLORS:
        assert np.array_equal(stretch(pixels, size, color), decode(encode_png(pixels), color, size))
    assert np.array_equal(luma(pixels), decode(encode_png(pixels), "gray"))


def test_an_image_is_turned_as_its_exif_says() -> None:
    pixels = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° clockwise
    data = file_of(Image.fromarray(pixels), "PNG", exif=exif)
    assert np.array_equal(decode(data, "gray")[:, :, 0], np.rot90(pixels, -1))


def test_size_stretches_to_a_square() -> None:
    half_black = np.zeros((10, 40), np.uint8)
    half_black[:, 20:] = 200
    small = decode(encode_png(half_black), "gray", size=4)
    assert small.shape == (4, 4, 1)
    assert small[:, 0, 0].tolist() == [0] * 4
    assert small[:, 3, 0].tolist() == [200] * 4
    same = noise(8, 8)
    assert np.array_equal(decode(encode_png(same), "gray", size=8)[:, :, 0], same)


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes that say they hold an image of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty; expected an image"),
        (b"happy,1\n" * 20, f"this is no image of a known format; expected {', '.join(FORMATS)}"),
        (
            # A format that Pillow opens, but mien doesn't.
            file_of(Image.new("L", (4, 4)), "TGA"),
            f"this is no image of a known format; expected {', '.join(FORMATS)}",
        ),
        (
            one_stored_png(noise(48, 48))[:900],
            "the image doesn't decode (image file is truncated)",
        ),
        (png_that_claims(9000, 8000), "the image has 9000 × 8000 pixels; expected at most 64 million"),
        (
            png_that_claims(60000, 60000),
            "the image has far too many pixels; expected at most 64 million",
        ),
    ],
    ids=["empty", "text", "format", "cut", "too large", "bomb"],
)
def test_what_is_no_image(data: bytes, message: str) -> None:
    with pytest.raises(MienError) as error:
        decode(data, "gray")
    assert str(error.value) == message


def heic_of(pixels: Pixels, orientation: int = 1) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95, exif=exif.tobytes())
    return file.getvalue()


def heic_that_claims(data: bytes, width: int, height: int) -> bytes:
    """The same file with other sides in its header: the box `ispe` has them after its kind and four bytes."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


def test_heic_is_read_and_turned_upright() -> None:
    rows, columns = np.mgrid[0:96, 0:128].astype(np.uint8)
    pixels = np.stack([columns * 2, rows * 2, columns + rows], axis=2)
    for orientation, turns in ((1, 0), (6, -1)):
        photo = decode_photo(heic_of(pixels, orientation))
        upright = np.rot90(pixels, turns)
        assert (photo.width, photo.height) == upright.shape[1::-1]
        assert np.abs(photo.pixels.astype(int) - upright).mean() < 2


def test_large_and_lying_heic_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = heic_of(np.full((96, 128, 3), 90, np.uint8))

    def said(data: bytes) -> str:
        with pytest.raises(MienError) as error:
            decode_photo(data)
        return str(error.value)

    lies = "the image doesn't decode (Invalid input: Invalid image size: Decoded image does not have the size signaled"
    assert said(heic_that_claims(honest, 64, 64)).startswith(lies)
    assert said(honest[:-10]).startswith("the image doesn't decode (")
    assert said(honest[:40]).startswith("the image doesn't decode (")
    with monkeypatch.context() as patch:
        patch.setattr(pillow_heif.HeifImageFile, "load", lambda self: pytest.fail("it is decoded"))
        for width, height in ((20_000, 20_000), (9000, 8000)):
            message = f"the image has {width} × {height} pixels; expected at most 64 million"
            assert said(heic_that_claims(honest, width, height)) == message
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert said(honest) == "HEIC needs pillow-heif; expected pip install pillow-heif, or the photo as JPEG"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_broken_bytes_are_an_error_or_an_image_and_nothing_else(data: st.DataObject) -> None:
    broken = bytearray(
        file_of(Image.fromarray(noise(12, 12)), data.draw(st.sampled_from(["PNG", "JPEG", "BMP", "GIF"])))
    )
    for place in data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=8)):
        broken[place] ^= 255
    try:
        pixels = decode(bytes(broken), "rgb")
    except MienError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.size <= 3 * MAX_PIXELS


def test_metadata_that_is_cut_short_is_no_warning_of_python_s() -> None:
    """In a process of its own: pytest makes errors of warnings."""
    code = (
        "import sys\nfrom mien.errors import MienError\nfrom mien.images import decode\n"
        "data = sys.stdin.buffer.read()\n"
        "for length in range(len(data)):\n"
        "    try: decode(data[:length], 'gray')\n"
        "    except MienError: continue\n"
        "    print(length)"
    )
    whole = file_of(Image.fromarray(noise(6, 6)), "TIFF")
    done = subprocess.run([sys.executable, "-c", code], input=whole, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
