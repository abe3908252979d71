"""The record: one image, its size, its objects.

One line of a JSONL file::

    {"images": ["images/1.jpg"], "width": 640, "height": 480,
     "objects": [{"desc": "cat", "bbox_2d": [10, 20.5, 300, 400]},
                 {"desc": "leash", "line": ["<|coord_1|>", "<|coord_2|>",
                                            "<|coord_500|>", "<|coord_500|>"]}]}

`docs/data-contract.md` is the contract in words. A value is checked here once and trusted
everywhere else. Keys that the contract does not know are neither an error nor kept.

`record_faults` yields everything that is wrong with a line; `parse_record` raises the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet, ints_to_tokens
from coordexp.data.contract.faults import raise_first
from coordexp.data.contract.federated import Federated, federated_to_json, parse_federated
from coordexp.data.contract.geometry import Geometry, parse_geometry
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, GeometryKind
from coordexp.data.contract.objects import (
    EXACT_SUFFIX,
    RecordObject,
    build_object,
    object_to_json,
)
from coordexp.data.contract.quick_look import quick_look
from coordexp.data.contract.record_faults import RECORD_KEYS, key_faults, record_faults
from coordexp.data.contract.sizes import LARGEST_SIZE_PX, is_size, parse_resized
from coordexp.data.contract.text import checked_image_path, is_plain_path

__all__ = [
    "EXACT_SUFFIX",
    "GEOMETRY_KINDS",
    "LARGEST_SIZE_PX",
    "Geometry",
    "GeometryKind",
    "Record",
    "RecordObject",
    "annotate_coord_tokens",
    "build_record",
    "checked_image_path",
    "object_to_json",
    "parse_geometry",
    "parse_record",
    "parse_resized",
    "record_faults",
    "record_to_json",
]

# Every key but those that each record has.
_OPTIONAL = RECORD_KEYS - {"images", "width", "height", "objects"}


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the data contract.

    Args:
        images: Paths relative to the JSONL file's folder; one image for now.
        width: Of the upright image, in pixels.
        height: Of the upright image, in pixels.
        objects: May be empty: an image without objects is valid.
        prompt: Overrides the configured user prompt.
        summary: Free text about the image.
        metadata: Anything else that is worth keeping, as JSON values.
        resized: Width and height of the picture's file, where `data prepare` made it smaller or
            larger. Everything else refers to `width` and `height`, the original's.
        federated: Which classes were searched for, where that was not all of them.
    """

    images: tuple[str, ...]
    width: int
    height: int
    objects: tuple[RecordObject, ...]
    prompt: str | None = None
    summary: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    resized: tuple[int, int] | None = None
    federated: Federated | None = None

    @property
    def taught(self) -> tuple[RecordObject, ...]:
        """The objects that the answer holds: no crowds, and none that are ignored."""
        return tuple([item for item in self.objects if item.marks.is_taught])

    @property
    def image(self) -> str:
        """The path of the only image."""
        return self.images[0]

    @property
    def file_size(self) -> tuple[int, int]:
        """Width and height of the picture as it is stored, upright."""
        return self.resized or (self.width, self.height)


def parse_record(data: object, alphabet: CoordAlphabet) -> Record:
    """Return the record that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract; it names the object.
    """
    record = _plain_record(data, alphabet)
    if record is None:
        raise_first(record_faults(data, alphabet))
        good = cast("dict[str, list[dict[str, object]]]", data)
        record = build_record(good, tuple([build_object(row, alphabet) for row in good["objects"]]))
    return record


def build_record(data: Mapping[str, object], objects: tuple[RecordObject, ...]) -> Record:
    """Return the record of JSON values in which `record_faults` has found nothing.

    Args:
        data: As decoded.
        objects: Those of `data["objects"]`, or the good ones among them.
    """
    return Record(
        images=tuple(cast("list[str]", data["images"])),
        width=cast("int", data["width"]),
        height=cast("int", data["height"]),
        objects=objects,
        prompt=cast("str | None", data.get("prompt")),
        summary=cast("str | None", data.get("summary")),
        metadata=cast("dict[str, object] | None", data.get("metadata")) or {},
        resized=parse_resized(data),
        federated=parse_federated(data),
    )


def record_to_json(record: Record, alphabet: CoordAlphabet) -> dict[str, object]:
    """Return the record as plain JSON values; `parse_record` of it is the record again."""
    row: dict[str, object] = {
        "images": list(record.images),
        "width": record.width,
        "height": record.height,
        "objects": [object_to_json(item, alphabet) for item in record.objects],
    }
    if record.resized is not None:
        row["resized"] = list(record.resized)
    if record.federated is not None:
        row["federated"] = federated_to_json(record.federated)
    if record.prompt is not None:
        row["prompt"] = record.prompt
    if record.summary is not None:
        row["summary"] = record.summary
    if record.metadata:
        row["metadata"] = dict(record.metadata)
    return row


def annotate_coord_tokens(
    record: Mapping[str, object],
    alphabet: CoordAlphabet = SPEC_ALPHABET,  # a public name: nothing in the project calls it
) -> dict[str, object]:
    """Return a copy of a raw record in which every object also holds its bins and its coord tokens.

    They are cached under `<kind>_coord_ints` and `<kind>_coord_tokens`; nothing else changes.

    Raises:
        RecordError: If the record breaks the contract.

    Example:
        >>> ruler = {"desc": "ruler", "line": [0, 0, 9, 9]}
        >>> row = {"images": ["a.png"], "width": 9, "height": 9, "objects": [ruler]}
        >>> annotate_coord_tokens(row)["objects"][0]["line_coord_ints"]
        [0, 0, 999, 999]
    """
    data = dict(record)
    parsed = parse_record(data, alphabet)
    rows = cast("list[dict[str, object]]", data["objects"])  # parse_record has just seen to it
    annotated = []
    for row, item in zip(rows, parsed.objects, strict=True):
        kind = item.geometry.kind
        bins = item.geometry.to_bins(parsed.width, parsed.height, alphabet)
        cached = {
            f"{kind}_coord_ints": list(bins),
            f"{kind}_coord_tokens": list(ints_to_tokens(bins, alphabet)),
        }
        annotated.append({**row, **cached})
    return {**data, "objects": annotated}


def _plain_record(data: object, alphabet: CoordAlphabet) -> Record | None:
    """Return a record that is seen to be good at once; None of one that needs the full check."""
    if type(data) is not dict or not _has_plain_frame(data):
        return None
    width, height, image = data["width"], data["height"], data["images"][0]
    look = quick_look(alphabet).good_object
    objects = tuple([look(row, width, height) for row in data["objects"]])
    if not all(objects):  # not `None in objects`, which would compare it with each of them
        return None
    good = cast("tuple[RecordObject, ...]", objects)
    optional = _OPTIONAL & data.keys()
    if not optional:
        return Record((image,), width, height, good)
    return None if any(key_faults(data, optional, alphabet)) else build_record(data, good)


def _has_plain_frame(data: Mapping[str, object]) -> bool:
    """Return whether what every record has surely is good, but for what is in its objects."""
    images = data.get("images")
    return (
        type(images) is list
        and len(images) == 1
        and is_plain_path(images[0])
        and is_size(data.get("width"))
        and is_size(data.get("height"))
        and type(data.get("objects")) is list
    )
