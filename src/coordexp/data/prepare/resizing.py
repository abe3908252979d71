"""Writing a record's picture at the size that the model looks at."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from coordexp.data.contract.record import Record
from coordexp.data.files.image import PictureFile, check_image, find_image, load_image
from coordexp.errors import RecordError
from coordexp.families.picture_grid import PictureGrid, smart_resize
from coordexp.files import LONGEST_NAME_BYTES, unfinished_path, whole_file

JPEG_QUALITY = 95
_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",)}
_JPEG_FORMATS = ("JPEG", "MPO")
_PLAIN_MODES = ("RGB", "L")


@dataclass(frozen=True, slots=True)
class ResizedPicture:
    """What became of one picture.

    Args:
        path: Relative to the folder of written pictures.
        size: Its width and height.
        fate: `resized`, `copied`, or `there already` for another record with the same picture.
        changes: Other things that were done to it, in words.
    """

    path: str
    size: tuple[int, int]
    fate: str
    changes: tuple[str, ...] = ()


def write_resized(root: Path, record: Record, folder: Path, grid: PictureGrid) -> ResizedPicture:
    """Write a record's picture, upright, as 8-bit RGB, at its smart size.

    JPEG stays JPEG, everything else becomes PNG. A file that needs no change at all is copied byte
    by byte. Several records may have the same picture; it is written once.

    Raises:
        RecordError: If the picture cannot be read, is of another size than the record says, or is
            too thin.
    """
    if record.resized is not None:
        raise RecordError("resized: the picture was resized before; start from the original")
    size = smart_resize(record.width, record.height, grid)
    source = find_image(root, record)
    kind = "JPEG" if source.format in _JPEG_FORMATS else "PNG"
    path = _written_path(root, record.image, kind)
    target = folder / path
    if target.exists():
        return ResizedPicture(path, size, "there already")
    # Beside the folder: what a kill leaves half-written is not delivered with it.
    partial = unfinished_path(folder.with_name(target.name), before=f".{os.getpid()}.")
    changes = tuple(_changes(source))
    fate = "resized"
    if size == (record.width, record.height) and not changes:
        check_image(root, record)
        with source.path.open("rb") as file, whole_file(target, unfinished=partial) as out:
            shutil.copyfileobj(file, out)
        fate = "copied"
    else:
        image = load_image(root, record)
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        with whole_file(target, unfinished=partial) as out:
            image.save(out, kind, **({"quality": JPEG_QUALITY} if kind == "JPEG" else {}))
    return ResizedPicture(path, size, fate, changes)


def _changes(source: PictureFile) -> Iterator[str]:
    if source.format not in ("JPEG", "PNG"):
        yield f"from {source.format} to {'JPEG' if source.format in _JPEG_FORMATS else 'PNG'}"
    if source.turned:
        yield "turned upright (EXIF)"
    if source.mode not in _PLAIN_MODES:
        yield f"from {source.mode} pixels to RGB"


def _written_path(root: Path, image: str, kind: str) -> str:
    """Return the picture's path, with the suffix of the written format behind it where needed."""
    path = PurePosixPath(image)
    if path.suffix.lower() in _SUFFIXES[kind]:
        return path.as_posix()
    longer = path.with_name(path.name + _SUFFIXES[kind][0])
    if len(os.fsencode(longer.name)) > LONGEST_NAME_BYTES:
        raise RecordError(
            f"images[0]: {image!r} would be written as {longer.suffix[1:].upper()}, for which its "
            "name is too long; give it a shorter one"
        )
    if (root / longer).exists():
        raise RecordError(
            f"images[0]: {image!r} would be written as {longer.name}, which stands beside it; "
            "rename one of them"
        )
    return longer.as_posix()
