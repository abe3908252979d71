"""`coordexp.json`: what an adapter or a merged model must not be separated from.

::

    {"format_version": 1, "style": {...}, "classes": [...], "weights": {...}, "origin": {...}}

`style` repeats training in inference (`coordexp.rendering.style`); `classes` are the names that
were trained, in the order that gives each its number; `weights`, here, says which base the weights
belong to; `origin` which model of a hub they began as, at which commit. A base that came from a hub
has that alone.
"""

import json
from collections.abc import Mapping, Sequence
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
        quantization: How the base was held in four bits while the adapter was trained; None where
            it was not.
    """

    base: str | None
    tokenizer: str
    coord_ids: tuple[int, int] | None
    coord_rows: str | None
    tie_head: bool | None
    quantization: str | None = None


@dataclass(frozen=True, slots=True)
class HubOrigin:
    """The model of a hub that some weights began as.

    Args:
        hub: Its name, OWNER/NAME.
        revision: The commit, in 40 hexadecimal digits.
    """

    hub: str
    revision: str


def write_card(
    directory: Path,
    *,
    style: Mapping[str, object],
    weights: WeightsCard,
    classes: Sequence[str] | None = None,
    origin: HubOrigin | None = None,
) -> None:
    """Write `coordexp.json` into a directory.

    Args:
        directory: Where.
        style: From `style_to_json`.
        weights: Which base they belong to.
        classes: What was trained, in the order of their numbers; None where nobody can list it.
        origin: Of the base; None where it came from no hub, or nobody has said so.
    """
    card: dict[str, object] = {
        "format_version": FORMAT_VERSION,
        "style": style,
        "classes": None if classes is None else list(classes),
        "weights": asdict(weights),
    }
    if origin is not None:
        card["origin"] = asdict(origin)
    _write(directory, card)


def write_origin(directory: Path, origin: HubOrigin) -> None:
    """Say in a directory's `coordexp.json`, which is made where there is none, what it began as."""
    there = (directory / CARD_NAME).exists()
    card = _load_card(directory) if there else {"format_version": FORMAT_VERSION}
    _write(directory, {**card, "origin": asdict(origin)})


def load_origin(directory: Path) -> HubOrigin | None:
    """Return which model of a hub a directory's weights began as; None where nothing says so.

    Raises:
        CheckpointError: If its `coordexp.json` is of another format or malformed.
    """
    section = _load_card(directory).get("origin") if (directory / CARD_NAME).exists() else None
    try:
        return TypeAdapter(HubOrigin | None).validate_json(json.dumps(section))
    except ValidationError as error:
        raise CheckpointError(f"{directory / CARD_NAME}: origin: {error}") from None


def has_card(directory: Path) -> bool:
    """Return whether a directory's `coordexp.json` says more than where its weights came from.

    Raises:
        CheckpointError: If it is of another format or cannot be read.
    """
    if not (directory / CARD_NAME).exists():
        return False
    return not _load_card(directory).keys() <= {"format_version", "origin"}


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


def load_trained_classes(directory: Path) -> tuple[str, ...] | None:
    """Return the classes that a model was trained on, in the order of their numbers.

    None where the file holds no list: it is older than the list, or the words were too many.

    Raises:
        CheckpointError: If the file is missing, of another format or malformed.
    """
    section = _load_card(directory).get("classes")
    try:
        classes = TypeAdapter(tuple[str, ...] | None).validate_json(json.dumps(section))
    except ValidationError as error:
        raise CheckpointError(f"{directory / CARD_NAME}: classes: {error}") from None
    if classes is not None and len(set(classes)) < len(classes):
        raise CheckpointError(f"{directory / CARD_NAME}: classes: a name is given twice")
    return classes


def load_card_section(directory: Path, section: str) -> object:
    """Return one section of a directory's `coordexp.json` as JSON values.

    Raises:
        CheckpointError: If the file is missing, of another format or malformed.
    """
    card = _load_card(directory)
    if section not in card:
        raise CheckpointError(f"{directory / CARD_NAME}: the section {section!r} is missing")
    return card[section]


def _write(directory: Path, card: Mapping[str, object]) -> None:
    write_text(directory / CARD_NAME, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def _load_card(directory: Path) -> dict[str, object]:
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
    return card
