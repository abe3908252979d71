"""A tiny random base of each family, written as its authors publish theirs."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from coordexp.tiny.model import (
    CHAT_TEMPLATE,
    VOCAB_ROWS,
    build_tokenizer,
    write_tiny_base,
)
from tests.families.tiny_mixture import token_ids, write_tiny_qwen3_vl_moe
from tests.families.tiny_recurrent import write_tiny_qwen3_5, write_tiny_qwen3_5_moe
from tests.model.small import random_model

PATCH_PX = 14

# Qwen2.5-VL's template says this where nobody says anything else.
_SYSTEM_TURN = """\
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
"""


def small_qwen2_5_vl_config(
    *, rows: int, tied: bool, ids: dict[str, int] | None = None, layers: int = 2
) -> Qwen2_5_VLConfig:
    """Return two layers of 48 columns, and a vision tower whose windows are two cells wide."""
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": rows,
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 2, 2],
            },
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
        },
        vision_config={
            "depth": layers + 1,
            "hidden_size": 32,
            "intermediate_size": 44,
            "num_heads": 2,
            "patch_size": PATCH_PX,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": 48,
            "window_size": 4 * PATCH_PX,
            "fullatt_block_indexes": [layers],
        },
        tie_word_embeddings=tied,
        **(ids or {}),
    )


def write_tiny_qwen2_5_vl(dst: Path, *, tied: bool = True, layers: int = 2) -> None:
    """Write it with old names of weights, and the language model's sizes at the top."""
    tokenizer = build_tokenizer()
    tokenizer.chat_template = _SYSTEM_TURN + CHAT_TEMPLATE
    config = small_qwen2_5_vl_config(
        rows=VOCAB_ROWS, tied=tied, ids=token_ids(tokenizer), layers=layers
    )
    model = random_model(Qwen2_5_VLForConditionalGeneration, config)
    text = config.text_config
    text.bos_token_id = text.pad_token_id = tokenizer.pad_token_id
    text.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.to(torch.bfloat16).save_pretrained(dst)
    tokenizer.save_pretrained(dst)
    written = json.loads((dst / "config.json").read_text("utf-8"))
    flat = written.pop("text_config") | written
    (dst / "config.json").write_text(json.dumps(flat, indent=2), "utf-8")
    _write_processor(dst)


def _write_processor(dst: Path) -> None:
    """Write its settings with the limits under their old names."""
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": 4 * 28**2,
        "max_pixels": 64 * 28**2,
        "patch_size": PATCH_PX,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (dst / "preprocessor_config.json").write_text(json.dumps(settings, indent=2), "utf-8")


TINY_BASES: dict[str, Callable[[Path], None]] = {
    "qwen3_vl": lambda dst: write_tiny_base(dst, seed=0),
    "qwen2_5_vl": write_tiny_qwen2_5_vl,
    "qwen3_5": write_tiny_qwen3_5,
    "qwen3_vl_moe": write_tiny_qwen3_vl_moe,
    "qwen3_5_moe": write_tiny_qwen3_5_moe,
}
"""By the family's name; each family has one, and the tests of every family take it."""

TINY_MIXTURES: dict[str, Callable[[Path], None]] = {
    "qwen3_vl_moe": write_tiny_qwen3_vl_moe,
    "qwen3_5_moe": partial(write_tiny_qwen3_5_moe, layers=2),
}
"""Those that have experts, two layers of them."""

JOINED = ("qwen3_5_moe",)
"""Nothing in them is new but that it comes together."""


def with_patience(families: Iterable[str]) -> list[ParameterSet]:
    """Return families as parameters of slow tests, which are long ones for those."""
    return [
        pytest.param(name, marks=[pytest.mark.long] if name in JOINED else []) for name in families
    ]
