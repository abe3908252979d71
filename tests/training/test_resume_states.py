"""What is restored, in one process; test_resume.py kills real ones."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from coordexp.config.schema import Config
from coordexp.errors import CheckpointError
from coordexp.training.keep.checkpoint import find_checkpoints
from coordexp.training.keep.resume import Resumable
from coordexp.training.run.stage1 import build_trainer, train

MakeConfig = Callable[..., Config]
SAVING = {"save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "constant"}


class Counter(TrainerCallback):
    def __init__(self) -> None:
        self.seen = torch.zeros(2)

    def on_step_end(
        self, _args: TrainingArguments, state: TrainerState, *_: TrainerControl, **__: object
    ) -> None:
        self.seen += torch.tensor([1.0, state.global_step])

    def state_dict(self) -> Mapping[str, object]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


@pytest.mark.slow
def test_each_callback_gets_its_own_state_back(make_config: MakeConfig, tmp_path: Path) -> None:
    before = [Counter(), Counter()]
    before[1].seen += 10
    config = make_config(tmp_path / "run", training={**SAVING, "max_steps": 1})
    build_trainer(config, callbacks=before).train()
    longer = make_config(tmp_path / "run", training={**SAVING, "max_steps": 2})
    after = [Counter(), Counter()]
    assert isinstance(after[0], Resumable)
    trainer = build_trainer(longer, callbacks=after)
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    assert after[0].seen.tolist() == [2, 3]
    assert after[1].seen.tolist() == [12, 13]


@pytest.mark.slow
def test_a_finished_run_made_longer_is_the_longer_run(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    def run(name: str, steps: int, **training: object) -> Path:
        blocks = {"training": {**SAVING, "max_steps": steps, **training}}
        return train(make_config(tmp_path / name, **blocks), say=said.append)

    said: list[str] = []
    straight = run("straight", 3)
    run("longer", 1)
    said.clear()
    assert run("longer", 3, save_steps=2, logging_steps=3) == tmp_path / "longer"
    assert f"{tmp_path / 'longer'}: going on from step 1" in said
    weights = "adapter_model.safetensors"
    assert (straight / weights).read_bytes() == (tmp_path / "longer" / weights).read_bytes()
    # The new intervals count, not those in the checkpoint.
    steps = [int(path.name[11:]) for path in find_checkpoints(tmp_path / "longer")]
    assert steps == [1, 2, 3]
    said.clear()
    run("longer", 3)
    assert said == [f"{tmp_path / 'longer'}: this run is finished; nothing to do"]


@pytest.mark.slow
def test_weights_of_another_model_are_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "tuner": {"train_type": "full"},
        "custom": {
            "coord_tokens": {"enabled": True},
            "coord_soft_ce_w1": {"enabled": True},
            "coord_offset": {"enabled": False},
        },
        "training": {**SAVING, "optimizer": "multimodal"},
    }
    train(make_config(tmp_path / "run", **changes))
    file = tmp_path / "run" / "checkpoint-1" / "model.safetensors"
    weights = load_file(file)
    weights.pop(next(name for name in weights if "q_proj" in name))
    save_file(weights, file, metadata={"format": "pt"})
    changes["training"]["max_steps"] = 2
    with pytest.raises(CheckpointError, match=r"1 weight\(s\) do not match, the first .*q_proj"):
        train(make_config(tmp_path / "run", **changes))
