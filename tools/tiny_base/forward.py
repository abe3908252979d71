"""A fast forward pass for pretraining: the model's own modules, whole batches at once.

Shapes: `B` scenes, `P` patches, `C` values of a patch, `G` visual tokens, `T` tokens, `D` width.

Every scene has the same size and the same place in its conversation, so what the library's forward
does image by image is batched here; a test holds the two to the same logits. Only right padding,
no cache, no video.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLTextDecoderLayer,
    Qwen3VLVisionBlock,
)
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from coordexp.tiny.model import MERGE_SIZE
from tools.tiny_base.batches import CELLS_PER_SIDE, VISUAL_TOKENS

_IMAGE_START = 4  # <|im_start|> user \n <|vision_start|>
_IMAGE_STOP = _IMAGE_START + VISUAL_TOKENS

Rotary = tuple[Tensor, Tensor]


class FastForward:
    """The model's own modules, called for a whole batch of equal scenes at once."""

    def __init__(self, model: Qwen3VLForConditionalGeneration) -> None:
        self._visual = model.model.visual
        self._language = model.model.language_model
        side = CELLS_PER_SIDE * MERGE_SIZE
        grid = torch.tensor([[1, side, side]])
        self._position_rows, self._position_weights = get_vision_interpolation_indices_and_weights(
            grid,
            num_grid_per_side=self._visual.num_grid_per_side,
            mode=self._visual.interpolation_mode,
            align_corners=self._visual.interpolation_align_corners,
            spatial_merge_size=MERGE_SIZE,
            kwargs={},
        )
        places = get_vision_position_ids(grid, MERGE_SIZE, kwargs={})
        self._vision_rotary: Rotary = self._visual.rotary_pos_emb(torch.zeros(1), places)

    def vision(
        self, patches: Float[Tensor, "B P C"]
    ) -> tuple[Float[Tensor, "B G D"], list[Float[Tensor, "B G D"]]]:
        """Return the visual tokens and the deepstack features."""
        visual, count = self._visual, len(patches)
        project = visual.patch_embed.proj
        states = functional.linear(patches, project.weight.flatten(1), project.bias)
        codes = visual.pos_embed(self._position_rows) * self._position_weights[:, :, None]
        states = states + codes.sum(dim=1)
        deep = []
        levels = list(visual.deepstack_visual_indexes)
        for index, block in enumerate(visual.blocks):
            states = _vision_block(block, states, self._vision_rotary)
            if index in levels:
                merger = visual.deepstack_merger_list[levels.index(index)]
                deep.append(merger(states.flatten(0, 1)).view(count, VISUAL_TOKENS, -1))
        return visual.merger(states.flatten(0, 1)).view(count, VISUAL_TOKENS, -1), deep

    def text(
        self,
        input_ids: Int64[Tensor, "B T"],
        image: Float[Tensor, "B G D"],
        deep: list[Float[Tensor, "B G D"]],
    ) -> Float[Tensor, "B T D"]:
        """Return the last hidden states; padding on the right is never looked at."""
        language = self._language
        words = language.embed_tokens(input_ids)
        states = torch.cat([words[:, :_IMAGE_START], image, words[:, _IMAGE_STOP:]], dim=1)
        rotary: Rotary = language.rotary_emb(states, _text_positions(input_ids.shape[1])[:, None])
        for index, layer in enumerate(language.layers):
            states = _text_layer(layer, states, rotary)
            if index < len(deep):
                lead, tail = states[:, :_IMAGE_START], states[:, _IMAGE_STOP:]
                lifted = states[:, _IMAGE_START:_IMAGE_STOP] + deep[index]
                states = torch.cat([lead, lifted, tail], dim=1)
        out: Tensor = language.norm(states)
        return out


def _text_positions(length: int) -> Int64[Tensor, "3 T"]:
    positions = torch.arange(length).repeat(3, 1)
    cell = torch.arange(VISUAL_TOKENS)
    places = torch.stack([0 * cell, cell // CELLS_PER_SIDE, cell % CELLS_PER_SIDE])
    positions[:, _IMAGE_START:_IMAGE_STOP] = _IMAGE_START + places
    positions[:, _IMAGE_STOP:] -= VISUAL_TOKENS - CELLS_PER_SIDE
    return positions


def _vision_block(block: Qwen3VLVisionBlock, states: Tensor, rotary: Rotary) -> Tensor:
    count, length, width = states.shape
    attention = block.attn
    heads = attention.qkv(block.norm1(states)).view(count, length, 3, attention.num_heads, -1)
    query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
    mixed = functional.scaled_dot_product_attention(
        _rotate(query, rotary), _rotate(key, rotary), value
    )
    states = states + attention.proj(mixed.transpose(1, 2).reshape(count, length, width))
    out: Tensor = states + block.mlp(block.norm2(states))
    return out


def _text_layer(layer: Qwen3VLTextDecoderLayer, states: Tensor, rotary: Rotary) -> Tensor:
    count, length, _ = states.shape
    attention = layer.self_attn
    normed = layer.input_layernorm(states)

    def heads(projected: Tensor) -> Tensor:
        return projected.view(count, length, -1, attention.head_dim)

    query = attention.q_norm(heads(attention.q_proj(normed))).transpose(1, 2)
    key = attention.k_norm(heads(attention.k_proj(normed))).transpose(1, 2)
    value = heads(attention.v_proj(normed)).transpose(1, 2)
    groups = query.shape[1] // key.shape[1]
    mixed = functional.scaled_dot_product_attention(
        _rotate(query, rotary),
        _rotate(key, rotary).repeat_interleave(groups, dim=1),
        value.repeat_interleave(groups, dim=1),
        is_causal=True,
    )
    states = states + attention.o_proj(mixed.transpose(1, 2).reshape(count, length, -1))
    out: Tensor = states + layer.mlp(layer.post_attention_layernorm(states))
    return out


def _rotate(states: Tensor, rotary: Rotary) -> Tensor:
    cos, sin = (part.unsqueeze(-3) if part.ndim > 2 else part for part in rotary)  # noqa: PLR2004
    half = states.shape[-1] // 2
    turned = torch.cat([-states[..., half:], states[..., :half]], dim=-1)
    return states * cos + turned * sin
