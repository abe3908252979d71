"""The picture of a record: there, readable, of the size that the record says, and not too thin."""

import os
from enum import Enum, auto
from pathlib import Path

from coordexp.data.contract import rules
from coordexp.data.contract.faults import Fault, Rule
from coordexp.data.contract.record import Record
from coordexp.data.files.image import PictureSizeError, check_image, load_image, picture_record
from coordexp.errors import RecordError
from coordexp.families.known import common_largest_ratio
from coordexp.families.picture_grid import check_shape


class PictureLook(Enum):
    """How closely pictures are looked at."""

    NOT = auto()
    OUTSIDE = auto()
    """Header and end of the file; no pixel is decoded where the format allows that."""
    WHOLE = auto()
    """As training reads it."""


def shape_fault(width: int, height: int) -> Fault | None:
    """Return what is wrong with the shape of a picture, None for a good one."""
    try:
        check_shape(width, height, common_largest_ratio())
    except RecordError as error:
        return Fault(rules.TOO_THIN, error.message)
    return None


def image_fault(root: Path, record: Record, look: PictureLook) -> Fault | None:
    """Return what is wrong with a record's picture, None for a good one.

    `coordexp.data.files.image` decides, as in training; here its refusals get a rule.

    Args:
        root: The folder that the path is relative to.
        record: Names the picture and its size; its objects do not matter.
        look: How closely.
    """
    try:
        if look is PictureLook.WHOLE:
            load_image(root, record)
        else:
            check_image(root, record)
    except RecordError as error:
        return Fault(_rule(root, record.image, error), error.message)
    return None


def chat_image_fault(root: Path, image: str, look: PictureLook) -> Fault | None:
    """Return what is wrong with a picture of a chat, whose size nothing says."""
    try:
        record = picture_record(root, image)
    except RecordError as error:
        return Fault(_rule(root, image, error), error.message)
    return image_fault(root, record, look) or shape_fault(record.width, record.height)


def _rule(root: Path, image: str, error: RecordError) -> Rule:
    path = os.path.realpath(root / image)
    if not path.startswith(os.path.join(os.path.realpath(root), "")):  # noqa: PTH118
        return rules.IMAGE_PATH
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on names that are too long
        return rules.IMAGE_MISSING
    return rules.IMAGE_SIZE if isinstance(error, PictureSizeError) else rules.IMAGE_UNREADABLE
