"""Runs whose questions name classes, another list in each epoch."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coordexp.config.schema import Config
from coordexp.data.plan.schedule import PackedBatches
from coordexp.inference.run.predictor import load_style
from coordexp.training.run.build_feed import build_feed
from coordexp.training.run.run_encoder import build_run_encoder
from coordexp.training.run.stage1 import train
from coordexp.training.step.feed import Feed

MakeConfig = Callable[..., Config]
LISTED = {
    "user_prompt": "Find these: {classes}.",
    "class_list": {"negatives": {"most": 3, "empty_share": 0.3}},
}
PACKED = {
    "packing": True,
    "global_max_length": 700,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
}


def packed_feed(config: Config) -> Feed:
    encoder = build_run_encoder(config, config.model.path)
    return build_feed(config.data.parts, config, encoder, training=True)


def test_no_pack_is_longer_than_planned_in_any_epoch(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    feed = packed_feed(make_config(tmp_path / "run", custom=LISTED, training=PACKED))
    assert isinstance(feed.plan, PackedBatches)
    drawn = set()
    for epoch in range(6):
        feed.set_epoch(epoch)
        for batch in feed.plan.batches(epoch):
            examples = [feed[index][1] for index in batch]
            assert sum(map(len, examples)) <= 700
            for index, example in zip(batch, examples, strict=True):
                assert len(example) <= feed.plan.lengths[index]
                drawn.add(tuple(example.input_ids.tolist()))
    assert len(drawn) > 3 * len(feed)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_bit(make_config: MakeConfig, tmp_path: Path) -> None:
    def run(name: str, steps: int) -> Path:
        training = {**PACKED, "max_steps": steps, "save_strategy": "steps", "save_steps": 1}
        training |= {"lr_scheduler_type": "constant"}
        return train(make_config(tmp_path / name, custom=LISTED, training=training))

    straight = run("straight", 4)
    run("stopped", 2)
    stopped = run("stopped", 4)  # the fourth step is one of the second epoch
    weights = "adapter_model.safetensors"
    assert (straight / weights).read_bytes() == (stopped / weights).read_bytes()
    style = load_style(straight)
    assert style.user_prompt.startswith("Find these: ")
    assert style.class_prompt == "Find these: {classes}."
