"""What is looked at in a step, without a Trainer; test_steps.py looks at real runs."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from coordexp.errors import CoordExpError
from coordexp.training.watch.speed import SpeedWindow
from coordexp.training.watch.steps import Batches, FiniteLoss, MeasuredSteps, StepMoments
from tests.training.watch.test_judge import judge_of, output

BATCH = {"input_ids": torch.zeros(1, 4), "record_indices": torch.tensor([7, 8])}


def measured(run: Path | None = None) -> MeasuredSteps:
    speed = SpeedWindow(torch.device("cpu"), pack_size=8)
    return MeasuredSteps(speed, judge_of(run, then="skip_step"))


def alone(values: Tensor) -> Tensor:
    return values


def draw(batches: Iterator[object]) -> Batches:
    return list(batches), "counts"  # type: ignore[arg-type]


def places() -> list[str]:
    return ["a.jsonl:1"]


def test_somebody_elses_trainer_stops_at_a_lost_loss_and_is_told_nothing_else() -> None:
    watch = FiniteLoss()
    assert watch.draw(draw, iter([BATCH])) == ([BATCH], "counts")
    with watch.micro_batch():
        watch.look_at(output(1.0), places)
        with pytest.raises(CoordExpError, match=r"not finite.*a\.jsonl:1"):
            watch.look_at(output(math.nan), places)
    watch.take_norm(math.nan)
    assert watch.read(alone) == {}


def test_a_lost_loss_is_kept_for_its_step_and_stops_everything_else() -> None:
    steps = measured()
    with pytest.raises(CoordExpError, match="not finite"):
        steps.look_at(output(math.nan), places)
    with steps.micro_batch():
        steps.look_at(output(math.nan), places)
    with pytest.raises(CoordExpError, match="step 1: the loss is not finite"):
        steps.judge.judge(1)


def test_a_pass_that_fails_is_no_step_any_more() -> None:
    steps = measured()
    with pytest.raises(MemoryError), steps.micro_batch():
        raise MemoryError
    with pytest.raises(CoordExpError):
        steps.look_at(output(math.nan), places)


def test_what_a_step_held_is_in_its_figures() -> None:
    steps = measured()
    steps.draw(draw, iter([BATCH, BATCH]))
    with steps.micro_batch():
        steps.look_at(output(1.0), places)
    steps.speed.end_step()
    figures = steps.read(alone)
    assert figures["packing/fill"] == 0.5
    assert figures["speed/records_per_second"] > figures["speed/targets_per_second"] > 0


def test_a_lost_step_leaves_the_optimizer_nothing_to_move(tmp_path: Path) -> None:
    steps = measured(tmp_path)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([{"params": [weight], "name": "language"}], lr=0.5)
    moments, arguments = StepMoments(steps), TrainingArguments("out", report_to="none")
    state = TrainerState(global_step=1, logging_steps=2)
    for loss, kept in ((1.0, True), (math.nan, False)):
        weight.grad = torch.ones(1)
        steps.take_norm(1.0)
        with steps.micro_batch():
            steps.look_at(output(loss), places)
        moments.on_pre_optimizer_step(arguments, state, TrainerControl(), optimizer=optimizer)
        assert (weight.grad is not None) is kept
    assert steps.judge.read_groups()["lr/language"] == 0.5
