"""Runs on a base in four bits, beside the same runs on the weights that it stands for.

Those are the quantised ones, taken out again and written as a plain base: a model of its own, on
which an ordinary run must give the same figures.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from coordexp.export import plain_reload
from coordexp.export.base_layout import load_base_layout
from coordexp.families.known import DEFAULT_FAMILY, FAMILIES
from coordexp.families.towers import expert_names
from coordexp.inference.run.predictor import load_predictor
from coordexp.inspection.doctor.memory import estimate, stored_bytes
from coordexp.inspection.plan.costs import plan_costs
from coordexp.model.card import load_weights_card
from coordexp.model.four_bit import FourBits, four_bit_bytes, four_bit_layers, stored_size
from coordexp.model.load import load_base, load_tokenizer
from coordexp.training.run.build import build_learner, build_vocab
from coordexp.training.run.stage1 import train
from tests.families.tiny_models import TINY_BASES
from tests.inspection.plan.test_costs import real_pass
from tests.training.first_step import FirstStep

pytestmark = pytest.mark.qlora
bitsandbytes = pytest.importorskip("bitsandbytes")
MakeConfig = Callable[..., Config]

NF4 = {"quantization": "nf4"}
ALL_LINEAR = {"target_modules": "all-linear"}
PACKED = {
    "packing": True,
    "global_max_length": 400,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 6,
}


def write_dequantised(base: Path, dst: Path) -> Path:
    """Write the base that a base in four bits stands for."""
    model = load_base(
        base, dtype="float32", attn_implementation="sdpa", four_bits=FourBits(None, "cpu")
    )
    names = {id(module): name for name, module in model.named_modules()}
    files = load_base_layout(base).by_parameter  # some families' have other names there
    taken_out = {
        files[f"{names[id(layer)]}.weight"].name: bitsandbytes.functional.dequantize_4bit(
            layer.weight.data, layer.weight.quant_state
        )
        for layer in four_bit_layers(model)
    }
    dst.mkdir()
    for path in base.iterdir():
        if path.suffix != ".safetensors":
            (dst / path.name).symlink_to(path)
    stored = load_file(base / "model.safetensors")
    assert taken_out.keys() < stored.keys()
    moved = {name: tensor.float() for name, tensor in stored.items()} | taken_out
    save_file(moved, dst / "model.safetensors", metadata={"format": "pt"})
    return dst


# Mixtures are refused: tests/model/test_four_bit.py.
DENSE = [name for name in TINY_BASES if not expert_names(FAMILIES[name].towers)]


@pytest.fixture(scope="module", params=DENSE)
def base(
    request: pytest.FixtureRequest, tiny_expanded: Path, other_families: dict[str, Path]
) -> Path:
    """A tiny base of each family."""
    return tiny_expanded if request.param == DEFAULT_FAMILY else other_families[request.param]


@pytest.fixture(scope="module")
def dequantised(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dequantised(base, tmp_path_factory.mktemp("dequantised") / base.name)


def test_the_language_models_linear_layers_are_in_four_bits_and_nothing_else_is(
    base: Path,
) -> None:
    model = load_base(
        base, dtype="auto", attn_implementation="sdpa", four_bits=FourBits(None, "cpu")
    )
    names = {id(module): name for name, module in model.named_modules()}
    four = {names[id(layer)] for layer in four_bit_layers(model)}
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert four == {name for name in linear if "language_model.layers." in name}
    plain = load_base(base, dtype="auto", attn_implementation="sdpa")
    for name, parameter in plain.named_parameters():
        if name.removesuffix(".weight") not in four:
            assert torch.equal(parameter, model.get_parameter(name)), name


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_is_that_of_the_weights_it_stands_for(
    make_config: MakeConfig,
    first_step: Callable[[Config], FirstStep],
    base: Path,
    dequantised: Path,
    scenes: Path,
    tmp_path: Path,
    use_dora: bool,
    checkpointing: bool,
) -> None:
    steps = []
    for name, model in (
        ("four", {"path": str(base), **NF4}),
        ("plain", {"path": str(dequantised)}),
    ):
        config = make_config(
            tmp_path / name,
            model=model,
            tuner={**ALL_LINEAR, "use_dora": use_dora},
            data={"eval": str(scenes)},
            training={**PACKED, "gradient_checkpointing": checkpointing, "eval_strategy": "steps"},
        )
        steps.append(first_step(config))
    four, plain = steps
    assert four.row["loss"] == pytest.approx(plain.row["loss"], rel=1e-5)
    assert four.evaluation["eval_loss"] == pytest.approx(plain.evaluation["eval_loss"], rel=1e-5)
    assert four.gradients.keys() == plain.gradients.keys()
    for name, gradient in four.gradients.items():
        torch.testing.assert_close(gradient, plain.gradients[name], rtol=1e-3, atol=1e-6, msg=name)


@dataclass(frozen=True)
class Trained:
    """A run on a base in four bits, and the same on the weights that it stands for."""

    four: Path
    plain: Path


@pytest.fixture(scope="module")
def trained(
    make_config: MakeConfig, base: Path, dequantised: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    out = tmp_path_factory.mktemp("runs")
    for name, model in (
        ("four", {"path": str(base), **NF4}),
        ("plain", {"path": str(dequantised)}),
    ):
        train(
            make_config(
                out / name,
                model=model,
                tuner={**ALL_LINEAR, "use_dora": True},
                training={**PACKED, "max_steps": 4},
            )
        )
    return Trained(out / "four", out / "plain")


def rows_of(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


def test_a_run_learns_as_on_the_weights_it_stands_for(trained: Trained) -> None:
    four, plain = ([row["loss"] for row in rows_of(run)] for run in (trained.four, trained.plain))
    assert four == pytest.approx(plain, rel=1e-3)
    assert four[-1] < four[0]
    assert load_weights_card(trained.four).quantization == "nf4"
    assert load_weights_card(trained.plain).quantization is None
    tables = load_file(trained.four / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tables.values()} == {torch.float32}


def test_a_run_that_was_stopped_goes_on_to_the_bit(
    make_config: MakeConfig, tiny_expanded: Path, tmp_path: Path
) -> None:
    saved = {"save_strategy": "steps", "save_steps": 1}
    runs = []
    for name, stops in (("whole", (3,)), ("stopped", (2, 3))):
        for steps in stops:
            config = make_config(
                tmp_path / name,
                model={"path": str(tiny_expanded), **NF4},
                tuner={**ALL_LINEAR, "lora_dropout": 0.1},
                training={**PACKED, **saved, "max_steps": steps, "lr_scheduler_type": "constant"},
            )
            train(config)
        runs.append(load_file(tmp_path / name / "adapter_model.safetensors"))
    whole, stopped = runs
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())


def test_it_is_merged_into_the_base_as_it_is_stored_and_certified(
    trained: Trained, scenes: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordexp.export.probe.NUM_RECORDS", 2)
        patch.setattr("coordexp.export.probe.NEW_TOKENS", 6)
        patch.setattr("coordexp.export.certify.answer_in_isolation", plain_reload.answer_plainly)
        patch.setattr("signal.signal", lambda *_: None)
        done = CliRunner().invoke(app, ["merge", str(trained.four), str(tmp_path / "merged")])
    assert done.exit_code == 0, done.output
    assert "trained on its base in nf4: there the adapter's logits" in done.output
    certificate = json.loads((tmp_path / "merged" / "coordexp_certificate.json").read_text())
    moved = certificate["quantization"]
    assert moved["method"] == "nf4"
    # It moves the logits, by far more than merging does, and less than the model knows.
    assert certificate["logits"]["distance"]["every"]["largest"] < 1e-2
    assert 1e-3 < moved["distance"]["every"]["rms"] < 1
    assert "| moved by nf4 " in (tmp_path / "merged" / "README.md").read_text()
    assert load_weights_card(tmp_path / "merged").quantization is None
    predictor = load_predictor(tmp_path / "merged")
    assert not list(four_bit_layers(predictor.model))
    out = tmp_path / "predictions.jsonl"
    asked = (
        "--model",
        tmp_path / "merged",
        "--data",
        scenes,
        "--out",
        out,
        "--max-new-tokens",
        "40",
    )
    done = CliRunner().invoke(app, ["predict", *map(str, asked)])
    assert done.exit_code == 0, done.output
    assert len(out.read_text().splitlines()) == 6


def test_an_adapter_answers_on_the_base_as_it_is_stored(trained: Trained) -> None:
    predictor = load_predictor(trained.four)
    assert isinstance(predictor.model, PeftModel)
    assert not list(four_bit_layers(predictor.model))


def test_another_run_goes_on_from_an_adapter(
    make_config: MakeConfig, trained: Trained, base: Path, tmp_path: Path
) -> None:
    config = make_config(
        tmp_path / "more",
        model={"path": str(base), **NF4},
        tuner={**ALL_LINEAR, "use_dora": True, "resume_adapter": str(trained.four)},
        training=PACKED,
    )
    model = build_learner(config, build_vocab(config), load_tokenizer(base)).model
    assert list(four_bit_layers(model))
    saved = load_file(trained.four / "adapter_model.safetensors")
    held = get_peft_model_state_dict(model, save_embedding_layers=False)
    assert all(torch.equal(tensor, held[name]) for name, tensor in saved.items())


def test_a_plan_and_the_doctor_count_the_bytes_that_are_there(
    make_config: MakeConfig, base: Path, tmp_path: Path
) -> None:
    config = make_config(
        tmp_path / "run", model={"path": str(base), **NF4}, tuner=ALL_LINEAR, training=PACKED
    )
    planned = plan_costs(config, gpus=1, room=None, on_cpu=True)
    model = build_learner(config, build_vocab(config), load_tokenizer(base)).model
    numbers = sum(layer.in_features * layer.out_features for layer in four_bit_layers(model))
    four = sum(stored_size(layer.weight) for layer in four_bit_layers(model))
    assert four == pytest.approx(four_bit_bytes(numbers), rel=0.02)  # small layers round up
    weights = next(cost.size for cost in planned.memory if cost.name == "weights")
    there = estimate(model, peak=0, tokens=1, most_tokens=1)["weights"]
    assert weights == pytest.approx(there, rel=1e-3)
    loaded = sum(
        map(
            stored_size,
            load_base(
                base, dtype="float32", attn_implementation="sdpa", four_bits=FourBits(None, "cpu")
            ).parameters(),
        )
    )
    assert stored_bytes(config) == pytest.approx(loaded, rel=1e-3)


@pytest.mark.parametrize("use_dora", [False, True])
def test_a_planned_pass_is_the_real_one(
    make_config: MakeConfig, tiny_expanded: Path, tmp_path: Path, use_dora: bool
) -> None:
    config = make_config(
        tmp_path / "run",
        model={"path": str(tiny_expanded), **NF4},
        tuner={**ALL_LINEAR, "use_dora": use_dora},
        training=PACKED,
    )
    real = real_pass(config)
    planned = plan_costs(config, gpus=1, room=None, on_cpu=True, example=real.example)
    beside = next(cost.size for cost in planned.memory if cost.name == "a layer's weights")
    assert planned.own.peak + beside == pytest.approx(real.peak, rel=0.1)


@pytest.mark.slow
def test_the_doctor_finds_nothing_red(
    make_config: MakeConfig, tiny_expanded: Path, tmp_path: Path
) -> None:
    config = make_config(
        tmp_path / "run",
        model={"path": str(tiny_expanded), **NF4},
        tuner=ALL_LINEAR,
        training={**PACKED, "vit_lr": 1e-3, "aligner_lr": 1e-3},
    )
    (tmp_path / "run.yaml").write_text(dump_config(config))
    done = CliRunner().invoke(app, ["doctor", "--config", str(tmp_path / "run.yaml")])
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_two_ranks_take_the_step_of_one(
    make_config: MakeConfig,
    first_step: Callable[[Config], FirstStep],
    tiny_expanded: Path,
    tmp_path: Path,
) -> None:
    split = {**PACKED, "gradient_accumulation_steps": None, "effective_batch_size": 2}
    config = make_config(
        tmp_path / "run",
        model={"path": str(tiny_expanded), **NF4},
        tuner=ALL_LINEAR,
        training=split,
    )
    alone = first_step(config)
    (tmp_path / "run.yaml").write_text(dump_config(config))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [
            sys.executable,
            *launch,
            "-m",
            "tests.training.first_step",
            tmp_path,
            tmp_path / "run.yaml",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    together = torch.load(tmp_path / "run.pt", weights_only=False)
    assert together["row"]["loss"] == pytest.approx(alone.row["loss"], rel=1e-5)
    for name, gradient in alone.gradients.items():
        torch.testing.assert_close(gradient, together["gradients"][name], rtol=1e-3, atol=1e-6)
