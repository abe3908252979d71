"""`coordexp.json`: what an adapter or a merged model must not be separated from.

::

    {"format_version": 1, "style": {...}, "weights": {...}}

`style` repeats training in inference (`coordexp.rendering.style`); `weights`, here, says which base
the weights belong to.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from coordexp.errors import CheckpointError
from coordexp.files import write_text

CARD_NAME = "coordexp.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """Which base some weights belong to, and how.

    Args:
        base: Where the base checkpoint was; None for a merged model, which needs none.
        tokenizer: Fingerprint of the tokenizer.
        coord_ids: First and last coord id; None without coord tokens.
        coord_rows: Fingerprint of the base's embedding rows at the coord ids.
        tie_head: Whether one offset table serves embedding and head; None without the coord-offset
            adapter.
    """

    base: str | None
    tokenizer: str
    coord_ids: tuple[int, int] | None
    coord_rows: str | None
    tie_head: bool | None


def write_card(directory: Path, *, style: Mapping[str, object], weights: WeightsCard) -> None:
    """Write `coordexp.json` into a directory."""
    card = {"format_version": FORMAT_VERSION, "style": style, "weights": asdict(weights)}
    write_text(directory / CARD_NAME, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def load_weights_card(directory: Path) -> WeightsCard:
    """Return the weights section of a directory's `coordexp.json`.

    Raises:
        CheckpointError: If the file is missing, of another format or malformed.
    """
    section = json.dumps(load_card_section(directory, "weights"))
    try:
        return TypeAdapter(WeightsCard).validate_json(section)
    except ValidationError as error:
        raise CheckpointError(f"{directory / CARD_NAME}: weights: {error}") from None


def load_card_section(directory: Path, section: str) -> object:
    """Return one section of a directory's `coordexp.json` as JSON values.

    Raises:
        CheckpointError: If the file is missing, of another format or malformed.
    """
    path = directory / CARD_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not directory.exists():
            raise CheckpointError(f"{directory}: there is no such directory") from None
        raise CheckpointError(
            f"{directory}: no {CARD_NAME}; expected an adapter or merged model written by coordexp"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if not isinstance(card, dict) or card.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(f"{path}: expected format_version {FORMAT_VERSION}")
    if section not in card:
        raise CheckpointError(f"{path}: the section {section!r} is missing")
    return card[section]
