"""Faults planted in what learns: frozen, unreachable, untaught, too fast, too slow, too large."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from coordexp.config.schema import Config
from coordexp.inspection.doctor import learning as doctor_learning
from coordexp.inspection.doctor import memory as doctor_memory
from coordexp.inspection.doctor.doctor import CHECKS, found_by
from coordexp.inspection.doctor.learning import (
    FirstPass,
    Scratch,
    gradient_faults,
    judged_groups,
    judged_loss,
    model_of,
)
from coordexp.inspection.doctor.memory import estimate, judged_memory, stored_bytes
from coordexp.inspection.doctor.verdict import CheckResult, Diagnosis, Pieces
from coordexp.model.coord_offset import OffsetEmbedding, OffsetTable, find_offset_head
from coordexp.training.loop.optimizer import OptimizerRow
from coordexp.training.loop.trainer import CoordTrainer
from tests.inspection.conftest import MakeRun

pytestmark = pytest.mark.slow  # the healthy run is looked at first


def look(name: str, pieces: Pieces) -> CheckResult:
    return found_by(next(check for check in CHECKS if check.name == name), pieces)


@pytest.fixture(scope="module")
def trainer(healthy: Diagnosis) -> CoordTrainer:
    return healthy.pieces.take(CoordTrainer)


@contextmanager
def rates(trainer: CoordTrainer, change: Callable[[float], float]) -> Iterator[None]:
    before = trainer._groups
    trainer._groups = [replace(group, lr=change(group.lr)) for group in before]
    yield
    trainer._groups = before


def test_who_learns_is_told_group_by_group(healthy: Diagnosis) -> None:
    (sheet,) = healthy.findings["who learns"].sheets
    named = {(row[0], row[1]) for row in sheet.rows}
    groups = {("coord_embed", "0.005")} | {
        (name, "0.001") for name in ("vision", "aligner", "language")
    }
    assert named == groups


def test_everything_frozen_is_found(make_run: MakeRun, healthy: Diagnosis) -> None:
    frozen = make_run(tuner={"freeze_vit": True, "freeze_aligner": True, "freeze_llm": True})
    pieces = Pieces(*healthy.pieces._made.values())
    pieces.put(frozen)
    pieces.put(Scratch(frozen.model_copy(update={"training": scratch_of(healthy).training})))
    found = look("who learns", pieces)
    assert found.verdict == "red"
    assert "every part is frozen" in found.found


def test_an_adapter_to_go_on_from_that_is_not_there_is_found(
    make_run: MakeRun, healthy: Diagnosis, tmp_path: Path
) -> None:
    config = make_run(tuner={"resume_adapter": str(tmp_path / "gone")})
    pieces = Pieces(*healthy.pieces._made.values())
    pieces.put(config)
    pieces.put(Scratch(config.model_copy(update={"training": scratch_of(healthy).training})))
    found = look("who learns", pieces)
    assert (found.verdict, "adapter_config.json is missing" in found.found) == ("red", True)


def scratch_of(healthy: Diagnosis) -> Config:
    return healthy.pieces.take(Scratch).config


def test_nobody_learning_and_rates_without_a_group_are_found() -> None:
    assert judged_groups([], 100, []).verdict == "red"
    rows = [OptimizerRow("language", 1e-4, 0.0, tensors=2, parameters=10)]
    found = judged_groups(rows, 100, ["training.vit_lr is ignored"])
    assert found.verdict == "yellow"
    assert found.found.startswith("10 of 100 parameters learn (10.00%): language at 0.0001")


def test_a_base_larger_than_the_device_is_not_even_loaded(
    healthy: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_learning, "device_memory", lambda _: 1000)
    monkeypatch.setattr(doctor_learning, "assemble_trainer", None)
    found = look("who learns", healthy.pieces)
    assert (found.verdict, "the weights alone take" in found.found) == ("red", True)


def test_the_loss_is_taken_apart_and_adds_up(healthy: Diagnosis) -> None:
    (sheet,) = healthy.findings["loss"].sheets
    assert [row[0] for row in sheet.rows] == ["text", "ce", "soft_ce", "w1", "gate"]
    total = float(healthy.findings["loss"].found.split(" = ")[0])
    assert sum(float(row[3]) for row in sheet.rows) == pytest.approx(total, abs=3e-4)
    output = healthy.pieces.take(FirstPass).output
    assert total == pytest.approx(float(output.loss.detach()), abs=1e-4)
    assert sheet.rows[0][5] == str(output.counts.text)


def test_coordinates_that_nobody_teaches_are_found(make_run: MakeRun, healthy: Diagnosis) -> None:
    figures = healthy.pieces.take(FirstPass).figures
    off = {"enabled": True, "soft_ce_weight": 0.0, "w1_weight": 0.0, "gate_weight": 0.0}
    untaught = make_run(custom={"coord_soft_ce_w1": off})
    assert judged_loss(figures, untaught).verdict == "red"
    ungated = make_run(custom={"coord_soft_ce_w1": {"enabled": True, "gate_weight": 0.0}})
    found = judged_loss(figures, ungated)
    assert (found.verdict, "gate_weight: 1.0" in found.advice) == ("yellow", True)
    empty = {**dict.fromkeys(figures, 0.0), "base_ce/loss": 1.0, "coord_diag/enabled": 1.0}
    assert judged_loss(empty, make_run()).verdict == "yellow"


def test_a_loss_that_is_not_finite_names_its_terms(
    healthy: Diagnosis, trainer: CoordTrainer
) -> None:
    norm = next(
        parameter
        for name, parameter in model_of(trainer).named_parameters()
        if name.endswith("language_model.norm.weight")
    )
    kept = norm.detach().clone()
    pieces = Pieces(*healthy.pieces._made.values())
    with torch.no_grad():
        norm.fill_(math.nan)
        found = look("loss", pieces)
        norm.copy_(kept)
    assert found.verdict == "red"
    assert "the loss is not finite; broken terms: text" in found.found
    assert "train.jsonl:" in found.found
    assert look("loss", healthy.pieces).verdict == "green"


def test_a_gradient_that_goes_astray_is_found() -> None:
    model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in ("good", "bad", "lora_A")})
    for layer in model.values():
        layer.weight.grad = torch.ones(1, 1)
    assert gradient_faults(model) == []
    model["lora_A"].weight.grad = torch.zeros(1, 1)  # as LoRA begins
    assert gradient_faults(model) == []
    model["bad"].weight.grad = torch.zeros(1, 1)
    assert gradient_faults(model) == ["the gradient of bad.weight is zero"]
    model["bad"].weight.grad = None
    assert gradient_faults(model) == ["the gradient does not reach bad.weight"]
    model["good"].weight.requires_grad = False
    assert gradient_faults(model)[1] == "good.weight is frozen and gets a gradient"


def test_gradients_that_do_not_reach_a_part_are_red(
    healthy: Diagnosis, trainer: CoordTrainer
) -> None:
    assert look("gradient", healthy.pieces).verdict == "green"
    learning = [one for one in model_of(trainer).parameters() if one.requires_grad]
    kept, learning[0].grad = learning[0].grad, None
    found = look("gradient", healthy.pieces)
    learning[0].grad = kept
    assert (found.verdict, "does not reach" in found.found) == ("red", True)


def test_an_offset_that_the_head_does_not_use_is_found(
    healthy: Diagnosis, trainer: CoordTrainer
) -> None:
    head = find_offset_head(model_of(trainer))
    assert head is not None
    kept = head._embedding
    width, device = kept[0].base.embedding_dim, torch.device("cpu")
    stray = OffsetTable(1000, width, dtype=torch.float32, device=device).requires_grad_(False)
    first = head.first_id
    head._embedding = [OffsetEmbedding(kept[0].base, stray, first_id=first, num_bins=1000)]
    found = look("gradient", healthy.pieces)
    head._embedding = kept
    assert found.verdict == "red"
    assert "not the one that the head uses" in found.found


def test_one_step_lowers_the_loss_and_leaves_no_trace(
    healthy: Diagnosis, trainer: CoordTrainer
) -> None:
    before = {name: one.clone() for name, one in model_of(trainer).state_dict().items()}
    assert look("one step", healthy.pieces).verdict == "green"
    after = model_of(trainer).state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    assert trainer.optimizer is None


def test_rates_that_explode_or_do_nothing_are_found(
    healthy: Diagnosis, trainer: CoordTrainer
) -> None:
    with rates(trainer, lambda _: 1e3):
        found = look("one step", healthy.pieces)
    assert (found.verdict, "lower training.learning_rate" in found.advice) == ("red", True)
    with rates(trainer, lambda _: 1e-30):
        found = look("one step", healthy.pieces)
    assert (found.verdict, "the step is lost" in found.advice) == ("red", True)


def test_rates_that_a_warmup_could_carry_are_pointed_out(
    healthy: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = float(healthy.pieces.take(FirstPass).output.loss.detach())
    monkeypatch.setattr(
        "coordexp.inspection.doctor.step.loss_after_step",
        lambda *_, share: loss + 1 if share == 1 else loss - 1,
    )
    found = look("one step", healthy.pieces)
    assert (found.verdict, "training.warmup_steps" in found.advice) == ("yellow", True)


def test_a_step_that_does_not_fit_the_device_is_found(
    healthy: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_memory, "device_memory", lambda _: 10_000_000)
    found = look("memory", healthy.pieces)
    assert (found.verdict, "gradient_checkpointing: true" in found.advice) == ("red", True)


def test_memory_is_judged_with_a_margin_of_a_tenth() -> None:
    parts = {"weights": 60.0, "gradients": 10.0, "AdamW": 20.0, "activations": 10.0}
    verdicts = {room: judged_memory(parts, room, "it", 8).verdict for room in (99, 105, 112)}
    assert verdicts == {99: "red", 105: "yellow", 112: "green"}


def test_memory_is_what_the_formula_says() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[0].weight.requires_grad = False
    # 16 numbers each, 4 bytes; one matrix learns: gradient once, AdamW twice.
    expected = {"weights": 128, "gradients": 64, "AdamW": 128, "activations": 500}
    assert estimate(model, peak=100, tokens=2, most_tokens=10) == expected


def test_the_base_is_counted_in_the_dtype_that_it_is_loaded_in(make_run: MakeRun) -> None:
    as_stored, wide = (
        stored_bytes(make_run(model={"dtype": kind})) for kind in ("auto", "float32")
    )
    assert wide == 2 * as_stored  # stored in bfloat16
