"""Bytes become pixels, and pixels bytes, here and nowhere else: with limits, since image files come from anywhere."""

import io
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from mien.errors import MienError
from mien.extras import is_installed

Color = Literal["gray", "rgb"]
Pixels = npt.NDArray[np.uint8]

# Formats whose decoders are in wide use and fuzzed; everything else that Pillow can open is refused. HEIC is read where
# pillow-heif is installed.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".heic", ".heif")
MAX_PIXELS = 64_000_000
# So many times as many are let in of a JPEG that is reduced while it is decoded; a progressive one is held whole.
JPEG_FACTOR = 8
MAX_BYTES = 256 * 2**20
# A photo is halved as long as its longer side stays this or more.
REDUCED_SIDE = 1280

_ORIENTATION = 0x0112
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# `decode` has a limit of its own, and says so in a sentence.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)
# Of metadata that is cut short; pixels that are cut short are an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.", append=True)


class UnknownFormatError(MienError):
    """What isn't an image of a known format."""


class TooManyPixelsError(MienError):
    """An image that is refused for its size before it is decoded."""


class Photo(NamedTuple):
    """A photo's pixels, uint8 (h, w, 3) RGB, upright and perhaps reduced; its own width and height, upright.

    `orientation` is EXIF's, 1 to 8, as it was before the photo was turned.
    """

    pixels: Pixels
    width: int
    height: int
    orientation: int = 1

    @property
    def scale(self) -> float:
        """The sides of `pixels` over the photo's own, 1 or less.

        >>> Photo(np.zeros((10, 20, 3), np.uint8), 40, 20).scale
        0.5
        """
        return float(max(self.pixels.shape[:2]) / max(self.width, self.height))


def decode(data: bytes, color: Color, size: int | None = None) -> Pixels:
    """The pixels of an image file as uint8 (height, width, channels): 1 channel for gray, 3 for RGB.

    Gray is ITU-R 601-2 luma, numbers of 16 bits are divided by 257, floats are 0 … 1, what is transparent lies over
    white, and of several pictures in a file the first counts. `size` stretches to (size, size), antialiased. Turned as
    its EXIF orientation says. Raises MienError for what isn't an image, is cut short, or has more than `MAX_PIXELS`
    pixels.

    >>> decode(encode_png(np.full((48, 48, 1), 7, np.uint8)), "rgb", size=2)[0, 0].tolist()
    [7, 7, 7]
    """
    return _decoded(data, color, size, reduce=False).pixels


def decode_photo(data: bytes, max_pixels: int = MAX_PIXELS) -> Photo:
    """A photo file as `decode` gives it, halved up to three times while its longer side stays `REDUCED_SIDE` or more.

    JPEG is reduced while it is decoded, and may have `JPEG_FACTOR` times as many pixels unless it is progressive.
    """
    return _decoded(data, "rgb", None, reduce=True, max_pixels=max_pixels)


def read_photo(file: Path) -> Photo:
    """A photo file as `decode_photo` gives it; errors name the file, also where there is none or it isn't one."""
    try:
        facts = file.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise MienError("this is a folder", expected="an image")
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(facts.st_mode):
            raise MienError("this isn't a file", expected="an image")
        if facts.st_size > MAX_BYTES:
            raise MienError(f"the file has {facts.st_size >> 20:,} MB", expected=f"at most {MAX_BYTES >> 20} MB")
        return decode_photo(file.read_bytes())
    except FileNotFoundError as error:
        raise MienError("there is no such image", file=str(file)) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte.
        what = getattr(error, "strerror", None) or str(error)
        raise MienError(f"the image can't be read ({what})", file=str(file)) from error
    except MienError as error:
        error.file = str(file)
        raise


def photo_of(image: Image.Image) -> Photo:
    """A picture that Pillow has opened or made, as `decode_photo` gives a file; it is left as it is."""
    return _plain(image.copy(), "rgb", None, reduce=False)


def _decoded(data: bytes, color: Color, size: int | None, *, reduce: bool, max_pixels: int = MAX_PIXELS) -> Photo:
    try:
        with _opened(data) as image:
            return _plain(image, color, size, reduce=reduce, max_pixels=max_pixels)
    except MienError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError("the image has far too many pixels", expected=_limit(max_pixels)) from error
    except UnidentifiedImageError as error:
        raise _unknown(data) from error
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes led them to.
        raise MienError(f"the image doesn't decode ({error or type(error).__name__})") from error


