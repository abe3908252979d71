"""Every violation of one record, in the order in which it is read.

`record_faults` is lazy: who reads raises the first fault and looks for no other
(`coordexp.data.contract.record.parse_record`), an audit takes them all. A new key of the contract
is a row of `_FAULTS`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Set
from typing import cast

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract import rules
from coordexp.data.contract.faults import Fault
from coordexp.data.contract.federated import federated_faults
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS
from coordexp.data.contract.json_line import encode_row
from coordexp.data.contract.marks import MARK_KEYS
from coordexp.data.contract.objects import EXACT_SUFFIX, object_faults
from coordexp.data.contract.sizes import is_size, resized_faults, size_faults
from coordexp.data.contract.special_tokens import special_token_faults
from coordexp.data.contract.text import path_faults, unicode_faults

Row = Mapping[str, object]


def record_faults(data: object, alphabet: CoordAlphabet) -> Iterator[Fault]:
    """Yield every violation of a decoded JSON line, one by one, as they are looked for.

    One hides no other: where a size is wrong, what can be said of pixels without it is said.
    """
    if not isinstance(data, dict):
        yield Fault(rules.NOT_A_RECORD, f"expected a JSON object, got {shown(data)}")
        return
    yield from key_faults(data, RECORD_KEYS, alphabet)


def key_faults(
    data: Mapping[str, object], keys: Set[str], alphabet: CoordAlphabet
) -> Iterator[Fault]:
    """Yield every violation of some of a record's keys."""
    for key, faults in _FAULTS.items():
        if key in keys:
            yield from faults(data, key, alphabet)


def _image_faults(data: Row, key: str, _: CoordAlphabet) -> Iterator[Fault]:
    images = data.get(key)
    if not isinstance(images, list) or not images:
        message = f"images: expected a list with one relative path, got {shown(images)}"
        yield Fault(rules.IMAGES, message)
    elif len(images) != 1:
        yield Fault(rules.IMAGES, f"images: one image a record for now, got {len(images)}")
    else:
        yield from path_faults(images[0])


def _size_faults(data: Row, key: str, _: CoordAlphabet) -> Iterator[Fault]:
    yield from size_faults(data.get(key), key, rules.SIZE)


def _objects_faults(data: Row, key: str, alphabet: CoordAlphabet) -> Iterator[Fault]:
    rows = data.get(key)
    if not isinstance(rows, list):
        message = f"objects: expected a list (empty is fine), got {shown(rows)}"
        yield Fault(rules.OBJECTS, message)
        return
    width, height = _known_size(data.get("width")), _known_size(data.get("height"))
    for index, row in enumerate(rows):
        for fault in object_faults(row, width, height, alphabet):
            yield fault._replace(obj=index)


def _known_size(value: object) -> float:
    """Return a usable size; where it is wrong itself, every positive pixel counts as inside."""
    return cast("int", value) if is_size(value) else math.inf


def _text_faults(data: Row, key: str, _: CoordAlphabet) -> Iterator[Fault]:
    value = data.get(key)
    if isinstance(value, str):
        yield from unicode_faults(key, value, rules.TEXT)
    elif value is not None:
        yield Fault(rules.TEXT, f"{key}: expected text, got {shown(value)}")


def _prompt_faults(data: Row, key: str, alphabet: CoordAlphabet) -> Iterator[Fault]:
    yield from _text_faults(data, key, alphabet)
    value = data.get(key)
    if isinstance(value, str):
        yield from special_token_faults(key, value, alphabet)


def _metadata_faults(data: Row, key: str, _: CoordAlphabet) -> Iterator[Fault]:
    value = data.get(key)
    if value is None:
        return
    if not isinstance(value, dict):
        yield Fault(rules.METADATA, f"metadata: expected an object, got {shown(value)}")
        return
    try:  # what is kept must be writable again
        encode_row(value)
    except (TypeError, ValueError, RecursionError) as error:
        yield Fault(rules.METADATA, f"metadata: cannot be written as JSON: {error}")


def _resized_faults(data: Row, key: str, _: CoordAlphabet) -> Iterator[Fault]:
    yield from resized_faults(data.get(key))


def _federated_faults(data: Row, key: str, _: CoordAlphabet) -> Iterator[Fault]:
    yield from federated_faults(data.get(key))


# Every key of a record, in the order in which they are read, and what finds its faults.
_FAULTS: Mapping[str, Callable[[Row, str, CoordAlphabet], Iterator[Fault]]] = {
    "images": _image_faults,
    "width": _size_faults,
    "height": _size_faults,
    "objects": _objects_faults,
    "prompt": _prompt_faults,
    "summary": _text_faults,
    "metadata": _metadata_faults,
    "resized": _resized_faults,
    "federated": _federated_faults,
}
RECORD_KEYS = frozenset(_FAULTS)
# The last two are what `annotate_coord_tokens` caches; reading looks at neither.
_SUFFIXES = ("", EXACT_SUFFIX, "_coord_ints", "_coord_tokens")
OBJECT_KEYS = frozenset(
    ("desc", *MARK_KEYS, *(kind + suffix for kind in GEOMETRY_KINDS for suffix in _SUFFIXES))
)
