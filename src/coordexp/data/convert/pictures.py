"""Finding a dataset's image files and their sizes; nothing outside their folder is opened."""

import os
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

from PIL import Image

from coordexp.data.convert.source import SourcePicture, UnusableError, whole_pixels

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_BROKEN = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
_ORIENTATION = 0x0112
_SAMPLE = 20


def find_picture(root: Path, picture: SourcePicture) -> Path:
    """Return the real path of a picture's file.

    Raises:
        UnusableError: If it is nowhere, or outside `root`, through links either.
    """
    real_root = os.path.realpath(root)
    climbs = False
    for name in picture.names:
        if not is_inside_by_spelling(name):
            climbs = True
            continue
        for folder in picture.folders:
            path = Path(os.path.realpath(folder / name.replace("\\", "/")))
            if not path.is_relative_to(real_root):
                climbs = True
            elif os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on too long names
                return path
    if climbs:
        raise UnusableError("a picture path that leads out of the folder of the pictures")
    raise UnusableError("a picture that is missing")


def is_inside_by_spelling(name: str) -> bool:
    """Return whether a name can be a path below some folder: not empty, absolute or unreadable."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return bool(name.strip()) and "\0" not in name and not PureWindowsPath(name).anchor


def upright_size(path: Path) -> tuple[int, int]:
    """Return width and height as a viewer shows the picture; its pixels are not decoded.

    Raises:
        UnusableError: If the file is no picture.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as picture:
                width, height = picture.size
                turned = picture.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        except _BROKEN:
            raise UnusableError("a file that is no picture") from None
    return (height, width) if turned else (width, height)


def check_stated_size(picture: SourcePicture, size: tuple[int, int]) -> None:
    """Check the file's upright size against the annotation, where that states one.

    Raises:
        UnusableError: If they disagree; then nobody knows what the coordinates mean.
    """
    width, height = size
    stated = (whole_pixels(picture.width) or width, whole_pixels(picture.height) or height)
    if stated == size:
        return
    if stated == (height, width):
        raise UnusableError(
            "a picture annotated on its side: the annotation has width and height exchanged, "
            "as before an EXIF orientation"
        )
    raise UnusableError("a picture of another size than its annotation says")


def likeliest_folder(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """Return the first folder that has most of the first names, or None if none has any."""
    sample = [name for name in names if is_inside_by_spelling(name)][:_SAMPLE]
    best, best_count = None, 0
    for folder in folders:
        count = sum(os.path.isfile(folder / name) for name in sample)  # noqa: PTH113 - as above
        if count > best_count:
            best, best_count = folder, count
    return best
