"""The assistant's answer: every object of the scene as one JSON object, and its exact inverse.

::

    {"object_1": {"desc": "cat", "bbox_2d": ["<|coord_12|>", "<|coord_34|>", ...]},
     "object_2": {"desc": "leash", "line": [...]}}

on one line, keys in the order of the objects. The text baseline writes bins as plain integers,
`[12, 34, 56, 78]`. `parse_answer` accepts exactly what `render_answer` writes and nothing else;
what a model wrote is read by `coordexp.answers.parse`, which salvages what it can.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from coordexp.coord_tokens.codec import CoordAlphabet, contains_coord_token, ints_to_tokens
from coordexp.data.contract.record import GEOMETRY_KINDS, Geometry, RecordObject, parse_geometry
from coordexp.errors import RecordError

JsonFormat = Literal["standard", "compact"]

# The separators between items, and between a key and its value.
SEPARATORS: Mapping[JsonFormat, tuple[str, str]] = {
    "standard": (", ", ": "),
    "compact": (",", ":"),
}

# All that stands behind a backslash in a desc.
ESCAPES = frozenset(json.dumps(chr(code))[1:-1] for code in [*range(0x20), ord('"'), ord("\\")])


def render_answer(
    objects: Sequence[RecordObject],
    width: int,
    height: int,
    *,
    alphabet: CoordAlphabet,
    json_format: JsonFormat,
    coord_tokens: bool,
) -> str:
    """Return the assistant's text for a scene; `{}` for a scene without objects.

    Args:
        objects: In the order of the answer.
        width: Of the image that pixel geometries refer to.
        height: Of the same image.
        alphabet: Number and spelling of the bins.
        json_format: `standard` puts a space after each comma and colon, `compact` does not.
        coord_tokens: Whether a bin is written as a coord token, or as a plain integer.

    Raises:
        RecordError: If a geometry does not fit the image or the alphabet; it names the object.
    """
    pairs = []
    for index, item in enumerate(objects):
        try:
            bins = item.geometry.to_bins(width, height, alphabet)
            tokens = ints_to_tokens(bins, alphabet)
        except RecordError as error:
            raise RecordError(error.message, obj=index) from None
        pairs.append((item.desc, item.geometry.kind, tokens if coord_tokens else bins))
    scene = {
        f"object_{number}": {"desc": desc, kind: values}
        for number, (desc, kind, values) in enumerate(pairs, start=1)
    }
    return json.dumps(scene, ensure_ascii=False, separators=SEPARATORS[json_format])


def parse_answer(
    text: str, *, alphabet: CoordAlphabet, coord_tokens: bool
) -> list[tuple[str, Geometry]]:
    """Return the descriptions and geometries, in bins, of a rendered answer in either JSON format.

    Raises:
        RecordError: If `render_answer` could not have written the text; it names the object.
    """
    try:
        # Objects become tuples of pairs, so that a key given twice is seen; arrays stay lists.
        scene = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not a rendered answer: {error}") from None
    if not isinstance(scene, tuple):
        raise RecordError("not a rendered answer: expected one JSON object")
    parsed = []
    for index, (key, entry) in enumerate(scene):
        try:
            parsed.append(_parse_entry(key, entry, index + 1, alphabet, coord_tokens=coord_tokens))
        except RecordError as error:
            raise RecordError(error.message, obj=index) from None
    _check_spelling(text, parsed, alphabet, coord_tokens=coord_tokens)
    return parsed


def _parse_entry(
    key: str, entry: object, number: int, alphabet: CoordAlphabet, *, coord_tokens: bool
) -> tuple[str, Geometry]:
    if key != f"object_{number}":
        raise RecordError(f"expected the key 'object_{number}', got {key!r}")
    match entry:
        case (("desc", str(desc)), (kind, list(values))) if kind in GEOMETRY_KINDS and desc.strip():
            pass
        case _:
            kinds = ", ".join(GEOMETRY_KINDS)
            raise RecordError(f"expected a desc that is not empty, then one of {kinds}")
    if contains_coord_token(desc, alphabet):
        raise RecordError("desc: coord tokens belong into a geometry")
    if not coord_tokens:
        if not all(type(value) is int for value in values):
            raise RecordError(f"{kind}: expected plain integers")
        values = list(ints_to_tokens(values, alphabet))
    geometry = parse_geometry(kind, values, 1, 1, alphabet)
    if geometry.unit != "bin":
        raise RecordError(f"{kind}: expected coord tokens, got numbers")
    return desc, geometry


def _check_spelling(
    text: str,
    parsed: Sequence[tuple[str, Geometry]],
    alphabet: CoordAlphabet,
    *,
    coord_tokens: bool,
) -> None:
    objects = [RecordObject(desc=desc, geometry=geometry) for desc, geometry in parsed]
    for json_format in SEPARATORS:
        rendered = render_answer(
            objects, 1, 1, alphabet=alphabet, json_format=json_format, coord_tokens=coord_tokens
        )
        if text == rendered:
            return
    raise RecordError("not a rendered answer: spaces or escapes differ from both JSON formats")
