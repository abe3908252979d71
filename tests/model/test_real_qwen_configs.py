"""The published Qwen3-VL models without their weights, on the meta device.

Dimensions from the configurations that Qwen publishes with Qwen3-VL-2B, -4B and -8B-Instruct.
"""

import json
import re
from dataclasses import dataclass

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab, coord_id_map
from coordexp.errors import CheckpointError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.towers import tower_of
from coordexp.model.adapters import install_lora
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.hidden_head import install_loss_head
from coordexp.model.vocab_expansion import ROW_MULTIPLE
from coordexp.training.loop.optimizer import group_parameters, parameter_groups
from tests.model.qwen import FIRST_COORD_ID, LAST_COORD_ID, NUM_TOKENS, load_real_tokenizer

PUBLISHED_ROWS, EXPANDED_ROWS = 151_936, 152_704


@dataclass(frozen=True)
class Published:
    width: int
    layers: int
    intermediate: int
    heads: int
    tied: bool
    vision_depth: int
    vision_width: int
    vision_intermediate: int
    deepstack: tuple[int, ...]
    parameters: int

    def config(self, rows: int) -> Qwen3VLConfig:
        return Qwen3VLConfig(
            text_config={
                "vocab_size": rows,
                "hidden_size": self.width,
                "intermediate_size": self.intermediate,
                "num_hidden_layers": self.layers,
                "num_attention_heads": self.heads,
                "num_key_value_heads": 8,
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
                "depth": self.vision_depth,
                "hidden_size": self.vision_width,
                "intermediate_size": self.vision_intermediate,
                "num_heads": 16,
                "patch_size": 16,
                "temporal_patch_size": 2,
                "spatial_merge_size": 2,
                "num_position_embeddings": 2304,
                "out_hidden_size": self.width,
                "deepstack_visual_indexes": list(self.deepstack),
            },
            image_token_id=151_655,
            video_token_id=151_656,
            vision_start_token_id=151_652,
            vision_end_token_id=151_653,
            tie_word_embeddings=self.tied,
        )

    def model(self, rows: int = EXPANDED_ROWS) -> Qwen3VLForConditionalGeneration:
        with torch.device("meta"):
            return Qwen3VLForConditionalGeneration(self.config(rows))


PUBLISHED = {
    "2B": Published(2048, 28, 6144, 16, True, 24, 1024, 4096, (5, 11, 17), 2_127_532_032),
    "4B": Published(2560, 36, 9728, 32, True, 24, 1024, 4096, (5, 11, 17), 4_437_815_808),
    "8B": Published(4096, 36, 12288, 32, False, 27, 1152, 4304, (8, 16, 24), 8_767_123_696),
}
every_size = pytest.mark.parametrize("size", PUBLISHED)


@pytest.fixture(scope="module")
def vocab() -> CoordVocab:
    tokenizer = load_real_tokenizer()
    assert len(tokenizer) == NUM_TOKENS
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == 151_655
    tokenizer.add_tokens([SPEC_ALPHABET.wildcard, *SPEC_ALPHABET.tokens()], special_tokens=True)
    return CoordVocab.from_tokenizer(tokenizer, SPEC_ALPHABET)


def config_of(*, tie_head: bool | None, train_type: str = "lora") -> Config:
    """Return a configuration with one or two tables, or without offsets."""
    document = {
        "model": {"path": "base"},
        "tuner": {"train_type": train_type},
        "data": {"train": "train.jsonl"},
        "training": {
            "output_dir": "run",
            "optimizer": "multimodal" if tie_head is None else "multimodal_coord_offset",
            "learning_rate": 1e-4,
            "vit_lr": 1e-5,
            "aligner_lr": 2e-5,
        },
        "custom": {
            "coord_tokens": {"enabled": True},
            "coord_soft_ce_w1": {"enabled": True},
            "coord_offset": {"enabled": True, "tie_head": tie_head, "embed_lr": 5e-4}
            if tie_head is not None
            else {},
        },
    }
    return Config.model_validate_json(json.dumps(document))


@dataclass(frozen=True)
class Adapted:
    published: Published
    tie_head: bool
    model: PeftModel


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((size, tie_head), marks=[pytest.mark.slow] if slow else [])
        for size, tie_head, slow in (
            ("2B", True, False),
            ("2B", False, True),
            ("4B", True, True),
            ("4B", False, True),
            ("8B", True, True),
            ("8B", False, True),
        )
    ],
    ids=lambda param: f"{param[0]}-{'one_table' if param[1] else 'two_tables'}",
)
def adapted(request: pytest.FixtureRequest, vocab: CoordVocab) -> Adapted:
    size, tie_head = request.param
    model = PUBLISHED[size].model()
    install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=tie_head)
    lora = install_lora(
        model,
        family=QWEN3_VL,
        towers=("vision", "aligner", "language"),
        leaves=None,
        rank=16,
        alpha=32,
        dropout=0.0,
        use_dora=False,
    )
    return Adapted(PUBLISHED[size], tie_head, lora)


# --- the models themselves ---


@every_size
def test_the_dimensions_are_the_published_ones(size: str) -> None:
    published = PUBLISHED[size]
    model = published.model(PUBLISHED_ROWS)
    assert sum(parameter.numel() for parameter in model.parameters()) == published.parameters
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert embedding.weight.shape == head.weight.shape == (PUBLISHED_ROWS, published.width)


