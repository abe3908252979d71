"""A model with all that it takes to ask it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.inference.run.stock_model import build_stock_style, is_stock
from coordexp.model.card import (
    CARD_NAME,
    load_card_section,
    load_trained_classes,
    load_weights_card,
)
from coordexp.model.load import (
    DTypeName,
    load_base,
    load_checkpoint,
    load_coord_vocab,
    load_inputs,
    load_tokenizer,
)
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle, style_from_json


@dataclass(frozen=True, slots=True)
class Predictor:
    """A model with all that it takes to ask it.

    Args:
        model: In evaluation mode, on its device.
        encoder: With the style it was trained in.
        vocab: None for the text baseline.
        path: Where it was loaded from.
        classes: What it was trained on, in the order of their numbers; None where not known.
    """

    model: PreTrainedModel | PeftModel
    encoder: Encoder
    vocab: CoordVocab | None
    path: Path
    classes: tuple[str, ...] | None = None

    @property
    def style(self) -> RenderingStyle:
        """The style that the model was trained in."""
        return self.encoder.style


def load_style(path: Path, *, classes: Sequence[str] = ()) -> RenderingStyle:
    """Return how a model is asked: as in training, a stock model as its family is.

    Args:
        path: A merged model, an adapter checkpoint or a stock model.
        classes: What a stock model is asked for, or one that was trained with class lists; none
            for everything. Others ask for everything always.

    Raises:
        CheckpointError: If its `coordexp.json` cannot be used, or is missing where there was one.
    """
    if is_stock(path):
        return build_stock_style(path, classes)
    return style_from_json(load_card_section(path, "style")).asking_for(classes)


def load_encoder(path: Path, *, classes: Sequence[str] = ()) -> tuple[Encoder, CoordVocab | None]:
    """Return what makes the prompts of a model, and its coord vocabulary.

    Args:
        path: As for `load_style`.
        classes: As for `load_style`.

    Raises:
        CheckpointError: As `load_style` does, or if its base is gone, or it needs coord tokens that
            its tokenizer lacks.
    """
    style = load_style(path, classes=classes)
    source = _weights_source(path)
    vocab = load_coord_vocab(source, style.alphabet) if style.coord_tokens else None
    inputs = load_inputs(source, min_pixels=style.min_pixels, max_pixels=style.max_pixels)
    return Encoder(load_tokenizer(source), inputs, style), vocab


def load_predictor(path: Path | str, *, classes: Sequence[str] = ()) -> Predictor:
    """Return the predictor of a merged model, an adapter checkpoint or a stock model.

    It is on the GPU where there is one, in the stored dtype; elsewhere it computes in float32,
    because bfloat16 is slow on most CPUs.

    Args:
        path: The model.
        classes: As for `load_style`.

    Raises:
        CheckpointError: As `load_encoder` does, or if the weights cannot be loaded.
    """
    path = Path(path)
    encoder, vocab = load_encoder(path, classes=classes)
    source = _weights_source(path)
    on_gpu = torch.cuda.is_available()
    dtype: DTypeName = "auto" if on_gpu else "float32"
    model: PreTrainedModel | PeftModel
    if source == path:
        model = load_base(path, dtype=dtype, attn_implementation="sdpa")
    else:
        model = load_checkpoint(source, path, dtype=dtype)
    nn.Module.to(model, "cuda" if on_gpu else "cpu")
    return Predictor(
        model=model.eval(),
        encoder=encoder,
        vocab=vocab,
        path=path,
        classes=trained_classes(path),
    )


def trained_classes(path: Path) -> tuple[str, ...] | None:
    """Return what a model was trained on, in the order of their numbers; None where not known.

    Raises:
        CheckpointError: If its `coordexp.json` cannot be used.
    """
    return None if is_stock(path) else load_trained_classes(path)


def _weights_source(path: Path) -> Path:
    """Return the directory with the tokenizer and the base's weights."""
    if is_stock(path):
        return path
    card = load_weights_card(path)
    source = path if card.base is None else Path(card.base)
    if not source.is_dir():
        raise CheckpointError(
            f"{path}: its base {source} is not there; put it back, or correct weights.base in "
            f"{path / CARD_NAME}"
        )
    return source
