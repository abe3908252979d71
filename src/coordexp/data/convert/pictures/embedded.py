"""Pictures inside their annotation files, as labelme's `imageData`."""

import base64
import binascii
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

from PIL import Image

from coordexp.data.convert.pictures.finding import MISSING, FoundPicture, find_picture, upright_size
from coordexp.data.convert.pictures.lookup import NO_PATH, OUTSIDE, Lookup
from coordexp.data.convert.reading.shapes import EmbeddedPicture, SourcePicture, UnusableError

_NOWHERE = (MISSING, NO_PATH, OUTSIDE)
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}
_PACKED = (
    "a picture that is only inside its annotation file (imageData): --copy-images writes it out"
)


@dataclass(frozen=True, slots=True)
class UnpackedPicture:
    """A picture that has no file yet.

    Args:
        name: What its file is to be called, a relative path.
        content: The bytes of the file.
    """

    name: PurePosixPath
    content: bytes


def locate_picture(
    lookup: Lookup, picture: SourcePicture, *, unpack: bool
) -> FoundPicture | UnpackedPicture:
    """Return a picture's file, or what is embedded where there is no file.

    Raises:
        UnusableError: If it is nowhere or not clear, or only embedded and `unpack` is false.
    """
    try:
        return find_picture(lookup, picture)
    except UnusableError as error:
        if picture.embedded is None or error.reason not in _NOWHERE:
            raise
        if not unpack:
            raise UnusableError(_PACKED) from None
    return _unpacked(picture.embedded)


def size_of(picture: FoundPicture | UnpackedPicture) -> tuple[int, int]:
    """Return the upright width and height.

    Raises:
        UnusableError: If it is no picture.
    """
    if isinstance(picture, FoundPicture):
        return upright_size(picture.path)
    return upright_size(BytesIO(picture.content))


def _unpacked(picture: EmbeddedPicture) -> UnpackedPicture:
    try:
        content = base64.b64decode(picture.data, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableError("an embedded picture (imageData) that is no base64") from None
    upright_size(BytesIO(content))
    with Image.open(BytesIO(content)) as opened:
        kind = opened.format or "PNG"
    suffix = _SUFFIXES.get(kind, f".{kind.lower()}")
    return UnpackedPicture(picture.name.with_name(picture.name.name + suffix), content)
