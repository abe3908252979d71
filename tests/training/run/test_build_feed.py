import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from coordexp.config.schema import Config
from coordexp.data.plan.schedule import FixedBatches, PackedBatches
from coordexp.errors import InputError, RecordError
from coordexp.rendering.encode import IGNORE_INDEX, Encoder
from coordexp.training.run.build import build_encoder, build_style
from coordexp.training.run.build_feed import build_feed, training_collator
from coordexp.training.step.dataset import RecordDataset, record_lengths
from coordexp.training.step.feed import RECORDS, Feed

MakeConfig = Callable[..., Config]
PACKING = {"packing": True, "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1}


@pytest.fixture(scope="module")
def encoder(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    config = make_config(tmp_path_factory.mktemp("x"))
    return build_encoder(config.model.path, build_style(config))


@pytest.fixture(scope="module")
def lengths(
    make_config: MakeConfig, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> list[int]:
    feed = feed_of(make_config(tmp_path_factory.mktemp("x")), encoder)
    assert isinstance(feed.dataset, RecordDataset)
    measured = list(record_lengths(feed.dataset.records, encoder))
    assert measured == [len(feed.dataset[index]) for index in range(len(feed))]
    return measured


def feed_of(config: Config, encoder: Encoder, *, training: bool = True) -> Feed:
    return build_feed(config.data.parts, config, encoder, training=training)


def planned(feed: Feed) -> list[int]:
    return sorted(index for batch in feed.plan.batches(0) for index in batch)


def test_only_what_is_learned_from_is_augmented(
    make_config: MakeConfig, encoder: Encoder, tmp_path: Path
) -> None:
    config = make_config(tmp_path, data={"augment": {"crop": 0.5}})
    learned, held_out = (feed_of(config, encoder, training=training) for training in (True, False))
    assert isinstance(learned.dataset, RecordDataset)
    assert isinstance(held_out.dataset, RecordDataset)
    assert learned.dataset.augment is not None
    assert held_out.dataset.augment is None
    plain = feed_of(make_config(tmp_path), encoder).dataset
    assert isinstance(plain, RecordDataset)
    assert plain.augment is None


def test_without_packing_batches_have_a_fixed_size(
    make_config: MakeConfig, encoder: Encoder, tmp_path: Path
) -> None:
    feed = feed_of(make_config(tmp_path), encoder)
    assert isinstance(feed.plan, FixedBatches)
    assert [len(batch) for batch in feed.plan.batches(0)] == [3, 3]
    assert planned(feed) == list(range(6))


def test_a_pack_holds_what_was_planned_and_names_its_records(
    make_config: MakeConfig, encoder: Encoder, lengths: list[int], tmp_path: Path
) -> None:
    size = 2 * max(lengths)
    config = make_config(tmp_path, training={**PACKING, "global_max_length": size})
    feed = feed_of(config, encoder)
    assert isinstance(feed.plan, PackedBatches)
    assert planned(feed) == list(range(6))
    for indices in feed.plan.batches(0):
        batch = feed.collate_numbered([feed[index] for index in indices])
        tokens = sum(lengths[index] for index in indices)
        assert batch["input_ids"].shape == (1, tokens)
        assert tokens <= size
        assert batch[RECORDS].tolist() == list(indices)
    file = config.data.parts[0].path
    assert feed.place(2) == f"{file}:3"


def test_evaluations_are_packed_in_order_unless_switched_off(
    make_config: MakeConfig, encoder: Encoder, lengths: list[int], tmp_path: Path
) -> None:
    training = {**PACKING, "global_max_length": 6 * max(lengths), "packing_drop_last": True}
    packed = feed_of(make_config(tmp_path, training=training), encoder, training=False)
    assert packed.plan.batches(0) == [list(range(6))]  # nothing is left out, though it is short
    off = make_config(tmp_path, training={**training, "eval_packing": False})
    padded = feed_of(off, encoder, training=False)
    assert [list(batch) for batch in padded.plan.batches(0)] == [[index] for index in range(6)]


def test_what_is_too_long_stops_the_run_with_its_line_and_length(
    make_config: MakeConfig, encoder: Encoder, lengths: list[int], tmp_path: Path
) -> None:
    longest = max(lengths)
    config = make_config(tmp_path, training={"global_max_length": longest - 1})
    line = lengths.index(longest) + 1
    with pytest.raises(RecordError, match=rf"jsonl:{line}: the example has {longest} tokens"):
        feed_of(config, encoder)
    assert (
        len(feed_of(make_config(tmp_path, training={"global_max_length": longest}), encoder)) == 6
    )
    short = make_config(tmp_path, training={"global_max_length": 50})
    with pytest.raises(RecordError, match=r"jsonl:1: .*overlong: drop \(5 more are too long\)$"):
        feed_of(short, encoder)


def test_what_is_too_long_is_dropped_by_name_and_counted(
    make_config: MakeConfig,
    encoder: Encoder,
    lengths: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    longest = max(lengths)
    keys = {"global_max_length": longest - 1, "overlong": "drop"}
    config = make_config(tmp_path, training=keys)
    with caplog.at_level(logging.WARNING):
        feed = feed_of(config, encoder)
    long = [index for index, length in enumerate(lengths) if length == longest]
    assert planned(feed) == [index for index in range(6) if index not in long]
    for index in long:
        assert f"train.jsonl:{index + 1}: dropped, {longest} tokens" in caplog.text
    assert f"dropped {len(long)} of 6 records" in caplog.text


def test_a_file_of_over_long_records_alone_is_refused(
    make_config: MakeConfig, encoder: Encoder, lengths: list[int], tmp_path: Path
) -> None:
    config = make_config(tmp_path, training={"global_max_length": 50, "overlong": "drop"})
    with pytest.raises(InputError, match=f"the shortest has {min(lengths)} tokens"):
        feed_of(config, encoder)


def test_empty_packs_are_spoken_of(
    make_config: MakeConfig,
    encoder: Encoder,
    lengths: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = {**PACKING, "global_max_length": 4 * sum(lengths)}
    with caplog.at_level(logging.WARNING):
        feed_of(make_config(tmp_path, training=keys), encoder)
    assert "packs are only 25 % full" in caplog.text
    config = make_config(tmp_path, training={**keys, "packing_drop_last": True})
    with pytest.raises(InputError, match="packing_drop_last leaves no pack"):
        feed_of(config, encoder)


def test_every_epoch_says_what_it_leaves_out(
    make_config: MakeConfig,
    encoder: Encoder,
    lengths: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Five records fill a pack to two thirds at the least; the sixth is left.
    keys = {**PACKING, "global_max_length": sum(lengths) - 1, "packing_drop_last": True}
    feed = feed_of(make_config(tmp_path, training=keys), encoder)
    assert len(planned(feed)) < 6
    with caplog.at_level(logging.WARNING):
        feed.set_epoch(1)
    assert "epoch 2 leaves out" in caplog.text
    assert "of 6 records" in caplog.text


def test_a_batch_of_no_records_has_no_target(encoder: Encoder) -> None:
    batch = training_collator(encoder)([])
    assert (batch["labels"] == IGNORE_INDEX).all()
    assert torch.is_floating_point(batch["pixel_values"])
