"""Finding a dataset's image files and their sizes; nothing outside their folder is opened."""

import filecmp
import os
import struct
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path, PurePosixPath

from PIL import Image

from coordexp.data.convert.pictures.lookup import OUTSIDE, Lookup, Match, fold_case
from coordexp.data.convert.reading.shapes import SourcePicture, UnusableError, whole_pixels
from coordexp.errors import InputError

PICTURE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
FOREIGN_SUFFIXES = frozenset(
    {
        *(".arw", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".heic", ".heif", ".jxl", ".nef"),
        *(".orf", ".pfm", ".psd", ".raw", ".rw2", ".svg"),
    }
)
"""Pictures that Pillow does not open by itself."""

_ANNOTATION_SUFFIXES = frozenset(
    (".csv", ".gz", ".json", ".jsonl", ".txt", ".xml", ".yaml", ".yml")
)

MISSING = "a picture that is missing"
SPELLED = "a picture path that is spelled otherwise than its file (case, blanks, %20, Unicode form)"
BY_STEM = "a picture name that belongs to another annotation file: paired by the file's own name"
_UNNAMED = "an entry that names no picture"
_SEVERAL = "a picture name that fits several files"
_TWO_NAMES = "two pictures: the one that it names, and one that is called like itself"
_TAKEN = "a picture that belongs to another annotation file, which is called like it"
_FOREIGN = "a picture of a format that is not read"

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
)
_ORIENTATION = 0x0112
_SAMPLE = 20
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class FoundPicture:
    """A picture's file.

    Args:
        path: Where it really is, links resolved.
        notes: What is worth telling about the way there.
    """

    path: Path
    notes: tuple[str, ...] = ()


def find_picture(lookup: Lookup, picture: SourcePicture) -> FoundPicture:
    """Return the file of a picture.

    It is the file of its name. Where the annotations are one file for each picture, theirs is the
    picture that is called like them: it stands in where the name leads nowhere, or to the picture
    of another annotation file. If name and file lead to two pictures otherwise, nobody knows.

    Raises:
        UnusableError: If it is nowhere, outside the lookup's root, or not clear.
    """
    named, refusal = _by_name(lookup, picture)
    if picture.stem is not None:
        return _checked_by_stem(lookup, picture, picture.stem, named, refusal)
    if named is None:
        raise refusal
    return named


def _checked_by_stem(
    lookup: Lookup,
    picture: SourcePicture,
    stem: str,
    named: FoundPicture | None,
    refusal: UnusableError,
) -> FoundPicture:
    if named is None:
        return FoundPicture(_by_stem(lookup, picture.folders, stem, refusal))
    folder, other = named.path.parent, fold_case(named.path.stem)
    if other == fold_case(stem):
        return named
    if other in picture.rivals:
        taken = UnusableError(_TAKEN, detail=named.path.name)
        return FoundPicture(_by_stem(lookup, (folder,), stem, taken), (BY_STEM,))
    own = lookup.find(folder, stem, PICTURE_SUFFIXES).paths
    if own:
        raise UnusableError(_TWO_NAMES, detail=_listed((named.path, *own)))
    return named


def _by_name(lookup: Lookup, picture: SourcePicture) -> tuple[FoundPicture | None, UnusableError]:
    """Return the file of the first name that leads to one, and why there is none otherwise."""
    refusal = UnusableError(MISSING if picture.names or picture.stem else _UNNAMED)
    likely: Match | None = None
    for name, folder in product(picture.names, picture.folders):
        try:
            match = _picture_match(lookup, folder, name)
        except UnusableError as error:
            refusal = refusal if refusal.reason == OUTSIDE else error
            continue
        if match.exact and len(match.paths) == 1:
            return FoundPicture(match.paths[0]), refusal
        likely = likely or (match if match.paths else None)
    if likely is None:
        return None, refusal
    if len(likely.paths) > 1:
        raise UnusableError(_SEVERAL, detail=_listed(likely.paths))
    return FoundPicture(likely.paths[0], (SPELLED,)), refusal


