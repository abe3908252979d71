"""The picture of a record: there, readable, and of the size that the record says."""

import os
from pathlib import Path

from coordexp.data import audit_rules as rules
from coordexp.data.audit_report import Rule
from coordexp.data.audit_rules import Fault
from coordexp.data.image import check_image, picture_record
from coordexp.data.record import Record
from coordexp.errors import RecordError


def image_fault(root: Path, record: Record) -> Fault | None:
    """Return what is wrong with a record's picture, None for a good one.

    `coordexp.data.image.check_image` decides; here its refusals get a rule.

    Args:
        root: The folder that the path is relative to.
        record: Names the picture and its size; its objects do not matter.
    """
    try:
        check_image(root, record)
    except RecordError as error:
        return Fault(_rule(root, record.image, error.message), error.message)
    return None


def chat_image_fault(root: Path, image: str) -> Fault | None:
    """Return what is wrong with a picture of a chat, whose size nothing says."""
    try:
        check_image(root, picture_record(root, image))
    except RecordError as error:
        return Fault(_rule(root, image, error.message), error.message)
    return None


def _rule(root: Path, image: str, message: str) -> Rule:
    path = os.path.realpath(root / image)
    if not path.startswith(os.path.join(os.path.realpath(root), "")):  # noqa: PTH118
        return rules.IMAGE_PATH
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on names that are too long
        return rules.IMAGE_MISSING
    return rules.IMAGE_SIZE if "the record says" in message else rules.IMAGE_UNREADABLE
