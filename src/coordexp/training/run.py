"""One training run, from a configuration to a checkpoint.

`training.output_dir` holds in the end the weights, the tokenizer, `coordexp.json` and the resolved
`config.yaml`; `train_log.jsonl` and the tracker's files lie beside them. The weights are an adapter
that belongs to its base (`tuner.train_type: lora`), to be merged by `coordexp merge`, or a whole
model (`full`), which is used as it is and needs no merging.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import PrinterCallback, TrainerCallback, set_seed

from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from coordexp.data.jsonl import RecordFile
from coordexp.errors import InputError
from coordexp.files import copy_missing_files, write_text
from coordexp.model.card import WeightsCard, write_card
from coordexp.rendering.collate import Collator
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle, style_to_json
from coordexp.training.build import (
    build_arguments,
    build_encoder,
    build_learner,
    build_objective,
    build_style,
    build_vocab,
)
from coordexp.training.dataset import RecordDataset, check_records
from coordexp.training.optimizer import group_parameters, parameter_groups
from coordexp.training.progress import JsonlLog, ProgressBar
from coordexp.training.trainer import CoordTrainer, check_arguments

# Of a base: what a whole model needs beside its weights, its configuration and its tokenizer.
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "chat_template.json",
)


def train(config: Config) -> Path:
    """Train and return the checkpoint's directory.

    Configuration, base, records and pictures are checked before anything is written.

    Raises:
        InputError: If something of it is wrong, or the output directory holds a run already.
        CoordExpError: If the loss stops being finite.
    """
    output_dir = config.training.output_dir
    bar = ProgressBar()
    trainer = build_trainer(config, callbacks=[JsonlLog(output_dir), bar])
    try:
        trainer.train()
        trainer.save_model(str(output_dir))
    except InputError:
        # A record that is too long, say: until the first step nothing here is worth keeping.
        if trainer.state.global_step == 0 and trainer.is_world_process_zero():
            shutil.rmtree(output_dir)
        raise
    finally:
        bar.stop()
    return output_dir


def build_trainer(config: Config, *, callbacks: Sequence[TrainerCallback]) -> CoordTrainer:
    """Return the trainer of a run, ready to start; its output directory exists then.

    Raises:
        InputError: As `train` does.
    """
    training = config.training
    _check_output(training.output_dir)
    vocab = build_vocab(config)
    style = build_style(config)
    encoder = build_encoder(config.model.path, style)
    data = _dataset(config.data.train, config, encoder)
    held_out = None if config.data.eval is None else _dataset(config.data.eval, config, encoder)
    arguments = build_arguments(config, world_size=int(os.environ.get("WORLD_SIZE", "1")))
    check_arguments(arguments)

    set_seed(training.seed)
    learner = build_learner(config, vocab, encoder.tokenizer)
    groups = parameter_groups(config)
    group_parameters(learner.model, groups)  # raises while nothing is written yet

    def write_extras(directory: Path) -> None:
        _write_extras(directory, config, style, learner.card)

    trainer = CoordTrainer(
        model=learner.model,
        args=arguments,
        train_dataset=data,
        eval_dataset=held_out,
        data_collator=Collator(
            pad_id=encoder.tokenizer.pad_token_id,
            image_token_id=encoder.image_token_id,
            side="right",
        ),
        processing_class=encoder.tokenizer,
        callbacks=list(callbacks),
        objective=build_objective(config, vocab),
        groups=groups,
        write_extras=write_extras,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _dataset(path: Path, config: Config, encoder: Encoder) -> RecordDataset:
    records = RecordFile(path, config.custom.coord_tokens.alphabet.to_alphabet())
    check_records(records)
    return RecordDataset(
        records,
        encoder,
        seed=config.training.seed,
        max_length=config.training.global_max_length,
    )


def _write_extras(
    directory: Path, config: Config, style: RenderingStyle, card: WeightsCard
) -> None:
    write_card(directory, style=style_to_json(style), weights=card)
    write_text(directory / "config.yaml", dump_config(config))
    if card.base is None:
        copy_missing_files(
            config.model.path, directory, wanted=lambda path: path.name in PROCESSOR_FILES
        )


def _check_output(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise InputError(f"training.output_dir: {directory} is a file")
    if directory.is_dir() and any(directory.iterdir()):
        raise InputError(
            f"training.output_dir: {directory} holds something already; choose another or remove it"
        )