@every_size
def test_checkpoint_keys_are_the_published_ones(size: str) -> None:
    published = PUBLISHED[size]
    model = published.model(PUBLISHED_ROWS)
    tied = set(model._tied_weights_keys) if published.tied else set()
    keys = set(model.state_dict()) - tied
    expected = {
        "model.language_model.embed_tokens.weight",
        "model.language_model.norm.weight",
        "model.language_model.layers.0.self_attn.q_proj.weight",
        "model.language_model.layers.0.self_attn.q_norm.weight",
        f"model.language_model.layers.{published.layers - 1}.mlp.down_proj.weight",
        "model.visual.patch_embed.proj.weight",
        "model.visual.pos_embed.weight",
        "model.visual.blocks.0.attn.qkv.weight",
        f"model.visual.blocks.{published.vision_depth - 1}.mlp.linear_fc2.bias",
        "model.visual.merger.linear_fc1.weight",
        "model.visual.deepstack_merger_list.2.linear_fc2.weight",
    }
    assert expected <= keys
    assert ("lm_head.weight" in keys) != published.tied
    assert f"model.language_model.layers.{published.layers}.self_attn.q_proj.weight" not in keys
    assert all(tower_of(key, QWEN3_VL.towers) is not None for key in keys)


# --- the vocabulary ---


def test_coord_ids_follow_the_real_tokenizer_s(vocab: CoordVocab) -> None:
    assert (vocab.ids[0], vocab.ids[-1]) == (FIRST_COORD_ID, LAST_COORD_ID)
    assert vocab.first_id == NUM_TOKENS + 1  # after the wildcard


def test_the_published_matrix_is_too_small_and_the_expanded_one_is_padded(
    vocab: CoordVocab,
) -> None:
    with pytest.raises(CheckpointError, match="coordexp vocab expand"):
        coord_id_map(vocab, PUBLISHED_ROWS)
    assert coord_id_map(vocab, EXPANDED_ROWS)[LAST_COORD_ID] == 999
    assert EXPANDED_ROWS % ROW_MULTIPLE == 0
    assert EXPANDED_ROWS - ROW_MULTIPLE < vocab.ids.stop <= EXPANDED_ROWS


@every_size
def test_an_unexpanded_base_is_refused(size: str, vocab: CoordVocab) -> None:
    with pytest.raises(CheckpointError, match="coordexp vocab expand"):
        install_coord_offset_adapter(
            PUBLISHED[size].model(PUBLISHED_ROWS), coord_ids=vocab.ids, tie_head=True
        )


# --- adapters and optimizer groups ---


def test_lora_and_offsets_go_where_they_belong(adapted: Adapted) -> None:
    published, model = adapted.published, adapted.model
    modules = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    counts = dict.fromkeys(("vision", "aligner", "language"), 0)
    for name in modules:
        counts[str(tower_of(f"{name}.weight", QWEN3_VL.towers))] += 1
    assert counts == {
        "vision": 4 * published.vision_depth,
        "aligner": 2 * (1 + len(published.deepstack)),
        "language": 7 * published.layers,
    }
    vocabulary = re.compile(r"lm_head|embed_tokens|pos_embed|patch_embed")
    assert not any(vocabulary.search(name) for name in modules)

    offsets = [name for name, p in model.named_parameters() if p.requires_grad and "offset" in name]
    assert len(offsets) == (1 if adapted.tie_head else 2)
    assert all(model.get_parameter(name).shape == (1000, published.width) for name in offsets)
    base = model.get_base_model()
    tied = base.lm_head.base.weight is base.get_input_embeddings().base.weight
    assert tied == published.tied


def test_every_trainable_parameter_is_in_exactly_one_group(adapted: Adapted) -> None:
    model = adapted.model
    rows = group_parameters(model, parameter_groups(config_of(tie_head=adapted.tie_head), QWEN3_VL))
    grouped = [id(parameter) for row in rows for parameter in row["params"]]  # type: ignore[attr-defined]
    learning = [id(p) for p in model.parameters() if p.requires_grad]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(learning)
    rates = {str(row["name"]): row["lr"] for row in rows}
    expected = {"coord_embed": 5e-4, "aligner": 2e-5, "vision": 1e-5, "language": 1e-4}
    assert rates == expected | ({} if adapted.tie_head else {"coord_head": 5e-4})


@every_size
def test_a_full_fine_tuning_groups_every_parameter(size: str) -> None:
    model = PUBLISHED[size].model()
    groups = parameter_groups(config_of(tie_head=None, train_type="full"), QWEN3_VL)
    grouped = [p for row in group_parameters(model, groups) for p in row["params"]]  # type: ignore[attr-defined]
    assert len(grouped) == len(list(model.parameters()))


@every_size
def test_the_loss_head_keeps_the_checkpoint_s_keys(size: str) -> None:
    model = PUBLISHED[size].model()
    keys = set(model.state_dict())
    head = install_loss_head(model)
    assert set(model.state_dict()) == keys
    assert (head.weight is model.get_input_embeddings().weight) == PUBLISHED[size].tied
