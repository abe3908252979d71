"""Adapters as training would leave them, on a small base."""

from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.adapters import install_lora
from coordexp.model.card import WeightsCard, write_card
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.fingerprint import rows_fingerprint, tokenizer_fingerprint
from coordexp.model.load import coord_rows, load_base, load_tokenizer
from tests.model.test_coord_offset import randomize

ROWS = 1408
"""Of a small base: what the tiny tokenizer knows, 1001 coord tokens, padding."""

WEIGHTS = "adapter_model.safetensors"
EMBED_TABLE = "base_model.model.model.language_model.embed_tokens.coord_offset_adapter.rows"
HEAD_TABLE = "base_model.model.lm_head.coord_offset_adapter.rows"


def randomize_lora(model: PeftModel) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def open_fp32(path: Path) -> PreTrainedModel:
    return load_base(path, dtype="float32", attn_implementation="sdpa")


def make_adapted(
    base: Path,
    vocab: CoordVocab,
    *,
    tie_head: bool | None,
    use_dora: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[PeftModel, WeightsCard]:
    model = open_fp32(base)
    ids = (vocab.ids[0], vocab.ids[-1])
    card = WeightsCard(
        base=str(base),
        tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
        coord_ids=ids,
        coord_rows=rows_fingerprint(coord_rows(model, *ids)),
        tie_head=tie_head,
    )
    if tie_head is not None:
        install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=tie_head, dtype=dtype)
    adapted = install_lora(
        model,
        family=QWEN3_VL,
        towers=("language",),
        leaves=None,
        experts=False,
        rank=2,
        alpha=4,
        dropout=0.0,
        use_dora=use_dora,
    )
    randomize(adapted)
    randomize_lora(adapted)
    return adapted.eval(), card


def save(model: PeftModel, card: WeightsCard, path: Path) -> Path:
    model.save_pretrained(path)
    write_card(path, style={}, weights=card)
    return path
