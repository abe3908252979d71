"""One training run, from a configuration to a checkpoint.

`training.output_dir` holds in the end the weights, the tokenizer, `coordexp.json` and the resolved
`config.yaml`; `train_log.jsonl` and the tracker's files lie beside them. A run that was killed goes
on when it is started again (`training.keep.output`, `resume`, `checkpoint`). The weights are an
adapter that belongs to its base (`tuner.train_type: lora`), to be merged by `coordexp merge`, or a
whole model (`full`), which is used as it is and needs no merging.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import cache, partial
from pathlib import Path

from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, TrainerCallback, set_seed
from transformers.integrations.integration_utils import TensorBoardCallback

from coordexp.config.load import dump_config
from coordexp.config.schema import Config, MixPart
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CoordExpError, InputError
from coordexp.export.expert_layout import lay_out_as_base
from coordexp.export.model_card import write_trained_card
from coordexp.families.known import load_family
from coordexp.families.towers import expert_names
from coordexp.files import copy_missing_files, write_text
from coordexp.model.adapters import base_model
from coordexp.model.card import WeightsCard, load_origin, write_card
from coordexp.model.load import check_base
from coordexp.model.shards import load_weights
from coordexp.processes import is_first_rank, world_size
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle, style_to_json
from coordexp.training.keep.checkpoint import disk_errors
from coordexp.training.keep.output import (
    CONFIG_NAME,
    Start,
    check_unclaimed,
    claimed,
    find_start,
    mark_output,
)
from coordexp.training.loop.engines import check_launch
from coordexp.training.loop.optimizer import (
    TABLE_NAME,
    group_parameters,
    ignored_rates,
    parameter_groups,
    table_text,
    write_table,
)
from coordexp.training.loop.trainer import CoordTrainer, check_arguments
from coordexp.training.run.arguments import build_arguments
from coordexp.training.run.build import (
    build_learner,
    build_objective,
    build_vocab,
)
from coordexp.training.run.build_feed import build_feed, training_collator
from coordexp.training.run.class_list import trained_classes
from coordexp.training.run.course import Course, plan_course
from coordexp.training.run.experts_note import experts_note
from coordexp.training.run.machine import check_machine
from coordexp.training.run.run_encoder import build_run_encoder
from coordexp.training.run.setup_errors import run_errors, setup_errors
from coordexp.training.step.feed import Feed
from coordexp.training.watch.early_stop import EarlyStop
from coordexp.training.watch.monitor import monitor_settings
from coordexp.training.watch.progress import JsonlLog, ProgressBar, TensorBoardLog, check_trackers

logger = logging.getLogger(__name__)

# Of a base: what a whole model needs beside its weights, its configuration and its tokenizer.
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "chat_template.json",
)


def train(config: Config, *, say: Callable[[str], None] = logger.info) -> Path:
    """Train, or go on with a run that was killed, and return the output directory.

    Configuration, base, records and pictures are checked before anything is written.

    Args:
        config: Of the run.
        say: Takes what the user should know: that a run goes on, or is finished already.

    Raises:
        InputError: If something of it is wrong, or the output directory holds something else.
        CoordExpError: If the loss stops being finite, or the disk does not take what is written.
    """
    output_dir = config.training.output_dir
    start = find_start(config, world_size=world_size())
    if start.finished:
        _tell(start, output_dir, say)
        return output_dir
    if is_first_rank():
        check_unclaimed(output_dir)  # before a large model is loaded
    bar = ProgressBar()
    trainer = build_trainer(config, callbacks=[JsonlLog(output_dir), bar])
    with ExitStack() as stack:
        stack.callback(bar.stop)
        if trainer.is_world_process_zero():
            stack.enter_context(claimed(output_dir))
            if find_start(config, world_size=world_size()) != start:
                raise CoordExpError(f"{output_dir}: another process has just been there")
            mark_output(config)
            _tell(start, output_dir, say)
            say(_course_of(trainer, config).words())
            for note in left_out(config):
                say(note)
            _show_optimizer(trainer, config, say)
        trainer.accelerator.wait_for_everyone()
        _train_and_save(trainer, config, start)
    return output_dir


def _train_and_save(trainer: CoordTrainer, config: Config, start: Start) -> None:
    try:
        checkpoint = None if start.checkpoint is None else str(start.checkpoint)
        with run_errors(), suppress(EarlyStop):
            trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_final(partial(_finish, config))
    except InputError:
        # A record that is too long, say: until the first step nothing here is worth keeping.
        if start.fresh and trainer.state.global_step == 0 and trainer.is_world_process_zero():
            shutil.rmtree(config.training.output_dir)
        raise


def _finish(config: Config, directory: Path) -> None:
    """Leave a whole model as the files of its base are laid out."""
    has_experts = expert_names(load_family(config.model.path).towers)
    if has_experts and config.tuner.train_type == "full":
        lay_out_as_base(directory, config.model.path)


def _tell(start: Start, output_dir: Path, say: Callable[[str], None]) -> None:
    words = start.words(output_dir)
    if words and is_first_rank():
        say(words)


def _course_of(trainer: CoordTrainer, config: Config) -> Course:
    feed = trainer.train_dataset
    if not isinstance(feed, Feed):
        raise TypeError("a run of ours is fed by a plan")
    return plan_course(config, feed, world_size=trainer.args.world_size)


def left_out(config: Config) -> list[str]:
    """Return a note on the base's weights that a whole model is saved without, if there are any."""
    if config.tuner.train_type == "lora":
        return []  # merging keeps them
    beginnings = load_family(config.model.path).unloaded
    names = [n for n in load_weights(config.model.path).by_name if n.startswith(beginnings)]
    if not names:
        return []
    return [
        f"{config.model.path}: {len(names)} weights, {names[0]} first, are no part of the model "
        "that is trained; the whole model will be saved without them"
    ]


