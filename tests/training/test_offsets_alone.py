"""Everything frozen but the coord offsets, from the YAML to a merged and certified model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.export.merge import merge_checkpoint
from coordexp.inference.run.predict import predict_file
from coordexp.inference.run.predictor import load_predictor
from coordexp.model.coord_offset import find_offset_head
from coordexp.model.load import load_base, load_checkpoint
from coordexp.training.run.stage1 import build_trainer, train
from tests.inference.plainly import plainly

MakeConfig = Callable[..., Config]
FROZEN: dict[str, Any] = {
    "freeze_vit": True,
    "freeze_aligner": True,
    "freeze_llm": True,
    "target_modules": "all-linear",
}
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def alone(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two steps that was cut in half and resumed."""
    run = tmp_path_factory.mktemp("alone") / "run"
    first = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    train(make_config(run, tuner=FROZEN, training=first))
    return train(make_config(run, tuner=FROZEN, training={**first, "max_steps": 2}))


@pytest.mark.slow
@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("tie_head", [True, False])
def test_nothing_but_the_tables_learns(
    make_config: MakeConfig, tmp_path: Path, *, tie_head: bool, use_dora: bool
) -> None:
    offset = {"enabled": True, "embed_lr": 5.0e-3, "tie_head": tie_head}
    tuner = {**FROZEN, "use_dora": use_dora}
    trainer = build_trainer(
        make_config(tmp_path / "run", tuner=tuner, custom={"coord_offset": offset}), callbacks=[]
    )
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    learning = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert moved == learning
    assert len(learning) == (1 if tie_head else 2)
    assert all("coord_offset_adapter" in name for name in learning)
    assert [row.group for row in trainer.optimizer_rows()] == (
        ["coord_embed"] if tie_head else ["coord_embed", "coord_head"]
    )


@pytest.mark.slow
def test_the_adapter_file_holds_the_table_alone(alone: Path) -> None:
    (name,) = load_file(alone / WEIGHTS)
    assert name.endswith("embed_tokens.coord_offset_adapter.rows")
    rows = [json.loads(line) for line in (alone / "train_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]


@pytest.mark.slow
def test_it_is_restored_without_extra_steps(alone: Path, tiny_expanded: Path) -> None:
    restored = load_checkpoint(tiny_expanded, alone, dtype="float32")
    head = find_offset_head(restored)
    assert head is not None
    (saved,) = load_file(alone / WEIGHTS).values()
    assert torch.equal(head.offsets(), saved)
    assert saved.any()


@pytest.mark.slow
def test_plain_peft_refuses_it(alone: Path, tiny_expanded: Path) -> None:
    base = load_base(tiny_expanded, dtype="float32", attn_implementation="sdpa")
    with pytest.raises(ValueError, match="load_with_coordexp"):
        PeftModel.from_pretrained(base, str(alone))


@pytest.mark.slow
def test_a_run_may_start_from_it(alone: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    tuner = {**FROZEN, "resume_adapter": str(alone)}
    again = train(make_config(tmp_path / "next", tuner=tuner))
    (before,), (after,) = (load_file(run / WEIGHTS).values() for run in (alone, again))
    assert not torch.equal(before, after)
    with pytest.raises(InputError, match=r"of another make: .*target_modules and tuner.freeze"):
        train(make_config(tmp_path / "other", tuner={"resume_adapter": str(alone)}))


@pytest.mark.slow
def test_it_is_merged_certified_and_answers(alone: Path, scenes: Path, tmp_path: Path) -> None:
    report = merge_checkpoint(alone, tmp_path / "merged")
    assert report.certificate is not None
    assert report.certificate.origin.method == "coord offsets alone"
    for model in (alone, tmp_path / "merged"):
        out = tmp_path / f"{model.name}.jsonl"
        predict_file(load_predictor(model), scenes, out, plainly(batch_size=6, max_new_tokens=40))
        assert len(out.read_text().splitlines()) == 6
    assert (tmp_path / "run.jsonl").read_text().count("raw_text") == 6


def test_layers_of_frozen_parts_are_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", tuner={**FROZEN, "target_modules": ["q_proj"]})
    with pytest.raises(InputError, match="q_proj name layers of frozen parts"):
        build_trainer(config, callbacks=[])


@pytest.mark.slow
def test_a_whole_model_may_be_frozen_too(make_config: MakeConfig, tmp_path: Path) -> None:
    run = train(make_config(tmp_path / "run", tuner={**FROZEN, "train_type": "full"}))
    assert (run / "coord_offset.pt").is_file()
