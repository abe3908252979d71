"""A tiny model that knows a few scenes by heart, in the time of a test.

The shipped base reads digits and writes plain integers. It takes some steps on all weights until it
answers these very scenes in coord tokens, surely enough that no rounding changes an answer.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import torch
from transformers import PreTrainedModel

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.inference.run.predictor import load_encoder
from coordexp.model.card import WeightsCard, write_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_base, load_coord_vocab, load_tokenizer
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.rendering.collate import Collator
from coordexp.rendering.encode import Encoder, Example
from coordexp.rendering.style import RenderingStyle, style_to_json

BATCH = 4


def write_overfitted(dst: Path, scenes: Path, style: RenderingStyle, *, steps: int) -> None:
    """Write a merged model that has learned all of a file's records."""
    with resources.as_file(resources.files("coordexp.tiny") / "base") as base:
        expand_vocabulary(base, dst, alphabet=SPEC_ALPHABET, init="digits")
    ids = load_coord_vocab(dst, SPEC_ALPHABET).ids
    weights = WeightsCard(
        base=None,
        tokenizer=tokenizer_fingerprint(load_tokenizer(dst)),
        coord_ids=(ids[0], ids[-1]),
        coord_rows=None,
        tie_head=None,
    )
    write_card(dst, style=style_to_json(style), weights=weights)
    encoder, _ = load_encoder(dst)
    records = RecordFile(scenes, SPEC_ALPHABET)
    examples = [
        encoder.encode(record, load_image(records.root, record), seed=0, epoch=0, index=index)
        for index, record in enumerate(records)
    ]
    model = load_base(dst, dtype="float32", attn_implementation="sdpa")
    _learn(model, encoder, examples, steps)
    model.save_pretrained(dst)


def _learn(
    model: PreTrainedModel, encoder: Encoder, examples: Sequence[Example], steps: int
) -> None:
    collate = Collator(
        pad_id=encoder.tokenizer.pad_token_id,
        image_token_id=encoder.image_token_id,
        side="right",
    )
    model.model.visual.requires_grad_(requires_grad=False)  # it sees well, and takes half the time
    learning = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    for step in range(steps):
        first = BATCH * step % len(examples)
        loss = model(**collate(examples[first : first + BATCH])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
