"""The record: one image, its size, its objects.

One line of a JSONL file::

    {"images": ["images/1.jpg"], "width": 640, "height": 480,
     "objects": [{"desc": "cat", "bbox_2d": [10, 20.5, 300, 400]},
                 {"desc": "leash", "line": ["<|coord_1|>", "<|coord_2|>",
                                            "<|coord_500|>", "<|coord_500|>"]}]}

`docs/data-contract.md` is the contract in words. A value is checked here once and trusted
everywhere else. Keys that the contract does not know are neither an error nor kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from coordexp.coord_tokens.codec import (
    SPEC_ALPHABET,
    CoordAlphabet,
    common_spelling,
    contains_coord_token,
    ints_to_tokens,
)
from coordexp.data.contract.federated import Federated, federated_to_json, parse_federated
from coordexp.data.contract.geometry import (
    GEOMETRY_KINDS,
    Geometry,
    GeometryKind,
    parse_geometry,
    shown,
)
from coordexp.data.contract.marks import NO_MARKS, Marks, marks_to_json, parse_marks
from coordexp.data.contract.sizes import LARGEST_SIZE_PX, checked_size, parse_resized
from coordexp.data.contract.special_tokens import check_no_special_token
from coordexp.data.contract.text import check_unicode, checked_image_path
from coordexp.errors import RecordError

__all__ = [
    "EXACT_SUFFIX",
    "GEOMETRY_KINDS",
    "LARGEST_SIZE_PX",
    "Geometry",
    "GeometryKind",
    "Record",
    "RecordObject",
    "annotate_coord_tokens",
    "checked_image_path",
    "object_to_json",
    "parse_geometry",
    "parse_record",
    "parse_resized",
    "record_to_json",
]

EXACT_SUFFIX = "_px"
_BARE_KEYS = 2  # a desc and a geometry


@dataclass(frozen=True, slots=True)
class RecordObject:
    """One thing in the image.

    Args:
        desc: What it is, in words; never empty.
        geometry: Where it is.
        exact: The unquantised pixels, where `geometry` holds bins and the original was kept.
        marks: Whether it is taught, and how figures count it.
    """

    desc: str
    geometry: Geometry
    exact: Geometry | None = None
    marks: Marks = NO_MARKS

    @property
    def best_geometry(self) -> Geometry:
        """The exact geometry where there is one, else the only one."""
        return self.exact or self.geometry


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


def parse_record(data: object, alphabet: CoordAlphabet = SPEC_ALPHABET) -> Record:
    """Return the record that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract; it names the object.
    """
    if not isinstance(data, dict):
        raise RecordError(f"expected a JSON object, got {shown(data)}")
    images, width, height = _images(data), _size(data, "width"), _size(data, "height")
    rows = data.get("objects")
    if not isinstance(rows, list):
        raise RecordError(f"objects: expected a list (empty is fine), got {shown(rows)}")
    objects = []
    token_start = common_spelling(alphabet)
    for index, row in enumerate(rows):
        try:
            objects.append(_object(row, width, height, alphabet, token_start))
        except RecordError as error:
            raise RecordError(error.message, obj=index) from None
    prompt = _optional_text(data, "prompt")
    if prompt is not None:
        check_no_special_token("prompt", prompt, alphabet)
    return Record(
        images=images,
        width=width,
        height=height,
        objects=tuple(objects),
        prompt=prompt,
        summary=_optional_text(data, "summary"),
        metadata=_metadata(data),
        resized=parse_resized(data),
        federated=parse_federated(data),
    )


def record_to_json(record: Record, alphabet: CoordAlphabet = SPEC_ALPHABET) -> dict[str, object]:
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


def object_to_json(
    item: RecordObject, alphabet: CoordAlphabet = SPEC_ALPHABET
) -> dict[str, object]:
    """Return one object as plain JSON values."""
    row: dict[str, object] = {
        "desc": item.desc,
        item.geometry.kind: _values_to_json(item.geometry, alphabet),
    }
    if item.exact is not None:
        row[item.exact.kind + EXACT_SUFFIX] = list(item.exact.values)
    return row if item.marks is NO_MARKS else {**row, **marks_to_json(item.marks)}


def annotate_coord_tokens(
    record: Mapping[str, object], alphabet: CoordAlphabet = SPEC_ALPHABET
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


def _values_to_json(geometry: Geometry, alphabet: CoordAlphabet) -> list[float] | list[str]:
    if geometry.unit == "px":
        return list(geometry.values)
    return list(ints_to_tokens((int(value) for value in geometry.values), alphabet))


def _images(data: dict[str, object]) -> tuple[str, ...]:
    images = data.get("images")
    if not isinstance(images, list) or not images:
        raise RecordError(f"images: expected a list with one relative path, got {shown(images)}")
    if len(images) != 1:
        raise RecordError(f"images: one image a record for now, got {len(images)}")
    return (checked_image_path(images[0]),)


def _size(data: dict[str, object], key: str) -> int:
    return checked_size(data.get(key), key)


def _optional_text(data: dict[str, object], key: str) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RecordError(f"{key}: expected text, got {shown(value)}")
    check_unicode(key, value)
    return value


def _metadata(data: dict[str, object]) -> Mapping[str, object]:
    value = data.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RecordError(f"metadata: expected an object, got {shown(value)}")
    try:  # what is kept must be writable again
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"metadata: cannot be written as JSON: {error}") from None
    return value


def _object(
    row: object, width: int, height: int, alphabet: CoordAlphabet, token_start: str
) -> RecordObject:
    if not isinstance(row, dict):
        raise RecordError(f"expected an object with desc and a geometry, got {shown(row)}")
    desc = _desc(row.get("desc"), alphabet, token_start)
    kinds = [kind for kind in GEOMETRY_KINDS if kind in row]
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else "none of them"
        raise RecordError(f"exactly one of {', '.join(GEOMETRY_KINDS)}; got {got}")
    kind = kinds[0]
    geometry = parse_geometry(kind, row[kind], width, height, alphabet)
    if len(row) == _BARE_KEYS:  # nearly every object; looking for the other keys takes longer
        return RecordObject(desc, geometry)
    marks = parse_marks(row)
    if kind + EXACT_SUFFIX not in row:
        return RecordObject(desc, geometry, None, marks)
    exact = parse_geometry(kind, row[kind + EXACT_SUFFIX], width, height, alphabet)
    _check_exact(geometry, exact, width, height, alphabet)
    return RecordObject(desc, geometry, exact, marks)


def _desc(desc: object, alphabet: CoordAlphabet, token_start: str) -> str:
    if not isinstance(desc, str) or not desc.strip():
        raise RecordError(f"desc: expected text that is not empty, got {shown(desc)}")
    check_unicode("desc", desc)
    if token_start in desc and contains_coord_token(desc, alphabet):
        raise RecordError(f"desc: coord tokens belong into a geometry, got {shown(desc)}")
    check_no_special_token("desc", desc, alphabet)
    return desc


def _check_exact(
    geometry: Geometry, exact: Geometry, width: int, height: int, alphabet: CoordAlphabet
) -> None:
    key = geometry.kind + EXACT_SUFFIX
    if exact.unit != "px":
        raise RecordError(f"{key}: expected pixel numbers, got coord tokens")
    if geometry.unit != "bin":
        raise RecordError(f"{key}: stands beside coord tokens only; {geometry.kind} holds pixels")
    bins = exact.to_bins(width, height, alphabet)
    pairs = zip(geometry.values, bins, strict=False)
    if len(bins) != len(geometry.values) or any(abs(a - b) > 1 for a, b in pairs):
        raise RecordError(f"{key}: differs from {geometry.kind} by more than one bin")
