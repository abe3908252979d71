"""What the adapter and the merged model are both asked.

Real records where they can be had: the run's own, through the `config.yaml` beside the checkpoint,
or those of a file. Else fixed random token ids, half of them coord ids, and the certificate says
so: they show that the weights are the same, but no picture passes through the vision tower.

Shapes: `B` records, `T` tokens, `N` tokens of an answer, `P` positions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coordexp.config.load import load_config
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import InputError, RecordError
from coordexp.model.card import WeightsCard
from coordexp.model.load import load_inputs, load_tokenizer
from coordexp.rendering.collate import Batch, Collator
from coordexp.rendering.encode import IGNORE_INDEX, Encoder, Example
from coordexp.rendering.style import RenderingStyle

NUM_RECORDS = 4
POSITIONS = 32
"""Logits that are compared, of each record: spread over its answer."""
NEW_TOKENS = 48
RANDOM_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """Questions, and where they come from.

    Args:
        questions: As `coordexp.export.plain_reload` takes them.
        kind: `records`, or `random token ids`.
        source: The file of the records; or why there are none.
        lines: Which lines of the file.
    """

    questions: dict[str, Tensor]
    kind: str
    source: str
    lines: tuple[int, ...]


def build_probe(
    checkpoint: Path, base: Path, *, style: RenderingStyle, card: WeightsCard, records: Path | None
) -> Probe:
    """Return the probe of a checkpoint.

    Args:
        checkpoint: Its `config.yaml` names the run's records.
        base: With tokenizer and image processor.
        style: How records are rendered.
        card: Names the coord ids.
        records: Used in place of the run's own.

    Raises:
        InputError: If `records` cannot be read; the run's own may be gone, these may not.
    """
    if records is not None:
        return _record_probe(RecordFile(records, style.alphabet), base, style)
    try:
        config = load_config(checkpoint / "config.yaml")
        own = config.data.eval or config.data.parts[0].path
        return _record_probe(RecordFile(own, style.alphabet), base, style)
    except InputError as error:
        why = _without_folders(str(error).splitlines()[0])
    return _random_probe(base, card, why)


def _record_probe(records: RecordFile, base: Path, style: RenderingStyle) -> Probe:
    inputs = load_inputs(base, min_pixels=style.min_pixels, max_pixels=style.max_pixels)
    encoder = Encoder(load_tokenizer(base), inputs, style)
    collate = Collator(
        pad_id=encoder.tokenizer.pad_token_id, image_token_id=encoder.image_token_id, side="left"
    )
    count = min(NUM_RECORDS, len(records))
    indices = [place * len(records) // count for place in range(count)]
    questions, prompts = _common(encoder.tokenizer), []
    for number, index in enumerate(indices):
        full, prompt = _encoded(records, index, encoder)
        questions |= _under(f"{number}.full.", collate([full]))
        questions[f"{number}.keep"] = _spread(_answer_positions(full), POSITIONS)
        prompts.append(prompt)
    return Probe(
        questions=questions | _under("prompts.", collate(prompts)),
        kind="records",
        source=records.path.name,
        lines=tuple(index + 1 for index in indices),
    )


def _encoded(records: RecordFile, index: int, encoder: Encoder) -> tuple[Example, Example]:
    """Return a record with its answer, and up to where the answer begins."""
    try:
        record = records[index]
        picture = load_image(records.root, record)
        full = encoder.encode(record, picture, seed=0, epoch=0, index=index)
        return full, encoder.encode_prompt(record, picture)
    except RecordError as error:
        raise error.at(records.path, index + 1) from None


def _common(tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    return {
        "max_new_tokens": torch.tensor(NEW_TOKENS),
        "pad_id": torch.tensor(tokenizer.pad_token_id),
    }


def _under(prefix: str, batch: Batch) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in batch.items()}


def _without_folders(message: str) -> str:
    """Return a message whose files are named without their places, to be read elsewhere."""
    return re.sub(r"\S*/(?=\S)", "", message)


def _answer_positions(example: Example) -> Int[Tensor, " N"]:
    """Return where the answer's tokens are predicted: one before each."""
    return (example.labels != IGNORE_INDEX).nonzero()[:, 0] - 1


def _spread(positions: Int[Tensor, " N"], count: int) -> Int[Tensor, " P"]:
    """Return at most `count` of the positions, evenly spread."""
    if len(positions) <= count:
        return positions
    return positions[torch.linspace(0, len(positions) - 1, count).long()]


def _random_probe(base: Path, card: WeightsCard, why: str) -> Probe:
    generator = torch.Generator().manual_seed(0)
    tokenizer = load_tokenizer(base)
    shape = (NUM_RECORDS, RANDOM_LENGTH)
    ids = torch.randint(0, len(tokenizer), shape, generator=generator)
    _mix_in_coord_ids(ids, card.coord_ids, generator)
    questions = _common(tokenizer) | {"prompts.input_ids": ids[:, : RANDOM_LENGTH // 2].clone()}
    for number in range(NUM_RECORDS):
        questions[f"{number}.full.input_ids"] = ids[number : number + 1].clone()
        questions[f"{number}.keep"] = _spread(torch.arange(RANDOM_LENGTH), POSITIONS)
    return Probe(questions=questions, kind="random token ids", source=why, lines=())


def _mix_in_coord_ids(
    ids: Int[Tensor, "B T"], coord_ids: Sequence[int] | None, generator: torch.Generator
) -> None:
    if coord_ids is None:
        return
    first, last = coord_ids
    odd = ids[:, 1::2]
    odd.copy_(torch.randint(first, last + 1, odd.shape, generator=generator))
