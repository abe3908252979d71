"""A Qwen3-VL of two layers and 32 columns, for what needs no trained weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, Qwen3VLConfig, Qwen3VLForConditionalGeneration

IMAGE_ID, VIDEO_ID, START_ID, END_ID = 1, 2, 3, 4
PATCH_SIZE = 4

Model = TypeVar("Model", bound=PreTrainedModel)


def small_config(*, rows: int, tied: bool) -> Qwen3VLConfig:
    return Qwen3VLConfig(
        text_config={
            "vocab_size": rows,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": tied,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "patch_size": PATCH_SIZE,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=IMAGE_ID,
        video_token_id=VIDEO_ID,
        vision_start_token_id=START_ID,
        vision_end_token_id=END_ID,
        tie_word_embeddings=tied,
    )


def small_model(
    *, rows: int = 96, tied: bool = True, seed: int = 0
) -> Qwen3VLForConditionalGeneration:
    """Return it in fp32."""
    config = small_config(rows=rows, tied=tied)
    return random_model(Qwen3VLForConditionalGeneration, config, seed=seed).eval()


def random_model(kind: Callable[[Any], Model], config: object, *, seed: int = 0) -> Model:
    """Return a model whose weights are large enough that every layer matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def write_small_base(dst: Path, files_from: Path, *, rows: int, tied: bool) -> Path:
    """Write it beside the tokenizer and processor files of another checkpoint."""
    dst.mkdir(parents=True)
    small_model(rows=rows, tied=tied).save_pretrained(dst)
    for path in files_from.iterdir():
        if path.suffix != ".safetensors" and not (dst / path.name).exists():
            shutil.copyfile(path, dst / path.name)
    processor = json.loads((dst / "preprocessor_config.json").read_text("utf-8"))
    (dst / "preprocessor_config.json").write_text(
        json.dumps(processor | {"patch_size": PATCH_SIZE})
    )
    return dst


def load_weights(directory: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint, sharded or not."""
    weights: dict[str, Tensor] = {}
    for path in sorted(directory.glob("*.safetensors")):
        weights |= load_file(path)
    return weights
