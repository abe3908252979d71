"""The sizes of published models, for models without weights on the meta device.

Dimensions from the `config.json` that Qwen publishes with Qwen3-VL-2B, -4B, -8B, -30B-A3B and
-235B-A22B-Instruct, with Qwen2.5-VL-3B and -7B-Instruct, and with Qwen3.5-0.8B, -2B, -4B, -9B,
-27B, -35B-A3B and -122B-A10B. No hub was asked: they are as known, and held by the number of
parameters that is published too.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen3_5Config,
    Qwen3_5MoeConfig,
    Qwen3VLConfig,
    Qwen3VLMoeConfig,
)

from coordexp.families.family import Family
from coordexp.families.qwen2_5_vl.family import QWEN2_5_VL
from coordexp.families.qwen3_5.family import QWEN3_5
from coordexp.families.qwen3_5_moe.family import QWEN3_5_MOE
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.qwen3_vl_moe.family import QWEN3_VL_MOE
from tests.model.qwen import NUM_TOKENS

EXPANDED_ROWS = 152_704

_TOKENS = {
    "image_token_id": 151_655,
    "video_token_id": 151_656,
    "vision_start_token_id": 151_652,
    "vision_end_token_id": 151_653,
}


@dataclass(frozen=True)
class Vision:
    """A vision tower, which several models share.

    Args:
        deepstack: Blocks with an aligner of their own, where the language model is Qwen3-VL's.
    """

    depth: int
    width: int
    intermediate: int
    heads: int = 16
    deepstack: tuple[int, ...] = ()


_RECURRENT = (QWEN3_5, QWEN3_5_MOE)
_VISION_12 = Vision(12, 768, 3072, heads=12)
_VISION_24 = Vision(24, 1024, 4096, deepstack=(5, 11, 17))
_VISION_27 = Vision(27, 1152, 4304, deepstack=(8, 16, 24))
_VISION_32 = Vision(32, 1280, 3420)


@dataclass(frozen=True)
class Published:
    """One published model.

    Args:
        rows: Of the vocabulary.
        parameters: As published; Qwen3.5's count the drafts, which are no part of the model.
        state_heads: Heads for values of the layers with states, in Qwen3.5.
        intermediate: Of an MLP; of a mixture the shared expert's, where it has one.
        experts: In each layer of the language model; 0 where that has one MLP.
        expert_width: Of what is between the two matrices of an expert.
    """

    family: Family
    rows: int
    width: int
    layers: int
    intermediate: int
    heads: int
    key_value_heads: int
    tied: bool
    vision: Vision
    parameters: int
    state_heads: int = 0
    experts: int = 0
    expert_width: int = 0

    @property
    def deepstack(self) -> tuple[int, ...]:
        """Blocks of the vision tower with an aligner of their own."""
        return self.vision.deepstack if self.family in (QWEN3_VL, QWEN3_VL_MOE) else ()

    @property
    def aligner_layers(self) -> int:
        """Linear layers from vision to language."""
        return 2 * (1 + len(self.deepstack))

    @property
    def vision_layers(self) -> int:
        """Linear layers of a block of the vision tower: two of attention, two or three behind."""
        return 5 if self.family is QWEN2_5_VL else 4

    @property
    def language_layers(self) -> int:
        """Linear layers of the language model: seven of a block, eight of one with a state.

        A mixture's experts are none, and leave four; its shared expert has three, and its gate one.
        """
        with_states = 3 * self.layers // 4 if self.family in _RECURRENT else 0
        of_a_block = {QWEN3_VL_MOE.name: 4, QWEN3_5_MOE.name: 8}.get(self.family.name, 7)
        return of_a_block * self.layers + with_states

    @property
    def tokens(self) -> int:
        """How many tokens its tokenizer has; the rows behind them are padding."""
        return 248_077 if self.family in _RECURRENT else NUM_TOKENS

    @property
    def drafts(self) -> int:
        """Parameters that draft tokens: one block that looks back, and what goes into it."""
        if self.family not in _RECURRENT:
            return 0
        queries, keys = 256 * self.heads, 256 * self.key_value_heads
        attention = self.width * (3 * queries + 2 * keys)
        norms = 2 * 256 + 5 * self.width
        mlp = 3 * self.intermediate
        if self.experts:  # theirs, their router, and the gate of the one that is shared
            mlp += self.experts * (3 * self.expert_width + 1) + 1
        return attention + self.width * (mlp + 2 * self.width) + norms

    def config(self, rows: int) -> PreTrainedConfig:
        """Return its configuration with another number of rows."""
        text: dict[str, Any] = {
            "vocab_size": rows,
            "hidden_size": self.width,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
        }
        vision: dict[str, Any] = {
            "depth": self.vision.depth,
            "hidden_size": self.vision.width,
            "intermediate_size": self.vision.intermediate,
            "num_heads": self.vision.heads,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": self.width,
        }
        if self.family is QWEN2_5_VL:
            return self._qwen2_5_vl(text, vision)
        if self.family in _RECURRENT:
            return self._qwen3_5(text, vision)
        kind = Qwen3VLMoeConfig if self.experts else Qwen3VLConfig
        return kind(
            text_config={
                **text,
                **self._mixture(),
                "head_dim": 128,
                "max_position_embeddings": 262_144,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 5_000_000.0,
                    "mrope_section": [24, 20, 20],
                    "mrope_interleaved": True,
                },
                "tie_word_embeddings": self.tied,
            },
            vision_config={
                **vision,
                "patch_size": 16,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": list(self.deepstack),
            },
            tie_word_embeddings=self.tied,
            **_TOKENS,
        )

    def _mixture(self) -> dict[str, Any]:
        if not self.experts:
            return {}
        return {**self._experts(), "decoder_sparse_step": 1, "mlp_only_layers": []}

    def _experts(self) -> dict[str, Any]:
        return {
            "num_experts": self.experts,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": self.expert_width,
        }

    def _qwen2_5_vl(self, text: dict[str, Any], vision: dict[str, Any]) -> Qwen2_5_VLConfig:
        """Return it laid out as its authors do: the language model's keys stand at the top."""
        return Qwen2_5_VLConfig(
            **text,
            max_position_embeddings=128_000,
            rms_norm_eps=1e-6,
            rope_theta=1_000_000.0,
            rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
            use_sliding_window=False,
            vision_config={
                **vision,
                "hidden_act": "silu",
                "in_chans": 3,
                "patch_size": 14,
                "spatial_patch_size": 14,
                "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31],
                "tokens_per_second": 2,
            },
            tie_word_embeddings=self.tied,
            **_TOKENS,
        )

    def _qwen3_5(self, text: dict[str, Any], vision: dict[str, Any]) -> PreTrainedConfig:
        kind: type[PreTrainedConfig] = Qwen3_5Config
        if self.experts:
            text["shared_expert_intermediate_size"] = text.pop("intermediate_size")
            kind, text = Qwen3_5MoeConfig, text | self._experts()
        return kind(
            text_config={
                **text,
                "head_dim": 256,
                "full_attention_interval": 4,
                "attn_output_gate": True,
                "linear_conv_kernel_dim": 4,
                "linear_key_head_dim": 128,
                "linear_value_head_dim": 128,
                "linear_num_key_heads": 16,
                "linear_num_value_heads": self.state_heads,
                "max_position_embeddings": 262_144,
                "mtp_num_hidden_layers": 1,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10_000_000.0,
                    "partial_rotary_factor": 0.25,
                    "mrope_section": [11, 11, 10],
                    "mrope_interleaved": True,
                },
                "tie_word_embeddings": self.tied,
            },
            vision_config={**vision, "patch_size": 16, "num_position_embeddings": 2304},
            tie_word_embeddings=self.tied,
            image_token_id=248_056,
            video_token_id=248_057,
            vision_start_token_id=248_053,
            vision_end_token_id=248_054,
        )

    def model(self, rows: int = EXPANDED_ROWS) -> PreTrainedModel:
        """Return it on the meta device."""
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForImageTextToText.from_config(self.config(rows))
        return model


