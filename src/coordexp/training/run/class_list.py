"""The list of classes that a run leaves in `coordexp.json`, so that a class keeps its number."""

import logging
import unicodedata

from coordexp.config.schema import Config
from coordexp.data.files.jsonl import read_rows

logger = logging.getLogger(__name__)

# More different descs than any data set of classes has: these are phrases, which nobody numbers.
MOST_CLASSES = 20_000


def trained_classes(config: Config) -> tuple[str, ...] | None:
    """Return the classes of a run: those of its prompt, or else the descs of its records by name.

    None where the descs are phrases rather than classes, more than `MOST_CLASSES`. Reads the data
    once more, so call it once; the records have been checked by then.

    Args:
        config: Of the run.
    """
    if config.custom.classes is not None:
        return tuple(dict.fromkeys(config.custom.classes))
    found: set[str] = set()
    for part in config.data.parts:
        for _, row in read_rows(part.path):
            # A chat among the records has no objects.
            if isinstance(row, dict) and isinstance(objects := row.get("objects"), list):
                # In the tokenizer's composed form, which is what the model writes.
                found.update(unicodedata.normalize("NFC", item["desc"]) for item in objects)
        if len(found) > MOST_CLASSES:
            logger.info(
                "more than %d different descs: coordexp.json gets no list of classes", MOST_CLASSES
            )
            return None
    return tuple(sorted(found))
