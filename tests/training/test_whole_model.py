"""Runs with `tuner.train_type: full` and coord offsets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coordexp.config.schema import Config
from coordexp.model.card import load_weights_card
from coordexp.model.load import load_base
from coordexp.model.plain_weights import TABLES_NAME
from coordexp.training.run.stage1 import build_trainer, train

MakeConfig = Callable[..., Config]
EMBED = "model.language_model.embed_tokens.weight"


def whole(*, tie_head: bool, **training: object) -> dict[str, Any]:
    return {
        "tuner": {"train_type": "full", "freeze_vit": True, "freeze_aligner": True},
        "custom": {"coord_offset": {"enabled": True, "tie_head": tie_head, "embed_lr": 5e-3}},
        "training": {"max_steps": 2, **training},
    }


@pytest.mark.slow
@pytest.mark.parametrize("tie_head", [True, False])
def test_the_layers_learn_and_of_the_vocabulary_the_coord_rows(
    make_config: MakeConfig, tmp_path: Path, tie_head: bool
) -> None:
    config = make_config(tmp_path / "run", **whole(tie_head=tie_head))
    saved = train(config)
    card = load_weights_card(saved)
    assert (card.base, card.tie_head) == (None, None)
    assert card.coord_ids is not None
    first, last = card.coord_ids
    before = load_base(config.model.path, dtype="float32", attn_implementation="sdpa")
    after = load_base(saved, dtype="float32", attn_implementation="sdpa")
    coord = torch.zeros(len(before.get_input_embeddings().weight), dtype=torch.bool)
    coord[first : last + 1] = True
    for table in ("get_input_embeddings", "get_output_embeddings"):
        old, new = (getattr(model, table)().weight for model in (before, after))
        assert torch.equal(old[~coord], new[~coord])
        assert not torch.equal(old[coord], new[coord])
    tied = after.get_output_embeddings().weight is after.get_input_embeddings().weight
    assert tied == tie_head
    weights = after.state_dict()
    for name, tensor in before.state_dict().items():
        if "visual" in name:
            assert torch.equal(tensor, weights[name])
        elif "layers" in name:
            assert not torch.equal(tensor, weights[name]), name


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not(make_config: MakeConfig, tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 1}
    through = train(make_config(tmp_path / "through", **whole(tie_head=False, **saving)))
    config = make_config(tmp_path / "again", **whole(tie_head=False, **saving))
    trainer = build_trainer(config, callbacks=[])
    trainer.train(resume_from_checkpoint=str(through / "checkpoint-1"))
    tables = torch.load(through / TABLES_NAME, weights_only=True)
    assert len(tables) == 2
    state = trainer.model.state_dict()
    for name, rows in tables.items():
        assert torch.equal(state[name], rows)
    plain = load_file(through / "model.safetensors")
    for name, tensor in plain.items():
        if name in state:
            assert torch.equal(state[name], tensor), name