PUBLISHED = {
    "Qwen3-VL-2B": Published(
        family=QWEN3_VL,
        rows=151_936,
        width=2048,
        layers=28,
        intermediate=6144,
        heads=16,
        key_value_heads=8,
        tied=True,
        vision=_VISION_24,
        parameters=2_127_532_032,
    ),
    "Qwen3-VL-4B": Published(
        family=QWEN3_VL,
        rows=151_936,
        width=2560,
        layers=36,
        intermediate=9728,
        heads=32,
        key_value_heads=8,
        tied=True,
        vision=_VISION_24,
        parameters=4_437_815_808,
    ),
    "Qwen3-VL-8B": Published(
        family=QWEN3_VL,
        rows=151_936,
        width=4096,
        layers=36,
        intermediate=12288,
        heads=32,
        key_value_heads=8,
        tied=False,
        vision=_VISION_27,
        parameters=8_767_123_696,
    ),
    "Qwen2.5-VL-3B": Published(
        family=QWEN2_5_VL,
        rows=151_936,
        width=2048,
        layers=36,
        intermediate=11_008,
        heads=16,
        key_value_heads=2,
        tied=True,
        vision=_VISION_32,
        parameters=3_754_622_976,
    ),
    "Qwen2.5-VL-7B": Published(
        family=QWEN2_5_VL,
        rows=152_064,
        width=3584,
        layers=28,
        intermediate=18_944,
        heads=28,
        key_value_heads=4,
        tied=False,
        vision=_VISION_32,
        parameters=8_292_166_656,
    ),
    "Qwen3.5-0.8B": Published(
        family=QWEN3_5,
        rows=248_320,
        width=1024,
        layers=24,
        intermediate=3_584,
        heads=8,
        key_value_heads=2,
        tied=True,
        vision=_VISION_12,
        parameters=873_438_784,
        state_heads=16,
    ),
    "Qwen3.5-2B": Published(
        family=QWEN3_5,
        rows=248_320,
        width=2048,
        layers=24,
        intermediate=6_144,
        heads=8,
        key_value_heads=2,
        tied=True,
        vision=_VISION_24,
        parameters=2_274_069_824,
        state_heads=16,
    ),
    "Qwen3.5-4B": Published(
        family=QWEN3_5,
        rows=248_320,
        width=2560,
        layers=32,
        intermediate=9_216,
        heads=16,
        key_value_heads=4,
        tied=True,
        vision=_VISION_24,
        parameters=4_659_865_088,
        state_heads=32,
    ),
    "Qwen3.5-9B": Published(
        family=QWEN3_5,
        rows=248_320,
        width=4096,
        layers=32,
        intermediate=12_288,
        heads=16,
        key_value_heads=4,
        tied=False,
        vision=_VISION_27,
        parameters=9_653_104_368,
        state_heads=32,
    ),
    "Qwen3.5-27B": Published(
        family=QWEN3_5,
        rows=248_320,
        width=5120,
        layers=64,
        intermediate=17_408,
        heads=24,
        key_value_heads=4,
        tied=False,
        vision=_VISION_27,
        parameters=27_781_427_952,
        state_heads=48,
    ),
    "Qwen3.5-35B-A3B": Published(
        family=QWEN3_5_MOE,
        rows=248_320,
        width=2048,
        layers=40,
        intermediate=512,
        heads=16,
        key_value_heads=2,
        tied=False,
        vision=_VISION_27,
        parameters=35_951_822_704,
        state_heads=32,
        experts=256,
        expert_width=512,
    ),
    "Qwen3.5-122B-A10B": Published(
        family=QWEN3_5_MOE,
        rows=248_320,
        width=3072,
        layers=48,
        intermediate=1024,
        heads=32,
        key_value_heads=2,
        tied=False,
        vision=_VISION_27,
        parameters=125_086_497_008,
        state_heads=64,
        experts=256,
        expert_width=1024,
    ),
    "Qwen3-VL-30B-A3B": Published(
        family=QWEN3_VL_MOE,
        rows=151_936,
        width=2048,
        layers=48,
        intermediate=6144,
        heads=32,
        key_value_heads=4,
        tied=False,
        vision=_VISION_27,
        parameters=31_070_754_032,
        experts=128,
        expert_width=768,
    ),
    "Qwen3-VL-235B-A22B": Published(
        family=QWEN3_VL_MOE,
        rows=151_936,
        width=4096,
        layers=94,
        intermediate=12_288,
        heads=64,
        key_value_heads=4,
        tied=False,
        vision=_VISION_27,
        parameters=235_670_022_896,
        experts=128,
        expert_width=1536,
    ),
}
