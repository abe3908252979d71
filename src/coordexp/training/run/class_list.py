"""The classes of a run: what it leaves in `coordexp.json`, and what its questions draw from.

In `coordexp.json` they are a list, so that a class keeps its number.
"""

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from coordexp.answers.class_filter import read_classes
from coordexp.config.schema import Config
from coordexp.data.files.jsonl import read_rows
from coordexp.data.plan.class_lists import ClassLists
from coordexp.errors import InputError

logger = logging.getLogger(__name__)

# More different descs than any data set of classes has: these are phrases, which nobody numbers.
MOST_CLASSES = 20_000


def trained_classes(config: Config) -> tuple[str, ...] | None:
    """Return the classes of a run: those of its prompt, or else the descs of its records by name.

    Those of `custom.class_list.file` come first, in its order. None where the descs are phrases
    rather than classes, more than `MOST_CLASSES`. Reads the data once more, so call it once.

    Args:
        config: Of the run.

    Raises:
        InputError: If a file cannot be read.
    """
    if config.custom.classes is not None:
        return tuple(dict.fromkeys(config.custom.classes))
    listed = config.custom.class_list
    named = () if listed is None or listed.file is None else _composed_classes(listed.file)
    found: set[str] = set()
    for part in config.data.parts:
        for descs in _descs(part.path):
            found.update(descs)
        if len(found) > MOST_CLASSES:
            logger.info(
                "more than %d different descs: coordexp.json gets no list of classes", MOST_CLASSES
            )
            return None
    return (*named, *sorted(found.difference(named)))


def build_class_lists(config: Config, *, listed: Sequence[str] | None = None) -> ClassLists | None:
    """Return what draws the classes of each question, None where all are asked alike.

    Args:
        config: Of the run.
        listed: From `listed_classes`, where that was read already.

    Raises:
        InputError: If a file cannot be read, or the data have phrases instead of classes.
    """
    block = config.custom.class_list
    if block is None:
        return None
    vocabulary: tuple[str, ...] = ()
    if block.file is not None:
        vocabulary = _composed_classes(block.file)
    elif block.source == "data":
        vocabulary = tuple(listed_classes(config) if listed is None else listed)
    negatives = block.negatives
    return ClassLists(vocabulary, most=negatives.most, empty_share=negatives.empty_share)


def listed_classes(config: Config) -> tuple[str, ...]:
    """Return the classes that a model of class lists is asked for where nobody names any.

    Empty for one without class lists. Else the data are read once more.

    Raises:
        InputError: If the data have phrases instead of classes.
    """
    if config.custom.class_list is None:
        return ()
    classes = trained_classes(config)
    if not classes:
        told = "no desc" if classes is not None else f"more than {MOST_CLASSES:,} different descs"
        raise InputError(
            f"custom.class_list: the records of data have {told}; questions that name classes need "
            "records of classes"
        )
    return classes


def _composed_classes(path: Path) -> tuple[str, ...]:
    names = [unicodedata.normalize("NFC", name) for name in read_classes(path)]
    return tuple(dict.fromkeys(names))


def _descs(path: Path) -> Iterator[set[str]]:
    """Yield the descs of each record, in the composed form that the model writes.

    What is no record is passed over: chats, and lines that are told of by whoever checks them.
    """
    for _, row in read_rows(path):
        if isinstance(row, dict) and isinstance(objects := row.get("objects"), list):
            descs = [item.get("desc") for item in objects if isinstance(item, dict)]
            yield {unicodedata.normalize("NFC", desc) for desc in descs if isinstance(desc, str)}
