"""Reading the JSON files of a checkpoint that say what it is."""

import json
from pathlib import Path
from typing import Any

from coordexp.errors import CheckpointError

CONFIG = "config.json"


def load_config(checkpoint: Path | str) -> dict[str, Any]:
    """Return a checkpoint's `config.json`.

    Raises:
        CheckpointError: If it cannot be read, or is no JSON object.
    """
    return load_object(Path(checkpoint) / CONFIG)


def load_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        CheckpointError: If it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content
