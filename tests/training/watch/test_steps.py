"""What a run says of itself and how it stops, on the tiny model."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback, TrainerState
from transformers.integrations import integration_utils

from coordexp.config.schema import Config
from coordexp.errors import CoordExpError, InputError
from coordexp.training.loop.trainer import CoordTrainer
from coordexp.training.run.stage1 import build_trainer, train
from coordexp.training.watch import monitor
from coordexp.training.watch.monitor import INSTABILITY_NAME

pytestmark = pytest.mark.slow
MakeConfig = Callable[..., Config]
MONITOR = {"enabled": True, "window": 10, "spike_factor": 1.5}


def offsets(trainer: CoordTrainer) -> torch.nn.Parameter:
    assert trainer.model is not None
    named = trainer.model.named_parameters()
    return next(p for name, p in named if "coord_offset_adapter" in name and p.requires_grad)


class Poison(TrainerCallback):
    """Spoils the offsets before some steps, and repairs them after."""

    def __init__(self, factors: dict[int, float]) -> None:
        self.factors = factors
        self.trainer: CoordTrainer | None = None
        self.weights: dict[int, torch.Tensor] = {}

    def table(self) -> torch.nn.Parameter:
        assert self.trainer is not None
        return offsets(self.trainer)

    def on_step_begin(self, _: object, state: TrainerState, *__: object, **___: object) -> None:
        if state.global_step + 1 in self.factors:
            self.clean = self.table().detach().clone()
            self.table().data += self.factors[state.global_step + 1]

    def on_step_end(self, _: object, state: TrainerState, *__: object, **___: object) -> None:
        if state.global_step in self.factors:
            self.table().data.copy_(self.clean)
        self.weights[state.global_step] = self.table().detach().clone()


def run(config: Config, factors: dict[int, float], out: Path) -> tuple[CoordTrainer, Poison]:
    out.mkdir()
    poison = Poison(factors)
    trainer = build_trainer(config, callbacks=[poison])
    poison.trainer = trainer
    try:
        trainer.train()
    finally:
        trainer.callback_handler.callbacks.remove(poison)
    return trainer, poison


def events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / INSTABILITY_NAME).read_text().splitlines()]


def watched(make_config: MakeConfig, out: Path, *, steps: int, **settings: object) -> Config:
    return make_config(
        out,
        training={"max_steps": steps, "per_device_train_batch_size": 1, "effective_batch_size": 2},
        custom={"instability_monitor": {**MONITOR, **settings}},
    )


def test_a_spike_is_written_with_its_records_and_the_run_goes_on(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_LEAST_LOSSES", 1)
    out = tmp_path / "run"
    trainer, _ = run(watched(make_config, out, steps=2), {2: 30.0}, out)
    assert trainer.state.global_step == 2
    (row,) = events(out)
    assert (row["step"], row["kind"], row["then"]) == (2, "spike", "went on")
    logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert row["loss"] == pytest.approx(logged[1], rel=1e-6)
    assert row["median"] == pytest.approx(logged[0], rel=1e-6)
    places = [place for batch in row["micro_batches"] for place in batch["records"]]
    assert len(places) == 2
    assert all(".jsonl:" in place for place in places)
    assert row["micro_batches"][0]["loss"] >= row["micro_batches"][1]["loss"]


def test_a_spike_may_stop_the_run_before_it_moves_a_weight(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_LEAST_LOSSES", 1)
    out = tmp_path / "run"
    with pytest.raises(CoordExpError, match=r"step 2: the loss is .*, the median before it"):
        run(watched(make_config, out, steps=2, on_spike="stop"), {2: 30.0}, out)
    assert [row["then"] for row in events(out)] == ["stopped"]


def test_a_lost_step_may_be_skipped(make_config: MakeConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = watched(make_config, out, steps=3, on_non_finite="skip_step")
    trainer, poison = run(config, {2: math.nan}, out)
    (row,) = events(out)
    assert (row["step"], row["kind"], row["then"]) == (2, "non_finite", "skipped")
    assert set(row["micro_batches"][0]["broken"]) >= {"text", "soft_ce"}
    assert torch.equal(poison.weights[2], poison.weights[1])
    assert not torch.equal(poison.weights[3], poison.weights[2])
    logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    # The line says what happened, and the next one knows nothing of it.
    assert [math.isfinite(loss) for loss in logged] == [True, False, True]


def test_a_lost_step_stops_a_run_that_nobody_watches(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    config = make_config(out, training={"max_steps": 2})
    with pytest.raises(CoordExpError, match=r"step 2: the loss is not finite; .*\.jsonl:\d"):
        run(config, {2: math.nan}, out)
    assert not (out / INSTABILITY_NAME).exists()


def test_a_gradient_that_is_not_finite_stops_the_run(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    trainer = build_trainer(make_config(tmp_path / "run"), callbacks=[])
    weight = offsets(trainer)
    weight.register_hook(lambda gradient: gradient * math.inf)
    before = weight.detach().clone()
    with pytest.raises(CoordExpError, match="step 1: the gradient is not finite, while the loss"):
        trainer.train()
    assert torch.equal(weight, before)


class Tracker(TrainerCallback):
    """Stands for a tracker that is not installed here."""

    rows: list[dict[str, float]] = []  # noqa: RUF012 - transformers makes the object

    def on_log(self, *_: object, logs: dict[str, float], **__: object) -> None:
        self.rows.append(dict(logs))


def test_a_tracker_is_handed_the_log(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb", "trackio"):
        monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, name, Tracker)
    monkeypatch.setattr(Tracker, "rows", [])
    train(make_config(tmp_path / "run", training={"report_to": ["wandb", "trackio"]}))
    assert "coord_diag/w1" in Tracker.rows[0]
    assert Tracker.rows[0]["lr/coord_embed"] == 5e-3


@pytest.mark.parametrize(
    ("name", "message"),
    [("wanbd", "unknown tracker 'wanbd'; known: .*wandb"), ("wandb", "wandb: .* installed")],
)
def test_a_tracker_that_is_not_there_is_refused(
    make_config: MakeConfig, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(make_config(tmp_path / "run", training={"report_to": name}))
    assert not (tmp_path / "run").exists()