def _picture_match(lookup: Lookup, folder: Path, name: str) -> Match:
    """Return what fits a name, which may lack its suffix or repeat the folder's own name."""
    suffix = PurePosixPath(name.strip()).suffix.lower()
    if suffix not in _ANNOTATION_SUFFIXES:  # tools exist that write the annotation's own name
        match = lookup.find(folder, name)
        if match.paths:
            return match
    if suffix not in PICTURE_SUFFIXES | FOREIGN_SUFFIXES | _ANNOTATION_SUFFIXES:
        match = lookup.find(folder, name.strip(), PICTURE_SUFFIXES)
        if match.paths:
            return match
    first, _, rest = name.replace("\\", "/").removeprefix("./").partition("/")
    if rest and fold_case(first) == fold_case(Path(os.path.realpath(folder)).name):
        return _picture_match(lookup, folder, rest)
    return Match()


def _by_stem(lookup: Lookup, folders: Sequence[Path], stem: str, refusal: UnusableError) -> Path:
    for folder in folders:
        paths = lookup.find(folder, stem, PICTURE_SUFFIXES).paths
        if len(paths) > 1:
            raise UnusableError(_SEVERAL, detail=_listed(paths))
        if paths:
            return paths[0]
    for folder in folders:
        if paths := lookup.find(folder, stem, FOREIGN_SUFFIXES).paths:
            raise UnusableError(_FOREIGN, detail=_listed(paths))
    raise refusal


def _listed(paths: Iterable[Path]) -> str:
    return " and ".join(dict.fromkeys(path.name for path in paths))


def upright_size(source: Path | BytesIO) -> tuple[int, int]:
    """Return width and height as a viewer shows the picture; its pixels are not decoded.

    Raises:
        UnusableError: If the file is no picture, or none that is opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(source) as picture:
                width, height = picture.size
                turned = picture.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        except Image.DecompressionBombError:
            raise UnusableError(_too_large()) from None
        except _BROKEN:
            raise UnusableError(_why_no_picture(source)) from None
    return (height, width) if turned else (width, height)


def _too_large() -> str:
    millions = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6  # Pillow warns at half of what it refuses
    return f"a picture larger than Pillow opens ({millions:.0f} million pixels)"


def _why_no_picture(source: Path | BytesIO) -> str:
    if isinstance(source, BytesIO):
        return "an embedded picture (imageData) that is none"
    try:
        with source.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError:
        return "a picture that may not be read"
    if start == _POINTER:
        return "a Git LFS pointer in the place of a picture: git lfs pull fetches it"
    nothing = "a file that is no picture" if start else "a picture file of 0 bytes"
    return _FOREIGN if source.suffix.lower() in FOREIGN_SUFFIXES else nothing


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
    """Return the folder that has most of the first names, or None if none has any.

    Raises:
        InputError: If two have as many, in files that differ.
    """
    best: Path | None = None
    most: dict[str, Path] = {}
    for folder in folders:
        for place in (
            [folder] if folder.is_dir() else Lookup(None).folders(folder.parent, folder.name)
        ):
            found = _found_in(place, names[:_SAMPLE])
            if len(found) > len(most):
                best, most = place, found
            elif most and len(found) == len(most):
                _check_same(best, most, place, found)
    return best


def _found_in(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    lookup = Lookup(folder)
    found = {}
    for name in names:
        with suppress(UnusableError):  # no path, or one of another machine
            if paths := _picture_match(lookup, folder, name).paths:
                found[name] = paths[0]
    return found


def _check_same(
    best: Path | None, most: Mapping[str, Path], place: Path, found: Mapping[str, Path]
) -> None:
    for name in most.keys() & found.keys():
        one, other = most[name], found[name]
        if one != other and not filecmp.cmp(one, other, shallow=False):
            raise InputError(
                f"the pictures may be in {best} or in {place}: {name!r} is in both, and differs; "
                "name their folder with --images"
            )
