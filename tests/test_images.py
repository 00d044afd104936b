"""Bytes become pixels and pixels bytes: exactly, whatever the format, and not at any price."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.errors import MienError
from mien.images import FORMATS, MAX_PIXELS, Pixels, decode, encode_png, stored_pngs

Encoder = Callable[[Pixels], bytes]


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
        (Image.new("LA", (2, 2), (90, 10)), 90),
        (Image.new("RGBA", (2, 2), (7, 7, 7, 0)), 7),
    ],
    ids=["16 bit", "1 bit", "palette", "gray and alpha", "colour and alpha"],
)
def test_every_kind_of_pixel_becomes_8_bit(image: Image.Image, expected: int) -> None:
    assert decode(file_of(image, "PNG"), "gray")[:, :, 0].tolist() == [[expected] * 2] * 2
    assert decode(file_of(image, "PNG"), "rgb").tolist() == [[[expected] * 3] * 2] * 2


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
        (b"", f"this is no image of a known format; expected {', '.join(FORMATS)}"),
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
            "the image doesn't decode (Image size (3600000000 pixels) exceeds limit of 178956970 pixels, could be "
            "decompression bomb DOS attack.)",
        ),
    ],
    ids=["empty", "text", "format", "cut", "too large", "bomb"],
)
def test_what_is_no_image(data: bytes, message: str) -> None:
    with pytest.raises(MienError) as error:
        decode(data, "gray")
    assert str(error.value) == message


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
