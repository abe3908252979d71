"""Tiny random Qwen3.5, dense and with experts, written as their authors publish theirs."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
)

from coordexp.tiny.model import PATCH_SIZE, VOCAB_ROWS, build_tokenizer, write_processor_files
from tests.families.tiny_mixture import EXPERTS, HIDDEN, WIDTH, token_ids
from tests.model.small import random_model

# An answer follows its thoughts; without any, an empty block. Earlier answers have lost theirs, and
# whoever asks says whether there shall be thoughts: unasked, Qwen3.5 from 9B on begins with some.
THINKING_TEMPLATE = """\
{%- set asked = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set asked.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- if asked.last < 0 %}{{ raise_exception('nobody asks') }}{% endif %}
{%- macro text_of(content) %}
    {%- if content is string %}
        {{- content }}
    {%- else %}
        {%- for part in content %}
            {%- if part.type == 'image' %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- else %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' and loop.index0 > asked.last %}
        {{- '<think>\\n' + (message.reasoning_content or '') + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- text_of(message.content) | trim }}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- else %}
        {{- '<think>\\n' }}
    {%- endif %}
{%- endif %}
"""


def small_qwen3_5_config(
    *, rows: int, tied: bool, ids: dict[str, int] | None = None, layers: int = 4
) -> Qwen3_5Config:
    """Return layers of 48 columns, of which the last looks back and the others have states."""
    return Qwen3_5Config(
        text_config=_text(rows=rows, tied=tied, layers=layers) | {"intermediate_size": 64},
        vision_config=_VISION,
        tie_word_embeddings=tied,
        **(ids or {}),
    )


def small_qwen3_5_moe_config(
    *, rows: int, tied: bool, ids: dict[str, int] | None = None, layers: int = 4
) -> Qwen3_5MoeConfig:
    """Return the same with four experts in each layer, of which a token takes two, and a shared."""
    experts = {
        "moe_intermediate_size": HIDDEN,
        "shared_expert_intermediate_size": 20,
        "num_experts": EXPERTS,
        "num_experts_per_tok": 2,
    }
    return Qwen3_5MoeConfig(
        text_config=_text(rows=rows, tied=tied, layers=layers) | experts,
        vision_config=_VISION,
        tie_word_embeddings=tied,
        **(ids or {}),
    )


def _text(*, rows: int, tied: bool, layers: int) -> dict[str, Any]:
    return {
        "vocab_size": rows,
        "hidden_size": WIDTH,
        "num_hidden_layers": layers,
        "full_attention_interval": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 12,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [2, 2, 2],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": tied,
    }


_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_heads": 2,
    "patch_size": PATCH_SIZE,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
    "out_hidden_size": WIDTH,
    "num_position_embeddings": 64,
}


def write_tiny_qwen3_5(dst: Path, *, tied: bool = True, layers: int = 4) -> None:
    """Write it with a template that knows thoughts, and with weights for drafts."""
    tokenizer = _tokenizer()
    ids = token_ids(tokenizer)
    config = small_qwen3_5_config(rows=VOCAB_ROWS, tied=tied, ids=ids, layers=layers)
    _write(dst, config, tokenizer, draft_weights())


def write_tiny_qwen3_5_moe(dst: Path, *, tied: bool = True, layers: int = 4) -> None:
    """Write it likewise: each expert's matrices output rows first, those of drafts one by one."""
    tokenizer = _tokenizer()
    ids = token_ids(tokenizer)
    config = small_qwen3_5_moe_config(rows=VOCAB_ROWS, tied=tied, ids=ids, layers=layers)
    expert = {"mtp.layers.0.mlp.experts.0.down_proj.weight": torch.zeros(WIDTH, HIDDEN).bfloat16()}
    _write(dst, config, tokenizer, draft_weights() | expert)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = THINKING_TEMPLATE
    return tokenizer


def _write(
    dst: Path,
    config: Qwen3_5Config | Qwen3_5MoeConfig,
    tokenizer: PreTrainedTokenizerFast,
    drafts: dict[str, Tensor],
) -> None:
    text = config.text_config
    text.bos_token_id = text.pad_token_id = tokenizer.pad_token_id
    text.eos_token_id = tokenizer.eos_token_id
    model = random_qwen3_5(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    # transformers would write the experts of a model that it did not load one by one.
    model.to(torch.bfloat16).save_pretrained(dst, save_original_format=False)
    tokenizer.save_pretrained(dst)
    weights = dst / "model.safetensors"
    save_file(load_file(weights) | drafts, weights, {"format": "pt"})
    written = json.loads((dst / "config.json").read_text("utf-8"))
    written["text_config"] |= {"mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False}
    (dst / "config.json").write_text(json.dumps(written, indent=2), "utf-8")
    write_processor_files(dst)


def random_qwen3_5(config: Qwen3_5Config | Qwen3_5MoeConfig) -> PreTrainedModel:
    """Return one whose states last, so that whatever leaks into them is seen."""
    has_experts = isinstance(config, Qwen3_5MoeConfig)
    kind = Qwen3_5MoeForConditionalGeneration if has_experts else Qwen3_5ForConditionalGeneration
    model: PreTrainedModel = random_model(kind, config)
    for name, parameter in model.named_parameters():
        if name.endswith("A_log"):
            parameter.data = torch.linspace(-4, -1, len(parameter))
    return model


def draft_weights() -> dict[str, Tensor]:
    """Return a few of the weights that published checkpoints have for speculative decoding."""
    generator = torch.Generator().manual_seed(2)
    shapes = {"mtp.fc.weight": (WIDTH, 2 * WIDTH), "mtp.norm.weight": (WIDTH,)}
    return {
        name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()
    }
