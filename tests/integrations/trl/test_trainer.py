"""A run of TRL's own trainer on the tiny base: make check-trl."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coordexp.export.merge import merge_checkpoint
from coordexp.inference.run.predictor import load_predictor
from coordexp.model.coord_offset import ADAPTER_NAME, find_offset_head
from tests.integrations.conftest import MakeConfig

pytestmark = pytest.mark.trl


@pytest.fixture
def trainer(make_config: MakeConfig, tmp_path: Path) -> Any:
    """A run whose reward any model can learn from: the shorter the list, the better."""
    trl = pytest.importorskip("trl", reason="make check-trl has it")
    from coordexp.integrations.trl.trainer import build_trainer

    args = trl.GRPOConfig(
        output_dir=str(tmp_path / "run"),
        max_steps=2,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=40,
        learning_rate=1e-2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        temperature=1.5,
    )
    config = make_config(tmp_path / "run", host="plain", training={"learning_rate": 1e-2})
    return build_trainer(config, args, weights={"form": 1.0}, longest=1)


def test_adapter_and_offsets_learn_and_are_merged_like_any_others(
    trainer: Any,
    tmp_path: Path,
) -> None:
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {
        name
        for name, p in trainer.model.named_parameters()
        if not torch.equal(before[name], p.detach())
    }
    assert any(ADAPTER_NAME in name for name in moved)
    assert any("lora_B" in name for name in moved)
    assert all("lora_" in name or ADAPTER_NAME in name for name in moved)
    log = trainer.state.log_history
    assert {"reward", "reward/form", "completions/mean_length"} <= log[0].keys()
    trainer.save_model(str(tmp_path / "saved"))
    assert any(
        ADAPTER_NAME in name for name in load_file(tmp_path / "saved/adapter_model.safetensors")
    )
    merge_checkpoint(
        tmp_path / "saved", tmp_path / "merged", certify=False
    )  # takes longer than all
    assert load_predictor(tmp_path / "merged").vocab is not None


def test_forced_tokens_are_no_part_of_the_objective(trainer: Any) -> None:
    rows = [trainer.train_dataset[0]] * 4 + [trainer.train_dataset[1]] * 4
    scored = trainer._generate_and_score_completions(rows)
    vocab = trainer._sampler.vocab
    ids, free = scored["completion_ids"], scored["tool_mask"]
    said = scored["completion_mask"].bool()
    coords = (ids >= vocab.ids.start) & (ids < vocab.ids.stop) & said
    assert free[coords].all()
    assert 0 < free[said].sum() < said.sum()
    brace = trainer._sampler.encoder.tokenizer.encode("{", add_special_tokens=False)[0]
    assert not free[:, 0][ids[:, 0] == brace].any()


def test_log_probabilities_are_those_of_the_head_with_its_offsets(trainer: Any) -> None:
    head = find_offset_head(trainer.model)
    assert head is not None
    rows = [trainer.train_dataset[0]] * 4 + [trainer.train_dataset[1]] * 4
    scored = trainer._generate_and_score_completions(rows)
    ids = torch.cat([scored["prompt_ids"], scored["completion_ids"]], dim=1)
    mask = torch.cat([scored["prompt_mask"], scored["completion_mask"]], dim=1)

    def log_p(batch_size: int | None) -> torch.Tensor:
        found: torch.Tensor = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            ids,
            mask,
            scored["completion_ids"].shape[1],
            batch_size=batch_size,
            pixel_values=scored["pixel_values"],
            image_grid_thw=scored["image_grid_thw"],
        )[0]
        return found

    with torch.no_grad():
        before = log_p(None)
        assert torch.allclose(before, log_p(3), atol=1e-5)
        for name, parameter in trainer.model.named_parameters():
            if ADAPTER_NAME in name and parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
        after = log_p(None)
    said = scored["completion_mask"].bool()
    assert not torch.allclose(before[said], after[said], atol=1e-2)
