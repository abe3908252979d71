"""A plan counted on shapes, beside the same run with its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from shutil import copy

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.errors import CheckpointError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.inspection.doctor.doctor import examine
from coordexp.inspection.doctor.first_pass import model_of, prepare, taught
from coordexp.inspection.doctor.memory import estimate
from coordexp.inspection.plan.costs import (
    CostPlan,
    assumed_example,
    largest_pack,
    parabola,
    plan_costs,
)
from coordexp.inspection.plan.live_bytes import LiveBytes
from coordexp.inspection.plan.one_pass import ExampleShape
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.training.run.stage1 import build_trainer
from tests.families.tiny_mixture import EXPERTS, HIDDEN, WIDTH, write_tiny_qwen3_vl_moe
from tests.families.tiny_recurrent import write_tiny_qwen3_5
from tests.inspection.conftest import MakeRun
from tests.inspection.plan.conftest import MakeBare

pytestmark = pytest.mark.slow

PACKS = {
    "packing": True,
    "global_max_length": 1024,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
}


@dataclass(frozen=True)
class Real:
    """A pass of a run with numbers, and what its batch was made of."""

    model: nn.Module
    peak: int
    tokens: int
    example: ExampleShape


def real_pass(config: Config) -> Real:
    """Count a pass of the run's first pack."""
    trainer = build_trainer(config, callbacks=[])
    inputs = next(iter(trainer.get_train_dataloader()))
    del inputs["record_indices"]
    prepare(trainer)
    with LiveBytes(model_of(trainer)) as counted:
        taught(trainer, inputs).backward()
    labels, grids = inputs["labels"], inputs["image_grid_thw"]
    high, wide = (side // 2 for side in grids[0, 1:].tolist())
    answer = int((labels >= 0).sum()) // len(grids)
    prompt = labels.numel() // len(grids) - high * wide - answer
    example = ExampleShape(high, wide, prompt, answer)
    return Real(model_of(trainer), counted.peak, labels.numel(), example)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_plan_is_what_the_run_takes_on_numbers(
    make_run: MakeRun, make_bare: MakeBare, tmp_path: Path, *, checkpointing: bool
) -> None:
    block = {**PACKS, "gradient_checkpointing": checkpointing, "output_dir": str(tmp_path / "run")}
    real = real_pass(make_run(training=block))
    config = make_bare(training={**block, "global_max_length": real.tokens})
    plan = plan_costs(config, gpus=1, room=None, on_cpu=True, example=real.example)
    assert plan.own.peak == pytest.approx(real.peak, rel=0.05)

    planned = {cost.name: cost.size for cost in plan.memory}
    loaded = estimate(real.model, peak=0, tokens=1, most_tokens=1)
    assert planned["gradients"] == loaded["gradients"]
    assert planned["AdamW"] == loaded["AdamW"]
    buffers = sum(one.numel() * one.element_size() for one in real.model.buffers())
    assert planned["weights"] == loaded["weights"] + buffers


def test_states_that_are_read_example_by_example_are_counted(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """Of Qwen3.5's layers three of four have them; torch's stand-in for kernels is counted."""
    write_tiny_qwen3_5(tmp_path / "plain")
    expand_vocabulary(tmp_path / "plain", tmp_path / "base", alphabet=SPEC_ALPHABET, init="digits")
    block = {**PACKS, "output_dir": str(tmp_path / "run")}
    model = {"path": str(tmp_path / "base")}
    real = real_pass(make_run(training=block, model=model))
    config = make_run(training={**block, "global_max_length": real.tokens}, model=model)
    plan = plan_costs(config, gpus=1, room=None, on_cpu=True, example=real.example)
    assert plan.own.peak == pytest.approx(real.peak, rel=0.05)


def test_a_mixture_keeps_all_experts_and_multiplies_those_that_are_chosen(
    make_run: MakeRun, tmp_path: Path
) -> None:
    base, described = tmp_path / "base", tmp_path / "described"
    write_tiny_qwen3_vl_moe(tmp_path / "plain")
    expand_vocabulary(tmp_path / "plain", base, alphabet=SPEC_ALPHABET, init="digits")
    described.mkdir()
    copy(base / "config.json", described)
    tuner = {"train_experts": True, "use_dora": False, "lora_dropout": 0.0}
    blocks = {"tuner": {**tuner, "target_modules": "all-linear"}}
    training = {**PACKS, "gradient_checkpointing": True, "output_dir": str(tmp_path / "run")}
    real = real_pass(make_run(model={"path": str(base)}, training=training, **blocks))
    training["global_max_length"] = real.tokens
    config = make_run(model={"path": str(described)}, training=training, **blocks)

    def plan(**changes: int) -> CostPlan:
        found = json.loads((base / "config.json").read_text())
        found["text_config"] |= changes
        (described / "config.json").write_text(json.dumps(found))
        return plan_costs(config, gpus=1, room=None, on_cpu=True, example=real.example)

    whole = plan()
    assert whole.own.peak == pytest.approx(real.peak, rel=0.05)
    # Three matrices of 48 x 16 in each of two layers: forwards, once more, and two gradients.
    chosen = 4 * 2 * 2 * real.tokens * 3 * WIDTH * HIDDEN
    assert whole.own.flops - plan(num_experts_per_tok=1).own.flops == pytest.approx(chosen)
    wider = plan(num_experts=2 * EXPERTS)
    assert wider.parameters > whole.parameters


def test_a_longer_pack_takes_more_and_checkpointing_less(make_bare: MakeBare) -> None:
    plan = plan_costs(make_bare(training=PACKS), gpus=2, room=2e9)
    off, on = plan.limits
    for limit in (off, on):
        peaks = [peak for _, peak in limit.counted]
        assert peaks == sorted(peaks)
        assert limit.tokens > 0
    assert on.tokens > off.tokens
    assert "gradients on their way" in {cost.name for cost in plan.memory}


def test_weights_gradients_and_adamw_of_a_full_fine_tuning_are_of_all_numbers(
    make_bare: MakeBare,
) -> None:
    plan = plan_costs(
        make_bare(tuner={"train_type": "full", "use_dora": False}, model={"dtype": "float32"}),
        gpus=1,
        room=None,
    )
    sizes = {cost.name: cost.size for cost in plan.memory}
    assert sizes["AdamW"] == 2 * sizes["gradients"] == 8 * plan.learning


def test_in_four_bits_a_weight_takes_half_a_byte_and_all_else_what_it_took(
    make_bare: MakeBare,
) -> None:
    both = [
        plan_costs(make_bare(model={"dtype": "bfloat16", **more}), gpus=1, room=None)
        for more in ({}, {"quantization": "nf4"})
    ]
    plain, four = ({cost.name: cost for cost in plan.memory} for plan in both)
    saved = plain["weights"].size - four["weights"].size
    numbers = 1_622_016  # of the language model's linear layers
    assert saved == pytest.approx((2 - 0.516) * numbers, rel=1e-3)
    assert f"{numbers:,} numbers of it in four bits" in four["weights"].remark
    assert four.keys() - plain.keys() == {"a layer's weights"}
    assert both[0].own.peak == both[1].own.peak
    assert both[0].disk == both[1].disk


def test_flash_attention_is_no_dearer_than_sdpa(make_bare: MakeBare) -> None:
    sdpa, flash = (
        plan_costs(
            make_bare(training=PACKS, model={"attn_implementation": name, "dtype": "bfloat16"}),
            gpus=1,
            room=None,
            example=ExampleShape(8, 8, 33, 90),
        )
        for name in ("sdpa", "flash_attention_2")
    )
    assert flash.own.peak < sdpa.own.peak
    assert flash.own.flops < sdpa.own.flops


def test_nothing_but_shapes_is_made(make_bare: MakeBare, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_numbers(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("weights were read")

    monkeypatch.setattr("safetensors.torch.load_file", no_numbers)
    plan = plan_costs(make_bare(), gpus=1, room=None)
    assert plan.total > 0


def test_the_assumed_example_keeps_the_run_s_limit_of_pixels(make_bare: MakeBare) -> None:
    cell = QWEN3_VL.grid.cell_px
    small = assumed_example(make_bare(data={"max_pixels": 16 * cell * cell}))
    large = assumed_example(make_bare(data={"max_pixels": None}))
    assert (small.high, small.wide) == (4, 4)
    assert (large.high * cell, large.wide * cell) == (1024, 1024)


def test_a_folder_without_a_configuration_is_refused(make_bare: MakeBare, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        plan_costs(make_bare(model={"path": str(tmp_path)}), gpus=1, room=None)


def test_a_configuration_that_makes_no_model_is_refused(
    make_bare: MakeBare, described: Path, tmp_path: Path
) -> None:
    content = json.loads((described / "config.json").read_text())
    content["text_config"]["hidden_size"] = "wide"
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        plan_costs(make_bare(model={"path": str(tmp_path)}), gpus=1, room=None)


def test_the_doctor_plans_where_only_the_weights_are_missing(make_bare: MakeBare) -> None:
    found = examine(make_bare())
    assert found.findings["base"].verdict == "red"
    memory = found.findings["memory"]
    assert memory.found.startswith("planned from config.json alone")
    assert any(sheet.title == "Disk" for sheet in memory.sheets)


def test_the_command_marks_every_figure(described: Path) -> None:
    asked = ["plan", str(described), "--memory", "80", "--gpus", "2", "--gpu", "H100", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    known = {cost["known"] for cost in found["memory"]}
    assert known == {"counted"}
    assert found["step_seconds"]["known"] == "estimated"
    assert found["assumptions"]["share of the peak"].startswith("30%")


def test_the_command_says_by_its_exit_code_that_a_pack_does_not_fit(described: Path) -> None:
    done = CliRunner().invoke(app, ["plan", str(described), "--memory", "0.1"])
    assert done.exit_code == 1
    assert "Packs that fit" in done.stdout


def test_an_unknown_gpu_is_refused_with_the_known_ones(described: Path) -> None:
    done = CliRunner().invoke(app, ["plan", str(described), "--memory", "80", "--gpu", "H9"])
    assert done.exit_code == 2
    assert "H100" in done.stderr


@pytest.mark.parametrize(
    ("free", "expected"), [(999.0, 0), (1000.0, 100), (4000.0, 400), (10_050.0, 1000)]
)
def test_the_largest_pack_is_where_the_curve_meets_what_is_free(free: float, expected: int) -> None:
    assert largest_pack(((100, 1000), (200, 2000), (400, 4000)), free, 100) == expected


def test_a_parabola_goes_through_its_points_and_on() -> None:
    points = tuple((x, 3 * x * x + 2 * x + 1) for x in (1, 2, 4))
    assert [round(parabola(points, x)) for x in (1, 3, 8)] == [6, 34, 209]
