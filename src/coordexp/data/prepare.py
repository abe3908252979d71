"""From pixel records to tokenised records, the form that training reads.

The exact pixels are kept beside the tokens, under `<kind>_px`, so that evaluation compares with the
annotation and not with its quantised form. Images are neither read nor resized here.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.geometry import Geometry, bounding_box
from coordexp.data.jsonl import RecordFile, write_jsonl
from coordexp.data.record import Record, RecordObject, record_to_json
from coordexp.errors import InputError


@dataclass(frozen=True, slots=True)
class PreparedCounts:
    """What one file became.

    Args:
        records: Lines read and written.
        objects: Objects in them.
        already_tokens: Objects that held coord tokens before.
        flat: Boxes so thin that two of their sides share a bin.
    """

    records: int
    objects: int
    already_tokens: int
    flat: int


def tokenise_record(record: Record, alphabet: CoordAlphabet = SPEC_ALPHABET) -> Record:
    """Return the record with every geometry in bins and the pixels it came from in `exact`.

    Objects that hold bins already stay as they are.

    Raises:
        RecordError: If a pixel lies outside the image.
    """
    objects = tuple(
        _tokenise(item, record.width, record.height, alphabet) for item in record.objects
    )
    return replace(record, objects=objects)


def prepare_file(src: Path, dst: Path, alphabet: CoordAlphabet = SPEC_ALPHABET) -> PreparedCounts:
    """Write the tokenised form of a JSONL file, whole or not at all, and return what it holds.

    Image paths are rewritten to be relative to the folder of `dst`. As they never climb, that
    folder must be the folder of `src` or one above it.

    Raises:
        InputError: If a file cannot be read or written, if `dst` is `src`, or if an image lies
            outside the folder of `dst`.
        RecordError: If a record breaks the contract; it names file, line and object.
    """
    if os.path.realpath(src) == os.path.realpath(dst):
        raise InputError(f"{dst}: would overwrite the file that it is made from")
    prefix = _image_prefix(src, dst)
    totals = [0, 0, 0, 0]

    def rows() -> Iterator[dict[str, object]]:
        for record in RecordFile(src, alphabet):
            images = tuple((prefix / image).as_posix() for image in record.images)
            tokenised = replace(tokenise_record(record, alphabet), images=images)
            for slot, count in enumerate(_counts(record, tokenised)):
                totals[slot] += count
            yield record_to_json(tokenised, alphabet)

    write_jsonl(dst, rows())
    return PreparedCounts(*totals)


def _tokenise(item: RecordObject, width: int, height: int, alphabet: CoordAlphabet) -> RecordObject:
    if item.geometry.unit == "bin":
        return item
    bins = item.geometry.to_bins(width, height, alphabet)
    geometry = Geometry(kind=item.geometry.kind, values=bins, unit="bin")
    return replace(item, geometry=geometry, exact=item.geometry)


def _image_prefix(src: Path, dst: Path) -> PurePosixPath:
    # Not Path.resolve(): a loop of links is a RuntimeError there, and left for open() to tell here.
    root, home = Path(os.path.realpath(src.parent)), Path(os.path.realpath(dst.parent))
    try:
        return PurePosixPath(root.relative_to(home))
    except ValueError:
        raise InputError(
            f"{dst}: the images lie outside its folder, at {os.path.relpath(root, home)}; write to "
            f"{root} or a folder above it"
        ) from None


def _counts(record: Record, tokenised: Record) -> tuple[int, int, int, int]:
    already = sum(item.geometry.unit == "bin" for item in record.objects)
    flat = sum(_is_flat(item.geometry) for item in tokenised.objects)
    return 1, len(record.objects), already, flat


def _is_flat(geometry: Geometry) -> bool:
    x1, y1, x2, y2 = bounding_box(geometry.values)
    return geometry.kind == "bbox_2d" and (x1 == x2 or y1 == y2)
