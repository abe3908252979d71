"""A tiny random Qwen3-VL with a mixture of experts, written as its authors publish theirs."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from coordexp.tiny.model import (
    MERGE_SIZE,
    PATCH_SIZE,
    VOCAB_ROWS,
    build_config,
    build_tokenizer,
    write_base,
)
from tests.model.small import random_model

WIDTH, HIDDEN, EXPERTS = 48, 16, 4


def small_qwen3_vl_moe_config(
    *, rows: int, tied: bool, ids: dict[str, int] | None = None, layers: int = 2
) -> Qwen3VLMoeConfig:
    """Return two layers of four experts, of which each token takes two."""
    return Qwen3VLMoeConfig(
        text_config={
            "vocab_size": rows,
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "moe_intermediate_size": HIDDEN,
            "num_experts": EXPERTS,
            "num_experts_per_tok": 2,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 2, 2],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": tied,
        },
        vision_config={
            "depth": layers,
            "hidden_size": 32,
            "intermediate_size": 44,
            "num_heads": 2,
            "patch_size": PATCH_SIZE,
            "temporal_patch_size": 2,
            "spatial_merge_size": MERGE_SIZE,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        tie_word_embeddings=tied,
        **(ids or {}),
    )


def write_tiny_qwen3_vl_moe(dst: Path, *, tied: bool = True, layers: int = 2) -> None:
    """Write it; each expert's matrices have their input rows first, as in published files."""
    tokenizer = build_tokenizer()
    known = build_config(tokenizer)
    config = small_qwen3_vl_moe_config(
        rows=VOCAB_ROWS, tied=tied, ids=token_ids(tokenizer), layers=layers
    )
    config.text_config.eos_token_id = known.text_config.eos_token_id
    config.text_config.pad_token_id = known.text_config.pad_token_id
    model = random_model(Qwen3VLMoeForConditionalGeneration, config)
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    write_base(dst, model, tokenizer)
    turn_experts(dst / "model.safetensors")
    written = json.loads((dst / "config.json").read_text("utf-8"))
    written["text_config"]["num_experts"] = written["text_config"].pop("num_local_experts")
    (dst / "config.json").write_text(json.dumps(written, indent=2), "utf-8")


def token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """Return the ids of the tokens that frame pictures, as a configuration has them."""
    tokens = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.get_vocab()[token] for key, token in tokens.items()}


def turn_experts(file: Path) -> None:
    """Exchange rows and columns of each expert's matrices: transformers saves them output first."""
    turned = {
        name: tensor.transpose(1, 2).contiguous() if ".experts." in name else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(turned, file, metadata={"format": "pt"})
