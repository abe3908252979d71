"""Opening a record's picture, with every way it can be wrong said in words.

A record's size and coordinates refer to the *upright* picture: an EXIF orientation is applied, as
viewers and labelling tools do. Transparent parts become white, 16-bit grey keeps its high byte, of
an animation the first frame counts. 32-bit and float pixels have no defined white and are refused.
"""

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from coordexp.data.record import Record
from coordexp.errors import RecordError

# What Pillow's decoders raise on broken files; all of these were seen or are in their source.
_DECODER_ERRORS = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_WIDE_MODES = ("I", "F")
_TAIL_BYTES = 64
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"


def load_image(root: Path, record: Record) -> Image.Image:
    """Return the record's picture, upright, as RGB.

    Args:
        root: The folder that the record's paths are relative to. Nothing outside it is opened,
            through links either.
        record: Names the picture and its size.

    Raises:
        RecordError: If the picture is missing, outside the folder, truncated, no picture, or of
            another size than the record says.
    """
    path = _picture_path(root, record)
    with _errors_in_words(record), Image.open(path) as picture:
        _check_size(picture, record)
        return _to_rgb(ImageOps.exif_transpose(picture))


def check_image(root: Path, record: Record) -> None:
    """Check a record's picture without decoding its pixels, where its format allows that.

    Checked are place, format, size and that the file has its end: PNG's last chunk, JPEG's end
    marker. Any other format, and a file whose end is not where it should be, is decoded. Damage in
    the middle of a file is found only by `load_image`.

    Raises:
        RecordError: As `load_image` does.
    """
    path = _picture_path(root, record)
    with _errors_in_words(record), Image.open(path) as picture:
        _check_size(picture, record)
        settled = picture.mode not in _WIDE_MODES and _has_its_end(path, picture.format)
    if not settled:
        load_image(root, record)


def _picture_path(root: Path, record: Record) -> Path:
    path = Path(os.path.realpath(root / record.image))
    if not path.is_relative_to(os.path.realpath(root)):
        raise RecordError(f"images[0]: the path climbs out of the dataset: {record.image!r}")
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on names that are too long
        raise RecordError(f"images[0]: there is no file {root / record.image}")
    return path


@contextmanager
def _errors_in_words(record: Record) -> Iterator[None]:
    # Warnings are about size, which is checked, and about broken side information.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except _DECODER_ERRORS as error:
            message = f"images[0]: {record.image!r} cannot be read as a picture: {error}"
            raise RecordError(message) from None


def _has_its_end(path: Path, kind: str | None) -> bool:
    if kind not in ("PNG", "JPEG"):
        return False
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        tail = file.read()
    # Coded JPEG data never holds the marker; cameras may write a few bytes after it.
    return tail.endswith(_PNG_END) if kind == "PNG" else _JPEG_END in tail


def _check_size(picture: Image.Image, record: Record) -> None:
    """Check the size before a pixel is decoded."""
    width, height = picture.size
    turn = picture.getexif().get(0x0112, 1)
    note = ""
    if turn in (5, 6, 7, 8):
        width, height = height, width
        note = f" upright (EXIF orientation {turn})"
    if (width, height) != (record.width, record.height):
        raise RecordError(
            f"images[0]: {record.image!r} has {width}x{height} pixels{note}, the record says "
            f"{record.width}x{record.height}"
        )


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _WIDE_MODES:
        raise ValueError(f"{picture.mode} pixels have 32 bits; save it with 8 or 16 bits a channel")
    if picture.mode.startswith("I;16"):
        high_byte = (np.asarray(picture) >> 8).astype(np.uint8)
        return Image.fromarray(high_byte).convert("RGB")
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")
