"""Text that comes from records: paths that stay in the dataset's folder, and whole Unicode."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import TypeGuard

from coordexp.data.contract.faults import Fault, Rule, raise_first
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.rules import IMAGE_PATH, IMAGES

# Relative on every system; what is not quite as plain is looked at closely.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_.-][A-Za-z0-9_./ -]*")


def checked_image_path(path: object) -> str:
    """Return an image path that stays inside the dataset's folder, by its spelling alone.

    Raises:
        RecordError: If it is absolute, climbs out with `..`, or is no path.
    """
    if not is_plain_path(path):
        raise_first(path_faults(path))
    return str(path)


def is_plain_path(path: object) -> TypeGuard[str]:
    """Return whether a path is seen at once to be a good one; others may be good as well."""
    return type(path) is str and ".." not in path and _PLAIN_PATH.fullmatch(path) is not None


def path_faults(path: object) -> Iterator[Fault]:
    """Yield what is wrong with the path of a picture."""
    if not isinstance(path, str) or not path:
        yield Fault(IMAGES, f"images[0]: expected a relative path, got {shown(path)}")
        return
    if "\0" in path:
        yield Fault(IMAGE_PATH, f"images[0]: expected a relative path, got {shown(path)}")
        return
    halved = [*unicode_faults("images[0]", path, IMAGE_PATH)]
    yield from halved
    if halved:
        return
    flavours = (PurePosixPath(path), PureWindowsPath(path))
    if any(flavour.anchor for flavour in flavours):
        message = f"images[0]: expected a path relative to the JSONL file, got {path!r}"
        yield Fault(IMAGE_PATH, message)
    elif any(".." in flavour.parts for flavour in flavours):
        yield Fault(IMAGE_PATH, f"images[0]: the path climbs out of the dataset: {path!r}")


def unicode_faults(key: str, text: str, rule: Rule) -> Iterator[Fault]:
    """Yield a fault where a text holds half of a surrogate pair.

    JSON can spell one, and UTF-8 cannot.
    """
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = text[error.start]
        yield Fault(
            rule, f"{key}: half of a surrogate pair ({found!r}) is no text; fix the encoding"
        )
