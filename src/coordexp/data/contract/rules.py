"""Every violation by name, with what to do about it: the table that `data check` shows.

Warnings, which the contract allows, stand where they are guessed: in `coordexp.data.audit`.
"""

from coordexp.data.contract.faults import Rule
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS


def _violation(name: str, fix: str) -> Rule:
    return Rule(name, "violation", fix)


EMPTY_FILE = _violation("empty-file", "write one record a line, or leave the file out")
BLANK_LINE = _violation("blank-line", "remove it, or put the record back that stood there")
NOT_JSON = _violation("not-json", "write each record as one line of UTF-8 JSON")
NOT_FINITE = _violation("not-finite", "find out where NaN or Infinity comes from; drop the object")
DOUBLED_KEY = _violation("doubled-key", "keep one of the two; most readers would keep the last")
NOT_A_RECORD = _violation("not-a-record", "each line is one JSON object with images and objects")
IMAGES = _violation("images", 'write "images": ["one/relative/path.jpg"]')
IMAGE_PATH = _violation(
    "image-path", "put pictures below the folder of the JSONL file and name them relative to it"
)
SIZE = _violation("size", "write width and height of the upright picture as whole numbers")
OBJECTS = _violation("objects", 'write a list; "objects": [] where there is nothing to see')
NOT_AN_OBJECT = _violation("not-an-object", "each entry of objects has a desc and a geometry")
DESC = _violation("desc", "say in words what it is, or drop the object")
DESC_COORD_TOKEN = _violation("desc-coord-token", "take coord tokens out of the text")
SPECIAL_TOKEN = _violation(
    "special-token", "say it in other words; a tokenizer would read an end, or a picture, in it"
)
ONE_GEOMETRY = _violation(
    "one-geometry",
    f"keep one of {', '.join(GEOMETRY_KINDS)}; make two objects where you mean two",
)
FLAT_LIST = _violation("flat-list", "write x, y, x, y, ... as numbers in one flat list")
MIXED_UNITS = _violation("mixed-units", "use pixels or coord tokens within one geometry")
POINTS = _violation("points", ", ".join(f"{kind.noun} has {kind.count}" for kind in KINDS.values()))
COORD_TOKEN = _violation(
    "coord-token", "bins go from 0 to one below their number; numbers 0..1000 need to be rescaled"
)
OUTSIDE_IMAGE = _violation(
    "outside-image",
    "compare width and height with the picture (swapped? before a resize?), or clip the overhang",
)
CORNER_ORDER = _violation(
    "corner-order", "write x1, y1, x2, y2; COCO's x, y, width, height differs"
)
NO_AREA = _violation("no-area", "drop the box, or give it the pixel it should cover")
EXACT = _violation("exact-pixels", "let data prepare write the *_px keys; do not edit the tokens")
RESIZED = _violation("resized", "resized is the width and height that data prepare wrote; keep it")
LONG_LINE = _violation("long-line", "write one record a line, not one JSON array of all of them")
CHAT = _violation("chat", "messages are user and assistant in turn, the assistant last")
TEXT = _violation("text", "prompt and summary are text, or left out")
METADATA = _violation("metadata", "metadata is a JSON object with finite numbers, or left out")
MARKS = _violation(
    "marks", "iscrowd and ignore are 0 or 1, area is in square pixels; leave out what is not known"
)
FEDERATED = _violation("federated", "let data convert write it from LVIS, or leave it out")
CONTRACT = _violation("contract", "see docs/data-contract.md")
IMAGE_MISSING = _violation("image-missing", "put the picture there, or drop the record")
IMAGE_SIZE = _violation(
    "image-size", "annotations of a resized or turned picture need to be converted with it"
)
IMAGE_UNREADABLE = _violation("image-unreadable", "fetch the picture again, or drop the record")
TOO_THIN = _violation("too-thin", "crop the picture, cut it into pieces, or drop the record")
