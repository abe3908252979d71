"""The published models without their weights, on the meta device."""

import json
import re
from dataclasses import dataclass, replace

import pytest
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab, coord_id_map
from coordexp.errors import CheckpointError
from coordexp.families.known import FAMILIES
from coordexp.families.towers import tower_of
from coordexp.model.adapters import install_lora
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.hidden_head import install_loss_head
from coordexp.model.vocab_expansion import ROW_MULTIPLE
from coordexp.training.loop.optimizer import group_parameters, parameter_groups
from tests.model.published import EXPANDED_ROWS, PUBLISHED, Published
from tests.model.qwen import FIRST_COORD_ID, LAST_COORD_ID, NUM_TOKENS, load_real_tokenizer

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
            ("Qwen3-VL-2B", True, False),
            ("Qwen3-VL-2B", False, True),
            ("Qwen3-VL-4B", True, True),
            ("Qwen3-VL-4B", False, True),
            ("Qwen3-VL-8B", True, True),
            ("Qwen3-VL-8B", False, True),
            ("Qwen2.5-VL-3B", True, True),
            ("Qwen2.5-VL-7B", False, True),
            ("Qwen3.5-0.8B", True, True),
            ("Qwen3.5-27B", False, True),
            ("Qwen3-VL-30B-A3B", True, True),
        )
    ],
    ids=lambda param: f"{param[0]}-{'one_table' if param[1] else 'two_tables'}",
)
def adapted(request: pytest.FixtureRequest, vocab: CoordVocab) -> Adapted:
    size, tie_head = request.param
    published = PUBLISHED[size]
    model = published.model()
    install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=tie_head)
    lora = install_lora(
        model,
        family=published.family,
        towers=("vision", "aligner", "language"),
        leaves=None,
        experts=False,
        rank=16,
        alpha=32,
        dropout=0.0,
        use_dora=False,
    )
    return Adapted(published, tie_head, lora)


# --- the models themselves ---


def test_every_family_has_published_sizes() -> None:
    assert {published.family.name for published in PUBLISHED.values()} == set(FAMILIES)


@every_size
def test_the_dimensions_are_the_published_ones(size: str) -> None:
    published = PUBLISHED[size]
    model = published.model(published.rows)
    own = sum(parameter.numel() for parameter in model.parameters())
    assert own + published.drafts == published.parameters
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert embedding.weight.shape == head.weight.shape == (published.rows, published.width)


@every_size
def test_checkpoint_keys_are_the_published_ones(size: str) -> None:
    published = PUBLISHED[size]
    model = published.model(published.rows)
    tied = set(model._tied_weights_keys) if published.tied else set()
    keys = set(model.state_dict()) - tied
    last = f"model.visual.blocks.{published.vision.depth - 1}.mlp"
    last_mlp = f"model.language_model.layers.{published.layers - 1}.mlp"
    expected = {
        "model.language_model.embed_tokens.weight",
        "model.language_model.norm.weight",
        f"model.language_model.layers.{published.layers - 1}.self_attn.q_proj.weight",
        f"{last_mlp}.experts.down_proj" if published.experts else f"{last_mlp}.down_proj.weight",
        "model.visual.patch_embed.proj.weight",
        "model.visual.blocks.0.attn.qkv.weight",
    }
    qwen3_vl = {
        "model.language_model.layers.0.self_attn.q_norm.weight",
        "model.visual.pos_embed.weight",
        f"{last}.linear_fc2.bias",
        "model.visual.merger.linear_fc1.weight",
        "model.visual.deepstack_merger_list.2.linear_fc2.weight",
    }
    qwen3_5 = {
        "model.language_model.layers.0.linear_attn.A_log",
        "model.language_model.layers.0.linear_attn.conv1d.weight",
        "model.language_model.layers.2.linear_attn.in_proj_qkv.weight",
        "model.language_model.layers.3.self_attn.q_norm.weight",
        f"{last}.linear_fc2.bias",
        "model.visual.merger.linear_fc2.weight",
    }
    mixture = {f"{last_mlp}.experts.gate_up_proj", f"{last_mlp}.gate.weight"}
    shared = {f"{last_mlp}.shared_expert.up_proj.weight", f"{last_mlp}.shared_expert_gate.weight"}
    own = {
        "qwen3_vl": qwen3_vl,
        "qwen3_vl_moe": qwen3_vl | mixture,
        "qwen2_5_vl": {
            "model.language_model.layers.0.self_attn.q_proj.bias",
            f"{last}.gate_proj.bias",
            "model.visual.merger.mlp.2.weight",
        },
        "qwen3_5": qwen3_5,
        "qwen3_5_moe": qwen3_5 | mixture | shared,
    }
    assert expected | own[published.family.name] <= keys
    assert ("lm_head.weight" in keys) != published.tied
    assert f"model.language_model.layers.{published.layers}.input_layernorm.weight" not in keys
    assert all(tower_of(key, published.family.towers) is not None for key in keys)


# --- the vocabulary ---


def test_coord_ids_follow_the_real_tokenizer_s(vocab: CoordVocab) -> None:
    assert (vocab.ids[0], vocab.ids[-1]) == (FIRST_COORD_ID, LAST_COORD_ID)
    assert vocab.first_id == NUM_TOKENS + 1  # after the wildcard


def test_the_published_matrix_is_too_small_and_the_expanded_one_is_padded(
    vocab: CoordVocab,
) -> None:
    with pytest.raises(CheckpointError, match="coordexp vocab expand"):
        coord_id_map(vocab, PUBLISHED["Qwen3-VL-4B"].rows)
    assert coord_id_map(vocab, EXPANDED_ROWS)[LAST_COORD_ID] == 999
    assert EXPANDED_ROWS % ROW_MULTIPLE == 0
    assert EXPANDED_ROWS - ROW_MULTIPLE < vocab.ids.stop <= EXPANDED_ROWS


@every_size
def test_an_unexpanded_base_is_refused(size: str, vocab: CoordVocab) -> None:
    published = PUBLISHED[size]
    own = replace(vocab, first_id=published.tokens + 1)
    with pytest.raises(CheckpointError, match="coordexp vocab expand"):
        install_coord_offset_adapter(
            published.model(published.rows), coord_ids=own.ids, tie_head=True
        )


# --- adapters and optimizer groups ---


def test_lora_and_offsets_go_where_they_belong(adapted: Adapted) -> None:
    published, model = adapted.published, adapted.model
    modules = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    counts = dict.fromkeys(("vision", "aligner", "language"), 0)
    for name in modules:
        counts[str(tower_of(f"{name}.weight", published.family.towers))] += 1
    assert counts == {
        "vision": published.vision_layers * published.vision.depth,
        "aligner": published.aligner_layers,
        "language": published.language_layers,
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
    config = config_of(tie_head=adapted.tie_head)
    rows = group_parameters(model, parameter_groups(config, adapted.published.family))
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
    config = config_of(tie_head=None, train_type="full")
    groups = parameter_groups(config, PUBLISHED[size].family)
    grouped = [p for row in group_parameters(model, groups) for p in row["params"]]  # type: ignore[attr-defined]
    assert len(grouped) == len(list(model.parameters()))


@every_size
def test_the_loss_head_keeps_the_checkpoint_s_keys(size: str) -> None:
    model = PUBLISHED[size].model()
    keys = set(model.state_dict())
    head = install_loss_head(model)
    assert set(model.state_dict()) == keys
    assert (head.weight is model.get_input_embeddings().weight) == PUBLISHED[size].tied
