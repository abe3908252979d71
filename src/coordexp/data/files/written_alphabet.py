"""The alphabet that a file of coord tokens was written in, kept beside it.

A token says how it is spelled, and not how many bins there are: `<loc0500>` is the middle of an
axis of 1000 bins, and left of it where there are 1024. So `data prepare` leaves a small file beside
records in any other alphabet than the specification's, `train.alphabet.json` beside `train.jsonl`::

    {"pattern": "<loc{:04d}>", "bins": 1024, "wildcard": null}

and whoever reads the records compares. Records without one, of other tools, are taken at their
spelling.
"""

import json
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.errors import InputError
from coordexp.files import unfinished_path, write_text


def alphabet_path(records: Path) -> Path:
    """Return where the alphabet of a file of records is kept.

    Example:
        >>> alphabet_path(Path("coco/val.coord.jsonl")).as_posix()
        'coco/val.coord.alphabet.json'
    """
    return unfinished_path(records.with_suffix(""), behind=".alphabet.json")


def save_alphabet(records: Path, alphabet: CoordAlphabet) -> None:
    """Write the alphabet beside a file of records; of the specification's there is no file."""
    path = alphabet_path(records)
    if alphabet.is_same(SPEC_ALPHABET):
        path.unlink(missing_ok=True)
    else:
        write_text(path, json.dumps(asdict(alphabet), ensure_ascii=False) + "\n")


def load_alphabet(records: Path) -> CoordAlphabet | None:
    """Return the alphabet that lies beside a file of records; None where there is none.

    Raises:
        InputError: If the file cannot be read or holds no alphabet.
    """
    path = alphabet_path(records)
    try:
        return TypeAdapter(CoordAlphabet).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def check_alphabet(records: Path, alphabet: CoordAlphabet) -> None:
    """Check that a file of records was written in an alphabet, where that is known.

    Raises:
        InputError: If it was written in another one; the message names both.
    """
    written = load_alphabet(records)
    if written is not None and not written.is_same(alphabet):
        raise InputError(
            f"{records}: was prepared in the alphabet {written}, as "
            f"{alphabet_path(records).name} says, and is read in {alphabet}; give the same "
            "(custom.coord_tokens.alphabet, or --alphabet and --bins), or prepare the records anew"
        )