def _plain(image: Image.Image, color: Color, size: int | None, *, reduce: bool, max_pixels: int = MAX_PIXELS) -> Photo:
    """An image upright, of 8 bits and of a colour, reduced or stretched."""
    width, height = image.size
    factor = _factor(image, reduce, max_pixels)
    jpeg = image.format == "JPEG"
    if factor > 1 and jpeg:
        # In place; decoding at an eighth takes a third of the time, and a sixty-fourth of the memory.
        image.draft(None, (width // factor, height // factor))
    orientation = image.getexif().get(_ORIENTATION, 1)
    mode = "L" if color == "gray" else "RGB"
    if image.mode != mode or image.has_transparency_data:
        plain = _to_8_bit(image).convert(mode)
    else:
        plain = image
    if (turn := _TURNS.get(orientation)) is not None:
        plain = plain.transpose(turn)
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    if factor > 1 and not jpeg:
        plain = plain.reduce(factor)
    if size is not None and plain.size != (size, size):
        plain = plain.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)
    known = orientation if orientation in range(1, 9) else 1
    return Photo(pixels[:, :, None] if pixels.ndim == 2 else pixels, width, height, known)


# What turns a picture upright, by EXIF's orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _limit(pixels: int) -> str:
    return f"at most {pixels / 1e6:g} million"


def _opened(data: bytes) -> Image.Image:
    if data[:3] == b"\xff\xd8\xff":
        # Not by `Image.open`, whose limit is below what can be reduced while it is decoded.
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        if not is_installed("pillow_heif"):
            raise UnknownFormatError("HEIC needs pillow-heif", expected="pip install pillow-heif, or the photo as JPEG")
        import pillow_heif

        return pillow_heif.HeifImageFile(io.BytesIO(data))
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _unknown(data: bytes) -> MienError:
    if not data:
        return UnknownFormatError("the file is empty", expected="an image")
    return UnknownFormatError("this is no image of a known format", expected=", ".join(FORMATS))


def _factor(image: Image.Image, reduce: bool, max_pixels: int) -> int:
    """By how much a photo is reduced: 1, 2, 4 or 8; MienError for too many pixels."""
    factor = 1
    while reduce and factor < 8 and max(image.size) // (2 * factor) >= REDUCED_SIDE:
        factor *= 2
    drafted = image.format == "JPEG" and factor > 1 and not image.info.get("progressive")
    if image.width * image.height > max_pixels * (JPEG_FACTOR if drafted else 1):
        raise TooManyPixelsError(f"the image has {image.width} × {image.height} pixels", expected=_limit(max_pixels))
    return factor


def _to_8_bit(image: Image.Image) -> Image.Image:
    """An image in a mode of 8 bits, without transparency."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        # Of 16 bits, whichever way Pillow holds them: PGM scales its own range to that.
        return Image.fromarray(to_uint8(np.asarray(image).astype(np.uint16)))
    if image.mode in ("I", "F"):
        return Image.fromarray(to_uint8(np.asarray(image)))
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image


def to_uint8(values: npt.NDArray[Any]) -> Pixels:
    """Numbers as pixels: uint8 as they are, uint16 over 257, floats of 0 … 1 times 255, rounded.

    Raises MienError for other numbers, of which nobody knows what is black and what is white.

    >>> to_uint8(np.array([0, 0x8080, 65535], np.uint16)).tolist(), to_uint8(np.array([0.0, 0.5, 1.0])).tolist()
    ([0, 128, 255], [0, 128, 255])
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return np.asarray((values.astype(np.uint32) + 128) // 257, np.uint8)
    expected = "8 or 16 bits, or floats of 0 to 1"
    if not np.issubdtype(values.dtype, np.floating):
        raise MienError(f"these pixels are {values.dtype} numbers", expected=expected)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    # Not-a-number is in no range.
    if not (low >= 0 and high <= 1):
        raise MienError(f"these pixels are floats of {low:g} to {high:g}", expected=expected)
    return np.asarray(np.floor(values * 255 + 0.5), np.uint8)


def luma(pixels: Pixels) -> Pixels:
    """RGB (h, w, 3) as gray (h, w, 1), by the rounding of `decode`; gray stays."""
    if pixels.shape[2] == 1:
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]


def stretch(pixels: Pixels, size: int, color: Color) -> Pixels:
    """Pixels (h, w, 1 or 3) as those that `decode` gives of the same image for a size and colour."""
    gray = pixels.shape[2] == 1
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if gray else pixels))
    image = image.convert("L" if color == "gray" else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, -1)


def encode_png(pixels: Pixels) -> bytes:
    """A lossless PNG of uint8 pixels (height, width), (height, width, 1) or (height, width, 3) RGB."""
    flat = pixels[:, :, ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels
    # Level 1 is a third of the time of the default for a tenth more bytes.
    done, data = cv2.imencode(".png", flat, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"no PNG from pixels of shape {pixels.shape}")
    return data.tobytes()


def stored_pngs(images: Pixels) -> list[bytes]:
    """A lossless but uncompressed PNG of each image, uint8 (n, height, width[, 1]) or (n, height, width, 3) RGB.

    For Parquet, which compresses what it stores: ten times as fast as `encode_png`, and smaller in the end, since small
    images compress better a thousand at a time.
    """
    count, height, width = images.shape[:3]
    rows = images.reshape(count, height, -1)
    # A line is its filter and its bytes; the filter Up (2) subtracts the line above, which leaves little to store.
    lines = np.empty((count, height, rows.shape[2] + 1), np.uint8)
    lines[:, :, 0] = 2
    lines[:, 0, 1:] = rows[:, 0]
    np.subtract(rows[:, 1:], rows[:, :-1], out=lines[:, 1:, 1:])
    color = 0 if rows.shape[2] == width else 2
    head = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    return [head + _png_chunk(b"IDAT", _stored(image.tobytes())) + _PNG_END for image in lines]


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _stored(data: bytes) -> bytes:
    """What zlib makes of data that it shall not compress."""
    store = zlib.compressobj(level=0, wbits=9, memLevel=1)
    return store.compress(data) + store.flush()


_PNG_END = _png_chunk(b"IEND", b"")
