"""What a list of classes means after decoding: which objects are kept, and which number each has.

A filter, not a grammar: the model says what it sees, its scores are relative to everything it could
have said, and what was not asked for is left out. Forcing every object into a list is
`coordexp.inference.decode.grammar`'s `restrict_to`.
"""

import logging
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from coordexp.errors import InputError

logger = logging.getLogger(__name__)


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, without empty ones.

    Raises:
        InputError: If it cannot be read or names no class.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise InputError(f"{path}: no class in it; expected one a line")
    return names


def asked_classes(names: Sequence[str], trained: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names as a model writes them: in Unicode's composed form, each once.

    A name that the model was not trained on is said, not refused: its base may know the word.

    Args:
        names: To keep.
        trained: What the model was trained on; None where that is not known.

    Raises:
        InputError: If there is no name, or an empty one.
    """
    if isinstance(names, str):  # a sequence of its letters, to Python
        raise InputError(f"classes: expected a list of names, got {names!r}; write [{names!r}]")
    if not names or not all(name.strip() for name in names):
        raise InputError("classes: expected at least one name, and none of them empty")
    asked = tuple(dict.fromkeys(unicodedata.normalize("NFC", name) for name in names))
    for name in asked:
        if trained is not None and name not in trained:
            near = get_close_matches(name, trained, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            logger.warning(
                "classes: %r is none of the %d that the model was trained on%s",
                name,
                len(trained),
                hint,
            )
    return asked


def check_names(names: Sequence[str]) -> None:
    """Check the descs that answers are restricted to.

    Raises:
        InputError: If one is empty, given twice, or not in NFC as the tokenizer has it.
    """
    for index, name in enumerate(names):
        if not name.strip() or name in names[:index]:
            raise InputError(f"restrict_to: {name!r} is empty or given twice")
        if not unicodedata.is_normalized("NFC", name):
            raise InputError(f"restrict_to: {name!r} is not in Unicode's composed form (NFC)")


def class_ids(descs: Iterable[str], classes: Sequence[str]) -> list[int]:
    """Return the place of each desc in a list of classes, from 0.

    Whatever is not in the list has the number after the last, so that it can be told from all of
    them and still has a colour in tools that choose one by number.

    Example:
        >>> class_ids(["zero", "yak", "six"], ["six", "zero"])
        [1, 2, 0]
    """
    places = {name: place for place, name in enumerate(classes)}
    return [places.get(desc, len(places)) for desc in descs]
