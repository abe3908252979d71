"""Adding tokens to a tokenizer's files, and to nothing else of them.

transformers would write what it has made of the files when it loaded them: another pre-tokenizer
expression, other special tokens, keys that its former major version cannot read. The files keep
their own words here, so that every reader of the base still reads them as before.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from coordexp.errors import CheckpointError
from coordexp.families.config_file import load_object
from coordexp.files import write_text

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
ADDED = "added_tokens.json"

_PROPERTIES = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}

Json = dict[str, object]


def check_tokenizer_files(directory: Path) -> None:
    """Check that tokens can be added to a checkpoint's tokenizer.

    Raises:
        CheckpointError: If a file is missing or is not what it should be.
    """
    _load_added(directory)
    load_object(directory / SETTINGS)


def add_tokens(src: Path, dst: Path, names: Sequence[str], *, first_id: int) -> None:
    """Write a tokenizer's files with special tokens added.

    Args:
        src: The tokenizer's directory.
        dst: An existing directory.
        names: The new tokens; without any, the files are written as they are.
        first_id: Of the first of them; the others follow.

    Raises:
        CheckpointError: If a file is missing or is not what it should be.
    """
    tokens = dict(zip(range(first_id, first_id + len(names)), names, strict=True))
    document, added = _load_added(src)
    added += [{"id": i, "content": name, **_PROPERTIES} for i, name in tokens.items()]
    _write(dst / TOKENIZER, document)
    settings = load_object(src / SETTINGS)
    # Written by transformers up to version 4 beside the tokenizer's own list.
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        decoder |= {str(i): {"content": name, **_PROPERTIES} for i, name in tokens.items()}
    _write(dst / SETTINGS, settings)
    if (src / ADDED).is_file():
        _write(dst / ADDED, load_object(src / ADDED) | {name: i for i, name in tokens.items()})


def _load_added(directory: Path) -> tuple[Json, list[object]]:
    """Return `tokenizer.json` and the list in it that new tokens join."""
    path = directory / TOKENIZER
    document = load_object(path)
    added = document.get("added_tokens")
    if not isinstance(added, list):
        raise CheckpointError(f"{path}: added_tokens: expected a list")
    return document, added


def _write(path: Path, content: Json) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
