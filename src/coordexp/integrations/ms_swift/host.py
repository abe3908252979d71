"""`host: ms_swift` of `coordexp train`: the same YAML, run by ms-swift.

The output directory holds in the end what `training.run.stage1` leaves there: the adapter, the
tokenizer, `coordexp.json`, `config.yaml`, `train_log.jsonl`; beside them ms-swift's own files and
the messages that it was given. A run that was stopped goes on from the newest complete checkpoint.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState

from coordexp.config.load import dump_config, load_config
from coordexp.config.schema import Config, MixPart
from coordexp.data.files.mix import Mix
from coordexp.errors import InputError, install_advice
from coordexp.integrations.ms_swift.install import connect
from coordexp.integrations.ms_swift.messages import write_messages
from coordexp.integrations.ms_swift.place import plugin_path
from coordexp.integrations.ms_swift.refusals import check_ms_swift
from coordexp.integrations.ms_swift.settings import arguments_of_config, check_host
from coordexp.model.card import CARD_NAME
from coordexp.processes import is_first_rank, world_size
from coordexp.rendering.encode import Encoder
from coordexp.training.keep.checkpoint import find_checkpoints
from coordexp.training.keep.output import CONFIG_NAME, claimed, mark_output
from coordexp.training.run.build import build_encoder, build_style
from coordexp.training.run.build_feed import checked_records, plan_feed
from coordexp.training.run.class_list import trained_classes
from coordexp.training.run.host import import_fault
from coordexp.training.run.machine import check_machine
from coordexp.training.watch.progress import JsonlLog

logger = logging.getLogger(__name__)

# Written last into a checkpoint by transformers.
_LAST_FILE = "trainer_state.json"


def train(config: Config, *, say: Callable[[str], None] = logger.info) -> Path:
    """Train with ms-swift and return the output directory.

    Args:
        config: With `host: ms_swift`.
        say: Takes what the user should know.

    Raises:
        InputError: If ms-swift is absent, of another version, or cannot follow the configuration.
    """
    check_ms_swift()
    if fault := import_fault():
        raise InputError(f"host: ms_swift: {fault}")
    check_host(config)
    check_machine(config)
    _load_swift()  # or it would fail when the records are written already
    directory = config.training.output_dir
    if (directory / CARD_NAME).exists():
        _check_same(config)
        say(f"{directory}: this run is finished; nothing to do")
        return directory
    resume = _newest_checkpoint(config)
    if resume is not None:
        say(f"{directory}: going on from {resume.name}")
    if not is_first_rank():
        _wait(config)
        _run(config, resume)
        return directory
    encoder = build_encoder(config.model.path, build_style(config))
    splits = checked_splits(config, encoder)
    with claimed(directory):
        mark_output(config)
        for split, (records, kept) in splits.items():
            path = _messages(config, split)
            write_messages(records, kept, encoder, path, path.with_suffix(""))
        _wait(config)
        _run(config, resume)
    return directory


def _wait(config: Config) -> None:
    """Let every rank come to where the messages are written."""
    if world_size() > 1:
        PartialState(cpu=config.training.use_cpu).wait_for_everyone()


def _load_swift() -> tuple[Any, Any]:
    """Return ms-swift's `SftArguments` and `SwiftSft`.

    Raises:
        InputError: If it cannot be imported.
    """
    try:
        # ms-swift may be absent
        from swift.arguments import SftArguments  # noqa: PLC0415
        from swift.pipelines import SwiftSft  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001 - whatever packages of other versions raise
        told = f"{type(error).__name__}: {error}"
        raise InputError(
            f"host: ms_swift: it cannot be loaded ({told}); {install_advice('swift')}"
        ) from None
    return SftArguments, SwiftSft


def _run(config: Config, resume: Path | None) -> None:
    sft_arguments, swift_sft = _load_swift()
    arguments = arguments_of_config(
        config,
        train=_messages(config, "train"),
        held_out=None if config.data.eval is None else _messages(config, "eval"),
        world_size=world_size(),
    )
    sft: Any = swift_sft(
        sft_arguments(
            **arguments,
            external_plugins=[str(plugin_path())],
            resume_from_checkpoint=None if resume is None else str(resume),
        )
    )
    connect(sft, config, classes=trained_classes(config) if is_first_rank() else None)
    theirs = sft.train

    def train_and_save(trainer: Any) -> Any:  # noqa: ANN401 - ms-swift's
        trainer.add_callback(JsonlLog(config.training.output_dir))
        result = theirs(trainer)
        trainer.save_model()
        return result

    sft.train = train_and_save
    sft.run()


def _messages(config: Config, split: str) -> Path:
    return config.training.output_dir / "messages" / f"{split}.jsonl"


def checked_splits(config: Config, encoder: Encoder) -> dict[str, tuple[Mix, list[int]]]:
    """Return the records of `train`, and of `eval` where there are any, with those that are used.

    They are looked at as our own runner does it, before anything is written.

    Raises:
        RecordError: If a record or its picture is wrong, or too long under `overlong: fail`.
        InputError: If a file cannot be read, or no record is left.
    """
    held_out = config.data.eval
    parts: dict[str, Sequence[MixPart]] = {"train": config.data.parts}
    if held_out is not None:
        parts["eval"] = [MixPart(path=held_out)]
    splits = {}
    for split, files in parts.items():
        records = checked_records(files, config)
        feed = plan_feed(records, files, config, encoder, training=False)
        kept = sorted(index for batch in feed.plan.batches(0) for index in batch)
        splits[split] = records, kept
    return splits


def _newest_checkpoint(config: Config) -> Path | None:
    directory = config.training.output_dir
    if not directory.is_dir() or not any(directory.iterdir()):
        return None
    if not (directory / CONFIG_NAME).exists():
        raise InputError(
            f"training.output_dir: {directory} holds something that is no run of coordexp train "
            f"(no {CONFIG_NAME}); choose another or remove it"
        )
    _check_same(config)
    complete = [path for path in find_checkpoints(directory) if (path / _LAST_FILE).exists()]
    return complete[-1] if complete else None


def _check_same(config: Config) -> None:
    known = config.training.output_dir / CONFIG_NAME
    if dump_config(load_config(known)) != dump_config(config):
        raise InputError(
            f"training.output_dir: the run in {known.parent} has another configuration; choose "
            "another directory, or bring the old one back"
        )
