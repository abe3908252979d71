"""Text that comes from records: paths that stay in the dataset's folder, and whole Unicode."""

import re
from pathlib import PurePosixPath, PureWindowsPath

from coordexp.data.contract.geometry import shown
from coordexp.errors import RecordError

# Relative on every system; what is not quite as plain is looked at closely.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_.-][A-Za-z0-9_./ -]*")


def checked_image_path(path: object) -> str:
    """Return an image path that stays inside the dataset's folder, by its spelling alone.

    Raises:
        RecordError: If it is absolute, climbs out with `..`, or is no path.
    """
    if isinstance(path, str) and _PLAIN_PATH.fullmatch(path) and ".." not in path:
        return path
    if not isinstance(path, str) or not path or "\0" in path:
        raise RecordError(f"images[0]: expected a relative path, got {shown(path)}")
    check_unicode("images[0]", path)
    flavours = (PurePosixPath(path), PureWindowsPath(path))
    if any(flavour.anchor for flavour in flavours):
        raise RecordError(f"images[0]: expected a path relative to the JSONL file, got {path!r}")
    if any(".." in flavour.parts for flavour in flavours):
        raise RecordError(f"images[0]: the path climbs out of the dataset: {path!r}")
    return path


def check_unicode(key: str, text: str) -> None:
    """Check that a text can be written as UTF-8.

    Raises:
        RecordError: If it holds half of a surrogate pair, which JSON can spell.
    """
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = text[error.start]
        message = f"{key}: half of a surrogate pair ({found!r}) is no text; fix the encoding"
        raise RecordError(message) from None
