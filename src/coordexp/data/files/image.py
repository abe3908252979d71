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
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from coordexp.data.contract.record import Record
from coordexp.errors import RecordError

# What Pillow's decoders raise on broken files; all of these were seen or are in their source.
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_LYING = range(5, 9)  # EXIF orientations that swap width and height
_WIDE_MODES = ("I", "F")
_TAIL_BYTES = 64
_PNG_START_BYTES = 8
_PNG_NOTES = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"


class PictureSizeError(RecordError):
    """A picture has another size than its record says."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture's file, as its header shows it.

    Args:
        path: Where it is, links resolved.
        format: Pillow's name of the file format.
        mode: Pillow's name of the pixel format.
        turned: Whether an EXIF orientation is to be applied.
    """

    path: Path
    format: str | None
    mode: str
    turned: bool


def load_image(root: Path, record: Record) -> Image.Image:
    """Return the record's picture, upright, as RGB, in the size of its file.

    Args:
        root: The folder that the record's paths are relative to. Nothing outside it is opened,
            through links either.
        record: Names the picture and its size.

    Raises:
        RecordError: If the picture is missing, outside the folder, truncated, no picture, or of
            another size than the record says.
    """
    return _loaded(root, record, least=None)


def load_small_image(root: Path, record: Record, *, least: int) -> Image.Image:
    """Return the record's picture, upright, as RGB, for a look at no more than a few cells.

    A JPEG is decoded at a half, a quarter or an eighth of its size, which is many times faster;
    anything else as it is.

    Args:
        root: As for `load_image`.
        record: As for `load_image`.
        least: Neither side becomes smaller than this.

    Raises:
        RecordError: As `load_image` does.
    """
    return _loaded(root, record, least=least)


def _loaded(root: Path, record: Record, *, least: int | None) -> Image.Image:
    path = _picture_path(root, record)
    with _errors_in_words(record), Image.open(path) as picture:
        turned = _check_size(picture, record, path)
        if least is not None:
            picture.draft(None, (least, least))
        picture.load()
        return _to_rgb(ImageOps.exif_transpose(picture) if turned else picture)


def decode_image(
    content: bytes, *, most_pixels: int | None = None, formats: tuple[str, ...] | None = None
) -> Image.Image:
    """Return the picture that the content of a file holds, upright, as RGB.

    Args:
        content: Of the file.
        most_pixels: Larger pictures are refused before a pixel is decoded; None for Pillow's limit.
        formats: Pillow's names of the file formats that may be tried; None for all it knows.

    Raises:
        RecordError: If it is no picture, broken, or too large.
    """
    record = Record(images=("picture",), width=1, height=1, objects=())
    with _errors_in_words(record), Image.open(BytesIO(content), formats=formats) as picture:
        width, height = picture.size
        if most_pixels is not None and width * height > most_pixels:
            raise RecordError(
                f"images[0]: {width}x{height} is too large; at most {most_pixels:,} pixels are "
                "looked at"
            )
        picture.load()
        return _to_rgb(ImageOps.exif_transpose(picture))


def load_annotated_image(root: Path, record: Record) -> Image.Image:
    """Return the picture at the size that pixels of the record refer to, for drawing on it.

    That is another one than the file's where `data prepare` has resized the picture.

    Raises:
        RecordError: As `load_image` does.
    """
    image = load_image(root, record)
    size = (record.width, record.height)
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def find_image(root: Path, record: Record) -> PictureFile:
    """Return the file of a record's picture, by its header alone.

    Raises:
        RecordError: If it is missing, outside the folder, no picture, or of another size than the
            record says.
    """
    path = _picture_path(root, record)
    with _errors_in_words(record), Image.open(path) as picture:
        turned = _check_size(picture, record, path)
        return PictureFile(path=path, format=picture.format, mode=picture.mode, turned=turned)


def picture_record(root: Path, image: str) -> Record:
    """Return a record without objects of a picture that no record describes, sized by its header.

    Raises:
        RecordError: If it is missing, outside the folder, or no picture.
    """
    unsized = Record(images=(image,), width=1, height=1, objects=())
    path = _picture_path(root, unsized)
    with _errors_in_words(unsized), Image.open(path) as picture:
        width, height, _ = _upright_size(picture, path)
    return Record(images=(image,), width=width, height=height, objects=())


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
        _check_size(picture, record, path)
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


def _check_size(picture: Image.Image, record: Record, path: Path) -> bool:
    """Check the size before a pixel is decoded, and return whether the picture must be turned."""
    width, height, turn = _upright_size(picture, path)
    note = f" upright (EXIF orientation {turn})" if turn in _LYING else ""
    wide, high = record.file_size
    if (width, height) != (wide, high):
        raise PictureSizeError(
            f"images[0]: {record.image!r} has {width}x{height} pixels{note}, the record says "
            f"{wide}x{high}"
        )
    return turn in range(2, 9)


def _upright_size(picture: Image.Image, path: Path) -> tuple[int, int, int]:
    """Return width and height after the EXIF orientation is applied, and the orientation."""
    width, height = picture.size
    # Pillow decodes a PNG whose header says nothing, because it may say something after its pixels.
    is_said = picture.format == "PNG" and not _has_late_notes(path)
    exif = Image.Image.getexif(picture) if is_said else picture.getexif()
    turn = exif.get(0x0112, 1)
    return (height, width, turn) if turn in _LYING else (width, height, turn)


def _has_late_notes(path: Path) -> bool:
    """Return whether a PNG has chunks of text or EXIF data behind its pixels."""
    with path.open("rb") as file:
        file.seek(_PNG_START_BYTES)
        behind = False
        while len(head := file.read(8)) == 8:  # noqa: PLR2004 - size and kind of a chunk
            size, kind = struct.unpack(">I4s", head)
            behind = behind or kind == b"IDAT"
            if behind and kind in _PNG_NOTES:
                return True
            file.seek(size + 4, os.SEEK_CUR)  # its data and checksum
    return False


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
