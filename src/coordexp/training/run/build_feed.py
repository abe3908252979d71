"""From a file of records to what a loop is fed with: checked, measured, planned."""

import logging
from collections.abc import Sequence

from coordexp.config.schema import Config, MixPart
from coordexp.data.augment.augment import Augmentation
from coordexp.data.files.mix import Mix, MixedOrder
from coordexp.data.plan.schedule import (
    FixedBatches,
    InFileOrder,
    PackedBatches,
    PackSettings,
)
from coordexp.errors import InputError, RecordError
from coordexp.processes import is_first_rank
from coordexp.rendering.collate import Collator, blank_example
from coordexp.rendering.encode import Encoder
from coordexp.rendering.packing import PackCollator
from coordexp.training.step.dataset import (
    RecordDataset,
    check_records,
    check_texts,
    record_lengths,
)
from coordexp.training.step.feed import Feed

logger = logging.getLogger(__name__)

# Dropped records that are named one by one.
_MOST_NAMED = 20


def build_feed(
    parts: Sequence[MixPart], config: Config, encoder: Encoder, *, training: bool
) -> Feed:
    """Return the feed of files of records, which are checked, and measured where that is needed.

    Raises:
        RecordError: If a record or its picture is wrong, or too long under `overlong: fail`.
        InputError: If no record is left.
    """
    records = checked_records(parts, config)
    augment = config.data.augment.to_augmentation() if training else None
    return plan_feed(records, parts, config, encoder, training=training, augment=augment)


def checked_records(parts: Sequence[MixPart], config: Config) -> Mix:
    """Return files of records after a look at every record and every picture's file.

    Raises:
        RecordError: If a record or its picture is wrong.
        InputError: If a file cannot be read, or is empty.
    """
    alphabet = config.custom.coord_tokens.alphabet.to_alphabet()
    records = Mix.open([part.path for part in parts], alphabet)
    check_records(records)
    return records


def plan_feed(
    records: Mix,
    parts: Sequence[MixPart],
    config: Config,
    encoder: Encoder,
    *,
    training: bool,
    augment: Augmentation | None = None,
) -> Feed:
    """Return the feed of checked records, measured as they are where that is needed.

    Whoever looks at records, the doctor say, looks at them as they are, without `augment`.

    Raises:
        RecordError: If a record holds a special token, or is too long under `overlong: fail`.
        InputError: If no record is left.
    """
    block = config.training
    dataset = RecordDataset(
        records, encoder, seed=block.seed, max_length=block.global_max_length, augment=augment
    )
    kept: Sequence[int] = range(len(records))
    lengths: Sequence[int] = ()
    if block.global_max_length is not None:
        lengths = record_lengths(records, encoder)
        kept = _short_enough(
            dataset, lengths, block.global_max_length, drop=block.overlong == "drop"
        )
    else:
        check_texts(records, encoder)  # as measuring does
    seed = block.seed if block.data_seed is None else block.data_seed
    weights = [part.weight for part in parts]
    order = MixedOrder(records.split(kept), weights, seed) if training else InFileOrder(kept)
    if block.global_max_length is not None and block.packs(training=training):
        settings = PackSettings(
            capacity=block.global_max_length,
            buffer=block.packing_buffer,
            min_fill=block.packing_min_fill_ratio,
            drop_last=block.packing_drop_last and training,
        )
        packed = PackedBatches(order, lengths, settings, seed=seed if training else None)
        _check_packs(packed, records.name)
        collate = PackCollator(
            inputs=encoder.inputs,
            image_token_id=encoder.image_token_id,
            blank=blank_example(encoder),
        )
        return Feed(dataset, packed, collate)
    size = block.per_device_train_batch_size if training else block.per_device_eval_batch_size
    return Feed(dataset, FixedBatches(order, size), training_collator(encoder))


def training_collator(encoder: Encoder) -> Collator:
    """Return the collator that pads on the right, and makes a batch of no example too."""
    return Collator(
        pad_id=encoder.tokenizer.pad_token_id,
        image_token_id=encoder.image_token_id,
        side="right",
        blank=blank_example(encoder),
    )


def _short_enough(
    dataset: RecordDataset, lengths: Sequence[int], most: int, *, drop: bool
) -> Sequence[int]:
    """Return the records that are no longer than a pack, and say which are."""
    long = [index for index, length in enumerate(lengths) if length > most]
    if not long:
        return range(len(lengths))
    if not drop:
        error = dataset.over_long(long[0], lengths[long[0]])
        others = f" ({len(long) - 1} more are too long)" if len(long) > 1 else ""
        raise RecordError(error.message + others, file=error.file, line=error.line)
    if len(long) == len(lengths):
        raise InputError(
            f"{dataset.records.name}: every record is longer than training.global_max_length "
            f"{most}; the shortest has {min(lengths)} tokens"
        )
    for index in long[:_MOST_NAMED]:
        _warn("%s: dropped, %d tokens", dataset.place(index), lengths[index])
    _warn(
        "%s: dropped %d of %d records, longer than training.global_max_length %d",
        dataset.records.name,
        len(long),
        len(lengths),
        most,
    )
    too_long = set(long)
    return [index for index in range(len(lengths)) if index not in too_long]


def _check_packs(plan: PackedBatches, name: str) -> None:
    """Say whether the first epoch's packs are too empty; later epochs are much like it."""
    least = plan.settings.min_fill
    if not plan.count(0):
        raise InputError(
            f"{name}: training.packing_drop_last leaves no pack: none is filled to "
            f"packing_min_fill_ratio {least:g}"
        )
    if plan.fill(0) < least:
        _warn(
            "%s: packs are only %.0f %% full (training.packing_min_fill_ratio: %g); "
            "choose another global_max_length or a larger packing_buffer",
            name,
            100 * plan.fill(0),
            least,
        )


def _warn(message: str, *values: object) -> None:
    if is_first_rank():
        logger.warning(message, *values)
