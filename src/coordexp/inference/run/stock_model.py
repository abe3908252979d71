"""Asking a model that was not trained here: a checkpoint without `coordexp.json`.

It is asked as its family's authors ask it, and answers freely. What it answers becomes the same
predictions file, so a fine-tuned model can be compared with the one that it began as.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.category_ids import load_category_ids
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import CheckpointError
from coordexp.families.boxes import StockAnswers
from coordexp.families.config_file import CONFIG
from coordexp.families.known import load_family
from coordexp.inference.run.inputs import is_picture
from coordexp.model.card import CARD_NAME, has_card
from coordexp.model.load import ADAPTER_CONFIG, load_inputs, load_tokenizer
from coordexp.rendering.style import RenderingStyle

logger = logging.getLogger(__name__)

MOST_NAMED = 100
"""Classes that a question names without being told to."""


def is_stock(path: Path) -> bool:
    """Return whether a folder holds a whole model that carries no word of ours."""
    return (path / CONFIG).is_file() and not (has_card(path) or (path / ADAPTER_CONFIG).exists())


def build_stock_style(path: Path, classes: Sequence[str]) -> RenderingStyle:
    """Return how a stock model is asked and answers.

    Args:
        path: The checkpoint.
        classes: What it is asked for; none for everything.

    Raises:
        CheckpointError: If it is of no known family, or its vocabulary has coord tokens: then it
            was made here, and its `coordexp.json` is missing.
    """
    family = load_family(path)
    if SPEC_ALPHABET.token(0) in load_tokenizer(path).get_vocab():
        raise CheckpointError(
            f"{path}: no {CARD_NAME} that says how to ask it, but coord tokens in its vocabulary; "
            "of a model that was trained here put that file back; as a baseline take the base as "
            "it was before vocab expand"
        )
    grid = load_inputs(path, min_pixels=None, max_pixels=None).grid
    return RenderingStyle(
        system_prompt=None,
        user_prompt=family.boxes.ask(classes),
        json_format="standard",
        object_ordering="sorted",
        coord_tokens=False,
        alphabet=SPEC_ALPHABET,
        min_pixels=None,
        max_pixels=None,
        stock=StockAnswers(family.boxes, grid),
    )


def classes_to_ask(model: Path, data: Path, given: Sequence[str] | None) -> Sequence[str]:
    """Return what a model is asked for, and say it where it is a stock model.

    That is what was given, else the classes of the data: those that lie beside it, or the descs in
    it. Of more than `MOST_NAMED`, which may be whole sentences, none is named.

    Args:
        model: The model; one that was trained here is asked as in training, for what was given or
            for all classes.
        data: JSONL of records, a picture, or a folder of them.
        given: What `--classes` names.

    Raises:
        RecordError: If a record breaks the contract.
        InputError: If the classes beside the data cannot be read.
    """
    if not is_stock(model):
        return given or ()
    classes = _classes_of(data) if given is None else given
    question = load_family(model).boxes.ask(classes)
    logger.warning("%s: no %s, so it is asked as a stock model: %s", model, CARD_NAME, question)
    return classes


def _classes_of(data: Path) -> Sequence[str]:
    if data.is_dir() or is_picture(data):
        return ()
    names = load_category_ids(data) or dict.fromkeys(
        sorted({item.desc for record in RecordFile(data, SPEC_ALPHABET) for item in record.objects})
    )
    return [*names] if len(names) <= MOST_NAMED else ()
