"""The rival of `training.py`: the same model in a bare Trainer.

It has the same base, DoRA and offsets, from the same functions, and transformers' own
loss: the head gives logits for every row, `ForCausalLMLoss` takes them to float32, and nothing is
logged. It computes plain cross-entropy alone, which is less than the stage-1 objective asks for.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.utils.data import IterableDataset
from training_clock import PROMPT, FirstStep
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.adapters import install_lora
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.load import load_base, load_inputs, load_tokenizer
from coordexp.rendering.collate import Collator, blank_example
from coordexp.rendering.encode import Encoder, Example
from coordexp.rendering.packing import PackCollator
from coordexp.rendering.style import RenderingStyle

Batch = dict[str, Tensor]

LORA = {"rank": 16, "alpha": 32}
SCENES = 8
STYLE = RenderingStyle(
    system_prompt=None,
    user_prompt=PROMPT,
    json_format="standard",
    object_ordering="sorted",
    coord_tokens=True,
    alphabet=SPEC_ALPHABET,
    min_pixels=None,
    max_pixels=None,
)


class Prepared(IterableDataset[Batch]):
    """Batches in a given order, round and round."""

    def __init__(self, batches: Callable[[], Iterable[Batch]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield from self.batches()


def only(rows: list[Batch]) -> Batch:
    """Return the one batch; it is collated already."""
    (batch,) = rows
    return batch


def bare_trainer(
    base: Path,
    tokenizer: PreTrainedTokenizerBase,
    batches: Callable[[], Iterable[Batch]],
    out: Path,
    *,
    dtype: str,
    steps: int,
    checkpointing: bool,
    callbacks: list[TrainerCallback],
) -> Trainer:
    """Return a Trainer without any of ours but the model."""
    arguments = TrainingArguments(
        str(out),
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=1e-4,
        bf16=dtype == "bfloat16",
        gradient_checkpointing=checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        accelerator_config={"dispatch_batches": False},  # it would cut the batches up
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    return Trainer(
        adapted_model(base, tokenizer, dtype),
        arguments,
        data_collator=only,
        train_dataset=Prepared(batches),
        callbacks=callbacks,
    )


def adapted_model(base: Path, tokenizer: PreTrainedTokenizerBase, dtype: str) -> PeftModel:
    """Return the base with DoRA on every linear layer and coord offsets."""
    name: Any = dtype
    model = load_base(base, dtype=name, attn_implementation="sdpa")
    ids = tokenizer.convert_tokens_to_ids(list(SPEC_ALPHABET.tokens()))
    install_coord_offset_adapter(model, coord_ids=ids, tie_head=True, dtype=torch.float32)
    model.config.text_config.use_cache = False
    towers = ("vision", "aligner", "language")
    return install_lora(
        model,
        family=QWEN3_VL,
        towers=towers,
        leaves=None,
        experts=False,
        dropout=0.0,
        use_dora=True,
        **LORA,
    )


def run_bare(case: Any, scratch: Path, report: Callable[[dict[str, float]], None]) -> None:  # noqa: ANN401
    """Train from a fresh process and report when the last step is done.

    To start, it encodes records itself, as they come; where memory counts, its batches are ours.
    """
    base = scratch / case.model
    ready = scratch / "batches.pt"
    tokenizer = load_tokenizer(base)

    def batches() -> Iterable[Batch]:
        if case.kind == "memory":
            return torch.load(ready)
        return encoded_batches(base, tokenizer, scratch / f"{case.model}-data", case.pack)

    trainer = bare_trainer(
        base,
        tokenizer,
        batches,
        scratch / "bare",
        dtype=case.dtype,
        steps=case.steps,
        checkpointing=case.kind == "memory",
        callbacks=[FirstStep(case.steps, report)],
    )
    trainer.train()


def encoded_batches(
    base: Path, tokenizer: PreTrainedTokenizerBase, data: Path, pack: int | None
) -> Iterator[Batch]:
    """Yield batches of the records in their order: eight padded, or one pack nearly full."""
    processor = load_inputs(base, min_pixels=None, max_pixels=None)
    encoder = Encoder(tokenizer, processor, STYLE)
    image_id = encoder.image_token_id
    padded = Collator(pad_id=tokenizer.pad_token_id, image_token_id=image_id, side="right")
    packed = PackCollator(
        inputs=encoder.inputs, image_token_id=image_id, blank=blank_example(encoder)
    )
    found: list[Example] = []
    for index, record in enumerate(RecordFile(data / "train.jsonl", SPEC_ALPHABET)):
        example = encoder.encode(record, load_image(data, record), seed=0, epoch=0, index=index)
        full = len(found) == SCENES if pack is None else sum(map(len, [*found, example])) > pack
        if full:
            yield padded(found) if pack is None else packed(found)
            found = []
        found.append(example)
