"""A Qwen3-VL small enough for a laptop: architecture, tokenizer and processor files, untrained.

Everything that a user of the real model relies on is here in small: tied embeddings, deepstack,
M-RoPE, Qwen's special tokens and chat format, one token per decimal digit, an embedding matrix
padded beyond the tokenizer. Coord tokens are absent, as in the real base: `vocab expand` adds them.
"""

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from coordexp.scenes.digits import CLASS_NAMES, SCENE_SIZE

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PATCH_SIZE = 8
MERGE_SIZE = 2
VOCAB_ROWS = 512
"""Rows of the embedding: the tokenizer's tokens and padding, as Qwen pads its own."""

_BPE_VOCAB = 448
_GRID = SCENE_SIZE // PATCH_SIZE
# Geometry keys and digits stand alone, words keep their leading space, punctuation runs together.
_PIECES = r"bbox_2d|\d| ?[A-Za-z_]+|[^\dA-Za-z_]+"

CHAT_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {%- if part.type == 'image' %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif part.type == 'video' %}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- elif part.type == 'text' %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def write_tiny_base(dst: Path, *, seed: int) -> None:
    """Write an untrained tiny Qwen3-VL with all its files; the same seed writes the same bytes."""
    tokenizer = build_tokenizer()
    write_base(dst, build_model(tokenizer, seed=seed), tokenizer)


def write_base(
    dst: Path, model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Write a model in bfloat16 with its tokenizer, chat template and processor files."""
    dst.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(dst)
    shipped = copy.deepcopy(model)
    shipped.bfloat16()
    shipped.save_pretrained(dst)
    (dst / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    write_processor_files(dst)


def build_model(
    tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> Qwen3VLForConditionalGeneration:
    """Return the model in fp32 with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(build_config(tokenizer))
    with torch.no_grad():
        positions = model.model.visual.pos_embed.weight
        positions += _sinusoids(_GRID, positions.shape[1])
    eos, pad = _ids(tokenizer, "<|im_end|>", "<|endoftext|>")
    model.generation_config.eos_token_id = [eos, pad]
    model.generation_config.pad_token_id = pad
    model.generation_config.do_sample = False
    return model


def _sinusoids(side: int, width: int) -> Float[Tensor, "cells width"]:
    """Return 2-D position codes for a square grid, row by row: a head start for localisation."""
    frequencies = torch.logspace(0, math.log10(16), width // 8) * math.pi / 4
    angles = torch.arange(side)[:, None] * (2 / side) * frequencies
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    half = axis.shape[1]
    codes = torch.zeros(side, side, width)
    codes[:, :, :half] = axis[:, None]
    codes[:, :, half : 2 * half] = axis[None]
    return 0.5 * codes.flatten(0, 1)


def build_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    """Return the architecture, with the token ids of this tokenizer."""
    image, video, start, end, pad, eos = _ids(
        tokenizer,
        "<|image_pad|>",
        "<|video_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|endoftext|>",
        "<|im_end|>",
    )
    return Qwen3VLConfig(
        text_config={
            "vocab_size": VOCAB_ROWS,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 48,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [8, 8, 8],
                "mrope_interleaved": True,
            },
            "pad_token_id": pad,
            "eos_token_id": eos,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 6,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_heads": 4,
            "patch_size": PATCH_SIZE,
            "temporal_patch_size": 2,
            "spatial_merge_size": MERGE_SIZE,
            "out_hidden_size": 192,
            "num_position_embeddings": _GRID**2,
            "deepstack_visual_indexes": [2],
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=True,
    )


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer, learned from made-up answers and prompts."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_BPE_VOCAB,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(_corpus(), trainer)
    inner.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL_TOKENS[1:2] + SPECIAL_TOKENS[3:]),
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _corpus() -> Iterator[str]:
    """Yield answers as the product writes them (integers, coord tokens, compact) and prompts.

    A coord token is a special token that cuts the text around it, so its neighbours are learned
    from the pieces between coord tokens.
    """
    rng = np.random.default_rng(0)
    for _ in range(200):
        names = [CLASS_NAMES[i] for i in rng.integers(0, len(CLASS_NAMES), rng.integers(0, 7))]
        answer = {
            f"object_{i}": {"desc": name, "bbox_2d": [0, 0, 0, 0]}
            for i, name in enumerate(names, start=1)
        }
        for separators in ((", ", ": "), (",", ":")):
            text = json.dumps(answer, separators=separators)
            yield text
            quoted = text.replace("[0", '["0').replace("0]", '0"]')
            yield from quoted.replace("0, 0", '0", "0').replace("0,0", '0","0').split("0")
        yield "user\nassistant\nsystem\n"
        yield "Find every digit. Find all objects. Detect each object in the image as JSON."


def write_processor_files(dst: Path) -> None:
    """Write the image and video processor settings; a scene keeps its size."""
    cell = (PATCH_SIZE * MERGE_SIZE) ** 2
    shared = {
        "patch_size": PATCH_SIZE,
        "temporal_patch_size": 2,
        "merge_size": MERGE_SIZE,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "size": {"shortest_edge": 4 * cell, "longest_edge": 256 * cell},
    }
    image = {"image_processor_type": "Qwen2VLImageProcessorFast", **shared}
    video = {"video_processor_type": "Qwen3VLVideoProcessor", **shared}
    for name, settings in (("preprocessor", image), ("video_preprocessor", video)):
        text = json.dumps(settings, indent=2) + "\n"
        (dst / f"{name}_config.json").write_text(text, encoding="utf-8")


def _ids(tokenizer: PreTrainedTokenizerFast, *tokens: str) -> list[int]:
    return [cast(int, tokenizer.convert_tokens_to_ids(token)) for token in tokens]
