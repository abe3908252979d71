"""The stage-1 objective in a plain `transformers.Trainer`.

    python examples/plain_trainer.py BASE RECORDS.jsonl OUT

BASE is a checkpoint that `coordexp vocab expand` has written. The model, its adapter, the optimizer
and the data are yours to choose; the mixin brings the loss and its log.
"""

import sys
from pathlib import Path

from transformers import Trainer, TrainingArguments

from coordexp.config.custom import default_user_prompt
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.load import load_base, load_coord_vocab, load_inputs, load_tokenizer
from coordexp.objective import CoordTarget, CoordWeights
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle
from coordexp.training.loop.trainer import CoordSoftCEW1LossMixin
from coordexp.training.run.build_feed import training_collator
from coordexp.training.step.dataset import RecordDataset
from coordexp.training.step.loss_function import Objective


class PointingTrainer(CoordSoftCEW1LossMixin, Trainer):
    """Your own Trainer, callbacks and all, with the stage-1 loss."""


def main(base: Path, records: Path, out: Path) -> PointingTrainer:
    """Train the coord rows alone for two steps and return the trainer."""
    style = RenderingStyle(
        system_prompt=None,
        user_prompt=default_user_prompt(["bbox_2d"]),
        json_format="standard",
        object_ordering="sorted",
        coord_tokens=True,
        alphabet=SPEC_ALPHABET,
        min_pixels=None,
        max_pixels=None,
    )
    processor = load_inputs(base, min_pixels=None, max_pixels=None)
    encoder = Encoder(load_tokenizer(base), processor, style)
    coord_ids = load_coord_vocab(base, SPEC_ALPHABET).ids
    model = load_base(base, dtype="float32", attn_implementation="sdpa")
    for parameter in model.parameters():
        parameter.requires_grad = False
    install_coord_offset_adapter(model, coord_ids=coord_ids, tie_head=True)
    weights = CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=1.0)
    target = CoordTarget(2.0, 16, 1.0, "fraction", "soft")
    trainer = PointingTrainer(
        model,
        TrainingArguments(
            str(out),
            max_steps=2,
            learning_rate=1e-2,
            logging_steps=1,
            remove_unused_columns=False,  # the batch has columns that are no argument by name
            save_strategy="no",
            report_to="none",
            use_cpu=True,
        ),
        data_collator=training_collator(encoder),
        train_dataset=RecordDataset(
            RecordFile(records, SPEC_ALPHABET), encoder, seed=0, max_length=None
        ),
        objective=Objective(coord_ids, weights, target, backend="auto"),
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
