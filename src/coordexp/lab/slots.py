"""Where a base writes numbers, and what it thinks just before.

The base reads its pictures and the answers of a file of records, in its own style but with numbers
quoted, as coord tokens will be: `"bbox_2d": ["12", "34", ...]`.

Shapes: `D` width.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.chat import IMAGE_MARK, Chat, Message
from coordexp.data.contract.record import Record
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.plan.ordering import ordered_objects
from coordexp.inference.run.predictor import Predictor
from coordexp.model.fitted_rows import Places
from coordexp.rendering.collate import Collator
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.encode import IGNORE_INDEX, Example
from coordexp.rendering.style import RenderingStyle

ELSEWHERE_EVERY = 3
"""One in so many tokens that begin no number is looked at too."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Places in one encoded answer, as tokens of the answer.

    Args:
        numbers: Tokens with which a number begins, and the number.
        others: Tokens that are no part of a number.
    """

    numbers: tuple[tuple[int, int], ...]
    others: tuple[int, ...]


def quoted_answer(record: Record, style: RenderingStyle) -> tuple[str, list[tuple[int, int, int]]]:
    """Return the answer with its numbers quoted, and each number's first and last place and value.

    Places are characters of the answer, the last one excluded.
    """
    alphabet = style.alphabet
    objects = ordered_objects(record, "sorted", seed=0, epoch=0, index=0, alphabet=alphabet)
    written = render_answer(
        objects,
        record.width,
        record.height,
        alphabet=alphabet,
        json_format=style.json_format,
        coord_tokens=True,
    )
    text = ""
    numbers = []
    last = 0
    for found in _token_pattern(alphabet).finditer(written):
        text += written[last : found.start()]
        digits = str(int(found.group(1)))
        numbers.append((len(text), len(text) + len(digits), int(digits)))
        text += digits
        last = found.end()
    return text + written[last:], numbers


def find_slots(
    tokenizer: PreTrainedTokenizerBase, text: str, numbers: Sequence[tuple[int, int, int]]
) -> Slots:
    """Return which tokens of an answer begin a number, and which have nothing to do with one.

    A number that does not begin a token of its own is left out: nothing follows from the hidden
    state before it alone.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets: list[tuple[int, int]] = encoded["offset_mapping"]
    begins = {start: value for start, _, value in numbers}
    inside = {place for start, stop, _ in numbers for place in range(start, stop)}
    return Slots(
        numbers=tuple(
            (k, begins[start]) for k, (start, _) in enumerate(offsets) if start in begins
        ),
        others=tuple(
            k for k, (start, stop) in enumerate(offsets) if inside.isdisjoint(range(start, stop))
        ),
    )


@torch.no_grad()
def collect_places(predictor: Predictor, data: Path, *, batch_size: int) -> Places:
    """Return what a base thinks at the numbers of a file of records.

    Args:
        predictor: A base that answers in integers.
        data: JSONL of records: its own answers, or true ones.
        batch_size: Records at once.
    """
    encoder = predictor.encoder
    records = RecordFile(data, encoder.style.alphabet)
    hidden: list[Tensor] = []
    bins: list[int] = []
    elsewhere: list[Tensor] = []
    for start in range(0, len(records), batch_size):
        indices = range(start, min(start + batch_size, len(records)))
        batch = [_encoded(predictor, records, index) for index in indices]
        states = _hidden_states(predictor, [example for example, _ in batch])
        for row, (example, slots) in zip(states, batch, strict=True):
            first = int((example.labels != IGNORE_INDEX).nonzero()[0])
            # From the state of the token before, as in generation.
            hidden += [row[first + place - 1] for place, _ in slots.numbers]
            bins += [value for _, value in slots.numbers]
            elsewhere += [row[first + place - 1] for place in slots.others[::ELSEWHERE_EVERY]]
    width = int(predictor.model.config.get_text_config().hidden_size)
    nothing = torch.zeros(0, width)
    return Places(
        hidden=torch.stack(hidden) if hidden else nothing,
        bins=torch.tensor(bins, dtype=torch.long),
        elsewhere=torch.stack(elsewhere) if elsewhere else nothing,
    )


def _encoded(predictor: Predictor, records: RecordFile, index: int) -> tuple[Example, Slots]:
    encoder = predictor.encoder
    record = records[index]
    text, numbers = quoted_answer(record, encoder.style)
    messages = [Message("user", IMAGE_MARK + encoder.style.user_prompt), Message("assistant", text)]
    if encoder.style.system_prompt is not None:
        messages.insert(0, Message("system", encoder.style.system_prompt))
    chat = Chat(messages=tuple(messages), images=(record.image,))
    example = encoder.encode_chat(chat, [load_image(records.root, record)])
    return example, find_slots(encoder.tokenizer, text, numbers)


def _hidden_states(predictor: Predictor, examples: Sequence[Example]) -> Tensor:
    encoder = predictor.encoder
    collate = Collator(
        pad_id=encoder.tokenizer.pad_token_id, image_token_id=encoder.image_token_id, side="right"
    )
    batch = {name: value.to(predictor.model.device) for name, value in collate(examples).items()}
    batch.pop("labels")
    states: Tensor = predictor.model.base_model(**batch).last_hidden_state
    return states.float().cpu()


def _token_pattern(alphabet: CoordAlphabet) -> re.Pattern[str]:
    before, after = re.split(r"\{[^}]*\}", alphabet.pattern)
    return re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
