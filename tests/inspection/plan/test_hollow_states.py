"""A pass whose layers with states are played, beside the same pass with all steps counted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedConfig

from coordexp.config.schema import Config
from coordexp.inspection.plan import hollow_model
from coordexp.inspection.plan.hollow_states import StateBook
from coordexp.inspection.plan.one_pass import ExampleShape, PassCost, count_pass
from coordexp.inspection.plan.settings import plan_config
from tests.families.tiny_recurrent import small_qwen3_5_config, small_qwen3_5_moe_config

SMALL: dict[str, Callable[..., PreTrainedConfig]] = {
    "qwen3_5": small_qwen3_5_config,
    "qwen3_5_moe": small_qwen3_5_moe_config,
}
# Packs of three, whose last tokens are too few for another one.
EXAMPLE, TOKENS = ExampleShape(8, 8, 33, 90), 700
IDS = {name: 5 + number for number, name in enumerate(("image", "video", "vision_start"))}


def planned(model: Path, train_type: str) -> Config:
    config = plan_config(model, None)
    tuner = {"train_type": train_type, "use_dora": train_type == "lora"}
    return config.model_copy(update={"tuner": config.tuner.model_copy(update=tuner)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "train_type", "checkpointing"),
    [
        ("qwen3_5", "lora", True),
        ("qwen3_5", "full", False),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in [
                ("qwen3_5", "lora", False),
                ("qwen3_5", "full", True),
                ("qwen3_5_moe", "lora", False),
                ("qwen3_5_moe", "full", True),
            ]
        ),
    ],
)
def test_what_is_played_takes_what_every_step_would(
    family: str,
    train_type: str,
    checkpointing: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = {f"{name}_token_id": token for name, token in IDS.items()}
    SMALL[family](rows=1408, tied=True, ids=ids).save_pretrained(tmp_path)
    config = planned(tmp_path, train_type)

    def counted() -> PassCost:
        hollow = hollow_model.build_hollow(config, flash=False)
        return count_pass(
            hollow, config, EXAMPLE, tokens=TOKENS, checkpointing=checkpointing, on_cpu=True
        )

    played = counted()
    monkeypatch.setattr(hollow_model, "install_state_book", lambda _, half: StateBook(half))
    every_step = counted()
    assert played.flops == every_step.flops
    # Copies of adapters in half precision belong to all examples, and are counted with each.
    assert played.peak == pytest.approx(every_step.peak, rel=0.01)
