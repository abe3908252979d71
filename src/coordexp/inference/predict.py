"""Predictions for a file of records, as JSONL."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from rich.console import Console
from rich.progress import track
from torch import nn
from transformers import PreTrainedModel

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.data.image import check_image, load_image
from coordexp.data.jsonl import RecordFile, write_jsonl
from coordexp.data.record import Record
from coordexp.errors import CheckpointError, RecordError
from coordexp.inference.generate import Answer, generate_answers
from coordexp.inference.parse import parse_prediction
from coordexp.inference.scores import TokenSpans, score, score_parts
from coordexp.model.card import CARD_NAME, load_card_section, load_weights_card
from coordexp.model.load import (
    DTypeName,
    load_base,
    load_checkpoint,
    load_coord_vocab,
    load_image_processor,
    load_tokenizer,
)
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle, style_from_json

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Predictor:
    """A model with all that it takes to ask it.

    Args:
        model: In evaluation mode, on its device.
        encoder: With the style it was trained in.
        vocab: None for the text baseline.
    """

    model: PreTrainedModel | PeftModel
    encoder: Encoder
    vocab: CoordVocab | None

    @property
    def style(self) -> RenderingStyle:
        """The style that the model was trained in."""
        return self.encoder.style


def load_predictor(path: Path) -> Predictor:
    """Return the predictor of a merged model or an adapter checkpoint.

    It is on the GPU where there is one, in the stored dtype; elsewhere it computes in float32,
    because bfloat16 is slow on most CPUs.

    Raises:
        CheckpointError: If the directory has no `coordexp.json`, its base is gone, or it needs
            coord tokens that its tokenizer lacks.
    """
    card = load_weights_card(path)
    style = style_from_json(load_card_section(path, "style"))
    source = path if card.base is None else Path(card.base)
    if not source.is_dir():
        raise CheckpointError(
            f"{path}: its base {source} is not there; put it back, or correct weights.base in "
            f"{path / CARD_NAME}"
        )
    vocab = load_coord_vocab(source, style.alphabet) if style.coord_tokens else None
    processor = load_image_processor(
        source, min_pixels=style.min_pixels, max_pixels=style.max_pixels
    )
    encoder = Encoder(load_tokenizer(source), processor, style)
    on_gpu = torch.cuda.is_available()
    dtype: DTypeName = "auto" if on_gpu else "float32"
    model: PreTrainedModel | PeftModel
    if card.base is None:
        model = load_base(path, dtype=dtype, attn_implementation="sdpa")
    else:
        model = load_checkpoint(source, path, dtype=dtype)
    nn.Module.to(model, "cuda" if on_gpu else "cpu")
    return Predictor(model=model.eval(), encoder=encoder, vocab=vocab)


def predict_file(
    predictor: Predictor, data: Path, out: Path, *, batch_size: int, max_new_tokens: int
) -> int:
    """Write one prediction line for each record and return their number.

    Records and pictures are checked before the first is answered. The file appears when it is
    complete.

    Raises:
        RecordError: If a record or its picture is wrong; nothing is written then.
    """
    records = RecordFile(data, predictor.style.alphabet)
    for index, record in enumerate(records):
        try:
            check_image(records.root, record)
        except RecordError as error:
            raise error.at(records.path, index + 1) from None
    root = os.path.relpath(records.root, out.parent)
    batches = [
        range(start, min(start + batch_size, len(records)))
        for start in range(0, len(records), batch_size)
    ]

    def rows() -> Iterator[Row]:
        for batch in track(batches, "predict", console=Console(stderr=True)):
            yield from _predict_batch(predictor, records, batch, root, max_new_tokens)

    return write_jsonl(out, rows())


def _predict_batch(
    predictor: Predictor,
    records: RecordFile,
    indices: Sequence[int],
    root: str,
    max_new_tokens: int,
) -> list[Row]:
    batch = [records[index] for index in indices]
    prompts = []
    for index, record in zip(indices, batch, strict=True):
        try:
            picture = load_image(records.root, record)
        except RecordError as error:
            raise error.at(records.path, index + 1) from None
        prompts.append(predictor.encoder.encode_prompt(record, picture))
    answers = generate_answers(
        predictor.model,
        predictor.encoder,
        prompts,
        vocab=predictor.vocab,
        max_new_tokens=max_new_tokens,
    )
    return [
        prediction_row(record, answer, predictor.style, root)
        for record, answer in zip(batch, answers, strict=True)
    ]


def prediction_row(record: Record, answer: Answer, style: RenderingStyle, root: str) -> Row:
    """Return the predictions line of one answer, boxes in pixels of the record's image."""
    parsed = parse_prediction(answer.text, alphabet=style.alphabet, coord_tokens=style.coord_tokens)
    spans = TokenSpans(answer)
    size = (record.width, record.height)
    predictions = []
    for item in parsed.objects:
        parts = score_parts(spans, item)
        pixels = item.geometry.to_pixels(*size, style.alphabet)
        predictions.append(
            {
                "desc": item.desc,
                item.geometry.kind: list(pixels),
                "score": score(parts),
                "score_parts": parts,
            }
        )
    truth = [
        {
            "desc": item.desc,
            item.best_geometry.kind: list(item.best_geometry.to_pixels(*size, style.alphabet)),
        }
        for item in record.objects
    ]
    return {
        "root": root,
        "image": record.image,
        "width": record.width,
        "height": record.height,
        "gt": truth,
        "pred": predictions,
        "raw_text": answer.text,
        "parse": {
            "status": parsed.status,
            "dropped": [{"reason": drop.reason, "text": drop.text} for drop in parsed.dropped],
        },
        "finish_reason": answer.finish_reason,
    }
