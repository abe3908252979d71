"""A tiny random base of each family, written as its authors publish theirs."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
)

from coordexp.tiny.model import (
    CHAT_TEMPLATE,
    PATCH_SIZE,
    VOCAB_ROWS,
    build_tokenizer,
    write_processor_files,
    write_tiny_base,
)
from tests.families.tiny_mixture import write_tiny_qwen3_vl_moe
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
        rows=VOCAB_ROWS, tied=tied, ids=_token_ids(tokenizer), layers=layers
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


def _token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    tokens = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.get_vocab()[token] for key, token in tokens.items()}


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
        text_config={
            "vocab_size": rows,
            "hidden_size": 48,
            "intermediate_size": 64,
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
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 44,
            "num_heads": 2,
            "patch_size": PATCH_SIZE,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": 48,
            "num_position_embeddings": 64,
        },
        tie_word_embeddings=tied,
        **(ids or {}),
    )


def write_tiny_qwen3_5(dst: Path, *, tied: bool = True, layers: int = 4) -> None:
    """Write it with a template that knows thoughts, and with weights for drafts."""
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = THINKING_TEMPLATE
    config = small_qwen3_5_config(
        rows=VOCAB_ROWS, tied=tied, ids=_token_ids(tokenizer), layers=layers
    )
    text = config.text_config
    text.bos_token_id = text.pad_token_id = tokenizer.pad_token_id
    text.eos_token_id = tokenizer.eos_token_id
    model = random_qwen3_5(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.to(torch.bfloat16).save_pretrained(dst)
    tokenizer.save_pretrained(dst)
    weights = dst / "model.safetensors"
    save_file(load_file(weights) | draft_weights(text.hidden_size), weights, {"format": "pt"})
    written = json.loads((dst / "config.json").read_text("utf-8"))
    written["text_config"] |= {"mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False}
    (dst / "config.json").write_text(json.dumps(written, indent=2), "utf-8")
    write_processor_files(dst)


def random_qwen3_5(config: Qwen3_5Config) -> Qwen3_5ForConditionalGeneration:
    """Return one whose states last, so that whatever leaks into them is seen."""
    model = random_model(Qwen3_5ForConditionalGeneration, config)
    for name, parameter in model.named_parameters():
        if name.endswith("A_log"):
            parameter.data = torch.linspace(-4, -1, len(parameter))
    return model


def draft_weights(width: int) -> dict[str, Tensor]:
    """Return a few of the weights that published checkpoints have for speculative decoding."""
    generator = torch.Generator().manual_seed(2)
    shapes = {"mtp.fc.weight": (width, 2 * width), "mtp.norm.weight": (width,)}
    return {
        name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()
    }


TINY_BASES: dict[str, Callable[[Path], None]] = {
    "qwen3_vl": lambda dst: write_tiny_base(dst, seed=0),
    "qwen2_5_vl": write_tiny_qwen2_5_vl,
    "qwen3_5": write_tiny_qwen3_5,
    "qwen3_vl_moe": write_tiny_qwen3_vl_moe,
}
"""By the family's name; each family has one, and the tests of every family take it."""