def _show_optimizer(trainer: CoordTrainer, config: Config, say: Callable[[str], None]) -> None:
    """Say who learns and how fast, and keep it beside the run."""
    rows = trainer.optimizer_rows()
    family = load_family(config.model.path)
    for note in (*ignored_rates(config), *experts_note(config, base_model(trainer.model), family)):
        say(note)
    say(table_text(rows))
    with disk_errors(config.training.output_dir, TABLE_NAME):
        write_table(rows, config.training.output_dir)


def build_trainer(config: Config, *, callbacks: Sequence[TrainerCallback]) -> CoordTrainer:
    """Return the trainer of a run, ready to start; its output directory exists then.

    Raises:
        InputError: As `train` does, but whatever the output directory holds.
    """
    check_launch(config)
    check_machine(config)
    # Before the records, which may take long.
    check_base(config.model.path, adapts_experts=config.tuner.train_experts)
    vocab = build_vocab(config)
    encoder = build_run_encoder(config, config.model.path)
    held_out = config.data.eval
    train_feed = build_feed(config.data.parts, config, encoder, training=True)
    eval_feed = None
    if held_out is not None:
        eval_feed = build_feed([MixPart(path=held_out)], config, encoder, training=False)
    return assemble_trainer(config, vocab, encoder, train_feed, eval_feed, callbacks=callbacks)


def assemble_trainer(
    config: Config,
    vocab: CoordVocab | None,
    encoder: Encoder,
    train_feed: Feed,
    eval_feed: Feed | None,
    *,
    callbacks: Sequence[TrainerCallback],
) -> CoordTrainer:
    """Return the trainer of a run out of its parts; the model is loaded here.

    Raises:
        InputError: If the model, or what of it learns, does not fit the configuration.
    """
    arguments = build_arguments(config, world_size=world_size())
    check_arguments(arguments)
    check_trackers(list(arguments.report_to or ()))  # a list, whatever its type says
    detection = _detection(config)

    set_seed(config.training.seed)
    learner = build_learner(config, vocab, encoder.tokenizer)
    groups = parameter_groups(config, load_family(config.model.path))
    group_parameters(learner.model, groups)  # raises while nothing is written yet

    @cache
    def classes() -> tuple[str, ...] | None:
        return trained_classes(config)

    def write_extras(directory: Path) -> None:
        write_beside_weights(directory, config, encoder.style, learner.card, classes())

    with setup_errors("transformers' Trainer"):
        trainer = CoordTrainer(
            model=learner.model,
            args=arguments,
            train_dataset=train_feed,
            eval_dataset=eval_feed,
            data_collator=training_collator(encoder),
            processing_class=encoder.tokenizer,
            callbacks=list(callbacks),
            objective=build_objective(config, vocab),
            pack_size=config.training.global_max_length if config.training.packing else None,
            monitor=monitor_settings(config),
            groups=groups,
            write_extras=write_extras,
        )
    trainer.remove_callback(PrinterCallback)
    if trainer.pop_callback(TensorBoardCallback) is not None:
        trainer.add_callback(TensorBoardLog())  # type: ignore[no-untyped-call]
    if detection is not None:  # after the logs, which it writes to when the run begins
        trainer.add_callback(detection(trainer))
    return trainer


def _detection(config: Config) -> Callable[[CoordTrainer], TrainerCallback] | None:
    """Return what makes the callback that asks checkpoints, None where it asks nothing."""
    if config.training.detection_eval.steps is None:
        return None
    # Not above: inference and evaluation would make every start half a second longer.
    from coordexp.training.watch.detection import DetectionEvaluation, build_detection  # noqa: PLC0415

    asked = build_detection(config)
    if asked is None:
        return None
    return lambda trainer: DetectionEvaluation(
        asked, log=trainer.log, agree=lambda mine: bool(broadcast_object_list([mine])[0])
    )


def write_beside_weights(
    directory: Path,
    config: Config,
    style: RenderingStyle,
    card: WeightsCard,
    classes: Sequence[str] | None,
) -> None:
    """Write what belongs beside the weights of a run: its card, its configuration."""
    origin = load_origin(config.model.path)
    write_card(directory, style=style_to_json(style), weights=card, classes=classes, origin=origin)
    write_trained_card(
        directory,
        config.model.path,
        name=config.training.output_dir.name,
        style=style,
        adapter=config.tuner.train_type == "lora",
    )
    write_text(directory / CONFIG_NAME, dump_config(config))
    if card.base is None:
        copy_missing_files(
            config.model.path, directory, wanted=lambda path: path.name in PROCESSOR_FILES
        )
