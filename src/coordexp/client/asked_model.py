"""How a model that is served elsewhere is asked: as it was trained, from its small files."""

import os
from dataclasses import dataclass
from pathlib import Path

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.families.config_file import CONFIG
from coordexp.families.known import load_family, load_grid
from coordexp.families.picture_grid import PictureGrid
from coordexp.model.card import (
    CARD_NAME,
    load_card_section,
    load_trained_classes,
    load_weights_card,
)
from coordexp.rendering.style import RenderingStyle, style_from_json


@dataclass(frozen=True, slots=True)
class AskedModel:
    """What has to be known of a model to ask it and to read its answers.

    Args:
        path: Where that was read.
        style: How it was trained to be asked, and to answer.
        grid: The sizes at which it looks at pictures.
        end_marks: Of its family.
        classes: What it was trained on, in the order of their numbers; None where not known.
        vocab: Its coord vocabulary; None for the text baseline, and where that is not known.
    """

    path: Path
    style: RenderingStyle
    grid: PictureGrid
    end_marks: tuple[str, ...]
    classes: tuple[str, ...] | None
    vocab: CoordVocab | None = None


def served_name(model: Path) -> str:
    """Return what a model is called behind a server: the name of its folder, links not followed."""
    return Path(os.path.abspath(model)).name  # noqa: PTH100 - absolute() leaves ".." in place


def load_asked_model(folder: Path | str) -> AskedModel:
    """Return how a model is asked.

    Args:
        folder: A merged model, or a folder with its `coordexp.json`, `config.json` and
            `preprocessor_config.json` alone. An adapter checkpoint's are its base's.

    Raises:
        CheckpointError: If one of these is missing or cannot be used. A stock model has no
            `coordexp.json`: it is asked by `coordexp predict` on the machine where it lies.
    """
    path = Path(folder)
    if not (path / CARD_NAME).is_file():
        raise CheckpointError(
            f"{path}: no {CARD_NAME} in it, which says how the model is asked; copy {CARD_NAME}, "
            "config.json and preprocessor_config.json of the served model to here (a stock model "
            "has none: ask it with --backend hf)"
        )
    style = style_from_json(load_card_section(path, "style"))
    card = load_weights_card(path)
    source = path if card.base is None or (path / CONFIG).is_file() else Path(card.base)
    ids = card.coord_ids if style.coord_tokens else None
    return AskedModel(
        path=path,
        style=style,
        grid=load_grid(source).limited(least=style.min_pixels, most=style.max_pixels),
        end_marks=load_family(source).end_marks,
        classes=load_trained_classes(path),
        vocab=None if ids is None else CoordVocab(style.alphabet, ids[0]),
    )
