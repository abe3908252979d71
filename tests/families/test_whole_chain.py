"""From `vocab expand` to figures with each family but the first, on which all other tests run."""

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.config.load import load_config
from coordexp.config.schema import Config
from coordexp.export import plain_reload
from coordexp.families.known import DEFAULT_FAMILY, FAMILIES
from coordexp.model.shards import load_weights
from tests.families.tiny_models import TINY_BASES, with_patience
from tests.training.first_step import FirstStep, take_first_step

pytestmark = pytest.mark.slow
OTHERS = [name for name in TINY_BASES if name != DEFAULT_FAMILY]
PACKED = {"packing": True, "global_max_length": 400, "gradient_accumulation_steps": 6}


def run(*arguments: str | Path) -> str:
    """Run the command line, which has to succeed, and return what it prints."""
    before = signal.getsignal(signal.SIGTERM)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    signal.signal(signal.SIGTERM, before)  # merging changes it; here the process goes on
    assert done.exit_code == 0, done.output
    return done.output


@dataclass(frozen=True)
class Bench:
    """Where a family's files are, and what its runs are told."""

    family: str
    folder: Path

    @property
    def records(self) -> Path:
        return self.folder / "train.coord.jsonl"

    def config(self, name: str, *, train_type: str = "lora", **training: object) -> Path:
        """Write a configuration, in which every tower learns."""
        blocks: dict[str, dict[str, Any]] = {
            "model": {"path": str(self.folder / "expanded"), "dtype": "float32"},
            "tuner": {"train_type": train_type, "lora_rank": 4, "use_dora": train_type == "lora"},
            "data": {"train": str(self.records)},
            "training": {
                "output_dir": str(self.folder / name),
                "max_steps": 1,
                "per_device_train_batch_size": 1,
                "learning_rate": 1.0e-3,
                "vit_lr": 1.0e-3,
                "aligner_lr": 1.0e-3,
                "max_grad_norm": 0.0,
                "logging_steps": 1,
                "save_strategy": "no",
                "report_to": "none",
                "use_cpu": True,
                "optimizer": "multimodal_coord_offset",
                **training,
            },
            "custom": {
                "coord_tokens": {"enabled": True},
                "coord_soft_ce_w1": {"enabled": True},
                "coord_offset": {"enabled": True, "tie_head": True, "embed_lr": 5.0e-3},
                "user_prompt": "Find every digit.",
            },
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(blocks))
        return path


@pytest.fixture(scope="module", params=with_patience(OTHERS))
def bench(
    request: pytest.FixtureRequest, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    """A base with coord tokens and prepared records, both made by the commands."""
    bench = Bench(request.param, tmp_path_factory.mktemp(request.param))
    TINY_BASES[bench.family](bench.folder / "base")
    run("vocab", "expand", bench.folder / "base", bench.folder / "expanded")
    made = ("--model", bench.folder / "expanded", "--max-pixels", "7000", "--workers", "1")
    run("data", "prepare", scenes, bench.records, *made)
    return bench


@pytest.fixture(scope="module")
def merged(bench: Bench) -> Path:
    """A packed run of two steps, merged and certified in this process."""
    config = bench.config("run", **{**PACKED, "max_steps": 2})
    run("train", "--config", config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordexp.export.probe.NUM_RECORDS", 2)
        patch.setattr("coordexp.export.probe.NEW_TOKENS", 6)
        patch.setattr("coordexp.export.certify.answer_in_isolation", plain_reload.answer_plainly)
        said = run("merge", bench.folder / "run", bench.folder / "merged")
    assert "certified on records of train.coord.jsonl" in said
    return bench.folder / "merged"


def test_the_doctor_finds_nothing_red(bench: Bench) -> None:
    run("doctor", "--config", bench.config("healthy", **PACKED))


def test_every_weight_that_transformers_leaves_out_stays_as_it_was_shipped(
    bench: Bench, merged: Path
) -> None:
    beginnings = FAMILIES[bench.family].unloaded
    shipped = load_weights(bench.folder / "base").by_name
    left_out = [name for name in shipped if name.startswith(beginnings)]
    assert bool(left_out) == bool(beginnings)
    for path in (bench.folder / "expanded", merged):
        stored = load_weights(path).by_name
        for name in left_out:
            assert torch.equal(stored[name].load(), shipped[name].load()), name


def test_its_merged_model_is_one_of_the_family(bench: Bench, merged: Path) -> None:
    config = json.loads((merged / "config.json").read_text())
    assert config["model_type"] == bench.family
    model, found = AutoModelForImageTextToText.from_pretrained(merged, output_loading_info=True)
    assert not any(found.values())
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("constrain", ["on", "off"])
def test_it_predicts_and_is_evaluated(bench: Bench, merged: Path, constrain: str) -> None:
    out = bench.folder / f"{constrain}.jsonl"
    asked = ("--data", bench.records, "--out", out, "--constrain", constrain)
    run("predict", "--model", merged, *asked, "--max-new-tokens", "40")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 6
    assert all(row["raw_text"] for row in rows)
    statuses = {row["parse"]["status"] for row in rows}
    assert statuses == {"ok"} if constrain == "on" else statuses
    run("evaluate", out, "--out", bench.folder / constrain)
    metrics = json.loads((bench.folder / constrain / "metrics.json").read_text())
    assert 0 <= metrics["bbox"]["AP"] <= 1


def test_a_whole_model_is_saved_as_a_plain_one(bench: Bench) -> None:
    said = run("train", "--config", bench.config("whole", train_type="full"))
    is_whole = not FAMILIES[bench.family].unloaded
    assert ("weights, mtp.fc.weight first, are no part of the model" in said) is not is_whole
    plain, found = AutoModelForImageTextToText.from_pretrained(
        bench.folder / "whole", output_loading_info=True
    )
    assert not any(found.values())
    assert plain.lm_head.weight is plain.get_input_embeddings().weight


# --- one step, cut and computed in every way ---

CUTS: dict[str, dict[str, object]] = {
    "1x6": {"gradient_accumulation_steps": 6},
    "3x2": {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
    "packed": PACKED,
    "fused": {"gradient_accumulation_steps": 6, "objective_backend": "fused"},
    "packed, fused": {**PACKED, "objective_backend": "fused"},
}


@pytest.fixture(scope="module")
def first_step(bench: Bench) -> Callable[[str], FirstStep]:
    def step(name: str) -> FirstStep:
        config: Config = load_config(bench.config(name, **CUTS[name]))
        return take_first_step(config)

    return step


@pytest.fixture(scope="module")
def reference(first_step: Callable[[str], FirstStep]) -> FirstStep:
    return first_step("1x6")


@pytest.mark.parametrize("name", [name for name in CUTS if name != "1x6"])
def test_its_step_is_the_same_however_it_is_cut_and_computed(
    first_step: Callable[[str], FirstStep], reference: FirstStep, name: str
) -> None:
    step = first_step(name)
    assert step.row["loss"] == pytest.approx(reference.row["loss"], rel=1e-5)
    assert step.gradients.keys() == reference.gradients.keys()
    for key, expected in reference.gradients.items():
        error = float((step.gradients[key] - expected).norm())
        assert error < max(2e-5 * float(expected.norm()), 1e-8), key


def test_every_tower_learns(reference: FirstStep) -> None:
    for part in ("visual.blocks.0.mlp", "visual.blocks.0.attn", "visual.merger", "language_model"):
        moved = [g for name, g in reference.gradients.items() if part in name and "lora_B" in name]
        assert any(bool(torch.any(gradient)) for gradient in moved), part
